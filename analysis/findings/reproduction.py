"""A paper's claims checked against a study: for each claim the study's own figure, and a verdict under two readings.

    published   each measure at its mean best sigma, one-way ANOVA over heads and Tukey's HSD there, p not corrected
                further
    sound       the sigma fixed beforehand, participants and pictures both random, pairs of heads simultaneous, p
                corrected over heads (attention on the object), or over layers and secondary measures (head effect)

A claim `holds` where the study shows it, `does not hold` where the study shows its contrary, and `cannot be told` where
it shows neither: not finding a difference does not show that there is none. It is `not testable` where the study lacks
what the test needs. How a study was made is not a finding: it is `as in the paper` or `differs`. Nothing is tuned
towards a paper. Verdicts and their reasons are data; report/prose/claims.py puts them into words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats
from scipy.special import stdtr

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.claims import (
    BestSigma,
    Claim,
    Claims,
    Concordance,
    Count,
    Extreme,
    HeadMean,
    HeadsDiffer,
    Inside,
    LiftRange,
    MeasuresUsed,
    Model,
    Paper,
    Setting,
    Sweep,
    heads_of,
)
from beholder.analysis.findings.readings import Findings, LayerReading, ObjectLift, Replication
from beholder.analysis.results.map_names import head_name, is_head
from beholder.analysis.results.study_results import ModelSummary, Results
from beholder.analysis.statistics.crossed import LEVEL
from beholder.analysis.statistics.multiplicity import holm

ALPHA = 1 - LEVEL
NORMAL = float(stats.norm.ppf(0.5 + LEVEL / 2))  # 1.96

Verdict = Literal["holds", "does not hold", "cannot be told", "not testable", "as in the paper", "differs"]
DESIGN = (Count, Model, Sweep, MeasuresUsed, Setting)
RECORDED = ("protocol", "tracker")  # sections of study.toml that say nothing of recordings made elsewhere
Reason = Literal[
    # What the study lacks.
    "not measured",
    "not swept",
    "one sigma",
    "sweep too short",
    "sweep's end",
    "other heads",
    "other weights",
    "other layer",
    "no masks",
    "no interval",
    "no test",
    "no pairs",
    "no score",
    "too few heads",
    # Why a number cannot be set beside the paper's.
    "other unit",
    "unit not known",
    "other sigma",
    "sigma moves the target",
    "no number",
    "imported",
    "not set",
    # What decided.
    "",
    "in the interval",
    "out of the interval",
    "p",
    "not shown",
    "told apart",
    "ties",
    "ranked with ties",
    "others beyond",
    "in range",
    "out of range",
    "across the range",
]


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason; `heads` are those that the reason names, `p` the p value that decided, if one did."""

    verdict: Verdict
    reason: Reason = ""
    heads: tuple[str, ...] = ()
    p: float | None = None


@dataclass(frozen=True)
class Here:
    """This study's own figures for a claim; fields that the claim does not need are None or empty.

    value: how the study was made. w: Kendall's W at the best sigma and at the fixed one. inside: for each head in
    `lifts`, the two-sided p of attention inside the object against outside, and that p corrected by Holm.
    """

    value: Any = None
    replication: Replication | None = None
    sound: LayerReading | None = None
    lifts: tuple[ObjectLift, ...] = ()
    inside: tuple[tuple[float | None, float | None], ...] = ()
    w: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Row:
    """One claim in one layer of a model; `measure` or `head` is empty where the claim is not judged by each."""

    model: str
    layer: int
    claim: Claim
    measure: str
    head: str
    here: Here
    published: Judgement
    sound: Judgement

    @property
    def of(self) -> Literal["design", "finding", "description"]:
        """What a claim is about: how the study was made, a finding, or a description without a figure of the paper."""
        if isinstance(self.claim, DESIGN):
            return "design"
        return "description" if isinstance(self.claim, Concordance) and self.claim.at_least is None else "finding"


@dataclass(frozen=True)
class _Layer:
    """What claims are checked against: the study, and the findings of one layer shown, by measure or head."""

    paper: Paper
    results: Results
    model: ModelSummary
    layer: int
    sound: dict[str, LayerReading]
    replication: dict[str, Replication]
    lifts: tuple[ObjectLift, ...]


