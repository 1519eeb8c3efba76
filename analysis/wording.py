"""What the report says in words: the first sentence, the notes under it, captions, the statistics' and methods' prose.

Every sentence is made from results and settings alone and says no more than they carry: simulated observers are never
called people, stand-in weights and what was left out are named, and what was not tested is not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beholder.analysis import figures
from beholder.analysis.alignment.measures import MEASURES, Measure
from beholder.analysis.attention.map_names import is_head
from beholder.analysis.figures import UNITS, head_label
from beholder.analysis.findings.layer import FITTED_CENTRE
from beholder.analysis.findings.readings import (
    BestSigma,
    Choice,
    Inference,
    Lift,
    MapReading,
    Replication,
    Sound,
    WindowReading,
)
from beholder.analysis.gaze.exclusion import LIMITS, counted, rules
from beholder.analysis.results.study_results import ModelSummary, Results
from beholder.analysis.statistics.crossed import FEWEST_LEVELS, LEVEL, Estimate, Share
from beholder.analysis.statistics.quasi_f import HeadEffect
from beholder.shared.study import Study

REFERENCES_FILE = Path(__file__).resolve().parent / "templates" / "references.bib"
MINUS = "\u2212"
MOST_HEADS = 8  # named in the first sentence
REFERENCE_WORDS = {
    "centre": "a Gaussian at the centre", "centre-fitted": "a centre bias fitted to other pictures",
    "uniform": "an even spread", "object": "an even spread over the object",
    "random": "the same network with random weights", "others": "the other viewers",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What was found: one sentence, and what must be known with it, each a lead and a text.

    With few participants neither speaks of heads: that is then said in `of_heads` and `notes_on_heads`, which stand
    where heads are shown.
    """

    sentence: str
    notes: tuple[tuple[str, str], ...]
    of_heads: str = ""
    notes_on_heads: tuple[tuple[str, str], ...] = ()


# Numbers and lists.


def number(value: float, decimals: int = 2) -> str:
    """A number with a fixed number of decimals and a true minus sign.

    >>> number(-0.123) == "\u22120.12", number(-0.001)
    (True, '0.00')
    """
    text = f"{value:.{decimals}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def interval(estimate: Estimate, decimals: int = 2) -> str:
    """An interval in words, or why there is none.

    >>> interval(Estimate(0.5, 0.25, 0.75, 0.1, 9.0, 0.01, 6, 4))
    '95 % interval 0.25 to 0.75'
    """
    if estimate.low is not None and estimate.high is not None:
        return f"95 % interval {number(estimate.low, decimals)} to {number(estimate.high, decimals)}"
    if estimate.participants == 1:
        return "no interval, as there is one participant"
    return "no interval, as there is one picture"


def p_value(p: float | None) -> str:
    """A p value as journals print it.

    >>> p_value(0.0004), p_value(0.0314), p_value(1.0)
    ('< .001', '.031', '1.000')
    """
    if p is None or unknown(p):
        return "n/a"
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def cell(value: Any, column: str = "") -> str:
    """A table's cell as it is read: three decimals at most, one of per cent, p values as printed, unknown as n/a."""
    if unknown(value):
        return "n/a"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if column == "p" or column.startswith("p ("):
        return p_value(float(value))
    if column == "measure":
        return str(value).upper()
    if column.startswith("df") and isinstance(value, float | np.floating):
        return number(float(value), 1)
    if column.endswith("(%)"):
        return number(float(value), 1)
    if isinstance(value, float | np.floating):
        size = abs(float(value))
        return number(float(value), 3 if size < 10 else 2 if size < 100 else 1)
    return str(value)


def amount(value: float, measure: Measure) -> str:
    """A difference by a measure, with its unit and name.

    >>> amount(0.5, MEASURES["nss"]), amount(0.5, MEASURES["cc"])
    ('0.50 SD of NSS', "0.50 in Pearson's CC")
    """
    return f"{number(value)} {measure.unit + ' of ' if measure.unit else 'in '}{measure.label}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence has them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def heads_listed(heads: Sequence[str]) -> str:
    """Heads as a sentence has them, in the order of their numbers.

    >>> heads_listed(["head-03"]), heads_listed(["head-11", "head-02"])
    ('head 3', 'heads 2 and 11')
    """
    if len(heads) == 1:
        return head_label(heads[0])
    return f"heads {listed([str(int(h.removeprefix('head-'))) for h in sorted(heads)])}"


def plural(n: int, word: str) -> str:
    """A count with its noun.

    >>> plural(1, "picture"), plural(12000, "picture")
    ('1 picture', '12,000 pictures')
    """
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def unknown(value: Any) -> bool:
    """Whether a value is None, NaN or infinite."""
    return value is None or (isinstance(value, float | np.floating) and not math.isfinite(value))


def known_mean(values: pd.Series) -> float | None:
    """The mean of what is known, or None where nothing is."""
    return float(values.mean()) if values.notna().any() else None


def known_median(values: pd.Series) -> float | None:
    """The median of what is known, or None where nothing is."""
    return float(values.median()) if values.notna().any() else None


def known_total(values: pd.Series) -> int | None:
    """The sum of counts that are known, or None where none is."""
    return int(values.sum()) if values.notna().any() else None


# Names.


def sigma_text(study: Study, sigma: float) -> str:
    """Sigma with its unit."""
    return f"{sigma:g}{UNITS[study.maps.sigma_unit]}"


def model_of(results: Results, name: str) -> ModelSummary:
    """What is known of a model."""
    return next(m for m in results.summary.models if m.name == name)


def short_label(model: ModelSummary) -> str:
    """A model's label up to its first colon, behind which it says more than a caption can hold."""
    return model.label.partition(":")[0]


def layer_label(results: Results, model: str, layer: int) -> str:
    """A layer as it is named in captions."""
    return f"{short_label(model_of(results, model))}, layer {layer}"


def layer_words(results: Results, model: str, layer: int) -> str:
    """A layer as a sentence names it."""
    return "the last layer" if layer == model_of(results, model).layers else f"layer {layer}"


def viewers(results: Results, n: int) -> str:
    """Who looked, never calling the simulated people."""
    simulated = results.summary.simulated
    if simulated == 0:
        return "1 person" if n == 1 else f"{n:,} people"
    if simulated >= results.summary.participants:
        return plural(n, "simulated observer")
    return f"{n:,} viewers ({simulated:,} of all {results.summary.participants:,} simulated)"


def thing(results: Results) -> str:
    """What was looked at: objects where every picture says where its object is, pictures otherwise."""
    masked = results.attention_table["lift_pp"].notna()
    return "object" if masked.any() and masked.all() else "picture"


# The first screen.


