"""The report's tables: each whole as CSV, and the rows and columns of it that the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.claims import ClaimsFile
from beholder.analysis.findings.layer import OTHERS
from beholder.analysis.findings.readings import BestSigma, Findings, LayerReading, MapReading, Replication
from beholder.analysis.findings.reproduction import main_layer, reproduce
from beholder.analysis.gaze.exclusion import in_words
from beholder.analysis.report.figures.marks import REFERENCE_LABELS
from beholder.analysis.report.images import data_uri
from beholder.analysis.report.labels import (
    cell,
    head_label,
    known_mean,
    known_median,
    known_total,
    layer_label,
    model_of,
)
from beholder.analysis.report.prose.claims import claim_columns, claims_sentences
from beholder.analysis.report.prose.finding import other_viewers, why_of_share
from beholder.analysis.results.files import safe_texts
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import Estimate, Share
from beholder.shared.stimuli.stimulus import Stimulus

CSV_BYTES = 1_000_000  # the largest CSV within the page; a larger one lies beside it, and the page links to it


MOST_ROWS = 100  # on the page, of tables with a row for each trial, eye or participant


@dataclass(frozen=True)
class AgainstPaper:
    """A paper's claims set beside the results: a heading, sentences on top, and the name of the table."""

    heading: str
    sentences: list[str]
    table: str


