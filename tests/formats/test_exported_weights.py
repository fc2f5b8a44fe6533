import pytest
import torch
from torch import nn

from qbench.errors import BadFile
from qbench.quant.exported_graph import exported_weights


def weights(tmp_path, module, *inputs):
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in inputs)
    shapes = (shapes,) if isinstance(module, Of) else shapes  # its *inputs are one argument
    torch.export.save(
        torch.export.export(module.eval(), inputs, dynamic_shapes=shapes), tmp_path / "model.pt2"
    )
    return [
        (w.name, w.operator, w.elements, w.bits, w.macs) for w in exported_weights(tmp_path / "model.pt2")
    ]


class Of(nn.Module):
    def __init__(self, function, *shape):
        super().__init__()
        self.w = nn.Parameter(torch.ones(*shape))
        self.function = function

    def forward(self, *inputs):
        return self.function(self.w, *inputs)


@pytest.mark.parametrize(
    ("module", "shape", "operator", "elements", "macs"),
    [
        (nn.Linear(16, 10), (2, 7, 16), "linear", 160, 7 * 160),
        (nn.Conv2d(6, 4, 3, groups=2), (2, 6, 8, 8), "conv2d", 108, 4 * 36 * 27),
        (nn.ConvTranspose2d(6, 4, 2, stride=2), (2, 6, 8, 8), "conv_transpose2d", 96, 6 * 64 * 16),
    ],
)
def test_layers_worked_by_hand(tmp_path, module, shape, operator, elements, macs):
    assert weights(tmp_path, module, torch.ones(shape)) == [("weight", operator, elements, 32, macs)]


@pytest.mark.parametrize(
    ("function", "stored", "macs"),
    [
        (lambda w, x: x @ w, (16, 10), 160),
        (lambda w, x: x @ w.T, (10, 16), 160),  # the weight is followed through what turns it
        (lambda w, x: torch.addmm(torch.ones(10), x, w), (16, 10), 160),
        (lambda w, x: x @ w.half().float(), (16, 10), 160),
    ],
)
def test_products_worked_by_hand(tmp_path, function, stored, macs):
    (found,) = weights(tmp_path, Of(function, *stored), torch.ones(2, 16))
    assert found[0] == "w"
    assert found[2:] == (160, 32, macs)


def test_a_flattened_batch_is_counted_for_one_example(tmp_path):
    # 5 tokens an example, flattened with the batch: (5 n, 16) @ (16, 10)
    module = Of(lambda w, x: x.reshape(-1, 16) @ w, 16, 10)
    assert weights(tmp_path, module, torch.ones(2, 5, 16))[0][-1] == 5 * 160


def test_a_product_of_two_activations_has_no_weight(tmp_path):
    module = Of(lambda w, x, y: torch.bmm(x, y) + w, 1)
    assert weights(tmp_path, module, torch.ones(2, 3, 4), torch.ones(2, 4, 3)) == []


def test_what_is_no_program_is_named(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"no program")
    with pytest.raises(BadFile, match="no torch.export program"):
        exported_weights(tmp_path / "model.pt2")
