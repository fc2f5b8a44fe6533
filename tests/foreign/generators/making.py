"""Data that a small network can learn in a second, the training, and the export."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np


def gratings(
    count: int, seed: int, *, side: int = 16, classes: int = 5, channels: int = 3
) -> tuple[Any, Any]:
    """Return pictures of stripes, (count, channels, side, side), and in which direction they run."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    down, across = np.mgrid[:side, :side] / side
    angle = (np.pi * labels / classes + rng.normal(0, 0.05, count))[:, None, None]
    wave = np.sin(20 * (across * np.cos(angle) + down * np.sin(angle)) + rng.uniform(0, 6, (count, 1, 1)))
    pictures = wave[:, None] * rng.uniform(0.6, 1.4, (count, channels, 1, 1))
    return (pictures + rng.normal(0, 0.35, pictures.shape)).astype("f4"), labels


def blobs(count: int, seed: int, side: int = 16) -> tuple[Any, Any]:
    """Return noisy pictures, (count, 1, side, side), with one bright disc, and its mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:side, :side]
    centre, radius = rng.uniform(4, side - 4, (count, 2, 1, 1)), rng.uniform(2, 4.5, (count, 1, 1))
    mask = ((down - centre[:, 0]) ** 2 + (across - centre[:, 1]) ** 2 < radius**2)[:, None].astype("f4")
    return (mask * 1.5 + rng.normal(0, 0.4, mask.shape)).astype("f4"), mask


def templates(
    count: int, seed: int, shape: tuple[int, ...], classes: int = 5, noise: float = 1.0
) -> tuple[Any, Any]:
    """Return noisy copies of one fixed template a class, (count, *shape), and the classes."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99).normal(0, 1, (classes, *shape))
    labels = rng.integers(0, classes, count)
    return (fixed[labels] + rng.normal(0, noise, (count, *shape))).astype("f4"), labels


def trained(
    net: Any,
    inputs: Any,
    wanted: Any,
    *,
    steps: int = 80,
    rate: float = 4e-3,
    batch: int = 64,
    loss: Any = None,
) -> Any:  # noqa: E501
    """Return the network after `steps` of Adam on one thread, the same on every call."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    arrays = [torch.from_numpy(one) for one in (inputs if isinstance(inputs, tuple) else (inputs,))]
    target = torch.from_numpy(wanted)
    loss = loss or torch.nn.functional.cross_entropy
    draw = torch.Generator().manual_seed(1)
    adam = torch.optim.Adam(net.parameters(), rate)
    net.train()
    for _ in range(steps):
        rows = torch.randint(0, len(target), (batch,), generator=draw)
        adam.zero_grad()
        loss(net(*(one[rows] for one in arrays)), target[rows]).backward()
        adam.step()
    torch.set_num_threads(threads)
    return net.eval()


def seeded(make: Any, *sizes: Any) -> Any:
    """Return `make(*sizes)` with weights that are the same on every call."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*sizes)


def exported(
    net: Any,
    inputs: Any,
    names: Sequence[str],
    outputs: Sequence[str],
    free: dict[str, dict[int, str]] | None = None,
    opset: int = 17,
) -> Any:  # noqa: E501
    """Return torch's export as a ModelProto; `free` names the free axes, the batch by default."""
    import onnx
    import torch

    examples = tuple(
        torch.from_numpy(np.ascontiguousarray(one))
        for one in (inputs if isinstance(inputs, tuple) else (inputs,))
    )  # noqa: E501
    free = free if free is not None else {name: {0: "batch"} for name in (*names, *outputs)}
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # tracing says what it cannot follow; the networks here have fixed sizes
        torch.onnx.export(
            net, examples, written, dynamo=False, opset_version=opset, input_names=list(names),
            output_names=list(outputs), dynamic_axes=free,
        )  # fmt: skip
    return onnx.load_model_from_string(written.getvalue())


def built(
    nodes: Sequence[Any],
    inputs: Sequence[tuple],
    outputs: Sequence[tuple],
    stored: dict[str, np.ndarray],
    *,
    opset: int = 17,
    ir: int = 8,
    domains: Sequence[tuple[str, int]] = (),
) -> Any:  # noqa: E501
    """Return a ModelProto of nodes and stored arrays; inputs and outputs as (name, numpy type, shape)."""
    import onnx
    from onnx import helper, numpy_helper

    def told(name: str, dtype: str, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(
        list(nodes), "network", [told(*one) for one in inputs], [told(*one) for one in outputs], tensors
    )
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in domains)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=ir)
    if not domains:
        onnx.checker.check_model(model)
    return model
