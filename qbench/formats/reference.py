"""What the source network answers for a few inputs, kept beside every artifact that is made from it.

An engine whose float outputs do not meet these is wrong, however fast it is, and nobody would know. The
source of a zoo's model is a live torch module, and answers itself; for a user's ONNX file several readers are
asked (qbench.referee), on the user's own samples.

A quantized file has answers of its own: those of the same file with every integer simulated in float, kept
beside it and beside no other. An engine may be wrong although the file is right: openvino 2026.4.1 answers a
chain of integer matrix products of a fixed batch of 8 with errors larger than the outputs' range.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbench.cases import Quantized
from qbench.errors import BadFile
from qbench.formats.calls import Call, Span, by_example, call_of, filled, spans_of
from qbench.formats.signature import fixed_batch
from qbench.quant.ir_graph import simulated_outputs
from qbench.quant.onnx_session import session_of
from qbench.quant.program import read_program

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact, TensorSpec

NAME = "artifact.reference.npz"
SIMULATED = "artifact.simulated.npz"
ASKED = "artifact.asked.npz"
NO_SIMULATION = "no simulated answers"  # the name of the artifact's note that says why
COUNT = 8  # inputs: enough to meet every code path of a batch, cheap enough for every score
Outputs = tuple[np.ndarray, ...]  # of one call, in the file's order and as the network gives them


@dataclass(frozen=True, slots=True)
class Alone:
    """A reader of the source that meets no other, and where it parts from those that agree."""

    title: str  # "openvino"
    maker: str  # the library that it is
    how: str  # "by 0.43 of the range of output 'y'"
    operator: str = ""  # "MatMul at node '/attn/MatMul'"; "": it could not be found


@dataclass(frozen=True, slots=True)
class Told:
    """Who says what the source answers."""

    agreed: tuple[str, ...] = ()  # readers that agree; none: the source itself was asked
    alone: tuple[Alone, ...] = ()
    why_none: str = ""  # why nobody's answer is kept
    makers: tuple[str, ...] = ()  # of those that agree, each once: readers of one maker share their code

    @property
    def confirmed(self) -> bool:
        """Tell whether two that share no code say it: only then is it sure who is wrong."""
        return len(self.makers) > 1

    @property
    def one_maker(self) -> str:
        """Return the only maker whose readers answered; "" where there are several, or the source itself."""
        return self.makers[0] if len(self.makers) == 1 else ""

    def __str__(self) -> str:
        """Name them as a sentence does: `onnxruntime and openvino`."""
        if not self.agreed:
            return "the source network"
        return " and ".join(filter(None, [", ".join(self.agreed[:-1]), self.agreed[-1]]))


@dataclass(frozen=True, slots=True)
class Kept:
    """Inputs, in calls, with the answers that belong to them.

    Shapes:
        inputs: (count, ...) each, in the examples' form.
        outputs: an array an output for every call, as the network gives it; None where nobody is believed.
    """

    inputs: dict[str, np.ndarray]
    spans: tuple[Span, ...]
    outputs: tuple[Outputs, ...] | None
    told: Told = Told()

    @property
    def answers(self) -> tuple[Outputs, ...]:
        """Return the outputs where there are any, and none otherwise."""
        return self.outputs or ()

    def calls(self, specs: Sequence[TensorSpec]) -> list[Call]:
        """Return what an engine is asked, one after the other."""
        return [call_of(specs, self.inputs, span) for span in self.spans]

    def by_example(self, specs: Sequence[TensorSpec]) -> list[np.ndarray | None]:
        """Return each output for all examples, (count, ...); None where they cannot be told apart."""
        return by_example(specs, self.spans, self.answers)


def reference_inputs(specs: tuple[TensorSpec, ...], count: int = COUNT) -> dict[str, np.ndarray]:
    """Return fixed inputs in the examples' form: standard normal where floating, zeros elsewhere.

    For the networks of the zoo alone, which are known to answer such. A stranger's network is asked about
    its owner's samples: a text detector's answers to noise are all alike, and no error relative to their
    range means anything.
    """
    rng = np.random.default_rng(0)
    inputs = {}
    count = fixed_batch(specs) or count
    for spec in specs:
        axis, one = spec.batch_axis, spec.one or tuple(size or 1 for size in spec.shape)
        shape = one if axis is None else (count, *one[:axis], *one[axis + 1 :])
        values = rng.standard_normal(shape) if spec.dtype.startswith("float") else np.zeros(shape)
        array = values.astype(spec.dtype)
        inputs[spec.name] = np.broadcast_to(array, (count, *shape)) if axis is None else array
    return inputs


def keep_reference(artifact: Artifact, folder: Path) -> None:
    """Ask a live torch module, the source itself, before any technique has touched it; keep its answers."""
    inputs = reference_inputs(artifact.inputs)
    spans = spans_of(artifact.inputs, inputs)
    outputs = _module_says(artifact.module, [call_of(artifact.inputs, inputs, span) for span in spans])
    write_kept(folder / NAME, Kept(inputs, spans, tuple(outputs)))


def _module_says(module: Any, calls: Sequence[Call]) -> list[Outputs]:
    import torch

    said = []
    with torch.no_grad():
        for call in calls:
            answers = module(*(torch.from_numpy(array) for array in call.values()))
            several = [answers] if isinstance(answers, torch.Tensor) else answers
            said.append(tuple(_as_array(tensor) for tensor in several))
    return said


def _as_array(tensor: Any) -> np.ndarray:
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


# --- a quantized file's own answers -----------------------------------------------------------------


def keep_simulated(artifact: Artifact, folder: Path, before: Path | None = None) -> str | None:
    """Keep a quantized file's own answers with simulated integers; return why there are none, if so.

    An ONNX file runs as written, without any optimization and on one thread: dequantize, operate in float,
    quantize; an IR with its rounding written out in float; an exported program operator by operator. No
    integer kernel takes part. A compiled package has no second reader: it answers as the program in `before`
    that it was made from. None too for a network that makes no claim about integers.
    """
    (folder / SIMULATED).unlink(missing_ok=True)  # whatever a technique may have left under this name
    if not isinstance(artifact.state, Quantized):
        return None
    if artifact.format in COMPILED and before and (before / SIMULATED).is_file():
        shutil.copyfile(before / SIMULATED, folder / SIMULATED)
        return None
    if artifact.format not in SIMULATORS:
        return f"a file in the format {artifact.format} has no second reader to compare an engine with"
    if artifact.state.scheme.dynamic or artifact.state.scheme.activation_bits is None:
        return "integers inside one operator of the file are not simulated: only fixed scales are"
    kept = read_reference(folder)
    inputs = _and_asked(folder, kept.inputs if kept else reference_inputs(artifact.inputs))
    inputs = filled(artifact.inputs, inputs)
    spans = spans_of(artifact.inputs, inputs)
    calls = [call_of(artifact.inputs, inputs, span) for span in spans]
    try:
        outputs = SIMULATORS[artifact.format](artifact.path or Path(), calls)
    except ImportError as error:
        return f"the library that simulates them is missing where the file was made ({error})"
    except Exception as error:  # the library's own kinds; that the file is broken is for each engine to say
        return f"its simulation stopped: {str(error).strip().splitlines()[-1]}"
    if not all(np.isfinite(array).all() for call in outputs for array in call if array.dtype.kind == "f"):
        return "simulated, it answers with NaN or infinity"
    write_kept(folder / SIMULATED, Kept(inputs, spans, tuple(outputs)))
    return None


def keep_asked(folder: Path, inputs: dict[str, np.ndarray]) -> None:
    """Let a technique name inputs by which its file is to be compared too, where others do not reach all."""
    arrays: dict[str, Any] = inputs
    np.savez(folder / ASKED, **arrays)


def _and_asked(folder: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not (folder / ASKED).is_file():
        return inputs
    with np.load(folder / ASKED) as asked:
        return {name: np.concatenate([array, asked[name]]) for name, array in inputs.items()}


def as_written(path: Path, calls: Sequence[Call]) -> list[Outputs]:
    """Return all outputs of an ONNX file for every call, run node by node in the order of the file."""
    session = session_of(path)
    return [tuple(np.asarray(array) for array in session.run(None, call)) for call in calls]


def _operator_by_operator(path: Path, calls: Sequence[Call]) -> list[Outputs]:
    module: Any = read_program(path).module()
    return _module_says(module, calls)


COMPILED = ("pt2",)  # from a program, which is what they are held to
SIMULATORS: dict[str, Callable[[Path, Sequence[Call]], list[Outputs]]] = {
    "onnx": as_written,
    "openvino": simulated_outputs,
    "exported": _operator_by_operator,
}


# --- files ------------------------------------------------------------------------------------------


def write_kept(path: Path, kept: Kept) -> None:
    """Write inputs with the outputs that belong to them."""
    arrays: dict[str, Any] = {f"in_{name}": array for name, array in kept.inputs.items()}
    for call, outputs in enumerate(kept.answers):
        arrays |= {f"out_{call}_{number}": array for number, array in enumerate(outputs)}
    arrays["spans"] = np.array(kept.spans, np.int64).reshape(-1, 2)
    arrays["told"] = np.array(json.dumps(asdict(kept.told)))
    np.savez(path, **arrays)


def pass_on_reference(before: Path, folder: Path) -> None:
    """Copy the float source's answers along to the product of a further hop."""
    if (before / NAME).is_file():  # over whatever a technique may have left under this name
        shutil.copyfile(before / NAME, folder / NAME)