def finding(results: Results, inference: Inference) -> Finding:
    """The result in one sentence, and right under it what must not be overlooked."""
    main, choice = inference.main(), inference.choices[0]
    model = model_of(results, main.model)
    weights = " with stand-in weights" if model.stand_in else ""
    pictures = len(choice.chosen_on) + choice.reading.value.pictures
    seen = plural(pictures, thing(results))
    head = f"{head_label(choice.map)} of {layer_words(results, main.model, main.layer)}"
    who = viewers(results, main.best.value.participants)
    programmed = results.summary.observers.rstrip(".")
    if programmed and results.summary.simulated >= results.summary.participants:
        who += f", {programmed},"
    subject = f"{who} and {short_label(model)}{weights} on {seen}"
    if choice.chosen_on:
        chosen_on = plural(len(choice.chosen_on), thing(results))
        comes = f"is the closest on {chosen_on}; on the other {choice.reading.value.pictures} it is"
    else:
        comes = "comes closest to where they looked," if choice.candidates > 1 else "is the only head,"
    how_far = f"{_above_chance(main, choice)}{_share_of_the_way(main, choice.reading.share)}"
    found = f"{head} {comes} {how_far}{_beside_other_heads(choice)}{_closer_still(main, choice)}"
    on_heads = tuple(_notes_on_heads(results, inference, main))
    if few(results):
        if loses_to_even_spread(main):
            found = "no head comes closer to where they looked than an even spread over the picture does"
        too_few = f"too few for conclusions about others, which take {FEWEST_LEVELS} participants"
        notes = tuple(_notes_on_data(results, main, ""))
        return Finding(f"{subject}: {too_few}.", notes, f"Among these, {found}.", on_heads)
    named = f"{head_label(choice.map)} of {layer_label(results, main.model, main.layer)}"
    *loud, left_out_of_it = _notes_on_data(results, main, named)
    return Finding(f"{subject}: {found}.", (*loud, *on_heads, left_out_of_it))


def few(results: Results) -> bool:
    """Whether the maps have too few participants for conclusions about others: quality and pictures then come first."""
    kept = results.trials.loc[results.trials["included"], "participant"]
    return int(kept.nunique()) < FEWEST_LEVELS


def loses_to_even_spread(main: Sound) -> bool:
    """Whether an even spread over the picture is closer to people than the closest head, by the means alone.

    Measures that are not defined for an even map have 0 for what tells nothing of where people looked.
    """
    even = next((r for r in main.references if r.map == "uniform"), None)
    if even is not None:
        return even.lead.mean < 0
    return main.measure in ("cc", "nss") and main.best.value.mean < 0


def _share_of_the_way(main: Sound, share: Share) -> str:
    """How far the head that is named gets from chance to the other viewers; nothing where that is not known."""
    others = other_viewers(main)
    if share.ratio is None:
        return ""
    why = why_of_share(share, main, "")
    return f", {_percent(share)} of the way from there to {others}{_interval_of(share)}{f', {why}' if why else ''}"


def other_viewers(main: Sound) -> str:
    """The ceiling by name: it depends on how many the others are."""
    if main.other_viewers is None:
        return "the other viewers"
    fewest, most = main.other_viewers
    if most == 1:
        return "the other viewer"
    return f"the other {fewest} to {most} viewers" if fewest < most else f"the other {most} viewers"


def why_of_share(share: Share, main: Sound, floor: str) -> str:
    """Why a share from `floor` to the other viewers is blank, or how it can be above 100 %; else nothing."""
    others = other_viewers(main)
    if share.ratio is not None:
        return _above_all(others) if share.ratio.ratio > 1 else ""
    measure = MEASURES[main.measure]
    return {
        "measure": f"{measure.label} has no ceiling: {measure.no_best_map}",
        "floor": f"{floor} has no score",
        "others": f"there is no map of other viewers that is known to be best by {measure.label}",
        "cells": "no participant has all three scores on a picture",
        "interval": "one participant or picture gives no interval",
        "room": f"{others} are not shown to be closer than {floor}",
    }.get(share.blank, "")


def _above_all(others: str) -> str:
    return f"more than 100 %, as here it predicts people better than {others} do; with few viewers the ceiling is low"


def _percent(share: Share) -> str:
    assert share.ratio is not None
    return f"{number(100 * share.ratio.ratio, 0)} %"


def _interval_of(share: Share) -> str:
    """The interval of a share in brackets, after a space; nothing where it has none."""
    if share.ratio is None or share.ratio.low is None or share.ratio.high is None:
        return ""
    return f" (95 % interval {number(100 * share.ratio.low, 0)} to {number(100 * share.ratio.high, 0)})"


def _closer_still(main: Sound, choice: Choice) -> str:
    """What is closer to people than the head that is named, though no head: the mean of heads, the fitted centre bias.

    Only where the interval of the difference says so; `what_beats_the_closest_head` has the figures.
    """
    if choice.map != main.best.map:
        return ""
    closer = [name for name, lead in _rivals(main) if lead.high is not None and lead.high < 0]
    return f"; {listed(closer)} {'comes' if len(closer) == 1 else 'come'} closer still" if closer else ""


def _rivals(main: Sound) -> list[tuple[str, Estimate]]:
    """The mean of several heads and the fitted centre bias, and by how much the closest head is closer than each."""
    of_heads = zip(main.summaries, main.leads_over_summaries, strict=True)
    return [
        *((f"the {head_label(m.map)}", lead) for m, lead in of_heads if m.map == "mean" and len(main.heads) > 1),
        *((REFERENCE_WORDS[r.map], r.lead) for r in main.references if r.map == FITTED_CENTRE),
    ]


def what_beats_the_closest_head(main: Sound) -> tuple[str, str] | None:
    """Of the mean of the heads and the fitted centre bias, those that the closest head is not shown to beat; or None.

    Only an interval without 0 makes "closer"; the centre's share of the way stands beside the head's.
    """
    unit = f" {MEASURES[main.measure].unit}" if MEASURES[main.measure].unit else ""
    way, own, gone = main.share_of_centre, main.best.share, ""
    if way.ratio is not None and own.ratio is not None:
        why = why_of_share(way, main, "") or why_of_share(own, main, "")
        gone = (
            f", and has gone {_percent(way)} of the way from the closest head's chance to {other_viewers(main)}"
            f"{_interval_of(way)}, the head {_percent(own)}{f' ({why})' if why else ''}"
        )
    said = []
    for name, lead in _rivals(main):
        more = gone if name == REFERENCE_WORDS[FITTED_CENTRE] else ""
        by = _negated(lead) if lead.mean < 0 else lead
        how_much = f"{number(by.mean)}{unit}"
        if lead.high is not None and lead.high < 0:
            said.append(f"{name} is closer to people, by {how_much} ({interval(by)}){more}")
        elif lead.low is None or lead.low <= 0:
            side = "closer" if lead.mean >= 0 else "farther"
            said.append(
                f"{name} is not shown to be farther from people (the head is {how_much} {side}, {interval(by)}){more}"
            )
    return ("What the closest head does not beat:", f"{'; '.join(said)}.") if said else None


def between_floor_and_ceiling(main: Sound) -> tuple[str, str]:
    """How far the closest head gets from its own chance, and from the floor that all heads share; or why not."""
    lead, own, common = "Between floor and ceiling.", main.best.share, main.best.share_over_centre
    if own.blank == common.blank == "measure":
        return lead, f"No share of the way, for {why_of_share(own, main, '')}."
    gone, blank = [], []
    for share, floor in ((own, "its own attention on other pictures"), (common, REFERENCE_WORDS[FITTED_CENTRE])):
        why = why_of_share(share, main, floor)
        if share.ratio is None:
            blank.append(f"No share of the way from {floor}: {why}.")
            continue
        if share.ratio.ratio < 0:
            why = "less than 0, for it is farther from people than that"
        to = f"{other_viewers(main)}{_interval_of(share)}{f', {why}' if why else ''}"
        gone.append(f"{_percent(share)} of the way from {floor} to {to}")
    text = " ".join([f"The closest head has gone {'; and '.join(gone)}."] * bool(gone) + blank)
    if common.ratio is not None:
        text += " From the centre bias heads compare, as it is one floor for all."
    return lead, text


