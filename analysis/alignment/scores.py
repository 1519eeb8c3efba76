"""Scores of people's gaze on a picture against maps, at the sigma fixed beforehand, by any measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.alignment.comparison import Comparison
from beholder.analysis.alignment.measures import MEASURES, auc_judd, earth_movers_distance, values_at
from beholder.analysis.gaze.maps import area_resample, centre_gaussian, fixation_map, smooth, uniform
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.shared.arrays import FloatArray
from beholder.shared.study import SWEPT, Measure, Smooth

NUMBERS_AT_ONCE = 2**21  # of an array of maps in float64: 16 MiB


# Attention was never fitted as a density: before its information is measured it gets this share of the uniform one.
UNIFORM_SHARE = 0.01


def scores_of(
    job: Comparison, gaze: PictureGaze, stack: FloatArray, measures: Sequence[Measure], *, blurred: bool = True
) -> dict[str, FloatArray]:
    """Scores of each of the people against maps (M, height, width) at the fixed sigma, (people, M) by measure.

    blurred: whether sigma blurs these maps where the study says so; False for densities that have a width of their own.
    """
    from beholder.analysis.alignment.sweep import align

    human_px, model_px, how = sigmas_of(job, blurred=blurred)
    of_maps = [m for m in measures if m in SWEPT]
    found: dict[str, FloatArray] = {}
    if of_maps:
        values = align(
            gaze.fixations,
            stack,
            [model_px if how == "model" else human_px],
            smooth=how,
            measures=of_maps,
            device=job.device,
        )
        found = {m: v[:, 0] for m, v in values.items()}
    prepared = smooth(stack, model_px) if model_px > 0 else stack
    if "emd" in measures:
        human = np.stack([fixation_map(x, y, w, job.grid, human_px) for x, y, w in gaze.fixations])
        found["emd"] = earth_movers_distance(human[:, None], prepared[None])
    return found | at_fixations(job, gaze, prepared, measures)


def sigmas_of(job: Comparison, *, blurred: bool) -> tuple[float, float, Smooth]:
    """The fixed sigma in map px for the human map and for the model's maps, and which of them it blurs."""
    how, sigma_px = job.study.maps.smooth, job.fixed_px
    human_px, model_px = (0.0 if how == "model" else sigma_px), (0.0 if how == "human" else sigma_px)
    return (human_px, model_px, how) if blurred else (human_px, 0.0, "human")


def at_fixations(
    job: Comparison,
    gaze: PictureGaze,
    maps: FloatArray,
    measures: Sequence[Measure],
    uniform_share: float = UNIFORM_SHARE,
) -> dict[str, FloatArray]:
    """The measures at fixations, (people, M) by measure; every fixation counts once.

    uniform_share: the share of the uniform density that maps get before ig is taken.
    """
    wanted = [m for m in measures if MEASURES[m].against == "fixations"]
    if not wanted or not len(gaze):
        return {m: np.empty((len(gaze), len(maps))) for m in wanted}
    pixels = [(np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)) for x, y, _ in gaze.fixations]
    counts = np.array([len(rows) for rows, _ in pixels])
    mean = np.repeat(np.eye(len(counts)) / counts, counts, axis=1)
    rows, cols = (np.concatenate([p[i] for p in pixels]) for i in range(2))
    unknown = [*([] if len(job.other_fixations) else ["sauc"]), *(["ig"] if job.centre_bias is None else [])]
    found: dict[str, FloatArray] = {}
    for measure in wanted:
        if measure == "auc_judd":
            found[measure] = np.stack([auc_judd(maps, *p) for p in pixels])
        elif measure in unknown:
            found[measure] = np.full((len(gaze), len(maps)), np.nan)
        else:
            found[measure] = mean @ _contributions(job, measure, maps, rows, cols, uniform_share).T
    return found


def _contributions(
    job: Comparison,
    measure: Measure,
    maps: FloatArray,
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    uniform_share: float,
) -> FloatArray:
    """The contribution of the fixation in each pixel to each map's score, (M, fixations)."""
    if measure == "ig" and job.centre_bias is not None:
        mixed = (1 - uniform_share) * maps / maps.sum(axis=(-2, -1), keepdims=True) + uniform_share / maps[0].size
        return values_at(measure, mixed, rows, cols, baseline=job.centre_bias)
    if measure == "sauc":
        last = np.array([job.grid.width, job.grid.height]) - 1
        other = np.minimum(np.floor(job.other_fixations * (last + 1)), last).astype(np.intp)
        return values_at(measure, maps, rows, cols, negatives=(other[:, 1], other[:, 0]))
    return values_at(measure, maps, rows, cols)


def resampled(job: Comparison, maps: Mapping[str, FloatArray]) -> FloatArray:
    """Maps of patches on the grid of people's maps, (maps, height, width), by area."""
    return np.stack([area_resample(v, job.grid.height, job.grid.width) for v in maps.values()])


def references_of(job: Comparison) -> dict[str, FloatArray]:
    """Maps on the grid that know nothing of the model, by name."""
    found = {"centre": centre_gaussian(job.grid, job.study.alignment.centre_share), "uniform": uniform(job.grid)}
    if job.over_sigma.object_share is not None:
        found["object"] = job.over_sigma.object_share / job.over_sigma.object_share.sum()
    return found
