"""The emulated ARM device: what its set-up refuses, and what the finished device does."""

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TOOLS = CHECKOUT / "tools"
NEEDED = ("dirname", "uname", "apt-get", "apt-config", "dpkg-deb", "taskset", "flock", "sha256sum")
debian = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not shutil.which("apt-get"),
    reason="the emulated device is set up on x86-64 Linux with apt-get",
)
shell = pytest.mark.skipif(platform.system() != "Linux", reason="the device's scripts are for Linux")


def run(*command, **environment):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=os.environ | environment
    )


def set_up(folder, tools=TOOLS, **environment):
    return run("sh", tools / "setup_arm.sh", folder, **environment)


def programs(folder, **written):
    """A folder for PATH: a stand-in for every needed program, and these scripts; a None is left out."""
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name) or shutil.which("true")
        if name not in written:
            (folder / name).symlink_to(found)
    for name, text in written.items():
        if text is not None:
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
    return str(folder)


# --- refusals: each says what was found and what to do


@debian
@pytest.mark.parametrize(
    ("there", "found", "fix"),
    [
        ({"apt-get": None}, "apt-get is missing", "Debian 12 container"),
        ({"dpkg-deb": None}, "dpkg-deb is missing", "apt-get install"),
        ({"taskset": None}, "taskset is missing", "apt-get install util-linux"),
        ({"uname": "echo Darwin"}, "this is Darwin, not Linux", "Debian 12 container"),
        (
            {"uname": '[ "$1" = -s ] && echo Linux || echo aarch64'},
            "an? aarch64 machine",
            "is an ARM device itself",
        ),
        ({}, "neither uv nor python3 with pip", "apt-get install python3-pip"),
    ],
)
def test_a_machine_that_lacks_something_is_told_what(tmp_path, there, found, fix):
    shutil.copytree(TOOLS, tmp_path / "tools")  # away from the checkout, whose .venv has an installer
    path = programs(tmp_path / "bin", **there)
    said = subprocess.run(
        ["/bin/sh", tmp_path / "tools" / "setup_arm.sh", tmp_path / "arm"],
        capture_output=True, text=True, env={"PATH": path},
    )  # fmt: skip
    assert said.returncode == 2
    assert re.search(rf"setup_arm.sh: .*{found}.*\n  fix: .*{fix}", said.stderr)
    assert not (tmp_path / "arm").exists()


@debian
@pytest.mark.parametrize("version", ["5.2.0", "7.1.9", "2.99"])
def test_a_qemu_that_is_too_old_is_refused(tmp_path, version):
    programs(tmp_path / "bin", qemu=f"echo 'qemu-aarch64 version {version} (Debian 1:{version}+dfsg-11)'")
    said = set_up(tmp_path / "arm", QBENCH_QEMU=str(tmp_path / "bin" / "qemu"))
    assert said.returncode == 2
    assert f"is version {version}, at least 7.2 is needed" in said.stderr
    assert "unset QBENCH_QEMU" in said.stderr


@debian
def test_a_program_that_tells_no_version_is_no_qemu(tmp_path):
    said = set_up(tmp_path / "arm", QBENCH_QEMU="true")
    assert said.returncode == 2
    assert "QBENCH_QEMU=true does not tell its version" in said.stderr


@debian
@pytest.mark.parametrize("version", ["7.2.22", "7.10", "10.0.2"])
def test_a_folder_with_something_else_stays_as_it_is(tmp_path, version):
    """It is looked at after the emulator: these versions are new enough."""
    programs(tmp_path / "bin", qemu=f"echo 'qemu-aarch64 version {version}'")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("one")
    said = set_up(tmp_path / "thesis", QBENCH_QEMU=str(tmp_path / "bin" / "qemu"))
    assert said.returncode == 2
    assert "thesis holds something else\n  fix: name an empty or a new folder" in said.stderr
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


@debian
def test_folders_that_cannot_be_are_refused(tmp_path):
    assert "a comma in" in set_up(tmp_path / "a,b").stderr
    assert "cannot write in /proc" in set_up("/proc/arm").stderr
    assert "expected one folder, found 2" in run("sh", TOOLS / "setup_arm.sh", "a", "b").stderr


@debian
@pytest.mark.slow
def test_without_a_network_the_mirror_is_named(tmp_path):
    said = set_up(tmp_path / "arm", QBENCH_DEBIAN_MIRROR="http://127.0.0.1:9/debian")
    assert said.returncode == 2
    assert "could not be fetched from http://127.0.0.1:9/debian\n  fix: " in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["arm.lock"]


