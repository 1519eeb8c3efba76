"""Measures against pysaliency and scikit-image, pair by pair, in float64."""

import math
from collections.abc import Callable

import numpy as np
import pysaliency
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pysaliency import metrics as oracle
from pysaliency.roc import general_roc, general_rocs_per_positive
from scipy.stats import wasserstein_distance_nd
from skimage.metrics import structural_similarity as oracle_ssim

from beholder.analysis.alignment.measures import (
    EPSILON,
    MEASURES,
    as_density,
    auc,
    auc_judd,
    auc_map,
    correlation,
    earth_movers_distance,
    information_gain,
    information_map,
    kl_divergence,
    lift,
    mean_at,
    nss,
    nss_map,
    shuffled_auc,
    shuffled_auc_map,
    similarity,
    structural_similarity,
    values_at,
)
from beholder.analysis.gaze.maps import Grid, centre_gaussian, fixation_map

Pair = tuple[np.ndarray, np.ndarray]

quick = settings(max_examples=50)


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


@st.composite
def fixated(draw: st.DrawFn, largest: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map and pixels of it that were fixated, (n,) rows and columns; the same pixel may come twice."""
    model = draw(pairs())[0]
    index = st.tuples(st.integers(0, model.shape[0] - 1), st.integers(0, model.shape[1] - 1))
    rows, cols = np.array(draw(st.lists(index, min_size=1, max_size=largest))).T
    return model, rows, cols


@pytest.fixture
def trapz(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle's ROC calls a function that NumPy has renamed."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)


@quick
@given(fixated())
def test_auc_is_pysaliencys_with_all_pixels_as_negatives(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    model, rows, cols = case
    assert same(auc(model, rows, cols), general_rocs_per_positive(model[rows, cols], model.ravel()).mean())


@quick
@given(fixated(), st.data())
def test_shuffled_auc_is_pysaliencys(case: tuple[np.ndarray, np.ndarray, np.ndarray], data: st.DataObject) -> None:
    model, rows, cols = case
    index = st.tuples(st.integers(0, model.shape[0] - 1), st.integers(0, model.shape[1] - 1))
    others = np.array(data.draw(st.lists(index, min_size=1, max_size=40))).T
    oracles = general_rocs_per_positive(model[rows, cols], model[others[0], others[1]])
    assert same(shuffled_auc(model, rows, cols, *others), oracles.mean())


@quick
@given(case=fixated())
def test_auc_judd_is_pysaliencys_roc_at_fixated_thresholds(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    model, rows, cols = case
    unfixated = np.ones(model.shape, bool)
    unfixated[rows, cols] = False
    if not unfixated.any():
        assert math.isnan(auc_judd(model, rows, cols))
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "trapz", np.trapezoid, raising=False)
        expected = general_roc(model[rows, cols], model[unfixated], judd=1)[0]
    assert same(auc_judd(model, rows, cols), expected)


class Planned(pysaliency.SaliencyMapModel):
    """A model of pysaliency's whose map is known beforehand, by the stimulus's first pixel."""

    def __init__(self, maps: np.ndarray) -> None:
        super().__init__(caching=False)
        self.maps = maps

    def _saliency_map(self, stimulus: np.ndarray) -> np.ndarray:
        return self.maps[int(stimulus[0, 0])]


def test_all_pictures_together_score_as_pysaliencys_models_do(trapz: None) -> None:
    """Three pictures end to end: its own bookkeeping of fixations, negatives and averages."""
    rng = np.random.default_rng(5)
    maps, n = rng.integers(1, 6, (3, 12, 16)).astype(float), 25  # few values, many ties
    rows, cols = rng.integers(0, 12, (3, n)), rng.integers(0, 16, (3, n))
    stimuli = pysaliency.Stimuli([np.full((12, 16), i, float) for i in range(3)])
    fixations = pysaliency.Fixations.create_without_history(
        x=cols.ravel(), y=rows.ravel(), n=np.repeat(np.arange(3), n)
    )
    model = Planned(maps)
    others = [np.arange(3) != i for i in range(3)]
    ours = {
        "auc": [float(auc(m, r, c)) for m, r, c in zip(maps, rows, cols, strict=True)],
        "judd": [float(auc_judd(m, r, c)) for m, r, c in zip(maps, rows, cols, strict=True)],
        "shuffled": [
            float(shuffled_auc(maps[i], rows[i], cols[i], rows[others[i]].ravel(), cols[others[i]].ravel()))
            for i in range(3)
        ],
        "nss": [float(nss(m, r, c)) for m, r, c in zip(maps, rows, cols, strict=True)],
    }
    assert same(np.mean(ours["auc"]), model.AUC(stimuli, fixations, nonfixations="uniform", average="image"))
    assert same(np.mean(ours["judd"]), model.AUC_Judd(stimuli, fixations, jitter=False))
    assert same(np.mean(ours["shuffled"]), model.sAUC(stimuli, fixations, average="image"))
    assert same(np.mean(ours["nss"]), model.NSS(stimuli, fixations, average="image"))


class PlannedDensity(pysaliency.Model):
    """A density of pysaliency's that is known beforehand."""

    def __init__(self, density: np.ndarray) -> None:
        super().__init__(caching=False)
        self.density = density

    def _log_density(self, stimulus: np.ndarray) -> np.ndarray:
        return np.log(self.density / self.density.sum())


def test_information_gain_is_pysaliencys() -> None:
    rng = np.random.default_rng(6)
    model, baseline = rng.random((2, 9, 14)) + 0.01
    rows, cols = rng.integers(0, 9, 30), rng.integers(0, 14, 30)
    stimuli = pysaliency.Stimuli([np.zeros((9, 14))])
    fixations = pysaliency.Fixations.create_without_history(x=cols, y=rows, n=np.zeros(30, int))
    expected = PlannedDensity(model).information_gain(stimuli, fixations, PlannedDensity(baseline))
    assert same(information_gain(model, rows, cols, baseline), expected)
    assert information_gain(model, rows, cols, model) == 0


def test_information_gain_has_no_floor_where_the_model_has_nothing() -> None:
    model = np.array([[1.0, 0.0]])
    assert information_gain(model, np.array([0]), np.array([0]), np.ones((1, 2))) == 1
    assert information_gain(model, np.array([0, 0]), np.array([0, 1]), np.ones((1, 2))) == -np.inf


def test_what_earns_auc_by_centre_bias_alone_earns_no_shuffled_auc() -> None:
    """People look at the centre of every picture, and the model knows nothing but that."""
    rng = np.random.default_rng(7)
    centre = centre_gaussian(Grid(48, 64), 0.15)
    here, elsewhere = (np.divmod(rng.choice(centre.size, 4000, p=centre.ravel()), 64) for _ in range(2))
    assert auc(centre, *here) > 0.85
    # The SD of the difference of two ranks' means is at most 1 / sqrt(12) of each share.
    assert abs(shuffled_auc(centre, *here, *elsewhere) - 0.5) < 4 * math.sqrt(2 / 12 / 4000)


def test_a_constant_map_is_at_chance() -> None:
    flat, rows, cols = np.ones((6, 8)), np.array([0, 3]), np.array([1, 7])
    assert auc(flat, rows, cols) == auc_judd(flat, rows, cols) == shuffled_auc(flat, rows, cols, rows, cols) == 0.5
    assert information_gain(flat, rows, cols, flat) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda m, r, c: auc(m, r, c),
        lambda m, r, c: auc_judd(m, r, c),
        lambda m, r, c: shuffled_auc(m, r, c, np.array([0]), np.array([0])),
        lambda m, r, c: shuffled_auc(m, np.array([0]), np.array([0]), r, c),
        lambda m, r, c: information_gain(m, r, c, np.ones((9, 9))),
    ],
)
def test_measures_at_fixations_need_fixations_on_the_map(call: Callable[..., np.ndarray]) -> None:
    model = centre_gaussian(Grid(9, 9))
    with pytest.raises(ValueError, match="none is given"):
        call(model, np.array([], int), np.array([], int))
    for outside in (-1, 9):
        with pytest.raises(ValueError, match="outside the map"):
            call(model, np.array([outside]), np.array([0]))
    with pytest.raises(ValueError, match="negative"):
        call(-model, np.array([0]), np.array([0]))


