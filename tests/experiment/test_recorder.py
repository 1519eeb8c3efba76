"""Claims of `experiment.recorder`: everything arrives, in order, in time, and no failure of the disk is swallowed."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.experiment import recorder as recording
from beholder.experiment.recorder import Recorder
from beholder.shared.errors import DataError
from beholder.shared.gaze import SAMPLE, Samples, no_samples
from beholder.shared.recording.journal import (
    LOG,
    SAMPLES,
    JournalWriter,
    _GrowingFile,
    exclusive,
    join_saved,
    journals,
    read_journal,
)
from beholder.shared.recording.records import MessageSent, Record
from tests.headers import session_header


@pytest.fixture
def writer(tmp_path: Path) -> JournalWriter:
    return JournalWriter(tmp_path, session_header())


def test_everything_handed_over_is_in_the_journal_in_its_order(writer: JournalWriter) -> None:
    recorder = Recorder(writer, 250.0)
    times = np.arange(5000) / 250
    for number, piece in enumerate(np.array_split(times, 13)):
        samples = no_samples(len(piece))
        samples["time_s"] = piece
        recorder.samples(samples)
        recorder.record(Record(float(number), MessageSent(str(number))))
    recorder.close()
    recorder.close()
    journal = read_journal(writer.folder)
    np.testing.assert_array_equal(journal.samples["time_s"], times)
    assert [message.text for message in journal.all_of(MessageSent)] == [str(number) for number in range(13)]
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


# A disk that fails.


class FailingFile:
    """A journal's file whose writes go as `plan` says, one by one: the share of the rows that is taken, or an error."""

    def __init__(self, writer: JournalWriter, plan: Iterable[float | OSError], name: str = SAMPLES) -> None:
        self._file, self._plan = writer._grown[name]._file, iter(plan)
        writer._grown[name]._file = self  # type: ignore[assignment]

    def write(self, rows: bytearray) -> int:
        step = next(self._plan, 1.0)
        if isinstance(step, OSError):
            raise step
        return self._file.write(rows[: max(1, int(len(rows) * step))])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def numbered(first: int, last: int) -> Samples:
    samples = no_samples(last - first)
    samples["time_s"] = np.arange(first, last) / 250
    return samples


def wait_for(what: Callable[[], object]) -> None:
    """Until it is true; a loaded machine may take long."""
    give_up_s = time.monotonic() + 20
    while not what():
        assert time.monotonic() < give_up_s
        time.sleep(0.005)


def hand_over_until_told(recorder: Recorder, error: type[Exception], words: str) -> int:
    """Hand over one sample after another until the recorder raises; returns how many."""
    count = 0
    with pytest.raises(error, match=words):
        while count < 5000:
            count += 1
            recorder.samples(numbered(count - 1, count))
            time.sleep(0.002)
    return count


@pytest.mark.parametrize(
    "plan",
    [
        [0.5, 0.3, 0.9, 0.1],
        [OSError(errno.EIO, "Input/output error")],
        [0.37, OSError(errno.EIO, "Input/output error"), 0.5, OSError(errno.EROFS, "Read-only file system"), 0.01],
    ],
    ids=["short writes", "an error", "errors after short writes"],
)
def test_a_disk_that_comes_back_has_every_row_once_and_the_session_was_told(
    writer: JournalWriter, plan: list[float | OSError]
) -> None:
    FailingFile(writer, plan)
    recorder = Recorder(writer, 250.0, sync_every_s=0.05)
    fails = any(isinstance(step, OSError) for step in plan)
    count = hand_over_until_told(recorder, DataError, "make room on the disk") if fails else 0
    assert (recorder.trouble() is not None) == fails
    # Told once: what is handed over on the way out is taken.
    for _ in range(50):
        recorder.samples(numbered(count, count + 10))
        count += 10
    recorder.close()
    recorder.close()
    journal = read_journal(writer.folder)
    np.testing.assert_array_equal(journal.samples["time_s"], np.arange(count) / 250)
    assert journal.remarks == ()
    assert not journals(writer.folder.parents[2])[0].running


