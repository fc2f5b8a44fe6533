"""An Artifact: a model in one format and one state, with what made it. The thing everything else acts on.

Formats are names, so that a plug-in may bring its own; the ones that qbench itself speaks:

    torch     a live torch.nn.Module, in memory only
    exported  a torch.export program (`model.pt2` by torch.export.save)
    onnx      an ONNX file, external data beside it
    openvino  an OpenVINO IR: `model.xml` with `model.bin` beside it
    pt2       an AOTInductor package: compiled code with the weights in it
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qbench.cases import ArtifactSpec, Float, State
from qbench.errors import BadFile
from qbench.formats.reference import ASKED, SIMULATED
from qbench.formats.reference import NAME as REFERENCE
from qbench.quant.package import NAME as SOURCE
from qbench.wire import from_plain, to_plain

MANIFEST = "artifact.json"
COMPRESSED = "compressed.txt"  # how small the files get, once that was worked out


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: its name, element type and shape, None where a dimension is free."""

    name: str
    dtype: str  # numpy's name: float32, int64
    shape: tuple[int | None, ...]
    # along which axis examples lie; None: none does, every example has the same value (a scalar, a mask)
    batch_axis: int | None = 0
    axes: tuple[str, ...] = ()  # the names that the file gives its dimensions, "" where it gives none
    one: tuple[int, ...] = ()  # of a call with one example, free axes as the samples fix them; (): unknown
    batch_told: bool = True  # False: `batch_axis` of this output is a guess, to be observed


@dataclass(frozen=True, slots=True)
class LineageStep:
    """One hop that made the artifact, what it cost when it was made, and the versions that did it."""

    hop: str
    kind: str  # edge or technique
    wall_s: float
    peak_memory_bytes: int
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Covered:
    """What the proof of quantization found, kept so that a device without the format's library can use it."""

    weights: int  # multiplied tensors that are stored in the claimed width
    share: float  # of the network's work that runs over them


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a hop found out about the file, for the record; `warns` where a user must know."""

    what: str
    found: str
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model in one format and one state.

    `module` is set for the live format `torch` only; every other is the file at `path` with its neighbours in
    the same folder. What the float source answers for a few fixed inputs lies beside it (reference.py).
    """

    format: str
    state: State
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    path: Path | None = None
    module: Any = None
    lineage: tuple[LineageStep, ...] = ()
    notes: tuple[Note, ...] = ()  # a strategy adds its own to those it was given
    covered: Covered | None = None  # filled in when the file is saved
    # inputs that are fed what an output said at the call before: (input, output), of a recurrent network
    carried: tuple[tuple[str, str], ...] = ()
    # what processes that were killed spent on the last hop, where this one went on; the lineage takes it over
    earlier_s: float = 0.0


def save(artifact: Artifact, folder: Path, spec: ArtifactSpec, session: str = "") -> None:
    """Write the manifest beside the artifact's file, whole or not at all."""
    raw = to_plain(replace(artifact, module=None, path=None))
    raw["file"] = artifact.path.name if artifact.path else None
    raw["spec"] = to_plain(spec)
    raw["session"] = session  # who made it: a later run must not pass its cost for one of its own
    raw["digests"] = {str(path.relative_to(folder)): _digest(path) for path in files(folder)}
    temporary = folder / (MANIFEST + ".new")
    temporary.write_text(json.dumps(raw, indent=1))
    os.replace(temporary, folder / MANIFEST)


def load(folder: Path) -> Artifact:
    """Return the artifact that `save` described in this folder.

    Raises:
        BadFile: the manifest is torn, or a file is missing or has other bytes than were saved.
    """
    try:
        raw = json.loads((folder / MANIFEST).read_text())
        name = raw.pop("file")
        raw.pop("spec")
        raw.pop("session")
        for beside, digest in raw.pop("digests").items():
            if _digest(folder / beside) != digest:
                raise ValueError(f"{beside} is not what was prepared")
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(name)
        raw |= {"path": str(path), "module": None}
        return from_plain(Artifact, raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(
            f"the prepared artifact in {folder} cannot be read: {error}",
            fix="delete that folder; the next run prepares it again",
        ) from error


def made_in(folder: Path) -> str:
    """Return the id of the session that made the artifact in this folder; `load` has found it whole."""
    return str(json.loads((folder / MANIFEST).read_text())["session"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def float_state(state: State) -> bool:
    """Tell whether the state computes in 32-bit float: the one whose outputs must meet the source's."""
    return isinstance(state, Float) and state.dtype == "fp32"


def claimed_bits(state: State) -> int:
    """Return the width in bits at which this state says that weights are stored."""
    if isinstance(state, Float):
        return 32 if state.dtype == "fp32" else 16
    return state.scheme.weight_bits


def files(folder: Path) -> list[Path]:
    """Return what a deployment must carry: every file of the folder except qbench's own notes."""
    notes = tuple(folder / name for name in (MANIFEST, REFERENCE, SIMULATED, ASKED, SOURCE, COMPRESSED))
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in notes)


def file_size_bytes(folder: Path) -> int:
    """Return the bytes of everything needed to run."""
    return sum(path.stat().st_size for path in files(folder))


def compressed_size_bytes(folder: Path) -> int:
    """Return the bytes of the same files, each through zlib at level 6.

    Worked out once, as it takes seconds: `load` has found that the files are those that were prepared.
    """
    kept = folder / COMPRESSED
    if kept.is_file() and (known := kept.read_text()).isdigit():
        return int(known)
    total = 0
    for path in files(folder):
        packer = zlib.compressobj(6)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total += len(packer.compress(block))
        total += len(packer.flush())
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}")  # one left by a crash must not be deployed
    temporary.write_text(str(total))
    os.replace(temporary, kept)
    return total
