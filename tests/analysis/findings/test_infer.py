"""What inference says, against scipy, statsmodels, tables worked by hand and studies whose truth is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.layer import read_layer
from beholder.analysis.findings.readings import Findings, read_findings
from beholder.analysis.findings.replication import curve, replicate
from beholder.analysis.findings.score_arrays import FixedSigma, ScoreArray, at_fixed_sigma, to_cells
from beholder.analysis.results.files import write_json
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results
from beholder.analysis.results.tables import POOLED, REFERENCES
from beholder.analysis.statistics.crossed import (
    Share,
    complete,
    crossed_interval,
    groups_interval,
    mean_interval,
    two_way_bootstrap,
)
from beholder.analysis.statistics.multiplicity import holm
from beholder.analysis.statistics.oneway import anova, tukey
from beholder.analysis.statistics.quasi_f import quasi_f
from beholder.shared.errors import DataError

finite = st.floats(-100, 100, allow_nan=False, width=32)


def crossed(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    head_by_person: float,
    head_by_picture: float,
    uneven: float = 1,
) -> np.ndarray:
    """Scores (participants, pictures, heads) of heads that do not differ; two heads vary `uneven` times as much."""
    people, pictures, heads = shape
    spread = np.where(np.arange(heads) < 2, uneven, 1.0)
    return (
        rng.normal(0, 0.5, (people, 1, 1))
        + rng.normal(0, 0.5, (1, pictures, 1))
        + rng.normal(0, head_by_person, (people, 1, heads)) * spread
        + rng.normal(0, head_by_picture, (1, pictures, heads)) * spread
        + rng.normal(0, 1, shape)
    )


# Intervals.


def test_the_interval_of_a_tiny_table_is_the_one_worked_by_hand() -> None:
    # Means 4, rows 2 and 6, columns 3, 4, 5; residuals -1 0 1 / 1 0 -1.
    # MS_P = 3 (4 + 4) / 1 = 24; MS_S = 2 (1 + 0 + 1) / 2 = 2; MS_PS = 4 / 2 = 2.
    # Error 24 + 2 - 2 = 24 = MS_P; its df 24^2 / (24^2 / 1 + 2^2 / 2 + 2^2 / 2) = 576 / 580 < min(P, S) - 1 = 1.
    found = crossed_interval(np.array([[0.0, 2.0, 4.0], [6.0, 6.0, 6.0]]))
    half = stats.t.ppf(0.975, 1) * np.sqrt(24 / 6)
    assert found.mean == 4
    assert found.standard_error == pytest.approx(2)
    assert found.df == 1
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(2, 1))


def test_degrees_of_freedom_are_satterthwaites_where_both_factors_vary() -> None:
    rng = np.random.default_rng(16)
    y = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, (1, 6)) + rng.normal(0, 1, (8, 6))
    table = pd.DataFrame([(p, s, y[p, s]) for p in range(8) for s in range(6)], columns=["p", "s", "y"])
    # Mean squares by ordinary least squares of the two-way layout.
    rows, columns = table.groupby("p")["y"].mean(), table.groupby("s")["y"].mean()
    ms_p, ms_s = 6 * rows.var(), 8 * columns.var()
    rest = ((table["y"] - table["p"].map(rows) - table["s"].map(columns) + y.mean()) ** 2).sum() / 35
    error = ms_p + ms_s - rest
    assert error > max(ms_p, ms_s)
    found = crossed_interval(y)
    assert found.standard_error == pytest.approx(np.sqrt(error / 48))
    assert found.df == pytest.approx(error**2 / (ms_p**2 / 7 + ms_s**2 / 5 + rest**2 / 35))
    assert found.df > 5


@given(arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(2, 5)), elements=finite), finite)
def test_an_interval_moves_with_its_scores_and_does_not_know_which_factor_is_which(y: np.ndarray, shift: float) -> None:
    one, moved, turned = crossed_interval(y), crossed_interval(y + shift), crossed_interval(y.T)
    assert one.low is not None and one.high is not None and moved.low is not None and turned.low is not None
    assert one.low <= one.mean <= one.high
    assert moved.low == pytest.approx(one.low + shift, abs=1e-6, rel=1e-6)
    assert turned.low == pytest.approx(one.low, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_participant_or_one_picture_gives_a_mean_without_an_interval(shape: tuple[int, int]) -> None:
    found = crossed_interval(np.ones(shape))
    assert found.mean == 1
    assert found.low is found.high is found.p is None


def test_a_missing_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="complete subset"):
        crossed_interval(np.array([[1.0, np.nan], [2.0, 3.0]]))


def test_the_interval_over_pictures_is_students() -> None:
    y = np.array([1.0, 2.0, 4.0, 7.0])
    low, high = stats.t.interval(0.95, 3, y.mean(), stats.sem(y))
    found = mean_interval(y)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert mean_interval(y[:1]).low is None


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "by_person", "by_picture"), [((30, 20, 1), 0.3, 1.0), ((6, 4, 1), 0.3, 1.0)])
def test_intervals_cover_the_truth_as_often_as_they_claim(
    shape: tuple[int, int, int], by_person: float, by_picture: float
) -> None:
    """With 2,000 studies, .93 and .985 lie four standard errors below .95 and above what min(P, S) - 1 allows for."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(2000):
        found = crossed_interval(crossed(rng, shape, by_person, by_picture)[:, :, 0])
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 2000 <= 0.985


