"""A cache of its own for each test, and pixels for a network of any size."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pixels():
    import torch

    def draw(count, side=32):
        return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))

    return draw
