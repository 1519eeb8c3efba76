"""Figures' captions, and their alternative texts: the finding in words, for readers who cannot see the figure."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import LayerReading, ObjectLift, Replication, WindowReading
from beholder.analysis.findings.windows import steps
from beholder.analysis.report.figures import quality
from beholder.analysis.report.figures.heads import shown_by_layers
from beholder.analysis.report.labels import head_label, interval, number, plural
from beholder.analysis.report.prose.finding import REFERENCE_WORDS, other_viewers
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results


def heads_caption(s: LayerReading, at: str) -> tuple[str, str]:
    """Caption and alternative text of the heads' figure; `at` names layer and sigma."""
    best, worst = s.best, s.worst
    whole = "bars and bands" if s.references else "bars"
    caption = f"{at}. Dots are means over participants and pictures"
    if best.value.low is None:
        caption += f"; {interval(best.value)}."
    else:
        caption += f"; {whole} are 95 % intervals for new participants and new pictures."
    if best.shuffled is not None:
        caption += " Hollow: the same head's attention on other pictures, which is chance for that head."
    caption += " Blue: the closest head" + (" and those that cannot be told from it." if s.ties else ".")
    alt = f"Heads by {MEASURES[s.measure].label}, {at}. Closest is {head_label(best.map)} with "
    alt += f"{number(best.value.mean)} ({interval(best.value)})"
    if best.shuffled is not None:
        alt += f", against {number(best.shuffled.mean)} by chance"
    if len(s.heads) > 1:
        alt += f"; farthest {head_label(worst.map)} with {number(worst.value.mean)}"
    if s.references:
        alt += ". " + ", ".join(f"{REFERENCE_WORDS[r.map]}: {number(r.value.mean)}" for r in s.references)
    return caption, f"{alt}."