# The bootstrap.


@pytest.mark.parametrize("turned", [False, True])
def test_the_bootstrap_is_the_distribution_over_every_way_to_draw_anew(turned: bool) -> None:
    """Three participants and three pictures can be drawn in 27 x 27 ways, each as likely; one factor varies more."""
    rng = np.random.default_rng(14)
    y = rng.normal(0, 3, (3, 1)) + rng.normal(0, 1, (3, 3))
    y = y.T if turned else y
    draws = list(product(range(3), repeat=3))
    means = np.array([y[np.ix_(p, s)].mean() for p in draws for s in draws])
    (found,) = two_way_bootstrap(y[:, :, None], np.random.default_rng(1), draws=20000, confidence=0.8)
    assert found is not None
    # The distribution has steps: the limits' own places in it are what is compared, within 5 Monte-Carlo errors.
    for limit, place in zip(found, (0.1, 0.9), strict=True):
        assert np.mean(means < limit - 1e-9) <= place + 0.011
        assert np.mean(means <= limit + 1e-9) >= place - 0.011


def test_all_maps_go_through_the_same_draws_and_the_seed_decides_them() -> None:
    y = np.random.default_rng(15).normal(0, 1, (8, 6, 1))
    one, other = two_way_bootstrap(np.concatenate([y, 2 * y + 1], axis=2), np.random.default_rng(1))
    assert one is not None and other is not None
    assert other == pytest.approx([2 * limit + 1 for limit in one])
    assert two_way_bootstrap(y, np.random.default_rng(1)) == [one]
    assert two_way_bootstrap(y, np.random.default_rng(2)) != [one]


@pytest.mark.parametrize("shape", [(1, 5, 2), (5, 1, 2)])
def test_one_participant_or_one_picture_cannot_be_drawn_anew(shape: tuple[int, int, int]) -> None:
    assert two_way_bootstrap(np.ones(shape), np.random.default_rng(1)) == [None, None]


# Corrections.


@settings(max_examples=15)  # statsmodels collects garbage at each
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holms_correction_is_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


# The head effect.


def test_without_variation_over_pictures_quasi_f_is_the_repeated_measures_anova() -> None:
    """Where pictures are exact copies, MS_HS and MS_HPS vanish, and F'' becomes MS_H / MS_HP, AnovaRM's."""
    rng = np.random.default_rng(3)
    one = rng.normal(0, 1, (8, 1, 4)) + np.array([0, 0.3, 0.6, 1.0])
    y = np.repeat(one, 5, axis=1)
    table = pd.DataFrame([(p, h, one[p, 0, h]) for p in range(8) for h in range(4)], columns=["p", "h", "y"])
    oracle = AnovaRM(table, "y", "p", within=["h"]).fit().anova_table
    found = quasi_f(y)
    assert found is not None
    assert found.f == pytest.approx(float(oracle["F Value"].iloc[0]))
    assert found.df1 / found.epsilon == pytest.approx(3)
    assert found.df2 / found.epsilon == pytest.approx(21)


