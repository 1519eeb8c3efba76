"""Comparison of models, by the mean of their heads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.readings import ModelContrast
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray
from beholder.analysis.results.map_names import SHUFFLED
from beholder.analysis.statistics.crossed import LEVEL, complete, crossed_interval
from beholder.analysis.statistics.multiplicity import simultaneous


@dataclass(frozen=True)
class MeanOfHeads:
    """Score and gain of the mean of one layer's heads, by the primary measure; participants x pictures."""

    layer: int
    score: pd.DataFrame
    gain: pd.DataFrame | None


def model_contrasts(means: dict[str, MeanOfHeads], primary: str) -> tuple[ModelContrast, ...]:
    """The contrasts of every two models by the mean of the heads: its score and, where chance is known, its gain."""
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
            found.append(
                ModelContrast(
                    of, first, means[first].layer, second, means[second].layer, c.difference, c.low, c.high, c.df, c.p
                )
            )
    return tuple(found)


def wide_gain(at: FixedSigma, primary: str) -> pd.DataFrame | None:
    """The gain of the mean of the heads, participants x pictures, positive towards people; None without chance."""
    sigma, everything = at.cells.sigmas[0], np.ix_(*map(np.arange, at.cells.scores.shape[:2]))
    chance = at.chance(f"{SHUFFLED}mean", sigma, everything)
    if np.isnan(chance).all():
        return None
    gain = sign_of(primary) * (at.cells.at("mean", sigma) - chance)
    return pd.DataFrame(gain, index=at.cells.participants, columns=at.cells.pictures)


def wide(cells: ScoreArray, name: str) -> pd.DataFrame:
    """The scores of one map, participants x pictures."""
    return pd.DataFrame(cells.at(name, cells.sigmas[0]), index=cells.participants, columns=cells.pictures)
