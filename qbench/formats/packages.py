"""Compiling an exported program into an AOTInductor package: machine code with the weights in it.

One package serves every batch. Its code holds the instructions of this processor and runs on no lesser one.

Source:
    torch._inductor.aoti_compile_and_package (torch 2.13), with the settings explained at `SETTINGS`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qbench.errors import NotAvailable
from qbench.quant.exported_graph import sizes_for_one
from qbench.quant.package import write_source_note
from qbench.quant.program import read_program

if TYPE_CHECKING:
    from qbench.formats.artifact import Artifact

SETTINGS: dict[str, Any] = {
    "freezing": True,  # weights are constants: batch norms fold, layouts are chosen ahead
    "max_autotune": False,  # no choice by stop watch: the same program gives the same code
    "compile_threads": 1,  # no pool of processes: this one may be the child of a fork server
    "cpp.dynamic_threads": True,  # else the number of threads at compile time is baked in
    "cpp.vec_isa_ok": True,  # else seven trial compilations ask what the processor's flags say
    "aot_inductor.precompile_headers": False,  # they would be kept in a folder of the user's
}
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def to_package(artifact: Artifact, folder: Path) -> Artifact:
    """Compile the program; the compiler's own cache lies in `folder` meanwhile and is removed.

    Raises:
        NotAvailable: there is no C++ compiler.
        Exception: whatever the compiler says of a program that it refuses.
    """
    if (absent := no_compiler()) is not None:
        raise NotAvailable(absent, fix="install g++, or set CXX to a C++ compiler")
    import torch
    from torch._inductor import aoti_compile_and_package

    assert artifact.path is not None
    path = folder / "model.pt2"
    with _own_cache(folder), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about its own code
        program = read_program(artifact.path)
        settings = SETTINGS | {"post_grad_custom_pre_pass": _pack_for_one_example()}
        aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    write_source_note(artifact.path, folder)
    return replace(artifact, format="pt2", path=path)


def no_compiler() -> str | None:
    """Return why programs cannot be compiled here, or None where they can."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name):
        return None
    return f"no C++ compiler ({name}) on this machine: a package is compiled where it is prepared"


def baked_in() -> str:
    """Name what a package depends on beside its program: the processor's instructions and the compiler."""
    return _baked_in(os.environ.get("CXX", "g++"))


@cache
def _baked_in(compiler: str) -> str:
    flags = ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:  # no such list on this system: the machine's name stands alone
        flags = platform.processor()
    told = ""
    if shutil.which(compiler):
        command = [compiler, "-dumpfullversion"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{platform.machine()} {' '.join(sorted(flags.split()))} {compiler} {told}"


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Let the compiler keep its files in a folder of this conversion's own: every one costs the same."""
    before = os.environ.get(CACHE_VARIABLE)
    spaced = any(letter.isspace() for letter in str(folder.absolute()))
    # torch 2.13 writes its compiler's command without quotes: a path with a space is two words in it
    with tempfile.TemporaryDirectory(dir=None if spaced else folder, prefix="compiler-") as own:
        os.environ[CACHE_VARIABLE] = own
        try:
            yield
        finally:
            del os.environ[CACHE_VARIABLE]
            if before is not None:
                os.environ[CACHE_VARIABLE] = before


def _pack_for_one_example() -> Any:
    """Return a pass that blocks the weights of convolutions ahead, as for a batch of one.

    With a free batch the compiler leaves that to every call ("we need to pack weight in runtime"), which more
    than doubles a small network's time. The layout for one example suits the other batches too; where a
    kernel wants another one, it reorders, as it would have without this.
    """
    from torch._inductor.custom_graph_pass import CustomGraphPass

    class PackForOneExample(CustomGraphPass):
        def __call__(self, graph: Any) -> None:
            for node in list(graph.nodes):
                if node.op == "call_function" and "mkldnn._convolution_pointwise" in str(node.target):
                    _pack(graph, node)

        def uuid(self) -> None:
            return None  # never from a cache

    return PackForOneExample()


def _pack(graph: Any, node: Any) -> None:
    """Replace a convolution's plain weight by a blocked one."""
    import torch

    arguments = dict(zip((each.name for each in node.target._schema.arguments), node.args, strict=False))
    weight = arguments.get("weight", arguments.get("W"))
    if weight is None or weight.op != "get_attr" or len(weight.users) > 1:
        return
    tensor = graph.owning_module
    for part in weight.target.split("."):
        tensor = getattr(tensor, part)
    if tensor.is_mkldnn:
        return
    how = [arguments[name] for name in ("padding", "stride", "dilation", "groups")]
    sizes = sizes_for_one(node.args[0])
    blocked = torch.ops.mkldnn._reorder_convolution_weight(tensor.detach(), *how, sizes)
    name = weight.target.replace(".", "_") + "_blocked"
    graph.owning_module.register_buffer(name, blocked)
    with graph.inserting_before(node):
        replacement = graph.get_attr(name)
    replacement.meta.update(weight.meta)
    node.replace_input_with(weight, replacement)
    graph.erase_node(weight)
