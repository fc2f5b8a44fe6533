"""The line of an error that has its reason: engines put files, codes and stacks around it."""

from __future__ import annotations

import re

FIX = "\n  fix: "  # how an error of our own goes on (errors.QbenchError)
# `[SomeRuntimeError] : 1 : FAIL : `, with the type of the Python exception in front of it or without
CODE = re.compile(r"^(?:\w+: )?\[\w+\] : \d+ : [A-Z_]+ : ")
LOADING = re.compile(r"^Load model from .*? failed:\s*")
INVALID = re.compile(r"^This is an invalid model\. (?:In Node, .*?, Error )?", re.DOTALL)
RUNNING = re.compile(
    r"^Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: "
)
SOURCE = re.compile(r"\S+\.(?:h|hpp|cc|cpp|cxx|cu):\d+:? (?:\S*::\S+\([^()]*\)(?: \[[^]]*\])? )?")
CONDITION = re.compile(r"^[^.]*? was false\. (?=\S)")
# A stack of `Exception from FILE:LINE:` and `Check 'CONDITION' failed at FILE:LINE:`, the reason at its end
STACKED = re.compile(r"(?:^|: )(?:Exception from|Check '.*' failed at) \S+:\d+:\s*$", re.MULTILINE)
AROUND = re.compile(
    r"Exception from \S+:\d+:$|.*failed at \S+:\d+:$|FrontEnd API failed with|Model wasn't fully converted"
    r"|Summary:$|-- Conversion is failed for|While validating |-- .* with a message:$|\w+Error:$"
)
NODE = re.compile(r"(\S+) node with name '([^']+)' Check '.*' failed at ")


def reason_of(error: str) -> str:
    """Return the reason that an error's text holds, in one line; `no message` where it holds none.

    Of an engine's stack that is the last line, of a text with codes and files what follows them, and of any
    other text the first line that says something. The advice of an error of our own is left out: `fix_of`.
    """
    text = error.partition(FIX)[0].strip()
    if STACKED.search(text):
        return _of_stack(text)
    if CODE.match(text):
        return _without_codes(" ".join(CODE.sub("", text).split()))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no message"
    unfinished = lines[0].endswith(":") and len(lines) > 1
    return f"{lines[0]} {lines[1]}" if unfinished else lines[0]


def fix_of(error: str) -> str:
    """Return the advice of an error of our own, in one line; nothing where there is none."""
    return " ".join(error.partition(FIX)[2].split())


def _of_stack(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not AROUND.match(line)]
    reason = (told or lines)[-1].removeprefix("-- ")
    node = NODE.search(text)
    return f"{node[1]} {node[2]!r}: {reason}" if node else reason


def _without_codes(text: str) -> str:
    text = LOADING.sub("", text)
    node = RUNNING.match(text)
    rest = SOURCE.sub("", INVALID.sub("", RUNNING.sub("", text)))
    rest = CONDITION.sub("", rest).strip() or text
    return f"{node[1]} {node[2]!r}: {rest}" if node else rest
