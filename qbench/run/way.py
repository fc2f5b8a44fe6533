"""Finding the way: from a model's format through a chain of techniques to a format that an engine runs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import qbench.quant as quant
from qbench.backends.base import BACKENDS
from qbench.cases import ArtifactSpec, Choice, DataSpec, Hop, Split, State
from qbench.errors import DoesNotFit
from qbench.formats import artifact, edges, reference
from qbench.formats.edges import EDGES
from qbench.run.choose import strategy_of
from qbench.run.no_way import no_way, refused

LOADERS = {"torch": ("torch", "transformers")}  # what building a source model of this format imports


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk stands: so far along the chain, in this format and state, by these hops."""

    done: int
    format: str
    state: State
    way: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a way must end: at an engine, in one of the formats that it runs."""

    engine: str
    formats: frozenset[str]


def find_way(
    source: Hop, chain: tuple[Choice, ...], goal: Goal, examples: Callable[[Split], DataSpec]
) -> tuple[Hop, ...]:
    """Return the shortest way on from the source; edges are inserted where formats do not meet.

    Raises:
        DoesNotFit: there is no way, or two that are equally short; both are named. Where there is none, the
            fix is the chain or the engine that would work.
    """
    refusals: list[DoesNotFit] = []
    found = _shortest(source, chain, goal, examples, refusals)
    if found:
        return found

    def leads(engine: str, links: tuple[Choice, ...]) -> bool:
        formats = goal.formats if engine == goal.engine else BACKENDS[engine].runs
        try:
            return bool(_shortest(source, links, Goal(engine, formats), examples, []))
        except DoesNotFit:  # two ways
            return False

    if refusals:
        raise refused(refusals[0], chain, goal.engine, leads)
    raise no_way(source.gives, chain, goal.engine, goal.formats, leads)


def _shortest(
    source: Hop,
    chain: tuple[Choice, ...],
    goal: Goal,
    examples: Callable[[Split], DataSpec],
    refusals: list[DoesNotFit],
) -> tuple[Hop, ...] | None:
    """Return the shortest way, or None; what techniques refused is added to `refusals`."""
    places = [_Place(0, source.gives, source.state, (source,))]
    seen: set[tuple[int, str, State]] = set()
    while places:
        arrived = [place for place in places if place.done == len(chain) and place.format in goal.formats]
        if len(arrived) > 1:
            ways = " or ".join(" > ".join(str(hop) for hop in place.way[1:]) for place in arrived)
            raise DoesNotFit(f"two ways are equally short: {ways}", fix="name the conversion in the chain")
        if arrived:
            return arrived[0].way
        following = []
        for place in places:
            for after in _next(place, chain, goal, examples, refusals):
                if (after.done, after.format, after.state) not in seen:
                    following.append(after)
        seen |= {(place.done, place.format, place.state) for place in following}
        places = following
    return None


def _next(
    place: _Place,
    chain: tuple[Choice, ...],
    goal: Goal,
    examples: Callable[[Split], DataSpec],
    refusals: list[DoesNotFit],
) -> list[_Place]:
    """Return where one more hop leads: the chain's next link, and every edge that this state survives."""
    found = []
    if place.done < len(chain):
        link = chain[place.done]
        strategy = strategy_of(link)
        for route in strategy.routes:
            if route.takes != place.format or (route.engines and goal.engine not in route.engines):
                continue
            try:
                state = strategy.state(place.state)
            except DoesNotFit as error:
                refusals.append(error)
                continue
            source = digest_of(Path(inspect.getfile(type(strategy))), route.provider, strategy.bakes())
            hop = Hop(
                "technique",
                link,
                route.gives,
                state,
                source,
                examples("calibration") if strategy.wants_calibration() else None,
                examples("train") if strategy.wants_training() else None,
                examples("selection") if strategy.wants_selection() else None,
            )
            found.append(_Place(place.done + 1, route.gives, state, (*place.way, hop)))
    for edge in EDGES:
        if edge.takes == place.format and edge.survives(place.state):
            source = digest_of(Path(inspect.getfile(edge.convert)), edge.provider, edge.bakes())
            hop = Hop("edge", Choice(edge.name), edge.gives, place.state, source)
            found.append(_Place(place.done, edge.gives, place.state, (*place.way, hop)))
    return found


def makers(specs: Iterable[ArtifactSpec]) -> tuple[str, ...]:
    """Return the modules that making these artifacts imports, by the providers of their hops."""
    names = {"numpy"}
    for spec in specs:
        formats = [hop.gives for hop in spec.way]
        names |= set(LOADERS.get(formats[0], ()))
        for takes, hop in zip(formats, spec.way[1:], strict=False):
            names |= set(_provider(takes, hop).split())
    return tuple(sorted(name for name in names if find_spec(name)))  # a distribution may be called otherwise


def _provider(takes: str, hop: Hop) -> str:
    if hop.kind == "edge":
        return edges.named(hop.use.name).provider
    routes = strategy_of(hop.use).routes
    return next(r.provider for r in routes if (r.takes, r.gives) == (takes, hop.gives))


@cache
def digest_of(path: Path, provider: str, baked: str = "") -> str:
    """Digest the code of a hop, of what it shares in `quant`, and the versions of the libraries it calls.

    `baked` is what else the product holds: the processor and the compiler that it was made for or timed by.
    """
    digest = hashlib.sha256(path.read_bytes())
    for shared in [
        *sorted(Path(quant.__file__).parent.glob("*.py")),
        Path(reference.__file__),
        Path(artifact.__file__),
    ]:
        digest.update(shared.read_bytes())
    for name in provider.split():
        digest.update(f"{name} {version_or_none(name)};".encode())
    digest.update(baked.encode())
    return digest.hexdigest()[:16]


def version_or_none(distribution: str) -> str | None:
    """Return an installed distribution's version."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
