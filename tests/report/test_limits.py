"""A device's limits from a run of the suite `probe`, and every cell's distance from them, by hand."""

from dataclasses import replace
from pathlib import Path

import example_run as example
import pytest
from example_run import Builder, correct

from qbench.cases import COPY, Anchor, Float, Quantized, Scheme
from qbench.errors import BadFile
from qbench.report.figures import Absent
from qbench.report.limits import (
    COPIED_BYTES,
    FILE,
    Limits,
    Peak,
    format_of,
    joined,
    limits_of,
    read_limits,
    write_limits,
)
from qbench.report.refusal import refusal_of
from qbench.report.roofline import NOT_PROBED, bound_by
from qbench.report.select import select

FP32 = example.FP32.deployment
HOST = "example-host"


def peak(number_format, rate, engine=FP32.backend):
    return Peak(engine, FP32.hardware, FP32.threads, number_format, rate, "by hand")


@pytest.mark.parametrize(
    ("state", "number_format"),
    [
        (Float(), "fp32"),
        (Float("bf16"), "bf16"),
        (Quantized(Scheme(8, 8, "per_channel")), "int8"),
        (Quantized(Scheme(8, 16, "per_channel")), "fp32"),  # no engine here multiplies 16 bits as integers
        (Quantized(Scheme(8, None, "per_channel")), "fp32"),  # weights alone are narrow
        (Quantized(Scheme(4, None, "per_group")), "fp32"),
        (Quantized(Scheme(4, 8, "per_group", dynamic=True)), "int4"),
    ],
)
def test_the_number_format_of_a_state(state, number_format):
    assert format_of(state) == number_format


def probed(tmp_path):
    """Ten million multiply-accumulates in 1 ms are ten giga a second; 256 MiB in 16 ms are 16.8 GB/s."""
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.001, 0.001, 0.001))
    build.measured(
        "prepare", example.FP32.deployment.artifact, model_macs=10e6, covered_macs=0.0, file_size=1e6
    )
    build.measured("anchor", Anchor("cpu", COPY), 0, anchor=0.016)
    return build.run()


def test_peaks_are_work_over_time(tmp_path):
    limits = limits_of(probed(tmp_path))
    (found,) = limits.peaks
    assert found.format == "fp32"
    assert found.macs_per_s == pytest.approx(10e9 * example.FP32.scenario.batch, rel=0.02)
    assert limits.copy_bytes_per_s == pytest.approx(COPIED_BYTES / 0.016)


def test_limits_are_written_and_read_and_a_torn_file_is_named(tmp_path):
    limits = limits_of(probed(tmp_path))
    write_limits(limits, tmp_path / "host" / FILE)
    assert read_limits(tmp_path / "host" / FILE) == limits
    (tmp_path / FILE).write_text("{")
    with pytest.raises(BadFile, match="run `qbench probe`"):
        read_limits(tmp_path / FILE)


def test_a_probe_of_one_engine_keeps_what_is_known_of_the_others():
    before = Limits(HOST, "s", 8e9, (peak("fp32", 1e9), peak("fp32", 3e9, engine="another")))
    after = joined(Limits(HOST, "t", 9e9, (peak("fp32", 2e9),)), before)
    assert {(p.engine, p.macs_per_s) for p in after.peaks} == {(FP32.backend, 2e9), ("another", 3e9)}
    assert after.copy_bytes_per_s == 9e9
    assert joined(before, replace(before, host="elsewhere")) == before
    assert joined(before, None) == before


def cell(tmp_path, limits, seconds=0.010, case=example.FP32, **counts):
    build = Builder(tmp_path)
    host = build.session.host
    build.whole(case, correct(10), (seconds,) * 3)
    wanted = {
        "model_macs": 10e6,
        "covered_macs": 0.0,
        "covered_weights": 0.0,
        "covered_float": 0.0,
        "model_float": 4e6,
        "moved_activations": 1e6,
        "file_size": 4e6,
    } | counts
    build.measured("prepare", case.deployment.artifact, **wanted)
    run = build.run()
    if limits is not None:
        write_limits(replace(limits, host=host), Path(run.path).parent / FILE)
    return select(run)[0].figures


