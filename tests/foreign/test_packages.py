"""Trained networks of public packages, on real inputs: a verdict, true by hand, and not dominated.

Each network is tried once by the command line, and so are onnxruntime's and nncf's own quantizers on the same
calibration samples. Where a package, a font or espeak-ng cannot be had, the test is skipped and says why.
"""

import numpy as np
import pytest
from by_hand import answers, opened
from compared import CARRIED, LAWS, calls_of, compare, dominates, names_of, product_of
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


@minutes
@packages
@networks
def test_the_recommended_file_is_by_hand_as_good_as_said(compared, name):
    from qbench.quality.judge import deciding, summary, worst

    found = compared(name)
    if found.ours is None or found.run.shipped.role == "fp32":
        pytest.skip("the float file itself is recommended")
    law = LAWS[name][0]
    assert found.ours.quality >= law.breaks, found.ours
    decides = worst(found.run.outputs(found.run.shipped))
    assert decides is not None, "what nothing can judge must not be recommended"
    said = summary(deciding(decides))[0]
    if decides.decides in ("same_first", "same_text", "map_overlap", "cosine"):  # what the law measures, too
        assert found.ours.quality == pytest.approx(said, abs=0.03), (decides.output, decides.decides)


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
    found = compared(name)
    model = compared.inputs / f"{name}.onnx"
    outputs, (law, _) = names_of(model), LAWS[name]
    carried = [(into, outputs.index(of)) for into, of in CARRIED.get(name, {}).items()]
    _, judged = calls_of(name, compared.inputs / f"{name}.npz")
    judged = judged[:40] if name not in CARRIED else judged[:200]

    def said(product):
        return np.concatenate([one[0] for one in answers(opened(product), judged, carried)])

    wanted = None
    for cell in found.run.cells:
        if cell.case is None or cell.status != "measured" or cell.judgement.outcome != "pass":
            continue
        if wanted is None:
            wanted = said(product_of(next(one for one in found.run.cells if one.role == "fp32")))
        assert law.measure(wanted, said(product_of(cell))) >= law.breaks, cell.name


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
