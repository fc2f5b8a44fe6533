"""Quantization-aware training of an ONNX network: from a post-training result to a better one of its form.

The float network runs in torch with every weight and activation rounded where the QDQ file rounds it, so what
is learned is what is deployed: a learned scale that may not grow in the file may not grow in training either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qbench.quant.fake_quant import Rounding, Steps, coarse_gradients, rounding
from qbench.quant.learning import Learned, Schedule, Take, learn
from qbench.quant.products import as_matrix
from qbench.quant.ptq import Ptq
from qbench.quant.qdq_model import QdqModel, float_name
from qbench.quant.recipe import ENDS, WIDE, Product, Recipe, Scales
from qbench.quant.refine import holder, zeros_of
from qbench.quant.torch_network import torch_network

if TYPE_CHECKING:
    from torch import Tensor


def trained(
    ptq: Ptq,
    recipe: Recipe,
    take: Take,
    count: int,
    schedule: Schedule,
    *,
    key: str,
    learned_steps: bool,
    coarse: bool,
) -> tuple[Product, Learned]:
    """Return the network quantized after training it to answer as it did in float.

    learned_steps: scales are learned with the weights. coarse: gradients are rounded to int8.

    Raises:
        DoesNotFit: an operator that torch_network does not cover.
        Diverged: training came to no good end.
    """
    begun = ptq.quantized(recipe)
    student, teacher = torch_network(ptq.network), torch_network(ptq.network)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    student.through = rounding(grids(ptq, begun, recipe), learned=learned_steps)
    if coarse:
        student.around = coarse_gradients()
    held = holder(student, zeros_of(ptq.network))  # what an earlier link pruned stays out
    found = student.through
    assert isinstance(found, Rounding)

    def hold() -> None:
        held()
        found.hold()

    told = learn(student, teacher, take, count, schedule, key=key, after_step=hold)
    product = ptq.trained(student.write_back()).quantized(recipe, _scales(ptq, begun, found))
    return product, told


def grids(ptq: Ptq, product: Product, recipe: Recipe) -> dict[str, Steps]:
    """Return the grid of everything that the QDQ model rounds, by the name of the float tensor."""
    import torch

    found: dict[str, Steps] = {}
    model = QdqModel(product.model)
    for weight in model.weights:
        node, _ = ptq.weight_of(weight)
        bits = recipe.layers.get(node.name, recipe.weights.bits)
        bits = ENDS if recipe.keep_ends and node.name in ptq.ends else bits
        high = 2 ** (bits - 1) - 1
        shape = [1] * weight.codes.ndim
        if weight.axis is not None:
            shape[weight.axis] = -1
        scale = torch.from_numpy(weight.scale.reshape(shape).copy())
        found[node.input[weight.position]] = Steps(scale, torch.zeros(()), -high, high)
    limits = ptq.widest(model, product.narrow)
    shared: dict[str, Steps] = {}  # by the scale's name: what shares one in the file learns one
    for activation in model.activations:
        name = float_name(activation.tensor)
        bits = product.narrow.get(activation.tensor, WIDE)
        scale, zero = (_one(array) for array in (activation.scale, activation.zero_point))
        own = Steps(scale, zero, 0, 2**bits - 1, limits.get(name))
        found[name] = shared.setdefault(activation.node.input[1], own)
    return found


def _one(array: np.ndarray) -> Tensor:
    import torch

    return torch.tensor(float(array.reshape(-1)[0]))


def _scales(ptq: Ptq, product: Product, found: Rounding) -> Scales:
    model = QdqModel(product.model)
    weights: dict[str, np.ndarray] = {}
    for weight in model.weights:
        node, array = ptq.weight_of(weight)
        scale = found.scale(node.input[weight.position]).detach().numpy()
        rows = len(as_matrix(node, array))
        weights[node.name] = np.broadcast_to(scale.reshape(-1, 1), (rows if scale.size > 1 else 1, 1)).copy()
    names = [float_name(activation.tensor) for activation in model.activations]
    return Scales(weights, {name: float(found.scale(name).detach()) for name in names})
