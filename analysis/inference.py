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

Nothing here draws or writes. How partitions become arrays stands in cells.py, what is computed of arrays in
statistics/, densities in alignment/baselines.py, estimates of sigma in alignment/bandwidth.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from beholder.analysis.alignment.bandwidth import SigmaEstimate, human_sigma, model_sigma, sigmas_to_try
from beholder.analysis.alignment.baselines import PictureGaze
from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.cells import (
    SAME_HALF,
    SAME_KIND,
    SHUFFLED,
    Cells,
    Equal,
    Fixed,
    against_other_pictures,
    at_fixed_sigma,
    half_of_viewers,
    head_scores,
    in_windows,
    over_sigma,
    with_equal_counts,
)
from beholder.analysis.gaze.maps import area_resample, grid_for, sigma_in_map_px, to_map_px
from beholder.analysis.results.study_results import REFERENCES, Results, named_maps
from beholder.analysis.statistics.crossed import (
    LEVEL,
    NOT_TAKEN,
    Estimate,
    Share,
    complete,
    crossed_interval,
    groups_interval,
    mean_interval,
    share_of_the_way,
    t_interval,
    two_way_bootstrap,
)
from beholder.analysis.statistics.mixed_model import Components, components, fit_tables, wald_test
from beholder.analysis.statistics.multiplicity import Contrast, holm, pairwise, simultaneous
from beholder.analysis.statistics.oneway import Anova, TukeyPair, anova, tukey
from beholder.analysis.statistics.permutation import above_chance
from beholder.analysis.statistics.quasi_f import HeadEffect, huynh_feldt_epsilon, quasi_f
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset import read_participants
from beholder.shared.errors import DataError, Remark
from beholder.shared.stimuli import read_stimuli

OTHERS, FITTED_CENTRE = "others", "centre-fitted"
PERMUTATIONS = 2000
SKEWED = ("kl",)  # measures that have a reading by their logarithms beside
MOST_NAMED = 20  # participants or pictures in one remark

REPLICATION_WARNING = (
    "This is the published analysis. It treats every participant and picture as an independent replicate of a head, "
    "which they are not: people share pictures, and a head does well on some pictures and badly on others. In "
    "simulated studies of 30 participants, 20 pictures and 12 heads that did not differ at all, its ANOVA found p < "
    ".05 in 4 % of studies where pictures did not matter to heads, in 45 % where the SD of head by picture was 0.3 of "
    "the residual SD, and in nearly all where it was 1; taking sigmas as replicates found it always. That is where "
    "participants, and pictures, differ from each other by one residual SD and hide some of it; where they differ by "
    "half as much, it was 45 % even though pictures did not matter to heads. The sound reading found it in 4 to 5 %. "
    "Do not conclude from these p values."
)
SIGMA_WARNING = (
    "Sigma changes the target as well as the match: a wider Gaussian makes every human map flatter, so that any map, "
    "that of another picture included, comes closer to it. The dashed curve shows how much of the change any map "
    "shares. Heads may be compared with each other at one sigma. Scores at different sigmas may not be compared to "
    "choose one, and where a curve is best is no measure of how wide people's or the model's attention is."
)


@dataclass(frozen=True)
class MapReading:
    """One map of the model at the fixed sigma: its score, the score of its attention on other pictures, the gain.

    `gain` is positive where the map is closer to people than its own attention on other pictures is, whichever the
    measure's direction; `gain_p_holm` is corrected over the heads. Both are None where no pictures were shuffled.
    `same_kind` and `gain_same_kind` are the same with other pictures of the same kind alone. `p_above_chance` is by
    permuted pictures, adjusted for all heads and layers of the model (see `ChanceTest`); by the primary measure alone.
    `share` is how far the map gets from its own attention on other pictures (0) to the other viewers (1). Heads have
    different floors, so that these do not compare; `share_over_centre` has the fitted centre bias for everybody's floor
    and is negative where the map is farther from people than that. Both say why they are blank (`crossed.Share`).
    `inside` is the score within the object alone, `pooled` that of the map of all people together, over pictures alone.
    `bootstrap` and `gain_bootstrap` are 95 % percentile intervals of the score and the gain, participants and pictures
    drawn anew, beside the intervals proper; None except for heads by the primary measure in the layers shown.
    """

    map: str
    value: Estimate
    shuffled: Estimate | None
    gain: Estimate | None
    gain_p_holm: float | None = None
    bootstrap: tuple[float, float] | None = None
    gain_bootstrap: tuple[float, float] | None = None
    same_kind: Estimate | None = None
    gain_same_kind: Estimate | None = None
    p_above_chance: float | None = None
    share: Share = NOT_TAKEN
    share_over_centre: Share = NOT_TAKEN
    inside: Estimate | None = None
    pooled: Estimate | None = None


@dataclass(frozen=True)
class Reference:
    """A map that knows nothing of the trained model, at the fixed sigma: see `study_results.REFERENCES`.

    `lead` is by how much the closest head is closer to people than this map (positive), over the same cells.
    """

    map: str
    value: Estimate
    lead: Estimate


@dataclass(frozen=True)
class MixedReading:
    """The mixed model over every cell (participant x picture) that has a score for all heads, where others are missing.

    `rows` are its scores, `cells` x heads; `cells_missing` is how many more cells the participants and pictures that it
    has would make. `head_effect` is Wald's F, both degrees of freedom multiplied by epsilon. `heads` stand in the order
    of their numbers and have no `shuffled`; `contrasts` are those with the closest head, corrected for all pairs, since
    the scores chose the closest; `ranked` and `ties` as in `Sound`. `trouble` says in words which fits did not
    converge; empty where all did.
    """

    participants: int
    pictures: int
    cells: int
    cells_missing: int
    rows: int
    head_effect: HeadEffect
    heads: tuple[MapReading, ...]
    ranked: tuple[str, ...]
    ties: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    components: Components
    trouble: str


@dataclass(frozen=True)
class OnLogs:
    """The heads' order and differences by the logarithm of a score that is skewed, beside those by the score itself.

    Divergences have a long tail, longer for sharp heads: of log-normal scores with unequal skew some pair was declared
    different in 11 % of simulated studies, and the interval of a mean held it in 90 %.
    """

    ranked: tuple[str, ...]
    ties: tuple[str, ...]
    head_effect: HeadEffect | None


@dataclass(frozen=True)
class Sound:
    """One model, layer and measure at the fixed sigma, participants and pictures both random.

    `heads` stand in the order of their numbers, `ranked` from the closest to people to the farthest. `ties` are the
    heads that cannot be told from the closest. `summaries` are maps over heads, such as their mean;
    `leads_over_summaries` by how much the closest head is closer to people (positive) than each, over the same cells.
    `share_of_centre` is how far the fitted centre bias gets on the closest head's way from its attention on other
    pictures to the other viewers. `other_viewers` is how many others predict a viewer, on the picture with the fewest
    and on that with the most; None where there is no ceiling.
    `head_effect` and `contrasts` are None and empty with one head, one participant or one picture.
    `head_effect_p_holm` is the head effect's p corrected by Holm: for the primary measure over the model's layers (None
    with one), for the others over layers and measures together. `mixed` is None where no cell is missing, and for other
    than the primary measure in the layers shown. `inside_uniform` is an even spread over the object, scored within it:
    the floor of the maps' `inside`. `on_logs` is the same of the logarithms of a divergence; None for other measures.
    """

    model: str
    layer: int
    measure: str
    primary: bool
    sigma: float
    sigma_unit: str
    heads: tuple[MapReading, ...]
    summaries: tuple[MapReading, ...]
    references: tuple[Reference, ...]
    ranked: tuple[str, ...]
    ties: tuple[str, ...]
    head_effect: HeadEffect | None
    gain_effect: HeadEffect | None
    contrasts: tuple[Contrast, ...]
    head_effect_p_holm: float | None = None
    mixed: MixedReading | None = None
    inside_uniform: Estimate | None = None
    on_logs: OnLogs | None = None
    leads_over_summaries: tuple[Estimate, ...] = ()
    share_of_centre: Share = NOT_TAKEN
    other_viewers: tuple[int, int] | None = None

    @property
    def best(self) -> MapReading:
        """The head closest to people."""
        return self.head(self.ranked[0])

    @property
    def worst(self) -> MapReading:
        """The head farthest from people."""
        return self.head(self.ranked[-1])

    def head(self, name: str) -> MapReading:
        """The reading of one head, by its `map`."""
        return next(h for h in self.heads if h.map == name)


