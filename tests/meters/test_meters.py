"""Every meter on a stand-in of what it reads: a folder, a library, a command, a board."""

import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from qbench.errors import NotAvailable
from qbench.meters import external, nvml, zeus
from qbench.meters.base import METERS, TRUST, best_meter, why_unavailable
from qbench.meters.external import External
from qbench.meters.nvml import NvmlEnergy, NvmlPower
from qbench.meters.rapl import Rapl
from qbench.meters.zeus import Zeus


def until_it_fails(meter):
    """Read a meter until it says why it cannot be read any more."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        meter.read()
        time.sleep(0.01)


@pytest.mark.parametrize("name", list(METERS))
def test_every_meter_says_what_it_is_and_has_a_reason_where_it_is_absent(name, monkeypatch):
    monkeypatch.delenv(external.VARIABLE, raising=False)
    meter = METERS[name]
    assert meter.about
    assert meter.provenance in TRUST
    for device in ("cpu", "cuda"):
        reason = meter.absent(device)
        assert reason is None or (len(reason) > 5 and "\n" not in reason)


# --- the processor's counters -------------------------------------------------------------------------


def counters(root, *microjoules, span=1_000_000):
    for i, value in enumerate(microjoules):
        folder = root / f"intel-rapl:{i}"
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(f"package-{i}\n")
        (folder / "energy_uj").write_text(f"{value}\n")
        (folder / "max_energy_range_uj").write_text(f"{span}\n")
    core = root / "intel-rapl:0:0"
    core.mkdir(exist_ok=True)
    (core / "name").write_text("core\n")
    (core / "energy_uj").write_text("5\n")


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(Rapl, "root", tmp_path)
    counters(tmp_path, 100, 999_000)
    return tmp_path


def test_packages_are_added_up_and_each_wraps_for_itself(sockets):
    meter = Rapl.open("cpu")
    assert meter.read()[1] == 0.0
    counters(sockets, 400, 1_000)  # the second began anew: 999,000 to 1,000,000 and on to 1,000
    assert meter.read()[1] == pytest.approx((300 + 2_000) * 1e-6)
    counters(sockets, 500, 1_500)
    assert meter.read()[1] == pytest.approx((300 + 2_000 + 600) * 1e-6)
    assert meter.domain == "package"


def test_a_package_that_is_shown_twice_counts_once(sockets):
    """Client processors have a second door to the same counter: intel-rapl-mmio:0."""
    twin = sockets / "intel-rapl-mmio:0"
    twin.mkdir()
    for name in ("name", "energy_uj", "max_energy_range_uj"):
        (twin / name).write_text((sockets / "intel-rapl:0" / name).read_text())
    meter = Rapl.open("cpu")
    counters(sockets, 400, 999_000)
    (twin / "energy_uj").write_text("400\n")
    assert meter.read()[1] == pytest.approx(300e-6)


def test_a_counter_that_goes_back_without_having_wrapped_is_broken(sockets):
    meter = Rapl.open("cpu")
    counters(sockets, 400, 999_100)
    meter.read()
    counters(sockets, 300, 999_100)
    with pytest.raises(NotAvailable, match="went back from 400 to 300"):
        meter.read()


def test_a_counter_that_goes_away_is_told(sockets):
    meter = Rapl.open("cpu")
    (sockets / "intel-rapl:1" / "energy_uj").unlink()
    with pytest.raises(NotAvailable, match="can no longer be read"):
        meter.read()
    assert "energy_uj" in Rapl.absent("cpu")


def test_no_counter_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Rapl, "root", tmp_path / "nothing")
    assert "nothing under" in Rapl.absent("cpu")
    with pytest.raises(NotAvailable, match="no energy counter"):
        Rapl.open("cpu")
    assert Rapl.absent("cuda") == "it measures processors"


# --- a command ----------------------------------------------------------------------------------------

METER = """
import sys, time
power, lines, then = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for i in range(lines):
    print(f"{i * 0.01:.2f} {power}", flush=True)
    time.sleep(0.01)
