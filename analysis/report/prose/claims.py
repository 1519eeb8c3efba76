"""A paper's claims against a study, in words: the paper's figure, this study's, each verdict with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.claims import (
    BestSigma,
    Concordance,
    Count,
    Extreme,
    HeadMean,
    HeadsDiffer,
    Inside,
    LiftRange,
    MeasuresUsed,
    Model,
    Paper,
    Setting,
    Sweep,
)
from beholder.analysis.findings.readings import LayerReading, Replication
from beholder.analysis.findings.reproduction import Judgement, Row, Verdict
from beholder.analysis.report.labels import (
    head_label,
    heads_listed,
    layer_label,
    listed,
    model_of,
    number,
    plural,
    short_label,
)
from beholder.analysis.results.map_names import head_name
from beholder.analysis.results.study_results import Results

MOST_HEADS = 4  # that a reason names
UNIT_WORDS: dict[str, str] = {
    "deg": "degrees", "px": "px of the picture", "patch": "patches", "percent": "% of the picture's width"
}  # fmt: skip
COUNTED: dict[Verdict, tuple[str, str]] = {
    "holds": ("holds", "hold"), "does not hold": ("does not", "do not"),
    "cannot be told": ("cannot be told", "cannot be told"), "not testable": ("is not testable", "are not testable"),
}  # fmt: skip


def claims_sentences(paper: Paper, rows: Sequence[Row], results: Results, shown: LayerReading) -> list[str]:
    """How many of the claims hold, what was made otherwise here, and what is not known of the paper.

    rows: those of the layer `shown`.
    """
    findings, design = ([row for row in rows if row.of == of] for of in ("finding", "design"))
    differing = [row for row in design if row.published.verdict == "differs"]
    texts = []
    if findings:
        readings = [_counted([getattr(row, which).verdict for row in findings]) for which in ("published", "sound")]
        texts.append(
            f"Of {plural(len(findings), 'finding')} of {paper.label}, counted by measure and head, under the published "
            f"reading {readings[0]}; under the sound reading {readings[1]} "
            f"({layer_label(results, shown.model, shown.layer)})."
        )
    model = model_of(results, shown.model)
    others = ["Pictures and people are this study's own, not the paper's"]
    if results.summary.simulated:
        everybody = results.summary.simulated >= results.summary.participants
        others = [f"Pictures are this study's own, and {'gaze' if everybody else 'part of the gaze'} is simulated"]
    weights = f"weights: {model.weights.rstrip('.')}{', a stand-in' if model.stand_in else ''}"
    if not paper.models:
        others.append(f"the model is {short_label(model)} ({weights})")
    elif model.name in paper.models:
        others.append(f"the model, {short_label(model)}, has the name of one that may be the paper's ({weights})")
    else:
        others.append(f"the model is another, {short_label(model)} ({weights})")
    text = f"{'; '.join(others)}."
    if design:
        text += f" In {len(differing)} of {plural(len(design), 'point')} the study was made otherwise than the paper's."
    texts.append(f"{text} Results are reported as measured; nothing is tuned towards the paper.")
    if paper.not_known:
        texts.append(f"Not known of the paper: {'; '.join(paper.not_known)}.")
    return texts


def _counted(verdicts: Sequence[Verdict]) -> str:
    counts = {verdict: verdicts.count(verdict) for verdict in COUNTED}
    return listed([f"{n or 'none'} {COUNTED[v][n > 1 or n == 0]}" for v, n in counts.items() if n or v == "holds"])


def claim_columns(paper: Paper, row: Row) -> dict[str, str]:
    """One row of the table, in words."""
    by = row.measure.upper().replace("_", "-") if row.measure else head_label(row.head) if row.head else ""
    return {
        "claim": row.claim.statement, "by": by, "paper": paper_words(paper, row), "here": here_words(row),
        "published reading": verdict_words(paper, row, row.published),
        "sound reading": verdict_words(paper, row, row.sound),
    }  # fmt: skip


def paper_words(paper: Paper, row: Row) -> str:
    """The paper's own figure."""
    match row.claim:
        case Count() as claim:
            return f"{claim.number:,}"
        case Model():
            heads = "" if paper.heads is None else f"{plural(paper.heads, 'head')}; "
            return heads + (" or ".join(paper.models) or "not named")
        case Sweep() as claim:
            unit = "unit not known" if claim.unit is None else UNIT_WORDS[claim.unit]
            return f"{_sweep(claim.first, claim.last, claim.step)}, {unit}"
        case MeasuresUsed() as claim:
            return _measures(claim.measures)
        case Setting() as claim:
            return _value(claim.value)
        case BestSigma() as claim:
            return f"{claim.sigma:g}{_error(claim.se or None, None)}"
        case HeadsDiffer() as claim:
            df = f"({claim.df1}, {claim.df2})" if claim.df1 and claim.df2 else ""
            f = f"F{df} = {claim.f:g}; " if claim.f is not None else f"F{df}; " if df else ""
            return f"{f}p ≤ {_level(claim.p)}"
        case Extreme() as claim:
            tested = "" if claim.p is None else f", p ≤ {_level(claim.p)}"
            return f"{_heads([head_name(n) for n in claim.heads])} {_end(claim)}{tested}"
        case HeadMean() as claim:
            at = "" if claim.sigma is None else f" at σ = {claim.sigma:g}"
            return f"{head_label(head_name(claim.head))}: {claim.mean:g}{_error(claim.se or None, None)}{at}"
        case LiftRange() as claim:
            tested = "" if claim.p is None else f", p ≤ {_level(claim.p)}"
            return f"{number(claim.low_pp, 0)} to {number(claim.high_pp, 0)} points{tested}"
        case Inside() as claim:
            return f"every head, p ≤ {_level(claim.p)}"
        case Concordance() as claim:
            return "no figure" if claim.at_least is None else f"W ≥ {claim.at_least:g}"


