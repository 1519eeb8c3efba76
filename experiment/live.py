"""A session with a real screen: what `beholder run` and `beholder doctor` put together, and when they refuse.

    recover what a crash left -> plan -> open the window -> preflight -> session -> what comes next

Nothing falls back: a tracker that is not there is an error, and a simulator has to be asked for by name. The session
itself is `experiment.session`'s; only who takes part in it is decided here.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from beholder.experiment.console import Console
from beholder.experiment.devices import Display, Picture, Shape, Tracker
from beholder.experiment.observer import Observer, generator, read_densities
from beholder.experiment.plan import Plan, picture_rect, plan_from_disk
from beholder.experiment.preflight import Check, checks, window_checks
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.parts import Pace, SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.experiment.simulation import simulation_facts
from beholder.experiment.trackers.eyelink import EyeLinkTracker, fetch
from beholder.experiment.trackers.mouse import MouseTracker
from beholder.experiment.trackers.synthetic import SyntheticTracker
from beholder.experiment.trackers.tobii.adapter import TobiiTracker
from beholder.experiment.window import Window
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.publishing import recover
from beholder.shared.dataset.reading import runs
from beholder.shared.errors import BeholderError, DataError, DisplayError, StudyError, TrackerError
from beholder.shared.inside import inside
from beholder.shared.labels import label
from beholder.shared.recording.journal import journals
from beholder.shared.recording.run_files import HOST_FILE, host_file_of
from beholder.shared.recording.transaction import change, link
from beholder.shared.study import ScreenSettings, Study, TrackerName, read_study

# Lines of the preflight that concern the analysis; it may be done elsewhere, so they never stop a session.
OF_THE_ANALYSIS = ("weights", "packages to analyse", "packages to use")
# How often Python switches threads, so that the operator's page and the recorder keep no frame waiting.
SWITCH_EVERY_S = 0.0005
# How exactly Windows is asked to end a sleep.
TIMER_MS = 1


class UnfitError(BeholderError):
    """Something that a session needs is not as it must be; the message names it and the remedy."""


def run_in_lab(
    study_folder: Path,
    participant: str,
    *,
    tracker: str | None = None,
    resume: bool = False,
    another_run: int | None = None,
    override: str | None = None,
    group: str = "",
    windowed: bool = False,
    say: Callable[[str], None] = print,
    report: Callable[[Sequence[Check]], None] = lambda checks: None,
) -> Outcome:
    """A participant's session with a window, a tracker and an operator at this terminal; returns how it ended.

    `tracker` takes the place of the study's; `resume` and `another_run` are `plan_from_disk`'s; `override` is the
    reason for which a screen or computer that is unfit is used all the same, and is kept with the data; `group` is the
    participant's, where the study's form has one. `say` is told what was recovered, `report` what the preflight found.
    Raises StudyError, TrackerError, DisplayError and UnfitError before the session; what ends a session that has begun
    is its outcome's reason.
    """
    study = read_study(study_folder)
    settings = _screen_of(study_folder, study)
    study = _with_tracker(study, tracker)
    for remark in recover(study_folder):
        say(f"note: {remark}")
    plan = plan_from_disk(study_folder, participant, resume=resume, another_run=another_run)
    new = plan.participant not in read_participants(study_folder).index
    group = group_of(study, group, plan.participant, new=new)
    window = WatchedWindow(settings, study.protocol.background, windowed=windowed)
    try:
        found = [*checks(study_folder), *window_checks(study, window)]
        report(found)
        reason = _fit_or_overridden(found, override)
        rects = [(trial.stimulus, picture_rect(window.screen, trial.stimulus, study.pictures)) for trial in plan.trials]
        window.preload([Picture(stimulus.file, rect) for stimulus, rect in rects])
        made = _tracker(study_folder, study, plan, window)
        window.show_pointer(study.tracker.name == "mouse")
        with _undisturbed(), Console(window.screen) as console:
            try:
                return run_session(
                    SessionSetup(study_folder, study, plan, window, made, console),
                    Pace(system_time=time.time),
                    preflight=_kept(found, reason, study_folder),
                    group=group,
                )
            except BeholderError as error:
                return _cut_short(study_folder, plan, error)
    finally:
        window.close()


def group_of(study: Study, group: str, participant: str, *, new: bool) -> str:
    """The group as it is kept; empty where the study has none. Raises StudyError where it is missing or unknown."""
    group, groups = " ".join(group.split()), study.protocol.groups
    if "group" not in study.protocol.form:
        if group:
            raise StudyError('the study\'s form has no group: add "group" to [protocol] form in study.toml.')
        return ""
    if group and not new:
        raise StudyError(f"participant {participant} has a group already, in participants.tsv: leave --group out.")
    if new and groups and group not in groups:
        what = f'the group "{group}" is unknown' if group else f"the group of participant {participant} is not named"
        raise StudyError(f"{what}: say --group {' or --group '.join(groups)}, as [protocol] groups has them.")
    return group


def fetch_from_host(
    study_folder: Path,
    participant: str,
    run: int,
    *,
    host: str | None = None,
    say: Callable[[str], None] = print,
    pylink: Any = None,
) -> Path:
    """Fetch a session's file from the EyeLink's host computer into sourcedata; where it is there already, only say so.

    What a killed session left is recovered first. `host` is the address, by default the study's; `pylink` the library.
    Raises DataError where no such session was recorded with an EyeLink, TrackerError where its file cannot be fetched.
    """
    study = read_study(study_folder)
    who = label(participant)
    if any(state.running and (state.participant, state.run) == (who, run) for state in journals(study_folder)):
        raise DataError(f"participant {who}, run {run} is being recorded now: its end fetches the file.")
    for remark in recover(study_folder):
        say(f"note: {remark}")
    folder = Path("sourcedata") / f"sub-{who}"
    notes = sorted((study_folder / folder).glob(f"sub-{who}_task-*_run-{run}_{HOST_FILE}"))
    if not notes:
        raise DataError(
            f"{study_folder / folder} names no file of an EyeLink's host for run {run}: say --run, see the runs there."
        )
    name = host_file_of(inside(study_folder, notes[0]))
    path = inside(study_folder, notes[0].with_name(notes[0].name.replace(HOST_FILE, "eyelink.edf")))
    if path.exists():
        say(f"{name} is there already")
        return path
    with tempfile.TemporaryDirectory() as aside:
        fetched = fetch(host or study.tracker.address or study.eyelink.host, name, Path(aside) / path.name, pylink)
        with change(study_folder) as new:
            (new.new / folder).mkdir(parents=True)
            link(fetched, new.new / folder / path.name)
            new.put((folder / path.name).as_posix())
    return path


def doctor(study_folder: Path | None) -> list[Check]:
    """All checks that can be made here; those of screen and tracker need a window, and a study with a [screen]."""
    found = checks(study_folder)
    if study_folder is None:
        return found
    try:
        study = read_study(study_folder)
        window = Window(_screen_of(study_folder, study), study.protocol.background)
    except StudyError:
        return found  # `checks` has said so
    except DisplayError as error:
        return [*found, Check("doubtful", "screen", "no window on it", str(error))]
    try:
        return [*found, *window_checks(study, window), *_tracker_checks(study_folder, study, window)]
    finally:
        window.close()


class WatchedWindow(Window):
    """A window that also tells a synthetic observer what is shown."""

    watcher: Callable[[float, Sequence[Shape]], None] | None = None

    def show(self, scene: Sequence[Shape]) -> float:
        """Draw the scene and flip; returns the time of the flip."""
        onset_s = super().show(scene)
        if self.watcher is not None:
            self.watcher(onset_s, scene)
        return onset_s


def _screen_of(study_folder: Path, study: Study) -> ScreenSettings:
    if study.screen is None:
        raise StudyError(
            f"{study_folder / 'study.toml'} has no section [screen]: measure the screen and write it down."
        )
    return study.screen


def _with_tracker(study: Study, asked_for: str | None) -> Study:
    """The study with this session's tracker.

    Raises TrackerError where that is unknown, or synthetic by study.toml alone.
    """
    name = asked_for or study.tracker.name
    if name == "synthetic" and asked_for is None:
        raise TrackerError(
            "study.toml asks for the synthetic tracker, which measures nobody: write [tracker] name, or say "
            "--tracker synthetic to record simulated gaze on this screen."
        )
    if name not in get_args(TrackerName):
        raise TrackerError(f'there is no tracker "{name}": take mouse, tobii, eyelink or synthetic.')
    return study.model_copy(update={"tracker": study.tracker.model_copy(update={"name": name})})


def _tracker(study_folder: Path, study: Study, plan: Plan, window: WatchedWindow) -> Tracker:
    seed = study.study.seed
    # A later run of a participant has random numbers of its own.
    who = plan.participant if plan.run == 1 else f"{plan.participant} run {plan.run}"
    if study.tracker.name == "mouse":
        return MouseTracker(window, study.mouse, generator(seed, who, "measurement"))
    if (vendors := _vendors_tracker(study_folder, study, window, plan.participant, plan.run)) is not None:
        return vendors
    densities = read_densities(study_folder, study, [trial.stimulus for trial in plan.trials])
    share = study.alignment.centre_share
    eyes = Observer(study.observer, window.screen, densities, share, generator(seed, who, "gaze"))
    planted = {"participant": plan.participant, **simulation_facts(study_folder, study, seed)}
    chance = generator(seed, who, "measurement")
    synthetic = SyntheticTracker(window.clock, eyes, study.observer, chance, planted)
    window.watcher = synthetic.watch
    return synthetic


def _vendors_tracker(study_folder: Path, study: Study, display: Display, participant: str, run: int) -> Tracker | None:
    """The study's Tobii or EyeLink tracker; None where it has neither."""
    if study.tracker.name == "tobii":
        licence = study.tobii.license_file
        from_folder = str(study_folder / Path(licence).expanduser()) if licence else ""
        return TobiiTracker(display.clock, study.tobii.model_copy(update={"license_file": from_folder}))
    if study.tracker.name == "eyelink":
        return EyeLinkTracker(display, study.eyelink, participant=participant, run=run)
    return None


