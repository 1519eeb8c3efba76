"""Where people looked, as densities over a picture (fixation density maps), and the geometry that maps share.

Everything here is float64 numpy and small enough to be read against its formula. A map is an array of shape
(height, width) in map pixels. Coordinates are continuous, with the origin at the upper-left CORNER of the picture:
x runs over [0, width), and the pixel in column c covers [c, c + 1), so that its centre is at c + 0.5.

Not here: finding fixations in samples (detection.py), comparing two maps (measures.py), comparing very many of them
(sweep.py).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError
from beholder.shared.study import SigmaUnit


@dataclass(frozen=True)
class Grid:
    """The pixels of a map: how many rows (`height`) and columns (`width`) the picture is divided into."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a map needs at least one row and one column; {self.height} x {self.width} is invalid")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as numpy counts."""
        return (self.height, self.width)


def grid_for(picture_width_px: float, picture_height_px: float, longer_side: int = 224) -> Grid:
    """The grid of the picture's aspect whose longer side has `longer_side` map px; the other is rounded, at least 1.

    >>> grid_for(1024, 768)
    Grid(height=168, width=224)
    """
    if not (picture_width_px > 0 and picture_height_px > 0):
        raise ValueError(
            f"a picture's sides must be positive, in px; {picture_width_px} x {picture_height_px} is invalid"
        )
    scale = longer_side / max(picture_width_px, picture_height_px)
    return Grid(
        height=max(1, round(picture_height_px * scale)),
        width=max(1, round(picture_width_px * scale)),
    )


def to_map_px(
    x_px: FloatArray, y_px: FloatArray, *, picture_width_px: float, picture_height_px: float, grid: Grid
) -> tuple[FloatArray, FloatArray]:
    """Picture px to map px, both from the picture's upper-left corner; shapes are kept, nothing is rounded.

    Where positions are given as pixel indices (centre of the first pixel at 0), add 0.5 before.
    """
    x = np.asarray(x_px, dtype=np.float64) * (grid.width / picture_width_px)
    y = np.asarray(y_px, dtype=np.float64) * (grid.height / picture_height_px)
    return x, y


def sigma_in_map_px(
    sigma: float,
    unit: SigmaUnit,
    *,
    grid: Grid,
    picture_width_px: float,
    picture_width_deg: float | None = None,
    patches_across: int | None = None,
) -> float:
    """A Gaussian's standard deviation in map px.

    unit: "deg", degrees of visual angle at the picture's centre, on a flat screen where the picture's width subtends
    `picture_width_deg`; "px", pixels of the picture as it was shown; "patch", the model's patches, `patches_across` of
    them over the picture's width; "percent", per cent of the picture's width.
    Raises DataError for "deg" where the picture's width in degrees is unknown, since it is never assumed.
    """
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma must be finite and not negative; {sigma} is invalid")
    if unit == "px":
        return sigma * grid.width / picture_width_px
    if unit == "percent":
        return sigma / 100 * grid.width
    if unit == "patch":
        if patches_across is None:
            raise ValueError("a sigma in patches needs the number of patches across the picture")
        return sigma * grid.width / patches_across
    if unit == "deg":
        if picture_width_deg is None:
            raise DataError(
                "Sigma is in degrees, but how many degrees the pictures were wide is not known: give it with "
                "--picture-width-deg, or set sigma's unit to px, patch or percent."
            )
        if not 0 < picture_width_deg < 180:
            raise ValueError(f"a picture's width must lie between 0 and 180 degrees; {picture_width_deg} is invalid")
        # Tangents, not proportion: on a flat screen degrees grow wider away from its centre.
        widths_per_deg = math.tan(math.radians(1)) / (2 * math.tan(math.radians(picture_width_deg) / 2))
        return sigma * widths_per_deg * grid.width
    raise ValueError(f"sigma's unit must be one of {', '.join(get_args(SigmaUnit))}; {unit!r} is invalid")


def inside(x: FloatArray, y: FloatArray, grid: Grid) -> NDArray[np.bool_]:
    """Whether each position (map px) lies on the picture; the right and lower borders and NaN do not."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    on_picture: NDArray[np.bool_] = (x >= 0) & (x < grid.width) & (y >= 0) & (y < grid.height)
    return on_picture


