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
ROUNDS = 3  # of a cell: fewer have no usual rate
LONGER = {"quick": "standard", "standard": "rigorous", "gate": "rigorous"}  # the next more thorough profile


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
    switches: dict[int, float] = {}
    stolen: dict[int, float] = {}
    for number, (window, _) in entry.speed().items():
        if entry.timed == "throughput":  # its samples are rates, and say nothing of its length
            return ""
        length_s = window.group * (sum(window.samples) + sum(window.warmup))
        outcome = entry.times[number].record.outcome
        for metric, rates in (("involuntary_switches", switches), ("steal", stolen)):
            found = find(outcome, metric)
            if found is not None and length_s > 0:
                rates[number] = found.samples[0] / length_s
    worst = max(stolen, key=lambda number: stolen[number], default=None)
    if worst is not None and stolen[worst] > STOLEN:
        return f"the hypervisor took {text(stolen[worst], 'share')} of a processor away in round {worst}"
    if len(switches) >= ROUNDS:
        usual, worst = median(list(switches.values())), max(switches, key=lambda number: switches[number])
        rose = switches[worst] > SWITCHES_TIMES * usual and switches[worst] > usual + SWITCHES_MORE
        if rose:
            return (
                f"the process was interrupted {switches[worst]:.0f} times a second in round {worst}, "
                f"and {usual:.0f} times usually"
            )
    return ""
