"""The figures behind the targets, worked by hand on a run of 100 examples."""

import importlib.util
import sys
from pathlib import Path

import pytest
from example_run import FP32, Builder, case, correct

from qbench.cases import Choice

PATH = Path(__file__).parents[2] / "tools" / "recovery.py"


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("recovery", PATH)
    recovery = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "recovery", recovery)
    spec.loader.exec_module(recovery)

    def of(*scored):
        build = Builder(tmp_path)
        build.data()
        for name, wrong, size in (("fp32", 10, 1e6), *scored):
            one = (
                FP32
                if name == "fp32"
                else case(name, seed=int("seed 1" in name), chain=(Choice(name.replace(" ", "_")),))
            )
            build.prepare(one, size)
            build.score(one, correct(wrong))
        path = build.run().path
        monkeypatch.setattr(sys, "argv", ["recovery", str(path)])
        recovery.main()
        return capsys.readouterr().out

    return of


def test_a_share_is_what_comes_back_of_what_round_to_nearest_loses(told):
    found = told(
        ("round to nearest (weight_bits=8)", 11, 3e5),
        ("round to nearest (weight_bits=3)", 30, 1e6),
        ("AdaRound (weight_bits=3)", 16, 1e6),  # medians: of 16 and 14 wrong, 15
        ("AdaRound (weight_bits=3), calibration seed 1", 14, 1e6),
    )
    assert "round to nearest, 3 bits: 70.00 %, 20.00 points lost" in found
    assert "AdaRound: 85.00 %, recovers 75 % (2 seeds)" in found
    assert "8 bits: 89.00 %, 1.00 points lost\n  " not in found  # too little is lost to be won back


def test_adaptive_is_held_against_the_line_and_every_draw(told):
    found = told(
        ("round to nearest (weight_bits=8)", 10, 300_000),
        ("round to nearest (weight_bits=4)", 20, 200_000),
        ("adaptive", 12, 250_000),
        ("adaptive by latency", 10, 900_000),
        ("bits at random (seed=0)", 13, 250_000),
        ("bits at random (seed=1)", 12, 250_000),
    )
    line = "adaptive: 88.00 % at 250 kB; the line between uniform 4 and 8 bits is at 85.00 % there"
    assert line + "; above 1 of 2 draws at random (1 seeds)" in found
    assert "adaptive by latency" not in found  # larger than both ends of the line


def test_a_file_and_its_simulated_twin_are_held_against_each_other(told):
    found = told(("static int8", 11, 3e5), ("static int8, simulated", 14, 1e6))
    words = "simulated against deployed on onnxruntime, most of 1 pairs: 3.00 points"
    assert words in found
    assert "(tiny-cnn, static int8, simulated), 3.00 % of the answers changed" in found
