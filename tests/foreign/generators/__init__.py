"""Small networks of the kinds that other people report; importing this package knows all of them."""

from generators import attention, files, heads, images, sequences  # noqa: F401
from generators.network import NETWORKS, Network

__all__ = ["NETWORKS", "Network"]