@dataclass(frozen=True)
class Table:
    """A table: `whole` goes into its CSV, `shown` is what the page has of it."""

    name: str
    title: str
    whole: pd.DataFrame
    shown: pd.DataFrame
    note: str = ""
    wraps: bool = False  # whether its heads and cells may have several lines

    @cached_property
    def columns(self) -> list[str]:
        """The columns that the page shows: all of `shown`, but for model or layer where the table has only one."""
        one = {c for c in ("model", "layer") if c in self.shown and len(set(self.whole[c])) == 1}
        return [str(c) for c in self.shown.columns if c not in one]

    @cached_property
    def cells(self) -> list[list[str]]:
        """The rows as they are read on the page."""
        columns = [[cell(value, name) for value in self.shown[name]] for name in self.columns]
        return [list(row) for row in zip(*columns, strict=True)]

    @cached_property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, to be set flush right."""
        types = [self.shown[name].dtype for name in self.columns]
        return [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in types]

    @cached_property
    def csv(self) -> bytes:
        """The whole table as CSV, numbers with six digits."""
        text = safe_texts(self.whole).to_csv(index=False, na_rep="n/a", float_format="%.6g", lineterminator="\n")
        return str(text).encode("utf-8")

    @property
    def source(self) -> str:
        """The CSV as a data URI, or where it lies beside the page if it is large."""
        return data_uri(self.csv, "text/csv") if len(self.csv) <= CSV_BYTES else f"tables/{self.name}.csv"

    @property
    def link(self) -> str:
        """What the link to the CSV says."""
        return "CSV" if len(self.csv) <= CSV_BYTES else f"tables/{self.name}.csv, beside this page"


def make_tables(results: Results, findings: Findings, stimuli: Sequence[Stimulus]) -> dict[str, Table]:
    """Every table that has rows, by name; the page shows the layers shown, and of long tables one measure only."""
    tables = [
        _participants(results),
        _eyes(results),
        _trials(results),
        _trials_left_out(results),
        _heads(findings),
        _beside_heads(findings),
        _references(findings),
        _head_effects(findings),
        _mixed(findings),
        _models(results, findings),
        _special_tokens(results, findings),
        _windows(findings),
        _groups(findings),
        _sigmas(results, findings),
        _sigma_units(results, findings, stimuli),
        _areas(results, findings),
        _pairs(findings),
        _drift_correction(results, findings),
        *_replication_tables(findings),
        _lifts(findings),
    ]
    return {t.name: t for t in tables if len(t.whole)}


def _key(s: LayerReading) -> dict[str, Any]:
    return {"model": s.model, "layer": s.layer, "measure": s.measure}


def _heads(findings: Findings) -> Table:
    rows = []
    maps = [(s, h) for s in findings.sound for h in (*s.heads, *s.summaries)]
    for s, h in maps:
        rows.append(
            _key(s)
            | {"map": head_label(h.map)}
            | _estimate("score", h.value)
            | {"chance": h.shuffled.mean if h.shuffled else None}
            | _estimate("gain", h.gain)
            | {"df": h.gain.df if h.gain else None, "p (Holm)": h.gain_p_holm}
            | {"p (permuted)": h.p_above_chance if s.primary else None}
            | {"way to others (%)": _percent(h.share), "from centre (%)": _percent(h.share_over_centre)}
            | {"why": _why_of_shares(h, s)}
        )
    return _table(
        findings,
        "heads",
        "Heads at the fixed sigma",
        rows,
        "Gain is positive where the head is closer to people than its own attention on other pictures. Low and "
        "high: 95 % intervals, participants and pictures random; p (Holm): of the gain, over a layer's heads; p "
        "(permuted): pictures permuted, corrected over all heads and layers; way to others: the share of the way "
        f"from the head's own chance to {other_viewers(findings.main())}, so that heads do not compare by "
        "it; from centre: the same from the fitted centre bias, one floor for all, negative where the head is "
        "farther from people than that. Why: what makes a share blank, or more than 100 %.",
    )


def _beside_heads(findings: Findings) -> Table:
    maps = [(s, h) for s in findings.sound for h in (*s.heads, *s.summaries)]
    return _table(
        findings,
        "heads-beside",
        "Beside the heads' scores",
        [_key(s) | {"map": head_label(h.map)} | _beside(h) for s, h in maps],
        "Same kind: on other pictures of the same kind. Within: both maps cut to the object. Everybody's map: all "
        "participants together, interval over pictures. Bootstrap: 95 %, participants and pictures drawn anew.",
        long=True,
    )


def _references(findings: Findings) -> Table:
    rows = []
    for s in findings.sound:
        beside = [(_reference_label(r.map, s), r.value, r.lead) for r in s.references]
        beside += [
            (head_label(m.map), m.value, lead) for m, lead in zip(s.summaries, s.leads_over_summaries, strict=True)
        ]
        for name, value, lead in beside:
            on = {"participants": value.participants, "pictures": value.pictures}
            scores = _estimate("score", value) | on | _estimate("closest head's lead", lead)
            rows.append(_key(s) | {"map": name} | scores | {"closest head is": _verdict(lead)})
    return _table(
        findings,
        "references",
        "Floors and ceiling",
        rows,
        "The lead is positive where the closest head is closer to people than this map; it is closer or farther "
        "where the interval of its lead excludes 0. The ceiling is the other viewers, by each measure in the map "
        "that is best for it; more of them would raise it.",
    )


def _head_effects(findings: Findings) -> Table:
    rows = []
    for s in findings.sound:
        logs = s.on_logs.head_effect if s.on_logs else None
        for what, e in (("score", s.head_effect), ("gain over chance", s.gain_effect), ("log of the score", logs)):
            if e is not None:
                test = {"quasi-F": e.f, "df1": e.df1, "df2": e.df2, "epsilon": e.epsilon, "p": e.p}
                corrected = s.head_effect_p_holm if e is s.head_effect else None
                rows.append(_key(s) | {"of": what} | test | {"p (Holm)": corrected})
    return _table(
        findings,
        "head-effect",
        "Do heads differ?",
        rows,
        "Degrees of freedom are multiplied by epsilon already. p (Holm): of the primary measure over its model's "
        "layers, of the others over layers and measures together; gains are not corrected.",
    )


def _pairs(findings: Findings) -> Table:
    rows = [
        _key(s)
        | {"first": head_label(c.first), "second": head_label(c.second)}
        | {"difference": c.difference, "low": c.low, "high": c.high, "df": c.df, "p (Bonferroni)": c.p}
        for s in findings.sound
        for c in s.contrasts
    ]
    return _table(
        findings,
        "pairs",
        "Every pair of heads",
        rows,
        "Positive: the first is closer to people. Intervals and p values are simultaneous over a measure's pairs.",
        long=True,
    )


def _lifts(findings: Findings) -> Table:
    rows = [
        {"model": x.model, "layer": x.layer, "map": head_label(x.map), "inside": x.inside.mean}
        | {"outside": x.outside.mean, "area": x.area.mean}
        | _estimate("lift (pp)", x.lift_pp)
        | {"p": x.lift_pp.p, "p (Holm)": x.lift_p_holm, "pictures": x.lift_pp.pictures}
        for x in findings.lifts
    ]
    return _table(
        findings,
        "lift",
        "Attention on the object",
        rows,
        "Shares of attention over patches; 95 % t intervals over pictures alone, as attention is the same for all. "
        "p: of a lift of 0, by the same t; p (Holm): corrected over the heads of the layer.",
    )


def _beside(h: MapReading) -> dict[str, float | None]:
    """A map's columns for the table beside the heads', for which the main one has no room."""
    low, high = h.bootstrap or (None, None)
    gain_low, gain_high = h.gain_bootstrap or (None, None)
    return (
        _estimate("same kind", h.same_kind)
        | _estimate("gain, same kind", h.gain_same_kind)
        | {"within": h.inside.mean if h.inside else None, "within low": h.inside.low if h.inside else None}
        | {"within high": h.inside.high if h.inside else None}
        | {"everybody's map": h.pooled.mean if h.pooled else None, "its low": h.pooled.low if h.pooled else None}
        | {"its high": h.pooled.high if h.pooled else None, "bootstrap low": low, "bootstrap high": high}
        | {"gain, bootstrap low": gain_low, "gain, bootstrap high": gain_high}
        | _ends("way", h.share)
        | _ends("from centre", h.share_over_centre)
    )


def _percent(share: Share) -> float | None:
    return None if share.ratio is None else 100 * share.ratio.ratio


def _ends(name: str, share: Share) -> dict[str, float | None]:
    """The interval of a share as two columns."""
    ends = (None, None) if share.ratio is None else (share.ratio.low, share.ratio.high)
    low, high = (None if end is None else 100 * end for end in ends)
    return {f"{name} low (%)": low, f"{name} high (%)": high}


def _why_of_shares(h: MapReading, s: LayerReading) -> str:
    """Why shares are blank or above 100 %; empty where there is nothing to explain."""
    found = {"way to others": why_of_share(h.share, s, "its own attention on other pictures")}
    found["from centre"] = why_of_share(h.share_over_centre, s, "the fitted centre bias")
    if len(set(found.values())) == 1:
        return found["from centre"]
    return "; ".join(f"{name}: {why}" for name, why in found.items() if why)


def _reference_label(name: str, s: LayerReading) -> str:
    """A reference's name in tables; for other viewers also their number, and whether they are no ceiling."""
    if name != OTHERS:
        return REFERENCE_LABELS[name]
    label = other_viewers(s).removeprefix("the ")
    return f"{label} (no ceiling)" if MEASURES[s.measure].no_best_map else label


