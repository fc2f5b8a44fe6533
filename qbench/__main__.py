"""`python -m qbench` is the command `qbench`."""

from qbench.cli import main

main()
