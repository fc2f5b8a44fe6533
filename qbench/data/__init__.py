"""Data sets: real digits that scikit-learn ships, letters drawn here, and those read from a hub's files."""