@dataclass(frozen=True)
class Curve:
    """A mean score over sigma, its SD over participants x pictures, and where it is best; None where undefined, as is
    the best of one sigma.

    `at_edge`: the best is the first or last sigma of the sweep, which is then no optimum but where the sweep ended.
    """

    map: str
    mean: tuple[float | None, ...]
    sd: tuple[float | None, ...]
    best_sigma: float | None
    at_edge: bool


@dataclass(frozen=True)
class BestSigma:
    """The best sigmas of single participants and pictures: each has its own curve, the mean over heads.

    Mean, SD and SE (SD / sqrt(cells)) are over the `cells`, participants x pictures that have a curve; SD and SE are
    None with one. `at_edge` is how many of them are best at the first or last sigma of the sweep, so that theirs is no
    optimum. As all of the replication, the SE takes every participant and picture as a replicate.
    """

    mean: float
    sd: float | None
    se: float | None
    cells: int
    at_edge: int


@dataclass(frozen=True)
class Replication:
    """The published analysis of one model, layer and measure.

    `best_sigma_mean`, `_sd` and `_se` are over heads; `sigma` is the swept value nearest to that mean, at which ANOVA
    and Tukey's HSD are done, the latter only in the layer shown of each model. `ranked` goes from the closest head to
    the farthest there. `over_cells` is the best sigma over participants x pictures; None where there is no sweep, or
    no participant and picture with a score of every head. Where there is but one sigma, that is `sigma`, and none of
    them is best.
    """

    model: str
    layer: int
    measure: str
    sigmas: tuple[float, ...]
    sigma_unit: str
    curves: tuple[Curve, ...]
    mean_curve: Curve
    shuffled_curve: Curve | None
    best_sigma_mean: float | None
    best_sigma_sd: float | None
    best_sigma_se: float | None
    sigma: float
    ranked: tuple[str, ...]
    anova: Anova | None
    tukey: tuple[TukeyPair, ...]
    over_cells: BestSigma | None = None

    @property
    def swept(self) -> bool:
        """Whether there are several sigmas, of which one can be best."""
        return len(self.sigmas) > 1


@dataclass(frozen=True)
class Lift:
    """Attention on the object, of one map of one layer: shares of attention and of area, and the lift in pp.

    `lift_p_holm` is the p of `lift_pp` against 0, corrected by Holm over the heads of the layer; None for other maps
    than heads, and where a head of the layer has no p.
    """

    model: str
    layer: int
    map: str
    inside: Estimate
    outside: Estimate
    area: Estimate
    lift_pp: Estimate
    lift_p_holm: float | None = None


@dataclass(frozen=True)
class ChanceTest:
    """Is any head of any layer of a model closer to people on the picture they saw than on others? (`permutation`)

    By the primary measure, all heads and layers tested at once: `p` is that of the largest standardised gain, which is
    that of head `map` of `layer`, `z` its size and `gain` the gain itself; None where nothing could be tested. `maps`
    is how many were tested. No p can be below `smallest_p`.
    """

    model: str
    measure: str
    p: float | None
    map: str
    layer: int
    z: float | None
    gain: float | None
    maps: int
    participants: int
    pictures: int
    permutations: int
    exact: bool
    smallest_p: float


@dataclass(frozen=True)
class Choice:
    """The head of a model that is named: of all layers, the one whose score by the primary measure is the closest.

    `reading` has its figures on the pictures `estimated_on`. Where heads are chosen on half of the pictures these are
    the other half, and `chosen_on` names the half; else both are empty, and all pictures serve both. `p` says how
    likely such a gain over chance is for permuted pictures, corrected for all heads and layers among which it was
    chosen; None where it was not tested. `ties` are the heads of any layer, as (layer, map) from the closest on, that
    cannot be told from it, simultaneously over all pairs of candidates (of a head that other pictures chose: over its
    own pairs); None where that cannot be tested. There were so many `candidates`, in so many `layers`.
    """

    model: str
    layer: int
    map: str
    reading: MapReading
    p: float | None
    ties: tuple[tuple[int, str], ...] | None
    candidates: int
    layers: int
    chosen_on: tuple[str, ...] = ()
    estimated_on: tuple[str, ...] = ()

    @property
    def above_chance(self) -> bool:
        """Whether it may be said that the head is closer to people on the pictures they saw than on others."""
        gain = self.reading.gain
        return gain is not None and gain.mean > 0 and self.p is not None and self.p < 1 - LEVEL


@dataclass(frozen=True)
class ModelContrast:
    """Two models by the primary measure: by how much the first is closer to people (positive) than the second.

    What is compared is the mean of the heads in the last layer analysed, which no data chose: its score, or its gain
    over chance (`of`). low, high and p are simultaneous over all pairs of models.
    """

    of: Literal["score", "gain"]

    first: str
    first_layer: int
    second: str
    second_layer: int
    difference: float
    low: float
    high: float
    df: float
    p: float


@dataclass(frozen=True)
class WindowReading:
    """The primary measure in one window of viewing time, of a layer shown: the heads and their mean, `value` alone.

    `references` are `centre-fitted` and, where there are any, `others`; `fixations` is their mean number a participant
    and picture. Participants' maps depend on how many fixations they are made of, so windows of different lengths are
    not compared.
    """

    model: str
    layer: int
    start_s: float
    end_s: float
    heads: tuple[MapReading, ...]
    references: tuple[MapReading, ...]
    fixations: float
    participants: int
    pictures: int


@dataclass(frozen=True)
class GroupContrast:
    """Two groups of participants and one map: by how much it is closer to the first group (positive).

    Both have as many fixations on a picture. `of`: by its score, or by its gain over chance. `means` are of the first
    and of the second group. low and high: 95 %, participants (of either group) and pictures random; `p_holm` is
    corrected over the heads (None for their mean).
    """

    of: Literal["score", "gain"]
    model: str
    layer: int
    map: str
    first: str
    second: str
    means: tuple[float, float]
    difference: float
    low: float | None
    high: float | None
    df: float | None
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Groups:
    """Groups of participants, by a column of participants.tsv, by the primary measure in the layers shown.

    `sizes` are participants by group in the comparison; `fixations` how many each of them has on a picture, the mean
    over pictures; `left_out` how many participants x pictures had too few.
    """

    column: str
    sizes: dict[str, int]
    fixations: float
    left_out: int
    contrasts: tuple[GroupContrast, ...]


@dataclass(frozen=True)
class SigmaReading:
    """A sigma estimated by held-out likelihood (bandwidth.py): of `people` (model ""), or of a map of a layer."""

    model: str
    layer: int
    map: str
    unit: str
    estimate: SigmaEstimate


