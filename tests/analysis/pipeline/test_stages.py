"""The whole analysis on small studies: same bytes, nothing computed twice, nothing lost in silence."""

import gzip
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from beholder.analysis.importing.fixation_table import import_fixations
from beholder.analysis.pipeline.alignment_stage import chance_blocks, shuffled_partners
from beholder.analysis.pipeline.analyze import analyze, conclude
from beholder.analysis.pipeline.find import find
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import read_results
from beholder.analysis.results.tables import HALF, POOLED, REFERENCES
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.publishing import write_fixations
from beholder.shared.errors import DataError, StudyError, WeightsError
from beholder.shared.study import (
    AlignmentSettings,
    ExclusionSettings,
    MapSettings,
    ModelSettings,
    ProtocolSettings,
    Study,
    StudySettings,
    TrackerSettings,
    read_study,
    write_study,
)

SMALL = Study(
    study=StudySettings(name="Small"),
    tracker=TrackerSettings(rate_hz=120.0),
    protocol=ProtocolSettings(dot_s=2.0, picture_s=2.0),
    maps=MapSettings(longer_side_px=48, sigma_from=0.5, sigma_to=2.0, sigma_step=0.5, sigma=1.0),
    models=ModelSettings(names=["offline"], input_px=112),
    alignment=AlignmentSettings(random_weights=2),
)

pytestmark = pytest.mark.usefixtures("quick")

AS_SET = [("drift_corrected", "==", False)]  # drift, as the studies here have it


def pictures(folder: Path, n: int = 4) -> Path:
    """Plain scenes of unequal shapes, each with one bright thing on it, and its mask."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(3)
    for number in range(n):
        size = (160, 120) if number % 2 else (120, 120)
        picture, mask = Image.new("RGB", size, "lightgrey"), Image.new("L", size)
        x, y = rng.uniform(0.2, 0.6, 2) * size
        box = (x, y, x + 40, y + 30)
        ImageDraw.Draw(picture).ellipse(box, fill=tuple(int(c) for c in rng.integers(0, 200, 3)))
        ImageDraw.Draw(mask).ellipse(box, fill=1)
        picture.save(folder / "images" / f"scene-{number}.png")
        mask.save(folder / "masks" / f"scene-{number}.png")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("BEHOLDER_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated participants, not analysed."""
    folder = tmp_path_factory.mktemp("simulated")
    create_study(folder / "study", SMALL, pictures(folder / "pictures"))
    simulate(folder / "study", 3, seed=1, workers=1)
    return folder / "study"