def reproduce(claims: Claims, results: Results, findings: Findings) -> tuple[Row, ...]:
    """Every claim judged in every layer shown: one row a claim, or one a measure or head where each is judged."""
    rows: list[Row] = []
    for reading in findings.shown():
        layer = _Layer(
            paper=claims.paper,
            results=results,
            model=next(m for m in results.summary.models if m.name == reading.model),
            layer=reading.layer,
            sound={s.measure: s for s in findings.measures_of(reading)},
            replication={r.measure: r for r in findings.replications_of(reading)},
            lifts=tuple(x for x in findings.lifts_of(reading) if is_head(x.map)),
        )
        for claim in claims.claims:
            rows += [
                Row(reading.model, reading.layer, claim, measure, head, here, published, sound)
                for measure, head, here, published, sound in _judged(claim, layer)
            ]
    return tuple(rows)


def main_layer(claims: Claims, findings: Findings) -> LayerReading:
    """The layer whose claims a page shows: that of the paper's own model where it was analysed, else the main one."""
    own = [s for s in findings.shown() if s.model in claims.paper.models]
    return own[0] if own else findings.main()


_Judged = tuple[str, str, Here, Judgement, Judgement]


def _judged(claim: Claim, of: _Layer) -> Iterable[_Judged]:
    match claim:
        case BestSigma() | HeadsDiffer() | Extreme() | HeadMean():
            for measure in claim.measures:
                here = Here(replication=of.replication.get(measure), sound=of.sound.get(measure))
                yield measure, "", here, *_by_measure(claim, here, of)
        case LiftRange():
            for name in (head_name(number) for number in claim.heads):
                lift = next((x for x in of.lifts if x.map == name), None)
                yield "", name, Here(lifts=(lift,) if lift else ()), *_lifted(claim, lift, of)
        case Inside():
            here = Here(lifts=of.lifts, inside=inside_over_outside(of.lifts))
            yield "", "", here, *_inside(claim, here)
        case Concordance():
            w = tuple(
                concordance([closeness(r) for m in claim.measures if (r := some.get(m)) is not None])
                for some in (of.replication, of.sound)
            )
            # A single sigma is not a best one: only W at the fixed sigma is given.
            here = Here(w=(w[0] if any(r.swept for r in of.replication.values()) else None, w[1]))
            yield "", "", here, _agreement(claim, w[0], of.replication), _agreement(claim, w[1], of.sound)
        case _:
            value, judgement = _design(claim, of)
            yield "", "", Here(value=value), judgement, judgement


def _untestable(reason: Reason) -> Judgement:
    return Judgement("not testable", reason)


def _other_heads(claim: Claim, of: _Layer) -> Judgement | None:
    """Why the heads that a claim names are not this layer's; None where they may be, or where no head is named."""
    named = heads_of(claim)
    if not named:
        return None
    if max(named) > of.model.heads or of.paper.heads not in (None, of.model.heads):
        return _untestable("other heads")
    if of.paper.models and of.model.name not in of.paper.models:
        return _untestable("other weights")
    return _untestable("other layer") if of.paper.layer not in (None, of.layer) else None


# By measure.


def _by_measure(
    claim: BestSigma | HeadsDiffer | Extreme | HeadMean, here: Here, of: _Layer
) -> tuple[Judgement, Judgement]:
    replication, sound = here.replication, here.sound
    if sound is None:
        return (_untestable("not measured"),) * 2
    other = _other_heads(claim, of)
    return (
        other or (_published(claim, replication) if replication else _untestable("not swept")),
        other or _sound(claim, sound),
    )


def _published(claim: BestSigma | HeadsDiffer | Extreme | HeadMean, r: Replication) -> Judgement:
    match claim:
        case BestSigma():
            return best_sigma(claim, r)
        case HeadsDiffer():
            return _differ(r.anova.p if r.anova else None, claim.p)
        case Extreme():
            sign = sign_of(r.measure)
            pairs = {(t.second, t.first) if sign * t.difference > 0 else (t.first, t.second): t.p for t in r.tukey}
            return _extreme(claim, r.ranked, pairs, claim.p or ALPHA, by_rank=claim.p is None)
        case HeadMean():
            return _mean_over_sigma(claim, r)


