"""Claims of `shared.journal` and `shared.dataset` on damaged journals: a bad row costs that row and no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import BeholderError, DataError
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import LOG, SAMPLES, JournalWriter, read_journal
from beholder.shared.recording.records import Begin, ClockReading, End, Record
from beholder.shared.recording.session_header import header_to_json
from beholder.shared.study import Study
from beholder.shared.tables import read_events
from tests.headers import session_header

ROWS = 792
HEADER = header_to_json(session_header())


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which a session left its journal; it is copied, never changed."""
    folder = tmp_path_factory.mktemp("left")
    (folder / "pictures").mkdir()
    Image.new("RGB", (64, 48), "#aa8855").save(folder / "pictures" / "bag-01.png")
    create_study(folder / "study", Study(), folder / "pictures")
    writer = JournalWriter(folder / "study", session_header())
    samples = np.zeros(ROWS, SAMPLE)
    samples["time_s"] = 10 + np.arange(ROWS) / 250
    samples["left_x_px"] = np.arange(ROWS)
    samples["right_x_px"] = np.nan
    writer.append_samples(samples)
    writer.append_records([Record(10.0, ClockReading(10.0, 10.0, 10.0))])
    for trial in range(1, 6):
        writer.append_records(
            [Record(10.0 + trial / 10, Begin(trial, "picture", trial=trial, stim_file="images/bag-01.png"))]
        )
        writer.append_records([Record(10.05 + trial / 10, End(trial, "complete"))])
    writer.close()
    return folder / "study"


