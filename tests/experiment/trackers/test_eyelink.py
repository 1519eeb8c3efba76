"""Claims of `experiment.trackers.eyelink`: whatever goes wrong, what the link gave is kept, and a sentence says so.

The host computer is a fake (`test_eyelink_contract` compares it with the library that is installed); most sessions run
on a virtual clock, so that faults come at the same moment each time.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from beholder.experiment.devices import Bitmap, Closed, Dot, Key, Shape, Text, WindowEvent
from beholder.experiment.headless import HeadlessDisplay, ScriptedOperator, ScriptedParticipant, VirtualClock
from beholder.experiment.live import fetch_from_host
from beholder.experiment.plan import plan_session
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.operator import Command, Status
from beholder.experiment.session.parts import Pace, SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.experiment.trackers.eyelink import (
    LONGEST_MESSAGE,
    EyeLinkTracker,
    import_pylink,
    message_text,
    new_host_file,
)
from beholder.experiment.trackers.eyelink_display import SetupScreen
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import BeholderError, DataError, TrackerError
from beholder.shared.recording.journal import journals
from beholder.shared.recording.records import Point
from beholder.shared.recording.session_header import TrackerInfo
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import EyeLinkSettings, TrackerSettings, read_study
from beholder.shared.tables import read_events

FAKES = Path(__file__).parents[1] / "fakes"
sys.path.insert(0, str(FAKES))
from fake_pylink import DWELL_S, Crashed, Fault, Host, library  # noqa: E402
from fake_pylink import EyeLink as EyeLinkOfFake  # noqa: E402

SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)
POINTS = tuple(
    Point(i, x, y) for i, (x, y) in enumerate([(960, 540), (460, 40), (1460, 40), (460, 1040), (1460, 1040)], start=1)
)
MakeStudy = Callable[..., Path]
Valid = Callable[[Path], None]
# Gaze of the fake stays this close to where it looks, in px: five times its noise.
NEAR_PX = 5.0


# -------------------------------------------------------------------------------------------------- the lab around it


def host_on(clock: Any, *faults: Fault, **more: Any) -> Host:
    return Host(clock.now_s, lambda seconds: clock.sleep_until_s(clock.now_s() + seconds), faults, **more)


def connected(
    *faults: Fault, settings: EyeLinkSettings | None = None, wanted: TrackerSettings | None = None, **more: Any
) -> tuple[EyeLinkTracker, Host, HeadlessDisplay]:
    """A tracker that is connected to a host on a virtual clock."""
    display = HeadlessDisplay(SCREEN, 60.0)
    host = host_on(display.clock, *faults, **more)
    tracker = EyeLinkTracker(display, settings or EyeLinkSettings(), library(host), participant="07", run=1)
    tracker.connect(wanted or TrackerSettings(name="eyelink", rate_hz=500), SCREEN)
    return tracker, host, display


class Watching(ScriptedOperator):
    """The operator, who also writes down what was told when."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.told: list[tuple[float, str]] = []
        # What happens in the participant's window.
        self.at_window: list[WindowEvent] = []
        self.phases: list[str] = []

    def show(self, status: Status) -> None:
        super().show(status)
        self.told += [(status.now_s, text) for text in status.notices]
        self.phases += [status.phase] if status.phase not in self.phases[-1:] else []


class Lab(HeadlessDisplay):
    """The participant's screen, in whose window the operator too may do something."""

    operator: Watching | None = None

    def events(self) -> list[WindowEvent]:
        found = super().events()
        if self.operator is not None:
            found += self.operator.at_window
            self.operator.at_window = []
        return found


@dataclass
class Session:
    """A session that has ended: how, and what there is to show for it."""

    folder: Path
    host: Host
    operator: Watching
    display: HeadlessDisplay
    outcome: Outcome | None = None
    error: BeholderError | None = None
    ended_s: float = 0.0
    scenes: list[tuple[float, Sequence[Shape]]] = field(default_factory=list)

    @property
    def said(self) -> str:
        return str(self.error) if self.error is not None else self.outcome.reason if self.outcome is not None else ""

    @property
    def failures(self) -> list[str]:
        if self.outcome is not None:
            return list(self.outcome.failures)
        return list(getattr(self.error, "__notes__", ()))

    def recording(self) -> Any:
        (run,) = runs(self.folder)
        return read_recording(run)

    def events(self) -> pd.DataFrame:
        (run,) = runs(self.folder, with_gaze=False)
        return read_events(run.events_file)

    def host_files(self) -> bytes:
        """The only file that its host holds."""
        (data,) = self.host.files.values()
        return data

    def edf(self) -> Path:
        return self.folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_eyelink.edf"


# A session's pictures and their times: as short as dot and path still tell.
SHORT = {"protocol": {"dot_s": 1.0, "picture_s": 1.0}}


def run(
    folder: Path,
    *faults: Fault,
    operator: Watching | None = None,
) -> Session:
    """A session before a fake host, from the welcome on, on a virtual clock."""
    study = read_study(folder)
    tracker = study.tracker.model_copy(update={"name": "eyelink", "rate_hz": 500.0})
    study = study.model_copy(update={"tracker": tracker})
    plan = plan_session(study, read_stimuli(folder / "stimuli")[0], "01", [])
    assert study.screen is not None
    display = Lab(study.screen.screen(), study.screen.refresh_hz, ScriptedParticipant())
    host = host_on(display.clock, *faults)
    session = Session(folder, host, operator or Watching(), display)
    display.operator = session.operator
    display.watcher = lambda onset_s, scene: session.scenes.append((onset_s, scene))
    made = EyeLinkTracker(display, study.eyelink, library(host), participant=plan.participant, run=plan.run)
    try:
        session.outcome = run_session(
            SessionSetup(folder, study, plan, display, made, session.operator),
            Pace(sync_every_s=None, pump_every_s=0.02),
            ask_form=False,
        )
    except BeholderError as error:
        session.error = error
    session.ended_s = display.clock.now_s()
    return session


def as_recorded(host: Host) -> NDArray[np.float64]:
    """What the host handed over, as a recording has it: (n, 7), seconds and px, NaN where there was nothing."""
    given = np.array(host.delivered, np.float64).reshape(-1, 7)
    given[given == -32768] = np.nan
    for pupil in (3, 6):
        given[given[:, pupil] == 0, pupil] = np.nan
    given[:, 0] /= 1000
    return given


def assert_all_kept(session: Session) -> NDArray[np.float64]:
    """Every sample that the host handed over is in the published files, and no other."""
    samples = session.recording().samples
    found = np.stack([samples[name] for name in samples.dtype.names], axis=1)
    given = as_recorded(session.host)
    assert len(given) > 200
    np.testing.assert_allclose(found, given, rtol=0, atol=1e-6)
    return found


def messages_of(session: Session) -> list[tuple[float, str]]:
    """Host's milliseconds and text of each message in its file, the delay taken off."""
    found = []
    for line in session.edf().read_text("ascii").splitlines():
        if line.startswith("MSG\t"):
            time_ms, _, text = line.removeprefix("MSG\t").partition(" ")
            found.append((float(time_ms), text))
    return found


