"""How thoroughly to measure: the profiles of docs/methodology.md."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.errors import UnknownName
from qbench.registry import did_you_mean


@dataclass(frozen=True, slots=True)
class Profile:
    """Rounds, windows and limits. Few and short: `quick`; what reports are made of: `standard`.

    `brief` is what `qbench try` takes for small networks, unless it is told another.
    """

    name: str
    rounds: int
    window_s: float
    warmup_cap_s: float
    max_scored: int
    all_seeds: bool  # score further calibration seeds too
    one_thread: bool  # the gate compares single-threaded windows: spread 1.9 % instead of 16 % (methodology)
    fresh_servers: bool  # restart the fork servers every round: a new address layout each
    priority: int  # what the suite ranks beyond this is not measured
    energy: bool = False  # measure it where there is a meter
    call_s: float = 0.0  # what one example takes in float, about, where that is known beforehand
    builds: int = 1  # of a compiled file: a compiler's product is a draw, too


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(  # of a network so small that a third of a second is thousands of calls
            "brief", 3, 0.3, 0.6, 1_000,
            all_seeds=False, one_thread=False, fresh_servers=False, priority=1,
        ),
        Profile(
            "quick", 3, 1.0, 2.0, 1_000,
            all_seeds=False, one_thread=False, fresh_servers=False, priority=1,
        ),
        Profile(
            "standard", 8, 2.0, 10.0, 1_000_000,
            all_seeds=True, one_thread=False, fresh_servers=True, priority=2, energy=True,
        ),
        Profile(
            "gate", 12, 1.0, 10.0, 1_000_000,
            all_seeds=False, one_thread=True, fresh_servers=True, priority=1,
        ),
        Profile(
            "rigorous", 12, 10.0, 10.0, 1_000_000,
            all_seeds=True, one_thread=False, fresh_servers=True, priority=3, energy=True, builds=3,
        ),
    )
}  # fmt: skip


def profile_named(name: str) -> Profile:
    """Return the profile.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in PROFILES:
        raise UnknownName(f"no profile is called {name!r}", fix=did_you_mean(name, list(PROFILES)))
    return PROFILES[name]
