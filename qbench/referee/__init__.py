"""Who is right where two readers of one ONNX file disagree? Several voices, and what they agree on.

No reader is trusted for what it is: not the standard's own evaluator, which is wrong for whole families of
networks, nor an engine. A voice answers in a process of its own, with a bound on memory and on time, and none
of them is needed. What two of them say alike is the file's answer; the one that meets nobody is named.
"""
