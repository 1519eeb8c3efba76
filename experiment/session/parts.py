"""What a session is run with, and the parts that a running one is put together from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beholder.experiment.devices import Display, Tracker
from beholder.experiment.gaze_stream import GazeStream
from beholder.experiment.plan import Plan
from beholder.experiment.recorder import Recorder
from beholder.experiment.session.attending import Attending, Timing
from beholder.experiment.session.desk import Desk
from beholder.experiment.session.log import EventLog
from beholder.experiment.session.operator import Operator, Status
from beholder.experiment.session.questions import Questions
from beholder.shared.errors import StudyError
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.study import Study


@dataclass(frozen=True)
class SessionSetup:
    """Who takes part in a session: the plan of a participant, a display, a tracker and the operator."""

    study_folder: Path
    study: Study
    plan: Plan
    display: Display
    tracker: Tracker
    operator: Operator


@dataclass(frozen=True)
class Pace:
    """How often a session turns to what must not wait.

    `sync_every_s` is how long the journal may wait for a sync (see `Recorder`), None for a simulation, which syncs at
    the end and does not watch its disk; `pump_every_s` how often gaze is fetched while waiting, though not more often
    than the display's frames allow. `system_time` reads the system's clock in seconds; None where there is none to
    watch.
    """

    sync_every_s: float | None = 1.0
    pump_every_s: float = 0.01
    system_time: Callable[[], float] | None = None


@dataclass(frozen=True)
class Parts:
    """The parts of a running session; each knows only those above it."""

    setup: SessionSetup
    info: TrackerInfo
    size_deg: float  # of the pictures
    log: EventLog
    desk: Desk
    gaze: GazeStream
    attending: Attending
    questions: Questions


def put_together(setup: SessionSetup, info: TrackerInfo, recorder: Recorder, files: Path, pace: Pace) -> Parts:
    """The parts of a session whose tracker is connected and whose journal is open; `files` is a folder in that journal.

    Raises StudyError where the study does not say what the screen is.
    """
    study, plan, display = setup.study, setup.plan, setup.display
    if study.screen is None or study.pictures.size_deg is None:
        raise StudyError("study.toml has no [screen], or no [pictures] size_deg: a session needs the geometry.")
    # A display that is asked to hold for less than a frame's time sleeps instead of drawing the next frame.
    step_s = max(pace.pump_every_s, 1.5 / study.screen.refresh_hz)
    # A simulation waits for its disk: how fast the disk is must not show in its data.
    timing = Timing(study.screen.refresh_hz, step_s, study.limits.late_ms, disk_watched=pace.sync_every_s is not None)
    simulated = " (simulated)" if info.simulated else ""
    host_file = f", file {info.host_file} on its host" if info.host_file else ""
    heading = f"participant {plan.participant}, run {plan.run}, {info.model}{simulated}{host_file}"
    status = Status(0.0, "form", None, plan.pictures, None, None, None, heading=heading)
    log = EventLog(recorder, setup.tracker, display)
    desk = Desk(setup.operator, log, display.clock, study.protocol, setup.study_folder, status)
    gaze = GazeStream(setup.tracker, recorder, display.clock, info.rate_hz, pace.system_time, log.record, desk.tell)
    attending = Attending(display, desk, gaze, log, recorder, timing, files)
    questions = Questions(attending, desk, log, study.study.language)
    return Parts(setup, info, study.pictures.size_deg, log, desk, gaze, attending, questions)
