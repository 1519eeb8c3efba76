"""How a session ends: by a word, from outside, or as planned."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal


class Stopped(Exception):  # noqa: N818
    """The session is to end now; the message says why."""


class Refused(Stopped):
    """The participant does not consent: nothing of theirs is kept."""


class Interrupted(Exception):  # noqa: N818
    """The trial under way is to be broken off: to pause, to calibrate anew, to skip it, or since nothing records it."""

    def __init__(self, kind: Literal["pause", "recalibrate", "skip", "ended"]) -> None:
        self.kind = kind
        super().__init__(kind)


@dataclass(frozen=True)
class Outcome:
    """How a session ended: what it published, and what failed on the way out, in sentences.

    `interrupted` says that Ctrl-C or its like ended it, or was heard when all was recorded already.
    """

    status: Literal["complete", "aborted"]
    reason: str
    files: tuple[Path, ...]
    failures: tuple[str, ...]
    interrupted: bool = False


# What ends a session from outside, where the system knows it, and how the operator is told.
_ENDS = {
    "SIGINT": "interrupted by Ctrl-C",
    "SIGTERM": "the computer asked Beholder to end",
    "SIGHUP": "the operator's terminal was closed",
}


class EndSignals:
    """Ctrl-C, a request to end or a hang-up ends the session once: heard again, or while it leaves, it is only noted.

    Elsewhere than in the main thread, and where somebody else listens to a signal, nothing is changed.
    """

    def __init__(self) -> None:
        self.leaving = self.heard = False
        self.reason = _ENDS["SIGINT"]
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> EndSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _ENDS if hasattr(signal, name)):
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        if not self.leaving:
            self.leaving, self.reason = True, _ENDS[signal.Signals(number).name]
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
