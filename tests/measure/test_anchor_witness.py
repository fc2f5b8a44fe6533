import os

import numpy as np
import pytest

from qbench.cases import COPY, SGEMM
from qbench.measure import anchor
from qbench.measure.anchor import anchor_call
from qbench.measure.witness import Witness
from qbench.metrics import CATALOGUE
from qbench.report import limits


def test_the_anchor_computes_the_same_every_time():
    first, again = anchor_call(SGEMM), anchor_call(SGEMM)
    wanted = first().copy()
    np.testing.assert_array_equal(first(), wanted)
    np.testing.assert_array_equal(again(), wanted)
    assert np.isfinite(wanted).all()
    assert wanted.any()


def test_the_copying_kernel_copies_as_much_as_the_report_divides_by(monkeypatch):
    """On a small scale: what is read and what is written, added up over the threads."""
    assert limits.COPIED_BYTES == 2 * anchor.COPIED_BYTES
    copied = []
    monkeypatch.setattr(np, "copyto", lambda target, source: copied.append((target.nbytes, source.nbytes)))
    monkeypatch.setattr(anchor, "COPIED_BYTES", 1 << 20)
    anchor_call(COPY)()
    read, written = (sum(sizes) for sizes in zip(*copied, strict=True))
    assert read == written == pytest.approx(1 << 20, rel=0.01)


def test_a_witness_tells_what_happened_since():
    found = Witness(12, 3.5).since(Witness(10, 3.0))
    numbers = {m.metric: m.samples[0] for m in found}
    assert numbers["involuntary_switches"] == 2
    assert numbers["steal"] == 0.5
    assert set(numbers) <= set(CATALOGUE)


def test_a_kernel_that_does_not_count_steal_says_nothing_of_it():
    assert "steal" not in {m.metric for m in Witness(1, None).since(Witness(0, None))}


def test_counters_that_go_back_say_nothing():
    told = {m.metric for m in Witness(1, 1.0).since(Witness(2, 2.0))}
    assert told == {"load_average"}


def test_how_long_threads_waited_for_a_processor(tmp_path):
    """Two threads that waited 1.5 s and 0.5 s; of the third line nothing is known."""
    files = {
        "proc/self/task/7/schedstat": "900 1500000000 3\n",
        "proc/self/task/8/schedstat": "900 500000000 3\n",
        "proc/self/task/9/schedstat": "",
    }
    then = system(tmp_path, files)
    assert then.waited_s == 2.0
    now = system(tmp_path, {"proc/self/task/8/schedstat": "900 1250000000 3\n"})
    numbers = {m.metric: m.samples[0] for m in now.since(then)}
    assert numbers["processor_wait"] == pytest.approx(0.75)
    assert 0 <= numbers["watched"] < 1
    assert set(numbers) <= set(CATALOGUE)
    assert system(tmp_path / "elsewhere", {}).waited_s is None


def system(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Witness.now(root)


def test_sensors_are_read_where_the_system_has_them(tmp_path):
    found = system(
        tmp_path,
        {
            "proc/stat": "cpu  1 2 3 4 5 6 7 800 0 0\ncpu0 ...\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
            "sys/class/thermal/thermal_zone0/type": "acpitz\n",
            "sys/class/thermal/thermal_zone0/temp": "99000\n",
            "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone1/temp": "61500\n",
        },
    )
    assert found.steal_s == 800 / os.sysconf("SC_CLK_TCK")
    assert found.frequency_hz == 2.5e9
    assert found.temperature_c == 61.5
    told = {m.metric: m.samples for m in found.since(found)}
    assert told["cpu_frequency"] == (2.5e9, 2.5e9)
    assert told["temperature"] == (61.5, 61.5)


def test_amds_sensor_is_no_thermal_zone(tmp_path):
    files = {"name": "k10temp\n", "temp1_input": "48250\n", "temp3_input": "51000\n"}
    found = system(tmp_path, {f"sys/class/hwmon/hwmon2/{name}": text for name, text in files.items()})
    assert found.temperature_c == 51.0
    other = {"sys/class/hwmon/hwmon0/name": "nvme\n", "sys/class/hwmon/hwmon0/temp1_input": "70000\n"}
    assert system(tmp_path, other).temperature_c == 51.0


def test_without_a_governor_the_processors_list_tells_the_frequency(tmp_path):
    assert system(tmp_path, {"proc/cpuinfo": "cpu MHz\t\t: 2596.130\n"}).frequency_hz == 2596.13e6


def test_a_system_that_tells_nothing_has_no_sensor(tmp_path):
    found = Witness.now(tmp_path)
    assert (found.steal_s, found.frequency_hz, found.temperature_c) == (None, None, None)
    assert {m.metric for m in found.since(found)} == {"load_average", "involuntary_switches", "watched"}
