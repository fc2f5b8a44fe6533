"""The kinds of outputs: one file each. What a kind measures decides what can be said of such an output."""
