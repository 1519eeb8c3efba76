"""Planted human and model sigmas come back unbiased, and their intervals cover them."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from beholder.analysis.alignment.bandwidth import SigmaEstimate, human_sigma, model_sigma, sigmas_to_try
from beholder.analysis.alignment.baselines import fit_others, vertex
from beholder.analysis.findings.infer import infer
from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map, smooth
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.analysis.results.files import write_attention
from beholder.analysis.results.paths import attention_path
from beholder.analysis.results.study_results import read_results

GRID = Grid(48, 64)
SIGMAS = np.geomspace(0.8, 8, 14)
N_VIEWERS, N_PICTURES, N_FIXATIONS = 10, 12, 10
SD_PX = 2.5
STUDIES, POPULATION = 100, 150

Study = tuple[list[PictureGaze], list[np.ndarray]]


def planted(rng: np.random.Generator, by_viewer: float = 0.0, by_picture: float = 0.0) -> Study:
    """A study of people who scatter by 2.5 px around the same six places of a picture, one fixation in ten anywhere.

    by_viewer, by_picture: SD of the logarithm of the scatter, over viewers and over pictures. Each viewer favours some
    places. The maps that come with it have their mass in the places' own pixels: what people would follow.
    """
    pictures, maps = [], []
    scatter = SD_PX * np.exp(by_viewer * rng.normal(size=N_VIEWERS))
    for _ in range(N_PICTURES):
        of_picture = np.exp(by_picture * rng.normal())
        places, weights = np.floor(rng.random((6, 2)) * [64, 48]) + 0.5, rng.dirichlet(np.full(6, 2.0))
        points = []
        for viewer in range(N_VIEWERS):
            at = rng.choice(6, N_FIXATIONS, p=rng.dirichlet(weights * 18 + 0.05))
            xy = places[at] + scatter[viewer] * of_picture * rng.normal(size=(N_FIXATIONS, 2))
            anywhere = rng.random(N_FIXATIONS) < 0.1
            xy[anywhere] = rng.random((anywhere.sum(), 2)) * [64, 48]
            points.append(xy[((xy >= 0) & (xy < [64, 48])).all(axis=1)])
        pictures.append(PictureGaze.of_points(tuple(points), GRID))
        map_ = np.zeros(GRID.shape)
        np.add.at(map_, (places[:, 1].astype(int), places[:, 0].astype(int)), weights)
        maps.append(map_)
    return pictures, maps


def of_people(study: Study) -> SigmaEstimate:
    return human_sigma(study[0], SIGMAS)


def of_model(study: Study) -> SigmaEstimate:
    return model_sigma(*study, SIGMAS)


def population_sigma(estimate: Callable[[Study], SigmaEstimate], spread: tuple[float, float], case: list[int]) -> float:
    """What studies of this size tend to: the best sigma of 150 of them together, in log px."""
    total = np.zeros(len(SIGMAS))
    for number in range(POPULATION):
        found = estimate(planted(np.random.default_rng([*case, 1, number]), *spread))
        total += np.array(found.curve) * found.fixations
    return float(vertex(np.log(SIGMAS), total)[0])


@pytest.mark.slow
@pytest.mark.parametrize("spread", [(0.0, 0.0), (0.3, 0.3), (0.5, 0.0)], ids=str)
@pytest.mark.parametrize("estimate", [of_people, of_model], ids=["human", "model"])
def test_sigma_is_unbiased_and_its_interval_covers(
    estimate: Callable[[Study], SigmaEstimate], spread: tuple[float, float]
) -> None:
    """100 studies against the best sigma of 150 others, drawn alike: what a study of this size estimates."""
    case = [20, int(10 * spread[0]), int(10 * spread[1]), estimate is of_model]
    found = [estimate(planted(np.random.default_rng([*case, 2, number]), *spread)) for number in range(STUDIES)]
    truth = population_sigma(estimate, spread, case)
    assert all(f.sigma is not None for f in found)
    logs = np.log([f.sigma for f in found])
    # The truth has an error of its own, of 150 studies where the mean has one of 100.
    error = logs.std(ddof=1) * math.sqrt(1 / STUDIES + 1 / POPULATION)
    bias = logs.mean() - truth
    low, high = (np.log([getattr(f, end) for f in found]) for end in ("low", "high"))
    covered = np.mean((low <= truth) & (truth <= high))
    width = (high - low).mean() / 2 / (1.96 * logs.std(ddof=1))
    print(f"sigma {math.exp(truth):.3f} px: bias {100 * bias:.2f} % (its error {100 * error:.2f} %)", end=", ")
    print(f"covered {covered}, interval {width:.2f} times the needed one")
    assert abs(bias) < 3.5 * error
    assert covered >= stats.binom.ppf(0.001, STUDIES, 0.93) / STUDIES


@pytest.mark.slow
@pytest.mark.parametrize("sigma_px", [1.5, 3.0, 5.0])
def test_a_model_sigma_in_closed_form_is_unbiased_and_covered(sigma_px: float) -> None:
    """People draw from the model's map smoothed at sigma, and a tenth of the time anywhere: that sigma is the truth."""
    found = []
    for number in range(100):
        rng = np.random.default_rng([21, number])
        maps = [rng.random(GRID.shape) ** 60 for _ in range(6)]  # a few sharp peaks over a low ground
        pictures = []
        for map_ in maps:
            density = 0.9 * smooth(map_, sigma_px) + 0.1 / map_.size
            cells = rng.choice(density.size, (6, 60), p=density.ravel() / density.sum())
            corners = np.stack([cells % 64, cells // 64], axis=-1)
            pictures.append(PictureGaze.of_points(tuple(corners + rng.random((6, 60, 2))), GRID))
        found.append(model_sigma(pictures, maps, np.geomspace(0.6, 14, 16)))
    logs = np.log([f.sigma for f in found])
    error = logs.std(ddof=1) / math.sqrt(len(logs))
    assert abs(logs.mean() - math.log(sigma_px)) < 3.5 * error
    covered = np.mean([f.low <= sigma_px <= f.high for f in found if f.low is not None and f.high is not None])
    assert covered >= stats.binom.ppf(0.001, 100, 0.93) / 100
    assert 0.05 < np.median([f.uniform for f in found]) < 0.2


@pytest.mark.slow
def test_a_human_sigma_in_closed_form_is_unbiased() -> None:
    """Two people look once each at places far apart, scattered by 3 px: they lie 3 px times the root of 2 apart."""
    x, y = np.meshgrid(np.arange(50, 301, 50.0), np.arange(50, 301, 50.0))
    places, grid, logs = np.stack([x.ravel(), y.ravel()], axis=1), Grid(350, 350), []
    for number in range(60):
        rng = np.random.default_rng([22, number])
        pictures = [
            PictureGaze.of_points(tuple(places + 3.0 * rng.normal(size=(2, *places.shape))), grid, unit_px=10)
            for _ in range(3)
        ]
        found = human_sigma(pictures, np.geomspace(0.2, 0.9, 10))
        assert found.low is None and found.viewers == 2  # without one of two nobody is predicted
        logs.append(math.log(found.sigma))
    error = np.std(logs, ddof=1) / math.sqrt(len(logs))
    assert abs(np.mean(logs) - math.log(0.3 * math.sqrt(2))) < 3.5 * error


def test_human_sigma_is_the_best_of_leave_one_viewer_out_likelihoods() -> None:
    """Every likelihood of the curve, written out with fixation_map, one viewer at a time."""
    pictures, _ = planted(np.random.default_rng(23))
    pictures = pictures[:3]
    sigmas = [1.0, 2.0, 4.0]
    found = human_sigma(pictures, sigmas)
    shares = np.geomspace(0.001, 0.5, 500)  # far more than are tried there
    for sigma, bits in zip(sigmas, found.curve, strict=True):
        by_share = np.zeros(len(shares))
        for gaze in pictures:
            for who, own in enumerate(gaze.points):
                rest = np.concatenate([p for i, p in enumerate(gaze.points) if i != who])
                density = fixation_map(rest[:, 0], rest[:, 1], np.ones(len(rest)), GRID, sigma)
                at = density[own[:, 1].astype(int), own[:, 0].astype(int)] * gaze.pixels
                by_share += np.log2(at[:, None] * (1 - shares) + shares).sum(axis=0)
        assert bits == pytest.approx(by_share.max() / found.fixations, abs=1e-3)


def without(pictures: list[PictureGaze], viewer: int | None = None) -> list[PictureGaze]:
    return [
        PictureGaze.of_points(tuple(p for i, p in enumerate(g.points) if i != viewer), g.grid, g.unit_px)
        for g in pictures
    ]


@pytest.mark.parametrize("estimate", [of_people, of_model], ids=["human", "model"])
def test_the_interval_is_the_jackknifes_over_studies_that_lack_a_viewer_or_a_picture(
    estimate: Callable[[Study], SigmaEstimate],
) -> None:
    """Each left out in earnest, and the whole study estimated again."""
    pictures, maps = planted(np.random.default_rng(24), 0.3, 0.3)
    pictures, maps = [PictureGaze.of_points(g.points[:5], GRID) for g in pictures[:4]], maps[:4]
    whole = estimate((pictures, maps))

    def variance(kept: list[SigmaEstimate]) -> float:
        logs = np.log([e.sigma for e in kept])
        return float((len(logs) - 1) / len(logs) * ((logs - logs.mean()) ** 2).sum())

    def lacking(viewer: int, picture: int) -> list[PictureGaze]:
        points = tuple(np.empty((0, 2)) if i == viewer else p for i, p in enumerate(pictures[picture].points))
        return [PictureGaze.of_points(points, GRID) if i == picture else g for i, g in enumerate(pictures)]

    of_viewers = variance([estimate((without(pictures, v), maps)) for v in range(5)])
    of_pictures = variance(
        [
            estimate(([g for i, g in enumerate(pictures) if i != p], [m for i, m in enumerate(maps) if i != p]))
            for p in range(4)
        ]
    )
    of_cells = variance([estimate((lacking(v, p), maps)) for p in range(4) for v in range(5)])
    total = max(of_viewers + of_pictures - of_cells, of_viewers, of_pictures)
    df = 3  # of four pictures, which are too few for more
    half = math.sqrt(total) * stats.t.ppf(0.975, df)
    assert whole.low == pytest.approx(whole.sigma * math.exp(-half), rel=1e-6)
    assert whole.high == pytest.approx(whole.sigma * math.exp(half), rel=1e-6)


def test_sigma_is_in_the_pictures_own_units() -> None:
    """Two sizes of one picture, in units that say so, tell what they would tell alone."""
    pictures, maps = planted(np.random.default_rng(25))
    twice = [PictureGaze.of_points(tuple(2 * p for p in g.points), Grid(96, 128), unit_px=2.0) for g in pictures]
    plain = human_sigma(pictures, SIGMAS)
    doubled = human_sigma(twice, SIGMAS)
    assert doubled.sigma == pytest.approx(plain.sigma, rel=0.02)  # pixels are half as large
    mixed = human_sigma([*pictures[:6], *twice[6:]], SIGMAS)
    assert mixed.sigma == pytest.approx(plain.sigma, rel=0.02)
    assert model_sigma(pictures, maps, SIGMAS).sigma == pytest.approx(SD_PX, rel=0.1)


def test_beyond_the_sigmas_that_were_tried_there_is_no_estimate() -> None:
    """Only what sigma is at most or at least, and no interval."""
    pictures, maps = planted(np.random.default_rng(26))
    for found in (human_sigma(pictures, [4.0, 5.0, 6.0]), model_sigma(pictures, maps, [4.0, 5.0, 6.0])):
        assert (found.sigma, found.at_most, found.at_least) == (None, pytest.approx(4.0), None)
        assert found.low is None and found.high is None and found.sigma_or_bound == found.at_most
    for found in (human_sigma(pictures, [0.3, 0.5, 0.8]), model_sigma(pictures, maps, [0.3, 0.5, 0.8])):
        assert (found.sigma, found.at_most, found.at_least) == (None, None, pytest.approx(0.8))
        assert found.low is None and found.high is None and found.sigma_or_bound == found.at_least


def test_an_optimum_that_one_viewer_holds_within_the_range_has_no_interval() -> None:
    """Two viewers scatter little, the third much; without the third sigma would be the smallest that was tried."""
    rng, pictures = np.random.default_rng(31), []
    for _ in range(6):
        places = rng.random((12, 2)) * [52, 36] + 6
        scattered = [places + sd * rng.normal(size=(12, 2)) for sd in (0.8, 0.8, 4)]
        pictures.append(
            PictureGaze.of_points(tuple(p[((p >= 0) & (p < [64, 48])).all(axis=1)] for p in scattered), GRID)
        )
    sigmas = [1.4, 1.75, 2.2, 2.75]
    found = human_sigma(pictures, sigmas)
    assert found.sigma is not None and found.low is None and found.high is None
    assert human_sigma([PictureGaze.of_points(g.points[:2], GRID) for g in pictures], sigmas).at_most == pytest.approx(
        1.4
    )


# Which sigmas are tried.

DEGREES, PERCENT = 224 / 20, 224 / 100  # map px a unit: a picture 20 degrees wide, on 224 px
LARGE = Grid(168, 224)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400), st.floats(0.01, 100)), min_size=1, max_size=4),
    st.floats(0.1, 1),
)
def test_sigmas_go_from_a_cells_own_width_to_the_pictures(sides: list[tuple[int, int, float]], share: float) -> None:
    pictures = [PictureGaze.of_points((), Grid(height, width), unit_px) for height, width, unit_px in sides]
    cells = [share * max(height, width) for height, width, _ in sides]
    found = np.array(sigmas_to_try(pictures, cells))
    in_units = [(max(1.0, cell) / unit, max(h, w) / unit) for cell, (h, w, unit) in zip(cells, sides, strict=True)]
    assert len(found) >= 3
    assert found[0] == pytest.approx(max(cell for cell, _ in in_units) / math.sqrt(12))
    assert found[-1] >= max(side for _, side in in_units) / math.sqrt(12) * (1 - 1e-9)
    assert (found[1:] / found[:-1]).max() <= 1.25 + 1e-9


