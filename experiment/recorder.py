"""From the session to the journal: one writer thread, so that neither a slow disk nor a sync delays a frame.

The session hands over samples and records and goes on; the thread formats them, appends them in the order in which
they came, and syncs. What goes wrong on the disk is raised at the next call from the session, never swallowed.
"""

from __future__ import annotations

import queue
import threading
import time

from shared.errors import DataError
from shared.gaze import Samples
from shared.journal import JournalWriter, Record

# Formatting holds the interpreter's lock; a flip that waits for it must not wait long.
LONGEST_BATCH_S = 0.05


class Recorder:
    """Writes what it is handed into a journal, from a thread of its own, until `close`.

    `sync_every_s` is how often the disk is made to hold everything (at most so much is lost when the power fails);
    None leaves that to the end, for simulations. `rate_hz` bounds how many samples are formatted at once.
    """

    def __init__(self, writer: JournalWriter, rate_hz: float, sync_every_s: float | None = 1.0) -> None:
        self._writer = writer
        self._rows = max(1, int(rate_hz * LONGEST_BATCH_S))
        self._sync_every_s = sync_every_s
        self._queue: queue.SimpleQueue[Samples | Record | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def samples(self, samples: Samples) -> None:
        """Hand over gaze samples (n,); they must not be changed afterwards. Raises DataError where writing failed."""
        self._check()
        if len(samples):
            self._queue.put(samples)

    def record(self, record: Record) -> None:
        """Hand over a record. Raises DataError where writing failed."""
        self._check()
        self._queue.put(record)

    def close(self) -> None:
        """Return when everything is on the disk and the journal is let go; may be called twice. Raises DataError."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise DataError(
                f"{self._writer.folder} cannot be written ({self._failure}): make room on the disk; "
                "what was recorded until now is kept."
            ) from self._failure

    def _write(self) -> None:
        try:
            try:
                self._append_until_closed()
            finally:
                self._writer.close()
        except BaseException as failure:
            self._failure = failure

    def _append_until_closed(self) -> None:
        unsynced_since_s: float | None = None
        while True:
            due_s = None
            if self._sync_every_s is not None and unsynced_since_s is not None:
                due_s = max(0.0, unsynced_since_s + self._sync_every_s - time.monotonic())
            try:
                item = self._queue.get(timeout=due_s)
            except queue.Empty:
                self._writer.sync()
                unsynced_since_s = None
                continue
            if item is None:
                return
            if isinstance(item, Record):
                self._writer.append_records([item])
            else:
                for first in range(0, len(item), self._rows):
                    self._writer.append_samples(item[first : first + self._rows])
            unsynced_since_s = time.monotonic() if unsynced_since_s is None else unsynced_since_s
