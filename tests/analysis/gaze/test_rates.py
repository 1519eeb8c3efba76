"""Known bias, noise and loss, at every rate and with one eye and two, through the whole way: session, files, analysis.

What a validation and the analysis say of a recording are estimates from so many samples: by the theory of the planted
noise each has an interval, that is, a p value of the truth. These are held against chance twice: none may be smaller
than chance alone makes one of so many, and about 5 % are below .05, so that the intervals are no wider than they should
be. No tolerance is chosen here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ETDQualitizer
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special, stats

from beholder.analysis.gaze.trials import fixations_of_run
from beholder.experiment.observer import DOT_SCATTER_DEG
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import Recording, Run, read_recording, runs
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import FixationSettings, Study

RATES_HZ = (30.0, 60.0, 250.0, 600.0, 1200.0, 2000.0)
EYES = ("left", "both")
CONFIGURATIONS = [(rate_hz, eyes) for rate_hz in RATES_HZ for eyes in EYES]
PARTICIPANTS, PICTURES = 4, 2
NOISE_DEG, LOSS, BIAS_DEG = 0.2, 0.1, 0.4
# White noise of RMS-S2S r over both axes has an SD of r / 2 on each.
SD_DEG = NOISE_DEG / 2
WINDOW_S = 1.0  # of a validation target
FALSE_ALARM = 1e-3  # so rarely does chance alone fail a test

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Session:
    """A participant's session: what was planted, what lies on disk, and what the analysis makes of it."""

    truth: dict[str, Any]
    recording: Recording
    quality: pd.DataFrame
    trials: pd.DataFrame


@dataclass(frozen=True)
class Held:
    """The p value of the planted truth, given an estimate; `exact` where it is no upper bound."""

    what: str
    p: float
    exact: bool = True


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Session]]:
    """sessions(rate, eyes) -> simulated once, and read from disk."""
    known: dict[tuple[float, str], list[Session]] = {}

    def of(rate_hz: float, eyes: str) -> list[Session]:
        if (rate_hz, eyes) not in known:
            folder = _study(tmp_path_factory.mktemp("rates"), rate_hz, eyes)
            # Another seed each, so that the configurations have chance of their own.
            simulate(folder, PARTICIPANTS, seed=1 + CONFIGURATIONS.index((rate_hz, eyes)), workers=1)
            known[rate_hz, eyes] = [_read(folder, run) for run in runs(folder)]
        return known[rate_hz, eyes]

    return of


def _study(folder: Path, rate_hz: float, eyes: str) -> Path:
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        Image.new("RGB", (80, 60), (90 + 60 * number, 90, 90)).save(folder / "pictures" / f"plain-{number}.png")
    planted = {"map": "centre", "noise_deg": NOISE_DEG, "loss_percent": 100 * LOSS, "bias_deg": BIAS_DEG}
    never = {"blinks_per_min": 0.0, "drift_deg_per_min": 0.0, "look_away": 0.0}
    study = Study.model_validate({
        "tracker": {"rate_hz": rate_hz, "eyes": eyes}, "protocol": {"dot_s": 2.0, "picture_s": 2.0},
        "observer": planted | never,
        # Whatever the bias, the first validation stands, and there is one truth.
        "limits": {"accuracy_mean_deg": 20.0, "accuracy_worst_deg": 20.0, "loss_percent": 100.0, "drift_deg": 20.0},
    })  # fmt: skip
    create_study(folder / "study", study, folder / "pictures")
    return folder / "study"


def _read(folder: Path, run: Run) -> Session:
    recording = read_recording(run)
    [truth] = (folder / "sourcedata" / f"sub-{run.participant}").glob("*_truth.json")
    found = fixations_of_run(recording, read_stimuli(folder / "stimuli")[0], FixationSettings())
    return Session(json.loads(truth.read_text("utf-8")), recording, found.quality, found.trials)


def expected_offset(point: dict[str, Any], truth: dict[str, Any], screen: Screen) -> tuple[float, float, float]:
    """Angle, and offsets to the right and down, of gaze that is off a target by the bias, without any noise."""
    target = [float(v) for v in screen.to_degrees(np.array(point["x_px"]), np.array(point["y_px"]))]
    gaze = np.array([target[0] + truth["bias_x_deg"]]), np.array([target[1] + truth["bias_y_deg"]])
    angle, right, down = ETDQualitizer.accuracy(*gaze, *target)
    return angle, right, down


