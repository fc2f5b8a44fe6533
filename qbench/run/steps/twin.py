"""What the same file answers on this host's own processor, beside its answers on an emulated device."""

from __future__ import annotations

import numpy as np

from qbench.formats.reference import relative_error
from qbench.records import Measurement, Withheld
from qbench.run.protocol import StepRequest
from qbench.run.steps.kept import kept

NAMES = ("native_agreement", "native_difference")


def beside_twin(outputs: np.ndarray, request: StepRequest) -> tuple[list[Measurement], list[Withheld]]:
    """Return agreement sample by sample and the largest difference, or why there is neither.

    The twin saw the same examples, and more after them. Nothing is said of a cell that is neither
    emulated nor capped.

    Shapes:
        outputs: (count, ...), the device's.
    """
    if not request.twin:
        return [], []
    native = kept(request.twin)[0][: len(outputs)]
    if not isinstance(native, np.ndarray) or native.shape != outputs.shape:
        shape = native.shape if isinstance(native, np.ndarray) else "that differs by example"
        reason = f"this processor's answers have shape {shape}, and these have {outputs.shape}"
        return [], [Withheld(name, reason) for name in NAMES]
    found, withheld = [], []
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        same = outputs.argmax(axis=1) == native.argmax(axis=1)
        found.append(Measurement("native_agreement", tuple(same.astype(int).tolist())))
    else:
        withheld.append(Withheld("native_agreement", "the outputs are no class scores"))
    error = relative_error(outputs, native)
    if np.isfinite(error):
        found.append(Measurement("native_difference", (error,)))
    else:
        withheld.append(Withheld("native_difference", "outputs hold NaN or infinity"))
    return found, withheld
