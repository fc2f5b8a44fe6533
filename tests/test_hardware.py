"""Machines made of files in a folder: each is recognised as what it is, and as one thing only."""

import json
import re
import runpy
from itertools import combinations
from pathlib import Path

import pytest

from qbench.backends.base import BACKENDS
from qbench.errors import BadSuite, UnknownName
from qbench.hardware import UNITS, figures, in_front, load_profiles, recognised, standing
from qbench.machine import Machine, machine, misfit

ROOT = Path(__file__).parents[1]
ARM8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
ARM82 = f"{ARM8} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
ENGINES = {"onnxruntime", "openvino", "torch_eager", "aot_inductor", "litert"}
FORMATS = {"fp32", "bf16", "fp16", "int8", "int4", "fp8", "fp4"}
SHIPPED = sorted(path.stem for path in (ROOT / "hardware_profiles").glob("*.toml"))


@pytest.fixture
def made(tmp_path):
    """Return a function that makes a machine of files."""

    def make(flags="", *, arm=(), board="", names=(), files=(), architecture="x86_64", system="Linux"):
        cores = [f"model name\t: Some Processor\nflags\t\t: {flags}\n"]
        if arm:
            cores = [
                f"Features\t: {flags}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
                f"CPU part\t: {part}\nCPU revision\t: 1\n"
                for part in arm
            ]
        written = {"proc/cpuinfo": "\n".join(cores), **dict(files)}
        if board:
            written["proc/device-tree/model"] = board + "\0"
        for number, name in enumerate(names):
            sheet = f"Model: \t\t {name}\nIRQ:   \t\t 42\n"
            written[f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information"] = sheet
            written["dev/nvidiactl"] = ""
        for path, text in written.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return machine(tmp_path, architecture, system)

    return make


def named(wanted, here):
    return [profile.name for profile in load_profiles(wanted, here)]


def profile(name):
    (found,) = load_profiles(name)
    return found


def fitting(device, here):
    """Return the names of the profiles whose conditions hold; the general ones left out."""
    return [
        profile.name
        for profile in load_profiles("all")
        if profile.device == device
        and profile.recognise
        and not profile.recognise.otherwise
        and not misfit(profile.recognise, here)
    ]


# --- machines ---------------------------------------------------------------------------------------


def test_a_virtual_machine_with_avx512_vnni(made):
    here = made("fpu avx avx2 avx512f avx512bw avx512_bf16 avx512_vnni avx_vnni")
    assert here.processor == "Some Processor"
    assert named("cpu", here) == ["x86-avx512-vnni"]
    assert standing(profile("x86-avx512-vnni"), here).kind == "here"
    assert standing(profile("x86-amx"), here).reason == "this processor has no amx_int8"
    assert "avx512_vnni: it is of a better class" in standing(profile("x86-avx-vnni"), here).reason
    assert standing(profile("cpu-other"), here).reason == "told more exactly by x86-avx512-vnni"
    assert standing(profile("neoverse-n1"), here).reason == "this is x86_64, not aarch64"


@pytest.mark.parametrize(("flags", "name"), [
    ("sse2 sse4_2", "x86-other"),
    ("avx avx2 fma", "x86-avx2"),
    ("avx2 avx512f avx512bw", "x86-avx2"),
    ("avx2 avx_vnni", "x86-avx-vnni"),
    ("avx2 avx512f avx512_vnni avx_vnni amx_tile amx_int8 amx_bf16", "x86-amx"),
])  # fmt: skip
def test_x86_classes(made, flags, name):
    assert named("cpu", made(flags)) == [name]


@pytest.mark.parametrize(("flags", "parts", "board", "name"), [
    (ARM8, ["0xd08"] * 4, "Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4"),
    (ARM82, ["0xd0b"] * 4, "Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
    (ARM8, ["0xd03"] * 4, "Raspberry Pi 3 Model B Plus Rev 1.3", "cortex-a72"),
    (ARM82, ["0xd05"] * 4 + ["0xd0b"] * 4, "Radxa ROCK 5B", "cortex-a76"),  # two kinds of core
    (ARM82, ["0xd42"] * 6, "NVIDIA Jetson Orin Nano Developer Kit", "cortex-a76"),
    (ARM82, ["0xd0c"] * 2, "", "neoverse-n1"),
    (f"{ARM82} sve i8mm bf16", ["0xd40"] * 2, "", "neoverse-v1"),
    (f"{ARM82} sve sve2 i8mm bf16", ["0xd4f"] * 2, "", "neoverse-n2"),
    (f"{ARM82} sve sve2 i8mm bf16", ["0xd46"] * 4, "", "cpu-other"),  # Cortex-A510: no class of its own
    (ARM82, ["0xd0b", "0xd0c"], "", "cpu-other"),  # no such chip: every core must be of the class
])  # fmt: skip
def test_arm_classes_and_boards(made, flags, parts, board, name):
    assert named("cpu", made(flags, arm=parts, board=board, architecture="aarch64")) == [name]


def test_a_board_stands_before_its_class(made):
    here = made(ARM8, arm=["0xd08"], board="Raspberry Pi 4 Model B Rev 1.4", architecture="aarch64")
    assert standing(profile("raspberry-pi-4"), here).kind == "here"
    assert standing(profile("cortex-a72"), here).reason == "told more exactly by raspberry-pi-4"
    assert standing(profile("raspberry-pi-5"), here).reason == "this is Raspberry Pi 4 Model B Rev 1.4"


def test_apple_is_asked_by_sysctl(monkeypatch, tmp_path):
    def answer(command, **_):
        assert command == ["sysctl", "-n", "machdep.cpu.brand_string"]
        return type("Done", (), {"stdout": "Apple M2 Pro\n"})

    monkeypatch.setattr("subprocess.run", answer)
    here = machine(tmp_path, "arm64", "Darwin")
    assert here.processor == "Apple M2 Pro"
    assert named("cpu", here) == ["apple-m"]
    assert standing(profile("apple-m"), here).kind == "here"


def test_a_jetson_is_a_cuda_device_and_an_arm_processor(made):
    here = made(
        ARM82, arm=["0xd42"] * 12, board="NVIDIA Jetson AGX Orin Developer Kit", architecture="aarch64"
    )
    assert named("cuda", here) == ["jetson-orin"]
    assert [(fact.what, fact.value) for fact in figures(profile("jetson-orin"), here)] == [("power", 60.0)]


def test_an_unknown_machine_still_has_a_processor(made):
    here = made(architecture="riscv64")
    assert named("cpu", here) == ["cpu-other"]
    assert standing(profile("cpu-other"), here).kind == "here"
    assert recognised("cuda", here) is None


def test_this_very_machine_has_one_processor():
    (found,) = load_profiles("cpu")
    assert standing(found, machine()).kind == "here"


# --- graphics devices -------------------------------------------------------------------------------


NVIDIA = {
    "nvidia-turing": ["Tesla T4", "NVIDIA GeForce RTX 2080 Ti", "Quadro RTX 6000", "NVIDIA T4G"],
    "nvidia-ampere": [
        "NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA A10G", "NVIDIA A2", "NVIDIA RTX A6000",
        "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3060 Laptop GPU",
    ],
    "nvidia-ada": ["NVIDIA L4", "NVIDIA L40S", "NVIDIA GeForce RTX 4090", "NVIDIA RTX 6000 Ada Generation"],
    "nvidia-hopper": ["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H200", "NVIDIA GH200 480GB"],
    "nvidia-blackwell": [
        "NVIDIA B200", "NVIDIA GB200", "NVIDIA GeForce RTX 5090", "NVIDIA GB10",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
    ],
    "cuda": ["Tesla V100-SXM2-16GB", "NVIDIA GeForce GTX 1660", "NVIDIA T1000", "Quadro P4000"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "gpu"), [(name, gpu) for name, gpus in NVIDIA.items() for gpu in gpus])
def test_an_nvidia_device_is_of_one_generation(made, name, gpu):
    here = made("avx2", names=[gpu])
    assert here.gpus == (gpu,)
    assert fitting("cuda", here) == ([] if name == "cuda" else [name])
    assert named("cuda", here) == [name]
    assert standing(profile(name), here).kind == "here"


def test_two_generations_at_once_are_told_in_general(made):
    """An engine takes its first device, and files do not tell which of the two that is."""
    here = made("avx2", names=["NVIDIA L4", "Tesla T4"])
    assert named("cuda", here) == ["cuda"]
    assert standing(profile("nvidia-ada"), here).reason == "this machine has Tesla T4"
    assert named("cuda", made("avx2", names=["NVIDIA L4", "NVIDIA L4"])) == ["nvidia-ada"]


def test_a_driver_that_names_nothing_leaves_the_general_profile(made):
    here = made("avx2", files={"dev/nvidiactl": ""}.items())
    assert named("cuda", here) == ["cuda"]
    assert standing(profile("nvidia-ada"), here).reason == "the driver names no device"


def test_without_a_device_the_general_profile_tells_why(made):
    here = made("avx2")
    (found,) = load_profiles("cuda", here)
    assert found.name == "cuda"
    assert standing(found, here).reason == "no such device here: there is no /dev/nvidiactl"


def test_intel_devices_are_told_by_their_vendor(made):
    vendor = "sys/class/drm/renderD128/device/vendor"
    here = made("avx2", files={"dev/dri/renderD128": "", vendor: "0x1002\n"}.items())
    assert (
        "no /sys/class/drm/renderD*/device/vendor says 0x8086" in standing(profile("intel-gpu"), here).reason
    )
    more = {vendor.replace("128", "129"): "0x8086\n", "sys/class/accel/accel0/device/vendor": "0x8086\n"}
    here = made("avx2", files=more.items())
    assert standing(profile("intel-gpu"), here).kind == "here"
    assert standing(profile("intel-npu"), here).reason.endswith("there is no /dev/accel/accel*")
    assert standing(profile("intel-npu"), made(files={"dev/accel/accel0": ""}.items())).kind == "here"


# --- emulated and attached devices ------------------------------------------------------------------


@pytest.fixture
def arm_device(tmp_path):
    """Return a function that sets up an emulated device."""

    def make(**changes):
        told = {"format": 1, "cpus": ["cortex-a72", "neoverse-n1"], "qemu": "8.2.2", **changes}
        (tmp_path / "arm").mkdir(exist_ok=True)
        (tmp_path / "arm" / "device.json").write_text(json.dumps(told))
        (tmp_path / "arm" / "run").write_text("#!/bin/sh\n")
        (tmp_path / "arm" / "run").chmod(0o755)
        return tmp_path / "arm"

    return make


@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({}, "attached", "qemu 8.2.2"),
    ({"qemu": "7.2.0"}, "attached", "qemu 7.2.0"),
    ({"qemu": "6.2.0"}, "missing", "the emulator is too old: qemu 6.2.0, needs 7.2"),
    ({"qemu": "10.0"}, "attached", "qemu 10.0"),
    ({"format": 2}, "missing", "of another version: run tools/setup_arm.sh again"),
    ({"cpus": ["cortex-a72"]}, "missing", "can be cortex-a72, not neoverse-n1"),
    ({"cpus": None}, "missing", "run tools/setup_arm.sh"),
])  # fmt: skip
def test_an_emulated_device_is_told_by_its_manifest(arm_device, changes, kind, words):
    found = standing(profile("emulated-neoverse-n1"), Machine("x86_64", "Linux"), arm_device(**changes))
    assert (found.kind, words in found.reason) == (kind, True), found


