"""How long each layer takes on this processor, by the engine's own profiler."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import DoesNotFit

if TYPE_CHECKING:
    import numpy as np

RUNS = 100
TICK_S = 1e-6  # the profiler tells whole microseconds, rounded down
FUSED = ("Relu", "Clip", "Add", "Sigmoid", "HardSigmoid", "LeakyRelu")  # what a kernel may do besides
KERNEL = "_kernel_time"


def layer_times(network: Any, inputs: dict[str, np.ndarray], layers: Iterable[str]) -> dict[str, float]:
    """Return the seconds of these layers by node name, on one thread: means over RUNS, see `_typical`.

    Integer kernels keep the node's name with a suffix, fused products with "fused" before it; blocked float
    convolutions take that of the tensor that they write, behind what was fused into them (onnxruntime 1.31).

    Raises:
        DoesNotFit: a layer is not among what ran.
    """
    seen = _profile(network, inputs)
    times = {}
    made = {node.name: node for node in network.graph.node}
    for node in (made[name] for name in layers):
        own = [name for name in seen if f"{name}_".removeprefix("fused ").startswith(f"{node.name}_")]
        own = own or [name for name in _written(network, node) if name in seen][:1]
        if not own:
            raise DoesNotFit(
                f"the profiler names no kernel for layer {node.name} (ran: {', '.join(sorted(seen)[:20])})",
                fix='write budget = "bytes" for this network',
            )
        times[node.name] = sum(_typical(seen[name]) for name in own)
    return times


def whole_time(network: Any, inputs: dict[str, np.ndarray]) -> float:
    """Return the seconds of all kernels of a call, what stands between layers included; see `layer_times`."""
    return sum(_typical(times) for times in _profile(network, inputs).values())


def _typical(times: list[float]) -> float:
    """Return the mean of the middle half: it sees between whole microseconds, which a median does not."""
    middle = sorted(times)[len(times) // 4 : max(3 * len(times) // 4, len(times) // 4 + 1)]
    return statistics.fmean(middle) + TICK_S / 2


def _written(network: Any, node: Any) -> list[str]:
    """Return the names that a blocked kernel may have: those of what it writes, fused or not."""
    names, pending = [], [node.output[0]]
    while pending:
        tensor = pending.pop(0)
        names.append(f"{tensor}_nchwc")
        if len(names) < 4:
            users = [
                other for other in network.graph.node if tensor in other.input and other.op_type in FUSED
            ]
            pending += [other.output[0] for other in users]
    return names


def _profile(network: Any, inputs: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return the seconds of every run of every kernel."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(RUNS):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            times.setdefault(event["name"].removesuffix(KERNEL), []).append(event["dur"] / 1e6)
    return times
