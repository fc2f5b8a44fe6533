"""Walk the way from the source model to the deployed file, keep every file on it, and prove the last."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qbench.cases import ArtifactSpec, FakeQuant, Hop
from qbench.errors import DoesNotFit
from qbench.formats import cache
from qbench.formats.artifact import (
    Artifact,
    LineageStep,
    Note,
    compressed_size_bytes,
    file_size_bytes,
    load,
    made_in,
    save,
)
from qbench.formats.edges import named, onnx_files
from qbench.formats.proof import covered, prove
from qbench.formats.reference import NO_SIMULATION, keep_simulated, pass_on_reference
from qbench.machine import Machine, machine
from qbench.measure.memory import peak_bytes, reset_peak
from qbench.quant.saturation import NOTE
from qbench.records import Evidence, Measured, Measurement, Verdict, Withheld
from qbench.run.choose import model_of, strategy_of
from qbench.run.protocol import StepRequest, Trace
from qbench.run.steps.given import given, too_few
from qbench.run.steps.source_answers import keep_source_answers

WIDE_SUMS = {"avx512_vnni", "avx_vnni"}  # they add the products of eight bits in 32
LIVE = "torch"  # the one format that is no file


def prepare(request: StepRequest, trace: Trace) -> Measured:
    """Make the artifact, or take it from the cache, and measure what it is and what it cost.

    Raises:
        DoesNotFit: the file does not bear out what the technique claims.
        QbenchError: whatever a hop says of a network that it cannot take.
    """
    spec = request.step.subject
    assert isinstance(spec, ArtifactSpec)
    if not cache.holds(spec):
        _make(spec, request, trace)
    trace.stage = "proof"
    folder = cache.folder_of(spec)
    artifact = load(folder)
    proof = prove(artifact)
    sizes = _sizes(artifact, folder)
    trace.measurements = [
        *(found for found in sizes if isinstance(found, Measurement)),
        Measurement("prepare_time", (sum(step.wall_s for step in artifact.lineage),)),
        *_cost_of_quantizing(artifact),
        *proof.measurements,
    ]
    withheld = (*proof.withheld, *(found for found in sizes if isinstance(found, Withheld)))
    own = [step for step in artifact.lineage if step.kind == "technique"]
    peak = max((step.peak_memory_bytes for step in own or artifact.lineage), default=0)
    if peak:
        trace.measurements.append(Measurement("prepare_memory", (peak,)))
    else:
        withheld += (Withheld("prepare_memory", "this kernel has no resettable peak counter"),)
    if proof.failure:
        raise DoesNotFit(
            f"the file does not bear out what is said of it: {proof.failure}",
            fix="repair the technique, or set its state to what it really stores"
            if spec.chain
            else "give the 32-bit float model that this file was made from",
        )
    lineage = []
    for number, step in enumerate(artifact.lineage, start=1):
        versions = ", ".join(" ".join(named) for named in step.versions)
        lineage.append(Evidence(f"hop {number}: {step.hop}", f"{step.wall_s:.2f} s; {versions}"))
    here = made_in(folder) == request.session  # or on the way to another file of this run
    made = Evidence("prepared", "in this run" if here else "earlier, taken from the cache")
    notes = [Evidence(note.what, note.found) for note in artifact.notes]
    verdicts = (*saturates(artifact.notes, machine()), *cautions(artifact.notes))
    return Measured(tuple(trace.measurements), withheld, verdicts, (made, *proof.evidence, *notes, *lineage))


def saturates(notes: tuple[Note, ...], here: Machine) -> tuple[Verdict, ...]:
    """Return the warning of saturation, where this machine's processor is of the kind that it speaks of.

    x86 without vector neural network instructions adds two products of eight bits in sixteen, and clips.
    """
    if here.architecture != "x86_64" or WIDE_SUMS & set(here.features):
        return ()
    fix = "write reduce_range = true, or take a processor that has such instructions"
    return tuple(Verdict("saturates", f"{note.what}: {note.found}; {fix}") for note in notes if _clips(note))


def cautions(notes: tuple[Note, ...]) -> tuple[Verdict, ...]:
    """Return the other warnings among the notes, which hold on every machine."""
    return tuple(
        Verdict("caution", f"{note.what}: {note.found}") for note in notes if note.warns and not _clips(note)
    )


def _clips(note: Note) -> bool:
    return note.warns and note.what == NOTE


def _sizes(artifact: Artifact, folder: Path) -> list[Measurement | Withheld]:
    """Return the file's sizes; a simulated one's say nothing of what a device would store."""
    if isinstance(artifact.state, FakeQuant):
        reason = (
            "simulated: the file holds floats, and no device stores its "
            f"{artifact.state.scheme.weight_bits}-bit weights like that"
        )
        return [Withheld(name, reason) for name in ("file_size", "compressed_size")]
    return [
        Measurement("file_size", (file_size_bytes(folder),)),
        Measurement("compressed_size", (compressed_size_bytes(folder),)),
    ]


def _cost_of_quantizing(artifact: Artifact) -> list[Measurement]:
    """Return the time of the technique's own hops; nothing where there is none, for nothing was quantized."""
    walls = [step.wall_s for step in artifact.lineage if step.kind == "technique"]
    return [Measurement("quantize_time", (sum(walls),))] if walls else []


