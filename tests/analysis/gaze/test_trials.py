"""Fixations: planted ones come back, at every rate and by every method, and each is accounted for."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.analysis.gaze.detection import Fixation, detect, method_for
from beholder.analysis.gaze.drift import with_other_correction
from beholder.analysis.gaze.trials import fixations_of_import, fixations_of_run
from beholder.shared.dataset.reading import Recording, Run
from beholder.shared.errors import DataError
from beholder.shared.gaze import no_samples
from beholder.shared.screen import Screen
from beholder.shared.sidecars import PhysioSidecar
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import FixationSettings

SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)
DEFAULT = FixationSettings()
RATES_HZ = (60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0)


def scanpath(
    rate_hz: float, rng: np.random.Generator, noise_deg: float = 0.08, n: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Fixation]]:
    """Samples of `n` fixations with main-sequence saccades between them, and the fixations themselves."""
    truth: list[Fixation] = []
    time, place = 0.0, np.array([960.0, 540.0])
    knots: list[tuple[float, np.ndarray]] = []
    for _ in range(n):
        duration = float(rng.uniform(0.2, 0.6))
        truth.append(Fixation(time, duration, float(place[0]), float(place[1])))
        knots += [(time, place), (time + duration, place)]
        angle, amplitude = rng.uniform(0, 2 * np.pi), rng.uniform(2.5, 8.0)
        to = place + amplitude * SCREEN.px_per_deg * np.array([np.cos(angle), np.sin(angle)])
        to = np.where((to > [100, 100]) & (to < [1820, 980]), to, 2 * place - to)
        time += duration + (2.2 * amplitude + 21) / 1000
        place = to
    t = np.arange(0, time, 1 / rate_hz)
    x = np.interp(t, [k for k, _ in knots], [p[0] for _, p in knots])
    y = np.interp(t, [k for k, _ in knots], [p[1] for _, p in knots])
    # RMS from sample to sample is twice the SD per axis: two axes, and a difference of two samples.
    sd_px = noise_deg / 2 * SCREEN.px_per_deg
    return t, x + rng.normal(0, sd_px, len(t)), y + rng.normal(0, sd_px, len(t)), truth


# I-VT is not offered below 100 Hz; I2MC takes its time, and is shown up to 500 Hz.
@pytest.mark.parametrize(
    ("method", "rate_hz"),
    [
        *(("auto", rate) for rate in RATES_HZ),
        *(("ivt", rate) for rate in RATES_HZ[1:]),
        *(("idt", rate) for rate in RATES_HZ),
        *(("i2mc", rate) for rate in RATES_HZ[:4]),
    ],
)
def test_planted_fixations_come_back(method: str, rate_hz: float) -> None:
    t, x, y, truth = scanpath(rate_hz, np.random.default_rng(4))
    found = detect(t, x, y, SCREEN, rate_hz, FixationSettings(method=method))  # type: ignore[arg-type]
    assert len(found) == len(truth)
    for ours, planted in zip(found, truth, strict=True):
        assert np.hypot(ours.x_px - planted.x_px, ours.y_px - planted.y_px) < 0.25 * SCREEN.px_per_deg
        # I2MC's clusters eat into a fixation's ends, and a sample at 60 Hz lasts 17 ms.
        assert abs(ours.duration_s - planted.duration_s) < 0.06


def test_ivt_is_pymovements_ivt_where_nothing_is_missing_merged_or_short() -> None:
    from pymovements.events import ivt
    from scipy.signal import savgol_filter

    rate_hz = 500.0
    t, x, y, _ = scanpath(rate_hz, np.random.default_rng(8))
    plain = DEFAULT.model_copy(update={"merge_ms": 0.0, "shortest_ms": 0.0, "method": "ivt"})
    azimuth, elevation = SCREEN.to_degrees(x, y)
    speed_x = savgol_filter(azimuth, 15, 2, deriv=1, delta=1 / rate_hz) * np.cos(np.radians(elevation))
    speed_y = savgol_filter(elevation, 15, 2, deriv=1, delta=1 / rate_hz)
    oracle = ivt(np.stack([speed_x, speed_y], axis=1), minimum_duration=0, velocity_threshold=30.0)
    ours = detect(t, x, y, SCREEN, rate_hz, plain)
    np.testing.assert_allclose([f.onset_s for f in ours], t[oracle.frame["onset"].to_numpy()])


@given(
    seed=st.integers(0, 1000), lost=st.floats(0, 0.5), rate_hz=st.sampled_from(RATES_HZ[1:4]),
    method=st.sampled_from(["ivt", "idt"]),
)  # fmt: skip
@settings(max_examples=25)
def test_whatever_is_lost_fixations_are_in_order_apart_long_enough_and_where_gaze_was(
    seed: int, lost: float, rate_hz: float, method: str
) -> None:
    rng = np.random.default_rng(seed)
    t, x, y, _ = scanpath(rate_hz, rng, n=6)
    gone = rng.random(len(t)) < lost
    gone[len(t) // 3 : len(t) // 3 + int(0.2 * rate_hz)] = True  # a blink
    x[gone], y[gone] = np.nan, np.nan
    found = detect(t, x, y, SCREEN, rate_hz, FixationSettings(method=method))  # type: ignore[arg-type]
    for fixation in found:
        assert fixation.duration_s >= 0.06 - 1e-9
        assert np.nanmin(x) <= fixation.x_px <= np.nanmax(x)
    for one, other in pairwise(found):
        assert one.onset_s + one.duration_s <= other.onset_s + 1e-9


def test_lone_lost_samples_are_bridged_and_blinks_are_not() -> None:
    rate_hz = 250.0
    t = np.arange(0, 2, 1 / rate_hz)
    x, y = np.full_like(t, 900.0), np.full_like(t, 500.0)
    x[::10] = np.nan
    whole = detect(t, x, y, SCREEN, rate_hz, DEFAULT)
    assert len(whole) == 1 and whole[0].duration_s > 1.97
    x[(t > 0.9) & (t < 1.1)] = np.nan
    first, second = detect(t, x, y, SCREEN, rate_hz, DEFAULT.model_copy(update={"merge_ms": 0.0}))
    # 100 ms on both sides of a blink are dropped.
    assert first.onset_s + first.duration_s == pytest.approx(0.8, abs=0.03)
    assert second.onset_s == pytest.approx(1.2, abs=0.03)


def test_no_gaze_gives_no_fixation_by_any_method() -> None:
    t = np.arange(0, 1, 1 / 250)
    nothing = np.full_like(t, np.nan)
    for method in ("ivt", "idt", "i2mc"):
        assert detect(t, nothing, nothing, SCREEN, 250.0, FixationSettings(method=method)) == []  # type: ignore[arg-type]
    assert detect(t[:2], nothing[:2], nothing[:2], SCREEN, 250.0, DEFAULT) == []


def test_below_100_hz_detection_is_i2mcs() -> None:
    assert method_for("auto", 99.0) == "i2mc" and method_for("auto", 100.0) == "ivt"


# Bookkeeping: a recording made by hand, one picture of 400 x 300 px shown at twice its size from 2.0 to 4.0 s.

PICTURE = Stimulus("a", Path("a.png"), 400, 300)


def recording(x: np.ndarray, y: np.ndarray, rate_hz: float = 250.0, **event: object) -> Recording:
    samples = no_samples(len(x))
    samples["time_s"] = 50.0 + np.arange(len(x)) / rate_hz
    samples["left_x_px"], samples["left_y_px"] = x, y
    samples["right_x_px"], samples["right_y_px"] = x + 3, y
    dot = {"onset": 0.0, "duration": 2.0, "trial_type": "dot", "trial": 1, "drift_x_deg": 1.0, "drift_y_deg": 0.0,
           "drift_deg": 1.0}  # fmt: skip
    for name in [name for name in event if name.startswith("drift")]:
        dot[name] = event.pop(name)
    row = {"onset": 2.0, "duration": 2.0, "trial_type": "picture", "trial": 1, "stim_file": "images/a.png",
           "status": "complete", "exposure": "first",
           "picture_x_px": 560.0, "picture_y_px": 240.0, "picture_width_px": 800.0,
           "picture_height_px": 600.0}  # fmt: skip
    good, better = {"accuracy_deg": 0.9, "passed": True}, {"accuracy_deg": 0.4, "passed": True}
    sidecars = {"left": sidecar(Validation=good), "right": sidecar(Validation=better)}
    return Recording(
        "01", 1, samples, rate_hz, SCREEN, ("left", "right"), True, pd.DataFrame([dot, row | event]), sidecars
    )


def sidecar(**values: object) -> PhysioSidecar:
    """What describes gaze, with these keys besides what BIDS requires."""
    required = {"SamplingFrequency": 250, "RecordedEye": "left", "Columns": ["timestamp"]}
    return PhysioSidecar.model_validate(required | values)


def looking(*places: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Gaze at (x, y) for so many seconds each, at 250 Hz."""
    x = np.concatenate([np.full(round(s * 250), px) for px, _, s in places])
    y = np.concatenate([np.full(round(s * 250), py) for _, py, s in places])
    return x.astype(float), y.astype(float)


