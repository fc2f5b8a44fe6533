"""What is trained is what is deployed."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, numpy_helper
from small_networks import convolutions, network, node, products, ready, relative, said, some

from qbench.quant.affine import WeightGrid
from qbench.quant.fake_quant import Rounding, rounding
from qbench.quant.learning import Schedule, distance
from qbench.quant.qat import _scales, grids, trained
from qbench.quant.qdq_model import QdqModel
from qbench.quant.recipe import Recipe
from qbench.quant.torch_network import torch_network

IMAGES = some(48, 3, 6, 6)
SCHEDULE = Schedule(6, 3e-3, batch=16, seed=1)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))


@pytest.fixture
def images():
    return ready(convolutions(), IMAGES)


def run(made, recipe, schedule=SCHEDULE, *, steps=False, coarse=False):
    def take(rows, _):
        return {"x": made.x[rows]}

    return trained(
        made.ptq, recipe, take, len(made.x), schedule, key="a test", learned_steps=steps, coarse=coarse
    )


def student_of(ptq, recipe, learned=False):
    """Return the network in torch that rounds where the file does, and its rounding of the output."""
    begun = ptq.quantized(recipe)
    student = torch_network(ptq.network)
    student.through = rounding(grids(ptq, begun, recipe), learned=learned)
    return student, begun


def answer(student, x, model, ptq):
    """Return what the student answers with the file's biases, which are in steps of the product there."""
    opened = QdqModel(model)
    with torch.no_grad():
        for node in (weight.node for weight in opened.weights):
            student.weights[ptq.nodes[node.name].input[2]].copy_(torch.from_numpy(opened.bias(node)))
        name = student.outputs[0]
        return student.through(name, student({"x": torch.from_numpy(x)})[0]).numpy()


RECIPES = [
    Recipe(WeightGrid(8, observer="mse")), Recipe(WeightGrid(4, observer="mse")), Recipe(WeightGrid(2)),
    Recipe(WeightGrid(4), activation_bits=4), Recipe(WeightGrid(2), activation_bits=4, keep_ends=True),
]  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("learned", [False, True])
def test_before_training_the_student_is_the_file(recipe, learned, images):
    """To float rounding, but for a value in a thousand that lies at the edge of two codes."""
    student, begun = student_of(images.ptq, recipe, learned)
    own, file = answer(student, IMAGES, begun.model, images.ptq), said(begun.simulated(), IMAGES)
    assert np.median(np.abs(own - file)) < 1e-4
    assert relative(own, file) < 0.01
    assert relative(own, file) < 0.3 * relative(own, images.wanted)


def clipped():
    """Return the convolutions with a Clip that cuts off in the place of every Relu."""
    model = convolutions()
    limits = [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 2))]
    model.graph.initializer.extend(limits)
    for one in model.graph.node:
        if one.op_type == "Relu":
            one.op_type = "Clip"
            one.input.extend(["low", "high"])
    return model


@pytest.mark.parametrize("recipe", RECIPES[1:], ids=str)
@pytest.mark.parametrize("grown", [None, -0.05, 0.4], ids=str)
@pytest.mark.parametrize("build", [convolutions, clipped])
def test_after_training_the_file_is_the_student(build, recipe, grown):
    """The weights and the scales have moved: the file made of them answers as the student does."""
    images, learned = ready(build(), IMAGES), grown is not None
    student, begun = student_of(images.ptq, recipe, learned)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in student.weights.values():
            weight.mul_(torch.from_numpy(rng.uniform(0.9, 1.0, weight.shape).astype("f4")))
        if learned:
            for log in student.through.logs:
                log.add_(grown)
    rounds = student.through
    rounds.hold()  # as after every step
    product = images.ptq.trained(student.write_back()).quantized(recipe, _scales(images.ptq, begun, rounds))
    file = said(product.simulated(), IMAGES)
    own = answer(student, IMAGES, product.model, images.ptq)
    assert np.median(np.abs(own - file)) < 1e-4
    assert relative(own, file) < 0.01
    assert relative(said(product.model, IMAGES), file) < (0.01 if recipe.activation_bits == 8 else 9)
    assert relative(own, said(begun.simulated(), IMAGES)) > 0.03  # and it is not where it began


