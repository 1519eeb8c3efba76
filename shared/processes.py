"""Worker processes that leave Ctrl-C to the one that started them: no tracebacks of theirs on the user's screen."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started within ignore SIGINT from their first moment; the caller hears it again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored in a process that is spawned; a handler would not.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
