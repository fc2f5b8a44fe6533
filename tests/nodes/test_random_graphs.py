"""Small networks drawn at random, in operator sets 9 to 21: all who read them answer the same."""

import numpy as np
import onnx
import onnxruntime
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from qbench.formats.normalise import normalised
from qbench.quant.onnx_layers import read_network
from qbench.quant.opset import raised
from qbench.quant.qdq_layout import runner
from qbench.quant.torch_network import torch_network
from qbench.referee.voices.base import VOICES

OPSETS = (9, 10, 11, 12, 13, 15, 17, 18, 20, 21)
SIMPLE = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Abs", "Neg", "Exp", "Softplus")
SMALL = st.integers(1, 3)


class Builder:
    """A chain of nodes with the values' shape after each; x is (2, channels, height, width)."""

    def __init__(self, draw, opset):
        self.draw, self.opset = draw, opset
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes, self.stored = [], {}
        self.shape = [2, draw(SMALL), draw(st.integers(3, 7)), draw(st.integers(3, 7))]
        self.given, self.now = list(self.shape), "x"

    def weight(self, *shape, low=-1.0, high=1.0, kind="f4"):
        return self.constant(self.rng.uniform(low, high, shape).astype(kind))

    def constant(self, array):
        name = f"w{len(self.stored)}"
        self.stored[name] = np.asarray(array)
        return name

    def add(self, kind, *others, shape=None, first=True, **facts):
        out = f"v{len(self.nodes)}"
        inputs = [self.now, *others] if first else [*others, self.now]
        self.nodes.append(helper.make_node(kind, inputs, [out], **facts))
        self.now, self.shape = out, list(shape or self.shape)

    def model(self):
        ends = [helper.make_tensor_value_info("x", 1, ["N", *self.given[1:]])]
        outs = [helper.make_tensor_value_info(self.now, 1, [None] * len(self.shape))]
        tensors = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        graph = helper.make_graph(self.nodes, "drawn", ends, outs, tensors)
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=7 if self.opset < 15 else 8)