def _tracker_checks(study_folder: Path, study: Study, window: Window) -> list[Check]:
    """The checks of a vendor's tracker, which is reached, set as the study asks, and let go."""
    tracker = _vendors_tracker(study_folder, study, window, "doctor", 1)
    if tracker is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        try:
            info = tracker.connect(study.tracker, window.screen)
        except TrackerError as error:
            return [Check("unfit", "tracker", f"{study.tracker.name} cannot be used", str(error))]
        finally:
            failures = tracker.close(Path(folder)).failures
    found = [Check("doubtful", "tracker", "it did not end cleanly", failure) for failure in failures]
    eyes = " and ".join(info.eyes)
    return [Check("fit", "tracker", f"{info.model}, serial {info.serial}, {info.rate_hz:g} Hz, {eyes}"), *found]


def _cut_short(study_folder: Path, plan: Plan, error: BeholderError) -> Outcome:
    """The outcome of a session that an error ended (the tracker was lost, the disk is full), with what it published."""
    wanted = (plan.participant, plan.run)
    files = [
        path
        for run in runs(study_folder, with_gaze=False)
        if (run.participant, run.run) == wanted
        for path in sorted(run.events_file.parent.glob(f"{run.prefix}_*"))
    ]
    return Outcome("aborted", str(error).rstrip("."), tuple(files), tuple(getattr(error, "__notes__", ())))


