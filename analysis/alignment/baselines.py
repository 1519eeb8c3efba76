"""Where people are likely to look, as densities fitted by likelihood: the centre bias, and the other viewers.

    centre    one Gaussian for every picture, stretched with it, and a share of the uniform density: the floor that
              knows nothing but that people look at the middle; fitted to fixations on OTHER pictures
    others    the fixations of everybody else on the same picture, each a Gaussian of a fitted width, and shares of the
              uniform density and of the centre: the ceiling, what people can tell about each other

In the fits every fixation counts once. Positions are in map px (see maps.py), likelihoods those of the pixels that
were fixated. Not here: the map that such a density makes best for a measure (ceilings.py); the width as a finding of
its own, with its interval (bandwidth.py); scores (measures.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr

from beholder.analysis.gaze.maps import Grid, blur_matrix, pixel_centres
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.shared.arrays import FloatArray

# No place is impossible: every fitted density has at least this share of the uniform one.
LEAST_UNIFORM = 0.001
LEAST_SD, LARGEST_SD = 0.01, 2.0  # of the centre bias, in shares of a side: below a point, above flat
FEWEST_FIXATIONS = 10  # for the five numbers of a centre
EM_STEPS, EM_TOLERANCE = 500, 1e-7  # in bits per fixation


# The centre bias.


@dataclass(frozen=True)
class CentreBias:
    """A Gaussian over the picture, and a share of the uniform density; lengths in shares of the width or height.

    `uniform`: that share. `bits`: per fixation over the uniform density, on the fixations it was fitted to.
    """

    x: float
    y: float
    sd_x: float
    sd_y: float
    uniform: float
    bits: float

    def density(self, grid: Grid) -> FloatArray:
        """(height, width), summing to 1; the Gaussian is integrated over each pixel and ends at the border."""
        rows = blur_matrix(np.array([self.y * grid.height]), grid.height, self.sd_y * grid.height)
        columns = blur_matrix(np.array([self.x * grid.width]), grid.width, self.sd_x * grid.width)
        gaussian: FloatArray = rows @ columns.T
        mass: FloatArray = (1 - self.uniform) * gaussian / gaussian.sum()
        return mass + self.uniform / mass.size


def fit_centre(places: FloatArray) -> CentreBias:
    """The centre bias by maximum likelihood: where the Gaussian is, its own SD in x and in y, and the uniform share.

    places: (n, 2), fixations in shares of their picture's width and height, 0 to 1. Where the centre is to be a floor
    for one picture, they are those on the others. All pictures and people are pooled, each fixation counting once.
    Raises ValueError where there are fewer than 10 fixations, or one lies off the picture.
    """
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or len(places) < FEWEST_FIXATIONS:
        raise ValueError(f"a centre is fitted to at least {FEWEST_FIXATIONS} fixations (n, 2); {places.shape} is not")
    if not np.all((places >= 0) & (places <= 1)):
        raise ValueError("a centre is fitted to fixations on the picture, in shares of its width and height")
    sd = np.clip(places.std(axis=0), 2 * LEAST_SD, LARGEST_SD / 2)
    found = minimize(
        lambda p: -_centre_log_likelihood(p, places) / len(places),
        [*places.mean(axis=0), *np.log(sd), 0.1],
        method="L-BFGS-B",
        bounds=[(0, 1)] * 2 + [(np.log(LEAST_SD), np.log(LARGEST_SD))] * 2 + [(LEAST_UNIFORM, 1)],
    )
    x, y, log_sd_x, log_sd_y, uniform = (float(v) for v in found.x)
    return CentreBias(x, y, float(np.exp(log_sd_x)), float(np.exp(log_sd_y)), uniform, float(-found.fun / np.log(2)))


def _centre_log_likelihood(parameters: FloatArray, places: FloatArray) -> float:
    """Log-likelihood in nats over the uniform density; parameters: x, y, log SD of x and of y, uniform share."""
    mean, sd, uniform = parameters[:2], np.exp(parameters[2:4]), parameters[4]
    z = (places - mean) / sd
    on_picture = (ndtr((1 - mean) / sd) - ndtr(-mean / sd)).prod()
    gaussian = np.exp(-0.5 * (z**2).sum(axis=1)) / (2 * np.pi * sd.prod() * on_picture)
    return float(np.log((1 - uniform) * gaussian + uniform).sum())


# The other viewers.


@dataclass(frozen=True)
class InterObserver:
    """How the other viewers' fixations become a density: width of their Gaussians, and three shares that sum to 1.

    `width` is in the units of `PictureGaze.unit_px`. `bits`: per fixation, of the density of the others over the centre
    (over the uniform density where no centre was given). `at_edge`: the best width is the first or last that was
    tried, and so not known.
    """

    width: float
    kernel: float
    uniform: float
    centre: float
    bits: float
    at_edge: bool
    fixations: int


def kernel_masses(gaze: PictureGaze, sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """Mass of each viewer's fixations, as Gaussians of `sigma_px`, in each fixated pixel and on the whole picture.

    (fixations, viewers) and (viewers,): sums over the viewer's fixations, not divided by their number. The first
    divided by the second, both summed over the same viewers, is the density of `maps.fixation_map` at that pixel.
    """
    points = gaze.all_points()
    rows, columns = gaze.fixated_pixels()
    by_row = blur_matrix(points[:, 1], gaze.grid.height, sigma_px)
    by_column = blur_matrix(points[:, 0], gaze.grid.width, sigma_px)
    of_viewer = np.eye(len(gaze.points))[gaze.whose()]
    at_fixations: FloatArray = (by_row[rows] * by_column[columns]) @ of_viewer
    on_picture: FloatArray = (by_row.sum(axis=0) * by_column.sum(axis=0)) @ of_viewer
    return at_fixations, on_picture


def others_at_fixations(gaze: PictureGaze, sigma_px: float) -> FloatArray:
    """The other viewers' density, as Gaussians alone, at each viewer's fixations; (fixations,), NaN without others."""
    at_fixations, on_picture = kernel_masses(gaze, sigma_px)
    viewer = gaze.whose()
    own = at_fixations[np.arange(len(viewer)), viewer]
    there = np.bincount(viewer, minlength=len(gaze.points)) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.maximum(at_fixations.sum(axis=1) - own, 0) / (on_picture.sum() - on_picture[viewer])
    return np.where(there.sum() - there[viewer] > 0, density, np.nan)


def fit_others(
    pictures: Sequence[PictureGaze], widths: Sequence[float], centres: Sequence[FloatArray] | None = None
) -> InterObserver:
    """The width and shares of the other viewers' density, fitted by the likelihood of each viewer's fixations in it.

    widths: rising, in units of `unit_px`, evenly spaced in their logarithm at best; at each the shares are fitted by
    expectation maximisation, and the best width is the vertex of a parabola through the best and its neighbours.
    centres: the density (height, width) of the centre bias on each picture, fitted to the others; without them there is
    no share of the centre. Pictures with a single viewer are left out.
    Raises ValueError where no picture has two viewers, or there are fewer than three widths.
    """
    tried = np.asarray(widths, dtype=np.float64)
    if len(tried) < 3 or not (np.all(np.diff(tried) > 0) and tried[0] > 0):
        raise ValueError("the widths must be three or more, rising and more than 0")
    fits = [_fit_shares(pictures, float(width), centres) for width in tried]
    bits = np.array([fit[1] for fit in fits])
    log_width, at_edge = vertex(np.log(tried), bits)
    width = float(np.exp(log_width))
    shares, best, n = _fit_shares(pictures, width, centres)
    return InterObserver(width, float(shares[0]), float(shares[1]), float(shares[2]), best, bool(at_edge), n)


def _fit_shares(
    pictures: Sequence[PictureGaze], width: float, centres: Sequence[FloatArray] | None
) -> tuple[FloatArray, float, int]:
    """Shares of kernel, uniform and centre at one width, bits as in `InterObserver`, and how many fixations."""
    columns = []
    for index, gaze in enumerate(pictures):
        kernel = others_at_fixations(gaze, width * gaze.unit_px)
        uniform = np.full(len(kernel), 1 / gaze.pixels)
        centre = np.zeros(len(kernel)) if centres is None else centres[index][gaze.fixated_pixels()]
        columns.append(np.stack([kernel, uniform, centre], axis=1)[~np.isnan(kernel)])
    densities = np.concatenate(columns) if columns else np.empty((0, 3))
    if not len(densities):
        raise ValueError("no picture has fixations of two viewers, so that nobody is predicted by others")
    baseline = densities[:, 1 if centres is None else 2]
    shares = mixture_shares(densities, np.array([0.8, 0.2, 0.0] if centres is None else [0.8, 0.1, 0.1]))
    shares[1] = max(shares[1], LEAST_UNIFORM)
    shares /= shares.sum()
    return shares, float(np.log2(densities @ shares / baseline).mean()), len(densities)


def mixture_shares(densities: FloatArray, start: FloatArray) -> FloatArray:
    """The shares of a mixture that make data likeliest, by expectation maximisation (EM) from `start`; (k,).

    densities: (n, k), of each component at each datum. A share that starts at 0 stays so. Ends where a step of EM gains
    less than a ten millionth of a bit a datum.
    """
    shares = start / start.sum()
    before = -np.inf
    for _ in range(EM_STEPS):
        mixed = densities @ shares
        now = float(np.log2(mixed).mean())
        if now - before < EM_TOLERANCE:
            break
        before = now
        shares = shares * (densities / mixed[:, None]).mean(axis=0)
    fitted: FloatArray = shares
    return fitted


def vertex(at: FloatArray, values: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where curves (..., n) over rising `at` (n,) are highest, by a parabola through the highest value and neighbours.

    Returns the places and whether each is the first or last of `at`, where no parabola is drawn; both (...).
    """
    best = values.argmax(axis=-1)
    edge = (best == 0) | (best == len(at) - 1)
    middle = np.clip(best, 1, len(at) - 2)
    x0, x1, x2 = (at[middle + step] for step in (-1, 0, 1))
    y0, y1, y2 = (np.take_along_axis(values, (middle + step)[..., None], -1)[..., 0] for step in (-1, 0, 1))
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The slope falls from `left`, midway between the first two, to `right`, midway between the last two.
        top = (x0 + x1) / 2 + left * (x2 - x0) / (2 * (left - right))
    flat = ~np.isfinite(top)
    return np.where(edge | flat, at[best], top), edge


