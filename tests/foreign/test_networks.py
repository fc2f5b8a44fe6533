"""Small networks of the kinds that other people report, against laws by hand.

They go through the suite that `qbench try` makes of a file and its samples, in this process and with less in
it: float and static int8 on onnxruntime and openvino, two short rounds. The command itself is tried by
`test_packages.py` and `tests/cases`; here it says what it refuses.
"""

import re
import subprocess
import sys

import by_hand
import numpy as np
import pytest
from generators import NETWORKS

from qbench.errors import QbenchError
from qbench.formats import artifact, cache
from qbench.run.own_model import for_network, own_suite

# What builds in a moment; the others take seconds each to train.
QUICK = (
    "weights-beside", "exported-at-one", "graph-of-nodes", "masked-convolution", "streaming", "two-rates",
    "suppressed", "opset-seven", "lstm-both-ways",
)  # fmt: skip
REFUSED = ("half-precision", "custom-operator", "batch-inside")
TRAINED = tuple(name for name in NETWORKS if name not in (*QUICK, *REFUSED))


def marked(name):
    """Return the parameter of a network with its marks."""
    marks = [pytest.mark.slow, pytest.mark.timeout(1800)] if name in TRAINED else []
    return pytest.param(name, marks=marks)


both = pytest.mark.parametrize("name", [marked(name) for name in (*QUICK, *TRAINED)])


@pytest.fixture(scope="session")
def outcome(measured):
    """Return a function from a name to what came of its network; the quick ones share a run."""
    found = {}

    def give(name):
        if name not in found:
            found.update(measured(QUICK if name in QUICK else TRAINED))
        if isinstance(found[name], QbenchError):
            pytest.fail(f"refused: {found[name]}")
        return found[name]

    return give


@pytest.fixture(scope="session")
def answered(built):
    """Return a function: what a file says to every sample of a network, output by output, without qbench."""
    kept = {}

    def give(name, path, engine):
        if (name, path) not in kept:
            network = built(name).network
            outputs = [one.name for one in network.model.graph.output]
            call = by_hand.opened(by_hand.Product(name, engine, path))
            carried = [(into, outputs.index(of)) for into, of in network.carried.items()]
            calls = by_hand.answers(call, network.feeds(), carried)
            kept[name, path] = {
                output: _joined([call[at] for call in calls], network.output_axes.get(output, 0))
                for at, output in enumerate(outputs)
            }
        return kept[name, path]

    return give


def _joined(arrays, axis):
    """Return the examples along the first axis; of unlike shapes, as one flat row of values."""
    if len({array.shape for array in arrays}) > 1:
        return np.concatenate([np.r_[np.array(array.shape, "f8"), array.ravel()] for array in arrays])
    return np.moveaxis(np.concatenate([np.atleast_1d(array) for array in arrays], axis), axis, 0)


def lacking(network, cell):
    """Tell whether the cell failed because its engine computes that network in float anyhow."""
    told = " ".join(reason.text for reason in cell.reasons)
    return bool(network.engines_lack) and cell.status == "failed" and network.engines_lack in told


def techniques_of(network, cells):
    return [
        cell for cell in cells
        if cell.role == "technique" and cell.case is not None and not lacking(network, cell)
    ]  # fmt: skip


def by_law(network, wanted, given):
    """Return by output how far above its laws' limits a file is: `holds`, `between` or `broken`."""
    found = {}
    for output, law in network.laws.items():
        value = law.measure(wanted[output], given[output])
        found[output] = "holds" if value >= law.holds else "broken" if value < law.breaks else "between"
    return found


def file_of(cell):
    folder = cache.folder_of(cell.artifact)
    return artifact.load(folder).path


@both
def test_the_float_network_and_int8_are_measured(built, outcome, name):
    cells, network = outcome(name).cells, built(name).network
    assert cells
    for cell in [cell for cell in cells if not lacking(network, cell)]:
        assert cell.status in ("measured", "collapsed"), (
            f"{cell.name}: {[reason.text for reason in cell.reasons]}"
        )