def here_words(row: Row) -> str:
    """This study's figure; where both readings have one, that at the best sigma first."""
    here = row.here
    match row.claim:
        case Count():
            return f"{here.value:,}"
        case Model():
            return f"{plural(here.value[1], 'head')}; {here.value[0]}"
        case Sweep():
            first, last, step, unit = here.value
            return f"{_sweep(first, last, step)}, {UNIT_WORDS[unit]}"
        case MeasuresUsed():
            return _measures(here.value)
        case Setting():
            return "not known" if here.value is None else _value(here.value)
        case BestSigma():
            return _best_sigma(here.replication)
        case HeadsDiffer():
            return _joined([_anova(here.replication), _quasi_f(here.sound)])
        case Extreme() as claim:
            back = claim.how == "farthest_heads"
            return _joined(
                [
                    f"{_in_order(of.ranked, len(claim.heads), back=back)} at σ = {of.sigma:g}"
                    for of in (here.replication, here.sound)
                    if of is not None
                ]
            )
        case HeadMean() as claim:
            return _joined(_means(claim, here.replication, here.sound))
        case LiftRange():
            return _lift(row)
        case Inside():
            return _insides(row)
        case Concordance():
            named = zip(here.w, ("at the best σ", "at the fixed σ"), strict=True)
            return _joined([f"W = {number(w)} {at}" for w, at in named if w is not None])


def verdict_words(paper: Paper, row: Row, j: Judgement) -> str:
    """A verdict with its reason."""
    reason = _reason(paper, row, j)
    return f"{j.verdict}: {reason}" if reason else j.verdict


