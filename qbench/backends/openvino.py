"""OpenVINO: ONNX files and IRs on the CPU, with the performance hint and the arithmetic said explicitly."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.backends.base import BACKENDS, Backend, DeviceProbe, KernelProof, Placement, Probe, Session
from qbench.cases import Float, Quantized, State
from qbench.records import Evidence

if TYPE_CHECKING:
    import numpy as np

    from qbench.formats.artifact import Artifact

DEVICES = {"cpu": "CPU"}
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
MACS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq"}
NARROW = {"u8": 8, "i8": 8, "u4": 4, "i4": 4, "nf4": 4, "f4e2m1": 4}  # element types, and their bits
NOT_YET = "this version of qbench drives openvino on the CPU only, not on its {} device"
ROUNDED_TOGETHER = 32  # the engine's own choice
NUMBER_FORMATS = ("fp32", "bf16", "fp16", "int8", "int4")  # openvino also lists abilities that are none


@BACKENDS.register("openvino")
class OpenVino(Backend):
    """Runs ONNX files and OpenVINO IRs."""

    about: ClassVar[str] = "OpenVINO: ONNX files and OpenVINO IRs on x86 and ARM processors"
    runs: ClassVar[frozenset[str]] = frozenset({"onnx", "openvino"})
    distribution: ClassVar[str] = "openvino"
    caps: ClassVar[Mapping[str, Mapping[str, str]]] = {  # oneDNN's own variable, read when it is loaded
        "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    }
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"precision": ("bf16", "fp16")}

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
        others = (DeviceProbe(name, NOT_YET.format(name.upper())) for name in ("gpu", "npu"))
        devices = (DeviceProbe("cpu", None, abilities), *others)
        return Probe("openvino", ov.__version__.split("-")[0], devices)

    def refuses(self, state: State, probe: DeviceProbe) -> str | None:
        """Return why there are no kernels for this state."""
        if isinstance(state, Float):
            if state.dtype not in probe.abilities and state.dtype != "fp32":
                known = ", ".join(probe.abilities)
                return f"this processor has no {state.dtype} instructions (openvino reports {known})"
        elif state.kind == "quantized" and state.scheme.dynamic and state.scheme.granularity == "per_tensor":
            # an IR's weights have a scale a channel or a group, and kernels that round activations: see prove
            return (
                "openvino reads dynamically quantized ONNX layers but multiplies them in fp32 "
                "(runtime model of 2026.4.1: Convolution f32)"
            )
        return None

    def simulates(self, state: State, device: str) -> str | None:  # noqa: ARG002
        """Return why wide activations run in float."""
        if isinstance(state, Quantized) and (state.scheme.activation_bits or 0) > 8:
            return "openvino has no integer kernels for 16-bit activations: it computes such layers in float"
        return None

    def load(self, artifact: Artifact, placement: Placement) -> Session:
        """Compile in the artifact's own arithmetic, or in the precision asked for; see Backend.load."""
        return OpenVinoSession(self.engine(), artifact, placement)

    def loading(self, artifact: Artifact, placement: Placement, path: str) -> list[str]:
        """Return what OpenVinoSession does; see Backend.loading."""
        settings = settings_for(computed(artifact.state, placement), placement)
        return [
            "import openvino",
            "model = openvino.Core().compile_model(",
            f"    {json.dumps(path)},",
            f'    "{DEVICES[placement.device]}", {{',
            *_two_a_line([f'"{name}": "{value}",' for name, value in settings.items()]),
            "    })",
            "outputs = model(inputs)",
        ]


def _two_a_line(entries: list[str]) -> list[str]:
    return ["        " + " ".join(entries[k : k + 2]) for k in range(0, len(entries), 2)]


def computed(state: State, placement: Placement) -> State:
    """Return the state that the engine computes in: an option may ask for another than the file's."""
    precision = dict(placement.options).get("precision")
    return Float(precision) if precision else state  # type: ignore[arg-type]


def settings_for(state: State, placement: Placement) -> dict[str, str]:
    """Return the properties that a model in this state is compiled with."""
    dtype = state.dtype if isinstance(state, Float) else "fp32"
    # Left to itself, the engine rounds activations beside compressed weights to 8 bits, in these groups.
    rounds = isinstance(state, Quantized) and state.scheme.dynamic
    return {
        "PERFORMANCE_HINT": "LATENCY" if placement.streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(placement.streams),
        "INFERENCE_NUM_THREADS": str(placement.threads),
        "INFERENCE_PRECISION_HINT": HINTS[dtype],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(ROUNDED_TOGETHER if rounds else 0),
    }


class OpenVinoSession(Session):
    """A compiled model with an infer request for every caller."""

    def __init__(self, ov: Any, artifact: Artifact, placement: Placement) -> None:
        """Read and compile the file."""
        self._state = computed(artifact.state, placement)  # what the kernels are held to
        settings = settings_for(self._state, placement)
        core = ov.Core()
        model, device = core.read_model(str(artifact.path)), DEVICES[placement.device]
        self._compiled = core.compile_model(model, device, settings)
        self._callers = threading.local()  # a request serves one caller at a time

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Run once; outputs are copied, because the request reuses its buffers."""
        request = getattr(self._callers, "request", None)
        if request is None:
            request = self._callers.request = self._compiled.create_infer_request()
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
        return tuple(results[port].copy() for port in self._compiled.outputs)

    def prove(self, inputs: dict[str, np.ndarray]) -> KernelProof:
        """Read the arithmetic of every layer from the runtime model, which describes what executes."""
        self.run(inputs)
        ran: Counter[tuple[str, str]] = Counter()
        low = 0
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = {name: str(value.value) for name, value in node.get_rt_info().items()}
            if facts["layerType"] not in MACS:
                continue
            types = [port.get_element_type().get_type_name() for port in node.inputs()[:2]]
            ran[f"{facts['layerType']} of {' by '.join(types)}", facts["primitiveType"]] += 1
            low += self._is_low(types, facts["runtimePrecision"])
        evidence = tuple(
            Evidence(f"kernel {kind} ({primitive})", str(count))
            for (kind, primitive), count in sorted(ran.items())
        )
        if isinstance(self._state, Quantized) and self._state.scheme.dynamic:  # no kernel's types show it
            group = self._compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
            evidence += (Evidence("activations rounded beside narrow weights, in groups of", str(group)),)
        return KernelProof(low, sum(ran.values()) - low, evidence)

    def _is_low(self, types: list[str], arithmetic: str) -> bool:
        """Tell whether a kernel's inputs, first and second, are what the artifact's state says.

        What the runtime model calls a kernel's precision is no proof: it is that of its weights where they
        alone are narrow, and the product is one of floats.
        """
        if isinstance(self._state, Float):
            return self._state.dtype != "fp32" and arithmetic == HINTS[self._state.dtype]
        scheme, widths = self._state.scheme, [NARROW.get(name, 32) for name in types]
        if scheme.activation_bits is None or scheme.dynamic:  # rounded inside the kernel, if at all
            return widths[1] <= scheme.weight_bits
        return max(widths) <= 8

    @property
    def clock_ns(self) -> Callable[[], int]:
        """Return the real clock."""
        return time.perf_counter_ns
