"""The sweep: every participant's gaze map at every sigma against every map of a model, in blocks that stay in cache.

The numbers are those of measures.py (kl, cc, sim, ssim), to the errors below; what makes them fast is algebra:

1. A map of K weighted fixations is a product of rank K, B_y diag(w) B_x^T, with one-dimensional blur matrices.
2. KL is entropy less cross-entropy. The benchmark's sum p ln(eps + p / (q + eps)) is sum p ln(p + eps (q + eps)) less
   sum p ln(q + eps). By ln(1 + u) <= u the first exceeds sum p ln p by at most eps (1 + N eps) over N pixels: 3e-16
   nats. Where p is 0 both forms add 0, so zero support needs no case of its own: q + eps is all that bounds it. Hence
   KL is one matrix product of all human maps with the logarithms of all models, and CC is one with the models centred
   and scaled to length 1.
3. SIM is a sum of minima, taken over tiles of pixels.
4. SSIM needs windows' means and variances once a map, and for a pair only the window means of the product of the two
   maps. A Gaussian window is separable. On a processor a compiled loop does each pair row by row (ssim_kernel.py); on a
   GPU each direction is a product with a banded matrix, in blocks as small as matrix products are still fast on.

In float32 numbers lie within 2e-5 nats (kl), 5e-6 (cc), 5e-7 (sim) and 5e-6 (ssim) of measures.py, for sigmas up to
the picture's longer side; in float64, within 1e-9. Measured: at most 1.5e-5, 4e-6, 2e-7 and 2e-6, on maps that were
random, flat, of a single pixel or without support in a half; on maps as attention is, a tenth of that and less.

Block = (picture, participant): a participant's numbers depend on nobody else's, and memory not on how many there are.
On one machine type and one thread the same input gives the same bytes in any process. The caller sets the threads: the
tiles are sized for one thread a process and pictures in parallel (`torch.set_num_threads(1)` in each worker).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from beholder.analysis.alignment.measures import (
    CONSTANT_SPREAD,
    EPSILON,
    SSIM_C1,
    SSIM_C2,
    SSIM_RADIUS_PX,
    SSIM_SIGMA_PX,
    as_density,
    is_constant,
    require_ssim_size,
)
from beholder.analysis.gaze import maps as gaze_maps
from beholder.analysis.gaze.maps import Grid, blur_matrix, fixation_weights
from beholder.analysis.gaze.picture_gaze import Fixations
from beholder.shared.arrays import FloatArray
from beholder.shared.study import Smooth

MEASURE_NAMES = ("kl", "cc", "sim", "ssim")

# Fixed sizes, so that results do not depend on the machine's memory.
SIGMAS_PER_BLOCK = 64
NUMBERS_PER_BLOCK = 2**23  # in one participant's maps of a block of sigmas: 32 MiB in float32
MODELS_PER_BLOCK = 16
NUMBERS_PER_TILE = {"cpu": 2**19, "cuda": 2**25}  # in an intermediate array: what suits a core's cache, or a GPU
LONGEST_SUM = 2048  # pixels added up in float32 before float64 takes over; bounds the error of kl and cc
ROWS_PER_BAND = 16
COLUMNS_PER_BAND = 32

# Smaller values become 0: they change no measure, while numbers below float32's normal range are slow to multiply.
NEGLIGIBLE = 1e-15


def align(
    fixations: Sequence[Fixations],
    models: FloatArray,
    sigmas_px: Sequence[float],
    *,
    smooth: Smooth,
    measures: Sequence[str] = MEASURE_NAMES,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, FloatArray]:
    """Each participant's gaze map on a picture against each of the model's maps, at each sigma.

    fixations: one entry a participant; models: (M, height, width), none negative, of any sum; sigmas_px: map px.
    smooth: what sigma blurs, "human" (the model's maps stay as they are), "model" (the human map is the histogram of
    fixations) or "both". Returns for each measure an array (participants, sigmas, M) of float64, in the unit of
    `measures.MEASURES`; cc is NaN where a map is constant and so has no correlation.
    Raises ValueError where a participant has no fixation on the picture, where a model's map is negative, NaN or zero
    everywhere, where a measure is unknown, and where maps are too small for ssim.
    """
    models = np.asarray(models, dtype=np.float64)
    if models.ndim != 3:
        raise ValueError(f"models must have the shape (maps, height, width); {models.shape} is invalid")
    unknown = [name for name in measures if name not in MEASURE_NAMES]
    if unknown:
        raise ValueError(f"measures must be among {', '.join(MEASURE_NAMES)}; {', '.join(unknown)} is invalid")
    if smooth not in ("human", "model", "both"):
        raise ValueError(f"smooth must be human, model or both; {smooth!r} is invalid")
    if any(not (sigma >= 0 and np.isfinite(sigma)) for sigma in sigmas_px):
        raise ValueError("sigmas must be finite and not negative")
    grid = Grid(*models.shape[1:])
    if "ssim" in measures:
        require_ssim_size(grid.height, grid.width)
    for i, map_ in enumerate(models):
        as_density(map_, f"model's map {i}")  # refuses what is no density before any work is done
    people = [_on_picture(person, i, grid) for i, person in enumerate(fixations)]
    place = (torch.device(device), dtype)

    result = {name: np.full((len(people), len(sigmas_px), len(models)), np.nan) for name in measures}
    for first in range(0, len(models), MODELS_PER_BLOCK):
        some = slice(first, first + MODELS_PER_BLOCK)
        # Blurring the model's maps costs as much as comparing them, so its sigmas are the outer loop, shared by people.
        fitting = max(1, NUMBERS_PER_BLOCK // (grid.height * grid.width))
        step = min(SIGMAS_PER_BLOCK, fitting) if smooth == "human" else 1
        for start in range(0, len(sigmas_px), step):
            sigmas = slice(start, start + step)
            model_sigma = 0.0 if smooth == "human" else sigmas_px[start]
            prepared = _prepare(models[some], model_sigma, measures, *place)
            human_sigmas = [0.0] if smooth == "model" else sigmas_px[sigmas]
            for person, fixated in enumerate(people):
                humans = _human_maps(fixated, human_sigmas, grid, *place)
                for name, values in _compare(humans, prepared, measures).items():
                    result[name][person, sigmas, some] = values.cpu().numpy()
    return result


def _on_picture(fixations: Fixations, person: int, grid: Grid) -> Fixations:
    """The fixations with weight on the picture, their weights as shares of the sum."""
    try:
        kept = fixation_weights(fixations.x, fixations.y, fixations.weight, grid)
    except ValueError as error:
        raise ValueError(f"participant {person} (counted from 0): {error}") from error
    on = kept > 0
    return Fixations(np.asarray(fixations.x)[on], np.asarray(fixations.y)[on], kept[on] / kept.sum())


def _human_maps(
    fixations: Fixations, sigmas: Sequence[float], grid: Grid, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Gaze maps (sigmas, height, width) whose mean is 1, which keeps all their sums near 1 in float32."""
    maps = torch.empty((len(sigmas), *grid.shape), device=device, dtype=dtype)
    for map_, sigma in zip(maps, sigmas, strict=True):
        rows = blur_matrix(fixations.y, grid.height, sigma)
        columns = blur_matrix(fixations.x, grid.width, sigma)
        total = (rows.sum(axis=0) * fixations.weight * columns.sum(axis=0)).sum()
        rows *= fixations.weight * (grid.height * grid.width / total)
        torch.mm(_tensor(rows, device, dtype), _tensor(columns, device, dtype).T, out=map_)
    return torch.threshold_(maps, NEGLIGIBLE, 0.0)


