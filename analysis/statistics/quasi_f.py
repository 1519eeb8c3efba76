"""Whether heads differ when participants and pictures are both random: the quasi-F test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from beholder.shared.arrays import FloatArray


@dataclass(frozen=True)
class HeadEffect:
    """The test of whether heads differ: an F with both degrees of freedom multiplied by epsilon."""

    f: float
    df1: float
    df2: float
    epsilon: float
    p: float


def quasi_f(scores: FloatArray) -> HeadEffect | None:
    """Whether heads differ, from (participants, pictures, heads), both participants and pictures random.

    F'' = (MS_H + MS_HPS) / (MS_HP + MS_HS), with Satterthwaite's degrees of freedom, both multiplied by the
    Huynh-Feldt epsilon of the covariances of the heads' means over participants and over pictures: without it, heads
    that vary unequally are declared different two or three times too often.
    Sources: Clark 1973, doi:10.1016/S0022-5371(73)80014-3; Huynh and Feldt 1976, doi:10.3102/10769986001001069.
    None where the scores leave no error to test against. Raises ValueError where there are fewer than two participants,
    pictures or heads.
    """
    n_p, n_s, n_h = scores.shape
    if min(scores.shape) < 2:
        raise ValueError(f"the head effect needs two participants, pictures and heads; {scores.shape} is invalid")
    # Whatever is common to all heads of a cell has no part in their differences.
    y = scores - scores.mean(axis=2, keepdims=True)
    heads, by_p, by_s = y.mean(axis=(0, 1)), y.mean(axis=1), y.mean(axis=0)
    y_p, y_s = by_p - heads, by_s - heads
    residual = y - y_p[:, None] - y_s[None] - heads
    df_h, df_hp, df_hs = n_h - 1, (n_h - 1) * (n_p - 1), (n_h - 1) * (n_s - 1)
    df_hps = df_hp * (n_s - 1)
    ms_h = n_p * n_s * float((heads**2).sum()) / df_h
    ms_hp, ms_hs = n_s * float((y_p**2).sum()) / df_hp, n_p * float((y_s**2).sum()) / df_hs
    ms_hps = float((residual**2).sum()) / df_hps
    error = ms_hp + ms_hs
    if error <= 0:
        return None
    f = (ms_h + ms_hps) / error
    df1 = (ms_h + ms_hps) ** 2 / (ms_h**2 / df_h + ms_hps**2 / df_hps)
    df2 = error**2 / (ms_hp**2 / df_hp + ms_hs**2 / df_hs)
    epsilon = huynh_feldt_epsilon(y_p, y_s, df2 / df_h)
    p = float(stats.f.sf(f, epsilon * df1, epsilon * df2))
    return HeadEffect(float(f), epsilon * df1, epsilon * df2, epsilon, p)


def huynh_feldt_epsilon(by_participant: FloatArray, by_picture: FloatArray, df: float) -> float:
    """Huynh and Feldt's epsilon of heads' centred means (participants, heads) and (pictures, heads)."""
    covariances = [y.T @ y / ((len(y) - 1) * len(y)) for y in (by_participant, by_picture)]
    return _huynh_feldt(covariances[0] + covariances[1], df)


def _huynh_feldt(covariance: FloatArray, df: float) -> float:
    """Epsilon from the covariance (heads, heads) of centred scores, estimated with `df` degrees of freedom."""
    k = len(covariance) - 1
    box = float(np.trace(covariance) ** 2 / (k * (covariance**2).sum()))
    below = k * (df - k * box)
    corrected = ((df + 1) * k * box - 2) / below if below > 0 else 1.0
    return min(1.0, max(corrected, box))