def test_positions_become_px_of_the_picture_by_the_eye_that_validated_better() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 1.0), (1160, 640, 1.5))
    run = fixations_of_run(recording(x, y), [PICTURE], DEFAULT)
    assert list(run.fixations["eye"].unique()) == ["right"]
    assert list(run.quality["used"]) == [False, True]
    second = run.fixations.iloc[1]
    assert second["x_px"] == pytest.approx((760 + 3 - 560) / 2, abs=0.1)
    assert second["y_px"] == pytest.approx((440 - 240) / 2, abs=0.1)
    assert second["onset_s"] == pytest.approx(0.5, abs=0.02)


def test_the_dots_fixation_is_left_out_and_the_last_is_clipped() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 1.0), (1160, 640, 1.5))
    rows = fixations_of_run(recording(x, y), [PICTURE], DEFAULT).fixations
    assert list(rows["why"]) == ["dot", "", ""] and list(rows["used"]) == [False, True, True]
    assert (rows["onset_s"] + rows["duration_s"]).max() == pytest.approx(2.0)
    kept = fixations_of_run(recording(x, y), [PICTURE], DEFAULT.model_copy(update={"drop_first": False})).fixations
    assert kept["used"].all()
    assert kept["onset_s"].iloc[0] == 0.0 and kept["duration_s"].iloc[0] == pytest.approx(0.5, abs=0.02)


