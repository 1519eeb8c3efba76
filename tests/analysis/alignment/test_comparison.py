"""Claims of `analysis.comparisons`: the rows hold what the readable measures say of the maps they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beholder.analysis.alignment import ceilings, comparison, measures
from beholder.analysis.alignment.baselines import Centre, Others, PictureGaze, elsewhere_density, others_densities
from beholder.analysis.alignment.comparison import NOBODY, Elsewhere, Gaze, Job, Maps, compare
from beholder.analysis.gaze import maps as gaze_maps
from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map
from beholder.shared.study import Study

GRID = Grid(24, 32)
ALL = ["kl", "cc", "sim", "ssim", "nss", "auc", "auc_judd", "sauc", "ig", "emd"]
CENTRE = Centre(0.5, 0.45, 0.2, 0.25, 0.1, 1.0)
SIGMA_PX = 2.0


def study(**alignment: Any) -> Study:
    return Study.model_validate({
        "maps": {"longer_side_px": 32, "sigma_from": 0.5, "sigma_to": 1.5, "sigma_step": 0.5, "sigma": 1.0},
        "alignment": {"measures": ALL} | alignment,
    })  # fmt: skip


def someone(rng: np.random.Generator, n: int = 12) -> tuple[Any, Any, Any]:
    x, y = rng.uniform(2, GRID.width - 2, n), rng.uniform(2, GRID.height - 2, n)
    return x, y, rng.uniform(0.1, 0.6, n)


def heads(rng: np.random.Generator) -> Maps:
    return Maps({name: rng.gamma(1, 1, (6, 8)) for name in ("head-01", "head-02", "mean")})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    rng = np.random.default_rng(8)
    people = Gaze((("01", 1), ("01", 2), ("02", 1), ("03", 1)), tuple(someone(rng) for _ in range(4)))
    share = np.zeros(GRID.shape)
    share[6:18, 8:24] = 1
    return Job(
        alignment=tmp_path / "alignment.parquet", fixed=tmp_path / "fixed.parquet", chance=tmp_path / "chance.parquet",
        key="k", fixed_key="f", stimulus="a", model="m", layer=3, grid=GRID, gaze=people, moved=NOBODY,
        windows=((0.0, 1.0, Gaze((("01", 1),), (someone(rng, 3),))),), equal=NOBODY, groups={},
        maps=heads(rng), others=(heads(rng),),
        elsewhere=(Elsewhere("b", True, False, heads(rng)), Elsewhere("c", False, True, heads(rng))),
        random=rng.gamma(1, 1, (4, 6, 8)),
        object_share=share, centre=CENTRE, ceiling=Others(3.0, 0.8, 0.1, 0.1, 0.5, False, 48),
        places=rng.uniform(0, 1, (300, 2)), unit_px=1.0, sigmas=(0.5, 1.0, 1.5), sigmas_px=(1.0, SIGMA_PX, 3.0),
        window_end_s=10.0, study=study(measures=[m for m in ALL if m != "emd"]),
    )  # fmt: skip


def fixed_of(job: Job) -> pd.DataFrame:
    compare(job)
    return pd.read_parquet(job.fixed)


def expected(job: Job, person: int, model: Any, human_px: float = SIGMA_PX) -> dict[str, float]:
    x, y, w = job.gaze.fixations[person]
    human = fixation_map(x, y, w, GRID, human_px)
    pixels = np.floor(y).astype(int), np.floor(x).astype(int)
    negatives = (
        np.floor(job.places[:, 1] * GRID.height).astype(int),
        np.floor(job.places[:, 0] * GRID.width).astype(int),
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


def test_heads_and_references_have_every_measure_of_the_study(job: Job) -> None:
    job = replace(job, study=study())
    table = fixed_of(job)
    whole = table[(table["within"] == "picture") & (table["window_end_s"] == 10.0)]
    for person, (label, run) in enumerate((("01", 1), ("01", 2), ("02", 1), ("03", 1))):
        maps = {
            "head-02": area_resample(job.maps["head-02"], *GRID.shape), "centre-fitted": CENTRE.density(GRID),
            "centre": gaze_maps.centre_gaussian(GRID, job.study.alignment.centre_share),
        }  # fmt: skip
        for name, model in maps.items():
            assert_scores(row_of(whole, participant=label, run=run, map=name), expected(job, person, model))


def ceiling_of(job: Job, person: int, viewer: int, human_px: float) -> dict[str, float]:
    """Each measure of the map that the other viewers' density makes best for it; of ssim and emd, of that density."""
    weights = (np.concatenate([job.gaze.fixations[i][2] for i in (0, 1)]), *(f[2] for f in job.gaze.fixations[2:]))
    seen = PictureGaze(tuple(job.gaze.by_viewer().values()), GRID)
    others, centre = job.ceiling, CENTRE.density(GRID)
    assert others is not None
    density = others_densities(seen, others, centre)[viewer]
    weighted = others_densities(seen, others, centre, weights=weights)[viewer]
    elsewhere = elsewhere_density(job.places, GRID, 1.0, others, centre)
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
def test_by_each_measure_the_ceiling_is_the_best_map_of_everybody_else(job: Job, how: str) -> None:
    settings = study()
    maps = settings.maps.model_copy(update={"smooth": how})
    job = replace(job, study=settings.model_copy(update={"maps": maps}))
    table = fixed_of(job)
    for person, (label, run, viewer) in enumerate((("01", 1, 0), ("01", 2, 0), ("02", 1, 1), ("03", 1, 2))):
        row = row_of(table, participant=label, run=run, map="others")
        scores = ceiling_of(job, person, viewer, 0.0 if how == "model" else SIGMA_PX)
        if how == "model":  # of points no map is known to be best by SIM
            assert np.isnan(row["sim"])
            del scores["sim"]
        assert_scores(row, scores)