def p_of_z(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def p_of_count(lost: int, of: int) -> float:
    """Of so many lost samples, where each is lost with the planted probability; half of what is as rare as this."""
    chance = stats.binom(of, LOSS)
    below = float(chance.cdf(lost) - chance.pmf(lost) / 2)
    return 2 * min(below, 1 - below)


def noisy_length(length: float, sd: float) -> tuple[float, float]:
    """Mean and variance of an offset's length with noise of `sd` on both axes: longer than the truth (Rice 1945)."""
    half = (length / sd) ** 2 / 2
    mean = sd * np.sqrt(np.pi / 2) * ((1 + half) * special.ive(0, half / 2) + half * special.ive(1, half / 2))
    return float(mean), float(2 * sd**2 + length**2 - mean**2)


def degrees_of_freedom(seen: int, of: int) -> float:
    """Of the mean square of differences between neighbours, each sample being in two of them.

    Of `seen` samples at chance among `of`, seen (seen - 1) / of differences can be had. For white noise such a mean
    square varies as a chi square over 2 m / (1 + share / 2), m differences, share of neighbours that were seen.
    """
    return 2 * seen * (seen - 1) / of / (1 + seen / of / 2)


def of_points(session: Session) -> list[Held]:
    """The validation's figures of each eye and target, as the sidecar has them."""
    n = round(WINDOW_S * session.recording.rate_hz)
    held = []
    for eye, sidecar in session.recording.sidecars.items():
        for point in sidecar.validation.points:
            _, right, down = expected_offset(point, session.truth, session.recording.screen)
            error = SD_DEG / np.sqrt(point["samples"])
            free = degrees_of_freedom(point["samples"], n)
            below = float(stats.chi2.cdf(free * (point["rms_s2s_deg"] / NOISE_DEG) ** 2, free))
            at = f"sub-{session.recording.participant}, {eye} eye, target {point['number']}"
            held += [
                Held(f"{at}: offset to the right", p_of_z((point["offset_x_deg"] - right) / error)),
                Held(f"{at}: offset down", p_of_z((point["offset_y_deg"] - down) / error)),
                Held(f"{at}: RMS-S2S", 2 * min(below, 1 - below)),
                Held(f"{at}: loss", p_of_count(round(n * point["loss_percent"] / 100), n)),
            ]
    return held


def of_analysis(session: Session) -> list[Held]:
    """What the analysis' tables say of each eye, and of each trial."""
    recording, truth = session.recording, session.truth
    n = round(WINDOW_S * recording.rate_hz)
    held = []
    for row in session.quality.to_dict("records"):
        points = recording.sidecars[row["eye"]].validation.points
        at = f"sub-{recording.participant}, {row['eye']} eye in the analysis"
        errors = [SD_DEG / np.sqrt(p["samples"]) for p in points]
        angles = [expected_offset(p, truth, recording.screen)[0] for p in points]
        lengths = [noisy_length(angle, error) for angle, error in zip(angles, errors, strict=True)]
        chi = [stats.chi(free) for free in (degrees_of_freedom(p["samples"], n) for p in points)]
        scales = [NOISE_DEG / np.sqrt(degrees_of_freedom(p["samples"], n)) for p in points]
        squares = [(c.mean() * scale, c.var() * scale**2) for c, scale in zip(chi, scales, strict=True)]
        # Means of one such figure a target.
        for name, chances in (("accuracy_deg", lengths), ("rms_s2s_deg", squares)):
            mean, variance = np.mean(chances, axis=0)
            z = (row[name] - mean) / np.sqrt(variance / len(points))
            held.append(Held(f"{at}: {name}", p_of_z(float(z)), exact=False))
        lost = round(row["loss_percent"] / 100 * n * len(points))
        held.append(Held(f"{at}: loss", p_of_count(lost, n * len(points)), exact=False))
    for row in session.trials.to_dict("records"):
        at = f"sub-{recording.participant}, trial {row['trial']}"
        expected = int(row["samples_expected"])
        held.append(Held(f"{at}: loss", p_of_count(round(row["loss_percent"] / 100 * expected), expected)))
        # The observer looks beside the dot by this much; the median of several looks varies less than one.
        for axis in ("x", "y"):
            off = row[f"drift_{axis}_deg"] - truth[f"bias_{axis}_deg"]
            held.append(Held(f"{at}: drift {axis}", p_of_z(off / np.hypot(DOT_SCATTER_DEG, SD_DEG)), exact=False))
    return held


@pytest.mark.parametrize(("rate_hz", "eyes"), CONFIGURATIONS)
def test_validation_and_analysis_give_back_what_was_planted(
    sessions: Callable[..., list[Session]], rate_hz: float, eyes: str
) -> None:
    held = [h for s in sessions(rate_hz, eyes) for h in (*of_points(s), *of_analysis(s))]
    assert len(held) >= PARTICIPANTS * (4 * 4 + 3 + 3 * PICTURES) * (2 if eyes == "both" else 1) * 0.7
    missed = [h for h in held if not h.p >= FALSE_ALARM / len(held)]
    assert missed == []


def test_the_intervals_are_no_wider_than_they_should_be(sessions: Callable[..., list[Session]]) -> None:
    held = [h for c in CONFIGURATIONS for s in sessions(*c) for h in (*of_points(s), *of_analysis(s)) if h.exact]
    for what in ("offset to the right", "offset down", "RMS-S2S", "loss"):
        p = np.array([h.p for h in held if h.what.endswith(what)])
        outside = int((p < 0.05).sum())
        assert stats.binomtest(outside, len(p), 0.05).pvalue > FALSE_ALARM, f"{what}: {outside} of {len(p)} below .05"


@pytest.mark.parametrize(("rate_hz", "eyes"), CONFIGURATIONS)
def test_the_files_hold_what_was_recorded_at_that_rate_by_those_eyes(
    sessions: Callable[..., list[Session]], rate_hz: float, eyes: str
) -> None:
    for session in sessions(rate_hz, eyes):
        recording = session.recording
        assert recording.eyes == (("left", "right") if eyes == "both" else ("left",))
        assert list(session.quality["eye"]) == list(recording.eyes)
        assert session.quality["used"].sum() == 1
        steps = np.diff(recording.samples["time_s"])
        # Times stand in the file with six decimals; where the tracker stopped for its calibration there is a gap.
        assert np.median(steps) == pytest.approx(1 / rate_hz, abs=1e-6)
        for row in session.trials.to_dict("records"):
            assert row["samples_expected"] == pytest.approx(row["shown_s"] * rate_hz, abs=0.5)
            assert row["effective_hz"] == pytest.approx(rate_hz * (1 - row["loss_percent"] / 100), rel=0.02)