def _verdict(lead: Estimate) -> str:
    if lead.low is None or lead.high is None:
        return "n/a"
    return "closer" if lead.low > 0 else "farther" if lead.high < 0 else "not shown to be either"


def _mixed(findings: Findings) -> Table:
    """The mixed model of the layers shown, where cells are missing."""
    rows = [
        {"model": s.model, "layer": s.layer, "measure": s.measure, "map": head_label(h.map)}
        | _estimate("score", h.value)
        | _estimate("gain", h.gain)
        | {"participants": s.mixed.participants, "pictures": s.mixed.pictures, "cells missing": s.mixed.cells_missing}
        for s in findings.shown()
        if s.mixed is not None
        for h in s.mixed.heads
    ]
    note = "Every participant and picture that has any score, by a mixed model with both random (REML)."
    return _table(findings, "mixed-model", "With the cells that are missing elsewhere", rows, note)


def _models(results: Results, findings: Findings) -> Table:
    rows = [
        {"first": layer_label(results, c.first, c.first_layer)}
        | {"second": layer_label(results, c.second, c.second_layer)}
        | {"of": c.of, "difference": c.difference, "low": c.low, "high": c.high, "df": c.df, "p (Bonferroni)": c.p}
        for c in findings.model_contrasts
    ]
    table = pd.DataFrame(rows)
    note = (
        f"{MEASURES[findings.primary].label} of the mean of the heads in the last layer analysed, its score and its "
        "gain over chance. Positive: the first is closer to people; intervals and p values are simultaneous over the "
        "pairs of either."
    )
    return Table("models", "Models compared", table, table, note)


