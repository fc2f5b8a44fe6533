"""What a terminal says of cells without a figure: whose time it was that did not suffice."""

from types import SimpleNamespace

import pytest

from qbench.records import BUDGET, DROPPED, OWN_TIME
from qbench.report.summary import _left_out

USER, TRY = f"{DROPPED} {BUDGET} 5m", f"{DROPPED} {OWN_TIME} 2m (priority 1 in the suite)"
OF_OLD = "dropped to stay within --budget 5m (priority 1 in the suite)"  # as files of before have it


def cell(reason):
    return SimpleNamespace(status="skipped", reasons=[SimpleNamespace(text=reason)])


@pytest.mark.parametrize(("reasons", "told"), [
    ([], []),
    ([USER], ["1 cell was left out to stay within --budget."]),
    ([USER, OF_OLD], ["2 cells were left out to stay within --budget."]),
    ([TRY, TRY], ["2 cells were left out: try gives itself 2 minutes; --profile standard measures all."]),
    (["no VNNI", TRY], [
        "1 configuration skipped; the reasons are in the report.",
        "1 cell was left out: try gives itself 2 minutes; --profile standard measures all.",
    ]),
])  # fmt: skip
def test_time_is_told_as_whose_it_was(reasons, told):
    assert list(_left_out([cell(reason) for reason in reasons])) == told
