"""How a session ends: stopped by somebody in it, by a signal from outside, or as planned."""

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
    """The trial under way is to be broken off: to pause, calibrate anew, skip it, or since the tracker has stopped."""

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


# The signals that end a session, where the system knows them, and the reason that is given for each.
_ENDS = {
    "SIGINT": "interrupted by Ctrl-C",
    "SIGTERM": "the computer asked Beholder to end",
    "SIGHUP": "the operator's terminal was closed",
}


class EndSignals:
    """Has Ctrl-C, a request to end or a hang-up end the session once; a signal while it is leaving is only noted.

    Outside the main thread, and for a signal that has another handler already, nothing is changed.
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