def _special_tokens(results: Results, findings: Findings) -> Table:
    """How much of each head's attention lies on tokens that are no patch; empty where the model has none."""
    known = results.attention_table.dropna(subset=["special_mass"])
    rows = [
        {"model": key[0], "layer": key[1], "map": head_label(str(key[2]))}
        | {"mean (%)": 100 * mass.mean(), "least (%)": 100 * mass.min(), "most (%)": 100 * mass.max()}
        | {"pictures": len(mass)}
        for key, mass in known.set_index(["model", "layer", "map"]).groupby(level=[0, 1, 2])["special_mass"]
    ]
    note = (
        "The share of class and register tokens in all tokens' attention, before the patches are brought to sum to 1."
    )
    return _table(findings, "special-tokens", "Attention on class and register tokens", rows, note)


def _windows(findings: Findings) -> Table:
    rows = [
        {"model": w.model, "layer": w.layer, "from (s)": w.start_s, "to (s)": w.end_s}
        | {"map": head_label(r.map) if r.map not in REFERENCE_LABELS else REFERENCE_LABELS[r.map]}
        | _estimate("score", r.value)
        | {"fixations": w.fixations, "participants": w.participants, "pictures": w.pictures}
        for w in findings.windows
        for r in (*w.heads, *w.references)
    ]
    note = (
        "Maps depend on how many fixations they are made of: compare windows of one length alone. The last window is a "
        "whole one to a twentieth of a step, or what remains from half a step on."
    )
    return _table(findings, "windows", f"{MEASURES[findings.primary].label} by window of viewing time", rows, note)


def _groups(findings: Findings) -> Table:
    groups = findings.groups
    if groups is None:
        return Table("groups", "Groups", pd.DataFrame(), pd.DataFrame())
    rows = [
        {"model": c.model, "layer": c.layer, "map": head_label(c.map), "of": c.of, "first": c.first}
        | {"second": c.second}
        | {"mean, first": c.means[0], "mean, second": c.means[1], "difference": c.difference, "low": c.low}
        | {"high": c.high, "df": c.df, "p": c.p, "p (Holm)": c.p_holm}
        for c in groups.contrasts
    ]
    sizes = ", ".join(f"{name}: {n}" for name, n in groups.sizes.items())
    note = (
        f"Positive: closer to the first group. {sizes} participants, with {groups.fixations:.1f} fixations each on a "
        f"picture (mean over pictures); {groups.left_out} participants x pictures had too few. p (Holm): over heads."
    )
    return _table(findings, "groups", f"Groups by {groups.column}", rows, note)


