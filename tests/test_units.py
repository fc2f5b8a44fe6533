import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.errors import BadParameter
from qbench.units import duration, parse_duration, parse_size, span, text


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.00123, "s", "1.23 ms"),
        (999.96e-6, "s", "1.00 ms"),  # rounding carries into the next prefix
        (4.56e-7, "s", "456 ns"),
        (1.5, "s", "1.50 s"),
        (200, "s", "3 min 20 s"),
        (0, "s", "0 s"),
        (11_400_000, "B", "11.4 MB"),
        (512, "B", "512 B"),
        (1_000, "B", "1.00 kB"),
        (3.2e15, "B", "3,200 TB"),
        (0.0123, "J", "12.3 mJ"),
        (0.0031, "points", "+0.31 pp"),
        (-0.0031, "points", "−0.31 pp"),
        (-0.00001, "points", "0.00 pp"),  # no sign on what rounds to nothing
        (0.0395, "width", "3.95 pp"),
        (0.934, "share", "93.4 %"),
        (2.5, "ratio", "2.50×"),
        (0.26, "ratio", "0.260×"),
        (1234.0, "1", "1,234"),
        (2345.6, "1/s", "2,350/s"),
        (87.65, "1/s", "87.7/s"),
        (5.29e-23, "1", "5.29e-23"),
        (30.04, "dB", "30.0 dB"),
        (-0.5, "dB", "−0.500 dB"),
    ],
)
def test_a_value_reads_as_worked_by_hand(value, unit, words):
    assert text(value, unit) == words


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_text_is_made_of_a_number_that_is_none(value):
    with pytest.raises(ValueError, match="reason why it is absent"):
        text(value, "s")


@given(st.floats(1e-9, 100), st.floats(1e-9, 100))
def test_text_never_turns_an_order_around(first, second):
    low, high = sorted((first, second))
    assert parse_time(text(low, "s")) <= parse_time(text(high, "s"))


@given(st.floats(1e-7, 100))
def test_three_digits_are_never_off_by_more_than_half_a_per_cent(seconds):
    assert parse_time(text(seconds, "s")) == pytest.approx(seconds, rel=0.00501)


def parse_time(words):
    number, unit = words.split(" ")
    return float(number) * {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1}[unit]


def test_an_interval_names_a_shared_unit_once():
    assert span(0.0012, 0.0014, "s") == "1.20–1.40 ms"
    assert span(0.0009, 0.0014, "s") == "900 µs–1.40 ms"
    assert span(1.9, 3.1, "ratio") == "1.90–3.10×"
    assert span(-0.003, 0.01, "points") == "−0.30 to +1.00 pp"


def test_durations_add_up():
    assert duration(3_599.6) == "1 h 00 min"
    assert duration(7_500) == "2 h 05 min"


@pytest.mark.parametrize(
    ("words", "seconds"), [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("1.5 h", 5400), ("250ms", 0.25)]
)
def test_a_duration_is_read(words, seconds):
    assert parse_duration(words) == seconds


@pytest.mark.parametrize(
    ("words", "size"), [("4GiB", 4 * 2**30), ("500 MB", 500_000_000), ("64kib", 65_536), ("7B", 7)]
)
def test_a_size_is_read(words, size):
    assert parse_size(words) == size


@pytest.mark.parametrize("words", ["", "20", "m", "-5m", "20m!", "5 parsecs", "0s", "1e3s", "20 m and"])
def test_what_is_no_duration_is_answered_with_one_that_is(words):
    with pytest.raises(BadParameter, match=r"--budget is .*\n.*20m"):
        parse_duration(words, "--budget")
