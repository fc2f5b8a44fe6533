"""Reading a user's ONNX file with eyes open: what is wrong with it is said before a library trips over it.

No engine is imported: a file that cannot be measured is refused within a second or two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from qbench.errors import BadFile, DoesNotFit
from qbench.formats.artifact import TensorSpec
from qbench.formats.edges import onnx_signature

Specs = tuple[TensorSpec, ...]
AGAIN = "export it again with torch.onnx.export(..., 'model.onnx')"
GRAPH = 7  # the field of a ModelProto that holds the network (onnx.proto, message ModelProto)
POINTER = b"version https://git-lfs"


def checked(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of an ONNX file that is whole and valid.

    Raises:
        BadFile: no such file, a folder, not ONNX, cut off, invalid, or weights that it names are missing.
        DoesNotFit: an input or output is no tensor, or the network has no input.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}", fix="name an ONNX file, for example model.onnx") from error
    inputs, outputs, beside = _checked(path, stat.st_mtime_ns, stat.st_size)
    _weights_beside(path, beside)  # they may have gone since the file was read
    return inputs, outputs


def digest(path: Path) -> str:
    """Return a digest of the file and of what lies beside it and is named in it, its external data.

    Looking for the neighbours' names needs no import of onnx.

    Raises:
        BadFile: it cannot be read.
    """
    try:
        written = path.read_bytes()
        found = hashlib.sha256(written)
        for beside in sorted(path.parent.iterdir()):
            if beside.is_file() and beside != path and beside.name.encode() in written:
                found.update(beside.read_bytes())
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}", fix="name an ONNX file, for example model.onnx") from error
    return found.hexdigest()[:16]


@lru_cache(maxsize=8)
def _checked(path: Path, _changed_ns: int, size: int) -> tuple[Specs, Specs, tuple[tuple[str, int], ...]]:
    import onnx

    _looked_at(path, size)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError
        raise BadFile(f"{path} is no ONNX model: {error}", fix=AGAIN) from error
    beside = tuple(_places(model))
    _weights_beside(path, beside)
    try:
        onnx.checker.check_model(str(path))
        inputs, outputs = onnx_signature(path)
    except DoesNotFit:
        raise
    except Exception as error:  # onnx raises its own ValidationError and more
        raise BadFile(f"{path} is no valid ONNX model: {error}", fix=AGAIN) from error
    if not inputs:
        raise DoesNotFit(
            f"{path} has no input: it always answers the same", fix="export it with the example as an input"
        )
    return inputs, outputs, beside


def _looked_at(path: Path, size: int) -> None:
    """Refuse what is no ONNX by its first bytes, and what ends before it should.

    Raises:
        BadFile: it is a folder, empty, of another kind, or cut off.
    """
    if path.is_dir():
        raise BadFile(f"{path} is a folder", fix="name the .onnx file in it")
    with path.open("rb") as file:
        start = file.read(4096)
        if not start:
            raise BadFile(f"{path} is empty", fix=AGAIN)
        if start.startswith(POINTER):
            problem = f"{path} is a pointer of git-lfs of {size} bytes, not the model itself"
            raise BadFile(problem, fix="fetch it with `git lfs pull`")
        if start[:4] == b"PK\x03\x04" or start[:6] == b"\x93NUMPY":
            kind = "a zip archive (.npz, .pt)" if start[:2] == b"PK" else "an array of numpy"
            raise BadFile(f"{path} is {kind}, no ONNX model", fix=f"name the model first; {AGAIN}")
        if _is_text(start):
            line = start.decode().strip().splitlines()[0][:60]
            raise BadFile(f"{path} is a text file, no ONNX model; it begins with {line!r}", fix=AGAIN)
        missing = _cut_off(file, size)
    if missing:
        raise BadFile(
            f"{path} is cut off: its network goes on for {missing} bytes after the end of the file",
            fix="copy or download it again, and compare the sizes",
        )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def _cut_off(file: Any, size: int) -> int:
    """Return how many bytes of the network's own field lie behind the end of the file.

    Only the outermost fields are read (protobuf's wire format: a tag, then a number or a length and bytes).
    """
    file.seek(0)
    while (tag := _number(file)) is not None:
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            _number(file)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        elif kind == 2:
            length = _number(file) or 0
            if (over := file.tell() + length - size) > 0:
                return over if field <= GRAPH * 4 else 0  # a field that no version has: this is no protobuf
            file.seek(length, 1)
        else:
            return 0
    return 0


def _number(file: Any) -> int | None:
    """Return one number of variable length; None at the end of the file."""
    value = shift = 0
    while byte := file.read(1):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128 or shift > 63:
            return value
    return None


def _weights_beside(path: Path, places: tuple[tuple[str, int], ...]) -> None:
    """Refuse a file whose weights lie in files that are not there, or end before these places.

    Raises:
        BadFile: so it is.
    """
    for place, end in places:
        beside = path.parent / place
        if not beside.is_file():
            raise BadFile(
                f"{path} keeps weights in {place}, and there is no such file beside it",
                fix=f"copy {place} into the folder of {path.name}",
            )
        if (size := beside.stat().st_size) < end:
            raise BadFile(
                f"{beside} is cut off: the model reads up to byte {end}, and it has {size}",
                fix="copy or download it again",
            )


def _places(model: Any) -> Iterator[tuple[str, int]]:
    """Yield the file in which each external tensor lies, and where it ends there."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            told = ExternalDataInfo(tensor)
            yield told.location, (told.offset or 0) + (told.length or 0)
