"""What the source answers, kept before any technique has touched it: by itself, or by who reads its file.

The readers of a user's file are asked about the user's own samples, and what they agree on is kept.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qbench.cases import Hop
from qbench.formats.artifact import Artifact, Note
from qbench.formats.calls import call_of, filled, spans_of
from qbench.formats.reference import NAME, Alone, Kept, Told, keep_reference, write_kept
from qbench.referee.asking import Answer
from qbench.referee.hearing import Heard, hear
from qbench.run.steps.given import given

WHAT = "answers of the source"  # the name of the note about them


def keep_source_answers(
    artifact: Artifact, hop: Hop, folder: Path, data_ids: dict[str, str]
) -> tuple[Note, ...]:
    """Keep them beside the artifact in `folder`; return what was found out while they were asked for.

    Raises:
        BadFile: stored examples are not there or torn.
    """
    if artifact.module is not None:
        keep_reference(artifact, folder)
        return ()
    if artifact.format != "onnx" or hop.checked is None or artifact.path is None:
        return ()
    examples = given(replace(hop, calibration=hop.checked), artifact, data_ids).inputs
    examples = filled(artifact.inputs, examples)
    spans = spans_of(artifact.inputs, examples)
    calls = [call_of(artifact.inputs, examples, span) for span in spans]
    heard = hear(artifact.path, calls, [spec.name for spec in artifact.outputs])
    answered = len(heard.outputs) if heard.outputs else len(spans)
    write_kept(folder / NAME, Kept(examples, spans[:answered], heard.outputs, told(heard)))
    return notes(heard, len(next(iter(examples.values()))))


def told(heard: Heard) -> Told:
    """Return who says it, in the words that a sentence takes."""
    if heard.consensus.speaker is None:
        return Told(why_none=why_nobody(heard))
    alone = [
        Alone(odd.answer.voice.title, odd.answer.voice.maker, odd.far.how, str(operator or ""))
        for odd, operator in heard.odd
    ]
    camp = heard.consensus.camps[0]
    makers = tuple(dict.fromkeys(answer.voice.maker for answer in camp))
    return Told(titles(camp), tuple(alone), makers=makers)


def notes(heard: Heard, count: int) -> tuple[Note, ...]:
    """Return what the record says of it; a warning where nobody can be believed."""
    silent = tuple(Note(f"no answer from {one.voice.title}", one.reason) for one in heard.silent)
    consensus = heard.consensus
    if consensus.speaker is None:
        return (Note(WHAT, why_nobody(heard), warns=True), *silent)
    who = _listed(titles(consensus.camps[0]))
    found = f"{who} agree on {_samples(count)}, to {consensus.within:.1g} of the range"
    if consensus.makers == 1:
        found += "; they share their code, and no other reader answered: nobody else confirms them"
    alone = tuple(
        Note(
            f"alone: {odd.answer.voice.title}", f"differs {odd.far.how}{_first(operator)}; it is wrong there"
        )
        for odd, operator in heard.odd
    )
    return (Note(WHAT, found), *alone, *silent)


def why_nobody(heard: Heard) -> str:
    """Return why no answer is kept."""
    consensus, closing = heard.consensus, "so nothing is known of which engine is right for this network"
    if len(consensus.camps) > 1:
        return f"{' against '.join(_listed(titles(camp)) for camp in consensus.camps)}: {closing}"
    silent = "; ".join(f"{one.voice.title}: {one.reason}" for one in heard.silent)
    if consensus.camps:
        agree = _listed(titles(consensus.camps[0]))
        others = "; ".join(
            f"{odd.answer.voice.title} differs from them {odd.far.how}{_first(operator)}"
            for odd, operator in heard.apart
        )
        return f"{agree} agree, and share their code; {others}: {closing}"
    if len(consensus.alone) > 1:
        every = _listed(titles(consensus.alone))
        return f"no two of {every} say the same: {closing}; does the network draw random numbers?"
    if consensus.alone:
        return f"only {consensus.alone[0].voice.title} answered, and nobody confirms it ({silent})"
    return f"no reader of this file answered ({silent})"


def titles(answers: tuple[Answer, ...]) -> tuple[str, ...]:
    """Return the names of voices as sentences have them, in their order."""
    return tuple(a.voice.title for a in sorted(answers, key=lambda a: a.voice.order))


def _listed(names: tuple[str, ...]) -> str:
    return str(Told(names))


def _samples(count: int) -> str:
    return f"{count} of your samples" if count > 1 else "one of your samples"


def _first(operator: object) -> str:
    return f", first in {operator}" if operator else ""