def test_without_other_pictures_sauc_has_no_ceiling(job: Job) -> None:
    row = row_of(fixed_of(replace(job, places=np.empty((0, 2)))), participant="02", map="others")
    assert np.isnan(row["sauc"]) and np.isfinite(row["nss"])


def test_random_weights_are_the_mean_of_the_scores_over_seeds_and_heads(job: Job) -> None:
    row = row_of(fixed_of(job), participant="02", map="random")
    each = [expected(job, 2, area_resample(m, *GRID.shape)) for m in job.random]  # type: ignore[union-attr]
    by_chance = [m for m in ALL if m not in comparison.NOT_BY_CHANCE]
    assert_scores(row, {m: float(np.mean([e[m] for e in each])) for m in by_chance})
    assert np.isnan(row["auc_judd"])


def test_within_the_object_both_maps_are_cut_to_it(job: Job) -> None:
    table = fixed_of(job)
    inside = table[table["within"] == "object"]
    mask = job.object_share == 1
    x, y, w = job.gaze.fixations[3]
    human, model = fixation_map(x, y, w, GRID, SIGMA_PX), area_resample(job.maps["head-01"], *GRID.shape)
    p, q = (m[mask][None] / m[mask].sum() for m in (human, model))
    on = mask[np.floor(y).astype(int), np.floor(x).astype(int)]
    row = row_of(inside, participant="03", map="head-01")
    assert row["n_fixations"] == on.sum() > 0
    z = (model - model[mask].mean()) / model[mask].std()
    nss = z[np.floor(y[on]).astype(int), np.floor(x[on]).astype(int)].mean()
    assert_scores(row, {"kl": measures.kl_divergence(p, q), "sim": np.minimum(p, q).sum(), "nss": nss})
    assert row_of(inside, participant="03", map="uniform")["nss"] != row["nss"]
    assert inside[["ssim", "sauc", "ig"]].isna().all(axis=None)


