"""Records to JSON lines and back. The one place where a results file's text becomes typed values.

Samples are stored by the metric's own rule: durations as integer nanoseconds, per-sample correctness as
packed bits, class numbers as integers, the rest as 32-bit floats; all but the shortest go through zlib and
base64, because 2,700 samples as JSON text cost 61 kB. NaN is refused: absent is a value with a reason.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from qbench.errors import BadFile
from qbench.metrics import CATALOGUE
from qbench.records import FORMAT_VERSION, Line, Measurement, Record, Session
from qbench.registry import did_you_mean

MEND = "restore the line from a backup, or delete it"
SHORT = 4  # up to so many samples are written as plain JSON: readable, and smaller than a zlib header
KINDS = {
    "ns": "<i8",
    "bits": "u1",
    "counts": "<i4",
    "f32": "<f4",
    "plain": "<f8",
}  # how each is stored in bytes
FLOAT32_MAX = float(np.finfo(np.float32).max)
Raw = dict[str, Any]

# one function per step of the format: UPGRADES[1] turns version 1 into version 2
UPGRADES: dict[int, Callable[[Raw], Raw]] = {
    # what came in has a default that says what was so before
    1: lambda raw: raw | {"format": 2},
    2: lambda raw: raw | {"format": 3},
    3: lambda raw: raw | {"format": 4},
    4: lambda raw: raw | {"format": 5},
}


def encode(line: Line) -> str:
    """Return the line's JSON text, without a line break; half characters of a log become question marks.

    Raises:
        ValueError: a number is NaN or infinite, or a metric is not in the catalogue.
    """
    raw = asdict(line)
    if isinstance(line, Record):
        for measurement in _measurements(raw["outcome"]):
            for name in ("samples", "warmup"):
                measurement[name] = pack(measurement[name], _stored(measurement["metric"]))
    text = json.dumps(raw, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace").decode()


def _measurements(outcome: Raw) -> Iterator[Raw]:
    """Yield the outcome's own measurements, then those of every output of a score."""
    yield from outcome.get("measurements", ())
    for output in outcome.get("outputs", ()):
        yield from output.get("measurements", ())


def refuse_unstorable(measurements: tuple[Measurement, ...]) -> None:
    """Find out where numbers are made whether they can be stored.

    Raises:
        ValueError: as `encode` would.
    """
    for measurement in measurements:
        for samples in (measurement.samples, measurement.warmup):
            try:
                pack(samples, _stored(measurement.metric))
            except ValueError as error:
                raise ValueError(f"{measurement.metric}: {error}") from error


def _stored(metric: str) -> str:
    if metric not in CATALOGUE:
        raise ValueError(f"no metric is called {metric!r}; {did_you_mean(metric, list(CATALOGUE))}")
    return CATALOGUE[metric].stored


def decode(text: str, where: str) -> Line:
    """Return the typed line; `where` names the file and line number in errors.

    Raises:
        BadFile: not JSON, an unknown format version, or a value of the wrong type.
    """
    from pydantic import ValidationError

    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise BadFile(f"{where} is no JSON: {error}", fix=MEND) from error
    try:
        return _checked(_upgraded(raw, where), where)
    except ValidationError as error:
        first = _nearest_miss(error.errors())
        place = ".".join(str(part) for part in first["loc"])
        raise BadFile(
            f"{where}: {place}: {first['msg']}, found {first.get('input')!r:.80}", fix=MEND
        ) from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no number: absent is a value with a reason")


def _nearest_miss(errors: list[Any]) -> Any:
    """Return the first error of that member of a union which the value fits best."""
    members: dict[tuple[Any, ...], list[Any]] = {}
    for error in errors:
        members.setdefault(error["loc"][:-1], []).append(error)
    return min(members.values(), key=len)[0]


def _upgraded(raw: Raw, where: str) -> Raw:
    version = raw.get("format") if isinstance(raw, dict) else None
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise BadFile(
            f"{where} has format {version!r}; this qbench reads 1 to {FORMAT_VERSION}",
            fix="update qbench, or point it at a results file that it wrote",
        )
    for step in range(version, FORMAT_VERSION):
        raw = UPGRADES[step](raw)
    return raw


def _checked(raw: Raw, where: str) -> Line:
    if raw.get("kind") == "session":
        return _adapter(Session).validate_python(raw)
    outcome = raw.get("outcome")
    try:
        for measurement in _measurements(outcome) if isinstance(outcome, dict) else ():
            for name in ("samples", "warmup"):
                measurement[name] = unpack(measurement[name])
    except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise BadFile(f"{where}: samples cannot be read: {error!r:.120}", fix=MEND) from error
    return _adapter(Record).validate_python(raw)


@cache
def _adapter(kind: type) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))


def pack(samples: tuple[float, ...], stored: str) -> object:
    """Return samples as the JSON value that stores them; see the module's head.

    Raises:
        ValueError: a sample is NaN or infinite, or its metric's storage cannot hold it without a loss.
    """
    numbers: Any = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a sample is NaN or infinite: absent is a value with a reason")
    if stored == "ns":
        numbers = np.rint(numbers * 1e9).astype(np.int64)
    elif stored in ("bits", "counts"):
        whole: Any = numbers.astype(np.int64)
        low, high = (0, 1) if stored == "bits" else (-(1 << 31), (1 << 31) - 1)
        if not ((whole == numbers) & (whole >= low) & (whole <= high)).all():
            raise ValueError(f"{stored} are whole numbers from {low} to {high}")
        numbers = whole
    elif stored == "f32" and (np.abs(numbers) > FLOAT32_MAX).any():
        raise ValueError("a sample is beyond the range of a 32-bit float")
    if len(numbers) <= SHORT:
        return {"as": stored, "values": numbers.tolist()}
    data = np.packbits(numbers.astype(bool)) if stored == "bits" else numbers.astype(KINDS[stored])
    return {
        "as": stored,
        "n": len(numbers),
        "zlib": base64.b64encode(zlib.compress(data.tobytes(), 6)).decode(),
    }


def unpack(value: Any) -> tuple[float, ...]:
    """Return the samples that `pack` stored.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, zlib.error: the value is torn or of another shape.
    """
    kind, values = KINDS[value["as"]], value.get("values")
    if values is None:
        data = np.frombuffer(zlib.decompress(base64.b64decode(value["zlib"], validate=True)), kind)
        count = value["n"]
        if len(data) != (-(-count // 8) if kind == "u1" else count):
            raise ValueError(f"{count} samples were stored, and {len(data)} blocks are there")
        values = np.unpackbits(data, count=count) if kind == "u1" else data
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError("samples are a row of finite numbers")
    return tuple((numbers * (1e-9 if value["as"] == "ns" else 1.0)).tolist())
