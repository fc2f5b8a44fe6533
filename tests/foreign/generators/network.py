"""A network as a stranger hands it over, with what is right for it, and laws in numpy alone.

A law compares what the float network answers with what a quantized file answers, as the owner of the network
would: the same class, the same text, the same mask, a small enough error. None of it uses qbench.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, slots=True)
class Law:
    """How one output is judged by hand: `measure(float's, quantized's)` is higher for better.

    A file of which the measure is at least `holds` is good enough for its owner; one that measures less than
    `breaks` is of no use. Between the two lies what reasonable people may see either way.
    """

    kinds: tuple[str, ...]  # the words that qbench may use for this output
    measure: Measure
    holds: float
    breaks: float


@dataclass(frozen=True, slots=True)
class Network:
    """The file and its samples, in the network's own layout, as `qbench try` gets them."""

    model: Any  # onnx.ModelProto
    samples: dict[str, np.ndarray]
    laws: dict[str, Law]  # by output; an output without one says nothing (a constant, a pass-through)
    batch_axes: dict[str, int | None] = field(default_factory=dict)  # of inputs whose examples lie elsewhere
    output_axes: dict[str, int | None] = field(default_factory=dict)  # the same of outputs
    carried: dict[str, str] = field(default_factory=dict)  # input -> output: fed what the call before said
    beside: bool = False  # its weights lie in a file of their own
    refused: str = ""  # words that must be in the refusal; "": it must be measured
    int8_holds: bool = True  # plain int8 of all layers must keep its laws
    engines_lack: str = (
        ""  # words of the reason where no engine has integer kernels: that is no fault of ours
    )

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.onnx` and `<name>.npz` and return their paths."""
        import onnx

        folder.mkdir(parents=True, exist_ok=True)
        model, samples = folder / f"{name}.onnx", folder / f"{name}.npz"
        where = {"save_as_external_data": True, "location": f"{name}.data", "size_threshold": 0}
        onnx.save(self.model, model, **(where if self.beside else {}))
        np.savez(samples, **self.samples)
        return model, samples

    def feeds(self) -> list[dict[str, np.ndarray]]:
        """Return what the network is called with, one example a call; carried inputs begin as zeros."""
        import onnx

        batched = {name: self.batch_axes.get(name, 0) for name in self.samples}
        count = next(self.samples[name].shape[axis] for name, axis in batched.items() if axis is not None)
        start = {}
        for one in self.model.graph.input:
            if one.name in self.carried:
                shape = [size.dim_value or 1 for size in one.type.tensor_type.shape.dim]
                start[one.name] = np.zeros(
                    shape, onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
                )
        return [
            start | {name: array if (axis := batched[name]) is None else np.take(array, [at], axis)
                     for name, array in self.samples.items()}
            for at in range(count)
        ]  # fmt: skip


NETWORKS: dict[str, Callable[[], Network]] = {}


def network(make: Callable[[], Network]) -> Callable[[], Network]:
    """Register a generator by the name of its function."""
    NETWORKS[make.__name__.replace("_", "-")] = make
    return make


# --- laws -------------------------------------------------------------------------------------------


def first_answer(axis: int = -1) -> Measure:
    """Return the share of places whose largest value is at the same position."""
    return lambda wanted, given: float((wanted.argmax(axis) == given.argmax(axis)).mean())


def signal_db(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return how far the signal, without its mean, is above the error, in decibels."""
    wanted, given = wanted.astype("f8"), given.astype("f8")
    error = np.square(wanted - given).sum()
    return float(10 * np.log10(np.square(wanted - wanted.mean()).sum() / max(error, 1e-30)))


def worst_channel_db(axis: int) -> Measure:
    """Return `signal_db` of the channel for which it is least."""

    def measure(wanted: np.ndarray, given: np.ndarray) -> float:
        pairs = zip(np.moveaxis(wanted, axis, 0), np.moveaxis(given, axis, 0), strict=True)
        return min(signal_db(*pair) for pair in pairs)

    return measure


def overlap(threshold: float) -> Measure:
    """Return the intersection over union of what lies above the threshold, over all examples at once."""

    def measure(wanted: np.ndarray, given: np.ndarray) -> float:
        both, either = (wanted > threshold) & (given > threshold), (wanted > threshold) | (given > threshold)
        return float(both.sum() / max(1, either.sum()))

    return measure


def confident_overlap(threshold: float, undecided: float = 0.1) -> Measure:
    """Return the mean share, by example, of the confident answers of either that both give.

    An answer that crosses the threshold by moving no farther than `undecided` of it is given by both.
    Examples without a confident answer say nothing.
    """

    def measure(wanted: np.ndarray, given: np.ndarray) -> float:
        shares = []
        for one, other in zip(wanted.reshape(len(wanted), -1), given.reshape(len(given), -1), strict=True):
            either = (one >= threshold) | (other >= threshold)
            both = (one >= threshold) & (other >= threshold)
            same = either & (both | (abs(one - other) <= undecided * threshold))
            if either.any():
                shares.append(same.sum() / either.sum())
        return float(np.mean(shares))

    return measure


def cosine(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the mean cosine between the two vectors of an example."""
    wanted, given = wanted.reshape(len(wanted), -1), given.reshape(len(given), -1)
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(given, axis=1)
    return float(((wanted * given).sum(1) / np.maximum(lengths, 1e-30)).mean())


def texts(scores: np.ndarray, blank: int = 0) -> list[tuple[int, ...]]:
    """Return what (examples, time, symbols) spells.

    The best symbol of each step, repeats and blanks dropped.
    """
    found = []
    for steps in scores.argmax(-1):
        kept = np.r_[True, steps[1:] != steps[:-1]] & (steps != blank)
        found.append(tuple(steps[kept].tolist()))
    return found


def same_text(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the share of examples that spell the same."""
    return float(np.mean([one == other for one, other in zip(texts(wanted), texts(given), strict=True)]))


def equal(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the share of equal values."""
    return float((wanted == given).mean()) if wanted.shape == given.shape else 0.0
