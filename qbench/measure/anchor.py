"""The anchor: a fixed kernel that no code under test can change.

It is timed in every round beside the cells. When it moves, the machine moved; when it stands still and many
cells move together, a library did.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from qbench.cases import COPY, SGEMM

SIZE = 384  # three matrices of 590 kB: larger than a level-1 cache, smaller than a level-2 of today


COPIED_BYTES = 1 << 27  # far more than any cache of today holds


def anchor_call(kernel: str) -> Callable[[], object]:
    """Return the kernel of this name, as `cases.Anchor` has it."""
    return KERNELS[kernel]()


def _product() -> Callable[[], object]:
    """One single-precision matrix product in numpy's own BLAS, one thread.

    The worker sets OPENBLAS_NUM_THREADS=1 before numpy is imported.
    """
    rng = np.random.default_rng(0)
    a = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    b = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def _copy() -> Callable[[], object]:
    """Copy 128 MiB from one place to another, in as many threads as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    source = [np.ones(COPIED_BYTES // cores, np.uint8) for _ in range(cores)]
    target = [np.zeros_like(part) for part in source]
    pool = ThreadPoolExecutor(cores)
    return lambda: list(pool.map(np.copyto, target, source))


KERNELS: dict[str, Callable[[], Callable[[], object]]] = {SGEMM: _product, COPY: _copy}
