"""One engine asked by `vet`, in a process of its own: `python -m qbench.run.vet_worker ENGINE REQUEST`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from qbench.backends.base import BACKENDS, Placement
from qbench.cases import Float
from qbench.formats.artifact import Artifact


def main() -> None:
    """Print what the engine said of each size as one line of JSON: "" for an answer, or the error's words.

    An engine that is not installed says nothing.
    """
    import numpy as np

    request = json.loads(sys.argv[2])
    engine = BACKENDS[sys.argv[1]]()
    try:
        engine.engine()
    except ImportError:
        return
    try:
        session = engine.load(Artifact("onnx", Float(), (), (), path=Path(request["model"])), Placement())
    except Exception as error:  # whatever the engine says of a file that it refuses
        words = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(dict.fromkeys(map(str, request["sizes"]), words)) + "\n")
        return
    said: dict[str, Any] = {}
    for size in request["sizes"]:
        with np.load(Path(request["folder"]) / f"{size}.npz") as kept:
            call = {name: kept[str(k)] for k, name in enumerate(request["names"])}
        try:
            said[str(size)] = _answered(session.run(call), size, request["rows"])
        except Exception as error:  # the same, of a call
            said[str(size)] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(said) + "\n")


def _answered(outputs: tuple[Any, ...], size: int, rows: list[tuple[int, int]]) -> str:
    """Return nothing where every output has as many rows as were asked for, else how many one has."""
    for position, axis in rows:
        if outputs[position].shape[axis] != size:
            return f"it answered {size} samples with an output of shape {outputs[position].shape}"
    return ""


if __name__ == "__main__":
    main()