def _above_chance(main: Sound, choice: Choice) -> str:
    """How far the head that is named is above chance, or its score where chance is not known.

    What is claimed goes by permuted pictures, corrected for all heads and layers that it was chosen from: the interval
    does not know of that choice.
    """
    measure, gain = MEASURES[main.measure], choice.reading.gain
    if gain is None:
        value = choice.reading.value
        score = f"{measure.label} {number(value.mean)}{' ' + measure.unit if measure.unit else ''}"
        return f"with {score} ({interval(value)}), and how far above chance that is cannot be said"
    away = gain if gain.mean >= 0 else _negated(gain)
    direction = "closer" if gain.mean >= 0 else "farther"
    among = "" if choice.chosen_on or choice.candidates == 1 else f" over all {choice.candidates} heads"
    tested = "" if choice.p is None else f"; p {_p_equals(choice.p)} by permuted pictures{among}"
    text = (
        f"{amount(away.mean, measure)} {direction} than its own attention on other pictures ({interval(away)}{tested})"
    )
    return text if choice.above_chance else f"{text}, not shown to be above chance"


def _negated(e: Estimate) -> Estimate:
    low, high = (None if e.high is None else -e.high), (None if e.low is None else -e.low)
    return replace(e, mean=-e.mean, low=low, high=high)


def _beside_other_heads(choice: Choice) -> str:
    """Which heads, of any layer, cannot be told from the one that is named."""
    others = choice.candidates - 1
    if not others:
        return ""
    of_all = " of any layer" if choice.layers > 1 else ""
    if choice.ties is None:
        return "; whether the other heads differ from it cannot be tested"
    if len(choice.ties) == others:
        return f"; none of the others{of_all} can be told from it"
    if len(choice.ties) > MOST_HEADS:
        return f"; {len(choice.ties)} of the other {others} heads{of_all} cannot be told from it"
    if choice.ties:
        return f"; {_heads_by_layer(choice)} cannot be told from it"
    return f"; every other head{of_all} is farther"


def _heads_by_layer(choice: Choice) -> str:
    """The heads that cannot be told from the one that is named, those of other layers with their layer."""
    layers = sorted({layer for layer, _ in choice.ties or ()}, key=lambda layer: (layer != choice.layer, layer))
    parts = []
    for layer in layers:
        heads = heads_listed([name for of, name in choice.ties or () if of == layer])
        parts.append(heads if layer == choice.layer else f"{heads} of layer {layer}")
    return listed(parts)


def _notes_on_data(results: Results, main: Sound, found: str) -> Iterable[tuple[str, str]]:
    """Whether people and weights are real, and what was left out; `found`: the closest head."""
    if results.summary.simulated:
        programmed = results.summary.observers.rstrip(".") or "not stated in the data"
        yield (
            "Simulated, not people."
            if results.summary.simulated >= results.summary.participants
            else "Partly simulated.",
            f"How their gaze was made: {programmed}.{f' What was found: {found} is the closest.' if found else ''}",
        )
    for model in results.summary.models:
        if model.stand_in:
            used = model.weights.rstrip(".")
            yield "Stand-in weights.", f"{model.label} ({used}). Fit to try the method out, not for a publication."
    yield "Left out:", left_out(results, main)


def _notes_on_heads(results: Results, inference: Inference, main: Sound) -> Iterable[tuple[str, str]]:
    """What must be known with the head that is named."""
    if main.best.gain is None:
        yield "Chance is not known,", "for no picture's gaze was compared with the attention on other pictures."
    if main.references:
        at = f"in {MEASURES[main.measure].label}, at σ = {sigma_text(results.study, main.sigma)}"
        objects = [r for r in main.references if (r.map, main.measure) == ("object", "kl")]
        text = f"it {_beside_references(main)}; {at}."
        if objects:
            # Without support outside the object, its divergence is what epsilon makes it.
            text += (
                f" An even spread over the object has {number(objects[0].value.mean)}, which only says how often "
                "people looked elsewhere: it is zero there, and the measure's epsilon sets the price."
            )
        yield "Beside maps that know no trained model,", text
    beaten_by = what_beats_the_closest_head(main)
    if beaten_by is not None:
        yield beaten_by
    yield between_floor_and_ceiling(main)
    gains = [(h.gain.mean, h.map) for h in main.heads if h.gain is not None]
    if gains and max(gains)[1] != main.best.map:
        most, name = max(gains)
        yield (
            "By gain over chance another head leads:",
            f"{head_label(name)}, {number(most)} closer than its own attention on other pictures. A sharp map gains "
            "more over chance than an even one of the same score.",
        )
    yield from _how_chosen(main, inference.choices[0])
    for other in inference.choices[1:]:
        where = layer_words(results, other.model, other.layer)
        yield (
            f"{short_label(model_of(results, other.model))}:",
            f"{head_label(other.map)} of {where} comes closest, {_above_chance(main, other)}.",
        )


def _how_chosen(main: Sound, choice: Choice) -> Iterable[tuple[str, str]]:
    """On what the head was chosen, and what its figures therefore do and do not allow for."""
    if choice.candidates == 1:
        return
    layers = f" in {choice.layers} layers" if choice.layers > 1 else ""
    among = f"{choice.candidates} heads{layers}"
    if choice.chosen_on:
        closest = "it" if main.best.map == choice.map else head_label(main.best.map)
        yield (
            "Chosen on half of the pictures.",
            f"It is the closest of {among} on {listed(choice.chosen_on)}. Its figures are those of the other pictures, "
            "and of their attention alone, so that they owe nothing to the choice. On all pictures together "
            f"{closest} is the closest head of its layer.",
        )
        return
    tested = "" if choice.p is None else (
        " Whether it is above chance is judged by permuted pictures, corrected for all of these heads."
    )  # fmt: skip
    yield (
        "Chosen among many.",
        f"It is the closest of {among}; its interval is not widened for that choice.{tested} With "
        'choose_on = "half" in [alignment] it is chosen on half of the pictures and estimated on the other.',
    )


def _beside_references(main: Sound) -> str:
    """Which of centre, even spread and object the closest head is closer than, farther than, or neither."""
    verdicts: dict[str, list[str]] = {"is closer than": [], "is farther than": [], "is not shown to be closer than": []}
    for r in main.references:
        # Of two Gaussians the fitted one is the stronger; the ceiling is told with the shares of the way.
        fitted = any(other.map == "centre-fitted" for other in main.references)
        if (r.map, main.measure) == ("object", "kl") or r.map == "others" or (r.map == "centre" and fitted):
            continue
        lead = r.lead
        if lead.low is not None and lead.low > 0:
            verdict = "is closer than"
        elif lead.high is not None and lead.high < 0:
            verdict, lead = "is farther than", _negated(lead)
        else:
            verdict = "is not shown to be closer than"
        verdicts[verdict].append(f"{REFERENCE_WORDS[r.map]} (by {number(lead.mean)}, {interval(lead)})")
    return ", and ".join(f"{verdict} {listed(maps)}" for verdict, maps in verdicts.items() if maps)


