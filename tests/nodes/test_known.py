"""Every reader gives on the published node tests what its list says, in both directions."""

import onnx
import pytest
from cases import published
from known import ask, read
from readers import READERS, SLOW

from qbench.referee.voices.base import VOICES

HELD_TO = "1.23.2"  # of onnx, whose cases the lists are of


@pytest.fixture(scope="module")
def nodes():
    if onnx.__version__ != HELD_TO:
        pytest.skip(f"the lists are of onnx {HELD_TO}; for {onnx.__version__}: python tests/nodes/known.py")
    return published()


def test_every_voice_of_the_referee_is_asked():
    assert {f"voice_{name}" for name in VOICES} == {name for name in READERS if name.startswith("voice_")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in READERS]
)
def test_a_reader_gives_what_its_list_says(name, nodes):
    found, told = ask(name, nodes), read(name)
    renew = (
        f"`python tests/nodes/known.py {name}` writes the list anew; see what has changed before you keep it"
    )
    kinds = {case: kind for case, (kind, _) in found.faults.items()}
    assert kinds == {case: kind for case, (kind, _) in told.faults.items()}, renew
    assert (found.right, found.refused) == (told.right, told.refused), renew
