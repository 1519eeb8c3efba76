"""Claims of `experiment.recorder`: everything arrives, in order, in time, and no failure of the disk is swallowed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from experiment.recorder import Recorder
from shared.errors import DataError
from shared.gaze import SAMPLE, no_samples
from shared.journal import JournalWriter, Record, journals, read_journal


@pytest.fixture
def writer(tmp_path: Path) -> JournalWriter:
    return JournalWriter(tmp_path, {"participant": "01", "run": 1})


def test_everything_handed_over_is_in_the_journal_in_its_order(writer: JournalWriter) -> None:
    recorder = Recorder(writer, 250.0)
    times = np.arange(5000) / 250
    for number, piece in enumerate(np.array_split(times, 13)):
        samples = no_samples(len(piece))
        samples["time_s"] = piece
        recorder.samples(samples)
        recorder.record(Record(float(number), "message", {"text": str(number)}))
    recorder.close()
    recorder.close()
    journal = read_journal(writer.folder)
    np.testing.assert_array_equal(journal.samples["time_s"], times)
    assert [record.value["text"] for record in journal.records] == [str(number) for number in range(13)]
    assert not journals(writer.folder.parents[2])[0].running


def test_rows_are_on_the_disk_within_the_interval_while_the_session_runs(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced_at: list[float] = []
    monkeypatch.setattr(JournalWriter, "sync", lambda self: synced_at.append(time.monotonic()))
    recorder = Recorder(writer, 250.0, sync_every_s=0.1)
    handed_over = time.monotonic()
    recorder.samples(no_samples(3))
    while not synced_at and time.monotonic() < handed_over + 5:
        time.sleep(0.005)
    # Later than asked only by what a loaded machine takes to wake a thread.
    assert 0.09 < synced_at[0] - handed_over < 1.0
    time.sleep(0.3)
    assert len(synced_at) == 1, "there was nothing new to sync"
    recorder.close()


def test_no_more_than_50_ms_of_samples_are_formatted_at_once(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    append = JournalWriter.append_samples

    def watched(self: JournalWriter, samples: np.ndarray) -> None:
        lengths.append(len(samples))
        append(self, samples)

    monkeypatch.setattr(JournalWriter, "append_samples", watched)
    recorder = Recorder(writer, 1000.0, sync_every_s=None)
    recorder.samples(np.zeros(1234, SAMPLE))
    recorder.close()
    assert max(lengths) == 50
    assert sum(lengths) == 1234


def test_a_full_disk_is_told_at_the_next_call_and_at_the_end(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(writer, 250.0, sync_every_s=None)
    recorder.record(Record(0.0, "message", {"text": "kept"}))
    while recorder._queue.qsize():
        time.sleep(0.001)

    def full(file: object, rows: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JournalWriter, "_write", staticmethod(full))
    recorder.samples(no_samples(1))
    with pytest.raises(DataError, match=r"No space left on device.*make room"):
        for _ in range(1000):
            recorder.samples(no_samples(1))
            time.sleep(0.001)
    with pytest.raises(DataError, match="No space left"):
        recorder.close()
    assert [record.value["text"] for record in read_journal(writer.folder).records] == ["kept"]
    assert not journals(writer.folder.parents[2])[0].running
