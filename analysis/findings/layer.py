"""One layer of a model by one measure, at the sigma fixed beforehand; participants and pictures both random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from beholder.analysis.alignment.measures import MEASURES, sign_of
from beholder.analysis.findings.readings import LayerReading, MapReading, MixedReading, OnLogs, Reference
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray, at_fixed_sigma
from beholder.analysis.results.map_names import SAME_HALF, SAME_KIND, SHUFFLED, is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.results.tables import REFERENCES
from beholder.analysis.statistics.crossed import (
    LEVEL,
    Estimate,
    Share,
    complete,
    crossed_interval,
    mean_interval,
    share_of_the_way,
    t_interval,
    two_way_bootstrap,
)
from beholder.analysis.statistics.mixed_model import components, fit_tables, wald_test
from beholder.analysis.statistics.multiplicity import Contrast, holm, pairwise, simultaneous
from beholder.analysis.statistics.quasi_f import HeadEffect, huynh_feldt_epsilon, quasi_f
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError

OTHERS, FITTED_CENTRE = "others", "centre-fitted"
SKEWED = ("kl",)  # measures that have a reading by their logarithms beside


MOST_NAMED = 20  # participants or pictures in one remark


def with_other_drift(results: Results, reading: LayerReading) -> tuple[LayerReading, ...]:
    """A sound reading once more, over the fixations with the other choice of the correction, if there are any."""
    found = at_fixed_sigma(results, reading.model, reading.layer, [reading.measure], moved=True)
    if not found:
        return ()
    try:
        return (read_layer(found[reading.measure], reading.model, reading.layer, reading.measure, reading.sigma,
                              reading.sigma_unit, primary=True)[0],)  # fmt: skip
    except DataError:
        return ()


def read_layer(
    at: FixedSigma, model: str, layer: int, measure: str, sigma: float, unit: str, *, primary: bool
) -> tuple[LayerReading, list[str]]:
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
    by_chance: list[FloatArray | None] = [None] * len(heads) if baseline is None else [*np.moveaxis(baseline, 2, 0)]
    here = _Kept(at, measure, sigma, kept)
    readings = [here.reading(h, scores[:, :, i], by_chance[i]) for i, h in enumerate(heads)]
    summaries = here.summaries()
    ranked = [heads[i] for i in np.argsort(-sign * scores.mean(axis=(0, 1)), kind="stable")]
    first = heads.index(ranked[0])
    closest = scores[:, :, first]
    over_summaries = [crossed_interval(sign * (closest - cells.at(m.map, sigma)[kept])) for m in summaries]
    references = _references({name: cells.at(name, sigma)[kept] for name in REFERENCES}, sign * closest, sign)
    crossed = min(scores.shape) > 1  # heads, participants and pictures, two of each
    contrasts = pairwise(scores, heads, sign) if crossed else ()
    return (
        LayerReading(
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
            share_of_centre=here.share(by_chance[first], here.centre),
            other_viewers=_other_viewers(cells, sigma),
        ),
        left_out,
    )


@dataclass(frozen=True)
class _Kept:
    """The participants and pictures of a reading: `kept` picks those that have a score for every head."""

    at: FixedSigma
    measure: str
    sigma: float
    kept: tuple[NDArray[np.intp], ...]

    def scores(self, name: str) -> FloatArray:
        """A map's scores (participants, pictures)."""
        return self.at.cells.at(name, self.sigma)[self.kept]

    @cached_property
    def centre(self) -> FloatArray:
        """The scores of the fitted centre bias."""
        return self.scores(FITTED_CENTRE)

    @cached_property
    def ceiling(self) -> FloatArray:
        """The scores of the other viewers: the noise ceiling."""
        return self.scores(OTHERS)

    def share(self, floor: FloatArray | None, value: FloatArray) -> Share:
        """How far a map gets from a floor to the noise ceiling."""
        return share_by_measure(self.measure, floor, value, self.ceiling)

    def reading(self, name: str, value: FloatArray, by_chance: FloatArray | None) -> MapReading:
        """A map by its scores, and by those on other pictures where there are any."""
        more = _beside(self.at, name, value, self.kept, self.sigma, self.measure)
        more |= {"share": self.share(by_chance, value), "share_over_centre": self.share(self.centre, value)}
        if by_chance is None:
            return MapReading(name, crossed_interval(value), None, None, **more)
        gain = crossed_interval(sign_of(self.measure) * (value - by_chance))
        return MapReading(name, crossed_interval(value), crossed_interval(by_chance), gain, **more)

    def summaries(self) -> list[MapReading]:
        """The maps made of all heads that have a score everywhere."""
        found = []
        for name in _summaries_of(self.at.cells):
            value, other = self.scores(name), self.at.chance(SHUFFLED + name, self.sigma, self.kept)
            if not np.isnan(value).any():
                found.append(self.reading(name, value, None if np.isnan(other).any() else other))
        return found


