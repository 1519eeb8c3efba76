"""The report's first sentence, and the notes that a reader must know with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.layer import FITTED_CENTRE
from beholder.analysis.findings.readings import Choice, Findings, LayerReading
from beholder.analysis.report.labels import (
    amount,
    head_label,
    heads_listed,
    interval,
    layer_label,
    layer_words,
    listed,
    model_of,
    number,
    p_equals,
    plural,
    short_label,
    sigma_text,
    thing,
    viewers,
)
from beholder.analysis.report.prose.quality import left_out
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import FEWEST_LEVELS, Estimate, Share

MOST_HEADS = 8  # named in the first sentence


REFERENCE_WORDS = {
    "centre": "a Gaussian at the centre", "centre-fitted": "a centre bias fitted to other pictures",
    "uniform": "an even spread", "object": "an even spread over the object",
    "random": "the same network with random weights", "others": "the other viewers",
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """What must be known with a finding: a lead, and a text; `loud` where a reader must not miss it."""

    lead: str
    text: str
    loud: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found: one sentence, and the notes that must be known with it.

    With few participants (see `few`) neither speaks of heads; `of_heads` and `notes_on_heads` then do, and stand where
    the page shows heads. Else these two are empty.
    """

    sentence: str
    notes: tuple[Note, ...]
    of_heads: str = ""
    notes_on_heads: tuple[Note, ...] = ()


def finding(results: Results, findings: Findings) -> Finding:
    """The result in one sentence, with the notes that stand right under it."""
    main, choice = findings.main(), findings.choices[0]
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
    on_heads = tuple(_notes_on_heads(results, findings, main))
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
    """Whether the maps have too few participants for conclusions about others: heads then come late on the page."""
    kept = results.trials.loc[results.trials["included"], "participant"]
    return int(kept.nunique()) < FEWEST_LEVELS


def loses_to_even_spread(main: LayerReading) -> bool:
    """Whether an even spread over the picture is closer to people than the closest head, by the means alone.

    CC and NSS are not defined for an even map; by them, a map that tells nothing of where people looked has 0.
    """
    even = next((r for r in main.references if r.map == "uniform"), None)
    if even is not None:
        return even.lead.mean < 0
    return main.measure in ("cc", "nss") and main.best.value.mean < 0


def _share_of_the_way(main: LayerReading, share: Share) -> str:
    """How far the head that is named gets from chance to the other viewers; nothing where that is not known."""
    others = other_viewers(main)
    if share.ratio is None:
        return ""
    why = why_of_share(share, main, "")
    return f", {_percent(share)} of the way from there to {others}{_interval_of(share)}{f', {why}' if why else ''}"


def other_viewers(main: LayerReading) -> str:
    """The ceiling in words, with the number of other viewers, on which it depends."""
    if main.other_viewers is None:
        return "the other viewers"
    fewest, most = main.other_viewers
    if most == 1:
        return "the other viewer"
    return f"the other {fewest} to {most} viewers" if fewest < most else f"the other {most} viewers"


def why_of_share(share: Share, main: LayerReading, floor: str) -> str:
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


def _closer_still(main: LayerReading, choice: Choice) -> str:
    """Which of the mean of heads and the fitted centre bias are closer to people than the named head, in words.

    Only those for which the interval of the difference says so; `what_beats_the_closest_head` has the figures.
    """
    if choice.map != main.best.map:
        return ""
    closer = [name for name, lead in _rivals(main) if lead.high is not None and lead.high < 0]
    return f"; {listed(closer)} {'comes' if len(closer) == 1 else 'come'} closer still" if closer else ""


def _rivals(main: LayerReading) -> list[tuple[str, Estimate]]:
    """The mean of the heads (of several) and the fitted centre bias, each with the closest head's lead over it."""
    of_heads = zip(main.summaries, main.leads_over_summaries, strict=True)
    return [
        *((f"the {head_label(m.map)}", lead) for m, lead in of_heads if m.map == "mean" and len(main.heads) > 1),
        *((REFERENCE_WORDS[r.map], r.lead) for r in main.references if r.map == FITTED_CENTRE),
    ]


def what_beats_the_closest_head(main: LayerReading) -> Note | None:
    """A note on the mean of the heads and the fitted centre bias, if the closest head is not shown to beat them.

    "Closer" is said only where the interval excludes 0. The centre bias's share of the way is given beside the head's.
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
    return Note("What the closest head does not beat:", f"{'; '.join(said)}.") if said else None


def between_floor_and_ceiling(main: LayerReading) -> Note:
    """How far the closest head gets from its own chance and from the heads' common floor; or why that is not known."""
    lead, own, common = "Between floor and ceiling.", main.best.share, main.best.share_over_centre
    if own.blank == common.blank == "measure":
        return Note(lead, f"No share of the way, for {why_of_share(own, main, '')}.")
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
    return Note(lead, text)


