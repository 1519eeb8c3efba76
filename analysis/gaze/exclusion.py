"""What is left out of the analysis by the limits of study.toml, section [exclusion], before any map is made.

A limit concerns how gaze was measured (loss, drift, validation), never where people looked. A trial without a figure
for a limit is kept: without samples it has no loss, without a drift check no drift. The first limit that a trial breaks
is the reason given for it; trials that did not go as planned keep their own reason. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from beholder.analysis.gaze.rows import NO_FIXATION, NONE_ON_PICTURE, NOT_AS_PLANNED
from beholder.shared.errors import Remark
from beholder.shared.study import ExclusionSettings

# The reasons, in the order in which they are checked.
LIMITS = ("late", "loss", "drift", "accuracy", "no accuracy", "participant")
WORDS = {
    "repeat": "picture seen before",
    "interrupted": "viewing cut short",
    NO_FIXATION: "no fixation",
    NONE_ON_PICTURE: "no fixation on the picture",
    "dot": "under way when the picture appeared",
    "outside": "off the picture",
    "": "no reason given",
}
MOST_NAMED = 8  # trials of one run in a remark; all are in trials.csv


def exclude(
    trials: pd.DataFrame, fixations: pd.DataFrame, settings: ExclusionSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables (TRIAL_COLUMNS, FIXATION_COLUMNS) with the study's limits applied; the arguments do not change.

    Trials over a limit are not included and have the limit as their `why`; so have their fixations that were used.
    """
    why = reasons(trials, settings)
    broken = why.isin(LIMITS)
    trials = trials.assign(why=why, included=why == "", n_used=trials["n_used"].where(~broken, 0))
    keys = ["participant", "run", "trial", "stimulus"]
    over = trials.loc[broken, [*keys, "why"]].drop_duplicates(keys).rename(columns={"why": "limit"})
    limit = fixations.merge(over, on=keys, how="left")["limit"].to_numpy()
    hit = fixations["used"].to_numpy() & ~pd.isna(limit)
    return trials, fixations.assign(
        used=fixations["used"] & ~hit, why=fixations["why"].where(~hit, pd.Series(limit, index=fixations.index))
    )


def reasons(trials: pd.DataFrame, settings: ExclusionSettings) -> pd.Series:
    """The reason why each trial is left out, a limit of the study or another; empty where the trial is included."""
    why = trials["why"].fillna("").astype(object)
    judged = ~why.isin(NOT_AS_PLANNED)
    broken = {
        "late": (trials["status"] == "late") & settings.late,
        "loss": _over(trials["loss_percent"], settings.trial_loss_percent),
        "drift": _over(trials["drift_deg"], settings.trial_drift_deg),
        "accuracy": _over(trials["accuracy_deg"], settings.accuracy_deg),
        # A validation that was made and gave no figure did not meet the limit either; no validation at all is unknown.
        "no accuracy": (trials["accuracy_deg"].isna() & (trials["passed"] != "n/a"))
        & (settings.accuracy_deg is not None),
    }
    for limit, trials_over in reversed(broken.items()):
        why = why.mask(judged & trials_over, limit)
    shown = trials.groupby("participant")["stimulus"].nunique()
    left = trials[why == ""].groupby("participant")["stimulus"].nunique().reindex(shown.index, fill_value=0)
    too_few = set(shown.index[100 * left < settings.participant_percent * shown])
    return why.mask((why == "") & trials["participant"].isin(too_few), "participant")


def _over(values: pd.Series, limit: float | None) -> pd.Series:
    return values > (float("inf") if limit is None else limit)


def in_words(why: str, settings: ExclusionSettings) -> str:
    """A reason in words.

    >>> in_words("loss", ExclusionSettings()), in_words("repeat", ExclusionSettings())
    ('loss over 50 %', 'picture seen before')
    """
    limits = {
        "late": "shown late, or with frames missed",
        "loss": f"loss over {settings.trial_loss_percent:g} %",
        "drift": f"drift over {settings.trial_drift_deg:g}°" if settings.trial_drift_deg is not None else "",
        "accuracy": f"validation error over {settings.accuracy_deg:g}°" if settings.accuracy_deg is not None else "",
        "no accuracy": "a validation target without data",
        "participant": f"less than {settings.participant_percent:g} % of the participant's pictures left",
    }
    return limits.get(why) or WORDS.get(why, why)


def counted(why: Iterable[str], settings: ExclusionSettings) -> str:
    """How often each reason occurs, the most frequent first.

    >>> counted(["repeat", "loss", "loss"], ExclusionSettings())
    'loss over 50 %: 2, picture seen before: 1'
    """
    found = pd.Series(list(why), dtype=object).fillna("").value_counts()
    ordered = sorted(found.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
    return ", ".join(f"{in_words(str(reason), settings)}: {n:,}" for reason, n in ordered)


def rules(settings: ExclusionSettings) -> list[str]:
    """The study's limits in words, for the methods; 100 % loss and 0 % of the pictures are no limits."""
    texts = []
    if settings.late:
        texts.append("trials whose picture was held up beyond the session's limit")
    if settings.trial_loss_percent < 100:
        texts.append(f"trials with more than {settings.trial_loss_percent:g} % of samples lost while the picture stood")
    if settings.trial_drift_deg is not None:
        texts.append(f"trials with more than {settings.trial_drift_deg:g}° of drift on their dot")
    if settings.accuracy_deg is not None:
        texts.append(f"trials after a validation with a mean error over {settings.accuracy_deg:g}° or without data")
    if settings.participant_percent > 0:
        texts.append(f"participants with less than {settings.participant_percent:g} % of their pictures left")
    return texts


def remarks(trials: pd.DataFrame, settings: ExclusionSettings) -> list[Remark]:
    """What was left out of each run and why, and how much by the study's limits altogether."""
    found = []
    by_limit = trials.loc[trials["why"].isin(LIMITS), "why"]
    if len(by_limit):
        text = f"left out {len(by_limit):,} of {len(trials):,} trials ({counted(by_limit, settings)})"
        found.append(Remark("study.toml, [exclusion]", f"{text}; trials.csv names each"))
    others = trials[(trials["why"] != "") & ~trials["why"].isin(LIMITS)]
    for (participant, run, why), rows in others.groupby(["participant", "run", "why"], sort=True):
        named = [f"{t} ({s})" for t, s in zip(rows["trial"], rows["stimulus"], strict=True)]
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        text = f"trial{'s' if len(named) > 1 else ''} {', '.join(named[:MOST_NAMED])}{more}"
        found.append(Remark(f"sub-{participant} run-{run}", f"{text}: {in_words(str(why), settings)}; left out"))
    return found
