"""Claims of `shared.dataset`: what is published is valid BIDS, is read back as it was, and can be withdrawn."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.recfunctions import structured_to_unstructured
from PIL import Image

from beholder.shared.dataset import publishing, withdrawal
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import Run, beh_runs, fixations_file, read_recording, runs, unread_gaze
from beholder.shared.errors import DataError, StudyError
from beholder.shared.gaze import SAMPLE, Samples
from beholder.shared.recording.journal import JournalWriter, journals
from beholder.shared.recording.records import Begin, ClockReading, End, FormAnswered, MessageSent, Record
from beholder.shared.study import Study
from beholder.shared.tables import read_fixations
from tests.headers import session_header

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


def errors_of(folder: Path) -> list[str]:
    """The validator's errors, by their codes."""
    if not VALIDATOR.exists():
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run([VALIDATOR, "--format", "json", folder], capture_output=True, text=True, check=False)
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [f"{issue['code']} {issue.get('location', '')}" for issue in issues if issue["severity"] == "error"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("bag-01", "jar-01"):
        Image.new("RGB", (64, 48), "#aa8855").save(folder / f"{name}.png")
    return folder


@pytest.fixture
def study(tmp_path: Path, pictures: Path) -> Path:
    folder = tmp_path / "study"
    create_study(folder, Study(), pictures)
    return folder


def assert_same(found: Samples, expected: Samples) -> None:
    """The same to the last bit, missing where missing."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(structured_to_unstructured(found), structured_to_unstructured(expected))


def some_samples(n: int = 500, start_s: float = 10.0) -> Samples:
    rng = np.random.default_rng(3)
    samples = np.zeros(n, SAMPLE)
    samples["time_s"] = np.round(start_s + np.arange(n) / 250, 6)
    for name in (SAMPLE.names or ())[1:]:
        samples[name] = np.round(rng.uniform(0, 1000, n), 2)
        samples[name][rng.random(n) < 0.1] = np.nan
    return samples


def some_records(zero_s: float = 0.0) -> list[Record]:
    """A session's clock 10 s behind the tracker's: a dot, then a picture that is never ended."""
    return [
        Record(zero_s, ClockReading(zero_s, zero_s + 10.0, zero_s)),
        Record(zero_s, FormAnswered({"age": "93", "group": "a\tb"})),
        Record(zero_s, MessageSent("TRIALID 1")),
        Record(zero_s + 0.1, Begin(1, "dot", trial=1)),
        Record(zero_s + 0.5, End(1, "complete")),
        Record(zero_s + 0.5, Begin(2, "picture", trial=1, stim_file="images/bag-01.png")),
    ]


def journal_of(
    study: Path,
    participant: str = "01",
    run: int = 1,
    samples: Samples | None = None,
    records: list[Record] | None = None,
    eyes: tuple[str, ...] = ("left", "right"),
) -> JournalWriter:
    writer = JournalWriter(study, session_header(participant, run, eyes=eyes))
    writer.append_samples(some_samples() if samples is None else samples)
    writer.append_records(some_records() if records is None else records)
    return writer


def published(study: Path, participant: str = "01", run: int = 1, **what: Any) -> tuple[Path, ...]:
    writer = journal_of(study, participant, run, **what)
    writer.close()
    return publishing.publish(writer.folder)


# Making a study.


def test_a_new_study_is_a_valid_data_set(study: Path) -> None:
    assert errors_of(study) == []


def test_a_study_is_never_made_over_something(study: Path, pictures: Path) -> None:
    before = (study / "study.toml").read_bytes()
    with pytest.raises(StudyError, match="not empty"):
        create_study(study, Study(), pictures)
    assert (study / "study.toml").read_bytes() == before


def test_a_broken_picture_leaves_no_study_behind(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        create_study(tmp_path / "study", Study(), tmp_path / "source")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


# Publishing.


def test_published_runs_are_valid_and_the_journal_is_gone(study: Path) -> None:
    files = published(study)
    published(study, run=2)
    published(study, "02", eyes=("right",))
    assert errors_of(study) == []
    assert all(file.is_file() for file in files)
    assert journals(study) == ()
    assert [(run.participant, run.run) for run in runs(study)] == [("01", 1), ("01", 2), ("02", 1)]
    assert read_recording(runs(study)[2]).eyes == ("right",)


def test_answers_that_could_identify_are_coarsened_and_rows_stay_rows(study: Path) -> None:
    published(study)
    participants = read_participants(study)
    assert participants.loc["01", ["age", "group"]].tolist() == ["89", "a b"]
    assert list(participants.columns) == ["participant_id", "age", "group"]


@st.composite
def recordings(draw: st.DrawFn) -> Samples:
    n = draw(st.integers(1, 12))
    steps_us = draw(st.lists(st.integers(3000, 5000), min_size=n, max_size=n))
    samples = np.zeros(n, SAMPLE)
    samples["time_s"] = np.cumsum(steps_us) / 1e6
    cell = st.none() | st.integers(-(10**6), 10**6)
    for name in (SAMPLE.names or ())[1:]:
        column = draw(st.lists(cell, min_size=n, max_size=n))
        samples[name] = [np.nan if value is None else value / 100 for value in column]
    return samples


_labels = itertools.count(1)


@pytest.fixture(scope="module")
def shared_study(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "study"
    create_study(folder, Study(), pictures)
    return folder


@settings(max_examples=15)
@given(samples=recordings())
def test_a_recording_is_read_as_it_was_recorded(shared_study: Path, samples: Samples) -> None:
    label = f"{next(_labels):04d}"
    published(shared_study, label, samples=samples)
    (run,) = (run for run in runs(shared_study) if run.participant == label)
    assert_same(read_recording(run).samples, samples)


def test_the_same_journal_gives_the_same_bytes(tmp_path: Path, pictures: Path) -> None:
    contents = []
    for name in ("a", "b"):
        create_study(tmp_path / name, Study(), pictures)
        contents.append({file.name: file.read_bytes() for file in published(tmp_path / name)})
        time.sleep(1.1)  # a gzip header holds whole seconds
    assert contents[0] == contents[1]


def test_a_picture_under_way_at_a_crash_is_aborted_and_keeps_its_seconds(study: Path) -> None:
    published(study)
    events = read_recording(runs(study)[0]).events
    assert events["status"].tolist() == ["complete", "aborted"]
    # 500 samples at 250 Hz end at 1.996 s; the clocks differ by exactly 10 s and so does the first sample.
    np.testing.assert_allclose(events["onset"], [0.1, 0.5], atol=1e-9)
    np.testing.assert_allclose(events["duration"], [0.4, 1.496], atol=1e-9)


def test_events_are_mapped_by_the_clock_readings_and_their_residual_is_told(study: Path) -> None:
    # A tracker's clock that runs 100 ppm fast, from another start.
    records = [Record(s, ClockReading(s - 1e-4, 10 + 1.0001 * s, s + 1e-4)) for s in (0.0, 50.0, 100.0)]
    records.append(Record(100.0, Begin(1, "dot", trial=1)))
    published(study, samples=some_samples(30000), records=records)
    recording = read_recording(runs(study)[0])
    assert recording.events["onset"][0] == pytest.approx(100.01, abs=1e-6)
    fit = recording.sidecars["left"].ClockFit
    assert fit["drift_ppm"] == pytest.approx(100, abs=1e-3)
    assert fit["residual_ms"] < 1e-3
    assert fit["pairs"] == 3


def test_a_data_set_without_a_table_of_participants_gets_one_of_all_who_are_there(study: Path) -> None:
    for label in ("01", "02"):
        published(study, label)
    (study / "participants.tsv").unlink()
    (study / "participants.json").unlink()
    published(study, "03")
    assert list(read_participants(study).index) == ["01", "02", "03"]
    assert errors_of(study) == []


def test_a_journal_that_cannot_be_recovered_is_kept_and_does_not_keep_others_from_it(study: Path) -> None:
    published(study, "01")
    for label in ("01", "02"):
        journal_of(study, label).close()
    broken, fine = publishing.recover(study)
    assert "nothing recorded is overwritten" in broken.text
    assert "recovered into" in fine.text
    assert [state.participant for state in journals(study)] == ["01"]
    assert [run.participant for run in runs(study)] == ["01", "02"]


def test_nothing_recorded_is_overwritten(study: Path) -> None:
    files = published(study)
    before = {file: file.read_bytes() for file in files}
    writer = journal_of(study, samples=some_samples(10))
    writer.close()
    with pytest.raises(DataError, match="nothing recorded is overwritten"):
        publishing.publish(writer.folder)
    assert {file: file.read_bytes() for file in files} == before
    assert errors_of(study) == []
    assert writer.folder.exists()


def test_a_running_session_is_neither_published_nor_recovered(study: Path) -> None:
    writer = journal_of(study)
    with pytest.raises(DataError, match="running"):
        publishing.publish(writer.folder)
    (remark,) = publishing.recover(study)
    assert "being recorded" in remark.text
    assert writer.folder.exists()
    assert runs(study) == ()
    writer.close()
    assert len(publishing.recover(study)) == 1
    assert len(runs(study)) == 1


def test_two_publishers_at_once_publish_once(study: Path) -> None:
    for label in ("01", "02", "03", "04"):
        journal_of(study, label).close()
    folders = [state.folder for state in journals(study)]
    published_files: list[tuple[Path, ...]] = []
    start = threading.Barrier(8)

    def publish(folder: Path) -> None:
        start.wait()
        try:
            published_files.append(publishing.publish(folder))
        except DataError as refused:
            assert "in use" in str(refused)

    threads = [threading.Thread(target=publish, args=(folder,)) for folder in folders * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(bool(files) for files in published_files) == 4
    assert list(read_participants(study).index) == ["01", "02", "03", "04"]
    assert errors_of(study) == []


def test_a_session_that_died_before_anything_was_recorded_leaves_no_participant(study: Path) -> None:
    journal_of(study, samples=some_samples(0), records=[]).close()
    assert publishing.recover(study)[0].text.endswith("its journal is removed")
    assert not (study / "sub-01").exists()
    assert errors_of(study) == []


def test_a_session_without_gaze_keeps_its_events_and_its_run_number(study: Path) -> None:
    published(study, samples=some_samples(0))
    assert errors_of(study) == []
    assert runs(study) == ()
    assert [run.run for run in runs(study, with_gaze=False)] == [1]


# Withdrawing.


def test_withdrawing_removes_one_participant_everywhere_and_leaves_a_valid_data_set(study: Path) -> None:
    for label in ("01", "02"):
        published(study, label)
        (study / "sourcedata" / f"sub-{label}").mkdir(parents=True, exist_ok=True)
        (study / "sourcedata" / f"sub-{label}" / "a.edf").write_bytes(b"gaze")
    journal_of(study, "01", 2).close()
    (study / "derivatives" / "beholder").mkdir(parents=True)
    (study / "derivatives" / "beholder" / "report.html").write_text("pooled")
    listed = {path.relative_to(study).as_posix() for path in withdrawal.withdrawal(study, "01")}
    assert {"sub-01", "sourcedata/sub-01", "participants.tsv", "derivatives/beholder"} <= listed
    assert ".beholder/journal/sub-01_run-2" in listed
    withdrawal.withdraw(study, "sub-01")
    assert [path for path in study.rglob("*") if "sub-01" in path.name] == []
    assert not (study / "derivatives" / "beholder").exists()
    assert list(read_participants(study).index) == ["02"]
    assert (study / "sourcedata" / "sub-02" / "a.edf").exists()
    assert errors_of(study) == []


def test_withdrawing_the_last_participant_leaves_no_table_of_a_header_alone(study: Path) -> None:
    published(study)
    withdrawal.withdraw(study, "01")
    assert not (study / "participants.tsv").exists()
    assert not (study / "participants.json").exists()
    assert errors_of(study) == []


def test_a_participant_who_is_not_there_or_is_being_recorded_is_not_withdrawn(study: Path) -> None:
    with pytest.raises(DataError, match='nothing of a participant "07"'):
        withdrawal.withdraw(study, "07")
    writer = journal_of(study)
    with pytest.raises(DataError, match="being recorded"):
        withdrawal.withdraw(study, "01")
    assert writer.folder.exists()
    writer.close()


# Imported fixations.


def test_imported_fixations_are_valid_and_read_back(study: Path) -> None:
    table = pd.DataFrame(
        {
            "trial": [1, 1, 2], "stim_file": ["images/bag-01.png"] * 2 + ["images/jar-01.png"], "fixation": [1, 2, 1],
            "onset": [0.2, 0.5, np.nan], "duration": [0.25, 0.3, 0.1], "x_px": [3.0, 60.5, 10.0],
            "y_px": [1.0, 2.0, 47.0], "pupil": ["a", "b", "c"],
        }
    )  # fmt: skip
    path = publishing.write_fixations(study, "07", table)
    assert errors_of(study) == []
    (run,) = beh_runs(study)
    assert fixations_file(run) == path
    pd.testing.assert_frame_equal(read_fixations(path), table, check_dtype=False)
    with pytest.raises(DataError, match="nothing recorded is overwritten"):
        publishing.write_fixations(study, "07", table)
    withdrawal.withdraw(study, "07")
    assert errors_of(study) == []


def test_a_fixation_without_a_place_is_refused_by_its_line(study: Path) -> None:
    table = {
        "trial": 1,
        "stim_file": "images/bag-01.png",
        "fixation": 1,
        "onset": 0.1,
        "duration": 0.2,
        "x_px": 1,
        "y_px": 2,
    }
    path = publishing.write_fixations(study, "07", pd.DataFrame([table]))
    path.write_text(path.read_text().replace("\t1\t2\n", "\tn/a\t2\n"))
    with pytest.raises(DataError, match="line 2 has no x_px"):
        read_fixations(path)
    with pytest.raises(DataError, match="no column y_px"):
        publishing.write_fixations(study, "08", pd.DataFrame([table]).drop(columns="y_px"))


# Reading what others wrote.


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))
    else:
        path.write_text(change(path.read_text()))


def set_key(path: Path, **values: Any) -> None:
    sidecar = json.loads(path.read_text())
    for key, value in values.items():
        if value is None:
            sidecar.pop(key)
        else:
            sidecar[key] = value
    path.write_text(json.dumps(sidecar))


@pytest.fixture
def beh(study: Path) -> Path:
    published(study)
    return study / "sub-01" / "beh"


def prefixed(beh: Path, ending: str) -> Path:
    return beh / f"sub-01_task-viewing_run-1_{ending}"


def only_run(beh: Path) -> Run:
    return runs(beh.parents[1])[0]


def test_columns_that_bids_leaves_open_may_be_missing(beh: Path) -> None:
    for eye in ("eye1", "eye2"):
        rewrite(
            prefixed(beh, f"recording-{eye}_physio.tsv.gz"),
            lambda text: "".join(line.rsplit("\t", 1)[0] + "\n" for line in text.splitlines()),
        )
        set_key(
            prefixed(beh, f"recording-{eye}_physio.json"),
            Columns=["timestamp", "x_coordinate", "y_coordinate"], Validation=None, ClockFit=None, Simulated=None,
        )  # fmt: skip
    prefixed(beh, "events.tsv").write_text(
        "onset\tduration\tstim_file\n0\t1\timages/a.png\n1\t1\tn/a\n2\t1\timages/b.png\n"
    )
    recording = read_recording(only_run(beh))
    assert np.isnan(recording.samples["left_pupil"]).all()
    assert [sidecar.validation for sidecar in recording.sidecars.values()] == [None, None]
    assert recording.simulated is False
    pictures = recording.events[recording.events["trial_type"] == "picture"]
    assert pictures["trial"].tolist() == [1, 2]
    assert pictures["status"].tolist() == ["complete", "complete"]
    assert pictures["exposure"].tolist() == ["first", "first"]


def test_timestamps_in_milliseconds_are_read_as_seconds_with_or_without_their_unit(beh: Path) -> None:
    def milliseconds(text: str) -> str:
        rows = (line.split("\t", 1) for line in text.splitlines())
        return "".join(f"{float(time) * 1000:.3f}\t{rest}\n" for time, rest in rows)

    for eye, unit in (("eye1", {"Units": "ms"}), ("eye2", {"Description": "time"})):
        rewrite(prefixed(beh, f"recording-{eye}_physio.tsv.gz"), milliseconds)
        set_key(prefixed(beh, f"recording-{eye}_physio.json"), timestamp=unit)
    np.testing.assert_allclose(read_recording(only_run(beh)).samples["time_s"], some_samples()["time_s"])


def test_eyes_sampled_at_different_times_are_joined_by_time(beh: Path) -> None:
    rewrite(
        prefixed(beh, "recording-eye2_physio.tsv.gz"), lambda text: "".join(text.splitlines(keepends=True)[100:300])
    )
    samples = read_recording(only_run(beh)).samples
    expected = some_samples()
    np.testing.assert_array_equal(samples["left_x_px"], expected["left_x_px"])
    np.testing.assert_array_equal(samples["right_x_px"][100:300], expected["right_x_px"][100:300])
    assert np.isnan(samples["right_x_px"][:100]).all()


def test_a_description_may_be_inherited_from_the_top_of_the_data_set(beh: Path) -> None:
    study = beh.parents[1]
    before = read_recording(only_run(beh)).samples
    shutil.move(prefixed(beh, "recording-eye1_physio.json"), study / "task-viewing_recording-eye1_physio.json")
    assert_same(read_recording(only_run(beh)).samples, before)


def test_a_cyclopean_recording_is_read_as_one_eye(beh: Path) -> None:
    for ending in ("physio.tsv.gz", "physio.json"):
        prefixed(beh, f"recording-eye1_{ending}").unlink()
        prefixed(beh, f"recording-eye2_{ending}").rename(prefixed(beh, f"recording-eye3_{ending}"))
    set_key(prefixed(beh, "recording-eye3_physio.json"), RecordedEye="cyclopean")
    recording = read_recording(only_run(beh))
    assert recording.eyes == ("left",)
    assert recording.sidecars["left"].eye == "cyclopean"


def replace_in(ending: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda beh: rewrite(prefixed(beh, ending), lambda text: text.replace(old, new, 1))


def keys(ending: str, **values: Any) -> Callable[[Path], None]:
    return lambda beh: set_key(prefixed(beh, ending), **values)


def swap_rows(beh: Path) -> None:
    def swapped(text: str) -> str:
        rows = text.splitlines(keepends=True)
        return "".join([*rows[:2], rows[3], rows[2], *rows[4:]])

    rewrite(prefixed(beh, "recording-eye1_physio.tsv.gz"), swapped)


GAZE, ABOUT = "recording-eye1_physio.tsv.gz", "recording-eye1_physio.json"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (replace_in(GAZE, "10.004000\t", "10.004000\tx"), r"eye1_physio\.tsv\.gz, row 2: x_coordinate is 'x"),
        (replace_in(GAZE, "10.004000\t", "10.004000\t1\t"), r"row 2 has 5 columns where its JSON names 4"),
        (replace_in(GAZE, "10.004000", "n/a"), r"row 2 has no timestamp"),
        (swap_rows, r"row 4: its timestamp does not come after"),
        (lambda beh: prefixed(beh, GAZE).write_bytes(prefixed(beh, GAZE).read_bytes()[:-20]), "fetch it again"),
        (lambda beh: rewrite(prefixed(beh, GAZE), lambda text: ""), "no rows"),
        (lambda beh: prefixed(beh, ABOUT).unlink(), "no JSON file"),
        (lambda beh: prefixed(beh, ABOUT).write_text("{"), r"eye1_physio\.json cannot be read as JSON"),
        (keys(ABOUT, Columns=None), "does not give Columns"),
        (keys(ABOUT, RecordedEye="third"), "RecordedEye is 'third'"),
        (keys(ABOUT, RecordedEye="right"), "the right eye too"),
        (keys(ABOUT, SamplingFrequency=1000.0), "timestamps step by 0.004 s where SamplingFrequency is 1000 Hz"),
        (
            keys(ABOUT, x_coordinate={"Units": "deg"}),
            r"eye1_physio\.json: x_coordinate\.Units is 'deg'; convert it",
        ),
        (
            keys(ABOUT, timestamp={"Units": "fortnight"}),
            "timestamp.Units is 'fortnight'; it must be 's', 'ms', 'us', ",
        ),
        (keys("events.json", StimulusPresentation=None), "no StimulusPresentation"),
        (
            keys(
                "events.json",
                StimulusPresentation={"ScreenDistance": 60, "ScreenSize": [53, 30], "ScreenResolution": [1, 1]},
            ),
            "cannot be metres",
        ),
        (lambda beh: prefixed(beh, "events.tsv").unlink(), r"events\.tsv does not exist"),
        (replace_in("events.tsv", "0.1\t", "soon\t"), r"events\.tsv, line 2: onset is 'soon'"),
        (replace_in("events.tsv", "duration", "length"), "no column duration"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence_that_names_the_place(
    beh: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(beh)
    with pytest.raises(DataError, match=told) as refused:
        read_recording(only_run(beh))
    assert str(refused.value).endswith((".", "one."))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id\nsub-01\n", "no column participant_id"),
        ("participant_id\tage\nsub-01\n", "line 2 does not have 2 columns"),
        ("participant_id\nAnna Smith\n", "line 2: participant_id 'Anna Smith'"),
        ("participant_id\nsub-01\nsub-02\nsub-01\n", "lines 2 and 4 are both sub-01"),
        ("participant_id\tage\tage\nsub-01\t1\t2\n", "names a column twice"),
    ],
)
def test_a_broken_table_of_participants_is_refused_by_its_line(study: Path, text: str, told: str) -> None:
    (study / "participants.tsv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_participants(study)


def test_a_file_of_one_row_is_read_also_beside_an_eye_with_more(beh: Path) -> None:
    rewrite(prefixed(beh, GAZE), lambda text: text.splitlines(keepends=True)[0])
    samples = read_recording(only_run(beh)).samples
    np.testing.assert_array_equal(samples["time_s"], some_samples()["time_s"])
    np.testing.assert_array_equal(samples["right_x_px"], some_samples()["right_x_px"])
    assert np.isnan(samples["left_x_px"][1:]).all()


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_recording-eye1_physio.tsv.gz", "foo_recording-eye1_physio.tsv.gz",
        "sub-02_task-viewing_run-1_recording-eye1_physio.tsv.gz", "sub-_task-viewing_recording-eye1_physio.tsv.gz",
    ],
)  # fmt: skip
def test_gaze_with_a_foreign_name_is_refused_by_it(beh: Path, name: str) -> None:
    shutil.copy(prefixed(beh, GAZE), beh / name)
    with pytest.raises(DataError, match=rf"/{name}: its name must begin with sub-01_ and have a task-: rename it"):
        runs(beh.parents[1])


def test_gaze_that_is_not_read_or_is_gone_is_told(beh: Path) -> None:
    study = beh.parents[1]
    shutil.move(prefixed(beh, "recording-eye2_physio.json"), beh / "sub-01_recording-eye2_physio.json")
    assert unread_gaze(study) == (), "what is inherited describes gaze with a longer name"
    prefixed(beh, GAZE).rename(prefixed(beh, "recording-left_physio.tsv.gz"))
    shutil.copy(prefixed(beh, "recording-left_physio.tsv.gz"), prefixed(beh, "recording-right_physio.tsv.gz"))
    unread, gone = unread_gaze(study)
    assert unread.about.endswith("recording-left_physio.tsv.gz") and unread.text.startswith("is not read")
    assert unread.text.endswith("(the first of 2 such files)")
    assert gone.about.endswith(GAZE) and gone.text.startswith("is not there")