@dataclass(frozen=True)
class Inference:
    """All that is said of a study; `primary` is the measure set beforehand, `remarks` what had to be left out.

    `other_drift`: the layers shown, by the primary measure, with the correction of drift that the study did not choose;
    empty where no drift is known. `half`: by NSS, the map of the first half of the viewers for the fixations of the
    others, over pictures. `choices`: of each model, the head that is named.
    """

    primary: str
    level: float
    sound: tuple[Sound, ...]
    replication: tuple[Replication, ...]
    lifts: tuple[Lift, ...]
    other_drift: tuple[Sound, ...]
    remarks: tuple[Remark, ...]
    above_chance: tuple[ChanceTest, ...] = ()
    model_contrasts: tuple[ModelContrast, ...] = ()
    windows: tuple[WindowReading, ...] = ()
    groups: Groups | None = None
    sigmas: tuple[SigmaReading, ...] = ()
    half: Estimate | None = None
    choices: tuple[Choice, ...] = ()

    @property
    def replicated(self) -> str:
        """The measure by which the replication is told: the primary one; where that was not taken over sigma KL, as in
        the published study, or the first that was; empty where none was.
        """
        known = [r.measure for r in self.replication]
        return next((m for m in (self.primary, "kl", *known) if m in known), "")

    def primary_of(self, model: str, layer: int) -> Sound:
        """The sound reading of one layer by the primary measure."""
        return next(s for s in self.sound if s.primary and (s.model, s.layer) == (model, layer))

    def shown(self) -> tuple[Sound, ...]:
        """By the primary measure, of each model the layer of the head that is named."""
        return tuple(self.primary_of(c.model, c.layer) for c in self.choices)

    def main(self) -> Sound:
        """What the first sentence speaks of: the layer shown of the first model."""
        return self.shown()[0]

    def measures_of(self, reading: Sound) -> tuple[Sound, ...]:
        """Every measure of the layer that `reading` is of."""
        return tuple(s for s in self.sound if (s.model, s.layer) == (reading.model, reading.layer))

    def replications_of(self, reading: Sound) -> tuple[Replication, ...]:
        """The published analysis of the layer that `reading` is of, by measure."""
        return tuple(r for r in self.replication if (r.model, r.layer) == (reading.model, reading.layer))

    def other_drift_of(self, reading: Sound) -> Sound | None:
        """The layer that `reading` is of, with the other choice of the correction of drift."""
        return next((s for s in self.other_drift if (s.model, s.layer) == (reading.model, reading.layer)), None)

    def lifts_of(self, reading: Sound) -> tuple[Lift, ...]:
        """Attention on the object in the layer that `reading` is of."""
        return tuple(x for x in self.lifts if (x.model, x.layer) == (reading.model, reading.layer))


def sign_of(measure: str) -> int:
    """1 where higher scores are closer to people, -1 where lower ones are."""
    return 1 if MEASURES[measure].closer == "higher" else -1


def is_head(name: str) -> bool:
    """Whether a `map` of the alignment table is one of the model's heads."""
    return name.startswith("head-")


def infer(results: Results, progress: Callable[[int, int], None] = lambda done, total: None) -> Inference:
    """The sound reading, the replication and the lifts of every model and layer that was analysed.

    progress(steps done, of all). A layer's scores are read when its turn comes, and none stays but what is said of it.
    Raises DataError where there is nothing to compare. Deterministic: the bootstrap draws by the study's seed.
    """
    study, primary = results.study, results.study.alignment.primary
    layers = [(model, layer) for model in results.summary.models for layer in model.analysed_layers]
    sound: list[Sound] = []
    matches: dict[tuple[str, int], Match] = {}
    means: dict[str, _MeanOfHeads] = {}  # of each model's last layer, by the primary measure
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
                reading, left_out = sound_reading(
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
                matches[model.name, layer] = _match(results, at.cells, model.name, layer)
                means[model.name] = _MeanOfHeads(layer, _wide(at.cells, "mean"), _wide_gain(at, primary))
                if first_half:
                    first_halves[model.name, layer] = _means_on(at.cells, reading, first_half)
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
    sound = _with_holm_over_head_effects(sound)
    tests, p_values = chance_tests(matches, primary, study.study.seed)
    sound = [_with_p_above_chance(s, p_values) if s.primary else s for s in sound]
    named = [name_head(of, first_halves) for of in by_model(sound)]
    shown = {(s.model, s.layer) for s, _ in named}
    choices = []
    for i, reading in enumerate(sound):
        if reading.primary and (reading.model, reading.layer) in shown:
            at = at_fixed_sigma(results, reading.model, reading.layer, [primary])[primary]
            sound[i], trouble = _in_depth(at, reading, study.study.seed)
            head = next(name for s, name in named if s is reading)
            of_model = [s for s in sound if s.primary and s.model == reading.model]
            match = matches[reading.model, reading.layer]
            choices.append(_choice(results, sound[i], head, of_model, at, match))
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
    groups, remark = _groups(results, sorted(shown), primary)
    progress(2 * len(layers), 2 * len(layers))
    return Inference(
        primary=primary,
        level=LEVEL,
        sound=tuple(sound),
        replication=tuple(replication),
        lifts=lifts(results.attention_table),
        other_drift=tuple(o for s in readings_shown for o in _with_other_drift(results, s)),
        remarks=(*remarks, *([Remark("groups", remark)] if remark else [])),
        above_chance=tests,
        model_contrasts=_model_contrasts(means, primary),
        windows=tuple(w for s in readings_shown for w in _windows(results, s)),
        groups=groups,
        sigmas=_sigmas(results, readings_shown) if study.maps.estimate_sigma else (),
        half=_half(results, sound[0].model, sound[0].layer),
        choices=tuple(choices),
    )


def _with_other_drift(results: Results, reading: Sound) -> tuple[Sound, ...]:
    """A sound reading once more, over the fixations with the other choice of the correction, if there are any."""
    found = at_fixed_sigma(results, reading.model, reading.layer, [reading.measure], moved=True)
    if not found:
        return ()
    try:
        return (sound_reading(found[reading.measure], reading.model, reading.layer, reading.measure, reading.sigma,
                              reading.sigma_unit, primary=True)[0],)  # fmt: skip
    except DataError:
        return ()


def read_inference(results_folder: Path) -> Inference:
    """What `infer` found, as written to inference.json. Raises DataError where it is absent or of another version."""
    path = results_folder / "inference.json"
    try:
        return TypeAdapter(Inference).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f'{path} cannot be used ({reason}): run "beholder analyze" on the study again.') from None