def test_what_is_unlike_on_the_object_alone_is_seen_there_and_what_is_unlike_beside_it_is_not(job: Job) -> None:
    beside = Maps({name: m.copy() for name, m in job.maps.items()})
    for m in beside.values():
        m[0] *= 5  # the first row of patches, which the object does not reach
    first, second = fixed_of(job), fixed_of(replace(job, maps=beside, fixed_key="g"))
    for within, same in (("object", True), ("picture", False)):
        kl = [t[(t["within"] == within) & (t["map"] == "head-01")]["kl"].to_numpy() for t in (first, second)]
        assert np.allclose(*kl, atol=1e-6) is same


def test_windows_have_the_primary_measure_of_the_fixations_within(job: Job) -> None:
    table = fixed_of(job)
    early = table[table["window_end_s"] == 1.0]
    assert set(early["participant"]) == {"01"} and set(early["n_fixations"]) == {3}
    (x, y, w) = job.windows[0][2].fixations[0]
    model = area_resample(job.maps["head-01"], *GRID.shape)
    row = row_of(early, map="head-01")
    assert_scores(row, {"kl": measures.kl_divergence(fixation_map(x, y, w, GRID, SIGMA_PX), model)})
    assert early[[m for m in ALL if m not in ("kl", "emd")]].isna().all(axis=None)


def test_half_of_the_viewers_predict_the_other_half(job: Job) -> None:
    row = row_of(fixed_of(job), map="half")
    first, second = job.gaze.fixations[:3], job.gaze.fixations[3]
    density = fixation_map(*(np.concatenate([f[i] for f in first]) for i in range(3)), GRID, SIGMA_PX)
    assert row["participant"] == "pooled" and row["n_fixations"] == 12
    assert_scores(row, {"nss": measures.nss(density, *(np.floor(second[i]).astype(int) for i in (1, 0)))})


