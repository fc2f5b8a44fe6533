"""Along which axis a network has its examples: each rule by a file made by hand."""

import onnx
import pytest
from onnx import TensorProto, helper

from qbench.errors import DoesNotFit
from qbench.formats.edges import onnx_signature


def signature(tmp_path, inputs, outputs=None):
    """Return what is read of a file with these dimensions; its nodes do not matter here."""
    outputs = outputs or {"y": ["out"]}
    made = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in some.items()]
        for some in (inputs, outputs)
    ]
    nodes = [helper.make_node("Identity", [next(iter(inputs))], [name]) for name in outputs]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *made)), path)
    return onnx_signature(path)


def axes(specs):
    return [spec.batch_axis for spec in specs]


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({"x": ["batch", 3, 8, 8]}, [0]),
        ({"x": [20, "batch_size", 8]}, [1]),  # case 14: time-major
        ({"x": ["time", "N", 8]}, [1]),
        ({"x": ["batch", 40, "time"]}, [0]),  # case 08
        ({"x": ["time", "unk__3", 8]}, [1]),  # a length is no batch where something else is free
        ({"x": ["?", 3, "?", "?"]}, [0]),  # Paddle's name for no name
        ({"x": [None, 3]}, [0]),
        ({"x": [0, -1]}, [0]),  # silero_vad.onnx
        ({"x": ["sequence_length", 576], "h": [1, 1, 128]}, [0, None]),
        ({"x": ["batch", "sequence"], "state": [2, "batch", 128], "sr": []}, [0, 1, None]),
        ({"x": [None, None], "state": [2, None, 128], "sr": []}, [0, 1, None]),
        ({"ids": ["n_0", "n_1"], "mask": ["n_0", "n_1"]}, [0, 0]),
        ({"x": ["batch", "time"], "positions": ["time"]}, [0, None]),  # a length that all examples share
        ({"x": ["batch", 3], "y": ["other", 3]}, [0, 0]),
        ({"x": ["batch", 3], "anchors": [100, 4]}, [0, None]),  # an input without a free axis is a constant
        ({"x": [1, 3, "height", "width"]}, [0]),  # a batch of one with free lengths
        ({"x": [1, "tokens"], "mask": [1, 1, 7]}, [0, 0]),
        ({"x": ["time", 1, 80]}, [1]),
        ({"x": [8, 3], "y": [8, 5]}, [0, 0]),  # all fixed: the first axis
        ({"x": [1, 576], "state": [2, 1, 128], "sr": []}, [0, None, None]),
        ({"x": []}, [None]),
    ],
)
def test_the_batch_axis_of_inputs(tmp_path, inputs, wanted):
    assert axes(signature(tmp_path, inputs)[0]) == wanted


@pytest.mark.parametrize(
    ("inputs", "output", "wanted"),
    [
        ({"x": [20, "batch", 8]}, ["batch", 4], (0, True)),
        ({"x": [20, "batch", 8]}, [20, "batch", 4], (1, True)),
        ({"x": ["batch", 8]}, [6], (0, False)),  # a constant, or a batch that the file does not show
        ({"x": ["batch", 8]}, ["unk_7", 4], (0, False)),
        ({"x": ["batch", 8]}, [4, "unk_7"], (1, False)),
        ({"x": [None, 8]}, [None, 4], (0, False)),  # nameless: it may be another length
        ({"x": [8, 3]}, [2, 8, 5], (1, False)),
        ({"x": [1, 3]}, [7, 5], (None, False)),
        ({"x": ["batch", 8]}, [], (None, False)),
    ],
)
def test_where_an_output_has_its_examples_and_whether_the_file_says_so(tmp_path, inputs, output, wanted):
    (spec,) = signature(tmp_path, inputs, {"y": output})[1]
    assert (spec.batch_axis, spec.batch_told) == wanted


def test_names_of_dimensions_are_kept(tmp_path):
    (spec,), _ = signature(tmp_path, {"mel": ["batch", 40, "time"]})
    assert (spec.shape, spec.axes) == ((None, 40, None), ("batch", "", "time"))


def test_a_sequence_of_maps_is_no_tensor_and_the_way_out_is_named(tmp_path):
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    out = helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node(
        "ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [out])), path)
    with pytest.raises(DoesNotFit, match=r"probabilities is a sequence, no tensor\n  fix: .*zipmap"):
        onnx_signature(path)