def left_out(results: Results, main: Sound | None = None) -> str:
    """What did not go into the maps, and into the intervals of `main`; that nothing was left out is said too."""
    trials, fixations = results.trials, results.fixations
    kept = trials[trials["included"]]
    parts = []
    nobody = sorted(set(trials["participant"]) - set(kept["participant"]))
    if nobody:
        parts.append(f"{plural(len(nobody), 'participant')} altogether ({', '.join(nobody)})")
    for rows, all_rows, word in (
        (trials[~trials["included"]], trials, "trial"),
        (fixations[~fixations["used"]], fixations, "fixation"),
    ):
        if len(rows):
            parts.append(
                f"{len(rows):,} of {plural(len(all_rows), word)} ({counted(rows['why'], results.study.exclusion)})"
            )
    text = f"{listed(parts)}." if parts else "nothing: every trial and every fixation went into the maps."
    if main is not None:
        n, of = main.best.value.participants, kept["participant"].nunique()
        m, of_pictures = main.best.value.pictures, kept["stimulus"].nunique()
        if (n, m) != (of, of_pictures):
            text += (
                f" The intervals need every participant on every picture, and rest on {n} of {of} participants and {m} "
                f"of {of_pictures} pictures."
            )
    return text


def limits_sentence(results: Results) -> str:
    """The study's limits, set before the maps are made, and what they left out; that there are none is said too."""
    settings = results.study.exclusion
    if "imported" in results.summary.source:
        # Whether those were late nobody knows.
        settings = settings.model_copy(update={"late": False})
    said = rules(settings)
    if not said:
        return "The study sets no limits to loss, drift or accuracy: no trial was left out by any."
    # What has no samples has no figure to be judged by.
    unknown = int(results.trials["loss_percent"].isna().sum())
    text = f"By the study's limits {listed(said)} are left out before maps are made: "
    n = int(results.trials["why"].isin(LIMITS).sum())
    text += f"{f'{n:,}' if n else 'none'} of {plural(len(results.trials), 'trial')}."
    if unknown:
        text += f" {plural(unknown, 'trial')} without samples {'has' if unknown == 1 else 'have'} no loss to judge by."
    return text


def drift_sentences(results: Results, inference: Inference) -> list[str]:
    """How large drift was, and what its correction does to the heads' reading; nothing where none was measured."""
    every, limit = results.trials["drift_deg"], results.study.limits.drift_deg
    known = every.dropna()
    if known.empty:
        return []
    missing = len(every) - len(known)
    texts = [
        f"Drift, measured on the dot of {len(known):,} of {plural(len(every), 'trial')}, has a median of "
        f"{number(float(known.median()))}° and is at most {number(float(known.quantile(0.9)))}° in 90 % of them; "
        f"{plural(int((known > limit).sum()), 'trial')} drifted by more than {limit:g}°, and "
        f"{'none is' if missing == 0 else plural(missing, 'trial') + (' is' if missing == 1 else ' are')} without a "
        "figure."
    ]
    main = inference.main()
    other = inference.other_drift_of(main)
    if other is not None:
        moved = max(abs(_gain_or_score(b) - _gain_or_score(other.head(b.map))) for b in main.heads)
        corrected = results.study.fixations.correct_drift
        of = "gain over chance" if main.best.gain is not None else "score"
        same = main.ranked[0] == other.ranked[0]
        closest = f"{head_label(other.ranked[0])} {'stays' if same else 'would be'} the closest"
        texts.append(
            f"The main analysis {'corrects' if corrected else 'does not correct'} it. "
            f"{'Without' if corrected else 'With'} the correction {closest}, and no head's {of} differs by more than "
            f"{amount(moved, MEASURES[main.measure])}."
        )
    return texts


def _gain_or_score(head: MapReading) -> float:
    return head.value.mean if head.gain is None else head.gain.mean


def counts(results: Results) -> dict[str, Any]:
    """How much there is, with which the section on quality begins."""
    trials, fixations, quality = results.trials, results.fixations, results.quality
    included = trials[trials["included"]]
    return {
        "participants": trials["participant"].nunique(),
        "participants_kept": included["participant"].nunique(),
        "trials": len(trials),
        "trials_kept": len(included),
        "fixations": len(fixations),
        "fixations_kept": int(fixations["used"].sum()),
        "empty": int((included["n_used"] == 0).sum()),
        "per_trial": float(included["n_used"].mean()) if len(included) else 0.0,
        "lost": known_mean(trials["loss_percent"]),
        "limits": limits_sentence(results),
        "outside": known_mean(100 * trials["outside_share"]),
        "validated": bool(quality["accuracy_deg"].notna().any()),
        "left_out": left_out(results),
    }


# Statistics.


def floor_sentences(results: Results, inference: Inference) -> list[str]:
    """Chance, floors and ceiling of the layer that the first sentence speaks of, in words."""
    main = inference.main()
    texts = []
    for t in inference.above_chance:
        label = short_label(model_of(results, t.model))
        if t.p is None or t.z is None or t.gain is None:
            continue
        p = f"p < {t.smallest_p:.1g}" if t.p <= t.smallest_p and not t.exact else f"p = {number(t.p, 4)}"
        how = f"all {t.permutations:,} orders" if t.exact else f"{t.permutations:,} permutations"
        texts.append(
            f"Above chance, {label}: the largest standardised gain of {t.maps} heads is that of {head_label(t.map)} of "
            f"{layer_words(results, t.model, t.layer)} ({amount(t.gain, MEASURES[t.measure])}"
            f", z = {number(t.z, 1)}; {p} by {how} of the pictures of attention, corrected for all heads and "
            f"layers). {_follows(t.p)}"
        )
    nss = next((s for s in inference.measures_of(main) if s.measure == "nss"), None)
    if nss is not None:
        centre = next((r for r in nss.references if r.map == "centre"), None)
        text = (
            f"By NSS the heads go from {number(nss.worst.value.mean)} ({head_label(nss.worst.map)}) to "
            f"{number(nss.best.value.mean)} ({head_label(nss.best.map)})"
        )
        if centre is not None:
            text += f"; a Gaussian at the centre has {number(centre.value.mean)}"
        if inference.half is not None:
            text += f", and one half of the viewers predicts the other half at {number(inference.half.mean)}"
        texts.append(f"{text}.")
    if main.best.inside is not None and main.inside_uniform is not None:
        m = MEASURES[main.measure]
        texts.append(
            f"Within the object alone, where figure and ground play no part, {head_label(main.best.map)} scores "
            f"{number(main.best.inside.mean)} ({interval(main.best.inside)}) and an even spread over the object "
            f"{number(main.inside_uniform.mean)}; {m.closer} is closer."
        )
    return texts


def _follows(p: float) -> str:
    """What the test by permuted pictures says."""
    if p < 1 - LEVEL:
        return "It says that attention follows which picture was shown, for these participants and pictures like these."
    return "It does not show that attention follows which picture was shown."


def sound_sentences(results: Results, inference: Inference) -> list[str]:
    """The head effect of each layer shown, in words with its numbers."""
    texts = []
    for s in inference.shown():
        label = layer_label(results, s.model, s.layer)
        if s.head_effect is None:
            texts.append(f"{label}: whether heads differ cannot be tested with so few heads, participants or pictures.")
            continue
        measure = MEASURES[s.measure].label
        text = f"{label}: heads {_differ(s.head_effect, s.head_effect_p_holm)} in {measure}, {_test(s.head_effect)}"
        if s.head_effect_p_holm is not None:
            text += f", p {_p_equals(s.head_effect_p_holm)} when corrected for the model's layers by Holm's method"
        if s.gain_effect is not None:
            text += f"; and {_differ(s.gain_effect)} in how far above chance they are, {_test(s.gain_effect)}"
        texts.append(text + ".")
        if s.on_logs is not None:
            texts.append(_logs_sentence(s, measure))
    return texts


