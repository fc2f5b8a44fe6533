"""Accuracy by the bits of a weight: which cells are one technique, and what is drawn of them."""

import re
import xml.etree.ElementTree as ET

import pytest
from example_run import FP32, Builder, case, correct

from qbench.cases import SIMULATED, Choice, FakeQuant, Quantized, Scheme
from qbench.report.pareto import Span
from qbench.report.pictures import pictures
from qbench.report.select import select
from qbench.report.sweeps import families


def swept(name, bits, *links, mixed=False, said=True, seed=0, **params):
    """Return a case of `ptq` at these bits, its name as a suite's sweep writes it."""
    given = params | ({"weight_bits": bits} if said else {})
    chain = (Choice("ptq", tuple(sorted(given.items()))), *(Choice(link) for link in links))
    kind = Quantized if bits in (8, 4) and not links else FakeQuant
    return case(name, chain=chain, state=kind(Scheme(bits, 8, "per_channel", mixed=mixed)), seed=seed)


def run_of(folder, *scored):
    build = Builder(folder)
    build.data()
    for one, wrong in ((FP32, 10), *scored):
        build.prepare(one)
        build.score(one, correct(wrong))
    return [cell for cell in select(build.run()) if cell.variant_of is None]


def test_a_family_is_what_differs_in_bits_alone(tmp_path):
    cells = run_of(
        tmp_path,
        (swept("int8", 8, said=False), 10),  # the same link, its bits the default
        (swept("nearest (weight_bits=4)", 4), 12),
        (swept("nearest (weight_bits=4)" + SIMULATED, 4, "simulate"), 12),
        (swept("nearest (weight_bits=2)", 2), 80),
        (swept("corrected (weight_bits=4)", 4, bias_correction=True), 11),  # one width: no line
        (swept("adaptive", 8, mixed=True, said=False), 10),
    )
    (family,) = families(cells)
    assert (family.name, family.engine) == ("nearest", "onnxruntime")
    found = [(bits, span.value) for bits, span in family.widths]
    assert found == [(2, pytest.approx(0.2)), (4, pytest.approx(0.88)), (8, pytest.approx(0.9))]


def test_two_widths_that_no_suite_has_named_are_no_sweep(tmp_path):
    eight, four = (case(f"{name} bits", state=Quantized(Scheme(bits, 8, "per_channel")), chain=(Choice("x"),))
                   for name, bits in (("eight", 8), ("four", 4)))  # fmt: skip
    assert families(run_of(tmp_path, (eight, 10), (four, 12))) == []


def test_seeds_give_the_median_and_the_range(tmp_path):
    name = "nearest (weight_bits=4)"
    further = [(swept(f"{name}, calibration seed {seed}", 4, seed=seed), 12 + 2 * seed) for seed in (1, 2)]
    cells = run_of(tmp_path, (swept(name, 4), 12), *further, (swept("nearest (weight_bits=3)", 3), 30))
    (family,) = families(cells)
    assert dict(family.widths)[4] == Span(0.86, 0.84, 0.88)
    assert dict(family.widths)[3] == Span(0.7, 0.7, 0.7)
    (site,) = pictures(cells)
    drawn = next(picture for picture in site.pictures if picture.slug.endswith("-bits"))
    assert "median and range over calibration seeds" in drawn.told


def test_the_picture_puts_on_the_floor_what_fell_and_writes_its_value(tmp_path):
    cells = run_of(
        tmp_path,
        (swept("nearest (weight_bits=4)", 4), 12),
        (swept("nearest (weight_bits=2)", 2), 80),
        (swept("trained (weight_bits=4)", 4, rounding="adaround"), 11),
        (swept("trained (weight_bits=2)", 2, rounding="adaround"), 70),
    )
    (site,) = pictures(cells)
    drawn = next(picture for picture in site.pictures if picture.slug.endswith("-bits"))
    words = ["".join(found.itertext()) for found in ET.fromstring(drawn.file).iter() if "text" in found.tag]
    assert {"20.0 %", "30.0 %", "nearest", "trained", "fp32", "2", "4"} <= set(words)
    assert "nearest 20.0 % at 2 bits, trained 30.0 % at 2 bits. fp32: 90.0 %." in drawn.told
    assert "quick profile" in " ".join(words)
    places = re.findall(r' y="([\d.]+)"[^>]*>(?:20|30)\.0 %', drawn.file)
    assert len(set(places)) == 2  # one above the other, not on top of it


def test_a_run_without_a_sweep_has_no_such_picture(tmp_path):
    (site,) = pictures(run_of(tmp_path, (case("static int8"), 10)))
    assert not [picture for picture in site.pictures if picture.slug.endswith("-bits")]


def test_an_axis_says_what_its_lines_are(tmp_path):
    """Between 80 and 90 % a step of 2.5 points would be written 80, 82, 85, 88, 90."""
    cells = run_of(
        tmp_path, (swept("nearest (weight_bits=4)", 4), 11), (swept("nearest (weight_bits=3)", 3), 20)
    )
    (site,) = pictures(cells)
    drawn = next(picture for picture in site.pictures if picture.slug.endswith("-bits"))
    ticks = sorted(int(found) for found in re.findall(r">(\d+) %<", drawn.file))
    assert len(ticks) > 2
    assert len({b - a for a, b in zip(ticks, ticks[1:], strict=False)}) == 1
