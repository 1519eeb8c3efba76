"""Numbers and names as readers see them: on the page, in figures and in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from beholder.analysis.alignment.measures import MEASURES, Measure
from beholder.analysis.results.map_names import head_number, is_head
from beholder.analysis.results.study_results import ModelSummary, Results
from beholder.analysis.statistics.crossed import Estimate
from beholder.shared.study import Study

UNITS = {"deg": "°", "px": " px", "patch": " patches", "percent": " % of the width"}


AXIS_UNITS = {"deg": "degrees", "px": "px of the picture", "patch": "patches", "percent": "% of the picture's width"}


def head_label(name: str) -> str:
    """The label of a model's map.

    >>> head_label("head-03"), head_label("mean")
    ('head 3', 'mean of heads')
    """
    return f"head {head_number(name)}" if is_head(name) else {"mean": "mean of heads"}.get(name, name)


def measure_label(measure: str) -> str:
    """An axis label: the measure, its unit, and whether higher or lower is closer."""
    m = MEASURES[measure]
    unit = f" ({m.unit})" if m.unit else ""
    return f"{m.label}{unit}, {m.closer} is closer"


MINUS = "\u2212"


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
    """A table's cell as text: at most three decimals, one for per cent and df; p values by `p_value`, unknown n/a."""
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
    """A difference between scores, with the measure's unit and name.

    >>> amount(0.5, MEASURES["nss"]), amount(0.5, MEASURES["cc"])
    ('0.50 SD of NSS', "0.50 in Pearson's CC")
    """
    return f"{number(value)} {measure.unit + ' of ' if measure.unit else 'in '}{measure.label}"


def listed(words: Sequence[str]) -> str:
    """Words joined for a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def heads_listed(heads: Sequence[str]) -> str:
    """Heads joined for a sentence, in the order of their numbers.

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


def sigma_text(study: Study, sigma: float) -> str:
    """Sigma with its unit."""
    return f"{sigma:g}{UNITS[study.maps.sigma_unit]}"


def model_of(results: Results, name: str) -> ModelSummary:
    """The summary of the model of that name."""
    return next(m for m in results.summary.models if m.name == name)


def short_label(model: ModelSummary) -> str:
    """A model's label up to its first colon; what follows is too long for a caption."""
    return model.label.partition(":")[0]


def layer_label(results: Results, model: str, layer: int) -> str:
    """A layer with its model, as captions name it."""
    return f"{short_label(model_of(results, model))}, layer {layer}"


def layer_words(results: Results, model: str, layer: int) -> str:
    """A layer as sentences name it: "the last layer", or by its number."""
    return "the last layer" if layer == model_of(results, model).layers else f"layer {layer}"


def viewers(results: Results, n: int) -> str:
    """`n` viewers in words; simulated observers are never called people."""
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


def p_equals(p: float) -> str:
    """A p value with its sign, = or <, to follow the letter p."""
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
