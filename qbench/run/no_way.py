"""What would work where a chain leads nowhere: its links in another order, or without one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, permutations

from qbench.backends.base import BACKENDS
from qbench.cases import Choice, Float
from qbench.errors import DoesNotFit
from qbench.run.choose import strategy_of

Chain = tuple[Choice, ...]
Leads = Callable[[str, Chain], bool]  # engine and chain -> whether a way leads there
ORDERS = 120  # of five links, all; what a longer chain is told must not hold up planning


def chain_text(chain: Chain) -> str:
    """Return a chain as a suite writes it: `chain = [{ use = "ptq", weight_bits = 4 }]`."""
    links = ("{ " + ", ".join(_pair(*pair) for pair in (("use", c.name), *c.params)) + " }" for c in chain)
    return f"chain = [{', '.join(links)}]"


def no_way(source: str, chain: Chain, engine: str, formats: Iterable[str], leads: Leads) -> DoesNotFit:
    """Return the error for a chain whose formats do not meet between the source's and the engine's."""
    wanted = f"{' or '.join(sorted(formats)) or 'any format'}, which {engine or 'this engine'} runs"
    links = " > ".join(f"{link.name} ({_told_routes(link)})" for link in chain)
    through = f" through {links}" if chain else ""
    return DoesNotFit(
        f"no way leads from {source}{through} to {wanted}",
        fix=instead(chain, engine, leads)
        or (
            "choose other techniques: no way leads to any engine"
            + ", in any order of these links or without one of them" * (len(chain) > 1)
        ),
    )


def refused(error: DoesNotFit, chain: Chain, engine: str, leads: Leads) -> DoesNotFit:
    """Return what a technique said of the state that it was given, with the chain that would work.

    Its own fix stays where it names a chain, unless another order is all that is wanted: it may keep a link
    that ours leaves out.
    """
    found = instead(chain, engine, leads)
    if found is None:
        return DoesNotFit(error.problem, fix=error.fix)
    keeps_all = any(chain_text(other) in found for other in _orders(chain))
    own = f", or {error.fix}" if "chain = " in error.fix and not keeps_all else ""
    return DoesNotFit(error.problem, fix=found + own)


def instead(chain: Chain, engine: str, leads: Leads) -> str | None:
    """Return what to write so that a way leads somewhere, or None where nothing of the kind does.

    What keeps more of what was asked for comes first: every link on this engine, the chain as it is on
    others, all links but one on this engine, and then the same on others.
    """
    others = [name for name in BACKENDS if name != engine]
    for orders, engines in (
        (_orders(chain), [engine]),
        ([chain], others),
        (_shorter(chain), [engine]),
        (_orders(chain), others),
        (_shorter(chain), others),
    ):
        for other in orders:
            reached = [name for name in engines if leads(name, other)]
            if reached:
                return _told(other if other != chain else (), reached if engines is others else [])
    return None


def _told(chain: Chain, engines: list[str]) -> str:
    write = f"write {chain_text(chain)}" if chain else ""
    choose = f"choose {' or '.join(engines)}, which a way leads to" if engines else ""
    return " and ".join(words for words in (write, choose) if words)


def _orders(chain: Chain) -> Iterator[Chain]:
    """Yield the same links in every other order; the first links stay in place longest."""
    return (other for other in islice(permutations(chain), ORDERS) if other != chain)


def _shorter(chain: Chain) -> list[Chain]:
    """Return the chain without one link, in every order; none that rounds nothing any more.

    Quantizers stay longest, then what else leaves 32-bit float; of equals, those that come first.
    """
    without = [chain[:at] + chain[at + 1 :] for at in reversed(range(len(chain)))]
    ranked = sorted(without, key=lambda links: -sum(map(_weight, links)))
    return [
        order for links in ranked if any(map(_weight, links)) for order in islice(permutations(links), ORDERS)
    ]


def _weight(link: Choice) -> int:
    """Return how much a chain is about this link: 2 where it quantizes a float network, 1 where it rounds."""
    try:
        state = strategy_of(link).state(Float())
    except DoesNotFit:  # it takes what another has quantized
        return 0
    return 0 if state == Float() else 1 if isinstance(state, Float) else 2


def _told_routes(link: Choice) -> str:
    """Return a technique's routes in words, with the engines that a product is for."""
    routes = (
        f"{r.takes} to {r.gives}" + (f" for {' and '.join(r.engines)}" if r.engines else "")
        for r in strategy_of(link).routes
    )
    return ", ".join(sorted(routes))


def _pair(name: str, value: object) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"  # as TOML writes text, numbers and true
