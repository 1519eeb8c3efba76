"""The door of a session: what is opened on the way in, and closed on the way out, whatever ends it.

It knows the display, the tracker and the operator through their Protocols only, so a lab's session and a simulated one
are the same program. Times are of the display's clock. Everything is handed to the recorder at once; whatever ends the
session (its last trial, stop, Escape, a closed window, Ctrl-C, an exception), it leaves through this one door, which
closes the tracker and publishes what was recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beholder.experiment.pages import read_texts
from beholder.experiment.plan import picture_rect
from beholder.experiment.recorder import Recorder
from beholder.experiment.session.calibrating import Calibrating
from beholder.experiment.session.course import Course
from beholder.experiment.session.ending import EndSignals, Outcome, Refused, Stopped
from beholder.experiment.session.parts import Pace, SessionSetup, put_together
from beholder.shared.dataset.making import beholder_version
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.publishing import publish
from beholder.shared.inside import inside
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.session_header import RecordedScreen, SessionHeader, TrackerInfo
from beholder.shared.study import settings_of_sessions


def run_session(
    setup: SessionSetup,
    pace: Pace | None = None,
    *,
    ask_form: bool | None = None,
    group: str = "",
    keep_aborted: bool = True,
    preflight: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a planned session and publish what it recorded.

    The form is asked where the participant is not in participants.tsv yet, unless `ask_form` says otherwise; `group` is
    the answer to its question for the group, which the participant is not asked. With `keep_aborted` False, a session
    that did not end as planned is not published and stays in its journal (a simulation is done anew). `preflight` is
    what was found before the session, and is kept beside the events.

    Escape, stop, a closed window, Ctrl-C and a refused consent give an aborted outcome; a refused consent leaves
    nothing on disk. Raises StudyError where a picture does not fit, TrackerError where the tracker cannot be reached or
    is lost, DataError where the disk takes no more, and whatever else went wrong, once through the door.
    """
    door, reason = _Door(setup, keep_aborted), ""
    with EndSignals() as signals:
        try:
            if ask_form is None:
                ask_form = setup.plan.participant not in read_participants(setup.study_folder).index
            door.enter(pace or Pace(), preflight).run(ask_form, group)
        except Stopped as stopped:
            reason, door.refused = str(stopped), isinstance(stopped, Refused)
        except KeyboardInterrupt:
            reason, signals.heard = "" if door.complete else signals.reason, True
        finally:
            signals.leaving = True
            door.leave()
            error = sys.exc_info()[1]
            if error is not None and door.failures and sys.version_info >= (3, 11):
                error.add_note("On the way out: " + "; ".join(door.failures))
    files, failures = tuple(door.files), tuple(door.failures)
    return Outcome("aborted" if reason else "complete", reason, files, failures, signals.heard)


class _Door:
    """Opens what a session needs, in order, and closes it: `files` were published, `failures` met on the way out."""

    def __init__(self, setup: SessionSetup, keep_aborted: bool) -> None:
        self._setup, self._keep_aborted = setup, keep_aborted
        self._course: Course | None = None
        self._way_out: list[Callable[[], object]] = [setup.display.close]
        self.refused = False
        self.files: list[Path] = []
        self.failures: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether all that was planned is recorded."""
        return self._course is not None and self._course.complete

    def enter(self, pace: Pace, preflight: Mapping[str, Any] | None) -> Course:
        """Connect the tracker, open the journal, and put the session together."""
        setup, tracker, display = self._setup, self._setup.tracker, self._setup.display
        for trial in setup.plan.trials:
            picture_rect(display.screen, trial.stimulus, setup.study.pictures)
        # Until there is a journal, a tracker's files go into the folder that holds the journals.
        beside = inside(setup.study_folder, setup.study_folder / ".beholder")
        self._way_out = [lambda: tracker.close(beside), display.close]
        info = tracker.connect(setup.study.tracker, display.screen)
        writer = JournalWriter(setup.study_folder, _header(setup, info, preflight))
        self._way_out = [lambda: tracker.close(writer.files), writer.close, display.close]
        recorder = Recorder(writer, info.rate_hz, pace.sync_every_s)
        parts = put_together(setup, info, recorder, writer.files, pace)
        self._course = course = Course(parts, Calibrating(parts))
        self._way_out = [
            course.abort_open_events,
            parts.gaze.read_clocks,
            parts.gaze.stop,
            # Before the tracker's file is fetched: a vendor's library may hold up every thread then, and may crash.
            recorder.finish,
            lambda: self.failures.extend(tracker.close(writer.files).failures),
            recorder.close,
            display.close,
            lambda: self._publish(writer.folder),
        ]
        return course

    def leave(self) -> None:
        """Take each step of the way out, even if the ones before failed."""
        for step in self._way_out:
            try:
                step()
            except Exception as failure:
                # What keeps the journal from its end is raised by two of the steps, and told once.
                self.failures.extend({str(failure)} - {*self.failures})

    def _publish(self, journal: Path) -> None:
        if self.complete or self._keep_aborted or self.refused:
            # A journal without gaze or events, as after a refused consent, is removed and leaves the data set as it is.
            self.files.extend(publish(journal))
        if self.refused:
            journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)


def _header(setup: SessionSetup, info: TrackerInfo, preflight: Mapping[str, Any] | None) -> SessionHeader:
    study, plan = setup.study, setup.plan
    return SessionHeader(
        participant=plan.participant,
        run=plan.run,
        task=study.study.task,
        settings=settings_of_sessions(study),
        beholder=beholder_version(),
        instructions=read_texts(study.study.language)["instructions"].format(pictures=len(plan.trials)),
        screen=RecordedScreen(**asdict(setup.display.screen)),
        tracker=info,
        preflight=preflight,
    )
