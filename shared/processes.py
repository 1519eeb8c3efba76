"""Worker processes that leave Ctrl-C to the process that started them, so that they print no tracebacks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started within the block ignore SIGINT from their first moment.

    The caller itself ignores it within the block only. Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored in a process that is spawned; a handler would not.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
