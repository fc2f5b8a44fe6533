"""A recurrent network's state decides nothing beside its answers, and is judged where nothing else is."""

from types import SimpleNamespace

import numpy as np
import pytest

from qbench.cases import Float
from qbench.formats.artifact import Artifact, TensorSpec
from qbench.run.steps import beside

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(60, 5)).astype("f4")
STATE = RNG.normal(size=(60, 2, 7)).astype("f4")


def compared(monkeypatch, answers, pairs, kinds=None):
    """Compare outputs whose second one is destroyed."""
    names, wanted, given = zip(*answers, strict=True)
    monkeypatch.setattr(beside, "kept", lambda _: list(wanted))
    outputs = tuple(TensorSpec(name, "float32", (None,)) for name in names)
    opened = SimpleNamespace(
        artifact=Artifact("onnx", Float(), (), outputs, carried=pairs),
        task=SimpleNamespace(kinds=lambda: kinds or {}, undecided=""),
        escalated=None,
        all_inputs=dict,
    )
    request = SimpleNamespace(baseline=SimpleNamespace(answers=""))
    return beside.beside_float(opened, given, request)


@pytest.mark.parametrize(
    ("pairs", "kinds", "judged"),
    [
        ((("state", "stateN"),), {}, False),
        ((), {}, True),
        ((("x", "stateN"),), {}, True),  # said by the user: it may be an answer as well
        ((("state", "stateN"),), {"stateN": "values"}, True),
    ],
)
def test_a_destroyed_state_is_decides_only_where_it_is_more(monkeypatch, pairs, kinds, judged):
    found = compared(
        monkeypatch,
        [("scores", SCORES, SCORES + 1e-4), ("stateN", STATE, np.zeros_like(STATE))],
        pairs,
        kinds,
    )
    assert bool(found.collapses) == judged
    state = next(one for one in found.outputs if one.output == "stateN")
    assert bool(state.measurements) == judged
    assert bool(state.decides) == judged
    assert any(one.output == "scores" and one.decides for one in found.outputs)


def test_a_state_that_is_all_there_is_decides(monkeypatch):
    found = compared(monkeypatch, [("stateN", STATE, np.zeros_like(STATE))], (("state", "stateN"),))
    assert found.collapses
