"""Claims of `experiment.live`: nothing falls back, what is unfit stops a session, and what a crash left comes first.

No window is opened here: a headless display stands in for it (session/test_whole_sessions.py has the real one).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from beholder.experiment import live
from beholder.experiment.devices import CloseReport, Shape
from beholder.experiment.headless import HeadlessDisplay, ScriptedOperator, ScriptedParticipant
from beholder.experiment.preflight import Check
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.operator import Command
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import runs
from beholder.shared.errors import BeholderError, DisplayError, StudyError, TrackerError
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.study import ScreenSettings, TrackerSettings
from beholder.shared.tables import read_events

MakeStudy = Callable[..., Path]
FIT = Check("fit", "refresh rate", "60.0 a second")
UNFIT = Check("unfit", "refresh rate", "59 a second lost in /home/ann", "mend it")


class FakeWindow(HeadlessDisplay):
    """A headless display that is made as a window is."""

    opened: list[FakeWindow]
    watcher: Any

    def __init__(self, settings: ScreenSettings, background: str, *, windowed: bool = False) -> None:
        super().__init__(settings.screen(), settings.refresh_hz, ScriptedParticipant())
        self.pointer_shown: bool | None = None
        self.preloaded = 0
        FakeWindow.opened.append(self)

    def show_pointer(self, visible: bool) -> None:
        self.pointer_shown = visible

    def preload(self, pictures: Sequence[Shape]) -> None:
        self.preloaded = len(pictures)


class FakeConsole(ScriptedOperator):
    """An operator who accepts everything, in the place of a terminal."""

    commands_at: Sequence[tuple[float, Command]] = ()

    def __init__(self, screen: object) -> None:
        super().__init__(commands_at=self.commands_at)

    def __enter__(self) -> FakeConsole:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """run(study_folder, participant, checks=[...], ...): `run_in_lab` without a lab, with the synthetic tracker."""
    FakeWindow.opened = []
    monkeypatch.setattr(live, "WatchedWindow", FakeWindow)
    monkeypatch.setattr(live, "Console", FakeConsole)
    # The virtual clock runs ahead of the computer's: it is the system's time here, too.
    monkeypatch.setattr(live.time, "time", lambda: FakeWindow.opened[-1].clock.now_s())

    def in_lab(folder: Path, participant: str = "01", checks: Sequence[Check] = (FIT,), **more: Any) -> Outcome:
        monkeypatch.setattr(live, "window_checks", lambda study, window: list(checks))
        return live.run_in_lab(folder, participant, **{"tracker": "synthetic", **more})

    return in_lab


@pytest.fixture
def folder(make_study: MakeStudy) -> Path:
    return make_study(2, protocol={"form": [], "dot_s": 1.0, "picture_s": 1.0})


def preflight_of(folder: Path, run: int = 1) -> dict[str, Any]:
    path = folder / "sub-01" / "beh" / f"sub-01_task-viewing_run-{run}_events.json"
    kept: dict[str, Any] = json.loads(path.read_text())["Preflight"]
    return kept


def test_a_session_is_run_in_its_window_and_its_preflight_is_kept(
    run: Callable[..., Outcome], folder: Path, assert_valid: Callable[[Path], None]
) -> None:
    reported: list[Check] = []
    outcome = run(folder, report=reported.extend, override="not needed")
    assert (outcome.status, outcome.failures) == ("complete", ())
    (window,) = FakeWindow.opened
    assert window.closed and window.preloaded == 2 and window.pointer_shown is False
    assert FIT in reported and any(check.what == "pictures" for check in reported)
    kept = preflight_of(folder)
    assert kept["override"] is None, "a reason is kept only where something was unfit"
    assert {"verdict": "fit", "what": "refresh rate", "found": "60.0 a second", "remedy": ""} in kept["checks"]
    assert not any(check["what"].startswith(("weights", "packages to analyse")) for check in kept["checks"])
    sidecar = json.loads(next((folder / "sub-01" / "beh").glob("*eye1_physio.json")).read_text())
    assert sidecar["Simulated"] is True
    assert_valid(folder)


def test_what_is_unfit_stops_the_session_before_anything_is_recorded(run: Callable[..., Outcome], folder: Path) -> None:
    for reason in (None, "", "  "):
        with pytest.raises(live.UnfitError, match=r"refresh rate \(59 a second.*--override"):
            run(folder, checks=[FIT, UNFIT], override=reason)
    assert all(window.closed for window in FakeWindow.opened) and not list(folder.glob("sub-*"))


def test_a_reason_overrides_it_and_is_kept_without_paths_that_name_people(
    run: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    assert run(folder, checks=[UNFIT], override=" a  pilot ").status == "complete"
    kept = preflight_of(folder)
    assert kept["override"] == "a pilot"
    assert [check["found"] for check in kept["checks"] if check["verdict"] == "unfit"] == ["59 a second lost in ~"]
    assert str(folder) not in json.dumps(kept)


@pytest.mark.parametrize("what", live.OF_THE_ANALYSIS)
def test_what_only_the_analysis_needs_never_stops_a_session(
    run: Callable[..., Outcome], folder: Path, what: str
) -> None:
    assert run(folder, checks=[Check("unfit", what, "missing")]).status == "complete"


def test_a_tracker_that_is_unknown_is_an_error_and_never_a_simulator(run: Callable[..., Outcome], folder: Path) -> None:
    with pytest.raises(TrackerError, match='no tracker "toby"'):
        run(folder, tracker="toby")
    assert FakeWindow.opened == [] and not list(folder.glob("sub-*"))


def test_the_synthetic_tracker_has_to_be_asked_for_by_name(run: Callable[..., Outcome], make_study: MakeStudy) -> None:
    folder = make_study(2, tracker={"name": "synthetic"}, protocol={"form": []})
    with pytest.raises(TrackerError, match="measures nobody"):
        run(folder, tracker=None)


def test_a_study_without_a_screen_is_refused(run: Callable[..., Outcome], folder: Path) -> None:
    settings = folder / "study.toml"
    text = settings.read_text()
    start, end = text.index("[screen]"), text.index("[pictures]")
    settings.write_text(text[:start] + text[end:])
    with pytest.raises(StudyError, match=r"no section \[screen\]"):
        run(folder)


def test_a_participant_goes_on_with_resume_and_once_more_with_the_next_run(
    run: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConsole, "commands_at", [(20.0, Command("stop"))])
    assert run(folder).status == "aborted"
    monkeypatch.setattr(FakeConsole, "commands_at", ())
    with pytest.raises(StudyError, match="--resume"):
        run(folder)
    assert run(folder, resume=True).status == "complete"
    with pytest.raises(StudyError, match="--run 3"):
        run(folder, resume=True)
    assert run(folder, another_run=3).status == "complete"
    shown = [read_events(r.events_file).query("trial_type == 'picture'") for r in runs(folder)]
    assert shown[2]["trial"].tolist() == [1, 2] and set(shown[2]["exposure"]) == {"repeat"}


def test_what_a_crash_left_is_recovered_first_and_told(run: Callable[..., Outcome], folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beholder.experiment.session.run_session.publish", lambda journal: 1 / 0)
        assert run(folder).failures
    assert not list(folder.glob("sub-*"))
    said: list[str] = []
    with pytest.raises(StudyError, match="has seen all 2 pictures"):
        run(folder, say=said.append)
    assert "note: sub-01 run-1: its session ended without saving: recovered into" in said[0]


def test_an_error_in_mid_session_is_its_outcome_with_what_was_kept(
    run: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    plain = live.SyntheticTracker.read

    def read(self: Any) -> Any:
        reads.append(1)
        if len(reads) > 300:
            raise TrackerError("the tracker is lost: plug it in again.")
        return plain(self)

    monkeypatch.setattr(live.SyntheticTracker, "read", read)
    outcome = run(folder)
    assert (outcome.status, outcome.reason) == ("aborted", "the tracker is lost: plug it in again")
    assert any(path.name.endswith("_events.tsv") for path in outcome.files)
    assert all(path.exists() for path in outcome.files)


def test_threads_take_turns_quickly_during_a_session_and_as_before_after_it() -> None:
    interval_s = sys.getswitchinterval()
    with live._undisturbed():
        assert sys.getswitchinterval() < interval_s
    assert sys.getswitchinterval() == pytest.approx(interval_s)


# Doctor.


def test_doctor_says_where_there_is_no_screen_and_stays_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_window(*_: object, **__: object) -> None:
        raise DisplayError("there is no screen: run it in a graphical session.")

    monkeypatch.setattr(live, "Window", no_window)
    found = live.doctor(folder)
    assert [(check.verdict, check.remedy) for check in found if check.what == "screen"] == [
        ("doubtful", "there is no screen: run it in a graphical session.")
    ]
    assert not any(check.verdict == "unfit" for check in found)
    assert [check.what for check in live.doctor(None)] == [check.what for check in live.checks(None)]


def test_doctor_measures_the_screen_of_a_study_and_closes_its_window(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeWindow.opened = []
    monkeypatch.setattr(live, "Window", FakeWindow)
    monkeypatch.setattr(live, "window_checks", lambda study, window: [UNFIT])
    assert UNFIT in live.doctor(folder)
    assert FakeWindow.opened[0].closed


@pytest.mark.parametrize("name", ["tobii", "eyelink"])
@pytest.mark.parametrize("refusal", ["", "the tracker stays at 60 Hz: end the other program."])
def test_doctor_reaches_a_vendors_tracker_and_lets_it_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, refusal: str
) -> None:
    closed = []

    class Vendors:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def connect(self, wanted: TrackerSettings, screen: Screen) -> TrackerInfo:
            if refusal:
                raise TrackerError(refusal)
            return TrackerInfo("a vendor", "M", "S-1", "1", wanted.rate_hz, ("left", "right"), "mm", "diameter", False)

        def close(self, sourcedata: Path) -> CloseReport:
            closed.append(sourcedata)
            return CloseReport((), ("it beeps",))

    FakeWindow.opened = []
    monkeypatch.setattr(live, "Window", FakeWindow)
    monkeypatch.setattr(live, "window_checks", lambda study, window: [FIT])
    monkeypatch.setattr(live, {"tobii": "TobiiTracker", "eyelink": "EyeLinkTracker"}[name], Vendors)
    settings = folder / "study.toml"
    settings.write_text(settings.read_text().replace('name = "mouse"', f'name = "{name}"'))
    found = [check for check in live.doctor(folder) if check.what == "tracker"]
    if refusal:
        assert [(check.verdict, check.remedy) for check in found] == [("unfit", refusal)]
    else:
        assert [check.verdict for check in found] == ["fit", "doubtful"]
        assert "M, serial S-1, 250 Hz, left and right" in found[0].found and found[1].remedy == "it beeps"
    assert len(closed) == 1 and FakeWindow.opened[0].closed
    assert not list(folder.glob("sub-*")) and folder not in closed[0].parents


def test_nothing_of_psychopy_is_loaded_by_importing_the_lab() -> None:
    code = (
        "import sys, beholder.experiment.live; print([m for m in ('psychopy', 'pyglet', 'torch') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout.strip() == "[]"
    assert issubclass(live.UnfitError, BeholderError)


def test_windows_is_asked_to_end_naps_in_time_and_no_longer_than_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    class Timer:
        def __init__(self) -> None:
            self.calls: list[tuple[str, int]] = []

        def timeBeginPeriod(self, ms: int) -> int:  # noqa: N802  (Windows' name)
            self.calls.append(("begin", ms))
            return 0

        def timeEndPeriod(self, ms: int) -> int:  # noqa: N802
            self.calls.append(("end", ms))
            return 0

    timer = Timer()
    monkeypatch.setattr(live, "_timer_of_windows", lambda: timer)
    with pytest.raises(RuntimeError), live._undisturbed():
        assert timer.calls == [("begin", 1)]
        raise RuntimeError
    assert timer.calls == [("begin", 1), ("end", 1)]


def test_the_group_comes_from_the_command_line(run: Callable[..., Outcome], make_study: Callable[..., Path]) -> None:
    folder = make_study(2, protocol={"form": ["group"], "groups": ["expert", "novice"], "dot_s": 0.5, "picture_s": 0.5})
    with pytest.raises(StudyError, match="group of participant 01 is not named: say --group expert or --group novice"):
        run(folder)
    with pytest.raises(StudyError, match='group "beginner" is unknown: say --group expert or --group novice'):
        run(folder, group="beginner")
    assert run(folder, group="novice").status == "complete"
    assert read_participants(folder).loc["01", "group"] == "novice"
    with pytest.raises(StudyError, match="01 has a group already"):
        run(folder, group="expert", another_run=2)
    without = make_study(2, name="without", protocol={"form": []})
    with pytest.raises(StudyError, match="the study's form has no group"):
        run(without, group="expert")


def test_a_session_keeps_the_settings_that_it_was_run_by_but_no_address(
    run: Callable[..., Outcome], make_study: Callable[..., Path]
) -> None:
    folder = make_study(
        1, protocol={"form": [], "dot_s": 0.5, "picture_s": 0.75}, tracker={"address": "tet-tcp://lab-2"}
    )
    assert run(folder).status == "complete"
    kept = json.loads(next((folder / "sub-01" / "beh").glob("*_events.json")).read_text())["Settings"]
    assert kept["protocol"]["picture_s"] == 0.75 and kept["limits"]["late_ms"] == 100.0
    assert "lab-2" not in json.dumps(kept)
