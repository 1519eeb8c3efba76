"""What the comparisons say about heads: the sound reading at the sigma fixed beforehand, and the published replication.

    sound         every measure at the fixed sigma: each head with an interval, its gain over its own attention on other
                  pictures, the head effect as a quasi-F, every pair of heads; participants and pictures both random.
                  Of the primary measure in the layers shown also: a bootstrap beside the intervals and, where cells are
                  missing, the mixed model over all the cells there are
    replication   the best sigma of each head, one-way ANOVA over heads and Tukey's HSD, as published; its p values
                  treat every participant and picture as a replicate, see REPLICATION_WARNING
    lift          the model's attention on the object; the same for everybody, so its intervals are over pictures alone
    other_drift   the sound reading of the primary measure with the correction of drift that the study did not choose

    above_chance  by permuted pictures, all heads and layers of a model at once; by the primary measure, as are
    model_contrasts, windows, groups    between models, over viewing time, between groups of participants

Nothing here draws or writes. How partitions become arrays stands in score_arrays.py, what is computed of arrays in
statistics/, densities in alignment/baselines.py, estimates of sigma in alignment/bandwidth.py.
"""

from __future__ import annotations

from collections.abc import Callable

from beholder.analysis.findings.above_chance import Match, chance_tests, match_of, with_p_above_chance
from beholder.analysis.findings.bandwidth import estimate_sigmas
from beholder.analysis.findings.choice import by_model, choice_of, means_on, name_head
from beholder.analysis.findings.groups import compare_groups
from beholder.analysis.findings.layer import in_depth, read_layer, with_holm_over_head_effects, with_other_drift
from beholder.analysis.findings.models import MeanOfHeads, model_contrasts, wide, wide_gain
from beholder.analysis.findings.object_lift import lifts
from beholder.analysis.findings.readings import Findings, LayerReading
from beholder.analysis.findings.replication import replicate
from beholder.analysis.findings.score_arrays import at_fixed_sigma, half_of_viewers, over_sigma
from beholder.analysis.findings.windows import read_windows
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import LEVEL, Estimate, mean_interval
from beholder.shared.errors import DataError, Remark


def infer(results: Results, progress: Callable[[int, int], None] = lambda done, total: None) -> Findings:
    """The sound reading, the replication and the lifts of every model and layer that was analysed.

    progress(steps done, of all). A layer's scores are read when its turn comes, and none stays but what is said of it.
    Raises DataError where there is nothing to compare. Deterministic: the bootstrap draws by the study's seed.
    """
    study, primary = results.study, results.study.alignment.primary
    layers = [(model, layer) for model in results.summary.models for layer in model.analysed_layers]
    sound: list[LayerReading] = []
    matches: dict[tuple[str, int], Match] = {}
    means: dict[str, MeanOfHeads] = {}  # of each model's last layer, by the primary measure
    first_halves: dict[tuple[str, int], dict[str, float]] = {}  # the heads' scores where they are chosen on a half
    remarks: list[Remark] = []
    compared = False
    first_half = {name for name, half in results.summary.halves.items() if half == 0}
    for done, (model, layer) in enumerate(layers):
        progress(done, 2 * len(layers))
        about = f"{model.label}, layer {layer}"
        fixed = at_fixed_sigma(results, model.name, layer, study.alignment.measures)
        if not fixed:
            remarks.append(Remark(about, "has no comparisons and is left out"))
            continue
        compared = True
        lacking: dict[str, list[str]] = {}
        for measure, at in fixed.items():
            if not any(is_head(m) for m in at.cells.maps) or at.cells.without_scores():
                remarks.append(Remark(about, f"{measure} is undefined for every head"))
                continue
            try:
                reading, left_out = read_layer(
                    at, model.name, layer, measure, study.maps.sigma, study.maps.sigma_unit, primary=measure == primary
                )
            except DataError as error:
                if measure == primary:
                    raise
                remarks.append(Remark(about, str(error)))
                continue
            sound.append(reading)
            for text in left_out:
                lacking.setdefault(text, []).append(measure)
            if measure == primary:
                matches[model.name, layer] = match_of(results, at.cells, model.name, layer)
                means[model.name] = MeanOfHeads(layer, wide(at.cells, "mean"), wide_gain(at, primary))
                if first_half:
                    first_halves[model.name, layer] = means_on(at.cells, reading, first_half)
        remarks += [Remark(f"{about}, {', '.join(of)}", text) for text, of in lacking.items()]
    if not compared:
        raise DataError(
            f"the analysis of {results.study_folder} compares no participant's gaze with a model: see the remarks in "
            f'its summary.json, then run "beholder analyze {results.study_folder}" again.'
        )
    if not any(s.primary for s in sound):
        raise DataError(
            f"the primary measure {primary} is undefined for every comparison of "
            f"{results.study_folder}: name another as alignment.primary in study.toml and analyse again."
        )
    sound = with_holm_over_head_effects(sound)
    tests, p_values = chance_tests(matches, primary, study.study.seed)
    sound = [with_p_above_chance(s, p_values) if s.primary else s for s in sound]
    named = [name_head(of, first_halves) for of in by_model(sound)]
    shown = {(s.model, s.layer) for s, _ in named}
    choices = []
    for i, reading in enumerate(sound):
        if reading.primary and (reading.model, reading.layer) in shown:
            at = at_fixed_sigma(results, reading.model, reading.layer, [primary])[primary]
            sound[i], trouble = in_depth(at, reading, study.study.seed)
            head = next(name for s, name in named if s is reading)
            of_model = [s for s in sound if s.primary and s.model == reading.model]
            match = matches[reading.model, reading.layer]
            choices.append(choice_of(results, sound[i], head, of_model, at, match))
            if trouble:
                label = next(m.label for m in results.summary.models if m.name == reading.model)
                remarks.append(Remark(f"{label}, layer {reading.layer}, {reading.measure}", trouble))
    replication = []
    for done, (model, layer) in enumerate(layers):
        progress(len(layers) + done, 2 * len(layers))
        measured = [s.measure for s in sound if (s.model, s.layer) == (model.name, layer)]
        for measure, cells in over_sigma(results, model.name, layer, measured).items():
            if not cells.without_scores():
                pairs = (model.name, layer) in shown
                replication.append(replicate(cells, model.name, layer, measure, study.maps.sigma_unit, pairs=pairs))
    readings_shown = [s for s in sound if s.primary and (s.model, s.layer) in shown]
    groups, remark = compare_groups(results, sorted(shown), primary)
    progress(2 * len(layers), 2 * len(layers))
    return Findings(
        primary=primary,
        level=LEVEL,
        sound=tuple(sound),
        replication=tuple(replication),
        lifts=lifts(results.attention_table),
        other_drift=tuple(o for s in readings_shown for o in with_other_drift(results, s)),
        remarks=(*remarks, *([Remark("groups", remark)] if remark else [])),
        above_chance=tests,
        model_contrasts=model_contrasts(means, primary),
        windows=tuple(w for s in readings_shown for w in read_windows(results, s)),
        groups=groups,
        sigmas=estimate_sigmas(results, readings_shown) if study.maps.estimate_sigma else (),
        half=_half(results, sound[0].model, sound[0].layer),
        choices=tuple(choices),
    )


def _half(results: Results, model: str, layer: int) -> Estimate | None:
    known = half_of_viewers(results, model, layer)
    return mean_interval(known) if len(known) else None
