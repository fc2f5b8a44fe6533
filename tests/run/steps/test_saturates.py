"""A file that would saturate is warned of where the processor is of that kind, and nowhere else."""

import pytest

from qbench.formats.artifact import Note
from qbench.machine import machine
from qbench.quant.saturation import NOTE
from qbench.records import Verdict
from qbench.run.steps.prepare import cautions, saturates

NOTES = (
    Note(NOTE, "0.03 % of pair sums", warns=True),
    Note("another", "fact"),
    Note("a third", "must be known", warns=True),
)


@pytest.mark.parametrize(("architecture", "flags", "warned"), [
    ("x86_64", "avx2", True),
    ("x86_64", "avx2 avx_vnni", False),
    ("x86_64", "avx2 avx512_vnni", False),
    ("aarch64", "asimd", False),
])  # fmt: skip
def test_a_warning_is_for_processors_that_saturate(tmp_path, architecture, flags, warned):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\nFeatures : {flags}\n\n")
    found = saturates(NOTES, machine(tmp_path, architecture, "Linux"))
    assert [verdict.kind for verdict in found] == ["saturates"] * warned
    assert all("reduce_range = true" in verdict.text for verdict in found)


def test_a_warning_of_anything_else_is_for_every_processor():
    assert cautions(NOTES) == (Verdict("caution", "a third: must be known"),)