def sound_reading(
    at: Fixed, model: str, layer: int, measure: str, sigma: float, unit: str, *, primary: bool
) -> tuple[Sound, list[str]]:
    """One measure at the sigma fixed beforehand, and what had to be left out of it, in words."""
    sign, cells = sign_of(measure), at.cells
    heads, every, chance = _heads_at(at, sigma)
    rows, columns = _complete_heads(every, chance)
    if rows.size == 0:
        raise DataError(
            f"{model}, layer {layer}, {measure}: no participant has a score for every head on any picture; see the "
            "remarks of the analysis for what is missing."
        )
    left_out = _left_out(cells, rows, columns)
    kept = np.ix_(rows, columns)
    scores = every[kept]
    baseline = None if chance is None else _chance_of(at, heads, sigma, kept)
    centre, ceiling = (cells.at(name, sigma)[kept] for name in (FITTED_CENTRE, OTHERS))

    def share(floor: FloatArray | None, value: FloatArray) -> Share:
        return _share(measure, floor, value, ceiling)

    def reading(name: str, value: FloatArray, other: FloatArray | None) -> MapReading:
        more = _beside(at, name, value, kept, sigma, measure)
        more |= {"share": share(other, value), "share_over_centre": share(centre, value)}
        if other is None:
            return MapReading(name, crossed_interval(value), None, None, **more)
        gain = crossed_interval(sign * (value - other))
        return MapReading(name, crossed_interval(value), crossed_interval(other), gain, **more)

    readings = [
        reading(h, scores[:, :, i], None if baseline is None else baseline[:, :, i]) for i, h in enumerate(heads)
    ]
    summaries = []
    for name in [
        m for m in cells.maps
        if not is_head(m) and m not in REFERENCES and not m.startswith((SHUFFLED, SAME_KIND, SAME_HALF))
    ]:  # fmt: skip
        value, other = cells.at(name, sigma)[kept], at.chance(SHUFFLED + name, sigma, kept)
        if not np.isnan(value).any():
            summaries.append(reading(name, value, None if np.isnan(other).any() else other))
    ranked = [heads[i] for i in np.argsort(-sign * scores.mean(axis=(0, 1)), kind="stable")]
    closest = scores[:, :, heads.index(ranked[0])]
    over_summaries = [crossed_interval(sign * (closest - cells.at(m.map, sigma)[kept])) for m in summaries]
    references = []
    for name in REFERENCES:
        value = cells.at(name, sigma)[kept]
        # Pictures without a mask have no object; the mean is then over those that have one, and says how many.
        there = np.ix_(*complete(value))
        if value[there].size:
            lead = crossed_interval(sign * (closest[there] - value[there]))
            references.append(Reference(name, crossed_interval(value[there]), lead))
    crossed = min(scores.shape) > 1  # heads, participants and pictures, two of each
    contrasts = pairwise(scores, heads, sign) if crossed else ()
    return (
        Sound(
            model=model,
            layer=layer,
            measure=measure,
            primary=primary,
            sigma=sigma,
            sigma_unit=unit,
            heads=tuple(_with_holm(readings)),
            summaries=tuple(summaries),
            references=tuple(references),
            ranked=tuple(ranked),
            ties=_tied(contrasts, ranked),
            head_effect=quasi_f(scores) if crossed else None,
            gain_effect=quasi_f(sign * (scores - baseline)) if crossed and baseline is not None else None,
            contrasts=contrasts,
            inside_uniform=_inside(at, "uniform", sigma),
            on_logs=_on_logs(scores, heads) if measure in SKEWED else None,
            leads_over_summaries=tuple(over_summaries),
            share_of_centre=share(None if baseline is None else baseline[:, :, heads.index(ranked[0])], centre),
            other_viewers=_other_viewers(cells, sigma),
        ),
        left_out,
    )


def _share(measure: str, floor: FloatArray | None, value: FloatArray, ceiling: FloatArray) -> Share:
    """How far a map gets from floor to ceiling by a measure; blank where no ceiling is known for it."""
    if MEASURES[measure].no_best_map:
        return Share(None, "measure")
    return share_of_the_way(floor, value, ceiling, MEASURES[measure].closer)


def _tied(contrasts: Sequence[Contrast], ranked: Sequence[str]) -> tuple[str, ...]:
    """The heads that cannot be told from the first of `ranked`, in that order."""
    untold = {
        c.second if c.first == ranked[0] else c.first
        for c in contrasts if ranked[0] in (c.first, c.second) and c.p >= 1 - LEVEL
    }  # fmt: skip
    return tuple(head for head in ranked if head in untold)


def _on_logs(scores: FloatArray, heads: list[str]) -> OnLogs | None:
    """What the logarithms of divergences (participants, pictures, heads) say; None where one is not above 0."""
    if not (scores > 0).all():
        return None
    logs = np.log(scores)
    ranked = [heads[i] for i in np.argsort(logs.mean(axis=(0, 1)), kind="stable")]
    if min(logs.shape) < 2:
        return OnLogs(tuple(ranked), (), None)
    return OnLogs(tuple(ranked), _tied(pairwise(logs, heads, -1), ranked), quasi_f(logs))


def _beside(
    at: Fixed, name: str, value: FloatArray, kept: tuple[NDArray[np.intp], ...], sigma: float, measure: str
) -> dict[str, Any]:
    """What stands beside a map's score: other pictures of its kind, within the object, everybody's map."""
    found: dict[str, Any] = {"inside": _inside(at, name, sigma)}
    # A picture that is the only one of its kind has none; the mean is then over those that have.
    rows, columns = complete(at.cells.at(SAME_KIND + name, sigma)[kept])
    if rows.size:
        alike = at.chance(SAME_KIND + name, sigma, np.ix_(kept[0].ravel()[rows], kept[1].ravel()[columns]))
        found["same_kind"] = crossed_interval(alike)
        found["gain_same_kind"] = crossed_interval(sign_of(measure) * (value[np.ix_(rows, columns)] - alike))
    if len(at.pooled.get(name, ())):
        found["pooled"] = mean_interval(at.pooled[name])
    return found


def _other_viewers(cells: Cells, sigma: float) -> tuple[int, int] | None:
    """How many others predict each viewer, on the picture with the fewest and on that with the most."""
    viewers = np.isfinite(cells.at(OTHERS, sigma)).sum(axis=0)
    seen = viewers[viewers > 0]
    return (int(seen.min()) - 1, int(seen.max()) - 1) if len(seen) else None


def _inside(at: Fixed, name: str, sigma: float) -> Estimate | None:
    """A map's score within the object, over the participants and pictures that have one for every map."""
    if at.inside is None or name not in at.inside.maps:
        return None
    kept = np.ix_(*complete(at.inside.at(name, sigma)))
    scores = at.inside.at(name, sigma)[kept]
    return crossed_interval(scores) if scores.size else None


def _heads_at(at: Fixed, sigma: float) -> tuple[list[str], FloatArray, FloatArray | None]:
    """The heads, their scores (participants, pictures, heads), and those on other pictures if any were shuffled."""
    heads = [m for m in at.cells.maps if is_head(m)]
    scores, chance = (np.stack([at.cells.at(of + h, sigma) for h in heads], axis=2) for of in ("", SHUFFLED))
    return heads, scores, None if np.isnan(chance).all() else chance


def _chance_of(at: Fixed, heads: Sequence[str], sigma: float, kept: tuple[NDArray[np.intp], ...]) -> FloatArray:
    """The pseudo-values of the heads' scores by chance (`Fixed.chance`), of those kept; the shape of the scores."""
    return np.stack([at.chance(SHUFFLED + h, sigma, kept) for h in heads], axis=2)


