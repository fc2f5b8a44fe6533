"""A run that must end in time: which cells stay, and which are dropped by the suite's own ranking."""

from __future__ import annotations

from qbench.cases import Case
from qbench.errors import BadParameter
from qbench.profile import Profile
from qbench.records import BUDGET, DROPPED
from qbench.run.cells import Skip
from qbench.run.estimate import estimate_s


def within(
    budget_s: float,
    cells: dict[Case, int],
    profile: Profile,
    *,
    whose: str = BUDGET,
    reserved_s: float = 0.0,
) -> tuple[tuple[Case, ...], tuple[Skip, ...]]:
    """Return the cells that fit, in their order, and a skip for every cell that was dropped.

    What the suite ranks lowest goes first, and of one rank the technique that it lists last. A float baseline
    stays as long as anything is compared with it. What waits for others takes no time unless it is needed, so
    it stays. `whose` time it is (BUDGET, OWN_TIME) stands in the reason.
    `reserved_s` of it are for what comes after the cells.

    Raises:
        BadParameter: not even one technique beside its baseline fits.
    """
    waits = {case: rank for case, rank in cells.items() if case.after}
    listed = list(dict.fromkeys(case.technique for case in cells))
    kept = {case: rank for case, rank in cells.items() if not case.after}
    dropped: list[Case] = []
    while kept and estimate_s(tuple(kept), profile) + reserved_s > budget_s:
        lonely = [case for case in kept if case.role == "fp32" and _lost(case, kept, cells)]
        candidates = lonely or [case for case in kept if not _needed(case, kept)]
        worst = max(kept[case] for case in candidates)
        ranked = [case for case in candidates if kept[case] == worst]
        last = sorted(ranked, key=lambda case: listed.index(case.technique))[-1]
        del kept[last]
        dropped.append(last)
    if dropped and not any(case.role != "fp32" for case in kept):
        first = next((case for case in cells if case.role != "fp32"), next(iter(cells)))
        pair = tuple(case for case in cells if case is first or _is_baseline(case, first))
        least = estimate_s(pair, profile) + reserved_s
        raise BadParameter(
            f"--budget {budget_s:g}s: nothing fits; one technique beside its float baseline takes about "
            f"{least:.0f} s",
            fix=f"write --budget {int(least // 60) + 1}m, or narrow the run with --model and --backend",
        )
    ranks = {case: cells[case] for case in dropped}
    skips = [
        Skip(case, f"{DROPPED} {whose} {budget_s / 60:g}m (priority {ranks[case]} in the suite)")
        for case in cells
        if case in ranks
    ]
    return tuple(case for case in cells if case in kept or case in waits), tuple(skips)


def _needed(case: Case, kept: dict[Case, int]) -> bool:
    """Tell whether the case is a baseline that another one is still compared with."""
    return case.role == "fp32" and any(other.role != "fp32" and _is_baseline(case, other) for other in kept)


def _lost(case: Case, kept: dict[Case, int], all_cells: dict[Case, int]) -> bool:
    """Tell whether everything that was to be compared with this baseline has been dropped."""
    had = any(other.role != "fp32" and _is_baseline(case, other) for other in all_cells)
    return had and not _needed(case, kept)


def _is_baseline(case: Case, of: Case) -> bool:
    """Tell whether `case` is the float baseline of the other: the same model at the same place."""
    same = case.deployment.same_but_for_technique(of.deployment)
    return case.role == "fp32" and same and (case.scenario == of.scenario or of.scenario.name == "scored")
