"""An engine kept from its widest instructions, in a process of its own: the switch binds at load."""

from dataclasses import replace

import pytest
from prepared import INT8, asked, deployment

from qbench.backends.base import BACKENDS
from qbench.machine import machine
from qbench.records import Measured, find
from qbench.run.launch import ask_fresh

pytestmark = pytest.mark.skipif(
    "avx512_vnni" not in machine().features, reason="this processor has no VNNI to take away"
)


def kernels(outcome):
    """Return the kernels that the engine names as evidence."""
    assert isinstance(outcome, Measured), outcome
    return " ".join(each.what for each in outcome.evidence if each.what.startswith("kernel"))


def test_openvino_runs_narrower_kernels_and_says_so():
    whole = deployment(INT8, "openvino")
    capped = replace(whole, isa="avx2")
    there = ask_fresh(asked("score", whole)).result
    here = ask_fresh(asked("score", capped), (), BACKENDS["openvino"].caps["avx2"]).result
    assert "avx512" in kernels(there)
    assert "avx512" not in kernels(here)
    assert "avx2" in kernels(here)
    assert find(here, "correct") is not None
