"""The engine's own log is the proof: what it counts, what it misses, and decoys that must go red."""

import os
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from qbench.backends.aot_inductor import AotInductor, _standard_output, products_in, tally
from qbench.backends.base import DeviceProbe, Placement
from qbench.cases import FakeQuant, Float, Quantized, Scheme
from qbench.formats.artifact import TensorSpec
from qbench.formats.edges import named
from qbench.formats.reference import relative_error

INT8 = Quantized(Scheme(8, 8, "per_channel"))

# As oneDNN 3.12 writes it, shortened after the columns that are read.
LOG = """onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,memory_descriptors
onednn_verbose,v1,primitive,exec,cpu,convolution,brg:vnni,forward_inference,src:u8::blocked:acdb::f0 \
wei:s8:ap:blocked:AcdB32a4b::f8:zpm1 bia:f32:a:blocked:a::f0 dst:u8::blocked:acdb::f0,attr,alg,mb1,0.01
onednn_verbose,v1,primitive,exec,cpu,convolution,brg:vnni,forward_inference,src:f32::blocked:acdb::f0 \
wei:s8:ap:blocked:AcdB32a4b::f8:zpm1 bia:f32:a:blocked:a::f0 dst:f32::blocked:acdb::f0,attr,alg,mb1,0.01
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:ab::f0 dst:s8::blocked:ab,,,4,1
onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_u8::blocked:ab:f0 wei_s8::blocked:ba:f0 \
dst_s32::blocked:ab:f0,,,64x128:128x128,0.01
onednn_verbose,v1,primitive,exec,cpu,inner_product,brg,forward_inference,src:bf16::blocked:ab::f0 \
wei:bf16:p:blocked:AB::f0 bia:f32::blocked:a::f0 dst:bf16::blocked:ab::f0,attr,,mb1,0.02
onednn_verbose,v1,primitive,exec,cpu,matmul,brg,undef,src:f32::blocked:ab wei:f32::blocked:ab dst:f32,,,1,1
"""


