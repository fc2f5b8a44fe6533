"""What `qbench try` recommends for a network, beside what onnxruntime's and nncf's own quantizers make of it.

Everything is worked out by hand: the same calibration samples for all, quality on samples that calibrated
nothing, latency in interleaved rounds of one process, so that only ratios are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import by_hand
import numpy as np
from by_hand import Feeds, Product
from generators.network import Law, cosine, first_answer, overlap, same_text
from real_inputs import build
from tried import Tried, file_of, tried

QUALITY_TIE, SIZE_TIE, SPEED_TIE = 0.01, 1.02, 1.05  # closer than this is no difference


def same_side(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the share of chunks that both call speech, or both no speech."""
    return float(((wanted > 0.5) == (given > 0.5)).mean())


# By network: the share or cosine by which its owner judges it, and how many calls are judged.
LAWS = {
    "ocr-detector": (Law(("map",), overlap(0.3), 0.93, 0.8), 36),
    "ocr-direction": (Law(("probabilities",), first_answer(), 0.97, 0.9), 150),
    "ocr-recogniser": (Law(("text",), same_text, 0.9, 0.7), 90),
    "file-types": (Law(("probabilities",), first_answer(), 0.95, 0.8), 300),
    "voice-activity": (Law(("sigmoid",), same_side, 0.98, 0.9), 600),
    "voice-activity-16k": (Law(("sigmoid",), same_side, 0.98, 0.9), 600),
    "sentence-encoder": (Law(("embedding",), cosine, 0.99, 0.95), 180),
}
CARRIED = {"voice-activity": {"state": "stateN"}, "voice-activity-16k": {"state": "stateN"}}
STATES = {"state": (2, 1, 128)}


@dataclass(frozen=True, slots=True)
class Row:
    """One file: what it is worth, weighs and takes: ratios to float on onnxruntime, one a round."""

    product: Product
    quality: float
    size_bytes: int
    slowness: tuple[float, ...]

    @property
    def typical(self) -> float:
        """Return the median ratio: 0.5 is twice as fast as float on onnxruntime."""
        return float(np.median(self.slowness))


@dataclass(frozen=True, slots=True)
class Compared:
    """One network: the run of `qbench try`, what it recommends, what others make, and what they could not."""

    name: str
    run: Tried
    ours: Row | None
    others: tuple[Row, ...]
    refused: dict[str, str]


def calls_of(name: str, samples: Path) -> tuple[Feeds, Feeds]:
    """Return the calls that calibrate, and those that are judged.

    Samples of a stream are called in order, the first quarter calibrates; of others every fourth one does.
    """
    arrays = dict(np.load(samples))
    count = max(len(array) for array in arrays.values() if array.ndim)
    begin = {into: np.zeros(STATES[into], "f4") for into in CARRIED.get(name, {})}
    calls = [
        begin | {key: array[at : at + 1] if array.ndim else array for key, array in arrays.items()}
        for at in range(count)
    ]
    most = LAWS[name][1]
    if name in CARRIED:
        return calls[: count // 4], calls[count // 4 :][:most]
    return calls[::4], [call for at, call in enumerate(calls) if at % 4][:most]


def with_states(name: str, model: Path, calls: Feeds) -> Feeds:
    """Return the calls with the states that the float network really had."""
    if name not in CARRIED:
        return calls
    call, outputs, found = by_hand.opened(Product("float", "onnxruntime", model)), names_of(model), []
    state = {into: calls[0][into] for into in CARRIED[name]}
    for one in calls:
        found.append(one | state)
        said = dict(zip(outputs, call(found[-1]), strict=True))
        state = {into: said[of] for into, of in CARRIED[name].items()}
    return found


def names_of(model: Path) -> list[str]:
    """Return the names of the file's outputs, in order."""
    import onnx

    return [one.name for one in onnx.load(model, load_external_data=False).graph.output]


def compare(name: str, folder: Path, *, inputs: Path, rounds: int = 7, more: Sequence[str] = ()) -> Compared:
    """Try the network of this name, make the others' files, and hold all against each other.

    Raises:
        Missing: the network or its samples cannot be had here.
    """
    model, samples = build(name, inputs)
    run = tried(model, samples, folder, *more)
    calibration, judged = calls_of(name, samples)
    made, refused = by_hand.products(model, with_states(name, model, calibration), folder)
    threads = 1
    if run.shipped is not None:
        threads = run.shipped.case.deployment.threads
        made.insert(0, product_of(run.shipped))
    rows = _rows(name, made, judged, refused, threads, rounds)
    ours = next((row for row in rows if row.product.name.startswith("qbench: ")), None)
    return Compared(name, run, ours, tuple(row for row in rows if row is not ours), refused)


def product_of(cell: Any) -> Product:
    """Return a cell's file with the options that it was measured with."""
    precision = dict(cell.case.deployment.options).get("precision", "f32")
    name = f"qbench: {cell.technique}"
    return Product(name, cell.engine, file_of(cell), {"fp16": "f16"}.get(precision, precision))


def _rows(
    name: str, made: list[Product], judged: Feeds, refused: dict[str, str], threads: int, rounds: int
) -> list[Row]:  # noqa: E501
    law, outputs = LAWS[name][0], names_of(next(one.path for one in made if one.name == "float"))
    carried = [(into, outputs.index(of)) for into, of in CARRIED.get(name, {}).items()]
    calls: dict[int, by_hand.Call] = {}
    said: dict[int, np.ndarray] = {}
    for at, product in enumerate(made):
        try:
            calls[at] = by_hand.opened(product, threads)
            said[at] = np.concatenate([one[0] for one in by_hand.answers(calls[at], judged, carried)])
        except Exception as error:  # an engine that cannot run another's file: a row of the table too
            calls.pop(at, None)
            refused[f"{product.name} on {product.engine}"] = str(error).strip().splitlines()[-1][:160]
    base = next(at for at, one in enumerate(made) if (one.name, one.engine) == ("float", "onnxruntime"))
    spent = by_hand.latencies_s({str(at): call for at, call in calls.items()}, judged[0], rounds)
    return [
        Row(
            made[at], law.measure(said[base], said[at]), made[at].size_bytes,
            tuple(own / float_s for own, float_s in zip(spent[str(at)], spent[str(base)], strict=True)),
        )
        for at in calls
    ]  # fmt: skip


def dominates(other: Row, ours: Row) -> bool:
    """Tell whether the other file is as good as ours in everything and clearly better in something.

    Speed is clearly better only where no round of ours comes near the others' slowest.
    """
    as_good = (
        other.quality >= ours.quality - QUALITY_TIE
        and other.size_bytes <= SIZE_TIE * ours.size_bytes
        and other.typical <= SPEED_TIE * ours.typical
    )
    better = (
        other.quality > ours.quality + QUALITY_TIE
        or other.size_bytes * SIZE_TIE < ours.size_bytes
        or max(other.slowness) * SPEED_TIE < min(ours.slowness)
    )
    return as_good and better
