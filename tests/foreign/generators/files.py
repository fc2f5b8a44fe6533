"""Files that are right and unusual, and files that must be refused by name."""

from __future__ import annotations

import numpy as np

from generators.making import built, exported, gratings, seeded, templates, trained
from generators.network import Law, Network, first_answer, network

SCORES = Law(("scores",), first_answer(), 0.95, 0.8)


def _plain(seed: int = 0):
    from torch import nn

    x, labels = templates(500, seed, (20,))
    return trained(
        seeded(
            lambda: nn.Sequential(
                nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5)
            )
        ),
        x, labels,
    )  # fmt: skip


def _layers(opset: int, **more):
    """Return the parts of a file of three Gemms and its arrays."""
    from onnx import helper

    net = _plain()
    stored = {
        f"{kind}{n}": getattr(net[2 * n], kind).detach().numpy()
        for n in range(3)
        for kind in ("weight", "bias")
    }
    nodes = []
    for n, (given, made) in enumerate([("x", "a"), ("ar", "b"), ("br", "scores")]):
        nodes.append(helper.make_node("Gemm", [given, f"weight{n}", f"bias{n}"], [made], transB=1))
        nodes += [helper.make_node("Relu", [made], [f"{made}r"])] if n < 2 else []
    return built(
        nodes,
        [("x", "f4", ["n", 20]), *more.get("inputs", ())],
        [("scores", "f4", ["n", 5])],
        stored,
        opset=opset,
        ir=more.get("ir", 8),
    )  # noqa: E501


@network
def opset_seven() -> Network:
    """Opset 7, IR 3: stored arrays are graph inputs too, BatchNormalization has momentum. onnx/onnx#2995."""
    from onnx import helper
    from torch import nn

    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
        )
    )  # fmt: skip
    pictures, labels = gratings(600, 0)
    net = trained(net, pictures, labels)
    bn = net[1]
    stored = {
        "w0": net[0].weight, "scale": bn.weight, "shift": bn.bias,
        "mean": bn.running_mean, "var": bn.running_var,
        "w1": net[3].weight, "b1": net[3].bias, "w2": net[7].weight, "b2": net[7].bias,
    }  # fmt: skip
    stored = {name: tensor.detach().numpy() for name, tensor in stored.items()}
    nodes = [
        helper.make_node("Conv", ["data", "w0"], ["a"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node(
            "BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"], epsilon=1e-5, momentum=0.9
        ),  # noqa: E501
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w1", "b1"], ["d"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Dropout", ["f"], ["g"], ratio=0.5),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "w2", "b2"], ["scores"], transB=1),
    ]
    inputs = [
        ("data", "f4", ["n", 3, 16, 16]),
        *((name, "f4", array.shape) for name, array in stored.items()),
    ]
    model = built(nodes, inputs, [("scores", "f4", ["n", 5])], stored, opset=7, ir=3)
    return Network(model, {"data": gratings(96, 1)[0]}, {"scores": SCORES})


@network
def weights_beside() -> Network:
    """Weights in a file beside the model, as large exports have them.

    Seen in onnx/onnx#3559, #23268 of onnxruntime.
    """
    return Network(_layers(17), {"x": templates(96, 1, (20,))[0]}, {"scores": SCORES}, beside=True)


@network
def half_precision() -> Network:
    """A float16 file: microsoft/onnxruntime#15341. qbench takes 32-bit files and says how to cast."""
    from onnx import TensorProto, numpy_helper

    model = _layers(17)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f2"), tensor.name))
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    samples = {"x": templates(96, 1, (20,))[0].astype("f2")}
    return Network(model, samples, {}, refused=r"(?i)float16|fp16|16-bit|half")


@network
def custom_operator() -> Network:
    """An operator of a domain that no engine here has: its name and domain are told, not a loader's stack."""
    from onnx import helper

    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("FancyNorm", ["a"], ["y"], domain="com.example.lab"),
    ]
    stored = {"w": np.random.default_rng(0).normal(0, 1, (20, 5)).astype("f4")}
    ends = [("x", "f4", ["n", 20])], [("y", "f4", ["n", 5])]
    model = built(nodes, *ends, stored, opset=17, domains=[("com.example.lab", 1)])
    samples = {"x": templates(96, 1, (20,))[0]}
    return Network(
        model, samples, {}, refused=r"(?s)com\.example\.lab.*FancyNorm|FancyNorm.*com\.example\.lab"
    )


@network
def batch_inside() -> Network:
    """Free outside, and a Reshape to 8 examples inside: microsoft/onnxruntime#8169. The number is told."""
    from onnx import helper

    rng = np.random.default_rng(0)
    stored = {
        "w": rng.normal(0, 0.4, (20, 32)).astype("f4"), "eight": np.array([8, 4, 8]),
        "back": np.array([8, 32]), "v": rng.normal(0, 0.4, (32, 5)).astype("f4"),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "eight"], ["c"]), helper.make_node("Softmax", ["c"], ["d"], axis=2),
        helper.make_node("Reshape", ["d", "back"], ["e"]), helper.make_node("MatMul", ["e", "v"], ["y"]),
    ]  # fmt: skip
    model = built(nodes, [("x", "f4", ["n", 20])], [("y", "f4", ["n", 5])], stored, opset=13)
    return Network(model, {"x": templates(96, 1, (20,))[0]}, {}, refused=r"\b8\b")


@network
def exported_at_one() -> Network:
    """An export with a batch of one fixed in every shape: common, and the samples are many."""
    net = _plain()
    x = templates(96, 1, (20,))[0]
    model = exported(net, x[:1], ["x"], ["scores"], free={})
    return Network(model, {"x": x}, {"scores": SCORES})
