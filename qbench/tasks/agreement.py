"""Does the quantized network say what the float one says? No labels needed: for a user's own model."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from qbench.cases import DataSpec, Split
from qbench.errors import BadFile, BadParameter
from qbench.quality.compare import refuse_unknown
from qbench.quality.kinds.base import KINDS
from qbench.records import Measurement, Withheld
from qbench.tasks.base import TASKS, Examples, Task

NO_LABELS = "the inputs have no labels: agreement with the float model stands in for accuracy"
CALIBRATION_SHARE = 4  # one sample in four calibrates, the rest are compared: the two never overlap


@TASKS.register("agreement")
@dataclass(frozen=True, slots=True)
class Agreement(Task):
    """Compare answers with the float model's on the samples of an .npz file, one array per input."""

    about: ClassVar[str] = "agreement with the float model on your own inputs (.npz, one array per input)"

    inputs: str = ""
    output_kinds: str = ""  # how outputs are read, where the user says so: "scores=sigmoid, boxes=boxes"

    def __post_init__(self) -> None:
        """Refuse a kind of output that does not exist."""
        refuse_unknown(self.kinds())

    def kinds(self) -> Mapping[str, str]:
        """Return what `output_kinds` says, by output's name.

        Raises:
            BadParameter: an entry is not of the form NAME=KIND.
        """
        found = {}
        for entry in filter(None, (part.strip() for part in self.output_kinds.split(","))):
            name, equals, kind = entry.rpartition("=")
            if not (name.strip() and equals and kind.strip()):
                raise BadParameter(
                    f"--output-kind {entry} is not of the form NAME=KIND",
                    fix=f"write the output's name and one of {', '.join(KINDS)}",
                )
            found[name.strip()] = kind.strip()
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the file's arrays.

        Raises:
            BadFile: no such file, no .npz, no arrays, arrays of different lengths, or not finite.
        """
        how = "save samples with numpy.savez(path, INPUT_NAME=array), first axis = samples"
        try:
            with open(self.inputs, "rb") as file, np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
        except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise BadFile(f"--inputs {self.inputs} is no .npz file: {error}", fix=how) from error
        lengths = {name: (array.shape[0] if array.ndim else 0) for name, array in arrays.items()}
        if not arrays or len(set(lengths.values())) != 1:
            raise BadFile(f"--inputs {self.inputs}: arrays differ in length: {lengths}", fix=how)
        if min(lengths.values()) < 2 * CALIBRATION_SHARE:
            raise BadFile(
                f"--inputs {self.inputs} holds {min(lengths.values())} samples",
                fix=f"give at least {2 * CALIBRATION_SHARE}; 200 or more make differences visible",
            )
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                problem = f"--inputs {self.inputs}: {name} holds NaN or infinity"
                raise BadFile(problem, fix="remove those samples")
        return arrays

    def sizes(self) -> dict[Split, int]:
        """Return the split of the samples: every fourth one calibrates."""
        count = len(next(iter(self.arrays().values())))
        calibration = len(range(0, count, CALIBRATION_SHARE))
        return {"calibration": calibration, "test": count - calibration}

    def recipe(self) -> str:
        """Return the file's content digest."""
        try:
            return hashlib.sha256(Path(self.inputs).read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise BadFile(f"--inputs {self.inputs}: {error.strerror}", fix="name an .npz file") from error

    def examples(self, spec: DataSpec) -> Examples:
        """Return the split's samples: the first `count`, or a draw."""
        arrays = self.arrays()
        count = len(next(iter(arrays.values())))
        calibrates = np.arange(count) % CALIBRATION_SHARE == 0
        rows = np.flatnonzero(calibrates if spec.split == "calibration" else ~calibrates)
        if not 1 <= spec.count <= len(rows):
            raise BadParameter(
                f"{spec.count} samples asked of {self.inputs}, whose {spec.split} split has {len(rows)}",
                fix=f"ask for 1 to {len(rows)}",
            )
        if spec.seed is not None:
            rows = np.sort(np.random.default_rng(spec.seed).choice(rows, spec.count, replace=False))
        raw = {name: np.ascontiguousarray(array[rows[: spec.count]]) for name, array in arrays.items()}
        digest = hashlib.sha256()
        for name, array in sorted(raw.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return Examples(digest.hexdigest()[:16], raw, None)

    def prepare(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Hand the samples over as they are."""
        return {name: np.ascontiguousarray(array) for name, array in raw.items()}

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
