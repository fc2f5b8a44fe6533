"""How well a network's outputs meet those of its float form: every output, and every part of unlike range.

`compare` measures, `judge` says whether it holds and on what that rests, `assess` adds what has collapsed,
`how_bad` makes one number of it for a search. Numpy alone; no engine, no task and no file is known here.
"""
