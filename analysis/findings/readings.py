"""The findings of a study as dataclasses: `infer` makes them, inference.json holds them, the report tells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from beholder.analysis.alignment.bandwidth import SigmaEstimate
from beholder.analysis.statistics.crossed import LEVEL, NOT_TAKEN, Estimate, Share
from beholder.analysis.statistics.mixed_model import Components
from beholder.analysis.statistics.multiplicity import Contrast
from beholder.analysis.statistics.oneway import Anova, TukeyPair
from beholder.analysis.statistics.quasi_f import HeadEffect
from beholder.shared.errors import DataError, Remark


@dataclass(frozen=True)
class MapReading:
    """One map of the model at the fixed sigma: its score, the score of its attention on other pictures, the gain.

    `gain` is positive where the map is closer to people than its own attention on other pictures is, whichever the
    measure's direction; `gain_p_holm` is corrected over the heads. Both are None where no pictures were shuffled.
    `same_kind` and `gain_same_kind` are chance and gain from other pictures of the same kind alone. `p_above_chance` is
    by permuted pictures, adjusted for all heads and layers of the model (see `ChanceTest`); by the primary measure
    alone. `share` is how far the map gets from its own attention on other pictures (0) to the other viewers (1). Each
    map has a floor of its own, so shares of different maps cannot be compared; `share_over_centre` has one floor for
    all maps, the fitted centre bias, and is negative where the map is farther from people than that. Both say why they
    are blank (`crossed.Share`). `inside` is the score within the object alone, `pooled` the score against the map of
    all people together, over pictures alone. `bootstrap` and `gain_bootstrap` are 95 % percentile intervals of the
    score and the gain, participants and pictures drawn anew, in addition to the intervals of `value` and `gain`; None
    except for heads by the primary measure in the layers shown.
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
    """A map that knows nothing of the trained model, at the fixed sigma: see `tables.REFERENCES`.

    `lead` is by how much the closest head is closer to people than this map (positive), over the same cells.
    """

    map: str
    value: Estimate
    lead: Estimate


