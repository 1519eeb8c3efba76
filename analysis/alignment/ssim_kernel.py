"""The inner loop of SSIM on a processor: all pairs of a participant's maps and a model's, row by row, in cache.

For a pair only the window means of the product of its two maps are new; everything else belongs to one map and is
given. As separate steps over arrays these take ten passes over memory a pair; here a row of products, its window means
down and across, and the formula follow each other while the row is in the fastest cache. Compiled by Numba for the
machine at hand; what is compared with what, and the same in steps for a GPU, is sweep.py's matter.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

RADIUS_PX = 5  # of the window, as in measures.py: 11 weights, of which 6 differ
# Tiles of windows: what a tile needs of 16 models' maps fits a core's second cache.
ROWS_PER_TILE = 8
COLUMNS_PER_TILE = 256


# Sums may be taken in any order and multiply-adds fused: without that, pixels cannot be processed several at a time.
@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")  # type: ignore[misc, unused-ignore]
def ssim_sums(
    human: NDArray[np.floating],
    human_mean: NDArray[np.floating],
    human_variance: NDArray[np.floating],
    human_offset: NDArray[np.floating],
    model: NDArray[np.floating],
    model_mean: NDArray[np.floating],
    model_variance: NDArray[np.floating],
    model_offset: NDArray[np.floating],
    weight: NDArray[np.floating],
    c1: float,
    c2: float,
) -> NDArray[np.float64]:
    """The sum over windows of (2 a b + C1)(2 cov + C2) / ((a^2 + b^2 + C1)(var_a + var_b + C2)); (humans, models).

    human, model: (height, maps, width), maps less an offset a map (maps,), which keeps their digits; means and
    variances of their windows (height - 10, maps, width - 10), the means less the offsets too. weight: the 6 weights of
    the window from its border to its middle; it is symmetric, and its 11 weights sum to 1.
    """
    rows, humans, columns = human_mean.shape
    models = model.shape[1]
    zero = human.dtype.type(0)
    one_c1, one_c2 = human.dtype.type(c1), human.dtype.type(c2)
    two = human.dtype.type(2)
    w0, w1, w2, w3, w4, w5 = weight[0], weight[1], weight[2], weight[3], weight[4], weight[5]
    total = np.zeros((humans, models))
    product = np.empty((ROWS_PER_TILE + 2 * RADIUS_PX, COLUMNS_PER_TILE + 2 * RADIUS_PX), human.dtype)
    down = np.empty(COLUMNS_PER_TILE + 2 * RADIUS_PX, human.dtype)
    for top in range(0, rows, ROWS_PER_TILE):
        height = min(ROWS_PER_TILE, rows - top)
        for left in range(0, columns, COLUMNS_PER_TILE):
            width = min(COLUMNS_PER_TILE, columns - left)
            within, beyond = slice(left, left + width), slice(left, left + width + 2 * RADIUS_PX)
            for i in range(humans):
                a0 = human_offset[i]
                for j in range(models):
                    b0 = model_offset[j]
                    for y in range(height + 2 * RADIUS_PX):
                        h, m, p = human[top + y, i, beyond], model[top + y, j, beyond], product[y]
                        for x in range(width + 2 * RADIUS_PX):
                            p[x] = h[x] * m[x]
                    for y in range(height):
                        for x in range(width + 2 * RADIUS_PX):
                            down[x] = (
                                w0 * (product[y, x] + product[y + 10, x])
                                + w1 * (product[y + 1, x] + product[y + 9, x])
                                + w2 * (product[y + 2, x] + product[y + 8, x])
                                + w3 * (product[y + 3, x] + product[y + 7, x])
                                + w4 * (product[y + 4, x] + product[y + 6, x])
                                + w5 * product[y + 5, x]
                            )
                        am, av = human_mean[top + y, i, within], human_variance[top + y, i, within]
                        bm, bv = model_mean[top + y, j, within], model_variance[top + y, j, within]
                        row = zero
                        for x in range(width):
                            mean = (
                                w0 * (down[x] + down[x + 10])
                                + w1 * (down[x + 1] + down[x + 9])
                                + w2 * (down[x + 2] + down[x + 8])
                                + w3 * (down[x + 3] + down[x + 7])
                                + w4 * (down[x + 4] + down[x + 6])
                                + w5 * down[x + 5]
                            )
                            covariance = mean - am[x] * bm[x]
                            a, b = am[x] + a0, bm[x] + b0
                            row += ((two * a * b + one_c1) * (two * covariance + one_c2)) / (
                                (a * a + b * b + one_c1) * (av[x] + bv[x] + one_c2)
                            )
                        total[i, j] += row
    return total