def test_the_sigmas_tried_are_the_same_lengths_in_every_unit() -> None:
    in_px, *others = (
        np.array(sigmas_to_try([PictureGaze.of_points((), LARGE, unit)], [7.0])) for unit in (1, DEGREES, PERCENT)
    )
    np.testing.assert_allclose(others, [in_px / DEGREES, in_px / PERCENT])


def by_twos(rng: np.random.Generator, scatter_px: float) -> list[PictureGaze]:
    """Two people who look once each at 48 places of 40 pictures: they lie `scatter_px` times the root of 2 apart."""
    places = np.stack(np.meshgrid(np.arange(14, 224, 28.0), np.arange(14, 168, 28.0)), axis=-1).reshape(-1, 2)
    pictures = []
    for _ in range(40):
        within_px = rng.random((48, 2))  # or all places would lie on the borders of pixels
        pictures.append(
            PictureGaze.of_points(tuple(places + within_px + scatter_px * rng.normal(size=(2, 48, 2))), LARGE)
        )
    return pictures


def in_unit(pictures: list[PictureGaze], unit_px: float) -> list[PictureGaze]:
    return [PictureGaze.of_points(g.points, g.grid, unit_px) for g in pictures]


@pytest.mark.parametrize(
    "sigma, unit_px", [(0.05, DEGREES), (0.2, DEGREES), (0.3, DEGREES), (0.4, PERCENT), (1.5, PERCENT)]
)
def test_a_planted_human_sigma_is_found_among_the_sigmas_tried(sigma: float, unit_px: float) -> None:
    rng = np.random.default_rng([32, int(1000 * sigma)])
    pictures = in_unit(by_twos(rng, sigma * unit_px / math.sqrt(2)), unit_px)
    found = human_sigma(pictures, sigmas_to_try(pictures))
    assert found.fixations == 3840
    assert found.sigma == pytest.approx(sigma, rel=0.05)


