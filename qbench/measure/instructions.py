"""Instructions of one call, counted by the emulator that runs this process, and by kind.

The emulator's plugin (tools/arm/icount.c) writes one JSON line for every mark: what was executed since the
mark before. A mark is the system call getpgid with a number that no process has, so that it does nothing
else; the thousand instructions that Python takes to make it are counted with the region that it ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = 0x5AA50000  # beyond any process number that Linux gives (at most 1 << 22); the low byte is a tag
BEGINS, CALLED = 0x10, 0x11  # tags: what came before the calls, and the end of every call
WARMUP = 2  # the first call allocates, and the second is the first that does not
CALLS = 3

# The plugin's word for a kind, and the metric that it becomes.
KINDS = {
    "instructions": "instructions",
    "load_store": "instructions_load_store",
    "simd_fp": "instructions_simd",
    "fma_vector": "instructions_fmla",
    "dot": "instructions_dot",
    "mmla": "instructions_mmla",
    "widening": "instructions_widening",
}
# The plugin also counts multiply-accumulates: the lanes of every vector instruction that does some, by type.
INTEGER_MACS, FLOAT_MACS = ("macs_int8", "macs_int16"), ("macs_fp32", "macs_fp16")


@dataclass(frozen=True, slots=True)
class Counted:
    """What the calls executed: one number a call for every word of the plugin."""

    calls: tuple[dict[str, int], ...]  # never empty

    def of(self, word: str) -> tuple[int, ...]:
        """Return one kind's count of every call."""
        return tuple(call[word] for call in self.calls)

    @property
    def threads(self) -> int:
        """Return the most threads that were alive in a call: above one, additions may have been lost."""
        return max(self.of("threads"))

    @property
    def integer_macs(self) -> int:
        """Return the multiply-accumulates of 8- and 16-bit integers in vector lanes, of the last call."""
        return sum(self.calls[-1][word] for word in INTEGER_MACS)

    @property
    def float_macs(self) -> int:
        """Return the fused multiply-adds of 32- and 16-bit floats in vector lanes, of the last call."""
        return sum(self.calls[-1][word] for word in FLOAT_MACS)


def count_calls(
    call: Callable[[], object], file: Path, mark: Callable[[int], object] | None = None
) -> Counted:
    """Call it twice to warm up, then three times, each between two marks; read what the emulator wrote.

    Raises:
        ValueError: the file holds no counts of these marks: no emulator with this plugin runs this process.
    """
    mark = mark or _marker()
    for _ in range(WARMUP):
        call()
    gc.collect()
    gc.disable()  # when it runs depends on what was allocated long before
    try:
        mark(BEGINS)
        for _ in range(CALLS):
            call()
            mark(CALLED)
    finally:
        gc.enable()
    return _read(file)


def _marker() -> Callable[[int], object]:
    """Return the function that marks; os.getpgid would raise, and take seven times as many instructions."""
    getpgid = ctypes.CDLL(None).getpgid  # looked up once: that takes a hundred times as many
    return lambda tag: getpgid(MARK | tag)


def _read(file: Path) -> Counted:
    """Return what stands between the marks; a forked child writes into the file of its server.

    Raises:
        ValueError: no such file, torn, or without the marks.
    """
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        tags = [line["tag"] for line in lines]
        first = tags.index(BEGINS) + 1
        calls = lines[first : first + CALLS]
        words = (*KINDS, *INTEGER_MACS, *FLOAT_MACS, "threads")
        counted = tuple({word: int(call[word]) for word in words} for call in calls)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no counts in {file.name}: {error!r}") from error
    if [call["tag"] for call in calls] != [CALLED] * CALLS:
        raise ValueError(f"{file.name} holds the marks {tags}, not those of {CALLS} calls")
    return Counted(counted)
