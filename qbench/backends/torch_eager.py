"""PyTorch, eager: torch.export programs, operator by operator, without a compiler."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Placement, Probe, Session
from qbench.cases import Float, Quantized, State
from qbench.quant.program import read_program
from qbench.records import Evidence

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

MACS = ("convolution", "addmm", "mm", "bmm", "baddbmm", "linear", "int_mm")
INTEGERS = ("torch.int8", "torch.uint8")
DTYPES = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}


@BACKENDS.register("torch_eager")
class TorchEager(Backend):
    """Runs torch.export programs."""

    about: ClassVar[str] = "PyTorch without a compiler: exported programs on CPU and CUDA"
    runs: ClassVar[frozenset[str]] = frozenset({"exported"})
    distribution: ClassVar[str] = "torch"
    caps: ClassVar[Mapping[str, Mapping[str, str]]] = {  # of oneDNN, and of torch's own kernels
        "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
        "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
    }

    def engine(self) -> Any:
        """Import torch."""
        import torch

        return torch

    def preload(self) -> None:
        """Import the reader of programs too: it takes longer than torch does."""
        self.engine()
        import torch.ao.quantization.fx._decomposed
        import torch.export.pt2_archive._package  # noqa: F401  # what torch.export.load imports when it is called

    def probe(self) -> Probe:
        """List the devices."""
        try:
            torch = self.engine()
        except ImportError as error:
            return Probe("torch_eager", "", (), f"torch is not installed ({error})")
        absent = None
        if not Path("/dev/nvidiactl").exists():
            absent = "no NVIDIA device on this machine (there is no /dev/nvidiactl)"
        elif not torch.cuda.is_available():
            absent = f"torch {torch.__version__} cannot use the NVIDIA device: install a CUDA build of torch"
        abilities = ("fp32", "bf16", "fp16")
        devices = (DeviceProbe("cpu", None, abilities), DeviceProbe("cuda", absent, abilities))
        return Probe("torch_eager", torch.__version__, devices)

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why there are no kernels for this state."""
        if isinstance(state, Float) and state.dtype not in probe.abilities:
            return f"torch has no {state.dtype} kernels on {probe.device}"
        if isinstance(state, Quantized):
            if not state.scheme.dynamic or state.scheme.activation_bits != 8 or state.scheme.weight_bits != 8:
                return "torch without its compiler restores such weights and multiplies in float"
            if probe.device != "cpu":
                return "qbench knows torch's integer matrix products on the CPU only"
        return None

    def simulates(self, state: State, device: str) -> str | None:  # noqa: ARG002
        """Simulate nothing: what has no kernels is refused."""
        return None

    def load(self, artifact: Artifact, placement: Placement) -> Session:
        """Load the program; see Backend.load."""
        return TorchSession(self.engine(), artifact, placement)


class TorchSession(Session):
    """An exported program as a module."""

    def __init__(self, torch: Any, artifact: Artifact, placement: Placement) -> None:
        """Load the program onto the device."""
        torch.set_num_threads(placement.threads_each)
        self._torch, self._device, self._state = torch, placement.device, artifact.state
        self._names = [spec.name for spec in artifact.inputs]
        self._module = read_program(artifact.path).module().to(self._device)

    def _tensors(self, inputs: dict[str, np.ndarray]) -> list[Any]:
        return [self._torch.from_numpy(inputs[name]).to(self._device) for name in self._names]

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run once, the copies to and from the device included."""
        with self._torch.inference_mode():
            outputs = self._module(*self._tensors(inputs))
            outputs = (outputs,) if isinstance(outputs, self._torch.Tensor) else outputs
            return tuple(self._array(output) for output in outputs)

    def _array(self, output: Any) -> np.ndarray:
        """Copy an output to numpy, which knows no bfloat16."""
        output = output.float() if output.is_floating_point() else output
        return output.cpu().numpy()

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Watch every dispatched operator and note the element type that its weight has."""
        from torch.utils._python_dispatch import TorchDispatchMode

        ran: Counter[tuple[str, str]] = Counter()

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
                name = func.name().removeprefix("aten::").split(".")[0].lstrip("_")
                if name in MACS:
                    ran[name, _widest(args)] += 1
                return func(*args, **(kwargs or {}))

        with self._torch.no_grad(), Watch():
            self._module(*self._tensors(inputs))
        wanted = (DTYPES[self._state.dtype],) if isinstance(self._state, Float) else INTEGERS
        low = sum(n for (_, dtype), n in ran.items() if dtype in wanted and wanted != (DTYPES["fp32"],))
        other = sum(n for (_, dtype), n in ran.items() if dtype == DTYPES["fp32"])
        evidence = tuple(
            Evidence(f"operator {name} in {dtype}", str(n)) for (name, dtype), n in sorted(ran.items())
        )
        return KernelProof(low, other, evidence)

    def device_peak_bytes(self) -> int | None:
        """Return what CUDA's caching allocator held at most; None on the CPU."""
        return int(self._torch.cuda.max_memory_allocated()) if self._device.startswith("cuda") else None

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the real clock."""
        return time.perf_counter_ns


def _widest(args: tuple[Any, ...]) -> str:
    """Return the element type of a product's widest factor: it is as narrow as all of them are."""
    factors = [each for each in args if getattr(each, "ndim", 0) > 1]
    return str(max(factors, key=lambda factor: factor.element_size()).dtype)