def test_gaze_off_the_picture_is_counted_reported_and_not_used() -> None:
    x, y = looking((960, 540, 2.2), (100, 100, 1.0), (1160, 640, 1.5))
    run = fixations_of_run(recording(x, y), [PICTURE], DEFAULT)
    assert list(run.fixations["why"]) == ["dot", "outside", ""]
    assert run.trials["outside_share"].iloc[0] == pytest.approx(1.0 / 1.8, abs=0.02)
    x, y = looking((960, 540, 2.2), (100, 100, 3.0))
    run = fixations_of_run(recording(x, y), [PICTURE], DEFAULT)
    assert not run.trials["included"].iloc[0]
    assert run.trials["why"].iloc[0] == "no fixation on the picture"


def test_a_trial_without_gaze_is_left_out_and_has_lost_every_sample() -> None:
    x = np.full(1250, np.nan)
    run = fixations_of_run(recording(x, x.copy()), [PICTURE], DEFAULT)
    trial = run.trials.iloc[0]
    assert trial["why"] == "no fixation"
    assert (trial["samples_expected"], trial["loss_percent"], trial["blink_percent"]) == (500, 100.0, 100.0)
    assert trial["effective_hz"] == 0.0


def test_a_trials_loss_counts_what_was_lost_while_its_picture_stood_and_how_much_of_it_in_blinks() -> None:
    x, y = looking((960, 540, 5.0))
    x[:400] = np.nan  # on the dot: no loss of the picture's
    x[600:650] = np.nan  # 200 ms: too long to be bridged
    x[700:710] = np.nan  # 40 ms: bridged
    x[800:950:10] = np.nan  # single samples
    rows = recording(x, y)
    trial = fixations_of_run(rows, [PICTURE], DEFAULT).trials.iloc[0]
    assert trial["loss_percent"] == pytest.approx(100 * 75 / 500)
    assert trial["blink_percent"] == pytest.approx(100 * 50 / 500, abs=1e-6)
    assert trial["effective_hz"] == pytest.approx(425 / 2)
    # Rows that the tracker left out count the same.
    absent = Recording(**{**vars(rows), "samples": rows.samples[~np.isnan(x) | (np.arange(1250) == 0)]})
    again = fixations_of_run(absent, [PICTURE], DEFAULT).trials.iloc[0]
    assert (again["loss_percent"], again["blink_percent"]) == (trial["loss_percent"], trial["blink_percent"])


