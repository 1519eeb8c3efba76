"""Claims of `alignment.comparison`: the rows hold what the readable measures say of the maps they name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beholder.analysis.alignment import ceilings, measures
from beholder.analysis.alignment.baselines import CentreBias, InterObserver, elsewhere_density, others_densities
from beholder.analysis.alignment.chance_rows import NOT_BY_CHANCE
from beholder.analysis.alignment.compare import compare
from beholder.analysis.alignment.comparison import (
    AtFixedSigma,
    Comparison,
    Maps,
    OtherPicture,
    OverSigma,
    Partitions,
    PictureBaselines,
    Where,
)
from beholder.analysis.gaze import maps as gaze_maps
from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map
from beholder.analysis.gaze.picture_gaze import Fixations, PictureGaze
from beholder.shared.study import Study

GRID = Grid(24, 32)
ALL = ["kl", "cc", "sim", "ssim", "nss", "auc", "auc_judd", "sauc", "ig", "emd"]
CENTRE = CentreBias(0.5, 0.45, 0.2, 0.25, 0.1, 1.0)
SIGMA_PX = 2.0


def study(**alignment: Any) -> Study:
    return Study.model_validate({
        "maps": {"longer_side_px": 32, "sigma_from": 0.5, "sigma_to": 1.5, "sigma_step": 0.5, "sigma": 1.0},
        "alignment": {"measures": ALL} | alignment,
    })  # fmt: skip


def someone(rng: np.random.Generator, n: int = 12) -> Fixations:
    x, y = rng.uniform(2, GRID.width - 2, n), rng.uniform(2, GRID.height - 2, n)
    return Fixations(x, y, rng.uniform(0.1, 0.6, n))


def heads(rng: np.random.Generator) -> Maps:
    return Maps({name: rng.gamma(1, 1, (6, 8)) for name in ("head-01", "head-02", "mean")})


@pytest.fixture
def job(tmp_path: Path) -> Comparison:
    rng = np.random.default_rng(8)
    people = (("01", 1), ("01", 2), ("02", 1), ("03", 1))
    gaze = PictureGaze(people, tuple(someone(rng) for _ in range(4)), GRID)
    nobody = PictureGaze((), (), GRID)
    share = np.zeros(GRID.shape)
    share[6:18, 8:24] = 1
    window = (0.0, 1.0, PictureGaze((("01", 1),), (someone(rng, 3),), GRID))
    own, beside = heads(rng), heads(rng)
    others = (OtherPicture("b", True, False, heads(rng)), OtherPicture("c", False, True, heads(rng)))
    random = rng.gamma(1, 1, (4, 6, 8))
    baselines = PictureBaselines(CENTRE, InterObserver(3.0, 0.8, 0.1, 0.1, 0.5, False, 48), rng.uniform(0, 1, (300, 2)))
    return Comparison(
        where=Where("m", 3, "a"),
        files=Partitions(*(tmp_path / f"{name}.parquet" for name in ("alignment", "fixed", "chance")), "k", "f"),
        over_sigma=OverSigma(gaze, own, (beside,), share, (0.5, 1.0, 1.5), (1.0, SIGMA_PX, 3.0), 10.0),
        at_fixed=AtFixedSigma(nobody, (window,), nobody, {}, others, random, baselines),
        study=study(measures=[m for m in ALL if m != "emd"]),
    )


def changed(job: Comparison, **values: Any) -> Comparison:
    """A comparison with other values of fields, in whichever of its groups these are."""
    for name, value in values.items():
        groups = {group: getattr(job, group) for group in ("files", "over_sigma", "at_fixed")}
        if name in {field.name for field in fields(PictureBaselines)}:
            baselines = replace(job.at_fixed.baselines, **{name: value})
            job = replace(job, at_fixed=replace(job.at_fixed, baselines=baselines))
        elif name in {field.name for field in fields(Comparison)}:
            job = replace(job, **{name: value})
        else:
            [group] = [group for group, held in groups.items() if name in vars(held)]
            job = replace(job, **{group: replace(groups[group], **{name: value})})
    return job


def fixed_of(job: Comparison) -> pd.DataFrame:
    compare(job)
    return pd.read_parquet(job.files.fixed)


def expected(job: Comparison, person: int, model: Any, human_px: float = SIGMA_PX) -> dict[str, float]:
    x, y, w = job.gaze.fixations[person]
    human = fixation_map(x, y, w, GRID, human_px)
    pixels = np.floor(y).astype(int), np.floor(x).astype(int)
    negatives = (
        np.floor(job.other_fixations[:, 1] * GRID.height).astype(int),
        np.floor(job.other_fixations[:, 0] * GRID.width).astype(int),
    )
    density = model / model.sum()
    mixed = 0.99 * density + 0.01 / density.size
    return {
        "kl": measures.kl_divergence(human, model), "cc": measures.correlation(human, model),
        "sim": measures.similarity(human, model), "ssim": measures.structural_similarity(human, model),
        "nss": measures.nss(model, *pixels), "auc": measures.auc(model, *pixels),
        "auc_judd": measures.auc_judd(model, *pixels), "sauc": measures.shuffled_auc(model, *pixels, *negatives),
        "ig": measures.information_gain(mixed, *pixels, CENTRE.density(GRID)),
        "emd": measures.earth_movers_distance(human, model),
    }  # fmt: skip


def row_of(table: pd.DataFrame, **where: Any) -> pd.Series:
    found = table[np.logical_and.reduce([table[k] == v for k, v in where.items()])]
    assert len(found) == 1
    return found.iloc[0]


def assert_scores(row: pd.Series, scores: dict[str, float]) -> None:
    for name, value in scores.items():
        assert row[name] == pytest.approx(float(value), abs=3e-5, rel=1e-5), name


def test_heads_and_references_have_every_measure_of_the_study(job: Comparison) -> None:
    job = changed(job, study=study())
    table = fixed_of(job)
    whole = table[(table["within"] == "picture") & (table["window_end_s"] == 10.0)]
    for person, (label, run) in enumerate((("01", 1), ("01", 2), ("02", 1), ("03", 1))):
        maps = {
            "head-02": area_resample(job.over_sigma.attention["head-02"], *GRID.shape),
            "centre-fitted": CENTRE.density(GRID),
            "centre": gaze_maps.centre_gaussian(GRID, job.study.alignment.centre_share),
        }  # fmt: skip
        for name, model in maps.items():
            assert_scores(row_of(whole, participant=label, run=run, map=name), expected(job, person, model))


def ceiling_of(job: Comparison, person: int, viewer: int, human_px: float) -> dict[str, float]:
    """Each measure of the map that the other viewers' density makes best for it; of ssim and emd, of that density."""
    weights = (np.concatenate([job.gaze.fixations[i][2] for i in (0, 1)]), *(f[2] for f in job.gaze.fixations[2:]))
    seen = job.gaze.viewers()
    others, centre = job.at_fixed.baselines.inter_observer, CENTRE.density(GRID)
    assert others is not None
    density = others_densities(seen, others, centre)[viewer]
    weighted = others_densities(seen, others, centre, weights=weights)[viewer]
    elsewhere = elsewhere_density(job.other_fixations, GRID, 1.0, others, centre)
    x, y, w = job.gaze.fixations[person]
    n = w.sum() ** 2 / (w**2).sum()
    maps = dict.fromkeys(ALL, density) | {
        "sauc": density / elsewhere, "kl": ceilings.mean_human_map(weighted, human_px),
        "cc": ceilings.best_for_correlation(weighted, human_px, n),
    }  # fmt: skip
    if human_px > 0:
        maps["sim"] = ceilings.best_for_similarity(weighted, human_px, n)
    found = {m: expected(job, person, map_, human_px)[m] for m, map_ in maps.items() if m != "ig"}
    at = np.floor(y).astype(int), np.floor(x).astype(int)
    return found | {"ig": float(np.log2(density / centre)[at].mean())}  # fitted: it needs no further even share