def measures_caption(measures: Sequence[LayerReading], at: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of all measures."""
    caption = f"Heads by every measure. {at}. Marks as in the first figure; each measure has its own scale."
    closest = [f"{head_label(m.ranked[0])} by {MEASURES[m.measure].label}" for m in measures]
    return caption, f"Heads by measure, {at}. Closest: {'; '.join(closest)}."


def sigma_caption(found: Sequence[Replication], label: str) -> tuple[str, str]:
    """Caption and alternative text of the curves over sigma."""
    caption = (
        f"Measures against σ. {label}. Grey: heads; blue: the closest at the best σ; black: their mean; dashed: the "
        "same heads' attention on other pictures. Dots mark the best σ, hollow where it is the end of the sweep."
    )
    parts = []
    for r in found:
        curves = [("best", r.mean_curve), *([("shuffled pictures", r.shuffled_curve)] if r.shuffled_curve else [])]
        said = [
            f"{name} at {c.best_sigma:g}{', the end of the sweep' if c.at_edge else ''}"
            for name, c in curves
            if c.best_sigma is not None
        ]
        if said:
            parts.append(f"{MEASURES[r.measure].label} {', '.join(said)}")
    return caption, f"Measures against sigma, {label}: {'; '.join(parts)}."


def lift_caption(found: Sequence[ObjectLift], label: str) -> tuple[str, str]:
    """Caption and alternative text of the lift's figure."""
    heads = [x for x in found if is_head(x.map)] or list(found)
    top, low = max(heads, key=lambda x: x.lift_pp.mean), min(heads, key=lambda x: x.lift_pp.mean)
    bars = "bars are 95 % intervals over pictures" if top.lift_pp.low is not None else "one picture, so no interval"
    caption = f"Attention on the object beyond its area. {label}. Dots are means over pictures; {bars}."
    alt = f"Lift by head, {label}: most by {head_label(top.map)}, {number(top.lift_pp.mean, 1)} percentage points"
    return caption, f"{alt}; least by {head_label(low.map)}, {number(low.lift_pp.mean, 1)}."


def time_caption(windows: Sequence[WindowReading], s: LayerReading, label: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of viewing time."""
    caption = (
        f"{MEASURES[s.measure].label} in windows of viewing time. {label}. Blue: {head_label(s.ranked[0])}, the "
        "closest over the whole time; black: the mean of heads; green: the centre bias; bars are 95 % intervals. Early "
        "windows follow the dot, and few fixations make a map of each."
    )
    parts = steps(windows)
    first, last = (next(h.value.mean for h in w.heads if h.map == s.ranked[0]) for w in (parts[0], parts[-1]))
    return caption, (
        f"{MEASURES[s.measure].label} of {head_label(s.ranked[0])}, {label}: {number(first)} in the first window, "
        f"{number(last)} in the last."
    )


def areas_caption(areas: pd.DataFrame, s: LayerReading, label: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of the object's parts."""
    caption = (
        f"Where time and attention go, part by part. {label}. Dots are means; bars are 95 % intervals of the share "
        "beyond the part's area (people: new participants and pictures; heads: new pictures)."
    )
    people = areas[(areas["source"] == "people") & (areas["kind"] == "all") & (areas["part"] != "object")]
    top = people.sort_values("share").iloc[-1]
    return caption, f"Shares by part, {label}. People look most at {top['part']}, {number(100 * top['share'], 1)} %."


def models_caption(side_by_side: Sequence[tuple[str, LayerReading]], at: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of models."""
    main = side_by_side[0][1]
    caption = (
        f"{MEASURES[main.measure].label}, {at}, of each model in the layer whose closest head is the closest. Blue: "
        "the closest head; black: the mean of heads; hollow with a line: their attention on other pictures; bars "
        "and bands are 95 % intervals. Head numbers of different models have nothing to do with each other."
    )
    said = [f"{label}: {head_label(s.best.map)} with {number(s.best.value.mean)}" for label, s in side_by_side]
    return caption, f"Models by {MEASURES[main.measure].label}. {'; '.join(said)}."


def layers_caption(
    readings: Sequence[tuple[str, Sequence[LayerReading]]], main: LayerReading, at: str
) -> tuple[str, str]:
    """Caption and alternative text of the tiles of heads by layers.

    readings: as `heads.draw_layers` takes them; `at` names the closest head's layer and sigma.
    """
    shown, others = shown_by_layers(readings), other_viewers(main)
    what = {
        "share": f"Share of the way from the fitted centre bias to {others}",
        "gain": "Gain over chance",
        "score": "Score",
    }[shown]
    caption = f"{what} by head and layer in {MEASURES[main.measure].label}; the same colours for all models. Layers "
    caption += "stand in the order of the model."
    shares = [h.share_over_centre.ratio for _, sounds in readings for s in sounds for h in s.heads]
    if shown == "share" and any(share is not None and share.ratio > 1 for share in shares):
        caption += f" A head with more than 100 predicts people better than {others} do; with few viewers the ceiling "
        caption += "is low."
    return caption, f"{what} of every head in every layer analysed. Closest: {head_label(main.best.map)} of {at}."


def quality_caption(results: Results) -> tuple[str, str]:
    """Caption and alternative text of the figure of data quality."""
    limits, used = results.study.limits, results.quality[results.quality["used"]]
    over = sorted(set(used.loc[used["accuracy_deg"] > limits.accuracy_mean_deg, "participant"]))
    caption = (
        "Quality of the recording, one row a participant. Filled: the eye that was analysed; hollow: the other. "
        "Dashed: the study's limits; red: beyond them."
    )
    alt = "Accuracy, precision, loss and drift by participant. Mean accuracy beyond "
    return caption, f"{alt}{limits.accuracy_mean_deg:g} degrees: {', '.join(over) if over else 'nobody'}."


def trials_caption(results: Results) -> tuple[str, str]:
    """Caption and alternative text of the figure of loss and drift by trial."""
    trials = results.trials
    many = trials["participant"].nunique() > quality.MOST_PARTICIPANTS
    caption = "Loss while the picture stood, and drift on the dot before it, trial by trial in the order seen. "
    caption += (
        "Line: median over participants; band: 5 to 95 % of them; dots: the largest; dashed: the study's limit."
        if many
        else "One tile a trial, one row a participant; ×: left out of the maps; white: not known."
    )
    alt = "Loss and drift by participant and trial. "
    for column, unit, what in (("loss_percent", " %", "loss"), ("drift_deg", " degrees", "drift")):
        known = trials[column].dropna()
        if len(known):
            median, largest = number(float(known.median()), 1), number(float(known.max()), 1)
            alt += f"Median {what} {median}{unit}, largest {largest}{unit}. "
    return caption, alt + f"{int((~trials['included']).sum()):,} of {plural(len(trials), 'trial')} left out."
