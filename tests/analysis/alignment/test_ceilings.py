"""Claims of `analysis.ceilings`: for viewers drawn from a known density no map scores better than the rule's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import multinomial

from beholder.analysis.alignment import measures
from beholder.analysis.alignment.ceilings import Prediction, best_for_similarity, best_map, effective_fixations
from beholder.analysis.gaze.maps import Grid, centre_gaussian, fixation_map, smooth, uniform
from beholder.analysis.statistics.crossed import share_of_the_way
from beholder.shared.arrays import FloatArray

GRID = Grid(30, 40)
RULED = ("kl", "cc", "sim", "nss", "auc", "auc_judd", "sauc", "ig")
SETTINGS = [(2.0, 2.5, 6), (4.0, 1.0, 20), (4.0, 5.0, 12), (3.0, 0.0, 15)]  # width of spots, sigma, fixations
SHORT_OF_THE_BEST = {"sim": 0.002, "cc": 0.0005}  # whose rules are approximations
Viewer = tuple[FloatArray, FloatArray, FloatArray]  # x and y in map px, weights


def the_best(measure: str, known: Prediction) -> FloatArray:
    best = best_map(measure, known)
    assert best is not None
    return best


def test_a_measure_has_a_rule_or_the_reason_why_it_has_none() -> None:
    assert {m.name for m in measures.MEASURES.values() if not m.no_best_map} == set(RULED)


# Monte Carlo: viewers drawn from a density, and many other maps.


def spots(rng: np.random.Generator, width_px: float) -> FloatArray:
    """A density of six places of one width, with a share of the uniform one; some lie at the border."""
    x, y = rng.uniform(0, GRID.width, 6), rng.uniform(0, GRID.height, 6)
    return 0.9 * fixation_map(x, y, rng.uniform(0.2, 1, 6), GRID, width_px) + 0.1 * uniform(GRID)


def drawn(rng: np.random.Generator, density: FloatArray, viewers: int, fixations: int) -> Iterator[Viewer]:
    """Viewers who look by the density, anywhere within a pixel, for durations as people's are."""
    for _ in range(viewers):
        rows, columns = np.unravel_index(rng.choice(density.size, fixations, p=density.ravel()), density.shape)
        x, y = columns + rng.random(fixations), rows + rng.random(fixations)
        yield x, y, rng.lognormal(-1.3, 0.45, fixations)


def scores(measure: str, viewers: Sequence[Viewer], maps: FloatArray, sigma_px: float, elsewhere: Viewer) -> FloatArray:
    """(viewers, maps), by measures.py alone."""
    pixels = [(np.floor(y).astype(int), np.floor(x).astype(int)) for x, y, _ in (*viewers, elsewhere)]
    if measures.MEASURES[measure].against == "map":
        human = np.stack([fixation_map(*viewer, GRID, sigma_px) for viewer in viewers])
        return measures.MEASURES[measure].function(human[:, None], maps[None])
    if measure == "auc_judd":
        return np.stack([measures.auc_judd(maps, *at) for at in pixels[:-1]])
    by_pixel = {
        "nss": measures.nss_map,
        "auc": measures.auc_map,
        "sauc": lambda maps: measures.shuffled_auc_map(maps, *pixels[-1]),
        "ig": lambda maps: measures.information_map(np.maximum(maps, 1e-12), centre_gaussian(GRID)),
    }[measure](maps)
    return np.stack([measures.mean_at(by_pixel, *at) for at in pixels[:-1]])


def other_maps(rng: np.random.Generator, density: FloatArray, best: FloatArray) -> dict[str, FloatArray]:
    """The likelihood density, blurred, sharper, flatter; the best map likewise, and disturbed at random."""
    found = {"density": density, "uniform with a spot": uniform(GRID) + 0.1 * density, "centre": centre_gaussian(GRID)}
    for name, map_ in {"density": density, "best": best / best.sum()}.items():
        found |= {f"{name} blurred by {px}": smooth(map_, px) for px in (1.0, 3.0, 8.0)}
        found |= {f"{name} to the power of {power}": map_**power for power in (0.5, 0.8, 0.9, 1.1, 1.25, 2.0)}
        found[f"{name} with an even share"] = 0.9 * map_ + 0.1 * uniform(GRID)
    for strength, width_px in product((0.1, 0.5), (1.0, 4.0)):
        noise = rng.normal(size=GRID.shape)
        noise = smooth(np.exp(noise), width_px) if width_px > 1 else np.exp(noise)
        noise = np.log(noise) - np.log(noise).mean()
        disturbed = best * np.exp(strength * noise / noise.std())
        found[f"best disturbed by {strength}, {width_px} px wide"] = disturbed
    return found


