"""How alike two maps are: the measures as formulas, in plain float64, to be read beside their sources.

p is the human map and q the model's, over the same pixels. This file is the reference; alignment.py computes the
same numbers for very many pairs at once. Making the maps is not done here (gaze_maps.py, attention.py), nor is the
judging of differences (inference.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from analysis.gaze_maps import FloatArray

EPSILON = 2.2204e-16  # of the MIT saliency benchmark, MATLAB's eps as written there

# Structural similarity as Wang et al. 2004 set it, for maps scaled to a maximum of 1.
SSIM_SIGMA_PX = 1.5
SSIM_RADIUS_PX = 5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2

# Below this spread, as a share of its mean, a map's differences are the rounding of a constant.
CONSTANT_SPREAD = 1e-12


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

    human: (..., height, width) and model: the same or what broadcasts with it. Returns (...).
    Zero for equal maps; where the model has nothing, epsilon bounds what the human mass there costs: 36 nats.
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

    Each map is divided by its sum, and not stretched to [0, 1] before, as MIT's MATLAB code does: values differ.
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
    the windows that lie wholly inside. It is scaled because the constants K1 and K2 drown maps that sum to 1, all of
    which then score near 1. It depends on the resolution of the map, unlike the other measures.
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
    """Raise ValueError where a map has no place for one window of structural similarity, 11 x 11 px."""
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


def nss(model: FloatArray, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> FloatArray:
    """NSS: the model map's mean z-score at fixated pixels; (..., height, width) with (n,) twice to (...).

    z-scores are over all pixels, with the population's SD; 0 is chance. NaN for a constant map.
    Raises ValueError where there is no fixation, one lies outside, or the map is negative, NaN or sums to zero.
    Source: Peters et al. 2005, doi:10.1016/j.visres.2005.03.019.
    """
    q = as_density(model, "model map")
    rows, cols = np.asarray(rows), np.asarray(cols)
    if rows.size == 0:
        raise ValueError("NSS is a mean over fixations, and none is given")
    if rows.min() < 0 or cols.min() < 0 or rows.max() >= q.shape[-2] or cols.max() >= q.shape[-1]:
        raise ValueError(f"a fixation lies outside the map of {q.shape[-2]} x {q.shape[-1]} px")
    undefined = is_constant(q)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (q[..., rows, cols].mean(axis=-1) - q.mean(axis=(-2, -1))) / q.std(axis=(-2, -1))
    return np.where(undefined, np.nan, z)[()]


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

    @property
    def contrast_pp(self) -> FloatArray:
        """Inside minus outside, in percentage points."""
        return 100 * (self.inside - self.outside)


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

    `against` says what the model's map is compared with: a human map of the same shape, or fixated pixels.
    """

    name: str
    label: str
    unit: str
    closer: Literal["lower", "higher"]
    against: Literal["map", "fixations"]
    function: Callable[..., FloatArray]


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("kl", "KL divergence", "nats", "lower", "map", kl_divergence),
        Measure("cc", "Pearson's CC", "", "higher", "map", correlation),
        Measure("sim", "SIM", "", "higher", "map", similarity),
        Measure("ssim", "SSIM", "", "higher", "map", structural_similarity),
        Measure("nss", "NSS", "SD", "higher", "fixations", nss),
    )
}
