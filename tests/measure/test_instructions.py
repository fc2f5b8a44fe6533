"""Counting between marks: by hand-written lines, as the emulator's plugin writes them."""

import gc
import json

import pytest

from qbench.measure.instructions import (
    BEGINS,
    CALLED,
    CALLS,
    FLOAT_MACS,
    INTEGER_MACS,
    KINDS,
    MARK,
    WARMUP,
    count_calls,
)
from qbench.metrics import CATALOGUE

WORDS = (*KINDS, *INTEGER_MACS, *FLOAT_MACS)


class Emulator:
    """Counts what is executed by kind, and writes it at a mark, as the plugin does."""

    def __init__(self, file, **counts):
        self.file, self.per_call, self.since, self.calls = file, counts, dict.fromkeys(WORDS, 0), 0

    def call(self):
        self.calls += 1
        for word, count in self.per_call.items():
            self.since[word] += count * self.calls  # every call executes more than the one before

    def mark(self, tag):
        with self.file.open("a") as file:
            file.write(json.dumps({"tag": tag, "pid": 1, "threads": 1, **self.since}) + "\n")
        self.since = dict.fromkeys(WORDS, 0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "counts.jsonl"


def test_every_call_is_counted_for_itself_and_the_warm_up_is_not(file):
    emulator = Emulator(file, instructions=100, dot=3, macs_int8=48)
    counted = count_calls(emulator.call, file, emulator.mark)
    assert emulator.calls == WARMUP + CALLS == 5
    assert counted.of("instructions") == (300, 400, 500)
    assert counted.of("dot") == (9, 12, 15)
    assert (counted.integer_macs, counted.float_macs, counted.threads) == (240, 0, 1)


def test_what_was_marked_before_is_passed_over(file):
    emulator = Emulator(file, instructions=1)
    emulator.since["instructions"] = 999
    emulator.mark(7)
    assert count_calls(emulator.call, file, emulator.mark).of("instructions") == (3, 4, 5)


def test_bytes_and_shorts_are_integers_and_halves_and_singles_are_floats(file):
    emulator = Emulator(file, macs_int8=1, macs_int16=10, macs_fp32=100, macs_fp16=1000)
    counted = count_calls(emulator.call, file, emulator.mark)
    assert (counted.integer_macs, counted.float_macs) == (55, 5500)


def test_the_garbage_collector_does_not_run_between_the_marks_and_does_afterwards(file):
    emulator, seen = Emulator(file), []
    count_calls(lambda: seen.append(gc.isenabled()), file, emulator.mark)
    assert seen == [True, True, False, False, False]
    assert gc.isenabled()


def test_the_garbage_collector_is_back_after_a_call_that_broke(file):
    calls = iter((None, None, None))
    with pytest.raises(StopIteration):
        count_calls(lambda: next(calls), file, Emulator(file).mark)
    assert gc.isenabled()


def test_without_an_emulator_nothing_is_counted(file):
    with pytest.raises(ValueError, match=r"no counts in counts\.jsonl: FileNotFoundError"):
        count_calls(lambda: None, file)  # the real mark, which does nothing here


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "ValueError"),
        ('{"tag": 16}\n', "holds the marks \\[16\\]"),
        ('{"tag": 16}\n{"tag": 17}\n', "KeyError"),
        ('{"tag": 16}\n{"tag": 17, "ins', "JSONDecodeError"),
        ('{"insns": 1}\n', "KeyError"),
        ("[1]\n", "TypeError"),
    ],
)
def test_torn_counts_are_none(file, lines, words):
    file.write_text(lines)
    with pytest.raises(ValueError, match=words):
        count_calls(lambda: None, file, lambda tag: None)


def test_a_mark_that_is_missing_is_seen(file):
    """Two calls under one mark would pass for one expensive call."""
    emulator = Emulator(file, instructions=1)
    marks = []

    def mark(tag):
        marks.append(tag)
        if len(marks) != 3:
            emulator.mark(tag)

    with pytest.raises(ValueError, match="not those of 3 calls"):
        count_calls(emulator.call, file, mark)


def test_a_mark_is_no_process_of_this_system_and_its_tag_is_one_byte():
    assert MARK > 1 << 22
    assert MARK & 0xFF == 0
    assert {BEGINS, CALLED} < set(range(256))


def test_every_kind_is_a_metric_that_is_no_time():
    assert all(
        CATALOGUE[metric].unit == "1" and not CATALOGUE[metric].needs_native for metric in KINDS.values()
    )
