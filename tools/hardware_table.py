"""Write the tables of docs/hardware.md anew from hardware_profiles/.

python tools/hardware_table.py
"""

from pathlib import Path

from qbench.hardware import Fact, HardwareProfile, load_profiles

PAGE = Path(__file__).parents[1] / "docs" / "hardware.md"
BEGIN, END = "<!-- profiles: begin -->\n", "<!-- profiles: end -->"


def profile_row(profile: HardwareProfile) -> str:
    """Return one profile as a line of the first table."""
    cells = (
        f"`{profile.name}`",
        profile.title,
        ", ".join(profile.backends),
        ", ".join(profile.kernels) or "not told",
    )
    return f"| {' | '.join(cells)} |"


def figure_row(profile: HardwareProfile, fact: Fact) -> str:
    """Return one figure as a line of the second table."""
    which = fact.device.replace("|", "\\|")
    source = f"<{fact.source}>" if fact.source.startswith("https://") else fact.source
    cells = (
        f"`{profile.name}`", f"`{which}`" if which else "all", fact.what, fact.of or "-",
        f"{fact.value:g} {fact.unit}", fact.kind, source,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def with_table(page: str) -> str:
    """Return the page with both tables in their place."""
    every = load_profiles("all")
    lines = ["| name | what it is | engines | multiplies in |", "|---|---|---|---|"]
    lines += [profile_row(profile) for profile in every]
    lines += [
        "",
        "| profile | of which | figure | of | value | kind | source |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [figure_row(profile, fact) for profile in every for fact in profile.fact]
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n".join(lines) + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
