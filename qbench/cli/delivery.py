"""What a run recommends, handed over: the files copied out of the cache, with the code that loads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qbench.cases import Case
    from qbench.report.cell import Cell
    from qbench.report.delivered import Delivered, Deliveries
    from qbench.report.recommend import Recommendation
    from qbench.store import Run


def deliver(run: Run, cells: Sequence[Cell], folder: Path) -> Deliveries:
    """Copy the recommended file of a user's own model into `folder`, for each place of the run.

    A network of the zoo is nobody's to ship. Nothing else is copied: neither what collapsed, failed or was
    judged by nobody, nor what another one beat.
    """
    from qbench.report.recommend import recommend

    found: dict[Case, Delivered] = {}
    for advice in recommend(cells):
        case = advice.ship.case if advice.ship is not None else None
        if case is not None and case.deployment.artifact.users_own:
            found[case] = _delivered(run, advice, case, folder)
    return found


def _delivered(run: Run, advice: Recommendation, case: Case, folder: Path) -> Delivered:
    from qbench.errors import QbenchError
    from qbench.report.delivered import Delivered as Handed
    from qbench.run.takeaway import take_away, why_absent

    assert advice.ship is not None
    ids = [fact.found for fact, _ in advice.ship.evidence if fact.what == "data id"]
    told = {
        "verdict": advice.verdict,
        "place": advice.place,
        "gains": advice.gains,
        "loses": advice.loses,
        "how_sure": advice.sure,
        "break_even": advice.break_even,
        "results": run.path.name,
        "session": run.session.id,
        "measured_utc": run.session.started_utc,
    }
    try:
        taken = take_away(case, ids[-1] if ids else "", folder, told)
    except QbenchError as error:
        return Handed("", "", why_absent(error))
    return Handed(str(taken.path), taken.code)


def refuse_without_source(cells: Sequence[Cell]) -> None:
    """Refuse to tell anything of a user's own network that ran on no engine, in one sentence.

    Raises:
        NoAnswer: so it is; the reasons are those of the engines, each once.
    """
    from qbench.errors import NoAnswer
    from qbench.reasons import fix_of

    floats = [cell for cell in cells if cell.role == "fp32" and cell.artifact.users_own]
    tried = [cell for cell in floats if cell.status != "skipped"]
    if not tried or any(cell.status == "measured" for cell in tried):
        return
    found = [cell.reasons[0] for cell in tried]
    alike = len({reason.text for reason in found}) == 1
    told = [found[0].text] if alike else [f"{cell.engine}: {cell.reasons[0].text}" for cell in tried]
    fixes = dict.fromkeys(filter(None, (fix_of(reason.detail) for reason in found)))
    raise NoAnswer(
        f"{tried[0].model} itself runs on no engine here, so nothing can be compared with it: "
        + "; ".join(told),
        fix="; ".join(fixes) or "export it again, or see the whole error in the results file",
    )