# ------------------------------------------------------------------------------------------------------- small things


def test_the_hosts_file_names_are_dos_names_and_no_two_sessions_share_one() -> None:
    """Not those of one participant, nor those of two studies that number theirs alike."""
    labels = ["1", "01", "001", "7", "07", "P104", "p104", "a", "A", "p01", "Z99999", "Participant1", "participant1"]
    labels += [f"{i:02d}" for i in range(1, 100)] + [f"control{i}" for i in range(100)]
    names = [new_host_file(label) for label in labels for _ in range(40)]
    assert all(len(name) == 8 and set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") for name in names)
    assert len(set(names)) == len(names)
    assert new_host_file("07").startswith("07_") and new_host_file("p12").startswith("P12")
    assert new_host_file("control7").startswith("_")


def test_the_hosts_file_is_named_before_anything_is_recorded(make_study: MakeStudy) -> None:
    """In the journal, which is all that a killed session leaves, and on the operator's page."""
    session = run(make_study(2, **SHORT), Fault("no_file"))
    assert session.host.file is None
    named = re.search(r"file (01_[A-Z0-9]{5}\.EDF) on its host", session.operator.statuses[0].heading)
    assert named is not None
    tracker, _, _ = connected()
    assert re.fullmatch(r"07_[A-Z0-9]{5}\.EDF", tracker.connect(TrackerSettings(rate_hz=500), SCREEN).host_file)


@pytest.mark.parametrize(
    ("text", "delay_ms", "sent"),
    [
        ("images/a.png onset", 0, "images/a.png onset"),
        ("images/a.png onset", 7, "7 images/a.png onset"),
        ("images/jarrón.png onset", 0, r"images/jarr\xf3n.png onset"),
        ("two\nlines\tand  more", 3, "3 two lines and more"),
        ("3 jars.png onset", 0, "0 3 jars.png onset"),
        ("TRIALID 3", 9, "TRIALID 3"),
        ("later than now", -4, "later than now"),
    ],
)
def test_messages_carry_their_delay_in_ascii(text: str, delay_ms: int, sent: str) -> None:
    assert message_text(text, delay_ms) == (sent, False)


def test_a_message_that_is_too_long_is_cut_and_told_once() -> None:
    assert message_text("x" * 127, 5) == (f"5 {'x' * 126}", True)
    tracker, host, display = connected()
    tracker.start()
    for _ in range(3):
        tracker.message("!V IAREA RECTANGLE 1 0 0 10 10 " + "y" * 200, display.clock.now_s())
    notices = [notice.text for notice in tracker.read().notices]
    assert len(notices) == 1 and "cut to 128" in notices[0] and "shorten" in notices[0]
    assert all(len(line.split(" ", 1)[1]) <= LONGEST_MESSAGE for line in host.log if line.startswith("MSG"))


def test_many_messages_at_once_give_the_host_time() -> None:
    tracker, _, display = connected()
    tracker.start()
    before_s = display.clock.now_s()
    for number in range(50):
        tracker.message(f"!V IAREA RECTANGLE {number} 0 0 10 10 part", before_s)
    assert 0.03 <= display.clock.now_s() - before_s < 0.1
    before_s = display.clock.now_s()
    tracker.message("a.png onset", before_s)
    display.clock.sleep_until_s(before_s + 1)
    now_s = display.clock.now_s()
    tracker.message("a.png offset", now_s)
    assert display.clock.now_s() == now_s


@pytest.fixture
def other_pylink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """other_pylink(distribution, source of the module): the package that is found as pylink."""

    def install(distribution: str, source: str) -> None:
        (tmp_path / "pylink").mkdir()
        (tmp_path / "pylink" / "__init__.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("pylink\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "pylink", raising=False)
        importlib.invalidate_caches()

    return install


@pytest.mark.parametrize("distribution", ["pylink", "pylink-square"])
def test_another_package_of_that_name_is_named(other_pylink: Callable[[str, str], None], distribution: str) -> None:
    other_pylink(distribution, "class JLink: pass")
    with pytest.raises(TrackerError) as said:
        EyeLinkTracker(HeadlessDisplay(SCREEN, 60.0), EyeLinkSettings()).connect(TrackerSettings(), SCREEN)
    assert f'"{distribution}"' in str(said.value) and "pip uninstall" in str(said.value)
    assert "beholder[eyelink]" in str(said.value)


def test_a_package_that_cannot_be_loaded_or_is_missing_is_said(
    other_pylink: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    other_pylink("sr-research-pylink", "raise OSError('libeyelink_core.so: cannot open shared object file')")
    with pytest.raises(TrackerError, match=r"libeyelink_core\.so.*install it again"):
        import_pylink()
    monkeypatch.setitem(sys.modules, "pylink", None)
    with pytest.raises(TrackerError, match="not installed: pip install"):
        import_pylink()


def test_the_librarys_own_words_do_not_reach_the_operators_page(
    other_pylink: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    other_pylink("sr-research-pylink", "print('Pylink 0.0')\nclass EyeLink: pass")
    assert import_pylink().__name__ == "pylink"
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------------------------------------------- connecting


def test_the_host_is_set_up_as_the_study_asks_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    settings = EyeLinkSettings(pupil="diameter")
    tracker, host, _ = connected(settings=settings, wanted=TrackerSettings(rate_hz=1000, eyes="right"))
    assert host.commands["sample_rate"] == "1000" and host.commands["active_eye"] == "RIGHT"
    assert host.commands["binocular_enabled"] == "NO" and host.commands["pupil_size_diameter"] == "YES"
    assert host.commands["screen_pixel_coords"] == "0 0 1919 1079"
    assert {"GAZE", "AREA", "LEFT", "RIGHT"} <= set(host.commands["link_sample_data"].split(","))
    assert "MESSAGE" in host.commands["file_event_filter"].split(",")
    assert not host.recording and host.file is None
    assert tracker.close(tmp_path).files == () and not host.connected
    assert list(tmp_path.iterdir()) == [] and host.files == {}
    assert tracker.close(tmp_path).failures == ()


def test_what_it_says_of_itself() -> None:
    display = HeadlessDisplay(SCREEN, 60.0)
    tracker = EyeLinkTracker(display, EyeLinkSettings(), library(host_on(display.clock)))
    info = tracker.connect(TrackerSettings(rate_hz=500), SCREEN)
    expected = TrackerInfo(
        "SR Research",
        "EyeLink 1000 series",
        "n/a",
        "EYELINK CL 6.14",
        500.0,
        ("left", "right"),
        "arbitrary",
        "area",
        simulated=False,
        host_file=info.host_file,
    )
    assert info == expected


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("unreachable", ["100.1.1.1", "Could not connect", "100.1.1.2", "cable"]),
        ("dummy", ["only simulates", "[eyelink] host"]),
        ("closed", ["closed the link", "cable"]),
        ("rate_refused", ["500 Hz", "Illegal parameter", "rate_hz", "2000"]),
        ("rate_ignored", ["at 250 Hz, not at 500", "rate_hz"]),
        ("one_eye", ["the left eye, not both eyes", "[tracker] eyes"]),
        ("no_recording", ["did not begin to record", "menus"]),
        ("no_samples", ["no samples over its link", "host"]),
    ],
)
def test_a_host_that_cannot_is_refused_in_a_sentence(make_study: MakeStudy, kind: str, names: list[str]) -> None:
    session = run(make_study(2, **SHORT), Fault(kind))
    assert isinstance(session.error, TrackerError)
    assert all(name in session.said for name in names), session.said
    assert session.said.count("\n") == 0 and session.said.endswith(".") and not session.failures
    assert session.ended_s <= 5 and session.display.closed
    assert session.host.files == {} and not list(session.folder.glob("sub-*"))


def test_a_rate_between_whole_numbers_is_refused() -> None:
    with pytest.raises(TrackerError, match=r"not at 62\.5 Hz"):
        connected(wanted=TrackerSettings(rate_hz=62.5))


# --------------------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("eyes", ["left", "right", "both"])
@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0, 2000.0])
def test_samples_arrive_whole_with_their_times(eyes: Any, rate_hz: float) -> None:
    tracker, host, display = connected(
        Fault("blink", after_s=0.5, lasts_s=0.2), wanted=TrackerSettings(rate_hz=rate_hz, eyes=eyes)
    )
    tracker.start()
    batches = []
    for _ in range(60):
        display.clock.sleep_until_s(display.clock.now_s() + 1 / 60)
        batches.append(tracker.read())
    tracker.stop()
    batches.append(tracker.read())
    samples = np.concatenate([batch.samples for batch in batches])
    found = np.stack([samples[name] for name in samples.dtype.names], axis=1)
    np.testing.assert_array_equal(found, as_recorded(host))
    np.testing.assert_allclose(np.diff(samples["time_s"]), 1 / rate_hz, atol=1e-9)
    assert len(samples) > 0.95 * rate_hz
    unused = {"left": "right", "right": "left", "both": None}[eyes]
    if unused is not None:
        assert np.isnan(samples[f"{unused}_x_px"]).all() and np.isnan(samples[f"{unused}_pupil"]).all()
    used = "left" if eyes == "both" else eyes
    lost = np.isnan(samples[f"{used}_x_px"])
    assert 0.18 * rate_hz < lost.sum() < 0.22 * rate_hz
    blinks = [event for batch in batches for event in batch.events if event.kind == "blink"]
    assert {blink.eye for blink in blinks} == ({"left", "right"} if eyes == "both" else {eyes})
    first_s = samples["time_s"][lost][0]
    # The host tells of events in whole milliseconds of its own, as it likes; here to the sample.
    assert abs(blinks[0].time_s - first_s) < 1e-6 and blinks[0].duration_s is not None
    assert abs(blinks[0].duration_s - lost.sum() / rate_hz) < 1e-6
    fixations = [event for batch in batches for event in batch.events if event.kind == "fixation"]
    assert fixations and fixations[0].x_px == 960.0 and fixations[0].y_px == 540.0