def _above_chance(main: LayerReading, choice: Choice) -> str:
    """How far the named head is above chance, in words, or its score where chance is not known.

    Whether it is above chance is judged by permuted pictures, corrected for all heads and layers that it was chosen
    from, since the interval does not allow for that choice.
    """
    measure, gain = MEASURES[main.measure], choice.reading.gain
    if gain is None:
        value = choice.reading.value
        score = f"{measure.label} {number(value.mean)}{' ' + measure.unit if measure.unit else ''}"
        return f"with {score} ({interval(value)}), and how far above chance that is cannot be said"
    away = gain if gain.mean >= 0 else _negated(gain)
    direction = "closer" if gain.mean >= 0 else "farther"
    among = "" if choice.chosen_on or choice.candidates == 1 else f" over all {choice.candidates} heads"
    tested = "" if choice.p is None else f"; p {p_equals(choice.p)} by permuted pictures{among}"
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


def _notes_on_data(results: Results, main: LayerReading, found: str) -> Iterable[Note]:
    """Notes on simulated gaze, stand-in weights and what was left out; `found`: the closest head, or empty."""
    if results.summary.simulated:
        programmed = results.summary.observers.rstrip(".") or "not stated in the data"
        yield Note(
            "Simulated, not people."
            if results.summary.simulated >= results.summary.participants
            else "Partly simulated.",
            f"How their gaze was made: {programmed}.{f' What was found: {found} is the closest.' if found else ''}",
            loud=True,
        )
    for model in results.summary.models:
        if model.stand_in:
            used = model.weights.rstrip(".")
            yield Note(
                "Stand-in weights.",
                f"{model.label} ({used}). Fit to try the method out, not for a publication.",
                loud=True,
            )
    yield Note("Left out:", left_out(results, main))


def _notes_on_heads(results: Results, findings: Findings, main: LayerReading) -> Iterable[Note]:
    """What must be known with the head that is named."""
    if main.best.gain is None:
        yield Note("Chance is not known,", "for no picture's gaze was compared with the attention on other pictures.")
    if main.references:
        at = f"in {MEASURES[main.measure].label}, at σ = {sigma_text(results.study, main.sigma)}"
        objects = [r for r in main.references if (r.map, main.measure) == ("object", "kl")]
        text = f"it {_beside_references(main)}; {at}."
        if objects:
            # An even spread over the object is zero outside it, where the measure's epsilon alone sets the divergence.
            text += (
                f" An even spread over the object has {number(objects[0].value.mean)}, which only says how often "
                "people looked elsewhere: it is zero there, and the measure's epsilon sets the price."
            )
        yield Note("Beside maps that know no trained model,", text)
    beaten_by = what_beats_the_closest_head(main)
    if beaten_by is not None:
        yield beaten_by
    yield between_floor_and_ceiling(main)
    gains = [(h.gain.mean, h.map) for h in main.heads if h.gain is not None]
    if gains and max(gains)[1] != main.best.map:
        most, name = max(gains)
        yield Note(
            "By gain over chance another head leads:",
            f"{head_label(name)}, {number(most)} closer than its own attention on other pictures. A sharp map gains "
            "more over chance than an even one of the same score.",
        )
    yield from _how_chosen(main, findings.choices[0])
    for other in findings.choices[1:]:
        where = layer_words(results, other.model, other.layer)
        yield Note(
            f"{short_label(model_of(results, other.model))}:",
            f"{head_label(other.map)} of {where} comes closest, {_above_chance(main, other)}.",
        )


def _how_chosen(main: LayerReading, choice: Choice) -> Iterable[Note]:
    """A note on how the head was chosen, and whether its figures allow for that choice."""
    if choice.candidates == 1:
        return
    layers = f" in {choice.layers} layers" if choice.layers > 1 else ""
    among = f"{choice.candidates} heads{layers}"
    if choice.chosen_on:
        closest = "it" if main.best.map == choice.map else head_label(main.best.map)
        yield Note(
            "Chosen on half of the pictures.",
            f"It is the closest of {among} on {listed(choice.chosen_on)}. Its figures are those of the other pictures, "
            "and of their attention alone, so that they owe nothing to the choice. On all pictures together "
            f"{closest} is the closest head of its layer.",
        )
        return
    tested = (
        ""
        if choice.p is None
        else (" Whether it is above chance is judged by permuted pictures, corrected for all of these heads.")
    )
    yield Note(
        "Chosen among many.",
        f"It is the closest of {among}; its interval is not widened for that choice.{tested} With "
        'choose_on = "half" in [alignment] it is chosen on half of the pictures and estimated on the other.',
    )


def _beside_references(main: LayerReading) -> str:
    """Which references the closest head is closer than, farther than, or neither, in words."""
    verdicts: dict[str, list[str]] = {"is closer than": [], "is farther than": [], "is not shown to be closer than": []}
    for r in main.references:
        # Of two Gaussians only the fitted one, which is the stronger; the ceiling is in the note on shares of the way.
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