def everybodys_mass(
    gaze: PictureGaze, others: InterObserver, weights: Sequence[FloatArray] | None = None
) -> FloatArray:
    """All viewers' Gaussians on one picture, added up; (height, width). weights: as in `others_densities`."""
    total = np.zeros(gaze.grid.shape)
    for viewer in range(len(gaze.points)):
        total += _mass(gaze, viewer, others, weights)
    return total


def others_densities(
    gaze: PictureGaze,
    others: InterObserver,
    centre: FloatArray | None = None,
    *,
    weights: Sequence[FloatArray] | None = None,
    viewers: slice = slice(None),
    everybody: FloatArray | None = None,
) -> FloatArray:
    """What everybody else's fixations predict for each viewer on one picture; (viewers, height, width), each sums to 1.

    centre: the centre's density on this picture, needed where `others` has a share of it. weights: of each viewer's
    fixations, (n,) each, where they count by these rather than once. A viewer without fixations is predicted as well.
    viewers: some of them, where all maps are too large to be held at once; everybody: then the result of
    `everybodys_mass`, so that it is added up once.
    Raises ValueError where there are not two viewers with fixations, or the centre is missing.
    """
    if sum(len(p) > 0 for p in gaze.points) < 2:
        raise ValueError("the others' density needs two viewers with fixations on the picture")
    total = everybodys_mass(gaze, others, weights) if everybody is None else everybody
    own = np.stack([_mass(gaze, viewer, others, weights) for viewer in range(len(gaze.points))[viewers]])
    # Rounding can leave less than zero where nobody else has looked.
    return _with_shares(np.maximum(total - own, 0), others, centre)