@dataclass(frozen=True)
class MixedReading:
    """The mixed model over every cell (participant x picture) that has a score for all heads, where others are missing.

    `rows` is the number of scores, `cells` x heads; `cells_missing` is how many cells of these participants and
    pictures are missing. `head_effect` is Wald's F, both degrees of freedom multiplied by epsilon. `heads` stand in the
    order of their numbers and have no `shuffled`; `contrasts` are those with the closest head, corrected for all pairs,
    since the same scores chose the closest; `ranked` and `ties` as in `LayerReading`. `trouble` says in words which
    fits did not converge; empty where all did.
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
    """The heads' order and differences by the logarithm of a skewed score, beside those by the score itself.

    Divergences have a long tail, longer for sharp heads. In simulated studies with log-normal scores of unequal skew,
    some pair was declared different in 11 %, and the interval of a mean held the mean in 90 %.
    """

    ranked: tuple[str, ...]
    ties: tuple[str, ...]
    head_effect: HeadEffect | None


@dataclass(frozen=True)
class LayerReading:
    """One model, layer and measure at the fixed sigma, participants and pictures both random.

    `heads` stand in the order of their numbers, `ranked` from the closest to people to the farthest. `ties` are the
    heads that cannot be told from the closest. `summaries` are maps over heads, such as their mean;
    `leads_over_summaries` by how much the closest head is closer to people (positive) than each, over the same cells.
    `share_of_centre` is how far the fitted centre bias gets from the closest head's attention on other pictures (0) to
    the other viewers (1). `other_viewers` is how many others predict a viewer, on the picture with the fewest and on
    that with the most; None where there is no ceiling.
    `head_effect` and `contrasts` are None and empty with one head, one participant or one picture.
    `head_effect_p_holm` is the head effect's p corrected by Holm: for the primary measure over the model's layers (None
    with one), for the others over layers and measures together. `mixed` is None where no cell is missing, and for all
    but the primary measure in the layers shown. `inside_uniform` is the score within the object of attention spread
    evenly over it: the floor of the maps' `inside`. `on_logs` is the heads' order and differences by the logarithms of
    a divergence; None for other measures.
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
    """A mean score over sigma, its SD over participants x pictures, and the sigma where it is best.

    None where undefined; with a single sigma there is no best one. `at_edge`: the best is the first or last sigma of
    the sweep, which is then where the sweep ended and not an optimum.
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
    None with one. `at_edge` is how many cells are best at the first or last sigma of the sweep, which is then not an
    optimum. Like all of the replication, the SE takes every participant and picture as a replicate.
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
    and Tukey's HSD are done, the latter only in the layer shown of each model. `ranked` goes from the closest head at
    that sigma to the farthest. `over_cells` is the best sigma over participants x pictures; None where there is no
    sweep, or no participant and picture with a score of every head. With a single sigma, `sigma` is that one,
    and there is no best sigma.
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
class ObjectLift:
    """Attention on the object, of one map of one layer: shares of attention and of area, and the lift.

    `lift_pp` is inside minus area, in percentage points; `lift_p_holm` is its p against 0, corrected by Holm over the
    heads of the layer: None for maps other than heads, and where a head of the layer has no p.
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
    """The test of whether any head of a model is closer to people on the picture they saw than on other pictures.

    By permuted pictures (`permutation`) and the primary measure, all heads and layers at once. `z` is the largest
    standardised gain, which head `map` of `layer` has, `p` is its p and `gain` the gain itself. `z` and `p` are None
    where nothing could be tested. `maps` is how many maps were tested. No p can be below `smallest_p`.
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
    """The head that is named for a model: of all its layers, the one closest to people by the primary measure.

    `reading` has its figures. Where heads are chosen on half of the pictures, `chosen_on` is that half and `reading` is
    of the other half, `estimated_on`; else both are empty, and all pictures serve to choose and to estimate. `p` says
    how likely such a gain over chance is for permuted pictures, corrected for all heads and layers where the same
    pictures chose the head; None where it was not tested. `ties` are the heads of any layer, as (layer, map) from the
    closest on, that cannot be told from it, simultaneously over all pairs of candidates (of a head that other pictures
    chose: over its own pairs); None where that cannot be tested. `candidates` is the number of heads to choose from,
    `layers` that of their layers.
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

    What is compared is the mean of the heads in the last layer analysed, a layer that no data chose: its score, or its
    gain over chance (`of`). low, high and p are simultaneous over all pairs of models.
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
    """The primary measure in one window of viewing time, in a layer shown: `heads` are the heads and maps over them.

    Of each reading `value` alone is known. `references` is `centre-fitted`, where it could be fitted; `fixations` is
    the mean number of fixations a participant and picture. Participants' maps depend on how many fixations they are
    made of, so windows of different lengths are not compared.
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

    Everybody in either group has equally many fixations on a picture. `of`: by the map's score, or by its gain over
    chance. `means` are of the first and of the second group. low and high: 95 %, participants (of either group) and
    pictures random; `p_holm` is corrected over the heads (None for other maps).
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
    """Groups of participants compared by the primary measure in the layers shown.

    `column` of participants.tsv names each participant's group. `sizes` are the participants compared, by group;
    `fixations` how many each of them has on a picture, the mean over pictures; `left_out` how many participants x
    pictures had too few.
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
class Findings:
    """All that is said of a study; `primary` is the measure set beforehand, `remarks` what had to be left out.

    `other_drift`: the layers shown, by the primary measure, with drift correction off where the study has it on, and
    on where it has it off; empty where no drift is known. `half`: NSS of the map of the first half of the viewers
    at the fixations of the others, over pictures. `choices`: for each model, the head that is named.
    """

    primary: str
    level: float
    sound: tuple[LayerReading, ...]
    replication: tuple[Replication, ...]
    lifts: tuple[ObjectLift, ...]
    other_drift: tuple[LayerReading, ...]
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
        """The measure by which the replication is told; empty where no measure was taken over sigma.

        That is the primary measure; where it was not taken over sigma, KL as in the published study, else the first
        measure that was.
        """
        known = [r.measure for r in self.replication]
        return next((m for m in (self.primary, "kl", *known) if m in known), "")

    def primary_of(self, model: str, layer: int) -> LayerReading:
        """The sound reading of one layer by the primary measure."""
        return next(s for s in self.sound if s.primary and (s.model, s.layer) == (model, layer))

    def shown(self) -> tuple[LayerReading, ...]:
        """The layers shown, by the primary measure: for each model the layer of the head that is named."""
        return tuple(self.primary_of(c.model, c.layer) for c in self.choices)

    def main(self) -> LayerReading:
        """The layer that the report's first sentence speaks of: the one shown of the first model."""
        return self.shown()[0]

    def measures_of(self, reading: LayerReading) -> tuple[LayerReading, ...]:
        """Every measure of the layer that `reading` is of."""
        return tuple(s for s in self.sound if (s.model, s.layer) == (reading.model, reading.layer))

    def replications_of(self, reading: LayerReading) -> tuple[Replication, ...]:
        """The published analysis of the layer that `reading` is of, by measure."""
        return tuple(r for r in self.replication if (r.model, r.layer) == (reading.model, reading.layer))

    def other_drift_of(self, reading: LayerReading) -> LayerReading | None:
        """The reading of the same layer with the other choice of drift correction; None where there is none."""
        return next((s for s in self.other_drift if (s.model, s.layer) == (reading.model, reading.layer)), None)

    def lifts_of(self, reading: LayerReading) -> tuple[ObjectLift, ...]:
        """Attention on the object in the layer that `reading` is of."""
        return tuple(x for x in self.lifts if (x.model, x.layer) == (reading.model, reading.layer))


def read_findings(results_folder: Path) -> Findings:
    """What `infer` found, as written to inference.json. Raises DataError where it is absent or of another version."""
    path = results_folder / "inference.json"
    try:
        return TypeAdapter(Findings).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f'{path} cannot be used ({reason}): run "beholder analyze" on the study again.') from None