def test_frames_dropped_on_the_dot_and_on_the_picture_are_the_trials() -> None:
    x, y = looking((960, 540, 5.0))
    plain, late = recording(x, y), recording(x, y, dropped_frames=3.0)
    late.events.loc[0, "dropped_frames"] = 2.0
    assert fixations_of_run(late, [PICTURE], DEFAULT).trials["dropped_frames"].iloc[0] == 5.0
    assert np.isnan(fixations_of_run(plain, [PICTURE], DEFAULT).trials["dropped_frames"].iloc[0])


def test_a_trial_has_the_last_validation_before_it_and_a_run_says_whose_verdicts_were_overridden() -> None:
    x, y = looking((960, 540, 5.0))
    early = {"onset_s": 0.1, "accepted": True, "overridden_by": "E. F.", "passed": False, "accuracy_deg": 1.4}
    late = {"onset_s": 3.0, "accepted": True, "overridden_by": None, "passed": True, "accuracy_deg": 0.3}
    left = sidecar(Validation=late, Validations=[early, late], CalibrationCount=2)
    values = vars(recording(x, y)) | {"eyes": ("left",), "sidecars": {"left": left}}
    run = fixations_of_run(Recording(**values), [PICTURE], DEFAULT)
    trial, quality = run.trials.iloc[0], run.quality.iloc[0]
    assert (trial["accuracy_deg"], trial["passed"]) == (1.4, "overridden"), "the picture came up at 2 s"
    assert (quality["accuracy_deg"], quality["passed"]) == (0.3, "yes")
    assert (quality["calibrations"], quality["validations"], quality["overridden"]) == (2, 2, 1)
    assert quality["overridden_by"] == "E. F."


def test_a_picture_seen_before_or_cut_short_is_left_out_by_name() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    for status in ("aborted", "repeated"):
        run = fixations_of_run(recording(x, y, status=status), [PICTURE], DEFAULT)
        assert set(run.fixations["why"]) == {"interrupted"} and not run.trials["included"].any()
    assert set(fixations_of_run(recording(x, y, exposure="repeat"), [PICTURE], DEFAULT).fixations["why"]) == {"repeat"}


def test_drift_is_corrected_only_where_the_study_says_so() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    plain = fixations_of_run(recording(x, y), [PICTURE], DEFAULT).fixations
    corrected = fixations_of_run(
        recording(x, y), [PICTURE], DEFAULT.model_copy(update={"correct_drift": True})
    ).fixations  # fmt: skip
    # The gaze stood one degree to the right of the dot: the correction moves it one degree to the left.
    np.testing.assert_allclose(plain["x_px"] - corrected["x_px"], SCREEN.px_per_deg / 2, rtol=1e-6)
    unknown = fixations_of_run(
        recording(x, y, drift_x_deg=np.nan), [PICTURE], DEFAULT.model_copy(update={"correct_drift": True})
    )
    assert any("no drift was measured" in str(r) for r in unknown.remarks)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_other_choice_of_the_correction_is_what_that_choice_would_have_given(corrected: bool) -> None:
    # The second fixation lies off the picture until it is moved, the third only then.
    x, y = looking((960, 540, 2.2), (1362, 540, 0.8), (575, 540, 0.8), (900, 500, 1.2))
    settings = [DEFAULT.model_copy(update={"correct_drift": c}) for c in (corrected, not corrected)]
    ours, theirs = (fixations_of_run(recording(x, y), [PICTURE], s) for s in settings)
    moved = with_other_correction(ours.fixations, ours.trials, [PICTURE], corrected=corrected)
    expected = theirs.fixations[theirs.fixations["used"]].reset_index(drop=True)
    assert len(expected) == 2 and set(expected["x_px"]) != set(ours.fixations.query("used")["x_px"])
    pd.testing.assert_frame_equal(moved, expected)