def test_a_log_worked_by_hand():
    assert products_in(LOG) == Counter({
        ("convolution", "brg:vnni", ("u8", "s8")): 1,
        ("convolution", "brg:vnni", ("f32", "s8")): 1,
        ("gemm_api", "", ("u8", "s8")): 1,
        ("inner_product", "brg", ("bf16", "bf16")): 1,
        ("matmul", "brg", ("f32", "f32")): 1,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("state", "low"),
    [(INT8, 2), (Float("bf16"), 1), (Float("fp16"), 0), (Float(), 0), (FakeQuant(INT8.scheme), 0)],
)
def test_a_product_is_low_when_both_its_factors_are(state, low):
    assert tally(products_in(LOG), state) == (low, 5 - low)


def test_a_line_without_types_is_no_proof_of_integers():
    assert tally(Counter({("matmul", "x", ()): 1}), INT8) == (0, 1)


def test_a_quantized_package_runs_in_integers(quantized_package, images):
    proof = AotInductor().load(quantized_package, Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == (3, 0)
    assert all("u8 x s8" in evidence.what for evidence in proof.evidence)


def test_quantized_answers_are_near_the_float_ones_and_not_the_same(quantized_package, in_format, images):
    wanted, given = (
        AotInductor().load(artifact, Placement()).run({"images": images})[0]
        for artifact in (in_format("pt2"), quantized_package)
    )
    assert 1e-5 < relative_error(given, wanted) < 0.1


@pytest.mark.slow
def test_float_kernels_are_not_counted_as_integers_whatever_the_state_says(in_format, images):
    decoy = replace(in_format("pt2"), state=INT8)
    proof = AotInductor().load(decoy, Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == (0, 3)


@pytest.mark.slow
def test_integers_that_the_compiler_did_not_fuse_go_red(quantized_program, images, tmp_path, monkeypatch):
    """The same quantized program without freezing: no pattern matches, and every product runs in float."""
    from qbench.formats import packages

    monkeypatch.setitem(packages.SETTINGS, "freezing", False)
    decoy = named("to_package").convert(quantized_program, tmp_path)
    proof = AotInductor().load(decoy, Placement()).prove({"images": images[:1]})
    assert (proof.low_bit, proof.other) == (0, 3)


@pytest.mark.slow
def test_products_outside_the_log_are_counted_as_float(in_format, tmp_path):
    """Attention's products run in a kernel of torch's own, which oneDNN knows nothing of."""
    import torch

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(16, 16)

        def forward(self, x):
            x = self.inner(x)
            return (x @ x.transpose(1, 2)).softmax(-1) @ x

    specs = (TensorSpec("x", "float32", (None, 8, 16)),)
    live = replace(in_format("torch"), module=Attention(), inputs=specs, outputs=specs)
    for name in ("exported", "pt2"):
        (tmp_path / name).mkdir()
    package = named("to_package").convert(
        named("export").convert(live, tmp_path / "exported"), tmp_path / "pt2"
    )
    proof = AotInductor().load(package, Placement()).prove({"x": np.ones((2, 8, 16), "f4")})
    assert (proof.low_bit, proof.other) == (0, 3)
    assert any("did not log" in evidence.what for evidence in proof.evidence)


@pytest.mark.parametrize(
    ("state", "abilities", "words"),
    [
        (Float("fp16"), ("fp32", "bf16"), "not in fp16"),
        (Float("bf16"), ("fp32",), "not in bf16"),
        (INT8, ("fp32",), "x86"),
        (Quantized(Scheme(4, None, "per_group")), ("fp32", "int8"), "with 8-bit activations only"),
        (Quantized(Scheme(8, None, "per_channel")), ("fp32", "int8"), "with 8-bit activations only"),
    ],
)  # fmt: skip
def test_what_has_no_kernels_is_refused_in_words(state, abilities, words):
    assert words in AotInductor().refuses(state, DeviceProbe("cpu", None, abilities))


def test_callers_take_turns_and_get_their_own_answers(in_format, images):
    session = AotInductor().load(in_format("pt2"), Placement(threads=2, streams=2))
    wanted = session.run({"images": images})[0]
    wrong = []

    def ask(row):
        for _ in range(20):
            answer = session.run({"images": images[row : row + 1]})[0]
            if not np.allclose(answer, wanted[row : row + 1], atol=1e-4):
                wrong.append(row)

    callers = [threading.Thread(target=ask, args=(row,)) for row in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_the_threads_are_those_of_the_placement(in_format):
    import torch

    AotInductor().load(in_format("pt2"), Placement(threads=2, streams=2))
    assert torch.get_num_threads() == 2  # callers take turns: each has them all
    AotInductor().load(in_format("pt2"), Placement(threads=1))
    assert torch.get_num_threads() == 1


@pytest.mark.slow
def test_the_number_of_threads_at_compile_time_is_not_baked_in(in_format, tmp_path):
    """Compiled on one thread, a loop long enough is shared out all the same when there are more."""
    import zipfile

    import torch

    specs = (TensorSpec("x", "float32", (None, 100_000)),)
    live = replace(in_format("torch"), module=torch.nn.GELU(), inputs=specs, outputs=specs)
    for name in ("exported", "pt2"):
        (tmp_path / name).mkdir()
    torch.set_num_threads(1)
    made = named("to_package").convert(named("export").convert(live, tmp_path / "exported"), tmp_path / "pt2")
    with zipfile.ZipFile(made.path) as package:
        code = "".join(package.read(name).decode() for name in package.namelist() if name.endswith(".cpp"))
    assert "#pragma omp parallel\n" in code  # and no number after it


def test_what_was_unpacked_to_load_is_gone(in_format, images):
    import tempfile

    before = set(os.listdir(tempfile.gettempdir()))
    session = AotInductor().load(in_format("pt2"), Placement())
    left = set(os.listdir(tempfile.gettempdir())) - before
    libraries = [
        path for name in left for path, _, names in os.walk(os.path.join(tempfile.gettempdir(), name))
        if any(each.endswith(".wrapper.so") for each in names)
    ]  # fmt: skip
    assert libraries == []
    assert session.run({"images": images[:1]})[0].shape == (1, 10)


def test_native_output_is_caught_and_only_meanwhile(capfd):
    with _standard_output() as said:
        os.write(1, b"caught")
    os.write(1, b"free")
    assert said() == "caught"
    assert capfd.readouterr().out == "free"