@both
def test_the_quantized_file_answers_by_itself_as_well_as_the_law_wants(built, answered, outcome, name):
    network = built(name).network
    if not network.int8_holds:
        pytest.skip("plain int8 of all layers need not hold on this one")
    wanted = answered(name, built(name).model, "onnxruntime")
    for cell in techniques_of(network, outcome(name).cells):
        given = answered(name, file_of(cell), cell.engine)
        assert set(by_law(network, wanted, given).values()) <= {"holds", "between"}, cell.name


@both
def test_what_is_said_is_what_the_file_does_by_hand(built, answered, outcome, name):
    network = built(name).network
    wanted = answered(name, built(name).model, "onnxruntime")
    for cell in techniques_of(network, outcome(name).cells):
        truth = set(by_law(network, wanted, answered(name, file_of(cell), cell.engine)).values())
        if "broken" in truth and cell.status != "collapsed" and cell.judgement.outcome != "fail":
            assert cell.judgement.outcome == "inconclusive", cell.judgement
            assert not any(verdict.ship is cell for verdict in outcome(name).verdicts), cell.judgement
        if truth == {"holds"}:
            assert cell.status == "measured", cell.reasons
            assert cell.judgement.outcome not in ("fail", "incomparable", "unjudged"), cell.judgement


@both
def test_the_verdict_ships_a_file_that_the_law_does_not_break(built, answered, outcome, name):
    came, network = outcome(name), built(name).network
    assert len(came.verdicts) == 1, [verdict.place for verdict in came.verdicts]
    (verdict,) = came.verdicts
    assert verdict.kind in ("technique", "float"), verdict.sentence
    shipped = verdict.ship
    assert shipped.status == "measured", shipped.reasons
    wanted = answered(name, built(name).model, "onnxruntime")
    given = answered(name, file_of(shipped), shipped.engine)
    assert "broken" not in by_law(network, wanted, given).values(), verdict.sentence
    if verdict.kind == "float":
        assert set(by_law(network, wanted, given).values()) <= {"holds"}, verdict.sentence


@both
def test_every_output_is_read_as_what_it_is(built, outcome, name):
    came, network = outcome(name), built(name).network
    laws = network.laws
    for cell in techniques_of(network, came.cells):
        found = came.outputs(cell)
        assert {one.output for one in found} >= set(laws)
        for one in found:
            if one.output in laws:
                assert one.output_kind in laws[one.output].kinds, one.output


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_by_one_good_sentence(built, name, tmp_path):
    one = built(name)
    command = [sys.executable, "-m", "qbench", "try", str(one.model), "--inputs", str(one.samples)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    told = done.stdout + done.stderr
    assert done.returncode == 2, told
    assert re.search(one.network.refused, told), told
    assert "fix:" in told
    assert "Traceback" not in told
    assert "What to ship" not in told


def test_a_carried_past_changes_the_answers(built):
    network = built("streaming").network
    call = by_hand.opened(by_hand.Product("float", "onnxruntime", built("streaming").model))
    carried = [outputs[0] for outputs in by_hand.answers(call, network.feeds(), [("cache", 1)])]
    forgotten = [outputs[0] for outputs in by_hand.answers(call, network.feeds())]
    assert np.abs(np.stack(carried) - np.stack(forgotten)).max() > 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_transformer_of_plain_operators_is_smoothed_quantized_and_scored(built, measured):
    """Its layer normalization is written out in operators of set 14: chosen by rule, made, and it holds."""
    made = built("masked-encoder")
    assert "LayerNormalization" not in {node.op_type for node in made.network.model.graph.node}
    smoothed = "static int8, smoothed"
    suite, told, _ = for_network(own_suite(str(made.model), made.samples).suite, str(made.model), ())
    assert smoothed in [one.name for one in suite.technique]
    assert any(words.startswith(f"{smoothed} is tried: ") for words in told)
    came = measured(("masked-encoder",), ("fp32", smoothed), ("onnxruntime",))["masked-encoder"]
    (cell,) = (cell for cell in came.cells if cell.technique == smoothed)
    assert cell.status == "measured", cell.reasons
    (judged,) = came.outputs(cell)
    same = next(one.samples for one in judged.measurements if one.metric == judged.decides)
    assert sum(same) / len(same) >= made.network.laws["scores"].holds
