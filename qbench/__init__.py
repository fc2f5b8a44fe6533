"""qbench: which quantization technique to ship on which hardware, and how sure that is.

Importing this package does no work; the command line lives in `qbench.cli`.
"""

__version__ = "0.1.0"
