"""The readers of an ONNX file that are asked, a library each; one more is one more file here."""