def test_what_participants_and_pictures_have_in_common_for_all_heads_does_not_touch_the_head_effect() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(0, 1, (6, 5, 3))
    shifted = y + rng.normal(0, 9, (6, 1, 1)) + rng.normal(0, 9, (1, 5, 1)) + rng.normal(0, 9, (6, 5, 1))
    one, other = quasi_f(y), quasi_f(shifted)
    assert one is not None and other is not None
    assert other.f == pytest.approx(one.f)


def test_two_heads_have_no_sphericity_to_break() -> None:
    found = quasi_f(np.random.default_rng(5).normal(0, 1, (6, 5, 2)))
    assert found is not None
    assert found.epsilon == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by_person", "by_picture", "uneven"), [(0.3, 0.0, 1), (0.3, 0.3, 1), (0.3, 1.0, 1), (0.3, 1.0, 3)]
)
def test_heads_that_do_not_differ_are_declared_different_in_five_percent_of_studies(
    by_person: float, by_picture: float, uneven: float
) -> None:
    """Quasi-F with epsilon, 600 studies of 30 x 20 x 12; the margin is four standard errors."""
    rng = np.random.default_rng(12)
    n = 600
    rejected = 0
    for _ in range(n):
        found = quasi_f(crossed(rng, (30, 20, 12), by_person, by_picture, uneven))
        rejected += found is not None and found.p < 0.05
    assert rejected / n <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.slow
def test_the_published_anova_declares_heads_different_far_too_often() -> None:
    """Why it carries a warning: 30 x 20 x 12 with head x picture SD 1, no head effect; statistics of the warning."""
    rng = np.random.default_rng(13)
    rejected = 0
    for _ in range(50):
        y = crossed(rng, (30, 20, 12), 0.3, 1.0)
        rejected += anova([y[:, :, h].ravel() for h in range(12)]).p < 0.05
    assert rejected == 50


# The replication.


def test_the_anova_is_scipys_and_eta_squared_its_share_of_squares() -> None:
    rng = np.random.default_rng(6)
    groups = [rng.normal(m, 1, 30) for m in (0, 0.2, 1)]
    oracle = stats.f_oneway(*groups)
    found = anova(groups)
    assert (found.f, found.p) == pytest.approx((oracle.statistic, oracle.pvalue))
    assert (found.df1, found.df2) == (2, 87)
    # F follows from eta squared and the degrees of freedom.
    assert found.eta_squared / 2 / ((1 - found.eta_squared) / 87) == pytest.approx(found.f)


def test_tukeys_hsd_is_scipys() -> None:
    rng = np.random.default_rng(7)
    groups = [rng.normal(m, 1, 20) for m in (0, 0.5, 2)]
    oracle = stats.tukey_hsd(*groups)
    bounds = oracle.confidence_interval(0.95)
    found = {(t.first, t.second): t for t in tukey(groups, ["head-01", "head-02", "head-03"])}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        t = found[f"head-0{i + 1}", f"head-0{j + 1}"]
        assert t.difference == pytest.approx(groups[j].mean() - groups[i].mean())
        assert t.p == pytest.approx(oracle.pvalue[i, j], abs=1e-4)
        assert (t.low, t.high) == pytest.approx((-bounds.high[i, j], -bounds.low[i, j]), abs=1e-3)


def two_heads(curves: dict[str, list[float]], sigmas: tuple[float, ...]) -> ScoreArray:
    rng = np.random.default_rng(8)
    scores = np.stack([np.broadcast_to(c, (3, 4, len(sigmas))) for c in curves.values()], axis=2)
    return ScoreArray(
        scores + rng.normal(0, 1e-6, (3, 4, 1, 1)), ("1", "2", "3"), ("a", "b", "c", "d"), tuple(curves), sigmas
    )


