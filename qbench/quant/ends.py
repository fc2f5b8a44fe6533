"""What keeps 8 bits where less was asked: a network's first and last layer, its inputs and its outputs.

A state that says the fewest bits alone would claim more than the file has: these layers often hold many of a
small network's weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qbench.cases import Scheme
from qbench.errors import DoesNotFit
from qbench.quant.recipe import ENDS, WIDE, Product


def with_ends(scheme: Scheme) -> Scheme:
    """Return the scheme of a network whose first and last layer are kept at 8 bits: the widest of several.

    Where all the others have as many bits, none is kept wider, and it is the scheme given.
    """
    bits = scheme.activation_bits
    if scheme.weight_bits >= ENDS and (bits is None or bits >= WIDE):
        return scheme
    wide = None if bits is None else max(bits, WIDE)
    return replace(scheme, weight_bits=max(scheme.weight_bits, ENDS), activation_bits=wide, mixed=True)


def kept(product: Product, technique: str) -> Iterator[tuple[str, str]]:
    """Yield what of a product keeps 8 bits where less was asked, in words: what, and how many.

    Raises:
        DoesNotFit: all of its layers do, so that none has the bits that were asked.
    """
    if product.ends:
        if product.ends == product.layers:
            raise DoesNotFit(
                f"{technique}: keep_ends = true keeps all {product.layers} layers of this network at "
                f"{ENDS} bits",
                fix=f"leave keep_ends out, or write weight_bits = {ENDS}",
            )
        yield f"layers kept at {ENDS} bits", f"{product.ends} of {product.layers}, the first and the last"
    if product.narrow:
        count = product.wide + len(product.narrow)
        yield f"activations that stay at {WIDE} bits", f"{product.wide} of {count}"