def _sigma_units(results: Results, findings: Findings, stimuli: Sequence[Stimulus]) -> Table:
    """The sigmas that the page speaks of, in degrees, px of the picture, patches and percent of its width."""
    main, unit = findings.main(), results.study.maps.sigma_unit
    found: list[tuple[str, str, float | None]] = [("fixed beforehand", "set", main.sigma)]
    for r in findings.replications_of(main):
        if r.measure == findings.replicated:
            ends = sum(c.at_edge for c in r.curves)
            what = f"mean; {ends} of {len(r.curves)} at the sweep's end" if ends else "mean of optima"
            found.append(("replication: best for each head", what, r.best_sigma_mean))
            if (chance := r.shuffled_curve) is not None:
                what = "the sweep's end, no optimum" if chance.at_edge else "optimum"
                found.append(("replication: best for other pictures", what, chance.best_sigma))
    for held_out in findings.sigmas:
        if not held_out.model or (held_out.model, held_out.layer) == (main.model, main.layer):
            e, of = held_out.estimate, head_label(held_out.map) if held_out.model else "people"
            what = "estimate" if e.sigma is not None else "at most" if e.at_most is not None else "at least"
            found.append((f"held-out likelihood: {of}", what, e.sigma_or_bound))
    width = np.array([s.width_px for s in stimuli], dtype=float)
    per_deg = np.array([results.summary.px_per_deg.get(s.name, np.nan) for s in stimuli])
    # The longer side of every picture has as many patches as the model takes on its longer side.
    per_patch = np.array([max(s.width_px, s.height_px) for s in stimuli]) / max(model_of(results, main.model).patches)
    px_of = {"deg": per_deg, "px": np.ones_like(width), "patch": per_patch, "percent": width / 100}
    rows = [
        {"sigma": name, "which is": what}
        | {
            label: float(np.median(sigma * px_of[unit] / px_of[other]))
            for label, other in (("degrees", "deg"), ("px", "px"), ("patches", "patch"), ("% of the width", "percent"))
        }
        for name, what, sigma in found
        if sigma is not None
    ]
    table = pd.DataFrame(rows)
    note = f"Px of the picture; patches of {layer_label(results, main.model, main.layer)}."
    if len(set(zip(width, per_deg, per_patch, strict=True))) > 1:
        note += " Pictures differ in size: medians over pictures."
    return Table("sigma-units", "Sigma in every unit", table, table.dropna(axis="columns", how="all"), note)


def _sigmas(results: Results, findings: Findings) -> Table:
    rows = [
        {"of": head_label(r.map) if r.model else "people"}
        | {"layer": layer_label(results, r.model, r.layer) if r.model else ""}
        | {"sigma": r.estimate.sigma, "low": r.estimate.low, "high": r.estimate.high}
        | {"at most": r.estimate.at_most, "at least": r.estimate.at_least, "unit": r.unit}
        | {"even share": r.estimate.uniform, "fixations": r.estimate.fixations}
        for r in findings.sigmas
    ]
    table = pd.DataFrame(rows)
    note = (
        "The smoothing under which fixations are likeliest: each viewer's under the others' map, everybody's under the "
        "model's. 95 % intervals for new viewers and pictures. At most: as fine as a px of the map (people) or a patch "
        "(heads) can tell. At least: as wide as an even spread over the picture. Nothing else uses it."
    )
    return Table("sigmas", "Sigma by held-out likelihood", table, table.dropna(axis="columns", how="all"), note)


def _areas(results: Results, findings: Findings) -> Table:
    table = results.areas.copy()
    table["source"] = [head_label(v) if v != "people" else v for v in table["source"]]
    for column in ("share", "area", "share_of_object", "fixation_share", "looked", "people"):
        table[column] *= 100
    names = {
        "share": "share (%)", "area": "area (%)", "lift_pp": "lift (pp)", "low_pp": "low (pp)", "high_pp": "high (pp)",
        "share_of_object": "of the object (%)", "fixation_share": "fixations (%)", "looked": "looked there (%)",
        "people": "people (%)", "first_s": "first look (s)", "narrow_pictures": "too narrow on",
    }  # fmt: skip
    table = table.rename(columns=names)
    main = findings.main()
    wanted = {"people", head_label(main.best.map), head_label("mean")}
    shown = table[
        table["source"].isin(wanted) & (table["kind"] == "all") & table["model"].isin(["", main.model])
        & table["layer"].isin([0, main.layer])
    ].drop(columns=["kind", "model", "layer"])  # fmt: skip
    note = (
        "People: the share of fixated time; heads: of attention. Lift: share by area, 95 % intervals (people: new "
        "participants and pictures; heads: new pictures). All heads and kinds are in the CSV."
    )
    return Table("areas", "Looking and attention by part", table, shown.reset_index(drop=True), note)


