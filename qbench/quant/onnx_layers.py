"""What the ONNX strategies share: naming what a network is made of, and keeping a library's chatter down."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qbench.errors import DoesNotFit


def covered_or_raise(path: Path | None, covers: tuple[str, ...], technique: str) -> int:
    """Return how many operators the technique covers.

    Raises:
        DoesNotFit: none; the kinds that the network is made of are named.
    """
    import onnx

    found = Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    covered = sum(found[kind] for kind in covers)
    if not covered:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in found.most_common())
        raise DoesNotFit(
            f"{technique} covers {', '.join(covers)}; this network has none of them (found: {kinds or 'nothing'})",
            fix=f"leave {technique} out for this network",
        )
    return covered


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back log lines below an error: onnxruntime advises a pre-processing step that breaks its own tool."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
