"""ONNX networks in torch: the answers of ONNX's own reference, gradients, and the way back into the file."""

import copy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qbench.errors import DoesNotFit
from qbench.formats.edges import export, to_onnx
from qbench.models.base import MODELS
from qbench.quant.torch_network import LEARNED, TorchNetwork, torch_network
from qbench.quant.torch_operators import LIMITS, OPERATORS

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def some(*shape):
    return RNG.standard_normal(shape).astype("f4")


def ints(*values):
    return np.array(values, "i8")


def network(nodes, inputs, outputs=("y",), stored=(), opset=21):
    """Return a model whose inputs have these arrays' types; what it stores is given by name."""
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), None)
        for n, a in inputs.items()
    ]  # noqa: E501
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    tensors = [
        a if isinstance(a, TensorProto) else numpy_helper.from_array(np.asarray(a), n)
        for n, a in dict(stored).items()
    ]  # noqa: E501
    graph = helper.make_graph(list(nodes), "made", values, ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def in_torch(model, inputs):
    made = torch_network(model)({name: torch.from_numpy(a.copy()) for name, a in inputs.items()})
    return [value.detach().numpy() for value in made]


class Case:
    """A node: x and what else is computed before it, what is stored, its attributes."""

    def __init__(self, kind, x, *stored, opset=21, outputs=1, judge="reference", **facts):
        self.kind, self.opset, self.judge = kind, opset, judge
        arrays = [x] if x is not None else []
        self.inputs = {"x": np.asarray(x)} if arrays else {}
        names = [f"s{at}" if array is not None else "" for at, array in enumerate(stored)]
        self.stored = {name: array for name, array in zip(names, stored, strict=True) if name}
        self.ends = [f"y{at}" for at in range(outputs)]
        self.node = helper.make_node(kind, [*self.inputs, *names], self.ends, **facts)

    @property
    def model(self):
        return network([self.node], self.inputs, self.ends, self.stored, self.opset)

    def wanted(self):
        if self.judge == "reference":
            return ReferenceEvaluator(self.model).run(None, self.inputs)
        model = self.model
        for end in model.graph.output:
            end.CopyFrom(helper.make_tensor_value_info(end.name, TensorProto.FLOAT, None))
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, self.inputs)


X, IMAGE, POSITIVE = some(2, 3, 4), some(2, 4, 7, 6), np.abs(some(3, 4)) + 0.1
KERNEL, WIDE = some(6, 4, 3, 3), some(4, 3, 3, 3)
CODES = RNG.integers(0, 255, (2, 4, 3)).astype("u1")
BLOCKS = RNG.integers(-8, 7, (4, 6)).astype("i1")
INT4 = helper.make_tensor("s0", TensorProto.INT4, [4, 6], BLOCKS.flatten())
POOL = {"kernel_shape": [3, 2], "strides": [2, 2]}
ORT = {"judge": "onnxruntime"}

