"""Sigma as a finding: the smoothing under which fixations that had no part in the density are likeliest.

    human    each viewer's fixations under the density of the other viewers' fixations at sigma: how finely people's
             looking can be told from other people's. It depends on how many others there are: with more of them the
             best sigma is smaller, so it describes a study of that size, not an eye.
    model    everybody's fixations under the model's map smoothed at sigma: how coarsely its attention predicts gaze

Both densities have a share of the uniform one, fitted at each sigma, so that a single fixation far from all others does
not decide. Likelihoods at different sigmas can be compared, unlike scores between two maps: the points that are
predicted are the same whatever the sigma. The interval is for new viewers and new pictures: by the jackknife, which
leaves out each viewer (as one who is predicted and as one who predicts), each picture, and each viewer on each picture.
Resampling viewers with replacement would not do for human sigma: a sample of 20 holds some 13 different people, who
predict like 13.

The resolution of the data decides which sigmas can be told at all (`sigmas_to_try`). Where the likelihood still rises
at the smallest or largest of them, there is no estimate: sigma is at most, or at least, that one.

Nothing here is random. Not here: the published "best sigma" (findings/replication.py), the ceiling's density
(baselines.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from beholder.analysis.alignment.baselines import kernel_masses, vertex
from beholder.analysis.gaze.maps import smooth
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.analysis.statistics.crossed import satterthwaite
from beholder.shared.arrays import FloatArray

SD_OF_A_SPREAD = 1 / np.sqrt(12)  # SD of an even spread, as a share of its width
FACTOR = 1.25  # from one sigma that is tried to the next, at most
UNIFORM_SHARES = np.geomspace(0.001, 0.5, 16)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class SigmaEstimate:
    """A sigma with its 95 % interval, in the units of `PictureGaze.unit_px`, or what it is at most or at least.

    sigma: None where the likelihood is highest at the smallest sigma that was tried, which is then `at_most`, or at the
    largest, `at_least`; one of the three is known. low, high: None where there is no sigma, with fewer than two
    pictures or too few viewers, and where there would be none without one viewer or picture. `uniform`: the share of
    the uniform density at that sigma. `curve`: at each of `sigmas`, bits per fixation over the uniform density alone;
    `fixations`: how many were predicted.
    """

    sigma: float | None
    at_most: float | None
    at_least: float | None
    low: float | None
    high: float | None
    uniform: float
    viewers: int
    pictures: int
    fixations: int
    sigmas: tuple[float, ...]
    curve: tuple[float, ...]

    @property
    def sigma_or_bound(self) -> float:
        """The sigma or, where it is not known, its upper or lower bound."""
        return next(s for s in (self.sigma, self.at_most, self.at_least) if s is not None)


def sigmas_to_try(pictures: Sequence[PictureGaze], cells_px: Sequence[float] | None = None) -> tuple[float, ...]:
    """The sigmas that these pictures can tell, in units of `unit_px`, each at most 1.25 times the one before.

    cells_px: how wide the cells are that mass is spread over, in map px, one a picture: the patches of a model; 1, the
    map's own pixel, for fixations, and at the least. An even spread over a width w has an SD of w / sqrt(12). So
    below 1 / sqrt(12) of a cell the cells make a map wider than sigma does, and the grid would decide, not gaze; above
    1 / sqrt(12) of a picture's longer side a Gaussian covers it like an even spread. Of pictures that differ, the one
    with the coarsest cells and the one with the longest side decide.
    """
    cells = [1.0] * len(pictures) if cells_px is None else cells_px
    low = max(max(1.0, cell) / gaze.unit_px for gaze, cell in zip(pictures, cells, strict=True)) * SD_OF_A_SPREAD
    high = max(max(gaze.grid.shape) / gaze.unit_px for gaze in pictures) * SD_OF_A_SPREAD
    steps = max(2, int(np.ceil(np.log(high / low) / np.log(FACTOR))))
    return tuple(float(s) for s in np.geomspace(low, max(high, low * FACTOR**2), steps + 1))


def human_sigma(pictures: Sequence[PictureGaze], sigmas: Sequence[float]) -> SigmaEstimate:
    """The sigma at which the other viewers' fixations predict each viewer's best.

    sigmas: to be tried, rising, in units of `unit_px`; evenly spaced in their logarithm at best, by a factor of at most
    1.25. Viewers are the same on every picture (see `PictureGaze`); pictures with one viewer are left out.
    Raises ValueError where no picture has two viewers, or there are fewer than three sigmas.
    """
    usable = [gaze for gaze in pictures if sum(len(p) > 0 for p in gaze.points) > 1]
    if not usable:
        raise ValueError("no picture has fixations of two viewers, so that nobody is predicted by others")
    return _estimate(usable, sigmas, lambda index, sigma_px: _held_out(usable[index], sigma_px), least_viewers=3)


def model_sigma(pictures: Sequence[PictureGaze], maps: Sequence[FloatArray], sigmas: Sequence[float]) -> SigmaEstimate:
    """The sigma at which a model's smoothed map predicts everybody's fixations best.

    maps: (height, width) on each picture's grid, of one head (or layer, or model); sigmas: as in `human_sigma`.
    Raises ValueError where there is no fixation, a map is not on its picture's grid, or there are fewer than three
    sigmas.
    """
    for gaze, map_ in zip(pictures, maps, strict=True):
        if map_.shape != gaze.grid.shape:
            raise ValueError(f"the map's shape must be the grid's, {gaze.grid.shape}; {map_.shape} is invalid")
    looked_at = [(g, m) for g, m in zip(pictures, maps, strict=True) if len(g.all_points())]
    if not looked_at:
        raise ValueError("nobody has a fixation on any picture, so that there is nothing to predict")
    return _estimate(
        [gaze for gaze, _ in looked_at],
        sigmas,
        lambda index, sigma_px: _under_map(*looked_at[index], sigma_px),
        least_viewers=2,
    )


# Log-likelihoods of one picture at one sigma, over the uniform density and in nats: of all viewers' fixations
# together, (shares,), and the same as if each viewer had never been there, (viewers, shares).
Likelihoods = tuple[FloatArray, FloatArray]


def _held_out(gaze: PictureGaze, sigma_px: float) -> Likelihoods:
    at_fixations, on_picture = kernel_masses(gaze, sigma_px)
    viewer = gaze.whose()
    n_viewers = len(gaze.points)
    fixation = np.arange(len(viewer))
    others = at_fixations.copy()
    others[fixation, viewer] = 0
    n_others = (np.bincount(viewer, minlength=n_viewers) > 0).sum() - 1
    density = others.sum(axis=1) / (on_picture.sum() - on_picture[viewer])
    whole = _log_mixed(density * gaze.pixels).sum(axis=0)
    if n_others < 2:
        # Without one of two viewers nobody predicts the other.
        there = np.bincount(viewer, minlength=n_viewers) > 0
        return whole, np.where(there[:, None], 0.0, whole)
    fewer = np.maximum(others.sum(axis=1, keepdims=True) - others, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        density_without = fewer / (on_picture.sum() - on_picture[viewer][:, None] - on_picture)
    density_without[fixation, viewer] = 0  # who is left out is not predicted either
    logs = _log_mixed(density_without * gaze.pixels)
    logs[fixation, viewer] = 0
    return whole, logs.sum(axis=0)


def _under_map(gaze: PictureGaze, map_: FloatArray, sigma_px: float) -> Likelihoods:
    density = smooth(map_, sigma_px)[gaze.fixated_pixels()]
    logs = _log_mixed(density * gaze.pixels)
    of_viewer = np.eye(len(gaze.points))[gaze.whose()]
    whole: FloatArray = logs.sum(axis=0)
    return whole, whole - of_viewer.T @ logs


def _log_mixed(relative: FloatArray) -> FloatArray:
    """log of (1 - u) relative + u for each uniform share u; (...) to (..., shares)."""
    mixed: FloatArray = np.log(relative[..., None] * (1 - UNIFORM_SHARES) + UNIFORM_SHARES)
    return mixed


def _estimate(
    pictures: Sequence[PictureGaze],
    sigmas: Sequence[float],
    likelihoods: Callable[[int, float], Likelihoods],
    *,
    least_viewers: int,
) -> SigmaEstimate:
    tried = np.asarray(sigmas, dtype=np.float64)
    if len(tried) < 3 or not (np.all(np.diff(tried) > 0) and tried[0] > 0):
        raise ValueError("the sigmas must be three or more, rising and more than 0")
    # Sigmas in the outer loop: pictures of one size share the blur at a sigma, which is kept from one to the next.
    computed = [[likelihoods(i, float(s) * gaze.unit_px) for i, gaze in enumerate(pictures)] for s in tried]
    # (pictures, sigmas, shares) and (pictures, viewers, sigmas, shares)
    whole = np.array([[w for w, _ in at_sigma] for at_sigma in computed]).swapaxes(0, 1)
    without = np.array([[o for _, o in at_sigma] for at_sigma in computed]).transpose(1, 2, 0, 3)
    # Who has no fixation on any picture does not count as a viewer.
    there = np.array([[len(p) > 0 for p in gaze.points] for gaze in pictures])
    without = without[:, there.any(axis=0)]
    n_pictures, n_viewers = without.shape[:2]

    total = whole.sum(axis=0)
    log_sigma, at_edge = _optimum(tried, total)
    best = float(np.exp(log_sigma))
    fixations = sum(len(gaze.all_points()) for gaze in pictures)
    low = high = None
    if n_pictures > 1 and n_viewers >= least_viewers:
        by_viewer, edge_v = _optimum(tried, without.sum(axis=0))
        by_picture, edge_p = _optimum(tried, total - whole)
        by_cell, edge_c = _optimum(tried, total - whole[:, None] + without)
        half = _half_width(by_viewer, by_picture, by_cell)
        if not (at_edge or edge_v.any() or edge_p.any() or edge_c.any()):
            low, high = float(np.exp(log_sigma - half)), float(np.exp(log_sigma + half))
    nearest = int(np.abs(np.log(tried) - log_sigma).argmin())
    return SigmaEstimate(
        sigma=None if at_edge else best,
        at_most=best if at_edge and nearest == 0 else None,
        at_least=best if at_edge and nearest > 0 else None,
        low=low,
        high=high,
        uniform=float(UNIFORM_SHARES[total[nearest].argmax()]),
        viewers=n_viewers,
        pictures=n_pictures,
        fixations=fixations,
        sigmas=tuple(float(s) for s in tried),
        curve=tuple(float(v) for v in _highest(np.log(UNIFORM_SHARES), total) / (fixations * np.log(2))),
    )


def _optimum(sigmas: FloatArray, likelihoods: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The log sigma where (..., sigmas, shares) are highest, each at its best share, and whether it is at an edge."""
    profile = _highest(np.log(UNIFORM_SHARES), likelihoods)
    return vertex(np.log(sigmas), profile)


