"""How well gaze was measured, as the sheet at a session's end and the analysis judge it alike.

Which eye is analysed, how much of a picture's time it was tracked, and what the validation before the picture said.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from beholder.shared.dataset.reading import Recording
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye
from beholder.shared.sidecars import EyeValidation
from beholder.shared.study import FixationSettings

# Of a validation: n/a where there was none, or it has no verdict; overridden where it failed and was accepted.
Verdict = Literal["n/a", "no", "overridden", "yes"]


def eye_of(recording: Recording, settings: FixationSettings, about: str) -> tuple[Eye | Literal["mean"], list[Remark]]:
    """The eye whose gaze is used, by the study's setting or by the validations, and remarks on the choice.

    Raises DataError where the study asks for an eye that was not recorded.
    """
    wanted = settings.eye
    if wanted == "mean" or (wanted != "better" and wanted in recording.eyes):
        return wanted, []
    if wanted != "better":
        raise DataError(
            f"{about} has no {wanted} eye (recorded: {', '.join(recording.eyes)}): "
            'set [fixations] eye = "better" in study.toml.'
        )
    if len(recording.eyes) == 1:
        return recording.eyes[0], []
    errors = {eye: known(last_validation(recording, eye).accuracy_deg) for eye in recording.eyes}
    validated = [eye for eye in recording.eyes if not np.isnan(errors[eye])]
    if validated:
        return min(validated, key=lambda eye: errors[eye]), []
    seen = {eye: int((~np.isnan(recording.samples[f"{eye}_x_px"])).sum()) for eye in recording.eyes}
    better = max(recording.eyes, key=lambda eye: seen[eye])
    return better, [Remark(about, f"neither eye has a validation; the {better} eye is analysed: more of it was seen")]


def lost_share(seen: int, shown_s: float, rate_hz: float) -> float | None:
    """The share, 0 to 1, of the samples that the rate promises which have no gaze or never came.

    seen: how many samples with gaze there are in the `shown_s` of a picture. None where no sample is promised.
    """
    expected = round(shown_s * rate_hz)
    # There may be one sample more than expected.
    return 1 - min(seen, expected) / expected if expected else None


def accuracy_at(recording: Recording, eye: Eye | Literal["mean"], onset_s: float) -> tuple[float, Verdict]:
    """The mean error in degrees of the last validation before a time, and its verdict; NaN where it has no figure.

    Of "mean", both eyes count: their mean error, and the worse verdict.
    """
    eyes = recording.eyes if eye == "mean" else (eye,)
    last = [_validation_before(recording, each, onset_s) for each in eyes]
    verdicts = [verdict_of(validation) for validation in last]
    order: tuple[Verdict, ...] = ("n/a", "no", "overridden", "yes")
    accuracy_deg = float(np.mean([known(validation.accuracy_deg) for validation in last]))
    return round(accuracy_deg, 4), next(verdict for verdict in order if verdict in verdicts)


def last_validation(recording: Recording, eye: Eye) -> EyeValidation:
    """The validation of an eye that was accepted last; one without any figure where there was none."""
    return recording.sidecars[eye].validation or EyeValidation()


def _validation_before(recording: Recording, eye: Eye, onset_s: float) -> EyeValidation:
    """Of the validations that the sidecar lists, the last that began before; where it lists none, the only one."""
    listed = recording.sidecars[eye].validations
    if not listed:
        return last_validation(recording, eye)
    before = [validation for validation in listed if (validation.onset_s or 0.0) <= onset_s]
    return before[-1] if before else EyeValidation()


def verdict_of(validation: EyeValidation) -> Verdict:
    """A validation's verdict on an eye."""
    if validation.passed is None:
        return "n/a"
    return "yes" if validation.passed else "overridden" if validation.overridden_by else "no"


def known(value: float | None) -> float:
    """The value, NaN where it is None."""
    return np.nan if value is None else float(value)