def _estimate(name: str, e: Estimate | None) -> dict[str, float | None]:
    """An estimate as three columns: mean, low and high end of its interval."""
    low, high = (
        ("low", "high") if name in ("score", "lift (pp)") else (f"{name.split()[-1]} low", f"{name.split()[-1]} high")
    )
    return {name: None, low: None, high: None} if e is None else {name: e.mean, low: e.low, high: e.high}


def _table(
    findings: Findings, name: str, title: str, rows: Sequence[dict[str, Any]], note: str = "", *, long: bool = False
) -> Table:
    """A table of rows by model and layer; the page has the layers shown, and of a `long` table one measure only."""
    whole = pd.DataFrame(rows)
    if not rows:
        return Table(name, title, whole, whole)
    layers = {(s.model, s.layer) for s in findings.shown()}
    on_page = pd.Series([(r["model"], r["layer"]) in layers for r in rows])
    if not on_page.all():
        note = f"{note} Other layers are in the CSV.".strip()
    if long and len(set(whole["measure"])) > 1:
        shown = findings.primary if findings.primary in set(whole["measure"]) else findings.replicated
        on_page &= whole["measure"] == shown
        note = f"{note} Shown: {MEASURES[shown].label}; the CSV has every measure.".strip()
    return Table(name, title, whole, whole[on_page].reset_index(drop=True), note)


def _replication_tables(findings: Findings) -> list[Table]:
    best, anovas, tukeys, curves = [], [], [], []
    for r in findings.replication:
        key = {"model": r.model, "layer": r.layer, "measure": r.measure}
        if r.swept:
            best.append(key | _best_sigmas(r))
        if (a := r.anova) is not None:
            ends = {"closest": head_label(r.ranked[0]), "farthest": head_label(r.ranked[-1])}
            test = {"sigma": r.sigma, "F": a.f, "df1": a.df1, "df2": a.df2, "p": a.p, "eta squared": a.eta_squared}
            anovas.append(key | test | ends)
        for t in r.tukey:
            test = {"second minus first": t.difference, "low": t.low, "high": t.high, "p": t.p}
            tukeys.append(key | {"first": head_label(t.first), "second": head_label(t.second)} | test)
        for c in (*r.curves, r.mean_curve, *([r.shuffled_curve] if r.shuffled_curve else [])):
            best_is = "at the sweep's end" if c.at_edge else "optimum"
            curves += [
                key
                | {"map": c.map, "sigma": sigma, "mean": mean, "SD": sd}
                | {"best": best_is if sigma == c.best_sigma else ""}
                for sigma, mean, sd in zip(r.sigmas, c.mean, c.sd, strict=True)
            ]
    best_note = (
        "Over heads: the best sigma of each head's mean curve. Over participants x pictures: that of each participant "
        "and picture's own curve, the mean over heads. Each with its SD and SE (SD / sqrt(n)). The end is the sweep's, "
        "where a sigma is no optimum."
    )
    return [
        replace(_table(findings, "best-sigma", "Replication: best sigma", best, best_note), wraps=True),
        _table(findings, "anova", "Replication: one-way ANOVA over heads", anovas),
        _table(findings, "tukey", "Replication: Tukey's HSD", tukeys, long=True),
        _table(findings, "curves", "Scores over sigma", curves),
    ]


def _best_sigmas(r: Replication) -> dict[str, float | bool | None]:
    """The best sigma of each kind of curve as columns, and whether it is an end of the sweep."""
    chance = r.shuffled_curve
    return (
        {"mean over heads": r.best_sigma_mean, "SD": r.best_sigma_sd, "SE": r.best_sigma_se}
        | {"heads at the end": sum(c.at_edge for c in r.curves)}
        | _over_cells(r.over_cells)
        | {"mean curve": r.mean_curve.best_sigma, "it at the end": r.mean_curve.at_edge}
        | {"shuffled pictures": chance.best_sigma if chance else None}
        | {"shuffled at the end": chance.at_edge if chance else None}
    )


