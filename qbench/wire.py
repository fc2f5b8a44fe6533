"""Typed values between our own processes, with the standard library alone.

A worker on a small device has numpy and its engine and nothing else, so that what parent and worker say to
each other cannot go through pydantic. Files that a person may have edited go through `codec` instead.
"""

from __future__ import annotations

import types
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return a dataclass as dicts, lists and scalars that JSON can hold; paths become text."""
    return _paths_as_text(asdict(value))


def _paths_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _paths_as_text(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_paths_as_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: type[T], raw: Any) -> T:
    """Return plain values as `kind`: a dataclass, or the type that one of its fields declares.

    Raises:
        TypeError: a value does not have the shape that its field declares.
    """
    return _build(kind, raw)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _build(kind: Any, raw: Any) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return raw
    if origin in (Union, types.UnionType):
        return _build(_choose(get_args(kind), raw), raw)
    if origin is Literal:
        return _member(kind, raw)
    if origin is tuple:
        return _tuple(get_args(kind), raw)
    if is_dataclass(kind):
        if not isinstance(raw, dict) or not set(raw) <= {field.name for field in fields(kind)}:
            raise TypeError(f"{raw!r:.120} is no {kind}")
        return kind(**{name: _build(_hints(kind)[name], value) for name, value in raw.items()})  # type: ignore[operator,arg-type]
    if kind is Path:
        return Path(raw)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if kind in (bool, int, float, str, type(None)) and type(raw) is not kind:
        raise TypeError(f"{raw!r:.120} is no {kind.__name__}")
    return raw


def _member(kind: Any, raw: Any) -> Any:
    if raw not in get_args(kind):
        raise TypeError(f"{raw!r:.120} is none of {get_args(kind)}")
    return raw


def _tuple(inner: tuple[Any, ...], raw: Any) -> tuple[Any, ...]:
    if not isinstance(raw, (list, tuple)):
        raise TypeError(f"{raw!r:.120} is no list")
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_build(inner[0], item) for item in raw)
    if len(inner) != len(raw):
        raise TypeError(f"{raw!r:.120} has not {len(inner)} parts")
    return tuple(_build(part, item) for part, item in zip(inner, raw, strict=True))


def _choose(kinds: tuple[Any, ...], raw: Any) -> Any:
    """Pick the member of a union: by exact scalar type, or by the fields and the `kind` of a dataclass."""
    if isinstance(raw, dict):
        for kind in kinds:
            if is_dataclass(kind) and set(raw) == {field.name for field in fields(kind)}:
                tag = _hints(kind).get("kind")  # type: ignore[arg-type]
                if tag is None or get_origin(tag) is not Literal or raw["kind"] in get_args(tag):
                    return kind
    for kind in kinds:
        if kind is type(raw):
            return kind
        if kind is Path and isinstance(raw, str):
            return kind
        if get_origin(kind) is tuple and isinstance(raw, (list, tuple)):
            return kind
    raise TypeError(f"{raw!r:.120} is none of {kinds}")
