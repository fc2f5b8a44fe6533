"""Which techniques of `qbench try` are worth trying on a network: rules by what it is made of, with reasons.

A technique of a suite names a rule in `when`; whoever runs `try` is told what it says. Other runs do not know
the network beforehand and try everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from qbench.quant.network_facts import CONVOLUTION, FLOAT_RECURRENT, PRODUCT, RECURRENT, Network
from qbench.suite import Suite, SuiteTechnique

MOST = 0.5  # of the work: from here on a technique for one kind of layer is for this network


SMALL_BYTES, SMALL_MACS = 1_000_000, 20_000_000  # a call takes a millisecond at most: see profile "brief"


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether a technique is for a network, and why."""

    tried: bool
    reason: str


def fitted(suite: Suite, network: Network, named: Collection[str] = ()) -> tuple[Suite, list[str]]:
    """Return the suite with the techniques that this network is for, and a sentence for each rule that spoke.

    What the user has `named` is tried whatever the rules say.
    """
    kept: list[SuiteTechnique] = []
    told = []
    for technique in suite.technique:
        if not technique.when or technique.name in named:
            kept.append(technique)
            continue
        if named:  # the others are not asked for
            continue
        advice = RULES[technique.when](network)
        told.append(f"{technique.name} is {'tried' if advice.tried else 'left out'}: {advice.reason}")
        if advice.tried:
            kept.append(technique)
    names = {technique.name for technique in kept}
    kept = [replace(one, after=[name for name in one.after if name in names]) for one in kept]
    return replace(suite, technique=kept), told


def usual_profile(network: Network) -> str:
    """Return the profile that `qbench try` takes where none is asked for: windows as long as calls need."""
    macs = network.weight_bytes // 4 if network.macs is None else network.macs
    small = network.weight_bytes <= SMALL_BYTES and macs <= SMALL_MACS
    return "brief" if small else "quick"


def matrix_products(network: Network) -> Advice:
    """For what is quantized on the way into a product: it has to be products that take the time."""
    share = network.share(PRODUCT, RECURRENT)
    of = "work" if network.counted else "weights"
    if share >= MOST:
        which = PRODUCT if network.share(PRODUCT) >= network.share(RECURRENT) else RECURRENT
        return Advice(True, f"{share:.0%} of its {of} is {which}")
    if network.share(FLOAT_RECURRENT) > network.share(CONVOLUTION):
        return Advice(
            False,
            f"{network.share(FLOAT_RECURRENT):.0%} of its {of} is {FLOAT_RECURRENT}, which stay in float",
        )
    return Advice(
        False,
        f"{network.share(CONVOLUTION):.0%} of its {of} is convolutions, which run slower than in float where "
        "ranges are found on the way",
    )


def operators_between(network: Network) -> Advice:
    """For rounding layers alone: it differs only where something else would be rounded as well."""
    if network.rounded:
        shown = ", ".join(network.rounded[:4]) + (", ..." if len(network.rounded) > 4 else "")
        return Advice(True, f"between its layers {shown} would be rounded too, and may be what loses")
    return Advice(False, "nothing but its layers would be rounded anyway")


def transformer(network: Network) -> Advice:
    """For what is known of transformers: outlier channels, and what must stay in float in attention."""
    if network.attends:
        return Advice(True, "it has attention")
    if network.normalizes:
        return Advice(True, "it normalizes layers, as transformers do: some channels reach much further")
    return Advice(False, "it has neither attention nor normalized layers")


RULES: dict[str, Callable[[Network], Advice]] = {
    "matrix products": matrix_products,
    "operators between": operators_between,
    "transformer": transformer,
}