@pytest.mark.parametrize(
    ("measure", "width_px", "sigma_px", "fixations"),
    [(m, *s) for m, s in product(RULED, SETTINGS) if (m, s[1]) != ("sim", 0.0)],
)
def test_no_other_map_is_better_for_new_viewers(measure: str, width_px: float, sigma_px: float, fixations: int) -> None:
    rng = np.random.default_rng([31, int(10 * width_px), int(10 * sigma_px), RULED.index(measure)])
    density = spots(rng, width_px)
    away = 0.5 * centre_gaussian(GRID) + 0.5 * spots(rng, 8.0)
    [elsewhere] = drawn(rng, away, 1, 20_000)
    viewers = list(drawn(rng, density, 400, fixations))
    known = Prediction(density, density, away, sigma_px, float(np.mean([effective_fixations(w) for *_, w in viewers])))
    best = the_best(measure, known)

    others = other_maps(rng, density, best)
    sign = 1 if measures.MEASURES[measure].closer == "higher" else -1
    found = sign * scores(measure, viewers, np.stack([best, *others.values()]), sigma_px, elsewhere)
    ahead = found[:, 1:] - found[:, :1]
    # Four standard errors of a difference: of some 700 maps just as good, one would be called better by 2 %.
    chance = 4 * ahead.std(axis=0, ddof=1) / np.sqrt(len(ahead)) + SHORT_OF_THE_BEST.get(measure, 1e-9)
    better = [name for name, by in zip(others, ahead.mean(axis=0) - chance, strict=True) if by > 0]
    assert not better
    assert ahead.mean(axis=0).min() < 0  # not all maps are the same to the measure


def test_a_head_that_is_sharper_or_flatter_than_people_never_goes_all_the_way() -> None:
    """Viewers by pictures, from each picture's density; heads are the density to a power; the floor is an even map."""
    rng = np.random.default_rng(32)
    powers, sigma_px, shape = (0.5, 0.8, 1.0, 1.3, 2.0), 2.5, (12, 6)
    [elsewhere] = drawn(rng, centre_gaussian(GRID), 1, 5000)
    for measure in RULED:
        tables = {name: np.empty(shape) for name in ("floor", "ceiling", *map(str, powers))}
        for picture in range(shape[1]):
            density = spots(rng, 3.0)
            known = Prediction(density, density, centre_gaussian(GRID), sigma_px, 15.0)
            maps = {"floor": smooth(rng.gamma(1, 1, GRID.shape), 3.0), "ceiling": the_best(measure, known)}
            maps |= {str(power): density**power for power in powers}
            viewers = list(drawn(rng, density, shape[0], 18))
            found = scores(measure, viewers, np.stack(list(maps.values())), sigma_px, elsewhere)
            for name, of_map in zip(maps, found.T, strict=True):
                tables[name][:, picture] = of_map
        for power in powers:
            share = share_of_the_way(
                tables["floor"], tables[str(power)], tables["ceiling"], measures.MEASURES[measure].closer
            )
            assert share.ratio is not None and share.ratio.low is not None, measure
            assert share.ratio.low <= 1 + 1e-9 and share.ratio.ratio < 1.02, (measure, power)


# Exactly, on pictures of four pixels: every viewer there can be, and every map.


TINY, P, N = Grid(2, 2), np.array([[0.45, 0.25], [0.2, 0.1]]), 3