def _tensor(values: FloatArray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Non-negative float64 numbers as a tensor, with negligible ones set to 0."""
    # Cast into memory of torch's own: numpy's may be aligned otherwise, and the last bit of a product depends on it.
    return torch.threshold_(torch.tensor(values, device=device, dtype=dtype), NEGLIGIBLE, 0.0)


@dataclass(frozen=True)
class _Prepared:
    """A block of models' maps in the forms that the measures take; each made in float64 and rounded once."""

    density: Tensor  # (models, pixels), of mean 1
    log_density: Tensor  # (models, pixels), ln(N (q + eps)): of the density of mean 1
    unit: Tensor  # (models, pixels), centred and of length 1
    constant: Tensor  # (models,), whether there is nothing to correlate
    centred: Tensor  # (height, models, width), maps of maximum 1 less their mean; a band of rows is one matrix
    window_mean: Tensor  # (height - 10, models, width - 10), of the maps of maximum 1
    window_mean_centred: Tensor  # same shape, of `centred`
    window_variance: Tensor  # same shape
    middle: Tensor  # (models,), the means that were subtracted


def _prepare(
    models: FloatArray, sigma: float, measures: Sequence[str], device: torch.device, dtype: torch.dtype
) -> _Prepared:
    """The block of models' maps (models, height, width), blurred where sigma is not 0.

    Maps go through float64 one after the other, so that a block of large maps does not fill the memory.
    """
    count, height, width = models.shape
    n, border = height * width, 2 * SSIM_RADIUS_PX
    windows = (height - border, count, width - border) if "ssim" in measures else (0, count, 0)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device=device, dtype=dtype)

    made = _Prepared(
        density=empty(count, n),
        log_density=empty(count, n),
        unit=empty(count, n),
        constant=torch.empty(count, device=device, dtype=torch.bool),
        centred=empty(height, count, width),
        window_mean=empty(*windows),
        window_mean_centred=empty(*windows),
        window_variance=empty(*windows),
        middle=empty(count),
    )
    for i, model in enumerate(models):
        q = gaze_maps.smooth(model, sigma) if sigma > 0 else as_density(model)
        flat = q.ravel() * n
        centred = flat - flat.mean()
        length = np.linalg.norm(centred)
        made.density[i] = _tensor(flat, device, dtype)
        made.log_density[i] = torch.tensor(np.log(flat + n * EPSILON), device=device)
        made.unit[i] = torch.tensor(centred / (length if length > 0 else 1), device=device)
        made.constant[i] = bool(is_constant(q))
        scaled = torch.tensor(q / q.max(), device=device)
        middle = scaled.mean()
        made.centred[:, i] = scaled - middle
        made.middle[i] = middle
        if "ssim" in measures:
            window_mean = _window_means(scaled)
            made.window_mean[:, i] = window_mean
            made.window_mean_centred[:, i] = window_mean - middle
            made.window_variance[:, i] = _window_means(scaled * scaled) - window_mean * window_mean
    return made


