"""onnxruntime: ONNX files on the CPU, and on NVIDIA devices where its CUDA provider really loads."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Placement, Probe, Session
from qbench.cases import Float, Quantized, State
from qbench.errors import NotAvailable
from qbench.records import Evidence

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LOW_BIT = {
    "QLinearConv", "QGemm", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "ConvIntegerToFloat", "MatMulNBits", "QAttention", "DynamicQuantizeLSTM",
}  # fmt: skip
IN_FLOAT = {
    "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul",
    "LSTM", "GRU", "RNN",
}  # fmt: skip


@BACKENDS.register("onnxruntime")
class OnnxRuntime(Backend):
    """Runs ONNX files."""

    about: ClassVar[str] = "ONNX Runtime: ONNX files on CPU and CUDA"
    runs: ClassVar[frozenset[str]] = frozenset({"onnx"})
    distribution: ClassVar[str] = "onnxruntime-gpu onnxruntime"

    def engine(self) -> Any:
        """Import onnxruntime with its telemetry off: it starts a thread and writes a device id otherwise."""
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        return onnxruntime

    def probe(self) -> Probe:
        """List the devices; a provider that is compiled in but has no driver is absent, with the reason."""
        try:
            ort = self.engine()
        except ImportError as error:
            return Probe("onnxruntime", "", (), f"onnxruntime is not installed ({error})")
        formats = ("fp32", "int8")
        devices = (DeviceProbe("cpu", None, formats), DeviceProbe("cuda", self._cuda_absent(ort), formats))
        return Probe("onnxruntime", ort.__version__, devices)

    def _cuda_absent(self, ort: Any) -> str | None:
        if PROVIDERS["cuda"] not in ort.get_available_providers():
            return f"onnxruntime {ort.__version__} here has no CUDA provider: install onnxruntime-gpu"
        if not Path("/dev/nvidiactl").exists():
            return "no NVIDIA device on this machine (there is no /dev/nvidiactl)"
        return None  # that the provider really loads is checked by `load`, which compares what was given

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why there are no kernels: the CPU provider computes other float formats in float32."""
        if isinstance(state, Float) and state.dtype not in probe.abilities:
            if probe.device == "cuda":
                return f"this version of qbench does not ask onnxruntime for {state.dtype} on cuda"
            return (
                f"onnxruntime {installed()} has no {state.dtype} convolution or matrix kernels on "
                f"{probe.device}: it would compute in fp32"
            )
        return None

    def simulates(self, state: State, device: str) -> str | None:
        """Return why wide activations run in float: the CPU provider multiplies eight bits by eight."""
        wide = isinstance(state, Quantized) and (state.scheme.activation_bits or 0) > 8
        if wide and device == "cpu":
            return (
                f"onnxruntime {installed()} has no integer kernels for 16-bit activations on the CPU: "
                "it restores them to float before every product"
            )
        return None

    def load(self, artifact: Artifact, placement: Placement) -> Session:
        """Create a session with all graph optimizations; see Backend.load."""
        return OnnxRuntimeSession(self.engine(), artifact, placement)

    def loading(self, artifact: Artifact, placement: Placement, path: str) -> list[str]:  # noqa: ARG002
        """Return what OnnxRuntimeSession does; see Backend.loading."""
        return [
            "import onnxruntime",
            "options = onnxruntime.SessionOptions()",
            f"options.intra_op_num_threads = {placement.threads_each}",
            "options.inter_op_num_threads = 1",
            "session = onnxruntime.InferenceSession(",
            f"    {json.dumps(path)},",
            f'    options, providers=["{PROVIDERS[placement.device]}"])',
            "outputs = session.run(None, inputs)",
        ]


class OnnxRuntimeSession(Session):
    """An InferenceSession."""

    def __init__(self, ort: Any, artifact: Artifact, placement: Placement) -> None:
        """Load the file; a provider that falls back silently is an error here."""
        self._ort, self._path, self._placement = ort, artifact.path, placement
        self._state = artifact.state
        self._session = self._open(profile_to=None)

    def _open(self, profile_to: str | None) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._placement.threads_each
        options.inter_op_num_threads = 1
        if profile_to:
            options.enable_profiling = True
            options.profile_file_prefix = profile_to
        wanted = PROVIDERS[self._placement.device]
        session = self._ort.InferenceSession(str(self._path), options, providers=[wanted])
        if session.get_providers()[0] != wanted:
            raise NotAvailable(
                f"onnxruntime was asked for {wanted} and took {session.get_providers()[0]}",
                fix="install the CUDA and cuDNN that this onnxruntime-gpu names, or run with --hw cpu",
            )
        return session

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run once."""
        return tuple(self._session.run(None, inputs))

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Open the same file again under onnxruntime's profiler, run once, and count what ran."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(profile_to=str(Path(folder) / "profile"))
            session.run(None, inputs)
            events = json.loads(Path(session.end_profiling()).read_text())
        ran = Counter(
            (event["args"]["op_name"], event["args"].get("provider", ""))
            for event in events
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        )
        evidence = tuple(
            Evidence(f"kernel {name} ({provider})", str(count))
            for (name, provider), count in sorted(ran.items())
        )
        low = sum(count for (name, _), count in ran.items() if name in LOW_BIT)
        return KernelProof(low, sum(count for (name, _), count in ran.items() if name in IN_FLOAT), evidence)

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the real clock."""
        return time.perf_counter_ns


def installed() -> str:
    """Return the installed version, whichever of the two distributions holds it."""
    for name in OnnxRuntime.distribution.split():
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "(not installed)"
