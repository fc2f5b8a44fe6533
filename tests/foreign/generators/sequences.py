"""Networks on sequences: recurrent, time first, streaming, spelled out."""

from __future__ import annotations

import numpy as np

from generators.making import built, exported, seeded, templates, trained
from generators.network import Law, Network, first_answer, network, same_text, signal_db

SCORES = Law(("scores",), first_answer(), 0.95, 0.8)


@network
def gru_tagger() -> Network:
    """A GRU as torch exports it by default, (time, batch, features), one tag a step.

    Seen in microsoft/onnxruntime#9796.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.out = nn.GRU(6, 24), nn.Linear(24, 4)

        def forward(self, x):
            return self.out(self.gru(x)[0])

    def series(count, seed):
        rng = np.random.default_rng(seed)
        tags = np.repeat(rng.integers(0, 4, (3, count)), 4, 0)
        return (np.eye(6)[tags] * 1.5 + rng.normal(0, 0.5, (12, count, 6))).astype("f4"), tags

    x, tags = series(300, 0)

    class Swapped(nn.Module):  # the trainer draws rows, the network has them second
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.transpose(0, 1)).transpose(0, 1)

    def loss(scores, wanted):
        return nn.functional.cross_entropy(scores.reshape(-1, 4), wanted.reshape(-1))

    net = seeded(Net)
    trained(Swapped(net), np.ascontiguousarray(x.transpose(1, 0, 2)), np.ascontiguousarray(tags.T), loss=loss)
    assert torch.is_tensor(net.out.weight)
    free = {"x": {1: "batch"}, "tags": {1: "batch"}}
    model = exported(net.eval(), x[:, :3], ["x"], ["tags"], free, opset=14)
    return Network(model, {"x": series(64, 1)[0]}, {"tags": SCORES}, {"x": 1}, {"tags": 1})


@network
def lstm_both_ways() -> Network:
    """A bidirectional LSTM, batch first, whose last layer is a MatMul: microsoft/onnxruntime#5747."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(8, 16, batch_first=True, bidirectional=True), nn.Linear(32, 5)

        def forward(self, x):
            return self.out(self.lstm(x)[0].mean(1))

    x, labels = templates(500, 0, (10, 8))
    model = exported(trained(seeded(Net), x, labels), x[:2], ["x"], ["scores"], opset=14)
    return Network(model, {"x": templates(96, 1, (10, 8))[0]}, {"scores": SCORES})


def _written(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of words, (count, 1, 8, 40), and the symbols, one at each of five places."""
    rng = np.random.default_rng(seed)
    glyphs = np.random.default_rng(5).normal(0, 1, (6, 8, 8))
    symbols = rng.integers(1, 6, (count, 5))
    pictures = glyphs[symbols].transpose(0, 2, 1, 3).reshape(count, 1, 8, 40)
    return (pictures + rng.normal(0, 0.5, pictures.shape)).astype("f4"), symbols


@network
def text_line() -> Network:
    """A recogniser of text with CTC probabilities: 67 % exact fall to 41 % in OpenPPL/ppq#419."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, (2, 2), 1), nn.ReLU(), nn.Conv2d(16, 32, 3, (2, 2), 1), nn.ReLU(),
                nn.Conv2d(32, 32, (2, 3), 1, (0, 1)), nn.ReLU(),
            )  # fmt: skip
            self.out = nn.Linear(32, 6)

        def forward(self, x):
            scores = self.out(self.body(x).squeeze(2).transpose(1, 2))  # (examples, 10 steps, 6 symbols)
            return scores if self.training else torch.softmax(scores, 2)

    def loss(scores, symbols):
        steps = torch.full((len(scores),), scores.shape[1])
        spelled = torch.full((len(scores),), symbols.shape[1])
        return nn.functional.ctc_loss(scores.log_softmax(2).transpose(0, 1), symbols, steps, spelled)

    pictures, symbols = _written(600, 0)
    net = trained(seeded(Net), pictures, symbols, steps=200, loss=loss)
    free = {"line": {0: "batch", 3: "width"}, "symbols": {0: "batch", 1: "steps"}}
    model = exported(net, pictures[:2], ["line"], ["symbols"], free)
    law = Law(("text", "probabilities"), same_text, 0.93, 0.7)
    return Network(model, {"line": _written(80, 1)[0]}, {"symbols": law})


@network
def wavenet() -> Network:
    """WaveNet's gated block over any length of sound, many dilations and skips.

    Seen in pytorch/pytorch#107023's kind of file.
    """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv1d(1, 12, 1), nn.Conv1d(12, 1, 1)
            self.gates = nn.ModuleList(nn.Conv1d(12, 24, 2, dilation=2**n) for n in range(3))
            self.skips = nn.ModuleList(nn.Conv1d(12, 12, 1) for _ in range(3))

        def forward(self, x):
            y, total = self.first(x), 0.0
            for n, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
                left, right = gate(nn.functional.pad(y, (2**n, 0))).chunk(2, 1)
                z = torch.tanh(left) * torch.sigmoid(right)
                total, y = total + skip(z), y + z
            return self.last(torch.relu(total))

    def sound(count, seed):
        rng = np.random.default_rng(seed)
        at = np.arange(49) / 8
        wave = np.sin(at * rng.uniform(1, 4, (count, 1, 1)) + rng.uniform(0, 6, (count, 1, 1)))
        return (wave + rng.normal(0, 0.05, wave.shape)).astype("f4")

    x = sound(300, 0)
    net = trained(seeded(Net), x[..., :-1], x[..., 1:].copy(), steps=150, loss=nn.functional.mse_loss)
    free = {"sound": {0: "batch", 2: "time"}, "next": {0: "batch", 2: "time"}}
    model = exported(net, x[:2, :, :-1], ["sound"], ["next"], free)
    law = Law(("values",), signal_db, 20.0, 8.0)
    return Network(model, {"sound": sound(64, 1)[..., :-1].copy()}, {"next": law})


