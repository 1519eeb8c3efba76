"""Limits of the study: what they leave out is what breaks them, nothing else, and nothing in silence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.analysis.gaze.exclusion import LIMITS, counted, exclude, reasons, remarks, rules
from beholder.analysis.results.tables import FIXATION_COLUMNS, TRIAL_COLUMNS
from beholder.shared.study import ExclusionSettings

NONE = ExclusionSettings(trial_loss_percent=100.0, participant_percent=0.0, late=False)


def trials(*rows: dict[str, object], participant: str = "01") -> pd.DataFrame:
    """Trials that nothing is wrong with, but for what is given."""
    whole: list[dict[str, object]] = []
    for number, row in enumerate(rows, start=1):
        plain = dict.fromkeys(TRIAL_COLUMNS, np.nan) | {
            "participant": participant, "run": 1, "trial": number, "stimulus": f"p{number}", "status": "complete",
            "exposure": "first", "passed": "yes", "accuracy_deg": 0.4, "loss_percent": 3.0, "drift_deg": 0.2,
            "n_fixations": 2, "n_used": 2, "included": True, "why": "",
        }  # fmt: skip
        whole.append(plain | row)
    return pd.DataFrame(whole, columns=list(TRIAL_COLUMNS))


def fixations(of: pd.DataFrame) -> pd.DataFrame:
    """Two fixations a trial, the first not used."""
    rows = []
    for row in of.to_dict("records"):
        for order, why in ((1, "dot"), (2, str(row["why"]))):
            rows.append(
                dict.fromkeys(FIXATION_COLUMNS, 0)
                | {k: row[k] for k in ("participant", "run", "trial", "stimulus")}
                | {"fixation": order, "used": not why, "why": why}
            )
    return pd.DataFrame(rows, columns=list(FIXATION_COLUMNS))


@pytest.mark.parametrize(
    ("settings", "row", "why"),
    [
        ({"trial_loss_percent": 50.0}, {"loss_percent": 50.01}, "loss"),
        ({"trial_loss_percent": 50.0}, {"loss_percent": 50.0}, ""),
        ({"trial_loss_percent": 50.0}, {"loss_percent": np.nan}, ""),
        ({"trial_loss_percent": 50.0}, {"loss_percent": 100.0, "why": "no fixation"}, "loss"),
        ({}, {"loss_percent": 100.0}, ""),
        ({"trial_drift_deg": 1.0}, {"drift_deg": 1.2}, "drift"),
        ({"trial_drift_deg": 1.0}, {"drift_deg": np.nan}, ""),
        ({}, {"drift_deg": 9.0}, ""),
        ({"accuracy_deg": 1.0}, {"accuracy_deg": 1.1}, "accuracy"),
        ({"accuracy_deg": 1.0}, {"accuracy_deg": 0.9, "passed": "overridden"}, ""),
        ({"accuracy_deg": 1.0}, {"accuracy_deg": np.nan, "passed": "overridden"}, "no accuracy"),
        ({"accuracy_deg": 1.0}, {"accuracy_deg": np.nan, "passed": "n/a"}, ""),
        ({}, {"accuracy_deg": 3.0, "passed": "overridden"}, ""),
        ({"trial_loss_percent": 50.0, "trial_drift_deg": 1.0}, {"loss_percent": 60.0, "drift_deg": 2.0}, "loss"),
        ({"trial_loss_percent": 50.0}, {"loss_percent": 60.0, "why": "repeat"}, "repeat"),
        ({"trial_loss_percent": 50.0}, {"loss_percent": 60.0, "why": "interrupted"}, "interrupted"),
    ],
)  # fmt: skip
def test_a_trial_is_left_out_by_the_limit_that_it_breaks(
    settings: dict[str, float], row: dict[str, object], why: str
) -> None:
    found = reasons(trials(row, {}), NONE.model_copy(update=settings))
    assert list(found) == [why, ""]


def test_a_participant_of_whose_pictures_too_few_are_left_is_left_out_and_half_is_enough() -> None:
    lost: dict[str, object] = {"loss_percent": 90.0}
    table = pd.concat([trials(lost, lost, {}, {}), trials(lost, lost, lost, {}, participant="02")], ignore_index=True)
    found = reasons(table, ExclusionSettings())
    assert list(found) == ["loss", "loss", "", "", "loss", "loss", "loss", "participant"]
    assert list(reasons(table, ExclusionSettings(participant_percent=0.0)))[-1] == ""


def test_a_picture_that_was_shown_twice_counts_once() -> None:
    twice = trials({"why": "interrupted", "stimulus": "p1"}, {"why": "repeat", "stimulus": "p1"}, {})
    assert list(reasons(twice, ExclusionSettings())) == ["interrupted", "repeat", ""]


def test_fixations_follow_their_trial_and_keep_reasons_of_their_own() -> None:
    table = trials({"loss_percent": 80.0}, {}, {}, {})
    before = table.copy(), fixations(table)
    kept, seen = exclude(table, before[1], ExclusionSettings())
    assert list(kept["why"]) == ["loss", "", "", ""] and list(kept["included"]) == [False, True, True, True]
    assert list(kept["n_used"]) == [0, 2, 2, 2]
    assert list(seen["why"])[:4] == ["dot", "loss", "dot", ""] and list(seen["used"])[:4] == [False, False, False, True]
    pd.testing.assert_frame_equal(table, before[0])
    pd.testing.assert_frame_equal(fixations(table), before[1])


figures = st.one_of(st.just(float("nan")), st.floats(0, 100))


@given(st.lists(st.tuples(st.integers(1, 4), figures, figures, figures), min_size=1, max_size=30))
def test_what_is_left_is_within_every_limit_and_only_what_breaks_one_is_gone(
    rows: list[tuple[int, float, float, float]],
) -> None:
    settings = ExclusionSettings(trial_loss_percent=50, trial_drift_deg=10, accuracy_deg=20, participant_percent=30)
    table = trials(
        *({"participant": f"0{p}", "loss_percent": a, "drift_deg": b, "accuracy_deg": c} for p, a, b, c in rows)
    )
    why = reasons(table, settings)
    for reason, (_, loss, drift, accuracy) in zip(why, rows, strict=True):
        breaks = loss > 50 or drift > 10 or not accuracy <= 20
        assert (reason in LIMITS and reason != "participant") == breaks
    for _, own in table.assign(why=why).groupby("participant"):
        left, gone = (own["why"] == "").mean(), (own["why"] == "participant").any()
        assert not gone or left == 0
        assert left == 0 or left >= 0.3
    # Rows in another order are judged the same.
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_series_equal(reasons(shuffled, settings).sort_index(), why)


def test_no_trials_at_all_are_no_trouble() -> None:
    kept, seen = exclude(trials(), fixations(trials()), ExclusionSettings(trial_drift_deg=1.0, accuracy_deg=1.0))
    assert kept.empty and seen.empty and remarks(kept, ExclusionSettings()) == []


def test_what_was_left_out_is_counted_by_limit_and_named_by_run() -> None:
    table, _ = exclude(
        trials({"loss_percent": 80.0}, {"loss_percent": 70.0}, {"why": "interrupted"}, *[{}] * 9),
        fixations(trials({})),
        ExclusionSettings(trial_drift_deg=1.5),
    )
    said = [str(r) for r in remarks(table, ExclusionSettings())]
    assert said == [
        "study.toml, [exclusion]: left out 2 of 12 trials (loss over 50 %: 2); trials.csv names each",
        "sub-01 run-1: trial 3 (p3): viewing cut short; left out",
    ]
    assert counted(["loss", "", "loss"], ExclusionSettings()) == "loss over 50 %: 2, no reason given: 1"


def test_every_limit_is_named_and_those_that_are_not_set_are_not() -> None:
    assert rules(NONE) == rules(ExclusionSettings(trial_loss_percent=100, participant_percent=0, late=False)) == []
    every = " ".join(rules(ExclusionSettings(trial_drift_deg=1.5, accuracy_deg=0.8)))
    assert all(text in every for text in ("50 % of samples", "1.5°", "0.8°", "50 % of their pictures"))