def _highest(at: FloatArray, values: FloatArray) -> FloatArray:
    """The height of curves (..., n) at their parabola's vertex; (...)."""
    best = np.clip(values.argmax(axis=-1), 1, len(at) - 2)
    y0, y1, y2 = (np.take_along_axis(values, (best + step)[..., None], -1)[..., 0] for step in (-1, 0, 1))
    bend = y0 - 2 * y1 + y2
    with np.errstate(invalid="ignore", divide="ignore"):
        above = -((y2 - y0) ** 2) / (8 * bend)
    # At an edge, or where the curve is flat, the highest value stands.
    inside = (y1 >= y0) & (y1 >= y2) & (bend < 0)
    top: FloatArray = np.where(inside, y1 + np.where(inside, above, 0), values.max(axis=-1))
    return top


def _half_width(by_viewer: FloatArray, by_picture: FloatArray, by_cell: FloatArray) -> float:
    """Half of the interval of log sigma, from the optima without each viewer, picture and cell of both.

    Chance in single cells, which the variances over viewers and over pictures both contain, is counted once: see
    `satterthwaite`.
    """
    of_viewers, of_pictures, of_cells = (_jackknife_variance(v.ravel()) for v in (by_viewer, by_picture, by_cell))
    n_viewers, n_pictures = len(by_viewer), len(by_picture)
    factors = [[(of_viewers, n_viewers - 1)], [(of_pictures, n_pictures - 1)]]
    variance, df = satterthwaite(factors, [(of_cells, by_cell.size - 1)], min(n_viewers, n_pictures))
    return float(np.sqrt(variance) * stats.t.ppf(0.5 + CONFIDENCE / 2, df))


def _jackknife_variance(without_one: FloatArray) -> float:
    n = len(without_one)
    return float((n - 1) / n * ((without_one - without_one.mean()) ** 2).sum())
