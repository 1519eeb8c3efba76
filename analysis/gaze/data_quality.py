"""How well gaze was measured: data loss while viewing, and what the validations say of each eye."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.gaze.rows import table_of
from beholder.analysis.results.tables import QUALITY_COLUMNS
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset.gaze_quality import known, last_validation, lost_share, verdict_of
from beholder.shared.dataset.reading import Recording
from beholder.shared.gaze import Eye
from beholder.shared.study import FixationSettings


def viewing_quality(
    time_s: FloatArray, seen: NDArray[np.bool_], shown_s: float, rate_hz: float, settings: FixationSettings
) -> dict[str, float]:
    """Data loss, blinks and effective rate in a picture's viewing time.

    time_s: (n,), times of the samples that came, from the picture's onset. seen: (n,), whether they have a position.
    """
    lost = lost_share(int(seen.sum()), shown_s, rate_hz)
    if lost is None:
        return {"samples_expected": 0.0}
    edges = np.concatenate([[-1 / rate_hz], time_s[seen], [shown_s]])
    gaps_s = np.diff(edges) - 1 / rate_hz
    blink_s = float(gaps_s[gaps_s * 1000 > settings.gap_ms + 1e-6].sum())
    return {
        "samples_expected": float(round(shown_s * rate_hz)), "loss_percent": round(100 * lost, 4),
        "blink_percent": round(min(100 * blink_s / shown_s, 100 * lost), 4),
        "effective_hz": round(float(seen.sum()) / shown_s, 4),
    }  # fmt: skip


def quality_table(recording: Recording, used: Eye | Literal["mean"]) -> pd.DataFrame:
    """How well each eye was measured: QUALITY_COLUMNS, one row an eye."""
    rows: list[dict[str, object]] = []
    for eye in recording.eyes:
        sidecar, last = recording.sidecars[eye], last_validation(recording, eye)
        every = sidecar.validations or ([] if sidecar.validation is None else [sidecar.validation])
        by = [v.overridden_by for v in every if v.overridden_by]
        rows.append(
            {"participant": recording.participant, "run": recording.run, "eye": eye, "used": used in (eye, "mean"),
             "passed": verdict_of(last), "accuracy_deg": known(last.accuracy_deg),
             "accuracy_worst_deg": known(last.accuracy_worst_deg), "rms_s2s_deg": known(last.rms_s2s_deg),
             "sd_deg": known(last.sd_deg), "loss_percent": known(last.loss_percent),
             "effective_hz": known(last.effective_hz), "rate_hz": recording.rate_hz,
             "calibrations": known(sidecar.calibrations), "validations": len(every),
             "overridden": len(by), "overridden_by": ", ".join(dict.fromkeys(by))}
        )  # fmt: skip
    return table_of(rows, QUALITY_COLUMNS)
