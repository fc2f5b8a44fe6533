import json
import subprocess
import sys
from pathlib import Path

import pytest

from qbench.measure import memory
from qbench.measure.memory import peak_bytes, reset_peak, resident_bytes

CODE = """
import json
from qbench.measure.memory import peak_bytes, reset_peak, resident_bytes
before = resident_bytes()
block = bytearray(b"x") * 200_000_000
while_held = resident_bytes()
del block
peak, after = peak_bytes(), resident_bytes()
counted = reset_peak()
print(json.dumps([before, while_held, peak, after, counted, peak_bytes()]))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="this kernel has no resettable peak counter"
)
def test_a_known_allocation_is_seen_kept_as_the_peak_and_forgotten_on_reset():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, held, peak, after, counted, reset = json.loads(done.stdout)
    assert held - before >= 199_000_000
    assert peak - before >= 199_000_000
    assert peak - before < 260_000_000
    assert after - before < 50_000_000
    assert counted
    assert reset < peak - 150_000_000


def test_a_kernel_without_counters_is_told_from_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "nothing")
    monkeypatch.setattr(memory, "RESET", tmp_path / "no folder" / "nothing")
    assert peak_bytes() is None
    assert resident_bytes() is None
    assert not reset_peak()


def test_a_status_without_the_field_is_told_from_zero(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t    12 kB\n")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert resident_bytes() == 12 * 1024
    assert peak_bytes() is None