def _summaries_of(cells: ScoreArray) -> list[str]:
    """The maps that are made of all heads of the layer, such as their mean."""
    of_others = (SHUFFLED, SAME_KIND, SAME_HALF)
    return [m for m in cells.maps if not is_head(m) and m not in REFERENCES and not m.startswith(of_others)]


def _references(scores: dict[str, FloatArray], closest: FloatArray, sign: int) -> list[Reference]:
    """The maps that know nothing of the trained model, each with the closest head's lead over it.

    scores: (participants, pictures) by map; closest: those of the closest head, positive towards people.
    """
    found = []
    for name, value in scores.items():
        # Pictures without a mask have no object; the mean is then over those that have one, and says how many.
        there = np.ix_(*complete(value))
        if value[there].size:
            lead = crossed_interval(closest[there] - sign * value[there])
            found.append(Reference(name, crossed_interval(value[there]), lead))
    return found


def share_by_measure(measure: str, floor: FloatArray | None, value: FloatArray, ceiling: FloatArray) -> Share:
    """How far a map gets from floor to ceiling by a measure; blank where no ceiling is known for it."""
    if MEASURES[measure].no_best_map:
        return Share(None, "measure")
    return share_of_the_way(floor, value, ceiling, MEASURES[measure].closer)


def _tied(contrasts: Sequence[Contrast], ranked: Sequence[str]) -> tuple[str, ...]:
    """The heads that cannot be told from the first of `ranked`, in that order."""
    untold = {
        c.second if c.first == ranked[0] else c.first
        for c in contrasts
        if ranked[0] in (c.first, c.second) and c.p >= 1 - LEVEL
    }
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
    at: FixedSigma, name: str, value: FloatArray, kept: tuple[NDArray[np.intp], ...], sigma: float, measure: str
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


def _other_viewers(cells: ScoreArray, sigma: float) -> tuple[int, int] | None:
    """How many others predict each viewer, on the picture with the fewest and on that with the most."""
    viewers = np.isfinite(cells.at(OTHERS, sigma)).sum(axis=0)
    seen = viewers[viewers > 0]
    return (int(seen.min()) - 1, int(seen.max()) - 1) if len(seen) else None


def _inside(at: FixedSigma, name: str, sigma: float) -> Estimate | None:
    """A map's score within the object, over the participants and pictures that have one for every map."""
    if at.inside is None or name not in at.inside.maps:
        return None
    kept = np.ix_(*complete(at.inside.at(name, sigma)))
    scores = at.inside.at(name, sigma)[kept]
    return crossed_interval(scores) if scores.size else None


def _heads_at(at: FixedSigma, sigma: float) -> tuple[list[str], FloatArray, FloatArray | None]:
    """The heads, their scores (participants, pictures, heads), and those on other pictures if any were shuffled."""
    heads = [m for m in at.cells.maps if is_head(m)]
    scores, chance = (np.stack([at.cells.at(of + h, sigma) for h in heads], axis=2) for of in ("", SHUFFLED))
    return heads, scores, None if np.isnan(chance).all() else chance


def _chance_of(at: FixedSigma, heads: Sequence[str], sigma: float, kept: tuple[NDArray[np.intp], ...]) -> FloatArray:
    """The pseudo-values of the heads' scores by chance (`FixedSigma.chance`), of those kept; shaped as the scores."""
    return np.stack([at.chance(SHUFFLED + h, sigma, kept) for h in heads], axis=2)


def _complete_heads(scores: FloatArray, chance: FloatArray | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return complete(scores if chance is None else np.concatenate([scores, chance], axis=2))


def with_holm_over_head_effects(readings: Sequence[LayerReading]) -> list[LayerReading]:
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


def in_depth(at: FixedSigma, reading: LayerReading, seed: int) -> tuple[LayerReading, str]:
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
    Raises ValueError as `mixed_model.fit_tables` does, and where heads differ by the same in every cell.
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


def _left_out(cells: ScoreArray, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> list[str]:
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


def _with_holm(readings: list[MapReading]) -> list[MapReading]:
    known = [r.gain.p for r in readings if r.gain is not None and r.gain.p is not None]
    if len(known) < len(readings):
        return readings
    return [replace(r, gain_p_holm=p) for r, p in zip(readings, holm(known), strict=True)]