# Why a verdict is as it is, where that needs no figure.
_WHY: dict[str, str] = {
    "not swept": "this measure has no curve over sigma",
    "one sigma": "sigma was not swept",
    "sweep too short": "the sweep does not reach the paper's sigma",
    "sweep's end": "best where the sweep ends, which is no optimum",
    "other heads": "this model's layers have another number of heads",
    "other weights": "in other weights a head's number means another head",
    "no masks": "no picture has a mask",
    "no interval": "one participant or picture gives no interval",
    "no test": "too few heads, participants or pictures to test",
    "no pairs": "too few heads, participants or pictures to test",
    "no score": "no score there",
    "too few heads": "fewer than three heads, or heads without a score",
    "other unit": "sigma is in another unit here",
    "unit not known": "",
    "other sigma": "scores at different sigmas are not compared",
    "sigma moves the target": "sigma changes the target as well as the match (see the warning)",
    "no number": "the paper has no figure; measures of the same data are no independent judges, so W only describes",
    "imported": "recorded elsewhere",
    "not set": "",
    "across the range": "the interval goes beyond the range",
    "": "",
}


def _reason(paper: Paper, row: Row, j: Judgement) -> str:
    """Why a verdict is as it is, with the figures that it rests on."""
    claim, some = row.claim, _heads(j.heads)
    p = "" if j.p is None else f"p {_p(j.p)}"
    match j.reason:
        case "not measured":
            return "fewer than two were computed" if isinstance(claim, Concordance) else "not computed in this study"
        case "other layer":
            return f"the paper's is layer {paper.layer}"
        case "in the interval" | "out of the interval":
            return _beside_interval(claim, j)
        case "p":
            return p if not isinstance(claim, Inside) else f"largest {p}"
        case "not shown":
            return f"not shown of {some}, largest {p}" if some else f"not shown, {p}"
        case "told apart":
            return f"told from every other head{', largest ' + p if p else ''}"
        case "ties":
            return f"{some} cannot be told from {_it(claim)} (largest {p})"
        case "ranked with ties":
            return f"{_end(claim)} in rank; {some} cannot be told from {_it(claim)} (largest {p})"
        case "others beyond" if isinstance(claim, Inside):
            return f"{some} {'has' if len(j.heads) == 1 else 'have'} more outside"
        case "others beyond":
            word = "farther" if isinstance(claim, Extreme) and claim.how == "farthest_heads" else "closer"
            return f"{some} {'is' if len(j.heads) == 1 else 'are'} {word} (smallest {p})"
        case "in range":
            return p
        case "out of range":
            return "the mean is out of the range" if j is row.published else "the whole interval is out of the range"
        case reason:
            return _WHY[reason]


def _beside_interval(claim: Any, j: Judgement) -> str:
    text = f"{'within' if j.verdict == 'holds' else 'beyond'} 1.96 standard errors"
    if isinstance(claim, BestSigma):
        text += " over participants x pictures, or half a step"
        text += ", if its unit is the same" if claim.unit is None else ""
    return text


def _best_sigma(r: Replication | None) -> str:
    if r is None:
        return "none"
    texts = []
    if r.best_sigma_mean is not None and r.best_sigma_se is not None:
        texts.append(f"{number(r.best_sigma_mean)}{_error(r.best_sigma_se)} over heads")
    if (over := r.over_cells) is not None:
        texts.append(f"{number(over.mean)}{_error(over.se)} over {over.cells:,} participants x pictures")
        if over.at_edge:
            texts.append(f"{over.at_edge:,} of these at the sweep's end")
    return f"{_joined(texts)} ({UNIT_WORDS[r.sigma_unit]})" if texts else "none"


def _anova(r: Replication | None) -> str:
    if r is None or r.anova is None:
        return ""
    a = r.anova
    return f"F({a.df1}, {a.df2}) = {number(a.f)}, p {_p(a.p)}, η² {number(a.eta_squared, 3)} at σ = {r.sigma:g}"


def _quasi_f(s: LayerReading | None) -> str:
    if s is None or s.head_effect is None:
        return ""
    e, holm = s.head_effect, s.head_effect_p_holm
    p = f"p {_p(e.p)}" if holm is None else f"p {_p(holm)} (Holm)"
    return f"quasi-F({number(e.df1, 1)}, {number(e.df2, 1)}) = {number(e.f)}, {p} at σ = {s.sigma:g}"


