"""What docs/techniques.md writes as a suite is one: names, parameters and values are those that there are."""

import re
import tomllib
from pathlib import Path

from qbench.run.choose import strategy_of
from qbench.sweep import choice_of

PAGE = Path(__file__).parents[2] / "docs" / "techniques.md"


def documented():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {one["name"]: one for block in blocks for one in tomllib.loads(block).get("technique", ())}


def test_every_chain_of_the_page_is_one_that_a_suite_may_write():
    found = documented()
    for name, technique in found.items():
        for link in technique["chain"]:
            strategy_of(choice_of(link, name))
        assert set(technique.get("after", ())) <= found.keys()


def test_a_suite_can_say_how_much_may_be_lost():
    """The page's search, asked for half of the loss."""
    (link,) = documented()["mixed int8"]["chain"]
    assert strategy_of(choice_of(link | {"limit": 0.5}, "here")).limit == 0.5