@pytest.mark.parametrize("how", ["human", "model", "both"])
def test_by_each_measure_the_ceiling_is_the_best_map_of_everybody_else(job: Comparison, how: str) -> None:
    settings = study()
    maps = settings.maps.model_copy(update={"smooth": how})
    job = changed(job, study=settings.model_copy(update={"maps": maps}))
    table = fixed_of(job)
    for person, (label, run, viewer) in enumerate((("01", 1, 0), ("01", 2, 0), ("02", 1, 1), ("03", 1, 2))):
        row = row_of(table, participant=label, run=run, map="others")
        scores = ceiling_of(job, person, viewer, 0.0 if how == "model" else SIGMA_PX)
        if how == "model":  # of points no map is known to be best by SIM
            assert np.isnan(row["sim"])
            del scores["sim"]
        assert_scores(row, scores)


def test_without_other_pictures_sauc_has_no_ceiling(job: Comparison) -> None:
    row = row_of(fixed_of(changed(job, other_fixations=np.empty((0, 2)))), participant="02", map="others")
    assert np.isnan(row["sauc"]) and np.isfinite(row["nss"])


def test_random_weights_are_the_mean_of_the_scores_over_seeds_and_heads(job: Comparison) -> None:
    row = row_of(fixed_of(job), participant="02", map="random")
    each = [expected(job, 2, area_resample(m, *GRID.shape)) for m in job.at_fixed.random]  # type: ignore[union-attr]
    by_chance = [m for m in ALL if m not in NOT_BY_CHANCE]
    assert_scores(row, {m: float(np.mean([e[m] for e in each])) for m in by_chance})
    assert np.isnan(row["auc_judd"])