def _in_order(ranked: Sequence[str], n: int, *, back: bool) -> str:
    """The first or last `n` heads in rank and the one behind or before them."""
    named = list(ranked[::-1] if back else ranked)[: n + 1]
    numbers = [head_label(h).removeprefix("head ") for h in named]
    word = "head" if len(named) == 1 else "heads"
    return f"{'last' if back else 'first'} {word} {', '.join(numbers)}"


def _means(claim: HeadMean, r: Replication | None, s: LayerReading | None) -> list[str]:
    name = head_name(claim.head)
    texts = []
    curve = next((c for c in r.curves if c.map == name), None) if r else None
    if r is not None and curve is not None:
        wanted = r.sigma if claim.sigma is None else claim.sigma
        at = min(range(len(r.sigmas)), key=lambda i: abs(r.sigmas[i] - wanted))
        mean = curve.mean[at]
        texts += [] if mean is None else [f"{number(mean)} at σ = {r.sigmas[at]:g}"]
    reading = next((h for h in s.heads if h.map == name), None) if s else None
    if s is not None and reading is not None:
        texts.append(f"{number(reading.value.mean)}{_between(reading.value)} at σ = {s.sigma:g}")
    return texts


def _lift(row: Row) -> str:
    if not row.here.lifts:
        return "none"
    lift = row.here.lifts[0]
    tested = "" if lift.lift_pp.p is None else f", p {_p(lift.lift_pp.p)}"
    if lift.lift_p_holm is not None:
        tested += f" (Holm: p {_p(lift.lift_p_holm)})"
    return f"{number(lift.lift_pp.mean, 1)} points{_between(lift.lift_pp, 1)}{tested}"


def _insides(row: Row) -> str:
    if not row.here.lifts:
        return "none"
    shares = [100 * x.inside.mean for x in row.here.lifts]
    more = sum(share > 50 for share in shares)
    return (
        f"{more} of {plural(len(shares), 'head')} with more inside than outside; inside "
        f"{number(min(shares), 1)} to {number(max(shares), 1)} %"
    )


def _between(e: Any, decimals: int = 2) -> str:
    return "" if e.low is None else f" ({number(e.low, decimals)} to {number(e.high, decimals)})"


def _joined(texts: Sequence[str]) -> str:
    return "; ".join(text for text in texts if text) or "none"


def _error(se: float | None, decimals: int | None = 3) -> str:
    """A standard error behind its mean, nothing where there is none; the paper's own as it stands (None)."""
    return "" if se is None else f" ± {se:g}" if decimals is None else f" ± {number(se, decimals)}"


def _sweep(first: float, last: float, step: float) -> str:
    return f"{first:g} to {last:g} in steps of {step:g}"


def _measures(measures: Sequence[str]) -> str:
    return listed([MEASURES[m].label for m in measures])


def _value(value: object) -> str:
    return (
        {True: "yes", False: "no"}[value]
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _heads(heads: Sequence[str]) -> str:
    """Heads for a sentence; of many, how many."""
    return "" if not heads else heads_listed(heads) if len(heads) <= MOST_HEADS else f"{len(heads)} heads"


def _it(claim: Any) -> str:
    return "them" if isinstance(claim, Extreme) and len(claim.heads) > 1 else "it"


def _end(claim: Any) -> str:
    return "last" if isinstance(claim, Extreme) and claim.how == "farthest_heads" else "first"


def _level(p: float) -> str:
    """The paper's own level, as it is printed.

    >>> _level(0.0001), _level(0.05)
    ('.0001', '.05')
    """
    return f"{p:.10f}".rstrip("0").removeprefix("0")


def _p(p: float) -> str:
    """A p value to four places: papers claim p <= .0001.

    >>> _p(0.00002), _p(0.03125)
    ('< .0001', '= .0312')
    """
    return "< .0001" if p < 0.0001 else f"= {p:.4f}".replace("0.", ".")
