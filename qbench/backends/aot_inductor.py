"""AOTInductor: packages of machine code that torch compiled ahead, run without its compiler."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Placement, Probe, Session
from qbench.cases import Float, Quantized, State
from qbench.formats.packages import no_compiler
from qbench.quant.package import source_products
from qbench.records import Evidence

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

PRODUCTS = ("convolution", "deconvolution", "inner_product", "matmul", "gemm_api", "rnn")
LINE = re.compile(r"^onednn_verbose,(?:v1,)?primitive,exec,\w+,(\w+),([^,]*),[^,]*,([^,]*),", re.MULTILINE)
FACTOR = re.compile(r"\b(?:src|src_layer|wei|wei_layer)[_:]([a-z]+\d+)\b")
INTEGERS = ("u8", "s8")
NARROW = {"bf16": ("bf16",), "fp16": ("f16",)}


@BACKENDS.register("aot_inductor")
class AotInductor(Backend):
    """Runs packages that torch compiled ahead of time."""

    about: ClassVar[str] = "AOTInductor: programs that torch compiled ahead for this processor"
    runs: ClassVar[frozenset[str]] = frozenset({"pt2"})
    distribution: ClassVar[str] = "torch"

    def engine(self) -> Any:
        """Import torch; its compiler is not needed to run a package."""
        import torch

        return torch

    def probe(self) -> Probe:
        """Ask which arithmetic torch's CPU library has here, and whether packages can be made at all."""
        try:
            torch = self.engine()
        except ImportError as error:
            return Probe("aot_inductor", "", (), f"torch is not installed ({error})")
        if (absent := no_compiler()) is not None:
            fix = "install g++ (apt-get install g++), or set CXX to a C++ compiler"
            return Probe("aot_inductor", torch.__version__, (), absent, fix)
        abilities = ["fp32"]
        if torch.backends.mkldnn.is_available():
            narrow = torch.ops.mkldnn
            abilities += ["bf16"] if narrow._is_mkldnn_bf16_supported() else []
            abilities += ["fp16"] if narrow._is_mkldnn_fp16_supported() else []
            abilities += ["int8"] if platform.machine().lower() in ("x86_64", "amd64") else []
        cuda = "qbench compiles packages for the CPU only: the file is made before a device is chosen"
        devices = (DeviceProbe("cpu", None, tuple(abilities)), DeviceProbe("cuda", cuda, ("fp32",)))
        return Probe("aot_inductor", torch.__version__, devices)

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why there are no kernels for this state."""
        if isinstance(state, Float) and state.dtype not in probe.abilities:
            return f"torch's CPU kernels compute in {', '.join(probe.abilities)} here, not in {state.dtype}"
        if isinstance(state, Quantized):
            if (state.scheme.weight_bits, state.scheme.activation_bits) != (8, 8):
                return "compiled packages have integer kernels for 8-bit weights with 8-bit activations only"
            if "int8" not in probe.abilities:
                return "torch fuses int8 operators into integer kernels on x86 processors only"
        return None

    def simulates(self, state: State, device: str) -> str | None:  # noqa: ARG002
        """Simulate nothing: what has no kernels is refused."""
        return None

    def load(self, artifact: Artifact, placement: Placement) -> Session:
        """Load the package's library; see Backend.load."""
        return AotInductorSession(self.engine(), artifact, placement)