def test_within_the_object_both_maps_are_cut_to_it(job: Comparison) -> None:
    table = fixed_of(job)
    inside = table[table["within"] == "object"]
    mask = job.over_sigma.object_share == 1
    x, y, w = job.gaze.fixations[3]
    human, model = (
        fixation_map(x, y, w, GRID, SIGMA_PX),
        area_resample(job.over_sigma.attention["head-01"], *GRID.shape),
    )
    p, q = (m[mask][None] / m[mask].sum() for m in (human, model))
    on = mask[np.floor(y).astype(int), np.floor(x).astype(int)]
    row = row_of(inside, participant="03", map="head-01")
    assert row["n_fixations"] == on.sum() > 0
    z = (model - model[mask].mean()) / model[mask].std()
    nss = z[np.floor(y[on]).astype(int), np.floor(x[on]).astype(int)].mean()
    assert_scores(row, {"kl": measures.kl_divergence(p, q), "sim": np.minimum(p, q).sum(), "nss": nss})
    assert row_of(inside, participant="03", map="uniform")["nss"] != row["nss"]
    assert inside[["ssim", "sauc", "ig"]].isna().all(axis=None)


def test_what_is_unlike_on_the_object_alone_is_seen_there_and_what_is_unlike_beside_it_is_not(job: Comparison) -> None:
    beside = Maps({name: m.copy() for name, m in job.over_sigma.attention.items()})
    for m in beside.values():
        m[0] *= 5  # the first row of patches, which the object does not reach
    first, second = fixed_of(job), fixed_of(changed(job, attention=beside, fixed_key="g"))
    for within, same in (("object", True), ("picture", False)):
        kl = [t[(t["within"] == within) & (t["map"] == "head-01")]["kl"].to_numpy() for t in (first, second)]
        assert np.allclose(*kl, atol=1e-6) is same


def test_windows_have_the_primary_measure_of_the_fixations_within(job: Comparison) -> None:
    table = fixed_of(job)
    early = table[table["window_end_s"] == 1.0]
    assert set(early["participant"]) == {"01"} and set(early["n_fixations"]) == {3}
    (x, y, w) = job.at_fixed.windows[0][2].fixations[0]
    model = area_resample(job.over_sigma.attention["head-01"], *GRID.shape)
    row = row_of(early, map="head-01")
    assert_scores(row, {"kl": measures.kl_divergence(fixation_map(x, y, w, GRID, SIGMA_PX), model)})
    assert early[[m for m in ALL if m not in ("kl", "emd")]].isna().all(axis=None)