print(then, flush=True)
if then == "wait":
    time.sleep(60)
"""


def command(tmp_path, monkeypatch, power=5.0, lines=1000, then="wait"):
    script = tmp_path / "meter.py"
    script.write_text(METER)
    monkeypatch.setattr(external, "CLOCK_S", 5.0)  # it counts lines and no time: a busy machine makes it late
    words = [sys.executable, str(script), str(power), str(lines), then]
    monkeypatch.setenv(external.VARIABLE, shlex.join(words))


def test_a_commands_watts_become_joules(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, power=5.0)
    assert External.absent("cpu") is None
    meter = External.open("cpu")
    try:
        assert meter.period_s == pytest.approx(0.01)
        first = meter.read()
        deadline = time.monotonic() + 20
        while meter.read()[1] < first[1] + 0.5 and time.monotonic() < deadline:
            time.sleep(0.01)
        lines = (meter.read()[1] - 0.0) / (5.0 * 0.01)
        assert lines == pytest.approx(round(lines), abs=1e-6)  # so many steps of ten milliseconds at 5 W
        assert meter.read()[1] >= first[1] + 0.5
        assert meter.domain == "wall"
    finally:
        meter.close()


@pytest.mark.parametrize(
    ("then", "words"), [("bye now", "'bye"), ("1.0 -3", "-3.0 watts"), ("0.0 5", "its time went from")]
)
def test_a_command_that_prints_something_else_is_told(tmp_path, monkeypatch, then, words):
    command(tmp_path, monkeypatch, lines=20, then=then)
    meter = External.open("cpu")
    try:
        with pytest.raises(NotAvailable, match=words):
            until_it_fails(meter)
    finally:
        meter.close()


@pytest.mark.parametrize("pace", [1.5, 0.5, 1000.0])
def test_a_command_whose_seconds_are_no_seconds_is_told(tmp_path, monkeypatch, pace):
    """A clock that runs half as fast again would give half as many watts more; milliseconds, 1,000 times."""
    script = tmp_path / "meter.py"
    script.write_text(
        "import sys, time\nstart = time.monotonic()\nwhile True:\n"
        f"    print((time.monotonic() - start) * {pace}, 10.0, flush=True)\n    time.sleep(0.01)\n"
    )
    monkeypatch.setenv(external.VARIABLE, shlex.join([sys.executable, str(script)]))
    meter = External.open("cpu")
    try:
        with pytest.raises(NotAvailable, match=r"counted .* s while .* s went by here"):
            until_it_fails(meter)
    finally:
        meter.close()


def test_a_command_that_ends_is_told(tmp_path, monkeypatch):
    command(tmp_path, monkeypatch, lines=50, then="end")
    script = tmp_path / "meter.py"
    script.write_text(METER.replace("print(then, flush=True)", "sys.exit(3)"))
    meter = External.open("cpu")
    with pytest.raises(NotAvailable, match="it ended"):
        until_it_fails(meter)
    meter.close()


@pytest.mark.parametrize("named", ["no-such-program-at-all", "printf hello", "'", "true"])
def test_a_command_that_is_no_meter_is_told_with_what_it_must_do(monkeypatch, named):
    monkeypatch.setenv(external.VARIABLE, named)
    with pytest.raises(NotAvailable) as told:
        External.open("cpu")
    assert "it must print lines of seconds and watts" in told.value.fix


# --- a driver -----------------------------------------------------------------------------------------


class Driver:
    """Stands for the driver's library: 250 W, and a counter where there is one."""

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, *, counter=True, power=True):
        self.counter, self.power, self.start = counter, power, time.monotonic()

    def nvmlInit(self):  # noqa: N802
        pass

    names = ("H100", "H100")

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        return uuid

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802, ARG002
        if not self.counter:
            raise self.NVMLError("Not Supported")
        return 1000 * 250 * (time.monotonic() - self.start)

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802, ARG002
        if not self.power:
            raise self.NVMLError("GPU is lost")
        return 250_000


