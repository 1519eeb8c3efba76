"""Densities fitted by likelihood come back as they were planted, and nobody is predicted by their own gaze."""

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from beholder.analysis.alignment.baselines import (
    CentreBias,
    InterObserver,
    elsewhere_density,
    fit_centre,
    fit_others,
    mixture_shares,
    others_at_fixations,
    others_densities,
    vertex,
)
from beholder.analysis.alignment.measures import information_gain, nss
from beholder.analysis.gaze.maps import Grid, fixation_map, uniform
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.analysis.statistics.crossed import Share, ratio_of_means, share_of_the_way

needs_osie = pytest.mark.skipif(
    not (Path(os.environ.get("BEHOLDER_TEST_DATA", "/none")) / "osie20").is_dir(),
    reason="BEHOLDER_TEST_DATA does not name a folder with osie20, real gaze on 20 photographs",
)


def within_information(log_density, truth: list[float], n: int, found: list[float], places: np.ndarray) -> np.ndarray:
    """By how many standard errors each number misses the truth; the errors from Fisher's information at the truth.

    log_density: of parameters and places. The information is the mean outer product of the score, by differences.
    """
    step = 1e-4
    scores = []
    for i in range(len(truth)):
        up, down = (np.array(truth) for _ in range(2))
        up[i] += step
        down[i] -= step
        scores.append((log_density(up, places) - log_density(down, places)) / (2 * step))
    information = np.cov(np.array(scores)) + np.outer(np.mean(scores, axis=1), np.mean(scores, axis=1))
    errors = np.sqrt(np.diag(np.linalg.inv(np.atleast_2d(information))) / n)
    return (np.array(found) - truth) / errors