def _logs_sentence(s: Sound, measure: str) -> str:
    """What the logarithms of a skewed measure say of the closest head and of the head effect."""
    logs = s.on_logs
    if logs is None:
        return ""
    same = "stays" if logs.ranked[0] == s.ranked[0] else "would be"
    text = (
        f"{measure} has a long tail, longer for some heads than for others. By its logarithm "
        f"{head_label(logs.ranked[0])} {same} the closest"
    )
    if logs.head_effect is not None:
        ties = f"{heads_listed(logs.ties)} cannot" if logs.ties else "every other head can"
        text += f", {ties} be told from it, and heads {_differ(logs.head_effect)} ({_test(logs.head_effect)})"
    return f"{text}."


def model_sentences(results: Results, inference: Inference) -> list[str]:
    """Each pair of models in a sentence, by the mean of heads in the last layer analysed."""
    measure = MEASURES[inference.primary]
    texts = []
    for c in inference.model_contrasts:
        labels = layer_label(results, c.first, c.first_layer), layer_label(results, c.second, c.second_layer)
        closer, other = labels if c.difference >= 0 else labels[::-1]
        low, high = sorted((c.low, c.high) if c.difference >= 0 else (-c.low, -c.high))
        whether = "" if c.p < 1 - LEVEL else ", from which it cannot be told"
        by_how_much = amount(abs(c.difference), measure)
        what = {
            "score": f"is {by_how_much} closer to where they looked than {other}",
            "gain": f"gains {by_how_much} more over its attention on other pictures than {other}",
        }[c.of]
        texts.append(
            f"By the mean of its heads {closer} {what}{whether} (simultaneous 95 % interval {number(low)} to "
            f"{number(high)}, p {_p_equals(c.p)})."
        )
    return texts


def group_sentences(results: Results, inference: Inference) -> list[str]:
    """Groups of participants, by the mean of heads and head by head, in the layers shown."""
    groups = inference.groups
    if groups is None:
        return []
    measure = MEASURES[inference.primary]
    sizes = listed([f"{n} of {name}" for name, n in groups.sizes.items()])
    texts = [
        f"Groups by {groups.column} ({sizes}) are compared with equal numbers of fixations, "
        f"{number(groups.fixations, 1)} on a picture, for maps of more fixations are less noisy."
    ]
    keys = list(dict.fromkeys((c.model, c.layer, c.first, c.second, c.of) for c in groups.contrasts))
    for *key, by in keys:
        of = [c for c in groups.contrasts if [c.model, c.layer, c.first, c.second, c.of] == [*key, by]]
        model, layer, first, second = of[0].model, of[0].layer, of[0].first, of[0].second
        label = layer_label(results, model, layer)
        for c in of:
            if c.map != "mean":
                continue
            closer, other = (first, second) if c.difference >= 0 else (second, first)
            by_how_much = amount(abs(c.difference), measure)
            text = f"The mean of heads of {label} is {by_how_much} closer to {closer} than to {other}"
            if by == "gain":
                text = (
                    f"Over chance the mean of heads of {label} gains {by_how_much} more with {closer} than with {other}"
                )
            if c.low is not None and c.high is not None and c.p is not None:
                low, high = sorted((c.low, c.high) if c.difference >= 0 else (-c.low, -c.high))
                text += "" if c.p < 1 - LEVEL else ", which is no difference that these data show"
                text += f" (95 % interval {number(low)} to {number(high)}, p {_p_equals(c.p)})"
            texts.append(f"{text}.")
        heads = [c for c in of if c.p_holm is not None]
        differing = [c.map for c in heads if c.p_holm is not None and c.p_holm < 1 - LEVEL]
        if heads:
            verb = "differs" if len(differing) == 1 else "differ"
            what = f"{heads_listed(differing)} {verb}" if differing else "no head differs"
            gain = " in its gain over chance" if by == "gain" else ""
            texts.append(
                f"Head by head, {what}{gain} between {first} and {second}, corrected over heads by Holm's method."
            )
    return texts


def _differ(e: HeadEffect, corrected: float | None = None) -> str:
    return "differ" if (e.p if corrected is None else corrected) < 1 - LEVEL else "are not shown to differ"


def _test(e: HeadEffect) -> str:
    return f"quasi-F({e.df1:.1f}, {e.df2:.1f}) = {e.f:.2f}, p {_p_equals(e.p)} (Huynh-Feldt epsilon {e.epsilon:.2f})"


def _p_equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def replication_sentences(inference: Inference) -> list[str]:
    """The published analysis of each measure of the main layer, in words with its numbers."""
    texts = []
    for r in inference.replications_of(inference.main()):
        found = []
        if r.best_sigma_mean is not None:
            found.append(_best_sigma_words(r, r.best_sigma_mean))
        if r.anova is not None:
            a = r.anova
            found.append(
                f"One-way ANOVA over heads at σ = {r.sigma:g}: F({a.df1}, {a.df2}) = {a.f:.2f}, p {_p_equals(a.p)}, "
                f"eta squared {a.eta_squared:.3f}"
            )
            found.append(f"Closest {head_label(r.ranked[0])}, farthest {head_label(r.ranked[-1])}")
        if found:
            texts.append(f"{MEASURES[r.measure].label}: {'. '.join(found)}.")
    return texts


def _best_sigma_words(r: Replication, mean: float) -> str:
    text = f"best σ {number(mean)}"
    if r.best_sigma_sd is not None and r.best_sigma_se is not None:
        text += f" ± {number(r.best_sigma_se, 3)} over heads (mean ± SE; SD {number(r.best_sigma_sd, 3)})"
    edge = sum(c.at_edge for c in r.curves)
    if edge:
        text += f", for {edge} of {plural(len(r.curves), 'head')} at the end of the sweep, where it is no optimum"
    text += _over_cells(r.over_cells)
    if r.shuffled_curve is not None and r.shuffled_curve.best_sigma is not None:
        at_end = ", the end of the sweep" if r.shuffled_curve.at_edge else ""
        text += f"; the shuffled pictures' best is {r.shuffled_curve.best_sigma:g}{at_end}"
    return text


def _over_cells(of: BestSigma | None) -> str:
    """The best sigma over participants x pictures, for a sentence; nothing where there is none."""
    if of is None:
        return ""
    text = f"; {number(of.mean)}"
    if of.sd is not None and of.se is not None:
        text += f" ± {number(of.se, 3)}"
    text += " over participants x pictures, each with the mean of its heads"
    if of.sd is not None:
        text += f" (SD {number(of.sd, 3)}, n = {of.cells:,})"
    return text + (f", {of.at_edge:,} of them at the end of the sweep" if of.at_edge else "")


def sigma_reading(study: Study, inference: Inference) -> str:
    """Where the curves of the measure that the replication is told by are best; empty where nothing was compared."""
    if len(study.maps.sigmas()) == 1:
        return f"Sigma was not swept: every score is of σ = {sigma_text(study, study.maps.sigma)}, and none is best."
    found = [r for r in inference.replications_of(inference.main()) if r.measure == inference.replicated]
    if not found or found[0].mean_curve.best_sigma is None:
        return ""
    mean, chance = found[0].mean_curve, found[0].shuffled_curve
    text = f"By {MEASURES[inference.replicated].label} the heads' mean is best at σ = "
    text += sigma_text(study, found[0].mean_curve.best_sigma or 0.0)
    text += ", where the sweep ends: that is no optimum" if mean.at_edge else ""
    if chance is not None and chance.best_sigma is not None:
        text += f"; other pictures are best at {sigma_text(study, chance.best_sigma)}"
        text += ", where the sweep ends" if chance.at_edge else ""
    if inference.replicated != inference.primary:
        text += f". {MEASURES[inference.primary].label}, the primary measure, is taken at the fixed σ alone"
    return f"{text}."


