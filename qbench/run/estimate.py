"""About how long a run will take: what is in the cache already is not counted."""

from __future__ import annotations

from qbench.cases import ArtifactSpec, Case, Explained
from qbench.formats import cache
from qbench.profile import Profile
from qbench.run.choose import strategy_of

# Rough prices of what is not a window, from the committed runs on two cores (docs/log.md): the estimate and
# `--budget` rest on them.
EDGE_S = {"exported": 1.6, "onnx": 4.7, "pt2": 18.0}  # by the format that a conversion gives
OTHER_EDGE_S = 1.0
SCORE_S = 0.3  # load, the check against the reference, the proof of kernel
SCORE_S_PER_EXAMPLE = 0.00035
EMULATED_S_PER_EXAMPLE = 0.15
STEP_S = 0.4  # load and warm-up of a timed step that is steady at once
ROUND_S = 0.6  # the anchor, and the turn to the next round
FRESH_S = 1.5  # an interpreter of its own, for a step that a fork server's engine cannot do
DEPLOY_S = 0.8
COUNT_S = 3.5  # a fresh emulated interpreter, and a few inferences
# of a network: every layer is put back to float once, and 500 examples are asked each time. mobilenet-glyphs,
# with 27 layers, took 43 s of processor time; the plan does not know how many layers a network has
EXPLAIN_S = 40.0
UNFUSED = 4.0  # times as long as a call: a look at every activation, layers unfused, and once more to check
ENERGY_WINDOWS = 5  # of a cell (docs/methodology.md, "Energy")
ENERGY_S = 16.0  # a window of ten seconds between two idles, and what comes before
RESTART_S = 0.7  # of the fork server of one engine, between two rounds
START_S = 15.0  # fork servers import their engines, the planner probes them, the page is written


def estimate_s(cells: tuple[Case, ...], profile: Profile) -> float:
    """Return about how long these cells will take."""
    prepared: set[ArtifactSpec] = set()
    for case in cells:
        prepared |= {way for way in cache.prefixes(case.deployment.artifact) if not cache.holds(way)}
    prepare = sum(_hop_s(spec) + _looks_s(spec, profile.call_s) for spec in prepared)
    scored = {(case.deployment, case.evaluation) for case in cells}
    score = sum(
        evaluation.count
        * (EMULATED_S_PER_EXAMPLE if placed.reached == "emulated" else SCORE_S_PER_EXAMPLE + profile.call_s)
        + SCORE_S
        for placed, evaluation in scored
    )
    timed = [case for case in cells if case.scenario.name in ("single", "saturated")]
    counted = sum(case.scenario.name == "counted" for case in cells)
    rounds = profile.rounds * (len(timed) * (profile.window_s + STEP_S) + ROUND_S)
    capped = sum(bool(case.deployment.isa) for case in timed)
    rounds += profile.rounds * capped * FRESH_S
    engines = len({case.deployment.backend for case in timed})
    rounds += RESTART_S * engines * profile.rounds * profile.fresh_servers
    return START_S + prepare + score + rounds + len(timed) * DEPLOY_S + counted * COUNT_S


def explain_s(explained: tuple[Explained, ...]) -> float:
    """Return about how long these explanations take: each quantizes once more, as its technique does."""
    return sum(EXPLAIN_S + strategy_of(one.artifact.chain[-1]).about_s(0) for one in explained)


def energy_s(cells: int) -> float:
    """Return about how long the windows of energy of so many cells take."""
    return ENERGY_WINDOWS * cells * ENERGY_S


def _looks_s(spec: ArtifactSpec, call_s: float) -> float:
    """Return what a technique's looking at its calibration data takes, of a network of known cost."""
    calibration = spec.way[-1].calibration
    return calibration.count * call_s * UNFUSED if calibration else 0.0


def _hop_s(spec: ArtifactSpec) -> float:
    last = spec.way[-1]
    if last.kind == "source":
        return 0.0 if last.gives == "torch" else 0.2
    if last.kind == "edge":
        return EDGE_S.get(last.gives, OTHER_EDGE_S)
    return strategy_of(last.use).about_s(last.training.count if last.training else 0)