class AotInductorSession(Session):
    """A package's library in this process.

    The binding to Python holds the interpreter's lock while a package runs, and drops it for a moment with a
    runner in its hands: a second caller would then wait for that runner, the interpreter's lock in its own
    hands, for ever (torch 2.13). So callers take turns here, each with all of the placement's threads. From
    C++ they would run side by side.
    """

    def __init__(self, torch: Any, artifact: Artifact, placement: Placement) -> None:
        """Load it; the copy that torch unpacks is unlinked at once, for a worker ends without cleaning up.

        What `torch._inductor.aoti_load_package` returns is a shell around this loader; it needs a compiler's
        modules, two seconds of imports that no deployment pays.
        """
        assert artifact.path is not None
        self._torch, self._state, self._path = torch, artifact.state, artifact.path
        self._threads = placement.threads
        self._names = [spec.name for spec in artifact.inputs]
        self._turn, self._callers = threading.Lock(), threading.local()
        self._set_threads()
        before = _unpacked()
        model, one_at_once, runners, device = "model", False, 1, -1
        self._loader = torch._C._aoti.AOTIModelPackageLoader(
            str(artifact.path), model, one_at_once, runners, device
        )
        for folder in _unpacked() - before:
            shutil.rmtree(folder, ignore_errors=True)

    def _set_threads(self) -> None:
        """Say how many threads this caller's kernels may use: OpenMP keeps that by calling thread."""
        if not getattr(self._callers, "ready", False):
            self._torch.set_num_threads(self._threads)
            self._callers.ready = True

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run once."""
        self._set_threads()
        with self._torch.inference_mode():
            given = [self._torch.from_numpy(inputs[name]) for name in self._names]
            with self._turn:
                outputs = self._loader.boxed_run(given)
            return tuple(self._array(output) for output in outputs)

    def _array(self, output: Any) -> np.ndarray:
        """Give an output to numpy, which knows no bfloat16."""
        output = output.float() if output.is_floating_point() else output
        return output.numpy()

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Run once with oneDNN's own log on, and count the products in it by the types of both factors.

        Products that it does not log ran in other code, torch's own or the package's generated loops: what is
        missing of the program's products counts as float.
        """
        self.run(inputs)  # the first run makes the kernels and logs more than one execution
        with _standard_output() as said:
            onednn = self._torch.backends.mkldnn
            with onednn.verbose(onednn.VERBOSE_ON):
                self.run(inputs)
        ran = products_in(said())
        low, other = tally(ran, self._state)
        unseen = max(0, source_products(self._path) - sum(ran.values()))
        evidence = [
            Evidence(f"kernel {kind} {implementation} ({' x '.join(types)})", str(count))
            for (kind, implementation, types), count in sorted(ran.items())
        ]
        if unseen:
            evidence.append(Evidence("products that oneDNN did not log (counted as float)", str(unseen)))
        return KernelProof(low, other + unseen, tuple(evidence))

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the real clock."""
        return time.perf_counter_ns


def products_in(log: str) -> Counter[tuple[str, str, tuple[str, ...]]]:
    """Count the products in a oneDNN log by kind, implementation and the types of their factors.

    Source:
        oneDNN 3.12, developer guide, "Verbose Mode": the columns of a line with `exec`.
    """
    return Counter(
        (kind, implementation, tuple(FACTOR.findall(descriptors)))
        for kind, implementation, descriptors in LINE.findall(log)
        if kind in PRODUCTS
    )


def tally(ran: Counter[tuple[str, str, tuple[str, ...]]], state: State) -> tuple[int, int]:
    """Return how many products had both factors in the state's low format, and how many in none."""
    wanted: tuple[str, ...] = INTEGERS if isinstance(state, Quantized) else ()
    if isinstance(state, Float):
        wanted = NARROW.get(state.dtype, ())
    low = sum(count for (_, _, types), count in ran.items() if types and set(types) <= set(wanted))
    return low, sum(ran.values()) - low


@contextmanager
def _standard_output() -> Iterator[Callable[[], str]]:
    """Catch what native code writes to file descriptor 1; give a function that returns it afterwards."""
    caught: list[str] = []
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: "".join(caught)
        finally:
            _flush_native()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            caught.append(file.read().decode(errors="replace"))


def _flush_native() -> None:
    """Write out what the C library still holds back for standard output."""
    import ctypes

    ctypes.CDLL(None).fflush(None)


def _unpacked() -> set[Path]:
    """Return the temporary folders from which this process has loaded a package's library."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:  # no such list on this system: the loader's own clean-up has to do
        return set()
    libraries = {Path(line.split(maxsplit=5)[5]) for line in lines if line.endswith(".wrapper.so")}
    root = Path(tempfile.gettempdir())
    return {root / library.relative_to(root).parts[0] for library in libraries if root in library.parents}