def test_half_of_the_viewers_predict_the_other_half(job: Comparison) -> None:
    row = row_of(fixed_of(job), map="half")
    first, second = job.gaze.fixations[:3], job.gaze.fixations[3]
    density = fixation_map(*(np.concatenate([f[i] for f in first]) for i in range(3)), GRID, SIGMA_PX)
    assert row["participant"] == "pooled" and row["n_fixations"] == 12
    assert_scores(row, {"nss": measures.nss(density, *(np.floor(second[i]).astype(int) for i in (1, 0)))})


def test_chance_is_the_same_gaze_against_attention_elsewhere(job: Comparison) -> None:
    compare(job)
    chance = pd.read_parquet(job.files.chance)
    assert len(chance) == (4 * 3 + 2) * 3 and "auc_judd" not in chance.columns
    by_picture = {
        e.picture: [expected(job, person, area_resample(e.maps["mean"], *GRID.shape)) for person in range(4)]
        for e in job.at_fixed.chance_controls
    }
    measured = [m for m in ALL if m in chance.columns]
    row = row_of(chance, of="others", participant="01", run=2, map="mean")
    assert_scores(row, {m: float(np.mean([by_picture[o][1][m] for o in "bc"])) for m in measured})
    assert_scores(
        row_of(chance, of="same kind", participant="02", map="mean"), {m: by_picture["b"][2][m] for m in measured}
    )
    assert_scores(
        row_of(chance, of="same half", participant="02", map="mean"), {m: by_picture["c"][2][m] for m in measured}
    )
    # In the mean over participants one who has two runs counts once.
    row = row_of(chance, of="picture", attention_of="c", map="mean")
    each = np.array([0.5, 0.5, 1, 1]) / 3
    assert_scores(row, {m: float(each @ [s[m] for s in by_picture["c"]]) for m in measured})
    assert not row["same_kind"] and row["same_half"]


def test_with_equal_counts_chance_by_picture_is_a_mean_over_each_group(job: Comparison) -> None:
    job = changed(job, equal_counts=job.gaze, groups={"01": "expert", "02": "novice", "03": "expert"})
    compare(job)
    chance = pd.read_parquet(job.files.chance)
    equal = chance[chance["counted"] == "equal"]
    primary = job.study.alignment.primary
    assert set(equal["of"]) == {"others", "same kind", "same half", "picture"}
    assert equal.drop(columns=primary)[[m for m in ALL if m in equal and m != primary]].isna().all(axis=None)
    model = area_resample(job.at_fixed.chance_controls[0].maps["mean"], *GRID.shape)
    each = [expected(job, person, model)[primary] for person in range(4)]
    for group, weights in (("expert", np.array([0.25, 0.25, 0, 0.5])), ("novice", np.array([0, 0, 1, 0]))):
        row = row_of(equal, of="picture", group=group, attention_of="b", map="mean")
        assert row[primary] == pytest.approx(float(weights @ each), rel=1e-5)


def test_the_fixed_sigma_is_the_same_in_both_tables(job: Comparison) -> None:
    fixed, swept = fixed_of(job), pd.read_parquet(job.files.alignment)
    swept = swept[swept["sigma"] == 1.0].set_index(["participant", "run", "map"])
    fixed = fixed[(fixed["within"] == "picture") & (fixed["window_end_s"] == 10.0)].set_index(
        ["participant", "run", "map"]
    )
    both = swept.index.intersection(fixed.index)
    assert len(both) == 4 * 6
    pd.testing.assert_frame_equal(
        fixed.loc[both, ["kl", "cc", "sim", "ssim"]], swept.loc[both, ["kl", "cc", "sim", "ssim"]]
    )


