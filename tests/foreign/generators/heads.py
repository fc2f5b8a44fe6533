"""Networks whose outputs or inputs are several, of unlike kinds, or of no fixed length."""

from __future__ import annotations

import numpy as np

from generators.making import built, exported, gratings, seeded, templates, trained
from generators.network import Law, Network, cosine, equal, first_answer, network, signal_db, worst_channel_db


@network
def siamese() -> Network:
    """Two inputs through the same weights, two embeddings.

    Seen in microsoft/onnxruntime#11530 (blocks used twice).
    """
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
            )
            self.out, self.head = nn.Linear(32, 16), nn.Linear(16, 5)

        def embed(self, x):
            return nn.functional.normalize(self.out(self.body(x).mean((2, 3))), dim=1)

        def forward(self, left, right):
            one, other = self.embed(left), self.embed(right)
            return self.head(one * 8) if self.training else (one, other)

    pictures, labels = gratings(600, 0)
    net = trained(seeded(Net), (pictures, pictures[::-1].copy()), labels, steps=120)
    model = exported(net, (pictures[:2], pictures[2:4]), ["left", "right"], ["one", "other"])
    law = Law(("embedding",), cosine, 0.98, 0.9)
    samples = {"left": gratings(64, 1)[0], "right": gratings(64, 2)[0]}
    return Network(model, samples, {"one": law, "other": law})


@network
def tabular() -> Network:
    """Categories as int64, numbers beside them, one value out: always the same in PINTO0309/onnx2tf#610."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shop, self.day = nn.Embedding(12, 6), nn.Embedding(7, 4)
            self.body = nn.Sequential(
                nn.Linear(15, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
            )

        def forward(self, shop, day, numbers):
            return self.body(torch.cat([self.shop(shop), self.day(day), numbers], 1))

    def rows(count, seed):
        rng = np.random.default_rng(seed)
        shop, day, numbers = (
            rng.integers(0, 12, count),
            rng.integers(0, 7, count),
            rng.normal(0, 1, (count, 5)).astype("f4"),
        )  # noqa: E501
        price = shop * 0.4 - (day > 4) + numbers[:, 0] * numbers[:, 1] + 2 * numbers[:, 2]
        return (shop, day, numbers), price[:, None].astype("f4")

    inputs, price = rows(800, 0)
    net = trained(seeded(Net), inputs, price, steps=250, rate=8e-3, loss=nn.functional.mse_loss)
    names = ["shop", "day", "numbers"]
    model = exported(net, tuple(one[:2] for one in inputs), names, ["price"])
    samples = dict(zip(names, rows(96, 1)[0], strict=True))
    return Network(model, samples, {"price": Law(("values",), signal_db, 20.0, 8.0)})


@network
def three_tasks() -> Network:
    """One trunk, three heads: classes, independent scores, a value in thousands.

    Seen in meituan/YOLOv6#969's kind.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())
            self.a, self.b, self.c = nn.Linear(32, 5), nn.Linear(32, 3), nn.Linear(32, 1)

        def forward(self, x):
            y = self.trunk(x)
            return self.a(y), torch.sigmoid(self.b(y)), self.c(y) * 1000

    x, labels = templates(600, 0, (20,))
    marks, value = (x[:, :3] > 0).astype("f4"), x[:, :1] - x[:, 1:2]

    def loss(given, wanted):
        classes = nn.functional.cross_entropy(given[0], wanted[:, 0].long())
        scores = nn.functional.binary_cross_entropy(given[1], wanted[:, 1:4])
        return classes + scores + nn.functional.mse_loss(given[2] / 1000, wanted[:, 4:])

    wanted = np.concatenate([labels[:, None], marks, value], 1).astype("f4")
    net = trained(seeded(Net), x, wanted, steps=200, loss=loss)
    model = exported(net, x[:2], ["x"], ["classes", "marks", "value"])
    laws = {
        "classes": Law(("scores",), first_answer(), 0.95, 0.8),
        "marks": Law(("sigmoid",), lambda a, b: float(((a > 0.5) == (b > 0.5)).mean()), 0.95, 0.8),
        "value": Law(("values",), signal_db, 18.0, 8.0),
    }
    return Network(model, {"x": templates(96, 1, (20,))[0]}, laws)