@network
def streaming() -> Network:
    """A causal convolution with its past as input and output, for streams: microsoft/onnxruntime#19601.

    That the past is carried is seen in the answers: with a past of zeros every call answers something else.
    """
    from onnx import helper

    rng = np.random.default_rng(0)
    stored = {
        "w0": rng.normal(0, 0.4, (16, 8, 5)).astype("f4"), "b0": rng.normal(0, 0.1, 16).astype("f4"),
        "w1": rng.normal(0, 0.4, (4, 16, 1)).astype("f4"), "b1": np.zeros(4, "f4"),
        "begin": np.array([-4]), "end": np.array([2**31]), "axis": np.array([2]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Concat", ["cache", "x"], ["all"], axis=2),
        helper.make_node("Conv", ["all", "w0", "b0"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1", "b1"], ["y"]),
        helper.make_node("Slice", ["all", "begin", "end", "axis"], ["new_cache"]),
    ]
    model = built(
        nodes, [("x", "f4", ["n", 8, 2]), ("cache", "f4", ["n", 8, 4])],
        [("y", "f4", ["n", 4, 2]), ("new_cache", "f4", ["n", 8, 4])], stored, opset=13,
    )  # fmt: skip
    steps = np.cumsum(rng.normal(0, 0.3, (96, 8, 2)), 0)  # one stream: what comes next depends on what came
    law = Law(("values", "scores"), signal_db, 25.0, 10.0)
    samples = {"x": (steps - steps.mean(0)).astype("f4")}
    return Network(model, samples, {"y": law}, carried={"cache": "new_cache"})


@network
def two_rates() -> Network:
    """The sampling rate as a number, and an If that chooses weights by it, as silero-vad has it.

    microsoft/onnxruntime#8488: nothing inside the branches was quantized.
    """
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    x, labels = templates(400, 0, (16,), classes=4)
    fitted = np.linalg.lstsq(
        np.tanh(x @ (first := rng.normal(0, 0.4, (16, 32)).astype("f4"))), np.eye(4)[labels], rcond=None
    )[0]  # noqa: E501

    def branch(name, scale):
        tensors = [numpy_helper.from_array((fitted * scale).astype("f4"), f"w_{name}")]
        out = helper.make_tensor_value_info(f"o_{name}", 1, ["n", 4])
        return helper.make_graph(
            [helper.make_node("MatMul", ["t", f"w_{name}"], [f"o_{name}"])], name, [], [out], tensors
        )

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Equal", ["sr", "wide"], ["is_wide"]),
        helper.make_node(
            "If", ["is_wide"], ["y"], then_branch=branch("fast", 1.0), else_branch=branch("slow", 2.0)
        ),
    ]
    stored = {"w": first, "wide": np.array(16000)}
    model = built(
        nodes, [("x", "f4", ["n", 16]), ("sr", "i8", [])], [("y", "f4", ["n", 4])], stored, opset=16
    )
    samples = {"x": templates(96, 1, (16,), classes=4)[0], "sr": np.array(16000)}
    return Network(model, samples, {"y": SCORES}, {"sr": None})


def _tones(count: int, seed: int, bins: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of tones with overtones, (count, 1, 512), and their bins, three a semitone."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, bins - 1, count)
    turns = 2 * np.pi * 0.02 * 2 ** (at / 36)[:, None] * np.arange(512)
    frames = sum(
        rng.uniform(0.3, 1, (count, 1)) / n * np.sin(n * turns + rng.uniform(0, 6, (count, 1)))
        for n in (1, 2, 3)
    )
    frames = frames + rng.normal(0, 0.1, frames.shape)
    return frames[:, None].astype("f4"), np.exp(-((np.arange(bins) - at[:, None]) ** 2) / 4).astype("f4")


def same_pitch(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the share of frames whose strongest bins are at most one apart."""
    return float((abs(wanted.argmax(-1) - given.argmax(-1)) <= 1).mean())


@network
def pitch() -> Network:
    """Pitch from the waveform: long 1-D convolutions, then a salience from 0 to 1 of each bin.

    As CREPE has it (arXiv 1802.06182), asked for in ailia-ai/ailia-models#1201: few bins are near 1.
    """
    from torch import nn

    def block(given, made, width, stride):
        return nn.Conv1d(given, made, width, stride, width // 2), nn.ReLU(), nn.BatchNorm1d(made)

    def net():
        return nn.Sequential(
            *block(1, 24, 65, 4), *block(24, 24, 9, 2), nn.MaxPool1d(2),
            *block(24, 32, 9, 2), nn.MaxPool1d(2),
            nn.Flatten(), nn.Linear(32 * 8, 36), nn.Sigmoid(),
        )  # fmt: skip

    frames, salience = _tones(2000, 0)
    made = trained(seeded(net), frames, salience, steps=300, loss=nn.functional.binary_cross_entropy)
    model = exported(made, frames[:2], ["frame"], ["salience"])
    law = Law(("sigmoid",), same_pitch, 0.95, 0.8)
    return Network(model, {"frame": _tones(96, 1)[0]}, {"salience": law})