@pytest.fixture
def study(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.fsync", lambda file: None)
    return Path(shutil.copytree(left, tmp_path / "study"))


def journal_of(study: Path) -> Path:
    return study / ".beholder" / "journal" / "sub-01_run-1"


def change_row(path: Path, number: int, row: bytes) -> bytes:
    lines = path.read_bytes().split(b"\n")
    lines[number] = row
    path.write_bytes(b"\n".join(lines))
    return path.read_bytes()


BAD_ROWS = {
    "a bad byte": b"10.152000\t38\xff00\t0.00\t0.000\tn/a\t0.00\t0.000",
    "zeros of a failed block": b"\0" * 60,
    "a column too few": b"10.152000\t38.00\t0.00\t0.000\tn/a\t0.00",
    "a column too many": b"10.152000\t38.00\t0.00\t0.000\tn/a\t0.00\t0.000\t1",
    "no time": b"n/a\t38.00\t0.00\t0.000\tn/a\t0.00\t0.000",
    "a time far ahead": b"90.152000\t38.00\t0.00\t0.000\tn/a\t0.00\t0.000",
    "a time far behind": b"00.152000\t38.00\t0.00\t0.000\tn/a\t0.00\t0.000",
    "what Python calls a number": b"10.152000\t3_8.00\t0.00\t0.000\tn/a\t0.00\t0.000",
    "infinite": b"10.152000\tinf\t0.00\t0.000\tn/a\t0.00\t0.000",
    "nothing": b"",
}


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_costs_that_row_and_the_file_is_kept(study: Path, row: bytes) -> None:
    original = change_row(journal_of(study) / SAMPLES, 38, row)
    told = "\n".join(map(str, publishing.recover(study)))
    assert f"1 of its {ROWS} rows could not be read" in told
    (run,) = runs(study)
    samples = read_recording(run).samples
    assert samples["left_x_px"].tolist() == [float(n) for n in range(ROWS) if n != 38]
    kept = study / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_damaged-samples.tsv"
    assert kept.read_bytes() == original
    assert not journal_of(study).exists()


def test_a_bad_record_costs_that_record_and_the_file_is_kept(study: Path) -> None:
    original = change_row(journal_of(study) / LOG, 3, b'10.200000\tbegin\t{"id": 2, "trial_type": "pict\xff')
    told = "\n".join(map(str, publishing.recover(study)))
    assert "1 of its 11 rows could not be read" in told
    (run,) = runs(study)
    assert read_events(run.events_file)["trial"].tolist() == [1, 3, 4, 5]
    kept = study / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_damaged-log.tsv"
    assert kept.read_bytes() == original


def test_a_journal_of_which_nothing_can_be_read_is_kept_whole(study: Path) -> None:
    for name in (SAMPLES, LOG):
        (journal_of(study) / name).write_bytes(b"\xfe garbage\n" * 40)
    publishing.recover(study)
    kept = {path.name for path in (study / "sourcedata" / "sub-01").iterdir()}
    assert kept == {f"sub-01_task-viewing_run-1_damaged-{name}" for name in (SAMPLES, LOG)}
    assert not (study / "sub-01").exists()
    assert not (study / "participants.tsv").exists()


def test_a_row_that_was_cut_short_by_the_crash_is_no_damage(study: Path) -> None:
    path = journal_of(study) / SAMPLES
    path.write_bytes(path.read_bytes()[:-9])
    publishing.recover(study)
    (run,) = runs(study)
    assert len(read_recording(run).samples) == ROWS - 1
    assert not (study / "sourcedata" / "sub-01").exists()


@pytest.mark.parametrize(
    "header",
    ["{", "7", "[]", "null", "[" * 100_000, '{"format": 1}', '{"format": "x"}',
     json.dumps({"format": 2, **HEADER, "participant": "../../other"}),
     json.dumps({"format": 2, **HEADER, "run": None}),
     json.dumps({"format": 2, **HEADER, "participant": "02"}), json.dumps({"format": 2, **HEADER, "run": 2}),
     json.dumps({"format": 2, "participant": "01", "run": 1}), json.dumps({"format": 2, **HEADER, "screen": 7}),
     json.dumps({"format": 2, **HEADER, "tracker": {**HEADER["tracker"], "eyes": ["third"]}}),
     json.dumps({"format": 2, **HEADER, "task": "../../other"})],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_header_that_cannot_be_used_is_one_sentence_and_the_journal_stays(study: Path, header: str) -> None:
    (journal_of(study) / "session.json").write_text(header)
    before = {path: path.read_bytes() for path in journal_of(study).rglob("*") if path.is_file()}
    (remark,) = publishing.recover(study)
    assert "could not be recovered, and is kept as it is" in remark.text
    assert {path: path.read_bytes() for path in journal_of(study).rglob("*") if path.is_file()} == before
    assert not (study / "sub-01").exists()
    assert sorted(path.name for path in study.parent.iterdir()) == ["study"]
    with pytest.raises(DataError):
        publishing.publish(journal_of(study))


@settings(max_examples=25)
@given(
    places=st.lists(st.tuples(st.sampled_from([SAMPLES, LOG]), st.integers(0, 10**6), st.integers(0, 255)), max_size=8)
)
def test_any_bytes_damaged_cost_no_more_than_their_rows(
    left: Path, tmp_path_factory: pytest.TempPathFactory, places: list[tuple[str, int, int]]
) -> None:
    study = Path(shutil.copytree(left, tmp_path_factory.mktemp("damaged") / "study"))
    whole = read_journal(journal_of(left))
    for name, place, byte in places:
        path = journal_of(study) / name
        data = bytearray(path.read_bytes())
        data[place % len(data)] = byte
        path.write_bytes(bytes(data))
    damaged = {name: (journal_of(study) / name).read_bytes() for name in (SAMPLES, LOG)}
    try:
        found = read_journal(journal_of(study))
        publishing.publish(journal_of(study))
    except BeholderError:
        assert {name: (journal_of(study) / name).read_bytes() for name in damaged} == damaged
        return
    # A line end that is damaged takes two rows with it.
    assert len(found.samples) >= ROWS - 2 * len(places)
    assert (np.diff(found.samples["time_s"]) > 0).all()
    same = np.isin(found.samples["time_s"], whole.samples["time_s"]).sum()
    assert same >= ROWS - 2 * len(places)
    for name in found.damaged:
        kept = study / "sourcedata" / "sub-01" / f"sub-01_task-viewing_run-1_damaged-{name}"
        assert kept.read_bytes() == damaged[name]
    for run in runs(study):
        read_recording(run)
