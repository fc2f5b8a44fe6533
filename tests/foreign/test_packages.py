"""Trained networks of public packages, on real inputs: a verdict, true by hand, and not dominated.

Each network is tried once by the command line, and so are onnxruntime's and nncf's own quantizers on the same
calibration samples. Where a package, a font or espeak-ng cannot be had, the test is skipped and says why.
"""

import numpy as np
import pytest
from by_hand import Product, answers, opened
from compared import CARRIED, LAWS, calls_of, compare, dominates, names_of, product_of
from generators.network import confident_overlap, cosine, first_answer, overlap, same_text, signal_db
from packages import Missing
from real_inputs import file_features, texts_of_recogniser

networks = pytest.mark.parametrize("name", list(LAWS))
packages = pytest.mark.packages
minutes = pytest.mark.timeout(3600)


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """Return a function: a network's name to its comparison, made once a session."""
    kept = {}
    inputs = tmp_path_factory.mktemp("real")

    def give(name):
        if name not in kept:
            try:
                kept[name] = compare(name, tmp_path_factory.mktemp(name), inputs=inputs)
            except Missing as error:
                pytest.skip(str(error))
        return kept[name]

    give.inputs = inputs
    return give


@minutes
@packages
@networks
def test_it_ends_in_a_verdict(compared, name):
    run = compared(name).run
    assert run.code == 0, run.told
    assert "Traceback" not in run.told
    assert len(run.verdicts) == 1
    assert run.shipped is not None, run.told


# What decides, by hand, and how far it may be from what is said: other examples are judged here than there.
BY_HAND = {
    "same_first": (first_answer(), 0.03),
    "same_text": (same_text, 0.03),
    "map_overlap": (overlap(0.3), 0.03),
    "confident_overlap": (confident_overlap(0.5), 0.03),
    "cosine": (cosine, 0.03),
    "sqnr": (signal_db, 3.0),
}


@minutes
@packages
@networks
def test_the_recommended_file_is_by_hand_as_good_as_said(compared, name):
    from qbench.quality.judge import deciding, summary, worst

    found = compared(name)
    if found.ours is None or found.run.shipped.role == "fp32":
        pytest.skip("the float file itself is recommended")
    assert found.ours.quality >= LAWS[name][0].breaks, found.ours
    decides = worst(found.run.outputs(found.run.shipped))
    assert decides is not None, "what nothing can judge must not be recommended"
    measure, tolerance = BY_HAND[
        decides.decides
    ]  # without a measure of its own a kind is not checked: add it
    assert not decides.part, "a part decides: cut it out here, too"
    wanted, given = (
        said_by_hand(compared, name, product, decides.output)
        for product in (Product("float", "onnxruntime", compared.inputs / f"{name}.onnx"), found.ours.product)
    )
    said = summary(deciding(decides))[0]
    assert measure(wanted, given) == pytest.approx(said, abs=tolerance), (decides.output, decides.decides)


def said_by_hand(compared, name, product, output, most=None):
    """Return what a file says in this output to the calls that are judged, in order, without qbench."""
    model = compared.inputs / f"{name}.onnx"
    outputs = names_of(model)
    carried = [(into, outputs.index(of)) for into, of in CARRIED.get(name, {}).items()]
    _, judged = calls_of(name, compared.inputs / f"{name}.npz")
    calls = answers(opened(product), judged[:most], carried)
    return np.concatenate([one[outputs.index(output)] for one in calls])


@minutes
@packages
@networks
def test_nobody_elses_own_settings_dominate_it(compared, name):
    found = compared(name)
    assert found.ours is not None, found.run.told
    better = [row for row in found.others if dominates(row, found.ours)]
    assert not better, f"{better} beat {found.ours}"


@minutes
@packages
@networks
def test_no_cell_that_holds_is_wrong_by_hand(compared, name):
    found, law = compared(name), LAWS[name][0]
    first = names_of(compared.inputs / f"{name}.onnx")[0]
    most = 200 if name in CARRIED else 40
    wanted = None
    for cell in found.run.cells:
        if cell.case is None or cell.status != "measured" or cell.judgement.outcome != "pass":
            continue
        if wanted is None:
            base = product_of(next(one for one in found.run.cells if one.role == "fp32"))
            wanted = said_by_hand(compared, name, base, first, most)
        given = said_by_hand(compared, name, product_of(cell), first, most)
        assert law.measure(wanted, given) >= law.breaks, cell.name


# --- the inputs are what they are taken for -----------------------------------------------------------


@minutes
@packages
def test_the_recogniser_reads_the_rendered_lines(compared):
    try:
        read, rendered = texts_of_recogniser(compared.inputs, 60)
    except Missing as error:
        pytest.skip(str(error))
    same = np.mean([one.strip() == other for one, other in zip(read, rendered, strict=True)])
    assert same >= 0.75, list(zip(read, rendered, strict=True))[:10]


def test_the_features_of_a_file_by_hand():
    found = file_features(b"  \n" + b"ab" + b"\n", size=4, block=16)
    assert found.tolist() == [97, 98, 10, 256, 32, 10, 97, 98]  # padded behind, and: the last four, unpadded


def test_a_long_file_has_its_first_and_its_last_bytes():
    content = bytes(range(100)) * 100
    found = file_features(content, size=8, block=64)
    assert found.tolist() == [*range(8), *range(92, 100)]


def test_the_overlap_of_confident_answers_by_hand():
    wanted = np.array([[0.9, 0.6, 0.1], [0.9, 0.9, 0.1], [0.1, 0.1, 0.1]])
    given = np.array([[0.8, 0.48, 0.1], [0.9, 0.48, 0.1], [0.1, 0.1, 0.1]])
    # the first loses one of two, far; the second too; the third says nothing
    assert confident_overlap(0.5)(wanted, given) == 0.5
    given[0, 1], wanted[0, 1] = 0.47, 0.51  # crossed by moving 0.04: undecided in float already
    assert confident_overlap(0.5)(wanted, given) == 0.75
    given[2, 0] = 0.9  # invented: it counts like one that is lost
    assert confident_overlap(0.5)(wanted, given) == 0.5
