"""What the comparisons say about heads: a sound reading at the sigma fixed beforehand, and the published analysis.

    sound         every measure at the fixed sigma: each head with an interval, its gain over its own attention on other
                  pictures, the head effect as a quasi-F, every pair of heads; participants and pictures both random.
                  Of the primary measure in the layers shown also: a bootstrap beside the intervals and, where cells are
                  missing, the mixed model over all the cells there are
    replication   the best sigma of each head, one-way ANOVA over heads and Tukey's HSD, as published; its p values
                  treat every participant and picture as a replicate, see REPLICATION_WARNING
    lift          the model's attention on the object; the same for everybody, so its intervals are over pictures alone
    other_drift   the sound reading of the primary measure with the other choice of drift correction than the study's

    above_chance  by permuted pictures, all heads and layers of a model at once; by the primary measure, as are
    model_contrasts, windows, groups    between models, over viewing time, between groups of participants

Nothing here draws or writes. Partitions become arrays in score_arrays.py, statistics/ computes with arrays,
alignment/baselines.py has densities, alignment/bandwidth.py estimates of sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from beholder.analysis.findings.above_chance import Match, chance_tests, match_of, with_p_above_chance
from beholder.analysis.findings.bandwidth import estimate_sigmas
from beholder.analysis.findings.choice import by_model, choice_of, means_on, name_head
from beholder.analysis.findings.groups import compare_groups
from beholder.analysis.findings.layer import in_depth, read_layer, with_holm_over_head_effects, with_other_drift
from beholder.analysis.findings.models import MeanOfHeads, model_contrasts, wide, wide_gain
from beholder.analysis.findings.object_lift import lifts
from beholder.analysis.findings.readings import Choice, Findings, LayerReading, Replication
from beholder.analysis.findings.replication import replicate
from beholder.analysis.findings.score_arrays import FixedSigma, at_fixed_sigma, half_of_viewers, over_sigma
from beholder.analysis.findings.windows import read_windows
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import ModelSummary, Results
from beholder.analysis.statistics.crossed import LEVEL, Estimate, mean_interval
from beholder.shared.errors import DataError, Remark

Layers = Sequence[tuple[ModelSummary, int]]


@dataclass
class _Gathered:
    """What is kept of each layer as layers are read: its readings, and the scores that later steps need.

    By model and layer: `matches` are the scores that pictures are permuted in, `first_halves` the heads' mean scores on
    the half of the pictures that chooses, where one does. `means` is of each model's last layer, by the primary
    measure.
    """

    readings: list[LayerReading] = field(default_factory=list)
    matches: dict[tuple[str, int], Match] = field(default_factory=dict)
    means: dict[str, MeanOfHeads] = field(default_factory=dict)
    first_halves: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


def infer(results: Results, progress: Callable[[int, int], None] = lambda done, total: None) -> Findings:
    """The sound reading, the replication and the lifts of every model and layer that was analysed.

    progress(steps done, of all). Scores are read one layer at a time, and only what later steps need of them is kept.
    Raises DataError where there is nothing to compare. Deterministic: the bootstrap draws by the study's seed.
    """
    study, primary = results.study, results.study.alignment.primary
    layers = [(model, layer) for model in results.summary.models for layer in model.analysed_layers]
    gathered = _read_layers(results, layers, lambda done: progress(done, 2 * len(layers)))
    sound = with_holm_over_head_effects(gathered.readings)
    tests, p_values = chance_tests(gathered.matches, primary, study.study.seed)
    sound = [with_p_above_chance(s, p_values) if s.primary else s for s in sound]
    sound, choices, troubles = _choose(results, sound, gathered)
    shown = [s for s in sound if s.primary and (s.model, s.layer) in {(c.model, c.layer) for c in choices}]
    replication = _replicate(results, layers, sound, shown, lambda done: progress(len(layers) + done, 2 * len(layers)))
    groups, remark = compare_groups(results, sorted((s.model, s.layer) for s in shown), primary)
    progress(2 * len(layers), 2 * len(layers))
    return Findings(
        primary=primary,
        level=LEVEL,
        sound=tuple(sound),
        replication=tuple(replication),
        lifts=lifts(results.attention_table),
        other_drift=tuple(o for s in shown for o in with_other_drift(results, s)),
        remarks=(*gathered.remarks, *troubles, *([Remark("groups", remark)] if remark else [])),
        above_chance=tests,
        model_contrasts=model_contrasts(gathered.means, primary),
        windows=tuple(w for s in shown for w in read_windows(results, s)),
        groups=groups,
        sigmas=estimate_sigmas(results, shown) if study.maps.estimate_sigma else (),
        half=_half(results, sound[0].model, sound[0].layer),
        choices=tuple(choices),
    )


def _read_layers(results: Results, layers: Layers, progress: Callable[[int], None]) -> _Gathered:
    """The readings of every layer, by every measure; DataError where there are none of the primary one."""
    gathered, compared = _Gathered(), False
    for done, (model, layer) in enumerate(layers):
        progress(done)
        fixed = at_fixed_sigma(results, model.name, layer, results.study.alignment.measures)
        if fixed:
            compared = True
            _read_measures(results, model, layer, fixed, gathered)
        else:
            gathered.remarks.append(Remark(f"{model.label}, layer {layer}", "has no comparisons and is left out"))
    if not compared:
        raise DataError(
            f"the analysis of {results.study_folder} compares no participant's gaze with a model: see the remarks in "
            f'its summary.json, then run "beholder analyze {results.study_folder}" again.'
        )
    if not any(s.primary for s in gathered.readings):
        raise DataError(
            f"the primary measure {results.study.alignment.primary} is undefined for every comparison of "
            f"{results.study_folder}: name another as alignment.primary in study.toml and analyse again."
        )
    return gathered


def _read_measures(
    results: Results, model: ModelSummary, layer: int, fixed: Mapping[str, FixedSigma], gathered: _Gathered
) -> None:
    """Add the readings of one layer, and a remark for each measure that has none or that leaves somebody out."""
    study, about = results.study, f"{model.label}, layer {layer}"
    first_half = {name for name, half in results.summary.halves.items() if half == 0}
    lacking: dict[str, list[str]] = {}
    for measure, at in fixed.items():
        primary = measure == study.alignment.primary
        if not any(is_head(m) for m in at.cells.maps) or at.cells.without_scores():
            gathered.remarks.append(Remark(about, f"{measure} is undefined for every head"))
            continue
        try:
            reading, left_out = read_layer(
                at, model.name, layer, measure, study.maps.sigma, study.maps.sigma_unit, primary=primary
            )
        except DataError as error:
            if primary:
                raise
            gathered.remarks.append(Remark(about, str(error)))
            continue
        gathered.readings.append(reading)
        for text in left_out:
            lacking.setdefault(text, []).append(measure)
        if primary:
            gathered.matches[model.name, layer] = match_of(results, at.cells, model.name, layer)
            gathered.means[model.name] = MeanOfHeads(layer, wide(at.cells, "mean"), wide_gain(at, measure))
            if first_half:
                gathered.first_halves[model.name, layer] = means_on(at.cells, reading, first_half)
    gathered.remarks += [Remark(f"{about}, {', '.join(of)}", text) for text, of in lacking.items()]


def _choose(
    results: Results, sound: Sequence[LayerReading], gathered: _Gathered
) -> tuple[list[LayerReading], list[Choice], list[Remark]]:
    """All readings, those of the named heads' layers in depth; the choice of each model; what could not be computed."""
    seed, primary = results.study.study.seed, results.study.alignment.primary
    labels = {model.name: model.label for model in results.summary.models}
    readings, choices, troubles = list(sound), [], []
    named = [name_head(of, gathered.first_halves) for of in by_model(sound)]
    for i, reading in enumerate(sound):
        head = next((name for s, name in named if s is reading), None)
        if head is None:
            continue
        at = at_fixed_sigma(results, reading.model, reading.layer, [primary])[primary]
        readings[i], trouble = in_depth(at, reading, seed)
        of_model = [s for s in readings if s.primary and s.model == reading.model]
        match = gathered.matches[reading.model, reading.layer]
        choices.append(choice_of(results, readings[i], head, of_model, at, match))
        if trouble:
            about = f"{labels[reading.model]}, layer {reading.layer}, {reading.measure}"
            troubles.append(Remark(about, trouble))
    return readings, choices, troubles


def _replicate(
    results: Results,
    layers: Layers,
    sound: Sequence[LayerReading],
    shown: Sequence[LayerReading],
    progress: Callable[[int], None],
) -> list[Replication]:
    """The published analysis of every layer by every measure that it has a reading by; Tukey's pairs if it is shown."""
    found, unit = [], results.study.maps.sigma_unit
    in_pairs = {(s.model, s.layer) for s in shown}
    for done, (model, layer) in enumerate(layers):
        progress(done)
        measured = [s.measure for s in sound if (s.model, s.layer) == (model.name, layer)]
        for measure, cells in over_sigma(results, model.name, layer, measured).items():
            if not cells.without_scores():
                pairs = (model.name, layer) in in_pairs
                found.append(replicate(cells, model.name, layer, measure, unit, pairs=pairs))
    return found


def _half(results: Results, model: str, layer: int) -> Estimate | None:
    known = half_of_viewers(results, model, layer)
    return mean_interval(known) if len(known) else None
