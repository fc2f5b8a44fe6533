"""Records to JSON lines and back. The one place where a results file's text becomes typed values.

Samples are stored by the metric's own rule: durations as integer nanoseconds, per-sample correctness as
packed bits, class numbers as integers, the rest as 32-bit floats; all but the shortest go through zlib and
base64, because 2,700 samples as JSON text cost 61 kB. NaN is refused: absent is a value with a reason.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from qbench.errors import BadFile
from qbench.metrics import CATALOGUE
from qbench.records import FORMAT_VERSION, Line, Record, Session

SHORT = 4  # up to so many samples are written as plain JSON: readable, and smaller than a zlib header
Raw = dict[str, Any]

# one function per step of the format: UPGRADES[1] turns version 1 into version 2
UPGRADES: dict[int, Callable[[Raw], Raw]] = {}


def encode(line: Line) -> str:
    """Return the line's JSON text, without a line break.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    raw = asdict(line)
    if isinstance(line, Record):
        for measurement in raw["outcome"].get("measurements", ()):
            for name in ("samples", "warmup"):
                measurement[name] = pack(measurement[name], CATALOGUE[measurement["metric"]].stored)
    return json.dumps(raw, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def decode(text: str, where: str) -> Line:
    """Return the typed line; `where` names the file and line number in errors.

    Raises:
        BadFile: not JSON, an unknown format version, or a value of the wrong type.
    """
    from pydantic import ValidationError

    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFile(f"{where} is no JSON: {error}", fix="delete the line, or restore the file") from error
    try:
        return _checked(_upgraded(raw, where))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadFile(
            f"{where}: {place}: {first['msg']}, found {first.get('input')!r:.80}",
            fix="restore the line from a backup, or delete it",
        ) from error


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


def _checked(raw: Raw) -> Line:
    if raw.get("kind") == "session":
        return _adapter(Session).validate_python(raw)
    outcome = raw.get("outcome")
    for measurement in outcome.get("measurements", ()) if isinstance(outcome, dict) else ():
        for name in ("samples", "warmup"):
            measurement[name] = unpack(measurement[name])
    return _adapter(Record).validate_python(raw)


@cache
def _adapter(kind: type) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(kind))


def pack(samples: tuple[float, ...], stored: str) -> object:
    """Return samples as the JSON value that stores them; see the module's head."""
    if stored == "ns":
        numbers = np.rint(np.asarray(samples, dtype=np.float64) * 1e9).astype(np.int64)
    elif stored in ("bits", "counts"):
        numbers = np.asarray(samples, dtype=np.int64)
    else:
        numbers = np.asarray(samples, dtype=np.float64)
    if len(numbers) <= SHORT:
        return {"as": stored, "values": numbers.tolist()}
    if stored == "bits":
        data, kind = np.packbits(numbers.astype(bool)), "u1"
    elif stored == "ns":
        data, kind = numbers, "<i8"
    elif stored == "counts":
        data, kind = numbers.astype("<i4"), "<i4"
    else:
        data, kind = numbers, "<f8"
        if stored == "f32":
            if not np.isfinite(numbers).all():
                raise ValueError("a sample is NaN or infinite")
            data, kind = numbers.astype("<f4"), "<f4"
    packed = base64.b64encode(zlib.compress(data.astype(kind).tobytes(), 6)).decode()
    return {"as": stored, "n": len(numbers), "zlib": packed}


def unpack(value: object) -> tuple[float, ...]:
    """Return the samples that `pack` stored.

    Raises:
        BadFile: the value is torn or of another shape.
    """
    try:
        stored, values = value["as"], value.get("values")  # type: ignore[index,attr-defined]
        if values is None:
            blob = zlib.decompress(base64.b64decode(value["zlib"]))  # type: ignore[index]
            if stored == "bits":
                values = np.unpackbits(np.frombuffer(blob, "u1"), count=value["n"])  # type: ignore[index]
            else:
                kind = {"ns": "<i8", "counts": "<i4", "f32": "<f4", "plain": "<f8"}[stored]
                values = np.frombuffer(blob, kind)
        scale = 1e-9 if stored == "ns" else 1.0
        return tuple((np.asarray(values, dtype=np.float64) * scale).tolist())
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise BadFile(f"samples cannot be read: {error}", fix="restore the line from a backup") from error