@network
def anchors() -> Network:
    """Boxes of 0 to 320 and scores of 0 to 1 side by side on the LAST axis: ultralytics/ultralytics#25524.

    Each of the channels is judged by itself: over the whole tensor the boxes hide what became of the scores.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.SiLU()
            )
            self.box, self.score = nn.Conv2d(24, 4, 1), nn.Conv2d(24, 3, 1)

        def forward(self, x):
            y = self.body(x)
            boxes = (torch.sigmoid(self.box(y)) * 320).flatten(2)
            return torch.cat([boxes, torch.sigmoid(self.score(y)).flatten(2)], 1).transpose(1, 2)

    pictures, labels = gratings(500, 0)
    wanted = np.zeros((500, 16, 7), "f4")
    wanted[..., :4] = (pictures[:, :1, 1::4, 1::4].reshape(500, 16, 1) * [40, 30, 20, 10] + 160).clip(0, 320)
    wanted[np.arange(500), :, 4 + labels % 3] = 1

    def loss(given, target):
        scores = nn.functional.binary_cross_entropy(given[..., 4:].clamp(1e-6, 1 - 1e-6), target[..., 4:])
        return nn.functional.mse_loss(given[..., :4] / 320, target[..., :4] / 320) * 20 + scores

    net = trained(seeded(Net), pictures, wanted, steps=150, loss=loss)
    model = exported(net, pictures[:2], ["images"], ["detections"])
    law = Law(("boxes", "sigmoid", "probabilities", "values"), worst_channel_db(2), 12.0, 3.0)
    return Network(model, {"images": gratings(64, 1)[0]}, {"detections": law}, int8_holds=False)


@network
def suppressed() -> Network:
    """A detector with NonMaxSuppression inside: as many rows as there are finds.

    Seen in microsoft/onnxruntime#21476.
    """
    from onnx import helper

    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(4), indexing="ij"), -1).reshape(16, 2) * 4.0
    stored = {
        "w": rng.normal(0, 0.5, (8, 1, 4, 4)).astype("f4"), "b": np.zeros(8, "f4"),
        "v": rng.normal(0, 0.9, (2, 8, 1, 1)).astype("f4"), "c": np.full(2, -1.0, "f4"),
        "flat": np.array([0, 2, 16]), "boxes": np.concatenate([grid, grid + 5], 1)[None].astype("f4"),
        "most": np.array(5), "close": np.array(0.3, "f4"), "least": np.array(0.5, "f4"),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["f"], strides=[4, 4]),
        helper.make_node("Relu", ["f"], ["r"]),
        helper.make_node("Conv", ["r", "v", "c"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["p"]),
        helper.make_node("Reshape", ["p", "flat"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "close", "least"], ["found"]),
    ]
    model = built(nodes, [("x", "f4", [1, 1, 16, 16])], [("found", "i8", ["k", 3])], stored, opset=13)
    law = Law(("labels",), equal, 0.9, 0.5)
    samples = {"x": rng.normal(0, 1, (64, 1, 16, 16)).astype("f4")}
    return Network(model, samples, {"found": law}, int8_holds=False)


@network
def graph_of_nodes() -> Network:
    """A graph network: the matrix of edges is an input that is the same for every example.

    Its two axes are nodes, and no batch: what is fed once must not be cut into samples.
    """
    from onnx import helper

    rng = np.random.default_rng(0)
    edges = (rng.random((12, 12)) < 0.3).astype("f4") + np.eye(12, dtype="f4")
    edges = edges / edges.sum(1, keepdims=True)
    stored = {
        "w0": rng.normal(0, 0.4, (6, 24)).astype("f4"), "w1": rng.normal(0, 0.3, (24, 24)).astype("f4"),
        "w2": rng.normal(0, 0.4, (24, 4)).astype("f4"),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("MatMul", ["edges", "a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]), helper.make_node("MatMul", ["c", "w1"], ["d"]),
        helper.make_node("MatMul", ["edges", "d"], ["e"]), helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["scores"]),
    ]  # fmt: skip
    model = built(
        nodes, [("x", "f4", ["n", 12, 6]), ("edges", "f4", [12, 12])], [("scores", "f4", ["n", 12, 4])],
        stored, opset=13,
    )  # fmt: skip
    samples = {"x": rng.normal(0, 1, (96, 12, 6)).astype("f4"), "edges": edges}
    law = Law(("scores",), first_answer(), 0.92, 0.75)
    return Network(model, samples, {"scores": law}, {"edges": None})