@pytest.fixture(scope="module")
def analysed(quick: None, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("analysed") / "study"
    shutil.copytree(simulated, study)
    analyze(study, workers=1)
    return study


def test_the_guide_to_data_names_every_file_that_an_analysis_writes(analysed: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "data.md").read_text("utf-8")
    folder = results_folder(analysed)
    forms = {
        file.name if file.parent == folder else f"{file.relative_to(folder).parts[0]}/": file
        for file in folder.rglob("*")
        if file.is_file()
    }
    assert {"fixed/", "chance/", "areas.parquet", "densities.json", "sums.json"} <= set(forms)
    assert [name for name in forms if f"`{name}" not in guide] == []


def copy(study: Path, to: Path) -> Path:
    shutil.copytree(study, to / "study")
    return to / "study"


def bytes_of(study: Path) -> dict[str, str]:
    folder = results_folder(study)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_participant_picture_head_and_sigma_has_its_row(analysed: Path) -> None:
    results = read_results(analysed)
    table = results.scores("sigmas")
    assert results.summary.simulated == 3 and "object's mask" in results.summary.observers
    assert [m.name for m in results.summary.models] == ["offline"] and results.summary.models[0].stand_in
    heads = table[table["map"].str.startswith("head-") & (table["participant"] != "pooled")]
    assert len(heads) == 3 * 4 * 6 * 4
    maps = {f"head-{h:02d}" for h in range(1, 7)} | {"mean"}
    assert set(table["map"]) == maps | {f"shuffled-{m}" for m in maps} | {"centre", "uniform", "object"}
    # Only the correlation with a uniform map is not defined.
    assert table[["kl", "sim", "ssim"]].notna().all().all()
    assert (table["cc"].isna() == (table["map"] == "uniform")).all()


def test_the_tables_hold_what_the_readable_measures_say(analysed: Path) -> None:
    from beholder.analysis.alignment import measures
    from beholder.analysis.attention.named_maps import named_maps
    from beholder.analysis.gaze.maps import area_resample, fixation_map, grid_for, sigma_in_map_px, to_map_px

    results = read_results(analysed)
    maps = results.attention("offline", 12)
    for stimulus in ("scene-0", "scene-1"):
        width, height = (160, 120) if stimulus == "scene-1" else (120, 120)
        grid = grid_for(width, height, 48)
        rows = results.fixations.query("stimulus == @stimulus and participant == '02' and used")
        x, y = to_map_px(
            rows["x_px"].to_numpy(),
            rows["y_px"].to_numpy(),
            picture_width_px=width,
            picture_height_px=height,
            grid=grid,
        )
        width_deg = json.loads((results_folder(analysed) / "recordings.json").read_text())["width_deg"][stimulus]
        sigma = sigma_in_map_px(1.5, "deg", grid=grid, picture_width_px=width, picture_width_deg=width_deg)
        human = fixation_map(x, y, rows["duration_s"].to_numpy(), grid, sigma)
        model = area_resample(named_maps(maps[stimulus])["head-03"], grid.height, grid.width)
        row = (
            results.scores("sigmas")
            .query("stimulus == @stimulus and participant == '02' and sigma == 1.5 and map == 'head-03'")
            .iloc[0]
        )
        assert row["n_fixations"] == len(rows)
        for name in ("kl", "cc", "sim", "ssim"):
            assert row[name] == pytest.approx(float(measures.MEASURES[name].function(human, model)), abs=2e-5)


def test_chance_is_each_pictures_gaze_against_attention_on_every_other(analysed: Path) -> None:
    results = read_results(analysed)
    chance = results.scores("chance")
    own = chance[chance["drift_corrected"] == results.study.fixations.correct_drift]
    assert (own["of"] == "others").sum() == 3 * 4 * 7 and (own["of"] == "picture").sum() == 4 * 3 * 7
    assert own[["kl", "cc", "sim", "ssim", "nss", "auc", "sauc", "ig"]].notna().all().all()
    own = own[own["of"] == "picture"]
    assert (own["stimulus"] != own["attention_of"]).all()
    # The shuffled pictures of the curves are some of them, at the fixed sigma.
    partners = shuffled_partners([f"scene-{n}" for n in range(4)], 2, results.study.study.seed)
    table = results.scores("sigmas", [("sigma", "==", 1.0), ("participant", "!=", "pooled")])
    for stimulus, others in partners.items():
        some = own[(own["stimulus"] == stimulus) & own["attention_of"].isin(others)]
        mean = some.groupby("map")[["kl", "cc", "sim", "ssim"]].mean()
        rows = table[(table["stimulus"] == stimulus) & table["map"].str.startswith("shuffled-")]
        found = rows.groupby(rows["map"].str.removeprefix("shuffled-"))[["kl", "cc", "sim", "ssim"]].mean()
        pd.testing.assert_frame_equal(found, mean, check_dtype=False, rtol=1e-5, atol=1e-6)


def test_the_fixed_sigma_has_floors_ceilings_windows_and_the_object(analysed: Path) -> None:
    fixed = read_results(analysed).scores("fixed", AS_SET)
    heads = {f"head-{h:02d}" for h in range(1, 7)} | {"mean"}
    whole = fixed[(fixed["within"] == "picture") & (fixed["window_end_s"] == 2.0) & (fixed["window_start_s"] == 0.0)]
    assert set(whole["map"]) == heads | set(REFERENCES) | {HALF}
    people = whole[whole["participant"] != POOLED]
    assert (people.groupby("map")["kl"].count() == 3 * 4).all()
    assert people.loc[~people["map"].isin(["uniform"]), ["nss", "auc", "sauc", "ig"]].notna().all(axis=None)
    assert set(whole.loc[whole["participant"] == POOLED, "map"]) == heads | {
        "centre",
        "centre-fitted",
        "uniform",
        "object",
    } | {HALF}
    steps = fixed[(fixed["window_end_s"] - fixed["window_start_s"]) == 1.0]
    assert set(steps["window_start_s"]) == {0.0, 1.0} and set(steps["map"]) == heads | {"centre-fitted"}
    inside = fixed[fixed["within"] == "object"]
    assert set(inside["map"]) == heads | {"uniform"} and len(inside) == 3 * 4 * 8
    # Observers who look at the object are closest to others who do.
    kl = people.groupby("map")["kl"].mean()
    assert kl["others"] < kl["centre-fitted"] < kl["uniform"]
    areas = read_results(analysed).areas
    assert set(areas["source"]) == heads | {"people"} and set(areas["part"]) == {"object"}


@pytest.mark.slow
def test_equal_counts_are_there_where_groups_are_asked_for(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    settings = read_study(study)
    alignment = settings.alignment.model_copy(update={"groups": "group"})
    write_study(settings.model_copy(update={"alignment": alignment}), study)
    assert analyze(study, workers=1).computed["alignment"] == 0
    equal = read_results(study).scores("fixed", [("counted", "==", "equal")])
    assert set(equal["map"]) == {f"head-{h:02d}" for h in range(1, 7)} | {"mean", "centre-fitted"}
    counts = equal.groupby("stimulus")["n_fixations"]
    assert (counts.min() == counts.max()).all() and equal["kl"].notna().all()


@pytest.mark.parametrize(("device", "told"), [("gpu", "is not known"), ("cuda:99", "no GPU cuda:99 here")])
def test_a_device_that_is_not_there_is_refused_before_anything_changes(analysed: Path, device: str, told: str) -> None:
    before = bytes_of(analysed)
    with pytest.raises(StudyError, match=told):
        analyze(analysed, workers=1, device=device)
    assert bytes_of(analysed) == before


def test_random_weights_are_another_network_for_each_seed_and_cached(analysed: Path) -> None:
    random = read_results(analysed).scores("fixed", [("map", "==", "random")])
    assert len(random) == 3 * 4 and random["kl"].notna().all()
    kept = list((Path(os.environ["BEHOLDER_CACHE"]) / "random-weights").glob("*.npz"))
    assert len(kept) >= 2
    first, second = (np.load(file) for file in kept[:2])
    assert set(first.files) == set(second.files)
    assert all(first[name].shape == second[name].shape and (first[name] != second[name]).any() for name in first.files)


def test_pictures_without_a_kind_are_of_one_kind(analysed: Path) -> None:
    chance = read_results(analysed).scores("chance")
    keys = ["participant", "stimulus", "map", "drift_corrected"]
    others, alike = (chance[chance["of"] == of].set_index(keys)["kl"].sort_index() for of in ("others", "same kind"))
    pd.testing.assert_series_equal(others, alike)


@given(n=st.integers(1, 60), most=st.integers(1, 60), seed=st.integers(0, 9))
def test_chances_blocks_hold_every_picture_once_and_are_as_few_and_as_equal_as_can_be(
    n: int, most: int, seed: int
) -> None:
    names = [f"picture-{i}" for i in range(n)]
    others = chance_blocks(names, most, seed)
    assert sorted(others) == sorted(names)
    blocks = {frozenset({name, *rest}) for name, rest in others.items()}
    assert sorted(name for block in blocks for name in block) == sorted(names)
    sizes = [len(block) for block in blocks]
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1 and len(blocks) == -(-n // most)


def test_the_same_data_give_the_same_bytes_in_this_process_and_in_two_others(
    simulated: Path, analysed: Path, tmp_path: Path
) -> None:
    other = copy(simulated, tmp_path)
    analyze(other, workers=2)
    ours, theirs = bytes_of(analysed), bytes_of(other)
    assert set(ours) == set(theirs) and len(ours) > 20
    assert {k for k in ours if ours[k] != theirs[k]} <= {"provenance.json"}


def test_a_second_analysis_computes_nothing(analysed: Path) -> None:
    before = bytes_of(analysed)
    again = analyze(analysed, workers=1)
    assert not any(again.computed.values())
    assert bytes_of(analysed) == before


@pytest.mark.slow
def test_only_what_a_setting_touches_is_computed_again(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    settings = read_study(study)
    maps = settings.maps.model_copy(update={"weight": "count"})
    write_study(settings.model_copy(update={"maps": maps}), study)
    done = analyze(study, workers=1)
    assert (done.computed["fixations"], done.computed["attention"], done.computed["alignment"]) == (0, 0, 4)
    fixations = settings.fixations.model_copy(update={"shortest_ms": 100.0})
    write_study(settings.model_copy(update={"fixations": fixations}), study)
    assert analyze(study, workers=1).computed["fixations"] == 1


def test_a_removed_partition_is_made_again_and_a_stale_one_is_removed(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    before = bytes_of(study)
    folder = results_folder(study) / "alignment" / "offline" / "layer-12"
    (folder / "scene-1.parquet").unlink()
    (folder / "scene-9.parquet").write_bytes(b"left from another time")
    chance = results_folder(study) / "chance" / "offline"
    (chance / "layer-11").mkdir()
    (chance / "layer-11" / "scene-1.parquet").write_bytes(b"of a layer that is not asked for")
    assert analyze(study, workers=1).computed["alignment"] == 1
    assert {k: v for k, v in bytes_of(study).items() if k != "provenance.json"} == {
        k: v for k, v in before.items() if k != "provenance.json"
    }
    (chance / "layer-12" / "scene-0.parquet").unlink()
    again = analyze(study, workers=1)
    assert (again.computed["alignment"], again.computed["fixed sigma"]) == (0, 1)
    assert (chance / "layer-12" / "scene-0.parquet").exists() and not (chance / "layer-11").exists()


def test_missing_and_broken_pictures_are_said_and_the_rest_is_analysed(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    (study / "stimuli" / "images" / "scene-2.png").unlink()
    (study / "stimuli" / "images" / "scene-3.png").write_bytes(b"no picture")
    done = analyze(study, workers=1)
    remarks = "\n".join(map(str, done.remarks))
    assert "scene-3.png cannot be read as a picture" in remarks
    assert "images/scene-2.png, which is not among the study's usable pictures" in remarks
    results = read_results(study)
    assert set(results.scores("sigmas")["stimulus"]) == {"scene-0", "scene-1"}
    page = done.report.read_text("utf-8")
    assert "scene-3.png" in page and "scene-2.png" in page


@pytest.mark.slow
def test_a_participant_whose_recording_is_gone_is_said(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    shutil.rmtree(study / "sub-02")
    done = analyze(study, workers=1)
    assert any(r.about == "sub-02" and "no recording" in r.text for r in done.remarks)
    page = done.report.read_text("utf-8")
    assert "2 simulated observers" in page and "is in participants.tsv, but has no recording" in page


def test_a_participant_without_one_picture_is_said(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    [events] = (study / "sub-02").rglob("*_events.tsv")
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(line for line in lines if "scene-1" not in line))
    done = analyze(study, workers=1)
    assert any(r.about == "sub-02" and "no trial of scene-1" in r.text for r in done.remarks)
    table = read_results(study).scores("sigmas")
    assert "02" not in set(table[table["stimulus"] == "scene-1"]["participant"])


def imported(tmp_path: Path, tables: dict[str, pd.DataFrame], study: Study = SMALL) -> Path:
    create_study(tmp_path / "study", study.model_copy(update={"screen": None}), pictures(tmp_path / "pictures"))
    for participant, table in tables.items():
        write_fixations(tmp_path / "study", participant, table)
    return tmp_path / "study"


def gaze(n: int, seed: int, off: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    trial = np.repeat([1, 2, 3, 4], n)
    files = [f"images/scene-{t - 1}.png" for t in trial]
    return pd.DataFrame({
        "trial": trial, "stim_file": files, "fixation": np.tile(np.arange(n) + 1, 4),
        "onset": np.nan, "duration": rng.uniform(0.1, 0.5, 4 * n), "x_px": rng.uniform(10, 110, 4 * n) - 500 * off,
        "y_px": rng.uniform(10, 110, 4 * n),
    })  # fmt: skip


@pytest.mark.slow
def test_somebody_who_never_looked_at_the_pictures_is_said_and_left_out(tmp_path: Path) -> None:
    study = imported(tmp_path, {"01": gaze(5, 1), "02": gaze(5, 2), "03": gaze(5, 3, off=True)})
    done = analyze(study, workers=1)
    [said] = [r for r in done.remarks if "no fixation on the picture" in r.text]
    assert said.about == "sub-03 run-1" and all(f"{i + 1} (scene-{i})" in said.text for i in range(4))
    assert "03" not in set(read_results(study).scores("sigmas")["participant"])


def test_a_study_without_any_gaze_on_pictures_is_refused_with_the_place_to_look(tmp_path: Path) -> None:
    study = imported(tmp_path, {"01": gaze(5, 1, off=True)})
    with pytest.raises(DataError, match=r"no fixation on any picture.*trials\.csv"):
        analyze(study, workers=1)


@pytest.mark.slow
def test_one_participant_alone_gives_a_report(tmp_path: Path) -> None:
    study = imported(tmp_path, {"01": gaze(6, 1)})
    assert analyze(study, workers=1).report.is_file()


def test_degrees_without_geometry_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    unknown = SMALL.model_copy(update={"pictures": SMALL.pictures.model_copy(update={"size_deg": None})})
    study = imported(tmp_path, {"01": gaze(5, 1)}, unknown)
    with pytest.raises(DataError, match="picture-width-deg"):
        analyze(study, workers=1)


def test_nothing_to_analyse_says_what_to_do(tmp_path: Path) -> None:
    study = imported(tmp_path, {})
    with pytest.raises(DataError, match="beholder simulate"):
        find(study)


@pytest.mark.slow
def test_simulated_observers_stay_simulated_where_the_truth_is_not_shared(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    shutil.rmtree(study / "sourcedata")
    page = analyze(study, workers=1).report.read_text("utf-8")
    assert "3 simulated observers and" in page and "Simulated, not people." in page


def test_what_the_report_shows_makes_it_anew_when_it_changes(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    [events] = (study / "sub-02").rglob("*_events.tsv")
    events.write_text(events.read_text().replace("complete\tfirst", "complete\trepeat", 1))
    assert analyze(study, workers=1).computed["report"] == 1
    for sidecar in (study / "sub-01").rglob("*_physio.json"):
        values = json.loads(sidecar.read_text())
        values["Validation"]["loss_percent"] = 77.7
        sidecar.write_text(json.dumps(values))
    assert "77.7" in analyze(study, workers=1).report.read_text("utf-8")


@pytest.mark.slow
def test_a_pictures_size_in_the_settings_counts_where_no_recording_says_it(tmp_path: Path) -> None:
    study = imported(tmp_path, {"01": gaze(5, 1), "02": gaze(5, 2)})
    analyze(study, workers=1)
    before = read_results(study)
    settings = read_study(study)
    smaller = settings.pictures.model_copy(update={"size_deg": 5.0})
    write_study(settings.model_copy(update={"pictures": smaller}), study)
    assert analyze(study, workers=1).computed["alignment"] == 4
    after = read_results(study)
    assert after.summary.px_per_deg["scene-1"] > 3 * before.summary.px_per_deg["scene-1"]


def test_results_of_an_analysis_that_was_cut_short_are_not_reported(
    analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copy(analysed, tmp_path)
    settings = read_study(study)
    maps = settings.maps.model_copy(update={"weight": "count"})
    write_study(settings.model_copy(update={"maps": maps}), study)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("beholder.analysis.pipeline.alignment_stage._remove_stale", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyze(study, workers=1)
    monkeypatch.undo()
    with pytest.raises(DataError, match="no complete analysis"):
        conclude(study)
    # A mistake in the settings, though, costs nothing that was there.
    whole = copy(analysed, tmp_path / "whole")
    with pytest.raises(WeightsError):
        analyze(whole, model_names=["no_such_model"], workers=1)
    assert conclude(whole).is_file()


def test_two_recordings_of_one_name_and_other_tasks_are_not_mixed_in(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    beh = study / "sub-01" / "beh"
    for file in list(beh.iterdir()):
        shutil.copy(file, beh / file.name.replace("task-viewing", "task-reading"))
    found = find(study)
    assert len(found.recordings) == 3 and any("reading" in str(r) and "left out" in str(r) for r in found.remarks)
    other = study / "sub-01" / "ses-02" / "beh"
    other.mkdir(parents=True)
    for file in beh.glob("*task-viewing*"):
        shutil.copy(file, other / file.name.replace("sub-01_", "sub-01_ses-02_"))
    with pytest.raises(DataError, match="both run 1 of participant 01"):
        find(study)


@pytest.mark.slow
def test_a_participant_with_two_runs_weighs_once_in_the_pooled_map(tmp_path: Path) -> None:
    first, second, other = gaze(5, 1), gaze(5, 2), gaze(5, 3)
    both = pd.concat([first, second.assign(fixation=second["fixation"] + 5)])
    (tmp_path / "one").mkdir()
    one_run = imported(tmp_path / "one", {"01": both, "02": other})
    (tmp_path / "two").mkdir()
    two_runs = imported(tmp_path / "two", {"01": first, "02": other})
    write_fixations(two_runs, "01", second, run=2)
    tables = []
    for study in (one_run, two_runs):
        analyze(study, workers=1)
        table = read_results(study).scores("sigmas")
        tables.append(table[table["participant"] == "pooled"][["kl", "cc", "sim", "ssim"]].to_numpy())
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-4)


@pytest.mark.slow
def test_an_even_spread_stays_even_when_maps_are_smoothed(tmp_path: Path) -> None:
    wide = SMALL.maps.model_copy(update={"smooth": "both", "sigma_from": 4.0, "sigma_to": 4.0, "sigma": 4.0})
    study = imported(tmp_path, {"01": gaze(6, 1), "02": gaze(6, 2)}, SMALL.model_copy(update={"maps": wide}))
    analyze(study, workers=1)
    table = read_results(study).scores("sigmas")
    assert table[table["map"] == "uniform"]["cc"].isna().all()


def test_remarks_of_an_import_are_in_the_report(tmp_path: Path) -> None:
    table = tmp_path / "gaze.csv"
    rows = "".join(f"P-{p},scene-{s},{20 + 5 * p},{30 + 4 * s},200,calm\n" for p in (1, 2) for s in range(4))
    table.write_text("participant,stimulus,x_px,y_px,duration_ms,mood\n" + rows)
    import_fixations(table, tmp_path / "study", pictures(tmp_path / "pictures"), picture_width_deg=10.0)
    write_study(read_study(tmp_path / "study").model_copy(update={"models": SMALL.models}), tmp_path / "study")
    page = analyze(tmp_path / "study", workers=1).report.read_text("utf-8")
    # The names that people had elsewhere are told to who imports them, and not kept.
    assert "columns that are not used: mood" in page and "P-1" not in page


def test_two_analyses_of_a_study_do_not_run_at_once(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    with FileLock(study / ".beholder" / "analysis.lock"), pytest.raises(StudyError, match="another process"):
        analyze(study, workers=1)


@pytest.mark.slow
def test_a_report_that_was_interrupted_is_made_again(
    analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copy(analysed, tmp_path)
    settings = read_study(study)
    write_study(settings.model_copy(update={"study": StudySettings(name="Another name")}), study)

    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("beholder.analysis.pipeline.analyze._conclude", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyze(study, workers=1)
    monkeypatch.undo()
    again = analyze(study, workers=1)
    assert again.computed["report"] == 1 and "Another name" in again.report.read_text("utf-8")


def test_a_session_that_waits_in_its_journal_is_said(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    (study / ".beholder" / "journal" / "sub-09_run-1").mkdir(parents=True)
    [said] = [r for r in find(study).remarks if r.about == "sub-09 run-1"]
    assert "not in this analysis" in said.text and 'next "beholder run" in this study recovers it' in said.text
    assert str(study) not in said.text, "a path has no place in a report"


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(simulated: Path, tmp_path: Path) -> None:
    study = copy(simulated, tmp_path)
    settings = read_study(study)
    write_study(settings.model_copy(update={"models": ModelSettings(names=["offline"], layers=[13])}), study)
    with pytest.raises(StudyError, match="layers 1 to 12; 13"):
        analyze(study, workers=1)


def test_one_weights_file_is_not_for_two_models(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="one model"):
        analyze(simulated, model_names=["offline", "vit_tiny_patch16_224"], weights=tmp_path / "w.pth")


def test_every_picture_serves_equally_often_as_anothers_shuffled_picture() -> None:
    names = [f"p{i}" for i in range(7)]
    partners = shuffled_partners(names, 3, seed=5)
    uses = [other for others in partners.values() for other in others]
    assert all(uses.count(name) == 3 for name in names)
    assert all(name not in others for name, others in partners.items())
    assert partners == shuffled_partners(names[::-1], 3, seed=5)


# What the study's limits leave out, and what is said of it.


def without_gaze(
    study: Path,
    participant: str,
    eyes: tuple[str, ...] = ("eye1", "eye2"),
    *,
    trial: int | None = None,
    share: float = 1.0,
) -> None:
    """Take the first `share` of the gaze out of the time of a trial's picture, or of all."""
    [events] = (study / f"sub-{participant}").rglob("*_events.tsv")
    shown = pd.read_csv(events, sep="\t").query("trial_type == 'picture'")
    for eye in eyes:
        [file] = (study / f"sub-{participant}").rglob(f"*_recording-{eye}_physio.tsv.gz")
        rows = pd.read_csv(file, sep="\t", header=None, na_values="n/a")
        time_s = rows[0] - rows[0].iloc[0]
        for _, picture in shown[shown["trial"] == trial].iterrows() if trial else shown.iterrows():
            end = picture["onset"] + share * picture["duration"]
            rows.loc[(time_s >= picture["onset"]) & (time_s < end), [1, 2, 3]] = np.nan
        with gzip.open(file, "wt") as out:
            rows.to_csv(out, sep="\t", header=False, index=False, na_rep="n/a", float_format="%.6f")


def limits(study: Path, **values: float | None) -> None:
    settings = read_study(study)
    write_study(settings.model_copy(update={"exclusion": ExclusionSettings(**values)}), study)


def test_a_trial_over_a_limit_is_in_no_map_and_is_said_on_the_page(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    without_gaze(study, "02", trial=3, share=0.6)
    done = analyze(study, workers=1)
    results = read_results(study)
    [lost] = results.trials.query("participant == '02' and trial == 3").to_dict("records")
    assert (lost["why"], lost["included"], lost["n_used"]) == ("loss", False, 0) and 60 <= lost["loss_percent"] < 68
    assert lost["n_fixations"] > 0, "there was gaze, and it is left out all the same"
    table = results.scores("sigmas")[results.scores("sigmas")["stimulus"] == lost["stimulus"]]
    assert set(table["participant"]) == {"01", "03", "pooled"}
    other = results.scores("fixed", [("drift_corrected", "==", True), ("stimulus", "==", lost["stimulus"])])
    assert set(other["participant"]) == {"01", "03"}
    assert any("left out 1 of 12 trials (loss over 50 %: 1)" in r.text for r in done.remarks)
    page = done.report.read_text("utf-8")
    assert "1 of 12 trials (loss over 50 %: 1)" in page[: page.index("Who, and how well measured")]
    assert "trials with more than 50 % of samples lost" in page[page.index('<h2 id="h-methods') :]
    # Without the limit it is back; the pictures that it does not concern are not compared again.
    limits(study, trial_loss_percent=100.0)
    again = analyze(study, workers=1)
    # What is fitted to everybody's gaze changes for every picture, the comparisons over sigma for one.
    assert (again.computed["fixations"], again.computed["alignment"], again.computed["fixed sigma"]) == (1, 1, 4)
    assert read_results(study).trials["included"].all()
    assert "50 % of samples lost" not in again.report.read_text("utf-8")


@pytest.mark.slow
def test_somebody_of_whom_too_little_is_left_is_left_out_altogether(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    for trial in (1, 2, 3):
        without_gaze(study, "02", trial=trial)
    done = analyze(study, workers=1)
    results = read_results(study)
    assert sorted(results.trials.query("participant == '02'")["why"]) == ["loss", "loss", "loss", "participant"]
    assert "02" not in set(results.scores("sigmas")["participant"])
    assert "1 participant altogether (02)" in done.report.read_text("utf-8")


def test_where_the_limits_leave_nothing_one_sentence_says_so(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    limits(study, accuracy_deg=0.001)
    with pytest.raises(
        DataError, match=r"nothing of .* is left .* 12 of 12 trials \(validation error over 0.001°: 12\)"
    ):
        analyze(study, workers=1)


@pytest.mark.slow
def test_a_limit_to_loss_leaves_imported_fixations_alone(tmp_path: Path) -> None:
    study = imported(tmp_path, {"01": gaze(5, 1), "02": gaze(5, 2)})
    limits(study, trial_loss_percent=0.0, trial_drift_deg=0.01, accuracy_deg=0.01)
    page = analyze(study, workers=1).report.read_text("utf-8")
    assert read_results(study).trials["included"].all()
    assert "8 trials without samples have no loss to judge by" in page


def test_the_primary_measure_is_there_with_and_without_the_correction_of_drift(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    settings = read_study(study)
    corrected = settings.fixations.model_copy(update={"correct_drift": True})
    write_study(settings.model_copy(update={"fixations": corrected}), study)
    analyze(study, workers=1)
    plain, moved = (read_results(folder).scores("fixed") for folder in (analysed, study))
    keys = ["participant", "stimulus", "map"]

    def kl(table: pd.DataFrame, *, corrected: bool) -> pd.Series:
        at = table[(table["within"] == "picture") & (table["window_end_s"] == 2.0) & (table["window_start_s"] == 0.0)]
        at = at[at["drift_corrected"] == corrected]
        # What is fitted to gaze is fitted to gaze as the study set it.
        at = at[(at["participant"] != "pooled") & ~at["map"].isin(["random", "others", "centre-fitted"])]
        return at.set_index(keys)["kl"].sort_index()

    # What stands beside the main analysis is what the other setting makes the main analysis. trials.csv has six digits.
    pd.testing.assert_series_equal(kl(plain, corrected=True), kl(moved, corrected=True), atol=1e-4)
    pd.testing.assert_series_equal(kl(moved, corrected=False), kl(plain, corrected=False), atol=1e-4)
    assert (kl(plain, corrected=False) - kl(moved, corrected=True)).abs().max() > 0.01
    assert plain.loc[plain["drift_corrected"], ["cc", "sim", "ssim"]].isna().all(axis=None)
    for study_, main in ((analysed, "without (main) and with"), (study, "without and with (main)")):
        page = (results_folder(study_) / "report.html").read_text("utf-8")
        assert f"Gain over chance {main} the correction of drift" in page
    ours, theirs = (pd.read_csv(results_folder(s) / "tables" / "drift-correction.csv") for s in (analysed, study))
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_what_inference_had_to_leave_out_is_told_with_the_other_remarks(analysed: Path, tmp_path: Path) -> None:
    study = copy(analysed, tmp_path)
    without_gaze(study, "02", trial=3)
    for done in (analyze(study, workers=1), analyze(study, workers=1)):
        assert any("lack comparisons and are left out of the intervals" in r.text for r in done.remarks)


# A mouse in the place of the eyes: marked as simulated, without a truth file.


RATES_HZ = [60.0, pytest.param(30.0, marks=pytest.mark.slow), pytest.param(120.0, marks=pytest.mark.slow)]


def mouse(study: Path, *, rate_hz: float = 60.0, still: bool = False, participants: int = 1) -> Path:
    """Have some people only, their recordings as a mouse's: no truth, and gaze that may never move."""
    shutil.rmtree(study / "sourcedata", ignore_errors=True)
    for number in range(participants + 1, 4):
        shutil.rmtree(study / f"sub-{number:02d}", ignore_errors=True)
    table = pd.read_csv(study / "participants.tsv", sep="\t", dtype=str, keep_default_na=False).iloc[:participants]
    table.to_csv(study / "participants.tsv", sep="\t", index=False)
    for sidecar in study.rglob("*_physio.json"):
        values = json.loads(sidecar.read_text())
        step = values["SamplingFrequency"] / rate_hz
        sidecar.write_text(json.dumps(values | {"ManufacturersModelName": "mouse", "SamplingFrequency": rate_hz}))
        file = sidecar.with_suffix(".tsv.gz")
        rows = pd.read_csv(file, sep="\t", header=None, na_values="n/a")
        rows = rows.iloc[np.unique(np.rint(np.arange(0, len(rows), step)).astype(int)[:-1])]
        if still:
            rows[[1, 2]] = 700.0
        with gzip.open(file, "wt") as out:
            rows.to_csv(out, sep="\t", header=False, index=False, na_rep="n/a", float_format="%.6f")
    return study


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_mouse_is_analysed_and_never_called_eyes(simulated: Path, tmp_path: Path, rate_hz: float) -> None:
    study = mouse(copy(simulated, tmp_path), rate_hz=rate_hz)
    done = analyze(study, workers=1)
    page = done.report.read_text("utf-8")
    assert "1 simulated observer, moving a mouse by hand in the place of their eyes," in page
    assert "Simulated, not people." in page and "no interval, as there is one participant" in page
    assert "cannot be tested with so few heads, participants or pictures" in page
    assert read_results(study).trials["included"].all()


@pytest.mark.slow
def test_a_mouse_on_one_picture_gives_a_report_with_its_cautions(simulated: Path, tmp_path: Path) -> None:
    study = copy(simulated, tmp_path)
    for number in (1, 2, 3):
        (study / "stimuli" / "images" / f"scene-{number}.png").unlink()
    page = analyze(mouse(study), workers=1).report.read_text("utf-8")
    assert "on 1 object:" in page and "how far above chance that is cannot be said" in page


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_mouse_that_never_moves_is_refused_in_one_sentence(simulated: Path, tmp_path: Path, rate_hz: float) -> None:
    study = mouse(copy(simulated, tmp_path), rate_hz=rate_hz, still=True)
    with pytest.raises(DataError, match=r"no fixation on any picture.*trials\.csv"):
        analyze(study, workers=1)
    # Where the fixation under way at the onset counts, it is one long fixation a picture.
    settings = read_study(study)
    kept = settings.fixations.model_copy(update={"drop_first": False})
    write_study(settings.model_copy(update={"fixations": kept}), study)
    analyze(study, workers=1)
    trials = read_results(study).trials
    assert trials["included"].all() and (trials["n_fixations"] == 1).all()


def test_a_session_that_lost_every_trial_is_refused_in_one_sentence(simulated: Path, tmp_path: Path) -> None:
    study = mouse(copy(simulated, tmp_path))
    without_gaze(study, "01")
    with pytest.raises(DataError, match=r"4 of 4 trials \(loss over 50 %: 4\)"):
        analyze(study, workers=1)


# What every stage gives for a fixed input: some of its numbers, within what machines differ by. If a change makes this
# test fail, raise that stage's VERSION and write the new numbers (BEHOLDER_WRITE_GOLDEN=1): results that were cached
# before would otherwise be taken for up to date.
def test_claims_are_read_before_any_work_and_a_change_in_them_makes_the_report_anew(
    analysed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = copy(analysed, tmp_path)

    def set_claims(names: list[str]) -> None:
        alignment = SMALL.alignment.model_copy(update={"claims": names})
        write_study(SMALL.model_copy(update={"alignment": alignment}), study)

    set_claims(["mine.toml"])
    with pytest.raises(StudyError, match=r"mine\.toml does not exist"):
        analyze(study, workers=1)
    text = '[paper]\nauthors = ["Clark"]\ntitle = "T"\nyear = 1973\n[[claims]]\nid = "a"\nstatement = "s"\n'
    made: list[str] = []

    def conclude_quickly(folder: Path, progress: object) -> Path:
        made.append((folder / "mine.toml").read_text())
        return results_folder(folder) / "report.html"

    monkeypatch.setattr("beholder.analysis.pipeline.analyze._conclude", conclude_quickly)
    for number in (3, 3, 4):
        (study / "mine.toml").write_text(f'{text}how = "participants"\nnumber = {number}\n')
        done = analyze(study, workers=1)
        assert not done.computed["alignment"]
    assert [made_of[-2] for made_of in made] == ["3", "4"]


GOLDEN = Path(__file__).parents[1] / "golden.json"


def test_a_stages_output_does_not_change_without_its_version(analysed: Path) -> None:
    results = read_results(analysed)
    heads = results.attention("offline", 12)
    outputs = {
        "fixations": results.fixations[["onset_s", "duration_s", "x_px", "y_px", "used"]].to_numpy(float).ravel(),
        "attention": np.concatenate([heads[name].ravel() for name in sorted(heads)]),
        "alignment": np.concatenate([
            results.scores("sigmas")[["kl", "cc", "sim", "ssim"]].to_numpy(float).ravel(),
            results.scores("chance")[["kl", "cc", "sim", "ssim", "nss", "sauc"]].to_numpy(float).ravel(),
            results.scores("fixed", AS_SET)[list(results.study.alignment.measures)].to_numpy(float).ravel(),
        ]),
    }  # fmt: skip
    found = {
        stage: {
            "version": VERSION[stage],
            "n": len(values),
            # A prime step meets every column and every map.
            "values": [None if np.isnan(v) else round(float(v), 7) for v in values[::97]],
        }
        for stage, values in outputs.items()
    }
    if os.environ.get("BEHOLDER_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found))
    golden = json.loads(GOLDEN.read_text())
    for stage, value in found.items():
        known = golden[stage]
        assert (value["version"], value["n"]) == (known["version"], known["n"]), stage
        ours, theirs = (np.array(v["values"], dtype=float) for v in (value, known))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4, err_msg=stage)


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed_half_way(
    simulated: Path, analysed: Path, tmp_path: Path, cluster: Callable[[], Any]
) -> None:
    study = copy(simulated, tmp_path)
    one = cluster()
    first, _ = one.worker(), one.worker()
    killed = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "alignment" and done == total // 2 and not killed:
            os.kill(first.pid, signal.SIGKILL)
            killed.append(first.wait())

    wait_for_workers(one.address, 2)
    analyze(study, cluster=one.address, progress=kill)
    assert killed == [-signal.SIGKILL]
    ours, theirs = bytes_of(analysed), bytes_of(study)
    assert set(ours) == set(theirs)
    assert {k for k in ours if ours[k] != theirs[k]} <= {"provenance.json"}


def wait_for_workers(address: str, n: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)