@shell
def test_a_device_refuses_what_it_cannot_be_or_do(tmp_path):
    shutil.copy(TOOLS / "arm" / "cpus", tmp_path)
    shutil.copy(TOOLS / "arm" / "run.sh", tmp_path / "run")
    for cpu in ("cortex-m4", "", "#", "neoverse-n", "."):
        said = run("sh", tmp_path / "run", cpu, "-c", "pass")
        assert said.returncode == 2
        assert f"no CPU is called '{cpu}'" in said.stderr
        assert "fix: use one of: cortex-a72 cortex-a76 neoverse-n1" in said.stderr
    (tmp_path / "plugin_absent").write_text("no C compiler was found when it was set up\n")
    said = run("sh", tmp_path / "run", "neoverse-n1", "--count", tmp_path / "counts", "-c", "pass")
    assert said.returncode == 2
    assert "cannot count instructions: no C compiler was found" in said.stderr


def test_host_and_device_speak_the_same_versions():
    host = dict(re.findall(r"^([\w.-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.M))
    pinned = dict(re.findall(r"^(\w+)==(\S+)", (TOOLS / "arm" / "requirements.txt").read_text(), re.M))
    host["onnxruntime"] = host["onnxruntime-gpu"]
    assert pinned == {name: host[name] for name in ("numpy", "onnxruntime", "openvino")}


# --- the finished device


@pytest.mark.slow
def test_a_set_up_is_complete_and_is_left_as_it_is(arm):
    folder = arm.folder
    said = json.loads((folder / "device.json").read_text())
    assert said["format"] == 1
    assert said["cpus"] == ["cortex-a72", "cortex-a76", "neoverse-n1"]
    assert said["python"].startswith("3.11.")
    assert said["qemu"].startswith("7.2.")
    assert said["plugin"] is not bool(said["plugin_absent"])
    assert not (folder / "left").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["arm", "arm.lock"]
    before = (folder / "device.json").stat()
    again = set_up(folder)
    assert again.returncode == 0
    assert "is set up already" in again.stderr
    assert (folder / "device.json").stat() == before


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76", "neoverse-n1"])
def test_the_guest_reads_the_processor_that_is_emulated(arm, cpu):
    program = (
        "midr = code([0xD5380000, 0xD65F03C0], ctypes.c_uint64)()\n"  # mrs x0, midr_el1; ret
        "import json, os, platform, re\n"
        "shown = open('/sys/devices/system/cpu/cpu0/regs/identification/midr_el1').read()\n"
        "text = open('/proc/cpuinfo').read()\n"
        "field = lambda name: int(re.search(name + r'\\s*: (\\w+)', text)[1], 0)\n"
        "told = field('CPU implementer') << 24 | field('CPU variant') << 20 | 0xf0000\n"
        "told |= field('CPU part') << 4 | field('CPU revision')\n"
        "print(json.dumps([platform.machine(), midr, int(shown, 16), told, 'asimddp' in text]))"
    )
    machine, midr, shown, told, dot = json.loads(arm.say(cpu, program))
    assert machine == "aarch64"
    assert midr == shown == told
    assert dot == (cpu != "cortex-a72")


@pytest.mark.slow
def test_environment_and_path_reach_the_guest(arm, tmp_path):
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / "mine.py").write_text("ANSWER = 42\n")
    program = "import mine, os, numpy; print(mine.ANSWER, os.environ['SAY'])"
    assert arm.say("cortex-a72", program, PYTHONPATH=str(tmp_path / "a,b"), SAY="x,y") == "42 x,y\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no processor affinity")
def test_openvino_runs_on_any_core(arm):
    program = (
        "import sys; sys.modules['openvino_telemetry'] = None\n"
        "import os, openvino; openvino.Core().get_property('CPU', 'FULL_DEVICE_NAME')\n"
        "print(*os.sched_getaffinity(0))"
    )
    for core in {min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))}:
        said = run("taskset", "-c", core, arm.folder / "run", "neoverse-n1", "-c", program)
        assert said.stdout == f"{core}\n", said.stderr


@pytest.mark.slow
def test_the_worker_starts_on_the_device(arm):
    arguments = ("-m", "qbench.run.worker", "--preload", "onnxruntime")
    assert set(json.loads(arm.run("neoverse-n1", *arguments, PYTHONPATH=str(CHECKOUT)))) == {"ready"}