def elsewhere_density(
    places: FloatArray, grid: Grid, unit_px: float, others: InterObserver, centre: FloatArray | None = None
) -> FloatArray:
    """The density of fixations on other pictures, with the width and shares of the other viewers; (height, width).

    places: (n, 2), one or more, in shares of their pictures' width and height; each counts from its pixel's centre.
    unit_px and centre: as in `PictureGaze` and `others_densities`. Sums to 1.
    Raises ValueError where the centre is missing.
    """
    counts, _, _ = np.histogram2d(places[:, 1], places[:, 0], bins=grid.shape, range=((0, 1), (0, 1)))
    rows = blur_matrix(pixel_centres(grid.height), grid.height, others.width * unit_px)
    columns = blur_matrix(pixel_centres(grid.width), grid.width, others.width * unit_px)
    return _with_shares(rows @ counts @ columns.T, others, centre)


def _with_shares(kernel: FloatArray, others: InterObserver, centre: FloatArray | None) -> FloatArray:
    """The density of Gaussians (..., height, width) of any sum, and shares of uniform and centre; sums to 1."""
    if centre is None and others.centre > 0:
        raise ValueError("these others have a share of the centre: give its density")
    height, width = kernel.shape[-2:]
    density: FloatArray = others.kernel * kernel / kernel.sum(axis=(-2, -1), keepdims=True)
    density += others.uniform / (height * width)
    if centre is not None:
        density += others.centre * centre
    return density


def _mass(gaze: PictureGaze, viewer: int, others: InterObserver, weights: Sequence[FloatArray] | None) -> FloatArray:
    """One viewer's Gaussians, added up."""
    points, sigma_px = gaze.points[viewer], others.width * gaze.unit_px
    rows = blur_matrix(points[:, 1], gaze.grid.height, sigma_px)
    columns = blur_matrix(points[:, 0], gaze.grid.width, sigma_px)
    added: FloatArray = (rows if weights is None else rows * weights[viewer]) @ columns.T
    return added