CASES = [
    *[Case(kind, X) for kind in ("Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Sin", "Softplus", "Tanh", "Flatten", "Transpose", "Shape", "Softmax", "LogSoftmax", "Dropout")],  # noqa: E501
    *[Case(kind, POSITIVE) for kind in ("Log", "Reciprocal", "Sqrt")],
    *[Case(kind, X, some(3, 1)) for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "PRelu")],
    *[Case(kind, np.arange(4.0), np.array([2.0, 1, 2, 3])) for kind in ("Equal", "Greater", "Less")],
    *[Case(kind, np.array([True, False]), np.array([[True], [False]])) for kind in ("And", "Or")],
    Case("Not", np.array([True, False])),
    Case("Div", ints(7, -7, 9), ints(2, 2, -4), judge="onnxruntime int"),
    Case("Max", X, some(3, 1), some(1)),
    Case("Pow", POSITIVE, np.float32(1.7)),
    Case("Pow", ints(2, 3), np.float32(2)),
    Case("Elu", X, alpha=0.3),
    Case("LeakyRelu", X, alpha=0.2),
    Case("HardSigmoid", X, alpha=0.3, beta=0.4),
    Case("Gelu", X, approximate="tanh"),
    Case("Clip", X),
    Case("Clip", X, np.float32(-0.5), np.float32(0.5)),
    Case("Clip", X, None, np.float32(0.5)),
    Case("Where", np.array([True, False]), some(3, 2), some(1)),
    Case("Cast", X * 3, to=TensorProto.INT64),
    Case("Cast", X, to=TensorProto.BOOL),
    Case("CastLike", X, ints(1)),
    Case("Dropout", X, np.float32(0.3), np.array(False)),
    Case("Softmax", X, axis=1),
    Case("LogSoftmax", X, axis=0),
    # products
    Case("Conv", IMAGE, KERNEL, some(6)),
    Case("Conv", IMAGE, some(6, 2, 3, 2), group=2, strides=[2, 1], dilations=[2, 1], pads=[1, 1, 1, 1]),
    Case("Conv", IMAGE, KERNEL, pads=[0, 1, 2, 0]),
    Case("Conv", IMAGE, some(4, 1, 3, 3), some(4), group=4, pads=[1, 1, 1, 1]),
    Case("Conv", some(2, 4, 9), some(5, 4, 3), some(5), pads=[2, 0]),
    Case("Conv", some(1, 2, 4, 5, 4), some(3, 2, 2, 3, 2)),
    *[Case("Conv", IMAGE, KERNEL, auto_pad=rule, strides=[2, 2], **ORT) for rule in ("VALID", "SAME_UPPER", "SAME_LOWER")],  # noqa: E501
    Case("ConvTranspose", IMAGE, WIDE, some(3), **ORT),
    Case("ConvTranspose", IMAGE, WIDE, some(3), strides=[2, 3], pads=[1, 0, 0, 2], output_padding=[1, 0], **ORT),  # noqa: E501
    Case("ConvTranspose", IMAGE, some(4, 2, 3, 3), some(4), group=2, pads=[1, 1, 1, 1], **ORT),
    Case("ConvTranspose", IMAGE, WIDE, strides=[2, 2], dilations=[2, 1], **ORT),
    Case("ConvTranspose", IMAGE, WIDE, some(3), strides=[2, 2], output_shape=[14, 12], **ORT),
    Case("ConvTranspose", IMAGE, WIDE, strides=[2, 2], auto_pad="SAME_UPPER", **ORT),
    Case("ConvTranspose", IMAGE, WIDE, strides=[2, 2], auto_pad="SAME_LOWER", **ORT),
    Case("ConvTranspose", some(1, 4, 5), some(4, 2, 3), some(2), strides=[2], **ORT),
    Case("Gemm", some(3, 4), some(4, 5)),
    Case("Gemm", some(4, 3), some(5, 4), some(5), transA=1, transB=1, alpha=0.5, beta=2.0),
    Case("Gemm", some(3, 4), some(4, 5), some(3, 1)),
    Case("MatMul", some(2, 3, 4), some(4, 5)),
    Case("MatMul", some(4), some(4, 5)),
    # pools
    Case("MaxPool", IMAGE, **POOL, **ORT),
    Case("MaxPool", IMAGE, **POOL, pads=[1, 0, 2, 1], **ORT),
    Case("MaxPool", IMAGE, **POOL, ceil_mode=1, pads=[1, 1, 1, 1], **ORT),
    Case("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3], **ORT),
    Case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER", **ORT),
    Case("MaxPool", some(1, 2, 8), kernel_shape=[3], strides=[3], ceil_mode=1, **ORT),
    Case("AveragePool", IMAGE, **POOL, **ORT),
    *[Case("AveragePool", IMAGE, **POOL, pads=[1, 0, 2, 1], count_include_pad=c, ceil_mode=up, **ORT) for c in (0, 1) for up in (0, 1)],  # noqa: E501
    Case("AveragePool", some(1, 2, 8), kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER", **ORT),
    Case("GlobalAveragePool", IMAGE),
    Case("GlobalMaxPool", IMAGE),
    # reductions
    *[Case(kind, X) for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")],
    *[Case(kind, X, ints(0, -1), keepdims=0) for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")],  # noqa: E501
    *[Case(kind, X, opset=13, axes=[1]) for kind in ("ReduceMean", "ReduceMax")],
    Case("ReduceSum", X, ints(1), opset=13),
    Case("ReduceSum", X, noop_with_empty_axes=1),
    # normalizations
    Case("LayerNormalization", X, some(4), some(4)),
    Case("LayerNormalization", X, some(3, 4), axis=1, epsilon=0.1),
    Case("LayerNormalization", X, some(4), some(4), axis=1, **ORT),
    Case("InstanceNormalization", IMAGE, some(4), some(4), epsilon=0.1, **ORT),
    Case("GroupNormalization", IMAGE, some(4), some(4), num_groups=2),
    Case("GroupNormalization", IMAGE, some(2), some(2), num_groups=2, opset=18),
    Case("BatchNormalization", IMAGE, some(4), some(4), some(4), POSITIVE[0], epsilon=0.1),
    Case("RMSNormalization", X, some(4), opset=23),
    Case("RMSNormalization", X, some(3, 4), axis=1, epsilon=0.1, opset=23),
    # shapes
    Case("Reshape", X, ints(0, -1)),
    Case("Reshape", some(0, 3), ints(3, 0), allowzero=1),
    Case("Flatten", X, axis=0),
    Case("Flatten", X, axis=-1),
    Case("Transpose", X, perm=[1, 2, 0]),
    Case("Squeeze", some(1, 3, 1)),
    Case("Squeeze", some(1, 3, 1), ints(-1)),
    Case("Unsqueeze", X, ints(-1, 0)),
    Case("Concat", X, some(2, 1, 4), axis=-2),
    Case("Split", X, axis=-1, outputs=2, num_outputs=2),
    Case("Split", some(7), outputs=3, num_outputs=3),
    Case("Split", X, outputs=2, opset=13),
    Case("Split", X, ints(1, 3), axis=2, outputs=2),
    Case("Slice", X, ints(1), ints(3), ints(-1)),
    Case("Slice", X, ints(0, 1), ints(1, 2**62)),
    Case("Slice", IMAGE, ints(-1, 5), ints(-(2**62), 0), ints(2, 3), ints(-1, -2)),
    Case("Slice", X, ints(-3), ints(-1), ints(2), ints(2)),
    Case("Gather", X, ints(2, 0, -1), axis=1),
    Case("Gather", X, np.array(1), axis=-1),
    Case("Gather", X, ints(1, 0).reshape(2, 1)),
    Case("Shape", X, start=1),
    Case("Shape", X, start=-2, end=-1),
    Case("Expand", some(3, 1), ints(2, 1, 4)),
    Case("ConstantOfShape", ints(2, 3)),
    Case("ConstantOfShape", ints(2), value=helper.make_tensor("v", TensorProto.INT64, [1], [7])),
    # padding and resizing
    Case("Pad", X, ints(0, 1, 2, 0, 0, 1)),
    Case("Pad", X, ints(0, -1, 2, 0, 0, -1), np.float32(1.5), **ORT),
    Case("Pad", X, ints(1, 2), None, ints(-1)),
    *[Case("Pad", X, ints(0, 2, 1, 1, 0, 3), mode=mode) for mode in ("reflect", "edge", "wrap")],
    *[Case("Resize", IMAGE, None, np.array([1, 1, *scale], "f4"), mode=mode, coordinate_transformation_mode=rule, **ORT) for mode in ("nearest", "linear") for rule in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric") for scale in ((2, 3), (0.5, 1.5))],  # noqa: E501
    *[Case("Resize", IMAGE, None, None, ints(2, 4, 5, 9), nearest_mode=mode, coordinate_transformation_mode="asymmetric", **ORT) for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")],  # noqa: E501
    Case("Resize", IMAGE, None, None, ints(9, 3), mode="linear", axes=[2, 3]),
    # integers and back
    Case("QuantizeLinear", X * 9, np.float32(0.1)),
    Case("QuantizeLinear", X * 9, np.float32(0.1), np.int8(3)),
    Case("QuantizeLinear", np.array([0.5, 1.5, 2.5, -0.5], "f4"), np.float32(1), np.int8(0)),
    Case("QuantizeLinear", X, np.array([0.1, 0.2, 0.3], "f4"), np.array([1, 200, 3], "u1"), axis=1),
    Case("QuantizeLinear", X, np.float32(0.1), output_dtype=TensorProto.INT16),
    Case("DequantizeLinear", CODES, np.float32(0.1)),
    Case("DequantizeLinear", CODES, np.array([0.1, 0.2, 0.3], "f4"), np.array([1, 200, 3], "u1"), axis=-1),
    Case("DequantizeLinear", BLOCKS, np.abs(some(4, 2)), block_size=3, axis=1),
    Case("DequantizeLinear", None, INT4, np.abs(some(6)), axis=1),
]  # fmt: skip


def named(case):
    return "-".join([case.kind, str(case.opset), *(a.name for a in case.node.attribute)])


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_operator_answers_as_its_definition_says(case):
    wanted = [np.array([3, -3, -2])] if case.judge == "onnxruntime int" else case.wanted()
    made = in_torch(case.model, case.inputs)
    assert len(made) == len(wanted)
    for value, right in zip(made, wanted, strict=True):
        right = np.asarray(right)
        assert value.shape == right.shape
        assert value.dtype == right.dtype
        np.testing.assert_allclose(value, right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if c.inputs and c.inputs["x"].dtype == "f4"], ids=named)
def test_gradients_through_an_operator_are_finite(case):
    x = torch.from_numpy(case.inputs["x"].copy()).requires_grad_()
    made = [value for value in torch_network(case.model)({"x": x}) if value.requires_grad]
    if made:
        sum(value.sum() for value in made).backward()
        assert x.grad.isfinite().all()


def test_every_operator_of_the_table_is_tried():
    assert {case.kind for case in CASES} == set(OPERATORS)


# --- what is refused --------------------------------------------------------------------------------


REFUSED = [
    (Case("BatchNormalization", IMAGE, *[some(4)] * 4, training_mode=1), "BatchNormalization in training mode"),  # noqa: E501
    (Case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 1]), "AveragePool with dilations"),
    (Case("Cast", X, to=TensorProto.FLOAT8E4M3FN), "Cast to FLOAT8E4M3FN"),
    (Case("Cast", X, to=TensorProto.UINT16), "Cast to UINT16"),
    (Case("CastLike", X, np.array([1], "u2")), "CastLike to UINT16"),
    (Case("Dropout", X, np.float32(0.3), np.array(True)), "Dropout in training mode"),
    (Case("MaxPool", IMAGE, outputs=2, kernel_shape=[2, 2]), "MaxPool with a second output"),
    (Case("Pad", X, ints(0, 0), mode="unknown"), "Pad with mode unknown"),
    (Case("Resize", IMAGE, None, None, ints(2, 4, 5, 9), mode="cubic"), "Resize with mode cubic"),
    (Case("Resize", IMAGE, None, None, ints(2, 4, 5, 9), mode="linear", antialias=1), "Resize with antialias 1"),  # noqa: E501
    (Case("QuantizeLinear", X, np.float32(1), output_dtype=TensorProto.FLOAT8E5M2), "QuantizeLinear to FLOAT8E5M2"),  # noqa: E501
    (Case("DequantizeLinear", None, helper.make_tensor("s0", TensorProto.FLOAT8E5M2, [2], [1, 2]), np.float32(1)), "DequantizeLinear from FLOAT8E5M2"),  # noqa: E501
    (Case("Constant", None, value_string="text"), "Constant with value_string"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_is_not_covered_is_named_before_anything_runs(case, told):
    with pytest.raises(DoesNotFit, match=f"{told} x1"):
        torch_network(case.model)


def test_every_limit_is_tried():
    assert set(LIMITS) <= {case.kind for case, _ in REFUSED}


def test_a_zero_point_that_is_computed_is_refused():
    nodes = [
        helper.make_node("Cast", ["x"], ["zero"], to=TensorProto.INT8),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"]),
    ]
    model = network(nodes, {"x": some(1)}, stored={"scale": np.float32(1)})
    with pytest.raises(DoesNotFit, match="zero point that is computed"):
        torch_network(model)


def test_all_operators_that_are_unknown_are_named_with_a_fix():
    nodes = [
        helper.make_node("Einsum", ["x"], ["a"], equation="ij->ji"),
        helper.make_node("Einsum", ["a"], ["b"], equation="ij->ji"),
        helper.make_node("Relu", ["b"], ["c"], domain="com.example"),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    model = network(nodes, {"x": some(2, 2)})
    with pytest.raises(DoesNotFit, match=r"Einsum x2, com.example.Relu x1\)") as caught:
        torch_network(model)
    assert "torch_operators.py" in caught.value.fix


def test_an_old_operator_set_is_refused():
    with pytest.raises(DoesNotFit, match="operator set 11.*13 and newer"):
        torch_network(Case("Softmax", X, opset=11).model)


def test_a_missing_input_is_named():
    with pytest.raises(DoesNotFit, match="reads x; not given: x"):
        torch_network(Case("Relu", X).model)({})


# --- weights ----------------------------------------------------------------------------------------


def small(**changes):
    """Return a network with weights, scales, a shape, a table and names that torch does not take."""
    stored = {
        "layer.1/weight": some(5, 3, 3, 3),
        "forward": some(5),
        "layer/1.weight": some(5, 1, 1),
        "one": np.float32([2.0]),
        "shape": ints(0, -1),
        "turned": some(7, 80),
        "limit": np.float32(6),
    } | changes
    nodes = [
        helper.make_node("Conv", ["x", "layer.1/weight", "forward"], ["c"]),
        helper.make_node("Mul", ["c", "layer/1.weight"], ["m"]),
        helper.make_node("Add", ["m", "one"], ["a"]),
        helper.make_node("Constant", [], ["low"], value_float=-4.0),
        helper.make_node("Clip", ["a", "low", "limit"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["f"]),
        helper.make_node("Transpose", ["turned"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["f", "t"], ["y"]),
    ]
    return network(nodes, {"x": SMALL}, ("y", "r"), stored)


SMALL = some(2, 3, 6, 6)
SMALL_WEIGHTS = ["layer.1/weight", "forward", "layer/1.weight", "turned"]


def test_what_is_learned_is_a_parameter_and_the_rest_a_buffer():
    made = torch_network(small())
    assert isinstance(made, TorchNetwork)
    assert isinstance(made, torch.nn.Module)
    assert list(made.weights) == SMALL_WEIGHTS
    assert {id(p) for p in made.parameters()} == {id(p) for p in made.weights.values()}
    assert len(list(made.buffers())) == 4


def test_the_small_network_answers_as_the_reference_does():
    wanted = ReferenceEvaluator(small_model := small()).run(None, {"x": SMALL})
    for value, right in zip(in_torch(small_model, {"x": SMALL}), wanted, strict=True):
        np.testing.assert_allclose(value, right, atol=1e-4)


@pytest.mark.parametrize("kind", [k for k in LEARNED if k not in ("Gemm", "MatMul", "Conv", "ConvTranspose")])
def test_gradients_reach_what_an_operator_scales_and_adds_by(kind):
    case = next(case for case in CASES if case.kind == kind)
    made = torch_network(case.model)
    made({"x": torch.from_numpy(case.inputs["x"])})[0].square().sum().backward()
    assert made.weights
    assert all(weight.grad is not None and weight.grad.any() for weight in made.weights.values())


def test_what_is_learned_goes_back_into_a_copy_of_the_model():
    model = small()
    before = model.SerializeToString(deterministic=True)
    made = torch_network(model)
    assert made.write_back().SerializeToString(deterministic=True) == before
    optimizer = torch.optim.SGD(made.parameters(), lr=1e-3)
    inputs = {"x": torch.from_numpy(SMALL)}
    losses = []
    for _ in range(5):
        loss = made(inputs)[0].square().mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    written = made.write_back()
    assert model.SerializeToString(deterministic=True) == before
    learned = made(inputs)[0].detach().numpy()
    np.testing.assert_allclose(ReferenceEvaluator(written).run(None, {"x": SMALL})[0], learned, atol=1e-4)
    assert torch_network(written)(inputs)[0].detach().numpy().tolist() == learned.tolist()


def test_a_later_change_of_the_callers_model_is_not_written():
    model = small()
    before = model.SerializeToString(deterministic=True)
    made = torch_network(model)
    model.graph.node[0].op_type = "Changed"
    assert made.write_back().SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "DOUBLE"])
def test_other_floats_are_learned_and_written_as_they_were(kind):
    number = getattr(TensorProto, kind)
    weight = helper.make_tensor("w", number, [2, 2], [1.5, 2.5, -3.0, 0.25])
    model = network([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": some(2, 2)}, stored={"w": weight})
    made = torch_network(model)
    assert list(made.weights) == ["w"]
    with torch.no_grad():
        made.weights["w"].mul_(2)
    tensor = made.write_back().graph.initializer[0]
    assert tensor.data_type == number
    assert numpy_helper.to_array(tensor).astype("f4").tolist() == [[3.0, 5.0], [-6.0, 0.5]]


def test_a_deep_copy_is_a_network_of_its_own():
    made = torch_network(small())
    twin = copy.deepcopy(made)
    with torch.no_grad():
        twin.weights["forward"].zero_()
    assert made.weights["forward"].any()
    assert not numpy_helper.to_array(twin.write_back().graph.initializer[1]).any()


def test_functions_of_the_files_own_are_opened():
    twice = helper.make_function(
        "own", "Scaled", ["a", "b"], ["c"], [helper.make_node("Mul", ["a", "b"], ["c"])], [helper.make_opsetid("", 21)]  # noqa: E501
    )  # fmt: skip
    model = network(
        [helper.make_node("Scaled", ["x", "w"], ["y"], domain="own")], {"x": X}, stored={"w": some(4)}
    )  # noqa: E501
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(twice)
    made = torch_network(model)
    assert list(made.weights) == ["w"]
    assert made.write_back().SerializeToString(deterministic=True) == model.SerializeToString(
        deterministic=True
    )


# --- the hooks --------------------------------------------------------------------------------------


def test_through_sees_every_tensor_that_is_read_once_a_pass():
    model = network(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("MatMul", ["h", "w"], ["k"]),
            helper.make_node("Add", ["h", "k"], ["s"]),
            helper.make_node("Add", ["s", "x"], ["y"]),
        ],
        {"x": some(3, 3)},
        ("y", "h"),
        {"w": some(3, 3), "unused": some(2, 2)},
    )
    made, seen = torch_network(model), []

    def double(name, value):
        seen.append(name)
        return value * 2

    made.through = double
    x, w = torch.from_numpy(some(3, 3)), made.weights["w"]
    y, h = made({"x": x})
    assert Counter(seen) == dict.fromkeys(["x", "w", "h", "k", "s"], 1)
    product = (2 * x) @ (2 * w)
    torch.testing.assert_close(h, product)  # an output is what its node made
    torch.testing.assert_close(y, 2 * (2 * product + 2 * ((2 * product) @ (2 * w))) + 2 * x)
    made({"x": x})
    assert set(Counter(seen).values()) == {2}
    y.sum().backward()
    assert w.grad.any()


def test_through_may_be_a_module_and_is_trained_with_the_network():
    class Steps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.step = torch.nn.Parameter(torch.tensor(0.1))

        def forward(self, _, value):
            return value * self.step if value.is_floating_point() else value

    made = torch_network(small())
    made.through = Steps()
    made({"x": torch.from_numpy(SMALL)})[0].sum().backward()
    assert len(list(made.parameters())) == len(SMALL_WEIGHTS) + 1
    assert made.through.step.grad is not None


def test_around_stands_behind_products_alone():
    made, seen = torch_network(small()), []

    def around(node, value):
        seen.append((node.op_type, node.output[0]))
        return value * 0

    made.around = around
    y, r = made({"x": torch.from_numpy(SMALL)})
    assert seen == [("Conv", "c"), ("MatMul", "y")]
    assert not y.any()
    assert (r == 2).all()


# --- whole networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilenet-glyphs", "vit-glyphs"])
def test_a_network_of_the_zoo_answers_as_its_engine_does_and_all_of_it_learns(name, tmp_path):
    artifact = to_onnx(export(MODELS[name].load(), tmp_path), tmp_path)
    model = onnx.load(artifact.path)
    made = torch_network(model)
    spec = artifact.inputs[0]
    x = some(*[3 if size is None else size for size in spec.shape])
    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    outputs = made({spec.name: torch.from_numpy(x)})
    for value, right in zip(outputs, session.run(None, {spec.name: x}), strict=True):
        np.testing.assert_allclose(value.detach().numpy(), right, atol=1e-4)
    outputs[0].square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in made.weights.values())
    matrices = {
        t.name for t in model.graph.initializer if len(t.dims) > 1 and t.data_type == TensorProto.FLOAT
    }
    assert matrices <= set(made.weights)


def test_nothing_heavy_is_loaded_with_the_module():
    code = "import qbench.quant.torch_network, sys; print(*sorted({'torch', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
