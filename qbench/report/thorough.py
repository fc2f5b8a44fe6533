"""How thorough a run was, in words: its profile, and the rounds that there are."""

from __future__ import annotations

import re

PROFILES = {
    "brief": "brief profile: 3 rounds of 0.3 s, preliminary, not conclusive",
    "quick": "quick profile: 3 rounds of 1 s, preliminary, not conclusive",
    "standard": "standard profile: 8 rounds of 2 s",
    "gate": "gate profile: 12 rounds of 1 s, one thread",
    "rigorous": "rigorous profile: 12 rounds of 10 s",
}


def profile_words(profile: str, rounds: int) -> str:
    """Return what a profile is, with this number of rounds: --rounds may have said so, or some broke.

    0 rounds are none that was timed: the words then tell what the profile asks for.
    """
    words = PROFILES.get(profile, f"{profile} profile")
    usual = re.search(r"(\d+) rounds", words)
    if usual is None or not rounds or int(usual[1]) == rounds:
        return words
    return words.replace(usual[0], f"{rounds} round{'s' * (rounds != 1)}")
