"""Claims of `experiment.trackers.tobii`: with either package, what the tracker gave is kept, and nothing is made up.

The fakes stand for the packages (`test_tobii_contract` compares them with the real ones). Sessions run on a virtual
clock: `LabDisplay` moves the tracker on whenever time passes, so that faults come at the same sample each time.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from beholder.experiment.devices import Dot, Key, Text, WindowEvent
from beholder.experiment.headless import ScriptedOperator, ScriptedParticipant, VirtualClock
from beholder.experiment.pages import read_texts
from beholder.experiment.plan import plan_session
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.operator import Status
from beholder.experiment.session.parts import Pace, SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.experiment.trackers.tobii import packages
from beholder.experiment.trackers.tobii.adapter import (
    LONGEST_LEAVE_S,
    LONGEST_STEP_S,
    TobiiTracker,
    display_area_problem,
    notice_of,
    position_box,
    position_scene,
)
from beholder.experiment.trackers.tobii.sdk import DisplayArea, EyePositions, Trouble
from beholder.experiment.trackers.tobii.tobii_research import TobiiResearch
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import BeholderError, TrackerError
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import TobiiSettings, TrackerSettings, read_study

FAKES = Path(__file__).parents[1] / "fakes"
sys.path.insert(0, str(FAKES))
from tobii_display import SCREEN, LabDisplay  # noqa: E402
from tobii_lab import DEVICE_PPM, DEVICE_US, SYSTEM_US, Lab, Script  # noqa: E402

PACKAGES = ("fake_tobii_research", "fake_tittapy")
POINTS = tuple(
    Point(i, x, y) for i, (x, y) in enumerate([(960, 540), (400, 200), (1500, 200), (400, 900), (1500, 900)], start=1)
)
MakeStudy = Callable[..., Path]


# ------------------------------------------------------------------------------------------------ the lab around it


@dataclass
class Bench:
    """A tracker, its display and its lab."""

    lab: Lab
    display: LabDisplay
    tracker: TobiiTracker

    def connect(self, rate_hz: float = 120.0, **wanted: Any) -> Any:
        return self.tracker.connect(TrackerSettings(rate_hz=rate_hz, **wanted), self.display.screen)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


@pytest.fixture
def bench(package: Any) -> Callable[..., Bench]:
    """bench(rates=..., settings={...}, ...) -> a tracker before a lab of that script."""

    def make(settings: dict[str, Any] | None = None, participant: Any = None, **script: Any) -> Bench:
        clock = VirtualClock()
        lab = Lab(Script(**script), clock.now_s)
        package._use(lab)
        display = LabDisplay(lab, participant=participant, clock=clock)
        values = {"show_position": False, **(settings or {})}
        display.tracker = TobiiTracker(display.clock, TobiiSettings(**values), package)
        return Bench(lab, display, display.tracker)

    return make


def record(bench: Bench, seconds: float, step_s: float = 0.05) -> Any:
    """Start, let time pass, read in pieces as a session does, stop; the samples."""
    bench.tracker.start()
    pieces = []
    until_s = bench.display.clock.now_s() + seconds
    while bench.display.clock.now_s() < until_s:
        bench.display.hold(bench.display.clock.now_s() + step_s)
        pieces.append(bench.tracker.read().samples)
    bench.tracker.stop()
    pieces.append(bench.tracker.read().samples)
    return np.concatenate(pieces)


def delivered(lab: Lab, eye: str, screen: Screen = SCREEN) -> np.ndarray:
    """What the tracker handed over, (n, 3): time_s, x_px, y_px; NaN where not valid."""
    rows = []
    for sample in lab.delivered:
        place = getattr(sample, eye)
        x, y = (np.nan, np.nan) if place is None else place
        rows.append((sample.system_us / 1e6, x * screen.width_px, y * screen.height_px))
    return np.array(rows).reshape(-1, 3)


def assert_all_there(lab: Lab, samples: np.ndarray, screen: Screen = SCREEN) -> None:
    """Every sample that was handed over is in the samples, at its time and place, and no other."""
    for eye in ("left", "right"):
        expected = delivered(lab, eye, screen)
        assert len(samples) == len(expected)
        np.testing.assert_allclose(samples["time_s"], expected[:, 0], atol=1.1e-6)
        np.testing.assert_allclose(samples[f"{eye}_x_px"], expected[:, 1], atol=0.01)
        np.testing.assert_allclose(samples[f"{eye}_y_px"], expected[:, 2], atol=0.01)


# ------------------------------------------------------------------------------------------------------ connecting


def test_a_tracker_is_found_and_set_as_asked(bench: Callable[..., Bench]) -> None:
    made = bench()
    info = made.connect(rate_hz=600.0)
    assert (info.manufacturer, info.model, info.serial) == ("Tobii", "Tobii Pro Spectrum", "TPSP1-010203040506")
    assert (info.rate_hz, info.eyes, info.pupil_unit, info.simulated) == (600.0, ("left", "right"), "mm", False)
    assert "2.1.0" in info.software and "2.6.1" in info.software
    assert made.lab.script.rate_hz == 600.0


@pytest.mark.parametrize(
    ("script", "wanted", "settings", "sentence"),
    [
        ({"found": False}, {}, {}, "no Tobii tracker was found: check that it is switched on"),
        (
            {"others": [("X-2", "Nano", "tet-tcp://b")]}, {}, {},
            r"several Tobii trackers were found, TPSP1-010203040506 \(Tobii Pro Spectrum\), X-2 \(Nano\): write",
        ),
        ({}, {"address": "X-9"}, {}, "X-9 was not found, but TPSP1-010203040506 .*: mend .tracker. address"),
        ({}, {"address": "tet-tcp://127.0.0.9"}, {}, "cannot be reached .*: check its cable and power"),
        ({}, {"rate_hz": 500.0}, {}, r"samples at 60, 120, 250, 600, 1200 Hz, not at 500: change \[tracker\] rate_hz"),
        ({"stubborn": True}, {}, {}, "stays at 60 Hz where 120 were asked for: close other programs"),
        ({"calibrates": False}, {}, {}, "Spectrum cannot be calibrated on a screen"),
        ({}, {}, {"license_file": "none.lic"}, r"file none.lic cannot be read \(No such file.*\): mend \[tobii\]"),
        (
            {"licence": "expired"}, {}, {"license_file": __file__},
            r"refused the licence .*test_tobii.py \((license )?expired\): ask Tobii",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_a_sentence_with_the_remedy(
    bench: Callable[..., Bench], tmp_path: Path, script: Any, wanted: Any, settings: Any, sentence: str
) -> None:
    made = bench(settings, **script)
    with pytest.raises(TrackerError, match=sentence):
        made.connect(**wanted)
    # The door closes what was never opened, and writes nothing.
    assert made.tracker.close(tmp_path).failures == ()
    assert list(tmp_path.iterdir()) == []


def test_of_several_the_one_whose_serial_number_is_named_is_taken(bench: Callable[..., Bench]) -> None:
    made = bench(others=[("X-2", "Nano", "tet-tcp://b")])
    assert made.connect(address="TPSP1-010203040506").serial == "TPSP1-010203040506"
    assert "connect tet-tcp://b" not in made.lab.calls


def test_an_address_is_dialled_without_a_search(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect(address="tet-tcp://127.0.0.1")
    assert "find" not in made.lab.calls


def test_a_licence_that_is_taken_unlocks_gaze(bench: Callable[..., Bench]) -> None:
    locked = bench(gaze_needs_licence=True)
    locked.connect()
    with pytest.raises(TrackerError, match=r"lacks a licence for starting to record .*\[tobii\] license_file"):
        locked.tracker.start()
    made = bench({"license_file": __file__}, gaze_needs_licence=True)
    made.connect()
    assert len(record(made, 0.5)) > 0


def test_the_tracking_mode_is_set_and_known(bench: Callable[..., Bench]) -> None:
    left = bench(mode="monkey")
    assert left.connect().tracking_mode == "monkey", "what is not asked for stays as it was"
    made = bench({"tracking_mode": "great_ape"})
    assert made.connect().tracking_mode == made.lab.script.mode == "great_ape"
    made.tracker.start()
    made.display.hold(1.0)
    assert made.tracker.read().notices == (), "what the tracker tells of its being set up is no news"
    with pytest.raises(TrackerError, match=r'no tracking mode "infant", but human, monkey, great_ape: change'):
        bench({"tracking_mode": "infant"}).connect()
    with pytest.raises(TrackerError, match='stays in the mode "human" where "monkey" was asked for'):
        bench({"tracking_mode": "monkey"}, stubborn=True).connect()


@pytest.mark.parametrize("eye", ["left", "right"])
def test_a_study_of_one_eye_calibrates_that_eye_and_fails_without_it(bench: Callable[..., Bench], eye: str) -> None:
    other = "right" if eye == "left" else "left"
    made = bench(blind_eye=other)
    made.connect(eyes=eye)
    done = made.tracker.calibrate(made.display, POINTS)
    assert done.success and done.failed == () and done.data
    covered = bench(blind_eye=eye)
    covered.connect(eyes=eye)
    failed = covered.tracker.calibrate(covered.display, POINTS)
    assert not failed.success and f"could not calibrate the {eye} eye" in failed.message
    both = bench(blind_eye=other)
    both.connect()
    assert not both.tracker.calibrate(both.display, POINTS).success


@pytest.mark.parametrize("address", ["", "TPSP1-010203040506", "tet-tcp://127.0.0.1"])
def test_a_tracker_that_the_newer_sdk_does_not_know_is_found_by_the_older(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    clock = VirtualClock()
    tried = []

    def package_of(name: str, *, found: bool) -> ModuleType:
        module = importlib.import_module("fake_tittapy")
        copy = ModuleType(name)
        copy.__dict__.update({key: value for key, value in vars(module).items() if key != "__name__"})

        def turn() -> None:
            tried.append(name)
            module._use(Lab(Script(found=found, model="Tobii TX300"), clock.now_s))

        def find_all_eye_trackers() -> Any:
            turn()
            return module.find_all_eye_trackers()

        def eye_tracker(address: str) -> Any:
            if address == "tet-tcp://127.0.0.1" and tried[-1:] != [name]:
                turn()
            return module.EyeTracker(address)

        copy.find_all_eye_trackers, copy.EyeTracker = find_all_eye_trackers, eye_tracker  # type: ignore[attr-defined]
        return copy

    monkeypatch.setitem(sys.modules, "tobii_research", None)
    monkeypatch.setitem(sys.modules, "TittaPy_v2", package_of("TittaPy_v2", found=False))
    monkeypatch.setitem(sys.modules, "TittaPy_v1", package_of("TittaPy_v1", found=True))
    info = TobiiTracker(clock, TobiiSettings()).connect(TrackerSettings(rate_hz=120.0, address=address), SCREEN)
    assert info.model == "Tobii TX300" and tried[0] == "TittaPy_v2" and tried[-1] == "TittaPy_v1"


def test_doctor_connects_and_closes_and_leaves_nothing(bench: Callable[..., Bench], tmp_path: Path) -> None:
    made = bench()
    made.connect()
    report = made.tracker.close(tmp_path)
    assert (report.files, report.failures, list(tmp_path.iterdir())) == ((), (), [])
    assert made.tracker.close(tmp_path).failures == ()
    streams = {name: len(listeners) for name, listeners in made.lab.listeners.items() if name in ("gaze", "sync")}
    assert streams == {"gaze": 0, "sync": 0}


# A package that is missing, or another one of its name.


def test_without_a_package_the_command_for_this_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tobii_research", "TittaPy_v2", "TittaPy_v1"):
        monkeypatch.setitem(sys.modules, name, None)
    package = "tobii-research" if sys.version_info < (3, 11) else "tittapy"
    with pytest.raises(TrackerError, match=f"-m pip install {package}"):
        TobiiTracker(VirtualClock(), TobiiSettings()).connect(TrackerSettings(), SCREEN)


def test_another_package_of_that_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tobii_research.py").write_text("def eyes(): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tobii_research", raising=False)
    with pytest.raises(TrackerError, match=r"tobii_research in .*tobii_research.py is not Tobii's: remove it"):
        list(packages.installed())


def test_a_package_that_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tobii_research.py").write_text("raise ImportError('libusb.so.1 is missing')\n")
    (tmp_path / "TittaPy_v2.py").write_text("import surely_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("tobii_research", "TittaPy_v2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "TittaPy_v1", None)
    with pytest.raises(
        TrackerError, match=r"libusb.so.1 is missing; TittaPy_v2 cannot be imported: .*surely_not_there"
    ):
        list(packages.installed())


# The display area.


def tilted(roll_deg: float = 0.0, turn_deg: float = 0.0, lean_deg: float = 0.0, right_mm: float = 0.0) -> DisplayArea:
    """A screen of 53 x 29.8 cm, rolled, turned, leaning back, and beside the tracker's middle."""
    roll, turn, lean = np.radians([roll_deg, turn_deg, lean_deg])
    flat = np.array([[-265.0, 298.0, 0.0], [265.0, 298.0, 0.0], [-265.0, 0.0, 0.0]])
    x_axis = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)], [0, -np.sin(lean), np.cos(lean)]])
    y_axis = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    z_axis = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    corners = flat @ x_axis.T @ y_axis.T @ z_axis.T + np.array([right_mm, 0, 0])
    return DisplayArea(*(tuple(float(v) for v in corner) for corner in corners))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("area", "problem"),
    [
        (tilted(), ""),
        (tilted(lean_deg=25.0), ""),
        (tilted(roll_deg=2.0, turn_deg=2.0, right_mm=10.0), ""),
        (tilted(roll_deg=8.0), "crooked"),
        (tilted(roll_deg=180.0), "crooked"),
        (tilted(turn_deg=8.0), "crooked"),
        (tilted(lean_deg=60.0), "leans by 60 degrees"),
        (tilted(right_mm=60.0), "6.0 cm beside"),
        (DisplayArea((0, 0, 0), (0, 0, 0), (0, 0, 0)), "never set up"),
        (DisplayArea((np.nan, 0, 0), (530, 0, 0), (0, 298, 0)), "never set up"),
        (DisplayArea((-290, 298, 0), (290, 298, 0), (-290, 0, 0)), "is 58.0 x 29.8 cm, and the study's screen 53 x"),
        (DisplayArea((-265, 270, 0), (265, 270, 0), (-265, 0, 0)), "is 53.0 x 27.0 cm"),
        (DisplayArea((-240, 298, 0), (290, 298, 0), (-290, 0, 0)), "no rectangle"),
    ],
)  # fmt: skip
def test_a_display_area_must_fit_the_study_s_screen(area: DisplayArea, problem: str) -> None:
    found = display_area_problem(area, SCREEN, 5.0)
    assert (found == "") if problem == "" else (problem in found), found