def _sound(claim: BestSigma | HeadsDiffer | Extreme | HeadMean, s: LayerReading) -> Judgement:
    match claim:
        case BestSigma():
            return _untestable("sigma moves the target")
        case HeadsDiffer():
            effect, corrected = s.head_effect, s.head_effect_p_holm
            return _differ(effect.p if effect and corrected is None else corrected, ALPHA)
        case Extreme():
            pairs = {(c.first, c.second) if c.difference > 0 else (c.second, c.first): c.p for c in s.contrasts}
            return _extreme(claim, s.ranked, pairs, ALPHA, by_rank=False)
        case HeadMean():
            if claim.unit not in (None, s.sigma_unit):
                return _untestable("other unit")
            if claim.sigma is None or abs(claim.sigma - s.sigma) > 1e-9:
                return _untestable("other sigma")
            e = s.head(head_name(claim.head)).value
            return _near(e.mean, e.standard_error, claim.mean, claim.se)


def best_sigma(claim: BestSigma, r: Replication) -> Judgement:
    """Whether the best sigma over participants x pictures is the paper's.

    It is taken as the same where the two differ by at most 1.96 standard errors (of the difference, from both), or by
    half a step of the sweep, which cannot resolve less. Not testable in another unit or with a single sigma, where the
    sweep does not reach the paper's sigma, and where the mean curve, or at least half of the participants x pictures,
    is best at an end of the sweep.
    """
    over = r.over_cells
    if claim.unit not in (None, r.sigma_unit):
        return _untestable("other unit")
    if over is None or len(r.sigmas) < 2:
        return _untestable("one sigma")
    if not r.sigmas[0] <= claim.sigma <= r.sigmas[-1]:
        return _untestable("sweep too short")
    if r.mean_curve.at_edge or 2 * over.at_edge >= over.cells:
        return _untestable("sweep's end")
    return _near(over.mean, over.se, claim.sigma, claim.se, least=(r.sigmas[1] - r.sigmas[0]) / 2)


def _mean_over_sigma(claim: HeadMean, r: Replication) -> Judgement:
    """Whether a head's mean over participants x pictures is the paper's, at its sigma, else at this study's best."""
    if claim.unit not in (None, r.sigma_unit):
        return _untestable("other unit")
    sigma = r.sigma if claim.sigma is None else min(r.sigmas, key=lambda s: abs(s - float(claim.sigma or 0)))
    if claim.sigma is not None and abs(claim.sigma - sigma) > 1e-9:
        return _untestable("other sigma")
    curve = next(c for c in r.curves if c.map == head_name(claim.head))
    at = r.sigmas.index(sigma)
    mean, sd = curve.mean[at], curve.sd[at]
    if mean is None:
        return _untestable("no score")
    se = None if sd is None or r.over_cells is None else sd / float(np.sqrt(r.over_cells.cells))
    return _near(mean, se, claim.mean, claim.se)


def _near(mean: float, se: float | None, number: float, its_se: float, least: float = 0.0) -> Judgement:
    """Whether a mean lies within 1.96 standard errors (from both), or within `least`, of the paper's number."""
    if se is None:
        return _untestable("no interval")
    near = abs(mean - number) <= max(NORMAL * float(np.hypot(se, its_se)), least) + 1e-9
    return Judgement("holds", "in the interval") if near else Judgement("does not hold", "out of the interval")


def _differ(p: float | None, most: float) -> Judgement:
    if p is None:
        return _untestable("no test")
    return Judgement("holds", "p", p=p) if p <= most else Judgement("cannot be told", "not shown", p=p)


Pairs = Mapping[tuple[str, str], float]  # by (closer, farther) head, the p of their difference


def _extreme(claim: Extreme, ranked: Sequence[str], pairs: Pairs, level: float, *, by_rank: bool) -> Judgement:
    if not pairs:
        return _untestable("no pairs")
    if claim.how == "farthest_heads":
        ranked, pairs = ranked[::-1], {(b, a): p for (a, b), p in pairs.items()}
    return extreme([head_name(n) for n in claim.heads], ranked, pairs, level, by_rank=by_rank)


