"""What is wrong with a user's model file is said in our own words, and whole files go through."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.errors import BadFile, DoesNotFit
from qbench.formats.onnx_file import checked, digest


def saved(folder, name="model.onnx", **how):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64]) for name in "xy")
    weight = numpy_helper.from_array(np.ones((64, 64), "f4"), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph), folder / name, **how)
    return folder / name


def test_a_whole_file_goes_through(tmp_path):
    inputs, outputs = checked(saved(tmp_path))
    assert [spec.name for spec in (*inputs, *outputs)] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "model.onnx is empty"),
        (b"this is my model\nreally", "is a text file, no ONNX model; it begins with 'this is my model'"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 12\n", r"pointer of git-lfs(.|\n)*git lfs pull"),
        (b"PK\x03\x04" + bytes(40), r"a zip archive \(.npz, .pt\)"),
        (b"\x93NUMPY\x01\x00", "an array of numpy"),
        (bytes(range(256)) * 4, "is no ONNX model"),
    ],
)
def test_what_is_no_onnx_file_is_named(tmp_path, content, words):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BadFile, match=words):
        checked(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_told_by_how_much(tmp_path, share):
    path = saved(tmp_path)
    content = path.read_bytes()
    # the operator sets come behind the network: the network alone is what the message counts
    whole = len(content)
    path.write_bytes(content[: int(whole * share)])
    with pytest.raises(BadFile, match=r"cut off: its network goes on for (\d+) bytes") as told:
        checked(path)
    missing = int(str(told.value).split(" for ")[1].split()[0])
    assert 0 < missing <= whole - int(whole * share)


def test_weights_that_are_missing_beside_the_file_or_cut_off_are_named(tmp_path):
    path = saved(tmp_path, save_as_external_data=True, location="w.data", size_threshold=0)
    checked(path)
    beside = tmp_path / "w.data"
    content = beside.read_bytes()
    beside.write_bytes(content[:100])
    with pytest.raises(BadFile, match="w.data is cut off: the model reads up to byte 16384, and it has 100"):
        checked(path)
    beside.unlink()
    with pytest.raises(
        BadFile, match=r"weights in w.data, and there is no such file(.|\n)*fix: copy w.data into"
    ):
        checked(path)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(BadFile, match="is a folder"):
        checked(tmp_path)
    with pytest.raises(BadFile, match="No such file"):
        checked(tmp_path / "none.onnx")


def test_a_network_without_inputs_is_refused(tmp_path):
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(3, "f4")))
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [y])), tmp_path / "model.onnx")
    with pytest.raises(DoesNotFit, match="no input"):
        checked(tmp_path / "model.onnx")


def test_a_digest_is_of_the_weights_beside_the_file_too(tmp_path):
    path = saved(tmp_path, save_as_external_data=True, location="w.data", size_threshold=0)
    before = digest(path)
    beside = tmp_path / "w.data"
    beside.write_bytes(bytes(len(beside.read_bytes())))
    assert digest(path) != before
