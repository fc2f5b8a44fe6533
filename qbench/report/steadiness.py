"""Was the machine steady while a cell was timed? Judged by its rounds' ratios, and by what the system saw."""

from __future__ import annotations

from qbench.records import Verdict, find
from qbench.report.figures import Absent, Value
from qbench.report.join import Joined
from qbench.stats import median
from qbench.units import text

UNSTEADY_CPU, UNSTEADY_OTHER = 0.10, 0.025  # spread of the ratio inside the rounds (methodology, "Latency")
SWITCHES_TIMES, SWITCHES_MORE = 3.0, 20.0  # a round's rate over the cell's usual one, and by so many a second
STOLEN = 0.02  # of one processor's time in a round
WAITED = 0.20  # of the window, by thread: figures quiet and loaded in docs/log.md
ROUNDS = 3  # of a cell: fewer have no usual rate
LONGER = {"brief": "standard", "quick": "standard", "standard": "rigorous"}  # the next more thorough profile


def unstable(entry: Joined, spread: Value, profile: str) -> Verdict | None:
    """Return the verdict on a cell whose rounds differ, or during which the machine was taken away.

    The advice never names what was already done.
    """
    if entry.case is None:
        return None
    limit = UNSTEADY_CPU if entry.case.deployment.device.startswith("cpu") else UNSTEADY_OTHER
    if not isinstance(spread, Absent) and spread.value > limit:
        further = LONGER.get(profile)
        more = f"add rounds with --resume --rounds {2 * len(entry.speed())}"
        other = f"with --profile {further}" if further else "on a quieter machine"
        advice = f"{more}, or measure again {other}"
        return Verdict(
            "unstable",
            f"the ratio to fp32 varied by {spread} between rounds (limit {text(limit, 'share')}): {advice}",
        )
    seen = _taken_away(entry)
    return Verdict("unstable", f"{seen}: close other programs, and measure again") if seen else None


def _taken_away(entry: Joined) -> str:
    """Return how a round's witnesses say that others ran in its place; nothing where they do not."""
    waited = _rates(entry, "processor_wait")
    worst, rate = _largest(waited)
    assert entry.case is not None
    share = rate / entry.case.deployment.threads
    if share > WAITED:
        return (
            f"others had the processor: its threads waited {text(share, 'share')} of round {worst} for one "
            f"(limit {text(WAITED, 'share')})"
        )
    worst, rate = _largest(_rates(entry, "steal"))
    if rate > STOLEN:
        return f"the hypervisor took {text(rate, 'share')} of a processor away in round {worst}"
    switches = _rates(entry, "involuntary_switches")
    if len(switches) >= ROUNDS:
        usual, (worst, rate) = median(list(switches.values())), _largest(switches)
        if rate > SWITCHES_TIMES * usual and rate > usual + SWITCHES_MORE:
            return (
                f"the process was interrupted {rate:.0f} times a second in round {worst}, "
                f"and {usual:.0f} times usually"
            )
    return ""


def _rates(entry: Joined, metric: str) -> dict[int, float]:
    """Return, by round, what this witness counted in a second."""
    rates = {}
    for number in entry.speed():
        found, length_s = find(entry.times[number].record.outcome, metric), _length_s(entry, number)
        if found is not None and length_s > 0:
            rates[number] = found.samples[0] / length_s
    return rates


def _length_s(entry: Joined, number: int) -> float:
    """Return how long a round's witnesses looked; 0 where that is not known."""
    watched = find(entry.times[number].record.outcome, "watched")
    if watched is not None:
        return watched.samples[0]
    if entry.timed == "throughput":  # its samples are rates, and say nothing of its length
        return 0.0
    window, _ = entry.speed()[number]  # of a record from before the witnesses said so themselves
    return window.group * sum(window.samples) + sum(window.warmup)  # warm-up calls are timed one by one


def _largest(rates: dict[int, float]) -> tuple[int, float]:
    return max(rates.items(), key=lambda item: item[1], default=(0, 0.0))
