"""Int8 that holds: what one scale destroys is found and goes back to float; the rest multiplies integers."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qbench.cases import Float, Quantized
from qbench.errors import BadParameter, DoesNotFit
from qbench.formats.artifact import Artifact
from qbench.formats.edges import onnx_signature
from qbench.formats.proof import covered
from qbench.quality.judge import Judgement
from qbench.quant.put_back import FAILS
from qbench.quant.qdq_layout import fused
from qbench.quant.quantized_parts import parts_of
from qbench.strategies.base import STRATEGIES, Calibration, Selection

IMAGES = np.random.default_rng(7).normal(size=(96, 3, 8, 8)).astype("f4")


def detector(path):
    """Write boxes of 0 to 640 beside scores of 0 to 1 in one output, behind two convolutions."""
    chance = np.random.default_rng(8)
    stored = {
        "a": chance.normal(size=(8, 3, 3, 3)) * 0.3,
        "b": chance.normal(size=(8, 8, 3, 3)) * 0.2,
        "boxes": chance.normal(size=(4, 8, 1, 1)) * 0.4,
        "scores": chance.normal(size=(3, 8, 1, 1)) * 1.5,
        "wide": np.full((1, 1, 1, 1), 640.0),
        "as it is": np.eye(7).reshape(7, 7, 1, 1),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "b"], ["h2"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "boxes"], ["b1"], "boxes"),
        helper.make_node("Sigmoid", ["b1"], ["b2"], "squeezed"),
        helper.make_node("Mul", ["b2", "wide"], ["b3"], "widened"),
        helper.make_node("Conv", ["r2", "scores"], ["s1"], "scores"),
        helper.make_node("Sigmoid", ["s1"], ["s2"], "sure"),
        helper.make_node("Concat", ["b3", "s2"], ["z"], "beside", axis=1),
        helper.make_node("Conv", ["z", "as it is"], ["y"], "together"),  # takes both in one range
    ]
    return _saved(path, nodes, stored, [None, 3, 8, 8], [None, 7, 8, 8])


def reaching(path):
    """Write four convolutions; between the second and the third one channel reaches 3,000 times as far."""
    chance = np.random.default_rng(11)
    weights = {name: chance.normal(size=(8, 8, 1, 1)) * 0.4 for name in "bcd"}
    weights["b"][0] *= 3000
    weights["c"][:, 0] /= 3000
    stored = {"a": chance.normal(size=(8, 3, 3, 3)) * 0.3, **weights}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "b"], ["h2"], "makes"),
        helper.make_node("Conv", ["h2", "c"], ["h3"], "takes"),
        helper.make_node("Relu", ["h3"], ["r3"], "relu3"),
        helper.make_node("Conv", ["r3", "d"], ["y"], "last"),
    ]
    return _saved(path, nodes, stored, [None, 3, 8, 8], [None, 8, 8, 8])


def classifier(path):
    """Write a network that any quantization takes."""
    chance = np.random.default_rng(9)
    stored = {"a": chance.normal(size=(8, 3, 3, 3)) * 0.3, "v": chance.normal(size=(8, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], "only", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "last"),
    ]
    return _saved(path, nodes, stored, [None, 3, 8, 8], [None, 4])


def _saved(path, nodes, stored, takes, gives):
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]])

    tensors = [numpy_helper.from_array(np.asarray(array, "f4"), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", [value("x", takes)], [value("y", gives)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    inputs, outputs = onnx_signature(path)
    return Artifact("onnx", Float(), inputs, outputs, path=path)


def said(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})[0]


def given(count=64, right=None):
    return Calibration(
        "id", {"x": IMAGES[:count]}, selection=Selection("chosen", {"x": IMAGES[:count]}, right)
    )


def applied(source, folder, calibration=None, **parameters):
    folder.mkdir()
    product = STRATEGIES["mixed_int8"](**parameters).apply(source, calibration or given(), folder)
    return product, next(note for note in product.notes if note.what == "mixed precision")


def test_scores_beside_boxes_come_back_to_life(tmp_path):
    source = detector(tmp_path / "float.onnx")
    plain = STRATEGIES["static_int8"]().apply(source, given(), tmp_path)
    fresh = IMAGES[64:]
    wanted = said(source.path, fresh)
    dead = said(plain.path, fresh)[:, 4:]
    assert np.abs(dead - wanted[:, 4:]).max() > 0.4  # one step of 640 / 255 for a score of 0 to 1

    product, note = applied(source, tmp_path / "mixed", quantizer="static_int8", budget_s=60.0)
    found = said(product.path, fresh)
    assert np.abs(found[:, 4:] - wanted[:, 4:]).mean() < 0.02
    assert np.abs(found[:, :4] - wanted[:, :4]).mean() < 6.4  # 1 % of the picture
    assert not note.warns, note.found
    assert isinstance(product.state, Quantized)
    assert product.state.scheme.mixed


def test_layers_on_either_side_of_a_channel_that_reaches_far_go_back_and_the_others_stay(tmp_path):
    """Every start fails here: only a search answers."""
    source = reaching(tmp_path / "float.onnx")
    plain = STRATEGIES["static_int8"]().apply(source, given(), tmp_path)
    fresh = IMAGES[64:]
    wanted = said(source.path, fresh)
    noise = np.square(said(plain.path, fresh) - wanted).mean() / np.square(wanted).mean()
    assert noise > 0.1
    product, note = applied(source, tmp_path / "mixed", quantizer="static_int8", budget_s=60.0)
    found = np.square(said(product.path, fresh) - wanted).mean() / np.square(wanted).mean()
    assert found < 0.002  # 27 dB and more
    narrow = [part.name for part in parts_of(product.path) if part.elements]
    assert narrow == ["first", "last"], note.found


def test_what_fails_is_no_better_for_a_good_average(tmp_path, monkeypatch):
    """One dead channel of many leaves the mean fine; the judgement fails all the same."""
    from qbench.strategies import mixed_int8

    source = classifier(tmp_path / "float.onnx")
    judge_of = mixed_int8.Judge.of(source, given().selection, 1.0, 1.0, tmp_path)
    bad, _ = judge_of.of_network(source)
    assert bad <= 1
    monkeypatch.setattr(mixed_int8, "judge", lambda _: Judgement("fail", "one channel is dead"))
    bad, told = judge_of.of_network(source)
    assert bad >= FAILS
    assert told == "one channel is dead"


def test_what_it_gives_is_an_integer_network_still(tmp_path):
    product, _ = applied(detector(tmp_path / "float.onnx"), tmp_path / "mixed", quantizer="static_int8")
    assert covered(product).weights >= 1
    assert covered(product).share >= 0.1
    assert fused(product.path) >= 1


def test_what_holds_at_once_keeps_nothing_in_float(tmp_path):
    product, note = applied(classifier(tmp_path / "float.onnx"), tmp_path / "mixed")
    assert note.found.startswith("0 of 2 layers in float")
    assert {part.name for part in parts_of(product.path)} >= {"only", "last"}


def test_a_limit_that_nothing_meets_is_told_and_the_best_is_given(tmp_path):
    source = classifier(tmp_path / "float.onnx")
    product, note = applied(source, tmp_path / "mixed", limit=1e-9, quantizer="static_int8")
    assert note.warns
    assert covered(product).weights >= 1


def test_labels_judge_where_there_are_some(tmp_path):
    """Right is what the float network says; the labels of the others make it lose more than it may."""
    source = classifier(tmp_path / "float.onnx")
    answers = said(source.path, IMAGES[:64]).argmax(1)
    asked = []

    def right(outputs):
        asked.append(len(outputs))
        return outputs.argmax(1) == answers[: len(outputs)]

    _, note = applied(source, tmp_path / "mixed", given(right=right))
    assert set(asked) == {64}
    assert "right against 100.0% in float" in note.found


def test_without_examples_to_choose_by_it_names_what_needs_none(tmp_path):
    source = classifier(tmp_path / "float.onnx")
    (tmp_path / "none").mkdir()
    without = replace(given(), selection=None)
    with pytest.raises(DoesNotFit, match=r"chooses by selection examples.*\n.*static_int8"):
        STRATEGIES["mixed_int8"]().apply(source, without, tmp_path / "none")


@pytest.mark.parametrize(("parameters", "said"), [
    ({"quantizer": "best_int8"}, "no quantizer 'best_int8'"),
    ({"limit": 0.0}, "limit = 0 allows no loss at all"),
    ({"budget_s": 0.0}, "budget_s = 0 leaves no time"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(parameters, said):
    with pytest.raises(BadParameter, match=said):
        STRATEGIES["mixed_int8"](**parameters)


def test_nothing_is_left_in_the_folder_but_the_file(tmp_path):
    applied(classifier(tmp_path / "float.onnx"), tmp_path / "mixed", quantizer="static_int8")
    assert [path.name for path in (tmp_path / "mixed").iterdir()] == ["model.onnx"]


def turned(path):
    """Write a network whose answer has its examples along the second axis, of which the file says nothing."""
    chance = np.random.default_rng(12)
    stored = {"a": chance.normal(size=(8, 3, 3, 3)) * 0.3, "v": chance.normal(size=(8, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], "only", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["g"], "last"),
        helper.make_node("Transpose", ["g"], ["y"], "turn", perm=[1, 0]),
    ]
    source = _saved(path, nodes, stored, [None, 3, 8, 8], [None, None])
    unsaid = replace(source.outputs[0], shape=(None, None), axes=("", ""), batch_axis=0, batch_told=False)
    return replace(source, outputs=(unsaid,))


def test_the_search_reads_outputs_as_the_score_does(tmp_path):
    """Where its examples lie is seen, as for a score: never (count, 4, 1) here and (count, 4) there."""
    from qbench.strategies.mixed_int8 import Judge

    source = turned(tmp_path / "float.onnx")
    judge_of = Judge.of(source, given().selection, 1.0, 1.0, tmp_path)
    (wanted,) = judge_of.wanted
    np.testing.assert_allclose(wanted, said(source.path, IMAGES[: judge_of.count]).T, atol=1e-5)


def test_the_search_judges_by_the_kind_that_the_user_says(tmp_path):
    """A candidate that keeps every first answer and moves the numbers: scores hold, values do not."""
    from qbench.strategies.mixed_int8 import Judge

    source = classifier(tmp_path / "float.onnx")
    model = onnx.load(source.path)
    model.graph.node[-1].output[0] = "plain"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.2), "more"))
    model.graph.node.append(helper.make_node("Mul", ["plain", "more"], ["y"], "scaled"))
    onnx.save(model, tmp_path / "scaled.onnx")
    scaled = replace(source, path=tmp_path / "scaled.onnx")
    found = {}
    for kind in ("scores", "values"):
        selection = replace(given().selection, kinds={"y": kind})
        found[kind], _ = Judge.of(source, selection, 1.0, 1.0, tmp_path).of_network(scaled)
    assert found["scores"] <= 1 < found["values"]