def _over_cells(of: BestSigma | None) -> dict[str, float | None]:
    """The best sigma over participants x pictures as columns."""
    values = (of.mean, of.sd, of.se, of.cells, of.at_edge) if of else (None,) * 5
    names = (
        "mean over participants x pictures",
        "its SD",
        "its SE",
        "participants x pictures",
        "of these at the end",
    )
    return dict(zip(names, values, strict=True))


def against_paper(file: ClaimsFile, results: Results, findings: Findings) -> tuple[AgainstPaper, Table]:
    """A paper's claims beside the results: the page has one layer, the CSV every layer shown."""
    paper, main = file.content.paper, main_layer(file.content, findings)
    rows = reproduce(file.content, results, findings)
    on_page = [row for row in rows if (row.model, row.layer) == (main.model, main.layer)]
    whole = pd.DataFrame([
        {"model": row.model, "layer": row.layer, "id": row.claim.id, "how": row.claim.how} | claim_columns(paper, row)
        | {"published verdict": row.published.verdict, "sound verdict": row.sound.verdict}
        for row in rows
    ])  # fmt: skip
    shown = pd.DataFrame([claim_columns(paper, row) for row in on_page])
    shown["claim"] = shown["claim"].where(shown["claim"] != shown["claim"].shift(), "")  # each claim once
    note = "What each verdict rests on: docs/claims.md."
    if len(on_page) < len(rows):
        note = f"{layer_label(results, main.model, main.layer)}; other models are in the CSV. {note}"
    name = f"claims-{file.name}"
    table = Table(name, f"Claims of {paper.label} and what was found here", whole, shown, note, wraps=True)
    sentences = claims_sentences(paper, on_page, results, main)
    return AgainstPaper(f"Against the paper: {paper.label}", sentences, name), table


def _drift_correction(results: Results, findings: Findings) -> Table:
    """Each head without and with the correction of drift side by side, whichever of the two is the main analysis."""
    corrected, rows = results.study.fixations.correct_drift, []
    for s in findings.shown():
        other = findings.other_drift_of(s)
        if other is None:
            continue
        plain, moved = (other, s) if corrected else (s, other)
        for h in s.heads:
            pair = [
                (name, reading.head(h.map).gain or reading.head(h.map).value)
                for name, reading in (("without", plain), ("with", moved))
            ]
            row: dict[str, Any] = {"model": s.model, "layer": s.layer, "measure": s.measure, "map": head_label(h.map)}
            for name, e in pair:
                row |= {name: e.mean, f"{name}, low": e.low, f"{name}, high": e.high}
            rows.append(row | {"difference": pair[1][1].mean - pair[0][1].mean})
    of = "Score" if findings.main().best.gain is None else "Gain over chance"
    which = "without and with (main)" if corrected else "without (main) and with"
    note = f"The main analysis is the one {'with' if corrected else 'without'} it. Low and high: 95 % intervals."
    return _table(findings, "drift-correction", f"{of} {which} the correction of drift", rows, note)


