"""What `try` understands of a user's model and samples before anything runs, and what it refuses."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.errors import BadFile, BadParameter
from qbench.run.own_model import own_suite

ENGINES = ("onnxruntime", "openvino", "torch", "nncf")


def recurrent(folder, batch="N"):
    """A network whose state is the sum of what it was given: y = state + x, state_out = y."""
    kinds = [("x", [batch, 4]), ("state", [batch, 4]), ("y", [batch, 4]), ("state_out", [batch, 4])]
    x, state, y, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in kinds)
    nodes = [
        helper.make_node("Add", ["x", "state"], ["y"]),
        helper.make_node("Identity", ["y"], ["state_out"]),
    ]
    return saved(folder, nodes, [x, state], [y, out])


def plain(folder):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    return saved(folder, [helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [y])


def saved(folder, nodes, inputs, outputs):
    stored = [numpy_helper.from_array(np.eye(4, dtype="f4"), "w")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, stored)), folder / "net.onnx")
    return str(folder / "net.onnx")


def samples(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


X = np.arange(40, dtype="f4").reshape(10, 4)


def test_a_model_and_its_samples_become_a_suite_and_what_was_understood(tmp_path):
    own = own_suite(plain(tmp_path), samples(tmp_path, x=X))
    (model,) = own.suite.model
    assert model.task == {"use": "agreement", "inputs": str(tmp_path / "x.npz"), "model": model.use}
    assert (model.state, model.sizes) == ("", "x=1x4")
    assert own.said == ("x: float32 N x 4; examples along axis 0, 10 of them",)


def test_a_state_is_paired_where_the_samples_leave_it_out_or_give_one_value(tmp_path):
    for arrays in ({"x": X}, {"x": X, "state": X[:1]}):
        (model,) = own_suite(recurrent(tmp_path), samples(tmp_path, **arrays)).suite.model
        assert model.state == "state=state_out"
        assert model.task["state"] == "state=state_out"


def test_an_input_that_the_samples_give_for_each_example_is_no_state(tmp_path):
    own = own_suite(recurrent(tmp_path), samples(tmp_path, x=X, state=X))
    assert own.suite.model[0].state == ""


def test_a_state_can_be_said_whatever_the_samples_hold(tmp_path):
    own = own_suite(recurrent(tmp_path), samples(tmp_path, x=X, state=X), ["state=y"])
    assert own.suite.model[0].state == "state=y"
    with pytest.raises(BadParameter, match="--state state=z"):
        own_suite(recurrent(tmp_path), samples(tmp_path, x=X), ["state=z"])


def test_a_batch_of_one_carries_its_state_too(tmp_path):
    assert own_suite(recurrent(tmp_path, 1), samples(tmp_path, x=X)).suite.model[0].state == "state=state_out"


def test_model_and_samples_the_other_way_round_are_told_so(tmp_path):
    model, npz = plain(tmp_path), samples(tmp_path, x=X)
    with pytest.raises(BadFile, match=rf"fix: write `qbench try {model} --inputs {npz}`"):
        own_suite(str(npz), model)
    with pytest.raises(BadFile, match="holds samples and is no .onnx file"):
        own_suite(str(npz), npz)
    with pytest.raises(BadFile, match="is a model, not samples"):
        own_suite(model, model)


@pytest.mark.parametrize(
    ("model", "words"), [("net.pt", "is no .onnx file"), ("", "is a folder"), ("no.onnx", "No such")]
)
def test_what_is_no_model_is_named(tmp_path, model, words):
    with pytest.raises(BadFile, match=words):
        own_suite(str(tmp_path / model), samples(tmp_path, x=X))


def test_refusing_imports_no_engine(tmp_path):
    """Seconds go by where one is imported; counted are modules, as seconds here are those of the machine."""
    model, npz = plain(tmp_path), samples(tmp_path, x=X, more=X)
    program = (
        "import sys\nfrom qbench.cli import main\n"
        f"sys.argv = ['qbench', 'try', {model!r}, '--inputs', {str(npz)!r}]\n"
        f"try: main()\nfinally: print([name for name in {ENGINES} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "has an array more, and the network has no such input" in " ".join(done.stderr.split())
    assert (done.returncode, done.stdout.strip()) == (2, "[]")


def test_how_outputs_are_read_goes_to_the_task_and_a_wrong_name_is_refused_at_once(tmp_path):
    model, npz = plain(tmp_path), samples(tmp_path, x=X)
    (found,) = own_suite(model, npz, kinds=["y=values"]).suite.model
    assert found.task["output_kinds"] == "y=values"
    with pytest.raises(BadParameter, match="no output 'z'(.|\n)*known: y"):
        own_suite(model, npz, kinds=["z=values"])
    with pytest.raises(BadParameter, match="did you mean 'values'"):
        own_suite(model, npz, kinds=["y=value"])


def test_copies_of_one_sample_are_refused_and_many_copies_are_told(tmp_path):
    with pytest.raises(BadFile, match="holds 300 samples, of which 1 differ"):
        own_suite(plain(tmp_path), samples(tmp_path, x=np.ones((300, 4), "f4")))
    own = own_suite(plain(tmp_path), samples(tmp_path, x=np.concatenate([X, X])))
    assert own.said[-1].startswith("only 10 of the 20 samples are different: copies prove nothing more")


def test_a_stream_may_repeat_a_call(tmp_path):
    own = own_suite(recurrent(tmp_path), samples(tmp_path, x=np.ones((20, 4), "f4")))
    assert "copies" not in " ".join(own.said)
