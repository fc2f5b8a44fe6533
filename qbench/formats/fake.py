"""The fake format: a JSON file that says what a "network" holds and how it behaves. For tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qbench.quant.qdq_graph import Weight


def write_fake(path: Path, behaviour: dict[str, Any]) -> Path:
    """Write the file; `weights` is a list of [elements, bits], the rest is read by the fake engine."""
    path.write_text(json.dumps(behaviour))
    return path


def fake_weights(path: Path | None) -> list[Weight]:
    """Return the weights that the file says it stores."""
    assert path is not None
    stored = json.loads(path.read_text())["weights"]
    return [
        Weight(f"w{number}", "Fake", elements, bits, elements * bits // 8, elements, moved=elements)
        for number, (elements, bits) in enumerate(stored)
    ]
