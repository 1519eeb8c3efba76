"""The head that is named for a model, and what may be said of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from zlib import crc32

import numpy as np
import pandas as pd

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.above_chance import PERMUTATIONS, Match, compared_with_each_other
from beholder.analysis.findings.layer import FITTED_CENTRE, OTHERS, share_by_measure
from beholder.analysis.findings.models import wide
from beholder.analysis.findings.readings import Choice, LayerReading, MapReading
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray, head_scores
from beholder.analysis.results.map_names import SAME_HALF
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import LEVEL, complete, crossed_interval
from beholder.analysis.statistics.permutation import above_chance
from beholder.shared.errors import DataError


def by_model(readings: Sequence[LayerReading]) -> list[list[LayerReading]]:
    """The readings by the primary measure, model by model."""
    primary = [s for s in readings if s.primary]
    return [[s for s in primary if s.model == model] for model in dict.fromkeys(s.model for s in primary)]


def name_head(
    of_model: Sequence[LayerReading], first_halves: dict[tuple[str, int], dict[str, float]]
) -> tuple[LayerReading, str]:
    """The reading of the layer that has a model's closest head, and the name of that head.

    first_halves: by model and layer, the heads' mean scores on the half of the pictures that chooses; empty where all
    pictures do.
    """
    scores = {
        (i, head.map): first_halves[s.model, s.layer][head.map] if first_halves else head.value.mean
        for i, s in enumerate(of_model)
        for head in s.heads
    }
    number, name = max(scores, key=lambda key: sign_of(of_model[0].measure) * scores[key])
    return of_model[number], name


def means_on(cells: ScoreArray, reading: LayerReading, pictures: Collection[str]) -> dict[str, float]:
    """The heads' mean scores on some pictures, over the participants and pictures that have one for every head.

    Raises DataError where there are none.
    """
    columns = [i for i, name in enumerate(cells.pictures) if name in pictures]
    scores = np.stack([cells.at(h.map, reading.sigma)[:, columns] for h in reading.heads], axis=2)
    kept = np.ix_(*complete(scores))
    if not scores[kept].size:
        raise DataError(_nobody_on(reading, "chosen"))
    means = scores[kept].mean(axis=(0, 1))
    return {h.map: float(m) for h, m in zip(reading.heads, means, strict=True)}


def _nobody_on(reading: LayerReading, what: str) -> str:
    return (
        f"{reading.model}, layer {reading.layer}: nobody has a score on every picture of the half that heads are "
        f'{what} on; set alignment.choose_on = "all" in study.toml, or record again.'
    )


def choice_of(
    results: Results, reading: LayerReading, head: str, of_model: Sequence[LayerReading], at: FixedSigma, match: Match
) -> Choice:
    """What is said of the head that is named, on the pictures that did not choose it where there are such.

    reading, at and match: of its layer; of_model: the readings of all layers among which it was chosen.
    """
    halves = results.summary.halves
    first, second = (tuple(sorted(name for name, half in halves.items() if half == which)) for which in (0, 1))
    own, p = reading.head(head), reading.head(head).p_above_chance
    candidates = sum(len(s.heads) for s in of_model)
    # Any pair of heads could have come first and second; a head that other pictures chose has only its own pairs.
    comparisons = candidates - 1 if second else candidates * (candidates - 1) // 2
    if second:
        own, p = (
            _on_second_half(at, reading, head, second),
            _p_on(match, head, second, reading, results.study.study.seed),
        )
    return Choice(
        model=reading.model,
        layer=reading.layer,
        map=head,
        reading=own,
        p=p,
        ties=_ties(results, reading, head, of_model, at.cells, second or at.cells.pictures, comparisons),
        candidates=candidates,
        layers=len(of_model),
        chosen_on=first,
        estimated_on=second,
    )


def _ties(
    results: Results,
    reading: LayerReading,
    head: str,
    of_model: Sequence[LayerReading],
    own: ScoreArray,
    pictures: Collection[str],
    comparisons: int,
) -> tuple[tuple[int, str], ...] | None:
    """The heads of all layers that cannot be told from `head` on some pictures; None where none can be tested.

    Each pair is compared over the participants and pictures that both have.
    """
    sign = sign_of(reading.measure)
    named = wide(own, head).reindex(columns=sorted(pictures))
    found, tested = [], False
    for s in of_model:
        cells = own if s.layer == reading.layer else head_scores(results, s.model, s.layer, s.measure)
        for other in (h.map for h in s.heads):
            if cells is None or (s.layer, other) == (reading.layer, head):
                continue
            difference = sign * named.sub(wide(cells, other).reindex(columns=named.columns)).to_numpy(dtype=np.float64)
            difference = difference[np.ix_(*complete(difference))]
            if min(difference.shape) < 2:
                continue
            tested = True
            e = crossed_interval(difference, confidence=1 - (1 - LEVEL) / comparisons)
            if e.low is None or e.low <= 0:
                found.append((e.mean, s.layer, other))
    return tuple((layer, name) for _, layer, name in sorted(found)) if tested else None


def _on_second_half(at: FixedSigma, reading: LayerReading, head: str, pictures: Collection[str]) -> MapReading:
    """A head's score and gain on the half of the pictures that did not choose it; chance is from that half alone."""
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
    over_centre = share_by_measure(reading.measure, centre, value, ceiling)
    if known is scores:
        return MapReading(head, crossed_interval(value), None, None, share_over_centre=over_centre)
    other = at.chance(SAME_HALF + head, sigma, kept)
    gain, share = crossed_interval(sign * (value - other)), share_by_measure(reading.measure, other, value, ceiling)
    return MapReading(
        head, crossed_interval(value), crossed_interval(other), gain, share=share, share_over_centre=over_centre
    )


def _p_on(match: Match, head: str, pictures: Collection[str], reading: LayerReading, seed: int) -> float | None:
    """The p of one head's gain on some pictures, by permuted pictures; None where it cannot be tested."""
    names = sorted(pictures)
    where = pd.MultiIndex.from_product([names, names])
    scores = match.scores[head].reindex(where).to_numpy(dtype=np.float64).reshape(1, len(names), len(names), 1)
    blocks = compared_with_each_other(np.isfinite(scores[0, :, :, 0]))
    if not any(len(block) > 1 for block in blocks):
        return None
    rng = np.random.default_rng((seed, crc32(f"chance of {reading.model} on a half".encode())))
    return above_chance(scores, sign_of(reading.measure), rng, PERMUTATIONS, blocks).p
