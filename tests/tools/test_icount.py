"""The plugin that counts instructions: each word's kinds, forked children, products with known multiplies."""

import shutil
import subprocess
from pathlib import Path

import pytest

KINDS = Path(__file__).parents[2] / "tools" / "arm" / "kinds.h"
compiler = pytest.mark.skipif(not shutil.which("cc"), reason="counting needs a C compiler, found no cc")

# Words as GNU as 2.40 assembles them.
VECTOR = {"simd_fp": 1, "fma_vector": 1}
WORDS = [
    ("fmla v0.4s, v1.4s, v2.4s", 0x4E22CC20, VECTOR | {"macs_fp32": 4}),
    ("fmla v0.2s, v1.2s, v2.2s", 0x0E22CC20, VECTOR | {"macs_fp32": 2}),
    ("fmls v31.4s, v30.4s, v29.4s", 0x4EBDCFDF, VECTOR | {"macs_fp32": 4}),
    ("fmla v0.2d, v1.2d, v2.2d", 0x4E62CC20, VECTOR),
    ("fmla v0.8h, v1.8h, v2.8h", 0x4E420C20, VECTOR | {"macs_fp16": 8}),
    ("fmla v0.4s, v1.4s, v2.s[3]", 0x4FA21820, VECTOR | {"macs_fp32": 4}),
    ("fmls v0.2s, v1.2s, v31.s[1]", 0x0FBF5020, VECTOR | {"macs_fp32": 2}),
    ("fmla v0.8h, v1.8h, v2.h[7]", 0x4F321820, VECTOR | {"macs_fp16": 8}),
    ("fmadd s0, s1, s2, s3", 0x1F020C20, {"simd_fp": 1, "fma_scalar": 1, "macs_fp32": 1}),
    ("fmadd d0, d1, d2, d3", 0x1F420C20, {"simd_fp": 1, "fma_scalar": 1}),
    ("fmla s0, s1, v2.s[3]", 0x5FA21820, {"simd_fp": 1, "fma_scalar": 1, "macs_fp32": 1}),
    ("sdot v0.4s, v1.16b, v2.16b", 0x4E829420, {"simd_fp": 1, "dot": 1, "macs_int8": 16}),
    ("udot v0.2s, v1.8b, v2.8b", 0x2E829420, {"simd_fp": 1, "dot": 1, "macs_int8": 8}),
    ("usdot v0.4s, v1.16b, v2.16b", 0x4E829C20, {"simd_fp": 1, "dot": 1, "macs_int8": 16}),
    ("sdot v0.4s, v1.16b, v2.4b[3]", 0x4FA2E820, {"simd_fp": 1, "dot": 1, "macs_int8": 16}),
    ("sudot v0.4s, v1.16b, v2.4b[3]", 0x4F22F820, {"simd_fp": 1, "dot": 1, "macs_int8": 16}),
    ("smmla v0.4s, v1.16b, v2.16b", 0x4E82A420, {"simd_fp": 1, "mmla": 1, "macs_int8": 32}),
    ("usmmla v0.4s, v1.16b, v2.16b", 0x4E82AC20, {"simd_fp": 1, "mmla": 1, "macs_int8": 32}),
    ("smlal v0.8h, v1.8b, v2.8b", 0x0E228020, {"simd_fp": 1, "widening": 1, "macs_int8": 8}),
    ("umlal2 v0.8h, v1.16b, v2.16b", 0x6E228020, {"simd_fp": 1, "widening": 1, "macs_int8": 8}),
    ("smull v0.4s, v1.4h, v2.4h", 0x0E62C020, {"simd_fp": 1, "widening": 1, "macs_int16": 4}),
    ("smlal2 v0.4s, v1.8h, v2.h[7]", 0x4F722820, {"simd_fp": 1, "widening": 1, "macs_int16": 4}),
    ("mla v0.16b, v1.16b, v2.16b", 0x4E229420, {"simd_fp": 1, "mla": 1, "macs_int8": 16}),
    ("mla v0.8h, v1.8h, v2.h[7]", 0x6F720820, {"simd_fp": 1, "mla": 1, "macs_int16": 8}),
    ("mls v0.4s, v1.4s, v2.4s", 0x6EA29420, {"simd_fp": 1, "mla": 1}),
    ("sqdmull v0.4s, v1.4h, v2.4h", 0x0E62D020, {"simd_fp": 1}),
    ("pmull v0.8h, v1.8b, v2.8b", 0x0E22E020, {"simd_fp": 1}),
    ("fmul v0.4s, v1.4s, v2.4s", 0x6E22DC20, {"simd_fp": 1}),
    ("fcmla v0.4s, v1.4s, v2.s[1], #90", 0x6F823820, {"simd_fp": 1}),
    ("bfmmla v0.4s, v1.8h, v2.8h", 0x6E42EC20, {"simd_fp": 1}),
    ("sadalp v0.4s, v1.8h", 0x4E606820, {"simd_fp": 1}),
    ("ldr x0, [x1]", 0xF9400020, {"load_store": 1}),
    ("ldadd x0, x1, [x2]", 0xF8200041, {"load_store": 1}),
    ("stp q0, q1, [x1]", 0xAD000420, {"load_store": 1, "simd_load_store": 1}),
    ("ld1r {v0.4s}, [x0]", 0x4D40C800, {"load_store": 1, "simd_load_store": 1}),
    ("add x0, x1, x2", 0x8B020020, {}),
    ("madd x0, x1, x2, x3", 0x9B020C20, {}),
    ("svc #0", 0xD4000001, {}),
]


