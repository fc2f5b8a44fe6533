"""OpenVINO: ONNX files on the CPU, with the performance hint and the arithmetic said explicitly."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Probe, Session
from qbench.cases import Float, State
from qbench.records import Evidence

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

DEVICES = {"cpu": "CPU"}
HINTS = {"fp32": "f32", "bf16": "bf16"}
MACS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq"}
INTEGER = {"u8", "i8"}
NUMBER_FORMATS = ("fp32", "bf16", "fp16", "int8", "int4")  # openvino also lists abilities that are none


@BACKENDS.register("openvino")
class OpenVino(Backend):
    """Runs ONNX files."""

    about: ClassVar[str] = "OpenVINO: ONNX files on x86 and ARM processors"
    runs: ClassVar[frozenset[str]] = frozenset({"onnx"})
    distribution: ClassVar[str] = "openvino"

    def engine(self) -> Any:
        """Import openvino without its telemetry, which starts a thread at import and calls home."""
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        return openvino

    def probe(self) -> Probe:
        """Ask which devices there are and what arithmetic they speed up."""
        try:
            ov = self.engine()
        except ImportError as error:
            return Probe("openvino", "", (), f"openvino is not installed ({error})")
        core = ov.Core()
        told = {name.lower() for name in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")}
        abilities = tuple(name for name in NUMBER_FORMATS if name in told)
        return Probe("openvino", ov.__version__.split("-")[0], (DeviceProbe("cpu", None, abilities),))

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why there are no kernels for this state."""
        if isinstance(state, Float):
            if state.dtype not in HINTS:
                return f"openvino computes in fp32 or bf16 on this device, not in {state.dtype}"
            if state.dtype not in probe.abilities and state.dtype != "fp32":
                known = ", ".join(probe.abilities)
                return f"this processor has no {state.dtype} instructions (openvino reports {known})"
        elif state.kind == "quantized" and state.scheme.dynamic:
            return (
                "openvino reads dynamically quantized ONNX layers but multiplies them in fp32 "
                "(runtime model of 2026.4.1: Convolution f32)"
            )
        return None

    def load(self, artifact: Artifact, device: str, threads: int) -> Session:
        """Compile for latency in the arithmetic of the artifact's state; see Backend.load."""
        return OpenVinoSession(self.engine(), artifact, device, threads)


class OpenVinoSession(Session):
    """A compiled model with one infer request."""

    def __init__(self, ov: Any, artifact: Artifact, device: str, threads: int) -> None:
        """Read and compile the file."""
        self._state = artifact.state
        dtype = self._state.dtype if isinstance(self._state, Float) else "fp32"
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": HINTS[dtype],
        }
        core = ov.Core()
        self._compiled = core.compile_model(core.read_model(str(artifact.path)), DEVICES[device], settings)
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run once; outputs are copied, because the request reuses its buffers."""
        results = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        return tuple(results[port].copy() for port in self._compiled.outputs)

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Read the arithmetic of every layer from the runtime model, which describes what executes."""
        self.run(inputs)
        ran: Counter[tuple[str, str, str]] = Counter()
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = node.get_rt_info()
            kind = str(facts["layerType"].value)
            if kind in MACS:
                ran[kind, str(facts["runtimePrecision"].value), str(facts["primitiveType"].value)] += 1
        wanted = {"bf16"} if self._state == Float("bf16") else INTEGER
        evidence = tuple(
            Evidence(f"kernel {kind} in {arithmetic} ({primitive})", str(count))
            for (kind, arithmetic, primitive), count in sorted(ran.items())
        )
        low = sum(count for (_, arithmetic, _), count in ran.items() if arithmetic in wanted)
        return KernelProof(low, sum(c for (_, a, _), c in ran.items() if a == "f32"), evidence)

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the real clock."""
        return time.perf_counter_ns
