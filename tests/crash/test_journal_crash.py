"""Killed in the midst of a write, a recording process loses nothing that it had synced."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared import dataset
from shared.journal import journals, read_journal

ROOT = Path(__file__).parents[2]

# Samples go through the real recorder, which dies in its k-th write; half of that write reaches the disk.
PROGRAM = """
import os, sys, time
from pathlib import Path
import numpy as np
from experiment.recorder import Recorder
from shared.gaze import SAMPLE
from shared.journal import JournalWriter, Record

dies_at, writes = int(sys.argv[2]), 0
write, sync = JournalWriter._write, JournalWriter.sync
written = {"rows": 0}

def dying_write(file, rows):
    global writes
    writes += 1
    if writes == dies_at:
        file.write(rows[: len(rows) // 2])
        os._exit(9)
    write(file, rows)
    if file.name.endswith("samples.tsv"):
        written["rows"] += rows.count(b"\\n")

def telling_sync(self):
    rows = written["rows"]
    sync(self)
    print(rows, flush=True)

JournalWriter._write, JournalWriter.sync = staticmethod(dying_write), telling_sync
tracker = {"manufacturer": "M", "model": "M", "serial": "1", "software": "1", "rate_hz": 250.0,
           "eyes": ["left", "right"], "pupil_unit": "mm", "pupil_measure": "diameter", "simulated": False}
screen = {"width_px": 1920, "height_px": 1080, "width_cm": 53.0, "height_cm": 29.8, "distance_cm": 60.0}
writer = JournalWriter(Path(sys.argv[1]), {"participant": "01", "run": 1, "task": "viewing", "beholder": "0",
                                           "instructions": "Look.", "screen": screen, "tracker": tracker})
recorder = Recorder(writer, 250.0, sync_every_s=0.02)
recorder.record(Record(0.0, "clock", {"before_s": 0.0, "tracker_s": 0.0, "after_s": 0.0}))
recorder.record(Record(0.0, "begin", {"id": 1, "trial_type": "picture", "trial": 1, "stim_file": "images/bag-01.png"}))
for batch in range(1000):
    samples = np.zeros(5, SAMPLE)
    samples["time_s"] = (np.arange(5) + 5 * batch) / 250
    samples["left_x_px"] = np.arange(5) + 5 * batch
    recorder.samples(samples)
    time.sleep(0.002)
"""


@pytest.mark.parametrize("dies_at", [1, 3, 4, 40, 200])
def test_all_synced_rows_survive_a_kill_in_the_midst_of_a_write(
    study: Path, assert_valid: Callable[[Path], None], dies_at: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(study), str(dies_at)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 9, run.stderr
    synced = max((int(line) for line in run.stdout.split()), default=0)
    (state,) = journals(study)
    assert not state.running
    samples = read_journal(state.folder).samples
    assert len(samples) >= synced
    # Two records come first; of the samples' writes all but the last, of 5 rows, came through, and 2 rows of that.
    assert len(samples) == max(0, 5 * (dies_at - 3)) + (2 if dies_at > 2 else 0)
    np.testing.assert_array_equal(samples["left_x_px"], np.arange(len(samples)))
    dataset.recover(study)
    assert_valid(study)
    recovered = dataset.runs(study)
    assert len(recovered) == (1 if len(samples) else 0)
    if len(samples):
        recording = dataset.read_recording(recovered[0])
        assert len(recording.samples) == len(samples)
        assert recording.events["status"].tolist() == ["aborted"]
