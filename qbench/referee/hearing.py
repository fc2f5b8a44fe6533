"""The hearing: quick voices first, slow ones only where something is left open, and what came of it.

Two engines of different makers that agree settle it, in a second or two for a small network. The standard's
evaluator and torch are asked where they do not, or where there is one engine only. Where no engine answers,
there is nothing to judge, and nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.formats.calls import Call
from qbench.referee.asking import Answer, Limits, Silent, ask
from qbench.referee.consensus import Consensus, Odd, agreed
from qbench.referee.parting import Operator, first_parting
from qbench.referee.voices.base import VOICES, Voice

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Heard:
    """Everything that was said, and what it comes to."""

    consensus: Consensus
    silent: tuple[Silent, ...]
    apart: tuple[tuple[Odd, Operator | None], ...]  # who is alone, with the first operator, if it was found

    @property
    def odd(self) -> tuple[tuple[Odd, Operator | None], ...]:
        """Return who is alone and wrong: those that it differs from are of two makers at least."""
        return self.apart if self.consensus.speaker else ()

    @property
    def outputs(self) -> tuple[tuple[np.ndarray, ...], ...] | None:
        """Return the file's answers, a tuple of outputs a call; None where nobody can be believed."""
        speaker = self.consensus.speaker
        return speaker.calls if speaker else None


def all_voices() -> list[type[Voice]]:
    """Return every voice that there is, in the order in which they are told."""
    return sorted((VOICES[name] for name in VOICES), key=lambda voice: voice.order)


def hear(
    path: Path,
    calls: Sequence[Call],
    outputs: Sequence[str],
    voices: Sequence[type[Voice]] | None = None,
    limits: Limits | None = None,
) -> Heard:
    """Ask voices for the answers of this ONNX file to these calls, and find who is right.

    `outputs`: their names, in the file's order. `voices`, `limits`: instead of all that there are, and of
    what each of them may take.
    """
    asked = all_voices() if voices is None else voices
    said = ask([voice for voice in asked if not voice.slow], path, calls, limits)
    found = agreed(_answers(said), outputs)
    slow = [voice for voice in asked if voice.slow]
    if slow and _answers(said) and not found.settled:
        said += ask(slow, path, calls, limits)
        found = agreed(_answers(said), outputs)
    apart = tuple((one, _first(path, calls, one, found, limits)) for one in found.apart(outputs))
    return Heard(found, tuple(one for one in said if isinstance(one, Silent)), apart)


def _answers(said: Sequence[Answer | Silent]) -> list[Answer]:
    return [one for one in said if isinstance(one, Answer)]


def _first(
    path: Path, calls: Sequence[Call], odd: Odd, found: Consensus, limits: Limits | None
) -> Operator | None:
    return first_parting(path, calls[odd.call], odd.answer.voice, found.camps[0][0].voice, limits)
