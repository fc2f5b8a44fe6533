"""The anchor: a fixed kernel that no code under test can change.

It is timed in every round beside the cells. When it moves, the machine moved; when it stands still and many
cells move together, a library did.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIZE = 384  # three matrices of 590 kB: larger than a level-1 cache, smaller than a level-2 of today


def anchor_call() -> Callable[[], object]:
    """Return the kernel: one single-precision matrix product in numpy's own BLAS, one thread.

    The worker sets OPENBLAS_NUM_THREADS=1 before numpy is imported.
    """
    rng = np.random.default_rng(0)
    a = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    b = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)
