"""Where the loss comes from: the layers that cost most first, or why it could not be told."""

import pytest
from example_run import TEST, Builder, case

from qbench.cases import Explained
from qbench.records import Evidence, Failed
from qbench.report.explained import SHOWN, explained_tables


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path)


SUBJECT = Explained("static int8", case("static int8").deployment.artifact, TEST)


def told(builder, names, snr, recovered):
    extra = {"evidence": (Evidence("layers", "\n".join(names)),)}
    builder.measured("explain", SUBJECT, layer_snr=snr, layer_recovered=recovered, extra=extra)
    (table,) = explained_tables(builder.run())
    return table


def test_the_layer_that_costs_most_stands_first(builder):
    table = told(builder, ["a.weight", "b.weight", "c.weight"], (30.0, 5.5, 20.0), (0.0, 0.04, -0.01))
    rows = [[entry.text for entry in row[:4]] for row in table.rows]
    assert rows == [
        ["b.weight", "2 of 3", "5.50 dB", "+4.00 pp"],
        ["a.weight", "1 of 3", "30.0 dB", "0.00 pp"],
        ["c.weight", "3 of 3", "20.0 dB", "−1.00 pp"],
    ]
    assert table.title == "Where the loss of static int8 on tiny-cnn(seed=0) comes from"


def test_layers_that_recover_alike_are_ordered_by_their_noise(builder):
    table = told(builder, ["a", "b"], (30.0, 5.0), (0.0, 0.0))
    assert [row[0].text for row in table.rows] == ["b", "a"]


def test_a_long_network_shows_its_worst_and_says_where_the_rest_is(builder):
    count = SHOWN + 3
    names = [f"layer{i}" for i in range(count)]
    table = told(builder, names, (10.0,) * count, tuple(i / 100 for i in range(count)))
    assert len(table.rows) == SHOWN
    assert table.rows[0][0].text == f"layer{count - 1}"
    assert "3 further layers are in the results file" in table.notes[0]


def test_what_could_not_be_told_says_why(builder):
    builder.add("explain", SUBJECT, Failed("explain", "there are no examples\n  fix: give some"))
    (table,) = explained_tables(builder.run())
    assert table.rows == ()
    assert table.empty == "it could not be told: there are no examples"
