"""Claims of `experiment.trackers.mouse`: the pointer comes back as gaze, with the errors planted and no others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import ETDQualitizer
import numpy as np
import pytest
from scipy import stats

from beholder.experiment.calibration import calibration_points
from beholder.experiment.devices import Batch, Dot, Shape
from beholder.experiment.headless import HeadlessDisplay
from beholder.experiment.trackers.blinks import Blinks
from beholder.experiment.trackers.mouse import MouseTracker
from beholder.shared.errors import TrackerError
from beholder.shared.gaze import Samples
from beholder.shared.recording.records import Point, TrackerEvent
from beholder.shared.screen import Screen
from beholder.shared.study import MouseSettings, TrackerSettings

SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)
Where = Callable[[float], tuple[float, float]]


class RealClock:
    """The clock of a real display."""

    def now_s(self) -> float:
        return time.perf_counter()

    def sleep_until_s(self, time_s: float) -> None:
        time.sleep(max(0.0, time_s - time.perf_counter()))


class FakeDisplay(HeadlessDisplay):
    """A display in real time whose pointer is where it is told, a function of time; it knows the target shown last."""

    def __init__(self, where: Where = lambda now_s: SCREEN.centre_px) -> None:
        super().__init__(SCREEN, 100.0)
        self.clock = RealClock()
        self.where = where
        self.target = SCREEN.centre_px
        self.read_at_s: list[float] = []

    def show(self, scene: Sequence[Shape]) -> float:
        for dot in (shape for shape in scene if isinstance(shape, Dot)):
            self.target = (dot.x_px, dot.y_px)
        return super().show(scene)

    def pointer_px(self) -> tuple[float, float]:
        now_s = time.perf_counter()
        self.read_at_s.append(now_s)
        return self.where(now_s)


def tracker(
    display: FakeDisplay, settings: MouseSettings | None = None, seed: int = 1, **wanted: object
) -> MouseTracker:
    made = MouseTracker(display, settings or MouseSettings(), np.random.default_rng(seed))
    made.connect(TrackerSettings.model_validate({"rate_hz": 250.0, **wanted}), display.screen)
    return made


def record(made: MouseTracker, seconds: float) -> Batch:
    """What is read in so many seconds, in pieces, as a session does it."""
    batches = []
    made.start()
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        time.sleep(0.02)
        batches.append(made.read())
    made.stop()
    batches.append(made.read())
    return Batch(
        np.concatenate([batch.samples for batch in batches]),
        tuple(event for batch in batches for event in batch.events),
        tuple(notice for batch in batches for notice in batch.notices),
    )


def off_centre_deg(samples: Samples, eye: str = "left") -> tuple[np.ndarray, np.ndarray]:
    return SCREEN.to_degrees(samples[f"{eye}_x_px"], samples[f"{eye}_y_px"])


def resting(settings: MouseSettings, seconds: int) -> tuple[Samples, tuple[TrackerEvent, ...]]:
    """Samples at 1000 Hz of a pointer that rests in the middle, and the blinks, without waiting for them."""
    made = tracker(FakeDisplay(), settings)
    blinks = Blinks(made._chance_of_blinks, settings.blinks_per_min)
    time_s = np.arange(seconds * 1000) / 1000
    readings = np.stack([time_s, np.full_like(time_s, 960), np.full_like(time_s, 540)], axis=1)
    samples = made._measured(readings, blinks.during(time_s))
    return samples, blinks.ended(0.0, float(time_s[-1]))


# Samples.


@pytest.mark.parametrize("rate_hz", [60.0, 250.0, 1000.0])
def test_samples_come_at_the_rate_that_was_asked_and_bear_the_time_of_reading(rate_hz: float) -> None:
    display = FakeDisplay(lambda now_s: (100.0 + now_s % 1, 200.0))
    samples = record(tracker(display, rate_hz=rate_hz), 2.0).samples
    times = samples["time_s"]
    # On a noisy machine ticks are missed, but none is made up: never more than the clock has ticks.
    ticks = np.floor(times * rate_hz)
    assert len(np.unique(ticks)) >= 0.5 * 2.0 * rate_hz
    assert len(times) <= (times[-1] - times[0]) * rate_hz + 2
    assert (np.diff(times) > 0).all()
    # The pointer told the time at which it was read: the stamp is that time.
    told_s = samples["left_x_px"] - 100.0
    late_s = (times - told_s + 0.5) % 1 - 0.5
    assert np.median(np.abs(late_s)) < 1e-3
    assert len(times) <= len(display.read_at_s)


def test_a_reading_that_comes_too_late_is_a_lost_sample_never_one_made_up() -> None:
    hung: list[float] = []

    def where(now_s: float) -> tuple[float, float]:
        if len(hung) == 0 and now_s > begun_s + 0.5:
            hung.append(now_s)
            time.sleep(0.4)
        return 10.0, 10.0

    begun_s = time.perf_counter()
    samples = record(tracker(FakeDisplay(where)), 1.5).samples
    gap = np.diff(samples["time_s"]).max()
    assert gap > 0.19, "half of the reading that hung, at least: its stamp is its middle"
    inside = (samples["time_s"] > hung[0]) & (samples["time_s"] < hung[0] + 0.4)
    assert inside.sum() == 1, "the one that hung, and none for the ticks that passed meanwhile"


def test_gaze_is_the_pointers_path_exactly_without_errors_added() -> None:
    samples = record(tracker(FakeDisplay(lambda now_s: (960 + 300 * np.sin(now_s), 540.0)), eyes="both"), 1.0).samples
    path = 960 + 300 * np.sin(samples["time_s"])
    # The stamp is the middle of the reading, which takes microseconds on an idle machine: the path moves 0.3 px a ms.
    assert np.median(np.abs(samples["left_x_px"] - path)) < 0.3
    np.testing.assert_allclose(samples["left_y_px"], 540.0, atol=1e-6)
    np.testing.assert_array_equal(samples["left_x_px"], samples["right_x_px"])
    assert np.isnan(samples["left_pupil"]).all()


@pytest.mark.parametrize(("eyes", "absent"), [("left", "right"), ("right", "left")])
def test_only_the_eye_that_was_asked_for_is_recorded(eyes: str, absent: str) -> None:
    samples = record(tracker(FakeDisplay(), eyes=eyes), 0.3).samples
    assert np.isnan(samples[f"{absent}_x_px"]).all() and not np.isnan(samples[f"{eyes}_x_px"]).any()


@pytest.mark.parametrize("place", [(-1.0, 500.0), (1921.0, 500.0), (900.0, -0.5), (900.0, 1081.0)])
def test_a_pointer_outside_the_window_is_lost(place: tuple[float, float]) -> None:
    samples = record(tracker(FakeDisplay(lambda now_s: place)), 0.3).samples
    assert len(samples) and np.isnan(samples["left_x_px"]).all() and np.isnan(samples["left_y_px"]).all()


# Errors that are added.


def test_planted_noise_bias_and_loss_come_back_within_their_confidence_intervals() -> None:
    settings = MouseSettings(noise_deg=0.3, bias_x_deg=0.7, bias_y_deg=-0.4, loss_percent=12.0)
    samples, _ = resting(settings, 20)
    for eye in ("left", "right"):
        azimuth, elevation = off_centre_deg(samples, eye)
        seen = ~np.isnan(azimuth)
        standard_error = 0.15 / np.sqrt(seen.sum())
        assert np.nanmean(azimuth) == pytest.approx(0.7, abs=4 * standard_error)
        assert np.nanmean(elevation) == pytest.approx(-0.4, abs=4 * standard_error)
        rms, _, _ = ETDQualitizer.rms_s2s(azimuth, elevation)
        assert rms == pytest.approx(0.3, rel=0.03)
        low, high = stats.binomtest(int((~seen).sum()), len(seen), 0.12).proportion_ci(0.999)
        assert low <= 0.12 <= high
    both = np.corrcoef(*(np.nan_to_num(off_centre_deg(samples, eye)[0] - 0.7) for eye in ("left", "right")))[0, 1]
    assert abs(both) < 0.05, "the eyes' noise is their own"


def test_blinks_come_as_often_as_planted_and_are_reported_where_gaze_is_lost() -> None:
    samples, events = resting(MouseSettings(blinks_per_min=30.0), 600)
    low, high = stats.poisson.interval(0.999, 300)
    assert low <= len(events) <= high
    assert {event.kind for event in events} == {"blink"}
    durations = [event.duration_s for event in events if event.duration_s is not None]
    assert np.median(durations) == pytest.approx(0.15, abs=0.02)
    lost = np.isnan(samples["left_x_px"])
    for event, duration_s in zip(events, durations, strict=True):
        inside = (samples["time_s"] > event.time_s + 0.001) & (samples["time_s"] < event.time_s + duration_s - 0.001)
        assert lost[inside].all()
    assert lost.sum() == pytest.approx(sum(durations) * 1000, rel=0.02)


def test_the_same_seed_gives_the_same_errors_however_they_are_read() -> None:
    settings = MouseSettings(noise_deg=0.5, loss_percent=20.0)
    first = record(tracker(FakeDisplay(), settings, seed=7), 0.6).samples
    second = record(tracker(FakeDisplay(), settings, seed=7), 0.4).samples
    other = record(tracker(FakeDisplay(), settings, seed=8), 0.4).samples
    n = min(len(first), len(second), len(other))
    assert n > 20
    for name in ("left_x_px", "left_y_px", "right_x_px", "right_y_px"):
        np.testing.assert_array_equal(first[name][:n], second[name][:n])
        assert not np.array_equal(first[name][:n], other[name][:n])


# Calibration.


def following(display: FakeDisplay, distorted: Callable[[float, float], tuple[float, float]]) -> FakeDisplay:
    """A participant whose pointer is on the target at once, where `distorted` says the pointer then is."""
    display.where = lambda now_s: distorted(*display.target)
    return display


@pytest.mark.slow
def test_calibration_takes_out_a_constant_and_a_linear_error_and_leaves_the_bias_planted_after_it() -> None:
    display = following(FakeDisplay(), lambda x, y: (1.05 * x + 20, 0.97 * y - 15))
    made = tracker(display, MouseSettings(bias_x_deg=0.5), rate_hz=500.0)
    found = made.calibrate(display, calibration_points(SCREEN, 20.0, 5))
    assert (found.success, found.failed, len(found.points)) == (True, (), 5)
    assert json.loads(found.data)["success"] is True
    for place in ((960.0, 540.0), (800.0, 620.0), (1100.0, 400.0)):
        display.target = place
        azimuth, elevation = off_centre_deg(record(made, 0.2).samples)
        x_deg, y_deg = (float(v) for v in SCREEN.to_degrees(*map(np.array, place)))
        assert np.median(azimuth) == pytest.approx(x_deg + 0.5, abs=0.05)
        assert np.median(elevation) == pytest.approx(y_deg, abs=0.05)


@pytest.mark.slow
def test_a_target_that_was_not_followed_fails_and_can_be_redone_alone() -> None:
    points = calibration_points(SCREEN, 20.0, 5)
    display = FakeDisplay()
    missed = points[2]

    def where(now_s: float) -> tuple[float, float]:
        return SCREEN.centre_px if display.target == (missed.x_px, missed.y_px) and not mended else display.target

    mended: list[bool] = []
    display.where = where
    made = tracker(display)
    first = made.calibrate(display, points)
    assert first.failed == (missed.number,)
    mended.append(True)
    second = made.calibrate(display, [missed], first)
    assert (second.success, second.failed, second.points) == (True, (), points)


@pytest.mark.slow
def test_a_pointer_that_never_moves_is_no_calibration() -> None:
    display = FakeDisplay()
    found = tracker(display).calibrate(display, calibration_points(SCREEN, 20.0, 5))
    assert not found.success and len(found.failed) >= 2


def test_what_ends_the_session_is_let_through_calibration_and_its_thread_ends() -> None:
    display = FakeDisplay()

    class Ended(Exception):  # noqa: N818
        pass

    def hold(until_s: float) -> None:
        raise Ended

    display.hold = hold  # type: ignore[method-assign]
    with pytest.raises(Ended):
        tracker(display).calibrate(display, [Point(1, 960.0, 540.0)])
    assert not [thread for thread in threading.enumerate() if thread.name == "mouse"]


# What can go wrong.


@pytest.mark.parametrize("rate_hz", [30.0, 1200.0])
def test_a_rate_that_a_mouse_cannot_is_refused(rate_hz: float) -> None:
    with pytest.raises(TrackerError, match=f"60 to 1000 Hz, not at {rate_hz:g}"):
        tracker(FakeDisplay(), rate_hz=rate_hz)


def test_a_pointer_that_blocks_for_ever_blocks_nothing_else(tmp_path: Path) -> None:
    let_go = threading.Event()
    display = FakeDisplay(lambda now_s: (let_go.wait(), (1.0, 1.0))[1])
    made = tracker(display)
    begun_s = time.perf_counter()
    made.start()
    assert len(made.read().samples) == 0
    made.stop()
    made.close(tmp_path)
    assert time.perf_counter() - begun_s < 10, "it returned, though the pointer never did"
    # What the thread that was left behind still reads is dropped, also by a recording that began since.
    display.where = lambda now_s: (5.0, 5.0)
    made.start()
    let_go.set()
    time.sleep(0.2)
    made.stop()
    assert set(made.read().samples["left_x_px"].round(6)) == {5.0}


def test_a_pointer_that_cannot_be_read_is_told_once_and_its_samples_are_lost() -> None:
    def where(now_s: float) -> tuple[float, float]:
        raise OSError("the screen is gone")

    batch = record(tracker(FakeDisplay(where)), 0.3)
    assert len(batch.samples) and np.isnan(batch.samples["left_x_px"]).all()
    assert [notice.text for notice in batch.notices] == [
        "the mouse pointer cannot be read (the screen is gone): its samples are lost"
    ]
    assert not batch.notices[0].fatal


def test_it_is_recorded_as_simulated_and_writes_down_what_was_added(tmp_path: Path) -> None:
    display = FakeDisplay()
    made = MouseTracker(display, MouseSettings(noise_deg=0.2), np.random.default_rng(1))
    info = made.connect(TrackerSettings(), SCREEN)
    assert info.simulated and (info.manufacturer, info.model) == ("Beholder", "mouse")
    record(made, 0.1)
    pair = made.clocks()
    assert pair.before_s <= pair.tracker_s <= pair.after_s <= time.perf_counter()
    assert replace(made.close(tmp_path), failures=()).files == (tmp_path / "mouse.json",)
    assert json.loads((tmp_path / "mouse.json").read_text())["errors_added"]["noise_deg"] == 0.2
    assert made.close(tmp_path).files == ()