def test_the_wrong_screen_is_told_at_the_start(bench: Callable[..., Bench]) -> None:
    area = {"top_left": (-290.0, 330.0, 0.0), "top_right": (290.0, 330.0, 0.0), "bottom_left": (-290.0, 0.0, 0.0)}
    with pytest.raises(
        TrackerError, match=r"is 58.0 x 33.0 cm, .* screen 53 x 29.8 cm: measure .* Eye Tracker Manager"
    ):
        bench(area=area).connect()
    bench({"display_area_percent": 12.0}, area=area).connect()


# ------------------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize("keys", ["2.0", "2.1"])
@pytest.mark.parametrize("rate_hz", [60.0, 1200.0])
def test_gaze_comes_back_as_it_was_handed_over(bench: Callable[..., Bench], keys: str, rate_hz: float) -> None:
    made = bench(keys=keys, invalid_every=7)
    made.connect(rate_hz=rate_hz)
    made.lab.calibrated = True
    made.lab.look_at(-1.0, 0.25, 0.75)
    samples = record(made, 2.0)
    assert len(samples) == pytest.approx(2.0 * rate_hz, abs=2)
    assert_all_there(made.lab, samples)
    seen = ~np.isnan(samples["left_x_px"])
    assert seen.mean() == pytest.approx(6 / 7, abs=0.02)
    assert np.isnan(samples["left_pupil"][~seen]).all() and (np.abs(samples["left_pupil"][seen] - 3.2) < 0.11).all()
    assert np.median(samples["left_x_px"][seen]) == pytest.approx(480, abs=1)
    assert np.median(samples["right_y_px"][seen]) == pytest.approx(810, abs=1)