def test_measures_at_fixations_over_leading_axes_are_those_of_each_map() -> None:
    """(2, 3) maps at once, and the maps of scores that serve everybody's fixations."""
    rng = np.random.default_rng(8)
    models, baseline = rng.random((2, 3, 9, 13)), rng.random((9, 13))
    rows, cols = rng.integers(0, 9, 20), rng.integers(0, 13, 20)
    others = rng.integers(0, 9, 50), rng.integers(0, 13, 50)
    every = {
        "nss": ((), nss_map(models)),
        "auc": ((), auc_map(models)),
        "auc_judd": ((), None),
        "sauc": (others, shuffled_auc_map(models, *others)),
        "ig": ((baseline,), information_map(models, baseline)),
    }
    assert set(every) == {m.name for m in MEASURES.values() if m.against == "fixations"}
    for name, (beside, scores) in every.items():
        function = MEASURES[name].function
        each = [[float(function(m, rows, cols, *beside)) for m in line] for line in models]
        np.testing.assert_allclose(function(models, rows, cols, *beside), each, atol=1e-12)
        if scores is not None:
            np.testing.assert_allclose(mean_at(scores, rows, cols), each, atol=1e-12)


@settings(max_examples=15)
@given(pairs())
def test_emd_is_scipys_wasserstein_distance_on_its_grid(pair: Pair) -> None:
    """On maps that are no larger than the grid; the oracle solves the whole transport problem, shared mass included."""
    human, model = (m[:9, :7] + 1e-3 for m in pair)
    y, x = np.indices(human.shape)
    places = np.stack([y.ravel(), x.ravel()], axis=1).astype(float)
    expected = wasserstein_distance_nd(places, places, human.ravel(), model.ravel()) / np.hypot(*human.shape)
    assert abs(earth_movers_distance(human, model) - expected) < 1e-7


