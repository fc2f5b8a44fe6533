"""Does the quantized network say what the float one says? No labels needed: for a user's own model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from qbench.cases import DataSpec, Split
from qbench.errors import BadFile, BadParameter
from qbench.formats.artifact import TensorSpec
from qbench.formats.onnx_file import checked, digest
from qbench.formats.samples import Samples, fitted, read_npz
from qbench.formats.signature import one_value, taken
from qbench.formats.state import read, told
from qbench.quality.compare import read_kinds, refuse_unknown
from qbench.records import Measurement, Withheld
from qbench.tasks.base import TASKS, Examples, Task
from qbench.tasks.unrolled import unrolled

NO_LABELS = "the inputs have no labels: agreement with the float model stands in for accuracy"
CALIBRATION_SHARE = 4  # one sample in four calibrates, the rest are compared: the two never overlap


@TASKS.register("agreement")
@dataclass(frozen=True, slots=True)
class Agreement(Task):
    """Compare answers with the float model's on the samples of an .npz file, one array per input."""

    about: ClassVar[str] = "agreement with the float model on your own inputs (.npz, one array per input)"

    inputs: str = ""
    model: str = ""  # the ONNX file whose inputs these are; "": examples along the first axis of every array
    state: str = ""  # what is carried from call to call: `h=hn, c=cn`
    output_kinds: str = ""  # how outputs are read, where the user says so: "scores=sigmoid, boxes=boxes"

    def __post_init__(self) -> None:
        """Refuse a kind of output that does not exist."""
        refuse_unknown(self.kinds())

    def kinds(self) -> Mapping[str, str]:
        """Return what `output_kinds` says, by output's name.

        Raises:
            BadParameter: an entry is not of the form NAME=KIND.
        """
        return read_kinds(filter(None, (part.strip() for part in self.output_kinds.split(","))))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the file's arrays in the examples' form.

        Raises:
            BadFile: no such file, no .npz, no arrays, or arrays that do not fit the network or one another.
        """
        return self._samples().arrays

    def sizes(self) -> dict[Split, int]:
        """Return the split of the samples: every fourth one calibrates, of a stream the first quarter."""
        count = self._samples().count
        calibration = len(range(0, count, CALIBRATION_SHARE))
        return {"calibration": calibration, "test": count - calibration}

    def recipe(self) -> str:
        """Return a digest of the file, and of the network that says how it is read."""
        try:
            found = hashlib.sha256(Path(self.inputs).read_bytes())
        except OSError as error:
            raise BadFile(f"--inputs {self.inputs}: {error.strerror}", fix="name an .npz file") from error
        if self.model:
            found.update(digest(Path(self.model)).encode())
        return found.hexdigest()[:16]

    def examples(self, spec: DataSpec) -> Examples:
        """Return the split's samples: the first `count`, or a draw. Of a stream, with its float states."""
        samples = self._samples()
        rows = self._rows(spec.split, samples.count)
        if not 1 <= spec.count <= len(rows):
            raise BadParameter(
                f"{spec.count} samples asked of {self.inputs}, whose {spec.split} split has {len(rows)}",
                fix=f"ask for 1 to {len(rows)}",
            )
        if spec.seed is not None:
            rows = np.sort(np.random.default_rng(spec.seed).choice(rows, spec.count, replace=False))
        rows = rows[: spec.count]
        arrays = samples.arrays | self._states(samples, int(rows[-1]) + 1)
        raw = {name: taken(array, rows) for name, array in arrays.items()}
        content = hashlib.sha256()
        for name, array in sorted(raw.items()):
            content.update(f"{name} {array.dtype} {array.shape}".encode())
            content.update(np.ascontiguousarray(array[:1] if one_value(array) else array).tobytes())
        return Examples(content.hexdigest()[:16], raw, None)

    def _rows(self, split: Split, count: int) -> np.ndarray:
        """Return which samples a split has; a stream is not torn: its first quarter calibrates."""
        places = np.arange(count)
        first = places < -(-count // CALIBRATION_SHARE)
        calibrates = first if self.state else places % CALIBRATION_SHARE == 0
        return np.flatnonzero(calibrates if split == "calibration" else ~calibrates)

    def _samples(self) -> Samples:
        arrays = read_npz(self.inputs)
        if self.model:
            inputs, outputs = checked(Path(self.model))
            carried = told(inputs, outputs, read(self.state))
        else:
            inputs, carried = tuple(_batch_first(name, array) for name, array in arrays.items()), ()
        return fitted(arrays, inputs, carried, source=f"--inputs {self.inputs}")

    def _states(self, samples: Samples, count: int) -> dict[str, np.ndarray]:
        """Return the states that the float network has before each of the first `count` calls."""
        if not self.state:
            return {}
        path = Path(self.model)
        inputs, outputs = checked(path)
        carried = told(inputs, outputs, read(self.state))
        return unrolled(path, inputs, carried, samples.arrays, count)

    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Hand the samples over as they are."""
        return {
            name: array if one_value(array) else np.ascontiguousarray(array) for name, array in raw.items()
        }

    def chance(self, examples: Examples) -> float | None:  # noqa: ARG002
        """Return None: nothing is right or wrong here."""
        return None

    def score(
        self,
        outputs: np.ndarray,
        examples: Examples,  # noqa: ARG002
    ) -> tuple[tuple[Measurement, ...], tuple[Withheld, ...]]:
        """Return the first answers where outputs look like class scores: reals, (count, at least 2)."""
        withheld = (Withheld("correct", NO_LABELS),)
        if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.dtype.kind != "f":
            what = f"{outputs.dtype} outputs of shape {'x'.join(map(str, outputs.shape))}"
            return (), (*withheld, Withheld("prediction", f"{what} are no class scores"))
        finite = np.isfinite(outputs).all(axis=1)
        first = np.where(finite, np.where(finite[:, None], outputs, 0).argmax(axis=1), -1)
        return (Measurement("prediction", tuple(first.tolist())),), withheld


def _batch_first(name: str, array: np.ndarray) -> TensorSpec:
    """Return what an array is taken for where no network says: examples along its first axis."""
    shape = (None, *array.shape[1:])[: array.ndim]
    return TensorSpec(name, array.dtype.name, shape, 0 if shape else None)
