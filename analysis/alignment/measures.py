"""How alike two maps are: the measures as formulas, in plain float64, to be read beside their sources.

p is the human map and q the model's, over the same pixels. This file is the reference; sweep.py computes the
same numbers for very many pairs at once. Making the maps is not done here (maps.py, extraction.py), nor is the
judging of differences (findings/), nor the fitting of a baseline (baselines.py).

Measures at fixations count every fixation once, as the literature does; durations weigh in human maps alone. NSS, AUC,
shuffled AUC and information gain are means, at the fixated pixels, of a map that depends on the model alone: made once
(`nss_map`, `auc_map`, `shuffled_auc_map`, `information_map`), it serves everybody's fixations (`mean_at`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.ndimage import gaussian_filter
from scipy.optimize import linprog

from beholder.analysis.gaze.maps import area_resample, grid_for
from beholder.shared.arrays import FloatArray

EPSILON = 2.2204e-16  # of the MIT saliency benchmark, MATLAB's eps as written there

# Structural similarity as Wang et al. 2004 set it, for maps scaled to a maximum of 1.
SSIM_SIGMA_PX = 1.5
SSIM_RADIUS_PX = 5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2

# A map whose spread is below this share of its mean is constant: the differences are rounding.
CONSTANT_SPREAD = 1e-12

EMD_CELLS = 16  # on the longer side
TRANSPORT_EPSILON = 1e-15  # a cell's smallest share of the mass that is worth carrying


def as_density(map_: FloatArray, name: str = "map") -> FloatArray:
    """Maps (..., height, width) divided by their sums.

    Raises ValueError, with `name`, where a value is negative, NaN or infinite, or a map sums to zero.
    """
    map_ = np.asarray(map_, dtype=np.float64)
    if map_.ndim < 2:
        raise ValueError(f"the {name} must have the shape (..., height, width); {map_.shape} is invalid")
    if not np.all(np.isfinite(map_)):
        raise ValueError(f"the {name} has values that are NaN or infinite")
    if np.any(map_ < 0):
        raise ValueError(f"the {name} has negative values, so it is no density")
    total = map_.sum(axis=(-2, -1), keepdims=True)
    if not np.all(total > 0):
        raise ValueError(f"the {name} sums to zero, so it is no density")
    density: FloatArray = map_ / total
    return density


def is_constant(map_: FloatArray) -> NDArray[np.bool_]:
    """Whether each of the maps (..., height, width), none negative, has one value everywhere, up to rounding; (...)."""
    spread = map_.max(axis=(-2, -1)) - map_.min(axis=(-2, -1))
    constant: NDArray[np.bool_] = spread <= CONSTANT_SPREAD * map_.mean(axis=(-2, -1))
    return constant


def kl_divergence(human: FloatArray, model: FloatArray) -> FloatArray:
    """KL(human || model) in nats, by the MIT saliency benchmark's convention.

    human: (..., height, width) and model: the same shape, or one that broadcasts with it. Returns (...).
    Zero for equal maps; where the model is 0, epsilon bounds what the human mass there costs: 36 nats.
    Raises ValueError where a map is negative, NaN or sums to zero.
    Source: Bylinskii et al. 2019, doi:10.1109/TPAMI.2018.2815601.

    >>> kl_divergence(np.array([[1.0, 1.0]]), np.array([[1.0, 3.0]])).round(6)
    np.float64(0.143841)
    """
    p, q = as_density(human, "human map"), as_density(model, "model map")
    divergence: FloatArray = (p * np.log(EPSILON + p / (q + EPSILON))).sum(axis=(-2, -1))
    return divergence


def correlation(human: FloatArray, model: FloatArray) -> FloatArray:
    """CC: Pearson's correlation over pixels, -1 to 1; (..., height, width) twice to (...).

    NaN where a map is constant, which has no correlation with anything.
    Raises ValueError where a map is negative, NaN or sums to zero.
    Source: Bylinskii et al. 2019, doi:10.1109/TPAMI.2018.2815601.

    >>> correlation(np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]])).round(6)
    np.float64(-1.0)
    """
    p, q = as_density(human, "human map"), as_density(model, "model map")
    undefined = is_constant(p) | is_constant(q)
    p = p - p.mean(axis=(-2, -1), keepdims=True)
    q = q - q.mean(axis=(-2, -1), keepdims=True)
    norms = np.sqrt((p**2).sum(axis=(-2, -1)) * (q**2).sum(axis=(-2, -1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (p * q).sum(axis=(-2, -1)) / norms
    return np.where(undefined, np.nan, cosine)[()]


def similarity(human: FloatArray, model: FloatArray) -> FloatArray:
    """SIM: the mass that two densities share, 0 to 1; (..., height, width) twice to (...).

    Each map is divided by its sum. MIT's MATLAB code stretches maps to [0, 1] first, so its values differ.
    Raises ValueError where a map is negative, NaN or sums to zero.
    Source: Bylinskii et al. 2019, doi:10.1109/TPAMI.2018.2815601; normalised as pysaliency does.

    >>> similarity(np.array([[1.0, 1.0]]), np.array([[1.0, 3.0]]))
    np.float64(0.75)
    """
    p, q = as_density(human, "human map"), as_density(model, "model map")
    shared_mass: FloatArray = np.minimum(p, q).sum(axis=(-2, -1))
    return shared_mass


def structural_similarity(human: FloatArray, model: FloatArray) -> FloatArray:
    """SSIM: structural similarity of two maps, each scaled to a maximum of 1; (..., height, width) twice to (...).

    Gaussian window of sigma 1.5 px and 11 x 11 px, population covariance, K1 0.01, K2 0.03, data range 1; the mean over
    the windows that lie wholly inside. Maps are scaled because the constants K1 and K2 drown maps that sum to 1, which
    would all score near 1. Unlike the other measures, SSIM depends on the resolution of the map.
    Raises ValueError where a map is negative, NaN, zero everywhere, or smaller than the window in a direction.
    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861; as scikit-image's structural_similarity.
    """
    p, q = as_density(human, "human map"), as_density(model, "model map")
    require_ssim_size(p.shape[-2], p.shape[-1])
    p = p / p.max(axis=(-2, -1), keepdims=True)
    q = q / q.max(axis=(-2, -1), keepdims=True)
    mean_p, mean_q = _window_mean(p), _window_mean(q)
    variance_p = _window_mean(p * p) - mean_p**2
    variance_q = _window_mean(q * q) - mean_q**2
    covariance = _window_mean(p * q) - mean_p * mean_q
    luminance = (2 * mean_p * mean_q + SSIM_C1) / (mean_p**2 + mean_q**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_p + variance_q + SSIM_C2)
    mean_similarity: FloatArray = (luminance * structure).mean(axis=(-2, -1))
    return mean_similarity


def require_ssim_size(height: int, width: int) -> None:
    """Raise ValueError where a map is smaller than one window of structural similarity, 11 x 11 px."""
    window = 2 * SSIM_RADIUS_PX + 1
    if min(height, width) < window:
        raise ValueError(
            f"structural similarity needs maps of at least {window} x {window} px; {height} x {width} is too small: "
            "compare on a finer grid, or leave ssim out"
        )


def _window_mean(maps: FloatArray) -> FloatArray:
    """Gaussian-weighted means of the windows that lie inside; (..., h, w) to (..., h - 10, w - 10)."""
    r = SSIM_RADIUS_PX
    means: FloatArray = gaussian_filter(maps, SSIM_SIGMA_PX, radius=r, axes=(-2, -1))[..., r:-r, r:-r]
    return means


def mean_at(map_: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> FloatArray:
    """The mean of maps (..., height, width) at fixated pixels, (n,) twice; (...). A pixel fixated twice counts twice.

    Raises ValueError where there is no fixation, or one lies outside.
    """
    rows, cols = _checked(map_, rows, cols)
    mean: FloatArray = map_[..., rows, cols].mean(axis=-1)
    return mean


def _checked(
    map_: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    rows, cols = np.asarray(rows), np.asarray(cols)
    if rows.size == 0:
        raise ValueError("a measure at fixations is a mean over them, and none is given")
    if rows.min() < 0 or cols.min() < 0 or rows.max() >= map_.shape[-2] or cols.max() >= map_.shape[-1]:
        raise ValueError(f"a fixation lies outside the map of {map_.shape[-2]} x {map_.shape[-1]} px")
    return rows, cols


def nss_map(model: FloatArray) -> FloatArray:
    """Maps (..., height, width) as z-scores over their pixels, with the population's SD; NaN for a constant map.

    Raises ValueError where a map is negative, NaN or sums to zero.
    """
    q = as_density(model, "model map")
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (q - q.mean(axis=(-2, -1), keepdims=True)) / q.std(axis=(-2, -1), keepdims=True)
    return np.where(is_constant(q)[..., None, None], np.nan, z)


def nss(model: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> FloatArray:
    """NSS: the model map's mean z-score at fixated pixels; (..., height, width) with (n,) twice to (...).

    z-scores are over all pixels, with the population's SD; 0 is chance. NaN for a constant map.
    Raises ValueError where there is no fixation, one lies outside, or the map is negative, NaN or sums to zero.
    Source: Peters et al. 2005, doi:10.1016/j.visres.2005.03.019.
    """
    return mean_at(nss_map(model), rows, cols)


def auc_map(model: FloatArray) -> FloatArray:
    """For each pixel of maps (..., height, width) the share of pixels with a lower value, ties counting one half.

    Raises ValueError where a map is negative, NaN or sums to zero.
    """
    q = as_density(model, "model map")
    pixels = q.shape[-2] * q.shape[-1]
    # The mean rank of tied pixels is the number of pixels below, plus half of the tied ones, plus one half.
    ranks = stats.rankdata(q.reshape(*q.shape[:-2], pixels), method="average", axis=-1)
    below: FloatArray = ((ranks - 0.5) / pixels).reshape(q.shape)
    return below


def auc(model: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> FloatArray:
    """AUC, uniform negatives: how often a fixated pixel has more of the map than a random pixel has, 0 to 1.

    (..., height, width) with (n,) twice to (...). The negatives are all pixels, fixated ones too; ties count one half;
    0.5 is chance, and the score of a constant map. A centre bias in the map is rewarded (see `shuffled_auc`).
    Raises ValueError where there is no fixation, one lies outside, or the map is negative, NaN or sums to zero.
    Source: Bylinskii et al. 2019, doi:10.1109/TPAMI.2018.2815601; negatives and ties as in pysaliency's AUC.

    >>> auc(np.array([[1.0, 2.0, 2.0, 3.0]]), np.array([0]), np.array([1]))
    np.float64(0.5)
    """
    return mean_at(auc_map(model), rows, cols)


def auc_judd(model: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> FloatArray:
    """AUC-Judd: the area under the ROC curve whose thresholds are the map's values at fixated pixels, 0 to 1.

    (..., height, width) with (n,) twice to (...). The negatives are the pixels that nobody fixated; between thresholds
    the curve is straight, so that with few fixations the area falls short of `auc`. Unlike in the MIT benchmark, ties
    are not broken by noise, which would make a score depend on chance. NaN where every pixel is fixated.
    Raises ValueError where there is no fixation, one lies outside, or the map is negative, NaN or sums to zero.
    Source: Judd et al. 2009, doi:10.1109/ICCV.2009.5459462; as pysaliency's AUC_Judd with jitter=False.
    """
    q = as_density(model, "model map")
    rows, cols = _checked(q, rows, cols)
    unfixated = np.ones(q.shape[-2:], dtype=np.bool_)
    unfixated[rows, cols] = False
    if not unfixated.any():
        return np.full(q.shape[:-2], np.nan)[()]
    maps = q.reshape(-1, *q.shape[-2:])
    areas = [_area_by_thresholds(np.sort(m[rows, cols]), np.sort(m[unfixated])) for m in maps]
    return np.array(areas).reshape(q.shape[:-2])[()]


def _area_by_thresholds(positives: FloatArray, negatives: FloatArray) -> float:
    """The area under the ROC curve whose thresholds are the positives; positives (n,), negatives (m,), both rising."""
    thresholds = positives[::-1]
    hits = 1 - np.searchsorted(positives, thresholds, side="left") / len(positives)
    false_alarms = 1 - np.searchsorted(negatives, thresholds, side="left") / len(negatives)
    y, x = np.r_[0, hits, 1], np.r_[0, false_alarms, 1]
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def shuffled_auc_map(model: FloatArray, other_rows: NDArray[np.integer], other_cols: NDArray[np.integer]) -> FloatArray:
    """For each pixel of maps (..., height, width) the share of negatives with a lower value, ties counting one half.

    other_rows, other_cols: (m,) pixels of this map at which other pictures were fixated: positions in shares of their
    own picture's width and height, brought to this one's.
    Raises ValueError where there is no negative, one lies outside, or a map is negative, NaN or sums to zero.
    """
    q = as_density(model, "model map")
    other_rows, other_cols = _checked(q, other_rows, other_cols)
    below = np.empty_like(q)
    for at in np.ndindex(q.shape[:-2]):
        negatives = np.sort(q[at][other_rows, other_cols])
        less, not_more = (np.searchsorted(negatives, q[at], side=side) for side in ("left", "right"))
        below[at] = (less + not_more) / (2 * len(negatives))
    return below


def shuffled_auc(
    model: FloatArray,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    other_rows: NDArray[np.integer],
    other_cols: NDArray[np.integer],
) -> FloatArray:
    """Shuffled AUC: how often a fixated pixel has more of the map than one fixated on other pictures, 0 to 1.

    (..., height, width), (n,) twice and (m,) twice to (...); negatives as in `shuffled_auc_map`. Ties count one half;
    0.5 is chance, and the score of a map that has only the centre bias that people have on every picture.
    Raises ValueError as `auc`, and where there is no negative or one lies outside.
    Source: Zhang et al. 2008, doi:10.1167/8.7.32; as pysaliency's AUC with nonfixations="shuffled", which takes every
    fixation on every other picture.
    """
    return mean_at(shuffled_auc_map(model, other_rows, other_cols), rows, cols)


def information_map(model: FloatArray, baseline: FloatArray) -> FloatArray:
    """Information at each pixel, in bits: log2 of the model's density over the baseline's, (..., height, width) both.

    Minus infinity where the model is 0, and NaN where the baseline is 0 as well.
    Raises ValueError where a map is negative, NaN or sums to zero.
    """
    q, b = as_density(model, "model map"), as_density(baseline, "baseline density")
    with np.errstate(divide="ignore", invalid="ignore"):
        bits: FloatArray = np.log2(q) - np.log2(b)
    return bits


def information_gain(
    model: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer], baseline: FloatArray
) -> FloatArray:
    """IG: bits per fixation that the model's density tells beyond the baseline's, commonly a fitted centre bias.

    (..., height, width), (n,) twice and a baseline that broadcasts with the model to (...). 0 is the baseline; negative
    where the map, taken as a density, predicts worse than the baseline, as sharp maps that were never fitted to
    fixations do. There is no epsilon: minus infinity where the model is 0 at a fixated pixel, so give such a map a
    share of the uniform density first, and say how much.
    Raises ValueError where there is no fixation, one lies outside, or a map is negative, NaN or sums to zero.
    Source: Kuemmerer, Wallis and Bethge 2015, doi:10.1073/pnas.1510393112.

    >>> information_gain(np.array([[3.0, 1.0]]), np.array([0]), np.array([0]), np.array([[1.0, 1.0]])).round(6)
    np.float64(0.584963)
    """
    return mean_at(information_map(model, baseline), rows, cols)


def values_at(
    measure: str,
    maps: FloatArray,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    *,
    negatives: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    baseline: FloatArray | None = None,
) -> FloatArray:
    """What each fixated pixel contributes to `nss`, `auc`, `sauc` or `ig`, whose mean over fixations is the measure.

    maps: (M, height, width); rows and cols: (n,), of everybody's fixations at once. Returns (M, n). negatives and
    baseline are those of `shuffled_auc` and `information_gain`. Values are ranked at the fixated pixels alone, which is
    faster than `auc_map` and `shuffled_auc_map` where there are many maps. NaN where the measure is undefined.
    Raises ValueError for other measures, where negatives or baseline are needed and missing, and as the measures do.
    """
    q = as_density(maps, "model map")
    rows, cols = _checked(q, rows, cols)
    if measure == "nss":
        return nss_map(q)[:, rows, cols]
    if measure == "ig" and baseline is not None:
        return information_map(q, baseline)[:, rows, cols]
    if measure == "auc":
        among = q.reshape(len(q), -1)
    elif measure == "sauc" and negatives is not None:
        among = q[(slice(None), *_checked(q, *negatives))]
    else:
        raise ValueError(f"{measure} is no mean over fixations, or lacks what it is compared with")
    found = np.empty((len(q), len(rows)))
    for i, (ranked, at) in enumerate(zip(np.sort(among, axis=-1), q[:, rows, cols], strict=True)):
        less, not_more = (np.searchsorted(ranked, at, side=side) for side in ("left", "right"))
        found[i] = (less + not_more) / (2 * among.shape[-1])
    return found


def earth_movers_distance(human: FloatArray, model: FloatArray, longer_side: int = EMD_CELLS) -> FloatArray:
    """EMD: how far mass must be carried to turn one density into the other, on average, as a share of the diagonal.

    (..., height, width) twice to (...): 0 for equal maps, 1 for all mass in opposite corners. Both densities are
    brought by exact area to a grid of at most `longer_side` cells on the longer side, mass sits at the cells' centres,
    and distances are Euclidean; on that grid the value is exact (a linear programme), not thresholded.
    Limits: what moves within a cell is not seen, so that a value may be off by up to one cell's diagonal (6 % of the
    picture's with 16 cells; by far less between maps as smooth as a cell); unlike MIT's code, which works on 32 times
    smaller pictures, the grid does not depend on how large the picture is. It takes about 0.1 s a pair with 16 cells
    and some 4 s with 32, so it suits one sigma and no sweep.
    Raises ValueError where a map is negative, NaN or sums to zero.
    Source: Rubner, Tomasi and Guibas 2000, doi:10.1023/A:1026543900054.

    >>> earth_movers_distance(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])).round(6)
    np.float64(0.5)
    """
    p, q = as_density(human, "human map"), as_density(model, "model map")
    height, width = p.shape[-2:]
    if q.shape[-2:] != (height, width):
        raise ValueError(f"the maps must have one size; {p.shape[-2:]} and {q.shape[-2:]} are two")
    grid = grid_for(width, height, min(longer_side, max(height, width)))
    cells_p, cells_q = np.broadcast_arrays(
        area_resample(p, grid.height, grid.width), area_resample(q, grid.height, grid.width)
    )
    y = (np.arange(grid.height) + 0.5) * height / grid.height
    x = (np.arange(grid.width) + 0.5) * width / grid.width
    centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) / np.hypot(height, width)
    distances = np.empty(cells_p.shape[:-2])
    for at in np.ndindex(distances.shape):
        distances[at] = _transport_cost((cells_p[at] - cells_q[at]).ravel(), centres)
    return distances[()]


def _transport_cost(surplus: FloatArray, places: FloatArray) -> float:
    """The least cost of carrying mass from where surplus (n,) is positive to where it is negative; places: (n, 2).

    The surplus sums to 0; the cost of a unit of mass is the distance between its two places.

    What two densities share stays where it is: by the triangle inequality moving it never pays.
    """
    giving, taking = surplus > TRANSPORT_EPSILON, surplus < -TRANSPORT_EPSILON
    if not (giving.any() and taking.any()):
        return 0.0
    supply, demand = surplus[giving], -surplus[taking]
    demand *= supply.sum() / demand.sum()
    distance = np.linalg.norm(places[giving][:, None] - places[taking], axis=-1)
    n, m = distance.shape
    carried = sparse.vstack([sparse.kron(sparse.eye(n), np.ones(m)), sparse.kron(np.ones(n), sparse.eye(m))])
    # The last constraint follows from the others; rounding could contradict it.
    found = linprog(distance.ravel(), A_eq=carried.tocsr()[:-1], b_eq=np.r_[supply, demand][:-1], method="highs-ds")
    if not found.success:
        raise ValueError(f"the earth mover's distance has no solution: {found.message}")
    return float(found.fun)


@dataclass(frozen=True)
class Lift:
    """How much of a map's mass lies in a region: shares from 0 to 1, of the shape (...) of the maps.

    `inside` and `outside` are shares of the mass, `area` is the region's share of the pixels.
    """

    inside: FloatArray
    outside: FloatArray
    area: float

    @property
    def lift_pp(self) -> FloatArray:
        """Inside minus area, in percentage points; 0 for a map that is blind to the region."""
        return 100 * (self.inside - self.area)


def lift(map_: FloatArray, mask: FloatArray) -> Lift:
    """The share of a map's mass inside a region, to be set against the region's share of the area.

    map_: (..., height, width); mask: (height, width) from 0 to 1, the part of each pixel that belongs to the region.
    Raises ValueError where the map is negative, NaN or sums to zero, or the mask is of another size or beyond 0 to 1.

    >>> lift(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]])).lift_pp
    np.float64(25.0)
    """
    q, mask = as_density(map_, "map"), np.asarray(mask, dtype=np.float64)
    if mask.shape != q.shape[-2:]:
        raise ValueError(f"the mask's shape must be the map's, {q.shape[-2:]}; {mask.shape} is invalid")
    if not np.all((mask >= 0) & (mask <= 1)):
        raise ValueError("the mask's values must lie between 0 and 1")
    return Lift(
        inside=(q * mask).sum(axis=(-2, -1)),
        outside=(q * (1 - mask)).sum(axis=(-2, -1)),
        area=float(mask.mean()),
    )


@dataclass(frozen=True)
class Measure:
    """One way to compare: its name in tables, how it is written and read, and the function that defines it.

    `against` says what the model's map is compared with: a human map of the same shape, or fixated pixels; the first is
    called as function(human, model), the second as function(model, rows, cols). `beside` says what a measure at
    fixations needs after these: the pixels fixated on other pictures (rows, cols), or a baseline density.
    `meaning` is one line for a reader who has not met it. `no_best_map`: why, even for a known density of fixations, no
    map is known to score best by this measure, so that there is no noise ceiling; empty where one is (ceilings.py).
    """

    name: str
    label: str
    unit: str
    closer: Literal["lower", "higher"]
    against: Literal["map", "fixations"]
    function: Callable[..., FloatArray]
    meaning: str
    beside: Literal["", "other fixations", "baseline"] = ""
    no_best_map: str = ""


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "kl", "KL divergence", "nats", "lower", "map", kl_divergence,
            "what is lost when the model's map stands for where people looked; 0 is the same map",
        ),
        Measure(
            "cc", "Pearson's CC", "", "higher", "map", correlation,
            "the correlation of the two maps over pixels; 1 is the same shape, 0 is none",
        ),
        Measure(
            "sim", "SIM", "", "higher", "map", similarity,
            "the share of their mass that the two maps have in common; 1 is the same map",
        ),
        Measure(
            "ssim", "SSIM", "", "higher", "map", structural_similarity,
            "how alike the maps are in local level, contrast and structure; 1 is the same map",
            no_best_map="no rule is known for the map that scores best when it is scaled to its own maximum",
        ),
        Measure(
            "emd", "EMD", "of the diagonal", "lower", "map", earth_movers_distance,
            "how far the model's mass must be carried to become the human map; 0 is the same map",
            no_best_map="no rule is known for the map from which mass is carried least far on average",
        ),
        Measure(
            "nss", "NSS", "SD", "higher", "fixations", nss,
            "the model's map, in SDs above its mean, where people looked; 0 is chance",
        ),
        Measure(
            "auc", "AUC", "", "higher", "fixations", auc,
            "how often a fixated place has more of the model's map than any place of the picture; 0.5 is chance",
        ),
        Measure(
            "auc_judd", "AUC-Judd", "", "higher", "fixations", auc_judd,
            "the same against the places that were not fixated, with fixated values as thresholds; 0.5 is chance",
        ),
        Measure(
            "sauc", "shuffled AUC", "", "higher", "fixations", shuffled_auc,
            "how often a fixated place has more of the map than places fixated on other pictures; 0.5 is chance",
            "other fixations",
        ),
        Measure(
            "ig", "information gain", "bits", "higher", "fixations", information_gain,
            "what the map tells about each fixation beyond the centre bias; 0 is the centre bias",
            "baseline",
        ),
    )
}  # fmt: skip


def sign_of(measure: str) -> int:
    """1 where higher scores are closer to people, -1 where lower ones are."""
    return 1 if MEASURES[measure].closer == "higher" else -1