@pytest.mark.parametrize(("steps", "coarse"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("recipe", [RECIPES[2], RECIPES[3]], ids=str)
def test_training_brings_the_file_nearer(steps, coarse, recipe, images):
    product, told = run(images, recipe, Schedule(25, 5e-3, batch=16, seed=1), steps=steps, coarse=coarse)

    def far(model):
        return distance(*(torch.from_numpy(a) for a in (said(model, IMAGES), images.wanted))).item()

    before, after = (far(p.simulated()) for p in (images.ptq.quantized(recipe), product))
    assert after < 0.9 * before
    assert told.loss < told.first_loss


def test_four_bits_are_stored_as_four(images):
    product, _ = run(images, RECIPES[1], Schedule(1, 1e-3))
    packed = [t for t in product.model.graph.initializer if t.data_type == TensorProto.INT4]
    assert len(packed) == 3
    assert all(np.abs(numpy_helper.to_array(t).astype(int)).max() <= 7 for t in packed)
    kernels = said(product.model, IMAGES, optimized=True)
    assert relative(kernels, said(product.simulated(), IMAGES)) < 0.02


@pytest.mark.parametrize("steps", [False, True])
def test_scales_move_where_they_are_learned_and_only_there(steps, images):
    begun = QdqModel(images.ptq.quantized(RECIPES[1]).model)
    product, _ = run(images, RECIPES[1], steps=steps)
    ended = QdqModel(product.model)
    same = [
        np.allclose(a.scale, b.scale, rtol=1e-5) for a, b in zip(begun.weights, ended.weights, strict=True)
    ]
    assert same == [not steps] * 3
    scales = [{a.tensor: a.scale.item() for a in model.activations} for model in (begun, ended)]
    assert (scales[0]["r1"] == pytest.approx(scales[1]["r1"], rel=1e-5)) is not steps
    assert scales[1]["r1"] <= scales[0]["r1"] * 4


def test_a_scale_grows_in_training_only_where_the_file_lets_it():
    made = ready(clipped(), IMAGES)
    student, _ = student_of(made.ptq, RECIPES[1], learned=True)
    before = {name: student.through.scale(name).item() for name in ("x",)}
    with torch.no_grad():
        for log in student.through.logs:
            log.add_(1.0)
    student.through.hold()
    grew = {name: student.through.scale(name).item() / old for name, old in before.items()}
    assert grew["x"] == pytest.approx(np.e)
    for name in ("r1", "r2", "p", "f"):  # where the Clip ends, and what shares its scale
        assert student.through.scale(name).item() == pytest.approx(2 / 255)


def test_scales_are_held_after_every_step(monkeypatch):
    held, kept = [], Rounding.hold
    monkeypatch.setattr(Rounding, "hold", lambda self: held.append(kept(self)))
    run(ready(clipped(), IMAGES), RECIPES[1], Schedule(2, 1e-3, batch=16), steps=True)
    assert len(held) == 2 * 3


def test_what_shares_a_scale_in_the_file_shares_it_in_training(images):
    student, begun = student_of(images.ptq, RECIPES[1], learned=True)
    names = {a.node.input[1] for a in QdqModel(begun.model).activations}
    assert len(student.through.logs) == len(QdqModel(begun.model).weights) + len(names)


def test_the_network_that_was_given_stays_as_it_was(images):
    before = images.ptq.network.SerializeToString(deterministic=True)
    run(images, RECIPES[1], Schedule(1, 1e-2), steps=True)
    assert images.ptq.network.SerializeToString(deterministic=True) == before
    product, _ = run(images, RECIPES[1], Schedule(1, 1e-2))
    assert relative(said(product.model, IMAGES), said(images.ptq.quantized(RECIPES[1]).model, IMAGES)) > 1e-3


@pytest.mark.parametrize("coarse", [False, True])
def test_the_same_twice_is_the_same_file(coarse, images):
    files = [run(images, RECIPES[1], coarse=coarse)[0].model for _ in range(2)]
    assert files[0].SerializeToString(deterministic=True) == files[1].SerializeToString(deterministic=True)


def test_what_is_rounded_and_how_far(images):
    recipe = Recipe(WeightGrid(2), activation_bits=4, keep_ends=True)
    found = grids(images.ptq, images.ptq.quantized(recipe), recipe)
    wanted = {
        "w1": (-127, 127), "w2": (-1, 1), "w3": (-127, 127), "x": (0, 255), "r1": (0, 15), "f": (0, 255),
    }  # fmt: skip
    assert {name: (found[name].low, found[name].high) for name in wanted} == wanted
    assert found["w1"].scale.shape == (6, 1, 1, 1)
    assert found["w3"].scale.shape == (5, 1)
    assert not {"b1", "b2", "b3"} & set(found)


def test_a_matrix_product_has_a_scale_a_column():
    made = ready(products(), some(32, 8))
    found = grids(made.ptq, made.ptq.quantized(Recipe()), Recipe())
    assert found["w0"].scale.shape == (1, 8)
    student, begun = student_of(made.ptq, Recipe(WeightGrid(3)))
    assert relative(answer(student, made.x, begun.model, made.ptq), said(begun.simulated(), made.x)) < 0.01


def test_a_weight_that_two_nodes_share_is_trained_as_one():
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "w", "b"], ["y"]),
    ]
    made = ready(network(nodes, (6,), {"w": some(6, 6), "b": some(6)}), some(32, 6))
    product, told = run(made, Recipe(WeightGrid(3, observer="mse")), Schedule(20, 5e-3, batch=16))
    before = relative(
        said(made.ptq.quantized(Recipe(WeightGrid(3, observer="mse"))).model, made.x), made.wanted
    )
    assert relative(said(product.model, made.x), made.wanted) < before