def test_the_best_sigma_is_each_heads_optimum_in_its_measures_direction() -> None:
    cells = two_heads(
        {"head-01": [3, 1, 2, 4], "head-02": [3, 2, 1, 4], "shuffled-head-01": [4, 3, 2, 1]}, (1, 2, 3, 4)
    )
    low = replicate(cells, "m", 12, "kl", "deg", pairs=True)
    assert [c.best_sigma for c in low.curves] == [2, 3]
    assert (low.best_sigma_mean, low.best_sigma_sd) == (2.5, pytest.approx(np.sqrt(0.5)))
    assert low.best_sigma_se == pytest.approx(0.5)
    assert low.shuffled_curve is not None
    assert (low.shuffled_curve.best_sigma, low.shuffled_curve.at_edge) == (4, True)
    high = replicate(cells, "m", 12, "cc", "deg", pairs=True)
    assert [c.best_sigma for c in high.curves] == [4, 4]
    assert all(c.at_edge for c in high.curves)


def test_of_one_sigma_none_is_best_and_heads_are_compared_at_it() -> None:
    cells = two_heads({"head-01": [3], "head-02": [2], "shuffled-head-01": [4]}, (0.5,))
    found = replicate(cells, "m", 12, "kl", "deg", pairs=True)
    assert not found.swept and found.sigma == 0.5 and found.ranked == ("head-02", "head-01")
    assert (found.best_sigma_mean, found.best_sigma_sd, found.best_sigma_se) == (None, None, None)
    assert found.shuffled_curve is not None
    for c in (*found.curves, found.mean_curve, found.shuffled_curve):
        assert c.best_sigma is None and not c.at_edge
    assert found.anova is not None and found.anova.p < 0.001 and len(found.tukey) == 1


def test_a_measure_that_is_undefined_at_a_sigma_has_no_point_there() -> None:
    cells = two_heads({"head-01": [np.nan, 1, 2]}, (1, 2, 3))
    found = curve(cells, ("head-01",), "head 1", -1)
    assert found.mean[0] is None
    assert found.best_sigma == 2


# Whole studies.


def test_the_planted_head_is_named_and_the_planted_order_found(findings: Findings) -> None:
    found = findings
    main = found.main()
    assert (main.model, main.layer, main.measure) == ("first", 12, "kl")
    assert main.ranked[0] == "head-04"
    assert main.ranked[-1] == "head-01"
    assert main.best.gain is not None and main.best.gain.low is not None and main.best.gain.low > 0
    assert {r.map for r in main.references} == set(REFERENCES)


def test_numbers_are_the_plain_means_of_the_table(results: Results, findings: Findings) -> None:
    main = findings.main()
    of_layer = [("model", "==", "first"), ("layer", "==", 12), ("drift_corrected", "==", False)]
    t, chance = results.scores("fixed", of_layer), results.scores("chance", of_layer)
    t = t[(t["participant"] != POOLED) & (t["within"] == "picture") & (t["window_end_s"] == 10.0)]
    # Participant 06 has no comparison on one picture and is left out of the intervals.
    t = t[t["participant"] != "06"]
    means = t.groupby("map")["kl"].mean()
    chance = chance[(chance["participant"] != "06") & (chance["of"] == "others")]
    elsewhere = chance.groupby("map")["kl"].mean()
    assert main.best.value.participants == 5
    for head in main.heads:
        assert head.value.mean == pytest.approx(means[head.map])
        assert head.gain is not None
        assert head.gain.mean == pytest.approx(elsewhere[head.map] - means[head.map])
    for reference in main.references:
        assert reference.lead.mean == pytest.approx(means[reference.map] - means[main.best.map])


def test_who_is_left_out_of_the_intervals_is_named(findings: Findings) -> None:
    remarks = [str(r) for r in findings.remarks]
    assert any("1 of 6 participants" in r and "(06)" in r for r in remarks)


def test_a_gain_is_positive_towards_people_in_every_measure(findings: Findings) -> None:
    for reading in findings.sound:
        best = reading.best
        assert best.gain is not None and best.shuffled is not None
        assert np.sign(best.gain.mean) == np.sign(sign_of(reading.measure) * (best.value.mean - best.shuffled.mean))


