"""What an engineer gets with onnxruntime and nncf alone: their own quantizers, run as their own manuals say.

Nothing here imports qbench: it is what qbench is held against. A product is a file and the engine for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Feeds = list[dict[str, np.ndarray]]  # what a network is called with, call after call
OPERATORS = ["Conv", "MatMul", "Gemm"]


@dataclass(frozen=True, slots=True)
class Product:
    """A file as one would ship it, and the engine that it is for."""

    name: str
    engine: str  # onnxruntime or openvino
    path: Path
    precision: str = "f32"  # that openvino is told to compute in

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the file, and of the weights beside an openvino file."""
        beside = self.path.with_suffix(".bin")
        return self.path.stat().st_size + (beside.stat().st_size if self.path.suffix == ".xml" else 0)


# --- quantizers -------------------------------------------------------------------------------------


def onnxruntime_static(
    model: Path, feeds: Feeds, folder: Path, *, per_channel: bool, operators: Sequence[str] = OPERATORS
) -> Product:
    """Return what `onnxruntime.quantization.quantize_static` makes of these operators; of none named: of all.

    As docs/performance/model-optimizations/quantization.md has it: raised where scales per channel need
    opset 13, pre-processed, QDQ, signed weights.
    """
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    kind = "per channel" if per_channel else "per tensor"
    prepared, path = folder / "prepared.onnx", folder / f"onnxruntime, {kind}.onnx"
    raised = onnx.load(model)
    if next(one.version for one in raised.opset_import if one.domain == "") < 13:
        raised = version_converter.convert_version(raised, 17)
    onnx.save(raised, folder / "raised.onnx")
    try:
        quant_pre_process(folder / "raised.onnx", prepared, skip_symbolic_shape=True)
    except Exception:  # its shape inference fails on some files; the manual calls the step optional
        prepared = folder / "raised.onnx"
    quantize_static(
        prepared, path, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(operators) or None,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=per_channel,
    )  # fmt: skip
    return Product(f"onnxruntime, {kind}", "onnxruntime", path)


def nncf_for(model: Path, feeds: Feeds, folder: Path, *, engine: str, transformer: bool) -> Product:
    """Return what `nncf.quantize` makes of it, with its default settings or the transformer model type."""
    import nncf
    import onnx
    import openvino

    kind = "transformer" if transformer else "default"
    chosen = {"model_type": nncf.ModelType.TRANSFORMER} if transformer else {}
    name = f"nncf, {kind}"
    if engine == "onnxruntime":
        path = folder / f"nncf-{kind}.onnx"
        onnx.save(
            nncf.quantize(onnx.load(model), nncf.Dataset(feeds), subset_size=len(feeds), **chosen), path
        )
    else:
        path = folder / f"nncf-{kind}.xml"
        read = openvino.Core().read_model(model)
        openvino.save_model(nncf.quantize(read, nncf.Dataset(feeds), subset_size=len(feeds), **chosen), path)
    return Product(name, engine, path)


def products(model: Path, feeds: Feeds, folder: Path) -> tuple[list[Product], dict[str, str]]:
    """Return what could be made, and for what could not the reason, by name."""
    made, refused = [Product("float", "onnxruntime", model), Product("float", "openvino", model)], {}
    ways: dict[str, Callable[[], Product]] = {}
    for fine in (False, True):
        name = f"onnxruntime, per {'channel' if fine else 'tensor'}"
        ways[name] = lambda fine=fine: onnxruntime_static(model, feeds, folder, per_channel=fine)
    for engine in ("onnxruntime", "openvino"):
        for transformer in (False, True):
            name = f"nncf, {'transformer' if transformer else 'default'}, on {engine}"
            ways[name] = lambda e=engine, t=transformer: nncf_for(
                model, feeds, folder, engine=e, transformer=t
            )
    for name, way in ways.items():
        try:
            made.append(way())
        except Exception as error:  # another's quantizer may fail in any way: that is a row of the table too
            refused[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1][:160]}"
    return made, refused


# --- engines ----------------------------------------------------------------------------------------

Call = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


def opened(product: Product, threads: int = 1) -> Call:
    """Return a function from one call's inputs to its outputs."""
    return (
        _onnxruntime(product.path, threads)
        if product.engine == "onnxruntime"
        else _openvino(product, threads)
    )


def _onnxruntime(path: Path, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def _openvino(product: Product, threads: int) -> Call:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": product.precision,
    }  # fmt: skip
    compiled = openvino.Core().compile_model(str(product.path), "CPU", settings)
    request = compiled.create_infer_request()

    def call(feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = request.infer(feed)
        return [np.array(found[port]) for port in compiled.outputs]

    return call


def answers(call: Call, feeds: Feeds, carried: Sequence[tuple[str, int]] = ()) -> list[list[np.ndarray]]:
    """Return every call's outputs, in order; an input of `carried` gets that output of the call before."""
    found: list[list[np.ndarray]] = []
    for feed in feeds:
        taken = {name: found[-1][at] for name, at in carried} if found else {}
        found.append(call({**feed, **taken}))
    return found


def latencies_s(
    calls: dict[str, Call], feed: dict[str, np.ndarray], rounds: int = 9, each_s: float = 0.2
) -> dict[str, list[float]]:  # noqa: E501
    """Return seconds a call, one value a round; in every round each is timed once, in an order of its own.

    What is compared is the ratio inside a round: a machine that slows down slows all of them.
    """
    rng, names = np.random.default_rng(0), list(calls)
    for name in names:
        calls[name](feed)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for at in rng.permutation(len(names)):
            call, count, begun = calls[names[at]], 0, time.perf_counter()
            while (spent := time.perf_counter() - begun) < each_s or count < 3:
                call(feed)
                count += 1
            found[names[at]].append(spent / count)
    return found
