"""What a technique cost is told of all processes that worked on it, not of the last one alone."""

import pytest
import torch

from qbench.cases import Choice, Float, Hop, Quantized, Scheme
from qbench.folders import cache_folder
from qbench.run.steps import prepare
from qbench.strategies.base import Calibration, Training

TRAINED = {
    "qat": Quantized(Scheme(8, 8, "per_channel")),
    "magnitude_prune": Float(),
    "n_m_prune": Float(),
    "channel_prune": Float(),
    "distill": Float(),
}


class Killed(BaseException):
    pass


@pytest.fixture
def hop(in_format, images, tmp_path, monkeypatch):
    """Return a function that takes a hop that trains; it dies in the step `dies_in`."""
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))

    def take_it(technique, dies_in=0):
        steps = iter(range(1, 1000))

        def take(rows, _):
            if next(steps) == dies_in:
                raise Killed
            return {"images": images[rows]}

        data = Calibration("images", {"images": images}, training=Training("images", 32, take))
        monkeypatch.setattr(prepare, "given", lambda *_: data)
        params = (("epochs", 2), ("batch", 16), ("learning_rate", 1e-4))
        asked = Hop("technique", Choice(technique, params), "onnx", TRAINED[technique], "")
        return prepare._hop(asked, in_format("onnx"), tmp_path, {})

    return take_it


@pytest.mark.parametrize("technique", TRAINED)
def test_a_run_that_was_killed_costs_what_both_processes_took(technique, hop):
    with pytest.raises(Killed):
        hop(technique, dies_in=3)  # two steps an epoch: in the second epoch
    (kept,) = cache_folder().glob("train/*.pt")
    torch.save(torch.load(kept, weights_only=True) | {"wall_s": 1000.0}, kept)
    product = hop(technique)
    assert 1000 < product.lineage[-1].wall_s < 1100
    assert product.earlier_s == 0  # told once: the next hop begins at nothing
    (cost,) = prepare._cost_of_quantizing(product)
    assert cost.metric == "quantize_time"
    assert 1000 < cost.samples[0] < 1100
    assert hop(technique).lineage[-1].wall_s < 100  # and one that went through, what it took