def test_what_is_left_of_a_call_is_overhead(tmp_path):
    """10 M products at 10 G/s: 1 ms. 4 MB of weights and 4 MB of activations at 8 GB/s: 1 ms. Of 10 ms."""
    limits = Limits(HOST, "s", 8e9, (peak("fp32", 10e9),))
    figures = cell(tmp_path, limits)
    assert figures["compute_time"].value == pytest.approx(0.001)
    assert figures["transfer_time"].value == pytest.approx(0.001)
    assert figures["overhead_time"].value == pytest.approx(0.009, rel=0.02)
    assert figures["roofline"].value == pytest.approx(0.1, rel=0.02)
    assert bound_by(figures).startswith("bound by overhead: 9.00 ms of an example is neither products")


@pytest.mark.parametrize(
    ("rate", "bandwidth", "words"),
    [
        (1.2e9, 80e9, "bound by products: they take at least 8.33 ms"),
        (100e9, 1e9, "bound by bytes moved: they"),
    ],
)
def test_what_takes_longest_is_named(tmp_path, rate, bandwidth, words):
    figures = cell(tmp_path, Limits(HOST, "s", bandwidth, (peak("fp32", rate),)))
    assert bound_by(figures).startswith(words)


def test_weights_are_moved_once_a_batch(tmp_path):
    """4 MB of weights for eight examples and 4 MB of activations for each, at 8 GB/s: 0.0625 + 0.5 ms."""
    limits = Limits(HOST, "s", 8e9, (peak("fp32", 10e9),))
    figures = cell(tmp_path, limits, case=example.case("fp32", role="fp32", batch=8))
    assert figures["transfer_time"].value == pytest.approx(0.0005625)


def test_a_capped_cell_is_not_held_to_limits_that_were_not_capped(tmp_path):
    capped = replace(example.FP32, deployment=replace(FP32, isa="avx2"))
    figures = cell(tmp_path, Limits(HOST, "s", 8e9, (peak("fp32", 10e9),)), case=capped)
    assert "capped instructions" in figures["roofline"].reason


def test_why_a_technique_gains_nothing_stands_beside_that_it_does(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010,) * 3)
    build.whole(example.FAST, correct(10), (0.012,) * 3)
    for case in (example.FP32, example.FAST):
        counts = {"model_macs": 10e6, "covered_macs": 9e6, "covered_weights": 1e6, "covered_float": 4e6}
        more = {"model_float": 4e6, "moved_activations": 1e6, "file_size": 4e6}
        build.measured("prepare", case.deployment.artifact, **counts, **more)
    run = build.run()
    peaks = tuple(peak(name, 10e9, example.FAST.deployment.backend) for name in ("fp32", "int8"))
    write_limits(Limits(run.session.host, "s", 8e9, peaks), Path(run.path).parent / FILE)
    reason = next(refusal_of(cell) for cell in select(run) if cell.case == example.FAST)
    assert reason.text.startswith("slower than fp32 on the same engine")
    assert "bound by overhead" in reason.text


def test_without_a_probe_of_this_host_there_is_a_reason(tmp_path):
    figures = cell(tmp_path, None)
    assert figures["roofline"] == Absent(NOT_PROBED)
    assert bound_by(figures) == ""
    other = cell(tmp_path / "other", Limits(HOST, "s", 8e9, (peak("fp32", 1e9, engine="another"),)))
    assert "`qbench probe` measured no fp32 of" in other["roofline"].reason


def test_work_that_could_not_be_counted_has_no_roofline(tmp_path):
    build = Builder(tmp_path)
    build.whole(example.FP32, correct(10), (0.010,) * 3)
    build.measured("prepare", example.FP32.deployment.artifact, file_size=1e6)
    run = build.run()
    write_limits(Limits(run.session.host, "s", 8e9, (peak("fp32", 10e9),)), Path(run.path).parent / FILE)
    assert "could not be counted" in select(run)[0].figures["roofline"].reason