def test_chance_is_the_same_gaze_against_attention_elsewhere(job: Job) -> None:
    compare(job)
    chance = pd.read_parquet(job.chance)
    assert len(chance) == (4 * 3 + 2) * 3 and "auc_judd" not in chance.columns
    by_picture = {
        e.picture: [expected(job, person, area_resample(e.maps["mean"], *GRID.shape)) for person in range(4)]
        for e in job.elsewhere
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


def test_with_equal_counts_chance_by_picture_is_a_mean_over_each_group(job: Job) -> None:
    job = replace(job, equal=job.gaze, groups={"01": "expert", "02": "novice", "03": "expert"})
    compare(job)
    chance = pd.read_parquet(job.chance)
    equal = chance[chance["counted"] == "equal"]
    primary = job.study.alignment.primary
    assert set(equal["of"]) == {"others", "same kind", "same half", "picture"}
    assert equal.drop(columns=primary)[[m for m in ALL if m in equal and m != primary]].isna().all(axis=None)
    model = area_resample(job.elsewhere[0].maps["mean"], *GRID.shape)
    each = [expected(job, person, model)[primary] for person in range(4)]
    for group, weights in (("expert", np.array([0.25, 0.25, 0, 0.5])), ("novice", np.array([0, 0, 1, 0]))):
        row = row_of(equal, of="picture", group=group, attention_of="b", map="mean")
        assert row[primary] == pytest.approx(float(weights @ each), rel=1e-5)


def test_the_fixed_sigma_is_the_same_in_both_tables(job: Job) -> None:
    fixed, swept = fixed_of(job), pd.read_parquet(job.alignment)
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
def test_what_knows_its_own_width_is_never_blurred(job: Job, how: str) -> None:
    maps = job.study.maps.model_copy(update={"smooth": how})
    blurred = replace(job, study=job.study.model_copy(update={"maps": maps}))
    table = fixed_of(blurred)
    x, y, w = job.gaze.fixations[2]
    human = fixation_map(x, y, w, GRID, 0.0 if how == "model" else SIGMA_PX)
    pixels = np.floor(y).astype(int), np.floor(x).astype(int)
    model = gaze_maps.smooth(area_resample(job.maps["head-01"], *GRID.shape), SIGMA_PX)
    whole = table[(table["within"] == "picture") & (table["window_end_s"] == 10.0) & (table["participant"] == "02")]
    for name, map_ in (
        ("head-01", model),
        ("centre-fitted", CENTRE.density(GRID)),
        ("uniform", gaze_maps.uniform(GRID)),
    ):
        row = row_of(whole, map=name)
        assert_scores(row, {"kl": measures.kl_divergence(human, map_), "auc": measures.auc(map_, *pixels)})


def test_of_many_viewers_the_ceiling_is_computed_in_parts_and_is_the_same(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fixed_of(job)
    monkeypatch.setattr("beholder.analysis.alignment.comparison.NUMBERS_AT_ONCE", GRID.height * GRID.width)
    pd.testing.assert_frame_equal(whole, fixed_of(replace(job, fixed_key="g")))


def test_without_others_centre_or_object_their_rows_are_not_there(job: Job) -> None:
    alone = replace(
        job, gaze=Gaze(job.gaze.people[:1], job.gaze.fixations[:1]), centre=None, ceiling=None, object_share=None,
        random=None,        places=np.empty((0, 2)), elsewhere=(), others=(),
    )  # fmt: skip
    table = fixed_of(alone)
    assert set(table["map"]) == {"head-01", "head-02", "mean", "centre", "uniform"}
    assert table[["sauc", "ig"]].isna().all(axis=None) and len(pd.read_parquet(alone.chance)) == 0


def test_keys_depend_on_all_that_goes_into_the_numbers_and_on_nothing_else(job: Job) -> None:
    of_both = {
        "gaze": replace(job, gaze=Gaze(job.gaze.people, (*job.gaze.fixations[:3], job.gaze.fixations[0]))),
        "measures": replace(job, study=study(measures=["kl"])), "sigma": replace(job, sigmas_px=(1.0, 2.1, 3.0)),
        "maps": replace(job, maps=heads(np.random.default_rng(9))), "others": replace(job, others=()),
        "drift": replace(job, study=Study.model_validate({"alignment": {"measures": ALL}, "maps": job.study.maps,
                                                          "fixations": {"correct_drift": True}})),
    }  # fmt: skip
    of_fixed = {
        "ceiling": replace(job, ceiling=Others(3.1, 0.8, 0.1, 0.1, 0.5, False, 48)),
        "centre": replace(job, centre=replace(CENTRE, x=0.51)), "windows": replace(job, windows=()),
        "primary": replace(job, study=study(primary="cc")), "random": replace(job, random=None),
        "places": replace(job, places=job.places[:10]), "elsewhere": replace(job, elsewhere=job.elsewhere[:1]),
        "equal": replace(job, equal=job.gaze), "moved": replace(job, moved=job.gaze),
    }  # fmt: skip
    own = job.digests(1, {})
    changed = [other.digests(1, {}) for other in (*of_both.values(), *of_fixed.values())]
    assert len({fixed for _, fixed in [*changed, own]}) == len(changed) + 1
    assert len({key for key, _ in [*changed, own]}) == len(of_both) + 1
    assert job.digests(1, {}) == replace(job, key="other", fixed=Path("elsewhere")).digests(1, {}) != job.digests(2, {})


def test_only_partitions_that_are_not_up_to_date_are_written(job: Job) -> None:
    compare(job)
    first = [p.stat().st_mtime_ns for p in (job.alignment, job.fixed, job.chance)]
    compare(replace(job, fixed_key="other"))
    second = [p.stat().st_mtime_ns for p in (job.alignment, job.fixed, job.chance)]
    assert second[0] == first[0] and second[1] > first[1] and second[2] > first[2]
