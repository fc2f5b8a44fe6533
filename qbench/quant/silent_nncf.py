"""NNCF without its progress bars, its log and its telemetry."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from qbench.quant.ir_graph import runtime
from qbench.quant.onnx_layers import quietly


@contextlib.contextmanager
def silent_nncf() -> Iterator[Any]:
    """Import nncf and give it; what it writes to the terminal while in use is dropped.

    It imports torch and openvino with it, whatever it works on. Its telemetry is openvino's, which stays out.
    """
    runtime()
    with contextlib.redirect_stdout(io.StringIO()), quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own: it calls what torch has deprecated
        import nncf

        yield nncf


def kinds_of(model: Any) -> str:
    """Return the operators of an OpenVINO model in words, the commonest first."""
    inner = ("Parameter", "Result", "Constant", "Convert")
    kinds = Counter(operator.get_type_name() for operator in model.get_ordered_ops())
    told = (f"{kind} x{count}" for kind, count in kinds.most_common() if kind not in inner)
    return ", ".join(told) or "nothing"