def test_what_a_failed_sync_may_have_dropped_is_written_again(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = writer.folder / SAMPLES
    writer.append_samples(numbered(0, 10))
    writer.sync()
    durable = samples.stat().st_size
    fsync, calls = os.fsync, []

    def dropping(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            # As some systems do: the error is told once, and the pages are gone.
            with samples.open("r+b") as file:
                file.seek(durable)
                file.write(b"\0" * (samples.stat().st_size - durable))
            raise OSError(errno.EIO, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", dropping)
    recorder = Recorder(writer, 250.0, sync_every_s=0.05)
    recorder.samples(numbered(10, 30))
    wait_for(lambda: len(calls) > 1)
    with pytest.raises(DataError, match="cannot be written"):
        recorder.samples(numbered(30, 40))
    recorder.close()
    np.testing.assert_array_equal(read_journal(writer.folder).samples["time_s"], np.arange(40) / 250)


def test_a_record_that_cannot_be_written_down_is_told_as_a_defect_and_stops_no_other(writer: JournalWriter) -> None:
    recorder = Recorder(writer, 250.0)
    recorder.record(Record(0.0, MessageSent("before")))
    recorder.record(Record(1.0, MessageSent(float("nan"))))
    recorder.record(Record(2.0, MessageSent("after")))
    wait_for(recorder.trouble)
    with pytest.raises(ValueError, match="JSON"):
        recorder.samples(numbered(0, 1))
    recorder.close()
    assert [record.at_s for record in read_journal(writer.folder).records] == [0.0, 2.0]


def test_a_failure_that_nobody_was_told_of_is_told_at_the_end(writer: JournalWriter) -> None:
    FailingFile(writer, [OSError(errno.EIO, "Input/output error")])
    recorder = Recorder(writer, 250.0, sync_every_s=None)
    recorder.samples(numbered(0, 5))
    with pytest.raises(DataError, match="Input/output error"):
        recorder.close()
    assert len(read_journal(writer.folder).samples) == 5


def test_what_a_disk_refuses_to_the_end_is_saved_elsewhere_and_joined_by_recovery(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recording, "GIVE_UP_AFTER_S", 0.5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    refused = OSError(errno.EROFS, "Read-only file system")
    for name in (SAMPLES, LOG):
        FailingFile(writer, [1.0, 0.4, *itertools.repeat(refused, 10_000)], name)
    writer.append_samples(numbered(0, 10))
    writer.append_records([Record(0.0, MessageSent("first"))])
    writer.sync()
    recorder = Recorder(writer, 250.0, sync_every_s=0.05)
    recorder.record(Record(1.0, MessageSent("second")))
    recorder.samples(numbered(10, 60))
    wait_for(recorder.trouble)
    with pytest.raises(DataError, match="cannot be written"):
        recorder.samples(numbered(60, 70))
    recorder.record(Record(2.0, MessageSent("third")))
    for _ in range(2):
        with pytest.raises(DataError, match=r"60 samples are in .*beholder-unsaved-.* do not restart"):
            recorder.close()
    assert not journals(writer.folder.parents[2])[0].running
    torn = read_journal(writer.folder)
    assert len(torn.samples) < 70
    assert torn.remarks
    with exclusive(writer.folder):
        assert join_saved(writer.folder) > 0
        assert join_saved(writer.folder) == 0
    whole = read_journal(writer.folder)
    np.testing.assert_array_equal(whole.samples["time_s"], np.arange(70) / 250)
    assert [message.text for message in whole.all_of(MessageSent)] == ["first", "second", "third"]
    assert whole.remarks == ()
    assert list(tmp_path.glob("beholder-unsaved-*")) == []


@pytest.mark.parametrize("stuck_in", ["write", "sync"])
def test_a_disk_that_never_answers_delays_nobody_and_what_is_not_on_it_is_saved_elsewhere(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stuck_in: str
) -> None:
    monkeypatch.setattr(recording, "SLOW_AFTER_S", 0.2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answers = threading.Event()
    fsync, write = os.fsync, _GrowingFile.flush
    main = threading.main_thread()

    def never(real: Callable[[Any], None], what: Any) -> None:
        # The folder elsewhere is written by this test's own thread.
        if threading.current_thread() is not main:
            answers.wait()
        real(what)

    writer.append_samples(numbered(0, 10))
    writer.sync()
    if stuck_in == "write":
        monkeypatch.setattr(_GrowingFile, "flush", lambda self: never(write, self))
    else:
        monkeypatch.setattr(os, "fsync", lambda handle: never(fsync, handle))
    recorder = Recorder(writer, 250.0, sync_every_s=0.05)
    began_s = time.monotonic()
    for first in range(10, 500, 10):
        recorder.samples(numbered(first, first + 10))
        recorder.record(Record(float(first), MessageSent(str(first))))
    assert time.monotonic() - began_s < 1.0
    wait_for(recorder.trouble)
    assert "has not answered" in str(recorder.trouble())
    with pytest.raises(DataError, match=r"did not answer for 0\.3 s\): 490 samples are in"):
        recorder.close(timeout_s=0.3)
    assert journals(writer.folder.parents[2])[0].running
    # It answers at last, when all has been saved already: that does no harm.
    answers.set()
    wait_for(lambda: not journals(writer.folder.parents[2])[0].running)
    with exclusive(writer.folder):
        assert join_saved(writer.folder) > 0
    whole = read_journal(writer.folder)
    np.testing.assert_array_equal(whole.samples["time_s"], np.arange(500) / 250)
    assert [record.at_s for record in whole.records] == list(range(10, 500, 10))


def test_where_nothing_can_be_saved_the_loss_is_counted(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recording, "GIVE_UP_AFTER_S", 0.3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    FailingFile(writer, itertools.repeat(OSError(errno.EROFS, "Read-only file system"), 10_000))
    recorder = Recorder(writer, 250.0)
    recorder.samples(numbered(0, 7))
    with pytest.raises(DataError, match="7 samples are lost"):
        recorder.close()