def _make(spec: ArtifactSpec, request: StepRequest, trace: Trace) -> None:
    """Go on from the last file on the way that is in the cache already."""
    ways = cache.prefixes(spec)
    kept = [n for n, way in enumerate(ways, start=1) if way.format != LIVE and cache.holds(way)]
    done = max(kept, default=0)
    before = cache.folder_of(ways[done - 1]) if done else None
    artifact = load(before) if before else None
    making = cache.workspace(spec)
    try:
        for way in ways[done:]:
            hop = way.way[-1]
            trace.stage = {"source": "load", "edge": "convert", "technique": "quantize"}[hop.kind]
            artifact = _hop(hop, artifact, making, dict(request.data_ids))
            if before:
                pass_on_reference(before, making)
            if way.format != LIVE:
                notes = _simulate(artifact, making, before)
                artifact = replace(artifact, covered=covered(artifact), notes=notes)
                save(artifact, making, way, request.session)
                before = cache.publish(making, way)
                artifact = load(before)
                making = cache.workspace(spec)
    finally:
        shutil.rmtree(making, ignore_errors=True)  # what a failed hop left, or nothing


def _simulate(artifact: Artifact, folder: Path, before: Path | None) -> tuple[Note, ...]:
    """Keep what the file itself says with simulated integers; return its notes, with the reason why not."""
    absent = keep_simulated(artifact, folder, before)
    others = tuple(note for note in artifact.notes if note.what != NO_SIMULATION)  # of an earlier file
    return (*others, Note(NO_SIMULATION, absent)) if absent else others


def _hop(hop: Hop, artifact: Artifact | None, folder: Path, data_ids: dict[str, str]) -> Artifact:
    """Load the source, or apply one conversion or one link of the chain, and note what it cost."""
    counted = reset_peak()
    start = time.perf_counter()
    if artifact is None:
        after, provider = _source(hop, folder), "torch" if hop.gives == LIVE else ""
    elif hop.kind == "edge":
        edge = named(hop.use.name)
        after, provider = edge.convert(artifact, folder), edge.provider
    else:
        strategy = strategy_of(hop.use)
        after = strategy.apply(artifact, given(hop, artifact, data_ids), folder)
        after = replace(after, notes=(*after.notes, *too_few(hop, data_ids)))
        provider = next(
            r.provider for r in strategy.routes if (r.takes, r.gives) == (artifact.format, hop.gives)
        )
        if after.state != hop.state:
            raise DoesNotFit(
                f"{hop.use} announced the state {hop.state} and gave {after.state}",
                fix="make the strategy's state() and apply() agree",
            )
    wall = time.perf_counter() - start + after.earlier_s
    peak = (peak_bytes() or 0) if counted else 0
    if artifact is None:  # after the clock stopped: the answers are our check, not a cost of the file
        after = replace(after, notes=(*after.notes, *keep_source_answers(after, hop, folder, data_ids)))
    note = LineageStep(str(hop), hop.kind, wall, peak, _versions(provider))
    return replace(after, earlier_s=0.0, lineage=(*(artifact.lineage if artifact else ()), note))


def _source(hop: Hop, folder: Path) -> Artifact:
    """Load the source model; a file is copied with its external data."""
    artifact = model_of(hop.use).load()
    if artifact.path is None:
        return artifact
    home = artifact.path.parent
    for path in onnx_files(artifact.path) if artifact.format == "onnx" else [artifact.path]:
        copy = folder / path.relative_to(home)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return replace(artifact, path=folder / artifact.path.name)


def _versions(provider: str) -> tuple[tuple[str, str], ...]:
    found = []
    for name in provider.split():
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:  # one of two distributions of the same library
            continue
    return tuple(found)
