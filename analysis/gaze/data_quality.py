"""How well gaze was measured: which eye is used, data loss while viewing, and what the validations say."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.gaze.rows import table_of
from beholder.analysis.results.tables import QUALITY_COLUMNS
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset.reading import Recording
from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import Eye
from beholder.shared.sidecars import EyeValidation
from beholder.shared.study import FixationSettings


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
    errors = {e: _known(_last_validation(recording, e).accuracy_deg) for e in recording.eyes}
    validated = [e for e in recording.eyes if not np.isnan(errors[e])]
    if validated:
        return min(validated, key=lambda e: errors[e]), []
    seen = {e: int((~np.isnan(recording.samples[f"{e}_x_px"])).sum()) for e in recording.eyes}
    eye = max(recording.eyes, key=lambda e: seen[e])
    return eye, [Remark(about, f"neither eye has a validation; the {eye} eye is analysed: more of it was seen")]


def viewing_quality(
    time_s: FloatArray, seen: NDArray[np.bool_], shown_s: float, rate_hz: float, settings: FixationSettings
) -> dict[str, float]:
    """Data loss, blinks and effective rate in a picture's viewing time.

    time_s: (n,), times of the samples that came, from the picture's onset. seen: (n,), whether they have a position.
    """
    expected = round(shown_s * rate_hz)
    if expected < 1:
        return {"samples_expected": 0.0}
    # Samples that never came are lost as those without a position are. There may be one sample more than expected.
    lost = 1 - min(int(seen.sum()), expected) / expected
    edges = np.concatenate([[-1 / rate_hz], time_s[seen], [shown_s]])
    gaps_s = np.diff(edges) - 1 / rate_hz
    blink_s = float(gaps_s[gaps_s * 1000 > settings.gap_ms + 1e-6].sum())
    return {
        "samples_expected": float(expected), "loss_percent": round(100 * lost, 4),
        "blink_percent": round(min(100 * blink_s / shown_s, 100 * lost), 4),
        "effective_hz": round(float(seen.sum()) / shown_s, 4),
    }  # fmt: skip


def validated(recording: Recording, eye: Eye | Literal["mean"], onset_s: float) -> dict[str, object]:
    """Accuracy and verdict of the last validation before a time, for the eye analysed; NaN and n/a without one."""
    eyes = recording.eyes if eye == "mean" else (eye,)
    last = [_validation_before(recording, e, onset_s) for e in eyes]
    accuracy = np.mean([_known(v.accuracy_deg) for v in last])
    verdicts = [_passed(v) for v in last]
    return {"accuracy_deg": round(float(accuracy), 4),
            "passed": next(v for v in ("n/a", "no", "overridden", "yes") if v in verdicts)}  # fmt: skip


def _last_validation(recording: Recording, eye: Eye) -> EyeValidation:
    """The validation that was accepted last; where there was none, one whose fields are None."""
    return recording.sidecars[eye].validation or EyeValidation()


def _validation_before(recording: Recording, eye: Eye, onset_s: float) -> EyeValidation:
    """The last listed validation that began before a time; where the sidecar lists none, the one accepted last."""
    listed = recording.sidecars[eye].validations
    if not listed:
        return _last_validation(recording, eye)
    before = [v for v in listed if (v.onset_s or 0.0) <= onset_s]
    return before[-1] if before else EyeValidation()


def quality_table(recording: Recording, used: Eye | Literal["mean"]) -> pd.DataFrame:
    """How well each eye was measured: QUALITY_COLUMNS, one row an eye."""
    rows: list[dict[str, object]] = []
    for eye in recording.eyes:
        sidecar, last = recording.sidecars[eye], _last_validation(recording, eye)
        every = sidecar.validations or ([] if sidecar.validation is None else [sidecar.validation])
        by = [v.overridden_by for v in every if v.overridden_by]
        rows.append(
            {"participant": recording.participant, "run": recording.run, "eye": eye, "used": used in (eye, "mean"),
             "passed": _passed(last), "accuracy_deg": _known(last.accuracy_deg),
             "accuracy_worst_deg": _known(last.accuracy_worst_deg), "rms_s2s_deg": _known(last.rms_s2s_deg),
             "sd_deg": _known(last.sd_deg), "loss_percent": _known(last.loss_percent),
             "effective_hz": _known(last.effective_hz), "rate_hz": recording.rate_hz,
             "calibrations": _known(sidecar.calibrations), "validations": len(every),
             "overridden": len(by), "overridden_by": ", ".join(dict.fromkeys(by))}
        )  # fmt: skip
    return table_of(rows, QUALITY_COLUMNS)


def _passed(validation: EyeValidation) -> str:
    """A validation's verdict on an eye: yes, no, overridden (it failed and was accepted all the same), or n/a."""
    if validation.passed is None:
        return "n/a"
    return "yes" if validation.passed else "overridden" if validation.overridden_by else "no"


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)