def _complete_heads(scores: FloatArray, chance: FloatArray | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return complete(scores if chance is None else np.concatenate([scores, chance], axis=2))


def _with_holm_over_head_effects(readings: Sequence[Sound]) -> list[Sound]:
    """The head effects of a model, corrected by Holm: of the primary measure over its layers, of the others over layers
    and measures together. The primary measure of a single layer is one test, and is not corrected.
    """
    families: dict[tuple[str, bool], list[int]] = {}
    for i, reading in enumerate(readings):
        if reading.head_effect is not None:
            families.setdefault((reading.model, reading.primary), []).append(i)
    corrected = list(readings)
    for (_, primary), members in families.items():
        if primary and len(members) == 1:
            continue
        raw = [effect.p for i in members if (effect := readings[i].head_effect) is not None]
        for i, p in zip(members, holm(raw), strict=True):
            corrected[i] = replace(readings[i], head_effect_p_holm=p)
    return corrected


def _in_depth(at: Fixed, reading: Sound, seed: int) -> tuple[Sound, str]:
    """A reading with its bootstrap and, where cells are missing, the mixed model; and in words why there is none."""
    heads, scores, chance = _heads_at(at, reading.sigma)
    kept = np.ix_(*_complete_heads(scores, chance))
    rng = np.random.default_rng((seed, crc32(f"{reading.model}/{reading.layer}/{reading.measure}".encode())))
    sign, everything = sign_of(reading.measure), np.ix_(*map(np.arange, scores.shape[:2]))
    bootstrap = two_way_bootstrap(scores[kept], rng)
    gain_bootstrap: list[tuple[float, float] | None] = [None] * len(heads)
    gain = None
    if chance is not None:
        # A picture that is drawn brings its gaze and its attention.
        gain_bootstrap = two_way_bootstrap(sign * (scores[kept] - _chance_of(at, heads, reading.sigma, kept)), rng)
        gain = sign * (scores - _chance_of(at, heads, reading.sigma, everything))
    reading = replace(
        reading,
        heads=tuple(
            replace(head, bootstrap=of_score, gain_bootstrap=of_gain)
            for head, of_score, of_gain in zip(reading.heads, bootstrap, gain_bootstrap, strict=True)
        ),
    )
    whole = scores if gain is None else np.concatenate([scores, gain], axis=2)
    if len(heads) < 2 or np.isfinite(whole).all():
        return reading, ""
    try:
        return replace(reading, mixed=mixed_reading(scores, gain, heads, sign)), ""
    except ValueError as error:
        return reading, f"cells are missing, and there is no mixed model over those that are left: {error}"


def mixed_reading(scores: FloatArray, gain: FloatArray | None, heads: Sequence[str], sign: int) -> MixedReading:
    """The mixed model of (participants, pictures, heads) with missing cells; gain: the same shape, or None.

    A cell counts where every head has a score and a gain. sign: 1 where higher scores are closer to people, else -1.
    Each head, gain and difference has variances of its own; the head effect takes them as equal, which epsilon mends.
    Raises ValueError as `mixed_model.fit_tables` does, and where heads do not differ at all.
    """
    both = scores if gain is None else np.concatenate([scores, gain], axis=2)
    usable: NDArray[np.bool_] = np.all(np.isfinite(both), axis=2)
    there = np.ix_(np.any(usable, axis=1), np.any(usable, axis=0))
    usable, both = usable[there], np.where(usable[there][:, :, None], both[there], np.nan)
    scores = both[:, :, : len(heads)]
    troubles: list[str] = []

    def estimate(table: FloatArray, confidence: float = LEVEL) -> Estimate:
        fit = fit_tables(table[:, :, None])
        troubles.append(fit.trouble)
        counts = (fit.participants, fit.pictures)
        return t_interval(float(fit.means[0]), fit.standard_error, fit.df, confidence, counts)

    test = wald_test(scores)
    troubles.append(test.fit.trouble)
    y = scores - scores.mean(axis=2, keepdims=True)
    by_participant, by_picture = (m - m.mean(axis=0) for m in (np.nanmean(y, axis=1), np.nanmean(y, axis=0)))
    epsilon = huynh_feldt_epsilon(by_participant, by_picture, test.df2 / test.df1)
    p = float(stats.f.sf(test.f, epsilon * test.df1, epsilon * test.df2))
    gains = [None if gain is None else estimate(both[:, :, len(heads) + i]) for i in range(len(heads))]
    readings = _with_holm([MapReading(h, estimate(scores[:, :, i]), None, gains[i]) for i, h in enumerate(heads)])
    order = np.argsort([-sign * r.value.mean for r in readings], kind="stable")
    pairs = len(heads) * (len(heads) - 1) // 2
    contrasts = tuple(
        simultaneous(
            heads[order[0]],
            heads[i],
            estimate(sign * (scores[:, :, order[0]] - scores[:, :, i]), 1 - (1 - LEVEL) / pairs),
            pairs,
        )
        for i in order[1:]
    )
    return MixedReading(
        participants=usable.shape[0],
        pictures=usable.shape[1],
        cells=int(usable.sum()),
        cells_missing=int((~usable).sum()),
        rows=int(usable.sum()) * len(heads),
        head_effect=HeadEffect(test.f, epsilon * test.df1, epsilon * test.df2, epsilon, p),
        heads=tuple(readings),
        ranked=tuple(heads[i] for i in order),
        ties=tuple(c.second for c in contrasts if c.p >= 1 - LEVEL),
        contrasts=contrasts,
        components=components(scores, test.fit),
        trouble="; ".join(dict.fromkeys(t for t in troubles if t)),
    )


def _left_out(cells: Cells, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> list[str]:
    """In words, which participants and pictures a complete table had to leave out."""
    texts = []
    for kind, names, kept in (
        ("participants", cells.participants, rows),
        ("pictures", cells.pictures, columns),
    ):
        there = set(kept.tolist())
        gone = [name for i, name in enumerate(names) if i not in there]
        more = len(gone) > MOST_NAMED
        if gone:
            texts.append(
                f"{len(gone)} of {len(names)} {kind} lack comparisons and are left out of the intervals "
                f"({', '.join(gone[:MOST_NAMED])}{f' and {len(gone) - MOST_NAMED} more' if more else ''}); "
                "the replication keeps what they have"
            )
    return texts


# Chance.


@dataclass(frozen=True)
class Match:
    """Of one layer the mean over participants of each head's scores, a row a pair (picture of gaze, of attention)."""

    scores: pd.DataFrame
    participants: int


def chance_tests(
    matches: dict[tuple[str, int], Match], primary: str, seed: int
) -> tuple[tuple[ChanceTest, ...], dict[tuple[str, int, str], float]]:
    """The test of each model, and the adjusted p values by (model, layer, map); matches by (model, layer)."""
    tests: list[ChanceTest] = []
    p_values: dict[tuple[str, int, str], float] = {}
    for model in dict.fromkeys(m for m, _ in matches):
        tables = {layer: match.scores for (m, layer), match in matches.items() if m == model}
        pictures = sorted({picture for table in tables.values() for picture in table.index.get_level_values(0)})
        maps = [(layer, name) for layer, table in tables.items() for name in table.columns]
        where = pd.MultiIndex.from_product([pictures, pictures])
        scores = np.concatenate([t.reindex(where).to_numpy(dtype=np.float64) for t in tables.values()], axis=1)
        square = scores.reshape(1, len(pictures), len(pictures), len(maps))
        rng = np.random.default_rng((seed, crc32(f"chance of {model}".encode())))
        blocks = _compared_with_each_other(np.isfinite(square[0]).any(axis=-1))
        if not any(len(block) > 1 for block in blocks):
            continue
        found = above_chance(square, sign_of(primary), rng, PERMUTATIONS, blocks)
        p_values |= {
            (model, layer, name): p for (layer, name), p in zip(maps, found.p_adjusted, strict=True) if p is not None
        }
        z = [value if value is not None else -np.inf for value in found.z]
        layer, name = maps[int(np.argmax(z))]
        tests.append(ChanceTest(
            model=model, measure=primary, p=found.p, map=name, layer=layer, z=found.z[int(np.argmax(z))],
            gain=found.gain[int(np.argmax(z))], maps=sum(v is not None for v in found.z),
            participants=matches[model, layer].participants, pictures=found.pictures,
            permutations=found.permutations, exact=found.exact, smallest_p=found.smallest_p,
        ))  # fmt: skip
    return tuple(tests), p_values


def _match(results: Results, cells: Cells, model: str, layer: int) -> Match:
    """What permuted pictures are drawn from; cells: by the primary measure, at the fixed sigma."""
    primary = results.study.alignment.primary
    heads = [m for m in cells.maps if is_head(m)]
    elsewhere = against_other_pictures(results, model, layer, primary)
    if elsewhere.empty:
        return Match(elsewhere.reindex(columns=heads), len(cells.participants))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a picture that nobody has a score on
        match = np.nanmean(np.stack([cells.at(h, cells.sigmas[0]) for h in heads], axis=2), axis=0)
    own = pd.DataFrame(match, index=pd.MultiIndex.from_arrays([cells.pictures, cells.pictures]), columns=heads)
    return Match(pd.concat([elsewhere[heads], own]), len(cells.participants))


def _compared_with_each_other(known: NDArray[np.bool_]) -> list[list[int]]:
    """The pictures (by number) that have scores with each other; known: (pictures, pictures)."""
    blocks: dict[tuple[int, ...], list[int]] = {}
    for picture, row in enumerate(known):
        blocks.setdefault(tuple(np.flatnonzero(row)), []).append(picture)
    return [list(block) for block in blocks.values()]


def _with_p_above_chance(reading: Sound, p_values: dict[tuple[str, int, str], float]) -> Sound:
    heads = [replace(h, p_above_chance=p_values.get((reading.model, reading.layer, h.map))) for h in reading.heads]
    return replace(reading, heads=tuple(heads))


# The head that is named.


def by_model(readings: Sequence[Sound]) -> list[list[Sound]]:
    """The readings by the primary measure, model by model."""
    primary = [s for s in readings if s.primary]
    return [[s for s in primary if s.model == model] for model in dict.fromkeys(s.model for s in primary)]


def name_head(of_model: Sequence[Sound], first_halves: dict[tuple[str, int], dict[str, float]]) -> tuple[Sound, str]:
    """The closest head of all layers of a model, and its layer's reading; on the half that chooses, where one does.

    first_halves: the heads' mean scores on that half by model and layer; empty where all pictures choose.
    """
    scores = {
        (i, head.map): first_halves[s.model, s.layer][head.map] if first_halves else head.value.mean
        for i, s in enumerate(of_model) for head in s.heads
    }  # fmt: skip
    number, name = max(scores, key=lambda key: sign_of(of_model[0].measure) * scores[key])
    return of_model[number], name


def _means_on(cells: Cells, reading: Sound, pictures: Collection[str]) -> dict[str, float]:
    """The heads' mean scores on some pictures, over the participants who have all of them there.

    Raises DataError where nobody has.
    """
    columns = [i for i, name in enumerate(cells.pictures) if name in pictures]
    scores = np.stack([cells.at(h.map, reading.sigma)[:, columns] for h in reading.heads], axis=2)
    kept = np.ix_(*complete(scores))
    if not scores[kept].size:
        raise DataError(_nobody_on(reading, "chosen"))
    means = scores[kept].mean(axis=(0, 1))
    return {h.map: float(m) for h, m in zip(reading.heads, means, strict=True)}


def _nobody_on(reading: Sound, what: str) -> str:
    return (
        f"{reading.model}, layer {reading.layer}: nobody has a score on every picture of the half that heads are "
        f'{what} on; set alignment.choose_on = "all" in study.toml, or record again.'
    )


def _choice(
    results: Results, reading: Sound, head: str, of_model: Sequence[Sound], at: Fixed, match: Match
) -> Choice:  # fmt: skip
    """What is said of the head that is named: on the pictures that did not choose it, where there are such.

    reading, at and match: of its layer; of_model: the readings of all layers among which it was chosen.
    """
    halves = results.summary.halves
    first, second = (tuple(sorted(name for name, half in halves.items() if half == which)) for which in (0, 1))
    own, p = reading.head(head), reading.head(head).p_above_chance
    candidates = sum(len(s.heads) for s in of_model)
    # All pairs could have been the first and the second; a head that other pictures chose has only its own pairs.
    comparisons = candidates - 1 if second else candidates * (candidates - 1) // 2
    if second:
        own, p = (
            _on_second_half(at, reading, head, second),
            _p_on(match, head, second, reading, results.study.study.seed),
        )
    return Choice(
        model=reading.model, layer=reading.layer, map=head, reading=own, p=p,
        ties=_ties(results, reading, head, of_model, at.cells, second or at.cells.pictures, comparisons),
        candidates=candidates, layers=len(of_model), chosen_on=first, estimated_on=second,
    )  # fmt: skip


def _ties(
    results: Results, reading: Sound, head: str, of_model: Sequence[Sound], own: Cells, pictures: Collection[str],
    comparisons: int,
) -> tuple[tuple[int, str], ...] | None:  # fmt: skip
    """The heads of all layers that cannot be told from one of them, on some pictures; None where none can be tested.

    Each pair is compared over the participants and pictures that both have.
    """
    sign = sign_of(reading.measure)
    named = _wide(own, head).reindex(columns=sorted(pictures))
    found, tested = [], False
    for s in of_model:
        cells = own if s.layer == reading.layer else head_scores(results, s.model, s.layer, s.measure)
        for other in (h.map for h in s.heads):
            if cells is None or (s.layer, other) == (reading.layer, head):
                continue
            difference = sign * named.sub(_wide(cells, other).reindex(columns=named.columns)).to_numpy(dtype=np.float64)
            difference = difference[np.ix_(*complete(difference))]
            if min(difference.shape) < 2:
                continue
            tested = True
            e = crossed_interval(difference, confidence=1 - (1 - LEVEL) / comparisons)
            if e.low is None or e.low <= 0:
                found.append((e.mean, s.layer, other))
    return tuple((layer, name) for _, layer, name in sorted(found)) if tested else None


def _on_second_half(at: Fixed, reading: Sound, head: str, pictures: Collection[str]) -> MapReading:
    """A head's score and gain on the half of the pictures that did not choose it; chance is their attention alone."""
    sigma, sign = reading.sigma, sign_of(reading.measure)
    columns = np.array([i for i, name in enumerate(at.cells.pictures) if name in pictures], dtype=np.intp)
    scores, chance = (at.cells.at(of + head, sigma)[:, columns] for of in ("", SAME_HALF))
    known = scores if np.isnan(chance).all() else np.stack([scores, chance], axis=2)
    rows, there = complete(known)
    if not rows.size:
        raise DataError(_nobody_on(reading, "estimated"))
    kept = np.ix_(rows, columns[there])
    value = at.cells.at(head, sigma)[kept]
    centre, ceiling = (at.cells.at(name, sigma)[kept] for name in (FITTED_CENTRE, OTHERS))
    over_centre = _share(reading.measure, centre, value, ceiling)
    if known is scores:
        return MapReading(head, crossed_interval(value), None, None, share_over_centre=over_centre)
    other = at.chance(SAME_HALF + head, sigma, kept)
    gain, share = crossed_interval(sign * (value - other)), _share(reading.measure, other, value, ceiling)
    return MapReading(
        head, crossed_interval(value), crossed_interval(other), gain, share=share, share_over_centre=over_centre
    )


def _p_on(match: Match, head: str, pictures: Collection[str], reading: Sound, seed: int) -> float | None:
    """How likely such a gain of one head is for permuted pictures, on some pictures; None where it is not tested."""
    names = sorted(pictures)
    where = pd.MultiIndex.from_product([names, names])
    scores = match.scores[head].reindex(where).to_numpy(dtype=np.float64).reshape(1, len(names), len(names), 1)
    blocks = _compared_with_each_other(np.isfinite(scores[0, :, :, 0]))
    if not any(len(block) > 1 for block in blocks):
        return None
    rng = np.random.default_rng((seed, crc32(f"chance of {reading.model} on a half".encode())))
    return above_chance(scores, sign_of(reading.measure), rng, PERMUTATIONS, blocks).p


# Models, time, groups, sigma.


@dataclass(frozen=True)
class _MeanOfHeads:
    """Of one layer the mean of the heads by the primary measure, participants x pictures: its score and its gain."""

    layer: int
    score: pd.DataFrame
    gain: pd.DataFrame | None


def _model_contrasts(means: dict[str, _MeanOfHeads], primary: str) -> tuple[ModelContrast, ...]:
    """Every two models, by the mean of the heads: by its score and, where chance is known, by its gain."""
    pairs = list(combinations(means, 2))
    found: list[ModelContrast] = []
    compared: tuple[tuple[Literal["score", "gain"], int], ...] = (("score", sign_of(primary)), ("gain", 1))
    for of, sign in compared:
        for first, second in pairs:
            tables = [getattr(means[model], of) for model in (first, second)]
            if any(table is None for table in tables):
                continue
            difference = sign * tables[0].sub(tables[1]).to_numpy(dtype=np.float64)
            kept = np.ix_(*complete(difference))
            if min(difference[kept].shape) < 2:
                continue
            e = crossed_interval(difference[kept], confidence=1 - (1 - LEVEL) / len(pairs))
            c = simultaneous(first, second, e, len(pairs))
            found.append(ModelContrast(
                of, first, means[first].layer, second, means[second].layer, c.difference, c.low, c.high, c.df, c.p
            ))  # fmt: skip
    return tuple(found)


def _wide_gain(at: Fixed, primary: str) -> pd.DataFrame | None:
    """The gain of the mean of the heads, participants x pictures, positive towards people; None without chance."""
    sigma, everything = at.cells.sigmas[0], np.ix_(*map(np.arange, at.cells.scores.shape[:2]))
    chance = at.chance(f"{SHUFFLED}mean", sigma, everything)
    if np.isnan(chance).all():
        return None
    gain = sign_of(primary) * (at.cells.at("mean", sigma) - chance)
    return pd.DataFrame(gain, index=at.cells.participants, columns=at.cells.pictures)


def _wide(cells: Cells, name: str) -> pd.DataFrame:
    """The scores of one map, participants x pictures."""
    return pd.DataFrame(cells.at(name, cells.sigmas[0]), index=cells.participants, columns=cells.pictures)


def _windows(results: Results, reading: Sound) -> tuple[WindowReading, ...]:
    """The primary measure in each window of time that at least half of the pictures have, the whole left out."""
    found = []
    for window in in_windows(results, reading.model, reading.layer, reading.measure):
        cells = window.cells
        heads = [m for m in cells.maps if is_head(m)]
        kept = complete(np.stack([cells.at(h, reading.sigma) for h in heads], axis=2))
        if not kept[0].size:
            continue
        readings = {
            name: MapReading(name, crossed_interval(value), None, None)
            for name in cells.maps
            if not np.isnan(value := cells.at(name, reading.sigma)[np.ix_(*kept)]).any()
        }
        found.append(WindowReading(
            model=reading.model, layer=reading.layer, start_s=window.start_s, end_s=window.end_s,
            heads=tuple(r for name, r in readings.items() if name not in REFERENCES),
            references=tuple(r for name, r in readings.items() if name in REFERENCES),
            fixations=window.fixations, participants=len(kept[0]), pictures=len(kept[1]),
        ))  # fmt: skip
    return tuple(found)


def _groups(results: Results, shown: Sequence[tuple[str, int]], primary: str) -> tuple[Groups | None, str]:
    """Groups of participants compared, or None and why in words (empty where they were not asked for)."""
    column = results.study.alignment.groups
    if not column:
        return None, ""
    people = read_participants(results.study_folder)
    if column not in people.columns:
        return None, f'participants.tsv has no column "{column}"; groups are not compared'
    of = people[column].dropna().astype(str)
    contrasts: list[GroupContrast] = []
    measured: list[Equal] = []
    for model, layer in shown:
        equal = with_equal_counts(results, model, layer, primary, of.index)
        names = sorted(set(of[list(equal.cells.participants)])) if equal else []
        if equal is None or len(names) < 2:
            return None, f'the column "{column}" of participants.tsv names fewer than two groups among those measured'
        measured.append(equal)
        cells = equal.cells
        maps = [m for m in cells.maps if is_head(m) or m in ("mean", "rollout")]
        kept = complete(np.stack([cells.at(m, cells.sigmas[0]) for m in maps], axis=2))
        belongs = np.array([of[p] for p in cells.participants])[kept[0]]
        for first, second in combinations(names, 2):
            if min((belongs == first).sum(), (belongs == second).sum()) < 2 or len(kept[1]) < 2:
                return None, f"of the group {first} or {second} fewer than two participants can be compared"
            rows = tuple(kept[0][belongs == group] for group in (first, second))
            by: tuple[Literal["score", "gain"], ...] = ("score", "gain")
            for measured_by in by:
                contrasts += _between_groups(
                    equal, measured_by, model, layer, maps, (first, second), rows, kept[1], primary
                )
    equal = measured[0]
    members = list(of[list(equal.cells.participants)])
    return Groups(
        column=column,
        sizes={name: members.count(name) for name in sorted(set(members))},
        fixations=equal.fixations,
        left_out=equal.viewed - int(np.isfinite(equal.cells.at("mean", equal.cells.sigmas[0])).sum()),
        contrasts=tuple(contrasts),
    ), ""


def _between_groups(
    equal: Equal, of: Literal["score", "gain"], model: str, layer: int, maps: Sequence[str], groups: tuple[str, str],
    rows: tuple[NDArray[np.intp], ...], columns: NDArray[np.intp], primary: str,
) -> list[GroupContrast]:  # fmt: skip
    """Two groups by each map's score or gain; rows: the participants of either. Empty where chance is not known."""
    cells, sign, some = equal.cells, sign_of(primary), []
    for name in maps:
        if of == "score":
            pair = [cells.at(name, cells.sigmas[0])[np.ix_(r, columns)] for r in rows]
            towards = [np.asarray(sign * scores) for scores in pair]
        else:
            pair = towards = [equal.gain(name, sign, g, r, columns) for g, r in zip(groups, rows, strict=True)]
        if any(np.isnan(scores).any() for scores in pair):
            continue
        e = groups_interval(towards[0], towards[1])
        means = (float(pair[0].mean()), float(pair[1].mean()))
        some.append(GroupContrast(of, model, layer, name, *groups, means, e.mean, e.low, e.high, e.df, e.p, None))
    heads = [c for c in some if is_head(c.map) and c.p is not None]
    p_holm = dict(zip([c.map for c in heads], holm([c.p for c in heads if c.p is not None]), strict=True))
    return [replace(c, p_holm=p_holm.get(c.map)) for c in some]


def _sigmas(results: Results, shown: Sequence[Sound]) -> tuple[SigmaReading, ...]:
    """Sigma by held-out likelihood, of people and of each head of the layers shown, in the study's unit."""
    study = results.study
    used = results.fixations[results.fixations["used"]]
    viewers = sorted(set(used["participant"]))
    stimuli = {s.name: s for s in read_stimuli(results.study_folder / "stimuli")[0] if s.name in set(used["stimulus"])}
    found: list[SigmaReading] = []

    def gaze_on(name: str, patches_across: int) -> PictureGaze:
        s = stimuli[name]
        grid = grid_for(s.width_px, s.height_px, study.maps.longer_side_px)
        unit_px = (
            results.summary.px_per_deg[name] * grid.width / s.width_px
            if study.maps.sigma_unit == "deg"
            else sigma_in_map_px(1.0, study.maps.sigma_unit, grid=grid, picture_width_px=s.width_px,
                                 patches_across=patches_across)
        )  # fmt: skip
        points = []
        for viewer in viewers:
            own = used[(used["participant"] == viewer) & (used["stimulus"] == name)]
            x, y = to_map_px(own["x_px"].to_numpy(), own["y_px"].to_numpy(), picture_width_px=s.width_px,
                             picture_height_px=s.height_px, grid=grid)  # fmt: skip
            x, y = np.minimum(x, np.nextafter(grid.width, 0)), np.minimum(y, np.nextafter(grid.height, 0))
            points.append(np.stack([x, y], axis=1))
        return PictureGaze(tuple(points), grid, unit_px)

    for number, reading in enumerate(shown):
        attention = results.attention(reading.model, reading.layer)
        gaze = {name: gaze_on(name, attention[name].shape[-1]) for name in stimuli}
        pictures = list(gaze.values())
        if number == 0 and len(viewers) > 1:
            estimate = human_sigma(pictures, sigmas_to_try(pictures))
            found.append(SigmaReading("", 0, "people", study.maps.sigma_unit, estimate))
        patches_px = [max(np.divide(g.grid.shape, attention[name].shape[-2:])) for name, g in gaze.items()]
        for head in (h.map for h in reading.heads):
            maps = [area_resample(named_maps(attention[name])[head], *g.grid.shape) for name, g in gaze.items()]
            estimate = model_sigma(pictures, maps, sigmas_to_try(pictures, patches_px))
            found.append(SigmaReading(reading.model, reading.layer, head, study.maps.sigma_unit, estimate))
    return tuple(found)


def _half(results: Results, model: str, layer: int) -> Estimate | None:
    known = half_of_viewers(results, model, layer)
    return mean_interval(known) if len(known) else None


def _with_holm(readings: list[MapReading]) -> list[MapReading]:
    known = [r.gain.p for r in readings if r.gain is not None and r.gain.p is not None]
    if len(known) < len(readings):
        return readings
    return [replace(r, gain_p_holm=p) for r, p in zip(readings, holm(known), strict=True)]


def replicate(cells: Cells, model: str, layer: int, measure: str, unit: str, *, pairs: bool) -> Replication:
    """The published analysis: best sigma by head, one-way ANOVA over heads at their mean best sigma, Tukey's HSD.

    `pairs`: whether Tukey's HSD is wanted; with many layers it takes longer than all else together.
    """
    sign = sign_of(measure)
    heads = [m for m in cells.maps if is_head(m)]
    curves = [curve(cells, (h,), h, sign) for h in heads]
    shuffled = [SHUFFLED + h for h in heads if SHUFFLED + h in cells.maps]
    best = np.array([c.best_sigma for c in curves if c.best_sigma is not None])
    mean = float(best.mean()) if len(best) else None
    sd = float(best.std(ddof=1)) if len(best) > 1 else None
    sigma = cells.sigmas[0] if mean is None else min(cells.sigmas, key=lambda s: abs(s - mean))
    groups = [g[np.isfinite(g)] for g in (cells.at(h, sigma).ravel() for h in heads)]
    farness = [-sign * float(g.mean()) if len(g) else np.inf for g in groups]
    usable = len(groups) > 1 and all(len(g) > 1 for g in groups) and any(g.std() > 0 for g in groups)
    return Replication(
        model=model,
        layer=layer,
        measure=measure,
        sigmas=cells.sigmas,
        sigma_unit=unit,
        curves=tuple(curves),
        mean_curve=curve(cells, tuple(heads), "mean over heads", sign),
        shuffled_curve=curve(cells, tuple(shuffled), "shuffled pictures", sign) if shuffled else None,
        best_sigma_mean=mean,
        best_sigma_sd=sd,
        best_sigma_se=None if sd is None else sd / float(np.sqrt(len(best))),
        sigma=sigma,
        ranked=tuple(heads[i] for i in np.argsort(farness, kind="stable")),
        anova=anova(groups) if usable else None,
        tukey=tukey(groups, heads) if usable and pairs else (),
        over_cells=best_sigma_over_cells(cells, tuple(heads), sign),
    )


def best_sigma_over_cells(cells: Cells, heads: tuple[str, ...], sign: int) -> BestSigma | None:
    """Where each participant and picture's mean over `heads` is best, summarised; None as in `Replication`.

    A participant and picture counts at the sigmas at which every head has a score; of equal scores the smallest sigma
    is the best. sign: 1 where higher scores are closer to people, else -1.
    """
    curves = cells.scores[:, :, [cells.maps.index(h) for h in heads], :].mean(axis=2).reshape(-1, len(cells.sigmas))
    curves = curves[np.isfinite(curves).any(axis=1)]
    if len(cells.sigmas) < 2 or not len(curves):
        return None
    at = np.nanargmax(sign * curves, axis=1)
    best, n = np.array(cells.sigmas)[at], len(at)
    sd = float(best.std(ddof=1)) if n > 1 else None
    edges = int(np.isin(at, (0, len(cells.sigmas) - 1)).sum())
    return BestSigma(float(best.mean()), sd, None if sd is None else sd / float(np.sqrt(n)), n, edges)


def curve(cells: Cells, maps: tuple[str, ...], label: str, sign: int) -> Curve:
    """The mean score of some maps over sigma, each participant x picture averaged over those maps first."""
    scores = cells.scores[:, :, [cells.maps.index(m) for m in maps], :].mean(axis=2)
    flat = scores.reshape(-1, len(cells.sigmas))
    known = np.isfinite(flat)
    n = known.sum(axis=0)
    filled = np.where(known, flat, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / n
        sd = np.sqrt((np.where(known, flat - mean, 0.0) ** 2).sum(axis=0) / (n - 1))
    at = int(np.nanargmax(sign * mean)) if np.isfinite(mean).any() and len(cells.sigmas) > 1 else None
    return Curve(
        map=label,
        mean=tuple(float(v) if np.isfinite(v) else None for v in mean),
        sd=tuple(float(v) if np.isfinite(v) else None for v in sd),
        best_sigma=None if at is None else cells.sigmas[at],
        at_edge=at in (0, len(cells.sigmas) - 1),
    )


def lifts(table: pd.DataFrame) -> tuple[Lift, ...]:
    """Attention on the object by map; pictures without a mask have no part."""
    masked = table.dropna(subset=["lift_pp"])
    found = []
    for model, layer, name in sorted(
        {(str(m), int(n), str(k)) for m, n, k in masked[["model", "layer", "map"]].to_numpy()}
    ):
        part = masked[(masked["model"] == model) & (masked["layer"] == layer) & (masked["map"] == name)]
        inside, outside, area, lift = (
            mean_interval(part[c].to_numpy(dtype=np.float64)) for c in ("inside", "outside", "area", "lift_pp")
        )
        found.append(Lift(model, layer, name, inside, outside, area, lift))
    return tuple(_with_holm_of_lifts(found))


def _with_holm_of_lifts(found: Sequence[Lift]) -> list[Lift]:
    corrected = list(found)
    for layer in dict.fromkeys((x.model, x.layer) for x in found):
        heads = [i for i, x in enumerate(found) if (x.model, x.layer) == layer and is_head(x.map)]
        known = [p for i in heads if (p := found[i].lift_pp.p) is not None]
        if len(known) == len(heads):
            for i, p in zip(heads, holm(known), strict=True):
                corrected[i] = replace(found[i], lift_p_holm=p)
    return corrected