def _fit_or_overridden(found: Sequence[Check], override: str | None) -> str | None:
    """The override's reason, to be kept with the data; None where nothing is unfit. Raises UnfitError without one."""
    unfit = [c for c in found if c.verdict == "unfit" and not c.what.startswith(OF_THE_ANALYSIS)]
    reason = " ".join((override or "").split())
    if not unfit:
        return None
    if not reason:
        named = "; ".join(f"{check.what} ({check.found})" for check in unfit)
        raise UnfitError(
            f"not fit for a session: {named}. Mend it as the lines above say, or, to use it all the same, give the "
            'reason, which is kept with the data: --override "REASON".'
        )
    return reason


def _kept(found: Sequence[Check], override: str | None, study_folder: Path) -> dict[str, Any]:
    """The preflight as the journal keeps it: without lines on the analysis, and without paths, which name people."""

    def shared(text: str) -> str:
        for path, name in ((study_folder, "STUDY"), (study_folder.resolve(), "STUDY"), (Path.home(), "~")):
            text = text.replace(str(path), name) if path.is_absolute() and len(path.parts) > 1 else text
        return text

    lines = [asdict(check) for check in found if not check.what.startswith(OF_THE_ANALYSIS)]
    return {"checks": [{key: shared(text) for key, text in line.items()} for line in lines], "override": override}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within this block threads switch quickly, sleeps end in time, and garbage collection passes over old objects."""
    interval_s, timer = sys.getswitchinterval(), _timer_of_windows()
    sys.setswitchinterval(SWITCH_EVERY_S)
    if timer is not None:
        timer.timeBeginPeriod(TIMER_MS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if timer is not None:
            timer.timeEndPeriod(TIMER_MS)
        sys.setswitchinterval(interval_s)


def _timer_of_windows() -> Any:
    """Windows' multimedia timer; None elsewhere. Unless asked for more, Windows ends sleeps in steps of 15.6 ms."""
    return getattr(ctypes, "windll").winmm if sys.platform == "win32" else None  # noqa: B009
