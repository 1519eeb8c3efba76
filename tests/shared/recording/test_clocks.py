"""Claims of `shared.clocks`: offset and drift come back from readings of unequal care; steps are taken out of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.shared.recording.clocks import SteadyScale, fit_clocks, fit_system_clock
from beholder.shared.recording.records import SystemReading


@given(st.floats(-1e6, 1e6), st.floats(-200, 200), st.floats(0, 1e5))
def test_exact_readings_give_back_offset_and_drift(offset_s: float, drift_ppm: float, start_s: float) -> None:
    times = start_s + np.arange(0, 600, 15.0)
    pairs = [(t, t + offset_s + drift_ppm * 1e-6 * (t - start_s), t) for t in times]
    fit = fit_clocks(pairs)
    # A double holds these times to 1e-10 s; over ten minutes that is far below 0.001 ppm.
    assert fit.drift_ppm == pytest.approx(drift_ppm, abs=1e-3)
    for before_s, tracker_s, _ in pairs:
        assert fit.tracker_s(before_s) == pytest.approx(tracker_s, abs=1e-6)
    assert fit.residual_ms < 1e-3


def test_a_reading_that_took_long_hardly_counts() -> None:
    careful = [(t, t + 5.0, t + 1e-5) for t in np.arange(0, 100, 5.0)]
    # The machine was busy: 40 ms between the outer readings, the tracker's at the very end of them.
    busy = (50.0, 55.040, 50.040)
    fit = fit_clocks([*careful, busy])
    assert fit.tracker_s(50.0) == pytest.approx(55.0, abs=2e-5)
    assert fit.residual_ms == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("times", [[3.0], [3.0, 90.0], [3.0, 4.0, 5.0]])
def test_too_few_or_too_close_readings_give_no_drift(times: list[float]) -> None:
    fit = fit_clocks([(t, t + 5.0 + 1e-4 * t, t) for t in times])
    assert fit.drift_ppm == 0
    assert fit.offset_s == pytest.approx(5.0 + 1e-4 * np.mean(times))


def test_clocks_that_were_never_read_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="never read together"):
        fit_clocks([])


@given(st.floats(-1e4, 1e4), st.floats(-200, 200), st.floats(0, 600))
def test_the_inverse_of_a_fit_gives_back_the_sessions_time(offset_s: float, drift_ppm: float, at_s: float) -> None:
    fit = fit_clocks([(t, t + offset_s + drift_ppm * 1e-6 * t, t) for t in np.arange(0, 600, 15.0).tolist()])
    assert fit.session_s(fit.tracker_s(at_s)) == pytest.approx(at_s, abs=1e-6)


# A tracker's clock that steps.

RATE_HZ, OFFSET_S = 250.0, 1000.0


def stepping(step_s: float, *, step_at_s: float, read_every_s: float, delay_s: float) -> tuple[np.ndarray, list[float]]:
    """Times on the scale of a minute's samples whose clock steps, and the steps that were told.

    Samples arrive `delay_s` late in pieces of 50 ms; the clocks are read in between, as a session does, also where
    samples make it doubtful. The true times of the samples go on through the step.
    """
    scale, told = SteadyScale(1 / RATE_HZ), list[float]()
    true_s = np.arange(0, 60, 1 / RATE_HZ, dtype=np.float64)
    raw_s = true_s + OFFSET_S + np.where(true_s >= step_at_s, step_s, 0.0)

    def read(now_s: float) -> None:
        tracker_s = now_s + OFFSET_S + (step_s if now_s >= step_at_s else 0.0)
        told.append(scale.read(now_s, tracker_s + 5e-5, now_s + 1e-4, flowing=True)[1])

    found, sent, next_read_s = [], 0, 0.0
    for now_s in np.arange(0.05, 60.2, 0.05).tolist():
        if now_s >= next_read_s:
            read(now_s)
            next_read_s = now_s + read_every_s
        arrived = int(np.searchsorted(true_s, now_s - delay_s, side="right"))
        if scale.doubtful(raw_s[sent:arrived], now_s):
            read(now_s)
        found.append(scale.times(raw_s[sent:arrived]))
        sent = arrived
    return np.concatenate(found) - true_s[:sent] - OFFSET_S, [step for step in told if step]


@settings(max_examples=60)
@given(
    st.floats(0.15, 1e5), st.sampled_from([-1, 1]), st.floats(5, 55), st.sampled_from([0.7, 15.0]),
    st.sampled_from([0.0, 0.02, 0.12]),
)  # fmt: skip
def test_samples_go_on_through_a_step_of_the_trackers_clock_and_none_is_lost(
    size_s: float, sign: int, at_s: float, read_every_s: float, delay_s: float
) -> None:
    off_s, told = stepping(sign * size_s, step_at_s=at_s, read_every_s=read_every_s, delay_s=delay_s)
    assert len(told) == 1
    assert told[0] == pytest.approx(sign * size_s, abs=1e-3)
    assert (np.diff(off_s + np.arange(len(off_s)) / RATE_HZ) > 0).all()
    # As exact as the readings are; where two samples would overlap, half a sample more.
    assert np.abs(off_s).max() < 3e-3


def test_without_a_step_times_are_the_clocks_own() -> None:
    off_s, told = stepping(0.0, step_at_s=30.0, read_every_s=5.0, delay_s=0.02)
    assert told == []
    np.testing.assert_allclose(off_s, 0.0, atol=1e-9)


def test_a_step_while_nothing_is_recorded_holds_from_the_next_sample_on() -> None:
    scale = SteadyScale(0.004)
    for at_s in (0.0, 10.0):
        scale.read(at_s, at_s + OFFSET_S, at_s, flowing=True)
    np.testing.assert_allclose(scale.times(np.array([1010.0, 1010.004])), [1010.0, 1010.004])
    scale.stopped()
    assert scale.read(20.0, 20.0, 20.0, flowing=False) == pytest.approx((1020.0, -1000.0))
    np.testing.assert_allclose(scale.times(np.array([20.1, 20.104])), [1020.1, 1020.104])
    assert scale.time(20.05) == pytest.approx(1020.05)


def test_slow_drift_over_a_long_pause_is_no_step() -> None:
    scale = SteadyScale(0.004)
    drifting = [*np.arange(0, 300, 15.0), 4000.0]
    assert [scale.read(t, t * (1 + 50e-6), t, flowing=True)[1] for t in drifting] == [0.0] * len(drifting)


# The system's clock.


@given(st.floats(-300, 300), st.floats(-1e5, 1e5))
def test_the_systems_drift_comes_back_beside_its_steps(drift_ppm: float, step_s: float) -> None:
    times = np.arange(100.0, 400.0, 15.0, dtype=np.float64)
    elapsed = (times - 100.0) * (1 + drift_ppm * 1e-6) + np.where(times > 200, step_s, 0.0)
    steps = [step_s if 200 < t <= 215 else 0.0 for t in times]
    readings = [SystemReading(t, e, t, s) for t, e, s in zip(times.tolist(), elapsed.tolist(), steps, strict=True)]
    found = fit_system_clock(readings, 130.0)
    assert found["drift_ppm"] == pytest.approx(drift_ppm, abs=1e-2)
    assert found["offset_s"] == pytest.approx(30.0 * (1 + drift_ppm * 1e-6), abs=1e-4)
    assert found["steps"] == ([{"onset": 75.0, "step_s": step_s}] if step_s else [])
