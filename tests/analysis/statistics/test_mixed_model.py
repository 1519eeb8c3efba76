"""The mixed model against mean squares on complete data, the whole model in one fit, and studies of known truth."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
from threadpoolctl import threadpool_limits

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.layer import mixed_reading, read_layer
from beholder.analysis.findings.readings import MixedReading
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray
from beholder.analysis.statistics import mixed_model
from beholder.analysis.statistics.crossed import crossed_interval
from beholder.analysis.statistics.mixed_model import between_heads, components, fit_tables, wald_test
from beholder.analysis.statistics.quasi_f import quasi_f

# Where the search stops: standard errors and F agree with the closed form to this share.
FIT = 1e-3


def scores_of(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    *,
    main: float = 0.5,
    cell: float = 0.5,
    by_participant: float = 0.5,
    by_picture: float = 0.7,
) -> np.ndarray:
    """Scores (participants, pictures, heads) of heads that do not differ, residual SD 1."""
    people, pictures, heads = shape
    return (
        rng.normal(0, main, (people, 1, 1))
        + rng.normal(0, main, (1, pictures, 1))
        + rng.normal(0, cell, (people, pictures, 1))
        + rng.normal(0, by_participant, (people, 1, heads))
        + rng.normal(0, by_picture, (1, pictures, heads))
        + rng.normal(0, 1, shape)
    )


def mean_squares(y: np.ndarray) -> tuple[float, float, float, float]:
    """MS_H, MS_HP, MS_HS and MS_HPS of (participants, pictures, heads), written out."""
    n_p, n_s, n_h = y.shape
    grand = y.mean()
    p, s, h = (y.mean(axis=a, keepdims=True) for a in ((1, 2), (0, 2), (0, 1)))
    ps, ph, sh = (y.mean(axis=a, keepdims=True) for a in (2, 1, 0))
    three = y - ps - ph - sh + p + s + h - grand
    return (
        n_p * n_s * ((h - grand) ** 2).sum() / (n_h - 1),
        n_s * ((ph - p - h + grand) ** 2).sum() / ((n_h - 1) * (n_p - 1)),
        n_p * ((sh - s - h + grand) ** 2).sum() / ((n_h - 1) * (n_s - 1)),
        (three**2).sum() / ((n_h - 1) * (n_p - 1) * (n_s - 1)),
    )


def with_gaps(y: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """The same with so large a share of the cells missing, for all heads at once."""
    gaps = rng.random(y.shape[:2]) < share
    return np.where(gaps[:, :, None], np.nan, y)


# Complete data: the closed form.


@pytest.mark.parametrize("seed", range(5))
def test_on_complete_data_a_mean_is_the_closed_forms(seed: int) -> None:
    y = scores_of(np.random.default_rng((1, seed)), (12, 9, 1), main=1)
    closed, fit = crossed_interval(y[:, :, 0]), fit_tables(y)
    assert closed.standard_error is not None and closed.df is not None
    assert min(fit.participant_variance, fit.picture_variance) > 0
    assert fit.means[0] == pytest.approx(closed.mean)
    assert fit.standard_error == pytest.approx(closed.standard_error, rel=FIT)
    assert fit.df == pytest.approx(closed.df, rel=5 * FIT)
    assert fit.trouble == ""


@pytest.mark.parametrize("seed", range(5))
def test_on_complete_data_f_is_the_quotient_of_mean_squares(seed: int) -> None:
    y = scores_of(np.random.default_rng((2, seed)), (12, 9, 5)) + np.array([0, 0, 0.2, 0.4, 0.6])
    ms_h, ms_hp, ms_hs, ms_hps = mean_squares(y)
    assert min(ms_hp, ms_hs) > ms_hps  # components positive
    found = wald_test(y)
    error = ms_hp + ms_hs - ms_hps
    assert (found.f, found.df1) == pytest.approx((ms_h / error, 4), rel=FIT)
    df2 = error**2 / (ms_hp**2 / 44 + ms_hs**2 / 32 + ms_hps**2 / 352)
    assert found.df2 == pytest.approx(df2, rel=5 * FIT)
    # The closed form's F'' has MS_HPS above and below the line, to keep the denominator from vanishing.
    closed = quasi_f(y)
    assert closed is not None
    assert closed.f == pytest.approx((found.f * error + ms_hps) / (error + ms_hps), rel=FIT)
    assert found.fit.residual_variance == pytest.approx(ms_hps, rel=FIT)
    assert found.fit.participant_variance == pytest.approx((ms_hp - ms_hps) / 9, rel=20 * FIT)
    assert found.fit.picture_variance == pytest.approx((ms_hs - ms_hps) / 12, rel=20 * FIT)


def test_on_complete_data_every_reading_of_a_layer_is_the_closed_forms() -> None:
    rng = np.random.default_rng(3)
    scores = scores_of(rng, (14, 10, 4), main=1) + np.array([0, 0.5, 1.0, 2.0])
    chance = scores_of(rng, (14, 10, 4), main=1)
    heads = [f"head-{h:02d}" for h in range(1, 5)]
    maps = (*heads, *(f"shuffled-{h}" for h in heads))
    cells = ScoreArray(
        np.concatenate([scores, chance], axis=2)[..., None],
        tuple(str(p) for p in range(14)),
        tuple(str(s) for s in range(10)),
        maps,
        (1.0,),
    )
    closed, _ = read_layer(FixedSigma(cells), "m", 12, "cc", 1.0, "deg", primary=True)
    found = mixed_reading(scores, scores - chance, heads, 1)
    assert (found.cells, found.cells_missing, found.rows) == (140, 0, 560)
    assert found.ranked == closed.ranked
    assert found.ties == closed.ties
    assert closed.head_effect is not None
    assert found.head_effect.epsilon == pytest.approx(closed.head_effect.epsilon, rel=0.02)
    for mine, its in zip(found.heads, closed.heads, strict=True):
        assert mine.gain is not None and its.gain is not None
        for one, other in ((mine.value, its.value), (mine.gain, its.gain)):
            assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), abs=2e-3)
    pairs = {frozenset((c.first, c.second)): c for c in closed.contrasts}
    for c in found.contrasts:
        other = pairs[frozenset((c.first, c.second))]
        assert abs(c.difference) == pytest.approx(abs(other.difference))
        assert c.high - c.low == pytest.approx(other.high - other.low, rel=0.01)


def test_a_component_that_is_not_there_is_0_and_its_mean_square_is_pooled() -> None:
    """Pictures alike: MS_S below MS_PS. REML then has what is left of both in one, and the error is MS_P."""
    rng = np.random.default_rng(4)
    y = rng.normal(0, 1, (10, 1)) + rng.normal(0, 1, (10, 8))
    y -= 0.8 * (y.mean(axis=0) - y.mean())
    fit = fit_tables(y[:, :, None])
    ms_p = 8 * y.mean(axis=1).var(ddof=1)
    assert fit.picture_variance == 0
    assert fit.standard_error == pytest.approx(np.sqrt(ms_p / 80), rel=FIT)
    assert fit.df == pytest.approx(9, rel=5 * FIT)
    assert fit.trouble == ""


@pytest.mark.parametrize("seed", range(4))
def test_heads_that_vary_by_nothing_are_fitted_without_trouble(seed: int) -> None:
    """Both components of the contrasts are 0 or nearly so, where searches get lost."""
    rng = np.random.default_rng((5, seed))
    found = wald_test(with_gaps(scores_of(rng, (12, 9, 6), by_participant=0, by_picture=0), rng, 0.1))
    assert found.fit.trouble == ""
    assert found.fit.residual_variance == pytest.approx(1, abs=0.3)
    assert found.fit.picture_variance < 0.1


# Missing cells: the whole model in one fit.


def whole_model(y: np.ndarray) -> tuple[np.ndarray, dict[str, float], float]:
    """Statsmodels' fit of all five components to all rows as one group: head means, variances, Wald's F of heads."""
    p, s, h = np.nonzero(np.isfinite(y))
    heads = y.shape[2]

    def indicators(*codes: np.ndarray) -> np.ndarray:
        levels = np.unique(np.column_stack(codes), axis=0, return_inverse=True)[1].ravel()
        return np.eye(levels.max() + 1)[levels]

    parts = {
        "participant": indicators(p),
        "picture": indicators(s),
        "participant_by_picture": indicators(p, s),
        "head_by_participant": indicators(p, h),
        "head_by_picture": indicators(s, h),
    }
    spec = VCSpec(
        list(parts), [[[str(i) for i in range(m.shape[1])]] for m in parts.values()], [[m] for m in parts.values()]
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        fit = MixedLM(y[p, s, h], np.eye(heads)[h], np.zeros(len(p)), exog_vc=spec).fit(reml=True)
    contrasts = between_heads(heads).T
    means, covariance = contrasts @ fit.fe_params, contrasts @ fit.cov_params()[:heads, :heads] @ contrasts.T
    f = float(means @ np.linalg.solve(covariance, means)) / (heads - 1)
    assert fit.converged
    return fit.fe_params, dict(zip(parts, fit.vcomp, strict=True)) | {"residual": fit.scale}, f


def test_the_parts_are_the_whole_model_in_one_fit() -> None:
    rng = np.random.default_rng(6)
    y = with_gaps(scores_of(rng, (9, 8, 3), main=1.5, cell=1, by_participant=1, by_picture=1), rng, 0.2)
    assert np.isnan(y).any()
    means, variances, f = whole_model(y)
    found = wald_test(y)
    sds = components(y, found.fit)
    assert found.f == pytest.approx(f, rel=5 * FIT)
    assert {name: getattr(sds, name) ** 2 for name in variances} == pytest.approx(variances, rel=0.02)
    # A head's own fit has its own variances; the mean of all heads does not.
    assert fit_tables(y.mean(axis=2, keepdims=True)).means[0] == pytest.approx(means.mean(), abs=2e-3)


def test_who_saw_the_hard_pictures_alone_does_not_pull_the_mean_down() -> None:
    """Half of the participants miss the easy pictures; a plain mean then leans to the hard ones."""
    rng = np.random.default_rng(7)
    easy = np.where(np.arange(10) < 5, 1.0, -1.0)
    y = 3 * easy + rng.normal(0, 0.1, (12, 1)) + rng.normal(0, 0.1, (12, 10))
    y[:6, :5] = np.nan
    assert np.nanmean(y) < -0.9
    assert fit_tables(y[:, :, None]).means[0] == pytest.approx(0, abs=0.1)


def test_a_participant_with_half_the_pictures_is_kept_and_said() -> None:
    rng = np.random.default_rng(8)
    y = scores_of(rng, (10, 8, 3)) + np.array([0.0, 0.0, 3.0])
    y[4, 4:] = np.nan
    y[0, 0, 1] = np.nan  # a cell counts where every head has a score
    found = mixed_reading(y, None, ["head-01", "head-02", "head-03"], 1)
    assert isinstance(found, MixedReading)
    assert (found.participants, found.pictures) == (10, 8)
    assert (found.cells, found.cells_missing, found.rows) == (75, 5, 225)
    assert found.ranked[0] == "head-03" and found.ties == ()
    assert found.head_effect.p < 0.001
    assert all(h.gain is None and h.gain_p_holm is None for h in found.heads)


def test_lower_is_closer_where_the_sign_says_so() -> None:
    rng = np.random.default_rng(9)
    y = with_gaps(scores_of(rng, (10, 8, 3)) + np.array([0.0, 1.0, 3.0]), rng, 0.1)
    found = mixed_reading(y, None, ["head-01", "head-02", "head-03"], sign_of("kl"))
    assert found.ranked == ("head-01", "head-02", "head-03")
    assert all(c.first == "head-01" and c.difference > 0 for c in found.contrasts)


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [0.0, 0.25])
def test_heads_that_do_not_differ_are_told_apart_in_five_percent_of_unbalanced_studies(gaps: float) -> None:
    """150 studies of 12 x 10 x 6, one participant with half of the pictures. Limits: 99.9 % of Binomial(150, 0.05)."""
    rejected, n = 0, 150
    for k in range(n):
        rng = np.random.default_rng(np.random.SeedSequence((10, k)))
        y = with_gaps(scores_of(rng, (12, 10, 6), by_participant=0.3, by_picture=0.5), rng, gaps)
        y[0, ::2] = np.nan
        rejected += mixed_reading(y, None, [f"head-{h:02d}" for h in range(1, 7)], 1).head_effect.p < 0.05
    print(f"{rejected} of {n} rejected")
    assert 1 <= rejected <= 18


# What cannot be fitted, and what is said of a fit.


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (2, 1)])
def test_too_few_cells_are_an_error_that_says_what_is_needed(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="two participants, two pictures"):
        fit_tables(np.random.default_rng(1).normal(0, 1, (*shape, 1)))


def test_nothing_at_all_is_an_error_too() -> None:
    with pytest.raises(ValueError, match="two participants"):
        fit_tables(np.full((4, 3, 1), np.nan))


def test_scores_that_are_all_the_same_have_no_error() -> None:
    fit = fit_tables(np.full((4, 3, 1), 2.5))
    assert (fit.means[0], fit.standard_error, fit.df) == (2.5, 0, 2)


def test_heads_that_are_one_and_the_same_cannot_be_tested() -> None:
    one = np.random.default_rng(11).normal(0, 1, (6, 5, 1))
    with pytest.raises(ValueError, match="by the same in every cell"):
        wald_test(np.repeat(one, 3, axis=2))


def test_scores_of_any_unit_and_place_are_fitted_alike() -> None:
    rng = np.random.default_rng(12)
    y = with_gaps(scores_of(rng, (10, 8, 4)), rng, 0.2)
    one, other = wald_test(y), wald_test(1e-4 * y + 7)
    assert (other.f, other.df2) == pytest.approx((one.f, one.df2), rel=FIT)
    assert other.fit.residual_variance == pytest.approx(1e-8 * one.fit.residual_variance, rel=FIT)


def test_a_fit_that_stops_short_of_the_maximum_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MixedLM.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **kw: real(self, **(kw | {"method": "bfgs", "maxiter": 0})))
    rng = np.random.default_rng(13)
    y = with_gaps(scores_of(rng, (10, 8, 4), main=2), rng, 0.4)
    monkeypatch.setattr(mixed_model, "_moments", lambda *_: np.array([3.0, 3.0, 0.2]))
    assert "short of its maximum" in fit_tables(y[:, :, :1]).trouble
    assert "short of its maximum" in mixed_reading(y, None, [f"head-{h:02d}" for h in range(1, 5)], 1).trouble


def test_the_same_scores_give_the_same_digits() -> None:
    rng = np.random.default_rng(14)
    y = with_gaps(scores_of(rng, (10, 8, 4)), rng, 0.2)
    names = [f"head-{h:02d}" for h in range(1, 5)]
    one, other = mixed_reading(y, None, names, 1), mixed_reading(y.copy(), None, names, 1)
    assert replace(one) == other