def patches_and_gaze(rng: np.random.Generator, sigma_px: float) -> tuple[list[PictureGaze], list[np.ndarray]]:
    """Eight people with 60 fixations on each of eight pictures, drawn from maps of 24 x 32 patches blurred by sigma."""
    pictures, maps = [], []
    for _ in range(8):
        map_ = area_resample(rng.random((24, 32)) ** 60, *LARGE.shape)
        density = smooth(map_, sigma_px) if sigma_px > 0 else map_ / map_.sum()
        cells = rng.choice(density.size, (8, 60), p=density.ravel())
        corners = np.stack([cells % 224, cells // 224], axis=-1)
        pictures.append(PictureGaze.of_points(tuple(corners + rng.random((8, 60, 2))), LARGE))
        maps.append(map_)
    return pictures, maps


@pytest.mark.parametrize("sigma, unit_px", [(0.25, DEGREES), (0.6, DEGREES), (1.5, DEGREES), (1.4, PERCENT)])
def test_a_planted_model_sigma_is_found_among_the_sigmas_tried(sigma: float, unit_px: float) -> None:
    pictures, maps = patches_and_gaze(np.random.default_rng([33, int(1000 * sigma)]), sigma * unit_px)
    pictures = in_unit(pictures, unit_px)
    found = model_sigma(pictures, maps, sigmas_to_try(pictures, [7.0] * 8))
    assert found.fixations == 3840 and found.low is not None and found.high is not None
    assert found.sigma == pytest.approx(sigma, rel=0.1)
    assert found.low < sigma < found.high


def test_what_is_finer_than_the_grid_or_wider_than_the_picture_is_bounded_and_not_estimated() -> None:
    """People nearer to each other than a pixel is wide; gaze drawn from the patches as they are, and from elsewhere."""
    rng = np.random.default_rng(34)
    pictures = by_twos(rng, 0.05)
    assert human_sigma(pictures, sigmas_to_try(pictures)).at_most == pytest.approx(1 / math.sqrt(12))
    pictures, maps = patches_and_gaze(rng, 0.0)
    tried = sigmas_to_try(pictures, [7.0] * 8)
    assert model_sigma(pictures, maps, tried).at_most == pytest.approx(7 / math.sqrt(12))
    avoided = [m.max() - m for m in maps]
    assert model_sigma(pictures, avoided, tried).at_least == pytest.approx(224 / math.sqrt(12))


@pytest.mark.slow
@pytest.mark.parametrize("geometry, unit_px, sigma", [(True, DEGREES, 0.3), (False, PERCENT, 1.5)])
def test_a_study_finds_the_planted_sigmas_in_its_own_unit(
    geometry: bool, unit_px: float, sigma: float, make_study: Callable[..., Path]
) -> None:
    """Two participants: everything from fixations in picture px and attention on patches to what inference says."""
    folder = make_study(participants=2, pictures=8, heads=2, geometry=geometry)
    results = read_results(folder)
    rng = np.random.default_rng(35)
    attention = {name: rng.random((2, 24, 32)) ** 60 for name in results.attention("first", 12)}
    write_attention({n: a.astype(np.float32) for n, a in attention.items()}, attention_path(folder, "first", 12))
    estimate = results.study.model_copy(update={"maps": results.study.maps.model_copy(update={"estimate_sigma": True})})
    picture_px = 240 / 224  # px of the picture a px of the map

    def fixations(points: dict[str, np.ndarray]) -> pd.DataFrame:
        """points: by picture (participants, n, 2), map px."""
        row = results.fixations[results.fixations["used"]].iloc[:1]
        rows = []
        for name, of_picture in points.items():
            for person, own in zip(("01", "02"), of_picture * picture_px, strict=True):
                table = pd.concat([row] * len(own), ignore_index=True)
                rows.append(table.assign(participant=person, stimulus=name, x_px=own[:, 0], y_px=own[:, 1]))
        return pd.concat(rows, ignore_index=True)

    def said(points: dict[str, np.ndarray]) -> dict[str, SigmaEstimate]:
        found = infer(replace(results, study=estimate, fixations=fixations(points)))
        return {r.map: r.estimate for r in found.sigmas}

    drawn = {}
    for name, maps in attention.items():
        density = smooth(area_resample(maps[1], *LARGE.shape), sigma * unit_px)
        cells = rng.choice(density.size, (2, 240), p=density.ravel())
        drawn[name] = np.stack([cells % 224, cells // 224], axis=-1) + rng.random((2, 240, 2))
    assert said(drawn)["head-02"].sigma == pytest.approx(sigma, rel=0.1)
    together = by_twos(rng, sigma * unit_px / math.sqrt(2))
    people = {name: np.stack(g.points) for name, g in zip(attention, together, strict=False)}
    assert said(people)["people"].sigma == pytest.approx(sigma, rel=0.1)


def test_who_never_looked_counts_as_no_viewer() -> None:
    pictures, _ = planted(np.random.default_rng(27))
    more = [PictureGaze.of_points((*g.points, np.empty((0, 2))), GRID) for g in pictures]
    assert human_sigma(more, SIGMAS) == human_sigma(pictures, SIGMAS)


def test_half_of_the_pictures_of_one_viewer_may_be_missing() -> None:
    pictures, maps = planted(np.random.default_rng(28))
    some = [
        PictureGaze.of_points((np.empty((0, 2)) if i % 2 else g.points[0], *g.points[1:]), GRID)
        for i, g in enumerate(pictures)
    ]
    for found in (human_sigma(some, SIGMAS), model_sigma(some, maps, SIGMAS)):
        assert found.low is not None and found.high is not None
        assert found.low < found.sigma < found.high
        assert found.viewers == N_VIEWERS


def test_human_sigma_and_the_ceilings_width_agree_where_there_is_no_centre() -> None:
    pictures, _ = planted(np.random.default_rng(29))
    assert human_sigma(pictures, SIGMAS).sigma == pytest.approx(fit_others(pictures, SIGMAS).width, rel=0.02)


def test_what_cannot_be_estimated_is_refused() -> None:
    pictures, maps = planted(np.random.default_rng(30))
    alone = [PictureGaze.of_points(g.points[:1], GRID) for g in pictures]
    with pytest.raises(ValueError, match="two viewers"):
        human_sigma(alone, SIGMAS)
    with pytest.raises(ValueError, match="three or more"):
        human_sigma(pictures, [1.0, 2.0])
    with pytest.raises(ValueError, match="rising"):
        model_sigma(pictures, maps, [3.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="grid's"):
        model_sigma(pictures, [m[:10] for m in maps], SIGMAS)
    with pytest.raises(ValueError, match="nothing to predict"):
        model_sigma([PictureGaze.of_points((np.empty((0, 2)),), GRID)], maps[:1], SIGMAS)
