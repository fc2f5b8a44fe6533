"""A TOML file as a typed value; a mistake is answered with file, place, value and the nearest valid one."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from qbench.errors import BadSuite, UnknownName
from qbench.folders import data_files
from qbench.registry import did_you_mean

T = TypeVar("T")


def names_of(kind: str) -> dict[str, Path]:
    """Return the TOML files of a kind (`suites`, `hardware_profiles`) by name, the user's folder first."""
    found: dict[str, Path] = {}
    for folder in data_files(kind):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def find_file(kind: str, name: str) -> Path:
    """Return the file of this name; a path to a .toml file is its own answer.

    Raises:
        UnknownName: there is none.
    """
    if name.endswith(".toml") and Path(name).is_file():
        return Path(name)
    known = names_of(kind)
    if name not in known:
        what = {"suites": "suite", "hardware_profiles": "hardware profile"}[kind]
        raise UnknownName(f"no {what} is called {name!r}", fix=did_you_mean(name, list(known)))
    return known[name]


def read_toml(path: Path, kind: type[T]) -> T:
    """Return the file as the dataclass `kind`.

    Raises:
        BadSuite: the file is no TOML, has an unknown key, lacks one, or a value is of the wrong type.
    """
    from pydantic import ValidationError

    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSuite(
            f"{path} is no TOML: {error}", fix="mend that line; suites/vision.toml shows the form"
        ) from error
    except OSError as error:
        raise BadSuite(f"{path}: {error.strerror}", fix="name a readable file") from error
    _refuse_unknown_keys(path, kind, raw, "")
    try:
        # by way of JSON: there, strict means that "400" is no number, and a table still becomes a dataclass
        return _adapter(kind).validate_json(json.dumps(raw, default=str), strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        missing = first["type"] == "missing"
        found = "it is missing" if missing else f"found {first.get('input')!r:.80}"
        raise BadSuite(
            f"{path}: {place}: {first['msg'].lower()}, {found}", fix=_fix(first, missing)
        ) from error


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _fix(first: Any, missing: bool) -> str:
    if missing:
        return f"add {first['loc'][-1]} there; suites/vision.toml shows the form"
    expected = first.get("ctx", {}).get("expected")
    return (
        f"write one of {expected}"
        if expected
        else "write a value of that type; suites/vision.toml shows the form"
    )


def _refuse_unknown_keys(path: Path, kind: Any, raw: Any, place: str) -> None:
    """Walk file and dataclass side by side: the first key without a field is named, with its nearest."""
    if not is_dataclass(kind) or not isinstance(raw, dict):
        return
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.metadata.get("written", True)]
    for name, value in raw.items():
        if name not in known:
            where = f" in {place.rstrip('.')}" if place else ""
            raise BadSuite(f"{path}: unknown key {name!r}{where}", fix=did_you_mean(name, known))
        inner = [part for part in (hints[name], *get_args(hints[name])) if is_dataclass(part)]
        for number, item in enumerate(value if isinstance(value, list) else [value], start=1):
            spot = f"{place}{name}[{number}]." if isinstance(value, list) else f"{place}{name}."
            for part in inner:
                _refuse_unknown_keys(path, part, item, spot)
