"""Reading and writing torch.export programs, such that torch alone reads what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qbench.errors import BadFile

OWN = ("aten", "prim", "prims", "higher_order", "quantized_decomposed")  # operators that torch itself brings


def read_program(path: Path | None) -> Any:
    """Return a torch.export program.

    Raises:
        BadFile: the file is no torch.export program, or names operators that this torch lacks.
    """
    import torch
    import torch.ao.quantization.fx._decomposed  # operators of quantized programs: loaded on demand

    try:
        return torch.export.load(path or "")
    except Exception as error:  # torch raises RuntimeError, ValueError and zip errors alike
        raise BadFile(
            f"{path} is no torch.export program: {error}", fix="delete its folder and run again"
        ) from error


def write_program(program: Any, path: Path) -> None:
    """Write a program in torch's own operators, so that no quantization library is needed where it runs.

    A library's operator is replaced by the library's own definition of it, the one that compilers use.
    """
    import torch
    from torch._inductor.decomposition import decompositions

    foreign = {
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in OWN
    }
    definitions = {operator: decompositions[operator] for operator in foreign if operator in decompositions}
    if definitions:
        program = program.run_decompositions(definitions)
    torch.export.save(program, path)
