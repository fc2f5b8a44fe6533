"""AdaRound: which way to round each weight, learned layer by layer (Nagel et al. 2020, arXiv:2004.10568).

Rounding to the nearest is best for each weight alone; what counts is the sum that they are part of. A soft
rounding h(v) between 0 and 1 is learned for every weight on the layer's squared error, and driven to 0 or 1
by a regularizer (eq. 21 to 25). The error comes from second moments of the layer's inputs (moments.py), so a
step costs the same however many examples there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from qbench.quant.affine import Coded, WeightGrid, spread
from qbench.quant.moments import RIDGE, Moments, loss

MOST, LEAST = 600, 200  # steps
WORK = 4e11  # multiply-accumulates of one layer's steps, about: a wide layer has fewer steps
RATE = 2e-2
PULL = 0.02  # weight of the regularizer, the error being told as a share of nearest rounding's
WARM = 0.2  # of the steps without it
STRETCH = (-0.1, 1.1)  # eq. 23: h reaches 0 and 1 at a finite v
EDGE = 1e-4  # of a step: so near to a code there is no choice
SHARPNESS = (20.0, 2.0)  # of eq. 24, from the first step to the last


def adaround(
    matrix: np.ndarray, nearest: Coded, grid: WeightGrid, of: Moments, steps: int | None = None
) -> Coded:
    """Return codes with the least error found: no output channel's is above nearest rounding's.

    Shapes:
        matrix: (channels out, k), float. of: as many groups as divide the channels. Weights that are on the
        grid stay where they are: zeros may have been pruned.
    """
    import torch

    groups = len(of.own)
    sides = (nearest.scale, nearest.zero_point)
    scale, zero = (spread(array, matrix) * np.ones_like(matrix) for array in sides)
    floor = np.floor(matrix / scale)
    there = np.abs(matrix / scale - np.rint(matrix / scale)) < EDGE
    part = np.clip(matrix / scale - floor, EDGE, 1 - EDGE)
    low, width = STRETCH[0], STRETCH[1] - STRETCH[0]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array.reshape(groups, -1, array.shape[-1]), "f4"))

    inside = (part - low) / width
    v = tensor(np.log(inside / (1 - inside))).requires_grad_()
    base, size, offset, target = (tensor(a) for a in (floor, scale, zero, matrix))
    kept, exact = tensor(there) > 0, tensor(nearest.restored)
    own, cross = (torch.from_numpy(array.astype("f4")) for array in (of.own, of.cross))
    own = own + RIDGE * own.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(own.shape[-1])
    wanted = target @ cross

    before = loss(target.numpy(), tensor(nearest.restored).numpy(), of)
    told = torch.from_numpy(np.maximum(before, before.mean() * 1e-3 + 1e-30).astype("f4"))
    steps = steps or int(min(max(WORK / (matrix.size * matrix.shape[1]), LEAST), MOST))
    with _one_thread():
        optimizer = torch.optim.Adam([v], RATE)
        for step in range(steps):
            soft = torch.clamp(torch.sigmoid(v) * width + low, 0, 1)
            codes = torch.clamp(base + offset + soft, grid.low, grid.high)
            rounded = torch.where(kept, exact, (codes - offset) * size)
            with torch.no_grad():  # the gradient of the quadratic form, by one product in the place of three
                slope = 2 * (rounded @ own - wanted) / told[:, :, None]
            error = (rounded * slope).sum(2)
            done = (step / steps - WARM) / (1 - WARM)
            pull = torch.zeros(())
            if done >= 0:
                sharp = SHARPNESS[1] + (SHARPNESS[0] - SHARPNESS[1]) * (1 - done)
                pull = PULL * (1 - (2 * soft - 1).abs() ** sharp).sum(2).mean()
            optimizer.zero_grad()
            (error.mean() + pull).backward()
            optimizer.step()

    up = (v.detach().numpy() >= 0).reshape(matrix.shape)
    learned = np.clip(floor + zero + up, grid.low, grid.high)
    learned = np.where(there, nearest.codes, learned).astype(np.int32)
    after = loss(target.numpy(), tensor(replace(nearest, codes=learned).restored).numpy(), of)
    better = (after < before).reshape(-1)[:, None]
    return replace(nearest, codes=np.where(better, learned, nearest.codes))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: a step is short, and threads that wait for each other crawl where it is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