def truncated_mixture(parameters: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Log density of a centre on the unit square, by scipy's own truncated Gaussians; x, y, SDs, uniform share."""
    x, y, sd_x, sd_y, share = parameters
    along = [
        stats.truncnorm.pdf(places[:, i], -m / s, (1 - m) / s, m, s) for i, (m, s) in enumerate(((x, sd_x), (y, sd_y)))
    ]
    return np.log((1 - share) * along[0] * along[1] + share)


def planted_centre(rng: np.random.Generator, n: int, truth: list[float]) -> np.ndarray:
    x, y, sd_x, sd_y, share = truth
    places = np.stack(
        [stats.truncnorm.rvs(-m / s, (1 - m) / s, m, s, size=n, random_state=rng) for m, s in ((x, sd_x), (y, sd_y))],
        axis=1,
    )
    anywhere = rng.random(n) < share
    places[anywhere] = rng.random((anywhere.sum(), 2))
    return places


@pytest.mark.parametrize(
    "truth", [[0.5, 0.5, 0.15, 0.2, 0.1], [0.52, 0.4, 0.25, 0.12, 0.3], [0.45, 0.55, 0.08, 0.3, 0.02]]
)
def test_a_planted_centre_is_found_within_the_errors_that_its_likelihood_gives(truth: list[float]) -> None:
    n = 3000
    places = planted_centre(np.random.default_rng(1), n, truth)
    found = fit_centre(places)
    missed = within_information(
        truncated_mixture, truth, n, [found.x, found.y, found.sd_x, found.sd_y, found.uniform], places
    )
    assert np.abs(missed).max() < 3.5  # five numbers, three times: 1 in 150 by chance


def test_a_centres_bits_are_those_of_its_density() -> None:
    """Likelihood over the unit square, and the mean of the log of the pixels' masses, are one on a fine grid."""
    places = planted_centre(np.random.default_rng(2), 2000, [0.5, 0.45, 0.2, 0.15, 0.1])
    centre, grid = fit_centre(places), Grid(300, 400)
    density = centre.density(grid)
    assert math.isclose(density.sum(), 1, abs_tol=1e-12)
    rows, cols = (places[:, 1] * 300).astype(int), (places[:, 0] * 400).astype(int)
    assert math.isclose(information_gain(density, rows, cols, uniform(grid)), centre.bits, abs_tol=2e-3)


def test_gaze_without_a_centre_gets_a_flat_one() -> None:
    places = np.random.default_rng(3).random((2000, 2))
    centre = fit_centre(places)
    # Twice n times the gain of four superfluous numbers is chi-squared, or less at a border of what they may be.
    assert 2 * len(places) * centre.bits * math.log(2) < stats.chi2.ppf(0.999, 5)
    assert centre.density(Grid(30, 40)).max() * 1200 < 1.3


def test_a_centre_needs_fixations_on_the_picture() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        fit_centre(np.full((9, 2), 0.5))
    with pytest.raises(ValueError, match="on the picture"):
        fit_centre(np.full((20, 2), 1.2))


def some_gaze(rng: np.random.Generator, counts: list[int], grid: Grid, unit_px: float = 1.0) -> PictureGaze:
    return PictureGaze.of_points(tuple(rng.random((n, 2)) * [grid.width, grid.height] for n in counts), grid, unit_px)


def test_the_others_density_is_the_fixation_map_of_everybody_else() -> None:
    """At each fixation and over the whole map; with viewers of different industry, one of them absent."""
    gaze = some_gaze(np.random.default_rng(4), [5, 0, 12, 3, 1], Grid(18, 25), unit_px=2.0)
    rows, cols = gaze.fixated_pixels()
    viewer = gaze.whose()
    alone = others_densities(gaze, InterObserver(1.7, 1, 0, 0, 0, False, 0))
    for who in range(5):
        rest = np.concatenate([p for i, p in enumerate(gaze.points) if i != who])
        expected = fixation_map(rest[:, 0], rest[:, 1], np.ones(len(rest)), gaze.grid, 3.4)
        np.testing.assert_allclose(alone[who], expected, atol=1e-15)
        mine = viewer == who
        at_mine = others_at_fixations(gaze, 3.4)[mine]
        np.testing.assert_allclose(at_mine, expected[rows[mine], cols[mine]], rtol=1e-9)


def test_the_others_density_is_mixed_as_it_was_fitted() -> None:
    gaze = some_gaze(np.random.default_rng(5), [4, 6, 5], Grid(12, 16))
    centre = CentreBias(0.5, 0.5, 0.2, 0.2, 0.1, 0).density(gaze.grid)
    mixed = others_densities(gaze, InterObserver(2.0, 0.7, 0.1, 0.2, 0, False, 0), centre)
    alone = others_densities(gaze, InterObserver(2.0, 1, 0, 0, 0, False, 0))
    np.testing.assert_allclose(mixed, 0.7 * alone + 0.1 / 192 + 0.2 * centre, atol=1e-15)
    np.testing.assert_allclose(mixed.sum(axis=(1, 2)), 1)
    with pytest.raises(ValueError, match="give its density"):
        others_densities(gaze, InterObserver(2.0, 0.7, 0.1, 0.2, 0, False, 0))


def test_who_is_alone_on_a_picture_is_predicted_by_nobody() -> None:
    gaze = some_gaze(np.random.default_rng(6), [7, 0], Grid(12, 16))
    assert np.isnan(others_at_fixations(gaze, 1.0)).all()
    with pytest.raises(ValueError, match="two viewers"):
        others_densities(gaze, InterObserver(2.0, 0.9, 0.1, 0, 0, False, 0))
    with pytest.raises(ValueError, match="two viewers"):
        fit_others([gaze], [1, 2, 3])


def test_gaze_off_the_picture_is_refused() -> None:
    for points in (np.array([[16.0, 3.0]]), np.array([[-0.1, 3.0]]), np.array([[np.nan, 3.0]])):
        with pytest.raises(ValueError, match="a fixation of 2 lies off"):
            PictureGaze.of_points((np.ones((1, 2)), points), Grid(12, 16))


def paired_gaze(rng: np.random.Generator, n_pictures: int, sd_px: float, anywhere: float) -> list[PictureGaze]:
    """Two viewers who each look once at each of 30 places that lie far apart, scattered by `sd_px`, or anywhere.

    What one tells about the other is known in closed form: a Gaussian of the square root of 2 times sd_px around the
    other's fixation, where neither was looking anywhere.
    """
    x, y = np.meshgrid(np.arange(60, 721, 120), np.arange(60, 601, 120))
    targets = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    pictures = []
    for _ in range(n_pictures):
        points = []
        for _viewer in range(2):
            at = targets + sd_px * rng.normal(size=targets.shape)
            lost = rng.random(len(targets)) < anywhere
            at[lost] = rng.random((lost.sum(), 2)) * [780, 660]
            points.append(at)
        pictures.append(PictureGaze.of_points(tuple(points), Grid(660, 780), unit_px=4.0))
    return pictures


def test_planted_width_and_uniform_share_of_the_others_are_found() -> None:
    sd_px, anywhere, n_pictures = 4.0, 0.2, 40
    pictures = paired_gaze(np.random.default_rng(7), n_pictures, sd_px, anywhere)
    found = fit_others(pictures, np.geomspace(0.7, 2.9, 9))
    # Each pair of fixations on a target that nobody lost tells the width twice, by the same two distances.
    pairs = n_pictures * 30
    kernel = (1 - anywhere) ** 2
    assert abs(found.width - math.sqrt(2)) < 4 * math.sqrt(2) / math.sqrt(4 * pairs * kernel)
    assert abs(found.kernel - kernel) < 4 * math.sqrt(kernel * (1 - kernel) / pairs)
    assert math.isclose(found.kernel + found.uniform, 1) and found.centre == 0 and not found.at_edge
    assert found.fixations == 2 * pairs


def test_a_best_width_at_the_end_of_those_tried_is_said() -> None:
    pictures = paired_gaze(np.random.default_rng(8), 3, 4.0, 0.1)
    assert fit_others(pictures, [3, 4, 5]).at_edge
    assert fit_others(pictures, [3, 4, 5]).width == pytest.approx(3)
    assert fit_others(pictures, [0.2, 0.3, 0.4]).at_edge


def test_shares_of_a_known_mixture_are_found_within_the_errors_that_its_likelihood_gives() -> None:
    rng, truth, n = np.random.default_rng(9), np.array([0.6, 0.3, 0.1]), 20_000
    components = rng.dirichlet(np.full(40, 0.3), size=3)  # three distributions over 40 places
    at = rng.choice(40, n, p=truth @ components)
    densities = components[:, at].T
    found = mixture_shares(densities, np.array([0.2, 0.2, 0.6]))
    missed = within_information(
        lambda p, d: np.log(d @ [p[0], p[1], 1 - p[0] - p[1]]), [0.6, 0.3], n, list(found[:2]), densities
    )
    assert np.abs(missed).max() < 3.5
    assert math.isclose(found.sum(), 1)


def test_who_looks_at_the_centre_alone_is_told_by_the_centre() -> None:
    """The others' fixations say no more than the centre: it gets the share, and nothing is gained over it."""
    rng, grid = np.random.default_rng(10), Grid(60, 80)
    centre = CentreBias(0.5, 0.5, 0.15, 0.15, 0.05, 0).density(grid)
    pictures = []
    for _ in range(15):
        points = []
        for _viewer in range(6):
            rows, cols = np.divmod(rng.choice(centre.size, 8, p=centre.ravel()), grid.width)
            points.append(np.stack([cols, rows], axis=1) + rng.random((8, 2)))
        pictures.append(PictureGaze.of_points(tuple(points), grid))
    found = fit_others(pictures, np.geomspace(1, 30, 10), [centre] * 15)
    assert found.kernel < 0.25
    assert abs(found.bits) < 0.03  # it may fall short of the centre by the uniform share that every density has
    alone = fit_others(pictures, np.geomspace(1, 30, 10))
    assert alone.bits > 0.5  # over the uniform density the same gaze tells a lot


def test_bits_of_the_others_are_the_information_gain_of_their_densities() -> None:
    """What the fit promises is what the maps then score in the measures."""
    rng = np.random.default_rng(11)
    pictures = [some_gaze(rng, [6, 9, 4], Grid(20, 30)) for _ in range(4)]
    centres = [CentreBias(0.5, 0.5, 0.3, 0.3, 0.2, 0).density(p.grid) for p in pictures]
    found = fit_others(pictures, [1, 2, 4, 8], centres)
    gains, counts = [], []
    for gaze, centre in zip(pictures, centres, strict=True):
        for points, density in zip(gaze.points, others_densities(gaze, found, centre), strict=True):
            rows, cols = points[:, 1].astype(int), points[:, 0].astype(int)
            gains.append(float(information_gain(density, rows, cols, centre)))
            counts.append(len(points))
    assert math.isclose(np.average(gains, weights=counts), found.bits, abs_tol=1e-9)


def test_a_fixation_counts_by_its_weight_where_that_is_asked_for() -> None:
    """As though it had been made so many times."""
    rng = np.random.default_rng(18)
    points = tuple(rng.uniform([0, 0], [30, 20], (n, 2)) for n in (3, 4, 2))
    times = tuple(rng.integers(1, 4, len(p)) for p in points)
    others, grid = InterObserver(2.5, 0.8, 0.2, 0.0, 0.5, False, 9), Grid(20, 30)
    repeated = PictureGaze.of_points(tuple(np.repeat(p, n, axis=0) for p, n in zip(points, times, strict=True)), grid)
    weighted = others_densities(PictureGaze.of_points(points, grid), others, weights=[n.astype(float) for n in times])
    np.testing.assert_allclose(weighted, others_densities(repeated, others), rtol=1e-12)
    assert not np.allclose(weighted, others_densities(PictureGaze.of_points(points, grid), others), rtol=0.01)


def test_places_on_other_pictures_become_a_density_as_other_viewers_do() -> None:
    rng = np.random.default_rng(19)
    grid, others = Grid(20, 30), InterObserver(1.5, 0.7, 0.1, 0.2, 0.5, False, 9)
    centre = CentreBias(0.5, 0.5, 0.2, 0.2, 0.1, 0.0).density(grid)
    pixels = rng.integers([0, 0], [30, 20], (40, 2))
    kernel = fixation_map(*(pixels.T + 0.5), np.ones(40), grid, 2 * 1.5)
    found = elsewhere_density((pixels + rng.random((40, 2))) / [30, 20], grid, 2.0, others, centre)
    np.testing.assert_allclose(found, 0.7 * kernel + 0.1 / 600 + 0.2 * centre, rtol=1e-9)
    with pytest.raises(ValueError, match="share of the centre"):
        elsewhere_density(np.array([[0.5, 0.5]]), grid, 2.0, others)


def test_the_vertex_of_a_parabola_is_found_between_uneven_places() -> None:
    at = np.array([0.0, 1.0, 1.5, 4.0, 5.0])
    tops = np.array([1.2, 2.0, 3.1])
    found, edge = vertex(at, -((at - tops[:, None]) ** 2))
    np.testing.assert_allclose(found, tops)
    assert not edge.any()
    for slope, end in ((1, 5.0), (-1, 0.0)):
        top, edge = vertex(at, slope * at)
        assert (float(top), bool(edge)) == (end, True)


def scores_between(
    rng: np.random.Generator, share: float, shape: tuple[int, int] = (12, 10)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Floor, score and ceiling, each with chance of its own by participant, by picture and by cell."""
    people, pictures = shape

    def scores(mean: float) -> np.ndarray:
        return (
            mean
            + 0.2 * rng.normal(size=(people, 1))
            + 0.2 * rng.normal(size=(1, pictures))
            + 0.3 * rng.normal(size=shape)
        )

    common = 0.5 * rng.normal(size=(people, 1)) + 0.5 * rng.normal(size=(1, pictures))  # as hard cells are for any map
    return scores(0.4) + common, scores(0.4 + share * 1.6) + common, scores(2.0) + common


def test_the_share_of_the_way_is_the_ratio_of_means_and_its_interval_covers() -> None:
    covered = []
    for study in range(400):
        floor, score, ceiling = scores_between(np.random.default_rng([12, study]), 0.6)
        found = share_of_the_way(floor, score, ceiling, "higher").ratio
        assert found is not None and found.low is not None and found.high is not None
        assert math.isclose(found.ratio, (score.mean() - floor.mean()) / (ceiling.mean() - floor.mean()))
        covered.append(found.low <= 0.6 <= found.high)
    # At least .93 in truth: below .894 of 400 once in a thousand.
    assert np.mean(covered) > stats.binom.ppf(0.001, 400, 0.93) / 400


def test_the_share_of_the_way_turns_with_the_measure() -> None:
    floor, score, ceiling = scores_between(np.random.default_rng(13), 0.3)
    up, down = share_of_the_way(floor, score, ceiling, "higher"), share_of_the_way(-floor, -score, -ceiling, "lower")
    assert up == down


def test_a_share_that_means_nothing_is_blank_and_says_why() -> None:
    floor, score, ceiling = scores_between(np.random.default_rng(14), 0.5)
    noise = np.random.default_rng(15).normal(size=floor.shape)
    nothing = np.full(floor.shape, np.nan)
    gaps = [np.where(np.arange(len(floor))[:, None] % 2 == half, score, np.nan) for half in (0, 1)]
    cases = [
        (ceiling, score, floor, "room"),  # the ceiling is below the floor
        (floor, score, floor, "room"),
        (floor, score, floor + 0.05 + noise, "room"),  # above it by less than chance
        (floor[:1], score[:1], ceiling[:1], "interval"),
        (floor[:, :1], score[:, :1], ceiling[:, :1], "interval"),
        (None, score, ceiling, "floor"), (nothing, score, ceiling, "floor"),
        (floor, score, None, "others"), (floor, score, nothing, "others"),
        (floor, gaps[0], gaps[1], "cells"),
    ]  # fmt: skip
    for below, at, above, why in cases:
        assert share_of_the_way(below, at, above, "higher") == Share(None, why)
    assert share_of_the_way(floor, score, ceiling, "higher").blank == ""


def test_the_share_of_the_way_leaves_out_who_lacks_a_score() -> None:
    floor, score, ceiling = scores_between(np.random.default_rng(16), 0.5)
    gap = score.copy()
    gap[3] = np.nan
    kept = np.arange(12) != 3
    assert share_of_the_way(floor, gap, ceiling, "higher") == share_of_the_way(
        floor[kept], score[kept], ceiling[kept], "higher"
    )


def test_a_ratio_over_pictures_alone_covers() -> None:
    covered = []
    for study in range(400):
        rng = np.random.default_rng([17, study])
        bottom = 0.2 + 0.05 * rng.normal(size=20)
        found = ratio_of_means(1.5 * bottom + 0.03 * rng.normal(size=20), bottom)
        assert found.participants == 0 and found.pictures == 20
        covered.append(found.low <= 1.5 <= found.high)
    assert np.mean(covered) > stats.binom.ppf(0.001, 400, 0.93) / 400


# Real gaze.


def osie_gaze(unit_px: float = 1.0) -> list[PictureGaze]:
    table = pd.read_csv(
        Path(os.environ["BEHOLDER_TEST_DATA"]) / "osie20" / "fixations.csv", dtype={"participant": str, "stimulus": str}
    )
    table = table[table["x_px"].between(0, 800, "left") & table["y_px"].between(0, 600, "left")]
    viewers = sorted(table["participant"].unique())
    return [
        PictureGaze.of_points(
            tuple(own.loc[own["participant"] == v, ["x_px", "y_px"]].to_numpy() / 25 for v in viewers),
            Grid(24, 32),
            unit_px,
        )
        for _, own in table.groupby("stimulus", sort=True)
    ]


@needs_osie
def test_eight_viewers_predict_the_other_seven_as_an_independent_program_found() -> None:
    found = []
    for gaze in osie_gaze():
        seen = np.concatenate(gaze.points[:8])
        density = fixation_map(seen[:, 0], seen[:, 1], np.ones(len(seen)), gaze.grid, 1.0)
        x, y = np.concatenate(gaze.points[8:]).astype(int).T
        found.append(nss(density, y, x))
    assert abs(np.mean(found) - 2.84) < 0.02


@needs_osie
def test_real_viewers_tell_more_about_each_other_than_the_fitted_centre_does() -> None:
    pictures = osie_gaze()
    places = [g.all_points() / [32, 24] for g in pictures]
    centres = [
        fit_centre(np.concatenate([p for j, p in enumerate(places) if j != i])).density(g.grid)
        for i, g in enumerate(pictures)
    ]
    others = fit_others(pictures, np.geomspace(0.4, 4, 12), centres)
    assert not others.at_edge
    assert others.bits > 0.5
    for gaze, centre in zip(pictures, centres, strict=True):
        rows, cols = gaze.fixated_pixels()
        assert information_gain(centre, rows, cols, uniform(gaze.grid)) > -0.5
