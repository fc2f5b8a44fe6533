"""Trained networks of public packages: what qbench recommends, beside onnxruntime's and nncf's own.

    python benchmarks/foreign.py [--out FOLDER] [--rounds N] [NETWORK ...]

Writes `foreign.md` and `foreign.json` into the folder and prints the table. Latencies are ratios to the float
file on onnxruntime, taken inside interleaved rounds of one process; run it on a quiet machine. Other options
of `qbench try` may follow after `--`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "foreign")]

HEAD = ("network", "by", "technique", "engine", "quality", "size", "latency over float's", "verdict")


def rows_of(found: Any) -> list[dict[str, Any]]:
    """Return the rows of one network: ours first, then the others', then what could not be made."""
    from compared import dominates

    def row(one: Any, by: str) -> dict[str, Any]:
        return {
            "network": found.name, "by": by, "technique": one.product.name.removeprefix("qbench: "),
            "engine": one.product.engine, "quality": one.quality, "size_bytes": one.size_bytes,
            "latency_ratio": one.typical, "latency_ratios": one.slowness,
        }  # fmt: skip

    rows = [] if found.ours is None else [row(found.ours, "qbench")]
    for other in found.others:
        said = "" if found.ours is None else "dominates ours" if dominates(other, found.ours) else ""
        said = "dominated by ours" if found.ours is not None and dominates(found.ours, other) else said
        rows.append(row(other, "by hand") | {"verdict": said})
    return rows + [
        {"network": found.name, "by": "by hand", "technique": name, "failed": why}
        for name, why in found.refused.items()
    ]  # noqa: E501


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    from qbench.units import text

    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for row in rows:
        if "failed" in row:
            cells = [row["network"], row["by"], row["technique"], "", "", "", "", f"fails: {row['failed']}"]
        else:
            cells = [
                row["network"], row["by"], row["technique"], row["engine"], f"{row['quality']:.3f}",
                text(row["size_bytes"], "B"), f"{row['latency_ratio']:.2f}", row.get("verdict", ""),
            ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare the networks that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", help="some of the networks only")
    parser.add_argument("--out", type=Path, default=Path("reports/foreign"))
    parser.add_argument("--rounds", type=int, default=9)
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    chosen = parser.parse_args(own)
    from compared import LAWS, compare
    from packages import Missing

    chosen.out.mkdir(parents=True, exist_ok=True)
    inputs, rows = (chosen.out / "inputs").resolve(), []
    os.environ.setdefault("QBENCH_CACHE", str((chosen.out / "cache").resolve()))
    for name in chosen.networks or LAWS:
        working = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=chosen.out)).resolve()
        try:
            found = compare(name, working, inputs=inputs, rounds=chosen.rounds, more=more)
        except Missing as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        (working / "told.txt").write_text(found.run.told)
        rows += rows_of(found)
        print(table([row for row in rows if row["network"] == name]), flush=True)
        (chosen.out / "foreign.json").write_text(json.dumps(rows, indent=1))
        (chosen.out / "foreign.md").write_text(table(rows))


if __name__ == "__main__":
    main()
