"""The published analysis: the best sigma, one-way ANOVA over heads, Tukey's HSD.

Its p values treat every participant and picture as a replicate: see `REPLICATION_WARNING` (report/prose/statistics.py).
"""

from __future__ import annotations

import numpy as np

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.readings import BestSigma, Curve, Replication
from beholder.analysis.findings.score_arrays import ScoreArray
from beholder.analysis.results.map_names import SHUFFLED, is_head
from beholder.analysis.statistics.oneway import anova, tukey


def replicate(cells: ScoreArray, model: str, layer: int, measure: str, unit: str, *, pairs: bool) -> Replication:
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


def best_sigma_over_cells(cells: ScoreArray, heads: tuple[str, ...], sign: int) -> BestSigma | None:
    """The best sigmas of all participants x pictures, by the mean over `heads`; None as in `Replication.over_cells`.

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


def curve(cells: ScoreArray, maps: tuple[str, ...], label: str, sign: int) -> Curve:
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
