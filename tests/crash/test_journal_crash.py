"""Killed in the midst of a write, a recording process loses nothing that it had synced."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beholder.shared.dataset import publishing
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.recording.journal import journals, read_journal

ROOT = Path(__file__).parents[2]

# Samples go through the real recorder, which dies in its k-th write; half of that write reaches the disk.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from beholder.experiment.recorder import Recorder
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import SAMPLES, JournalWriter, _GrowingFile
from beholder.shared.recording.records import Begin, ClockReading, Record
from tests.headers import session_header

dies_at, writes, rows = int(sys.argv[2]), 0, 0
flush, sync = _GrowingFile.flush, JournalWriter.sync

def dying_flush(self):
    global writes, rows
    todo = self.rest[1][self._flushed_bytes:]
    writes += bool(todo)
    if todo and writes == dies_at:
        half = todo[: len(todo) // 2]
        self._file.write(half)
        if self._file.name.endswith(SAMPLES):
            rows += half.count(b"\\n")
        print("died with", rows, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    flush(self)
    if self._file.name.endswith(SAMPLES):
        rows += todo.count(b"\\n")

def telling_sync(self):
    sync(self)
    print("synced", rows, flush=True)

_GrowingFile.flush, JournalWriter.sync = dying_flush, telling_sync
writer = JournalWriter(Path(sys.argv[1]), session_header())
recorder = Recorder(writer, 250.0, sync_every_s=0.02)
recorder.record(Record(0.0, ClockReading(0.0, 0.0, 0.0)))
recorder.record(Record(0.0, Begin(1, "picture", trial=1, stim_file="images/bag-01.png")))
for batch in range(1000):
    samples = np.zeros(5, SAMPLE)
    samples["time_s"] = (np.arange(5) + 5 * batch) / 250
    samples["left_x_px"] = np.arange(5) + 5 * batch
    recorder.samples(samples)
    time.sleep(0.005)
"""


@pytest.mark.parametrize("dies_at", [1, 3, 4, 20, 40])
def test_all_synced_rows_survive_a_kill_in_the_midst_of_a_write(
    study: Path, assert_valid: Callable[[Path], None], dies_at: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(study), str(dies_at)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    told = [line.rsplit(" ", 1) for line in run.stdout.splitlines()]
    synced = max((int(rows) for what, rows in told if what == "synced"), default=0)
    (written,) = [int(rows) for what, rows in told if what == "died with"]
    (state,) = journals(study)
    assert not state.running
    samples = read_journal(state.folder).samples
    assert len(samples) == written >= synced
    assert synced or dies_at < 20
    np.testing.assert_array_equal(samples["left_x_px"], np.arange(len(samples)))
    publishing.recover(study)
    assert_valid(study)
    recovered = runs(study)
    assert len(recovered) == (1 if len(samples) else 0)
    if len(samples):
        recording = read_recording(recovered[0])
        assert len(recording.samples) == len(samples)
        assert recording.events["status"].tolist() == ["aborted"]
