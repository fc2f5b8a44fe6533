"""What is known of the detector on this host: every trial of every session so far, a few figures each.

The raw calls of seventy sessions take a hundred megabytes, and the rules read one figure a round. The ledger
keeps those, so that a rule that changes is tried on all of them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qbench.errors import BadFile
from qbench.gate.trials import Rounds, Trial

FILE = "power.json"
FORMAT = 1


def joined(known: Sequence[Trial], new: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return both; of a session that both have, the new."""
    again = {trial.session for trial in new}
    return (*(trial for trial in known if trial.session not in again), *new)


def write_trials(trials: Sequence[Trial], path: Path) -> None:
    """Write them, a line a trial, all at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    lines = ",\n".join(json.dumps(asdict(trial)) for trial in trials)
    temporary.write_text(f'{{"format": {FORMAT}, "trials": [\n{lines}\n]}}\n')
    os.replace(temporary, path)


def read_trials(path: Path) -> tuple[Trial, ...]:
    """Return what `qbench power` wrote.

    Raises:
        BadFile: it is missing, torn, of another format, or was written by something else.
    """
    try:
        held = json.loads(path.read_text())
        if not isinstance(held, dict):
            raise ValueError(f"it is a {type(held).__name__}")
        if held["format"] != FORMAT:
            raise ValueError(f"format {held['format']}, and this qbench reads {FORMAT}")
        return tuple(_trial(one) for one in held["trials"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BadFile(
            f"{path} holds no trials of the detector: {lacks}",
            fix="give a file that `qbench power` wrote, or move it away and measure again",
        ) from error


def _trial(raw: dict[str, Any]) -> Trial:
    sides = {
        name: Rounds(**{k: tuple(v) for k, v in raw[name].items()}) for name in ("reference", "candidate")
    }
    rounds = {len(figures) for side in sides.values() for figures in asdict(side).values()}
    if len(rounds) != 1:
        raise ValueError(f"{raw['cell']}: its sides have {sorted(rounds)} rounds")
    return Trial(**(raw | sides))