# Captions, and the figures' findings for who cannot see them.


def heads_words(s: Sound, at: str) -> tuple[str, str]:
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


def measures_words(measures: Sequence[Sound], at: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of all measures."""
    caption = f"Heads by every measure. {at}. Marks as in the first figure; each measure has its own scale."
    closest = [f"{head_label(m.ranked[0])} by {MEASURES[m.measure].label}" for m in measures]
    return caption, f"Heads by measure, {at}. Closest: {'; '.join(closest)}."


def sigma_words(found: Sequence[Replication], label: str) -> tuple[str, str]:
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
            for name, c in curves if c.best_sigma is not None
        ]  # fmt: skip
        if said:
            parts.append(f"{MEASURES[r.measure].label} {', '.join(said)}")
    return caption, f"Measures against sigma, {label}: {'; '.join(parts)}."


def lift_words(found: Sequence[Lift], label: str) -> tuple[str, str]:
    """Caption and alternative text of the lift's figure."""
    heads = [x for x in found if is_head(x.map)] or list(found)
    top, low = max(heads, key=lambda x: x.lift_pp.mean), min(heads, key=lambda x: x.lift_pp.mean)
    bars = "bars are 95 % intervals over pictures" if top.lift_pp.low is not None else "one picture, so no interval"
    caption = f"Attention on the object beyond its area. {label}. Dots are means over pictures; {bars}."
    alt = f"Lift by head, {label}: most by {head_label(top.map)}, {number(top.lift_pp.mean, 1)} percentage points"
    return caption, f"{alt}; least by {head_label(low.map)}, {number(low.lift_pp.mean, 1)}."


def time_words(windows: Sequence[WindowReading], s: Sound, label: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of viewing time."""
    caption = (
        f"{MEASURES[s.measure].label} in windows of viewing time. {label}. Blue: {head_label(s.ranked[0])}, the "
        "closest over the whole time; black: the mean of heads; green: the centre bias; bars are 95 % intervals. Early "
        "windows follow the dot, and few fixations make a map of each."
    )
    steps = figures.steps(windows)
    first, last = (next(h.value.mean for h in w.heads if h.map == s.ranked[0]) for w in (steps[0], steps[-1]))
    return caption, (
        f"{MEASURES[s.measure].label} of {head_label(s.ranked[0])}, {label}: {number(first)} in the first window, "
        f"{number(last)} in the last."
    )


def areas_words(areas: pd.DataFrame, s: Sound, label: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of parts."""
    caption = (
        f"Where time and attention go, part by part. {label}. Dots are means; bars are 95 % intervals of the share "
        "beyond the part's area (people: new participants and pictures; heads: new pictures)."
    )
    people = areas[(areas["source"] == "people") & (areas["kind"] == "all") & (areas["part"] != "object")]
    top = people.sort_values("share").iloc[-1]
    return caption, f"Shares by part, {label}. People look most at {top['part']}, {number(100 * top['share'], 1)} %."


def models_words(side_by_side: Sequence[tuple[str, Sound]], at: str) -> tuple[str, str]:
    """Caption and alternative text of the figure of models."""
    main = side_by_side[0][1]
    caption = (
        f"{MEASURES[main.measure].label}, {at}, of each model in the layer whose closest head is the closest. Blue: "
        "the closest head; black: the mean of heads; hollow with a line: their attention on other pictures; bars "
        "and bands are 95 % intervals. Head numbers of different models have nothing to do with each other."
    )
    said = [f"{label}: {head_label(s.best.map)} with {number(s.best.value.mean)}" for label, s in side_by_side]
    return caption, f"Models by {MEASURES[main.measure].label}. {'; '.join(said)}."


def layers_words(readings: Sequence[tuple[str, Sequence[Sound]]], main: Sound, at: str) -> tuple[str, str]:
    """Caption and alternative text of the tiles of heads by layers (readings as `figures.draw_layers` has them); `at`
    names the closest head's layer and sigma.
    """
    shown, others = figures.shown_by_layers(readings), other_viewers(main)
    what = {
        "share": f"Share of the way from the fitted centre bias to {others}", "gain": "Gain over chance",
        "score": "Score",
    }[shown]  # fmt: skip
    caption = f"{what} by head and layer in {MEASURES[main.measure].label}; the same colours for all models. Layers "
    caption += "stand in the order of the model."
    shares = [h.share_over_centre.ratio for _, sounds in readings for s in sounds for h in s.heads]
    if shown == "share" and any(share is not None and share.ratio > 1 for share in shares):
        caption += f" A head with more than 100 predicts people better than {others} do; with few viewers the ceiling "
        caption += "is low."
    return caption, f"{what} of every head in every layer analysed. Closest: {head_label(main.best.map)} of {at}."


def quality_words(results: Results) -> tuple[str, str]:
    """Caption and alternative text of the figure of data quality."""
    limits, used = results.study.limits, results.quality[results.quality["used"]]
    over = sorted(set(used.loc[used["accuracy_deg"] > limits.accuracy_mean_deg, "participant"]))
    caption = (
        "Quality of the recording, one row a participant. Filled: the eye that was analysed; hollow: the other. "
        "Dashed: the study's limits; red: beyond them."
    )
    alt = "Accuracy, precision, loss and drift by participant. Mean accuracy beyond "
    return caption, f"{alt}{limits.accuracy_mean_deg:g} degrees: {', '.join(over) if over else 'nobody'}."


def trials_words(results: Results) -> tuple[str, str]:
    """Caption and alternative text of the figure of loss and drift by trial."""
    trials = results.trials
    many = trials["participant"].nunique() > figures.MOST_PARTICIPANTS
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


# Methods.


def methods(results: Results) -> list[str]:
    """The methods as a paper would have them, from the settings; only what was done."""
    imported = "imported fixations" in results.summary.source
    recorded = "record" in results.summary.source or not imported
    return [
        *(_recording_words(results) if recorded else []),
        *(["Fixations were imported as given, without samples." if not recorded else
           "Some fixations were imported as given, without samples."] if imported else []),
        limits_sentence(results),
        *_map_words(results),
        *(_model_words(results, m) for m in results.summary.models),
        *_comparison_words(results.study),
    ]  # fmt: skip


def _recording_words(results: Results) -> list[str]:
    """Participants, apparatus, procedure, calibration, data quality and fixations, after Dunn et al. (2023)."""
    s, summary = results.study, results.summary
    simulated = summary.simulated >= summary.participants > 0
    # Of samples that came out of a tracker's own files nobody here knows the protocol.
    ours = "imported recordings" not in summary.source
    missing: list[str] = []
    who = viewers(results, summary.participants)
    timed = _times_shown(results) if ours else ""
    texts = [f"{who[0].upper()}{who[1:]} viewed {plural(summary.stimuli, 'picture')}{timed}."]
    if not simulated:
        texts += _people_words(summary.setup.answers, missing)
        if ours:
            texts.append("They were asked to look freely, and to keep their heads still.")
    if not ours:
        texts.append("Recordings were imported from the tracker's own files; their protocol is described elsewhere.")
    texts += _apparatus_words(results, simulated, missing)
    if ours and results.quality["accuracy_deg"].notna().any():
        texts.append(
            f"Calibration had {s.protocol.calibration_points} points, validation {s.protocol.validation_points} "
            f"others; a validation passed up to {s.limits.accuracy_mean_deg:g}° on average, "
            f"{s.limits.accuracy_worst_deg:g}° at the worst point and {s.limits.loss_percent:g} % of samples lost."
        )
    texts += _quality_numbers(results, missing)
    if ours and not simulated:
        for name, said in (("head support", s.protocol.head_support), ("lighting", s.protocol.lighting)):
            if said:
                texts.append(f"{name[0].upper()}{name[1:]}: {said.rstrip('.')}.")
            else:
                missing.append(name)
    texts.append(_fixation_words(results))
    return [*texts, *([f"Not recorded: {listed(missing)}."] if missing else [])]


def _times_shown(results: Results) -> str:
    """How long pictures stood by the recordings, of the trials that count, and their dots by study.toml."""
    shown = results.trials.loc[results.trials["included"], "shown_s"].dropna()
    if not len(shown):
        return ""
    low, middle, high = (round(float(v), 2) for v in (shown.min(), shown.median(), shown.max()))
    spread = "" if high - low < 0.05 else f" ({low:g} to {high:g} s)"
    return f", each for {middle:g} s{spread} after a dot of {results.study.protocol.dot_s:g} s"


def _people_words(answers: dict[str, dict[str, int]], missing: list[str]) -> list[str]:
    """Age, sex and vision of the participants, as they answered; what nobody was asked is added to `missing`."""
    parts = []
    ages = {int(a): n for a, n in answers.get("age", {}).items() if a.isdigit()}
    if ages:
        each = np.repeat(list(ages), list(ages.values()))
        spread = f", SD {number(each.std(ddof=1), 1)}" if len(each) > 1 else ""
        parts.append(f"mean age {number(each.mean(), 1)} years ({each.min()} to {each.max()}{spread})")
    else:
        missing.append("age")
    names = {"F": "female", "M": "male", "O": "other", "none": "no aid to vision"}
    for column in ("sex", "vision"):
        given = {names.get(k, k): n for k, n in answers.get(column, {}).items() if k != "n/a"}
        parts += [f"{n} {k}" for k, n in given.items()]
        if not given:
            missing.append(column)
    unknown = [f"{column} of {n}" for column, by in answers.items() if 0 < (n := by.get("n/a", 0)) < sum(by.values())]
    return [f"They were: {listed(parts)}{f' ({listed(unknown)} unknown)' if unknown else ''}."] if parts else []


def _apparatus_words(results: Results, simulated: bool, missing: list[str]) -> list[str]:
    """Screen, tracker, rate and eyes."""
    s, setup, texts = results.study, results.summary.setup, []
    screens = list(setup.screens)
    if not screens and s.screen is not None:
        screens = [f"{s.screen.width_px} x {s.screen.height_px} px and {s.screen.width_cm:g} x "
                   f"{s.screen.height_cm:g} cm, at {s.screen.distance_cm:g} cm"]  # fmt: skip
    if screens:
        size = f" Pictures spanned {s.pictures.size_deg:g}° ({s.pictures.size_of})." if s.pictures.size_deg else ""
        refresh = f", refreshed at {s.screen.refresh_hz:g} Hz" if s.screen is not None and not simulated else ""
        texts.append(f"The screen had {' or '.join(screens)} from the eyes{refresh}.{size}")
    else:
        missing.append("the screen's size and distance")
    rates = sorted(results.quality["rate_hz"].dropna().unique())
    of = {
        "better": "of the eye with the smaller validation error",
        "mean": "of both eyes, whose mean was taken,",
    }.get(s.fixations.eye, f"of the {s.fixations.eye} eye")
    gaze = "Synthetic gaze" if simulated else "Gaze"
    if len(rates):
        by = "" if simulated or not setup.trackers else f" by {listed(setup.trackers)}"
        texts.append(f"{gaze} {of} was sampled{by} at {listed([f'{r:g}' for r in rates])} Hz.")
    if not setup.trackers and not simulated:
        missing.append("the tracker's model")
    return texts


def _quality_numbers(results: Results, missing: list[str]) -> list[str]:
    """Accuracy, precision and loss that were reached, over participants."""
    q = results.quality[results.quality["used"]].groupby("participant")
    texts = []
    accuracy, precision = q["accuracy_deg"].mean().dropna(), q["rms_s2s_deg"].mean().dropna()
    if len(accuracy):
        spread = f" (SD {number(accuracy.std(ddof=1))}°, worst {number(accuracy.max())}°)" if len(accuracy) > 1 else ""
        said = f"By the last accepted validation accuracy was {number(accuracy.mean())}°{spread} over participants"
        if len(precision):
            said += f" and precision {number(precision.mean(), 3)}° (RMS of steps from sample to sample)"
        overridden = known_total(results.quality.drop_duplicates(["participant", "run"])["overridden"])
        if overridden:
            said += f"; {plural(overridden, 'validation')} beyond the limits went on by the operator's decision"
        texts.append(f"{said}; determined with ETDQualitizer (Niehorster et al. 2026).")
    else:
        missing.append("accuracy and precision")
    lost = results.trials["loss_percent"].dropna()
    if len(lost):
        texts.append(f"While pictures stood, {number(lost.mean(), 1)} % of samples were lost.")
    return texts


def _fixation_words(results: Results) -> str:
    f = results.study.fixations
    by = {
        "ivt": f"by velocity (I-VT, Salvucci and Goldberg 2000; {f.velocity_deg_s:g}°/s, {f.window_ms:g} ms window)",
        "idt": f"by dispersion (I-DT, Salvucci and Goldberg 2000; {f.dispersion_deg:g}°)",
        "i2mc": "by two-means clustering (I2MC, Hessels et al. 2017)",
    }
    # "auto" goes by the rate: what was used is said, not what might have been.
    rates = results.quality["rate_hz"].dropna()
    used = [m for m, some in (("ivt", (rates >= 100).any()), ("i2mc", (rates < 100).any())) if some]
    both = f"{by['ivt']} from 100 Hz on, {by['i2mc']} below"
    how = by.get(f.method) or (by[used[0]] if len(used) == 1 else both)
    return (
        f"Fixations were found {how} with pymovements (Krakowczyk et al. 2023), merged below {f.merge_ms:g} ms and "
        f"{f.merge_deg:g}°, and dropped below "
        f"{f.shortest_ms:g} ms; gaps up to {f.gap_ms:g} ms were interpolated and {f.blink_margin_ms:g} ms around "
        f"blinks removed. The fixation under way at picture onset was {'left out' if f.drop_first else 'kept'}; "
        f"drift was {'corrected by the dot before each picture' if f.correct_drift else 'not corrected'}"
        f"{', and the primary measure computed both ways' if results.trials['drift_x_px'].notna().any() else ''}."
    )


def _map_words(results: Results) -> list[str]:
    s = results.study
    smoothed = {"human": "people's maps", "model": "the model's maps", "both": "people's and the model's maps"}
    weight = "weighted by duration" if s.maps.weight == "duration" else "each counting the same"
    first, last = f"{s.maps.sigma_from:g}", sigma_text(s, s.maps.sigma_to)
    swept = f", and swept from {first} to {last} in steps of {s.maps.sigma_step:g} for the replication"
    swept = swept if len(s.maps.sigmas()) > 1 else ""
    return [
        f"Fixations, {weight}, made maps of {s.maps.longer_side_px} px on the longer side. A Gaussian smoothed "
        f"{smoothed[s.maps.smooth]}; its σ was fixed beforehand at {sigma_text(s, s.maps.sigma)}{swept}."
    ]


def _model_words(results: Results, m: ModelSummary) -> str:
    layers = f"layer{'s' if len(m.analysed_layers) > 1 else ''} {listed([str(n) for n in m.analysed_layers])}"
    table = results.attention_table
    special = table.loc[(table["model"] == m.name) & (table["map"] == "mean"), "special_mass"].mean()
    text = (
        f"Attention of {m.label} ({m.name}; weights: {m.weights.rstrip('.')}) was taken after the softmax from "
        f"{m.query} to the patches of {m.patch_px} px, in {plural(m.heads, 'head')} of {layers} of {m.layers}, on "
        f"the whole picture resized to {max(m.input_px)} px on its longer side, and divided by its sum over patches."
    )
    if np.isfinite(special):
        text += f" Before that, {number(100 * special, 1)} % of it lay on class and register tokens on average."
    return text


def _comparison_words(s: Study) -> list[str]:
    names = {
        "kl": "KL divergence of the model's map from people's, KL(human || model) in nats",
        "cc": "Pearson's correlation (CC)",
        "sim": "SIM, the sum over pixels of the smaller of both densities",
        "ssim": "SSIM of maps scaled to a maximum of 1 (Wang et al. 2004)",
        "nss": "NSS at the fixated pixels",
        "auc": "AUC with all pixels as negatives",
        "auc_judd": "AUC-Judd",
        "sauc": "shuffled AUC, whose negatives are the fixations on all other pictures (Zhang et al. 2008)",
        "ig": "information gain in bits per fixation over a centre bias fitted to other pictures (K\u00fcmmerer et al. "
        "2015; maps had a share of 1 % of the uniform density)",
        "emd": "the earth mover's distance on at most 16 cells a side",
    }
    texts = [
        "The maps of each participant and picture were compared by "
        f"{listed([names[m] for m in s.alignment.measures])}, with the conventions of the MIT saliency benchmark "
        f"(Bylinskii et al. 2019). The primary measure, set beforehand, is {MEASURES[s.alignment.primary].label}."
    ]
    if s.alignment.chance_pictures:
        texts.append(
            "Chance for a head is the same gaze compared with that head's attention on "
            + ("all other pictures" if s.alignment.chance_pictures >= 50 else
               f"{plural(s.alignment.chance_pictures, 'other picture')}")
            + ". Further floors are a Gaussian at the centre whose SD is "
            f"{s.alignment.centre_share:.3g} of the picture's width and height, a Gaussian fitted by likelihood to the "
            "fixations on all other pictures, an even spread, an even spread over the object"
            + (f", and the same network with random weights ({s.alignment.random_weights} seeds)"
               if s.alignment.random_weights else "")
            + ". The ceiling is the density of all the other viewers of the same picture, with a width and admixtures "
            f"fitted by the likelihood of each viewer's fixations under the others'. {_ceiling_words(s)}"
        )  # fmt: skip
    if s.alignment.choose_on == "half":
        texts.append(
            "The closest head was chosen on half of the pictures, drawn at random, and its figures estimated on the "
            "other half, with chance from that half alone."
        )
    texts.append(
        "Means over participants and pictures carry 95 % intervals by Satterthwaite's approximation with both as "
        "random factors (Satterthwaite 1946; Clark 1973; Baayen et al. 2008; Judd et al. 2012). Heads were compared "
        "by a quasi-F with Huynh-Feldt epsilon (Huynh and Feldt 1976), and in pairs with Bonferroni's correction. The "
        "gain over chance is a U-statistic over pictures (Hoeffding 1948), each of which has a part in it by its gaze "
        "and by its attention: intervals and tests are of the jackknife's pseudo-values (Efron and Stein 1981), with p "
        "values corrected over the heads of a layer by Holm's method. Whether any head is above chance was tested by "
        "permuting pictures, corrected over all heads and layers (Westfall and Young 1993). Beside these stands that "
        "of Carrasco et al. (2025): a one-way ANOVA over heads and Tukey's HSD at "
        f"{'the mean best' if len(s.maps.sigmas()) > 1 else 'that'} σ."
    )
    return texts


def _ceiling_words(s: Study) -> str:
    """Which map of the other viewers' density each measure of the study is scored with."""
    own = {
        "sauc": "its ratio to the density of fixations on other pictures for shuffled AUC",
        "kl": "the mean human map for KL divergence",
        "cc": "the mean of z-scored human maps, to the first order in the number of fixations, for CC",
        "sim": "quantiles of the human maps' values for SIM",
    }
    measures, points = s.alignment.measures, s.maps.smooth == "model"
    if points:
        del own["sim"]
    plain = [MEASURES[m].label for m in measures if m not in (*own, "sim") and not MEASURES[m].no_best_map]
    maps = [f"the density itself for {listed(plain)}"] if plain else []
    maps += [text for m, text in own.items() if m in measures]
    without = [MEASURES[m].label for m in measures if MEASURES[m].no_best_map]
    texts = []
    if maps:
        best = "By each measure it is scored as the map that is best for it on average (K\u00fcmmerer et al. 2018)"
        texts.append(f"{best}: {listed(maps)}.")
    if without:
        have = "has" if len(without) == 1 else "have"
        texts.append(f"{listed(without)} {have} no ceiling, as no rule for the best map is known.")
    if points and "sim" in measures:
        texts.append("SIM has no ceiling where people's fixations stay points.")
    return " ".join(texts)


def references(results: Results) -> str:
    """BibTeX of what the methods rest on, only what this study used."""
    study, source = results.study, results.summary.source
    keys = {"bylinskii2019", "clark1973", "satterthwaite1946", "huynh1976", "baayen2008", "judd2012", "dunn2023"}
    keys |= {"carrasco2025", "tukey1949", "dosovitskiy2021"}
    by_measure = {"ssim": "wang2004", "sauc": "zhang2008", "ig": "kummerer2015"}
    keys |= {key for measure, key in by_measure.items() if measure in study.alignment.measures}
    keys |= {"westfall1993", "hoeffding1948", "efron1981", "kummerer2018"} if study.alignment.chance_pictures else set()
    if "imported fixations" not in source or "record" in source:
        keys |= {"niehorster2026", "krakowczyk2023"}
        keys |= {"salvucci2000"} if study.fixations.method != "i2mc" else set()
        keys |= {"hessels2017"} if study.fixations.method in ("i2mc", "auto") else set()
    names = " ".join(f"{m.name} {m.label} {m.weights}" for m in results.summary.models).lower()
    if "dinov2" in names or "offline" in names:
        keys.add("oquab2023")
    if "dino" in names.replace("dinov2", "").replace("dinov3", "").replace("not dino", ""):
        keys.add("caron2021")
    entries = REFERENCES_FILE.read_text("utf-8").strip().splitlines()
    return "\n".join(e for e in entries if e.partition("{")[2].partition(",")[0] in keys)
