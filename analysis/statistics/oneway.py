"""One-way ANOVA and Tukey's HSD over independent scores, for the replication of the published analysis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats
from statsmodels.stats.multicomp import pairwise_tukeyhsd

from beholder.analysis.statistics.crossed import LEVEL
from beholder.shared.arrays import FloatArray


@dataclass(frozen=True)
class Anova:
    """One-way ANOVA over heads, participants x pictures as replicates."""

    f: float
    df1: int
    df2: int
    p: float
    eta_squared: float


@dataclass(frozen=True)
class TukeyPair:
    """Tukey's HSD for two heads: mean score of the second minus that of the first, 95 % interval, adjusted p."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float


def anova(groups: list[FloatArray]) -> Anova:
    """One-way ANOVA over groups of independent scores; eta squared is the share of the sum of squares between them."""
    result = stats.f_oneway(*groups)
    every = np.concatenate(groups)
    between = sum(len(g) * (g.mean() - every.mean()) ** 2 for g in groups)
    total = float(((every - every.mean()) ** 2).sum())
    return Anova(
        float(result.statistic),
        len(groups) - 1,
        len(every) - len(groups),
        float(result.pvalue),
        float(between / total),
    )


def tukey(groups: list[FloatArray], names: list[str]) -> tuple[TukeyPair, ...]:
    """Tukey's HSD over groups of independent scores, by statsmodels."""
    labels = np.repeat(names, [len(g) for g in groups])
    result = pairwise_tukeyhsd(np.concatenate(groups), labels, alpha=1 - LEVEL)
    ordered = [str(g) for g in result.groupsunique]
    rows = zip(combinations(ordered, 2), result.meandiffs, result.confint, result.pvalues, strict=True)
    return tuple(TukeyPair(a, b, float(d), float(low), float(high), float(p)) for (a, b), d, (low, high), p in rows)
