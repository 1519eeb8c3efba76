"""From the session to the journal: one writer thread, so that neither a slow disk nor a sync delays a frame.

The session hands over samples and records, which costs it an append to a list in memory, and goes on. Twenty times a
second the thread formats what came, appends it to the journal in the order in which it came, and syncs in time.

What goes wrong on the disk is never swallowed, and ends the session by a DataError at its next call. What is handed
over then and later, on the way out, is taken all the same: it waits in memory, the disk is tried again and again, and
`close` says in the end whether everything was written. What the journal cannot take is saved elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress

import numpy as np

from beholder.shared.errors import DataError
from beholder.shared.gaze import Samples
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.records import Record

# Formatting holds the interpreter's lock; a flip that waits for it must not wait long.
LONGEST_BATCH_S = 0.05
# The operator is told where rows wait for the disk for longer than this.
SLOW_AFTER_S = 2.0
TRY_AGAIN_EVERY_S = 0.25
# After the session's end a disk that refuses is tried for this long: a network disk may come back.
GIVE_UP_AFTER_S = 5.0
# A sync takes time too: it begins when this share of its interval is over.
SYNC_EARLY = 0.8


class Recorder:
    """Writes what it is handed into a journal, from a thread of its own, until `close`; called from one thread.

    `sync_every_s` is how long a row may wait until the disk holds it for sure (at most so much is lost when the power
    fails); None leaves that to the end, for simulations. `rate_hz` bounds how many samples are formatted at once.
    """

    def __init__(self, writer: JournalWriter, rate_hz: float, sync_every_s: float | None = 1.0) -> None:
        self._writer = writer
        self._rows = max(1, int(rate_hz * LONGEST_BATCH_S))
        self._sync_every_s = sync_every_s
        # Samples and records, each with the time at which it was handed over, oldest first.
        self._waiting: deque[tuple[float, Samples | Record]] = deque()
        # Held while rows move from `_waiting` to the writer's memory, never while the disk is at work.
        self._moving = threading.Lock()
        self._unsynced_since_s: float | None = None
        self._at_work_since_s: float | None = None
        self._failure: Exception | None = None
        self._told = False
        self._unsaved = ""
        self._closing = threading.Event()
        self._let_go = threading.Event()
        self._give_up_at_s = float("inf")
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def samples(self, samples: Samples) -> None:
        """Hand over gaze samples (n,); they must not be changed afterwards.

        Raises DataError, once, where writing failed; the samples are taken nevertheless.
        """
        now_s = time.monotonic()
        for first in range(0, len(samples), self._rows):
            self._waiting.append((now_s, samples[first : first + self._rows]))
        self._tell()

    def record(self, record: Record) -> None:
        """Hand over a record. Raises DataError, once, where writing failed; the record is taken nevertheless."""
        self._waiting.append((time.monotonic(), record))
        self._tell()

    def trouble(self) -> str | None:
        """What the operator must be told at once about the disk, in one sentence; None where all is well."""
        if self._failure is not None:
            return str(self._failure)
        now_s = time.monotonic()
        since_s = [now_s if self._at_work_since_s is None else self._at_work_since_s]
        with suppress(IndexError):
            since_s.append(self._waiting[0][0])
        waiting_s = now_s - min(since_s)
        if waiting_s > SLOW_AFTER_S:
            return (
                f"The disk of {self._writer.folder} has not answered for {waiting_s:.0f} s: gaze is kept in memory "
                "meanwhile; see what else uses that disk."
            )
        return None

    def finish(self, timeout_s: float = 30.0) -> None:
        """Return when everything is on the disk, the journal's lock still held; may be called twice.

        A disk that refuses is tried again for `GIVE_UP_AFTER_S`, one that does not answer waited for `timeout_s`; then
        what is missing on it is saved in the system's temporary folder, where `shared.dataset.recover` finds it.
        Raises DataError in that case, which says how much is missing and where it is; and where writing failed before
        and nobody was told.
        """
        if not self._closing.is_set():
            self._give_up_at_s = time.monotonic() + min(GIVE_UP_AFTER_S, timeout_s)
            self._closing.set()
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._save_elsewhere(f"its disk did not answer for {timeout_s:g} s")
        if self._unsaved:
            self._told = True
            raise DataError(self._unsaved)
        self._tell()

    def close(self, timeout_s: float = 30.0) -> None:
        """`finish`, then let go of the journal; may be called twice, and raises what `finish` raises."""
        try:
            self.finish(timeout_s)
        finally:
            # A thread that its disk holds up still uses the journal, and closes it when it is done.
            self._let_go.set()
            if not self._thread.is_alive():
                self._closed_writer()

    def _tell(self) -> None:
        if self._failure is not None and not self._told:
            self._told = True
            raise self._failure

    # What follows runs in the thread.

    def _write(self) -> None:
        while True:
            # Asked first, so that all that was handed over before closing is among what waits.
            closing = self._closing.wait(LONGEST_BATCH_S)
            self._at_work_since_s = time.monotonic()
            try:
                self._append_what_waits()
                if closing or self._sync_is_due():
                    self._writer.sync()
                    self._unsynced_since_s = None
                if self._writer.disk_full:
                    self._fail(self._full())
                if closing:
                    break
            except Exception as failure:
                self._fail(self._unwritable(failure) if isinstance(failure, OSError) else failure)
                if time.monotonic() >= self._give_up_at_s:
                    self._save_elsewhere(str(failure))
                    break
                time.sleep(TRY_AGAIN_EVERY_S)
            self._at_work_since_s = None
        self._at_work_since_s = None
        # What could not be written has been told and saved elsewhere.
        with suppress(OSError):
            self._writer.end()
        if self._let_go.is_set():
            self._closed_writer()

    def _closed_writer(self) -> None:
        # What could not be synced has been told and saved elsewhere.
        with suppress(OSError):
            self._writer.close()

    def _append_what_waits(self) -> None:
        # First what an earlier round could not write.
        self._writer.flush()
        while self._waiting:
            count = self._count_at_once()
            with self._moving:
                taken = [self._waiting.popleft() for _ in range(count)]
                if self._unsynced_since_s is None:
                    self._unsynced_since_s = taken[0][0]
                try:
                    self._append([item for _, item in taken])
                except (TypeError, ValueError) as defect:
                    # A record that cannot be written down is a mistake of the program: it must not stop the others.
                    self._fail(defect)
            self._writer.flush()

    def _count_at_once(self) -> int:
        """How many of the items that wait, from the oldest, are formatted together: a record, or 50 ms of samples."""
        count = rows = 0
        while count < len(self._waiting):
            item = self._waiting[count][1]
            rows += self._rows if isinstance(item, Record) else len(item)
            if count > 0 and rows > self._rows:
                break
            count += 1
        return count

    def _append(self, items: list[Samples | Record]) -> None:
        samples = [item for item in items if not isinstance(item, Record)]
        if samples:
            self._writer.append_samples(np.concatenate(samples))
        self._writer.append_records([item for item in items if isinstance(item, Record)])

    def _sync_is_due(self) -> bool:
        if self._sync_every_s is None or self._unsynced_since_s is None:
            return False
        return time.monotonic() >= self._unsynced_since_s + SYNC_EARLY * self._sync_every_s

    # What went wrong.

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure

    def _full(self) -> DataError:
        return DataError(
            f"{self._writer.folder} has no room left on its disk: its reserve takes what was recorded and the "
            "session ends now; make room on the disk before the next."
        )

    def _unwritable(self, failure: OSError) -> DataError:
        return DataError(
            f"{self._writer.folder} cannot be written ({failure}): make room on the disk and the folder writable; "
            "what was recorded since is kept in memory and saved at the end of the session, which is now."
        )

    def _save_elsewhere(self, why: str) -> None:
        """Save elsewhere, as a last resort, what may not be on the disk; if it gets there later, that does no harm."""
        with self._moving:
            waiting = [item for _, item in self._waiting]
            missing = self._writer.unsynced_samples() + sum(len(i) for i in waiting if not isinstance(i, Record))
            failed = f"{self._writer.folder} could not be written to the end ({why}): {missing} samples are"
            try:
                place = self._writer.save_elsewhere(waiting)
            except OSError as failure:
                self._unsaved = f"{failed} lost, since they could not be saved elsewhere either ({failure})."
                return
        self._unsaved = (
            f"{failed} in {place} instead: do not restart the computer, make that disk writable, and start Beholder "
            "again, which joins them."
        )
