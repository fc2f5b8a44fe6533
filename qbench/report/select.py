"""A run to cells: one per case, with its status, its figures, its baseline and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from qbench.cases import BUILD, Case
from qbench.quality.judge import Judgement
from qbench.reasons import reason_of
from qbench.records import Failed, Measured, Skipped, find
from qbench.report.cell import Cell, Group, Reason, Round, Status, pace_of
from qbench.report.compare import compared_figures, own_ratio, without_baseline
from qbench.report.derive import own_figures
from qbench.report.figures import FIGURES, Absent, Figure, Value
from qbench.report.join import Joined, join, why_missing
from qbench.report.limits import limits_beside
from qbench.report.outputs import outputs_of
from qbench.report.ratio import over_float
from qbench.report.roofline import roofline
from qbench.report.seeds import over_seeds
from qbench.report.speed import not_timed
from qbench.report.steadiness import unstable
from qbench.stats import median
from qbench.store import Run
from qbench.units import Unit

NO_FLOAT: dict[str, Value] = {"file_size": Absent("no float cell was measured here")}


def select(run: Run) -> tuple[Cell, ...]:
    """Return one cell per case, in the order of the run; files that failed without a case stand last."""
    entries = join(run)
    own = [own_figures(entry) for entry in entries]
    bases = [_baseline_of(entry, entries) for entry in entries]
    limits = limits_beside(run.path, run.session.host)
    for entry, figures in zip(entries, own, strict=True):
        figures |= roofline(entry, figures, limits)
    cells = [_cell(i, entries, own, bases[i], run.session.profile) for i in range(len(entries))]
    groups = dict.fromkeys(cell.group for cell in cells if cell.group)
    best = {group: _fastest(_floats(group, cells), cells) for group in groups}
    small = {group: _least("file_size", _floats(group, cells), cells) for group in groups}
    for i, cell in enumerate(cells):
        more = {"capped_speed": _capped(entries[i], entries), "build_spread": _builds(i, entries)}
        cells[i] = replace(cell, figures={**cell.figures, **more})
    seeds = over_seeds(entries)
    finished: dict[int, Cell] = {}
    # baselines first, so that every technique points at the finished one
    for i in sorted(range(len(cells)), key=lambda i: bases[i] is not None):
        cell, base = cells[i], bases[i]
        against = best[cell.group] if cell.group else None
        smallest = small[cell.group] if cell.group else None
        figures = dict(cell.figures) | {"accuracy_over_seeds": seeds[i]}
        figures["speedup_over_float"] = _over(i, against, entries)
        floats = NO_FLOAT if smallest is None else own[smallest]
        figures |= own_ratio("size_over_float", "file_size", own[i], floats)
        finished[i] = replace(
            cell,
            figures={name: figures[name] for name in FIGURES},  # none may be missing
            baseline=None if base is None else finished[base],
            best_float=None if against is None else cells[against].name,
        )
    return tuple(finished[i] for i in range(len(cells)))


def _over(i: int, best: int | None, entries: list[Joined]) -> Value:
    if best is None:
        entry = entries[i]
        return Absent("no float cell was timed here" if entry.speed() else not_timed(entry, entry.timed))
    if best == i:
        return Absent("this is the fastest float cell itself")
    return over_float(entries[i], entries[best])


def _baseline_of(entry: Joined, entries: list[Joined]) -> int | None:
    """Return the index of the fp32 entry on the same engine, or None where there is none or this is it."""
    case = entry.case
    if case is None or case.role == "fp32":
        return None
    for i, other in enumerate(entries):
        if other.case is not None and other.case.role == "fp32" and _comparable(case, other.case):
            return i
    return None


def _capped(entry: Joined, entries: list[Joined]) -> Value:
    """Return this cell's speed over the same file's with all vector instructions, inside their rounds."""
    case = entry.case
    if case is None or not case.deployment.isa:
        return Absent("nothing was capped here")
    whole = replace(case, deployment=replace(case.deployment, isa=""))
    other = next((one for one in entries if one.case == whole), None)
    return over_float(entry, other) if other else Absent("the same file was not timed without a cap")


def _builds(i: int, entries: list[Joined]) -> Value:
    """Return how far the latencies of further builds of this file lie apart, over their median."""
    case = entries[i].case
    if case is None:
        return Absent("the file was never made")
    name = case.technique.partition(BUILD)[0]
    found = {
        entry.case.technique: (median([median(m.samples) for m, _ in rounds.values()]), rounds)
        for entry in entries
        if entry.case is not None
        and entry.case.technique.partition(BUILD)[0] == name
        and _group(entry.case) == _group(case)
        and entry.case.deployment.backend == case.deployment.backend
        and (rounds := entry.speed())
    }
    if len(found) < 2:
        return Absent("built once: only rigorous runs compile a file again")
    paces = [pace for pace, _ in found.values()]
    lines = tuple(line for _, rounds in found.values() for _, line in rounds.values())
    spread = (max(paces) - min(paces)) / median(paces)
    return Figure(spread, "share", len(paces), "builds", lines, "whole")


def _comparable(case: Case, base: Case) -> bool:
    """Tell whether the two differ in nothing but the file; a case that is only scored fits any scenario."""
    own, other = case.deployment, base.deployment
    engine = (own.backend, own.environment) == (other.backend, other.environment)
    scenario = case.scenario.name == "scored" or case.scenario == base.scenario
    return engine and scenario and replace(_group(case), scenario=base.scenario) == _group(base)


def _group(case: Case) -> Group:
    place = case.deployment
    return Group(
        place.artifact.model,
        place.hardware,
        place.reached,
        place.device,
        place.threads,
        place.streams,
        case.scenario,
        case.evaluation,
        place.isa,
    )


def _cell(
    i: int, entries: list[Joined], owns: list[dict[str, Value]], base: int | None, profile: str
) -> Cell:
    entry, own = entries[i], owns[i]
    status, reasons = _status(entry)
    grouped = entries[base].case if base is not None else entry.case  # a scored cell joins its fp32's group
    judgement, ratios = Judgement("incomparable", "it was not compared with fp32"), None
    if base is not None:
        compared, judgement, ratios = compared_figures(entry, own, entries[base], owns[base])
    elif entry.case is not None and entry.case.role == "fp32":
        compared = without_baseline("this is fp32 itself, the baseline")
        judgement = Judgement("pass", "it is the baseline")
    elif status in ("skipped", "failed"):
        compared = without_baseline(why_missing(entry))
    else:
        compared = without_baseline("this run holds no fp32 of the same engine to compare with")
    by_round = dict(ratios.by_round) if ratios else {}
    outcomes = [(line, line.record.outcome) for line in entry.lines()]
    measured = [(line, outcome) for line, outcome in outcomes if isinstance(outcome, Measured)]
    found = list(dict.fromkeys(v for _, outcome in measured for v in outcome.verdicts))
    shaky = unstable(entry, compared["ratio_spread"], profile)
    return Cell(
        number=i + 1,
        artifact=entry.artifact,
        case=entry.case,
        profile=profile,
        status=status,
        reasons=reasons,
        figures=own | compared,
        judgement=judgement,
        rounds=tuple(_round(entry, k, by_round.get(k)) for k in entry.speed()),
        verdicts=tuple(found + ([shaky] if shaky else [])),
        withheld=tuple((w, line.number) for line, outcome in measured for w in outcome.withheld),
        evidence=tuple((e, line.number) for line, outcome in measured for e in outcome.evidence),
        group=_group(grouped) if grouped else None,
        baseline=None,
        best_float=None,
        outputs=outputs_of(entry),
    )


def _status(entry: Joined) -> tuple[Status, tuple[Reason, ...]]:
    for line in entry.lines():
        if isinstance(line.record.outcome, Skipped):
            return "skipped", (Reason(line.record.outcome.reason, "plan", line.number),)
    if entry.failures():
        return "failed", tuple(
            Reason(_told(failed), failed.stage, line.number, failed.traceback or failed.error)
            for line, failed in entry.failures()
        )
    for line in entry.lines():
        if isinstance(line.record.outcome, Measured):
            for found in line.record.outcome.verdicts:
                if found.kind == "collapsed":
                    return "collapsed", (Reason(found.text, line.record.step.kind, line.number),)
    return "measured", ()


def _told(failed: Failed) -> str:
    """Return a failure's words, and the suite's reason where it expects them."""
    expected = f" (the suite expects this: {failed.expected})" if failed.expected else ""
    return reason_of(failed.error) + expected


def _round(entry: Joined, k: int, ratio: float | None) -> Round:
    measurement, number = entry.speed()[k]
    outcome = entry.times[k].record.outcome
    names = (
        "involuntary_switches", "processor_wait", "steal", "load_average", "cpu_frequency", "temperature",
    )  # fmt: skip
    found = ((name, find(outcome, name)) for name in names)
    witnesses = tuple((name, median(m.samples)) for name, m in found if m is not None and m.samples)
    unit: Unit = "1/s" if entry.timed == "throughput" else "s"
    return Round(k, entry.typical(measurement.samples), unit, number, ratio, witnesses)


def _floats(group: Group, cells: list[Cell]) -> list[int]:
    """Return the float cells of a group whose answers are right."""
    return [
        i
        for i, cell in enumerate(cells)
        if cell.group == group
        and cell.role in ("fp32", "float")
        and cell.status == "measured"
        and cell.judgement.outcome not in ("fail", "incomparable")
    ]


def _fastest(among: list[int], cells: list[Cell]) -> int | None:
    """Return the cell with the least latency, or with the most throughput where that is measured."""
    found = [(pace, i) for i in among if (pace := pace_of(cells[i])) is not None]
    return min(found)[1] if found else None


def _least(name: str, among: list[int], cells: list[Cell]) -> int | None:
    found = [(value.value, i) for i in among if isinstance(value := cells[i].figures[name], Figure)]
    return min(found)[1] if found else None
