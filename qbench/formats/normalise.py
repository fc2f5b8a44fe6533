"""What is exact and makes an ONNX network readable by everyone who reads one.

`raised` is for whoever needs a newer operator set, a quantizer for example; `normalised` for a reader
that has never seen old files. A user's own file stays what is deployed: these are copies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from qbench.errors import DoesNotFit
from qbench.quant.fold import fold_batch_norm
from qbench.quant.opset import (
    WITHOUT_LISTED,
    opset_of,
    raised,
    take_off_listed_tensors,
    with_one_standard_domain,
    without_functions,
)

__all__ = ["WELL_READ", "normalised", "raised"]

WELL_READ = 21  # no operator of it has a form that readers are known to get wrong, as those below 14 have


def normalised(model: Any, opset: int = WELL_READ) -> Any:
    """Return the same network in newer words, exactly; the one that is given stays as it is.

    The standard's operators have one name, calls of the file's own functions are written out, the
    operator set is raised where there is a conversion, stored tensors are no inputs,
    and a BatchNormalization behind a convolution is folded into it.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(without_functions(with_one_standard_domain(model)))
    if opset_of(copy) < opset:
        with suppress(DoesNotFit):  # then it is read in its own words
            copy = raised(copy, opset)
    if copy.ir_version >= WITHOUT_LISTED:
        take_off_listed_tensors(copy)
    fold_batch_norm(copy)
    return copy
