"""The gain over chance is a U-statistic over pictures: its interval, against resampling that knows nothing of formulas.

Scores here are drawn as data have them, for each participant, gaze on a picture, attention on a picture and head, with
effects of the attention maps with anybody's gaze; never chance on its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.layer import read_layer
from beholder.analysis.findings.readings import Findings, read_findings
from beholder.analysis.findings.score_arrays import (
    EqualCounts,
    FixedSigma,
    ScoreArray,
    at_fixed_sigma,
    attention_effect,
    pseudo_values,
)
from beholder.analysis.results.files import write_table
from beholder.analysis.results.map_names import SAME_KIND, SHUFFLED
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results, read_results
from beholder.analysis.results.tables import CHANCE_COLUMNS, EVERYBODY, FIXED_COLUMNS, POOLED
from beholder.analysis.statistics.crossed import crossed_interval, two_way_bootstrap
from beholder.analysis.statistics.quasi_f import quasi_f

HEADS = ("head-01", "head-02", "head-03")


def scores_of(
    rng: np.random.Generator, shape: tuple[int, int], of_map: float, against: float = 0.0, gain: float = 0.0
) -> np.ndarray:
    """(participants, pictures of gaze, pictures of attention, heads); `against`: what of the map the match lacks."""
    p, s = shape
    maps = rng.normal(0, of_map, (s, len(HEADS)))
    scores = rng.normal(0, 1, (p, 1, 1, 1)) + rng.normal(0, 1, (1, s, 1, 1)) + maps
    scores = scores + rng.normal(0, 0.3, (p, 1, 1, len(HEADS))) + rng.normal(0, 0.3, (s, s, len(HEADS)))
    scores = scores + rng.normal(0, 0.8, (p, s, 1, len(HEADS))) + rng.normal(0, 0.6, (p, s, s, len(HEADS)))
    scores[:, np.arange(s), np.arange(s)] += gain - against * maps
    return scores


def gain_of(scores: np.ndarray) -> np.ndarray:
    """Match less the mean over other pictures, (participants, pictures, heads), as it is measured."""
    match = np.einsum("pssh->psh", scores)
    return match - (scores.sum(axis=2) - match) / (scores.shape[2] - 1)


def fixed(scores: np.ndarray) -> FixedSigma:
    """The scores as the analysis reads them."""
    n_p, n_s = scores.shape[:2]
    match = np.einsum("pssh->psh", scores)
    square = scores.mean(axis=0)
    names = tuple(SHUFFLED + h for h in HEADS)
    values = np.concatenate([match, match - gain_of(scores)], axis=2)[..., None]
    cells = ScoreArray(
        values, tuple(f"{i:02d}" for i in range(n_p)), tuple(f"{i:02d}" for i in range(n_s)), (*HEADS, *names), (1.0,)
    )
    return FixedSigma(cells, attention={name: attention_effect(square[..., h]) for h, name in enumerate(names)})


def influence(scores: np.ndarray) -> np.ndarray:
    """The gain as its mean depends on each participant and picture, (participants, pictures, heads)."""
    at, every = fixed(scores), np.ix_(*map(np.arange, scores.shape[:2]))
    return np.stack([at.cells.at(h, 1.0) - at.chance(SHUFFLED + h, 1.0, every) for h in HEADS], axis=2)


def test_the_mean_gain_is_the_same_and_so_is_what_participants_differ_by() -> None:
    scores = scores_of(np.random.default_rng(1), (6, 5), of_map=2.0)
    plain, adjusted = gain_of(scores), influence(scores)
    np.testing.assert_allclose(adjusted.mean(axis=(0, 1)), plain.mean(axis=(0, 1)))
    np.testing.assert_allclose(adjusted.mean(axis=1), plain.mean(axis=1))
    # Of some participants and pictures too: what is left out takes no part of the mean with it.
    at, kept = fixed(scores), np.ix_([0, 2, 3], [1, 2, 4])
    chance = at.chance(SHUFFLED + "head-01", 1.0, kept)
    assert chance.mean() == pytest.approx(at.cells.at(SHUFFLED + "head-01", 1.0)[kept].mean())


def test_a_picture_counts_in_the_variance_as_leaving_it_out_says() -> None:
    """The jackknife leaves out each picture, its gaze and its attention: what the mean moves by is its part."""
    s = 9
    scores = scores_of(np.random.default_rng(2), (4, s), of_map=1.5, against=0.4)
    whole = gain_of(scores).mean(axis=(0, 1))
    pseudo = []
    for left_out in range(s):
        kept = np.delete(np.arange(s), left_out)
        pseudo.append(s * whole - (s - 1) * gain_of(scores[:, kept][:, :, kept]).mean(axis=(0, 1)))
    np.testing.assert_allclose(pseudo, influence(scores).mean(axis=0), atol=1e-12)


def test_the_bootstrap_draws_a_pictures_gaze_and_attention_together() -> None:
    """Here every drawn picture brings its row and its column of scores, without pairs of a picture with itself."""
    rng = np.random.default_rng(3)
    scores = scores_of(rng, (8, 30), of_map=1.5)
    means = []
    for _ in range(1000):
        people, pictures = rng.integers(0, 8, 8), rng.integers(0, 30, 30)
        drawn = scores[people][:, pictures][:, :, pictures]
        apart = pictures[:, None] != pictures[None, :]
        match = np.einsum("pssh->h", drawn) / (8 * 30)
        means.append(match - drawn.mean(axis=0)[apart].mean(axis=0))
    spread = np.array(means).std(axis=0)
    found = two_way_bootstrap(influence(scores), rng, confidence=0.6827)
    naive = two_way_bootstrap(gain_of(scores), rng, confidence=0.6827)
    for head in range(len(HEADS)):
        ours, other = found[head], naive[head]
        assert ours is not None and other is not None
        assert (ours[1] - ours[0]) / 2 == pytest.approx(spread[head], rel=0.15)
        assert (other[1] - other[0]) / 2 > 1.3 * spread[head]


def test_everything_built_on_the_gain_takes_the_maps_own_effect_from_its_variance() -> None:
    scores = scores_of(np.random.default_rng(4), (12, 10), of_map=2.0, gain=0.3)
    at = fixed(scores)
    found, _ = read_layer(at, "m", 12, "cc", 1.0, "deg", primary=True)
    expected, plain = influence(scores), gain_of(scores)
    effect = quasi_f(expected)
    assert found.gain_effect is not None and effect is not None
    assert found.gain_effect.p == pytest.approx(effect.p)
    for i, head in enumerate(found.heads):
        wanted = crossed_interval(expected[:, :, i])
        assert head.gain == wanted
        assert wanted.standard_error is not None
        assert wanted.standard_error < 0.6 * float(crossed_interval(plain[:, :, i]).standard_error or 0)
    # Whatever more a map has with anybody's gaze leaves the interval of its gain as it is; that of its chance grows.
    more = scores + np.random.default_rng(5).normal(0, 20, (10, len(HEADS)))
    again, _ = read_layer(fixed(more), "m", 12, "cc", 1.0, "deg", primary=True)
    for one, other in zip(found.heads, again.heads, strict=True):
        assert one.gain is not None and other.gain is not None and one.shuffled and other.shuffled
        assert other.gain.standard_error == pytest.approx(one.gain.standard_error)
        assert float(other.shuffled.standard_error or 0) > 3 * float(one.shuffled.standard_error or 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_map", "against"), [(0.0, 0.0), (0.4, 0.0), (1.0, 0.0), (2.25, 0.0), (0.6, 1.0)],
)  # fmt: skip
def test_the_gains_interval_covers_the_truth_whatever_the_maps_own_effects(of_map: float, against: float) -> None:
    """1,000 studies of 20 x 15, three heads each; .93 and .97 lie more than four standard errors from .95.

    The interval of the gain as it is measured fails: too wide where maps differ, too narrow where the match lacks it.
    """
    rng = np.random.default_rng(5)
    covered, naive = [], []
    for _ in range(1000):
        scores = scores_of(rng, (20, 15), of_map, against)
        for i, head in enumerate(read_layer(fixed(scores), "m", 12, "cc", 1.0, "deg", primary=True)[0].heads):
            plain = crossed_interval(gain_of(scores)[:, :, i])
            assert head.gain is not None and head.gain.low is not None and head.gain.high is not None
            assert plain.low is not None and plain.high is not None
            covered.append(head.gain.low <= 0 <= head.gain.high)
            naive.append(plain.low <= 0 <= plain.high)
    print(f"map {of_map}, against {against}: covered {np.mean(covered):.3f}, as measured {np.mean(naive):.3f}")
    assert 0.93 <= np.mean(covered) <= 0.97
    if of_map >= 1 or against:
        assert not 0.93 <= np.mean(naive) <= 0.97


# From what an analysis leaves on disk.


def test_effects_of_attention_are_read_from_the_table_of_chance(results: Results) -> None:
    found = at_fixed_sigma(results, "first", 12, ["kl", "cc"])
    rows = results.scores("chance", [("model", "==", "first"), ("layer", "==", 12)])
    rows = rows[(rows["of"] == "picture") & ~rows["drift_corrected"] & (rows["map"] == "head-02")]
    assert (rows["participant"] == EVERYBODY).all()
    for measure, at in found.items():
        expected = rows.groupby("attention_of")[measure].mean().reindex(at.cells.pictures)
        np.testing.assert_allclose(at.attention[SHUFFLED + "head-02"].mean, expected, rtol=1e-6)
        # All of the made-up pictures are of one kind.
        np.testing.assert_allclose(at.attention[SAME_KIND + "head-02"].mean, expected, rtol=1e-6)
        assert at.attention[SHUFFLED + "head-02"].others.tolist() == [3, 3, 3, 3]
    kl = found["kl"]
    chance, every = kl.cells.at(SHUFFLED + "head-02", 1.0), np.ix_(range(6), range(4))
    adjusted = pseudo_values(chance, kl.attention[SHUFFLED + "head-02"])
    np.testing.assert_array_equal(kl.chance(SHUFFLED + "head-02", 1.0, every), adjusted)


def test_the_reading_of_a_study_uses_them(results: Results, findings: Findings) -> None:
    main = findings.main()
    at = at_fixed_sigma(results, main.model, main.layer, ["kl"])["kl"]
    kept = np.ix_([0, 1, 2, 3, 4], range(4))  # participant 06 lacks a picture
    for head in main.heads:
        chance = at.chance(SHUFFLED + head.map, main.sigma, kept)
        gain = crossed_interval(-(at.cells.at(head.map, main.sigma)[kept] - chance))
        assert head.gain == gain
        same = at.chance(SAME_KIND + head.map, main.sigma, kept)
        assert head.gain_same_kind == crossed_interval(-(at.cells.at(head.map, main.sigma)[kept] - same))
    plain = crossed_interval(at.cells.at(SHUFFLED + main.best.map, main.sigma)[kept])
    assert main.best.shuffled is not None
    assert main.best.shuffled.mean == pytest.approx(plain.mean)
    assert main.best.shuffled.standard_error != pytest.approx(plain.standard_error)


def test_models_are_compared_by_their_gains_too(findings: Findings, make_study: Callable[..., Path]) -> None:
    score, gain = findings.model_contrasts
    assert (score.of, gain.of) == ("score", "gain")
    of_mean = [s.summaries[0].gain for s in findings.sound if s.primary and s.layer == 12]
    first, second = (e.mean for e in of_mean if e is not None)
    # Participant 06, who lacks a picture for the heads, has the same ones for both.
    assert gain.difference == pytest.approx(first - second, abs=0.05)
    unknown = read_findings(results_folder(make_study(models=("first", "second"), layers=(12,), shuffled=False)))
    assert [c.of for c in unknown.model_contrasts] == ["score"]


# Groups of participants.


def test_a_groups_gain_has_the_attention_that_its_own_gaze_met() -> None:
    scores = scores_of(np.random.default_rng(6), (8, 6), of_map=1.5)
    groups = {"a": np.arange(3), "b": np.arange(3, 8)}
    attention = {
        group: {SHUFFLED + h: attention_effect(scores[rows].mean(axis=0)[..., i]) for i, h in enumerate(HEADS)}
        for group, rows in groups.items()
    }
    equal = EqualCounts(fixed(scores).cells, 20.0, 48, attention)
    for group, rows in groups.items():
        for i, head in enumerate(HEADS):
            gain = equal.gain(head, 1, group, rows, np.arange(6))
            np.testing.assert_allclose(gain, influence(scores[rows])[:, :, i])


def test_groups_of_a_study_are_compared_by_their_gains_where_chance_has_equal_counts(
    made_up_folder: Path, tmp_path: Path
) -> None:
    """The second group is half a nat farther from each picture's own attention, and as it was from the others'."""
    folder = Path(shutil.copytree(made_up_folder, tmp_path / "study"))
    second = ["04", "05", "06"]
    for path in (results_folder(folder) / "fixed").glob("*/*/*.parquet"):
        rows = pd.read_parquet(path)
        own = (rows["within"] == "picture") & (rows["participant"] != POOLED) & ~rows["drift_corrected"]
        heads = rows["map"].str.startswith("head-") | (rows["map"] == "mean")
        equal = rows[own & heads & (rows["window_end_s"] == 10.0)].assign(counted="equal")
        equal["kl"] += 0.5 * equal["participant"].isin(second)
        write_table(pd.concat([rows, equal]), path, FIXED_COLUMNS)
    for path in (results_folder(folder) / "chance").glob("*/*/*.parquet"):
        rows = pd.read_parquet(path)
        equal = rows[~rows["drift_corrected"] & rows["of"].isin(["others", "picture"])].assign(counted="equal")
        of_groups = [equal[equal["of"] == "picture"].assign(group=group) for group in "ab"]
        write_table(pd.concat([rows, equal[equal["of"] == "others"], *of_groups]), path, CHANCE_COLUMNS)
    people = pd.DataFrame({"participant_id": [f"sub-{n:02d}" for n in range(1, 7)], "group": [*"aaabbb"]})
    people.to_csv(folder / "participants.tsv", sep="\t", index=False)
    results = read_results(folder)
    alignment = results.study.alignment.model_copy(update={"groups": "group"})
    found = infer(replace(results, study=results.study.model_copy(update={"alignment": alignment}))).groups
    assert found is not None
    by = {of: {c.map: c for c in found.contrasts if c.of == of and c.model == "first"} for of in ("score", "gain")}
    assert set(by["gain"]) == set(by["score"]) == {"head-01", "head-02", "head-03", "head-04", "mean"}
    table = results.scores("chance", [("model", "==", "first"), ("drift_corrected", "==", False)])
    table = table[(table["of"] == "others") & (table["counted"] == "all") & (table["participant"] != "06")]
    for name, contrast in by["gain"].items():
        own = table[(table["map"] == name) & (table["layer"] == contrast.layer)]
        chance = own.groupby(own["participant"].isin(second))["kl"].mean()
        # What is farther by chance is a gain.
        expected = by["score"][name].difference + chance[False] - chance[True]
        assert contrast.difference == pytest.approx(expected, abs=1e-6)
        assert contrast.low is not None and contrast.low < contrast.difference
