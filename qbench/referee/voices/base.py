"""What a voice is: one way to read an ONNX file and to answer for it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.registry import Registry

if TYPE_CHECKING:
    import numpy as np

VOICES: Registry[type[Voice]] = Registry("voice", "qbench.referee.voices")

Answering = Callable[[dict[str, "np.ndarray"]], Sequence[Any]]


class Voice(abc.ABC):
    """One reader of ONNX files, on one thread, in 32-bit float. Leaves are final and have no parameters."""

    title: ClassVar[str]  # as a sentence names it: "onnxruntime without optimizations"
    maker: ClassVar[str]  # voices of one maker share code, so that their agreement proves less
    slow: ClassVar[bool] = False  # asked only where the quick ones leave something open
    order: ClassVar[int] = 0  # among all voices: who is told first, and who speaks for those who agree

    @abc.abstractmethod
    def open(self, path: Path) -> Answering:
        """Read the file; return a function from one call's inputs to all outputs, in the file's order.

        Raises:
            Exception: whatever the library says of a file that it cannot read; it becomes "no answer".
        """