def test_the_drivers_counter_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(nvml, "_library", Driver)
    meter = NvmlEnergy.open("cuda:1")
    assert isinstance(meter, NvmlEnergy)
    assert meter.provenance == "hardware counter"
    (t0, j0), (t1, j1) = meter.read(), (time.sleep(0.05), meter.read())[1]
    assert (j1 - j0) / (t1 - t0) == pytest.approx(250, rel=0.05)


def test_an_older_devices_power_is_sampled_and_says_so(monkeypatch):
    driver = Driver(counter=False)
    monkeypatch.setattr(nvml, "_library", lambda: driver)
    meter = NvmlEnergy.open("cuda")
    assert isinstance(meter, NvmlPower)
    assert meter.provenance == "sampled power"
    deadline = time.monotonic() + 20
    while meter.read()[1] < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert meter.read()[1] >= 25
    driver.power = False
    with pytest.raises(NotAvailable, match="GPU is lost"):
        until_it_fails(meter)
    meter.close()


def test_a_device_that_tells_nothing_is_told(monkeypatch):
    monkeypatch.setattr(nvml, "_library", lambda: Driver(counter=False, power=False))
    with pytest.raises(NotAvailable, match="does not tell the power"):
        NvmlEnergy.open("cuda")


# --- a board ------------------------------------------------------------------------------------------


def board(**fields):
    return SimpleNamespace(get_total_energy_consumption=lambda: SimpleNamespace(**fields))


@pytest.mark.parametrize(
    ("seen", "device", "board_of"),
    [("", "cuda", 0), ("", "cuda:1", 1), ("1", "cuda", 1), ("GPU-7f", "cuda", "GPU-7f")],
)
def test_the_board_is_the_one_that_cuda_sees(monkeypatch, seen, device, board_of):
    """The driver counts all boards; CUDA those that CUDA_VISIBLE_DEVICES leaves."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert NvmlEnergy(Driver(), device)._device == board_of


def test_boards_of_several_kinds_are_told_apart_in_the_order_of_the_bus_only(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    driver = Driver()
    driver.names = ("T4", "H100")
    with pytest.raises(NotAvailable, match="2 boards of several kinds"):
        NvmlEnergy(driver, "cuda")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert NvmlEnergy(driver, "cuda")._device == 0


def test_a_jetson_tells_its_total_and_apple_silicon_its_parts():
    jetson = Zeus(board(cpu_energy_mj=1.0, gpu_energy_mj=2.0, total_energy_mj=5_000.0))
    assert (jetson.domain, jetson.read()[1]) == ("board", 5.0)
    apple = Zeus(board(cpu_total_mj=1_000, dram_mj=500, gpu_mj=None, ane_mj=0, gpu_sram_mj=9))
    assert (apple.domain, apple.read()[1]) == ("package", 1.5)
    assert (jetson.provenance, apple.provenance) == ("rail meter", "hardware counter")


def test_a_board_that_tells_no_total_is_no_meter():
    with pytest.raises(NotAvailable, match="tells no total energy"):
        Zeus(board(cpu_energy_mj=1.0, total_energy_mj=None))


def test_a_board_without_zeus_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(zeus, "JETSON", tmp_path)
    monkeypatch.setattr(zeus, "find_spec", lambda name: None)
    assert "pip install zeus-ml" in Zeus.absent("cpu")


# --- which of them ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sockets")
def test_the_most_trustworthy_that_is_here_is_taken(monkeypatch):
    monkeypatch.delenv(external.VARIABLE, raising=False)
    assert best_meter("cpu") is Rapl
    monkeypatch.setenv(external.VARIABLE, "anything")
    assert best_meter("cpu") is External  # a wall meter sees the whole machine
    assert best_meter("cuda") is External


def test_without_any_every_reason_is_given(monkeypatch, tmp_path):
    monkeypatch.delenv(external.VARIABLE, raising=False)
    monkeypatch.setattr(Rapl, "root", Path(tmp_path))
    reason = why_unavailable("cpu")
    assert reason.startswith("unavailable: ")
    for name in METERS:
        assert f"{name}: " in reason