def test_head_effects_are_corrected_over_all_that_were_looked_at(findings: Findings) -> None:
    """The primary measure's over the layers of its model, the others' over layers and measures together."""
    for model in ("first", "second"):
        for primary, tests in ((True, 2), (False, 8)):
            members = [s for s in findings.sound if s.model == model and s.primary == primary]
            raw = [s.head_effect.p for s in members if s.head_effect is not None]
            assert len(raw) == tests
            corrected = multipletests(raw, method="holm")[1]
            assert [s.head_effect_p_holm for s in members] == pytest.approx(corrected.tolist())


def test_the_head_effect_of_a_single_layer_by_the_primary_measure_is_one_test(make_study: Callable[..., Path]) -> None:
    found = read_findings(results_folder(make_study()))
    assert [s.head_effect_p_holm for s in found.sound if s.primary] == [None]


def test_the_bootstrap_stands_beside_the_intervals_of_the_primary_measure_in_the_layers_shown(
    results: Results, findings: Findings
) -> None:
    shown = findings.shown()
    for reading in findings.sound:
        for head in reading.heads:
            assert (head.bootstrap is not None) == (head.gain_bootstrap is not None) == (reading in shown)
            if head.bootstrap is not None:
                assert head.bootstrap[0] < head.value.mean < head.bootstrap[1]
    reseeded = results.study.model_copy(update={"study": results.study.study.model_copy(update={"seed": 99})})
    again = infer(replace(results, study=reseeded)).main()
    assert [h.value for h in again.heads] == [h.value for h in findings.main().heads]
    assert [h.bootstrap for h in again.heads] != [h.bootstrap for h in findings.main().heads]


def test_where_a_cell_is_missing_the_mixed_model_keeps_what_the_intervals_leave_out(findings: Findings) -> None:
    """Participant 06 lacks one picture of four; the intervals are over five participants, the mixed model over six."""
    main = findings.main()
    assert main.mixed is not None
    assert main.best.value.participants == 5
    assert (main.mixed.participants, main.mixed.pictures) == (6, 4)
    assert (main.mixed.cells, main.mixed.cells_missing, main.mixed.rows) == (23, 1, 92)
    assert main.mixed.ranked[0] == "head-04"
    assert main.mixed.heads[3].gain is not None
    assert main.mixed.trouble == ""
    assert {s for s in findings.sound if s.mixed is not None} == set(findings.shown())


def test_complete_data_need_no_mixed_model(with_changed: Callable[..., Results]) -> None:
    found = infer(with_changed("fixed", lambda rows: rows[rows["participant"] != "06"]))
    assert all(s.mixed is None for s in found.sound)
    assert not any("mixed model" in str(r) for r in found.remarks)