def blur_matrix(positions: FloatArray, length: int, sigma: float) -> FloatArray:
    """A one-dimensional Gaussian at each position, integrated over each of `length` pixels; (length, n).

    positions: (n,) in map px, sigma: map px. Entry (i, k) is the mass of N(positions[k], sigma^2) in [i, i + 1). What
    falls beyond the border is lost, so that columns sum to at most 1. Each tail is integrated from its own side, which
    keeps it exact where the difference of two values near 1 would be rounding noise.
    Sigma 0 is a point mass: 1 in the position's own pixel.

    >>> blur_matrix(np.array([1.5]), 3, 0.5).round(4).ravel()
    array([0.1573, 0.6827, 0.1573])
    """
    positions = np.asarray(positions, dtype=np.float64)
    edges = np.arange(length + 1, dtype=np.float64)[:, None]
    if sigma == 0:
        in_pixel = (edges[:-1] <= positions) & (positions < edges[1:])
        return in_pixel.astype(np.float64)
    z = (edges - positions) / sigma
    tail = ndtr(-np.abs(z))
    near, far = tail[:-1], tail[1:]
    mass: FloatArray = np.where(z[:-1] >= 0, near - far, np.where(z[1:] <= 0, far - near, 1 - near - far))
    return mass


def pixel_centres(length: int) -> FloatArray:
    """Where the centres of `length` pixels in a row are, (length,), in map px."""
    return np.arange(0.5, length, dtype=np.float64)


def fixation_weights(x: FloatArray, y: FloatArray, weight: FloatArray, grid: Grid) -> FloatArray:
    """Checked weights (n,) of fixations, 0 for those off the picture; not normalised.

    Raises ValueError where a weight is negative or not finite, or none is left on the picture.
    """
    weight = np.asarray(weight, dtype=np.float64)
    if not (weight.ndim == 1 and np.shape(x) == weight.shape and np.shape(y) == weight.shape):
        raise ValueError(
            f"x, y and weight must be arrays of one length; {np.shape(x)}, {np.shape(y)} and {weight.shape} are not"
        )
    if not np.all(np.isfinite(weight) & (weight >= 0)):
        raise ValueError("weights of fixations must be finite and not negative")
    kept: FloatArray = np.where(inside(x, y, grid), weight, 0.0)
    if not kept.sum() > 0:
        raise ValueError(f"no fixation with weight lies on the picture ({grid.width} x {grid.height} map px)")
    return kept


def fixation_map(x: FloatArray, y: FloatArray, weight: FloatArray, grid: Grid, sigma: float) -> FloatArray:
    """The density of weighted fixations, each a Gaussian of `sigma` map px; (height, width), summing to 1.

    x, y: (n,) map px; weight: (n,), for instance durations in seconds. Gaussians are integrated over each pixel and
    zero beyond the border; fixations off the picture do not count. Sigma 0 gives the weighted histogram.
    Raises ValueError where no weight lies on the picture.
    """
    kept = fixation_weights(x, y, weight, grid)
    on = kept > 0
    rows = blur_matrix(np.asarray(y)[on], grid.height, sigma)
    columns = blur_matrix(np.asarray(x)[on], grid.width, sigma)
    mass: FloatArray = (rows * kept[on]) @ columns.T
    mass /= mass.sum()
    return mass