def read_reference(folder: Path) -> Kept | None:
    """Return inputs and the float source's outputs, or None where nobody was asked.

    Raises:
        BadFile: the file is torn.
    """
    return _read(folder / NAME)


def read_simulated(folder: Path) -> Kept | None:
    """Return inputs and this file's own outputs with simulated integers, or None where it has none.

    Raises:
        BadFile: the file is torn.
    """
    return _read(folder / SIMULATED)


def _read(path: Path) -> Kept | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:  # numpy leaves a torn file open
            names = kept.files
            inputs = {name[3:]: kept[name] for name in names if name.startswith("in_")}
            spans = tuple((int(start), int(stop)) for start, stop in kept["spans"])
            calls = [
                tuple(kept[f"out_{call}_{n}"] for n in range(len(names)) if f"out_{call}_{n}" in names)
                for call in range(len(spans))
            ]
            raw = json.loads(str(kept["told"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadFile(f"{path} cannot be read: {error}", fix="delete that folder and run again") from error
    told = Told(
        tuple(raw["agreed"]),
        tuple(Alone(**one) for one in raw["alone"]),
        raw["why_none"],
        tuple(raw["makers"]),
    )
    return Kept(inputs, spans, tuple(calls) if any(calls) else None, told)


def relative_error(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference over the reference's range; infinite if shapes or numbers are broken."""
    if outputs.shape != reference.shape or not outputs.size:
        return float("inf")
    if not (np.isfinite(outputs).all() and np.isfinite(reference).all()):
        return float("inf")
    span = float(np.ptp(reference)) or 1.0
    return float(np.abs(outputs.astype(np.float64) - reference).max()) / span
