"""Where the loss comes from: the layers that cost most first, or why it could not be told."""

import io

import pytest
from example_run import TEST, Builder, case
from rich.console import Console

from qbench.cases import Explained
from qbench.records import Evidence, Failed
from qbench.report.explained import SHOWN, explained_tables
from qbench.report.writers import print_table


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path)


SUBJECT = Explained("static int8", case("static int8").deployment.artifact, TEST)


N = 100
RIGHT = (1,) * 60 + (0,) * 40  # the quantized network, on 100 selection examples


def flipped(won, lost):
    """Return which of the examples are right where so many became right, and so many wrong."""
    return (0,) * lost + (1,) * (60 - lost) + (1,) * won + (0,) * (40 - won)


def told(builder, names, snr, flips, judge="labels"):
    """Return the table of layers, each with its examples won and lost."""
    extra = {"evidence": (Evidence("layers", "\n".join(names)), Evidence("judged by", judge))}
    parts = tuple(bit for won, lost in flips for bit in flipped(won, lost))
    found = {"layer_snr": snr, "selection_correct": RIGHT, "layer_correct": parts}
    builder.measured("explain", SUBJECT, **found, extra=extra)
    (table,) = explained_tables(builder.run())
    return table


def test_the_layer_that_costs_most_stands_first(builder):
    table = told(builder, ["a.weight", "b.weight", "c.weight"], (30.0, 5.5, 20.0), [(0, 0), (7, 3), (1, 2)])
    rows = [[entry.text for entry in row[:6]] for row in table.rows]
    assert rows == [
        ["b.weight", "2 of 3", "5.50 dB", "+4.00 pp", "7", "3"],
        ["a.weight", "1 of 3", "30.0 dB", "0.00 pp", "0", "0"],
        ["c.weight", "3 of 3", "20.0 dB", "−1.00 pp", "1", "2"],
    ]
    assert table.title == "Where the loss of static int8 on tiny-cnn(seed=0) comes from"


def test_what_is_recovered_is_net_with_its_paired_interval_and_count(builder):
    # 7 won and 3 lost: SE = sqrt(3.5 + 7.5 - 4^2 / 100) / 100 = 0.03292, and 1.96 of it on either side
    _, _, _, net, won, lost, _ = told(builder, ["a"], (30.0,), [(7, 3)]).rows[0]
    assert net.figure.value == pytest.approx(0.04)
    assert (net.figure.n, net.figure.of, net.figure.interval) == (N, "selection examples", "paired95")
    assert (net.figure.low, net.figure.high) == pytest.approx((0.04 - 0.06453, 0.04 + 0.06453), abs=1e-4)
    assert net.sub == "−2.45 to +10.45 pp"
    assert [(one.figure.value, one.figure.n) for one in (won, lost)] == [(7, N), (3, N)]


@pytest.mark.parametrize(("judge", "head", "words"), [
    ("labels", "accuracy recovered, net", "Right is their label."),
    ("float", "agreement with float recovered, net", "Right is the float network's first answer"),
])  # fmt: skip
def test_the_page_says_by_what_it_was_judged(builder, judge, head, words):
    table = told(builder, ["a"], (30.0,), [(7, 3)], judge)
    assert table.columns[3].head == head
    assert words in table.notes[1]
    assert table.notes[1].startswith("Recovered, net: of 100 selection examples those won")


def test_a_line_without_single_answers_says_what_to_do(builder):
    builder.measured("explain", SUBJECT, layer_snr=(3.0,), extra={"evidence": (Evidence("layers", "a"),)})
    (table,) = explained_tables(builder.run())
    assert table.rows == ()
    assert table.empty.endswith("run it with --explain again")


def test_layers_that_recover_alike_are_ordered_by_their_noise(builder):
    table = told(builder, ["a", "b"], (30.0, 5.0), [(0, 0), (0, 0)])
    assert [row[0].text for row in table.rows] == ["b", "a"]


def test_a_long_network_shows_its_worst_and_says_where_the_rest_is(builder):
    count = SHOWN + 3
    names = [f"layer{i}" for i in range(count)]
    table = told(builder, names, (10.0,) * count, [(i, 0) for i in range(count)])
    assert len(table.rows) == SHOWN
    assert table.rows[0][0].text == f"layer{count - 1}"
    assert "3 further layers are in the results file" in table.notes[-1]


def test_what_could_not_be_told_says_why(builder):
    builder.add("explain", SUBJECT, Failed("explain", "there are no examples\n  fix: give some"))
    (table,) = explained_tables(builder.run())
    assert table.rows == ()
    assert table.empty == "it could not be told: there are no examples"


@pytest.mark.parametrize(
    ("judge", "words"), [("labels", "is right on"), ("float", "answers as float does on")]
)
def test_it_says_how_much_there_is_to_explain(builder, judge, words):
    notes = told(builder, ["a"], (30.0,), [(7, 3)], judge).notes
    assert notes[0] == f"Quantized whole, the network {words} 60 of 100 selection examples."


def test_where_nothing_was_lost_it_says_so(builder):
    facts = (Evidence("layers", "a"), Evidence("judged by", "float"))
    same = {"layer_snr": (30.0,), "selection_correct": (1.0,) * N, "layer_correct": (1.0,) * N}
    builder.measured("explain", SUBJECT, **same, extra={"evidence": facts})
    (table,) = explained_tables(builder.run())
    assert table.notes[0].endswith("100 of 100 selection examples; there is no loss here to explain.")


def test_a_terminal_shows_the_notes_of_the_whole_table(builder):
    printed = io.StringIO()
    print_table(told(builder, ["a"], (30.0,), [(7, 3)]), Console(file=printed, width=200))
    text = printed.getvalue()
    assert text.count("Quantized whole, the network is right on 60 of 100") == 1
    assert "Recovered, net: of 100 selection examples" in text