def smooth(density: FloatArray, sigma: float) -> FloatArray:
    """Maps (..., height, width) blurred by a Gaussian of `sigma` map px and divided by their sum.

    Each pixel's mass sits at its centre, and Gaussians are integrated over each pixel. Beyond its borders a map goes on
    as its mirror image: nobody knows what a model would attend to there, and zeros would make the blur darken the
    borders and add a centre bias. So mass is kept, and a uniform map stays uniform.
    Raises ValueError where a map is zero everywhere.
    """
    height, width = density.shape[-2:]
    rows, columns = _mirrored_blur(height, sigma), _mirrored_blur(width, sigma)
    blurred: FloatArray = rows @ np.asarray(density, dtype=np.float64) @ columns.T
    total = blurred.sum(axis=(-2, -1), keepdims=True)
    if not np.all(total > 0):
        raise ValueError("a map that is zero everywhere has no density to smooth")
    blurred /= total
    return blurred


@functools.lru_cache(maxsize=4)  # rows and columns of two kinds of picture
def _mirrored_blur(length: int, sigma: float) -> FloatArray:
    """(length, length): the mass that pixel k gives to pixel i, with all the mirror images of k that sigma reaches."""
    centres = pixel_centres(length)
    reach = int(np.ceil(8 * sigma / (2 * length)))
    matrix = np.zeros((length, length))
    for turn in range(-reach, reach + 1):
        for images in (centres, -centres):
            matrix += blur_matrix(images + 2 * turn * length, length, sigma)
    matrix.flags.writeable = False
    return matrix


def overlap_matrix(length: int, new_length: int) -> FloatArray:
    """The share of each of `length` equal cells that falls into each of `new_length` cells; (new_length, length).

    Borders are computed in whole numbers, so that equal shares are equal to the last bit.
    """
    old, new = np.arange(length + 1) * new_length, np.arange(new_length + 1) * length
    shared = np.minimum(new[1:, None], old[1:]) - np.maximum(new[:-1, None], old[:-1])
    share: FloatArray = np.maximum(shared, 0) / new_length
    return share


def area_resample(mass: FloatArray, height: int, width: int) -> FloatArray:
    """Maps (..., h, w) as `height` x `width` cells over the same picture; each old cell's mass is spread evenly.

    A new cell gets from every old cell the share of that cell's area which it covers; so sums are kept, and a patch of
    attention is neither interpolated nor sharpened. New cells that lie wholly within one patch have exactly the same
    value, so that measures by rank (AUC, AUC-Judd, shuffled AUC) see them as tied.

    >>> area_resample(np.array([[1.0, 3.0]]), 1, 4)
    array([[0.5, 0.5, 1.5, 1.5]])
    """
    mass = np.asarray(mass, dtype=np.float64)
    resampled: FloatArray = overlap_matrix(mass.shape[-2], height) @ mass @ overlap_matrix(mass.shape[-1], width).T
    return resampled


def coverage(mask: FloatArray, height: int, width: int) -> FloatArray:
    """The share of each of `height` x `width` cells that a mask (..., h, w) of 0 to 1 covers; 0 to 1, exact by area.

    Raises ValueError where the mask goes beyond 0 to 1.
    """
    mask = np.asarray(mask, dtype=np.float64)
    if not np.all((mask >= 0) & (mask <= 1)):
        raise ValueError("the mask's values must lie between 0 and 1")
    h, w = mask.shape[-2:]
    covered: FloatArray = area_resample(mask, height, width) * (height * width / (h * w))
    return np.minimum(covered, 1)  # rounding must not make a whole cell more than whole


def uniform(grid: Grid) -> FloatArray:
    """The same density everywhere; (height, width), summing to 1."""
    return np.full(grid.shape, 1 / (grid.height * grid.width))


def centre_gaussian(grid: Grid, sigma_share: float = 1 / 4.5) -> FloatArray:
    """A Gaussian at the picture's centre, stretched with it: its sigma is `sigma_share` of the height and of the width.

    (height, width), summing to 1. A stretched centre is a stronger baseline than a round one in Judd, Durand and
    Torralba 2012 (MIT-CSAIL-TR-2012-001).
    """
    rows = blur_matrix(np.array([grid.height / 2]), grid.height, sigma_share * grid.height)
    columns = blur_matrix(np.array([grid.width / 2]), grid.width, sigma_share * grid.width)
    mass: FloatArray = rows @ columns.T
    mass /= mass.sum()
    return mass
