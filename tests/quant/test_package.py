"""What a compiled package tells about its constants, and how they are given to the program's operators."""

import json
import shutil
import zipfile
from dataclasses import asdict, replace

import pytest

from qbench.errors import BadFile
from qbench.formats.artifact import file_size_bytes, files
from qbench.formats.proof import prove
from qbench.quant import package
from qbench.quant.exported_graph import exported_products
from qbench.quant.package import NAME, Constant, package_constants, package_weights, source_products
from qbench.quant.qdq_graph import Weight

# conv 3 > 16 (3x3) on 8x8, conv 16 > 32 (3x3, stride 2) to 3x3, linear 288 > 10
ELEMENTS = [16 * 27, 32 * 144, 10 * 288]
MACS = [64 * 16 * 27, 9 * 32 * 144, 10 * 288]


def test_a_float_package_holds_its_weights_in_float(in_format):
    weights = package_weights(in_format("pt2").path)
    assert [(w.elements, w.bits, w.macs) for w in weights] == list(zip(ELEMENTS, [32] * 3, MACS, strict=True))
    assert [w.stored_bytes for w in weights] == [4 * elements for elements in ELEMENTS]


def test_a_quantized_package_holds_integers_and_their_scales(quantized_package):
    weights = package_weights(quantized_package.path)
    assert [(w.elements, w.bits, w.macs) for w in weights] == list(zip(ELEMENTS, [8] * 3, MACS, strict=True))
    channels = (16, 32, 10)  # each has a scale of 4 bytes and a zero point of 8
    assert [w.stored_bytes for w in weights] == [e + 12 * c for e, c in zip(ELEMENTS, channels, strict=True)]
    assert prove(quantized_package).failure is None


def test_a_quantized_program_holds_integers_and_their_scales(quantized_program):
    proof = prove(quantized_program)
    assert proof.failure is None
    found = {m.metric: m.samples[0] for m in proof.measurements}
    assert found["covered_weights"] == sum(ELEMENTS) + 12 * (16 + 32 + 10)
    assert found["covered_macs"] == found["model_macs"] == sum(MACS)


def test_a_float_package_that_claims_integers_is_found_out(in_format, quantized_package):
    decoy = replace(in_format("pt2"), state=quantized_package.state)
    assert "none of the 3 weights in the deployed file is stored in 8 bits" in prove(decoy).failure


def test_the_note_alone_proves_nothing(in_format, quantized_package, tmp_path):
    """A float package beside a note that speaks of integers is still a float package."""
    shutil.copy(in_format("pt2").path, tmp_path / "model.pt2")
    shutil.copy(quantized_package.path.with_name(NAME), tmp_path / NAME)
    assert [w.bits for w in package_weights(tmp_path / "model.pt2")] == [32, 32, 32]


def test_the_note_is_not_deployed(in_format):
    path = in_format("pt2").path
    assert path.with_name(NAME).is_file()
    assert files(path.parent) == [path]
    assert file_size_bytes(path.parent) == path.stat().st_size


def test_the_products_of_the_program_are_counted(in_format):
    assert source_products(in_format("pt2").path) == 3
    assert exported_products(in_format("exported").path) == 3


@pytest.mark.parametrize("what", ["torn", "no zip", "no note", "torn note"])
def test_what_cannot_be_read_is_named(what, in_format, tmp_path):
    path = tmp_path / "model.pt2"
    whole = in_format("pt2").path
    shutil.copy(whole, path)
    shutil.copy(whole.with_name(NAME), tmp_path / NAME)
    if what == "torn":
        with zipfile.ZipFile(path, "w") as empty:
            empty.writestr("model/model.so", "no library")
    elif what == "no zip":
        path.write_bytes(b"no zip")
    elif what == "no note":
        (tmp_path / NAME).unlink()
    else:
        (tmp_path / NAME).write_text("{")
    with pytest.raises(BadFile, match="note beside" if "note" in what else "no AOTInductor package"):
        package_weights(path)


def test_constants_come_with_their_types_and_bytes(quantized_package):
    constants = package_constants(quantized_package.path)
    assert [c.name for c in constants] == sorted(c.name for c in constants)
    assert sorted(c.sizes for c in constants if c.bits == 8 and c.matrix) == sorted(
        [(16, 3, 3, 3), (32, 16, 3, 3), (288, 10)]
    )


# --- pairing, on constants written by hand --------------------------------------------------------


@pytest.fixture
def pair(monkeypatch, tmp_path):
    """Return a function: the weights that these constants give to these operators of the program."""

    def give(source, constants):
        (tmp_path / NAME).write_text(json.dumps({"products": 0, "weights": [asdict(w) for w in source]}))
        monkeypatch.setattr(package, "package_constants", lambda path: list(constants))
        return package_weights(tmp_path / "model.pt2")

    return give


def wanted(name, bits=8, elements=64, channels=8):
    return Weight(name, "linear", elements, bits, elements * bits // 8, elements, channels)


def test_of_two_constants_of_one_size_the_widths_decide(pair):
    found = pair(
        [wanted("float", 32), wanted("integer", 8)],
        [Constant("a", (8, 8), 8), Constant("b", (8, 8), 32)],
    )
    assert [(w.name, w.bits) for w in found] == [("b", 32), ("a", 8)]


def test_a_weight_that_came_out_wider_than_in_the_program_is_told_as_it_is(pair):
    assert [w.bits for w in pair([wanted("w", 8)], [Constant("a", (8, 8), 32)])] == [32]


def test_a_weight_that_is_not_found_counts_as_float(pair):
    (missing, other) = pair([wanted("w", 8)], [Constant("a", (8, 9), 8)])
    assert (missing.bits, missing.stored_bytes, missing.macs) == (32, 256, 64)
    assert "not found" in missing.name
    assert (other.name, other.macs, other.multiplied) == ("a", 0, False)


def test_operators_that_share_a_weight_share_its_constant(pair):
    found = pair([wanted("w"), wanted("w")], [Constant("a", (8, 8), 8), Constant("a2", (8, 8), 8)])
    assert [(w.name, w.multiplied) for w in found] == [("a", True), ("a", True), ("a2", False)]


def test_scales_and_zero_points_go_to_a_weight_of_their_size_once(pair):
    constants = [
        Constant("a", (8, 8), 8), Constant("b", (4, 16), 8),
        Constant("_scale_0", (8,), 32), Constant("_zero_point_0", (8,), 64),
        Constant("_scale_1", (4,), 32), Constant("bias", (8,), 32),
    ]  # fmt: skip
    found = pair([wanted("x"), wanted("y", channels=16)], constants)
    assert [w.stored_bytes for w in found] == [64 + 32 + 64, 64 + 16]
