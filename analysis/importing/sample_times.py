"""When samples were taken: the sampling rate, and rounded times replaced by those of the tracker's own clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beholder.analysis.importing.text_table import EXPORT_AGAIN
from beholder.analysis.importing.vendor_recording import Question, is_rising, rate_questions
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError, Remark

# Rates of Tobii's trackers. One within 2 % of the measured rate is taken: timestamps are rounded, and clocks drift.
_RATES_HZ = (30, 40, 50, 60, 90, 120, 150, 240, 250, 300, 500, 600, 1000, 1200)


_SECONDS_IN = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}


# From this step in us on, a clock counts as rounded; the tracker's own clock drifts from it by less than this share.
_COARSE_US, _LARGEST_DRIFT = 1000, 1e-3


# Rates that differ by less than this share are the same; fewer samples do not show whether a clock runs evenly.
_SAME_RATE, _FEWEST_OF_CLOCK = 0.02, 50


# The SDK's columns of the computer's clock, which may be rounded, and of the tracker's own.
ROUNDED_CLOCK, EXACT_CLOCK = "system_time_stamp", "device_time_stamp"


def rate_of(time_s: FloatArray, path: Path, column: str, unit: str) -> tuple[float, tuple[Question, ...]]:
    """The sampling rate in Hz, from the steps that are no gaps, and questions about it; `column` should hold `unit`."""
    steps = np.diff(time_s)
    if not len(steps):
        raise DataError(f"{path} has a single sample: {EXPORT_AGAIN}.")
    measured = 1 / _step(steps)
    as_others = {name: measured * _SECONDS_IN[unit] / seconds for name, seconds in _SECONDS_IN.items()}
    guess = [
        f" (as {name} there would be {rate:.4g})"
        for name, rate in as_others.items()
        if _RATES_HZ[0] <= rate <= _RATES_HZ[-1] * 1.02
    ]
    questions = rate_questions(
        path,
        measured,
        f"its column {column}, which should hold {unit},",
        f"convert the column, or correct the unit in its name{''.join(guess)}",
    )
    nearest = min(_RATES_HZ, key=lambda rate: abs(rate - measured))
    return float(nearest) if abs(nearest - measured) <= 0.02 * nearest else round(measured, 3), questions


def _step(steps: FloatArray) -> float:
    """The mean of the steps from sample to sample that are no gaps."""
    return float(steps[steps <= 1.5 * np.median(steps)].mean())


@dataclass(frozen=True)
class SampleTimes:
    """When samples were taken, (n,) in us of the file's clock; remarks on that, and questions."""

    us: FloatArray
    remarks: tuple[Remark, ...] = ()
    questions: tuple[Question, ...] = ()


def sample_times(
    path: Path, column: str, stamps_us: FloatArray, exact: str, exact_us: FloatArray | None
) -> SampleTimes:
    """The samples' times by `column`, or by the tracker's own clock in the column `exact` where the first is rounded.

    A clock rounded to 10 ms turns 90 samples a second into 100, of which a tenth seem lost. Messages keep the times of
    `column`, so the tracker's are brought onto its clock. Where that cannot be done, rounded times are asked about if
    they make sampling rate and data loss wrong.
    """
    grain = grain_us(stamps_us)
    if not grain:
        return SampleTimes(stamps_us)
    if exact_us is not None and not np.isnan(exact_us).any() and is_rising(exact_us) is None:
        on_clock = _onto(stamps_us, exact_us, grain) if _gcd_us(exact_us) < grain else None
        if on_clock is not None:
            text = f"its times are those of {exact}, brought onto the clock of {column}, which is rounded to "
            return SampleTimes(on_clock, (Remark(path.name, f"{text}{grain / 1000:g} ms"),))
    step_us = _step(np.diff(stamps_us))
    even_us = _even_step(stamps_us, grain) if step_us > 0 else None
    if even_us is None or abs(even_us / step_us - 1) <= _SAME_RATE:
        return SampleTimes(stamps_us)
    question = Question(
        "rounded times",
        f"{path}: times in {column} should be exact, and they are rounded to {grain / 1000:g} ms, by which there "
        f"would be {1e6 / step_us:.4g} samples a second in place of {1e6 / even_us:.4g}, and losses that were none: "
        f"export times in microseconds, or {exact} beside them",
    )
    return SampleTimes(stamps_us, questions=(question,))


def _gcd_us(stamps_us: FloatArray) -> int:
    """The greatest number of us of which all steps are whole multiples; 0 where there is no step."""
    return int(np.gcd.reduce(np.rint(np.diff(stamps_us)).astype(np.int64))) if len(stamps_us) > 1 else 0


def grain_us(stamps_us: FloatArray) -> int:
    """The us to which times are rounded, if a millisecond or more.

    0 where times are exact, where one is missing, or where all steps are equal.
    """
    if np.isnan(stamps_us).any() or len(np.unique(np.rint(np.diff(stamps_us)))) < 2:
        return 0
    common_us = _gcd_us(stamps_us)
    return common_us if common_us >= _COARSE_US else 0


def _onto(stamps_us: FloatArray, exact_us: FloatArray, grain_us: int) -> FloatArray | None:
    """The exact times on the clock of the rounded ones, in us; None where the two clocks do not run alike."""
    from_start: FloatArray = exact_us - exact_us[0]
    behind = stamps_us - from_start
    if np.ptp(behind) > 2 * grain_us:
        drift = float(np.polyfit(from_start, behind, 1)[0])
        if abs(drift) > _LARGEST_DRIFT:
            return None
        from_start = from_start * (1 + drift)
        behind = stamps_us - from_start
    return from_start + float(np.median(behind)) if np.ptp(behind) <= 2 * grain_us else None


def _even_step(stamps_us: FloatArray, grain_us: int) -> float | None:
    """The step in us of an even clock that gives all times but for rounding; None where samples come unevenly.

    Fitted to the longest stretch without a gap, since a pause is no step of the clock; None also where that stretch is
    too short to tell.
    """
    steps = np.diff(stamps_us)
    gaps = np.flatnonzero((steps > 5 * _step(steps)) | (steps < 0))
    edges = np.concatenate([[-1], gaps, [len(steps)]])
    longest = int(np.argmax(np.diff(edges)))
    stretch = stamps_us[edges[longest] + 1 : edges[longest + 1] + 1]
    if len(stretch) < _FEWEST_OF_CLOCK:
        return None
    count = np.arange(len(stretch))
    step_us, start_us = np.polyfit(count, stretch - stretch[0], 1)
    off_us = np.abs(stretch - stretch[0] - start_us - step_us * count)
    return float(step_us) if off_us.max() <= grain_us else None


def check_rising(time_s: FloatArray, place: Callable[[int], str]) -> None:
    """Raise DataError, with the place of the row, where a time does not come after the one before."""
    wrong = is_rising(time_s)
    if wrong is not None:
        raise DataError(
            f"{place(wrong)}: its time does not come after the sample before; rows are out of order, a second "
            "recording begins here, or times were rounded: export in microseconds, each recording in its own file."
        )