def test_what_is_on_its_way_when_the_recording_stops_is_waited_for() -> None:
    tracker, host, display = connected(Fault("slow_link", lasts_s=0.08))
    tracker.start()
    display.clock.sleep_until_s(display.clock.now_s() + 1.0)
    stopped_ms = host.host_ms(display.clock.now_s())
    tracker.stop()
    last_ms = tracker.read().samples["time_s"][-1] * 1000
    assert stopped_ms - 2 <= last_ms <= stopped_ms + 100
    assert len(tracker.read().samples) == 0


@pytest.mark.parametrize("kind", ["disconnect", "library_error"])
def test_a_loss_is_told_once_and_only_once(kind: str) -> None:
    tracker, host, display = connected(Fault(kind, "validation"))
    tracker.start()
    tracker.message("VALIDATE 1 960 540", display.clock.now_s())
    batches = []
    for _ in range(10):
        display.clock.sleep_until_s(display.clock.now_s() + 0.1)
        batches.append(tracker.read())
        tracker.message("images/a.png onset", display.clock.now_s())
        tracker.clocks()
    tracker.stop()
    batches.append(tracker.read())
    assert [notice.fatal for batch in batches for notice in batch.notices] == [True]
    assert sum(len(batch.samples) for batch in batches) == len(host.delivered) > 80


def test_one_eye_missing_is_missing_and_the_other_is_not() -> None:
    tracker, host, display = connected()
    tracker.start()
    display.clock.sleep_until_s(display.clock.now_s() + 0.1)
    host.advance()
    for _, (_, what) in host.queue:
        if hasattr(what, "getLeftEye"):
            what.getLeftEye()._gaze, what.getLeftEye()._pupil = (-32768.0, -32768.0), 0.0
    samples = tracker.read().samples
    assert len(samples) > 40
    assert np.isnan(samples["left_x_px"]).all() and np.isnan(samples["left_pupil"]).all()
    assert not np.isnan(samples["right_x_px"]).any() and not np.isnan(samples["right_pupil"]).any()


def test_the_hosts_clock_is_asked_of_the_host_and_lies_between_the_readings() -> None:
    """The library's own estimate jumps: a pair of it says a bound that is not true."""
    tracker, host, display = connected()
    tracker.start()
    for at_s in np.arange(1.0, 100.0, 0.37):
        display.clock.sleep_until_s(at_s)
        pair = tracker.clocks()
        assert pair.before_s == pytest.approx(at_s, abs=1e-9) and 0 < pair.after_s - pair.before_s < 0.002
        # Whole milliseconds, of which the middle is taken.
        assert host.host_ms(pair.before_s) - 0.5 <= pair.tracker_s * 1000 <= host.host_ms(pair.after_s) + 0.5


def test_the_librarys_estimate_serves_where_the_host_does_not_answer() -> None:
    tracker, host, display = connected(Fault("time_unanswered"))
    display.clock.sleep_until_s(50.1)
    assert tracker.clocks().tracker_s == pytest.approx(host.host_ms(display.clock.now_s()) / 1000, abs=7e-3)


def test_the_host_is_told_the_screens_size_and_distance_and_what_is_recorded() -> None:
    _, host, _ = connected()
    assert host.commands["screen_phys_coords"] == "-265.0 149.0 265.0 -149.0"
    # sqrt(600^2 + 149^2) mm to the middle of either edge.
    assert host.commands["screen_distance"] == "618 618"
    assert all("HTARGET" in host.commands[name].split(",") for name in ("file_sample_data", "link_sample_data"))


def test_the_hosts_operator_reads_which_trial_it_is(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT))
    assert session.host.commands["record_status_message '01 run 1: trial 2'"] == ""


def test_nothing_the_fake_has_not_is_asked_of_it() -> None:
    with pytest.raises(AttributeError):
        library(host_on(VirtualClock())).EyeLink.getSampleRateHz  # noqa: B018


# -------------------------------------------------------------------------------------------------------- calibration


