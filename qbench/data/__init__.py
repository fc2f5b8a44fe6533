"""Data sets that need no network: real digits that scikit-learn ships, and letters drawn here."""