def extreme(
    heads: Sequence[str], ranked: Sequence[str], pairs: Pairs, level: float = ALPHA, *, by_rank: bool
) -> Judgement:
    """Whether `heads` are the first of `ranked`; pairs: the p of each pair, by (head before, head behind).

    Does not hold where another head is before one of them with p at most `level`. Holds where each of them is before
    every other head with such a p or, with `by_rank`, where they are merely the first in rank. Else it cannot be told.
    The judgement's heads are the other heads that decided; its p is the largest of the deciding pairs or, where other
    heads are before, the smallest.

    >>> extreme(["head-02"], ["head-01", "head-02"], {("head-01", "head-02"): 0.3}, by_rank=True)
    Judgement(verdict='cannot be told', reason='ties', heads=('head-01',), p=0.3)
    """
    others = [h for h in ranked if h not in heads]
    against = {h: [pairs[h, mine] for mine in heads if (h, mine) in pairs] for h in others}
    beyond = tuple(h for h in others if any(p <= level for p in against[h]))
    if beyond:
        return Judgement("does not hold", "others beyond", beyond, min(min(against[h]) for h in beyond))
    behind = {h: [pairs.get((mine, h), 1.0) for mine in heads] for h in others}
    ties = tuple(h for h in others if max(behind[h]) > level)
    if not ties:
        return Judgement("holds", "told apart", p=max((max(p) for p in behind.values()), default=None))
    largest = max(p for h in ties for p in (*against[h], *(pairs[m, h] for m in heads if (m, h) in pairs)))
    first = set(ranked[: len(heads)]) == set(heads)
    if first and by_rank:
        return Judgement("holds", "ranked with ties", ties, largest)
    return Judgement("cannot be told", "ranked with ties" if first else "ties", ties, largest)


# Attention on the object.


def _lifted(claim: LiftRange, lift: ObjectLift | None, of: _Layer) -> tuple[Judgement, Judgement]:
    if not of.lifts:
        return (_untestable("no masks"),) * 2
    other = _other_heads(claim, of)
    if other or lift is None:
        return (other or _untestable("other heads"),) * 2
    return lift_published(claim, lift), lift_sound(claim, lift)


def lift_published(claim: LiftRange, lift: ObjectLift) -> Judgement:
    """Whether the mean lift lies in the paper's range, with a p of at most the paper's."""
    mean, p = lift.lift_pp.mean, lift.lift_pp.p
    if not claim.low_pp <= mean <= claim.high_pp:
        return Judgement("does not hold", "out of range", p=p)
    if claim.p is None:
        return Judgement("holds", "in range")
    if p is None:
        return _untestable("no interval")
    return Judgement("holds", "in range", p=p) if p <= claim.p else Judgement("cannot be told", "not shown", p=p)


def lift_sound(claim: LiftRange, lift: ObjectLift) -> Judgement:
    """Whether the whole interval of the lift, over pictures, lies in the paper's range.

    Does not hold where the interval lies wholly outside. Where the paper has a p, Holm's p over the heads must be below
    .05 as well.
    """
    low, high, p = lift.lift_pp.low, lift.lift_pp.high, lift.lift_p_holm
    if low is None or high is None:
        return _untestable("no interval")
    if high < claim.low_pp or low > claim.high_pp:
        return Judgement("does not hold", "out of range", p=p)
    if low < claim.low_pp or high > claim.high_pp:
        return Judgement("cannot be told", "across the range", p=p)
    if claim.p is not None and p is not None and p >= ALPHA:
        return Judgement("cannot be told", "not shown", p=p)
    return Judgement("holds", "in range", p=p)


def inside_over_outside(lifts: Sequence[ObjectLift]) -> tuple[tuple[float | None, float | None], ...]:
    """For each head the p of attention inside the object against outside, and Holm's over the heads; None if unknown.

    The two shares sum to one, so their difference is twice the share inside, minus one: its t over pictures is that of
    the share inside against a half.
    """
    p_values: list[float | None] = []
    for e in (x.inside for x in lifts):
        if e.standard_error is None or e.df is None:
            p_values.append(None)
        elif e.standard_error > 0:
            p_values.append(float(2 * stdtr(e.df, -abs(e.mean - 0.5) / e.standard_error)))
        else:
            p_values.append(float(e.mean == 0.5))
    known = [p for p in p_values if p is not None]
    if len(known) < len(p_values) or not known:
        return tuple((p, None) for p in p_values)
    return tuple(zip(known, holm(known), strict=True))


def _inside(claim: Inside, here: Here) -> tuple[Judgement, Judgement]:
    if not here.lifts:
        return (_untestable("no masks"),) * 2
    plain, corrected = zip(*here.inside, strict=True)
    return _every_inside(here.lifts, plain, claim.p), _every_inside(here.lifts, corrected, ALPHA)


