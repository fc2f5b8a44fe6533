"""What torchao's quantizer is told, read from the program that it gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qbench.backends.base import BACKENDS, DeviceProbe, Placement
from qbench.cases import Quantized, Scheme
from qbench.formats.reference import keep_simulated, read_simulated, relative_error
from qbench.strategies.base import STRATEGIES, Calibration


def quantizers(program):
    """Yield the largest code of every activation quantizer."""
    for node in program.graph.nodes:
        if "quantize_per_tensor" in str(node.target) and "dequantize" not in str(node.target):
            yield node.args[4]


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 255), (True, 127)])
def test_the_codes_of_activations(in_format, images, tmp_path, reduce_range, largest):
    strategy = STRATEGIES["pt2e_int8"](reduce_range=reduce_range)
    product = strategy.apply(in_format("exported"), Calibration("", {"images": images}), tmp_path)
    codes = set(quantizers(torch.export.load(product.path)))
    assert codes == {largest}


def test_a_batch_of_any_size_goes_through(quantized_package, images):
    session = BACKENDS["aot_inductor"]().load(quantized_package, Placement())
    whole = session.run({"images": images})[0]
    parts = [session.run({"images": images[row : row + 1]})[0] for row in range(3)]
    # the float layer at the end may sum in another order: its last bit, where a processor has AMX
    np.testing.assert_allclose(np.concatenate(parts), whole[:3], rtol=1e-5, atol=1e-7)


def test_the_engine_computes_what_the_program_says(quantized_program, quantized_package, images):
    """Torch without a compiler runs the program as written, in float: the integers' meaning."""
    module = torch.export.load(quantized_program.path).module()
    with torch.no_grad():
        meant = module(torch.from_numpy(images)).numpy()
    given = BACKENDS["aot_inductor"]().load(quantized_package, Placement()).run({"images": images})[0]
    assert (
        relative_error(given, meant) < 0.02
    )  # a code apart here and there, where a sum was rounded otherwise


def test_a_package_is_held_to_the_program_that_it_was_made_from(quantized_program, tmp_path):
    program, package = tmp_path / "program", tmp_path / "package"
    program.mkdir()
    package.mkdir()
    assert keep_simulated(quantized_program, program) is None
    compiled = replace(quantized_program, format="pt2", path=None)
    assert keep_simulated(compiled, package, program) is None
    kept, meant = read_simulated(package), read_simulated(program)
    (wanted,) = kept.by_example(compiled.outputs)
    np.testing.assert_array_equal(wanted, meant.by_example(compiled.outputs)[0])
    module = torch.export.load(quantized_program.path).module()
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(kept.inputs["images"])).numpy(), wanted, atol=1e-6)
    assert "no second reader" in (keep_simulated(compiled, package, None) or "")


def test_torch_without_a_compiler_refuses_it():
    device = DeviceProbe("cpu", None, ("fp32", "bf16", "fp16"))
    engine = BACKENDS["torch_eager"]()
    assert "multiplies in float" in engine.refuses(Quantized(Scheme(8, 8, "per_channel")), device)
    assert engine.refuses(Quantized(Scheme(8, 8, "per_tensor", dynamic=True)), device) is None
    assert engine.refuses(Quantized(Scheme(8, None, "per_channel")), device)