def test_too_few_cells_for_a_mixed_model_are_remarked(with_changed: Callable[..., Results]) -> None:
    def few(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[(rows["participant"] == "06") | (rows["participant"] == "01") & (rows["stimulus"] == "object-01")]

    found = infer(with_changed("fixed", few))
    assert all(s.mixed is None for s in found.sound)
    assert any("no mixed model" in str(r) for r in found.remarks)


def test_heads_that_do_not_differ_are_tied(make_study: Callable[..., Path]) -> None:
    main = read_findings(results_folder(make_study(effect=0.0, participants=12, pictures=8))).main()
    assert set(main.ties) == {h.map for h in main.heads} - {main.best.map}


def test_no_shuffled_pictures_leave_chance_unknown(make_study: Callable[..., Path]) -> None:
    main = read_findings(results_folder(make_study(shuffled=False))).main()
    assert main.best.gain is None and main.best.shuffled is None and main.gain_effect is None


def test_one_participant_has_no_interval_and_no_test(make_study: Callable[..., Path]) -> None:
    main = read_findings(results_folder(make_study(participants=1))).main()
    assert main.best.value.low is None
    assert main.head_effect is None and main.contrasts == ()


def test_pictures_without_masks_have_no_lift(make_study: Callable[..., Path]) -> None:
    found = read_findings(results_folder(make_study(masks=False)))
    assert found.lifts == ()
    assert {r.map for r in found.main().references} == set(REFERENCES) - {"object"}


def test_lifts_are_means_over_pictures(results: Results, findings: Findings) -> None:
    t = results.attention_table
    for found in findings.lifts:
        mine = t[(t["model"] == found.model) & (t["layer"] == found.layer) & (t["map"] == found.map)]
        assert found.lift_pp.mean == pytest.approx(mine["lift_pp"].mean())
        # The table on disk has six digits.
        assert found.lift_pp.mean == pytest.approx(100 * (found.inside.mean - found.area.mean), abs=1e-3)


def test_a_picture_seen_in_two_runs_counts_once(results: Results) -> None:
    where = [("model", "==", "first"), ("layer", "==", 12), ("participant", "!=", POOLED)]
    part = results.scores("sigmas", where)
    again = part[part["participant"] == "01"].assign(run=2, kl=lambda t: t["kl"] + 1)
    once, twice = (to_cells(rows, ["kl"])["kl"] for rows in (part, pd.concat([part, again])))
    assert twice.scores[0] == pytest.approx(once.scores[0] + 0.5, nan_ok=True)
    assert twice.scores[1:] == pytest.approx(once.scores[1:], nan_ok=True)


def test_of_several_windows_of_time_the_widest_counts(results: Results, with_changed: Callable[..., Results]) -> None:
    def with_early(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows[rows["window_end_s"] == 10.0].assign(window_end_s=2.0, kl=99.0), rows])

    changed = at_fixed_sigma(with_changed("fixed", with_early), "first", 12, ["kl"])["kl"]
    assert changed.cells.scores == pytest.approx(
        at_fixed_sigma(results, "first", 12, ["kl"])["kl"].cells.scores, nan_ok=True
    )


def test_a_secondary_measure_that_is_undefined_is_remarked_and_does_not_stop_the_rest(
    with_changed: Callable[..., Results],
) -> None:
    found = infer(with_changed("fixed", lambda rows: rows.assign(cc=rows["cc"].where(rows["map"] != "head-02"))))
    assert not [s for s in found.sound if s.measure == "cc"]
    assert any("cc" in str(r) for r in found.remarks)


def test_an_undefined_primary_measure_is_an_error_that_says_so(with_changed: Callable[..., Results]) -> None:
    with pytest.raises(DataError, match="kl"):
        infer(with_changed("fixed", lambda rows: rows.assign(kl=np.nan)))


def test_a_study_without_comparisons_is_an_error_with_a_remedy(with_changed: Callable[..., Results]) -> None:
    with pytest.raises(DataError, match="beholder analyze"):
        infer(with_changed("fixed", lambda rows: rows.iloc[:0]))


def test_inference_read_back_is_inference_written(results: Results, tmp_path: Path) -> None:
    found = infer(results)
    write_json(found, tmp_path / "inference.json")
    assert read_findings(tmp_path) == found


def test_an_absent_or_broken_inference_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="beholder analyze"):
        read_findings(tmp_path)
    (tmp_path / "inference.json").write_text('{"primary": 3}')
    with pytest.raises(DataError, match=r"inference\.json"):
        read_findings(tmp_path)


# Complete subsets.


