"""Hardware profiles are data: what a device is called, and which engines it offers. Read from TOML."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.errors import UnknownName
from qbench.registry import did_you_mean
from qbench.toml_file import find_file, names_of, read_toml


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """One device that a plan may use."""

    name: str
    title: str
    device: str  # the word that backends know it by
    backends: list[str]


def load_profiles(wanted: str) -> list[HardwareProfile]:
    """Return the profiles for `--hw all` or `--hw cpu,cuda`.

    Raises:
        UnknownName: no profile of that name.
        BadSuite: a profile cannot be read.
    """
    known = names_of("hardware_profiles")
    names = list(known) if wanted == "all" else [name.strip() for name in wanted.split(",") if name.strip()]
    if not names:
        raise UnknownName(f"--hw {wanted!r} names no device", fix=did_you_mean("all", ["all", *known]))
    return [read_toml(find_file("hardware_profiles", name), HardwareProfile) for name in names]
