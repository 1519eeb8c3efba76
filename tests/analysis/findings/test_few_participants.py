"""With fewer than six participants nothing is said of others that rests on the number of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from beholder.analysis.findings.readings import read_findings
from beholder.analysis.report.page import write_report
from beholder.analysis.report.prose.finding import finding
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import read_results
from beholder.analysis.statistics.crossed import FEWEST_LEVELS, crossed_interval, groups_interval
from beholder.analysis.statistics.mixed_model import fit_tables


def crossed(rng: np.random.Generator, shape: tuple[int, int, int], by_person: float, by_picture: float) -> np.ndarray:
    """Scores (participants, pictures, heads) of heads that do not differ."""
    people, pictures, heads = shape
    return (
        rng.normal(0, 0.5, (people, 1, 1)) + rng.normal(0, 0.5, (1, pictures, 1))
        + rng.normal(0, by_person, (people, 1, heads)) + rng.normal(0, by_picture, (1, pictures, heads))
        + rng.normal(0, 1, shape)
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 20), (5, 20), (30, 5), (4, 4)])
def test_few_levels_have_their_own_degrees_of_freedom(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(1).normal(0, 1, shape)
    assert crossed_interval(scores).df == min(shape) - 1
    assert fit_tables(scores[:, :, None]).df == min(shape) - 1
    other = np.random.default_rng(2).normal(0, 1, shape)
    assert groups_interval(scores, other).df == min(shape) - 1


def test_from_six_on_they_are_satterthwaites() -> None:
    scores = np.random.default_rng(1).normal(0, 1, (FEWEST_LEVELS, 20))
    assert float(crossed_interval(scores).df or 0) > FEWEST_LEVELS - 1


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "by_person"), [((5, 20, 12), 0.3), ((4, 40, 12), 0.3), ((30, 5, 12), 0.3)])
def test_simultaneous_pairs_of_few_do_not_err_more_often_than_claimed(
    shape: tuple[int, int, int], by_person: float
) -> None:
    """200 studies whose heads do not differ; with Satterthwaite's own df 10, 31 and 21 % had a pair that does."""
    rng = np.random.default_rng(3)
    erred = 0
    for _ in range(200):
        y = crossed(rng, shape, by_person, 0.3)
        pairs = [crossed_interval(y[:, :, i] - y[:, :, j]).p for i, j in combinations(range(12), 2)]
        erred += min(p for p in pairs if p is not None) * len(pairs) < 0.05
    assert erred / 200 <= 0.05


def test_quality_and_pictures_come_first(quick: None, make_study: Callable[..., Path]) -> None:
    text = write_report(make_study(participants=5)).read_text("utf-8")
    first, rest = text.split("</h1>")
    assert first.endswith("on 4 objects: too few for conclusions about others, which take 6 participants.")
    assert "Among these, head 4 of the last layer comes closest to where they looked" in rest
    assert text.index('id="h-heads"') < text.index("Among these, head 4") < text.index("Between floor and ceiling")
    assert text.index('id="quality"') < text.index('id="look"') < text.index('id="figure-heads"')
    text = write_report(make_study(participants=6)).read_text("utf-8")
    assert "too few" not in text.partition("</h1>")[0]
    assert text.index('id="figure-heads"') < text.index('id="quality"')


def test_no_head_is_named_that_loses_to_an_even_spread(make_study: Callable[..., Path]) -> None:
    folder = make_study(participants=5)
    results, findings = read_results(folder), read_findings(results_folder(folder))

    def with_lead(lead: float) -> str:
        main = findings.main()
        references = tuple(
            replace(r, lead=replace(r.lead, mean=lead)) if r.map == "uniform" else r for r in main.references
        )
        sound = tuple(replace(s, references=references) if s == main else s for s in findings.sound)
        return finding(results, replace(findings, sound=sound)).of_heads

    assert "no head comes closer to where they looked than an even spread over the picture does" in with_lead(-0.1)
    assert "head 4" not in with_lead(-0.1)
    assert "head 4 of the last layer comes closest" in with_lead(0.1)


def test_an_interval_of_few_is_as_wide_as_their_number_makes_it(make_study: Callable[..., Path]) -> None:
    findings = read_findings(results_folder(make_study(participants=3, pictures=8)))
    for head in findings.main().heads:
        assert head.value.df == 2 and head.gain is not None and head.gain.df == 2