def _participants(results: Results) -> Table:
    rows = []
    by_person = dict(list(results.quality.groupby("participant", sort=True)))
    for person, trials in results.trials.groupby("participant", sort=True):
        eyes = by_person.get(person, results.quality.iloc[:0])
        used = eyes[eyes["used"]]
        # A run's figures are repeated in the row of each of its eyes: each run is taken once.
        runs = eyes.drop_duplicates("run")
        by = sorted({str(v) for v in eyes["overridden_by"].dropna() if v})
        rows.append(
            {"participant": str(person), "trials used": int(trials["included"].sum())}
            | {"left out": int((~trials["included"]).sum())}
            | {"loss (%)": known_mean(trials["loss_percent"]), "blinks (%)": known_mean(trials["blink_percent"])}
            | {
                "off picture (%)": known_mean(100 * trials["outside_share"]),
                "drift (°)": known_median(trials["drift_deg"]),
            }
            | {"accuracy (°)": known_mean(used["accuracy_deg"]), "RMS-S2S (°)": known_mean(used["rms_s2s_deg"])}
            | {"passed": ", ".join(sorted({str(v) for v in used["passed"].dropna()})) or None}
            | {"overridden by": ", ".join(by), "calibrations": known_total(runs["calibrations"])}
            | {"fixations": int(trials["n_used"].sum())}
        )
    table = pd.DataFrame(rows)
    table["overridden by"] = table["overridden by"] if table["overridden by"].any() else None
    note = "Loss, blinks (gaps too long to be bridged) and gaze off the picture: means over trials; drift: median."
    if len(results.quality):
        note += " Accuracy and precision: validation of the eye whose gaze was analysed, mean over runs."
    return _summarised("participants", "Participants", table, note, "participants")


def _eyes(results: Results) -> Table:
    names = {
        "accuracy_deg": "accuracy (°)", "accuracy_worst_deg": "worst (°)", "rms_s2s_deg": "RMS-S2S (°)",
        "sd_deg": "SD (°)", "loss_percent": "loss (%)", "effective_hz": "effective (Hz)", "rate_hz": "rate (Hz)",
        "used": "analysed",
        "overridden": "verdicts overridden", "overridden_by": "by",
    }  # fmt: skip
    table = results.quality.rename(columns=names)
    table["by"] = table["by"].replace("", None)
    note = "The last validation of each run that was accepted; verdicts are of all its validations."
    return _summarised("eyes", "Validation of each eye", table, note, "eyes")


def _trials(results: Results) -> Table:
    """Every trial with its quality; in the CSV alone, not on the page."""
    table = results.trials.rename(columns={"stimulus": "picture"})
    table["why"] = _why(results, table["why"])
    table["outside_percent"] = 100 * table.pop("outside_share")
    return Table("trials", "Every trial", table, table.iloc[:0])


def _summarised(name: str, title: str, whole: pd.DataFrame, note: str, of: str) -> Table:
    """A table with one row for each of `of`; the page summarises more than MOST_ROWS rows.

    The summary has least, 5 %, median, 95 % and most of every column of numbers.
    """
    # The page leaves out columns in which every value is unknown.
    shown = whole.dropna(axis="columns", how="all")
    if len(whole) <= MOST_ROWS:
        return Table(name, title, whole, shown, note)
    quantiles = shown.select_dtypes("number").astype(float).quantile([0, 0.05, 0.5, 0.95, 1])
    whole_numbers = [c for c in quantiles if (quantiles[c] % 1 == 0).all()]
    quantiles = quantiles.astype(dict.fromkeys(whole_numbers, int))
    quantiles.insert(0, f"of {len(whole):,} {of}", ["least", "5 %", "median", "95 %", "most"])
    return Table(name, f"{title}, summarised", whole, quantiles, f"{note} Each of the {len(whole):,} is in the CSV.")


def _trials_left_out(results: Results) -> Table:
    gone = results.trials[~results.trials["included"] | (results.trials["n_used"] == 0)]
    columns = ["participant", "run", "trial", "stimulus", "status", "loss_percent", "drift_deg", "accuracy_deg", "why"]
    table = gone[columns].reset_index(drop=True)
    table["why"] = _why(results, table["why"])
    names = {
        "stimulus": "picture",
        "loss_percent": "loss (%)",
        "drift_deg": "drift (°)",
        "accuracy_deg": "accuracy (°)",
    }
    table = table.rename(columns=names)
    note = f"The first {MOST_ROWS} of {len(table):,}; all are in the CSV." if len(table) > MOST_ROWS else ""
    shown = table.head(MOST_ROWS).dropna(axis="columns", how="all")
    return Table("trials-left-out", "Trials left out", table, shown, note)


def _why(results: Results, why: pd.Series) -> list[str]:
    return [in_words(reason, results.study.exclusion) if reason else "" for reason in why.fillna("")]
