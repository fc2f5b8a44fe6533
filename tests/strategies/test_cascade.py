"""A cascade: which network answers, what the threshold keeps, and what the file and its kernels are."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float, Quantized, Scheme
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact, TensorSpec, files
from qbench.formats.proof import covered, prove, weights_of
from qbench.formats.reference import ASKED, keep_simulated, read_simulated
from qbench.quant.cascade import ALWAYS, ESCALATED, NEVER, cascaded, fitted
from qbench.strategies.base import STRATEGIES, Calibration, Selection

Cascade = STRATEGIES["cascade"]
CHOSEN = np.random.default_rng(1).standard_normal((100, 3, 8, 8)).astype("f4")


# --- two classes, by hand ---------------------------------------------------------------------------


def two_classes(sign, opset=20):
    """Return a network that gives its two inputs, or their opposites, as class scores."""
    node = helper.make_node("MatMul", ["x", "w"], ["scores"])
    ends = [helper.make_tensor_value_info(name, 1, ["n", 2]) for name in ("x", "scores")]
    weight = numpy_helper.from_array(np.eye(2, dtype="f4") * sign, "w")
    graph = helper.make_graph([node], "network", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model, x):
    """Return the scores and whether the second network gave them, for one row after the other."""
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(["scores", ESCALATED], {"x": row[None]}) for row in np.asarray(x, "f4")]
    return np.concatenate([scores for scores, _ in found]), [int(went[0]) for _, went in found]


# softmax of (d, 0) has the largest probability 1 / (1 + exp(-d)): 0.5, 0.622, 0.731, 0.881 and 1 in float32
ROWS = np.array([[0, 0], [0.5, 0], [0, 1], [2, 0], [0, 200]], "f4")


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize(
    ("threshold", "went"),
    [
        (NEVER, [0, 0, 0, 0, 0]),
        (0.5, [1, 0, 0, 0, 0]),  # not above it is unsure
        (0.75, [1, 1, 1, 0, 0]),
        (ALWAYS, [1, 1, 1, 1, 1]),
    ],
)
def test_the_second_network_answers_where_the_first_is_unsure(opset, threshold, went):
    scores, found = run(cascaded(two_classes(1, opset), two_classes(-1, opset), threshold), ROWS)
    assert found == went
    signs = np.where(np.array(went)[:, None] == 1, -1, 1)
    np.testing.assert_array_equal(scores, ROWS * signs)


def test_an_answer_that_is_no_number_is_unsure():
    broken = two_classes(np.nan)
    assert run(cascaded(broken, two_classes(1), 0.1), ROWS)[1] == [1] * 5


def test_the_networks_given_stay_as_they_are():
    networks = two_classes(1), two_classes(-1)
    before = [network.SerializeToString() for network in networks]
    cascaded(*networks, 0.5)
    assert [network.SerializeToString() for network in networks] == before


# --- the threshold ----------------------------------------------------------------------------------

SURE = np.array([0.9, 0.5, 0.7, 0.6], "f4")
LOW = np.array([1, 0, 0, 1])  # in the order of confidence 0.5, 0.6, 0.7, 0.9: 0 1 0 1
HIGH = np.array([1, 1, 1, 0])  # 1 0 1 1: three of four


@pytest.mark.parametrize(
    ("max_drop", "threshold"),
    [
        (0.25, 0.0),  # two of four are right without the second: one is lost
        (0.24, 0.5),  # with the least sure one, 0.5, three are right
        (0.0, 0.5),
    ],
)
def test_the_lowest_threshold_that_keeps_the_accuracy(max_drop, threshold):
    assert fitted(SURE, LOW, HIGH, max_drop) == np.float32(threshold)


def test_equally_sure_ones_go_on_together():
    sure = np.array([0.5, 0.5, 0.9], "f4")
    assert fitted(sure, np.array([0, 0, 1]), np.array([1, 1, 1]), 0.34) == 0.5
    # one of the two is won and one lost: the first of them alone would do, and cannot go alone
    assert fitted(sure, np.array([0, 1, 0]), np.array([1, 0, 1]), 0.0) == np.float32(0.9)


def test_a_first_network_that_is_better_is_left_alone():
    assert fitted(SURE, np.ones(4), LOW, 0.0) == NEVER


# --- the strategy -----------------------------------------------------------------------------------


def data(images, chosen=CHOSEN, right=None, fixed=None):
    return Calibration("", {"images": images}, fixed, selection=Selection("", {"images": chosen}, right))


def made(in_format, images, folder, right=None, **parameters):
    folder.mkdir(exist_ok=True)
    return Cascade(**parameters).apply(in_format("onnx"), data(images, right=right), folder)


def asked(artifact, images):
    session = BACKENDS["onnxruntime"]().load(artifact, Placement())
    found = [session.run({"images": images[row : row + 1]}) for row in range(len(images))]
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])


@pytest.mark.parametrize(
    ("parameters", "ran"),
    [
        ({"threshold": 1.0}, (3, 3)),
        ({"threshold": 1.0, "low": "w4a8"}, (3, 3)),
        ({"threshold": 1.0, "low": "w4a8", "high": "int8"}, (6, 0)),  # the branch is fused as well
        ({"threshold": 1e-6}, (3, 0)),
    ],
)
def test_what_is_quantized_runs_in_integer_kernels_in_a_branch_too(
    parameters, ran, in_format, images, tmp_path
):
    product = made(in_format, images, tmp_path, **parameters)
    proof = BACKENDS["onnxruntime"]().load(product, Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == ran


def test_the_answers_are_those_of_the_network_that_gave_them(in_format, images, tmp_path):
    product = made(in_format, images, tmp_path / "both", threshold=0.112)
    never = made(in_format, images, tmp_path / "never", threshold=1e-6)
    scores, went = asked(product, CHOSEN)
    assert 0 < went.sum() < len(CHOSEN)
    in_float = BACKENDS["onnxruntime"]().load(in_format("onnx"), Placement()).run({"images": CHOSEN})[0]
    np.testing.assert_allclose(scores[went == 1], in_float[went == 1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(scores[went == 0], asked(never, CHOSEN)[0][went == 0])
    assert not asked(never, CHOSEN)[1].any()


def test_the_note_says_what_the_file_does_on_the_examples_it_was_fitted_on(in_format, images, tmp_path):
    product = made(in_format, images, tmp_path, low="w4a8", max_drop=0.03)
    scores, went = asked(product, CHOSEN)
    in_float = BACKENDS["onnxruntime"]().load(in_format("onnx"), Placement()).run({"images": CHOSEN})[0]
    right = (scores.argmax(1) == in_float.argmax(1)).mean()
    assert 0.97 <= right < 1
    told = product.notes[-1].found
    assert f"{went.mean():.2%} of 100 selection examples escalated" in told
    assert "100.00% float alone" in told
    assert f"{right:.2%} together" in told


def test_a_fixed_threshold_is_told_on_calibration_examples(in_format, images, tmp_path):
    given = Calibration("", {"images": images})
    product = Cascade(threshold=0.112).apply(in_format("onnx"), given, tmp_path)
    went = asked(product, images)[1]
    assert f"fixed; {went.mean():.2%} of 40 calibration examples escalated" in product.notes[-1].found


def test_labels_decide_where_there_are_any(in_format, images, tmp_path):
    def right(outputs):
        assert len(outputs) == 100  # all at once, in order
        return np.arange(100) % 2 == 0

    product = made(in_format, images, tmp_path, right=right, max_drop=0.0)
    assert product.notes[-1].found.startswith("threshold 0, fitted; 0.00% of 100 ")
    assert product.notes[-1].found.endswith("50.00% int8 alone, 50.00% float alone, 50.00% together")


def test_without_labels_the_float_network_decides_for_two_quantized_ones(in_format, images, tmp_path):
    told = made(in_format, images, tmp_path, low="w4a8", high="int8").notes[-1].found
    assert "100.00% int8 alone" not in told
    assert "int8 alone" in told


@pytest.mark.parametrize(
    ("parameters", "bits", "stored"),
    [({}, 8, [8, 32]), ({"low": "w4a8"}, 4, [4, 32]), ({"low": "w4a8", "high": "int8"}, 8, [4, 8])],
)
def test_the_file_says_what_is_quantized_of_both(parameters, bits, stored, in_format, images, tmp_path):
    product = made(in_format, images, tmp_path, **parameters)
    assert product.state == Quantized(Scheme(bits, 8, "per_channel", mixed=True))
    assert product.state == Cascade(**parameters).state(Float())
    assert [weight.bits for weight in weights_of(product)] == [stored[0]] * 3 + [stored[1]] * 3
    proof = prove(product)
    assert proof.failure is None
    found = {m.metric: m.samples[0] for m in proof.measurements}
    share = 0.5 if 32 in stored else 1.0
    assert found["covered_macs"] == share * found["model_macs"]  # those of the branch are counted
    assert covered(product).share == share


def test_the_shapes_are_those_of_one_input(in_format, images, tmp_path):
    product = made(in_format, images, tmp_path)
    assert [spec.shape for spec in product.inputs] == [(1, 3, 8, 8)]
    assert [(spec.name, spec.shape) for spec in product.outputs] == [("scores", (1, 10)), (ESCALATED, (1,))]


def test_the_file_is_compared_by_inputs_that_reach_both_networks(in_format, images, tmp_path):
    product = made(in_format, images, tmp_path, threshold=0.112)
    assert keep_simulated(product, tmp_path) is None
    kept = read_simulated(tmp_path)
    wanted, went = kept.by_example(product.outputs)
    scores, here = asked(product, kept.inputs["images"])
    assert len(wanted) == len(went) == 1 + 4  # noise, and the two least and most sure examples
    assert went[-4:].tolist() == here[-4:].tolist() == [1, 1, 0, 0]
    assert np.abs(scores - wanted)[went == here].max() < 0.1 * np.ptp(wanted)
    assert (tmp_path / ASKED).is_file()
    assert [path.name for path in files(tmp_path)] == ["model.onnx"]


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"low": "int4"}, "has no low 'int4'\n  fix: write low = \"int8\" or \"w4a8\""),
        ({"high": "fp16"}, "has no high 'fp16'\n  fix: write high = \"float\" or \"int8\""),
        ({"high": "int8"}, "low and high are both int8(.|\n)*fix: write low = \"w4a8\""),
        ({"max_drop": 1.0}, "max_drop = 1 is no share(.|\n)*fix: write max_drop = 0.005"),
        ({"max_drop": float("nan")}, "max_drop = nan is no share"),
        (
            {"threshold": 0.5, "max_drop": 0.1},
            "max_drop = 0.1 says nothing to threshold = 0.5, (.|\n)*fix: leave threshold out to fit it",
        ),
        ({"threshold": 1.5}, "threshold = 1.5 is no probability\n  fix: write a number from 0 to 1"),
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(parameters, words):
    with pytest.raises(BadParameter, match=words):
        Cascade(**parameters)


def test_a_network_that_is_quantized_already_is_refused():
    with pytest.raises(DoesNotFit, match="cascade takes a 32-bit float network"):
        Cascade().state(Quantized(Scheme(8, 8, "per_channel")))


def changed(in_format, folder, change, batch=None):
    model = onnx.load(in_format("onnx").path)
    change(model.graph)
    onnx.save(model, folder / "changed.onnx")
    inputs = (TensorSpec("images", "float32", (batch, 3, 8, 8)),)
    return Artifact("onnx", Float(), inputs, in_format("onnx").outputs, folder / "changed.onnx")


def another_output(graph):
    graph.output.append(helper.make_empty_tensor_value_info(graph.node[1].output[0]))


def wide(graph):
    graph.output[0].CopyFrom(helper.make_empty_tensor_value_info(graph.node[1].output[0]))


def renamed(graph):
    graph.node[-1].output[0] = ESCALATED
    graph.output[0].name = ESCALATED


@pytest.mark.parametrize(
    ("change", "batch", "words"),
    [
        (another_output, None, "takes a network with one output(.|\n)*fix: export it with its class scores"),
        (renamed, None, "no tensor 'escalated' outside; this one gives escalated"),
        (wide, None, r"is for class scores, .* of shape \(1, 16, 8, 8\)\n  fix: leave cascade out"),
        (lambda _: None, 8, "takes batches of 8 only\n  fix: export it with a free first dimension"),
    ],
)
def test_a_network_that_gives_no_class_scores_one_by_one_is_refused(
    change, batch, words, in_format, images, tmp_path
):
    with pytest.raises(DoesNotFit, match=words):
        Cascade().apply(changed(in_format, tmp_path, change, batch), data(images, fixed=batch), tmp_path)


@pytest.mark.parametrize("selection", [None, Selection("", {}), Selection("", {"images": CHOSEN[:0]})])
def test_without_selection_examples_there_is_nothing_to_fit_on(selection, in_format, images, tmp_path):
    given = Calibration("", {"images": images}, selection=selection)
    with pytest.raises(DoesNotFit, match="there are none\n  fix: choose a task with a selection split"):
        Cascade().apply(in_format("onnx"), given, tmp_path)


def test_data_that_is_no_number_is_refused(in_format, images, tmp_path):
    bad = images.copy()
    bad[7, 0, 3, 3] = np.nan
    with pytest.raises(DoesNotFit, match=r"calibration input 'images': 1 of its 40"):
        Cascade().apply(in_format("onnx"), data(bad), tmp_path)
    with pytest.raises(DoesNotFit, match=r"selection input 'images': it holds NaN(.|\n)*fix: repair"):
        Cascade().apply(in_format("onnx"), data(images, chosen=bad), tmp_path)