def conv(b):
    draw, (_, channels, *size) = b.draw, b.shape
    group = draw(st.sampled_from([g for g in (1, channels) if channels % g == 0]))
    out = group * draw(SMALL)
    kernel = [draw(st.integers(1, min(3, s))) for s in size]
    strides, pads = [draw(st.integers(1, 2)) for _ in size], [draw(st.integers(0, 1)) for _ in range(4)]
    bias = [b.weight(out)] * draw(st.integers(0, 1))
    after = [(s + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, s in enumerate(size)]
    weight = b.weight(out, channels // group, *kernel)
    b.add("Conv", weight, *bias, shape=[2, out, *after], strides=strides, pads=pads, group=group)


def transposed(b):
    _, channels, *size = b.shape
    out, strides = b.draw(SMALL), [b.draw(st.integers(1, 2)) for _ in size]
    bias = [b.weight(out)] * b.draw(st.integers(0, 1))
    after = [(s - 1) * strides[i] + 2 for i, s in enumerate(size)]
    b.add("ConvTranspose", b.weight(channels, out, 2, 2), *bias, shape=[2, out, *after], strides=strides)


def norm(b):
    channels = b.shape[1]
    values = [b.weight(channels, low=low) for low in (0.5, -1.0, -1.0, 0.2)]
    b.add("BatchNormalization", *values, epsilon=b.draw(st.sampled_from([1e-5, 1e-2])))


def pool(b):
    kind = b.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    pads = [b.draw(st.integers(0, 1)) for _ in range(4)]
    facts = {"count_include_pad": 1} if kind == "AveragePool" and b.draw(st.booleans()) else {}
    after = [s + pads[i] + pads[i + 2] - 1 for i, s in enumerate(b.shape[2:])]
    if min(b.shape[2:]) > 1:
        b.add(kind, shape=[*b.shape[:2], *after], kernel_shape=[2, 2], pads=pads, **facts)


def pad(b):
    pads = [0, 0, *(b.draw(st.integers(0, 2)) for _ in range(2))] * 2
    after = [s + pads[i] + pads[i + 4] for i, s in enumerate(b.shape)]
    if b.opset < 11:
        b.add("Pad", shape=after, pads=pads, value=0.5)
    else:
        b.add("Pad", b.constant(np.int64(pads)), b.constant(np.float32(0.5)), shape=after)


def flat(b):
    b.add("Flatten", shape=[2, int(np.prod(b.shape[1:]))], axis=1)


def gemm(b):
    if len(b.shape) > 2:
        flat(b)
    across, turned = b.draw(st.integers(1, 5)), b.draw(st.integers(0, 1))
    facts = {"alpha": b.draw(st.sampled_from([1.0, 0.5])), "beta": b.draw(st.sampled_from([1.0, 2.0]))}
    bias = b.draw(st.sampled_from([(across,), (1, across), (2, across), (1,), None]))
    if bias is None and b.opset < 11:
        bias = (across,)
    shape = (across, b.shape[1]) if turned else (b.shape[1], across)
    more = [] if bias is None else [b.weight(*bias)]
    b.add("Gemm", b.weight(*shape), *more, shape=[2, across], transB=turned, **facts)


def matmul(b):
    rank = b.draw(st.sampled_from([2, len(b.shape)]))
    batch = [1] * (rank - 2)
    after = b.draw(st.integers(1, 4))
    b.add("MatMul", b.weight(*batch, b.shape[-1], after), shape=[*b.shape[:-1], after])


def with_constant(b):
    kind = b.draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    shape = [s if b.draw(st.booleans()) else 1 for s in b.shape[1:]]
    b.add(kind, b.weight(*shape, low=0.5, high=2.0), first=kind == "Div" or b.draw(st.booleans()))


def simple(b):
    kind = b.draw(st.sampled_from(SIMPLE))
    if kind == "Exp":
        b.add("Tanh")
    b.add(kind)


def clip(b):
    if b.opset < 11:
        b.add("Clip", min=-0.5, max=1.5)
    else:
        b.add("Clip", b.constant(np.float32(-0.5)), b.constant(np.float32(1.5)))


def softmax(b):
    axis = b.draw(st.integers(-1 if b.opset > 10 else 1, len(b.shape) - 1))
    b.add(b.draw(st.sampled_from(["Softmax", "LogSoftmax"])), axis=axis)


def transpose(b):
    axes = [0, *b.draw(st.permutations(range(1, len(b.shape))))]
    b.add("Transpose", shape=[b.shape[axis] for axis in axes], perm=axes)


def reduction(b):
    kind = b.draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"]))
    axis = b.draw(st.integers(1, len(b.shape) - 1))
    after = [1 if at == axis else s for at, s in enumerate(b.shape)]
    if b.opset < (13 if kind == "ReduceSum" else 18):
        b.add(kind, shape=after, axes=[axis], keepdims=1)
    else:
        b.add(kind, b.constant(np.int64([axis])), shape=after, keepdims=1)


def cut(b):
    axis = b.draw(st.integers(1, len(b.shape) - 1))
    start = b.draw(st.integers(0, b.shape[axis] - 1))
    after = [s - start if at == axis else s for at, s in enumerate(b.shape)]
    if b.opset < 10:
        b.add("Slice", shape=after, starts=[start], ends=[2**31 - 1], axes=[axis])
    else:
        numbers = [b.constant(np.int64([n])) for n in (start, 2**31 - 1, axis)]
        b.add("Slice", *numbers, shape=after)


def doubled(b):
    axis = b.draw(st.integers(1, len(b.shape) - 1))
    after = [2 * s if at == axis else s for at, s in enumerate(b.shape)]
    b.add("Concat", b.now, shape=after, axis=axis)


OF_IMAGES = (conv, conv, transposed, norm, pool, pad)
OF_ALL = (
    gemm,
    matmul,
    with_constant,
    with_constant,
    simple,
    clip,
    softmax,
    transpose,
    reduction,
    cut,
    doubled,
)


@st.composite
def networks(draw):
    """Return a model of up to six steps, a product at its end, and its input."""
    b = Builder(draw, draw(st.sampled_from(OPSETS)))
    for _ in range(draw(st.integers(1, 6))):
        image = len(b.shape) == 4
        draw(st.sampled_from(OF_IMAGES + OF_ALL if image else OF_ALL))(b)
    draw(st.sampled_from([gemm, matmul]))(b)
    return b.model(), b.rng.standard_normal(b.given).astype("f4")


def mixed_up(node):
    """Tell whether onnx's evaluator reads this node's pads in another order: begin and end, axis by axis."""
    pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [0] * 4)
    return node.op_type == "MaxPool" and pads != [pads[at] for at in (0, 2, 1, 3)]


def test_the_evaluator_still_mixes_up_the_pads_of_a_max_pool(tmp_path):
    """As TensorFlow's exporters write them, one below and one on the right. Else `mixed_up` can go."""
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1])
    ends = [helper.make_tensor_value_info(name, 1, ["N", 1, None, None]) for name in ("x", "y")]
    graph = helper.make_graph([node], "pool", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.arange(9, dtype="f4").reshape(1, 1, 3, 3)
    assert mixed_up(node)
    assert deployed(model, x).shape == (1, 1, 3, 3)  # rows: 3 + 0 + 1 - 2 + 1
    onnx.save(model, tmp_path / "model.onnx")
    assert np.shape(VOICES["evaluator"]().open(tmp_path / "model.onnx")({"x": x})[0]) == (1, 1, 2, 4)


def deployed(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def alike(found, right):
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=2e-5 * max(1.0, np.abs(right).max()))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(networks())
def test_all_readers_answer_as_the_engine_does(tmp_path_factory, drawn):
    model, x = drawn
    right = deployed(model, x)
    name = model.graph.output[0].name
    alike(dict(runner(model, [name])({"x": x}))[name], right)
    alike(deployed(normalised(model), x), right)
    alike(deployed(raised(model, 21), x), right)
    with torch.no_grad():
        alike(torch_network(raised(model, 13))({"x": torch.from_numpy(x)})[0].numpy(), right)
    path = tmp_path_factory.mktemp("drawn") / "model.onnx"
    onnx.save(model, path)
    if not any(mixed_up(node) for node in model.graph.node):
        alike(np.asarray(VOICES["evaluator"]().open(path)({"x": x})[0]), right)
    alike(deployed(read_network(path, ("Gemm", "MatMul"), "a quantizer"), x), right)