def _compare(humans: Tensor, models: _Prepared, measures: Sequence[str]) -> dict[str, Tensor]:
    """The measures of all human maps (humans, height, width) with all models; (humans, models) of float64 each."""
    values = _pixelwise(humans, models, measures)
    if "ssim" in measures:
        values["ssim"] = _structural_similarity(humans, models)
    return {name: values[name] for name in measures}


def _pixelwise(humans: Tensor, models: _Prepared, measures: Sequence[str]) -> dict[str, Tensor]:
    """kl, cc and sim, whose sums run over single pixels: in tiles of pixels, added up in float64."""
    p = humans.flatten(1)
    pairs, n = (len(p), len(models.density)), p.shape[1]
    tile = max(1, min(LONGEST_SUM, _tile(p.device) // (pairs[0] * pairs[1])))
    kl, cc, sim = (torch.zeros(pairs, device=p.device, dtype=torch.float64) for _ in range(3))
    power = torch.zeros(pairs[0], device=p.device, dtype=torch.float64)
    for first in range(0, n, tile):
        part = slice(first, first + tile)
        human = p[:, part]
        if "kl" in measures:
            # A pixel without mass adds 0 times a finite logarithm.
            kl += (human * human.clamp(min=NEGLIGIBLE).log()).sum(dim=1, keepdim=True)
            kl -= human @ models.log_density[:, part].T
        if "cc" in measures:
            deviation = human - 1
            cc += deviation @ models.unit[:, part].T
            power += (deviation * deviation).sum(dim=1)
        if "sim" in measures:
            sim += torch.minimum(human[:, None], models.density[None, :, part]).sum(dim=2)
    # The human maps are float32 sums: their rounding alone leaves a relative SD of some 1e-7.
    flat = power <= n * (max(CONSTANT_SPREAD, 8 * torch.finfo(humans.dtype).eps)) ** 2
    cc /= power.sqrt()[:, None]
    cc[flat[:, None] | models.constant] = torch.nan
    return {"kl": kl / n, "cc": cc, "sim": sim / n}


def _tile(device: torch.device) -> int:
    return NUMBERS_PER_TILE.get(device.type, NUMBERS_PER_TILE["cuda"])


def _structural_similarity(humans: Tensor, models: _Prepared) -> Tensor:
    """The mean over windows of (2 a b + C1)(2 cov + C2) / ((a^2 + b^2 + C1)(var_a + var_b + C2)); a, b the means.

    Variance and covariance are those of maps less their means, which changes neither and keeps their digits in float32.
    """
    return _ssim_by_kernel(humans, models) if humans.device.type == "cpu" else _ssim_in_steps(humans, models)


def _ssim_by_kernel(humans: Tensor, models: _Prepared) -> Tensor:
    # Compiled at its first use, and kept beside the module.
    from beholder.analysis.alignment.ssim_kernel import ssim_sums

    scale = 1 / humans.amax(dim=(1, 2))
    centred = ((humans - 1) * scale[:, None, None]).transpose(0, 1).contiguous()
    mean = _window_means(centred)
    variance = _window_means(centred * centred) - mean * mean
    weight = _band(1, humans.device, humans.dtype)[0, : SSIM_RADIUS_PX + 1].contiguous()
    total = ssim_sums(
        centred.numpy(),
        mean.numpy(),
        variance.numpy(),
        scale.numpy(),
        models.centred.numpy(),
        models.window_mean_centred.numpy(),
        models.window_variance.numpy(),
        models.middle.numpy(),
        weight.numpy(),
        SSIM_C1,
        SSIM_C2,
    )
    return torch.from_numpy(total / (mean.shape[0] * mean.shape[2]))


def _ssim_in_steps(humans: Tensor, models: _Prepared) -> Tensor:
    """Structural similarity in steps over whole arrays, in tiles: the way for a GPU."""
    scale = 1 / humans.amax(dim=(1, 2))[:, None, None]
    centred = (humans - 1) * scale
    n_humans, height, width = centred.shape
    n_models = models.centred.shape[1]
    border = 2 * SSIM_RADIUS_PX
    # As many human maps to a band of rows as fill a tile, and where there are too few, more rows.
    group = max(1, _tile(centred.device) // ((ROWS_PER_BAND + border) * n_models * width))
    rows = ROWS_PER_BAND * max(1, group // n_humans)
    half_c1, half_c2 = (torch.tensor(c / 2, device=centred.device, dtype=centred.dtype) for c in (SSIM_C1, SSIM_C2))
    total = torch.zeros((n_humans, n_models), device=centred.device, dtype=torch.float64)
    for top in range(0, height - border, rows):
        band = slice(top, min(top + rows, height - border))
        model = models.centred[band.start : band.stop + border, None]
        model_mean, model_mean_centred = models.window_mean[band, None], models.window_mean_centred[band, None]
        model_power = model_mean * model_mean + SSIM_C1
        model_variance = models.window_variance[band, None] + SSIM_C2
        human = centred[:, band.start : band.stop + border].transpose(0, 1).contiguous()[:, :, None]
        human_mean_centred = _window_means(human)
        human_mean = human_mean_centred + scale
        human_power = human_mean * human_mean
        human_variance = _window_means(human * human) - human_mean_centred * human_mean_centred
        for first in range(0, n_humans, group):
            some = slice(first, first + group)
            # Half of 2 cov + C2, then half of 2 a b + C1, each in one pass over memory: a window's weights sum to 1, so
            # that a constant added to the product is in its window mean.
            structure = _window_means(torch.addcmul(half_c2, human[:, some], model))
            structure.addcmul_(human_mean_centred[:, some], model_mean_centred, value=-1)
            luminance = torch.addcmul(half_c1, human_mean[:, some], model_mean)
            structure *= luminance
            torch.add(human_power[:, some], model_power, out=luminance)
            structure /= luminance
            torch.add(human_variance[:, some], model_variance, out=luminance)
            structure /= luminance
            total[some] += structure.sum(dim=(0, 3))
    return 4 * total / ((height - border) * (width - border))


def _window_means(maps: Tensor) -> Tensor:
    """Gaussian-weighted means of windows that lie inside; (height, ..., width) to (height - 10, ..., width - 10)."""
    border = 2 * SSIM_RADIUS_PX
    height, between, width = maps.shape[0] - border, maps.shape[1:-1], maps.shape[-1] - border
    flat = maps.reshape(maps.shape[0], -1)
    down = flat.new_empty((height, flat.shape[1]))
    for top in range(0, height, ROWS_PER_BAND):
        n = min(ROWS_PER_BAND, height - top)
        torch.mm(_band(n, flat.device, flat.dtype), flat[top : top + n + border], out=down[top : top + n])
    lines = down.view(-1, maps.shape[-1])
    across = flat.new_empty((len(lines), width))
    for left in range(0, width, COLUMNS_PER_BAND):
        n = min(COLUMNS_PER_BAND, width - left)
        part = lines[:, left : left + n + border]
        torch.mm(part, _band(n, flat.device, flat.dtype).T, out=across[:, left : left + n])
    return across.view(height, *between, width)


@functools.cache
def _band(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix (n, n + 10) that takes n + 10 neighbouring values to their n window means."""
    offset = np.arange(-SSIM_RADIUS_PX, SSIM_RADIUS_PX + 1)
    weight = np.exp(-0.5 * (offset / SSIM_SIGMA_PX) ** 2)
    matrix = np.zeros((n, n + 2 * SSIM_RADIUS_PX))
    for row in range(n):
        matrix[row, row : row + len(weight)] = weight / weight.sum()
    return torch.tensor(matrix, device=device, dtype=dtype)