@compiler
def test_every_instruction_counts_for_its_kinds(tmp_path):
    (tmp_path / "kinds.c").write_text(
        f'#include "{KINDS}"\n'
        "#include <stdio.h>\n"
        "int main(void) { unsigned word; while (scanf(\"%x\", &word) == 1) {\n"
        "  uint64_t counts[KINDS] = {0}; add_kinds(word, counts);\n"
        '  for (int i = 0; i < KINDS; i++) printf("%s %d ", kind_names[i], (int)counts[i]);\n'
        '  puts(""); } }\n'
    )  # fmt: skip
    built = subprocess.run(
        ["cc", "-Wall", "-Werror", "-o", tmp_path / "kinds", tmp_path / "kinds.c"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    words = "\n".join(f"{word:x}" for _, word, _ in WORDS)
    said = subprocess.run([tmp_path / "kinds"], input=words, capture_output=True, text=True, check=True)
    counted = {}
    for (name, _, _), line in zip(WORDS, said.stdout.splitlines(), strict=True):
        pairs = line.split()
        counted[name] = {
            kind: int(count) for kind, count in zip(pairs[::2], pairs[1::2], strict=True) if count != "0"
        }
    assert counted == {name: {"instructions": 1} | kinds for name, _, kinds in WORDS}


@compiler
@pytest.mark.slow
def test_a_forked_child_counts_and_leaves_by_exit(arm, tmp_path):
    """The child closes every descriptor first, as a careful one does; its region has 3 x 100 FMLA."""
    program = (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.closerange(3, 256)\n"
        "    mark(1)\n"
        "    fmla(); fmla(); fmla()\n"
        "    mark(2)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "mark(3); mark(4)\n"
    )
    first, child, parent, empty = arm.count("neoverse-n1", program, tmp_path)
    assert [line["tag"] for line in (first, child, parent, empty)] == [1, 2, 3, 4]
    assert first["pid"] == child["pid"] != parent["pid"] == empty["pid"]
    assert (child["threads"], child["fma_vector"], child["macs_fp32"]) == (1, 300, 1200)
    assert (empty["fma_vector"], empty["dot"]) == (0, 0)
    assert empty["instructions"] < child["instructions"]


@compiler
@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["cortex-a72", "neoverse-n1"])
def test_a_matrix_product_has_the_multiplies_that_it_has(arm, tmp_path, cpu):
    """64 x 64 by 64 x 64 in float and in eight bits: 64 ** 3, by the kernels of this CPU; twice the same."""
    for kind, dtypes in (("MatMul", ("FLOAT", "FLOAT")), ("MatMulInteger", ("UINT8", "INT8"))):
        save_product(tmp_path / f"{kind}.onnx", kind, dtypes)
    program = (
        "os.environ['ORT_DISABLE_TELEMETRY'] = '1'\n"
        "import numpy as np, onnxruntime\n"
        "options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = options.inter_op_num_threads = 1\n"
        "for kind, a, b in (('MatMul', 'f4', 'f4'), ('MatMulInteger', 'u1', 'i1')):\n"
        f"    session = onnxruntime.InferenceSession({str(tmp_path)!r} + f'/{{kind}}.onnx', options)\n"
        "    feeds = {'a': np.ones((64, 64), a), 'b': np.ones((64, 64), b)}\n"
        "    session.run(None, feeds); mark(0)\n"
        "    assert (session.run(None, feeds)[0] == 64).all(); mark(1)\n"
    )
    times = [[line for line in arm.count(cpu, program, tmp_path) if line["tag"] == 1] for _ in range(2)]
    product, whole = times[0]
    assert (product["macs_fp32"], product["fma_vector"]) == (64**3, 64**3 // 4)
    assert (whole["macs_int8"], whole["macs_fp32"]) == (64**3, 0)
    assert bool(whole["dot"]) == (cpu == "neoverse-n1")
    assert bool(whole["widening"]) == (cpu == "cortex-a72")
    for one, other in zip(*times, strict=True):
        for kind in ("simd_fp", "fma_vector", "dot", "widening", "macs_fp32", "macs_int8", "macs_int16"):
            assert one[kind] == other[kind]
        assert other["instructions"] == pytest.approx(one["instructions"], rel=1e-3)


def save_product(file, kind, dtypes):
    import onnx
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, getattr(TensorProto, dtype), [64, 64])
        for name, dtype in zip("ab", dtypes, strict=True)
    ]
    given = TensorProto.FLOAT if kind == "MatMul" else TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(kind, ["a", "b"], ["y"])],
        "product",
        inputs,
        [helper.make_tensor_value_info("y", given, [64, 64])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
