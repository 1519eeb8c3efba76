"""Measures against pysaliency and scikit-image, pair by pair, in float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pysaliency import metrics as oracle
from skimage.metrics import structural_similarity as oracle_ssim

from analysis.gaze_maps import Grid, centre_gaussian
from analysis.measures import (
    EPSILON,
    MEASURES,
    as_density,
    correlation,
    kl_divergence,
    lift,
    nss,
    similarity,
    structural_similarity,
)

Pair = tuple[np.ndarray, np.ndarray]

quick = settings(max_examples=50, deadline=None)


def same(value: float, expected: float) -> bool:
    """Equal to 1e-9, whatever the size."""
    return abs(value - expected) <= 1e-9


@st.composite
def pairs(draw: st.DrawFn, smallest: int = 2) -> Pair:
    """Two maps of one size with some mass, of whole numbers, so that zeros, ties and single peaks are common."""
    shape = draw(st.tuples(st.integers(smallest, 18), st.integers(smallest, 18)))
    maps = hnp.arrays(np.float64, shape, elements=st.integers(0, 255).map(float)).filter(lambda m: m.sum() > 0)
    return draw(maps), draw(maps)


def degenerate() -> dict[str, Pair]:
    """Pairs on which measures are known to break."""
    rng = np.random.default_rng(0)
    smooth = centre_gaussian(Grid(20, 33))
    peak, other_peak = np.zeros((2, 20, 33))
    peak[3, 4], other_peak[15, 30] = 1, 5
    left = np.zeros((20, 33))
    left[:, :10] = rng.random((20, 10))
    return {
        "constant model": (smooth, np.full((20, 33), 0.7)),
        "constant human": (np.full((20, 33), 0.7), smooth),
        "single peak model": (smooth, peak),
        "single peak human": (peak, smooth),
        "disjoint peaks": (peak, other_peak),
        "equal peaks": (peak, peak),
        "no support on the right": (smooth, left),
        "human of no support on the right": (left, smooth),
        "tiny and huge scale": (smooth * 1e-30, left * 1e30),
    }


each_degenerate = pytest.mark.parametrize("pair", degenerate().values(), ids=degenerate().keys())


def pysaliency_kl(human: np.ndarray, model: np.ndarray) -> float:
    """KL(human || model), whose arguments the oracle takes the other way round; it takes the logarithm of zeros."""
    with np.errstate(divide="ignore"):
        return oracle.MIT_KLDiv(model, human)


def scikit_image(human: np.ndarray, model: np.ndarray) -> float:
    return oracle_ssim(
        human / human.max(),
        model / model.max(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
    )


@quick
@given(pairs())
def test_kl_is_pysaliencys_mit_kl_on_any_maps(pair: Pair) -> None:
    assert same(kl_divergence(*pair), pysaliency_kl(*pair))


@each_degenerate
def test_kl_is_pysaliencys_mit_kl_on_degenerate_maps(pair: Pair) -> None:
    assert same(kl_divergence(*pair), pysaliency_kl(*pair))


def test_kl_is_of_the_human_map_from_the_model_and_bounded_by_epsilon() -> None:
    human, model = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    assert math.isclose(kl_divergence(human, model), math.log(2), abs_tol=1e-12)
    assert same(kl_divergence(model, human), 0.5 * math.log(0.5) + 0.5 * math.log(0.5 / EPSILON))


@quick
@given(pairs())
def test_sim_is_pysaliencys(pair: Pair) -> None:
    assert same(similarity(*pair), oracle.SIM(*pair))


@each_degenerate
def test_sim_is_pysaliencys_on_degenerate_maps(pair: Pair) -> None:
    assert same(similarity(*pair), oracle.SIM(*pair))


@quick
@given(pairs())
def test_cc_is_pysaliencys_and_nan_where_a_map_is_constant(pair: Pair) -> None:
    if any(np.ptp(map_) == 0 for map_ in pair):
        assert math.isnan(correlation(*pair))
    else:
        assert same(correlation(*pair), oracle.CC(*pair))


@each_degenerate
def test_cc_is_pysaliencys_on_degenerate_maps(pair: Pair) -> None:
    if any(np.ptp(map_) == 0 for map_ in pair):
        assert math.isnan(correlation(*pair))
    else:
        # Scaled first: the oracle's SD underflows on the smallest maps.
        assert same(correlation(*pair), oracle.CC(*(map_ / map_.max() for map_ in pair)))


def test_a_constant_map_with_rounding_in_it_is_still_constant() -> None:
    nearly = np.full((8, 8), 0.1)
    nearly[3, 3] = np.nextafter(0.1, 1)
    assert math.isnan(correlation(nearly, centre_gaussian(Grid(8, 8))))
    assert math.isnan(nss(nearly, np.array([3]), np.array([3])))


@quick
@given(pairs(smallest=11))
def test_ssim_is_scikit_images_on_any_maps(pair: Pair) -> None:
    assert same(structural_similarity(*pair), scikit_image(*pair))


@each_degenerate
def test_ssim_is_scikit_images_on_degenerate_maps(pair: Pair) -> None:
    assert same(structural_similarity(*pair), scikit_image(*pair))


def test_ssim_needs_room_for_one_window() -> None:
    maps = np.random.default_rng(1).random((2, 11, 40))
    assert same(structural_similarity(*maps), scikit_image(*maps))
    with pytest.raises(ValueError, match="at least 11 x 11 px; 10 x 40"):
        structural_similarity(*maps[:, :10])


@quick
@given(pairs(), st.data())
def test_nss_is_pysaliencys(pair: Pair, data: st.DataObject) -> None:
    model = pair[0]
    index = st.tuples(st.integers(0, model.shape[0] - 1), st.integers(0, model.shape[1] - 1))
    rows, cols = np.array(data.draw(st.lists(index, min_size=1, max_size=20))).T
    value = nss(model, rows, cols)
    if np.ptp(model) == 0:
        assert math.isnan(value)
    else:
        assert same(value, oracle.NSS(model, cols, rows).mean())


def test_nss_needs_fixations_on_the_map() -> None:
    model = centre_gaussian(Grid(9, 9))
    with pytest.raises(ValueError, match="none is given"):
        nss(model, np.array([], int), np.array([], int))
    for outside in (-1, 9):
        with pytest.raises(ValueError, match="outside the map"):
            nss(model, np.array([outside]), np.array([0]))


@pytest.mark.parametrize("name", ["kl", "cc", "sim", "ssim"])
def test_measures_over_leading_axes_are_those_of_each_pair(name: str) -> None:
    """(4, 1) human maps against (3,) models, broadcast."""
    rng = np.random.default_rng(2)
    human, model = rng.random((4, 1, 15, 18)), rng.random((3, 15, 18))
    function = MEASURES[name].function
    each = [[float(function(h[0], m)) for m in model] for h in human]
    np.testing.assert_allclose(function(human, model), each, atol=1e-12)


@pytest.mark.parametrize("measure", [m for m in MEASURES.values() if m.against == "map"], ids=lambda m: m.name)
def test_an_equal_map_is_closer_than_any_other(measure: object) -> None:
    human = centre_gaussian(Grid(30, 30))
    for other in (np.roll(human, 4, axis=0), human**2, np.ones((30, 30)) + 1e-6 * human):
        equal, different = measure.function(human, human), measure.function(human, other)  # type: ignore[attr-defined]
        assert (equal < different) if measure.closer == "lower" else (equal > different)  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [kl_divergence, correlation, similarity, structural_similarity])
@pytest.mark.parametrize(
    "value, reason", [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "infinite"), (None, "sums to zero")]
)
def test_what_is_no_density_is_refused_by_name(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], value: float | None, reason: str
) -> None:
    good, bad = np.ones((12, 12)), np.ones((12, 12))
    bad[5, 5] = 0 if value is None else value
    if value is None:
        bad[:] = 0
    with pytest.raises(ValueError, match=f"human map.*{reason}"):
        function(bad, good)
    with pytest.raises(ValueError, match=f"model map.*{reason}"):
        function(good, bad)


def test_one_map_without_mass_among_many_is_refused() -> None:
    with pytest.raises(ValueError, match="sums to zero"):
        as_density(np.stack([np.ones((3, 3)), np.zeros((3, 3))]))


def test_lift_is_the_mass_inside_less_the_area() -> None:
    """A quarter of the picture with 0.7 of the mass: 45 points above its area, 40 above what is outside."""
    map_, mask = np.full((4, 4), 0.3 / 12), np.zeros((4, 4))
    map_[:2, :2], mask[:2, :2] = 0.7 / 4, 1
    found = lift(np.stack([map_, np.ones((4, 4))]), mask)
    np.testing.assert_allclose(found.inside, [0.7, 0.25])
    np.testing.assert_allclose(found.outside, [0.3, 0.75])
    assert found.area == 0.25
    np.testing.assert_allclose(found.lift_pp, [45, 0], atol=1e-12)
    np.testing.assert_allclose(found.contrast_pp, [40, -50])


def test_lift_counts_partly_covered_pixels_in_part() -> None:
    assert math.isclose(lift(np.array([[1.0, 1.0]]), np.array([[0.5, 0.0]])).inside, 0.25)


def test_lift_refuses_masks_that_are_none() -> None:
    with pytest.raises(ValueError, match="shape"):
        lift(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        lift(np.ones((4, 4)), np.full((4, 4), 255.0))
