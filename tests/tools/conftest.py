"""One emulated ARM device for all tests here, and how a program runs on it."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
MARK = """
import os
def mark(tag):
    try: os.getpgid(0x5aa50000 + tag)
    except ProcessLookupError: pass
"""
# A function of 100 times `fmla v0.4s, v1.4s, v2.4s` (0x4e22cc20) and `ret`, without a compiler.
FMLA = """
import ctypes, mmap
def code(words, gives=None):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"".join(word.to_bytes(4, "little") for word in words))
    keep.append(page)
    return ctypes.CFUNCTYPE(gives)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
keep = []
fmla = code([0x4E22CC20] * 100 + [0xD65F03C0])
"""


@dataclass(frozen=True, slots=True)
class Device:
    """A finished set-up, and how long it took."""

    folder: Path
    took_s: float

    def run(self, cpu, *arguments, **environment):
        """Run the device's python; return what it printed."""
        said = subprocess.run(
            [str(word) for word in (self.folder / "run", cpu, *arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )
        assert said.returncode == 0, said.stderr
        return said.stdout

    def say(self, cpu, program, **environment):
        """Run a program that may use code(), fmla() and mark()."""
        return self.run(cpu, "-c", MARK + FMLA + program, **environment)

    def count(self, cpu, program, folder):
        """Run it with instructions counted; return a region's counts for each mark."""
        self.run(cpu, "--count", folder / "counts", "-c", MARK + FMLA + program)
        return [json.loads(line) for line in (folder / "counts").read_text().splitlines()]


@pytest.fixture(scope="session")
def arm(tmp_path_factory, record_testsuite_property):
    """A device set up over what a set-up that was stopped left."""
    if not shutil.which("apt-get") or os.uname()[::4] != ("Linux", "x86_64"):
        pytest.skip("the emulated device is set up on x86-64 Linux with apt-get")
    folder = tmp_path_factory.mktemp("devices") / "arm"
    for left in (folder, folder.with_name("arm.partial-abc")):
        left.mkdir()
        (left / "qbench-arm").touch()
        (left / "left").touch()
    start = time.perf_counter()
    said = subprocess.run(["sh", CHECKOUT / "tools" / "setup_arm.sh", folder], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    took_s = time.perf_counter() - start
    record_testsuite_property("setup_arm_s", round(took_s, 1))
    return Device(folder, took_s)
