"""Mixed models for crossed participants and pictures where cells are missing, fitted by statsmodels.

The model of a score is head + participant + picture + participant x picture + head x participant + head x picture +
residual, all but head random. Fitted as one group of rows it takes minutes. Within a cell (one participant's gaze on
one picture) every head is compared with the same gaze, so that a cell is there for all heads or for none; an
orthonormal rotation of its heads then splits the model into parts whose likelihoods multiply:

1. The mean over heads: participant, picture and, as what is left, participant x picture.
2. The heads - 1 contrasts between heads: head x participant, head x picture, residual; the same variances for each
   contrast. Contrasts are the groups of one fit, each with a heads-th of the rows; what all heads share cancels.

Both are tables (participants, pictures) with a mean and two variance components, which is what `fit_tables` fits by
REML. A single head, a gain or a difference of two heads is such a table too, with variances of its own. On complete
data the results are those of the mean squares where these leave no component negative.

Not here: names of heads, corrections for several tests (findings/layer.py), the epsilon for heads that vary unequally
(quasi_f.py).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec
from threadpoolctl import threadpool_limits

from beholder.analysis.statistics.crossed import bounded_df
from beholder.shared.arrays import FloatArray

# A component below this share of the table's variance is taken to be 0.
NEGLIGIBLE = 1e-5
# A fit has converged where a step of Fisher scoring would add less than this to its log-likelihood.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Fit:
    """Means of tables (participants, pictures), with their standard error for new participants and new pictures.

    means: (tables,); each mean has the same `standard_error` and `df` (Satterthwaite's). The variances are of
    participants, of pictures, and of what is left in a cell. `trouble` says in words where a fit did not converge, else
    it is empty.
    """

    means: FloatArray
    standard_error: float
    df: float
    participant_variance: float
    picture_variance: float
    residual_variance: float
    participants: int
    pictures: int
    trouble: str


@dataclass(frozen=True)
class WaldTest:
    """Whether heads differ: Wald's F of `df1` contrasts, with Satterthwaite's `df2`; `fit` is that of the contrasts."""

    f: float
    df1: float
    df2: float
    fit: Fit


@dataclass(frozen=True)
class Components:
    """Standard deviations of the model's random parts, in the unit of the scores; 0 where none was found."""

    participant: float
    picture: float
    participant_by_picture: float
    head_by_participant: float
    head_by_picture: float
    residual: float


def fit_tables(tables: FloatArray) -> Fit:
    """The means of independent tables (participants, pictures, tables) that have the same variances, by REML.

    A cell counts where it is finite in every table; the others may be NaN. REML by statsmodels; the degrees of freedom
    are Satterthwaite's from the expected information within `bounded_df`, as in the interval of complete data. Scores
    that are all the same have a standard error of 0. Raises ValueError with fewer than two participants or pictures, or
    with too few cells to tell their variances from the residual.
    Sources: Baayen, Davidson and Bates 2008, doi:10.1016/j.jml.2007.12.005; Giesbrecht and Burns 1985,
    doi:10.2307/2530872.
    """
    participant, picture = np.nonzero(np.isfinite(tables).all(axis=2))
    values = tables[participant, picture]
    participant, picture = (np.unique(codes, return_inverse=True)[1] for codes in (participant, picture))
    if not len(values) or min(participant.max(), picture.max()) < 1 or len(values) <= participant.max() + picture.max():
        raise ValueError("it needs two participants, two pictures and more cells than both together")
    n_participants, n_pictures = int(participant.max()) + 1, int(picture.max()) + 1
    levels = min(n_participants, n_pictures)
    scale = float(np.sqrt(((values - values.mean(axis=0)) ** 2).mean()))
    # Rounding alone leaves a spread of some 1e-16 of the scores' size.
    if scale <= 1e-12 * float(np.abs(values).max()):
        return Fit(values.mean(axis=0), 0.0, bounded_df(0.0, levels), 0.0, 0.0, 0.0, n_participants, n_pictures, "")
    z = values / scale
    by_participant, by_picture = np.eye(n_participants)[participant], np.eye(n_pictures)[picture]
    # Threads slow down matrices this small, forty times where other processes want the cores; and with one thread the
    # last digits do not depend on how many cores there are.
    with threadpool_limits(1, user_api="blas"):
        variances, trouble = _reml(z, by_participant, by_picture)
        at = _curvature(z, by_participant, by_picture, variances)
    return Fit(
        means=at.means * scale,
        standard_error=scale * float(np.sqrt(at.variance)),
        df=bounded_df(at.df, levels),
        participant_variance=scale**2 * float(variances[0]),
        picture_variance=scale**2 * float(variances[1]),
        residual_variance=scale**2 * float(variances[2]),
        participants=n_participants,
        pictures=n_pictures,
        trouble=trouble,
    )


def wald_test(scores: FloatArray) -> WaldTest:
    """Whether heads differ, from (participants, pictures, heads); a cell counts where every head has a score.

    Wald's F over the heads - 1 contrasts with Satterthwaite's degrees of freedom for the error: on complete data
    MS_H / (MS_HP + MS_HS - MS_HPS) and its degrees of freedom. Raises ValueError as `fit_tables` does, and where
    heads differ by the same in every cell, which leaves no error to test against.
    """
    contrasts = scores.shape[2] - 1
    fit = fit_tables(scores @ between_heads(scores.shape[2]))
    if fit.standard_error <= 1e-12 * float(np.nanmax(np.abs(scores))):
        raise ValueError("heads differ by the same in every cell, which leaves no error to test against")
    f = float((fit.means**2).sum()) / (contrasts * fit.standard_error**2)
    return WaldTest(f, contrasts, fit.df, fit)


def components(scores: FloatArray, between: Fit) -> Components:
    """Standard deviations of the model's random parts; `between` is the fit of contrasts between heads (`WaldTest`)."""
    n_heads = scores.shape[2]
    common = fit_tables(scores.mean(axis=2, keepdims=True))

    def sd(of_mean: float, of_contrasts: float) -> float:
        return float(np.sqrt(max(0.0, of_mean - of_contrasts / n_heads)))

    return Components(
        participant=sd(common.participant_variance, between.participant_variance),
        picture=sd(common.picture_variance, between.picture_variance),
        participant_by_picture=sd(common.residual_variance, between.residual_variance),
        head_by_participant=float(np.sqrt(between.participant_variance)),
        head_by_picture=float(np.sqrt(between.picture_variance)),
        residual=float(np.sqrt(between.residual_variance)),
    )


def between_heads(n_heads: int) -> FloatArray:
    """Orthonormal contrasts between heads, (heads, heads - 1), in which whatever is common to all heads cancels.

    >>> (between_heads(3).T @ between_heads(3)).round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    helmert = np.tril(np.ones((n_heads, n_heads)), -1)[1:] - np.diag(np.arange(1, n_heads), 1)[:-1]
    contrasts: FloatArray = (helmert / np.linalg.norm(helmert, axis=1, keepdims=True)).T
    return contrasts


def _reml(z: FloatArray, by_participant: FloatArray, by_picture: FloatArray) -> tuple[FloatArray, str]:
    """Variances of participants, pictures and the rest, by statsmodels, and in words what went wrong.

    z: (cells, tables), of variance about 1; by_participant, by_picture: indicators (cells, participants or pictures).
    """
    n_tables = z.shape[1]
    design = [("participant", by_participant), ("picture", by_picture)]
    model = MixedLM(
        endog=z.T.ravel(),
        exog=np.repeat(np.eye(n_tables), len(z), axis=0),
        groups=np.repeat(np.arange(n_tables), len(z)),
        exog_vc=VCSpec(
            [name for name, _ in design],
            [[[str(i) for i in range(m.shape[1])]] * n_tables for _, m in design],
            [[m] * n_tables for _, m in design],
        ),
    )
    first = _moments(z, by_participant, by_picture)
    best, lacking = first, np.inf
    # The quick way from a good start; where it stops short of the maximum, as it does near 0, the robust one.
    for methods in (["bfgs"], ["powell", "bfgs"]):
        at = first
        for method in methods:
            start = MixedLMParams.from_components(np.zeros(n_tables), np.zeros((0, 0)), vcomp=at[:2] / at[2])
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")  # whether it converged is checked below, by a sharper criterion
                    result = model.fit(start_params=start, reml=True, method=method)
            except np.linalg.LinAlgError:
                break
            at = np.maximum(np.append(result.vcomp, result.scale), NEGLIGIBLE / 10)
        found = np.append(np.where(at[:2] > NEGLIGIBLE, at[:2], 0.0), max(at[2], NEGLIGIBLE))
        remaining = _curvature(z, by_participant, by_picture, found).lacking
        if remaining < lacking:
            best, lacking = found, remaining
        if lacking < TOLERANCE:
            return best, ""
    return best, f"a fit stopped {lacking:.2g} of log-likelihood short of its maximum"


def _moments(z: FloatArray, by_participant: FloatArray, by_picture: FloatArray) -> FloatArray:
    """Variances that the search starts from: by the spread of participants', pictures' and cells' scores."""
    n_cells, n_tables = z.shape
    centred = z - z.mean(axis=0)
    means, counts = [], []
    for indicators in (by_participant, by_picture):
        counts.append(indicators.sum(axis=0))
        means.append(indicators.T @ centred / counts[-1][:, None])
    rest = centred - by_participant @ means[0] - by_picture @ means[1]
    df = max(1, n_cells - by_participant.shape[1] - by_picture.shape[1] + 1)
    residual = max(float((rest**2).sum()) / (df * n_tables), 1e-3)
    between = [
        float(mean.var(axis=0, ddof=1).mean()) - residual * float((1 / count).mean())
        for mean, count in zip(means, counts, strict=True)
    ]
    return np.array([*(max(b, 1e-4) for b in between), residual])


@dataclass(frozen=True)
class _Curvature:
    """The REML fit at given variances: means, their variance, its df, and the log-likelihood that it still lacks."""

    means: FloatArray
    variance: float
    df: float
    lacking: float


def _curvature(z: FloatArray, by_participant: FloatArray, by_picture: FloatArray, variances: FloatArray) -> _Curvature:
    """Means, their variance and its degrees of freedom at given variances (participant, picture, residual).

    With V = sum of v_i Z_i Z_i' and P = V^-1 - V^-1 1 (1' V^-1 1)^-1 1' V^-1, all follows from P Z_i and P z: the score
    is (z' P Z_i Z_i' P z - tr Z_i' P Z_i) / 2, the expected information tr(P V_i P V_j) / 2. P V P = P and
    tr(P V) = cells - 1 give the traces that have the residual's identity matrix in them. What the likelihood still
    lacks is half of the score's squared length in the metric of the inverse information, over the variances that are
    free to move: those above 0, and those at 0 whose score is positive.
    """
    n_cells, n_tables = z.shape
    random = np.hstack([np.sqrt(v) * m for v, m in zip(variances[:2], (by_participant, by_picture), strict=True)])
    inner = np.linalg.inv(variances[2] * np.eye(random.shape[1]) + random.T @ random)

    def solve(right: FloatArray) -> FloatArray:
        solved: FloatArray = (right - random @ (inner @ (random.T @ right))) / variances[2]
        return solved

    one = solve(np.ones((n_cells, 1)))
    variance = 1 / float(one.sum())
    means = variance * (one.T @ z)[0]
    factors = (by_participant, by_picture)
    projected = [s - one * (variance * s.sum(axis=0)) for s in map(solve, factors)]
    residual = solve(z - means)

    score, information, gradient = np.zeros(3), np.zeros((3, 3)), np.zeros(3)
    traces = [float((f * p).sum()) for f, p in zip(factors, projected, strict=True)]
    trace_p = (n_cells - 1 - float(variances[:2] @ traces)) / variances[2]
    for i, (factor, p) in enumerate(zip(factors, projected, strict=True)):
        score[i] = (((factor.T @ residual) ** 2).sum() - n_tables * traces[i]) / 2
        information[i, 2] = information[2, i] = (p**2).sum() / 2
        gradient[i] = ((factor.T @ one) ** 2).sum()
        for j, other in enumerate(projected):
            information[i, j] = ((factor.T @ other) ** 2).sum() / 2
    score[2] = ((residual**2).sum() - n_tables * trace_p) / 2
    information[2, 2] = (trace_p / 2 - variances[:2] @ information[:2, 2]) / variances[2]
    gradient[2] = float((one**2).sum())
    information *= n_tables  # the tables are independent
    gradient *= variance**2

    free = (variances > 0) | (score > 0)
    inverse = np.linalg.pinv(information[np.ix_(free, free)])
    lacking = float(score[free] @ inverse @ score[free]) / 2
    positive = variances > 0
    spread = gradient[positive] @ np.linalg.pinv(information[np.ix_(positive, positive)]) @ gradient[positive]
    df = 2 * variance**2 / float(spread) if spread > 0 else 0.0
    return _Curvature(means, variance, df, lacking)
