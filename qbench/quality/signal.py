"""What can be measured of any numbers: noise, angle, channels that have died. Summed up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qbench.records import Measurement, Withheld

MOVES = 1e-3  # of the output's typical standard deviation: what varies less may be lost without being dead
OWN_MOVES = 1e-4  # of a channel's own size: what varies less is a constant, and its noise no loss
ROUNDING = 1e-6  # of the output's typical standard deviation: below it is float's own last digit
DEAD = 1e-3  # of what it varied by in float: below it a channel stands still
SQNR = ("sqnr", "sqnr_varying", "sqnr_worst_channel")
TINY = float(np.finfo(np.float64).tiny)
IDENTICAL = "no noise: the outputs are those of the float model, bit for bit"
SILENT = "no signal: the float model's outputs are all zero"
STILL = "no channel moves in float"
UNSURE = "float is confident in no channel often enough to tell"
NOISELESS = "no noise in any channel that moves"


@dataclass
class Signal:
    """Sums by channel, of float's values and of these; `channel_axis` is counted with the examples first.

    Only channels that are `speaking`, (channels,), are held to move; None: all that move in float.

    Source:
        SQNR: Jayant and Noll 1984, Digital Coding of Waveforms, section 4: power of the signal over that of
        the difference, 10 log10.
    """

    channel_axis: int
    speaking: np.ndarray | None = None
    _sums: np.ndarray | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)

    def update(self, wanted: np.ndarray, given: np.ndarray) -> None:
        """Add examples.

        Shapes:
            wanted, given: (count, ...), finite, of one shape.
        """
        w, g = (self._by_channel(values) for values in (wanted, given))
        products = (w * w, g * g, w * g, w, g, (g - w) ** 2)
        sums = np.stack([product.sum(axis=1) for product in products])
        if self._sums is not None and self._sums.shape != sums.shape:  # ragged along its channels
            sums, self._sums = sums.sum(1, keepdims=True), self._sums.sum(1, keepdims=True)
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += w.shape[1]

    def _by_channel(self, values: np.ndarray) -> np.ndarray:
        has = 0 < self.channel_axis < values.ndim
        wide = np.moveaxis(values, self.channel_axis, 0) if has else values[None]
        return wide.reshape(len(wide), -1).astype(np.float64)

    def finish(self) -> tuple[list[Measurement], list[Withheld]]:
        """Return noise, angle and dead channels over all examples, or why there is none of one.

        Raises:
            ValueError: nothing was added.
        """
        if self._sums is None:
            raise ValueError("no examples: nothing has no noise")
        ww, gg, wg, _, _, noise = self._sums
        found, withheld = [], []
        for name, value in zip(SQNR, self._ratios(), strict=True):
            if isinstance(value, str):
                withheld.append(Withheld(name, value))
            else:
                found.append(Measurement(name, (value,)))
        lengths = float(np.sqrt(ww.sum()) * np.sqrt(gg.sum()))
        if not noise.sum():
            found.append(Measurement("cosine", (1.0,)))
        else:  # of zeros where the other is none: no direction in common
            cosine = float(np.clip(wg.sum() / lengths, -1, 1)) if lengths else 0.0
            found.append(Measurement("cosine", (cosine,)))
        moving, dead = self._moving_and_dead()
        if moving.any():
            found.append(Measurement("dead_channels", (float(dead.sum() / moving.sum()),)))
        else:
            withheld.append(Withheld("dead_channels", STILL if self.speaking is None else UNSURE))
        return found, withheld

    def _variances(self) -> tuple[np.ndarray, np.ndarray]:
        assert self._sums is not None
        ww, gg, _, w, g, _ = self._sums / self._count
        return np.maximum(ww - w * w, 0), np.maximum(gg - g * g, 0)

    def _moving_and_dead(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which channels move in float, and which of them stand still here."""
        before, now = self._variances()
        moving = before > MOVES**2 * max(float(before.mean()), TINY)
        if self.speaking is not None and self.speaking.shape == moving.shape:
            moving &= self.speaking
        return moving, moving & (now < DEAD**2 * before)

    def _moving_by_own_size(self) -> np.ndarray:
        """Return which channels move in float by their own size, however small beside the others."""
        assert self._sums is not None
        before = self._variances()[0]
        own = self._sums[0] / self._count
        return before > np.maximum(OWN_MOVES**2 * own, ROUNDING**2 * max(float(before.mean()), TINY))

    def _ratios(self) -> tuple[float | str, float | str, float | str]:
        assert self._sums is not None
        signal, noise = self._sums[0], self._sums[5]
        if not signal.sum():
            return (SILENT,) * 3
        if not noise.sum():
            return (IDENTICAL,) * 3
        before = self._variances()[0] * self._count
        moving = self._moving_by_own_size()
        worst = moving & (noise > 0)
        return (
            decibels(float(signal.sum()), float(noise.sum())),
            decibels(float(before.sum()), float(noise.sum())) if moving.any() else STILL,
            float(10 * np.log10(before[worst] / noise[worst]).min()) if worst.any() else NOISELESS,
        )


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10 of one power over another; both more than zero."""
    return float(10 * np.log10(signal / noise))