def test_an_eye_that_is_missing_is_missing_alone(bench: Callable[..., Bench]) -> None:
    made = bench(blind_eye="left")
    made.connect()
    samples = record(made, 1.0)
    assert np.isnan(samples["left_x_px"]).all() and not np.isnan(samples["right_x_px"]).any()
    alone = bench()
    alone.connect(eyes="right")
    samples = record(alone, 1.0)
    assert np.isnan(samples["left_x_px"]).all() and not np.isnan(samples["right_x_px"]).any()


def test_both_clocks_are_read_as_a_pair_and_the_device_s_time_is_kept(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    made = bench()
    made.connect()
    pair = made.tracker.clocks()
    assert pair.tracker_s - pair.before_s == pytest.approx(SYSTEM_US / 1e6, abs=2e-6)
    samples = record(made, 3.0)
    report = made.tracker.close(tmp_path)
    assert [path.name for path in report.files] == ["tobii-time-sync.tsv", "tobii-device-time.tsv.gz"]
    assert report.failures == () and made.tracker.close(tmp_path).files == ()
    times = pd.read_csv(report.files[1], sep="\t")
    assert (times["system_us"] / 1e6).tolist() == samples["time_s"].tolist()
    drift_us = times["device_us"] - times["system_us"] - DEVICE_US
    np.testing.assert_allclose(drift_us, times["system_us"] * DEVICE_PPM * 1e-6, atol=1)
    syncs = pd.read_csv(report.files[0], sep="\t")
    assert syncs.to_numpy().tolist() == [list(sync) for sync in made.lab.syncs] and len(syncs) >= 3


def test_between_stop_and_start_nothing_is_recorded_and_after_a_second_start_all_is(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    made.connect()
    first = record(made, 1.0)
    made.display.hold(made.display.clock.now_s() + 1.0)
    assert len(made.tracker.read().samples) == 0
    second = record(made, 1.0)
    assert_all_there(made.lab, np.concatenate([first, second]))
    assert second["time_s"][0] - first["time_s"][-1] > 0.9


def test_a_sample_that_is_not_what_it_should_be_does_not_come_from_the_callback() -> None:
    """The callback is a deque's append: there is nothing in it that could fail or take time."""
    package = importlib.import_module("fake_tobii_research")
    package._use(Lab(Script(), VirtualClock().now_s))
    sdk = TobiiResearch(package)
    sdk.connect("tet-tcp://127.0.0.1")
    sdk.start_gaze()
    assert {callback for _, callback in sdk._subscribed} == {sdk._samples.append}


def real_lab(package: Any, **script: Any) -> Lab:
    lab = Lab(Script(**script), time.perf_counter, virtual=False)
    package._use(lab)
    return lab


class RealClock:
    def now_s(self) -> float:
        return time.perf_counter()

    def sleep_until_s(self, time_s: float) -> None:
        time.sleep(max(0.0, time_s - time.perf_counter()))


def test_in_real_time_a_main_thread_that_is_busy_loses_nothing(package: Any) -> None:
    lab = real_lab(package)
    tracker = TobiiTracker(RealClock(), TobiiSettings(), package)
    tracker.connect(TrackerSettings(rate_hz=1200.0), SCREEN)
    lab.run()
    tracker.start()
    until_s = time.perf_counter() + 1.0
    while time.perf_counter() < until_s:
        sum(range(1000))
    tracker.stop()
    samples = tracker.read().samples
    lab.end()
    assert len(samples) > 1000
    assert_all_there(lab, samples)


def test_the_fake_is_strict_a_slow_callback_overflows_its_buffer() -> None:
    package = importlib.import_module("fake_tobii_research")
    now = VirtualClock()
    lab = Lab(Script(buffer=64, rate_hz=1200.0), now.now_s)
    package._use(lab)
    tracker = package.EyeTracker("tet-tcp://127.0.0.1")
    told: list[Any] = []
    tracker.subscribe_to(package.EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW, told.append, as_dictionary=True)
    tracker.subscribe_to(
        package.EYETRACKER_GAZE_DATA, lambda row: now.sleep_until_s(now.now_s() + 0.01), as_dictionary=True
    )
    for _ in range(10):
        now.sleep_until_s(now.now_s() + 0.02)
        lab.advance()
    assert told and told[0]["notification_source_stream"]
    with pytest.raises(AttributeError):
        package.get_track_box  # noqa: B018


# What the tracker reports.


@pytest.mark.parametrize(
    ("fault", "sentence", "fatal"),
    [
        ("disconnect", "connection to the Tobii tracker was lost: check its cable", True),
        ("overflow", "samples were lost: the computer was too busy", False),
        ("stream_error", "the Tobii tracker reports: ", False),
        ("change_rate", "another program set the Tobii tracker to 60 Hz instead of 120", True),
        ("change_area", "another program changed the Tobii tracker's display area", True),
        ("warn", "the Tobii tracker reports: warnings: the tracker is hot", False),
    ],
)
def test_what_the_tracker_reports_is_told_at_the_next_reading_and_once(
    bench: Callable[..., Bench], fault: str, sentence: str, fatal: bool
) -> None:
    made = bench()
    made.connect()
    made.tracker.start()
    made.display.hold(0.5)
    assert made.tracker.read().notices == ()
    getattr(made.lab, fault)()
    (notice,) = made.tracker.read().notices
    assert sentence in notice.text and notice.fatal is fatal
    assert "\n" not in notice.text and "Titta::cpp" not in notice.text
    made.display.hold(1.0)
    assert made.tracker.read().notices == ()


def test_what_came_before_the_connection_was_lost_can_still_be_read(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    made.tracker.start()
    made.display.hold(0.5)
    made.lab.disconnect()
    made.tracker.stop()
    batch = made.tracker.read()
    assert len(batch.samples) > 50 and batch.notices[0].fatal
    assert_all_there(made.lab, batch.samples)


def test_setting_the_rate_ourselves_is_no_news() -> None:
    assert notice_of(Trouble("rate", value=120.0), 120.0) is None


def test_a_tracker_that_is_lost_between_recordings_is_told_when_it_is_next_needed(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    made.lab.disconnect()
    with pytest.raises(TrackerError, match="connection to the Tobii tracker was lost"):
        made.tracker.calibrate(made.display, POINTS)
    with pytest.raises(TrackerError, match="cannot be reached"):
        made.tracker.start()


# ----------------------------------------------------------------------------------------------------- calibration


def test_a_calibration_collects_each_target_where_it_stands_and_brings_gaze_onto_it(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    made.connect()
    made.lab.look_at(-1.0, 0.5, 0.5)
    before = record(made, 0.2)
    done = made.tracker.calibrate(made.display, POINTS)
    assert (done.success, done.failed, done.message) == (True, (), "5 of 5 targets")
    assert done.points == POINTS and done.data.startswith(b"\x00TOBII\xff")
    collected = [call for call in made.lab.calls if call.startswith("collect")]
    assert collected == [f"collect {p.x_px / 1920:.3f} {p.y_px / 1080:.3f} ok" for p in POINTS]
    assert made.lab.calls[-2:] == ["data", "leave"] and not made.lab.in_calibration
    made.lab.look_at(made.display.clock.now_s(), 0.5, 0.5)
    made.display.hold(made.display.clock.now_s() + 0.5)
    after = record(made, 0.2)
    assert np.abs(before["left_x_px"] - 960).min() > 50 and np.abs(after["left_x_px"] - 960).max() < 5


def test_a_target_that_fails_is_shown_again_once(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    made.lab.fail_points = 1
    done = made.tracker.calibrate(made.display, POINTS)
    assert (done.success, done.failed) == (True, ())
    assert sum(call.startswith("collect") for call in made.lab.calls) == 6
    made.lab.fail_points = 2
    done = made.tracker.calibrate(made.display, POINTS)
    assert (done.success, done.failed, done.message) == (True, (1,), "4 of 5 targets")


def test_a_calibration_that_fails_can_have_single_targets_redone(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    made.lab.fail_points = 4
    failed = made.tracker.calibrate(made.display, POINTS)
    assert (failed.success, failed.failed, failed.data) == (False, (1, 2), b"")
    assert failed.message.startswith("gaze of the left eye was used on 3 of 5 targets, 4 needed")
    assert made.lab.in_calibration, "what was collected is kept for the redo"
    begun = len(made.lab.calls)
    done = made.tracker.calibrate(made.display, [POINTS[0], POINTS[1], POINTS[2]], failed)
    assert (done.success, done.failed, done.points) == (True, (), POINTS)
    names = [call.split()[0] for call in made.lab.calls[begun:]]
    assert names == ["collect", "collect", "discard", "collect", "compute", "data", "leave"]


def test_a_redo_after_the_calibration_was_left_collects_all_anew(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    first = made.tracker.calibrate(made.display, POINTS)
    done = made.tracker.calibrate(made.display, POINTS[:1], first)
    assert done.success and done.points == POINTS
    assert sum(call.startswith("collect") for call in made.lab.calls) == 10


def test_a_failed_calibration_is_left_when_recording_begins_and_when_it_begins_anew(
    bench: Callable[..., Bench],
) -> None:
    made = bench()
    made.connect()
    made.lab.fail_the_computing()
    assert made.tracker.calibrate(made.display, POINTS).message.startswith(
        "the tracker could not calibrate the left eye"
    )
    made.tracker.start()
    assert not made.lab.in_calibration
    made.tracker.stop()
    made.lab.fail_the_computing()
    made.tracker.calibrate(made.display, POINTS)
    assert made.tracker.calibrate(made.display, POINTS).success
    assert made.lab.calls.count("leave") == 3


def test_a_calibration_of_one_eye_is_none_of_both(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.lab.calibrated_eyes = ("right",)
    made.connect()
    done = made.tracker.calibrate(made.display, POINTS)
    assert not done.success and done.message == "the tracker could not calibrate the left eye"
    alone = bench()
    alone.lab.calibrated_eyes = ("right",)
    alone.connect(eyes="right")
    assert alone.tracker.calibrate(alone.display, POINTS).success


def test_eyes_that_do_not_look_fail_every_target(bench: Callable[..., Bench]) -> None:
    made = bench(path=[(0.1, 0.1)])
    made.connect()
    done = made.tracker.calibrate(made.display, POINTS)
    assert not done.success and done.failed == (1, 2, 3, 4, 5)


class Leaves(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("when_s", [0.3, 1.2, 3.0])
def test_whoever_leaves_in_mid_calibration_leaves_it(
    bench: Callable[..., Bench], when_s: float, tmp_path: Path
) -> None:
    """The attended display raises when the session ends: while a target is shown, and while gaze on it is collected."""
    made = bench()
    made.connect()
    until_s = made.display.clock.now_s() + when_s
    hold = made.display.hold

    def attended(time_s: float) -> None:
        if made.display.clock.now_s() >= until_s:
            raise Leaves
        hold(time_s)

    made.display.hold = attended  # type: ignore[method-assign]
    begun_s = time.monotonic()
    with pytest.raises(Leaves):
        made.tracker.calibrate(made.display, POINTS)
    assert not made.lab.in_calibration and made.lab.calls[-1] == "leave"
    assert made.tracker.close(tmp_path).failures == () and time.monotonic() - begun_s < 5


def test_a_calibration_that_another_program_left_open_is_ended_first(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    made.lab.in_calibration = True
    assert made.tracker.calibrate(made.display, POINTS).success


def test_a_step_that_never_ends_is_given_up_and_the_display_goes_on_meanwhile(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    made = bench()
    made.connect()
    made.lab.hang()
    begun_s, shown = made.display.clock.now_s(), made.display.clock
    holds: list[float] = []
    hold = made.display.hold
    made.display.hold = lambda until_s: (holds.append(shown.now_s()), hold(until_s))[1]  # type: ignore[method-assign]
    real_s = time.monotonic()
    with pytest.raises(
        TrackerError, match="did not answer for 10 s while beginning a calibration: switch it off and on"
    ):
        made.tracker.calibrate(made.display, POINTS)
    assert shown.now_s() - begun_s < LONGEST_STEP_S + 1 and np.diff(holds).max() <= 0.05
    (failure,) = made.tracker.close(tmp_path).failures
    assert "did not end its calibration: switch it off and on" in failure
    assert time.monotonic() - real_s < LONGEST_LEAVE_S + 5
    made.lab.hangs = False


def test_a_tracker_lost_in_mid_calibration_is_told_at_once(bench: Callable[..., Bench], tmp_path: Path) -> None:
    made = bench()
    made.connect()
    made.display.at_show = lambda onset_s, scene: made.lab.disconnect() if onset_s > 2.0 else None
    with pytest.raises(TrackerError, match="connection to the Tobii tracker was lost"):
        made.tracker.calibrate(made.display, POINTS)
    # A target that shrinks is shown to its end.
    assert made.display.clock.now_s() < 3.1
    assert made.tracker.close(tmp_path).failures == ()


def test_a_kept_calibration_can_be_restored(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.connect()
    kept = made.tracker.calibrate(made.display, POINTS).data
    another = bench()
    another.connect()
    another.tracker.restore(kept)
    assert another.lab.calibrated and not another.lab.in_calibration
    with pytest.raises(TrackerError, match="restoring a calibration"):
        another.tracker.restore(b"not one")


# The head's position.


def test_the_eyes_are_shown_in_their_box_until_the_space_bar(bench: Callable[..., Bench]) -> None:
    made = bench({"show_position": True}, participant=ScriptedParticipant())
    made.connect()
    seen: list[EyePositions] = []
    made.display.at_show = lambda onset_s, scene: seen.append(made.tracker.eye_positions())
    done = made.tracker.calibrate(made.display, POINTS)
    guide = [scene for _, scene in made.display.shown if any(isinstance(shape, Text) for shape in scene)]
    (box, left, right, distance, _) = guide[-1]
    assert isinstance(left, Dot) and isinstance(right, Dot) and isinstance(distance, Text)
    # As in a mirror: the left eye on the left, both above the box's middle.
    assert left.x_px < box.x_px < right.x_px and left.y_px < box.y_px
    assert distance.text == "63 cm", "of the eyes' place in space"
    assert seen[20].left == pytest.approx((0.44, 0.45, 0.5), abs=1e-6)
    assert 1.9 < next(s for s, scene in made.display.shown if len(scene) == 1) < 2.3, "until the key"
    assert done.success
    assert len(record(made, 0.5)) == 60, "and none of its gaze is recorded"
    assert not made.lab.listeners["position"]


def test_a_tracker_without_positions_goes_on_without(bench: Callable[..., Bench]) -> None:
    made = bench({"show_position": True}, has_positions=False)
    made.connect()
    assert made.tracker.calibrate(made.display, POINTS).success


def test_eyes_that_are_not_seen_or_badly_placed_are_drawn_so() -> None:
    box = position_box(SCREEN)
    scene = position_scene(SCREEN, box, EyePositions(None, (0.9, 0.5, 0.9)), None)
    (dot,) = (shape for shape in scene if isinstance(shape, Dot))
    assert dot.colour == "#d55e00" and dot.x_px > box.x_px
    near, far = (
        next(s for s in position_scene(SCREEN, box, EyePositions((0.5, 0.5, z)), 60.0) if isinstance(s, Dot))
        for z in (0.3, 0.7)
    )
    assert near.diameter_px > far.diameter_px and near.colour == "#009e73"
    assert [s.text for s in scene if isinstance(s, Text)] == ["? cm"]


# ------------------------------------------------------------------------------------------------- whole sessions


TEXTS = read_texts("en")
ANSWERS: dict[str, Callable[[], Sequence[str]]] = {
    **{TEXTS["form"][name]: lambda: ["return"] for name in ("age", "sex", "vision")},
    TEXTS["form"]["consent"]: lambda: ["y"],
}


class Saboteur(ScriptedOperator):
    """An operator who has something happen once a phase has lasted for so long."""

    def __init__(self, stage: str, fault: Callable[[], None], after_s: float) -> None:
        super().__init__("tester")
        self._stage, self._fault, self._after_s = stage, fault, after_s
        self._since_s: float | None = None
        self.done_at_s: float | None = None
        self.notices: list[tuple[float, str]] = []

    def show(self, status: Status) -> None:
        super().show(status)
        self.notices += [(status.now_s, text) for text in status.notices]
        if status.phase == self._stage and self.done_at_s is None:
            self._since_s = status.now_s if self._since_s is None else self._since_s
            if status.now_s >= self._since_s + self._after_s:
                self.done_at_s = status.now_s
                self._fault()


@dataclass
class Ran:
    """How a session went."""

    lab: Lab
    outcome: Outcome | None
    error: BeholderError | None
    ended_s: float
    operator: Saboteur
    folder: Path

    @property
    def sentence(self) -> str:
        """What the operator is told of its end, or at once."""
        told = [text for _, text in self.operator.notices]
        return " | ".join([str(self.error or ""), self.outcome.reason if self.outcome else "", *told])

    def samples(self) -> np.ndarray:
        (run,) = runs(self.folder)
        return read_recording(run).samples


def run(
    folder: Path,
    package: Any,
    script: dict[str, Any] | None = None,
    stage: str = "",
    fault: str = "",
    after_s: float = 0.3,
    settings: dict[str, Any] | None = None,
    form: bool = False,
) -> Ran:
    """A session of the study in the folder with a fake, and a fault in one of its phases."""
    study = read_study(folder)
    clock = VirtualClock()
    lab = Lab(Script(**(script or {})), clock.now_s)
    package._use(lab)
    assert study.screen is not None
    display = LabDisplay(lab, study.screen.screen(), ScriptedParticipant(ANSWERS), clock)
    tracker = TobiiTracker(clock, study.tobii.model_copy(update=settings or {}), package)
    display.tracker = tracker
    if stage == "connect":
        getattr(lab, fault)()
    operator = Saboteur(stage, getattr(lab, fault, lambda: None), after_s)
    plan = plan_session(study, read_stimuli(folder / "stimuli")[0], "01", [])
    outcome = error = None
    try:
        outcome = run_session(
            SessionSetup(folder, study, plan, display, tracker, operator),
            Pace(sync_every_s=None, pump_every_s=0.05),
            ask_form=form,
        )
    except BeholderError as raised:
        error = raised
    lab.hangs = False
    return Ran(lab, outcome, error, clock.now_s(), operator, folder)


@pytest.fixture
def study_folder(make_study: MakeStudy) -> Path:
    return make_study(
        3, tracker={"rate_hz": 120.0, "name": "tobii"}, protocol={"dot_s": 1.2, "picture_s": 1.5, "break_every": 0}
    )


def test_a_session_of_20_trials_keeps_every_sample_and_is_read_by_the_analysis(
    make_study: MakeStudy, package: Any, assert_valid: Callable[[Path], None]
) -> None:
    folder = make_study(
        20, tracker={"rate_hz": 250.0, "name": "tobii"}, protocol={"dot_s": 1.2, "picture_s": 1.0, "break_every": 0}
    )
    ran = run(folder, package, form=True)
    assert ran.error is None and ran.outcome is not None
    assert (ran.outcome.status, ran.outcome.failures) == ("complete", ())
    assert_valid(folder)
    assert_all_there(ran.lab, ran.samples())
    (recorded,) = runs(folder)
    recording = read_recording(recorded)
    pictures = recording.events[recording.events["trial_type"] == "picture"]
    assert pictures["status"].tolist() == ["complete"] * 20
    # Calibrated gaze is where they looked: on the dot, then on the picture's two places.
    assert (recording.events[recording.events["trial_type"] == "dot"]["drift_deg"] < 0.1).all()
    times = recording.samples["time_s"] - recording.samples["time_s"][0]
    for onset_s in pictures["onset"]:
        during = (times > onset_s + 0.25) & (times < onset_s + 0.75)
        assert np.median(recording.samples["left_x_px"][during]) == pytest.approx(0.45 * 1920, abs=2)
        during = (times > onset_s + 0.85) & (times < onset_s + 1.0)
        assert np.median(recording.samples["left_y_px"][during]) == pytest.approx(0.48 * 1080, abs=2)
    sidecar = json.loads(next(recorded.events_file.parent.glob("*eye1_physio.json")).read_text())
    assert sidecar["Manufacturer"] == "Tobii" and sidecar["Validation"]["passed"] and not sidecar.get("Simulated")
    source = sorted(path.name.split("run-1_")[1] for path in (folder / "sourcedata" / "sub-01").iterdir())
    assert [name for name in source if "validation" not in name] == [
        "calibration-1.bin", "tobii-device-time.tsv.gz", "tobii-time-sync.tsv",
    ]  # fmt: skip


FATAL = {
    "disconnect": "connection to the Tobii tracker was lost",
    "change_area": "display area",
    "change_rate": "60 Hz",
}
HARMLESS = {
    "overflow": "samples were lost: the computer was too busy",
    "stream_error": "the Tobii tracker reports: ",
    "warn": "the tracker is hot",
    "silence": "",
    "shut_eyes": "",
}
WHILE_RECORDING = ("validation", "dot", "picture")


@pytest.mark.parametrize("fault", sorted(FATAL))
@pytest.mark.parametrize("stage", ["welcome", "form", "instructions", "calibration", *WHILE_RECORDING])
def test_a_fault_that_ends_gaze_ends_the_session_in_one_sentence_and_keeps_all(
    study_folder: Path, package: Any, stage: str, fault: str
) -> None:
    ran = run(study_folder, package, stage=stage, fault=fault, form=True)
    assert ran.operator.done_at_s is not None and ran.error is not None
    assert FATAL[fault] in str(ran.error) and "\n" not in str(ran.error) and "--resume" in str(ran.error)
    # Before anything is recorded it is told as soon as the tracker is needed.
    if stage not in ("welcome", "form", "instructions"):
        assert ran.ended_s - ran.operator.done_at_s < 5
    if stage in WHILE_RECORDING:
        assert len(ran.lab.delivered) > 30
        assert_all_there(ran.lab, ran.samples())
    else:
        assert not ran.lab.delivered
    assert not ran.lab.in_calibration or not ran.lab.connected


@pytest.mark.parametrize("fault", sorted(HARMLESS))
@pytest.mark.parametrize("stage", ["calibration", *WHILE_RECORDING])
def test_a_fault_that_costs_samples_is_told_and_the_session_goes_on(
    study_folder: Path, package: Any, stage: str, fault: str
) -> None:
    ran = run(study_folder, package, stage=stage, fault=fault)
    assert ran.error is None and ran.outcome is not None and ran.outcome.status == "complete", ran.sentence
    assert ran.outcome.failures == ()
    assert_all_there(ran.lab, ran.samples())
    if HARMLESS[fault] and stage != "calibration":
        (told_s,) = [at_s for at_s, text in ran.operator.notices if HARMLESS[fault] in text]
        assert ran.operator.done_at_s is not None and told_s - ran.operator.done_at_s < 0.5
    elif HARMLESS[fault]:
        assert HARMLESS[fault] in ran.sentence


@pytest.mark.parametrize("fault", ["disconnect", "overflow", "change_area"])
def test_a_fault_after_the_last_picture_takes_nothing(study_folder: Path, package: Any, fault: str) -> None:
    ran = run(study_folder, package, stage="end", fault=fault)
    assert ran.operator.done_at_s is not None
    assert ran.error is None and ran.outcome is not None and ran.outcome.status == "complete"
    assert_all_there(ran.lab, ran.samples())


@pytest.mark.parametrize(
    ("fault", "completes"), [("fail_a_point", True), ("fail_the_computing", True), ("hang", False), ("shut_eyes", True)]
)
def test_faults_of_a_calibration_are_repeated_or_end_in_one_sentence(
    study_folder: Path, package: Any, fault: str, completes: bool
) -> None:
    ran = run(study_folder, package, stage="calibration", fault=fault, after_s=2.5)
    if completes:
        assert ran.error is None and ran.outcome is not None and ran.outcome.status == "complete", ran.sentence
        assert_all_there(ran.lab, ran.samples())
        assert ran.lab.calls.count("compute") == (2 if fault == "fail_the_computing" else 1)
    else:
        assert "did not answer for 10 s while" in str(ran.error)
        assert ran.operator.done_at_s is not None and ran.ended_s - ran.operator.done_at_s < LONGEST_STEP_S + 2


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ({"found": False}, "no Tobii tracker was found"),
        ({"rates": (60.0,)}, "samples at 60 Hz, not at 120"),
        ({"calibrates": False}, "cannot be calibrated on a screen"),
        ({"gaze_needs_licence": True}, "lacks a licence for"),
        ({"area": {"top_left": (0.0,) * 3, "top_right": (0.0,) * 3, "bottom_left": (0.0,) * 3}}, "never set up"),
    ],
)
def test_a_tracker_that_cannot_do_it_ends_the_session_before_anything_is_kept(
    study_folder: Path, package: Any, script: dict[str, Any], sentence: str
) -> None:
    ran = run(study_folder, package, script)
    assert sentence in str(ran.error) and ran.outcome is None
    assert not list((study_folder).glob("sub-*")) or "licence" in sentence


def test_lost_at_connect_is_one_sentence(study_folder: Path, package: Any) -> None:
    ran = run(study_folder, package, stage="connect", fault="disconnect")
    assert "cannot be reached" in str(ran.error) and ran.ended_s < 5


@pytest.mark.parametrize("missing", [(), tuple(range(700, 760))])
def test_samples_that_never_came_are_not_made_up(study_folder: Path, package: Any, missing: tuple[int, ...]) -> None:
    ran = run(study_folder, package, {"missing": missing, "invalid_every": 11})
    samples = ran.samples()
    assert_all_there(ran.lab, samples)
    gaps = np.diff(samples["time_s"]) > 0.1
    assert gaps.any() == bool(missing)


def test_escape_in_mid_collection_ends_the_session_and_the_calibration(study_folder: Path, package: Any) -> None:
    """The key comes while the tracker collects; nothing waits for the rest of the calibration."""
    study = read_study(study_folder)
    clock = VirtualClock()
    lab = Lab(Script(collect_s=4.0), clock.now_s)
    package._use(lab)
    assert study.screen is not None
    display = LabDisplay(lab, study.screen.screen(), ScriptedParticipant(), clock)
    tracker = TobiiTracker(clock, replace_settings(study.tobii, show_position=False), package)
    display.tracker = tracker
    pressed: list[float] = []
    events: Callable[[], list[WindowEvent]] = display.events

    def with_escape() -> list[WindowEvent]:
        if lab.waits() and lab.in_calibration and not pressed and "enter" in lab.calls and clock.now_s() > 8.0:
            pressed.append(clock.now_s())
            return [Key("escape", clock.now_s())] * 2
        return events()

    display.events = with_escape  # type: ignore[method-assign]
    plan = plan_session(study, read_stimuli(study_folder / "stimuli")[0], "01", [])
    outcome = run_session(
        SessionSetup(study_folder, study, plan, display, tracker, ScriptedOperator()),
        Pace(sync_every_s=None, pump_every_s=0.05),
        ask_form=False,
    )
    assert (outcome.status, outcome.reason) == ("aborted", "Escape was pressed twice")
    assert clock.now_s() - pressed[0] < 0.5 and not lab.in_calibration


def replace_settings(settings: TobiiSettings, **values: Any) -> TobiiSettings:
    return settings.model_copy(update=values)