def every_viewer(sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """The human maps (viewers, 2, 2) of all ways to put three fixations into four pixels, and their chances."""
    maps, chances = [], []
    for counts in product(range(N + 1), repeat=4):
        if sum(counts) == N:
            cells = np.repeat(np.arange(4), counts)
            maps.append(fixation_map(cells % 2 + 0.5, cells // 2 + 0.5, np.ones(N), TINY, sigma_px))
            chances.append(multinomial.pmf(counts, N, P.ravel()))
    return np.array(maps), np.array(chances)


def every_map(steps: int) -> FloatArray:
    """All maps of four pixels in so many steps."""
    counts = [c for c in product(range(steps + 1), repeat=4) if sum(c) == steps]
    return np.array(counts, dtype=float).reshape(-1, 2, 2) / steps


def tiny(sigma_px: float) -> Prediction:
    return Prediction(P, P, np.array([[0.7, 0.1], [0.1, 0.1]]), sigma_px, float(N))


@pytest.mark.parametrize("sigma_px", [0.0, 0.3, 0.6])
def test_kl_is_least_from_the_mean_human_map(sigma_px: float) -> None:
    human, chances = every_viewer(sigma_px)
    best = the_best("kl", tiny(sigma_px))
    np.testing.assert_allclose(best, np.tensordot(chances, human, 1), atol=1e-12)
    maps = every_map(20) + 1e-9
    by_map = measures.kl_divergence(human[:, None], maps[None])
    assert (
        chances @ measures.kl_divergence(human, best) <= (chances @ by_map).min() + 1e-12
    )  # the map itself may be among them


@pytest.mark.parametrize("sigma_px", [0.3, 0.6])
def test_cc_is_best_to_the_first_order(sigma_px: float) -> None:
    human, chances = every_viewer(sigma_px)
    z = human - human.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((z**2).sum(axis=(1, 2)))
    ideal = np.linalg.norm(np.tensordot(chances, z / length[:, None, None], 1))  # by Cauchy and Schwarz
    found = chances @ measures.correlation(human, the_best("cc", tiny(sigma_px)))
    assert ideal - 0.003 < found <= ideal + 1e-12


@pytest.mark.parametrize("sigma_px", [0.6, 1.0])
def test_sim_is_close_to_the_best_of_a_linear_programme(sigma_px: float) -> None:
    human, chances = every_viewer(sigma_px)
    n = len(human)
    # Of what is shared, (viewers, 4), none is more than the human map has, or the map, which sums to 1.
    shared = -np.r_[np.repeat(chances, 4), np.zeros(4)]
    within = np.c_[np.eye(4 * n), np.tile(-np.eye(4), (n, 1))]
    bounds = [(0, value) for value in human.ravel()] + [(0, 1)] * 4
    ideal = linprog(shared, within, np.zeros(4 * n), np.r_[np.zeros(4 * n), np.ones(4)][None], [1], bounds)
    found = chances @ measures.similarity(human, the_best("sim", tiny(sigma_px)))
    assert -ideal.fun - 0.015 < found <= -ideal.fun + 1e-12
    assert found > chances @ measures.similarity(human, the_best("kl", tiny(sigma_px)))


def test_sauc_is_best_among_all_orders_of_pixels() -> None:
    known = tiny(0.0)
    assert known.elsewhere is not None
    cells = np.arange(4)
    # The measure's mean: a fixation by P in each pixel, against negatives in proportion to `elsewhere`.
    negatives = np.repeat(cells, np.round(10 * known.elsewhere.ravel()).astype(int))

    def mean(map_: FloatArray) -> float:
        below = measures.shuffled_auc_map(map_, negatives // 2, negatives % 2)
        return float((P * below).sum())

    orders = [np.array(order, dtype=float).reshape(2, 2) + 1 for order in product(range(4), repeat=4)]
    assert mean(the_best("sauc", known)) == pytest.approx(max(map(mean, orders)), abs=1e-12)
    assert mean(the_best("sauc", known)) > mean(P) + 0.01


@pytest.mark.parametrize("measure", ["nss", "auc", "ig"])
def test_the_density_is_best_for_means_over_fixations(measure: str) -> None:
    maps = {
        "nss": measures.nss_map, "auc": measures.auc_map,
        "ig": lambda map_: measures.information_map(map_, np.ones((2, 2))),
    }  # fmt: skip
    score_map: Any = maps[measure]
    assert best_map(measure, tiny(0.0)) is P
    for map_ in every_map(16)[:-1]:
        with np.errstate(invalid="ignore"):
            value = float((P * score_map(map_ + 1e-9)).sum())
        assert np.isnan(value) or value <= (P * score_map(P)).sum() + 1e-12


# What else is promised.


def test_without_other_pictures_there_is_no_map_for_sauc_and_of_points_none_for_sim() -> None:
    assert best_map("sauc", replace(tiny(0.6), elsewhere=None)) is None
    assert best_map("sim", tiny(0.0)) is None
    with pytest.raises(ValueError, match="blurred human maps alone"):
        best_for_similarity(P, 0.0, 3.0)


def test_measures_without_a_rule_have_the_density() -> None:
    assert all(best_map(measure, tiny(0.6)) is P for measure in ("ssim", "emd"))


@pytest.mark.parametrize("sigma_px", [0.0, 0.2, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("fixations", [1.0, 1.3, 7.0, 400.0])
@pytest.mark.parametrize("width_px", [0.5, 6.0])
def test_maps_are_densities_for_any_number_of_fixations_and_any_blur(
    sigma_px: float, fixations: float, width_px: float
) -> None:
    density = spots(np.random.default_rng(34), width_px)
    known = Prediction(density, density, density, sigma_px, fixations)
    for measure in RULED if sigma_px else set(RULED) - {"sim"}:
        best = the_best(measure, known)
        assert best.shape == GRID.shape and np.isfinite(best).all() and (best >= 0).all() and best.sum() > 0
    if sigma_px:
        assert best_for_similarity(density, sigma_px, fixations).sum() == pytest.approx(1, abs=1e-6)


def test_an_even_density_has_even_maps_inside() -> None:
    even = uniform(Grid(40, 40))
    for measure in ("kl", "cc", "sim"):
        inner = the_best(measure, Prediction(even, even, even, 2.0, 10.0))[15:25, 15:25]
        assert np.ptp(inner) < 1e-3 * inner.mean()