class Keyboard(HeadlessDisplay):
    """A display whose keys come so many seconds after those before: `typed`."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.typed: list[tuple[float, str]] = []
        self._last_s = 0.0
        self.shown: list[tuple[Shape, ...]] = []
        self.watcher = lambda onset_s, scene: self.shown.append(tuple(scene))

    def events(self) -> list[WindowEvent]:
        now_s = self.clock.now_s()
        if not self.typed or now_s < self._last_s + self.typed[0][0]:
            return []
        self._last_s = now_s
        return [Key(self.typed.pop(0)[1], now_s)]


def test_targets_stand_on_the_sides_as_far_out_as_the_study_has_them_and_shrink() -> None:
    tracker, host, display = connected()
    scenes: list[tuple[float, Sequence[Shape]]] = []
    display.watcher = lambda onset_s, scene: scenes.append((onset_s, scene))
    done = tracker.calibrate(display, POINTS)
    assert done.success and "good (calibration_result: 0)" in done.message and done.failed == () and done.data == b""
    # Corners would leave the host's model of squares without what tells x from y.
    places = [(960, 540), (960, 40), (960, 1040), (460, 540), (1460, 540)]
    np.testing.assert_allclose([(p.x_px, p.y_px) for p in done.points], places, atol=1.5)
    assert host.commands["calibration_type"] == "HV5"
    dots = [shape for _, scene in scenes for shape in scene if isinstance(shape, Dot) and shape.x_px < 500]
    sizes = [dot.diameter_px for dot in dots]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[-1] and len(sizes) > 10
    # The library is answered at once, and waits for a frame no oftener than the display shows one.
    assert max(host.answered_s) <= 1 / 50 and np.mean(np.array(host.answered_s) < 1e-6) > 0.9
    assert host.file is not None and re.fullmatch(r"07_[A-Z0-9]{5}\.EDF", host.file)
    assert "DISPLAY_COORDS 0 0 1919 1079" in host.log[0] and "participant 07 run 1" in host.log[1]


def test_nine_targets_and_a_single_one_anew_are_a_whole_calibration() -> None:
    tracker, host, display = connected()
    nine = (*POINTS, *(Point(i, x, y) for i, x, y in [(6, 960, 40), (7, 460, 540), (8, 1460, 540), (9, 960, 1040)]))
    done = tracker.calibrate(display, nine)
    assert host.commands["calibration_type"] == "HV9" and len(done.points) == 9
    again = tracker.calibrate(display, nine[3:4], redo=done)
    assert host.commands["calibration_type"] == "HV9" and len(again.points) == 9 and again.success


@pytest.mark.parametrize(
    ("kind", "says", "shown"),
    [
        ("calibration_failed", "failed (calibration_result: -1)", 5),
        ("calibration_aborted", "2 of 5 targets", 2),
        ("never_calibrated", "0 of 5 targets", 0),
        ("drift_check_aborted", "DRIFT CHECK ABORTED", 5),
    ],
)
def test_a_calibration_that_is_none_never_passes(kind: str, says: str, shown: int) -> None:
    tracker, _, display = connected(Fault(kind))
    done = tracker.calibrate(display, POINTS)
    assert not done.success and says in done.message and len(done.points) == shown


@pytest.mark.parametrize("said", ["calibration_result: 1", "calibration_result: 5", "all went well", "result 0"])
def test_what_is_poor_or_not_understood_is_no_calibration(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    tracker, _, display = connected()
    monkeypatch.setattr("fake_pylink.EyeLink.getCalibrationMessage", lambda self: said)
    done = tracker.calibrate(display, POINTS)
    assert not done.success and said in done.message


def test_a_host_that_says_nothing_of_its_calibration_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, _, display = connected()
    monkeypatch.setattr("fake_pylink.EyeLink.getCalibrationMessage", lambda self: "")
    done = tracker.calibrate(display, POINTS)
    assert not done.success and "did not say" in done.message


def test_the_camera_and_the_keys_of_the_set_up(tmp_path: Path) -> None:
    display = Keyboard(SCREEN, 60.0)
    host = host_on(display.clock, set_up=("keys",))
    tracker = EyeLinkTracker(display, EyeLinkSettings(), library(host), participant="07", run=1)
    tracker.connect(TrackerSettings(rate_hz=500), SCREEN)
    display.typed = [(1, "return"), (1, "x"), (1, "c"), (8, "q")]
    assert tracker.calibrate(display, POINTS).success
    pictures = [shape for scene in display.shown for shape in scene if isinstance(shape, Bitmap)]
    assert len(pictures) == 3 and pictures[0].image.size == (384, 320)
    pixels = np.asarray(pictures[0].image)
    # The pupil is dark, with a white hair through its middle; the search limit is a red ring.
    assert pixels[320 // 2 - 20, 384 // 2 + 6].tolist() == [15, 15, 15]
    assert pixels[320 // 2, 384 // 2 + 6].tolist() == [255, 255, 255]
    assert (pixels == [255, 0, 0]).all(axis=-1).sum() > 100
    # When all targets have been shown the keys stand there again, to be seen.
    assert any("Q: leave" in shape.text for shape in display.shown[-2] if isinstance(shape, Text))
    texts = {shape.text for scene in display.shown for shape in scene if isinstance(shape, Text)}
    assert "Left Eye  Pupil Threshold: 75" in texts and any("Q: leave" in text for text in texts)
    display.show([shape for scene in display.shown for shape in scene if isinstance(shape, Bitmap)][-1:])
    # Escape within a calibration goes back to its page, once more leaves it.
    display.typed = [(1, "c"), (1, "q"), (1, "q")]
    assert not tracker.calibrate(display, POINTS).success
    assert tracker.close(tmp_path).failures == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [("a", 97), ("space", 32), ("return", 13), ("enter", 13), ("backspace", 8), ("up", 0x4800), ("left", 0x4B00),
     ("pagedown", 0x5100), ("q", 27), ("f5", None)],
)  # fmt: skip
def test_keys_have_the_librarys_codes(name: str, code: int | None) -> None:
    display = Keyboard(SCREEN, 60.0)
    screen = SetupScreen(library(host_on(display.clock)))
    screen.begin(display, lambda: None, lambda: None)
    display.typed = [(0, name)]
    assert screen.keys() == ([] if code is None else [code])


class Attended(HeadlessDisplay):
    """A display through which the session ends at a time, as the one that a calibration is given does."""

    def __init__(self, end: BaseException, at_s: float, *words: Any) -> None:
        super().__init__(*words)
        self._end, self._at_s = end, at_s

    def show(self, scene: Sequence[Shape]) -> float:
        if self.clock.now_s() >= self._at_s:
            raise self._end
        return super().show(scene)

    def hold(self, until_s: float) -> None:
        if self.clock.now_s() >= self._at_s:
            raise self._end
        super().hold(until_s)

    def events(self) -> list[WindowEvent]:
        if self.clock.now_s() >= self._at_s:
            raise self._end
        return super().events()


@pytest.mark.parametrize("end", [RuntimeError("a defect"), KeyboardInterrupt(), TrackerError("stop")])
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.5, 1.5])
@pytest.mark.parametrize("deaf", [False, True])
def test_what_ends_the_session_during_the_set_up_comes_out_of_it_whole(
    end: BaseException, after_s: float, deaf: bool
) -> None:
    tracker, host, display = connected(*[Fault("deaf")] * deaf)
    attended = Attended(end, display.clock.now_s() + after_s, SCREEN, 60.0)
    attended.clock = display.clock
    begun_s = display.clock.now_s()
    with pytest.raises(type(end)) as raised:
        tracker.calibrate(attended, POINTS)
    assert raised.value is end
    assert display.clock.now_s() - begun_s < after_s + 0.2
    # The door once more: nothing of it is left over for the next set-up.
    assert tracker.calibrate(display, POINTS).success
    assert host.graphics is not None


def test_a_callback_that_raises_would_end_the_fake_as_it_ends_the_library() -> None:
    tracker, host, display = connected()
    tracker.calibrate(display, POINTS)
    host.graphics.get_input_key = lambda: 1 / 0
    host.graphics.get_input_key.__name__ = "get_input_key"
    with pytest.raises(Crashed, match="get_input_key raised"):
        tracker.calibrate(display, POINTS)


# -------------------------------------------------------------------------------------------------- the whole session


def test_twenty_trials_are_recorded_as_the_host_handed_them_over(make_study: MakeStudy, assert_valid: Valid) -> None:
    folder = make_study(20, protocol={"dot_s": 1.2, "picture_s": 1.0, "break_every": 0})
    session = run(folder)
    assert session.error is None and session.outcome is not None and session.outcome.status == "complete"
    assert session.failures == [] and session.operator.told == []
    assert_valid(folder)
    assert_all_kept(session)
    recording, events = session.recording(), session.events()
    pictures = events[events["trial_type"] == "picture"]
    assert len(pictures) == 20 and set(events["status"]) == {"complete"}
    sidecar = json.loads(next((folder / "sub-01" / "beh").glob("*eye1_physio.json")).read_text())
    assert sidecar["Manufacturer"] == "SR Research" and sidecar["Simulated"] is False
    assert sidecar["Validation"]["passed"] and sidecar["Validation"]["accuracy_deg"] < 0.2

    # Gaze is where the script has it, when it has it there: on the dot, then along its path over each picture.
    first_s = recording.samples["time_s"][0]
    session_s = np.array([session.host.session_s(t * 1000) for t in recording.samples["time_s"]])
    expected = np.array([looked_at(session.host, at_s) for at_s in session_s])
    measured = np.stack([recording.samples["left_x_px"], recording.samples["left_y_px"]], axis=1)
    assert np.abs(measured - expected).max() < NEAR_PX
    for _, shown in pictures.iterrows():
        during = (recording.samples["time_s"] - first_s - shown["onset"] > 0) & (
            recording.samples["time_s"] - first_s < shown["onset"] + shown["duration"]
        )
        jumps = np.abs(np.diff(measured[during], axis=0)).max(axis=1) > 4 * NEAR_PX
        assert during.sum() > 490 and 2 <= jumps.sum() <= floor(shown["duration"] / DWELL_S) + 1


def looked_at(host: Host, at_s: float) -> tuple[float, float]:
    """Where the script has the eye: the last place of those before."""
    times = np.array([from_s for from_s, _ in host.looks])
    index = int(np.searchsorted(times, at_s + 1e-9, side="right")) - 1
    return host.looks[index][1] if index >= 0 else (960.0, 540.0)


def test_the_hosts_file_opens_with_trials_and_pictures_in_data_viewers_words(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT))
    messages = messages_of(session)
    texts = [text for _, text in messages]
    assert texts[0] == "DISPLAY_COORDS 0 0 1919 1079"
    begins = [i for i, text in enumerate(texts) if text.startswith("TRIALID ")]
    ends = [i for i, text in enumerate(texts) if text.startswith("TRIAL_RESULT ")]
    assert [texts[i] for i in begins] == ["TRIALID 1", "TRIALID 2"]
    assert [texts[i] for i in ends] == ["TRIAL_RESULT 0"] * 2
    for begin, end, picture in zip(
        begins, ends, session.events().query("trial_type == 'picture'").itertuples(), strict=True
    ):
        of_trial = texts[begin:end]
        (loaded,) = (text for text in of_trial if "!V IMGLOAD CENTER" in text)
        file, *place = loaded.split("!V IMGLOAD CENTER ")[1].split()
        # The path leads from the EDF to the picture that was shown.
        with Image.open(session.edf().parent / file) as image:
            assert image.size == (80, 60) and file.endswith(str(picture.stim_file))
        middle_x = picture.picture_x_px + picture.picture_width_px / 2
        middle_y = picture.picture_y_px + picture.picture_height_px / 2
        assert [float(v) for v in place] == [middle_x, middle_y, picture.picture_width_px, picture.picture_height_px]
        assert any("!V CLEAR" in text for text in of_trial) and any("!V IAREA RECTANGLE" in text for text in of_trial)
        assert any(text.startswith("!V TRIAL_VAR picture") for text in of_trial)
    assert all(len(text) <= 128 for text in texts)


def test_the_hosts_file_and_ours_tell_the_same(make_study: MakeStudy) -> None:
    analysis = pytest.importorskip(
        "beholder.analysis.importing.eyelink_asc", reason="the analysis is not installed here"
    )
    session = run(make_study(2, **SHORT), Fault("blink", "picture", 2, 0.4, 0.15))
    file = session.edf().with_suffix(".asc")
    file.write_bytes(session.edf().read_bytes())
    theirs, ours = analysis.read_asc(file), session.recording()
    both = np.isin(np.round(theirs.samples["time_s"], 6), np.round(ours.samples["time_s"], 6))
    # Its last samples of a block may still be on their way when the link is closed; no more than that.
    assert len(theirs.samples) - both.sum() < 0.05 * len(ours.samples)
    for name in ours.samples.dtype.names[1:]:
        np.testing.assert_allclose(theirs.samples[name][both], ours.samples[name], atol=0.051)
    onsets = {m.says: m.at_s for m in theirs.messages if m.says.endswith(" onset")}
    first_s = ours.samples["time_s"][0]
    shown = session.events().query("trial_type == 'picture'")
    assert len(onsets) == 2
    for picture in shown.itertuples():
        assert onsets[f"{picture.stim_file} onset"] == pytest.approx(first_s + picture.onset, abs=0.0015)
    packed = next((session.folder / "sub-01" / "beh").glob("*eye1_physioevents.tsv.gz")).read_bytes()
    kinds = [line.split("\t")[2] for line in gzip.decompress(packed).decode().splitlines()]
    detected = [event.kind for event in theirs.detected if event.eye == "left"]
    assert kinds.count("blink") == detected.count("blink") == 1
    # Those that end with a recording are told when it has ended.
    assert detected.count("fixation") - 1 <= kinds.count("fixation") <= detected.count("fixation")
    assert kinds.count("fixation") > 10


def test_which_file_of_the_hosts_a_runs_is_stays_known(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT))
    note = session.edf().with_name(session.edf().name.replace("eyelink.edf", "eyelink.json"))
    assert json.loads(note.read_text()) == {"host_file": session.host.file, "participant": "01", "run": 1}
    assert session.edf().read_bytes() == session.host_files()


# ----------------------------------------------------------------------------------------------------- what goes wrong

MEANWHILE = [
    ("calibration", 3),
    ("validation", 1),
    ("validation", 4),
    ("dot", 1),
    ("dot", 2),
    ("picture", 1),
    ("offset", 1),
]
LOST = "the connection to the EyeLink at 100.1.1.1 was lost"
ENDS = {
    "disconnect": (LOST, "check the cable", "--resume"),
    "library_error": ("sends nothing any more (Link error)", "check the cable", "--resume"),
}


def stages_of(kind: str) -> list[tuple[str, int]]:
    return [(stage, nth) for stage, nth in MEANWHILE if kind == "disconnect" or stage != "calibration"]


@pytest.mark.parametrize(("kind", "stage", "nth"), [(kind, *stage) for kind in ENDS for stage in stages_of(kind)])
def test_a_tracker_that_is_lost_ends_the_session_at_once_and_nothing_it_gave_is(
    make_study: MakeStudy, assert_valid: Valid, kind: str, stage: str, nth: int
) -> None:
    session = run(make_study(2, **SHORT), Fault(kind, stage, nth))
    assert isinstance(session.error, TrackerError), session.outcome
    assert all(part in session.said for part in ENDS[kind]), session.said
    assert "\n" not in session.said and session.said.endswith(".") and session.said.count(". ") == 0
    assert session.host.disconnected_s is not None
    assert session.ended_s - session.host.disconnected_s <= 5
    # Told the operator the very moment; and once.
    if stage != "calibration":
        assert [text for _, text in session.operator.told] == [session.said]
        assert session.operator.told[0][0] - session.host.disconnected_s <= 0.1
        assert_all_kept(session)
    if stage == "picture":
        assert_valid(session.folder)
    # A cable that is put back brings the host's own file.
    assert session.edf().read_bytes() == session.host_files()
    assert session.failures == [] and session.display.closed


@pytest.mark.parametrize(("stage", "nth"), [("validation", 2), ("dot", 1), ("picture", 1), ("picture", 2)])
def test_a_recording_that_is_ended_at_the_host_costs_one_trial_which_is_shown_again(
    make_study: MakeStudy, assert_valid: Valid, stage: str, nth: int
) -> None:
    session = run(make_study(2, **SHORT), Fault("host_abort", stage, nth))
    assert session.outcome is not None and session.outcome.status == "complete" and session.failures == []
    told = [text for _, text in session.operator.told]
    assert "the EyeLink's recording was ended at its host computer (code 3)" in told
    events = session.events()
    pictures = events[events["trial_type"] == "picture"]
    assert sorted(pictures.loc[pictures["status"] == "complete", "trial"]) == [1, 2]
    assert (events["trial_type"] == "calibration").sum() == 2
    if stage != "validation":
        ended = events[events["status"] == "repeated"]
        assert list(ended["trial_type"]) == [stage] and list(ended["trial"]) == [nth]
        assert any(text.startswith(f"trial {nth} (") and "shown again" in text for text in told)
        again = pictures[(pictures["trial"] == nth) & (pictures["status"] == "complete")]
        assert list(again["exposure"]) == ["repeat" if stage == "picture" else "first"]
    assert_all_kept(session)
    assert_valid(session.folder)
    assert session.edf().read_bytes() == session.host_files()


def test_after_an_end_at_the_host_the_session_may_go_on_without_a_calibration(make_study: MakeStudy) -> None:
    class Resuming(Watching):
        def show(self, status: Status) -> None:
            proposal = status.proposal
            super().show(replace(status, proposal=""))
            if proposal and "resume" in status.offers:
                self._answers.append(Command("resume"))

    session = run(make_study(2, **SHORT), Fault("host_abort", "picture"), operator=Resuming())
    assert session.outcome is not None and session.outcome.status == "complete"
    events = session.events()
    assert (events["trial_type"] == "calibration").sum() == 1 and "pause" in set(events["trial_type"])
    assert_all_kept(session)


@pytest.mark.parametrize("stage", ["calibration", "validation", "picture"])
def test_a_host_that_does_not_come_back_keeps_its_file_and_the_operator_is_told_its_name(
    make_study: MakeStudy, stage: str
) -> None:
    session = run(make_study(2, **SHORT), Fault("disconnect", stage), Fault("link_gone_for_good"))
    assert LOST in session.said and session.host.disconnected_s is not None
    assert session.ended_s - session.host.disconnected_s <= 5
    if stage != "calibration":
        assert_all_kept(session)
    if sys.version_info >= (3, 11):
        (failure,) = session.failures
        assert f"{session.host.file} could not be fetched" in failure
        assert "beholder fetch STUDY 01 --run 1" in failure
    assert not session.edf().exists()


def test_a_link_lost_while_nothing_is_asked_of_it_is_found_at_the_set_up(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("disconnect", "connect", 1, 3.0))
    assert isinstance(session.error, TrackerError) and "EyeLink at 100.1.1.1" in session.said
    assert "check the cable" in session.said and session.failures == []
    # The texts before are the participant's time, not ours.
    assert session.operator.phases[-1] == "calibration" and session.host.drawn == []


@pytest.mark.parametrize("stage", ["validation", "dot", "picture"])
@pytest.mark.parametrize("kind", ["dropout", "blink", "slow_link"])
def test_what_comes_late_or_not_at_all_ends_nothing(make_study: MakeStudy, kind: str, stage: str) -> None:
    session = run(make_study(2, **SHORT), Fault(kind, stage, 1, 0.1, 0.15 if kind != "slow_link" else 0.08))
    assert session.error is None and session.outcome is not None
    assert session.outcome.status == "complete" and session.failures == []
    found = assert_all_kept(session)
    told = [text for _, text in session.operator.told]
    if kind == "dropout":
        assert len(told) == 1 and "lost data 1 times" in told[0] and "its own file" in told[0]
        gaps = np.diff(found[:, 0])
        assert (np.abs(gaps - 0.152) < 0.003).sum() == 1
    else:
        assert told == []
    if kind == "blink":
        assert 60 <= np.isnan(found[:, 1]).sum() <= 90


def test_two_seconds_of_silence_are_told_and_then_that_they_are_over(make_study: MakeStudy) -> None:
    session = run(make_study(3, protocol={"dot_s": 2.0, "picture_s": 4.0}), Fault("dropout", "picture", 1, 0.5, 3.0))
    told = [text for _, text in session.operator.told]
    assert "has sent no sample" in told[0] and "sends samples again" in told[1]
    assert_all_kept(session)


@pytest.mark.parametrize("kind", ["calibration_failed", "calibration_aborted", "drift_check_aborted"])
def test_a_set_up_that_was_left_early_is_offered_again(make_study: MakeStudy, kind: str) -> None:
    session = run(make_study(2, **SHORT), Fault(kind))
    assert session.error is None and session.outcome is not None and session.outcome.status == "complete"
    calibrations = session.events().query("trial_type == 'calibration'")["status"].tolist()
    assert calibrations == ["aborted", "complete"]
    assert_all_kept(session)


def test_what_the_host_wants_read_is_told_the_operator(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("drift_check_aborted"))
    assert [text for _, text in session.operator.told] == ["the EyeLink says: drift check aborted"]


LEAVING = {
    "escape": "Escape was pressed twice",
    "closed": "the window was closed",
    "stop": "the operator stopped the session",
}


class Leaver(Watching):
    """Leaves a while after a phase has begun."""

    def __init__(self, phase: str, how: str) -> None:
        super().__init__()
        self.phase, self.how = phase, how
        self.leaves_s: float | None = None

    def show(self, status: Status) -> None:
        super().show(status)
        if status.phase == self.phase and self.leaves_s is None:
            # The screen that announces the calibration is of that phase too, and stands for two seconds.
            self.leaves_s = status.now_s + (4.0 if self.phase == "calibration" else 0.5)
        if self.leaves_s is not None and status.now_s >= self.leaves_s:
            if self.how == "stop":
                self._answers.append(Command("stop"))
            else:
                self.at_window.append(Key("escape", status.now_s) if self.how == "escape" else Closed(0.0))


LEFT_IN = ["calibration", "validation", "dot", "picture"]


@pytest.mark.parametrize(
    # In the set-up Escape is the EyeLink's.
    ("how", "phase"),
    [(how, at) for how in LEAVING for at in LEFT_IN if (how, at) != ("escape", "calibration")],
)
def test_whoever_leaves_takes_the_hosts_file_along(
    make_study: MakeStudy, assert_valid: Valid, how: str, phase: str
) -> None:
    operator = Leaver(phase, how)
    session = run(make_study(2, **SHORT), operator=operator)
    assert session.outcome is not None and session.outcome.status == "aborted" and session.said == LEAVING[how]
    assert operator.phases[-1] == phase and "draw_cal_target" in session.host.drawn
    assert operator.leaves_s is not None and session.ended_s - operator.leaves_s < 3
    assert session.failures == []
    assert session.edf().read_bytes() == session.host_files()
    if phase != "calibration":
        assert_all_kept(session)
    if phase == "picture":
        assert_valid(session.folder)


@pytest.mark.parametrize(("kind", "why"), [("transfer_fails", "File transfer failed"), ("transfer_cut", "bytes came")])
@pytest.mark.parametrize("leaves", [False, True])
def test_a_transfer_that_fails_costs_no_data_and_says_how_to_fetch_the_file(
    make_study: MakeStudy, assert_valid: Valid, kind: str, why: str, leaves: bool
) -> None:
    faults = [Fault(kind), *([Fault("library_error", "picture")] if leaves else [])]
    session = run(make_study(2, **SHORT), *faults)
    assert_all_kept(session)
    if leaves:
        assert_valid(session.folder)
    if not leaves or sys.version_info >= (3, 11):
        (failure,) = session.failures
        assert why in failure and f"{session.host.file}" in failure and "beholder fetch STUDY 01 --run 1" in failure
    assert not session.edf().exists(), "a part of it would pass for the whole"
    note = session.edf().with_name(session.edf().name.replace("eyelink.edf", "eyelink.json"))
    assert json.loads(note.read_text())["host_file"] == session.host.file


def test_a_slow_transfer_shows_how_far_it_is(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("transfer_slow"))
    assert session.outcome is not None and session.outcome.status == "complete" and session.failures == []
    assert session.edf().read_bytes() == session.host_files()
    told = [
        (at_s, shape.text)
        for at_s, scene in session.scenes
        for shape in scene
        if isinstance(shape, Text) and f"{session.host.file}" in shape.text
    ]
    assert [text.split()[-2] for _, text in told] == [str(10 * tenth) for tenth in range(11)]
    assert np.diff([at_s for at_s, _ in told]).max() <= 5


def test_a_disk_full_on_the_host_is_said_before_anybody_is_calibrated(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("no_file"))
    assert isinstance(session.error, TrackerError)
    assert re.search(r"01_[A-Z0-9]{5}\.EDF", session.said) and "disk" in session.said and "code -5" in session.said
    assert session.host.drawn == []


def test_a_window_that_is_gone_keeps_no_file_on_the_host(tmp_path: Path) -> None:
    tracker, host, display = connected(Fault("transfer_slow"))
    tracker.start()
    display.clock.sleep_until_s(display.clock.now_s() + 1)

    def gone(scene: Sequence[Shape]) -> float:
        raise RuntimeError("there is no window")

    display.show = gone  # type: ignore[method-assign]
    report = tracker.close(tmp_path)
    assert report.failures == () and [file.name for file in report.files] == ["eyelink.edf"]
    assert host.file is not None and (tmp_path / "eyelink.edf").read_bytes() == host.files[host.file]
    assert tracker.close(tmp_path).files == ()


def test_a_recording_that_fails_to_begin_after_the_set_up_ends_in_a_sentence(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Host.begin_block

    def refuses(self: Host, into_file: bool, onto_link: bool) -> None:
        begun(self, into_file, onto_link)
        if into_file:
            self.rate_hz = 250  # somebody changed it on the host's page

    monkeypatch.setattr(Host, "begin_block", refuses)
    session = run(make_study(2, **SHORT))
    assert isinstance(session.error, TrackerError) and "at 250 Hz, not at 500" in session.said
    assert session.edf().exists() and session.failures == []


# --------------------------------------------------------------------------------- as a lab does it: `beholder run`

TIMES = {"dot_s": 0.3, "picture_s": 0.5, "break_every": 0, "form": []}


@pytest.fixture
def virtual_screen(tmp_path: Path) -> Iterator[Any]:
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("there is no virtual screen here: apt-get install xvfb xauth xdotool")
    from tests.experiment.robot import VirtualScreen

    screen = VirtualScreen(tmp_path)
    yield screen
    screen.close()


def run_in_the_room(screen: Any, folder: Path, report: Path, **script: Any) -> tuple[int, str]:
    """`beholder run` before a real window, the fake installed; its exit code and all that it said."""
    from tests.experiment.robot import REASON, Operator, Robot

    environment = screen.environment | {
        "PYTHONPATH": str(FAKES / "as_installed" / "fake_pylink"),
        "BEHOLDER_FAKE": json.dumps({"report": str(report), "target_s": 0.7, **script}),
    }
    operator = Operator("run", folder, "--participant", "01", "--override", REASON, environment=environment)
    kept = os.environ.get("BEHOLDER_SCREENSHOTS")
    robot = Robot(screen, operator, Path(kept) if kept else None, 37.0)
    try:
        last = None
        for name in ("welcome", "instructions", "calibration"):
            last = robot.answer(f"eyelink-{name}", lambda: screen.key("space"), last)
        if "keys" in script.get("set_up", ()):
            for key in ("Return", "c", "q"):
                time.sleep(2.0 if key != "q" else 8.0)
                robot.keep(f"eyelink-before-{key}")
                screen.key(key)
        until_s = time.monotonic() + 120
        while "validation passed" not in operator.read():
            assert time.monotonic() < until_s and operator.process.poll() is None, operator.shown[-3000:]
            image = screen.grab()
            if (image == 0xFF).all(axis=-1).mean() < 0.999:
                robot.keep(f"eyelink-set-up-{len(robot.kept) // 6}", image)
            time.sleep(0.1)
        robot.keep("eyelink-validation")
        operator.press("a")
        while operator.process.poll() is None:
            assert time.monotonic() < until_s + 300, operator.read()[-3000:]
            # The thanks; in a trial nobody listens to it.
            operator.read()
            screen.key("space")
            time.sleep(0.5)
        return operator.end(), operator.shown
    finally:
        operator.close()


@pytest.mark.slow
def test_twenty_trials_in_a_real_window_are_recorded_and_analysed(
    make_study: MakeStudy, assert_valid: Valid, virtual_screen: Any, tmp_path: Path
) -> None:
    folder = make_study(
        20, protocol=TIMES, limits={"late_ms": 60000.0}, tracker={"name": "eyelink", "rate_hz": 500.0},
        screen={"width_px": 1280, "height_px": 800, "width_cm": 32.0, "height_cm": 20.0},
        maps={"longer_side_px": 56, "sigma_step": 0.3}, alignment={"random_weights": 1},
    )  # fmt: skip
    report = tmp_path / "handed-over.npy"
    code, said = run_in_the_room(virtual_screen, folder, report, set_up=["keys"])
    assert code == 0, said[-3000:]
    assert_valid(folder)
    (found,) = runs(folder)
    recording = read_recording(found)
    host = host_on(VirtualClock())
    host.delivered = [tuple(row) for row in np.load(report)]
    given = as_recorded(host)
    samples = np.stack([recording.samples[name] for name in recording.samples.dtype.names], axis=1)
    np.testing.assert_allclose(samples, given, rtol=0, atol=1e-6)
    pictures = recording.events.query("trial_type == 'picture'")
    assert len(pictures) == 20 and set(recording.events["status"]) == {"complete"}
    # On the dot gaze is in the middle of the screen, on the picture along the fake's path around it.
    first_s = recording.samples["time_s"][0]
    for dot in recording.events.query("trial_type == 'dot'").itertuples():
        since_s = recording.samples["time_s"] - first_s - dot.onset
        on_dot = recording.samples[(since_s > 0.05) & (since_s < dot.duration)]
        assert np.abs(np.median(on_dot["left_x_px"]) - 640) < NEAR_PX
        assert np.abs(np.median(on_dot["left_y_px"]) - 400) < NEAR_PX
    edf = folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_eyelink.edf"
    assert edf.read_text("ascii").count("TRIAL_RESULT 0") == 20
    if sys.version_info < (3, 11):
        return
    done = subprocess.run(
        [sys.executable, "-m", "beholder", "analyze", str(folder), "--model", "offline"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fixations = pd.read_parquet(folder / "derivatives" / "beholder" / "fixations.parquet")
    assert fixations["stimulus"].nunique() == 20


@pytest.mark.slow
def test_a_cable_pulled_in_a_real_window_ends_the_session_in_a_sentence(
    make_study: MakeStudy, assert_valid: Valid, virtual_screen: Any, tmp_path: Path
) -> None:
    folder = make_study(
        3, protocol=TIMES, limits={"late_ms": 60000.0}, tracker={"name": "eyelink", "rate_hz": 500.0},
        screen={"width_px": 1280, "height_px": 800, "width_cm": 32.0, "height_cm": 20.0},
    )  # fmt: skip
    report = tmp_path / "handed-over.npy"
    faults = [{"kind": "disconnect", "stage": "picture", "nth": 2}]
    code, said = run_in_the_room(virtual_screen, folder, report, faults=faults)
    words = " ".join(said.replace("\r\n", " ").split())
    assert code == 1 and "Traceback" not in said
    assert "the connection to the EyeLink at 100.1.1.1 was lost" in words and "--resume" in words
    assert_valid(folder)
    (found,) = runs(folder)
    assert len(read_recording(found).samples) == len(np.load(report))


# ------------------------------------------------------------------------------------------ the file that did not come


def fetched(folder: Path, host: Host, run: int = 1, said: list[str] | None = None) -> Path:
    # A host's computer is a server: it knows nothing of the session any more.
    host.faults, host.connected, host.disconnected_s = (), False, None
    return fetch_from_host(folder, "01", run, say=(said if said is not None else []).append, pylink=library(host))


def test_a_file_that_did_not_come_is_fetched_by_its_sessions_number(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("transfer_fails"))
    assert not session.edf().exists()
    said: list[str] = []
    assert fetched(session.folder, session.host, said=said) == session.edf() and said == []
    assert session.edf().read_bytes() == session.host_files()
    assert fetched(session.folder, session.host, said=said) == session.edf()
    assert said == [f"{session.host.file} is there already"]
    with pytest.raises(DataError, match="names no file of an EyeLink's host for run 2"):
        fetched(session.folder, session.host, run=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process: run this on Linux or macOS")
def test_the_file_of_a_session_that_was_killed_is_fetched(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in mid-transfer, when a part of the file lies here."""
    folder, on_host = make_study(2, **SHORT), tmp_path / "host"
    on_host.mkdir()

    def dies(self: Any, src: str, dest: str, opt: int = 2) -> int:
        (on_host / src).write_bytes(self._host.files[src])
        Path(dest).write_bytes(b"a part")
        os._exit(9)

    if (child := os.fork()) == 0:
        monkeypatch.setattr(EyeLinkOfFake, "receiveDataFile", dies)
        run(folder)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (journal,) = journals(folder)
    assert (journal.folder / "files" / "eyelink.edf.part").read_bytes() == b"a part"
    (left,) = on_host.iterdir()
    assert json.loads((journal.folder / "session.json").read_text())["tracker"]["host_file"] == left.name
    host, said = host_on(VirtualClock()), list[str]()
    host.files[left.name] = left.read_bytes()
    path = fetched(folder, host, said=said)
    assert path.read_bytes() == left.read_bytes() and "BEHOLDER participant 01" in path.read_text()
    assert any("ended without saving" in line for line in said)
    assert list(path.parent.glob("*part*")) == []


def test_what_the_host_does_not_have_is_said_in_a_sentence(make_study: MakeStudy) -> None:
    session = run(make_study(2, **SHORT), Fault("transfer_fails"))
    session.host.files.clear()
    session.host.file = None
    with pytest.raises(
        TrackerError, match=r"01_.{5}\.EDF could not be fetched from the EyeLink's host computer at 100"
    ):
        fetched(session.folder, session.host)
    assert not session.edf().exists()


def test_all_is_on_the_disk_before_the_file_is_fetched(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library holds up every thread during a transfer, and may end the program."""
    found: list[tuple[int, bool]] = []
    receive = EyeLinkOfFake.receiveDataFile
    folder = make_study(2, **SHORT)

    def looking(self: Any, src: str, dest: str, opt: int = 2) -> int:
        (state,) = journals(folder)
        found.append(((state.folder / "samples.tsv").read_bytes().count(b"\n"), state.running))
        return receive(self, src, dest, opt)

    monkeypatch.setattr(EyeLinkOfFake, "receiveDataFile", looking)
    session = run(folder)
    ((rows, held),) = found
    assert held and rows >= len(session.host.delivered) > 500