def test_a_trial_that_has_gaze_on_its_picture_only_once_it_is_moved_has_its_part_in_the_other_choice() -> None:
    x, y = looking((960, 540, 2.2), (1362, 540, 2.8))
    run = fixations_of_run(recording(x, y), [PICTURE], DEFAULT)
    assert not run.trials["included"].any()
    moved = with_other_correction(run.fixations, run.trials, [PICTURE], corrected=False)
    assert len(moved) == 1 and moved["used"].all() and moved["x_px"].iloc[0] < PICTURE.width_px


def test_without_any_figure_of_drift_there_is_no_other_choice() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    run = fixations_of_run(recording(x, y, drift_x_deg=np.nan, drift_y_deg=np.nan), [PICTURE], DEFAULT)
    assert with_other_correction(run.fixations, run.trials, [PICTURE], corrected=False).empty


def test_an_eye_that_was_not_recorded_is_refused_with_the_remedy() -> None:
    x, y = looking((960, 540, 5.0))
    one_eyed = recording(x, y)
    one_eyed = Recording(**{**vars(one_eyed), "eyes": ("left",)})
    with pytest.raises(DataError, match=r'no right eye.*eye = "better"'):
        fixations_of_run(one_eyed, [PICTURE], DEFAULT.model_copy(update={"eye": "right"}))


def test_imported_fixations_are_all_kept_but_those_off_the_picture() -> None:
    table = pd.DataFrame({"trial": 1, "stim_file": "images/a.png", "fixation": [1, 2, 3], "onset": np.nan,
                          "duration": 0.2, "x_px": [0.0, 399.9, 400.0], "y_px": [0.0, 299.9, 10.0]})  # fmt: skip
    run = Run("01", "", "viewing", 1, Path(), "")
    kept = fixations_of_import(run, table, [PICTURE], DEFAULT)
    assert list(kept.fixations["used"]) == [True, True, False] and kept.fixations["why"].iloc[2] == "outside"
    dropped = fixations_of_import(run, table, [PICTURE], DEFAULT.model_copy(update={"drop_first_imported": True}))
    assert list(dropped.fixations["why"]) == ["dot", "", "outside"]


def test_rows_that_a_tracker_left_out_are_lost_samples_as_much_as_rows_without_gaze() -> None:
    t = np.arange(0, 2, 1 / 250)
    gone = (t > 0.5) & (t < 1.5)
    x, y = np.full_like(t, 900.0), np.full_like(t, 500.0)
    marked = detect(t, np.where(gone, np.nan, x), np.where(gone, np.nan, y), SCREEN, 250.0, DEFAULT)
    absent = detect(t[~gone], x[~gone], y[~gone], SCREEN, 250.0, DEFAULT)
    assert len(marked) == len(absent) == 2
    for one, other in zip(marked, absent, strict=True):
        assert one.duration_s == pytest.approx(other.duration_s, abs=1e-6)


def test_drift_is_the_dots_and_stands_in_the_trials() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    assert list(fixations_of_run(recording(x, y), [PICTURE], DEFAULT).trials["drift_deg"]) == [1.0]


def test_an_eye_without_validation_is_not_preferred_to_one_that_has_it() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    both = recording(x, y)
    both.samples["left_x_px"][::3] = np.nan
    sidecars = {"left": sidecar(Validation={"accuracy_deg": 0.5}), "right": sidecar(Validation=None)}
    one = Recording(**{**vars(both), "sidecars": sidecars})
    assert set(fixations_of_run(one, [PICTURE], DEFAULT).fixations["eye"]) == {"left"}


def test_events_that_do_not_say_where_the_picture_stood_are_named() -> None:
    x, y = looking((960, 540, 2.5), (760, 440, 2.5))
    run = fixations_of_run(recording(x, y, picture_x_px=np.nan), [PICTURE], DEFAULT)
    assert run.trials.empty and "picture_x_px" in str(run.remarks[0])
    assert "no picture that can be analysed" in str(run.remarks[-1])
