"""The best map for each measure where people look by a known density: what makes other viewers a noise ceiling.

No map is best for every measure (Kümmerer, Wallis and Bethge 2018, doi:10.1007/978-3-030-01270-0_47). Here p is the
density (height, width) that a viewer's fixations are drawn from, each by itself, and h their human map: the sum of the
fixations' Gaussians g, weighted, divided by its sum (`maps.fixation_map`). The best map s for a measure has the
best mean score over such viewers:

    nss, auc, auc_judd, ig    p itself, by which these are means over fixations (`best_map` says why)
    sauc                      p over the density of the fixations on other pictures
    kl                        the mean human map
    cc                        the mean of human maps as z-scores
    sim                       at every pixel the same quantile of the human map's values
    ssim, emd                 no rule is known (`measures.Measure.no_best_map`)

compare.py decides which density and who is scored; baselines.py fits the density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainccinv

from beholder.analysis.gaze.maps import blur_matrix, pixel_centres
from beholder.shared.arrays import FloatArray

# Shapes of gamma distributions at which quantiles are computed; those between are interpolated.
SHAPES = np.geomspace(1e-6, 1e6, 600)


@dataclass(frozen=True)
class Prediction:
    """What is known of a viewer's fixations on one picture before they are seen.

    density: where they fall, each counting once, (height, width), summing to 1, nowhere 0. weighted: the same density
    where each fixation counts by its weight in the human map. elsewhere: the density of fixations on other pictures;
    None where unknown. sigma_px: of the Gaussians of the human map, 0 for points. fixations: how many there are, see
    `effective_fixations`.
    """

    density: FloatArray
    weighted: FloatArray
    elsewhere: FloatArray | None
    sigma_px: float
    fixations: float


def best_map(measure: str, known: Prediction) -> FloatArray | None:
    """The map with the best mean score by a measure; (height, width), not negative, of any sum.

    For nss, the mean over fixations of the z-scored map s is the mean under p of s less its mean, over its SD: by
    Cauchy and Schwarz largest where s is p, shifted and scaled. For ig it is the mean under p of log s, largest for p
    (Gibbs). For auc and auc_judd it is how often s is larger at a fixation than at a pixel at random, by Neyman and
    Pearson largest for whatever rises with p.
    For ssim and emd, whose best maps are not known, it is the density, whose score is not a ceiling. None where a rule
    does not apply: for sauc where `elsewhere` is not known, and for sim where the human map has points.
    """
    if measure == "sauc":
        return None if known.elsewhere is None else best_for_shuffled_auc(known.density, known.elsewhere)
    if measure == "kl":
        return mean_human_map(known.weighted, known.sigma_px)
    if measure == "cc":
        return best_for_correlation(known.weighted, known.sigma_px, known.fixations)
    if measure == "sim":
        return None if known.sigma_px == 0 else best_for_similarity(known.weighted, known.sigma_px, known.fixations)
    return known.density


def effective_fixations(weights: FloatArray) -> float:
    """The number of fixations of equal weight whose map varies as much as one from these weights (n,).

    Source: Kish 1965, Survey Sampling, ISBN 978-0-471-10949-5.

    >>> effective_fixations(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def best_for_shuffled_auc(density: FloatArray, elsewhere: FloatArray) -> FloatArray:
    """The likelihood ratio of a fixation on this picture to one on others, (height, width).

    Shuffled AUC is the area under the ROC curve for telling the two apart, which the ratio makes largest, as does
    whatever rises with it (Neyman and Pearson). Scaled to a sum of 1.
    """
    ratio: FloatArray = density / elsewhere
    ratio /= ratio.sum()
    return ratio


def mean_human_map(density: FloatArray, sigma_px: float) -> FloatArray:
    """The mean human map: p blurred as fixations are, without what falls beyond the border; sums to 1.

    KL(h || s) is sum h ln h, which s cannot change, less sum h ln s: its mean is least where s is the mean of h. (The
    measure's epsilon is too small to matter.) Fixations at the border lose mass in h, and so here; that h is divided
    by its sum changes its mean by some 1 / n of that loss, which is left out.
    """
    blurred = _blurred(density, *_blurs(density, sigma_px))
    blurred /= blurred.sum()
    return blurred


def best_for_correlation(density: FloatArray, sigma_px: float, fixations: float) -> FloatArray:
    """The mean of human maps as z-scores, to the first order in 1 / n; (height, width), of any sum.

    CC(h, s) is the product of two z-scored maps: its mean is largest for the mean of z-scored h. With m = mean of h and
    V = sum (h - mean)^2, the mean of h / sqrt(V) is in proportion to m - cov(h, V) / (2 V), and of n independent
    fixations cov(h, V) is 2 (1 - 1 / n) / n times the covariance of one fixation's g with sum g m. So maps whose
    fixations fall together count less. In simulations of 5 and 20 fixations m alone, which Kümmerer et al. (2018) take,
    comes within .002 of it, and no mean of 400 drawn maps did better than this.
    """
    rows, columns = _blurs(density, sigma_px)
    m = _blurred(density, rows, columns)
    overlap = rows.T @ m @ columns  # sum g m, of a fixation in each pixel
    alone = float((density * np.outer((rows**2).sum(axis=0), (columns**2).sum(axis=0))).sum())
    together = float((density * overlap).sum())
    spread = alone / fixations + (1 - 1 / fixations) * together - m.sum() ** 2 / m.size
    if spread <= 0:
        return m  # as flat as a map can be
    covariance = _blurred(density * overlap, rows, columns) - m * together
    best: FloatArray = m - (1 - 1 / fixations) / fixations * covariance / spread
    return np.maximum(best, 0)


def best_for_similarity(density: FloatArray, sigma_px: float, fixations: float) -> FloatArray:
    """At every pixel the same quantile of the human map's values there, such that they sum to 1; (height, width).

    Raising s at a pixel gains where h is above it: at the best map of sum 1 the chance of h > s is the same wherever s
    is more than 0 (Lagrange). Those chances are taken from gamma distributions with the mean and variance that n
    fixations give h at each pixel. In simulations of 3 to 20 fixations, sharp and wide densities and a sigma from 0.2
    px on, this scored within 1.5 % of the quantiles of 1,500 drawn maps, mostly within 0.5 %, and above those of 29
    other viewers' maps by .002 to .03. Points have no such distribution.
    Raises ValueError where sigma is 0.
    """
    if sigma_px == 0:
        raise ValueError("the best map for similarity is known for blurred human maps alone")
    rows, columns = _blurs(density, sigma_px)
    mean = _blurred(density, rows, columns)
    variance = (_blurred(density, rows**2, columns**2) - mean**2) / fixations
    mean, variance = mean / mean.sum(), variance / mean.sum() ** 2
    shape = np.clip(mean**2 / np.maximum(variance, np.finfo(np.float64).tiny), SHAPES[0], SHAPES[-1])
    log_shape, log_shapes = np.log(shape), np.log(SHAPES)

    def quantiles(chance_of_more: float) -> FloatArray:
        of_mean: FloatArray = mean * np.interp(log_shape, log_shapes, gammainccinv(SHAPES, chance_of_more) / SHAPES)
        return of_mean

    return quantiles(float(brentq(lambda chance: quantiles(chance).sum() - 1, 1e-12, 1 - 1e-12)))


def _blurs(density: FloatArray, sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """The mass that a fixation at the centre of each pixel gives to each row, and to each column."""
    height, width = density.shape
    return blur_matrix(pixel_centres(height), height, sigma_px), blur_matrix(pixel_centres(width), width, sigma_px)


def _blurred(map_: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    blurred: FloatArray = rows @ map_ @ columns.T
    return blurred