def test_emd_is_the_way_that_a_shifted_map_was_shifted() -> None:
    """A blob moved by (3, 4) cells of 16 has moved by 5, whatever the number of pixels."""
    for scale in (1, 7):
        grid = Grid(16 * scale, 16 * scale)
        blobs = [
            fixation_map(np.array([x * scale]), np.array([y * scale]), np.ones(1), grid, 0.8 * scale)
            for x, y in ((5.0, 6.0), (9.0, 9.0))
        ]
        assert math.isclose(earth_movers_distance(*blobs), 5 / np.hypot(16, 16), rel_tol=1e-3)


def test_emd_on_the_grid_differs_from_that_of_single_pixels_by_less_than_a_cell() -> None:
    rng = np.random.default_rng(9)
    for _ in range(5):
        human, model = np.zeros((2, 48, 64))
        human[rng.integers(48), rng.integers(64)] = model[rng.integers(48), rng.integers(64)] = 1
        exact = np.hypot(*(np.argwhere(human)[0] - np.argwhere(model)[0])) / np.hypot(48, 64)
        assert abs(earth_movers_distance(human, model) - exact) <= 1 / 16


def test_emd_of_equal_maps_is_none_and_of_opposite_corners_the_diagonal_between_cells() -> None:
    human, model = np.zeros((2, 64, 64))
    human[:4, :4], model[-4:, -4:] = 1, 1
    assert earth_movers_distance(human, human) == 0
    assert math.isclose(earth_movers_distance(human, model), 15 / 16, rel_tol=1e-9)
    with pytest.raises(ValueError, match="one size"):
        earth_movers_distance(human, model[:, -50:])


@pytest.mark.parametrize("name", ["kl", "cc", "sim", "ssim", "emd"])
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


@pytest.mark.parametrize(
    "function", [kl_divergence, correlation, similarity, structural_similarity, earth_movers_distance]
)
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


def test_lift_counts_partly_covered_pixels_in_part() -> None:
    assert math.isclose(lift(np.array([[1.0, 1.0]]), np.array([[0.5, 0.0]])).inside, 0.25)


def test_lift_refuses_masks_that_are_none() -> None:
    with pytest.raises(ValueError, match="shape"):
        lift(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        lift(np.ones((4, 4)), np.full((4, 4), 255.0))


@pytest.mark.parametrize("measure", ["nss", "auc", "sauc", "ig"])
def test_what_each_fixation_contributes_has_the_measure_as_its_mean(measure: str) -> None:
    rng = np.random.default_rng(3)
    maps = rng.gamma(1, 1, (3, 20, 30)).round(1) + 0.1  # rounded, so that there are ties
    rows, cols = rng.integers(0, 20, 50), rng.integers(0, 30, 50)
    negatives, baseline = (rng.integers(0, 20, 200), rng.integers(0, 30, 200)), rng.gamma(2, 1, (20, 30))
    beside = {"sauc": negatives, "ig": (baseline,)}.get(measure, ())
    found = values_at(measure, maps, rows, cols, negatives=negatives, baseline=baseline)
    assert found.shape == (3, 50)
    np.testing.assert_allclose(found.mean(axis=1), MEASURES[measure].function(maps, rows, cols, *beside), rtol=1e-12)


@pytest.mark.parametrize("measure", ["auc_judd", "kl", "sauc", "ig"])
def test_what_is_no_mean_over_fixations_or_lacks_its_baseline_is_refused(measure: str) -> None:
    with pytest.raises(ValueError, match=f"{measure} is no mean over fixations"):
        values_at(measure, np.ones((1, 4, 4)), np.array([1]), np.array([1]))
