"""Gaze samples as they pass between tracker, recorder, data set and analysis: one structured array, one row a sample.

Positions are px of the screen (origin upper left, see `shared.screen`), NaN where the eye was not seen.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Eye = Literal["left", "right"]
Eyes = Literal["left", "right", "both"]

# time_s is the tracker's own clock in seconds; pupils are in the tracker's own unit (the sidecar names it).
SAMPLE = np.dtype(
    [
        ("time_s", np.float64),
        ("left_x_px", np.float64),
        ("left_y_px", np.float64),
        ("left_pupil", np.float64),
        ("right_x_px", np.float64),
        ("right_y_px", np.float64),
        ("right_pupil", np.float64),
    ]
)

Samples = NDArray[np.void]


def no_samples(n: int = 0) -> Samples:
    """`n` samples with time 0 and nothing seen.

    >>> bool(np.isnan(no_samples(1)["left_x_px"][0]))
    True
    """
    samples = np.full(n, np.nan, dtype=np.float64)
    out = np.zeros(n, dtype=SAMPLE)
    for name in SAMPLE.names or ():
        if name != "time_s":
            out[name] = samples
    return out


def eyes_of(eyes: Eyes) -> tuple[Eye, ...]:
    """The eyes that a setting stands for, left first."""
    return ("left", "right") if eyes == "both" else (eyes,)


def position(samples: Samples, eye: Eye | Literal["mean"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions x, y in px, each of shape (n,): of one eye, or the mean of those eyes that were seen."""
    if eye != "mean":
        return samples[f"{eye}_x_px"], samples[f"{eye}_y_px"]

    def mean(axis: str) -> NDArray[Any]:
        both = np.stack([samples[f"left_{axis}_px"], samples[f"right_{axis}_px"]])
        seen = ~np.isnan(both)
        total = np.where(seen, both, 0.0).sum(axis=0)
        return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)

    return mean("x"), mean("y")