@pytest.mark.parametrize("how", ["model", "both"])
def test_what_knows_its_own_width_is_never_blurred(job: Comparison, how: str) -> None:
    maps = job.study.maps.model_copy(update={"smooth": how})
    blurred = changed(job, study=job.study.model_copy(update={"maps": maps}))
    table = fixed_of(blurred)
    x, y, w = job.gaze.fixations[2]
    human = fixation_map(x, y, w, GRID, 0.0 if how == "model" else SIGMA_PX)
    pixels = np.floor(y).astype(int), np.floor(x).astype(int)
    model = gaze_maps.smooth(area_resample(job.over_sigma.attention["head-01"], *GRID.shape), SIGMA_PX)
    whole = table[(table["within"] == "picture") & (table["window_end_s"] == 10.0) & (table["participant"] == "02")]
    for name, map_ in (
        ("head-01", model),
        ("centre-fitted", CENTRE.density(GRID)),
        ("uniform", gaze_maps.uniform(GRID)),
    ):
        row = row_of(whole, map=name)
        assert_scores(row, {"kl": measures.kl_divergence(human, map_), "auc": measures.auc(map_, *pixels)})


def test_of_many_viewers_the_ceiling_is_computed_in_parts_and_is_the_same(
    job: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fixed_of(job)
    monkeypatch.setattr("beholder.analysis.alignment.scores.NUMBERS_AT_ONCE", GRID.height * GRID.width)
    pd.testing.assert_frame_equal(whole, fixed_of(changed(job, fixed_key="g")))


def test_without_others_centre_or_object_their_rows_are_not_there(job: Comparison) -> None:
    alone = changed(
        job,
        gaze=job.gaze.only([0]),
        centre=None,
        inter_observer=None,
        object_share=None,
        random=None,
        other_fixations=np.empty((0, 2)),
        chance_controls=(),
        curve_controls=(),
    )
    table = fixed_of(alone)
    assert set(table["map"]) == {"head-01", "head-02", "mean", "centre", "uniform"}
    assert table[["sauc", "ig"]].isna().all(axis=None) and len(pd.read_parquet(alone.files.chance)) == 0


def keys_of(job: Comparison, version: int = 1) -> tuple[str, str]:
    files = job.with_keys(version, {}).files
    return files.key, files.fixed_key


def test_keys_depend_on_all_that_goes_into_the_numbers_and_on_nothing_else(job: Comparison) -> None:
    of_both = {
        "gaze": changed(job, gaze=replace(job.gaze, fixations=(*job.gaze.fixations[:3], job.gaze.fixations[0]))),
        "measures": changed(job, study=study(measures=["kl"])), "sigma": changed(job, sigmas_px=(1.0, 2.1, 3.0)),
        "maps": changed(job, attention=heads(np.random.default_rng(9))), "others": changed(job, curve_controls=()),
        "drift": changed(job, study=Study.model_validate({"alignment": {"measures": ALL}, "maps": job.study.maps,
                                                          "fixations": {"correct_drift": True}})),
    }  # fmt: skip
    of_fixed = {
        "ceiling": changed(job, inter_observer=InterObserver(3.1, 0.8, 0.1, 0.1, 0.5, False, 48)),
        "centre": changed(job, centre=replace(CENTRE, x=0.51)), "windows": changed(job, windows=()),
        "primary": changed(job, study=study(primary="cc")), "random": changed(job, random=None),
        "places": changed(job, other_fixations=job.other_fixations[:10]),
        "elsewhere": changed(job, chance_controls=job.at_fixed.chance_controls[:1]),
        "equal": changed(job, equal_counts=job.gaze), "moved": changed(job, drift_alternative=job.gaze),
    }  # fmt: skip
    own = keys_of(job)
    others = [keys_of(other) for other in (*of_both.values(), *of_fixed.values())]
    assert len({fixed for _, fixed in [*others, own]}) == len(others) + 1
    assert len({key for key, _ in [*others, own]}) == len(of_both) + 1
    elsewhere = changed(job, key="other", fixed=Path("elsewhere"))
    assert own == keys_of(elsewhere) != keys_of(job, version=2)


def test_only_partitions_that_are_not_up_to_date_are_written(job: Comparison) -> None:
    compare(job)
    first = [p.stat().st_mtime_ns for p in (job.files.alignment, job.files.fixed, job.files.chance)]
    compare(changed(job, fixed_key="other"))
    second = [p.stat().st_mtime_ns for p in (job.files.alignment, job.files.fixed, job.files.chance)]
    assert second[0] == first[0] and second[1] > first[1] and second[2] > first[2]