def _every_inside(lifts: Sequence[ObjectLift], p_values: Sequence[float | None], most: float) -> Judgement:
    """Whether every head has more attention inside than outside; does not hold where one is shown to have less."""
    known = [p for p in p_values if p is not None]
    if len(known) < len(p_values):
        return _untestable("no interval")
    both = list(zip(lifts, known, strict=True))
    less = tuple(x.map for x, p in both if x.inside.mean < 0.5 and p <= most)
    if less:
        return Judgement("does not hold", "others beyond", less)
    unclear = tuple(x.map for x, p in both if not (x.inside.mean > 0.5 and p <= most))
    if unclear:
        return Judgement("cannot be told", "not shown", unclear, max(p for x, p in both if x.map in unclear))
    return Judgement("holds", "p", p=max(known))


# How far measures agree.


def closeness(of: Replication | LayerReading) -> list[float]:
    """How close each head is to people, in the order of the heads' numbers; higher is closer, NaN where unknown."""
    sign = sign_of(of.measure)
    if isinstance(of, LayerReading):
        return [sign * h.value.mean for h in of.heads]
    at = of.sigmas.index(of.sigma)
    return [np.nan if (mean := c.mean[at]) is None else sign * mean for c in of.curves]


def concordance(orders: Sequence[Sequence[float]]) -> float | None:
    """Kendall's W of several orders of the same things, corrected for ties: 1 where all orders agree, never below 0.

    orders: (orders, things). W is Friedman's chi squared over orders x (things - 1); its p is not given, since measures
    of the same data are not independent judges. None with fewer than two orders or three things, where a value is
    missing, or where no order tells any things apart. Source: Kendall and Smith 1939, doi:10.1214/aoms/1177732186.

    >>> concordance([[1, 2, 3], [1, 3, 2]])
    0.75
    """
    values = np.array(orders, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or values.shape[1] < 3 or np.isnan(values).any():
        return None
    if (values == values[:, :1]).all():
        return None
    chi2 = float(stats.friedmanchisquare(*values.T).statistic)
    return chi2 / float(len(values) * (values.shape[1] - 1))


def _agreement(
    claim: Concordance, w: float | None, measured: Mapping[str, Replication] | Mapping[str, LayerReading]
) -> Judgement:
    if sum(m in measured for m in claim.measures) < 2:
        return _untestable("not measured")
    if w is None:
        return _untestable("too few heads")
    if claim.at_least is None:
        return _untestable("no number")
    return Judgement("holds" if w >= claim.at_least else "does not hold")


# How the study was made.


def _design(claim: Claim, of: _Layer) -> tuple[Any, Judgement]:
    """This study's own figure, and whether it is the paper's."""
    results, study = of.results, of.results.study
    kept = results.trials[results.trials["included"]]
    match claim:
        case Count(how="participants"):
            return _same(kept["participant"].nunique(), claim.number)
        case Count(how="pictures"):
            return _same(kept["stimulus"].nunique(), claim.number)
        case Count():
            return _same(sum(_evaluations(r) for r in of.replication.values()), claim.number)
        case Model():
            here = (of.model.name, of.model.heads)
            same = here[0] in of.paper.models and of.paper.heads in (None, here[1])
            return here, Judgement("as in the paper" if same else "differs")
        case Sweep():
            maps = study.maps
            here_s = (maps.sigma_from, maps.sigma_to, maps.sigma_step)
            same = bool(np.allclose(here_s, (claim.first, claim.last, claim.step), rtol=0, atol=1e-9))
            same &= claim.unit in (None, maps.sigma_unit)
            reason: Reason = "unit not known" if claim.unit is None else ""
            return (*here_s, maps.sigma_unit), Judgement("as in the paper" if same else "differs", reason)
        case MeasuresUsed():
            measured = tuple(study.alignment.measures)
            return measured, Judgement("as in the paper" if set(claim.measures) <= set(measured) else "differs")
        case Setting():
            section, _, name = claim.key.partition(".")
            if section in RECORDED and results.summary.sources != ("samples",):
                return None, Judgement("cannot be told", "imported")
            values = getattr(study, section)
            value = None if values is None else getattr(values, name)
            return (None, Judgement("cannot be told", "not set")) if value is None else _same(value, claim.value)
    raise TypeError(f"{claim.how} is no claim about how a study was made")


def _same(here: Any, paper: Any) -> tuple[Any, Judgement]:
    return here, Judgement("as in the paper" if here == paper else "differs")


def _evaluations(r: Replication) -> int:
    """How many scores of heads the sweep has: as many at every sigma as the ANOVA has at one; 0 without an ANOVA."""
    return 0 if r.anova is None else (r.anova.df1 + r.anova.df2 + 1) * len(r.sigmas)
