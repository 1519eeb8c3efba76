"""Recorder at 2,000 Hz with both eyes: what it loses, what it costs, how long a flush takes; and a disk that blocks.

    python tests/benchmarks/bench_recorder.py [--minutes 1] [--folder DIR]

Samples are handed over at their rate, as a session does at each frame. The recorder's share of a core is the CPU time
of its thread; a flush is one sync of all that was written since the last. Then a reader and a disk that never answer
stand beside a loop of 60 flips a second, of which the time spent outside the flip is measured. Aims: no sample lost,
under 5 % of one core, no flush slower than 50 ms, the 99th percentile of the loop's own time under 2 ms.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from beholder.experiment import recorder as recording
from beholder.experiment.recorder import Recorder
from beholder.shared.errors import DataError
from beholder.shared.gaze import SAMPLE, Samples
from beholder.shared.recording.journal import JournalWriter, _GrowingFile, read_journal
from beholder.shared.recording.records import MessageSent, Record
from tests.headers import session_header

RATE_HZ, FRAME_HZ = 2000.0, 60.0
BLOCKED_S = 10.0


def gaze(first: int, last: int, rng: np.random.Generator) -> Samples:
    """Samples of both eyes, numbered by their pupil."""
    samples = np.zeros(last - first, SAMPLE)
    samples["time_s"] = np.arange(first, last) / RATE_HZ
    for eye in ("left", "right"):
        samples[f"{eye}_x_px"] = rng.uniform(0, 1920, last - first)
        samples[f"{eye}_y_px"] = rng.uniform(0, 1080, last - first)
        samples[f"{eye}_pupil"] = np.arange(first, last)
    return samples


def wait_for_frame(number: int, zero_s: float) -> None:
    """As a flip does: until the frame comes."""
    time.sleep(max(0.0, zero_s + number / FRAME_HZ - time.perf_counter()))


class WatchedRecorder(Recorder):
    """Knows its thread's CPU time."""

    cpu_s = 0.0

    def _write(self) -> None:
        super()._write()
        self.cpu_s = time.thread_time()


def at_full_rate(study: Path, minutes: float) -> None:
    """Samples for that long, and what became of them."""
    sync, syncs_ms = JournalWriter.sync, []

    def timed(writer: JournalWriter) -> None:
        began_s = time.perf_counter()
        sync(writer)
        syncs_ms.append((time.perf_counter() - began_s) * 1000)

    JournalWriter.sync = timed  # type: ignore[method-assign]
    writer = JournalWriter(study, session_header())
    recorder = WatchedRecorder(writer, RATE_HZ)
    rng, sent, hand_over_ms = np.random.default_rng(1), 0, []
    zero_s, cpu_s = time.perf_counter(), time.process_time()
    for frame in range(1, round(minutes * 60 * FRAME_HZ) + 1):
        wait_for_frame(frame, zero_s)
        samples = gaze(sent, int((time.perf_counter() - zero_s) * RATE_HZ), rng)
        began_s = time.perf_counter()
        recorder.samples(samples)
        if frame % 60 == 0:
            recorder.record(Record(began_s - zero_s, MessageSent(f"frame {frame}")))
        hand_over_ms.append((time.perf_counter() - began_s) * 1000)
        sent += len(samples)
    took_s, cpu_s = time.perf_counter() - zero_s, time.process_time() - cpu_s
    recorder.close()
    JournalWriter.sync = sync  # type: ignore[method-assign]
    numbers = read_journal(writer.folder).samples["left_pupil"]
    assert np.array_equal(numbers, np.arange(len(numbers)))
    row("samples handed over", f"{sent}", "")
    row("samples lost", f"{sent - len(numbers)}", "0")
    row("recorder's thread, share of one core", f"{100 * recorder.cpu_s / took_s:.2f} %", "< 5 %")
    row("whole process, making of the samples included", f"{100 * cpu_s / took_s:.2f} %", "")
    row("99th percentile of a flush (sync)", f"{np.percentile(syncs_ms, 99):.1f} ms", "")
    row("slowest flush (sync)", f"{max(syncs_ms):.1f} ms of {len(syncs_ms)}", "< 50 ms")
    row("99th percentile of a hand-over", f"{np.percentile(hand_over_ms, 99):.3f} ms", "")
    row("slowest hand-over", f"{max(hand_over_ms):.3f} ms", "")


def with_everything_blocked(study: Path) -> None:
    """A loop of flips, whose reader and disk never answer."""
    never = threading.Event()
    flush = _GrowingFile.flush

    def blocked(self: _GrowingFile) -> None:
        if threading.current_thread().name == "recorder":
            never.wait()
        flush(self)

    _GrowingFile.flush = blocked  # type: ignore[method-assign]
    threading.Thread(target=never.wait, name="reader", daemon=True).start()
    recorder = Recorder(JournalWriter(study, session_header("02")), RATE_HZ)
    rng, sent, own_ms, told_after_s = np.random.default_rng(1), 0, [], None
    zero_s = time.perf_counter()
    for frame in range(1, round(BLOCKED_S * FRAME_HZ) + 1):
        wait_for_frame(frame, zero_s)
        samples = gaze(sent, int((time.perf_counter() - zero_s) * RATE_HZ), rng)
        began_s = time.perf_counter()
        recorder.samples(samples)
        trouble = recorder.trouble()
        own_ms.append((time.perf_counter() - began_s) * 1000)
        sent += len(samples)
        if trouble and told_after_s is None:
            told_after_s = time.perf_counter() - zero_s
    assert told_after_s is not None
    began_s = time.perf_counter()
    try:
        recorder.close(timeout_s=1.0)
    except DataError as error:
        closed = str(error)
    row("blocked disk: 99th percentile of the loop's own time", f"{np.percentile(own_ms, 99):.3f} ms", "< 2 ms")
    row("blocked disk: slowest", f"{max(own_ms):.3f} ms", "")
    row("blocked disk: operator told after", f"{told_after_s:.1f} s", f"{recording.SLOW_AFTER_S:g} s")
    row("blocked disk: closed after", f"{time.perf_counter() - began_s:.1f} s", "1 s")
    row("blocked disk: saved elsewhere", f"{sent} samples: {f'{sent} samples are in' in closed}", "True")
    _GrowingFile.flush = flush  # type: ignore[method-assign]


def row(what: str, found: str, aim: str) -> None:
    print(f"{what:<55}{found:>24}   {aim}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where to record; a temporary folder by default")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        tempfile.tempdir = folder
        row(f"{RATE_HZ:g} Hz, both eyes, {wanted.minutes:g} min", "found", "aim")
        at_full_rate(Path(folder), wanted.minutes)
        with_everything_blocked(Path(folder))


if __name__ == "__main__":
    main()