@given(arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_a_complete_subset_has_no_missing_cell_and_is_all_where_none_is_missing(missing: np.ndarray) -> None:
    scores = np.where(missing, np.nan, 1.0)
    rows, columns = complete(scores)
    assert not np.isnan(scores[np.ix_(rows, columns)]).any()
    if not missing.any():
        assert (len(rows), len(columns)) == missing.shape
    if not missing.all():
        assert rows.size and columns.size


def test_a_participant_who_saw_little_is_dropped_rather_than_the_pictures() -> None:
    scores = np.ones((10, 6))
    scores[3, 1:] = np.nan
    rows, columns = complete(scores)
    assert 3 not in rows
    assert len(columns) == 6


def test_cells_that_a_head_lacks_are_left_out_for_all_heads() -> None:
    rng = np.random.default_rng(9)
    scores = rng.normal(0, 1, (4, 3, 2, 1))
    scores[0, 0, 1, 0] = np.nan
    cells = ScoreArray(scores, ("1", "2", "3", "4"), ("a", "b", "c"), ("head-01", "head-02"), (1.0,))
    reading, left_out = read_layer(FixedSigma(cells), "m", 12, "kl", 1.0, "deg", primary=True)
    assert {(h.value.participants, h.value.pictures) for h in reading.heads} == {(3, 3)}
    assert "1 of 4 participants" in left_out[0]


# The benchmark of what is claimed of all this.


@pytest.mark.slow
def test_what_is_claimed_of_the_statistics_holds_in_simulated_studies(tmp_path: Path) -> None:
    """300 studies a case instead of 2,000, with limits as much wider as their Monte-Carlo error is."""
    benchmark = Path(__file__).parents[2] / "benchmarks" / "bench_inference.py"
    command = [sys.executable, str(benchmark), "--studies", "300", "--null-studies", "60",
               "--json", str(tmp_path / "rates.json")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=benchmark.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr


# Groups of participants.


def two_groups(rng: np.random.Generator, sizes: tuple[int, int], pictures: int, by_group: float) -> list[np.ndarray]:
    """Scores of two groups that do not differ; `by_group` is the SD of group by picture."""
    of_pictures = rng.normal(0, 1, pictures)
    return [
        rng.normal(0, 0.5, (n, 1)) + of_pictures + rng.normal(0, by_group, pictures) + rng.normal(0, 1, (n, pictures))
        for n in sizes
    ]


def test_the_difference_of_groups_is_the_one_worked_by_hand() -> None:
    # Means 2 and 1; people 1, 3 (variance 2) and 1, 1 (0): (2 + 0) / 2 = 1. Differences by picture 0 and 2 (variance
    # 2): 2 / 2 = 1. Residuals are 0: 1 + 1 - 0 = 2. With so few of everything there is 1 degree of freedom.
    first, second = np.array([[0.0, 2.0], [2.0, 4.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    found = groups_interval(first, second)
    assert (found.mean, found.standard_error, found.df) == pytest.approx((1.0, np.sqrt(2), 1.0))
    assert groups_interval(second, first).high == pytest.approx(-found.low)  # type: ignore[operator]


@pytest.mark.parametrize(("first", "second"), [((1, 3), (2, 3)), ((2, 3), (2, 4)), ((2, 1), (2, 1))])
def test_groups_that_cannot_be_compared_are_refused(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="groups are compared"):
        groups_interval(np.ones(first), np.ones(second))


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "by_group"), [((15, 15), 0.0), ((15, 15), 0.5), ((6, 24), 0.3)])
def test_groups_that_do_not_differ_are_found_to_about_as_often_as_claimed(
    sizes: tuple[int, int], by_group: float
) -> None:
    """Of 2,000 studies 5 %, by four standard errors at most 7 %; conservatism down to 2 %."""
    rng = np.random.default_rng(20265)
    found = [groups_interval(*two_groups(rng, sizes, 20, by_group)).p for _ in range(2000)]
    assert 0.02 <= np.mean([p is not None and p < 0.05 for p in found]) <= 0.07


def test_groups_of_a_study_are_compared_over_equal_counts(with_changed: Callable[..., Results]) -> None:
    def with_equal(rows: pd.DataFrame) -> pd.DataFrame:
        heads = rows["map"].str.startswith("head-") | (rows["map"] == "mean")
        own = (rows["within"] == "picture") & (rows["participant"] != POOLED) & ~rows["drift_corrected"]
        whole = rows[own & heads & (rows["window_end_s"] == 10.0)]
        # The second group is farther from every head by half a nat.
        farther = whole["kl"] + 0.5 * whole["participant"].isin(["04", "05", "06"])
        return pd.concat([rows, whole.assign(counted="equal", kl=farther)])

    results = with_changed("fixed", with_equal)
    people = pd.DataFrame({"participant_id": [f"sub-{n:02d}" for n in range(1, 7)], "group": [*"aaabbb"]})
    people.to_csv(results.study_folder / "participants.tsv", sep="\t", index=False)
    alignment = results.study.alignment.model_copy(update={"groups": "group"})
    study = results.study.model_copy(update={"alignment": alignment})
    found = infer(replace(results, study=study)).groups
    # Chance with equal counts was not measured in this study: groups are compared by scores alone.
    assert found is not None and {c.of for c in found.contrasts} == {"score"}
    assert found is not None and found.sizes == {"a": 3, "b": 3}
    assert {c.map for c in found.contrasts} == {"head-01", "head-02", "head-03", "head-04", "mean"}
    assert {(c.first, c.second) for c in found.contrasts} == {("a", "b")}
    assert all(c.difference > 0.2 and c.means[0] < c.means[1] for c in found.contrasts)
    assert all((c.p_holm is None) == (c.map == "mean") for c in found.contrasts)
    # Without the column it is said, and nothing is compared.
    other = results.study.model_copy(update={"alignment": alignment.model_copy(update={"groups": "expertise"})})
    said = infer(replace(results, study=other))
    assert said.groups is None and any('no column "expertise"' in str(r) for r in said.remarks)


def test_models_windows_chance_and_halves_are_read(findings: Findings) -> None:
    contrast, _ = findings.model_contrasts
    assert (contrast.first, contrast.second, contrast.first_layer) == (
        "first",
        "second",
        12,
    ) and contrast.difference > 0
    assert [t.model for t in findings.above_chance] == ["first", "second"]
    first = findings.above_chance[0]
    assert (first.maps, first.pictures, first.exact, first.permutations) == (8, 4, True, 24)
    assert first.p == pytest.approx(1 / 24) == first.smallest_p
    windows = [(w.start_s, w.end_s) for w in findings.windows if w.model == "first"]
    assert windows == [(0.0, 1.0), (0.0, 3.0), (1.0, 2.0)]
    assert findings.half is not None and findings.half.mean == pytest.approx(2.0)
    best = findings.main().best
    assert best.share.ratio is not None and 0 < best.share.ratio.ratio < 1
    main = findings.main()
    assert main.other_viewers == (4, 5)  # one of six was left out on the first picture
    reference = {r.map: r for r in main.references}
    centre, others = (reference[name].value.mean for name in ("centre-fitted", "others"))
    for head in (*main.heads, *main.summaries):
        assert head.share_over_centre.ratio is not None
        assert head.share_over_centre.ratio.ratio == pytest.approx((head.value.mean - centre) / (others - centre))
    assert main.heads[0].share_over_centre.ratio.ratio < 0 < main.best.share_over_centre.ratio.ratio  # type: ignore[union-attr]
    assert best.shuffled is not None and main.share_of_centre.ratio is not None
    floor = best.shuffled.mean
    assert main.share_of_centre.ratio.ratio == pytest.approx((centre - floor) / (others - floor))
    [lead] = main.leads_over_summaries
    assert lead.mean == pytest.approx(main.summaries[0].value.mean - best.value.mean)  # KL: lower is closer
    ssim = next(s for s in findings.measures_of(main) if s.measure == "ssim")
    assert {h.share for h in ssim.heads} == {Share(None, "measure")} == {h.share_over_centre for h in ssim.heads}
    assert best.inside is not None and best.inside.mean == pytest.approx(best.value.mean - 0.3, abs=0.1)
    assert best.pooled is not None and best.pooled.participants == 0 and best.pooled.pictures == 4


def test_sigma_is_estimated_where_it_is_asked_for(results: Results) -> None:
    maps = results.study.maps.model_copy(update={"estimate_sigma": True, "longer_side_px": 32})
    found = infer(replace(results, study=results.study.model_copy(update={"maps": maps}))).sigmas
    assert [(r.model, r.map) for r in found[:2]] == [("", "people"), ("first", "head-01")]
    assert len(found) == 1 + 2 * 4 and {r.unit for r in found} == {"deg"}
    people = found[0].estimate
    assert people.viewers == 6 and people.pictures == 4 and 0.8 <= people.sigma <= 8.0
