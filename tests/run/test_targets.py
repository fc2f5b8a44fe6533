"""What can be reached from here, and in which order."""

from qbench.hardware import HardwareProfile, Standing
from qbench.run import targets
from qbench.run.targets import reach


def test_emulated_devices_come_last_and_others_stay_in_their_order(monkeypatch):
    monkeypatch.setattr(targets, "standing", lambda profile, here: Standing("here", "told so"))
    wanted = [
        HardwareProfile(name, name, "cpu", [], emulated=emulated)
        for name, emulated in (("a", True), ("z", False), ("b", False), ("c", True))
    ]
    assert [target.hardware.name for target in reach(wanted, []).targets] == ["z", "b", "a", "c"]