def test_an_emulated_device_lies_in_the_cache(arm_device, monkeypatch, tmp_path):
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    found, here = profile("emulated-cortex-a72"), machine()
    assert standing(found, here).reason == "no emulated ARM set up: run tools/setup_arm.sh"
    folder = arm_device()
    assert standing(found, here).kind == "attached"
    assert in_front(found.prefix) == [str(folder / "run"), "cortex-a72"]
    counting = in_front(found.counter, tmp_path / "count")
    assert counting == [str(folder / "run"), "cortex-a72", "--count", str(tmp_path / "count")]
    (folder / "run").chmod(0o644)
    assert standing(found, here).kind == "missing"


def test_emulated_profiles_never_stand_for_this_machine():
    assert [profile.name for profile in load_profiles("arm")] == [
        "emulated-cortex-a72",
        "emulated-neoverse-n1",
    ]
    assert all(p.device == "cpu" and p.scored == 50 and p.threads == 1 for p in load_profiles("arm"))


# --- the user's own profiles ------------------------------------------------------------------------


MINE = 'name = "{name}"\ntitle = "t"\ndevice = "{device}"\nbackends = ["fake"]\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a profile into the user's own folder."""
    (tmp_path / "hardware_profiles").mkdir()
    monkeypatch.chdir(tmp_path)

    def add(name, more="", device="cpu"):
        text = MINE.format(name=name, device=device) + more
        (tmp_path / "hardware_profiles" / f"{name}.toml").write_text(text)

    return add


def test_a_profile_without_conditions_is_here_because_its_user_says_so(write, made):
    write("mine")
    here = made("avx2")
    assert standing(profile("mine"), here).kind == "here"
    assert named("cpu", here) == ["x86-avx2"]
    write("cpu")  # a name that a user gave goes before the device's word
    assert profile("cpu").backends == ["fake"]


def test_an_attached_device_needs_its_program(write, made):
    write("pi", 'prefix = ["sh", "-c"]\n')
    assert standing(profile("pi"), made()).kind == "attached"
    write("pi", 'prefix = ["no-such-program"]\n')
    assert standing(profile("pi"), made()).reason == "there is no no-such-program"
    write("pi", 'prefix = ["sh"]\n[recognise]\nprocessor = "."\n')  # it is elsewhere, whatever fits here
    assert named("cpu", made("avx2")) == ["x86-avx2"]


def test_the_users_own_board_goes_before_a_shipped_class_and_its_file_before_a_shipped_one(write, made):
    here = made("avx2", board="Kitchen PC")
    write("kitchen", '[recognise]\nprocessor = "Kitchen"\n')
    assert named("cpu", here) == ["kitchen"]
    write("x86-avx2", "emulated = true\n")
    assert profile("x86-avx2").backends == ["fake"]


def test_a_device_word_of_the_users_own(write, made):
    write("tpu-1", device="tpu")
    assert named("tpu", made()) == ["tpu-1"]


def test_names_and_words_are_not_doubled(made):
    here = made("avx2")
    assert named("cpu,x86-avx2,cpu", here) == ["x86-avx2"]
    assert named("all", here) == SHIPPED


@pytest.mark.parametrize(("wrong", "near"), [
    ("rasberry-pi-4", "raspberry-pi-4"), ("cuad", "cuda"), ("nvidia-hoper", "nvidia-hopper"), ("npuu", "npu"),
])  # fmt: skip
def test_a_misspelt_name_is_answered_with_the_nearest(wrong, near):
    with pytest.raises(UnknownName, match=f"called '{wrong}'\n  fix: did you mean '{near}'"):
        load_profiles(f"cpu,{wrong}")


FACT = '[[fact]]\nwhat = "power"\nvalue = 5\nunit = "W"\nsource = "a page"\n'


@pytest.mark.parametrize(("change", "words"), [
    (('source = "a page"\n', ""), r"fact.1.source: .*missing"),
    (('"a page"', '" "'), r"fact\[1\]: value = 5.0, source = ' '"),
    (("5", "0"), r"fact\[1\]: value = 0.0"),
    (("5", "nan"), r"fact\[1\]: value = nan"),
    (('"W"', '"mW"'), r"fact\[1\]: 'power' in 'mW'\n  fix: write one of: power in W"),
    (('"power"', '"powr"'), r"fact\[1\]: 'powr' in 'W'"),
    (("value", "vlaue"), r"unknown key 'vlaue' in fact\[1\]\n  fix: did you mean 'value'"),
    (('"a page"', '"a page"\ndevice = "("'), r"'\(' is no pattern"),
    (("[[fact]]", '[recognise]\ngpu = "["\n[[fact]]'), r"'\[' is no pattern"),
    (("[[fact]]", '[recognise]\ngqu = "x"\n[[fact]]'), r"unknown key 'gqu' in recognise\n  fix: did"),
])  # fmt: skip
def test_a_mistake_in_a_profile_is_told(write, change, words):
    write("mine", FACT)
    assert figures(profile("mine"), machine())[0].value == 5
    assert change[0] in FACT
    write("mine", FACT.replace(*change))
    with pytest.raises(BadSuite, match=r"mine\.toml: " + words):
        load_profiles("mine")


# --- laws over what is shipped ----------------------------------------------------------------------


def test_every_set_of_flags_has_one_class():
    """x86: every subset of the flags that decide. ARM: every core with the flags that it has."""
    deciding = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")
    for count in range(len(deciding) + 1):
        for flags in combinations(deciding, count):
            here = Machine("x86_64", "Linux", frozenset(flags))
            assert len(fitting("cpu", here)) == 1, flags
    levels = [ARM8, ARM82, f"{ARM82} sve i8mm bf16", f"{ARM82} sve sve2 i8mm bf16"]
    for part in ("0xd03", "0xd08", "0xd0b", "0xd0c", "0xd40", "0xd42", "0xd49", "0xd4f", "0xd46"):
        for level in levels:
            here = Machine("aarch64", "Linux", frozenset(level.split()), frozenset({f"0x41:{part}"}))
            assert len(fitting("cpu", here)) <= 1, (part, level)
            assert recognised("cpu", here) is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_keeps_the_rules(name):
    found = profile(name)
    assert found.name == name
    assert found.backends
    assert set(found.backends) <= ENGINES
    assert set(found.kernels) <= FORMATS
    assert len(found.title) <= 52
    assert (found.recognise is None) == bool(found.prefix) == found.emulated
    for fact in found.fact:
        assert UNITS[fact.what] == fact.unit
        assert re.match(r"https://\S+$|.{20,}, .+", fact.source), "an address, or a document and its page"
        assert (fact.of in FORMATS) == (fact.what == "peak")
    told = [(fact.what, fact.of, fact.device) for fact in found.fact]
    assert len(told) == len(set(told))


def test_every_engine_that_is_shipped_is_offered():
    """A new engine must be named by the profiles of the devices that it runs on."""
    shipped = {path.stem for path in (ROOT / "qbench" / "backends").glob("*.py")} - {
        "__init__",
        "base",
        "fake",
    }
    offered = {engine for name in SHIPPED for engine in profile(name).backends}
    assert {name for name in BACKENDS if name in shipped} <= offered


def test_figures_are_those_of_the_very_device(made):
    sxm = made("avx2", names=["NVIDIA H100 80GB HBM3"])
    assert {(f.what, f.of): f.value for f in figures(profile("nvidia-hopper"), sxm)}[
        ("peak", "int8")
    ] == 1978.9e12
    card = made("avx2", names=["NVIDIA H100 PCIe"])
    assert [(f.what, f.value) for f in figures(profile("nvidia-hopper"), card)] == [
        ("power", 350),
        ("bandwidth", 2e12),
    ]
    pi = made(ARM8, arm=["0xd08"], board="Raspberry Pi 4 Model B Rev 1.4", architecture="aarch64")
    power = next(f for f in figures(profile("raspberry-pi-4"), pi) if f.what == "power")
    assert power.value == pytest.approx(1.2 * 5.1)  # the documentation's amperes and volts
    compute = made(ARM8, arm=["0xd08"], board="Raspberry Pi Compute Module 4 Rev 1.0", architecture="aarch64")
    assert figures(profile("raspberry-pi-4"), compute) == []


def test_the_list_asks_no_engine_about_what_is_missing(made, monkeypatch):
    from rich.console import Console

    from qbench.backends.base import Probe
    from qbench.show import show_list

    asked = []

    def probes(names):
        asked.append(names)
        return {name: Probe(name, "1", (), "not asked") for name in names}

    here = made("avx2")
    monkeypatch.setattr("qbench.machine.machine", lambda: here)
    monkeypatch.setattr("qbench.run.probe.probe_all", probes)
    console = Console(width=80, record=True)
    show_list("hardware", console)
    lines = console.export_text().splitlines()
    assert len(asked) == 1
    assert max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if line[:1].isalpha() and line.split()[0] in SHIPPED]
    assert rows == ["x86-avx2", *(name for name in SHIPPED if name != "x86-avx2")]


def test_the_page_shows_the_profiles_as_they_are():
    written = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "tools" / "hardware_table.py"))["with_table"](written) == written
