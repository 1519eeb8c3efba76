"""The head that is named: closest of all layers, claimed by a test that knows of the choice, or chosen on a half."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.analysis.findings.readings import Findings, LayerReading, read_findings
from beholder.analysis.findings.score_arrays import at_fixed_sigma, attention_effect, pseudo_values
from beholder.analysis.pipeline.alignment_stage import chance_blocks, picture_halves
from beholder.analysis.report.page import write_report
from beholder.analysis.report.prose.finding import finding
from beholder.analysis.report.prose.statistics import floor_sentences
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results, read_results
from beholder.analysis.statistics.crossed import crossed_interval


def said(results: Results, findings: Findings, **changes: object) -> str:
    """The first sentence if what is said of the named head were otherwise."""
    choice = replace(findings.choices[0], **changes)  # type: ignore[arg-type]
    return finding(results, replace(findings, choices=(choice, *findings.choices[1:]))).sentence


def of_model(findings: Findings, model: str) -> list[LayerReading]:
    return [s for s in findings.sound if s.primary and s.model == model]


# All pictures choose and estimate.


def test_the_named_head_is_the_closest_of_all_layers(findings: Findings) -> None:
    for choice in findings.choices:
        means = {(s.layer, h.map): h.value.mean for s in of_model(findings, choice.model) for h in s.heads}
        assert min(means, key=lambda key: means[key]) == (choice.layer, choice.map)
        assert (choice.candidates, choice.layers) == (8, 2)
        assert choice.reading == findings.primary_of(choice.model, choice.layer).head(choice.map)
        assert choice.p == choice.reading.p_above_chance is not None


def test_it_is_called_closer_than_chance_by_permuted_pictures_alone(results: Results, findings: Findings) -> None:
    """Its interval and Holm's p within its layer do not know among how many layers it was chosen."""
    reading = findings.choices[0].reading
    sure = replace(reading, gain_p_holm=1e-6)
    assert "not shown to be above chance" in said(results, findings, reading=sure, p=0.051)
    unsure = replace(reading, gain_p_holm=0.9)
    sentence = said(results, findings, reading=unsure, p=0.049)
    assert "not shown" not in sentence and "p = .049 by permuted pictures over all 8 heads" in sentence
    assert reading.gain is not None
    farther = replace(reading, gain=replace(reading.gain, mean=-0.2, low=-0.3, high=-0.1))
    assert "farther than its own attention on other pictures" in (text := said(results, findings, reading=farther))
    assert "not shown to be above chance" in text


def test_attention_follows_the_picture_only_where_the_test_says_so(results: Results, findings: Findings) -> None:
    (first, *others) = findings.above_chance
    for p, words in ((0.04, "It says that attention follows"), (0.06, "It does not show that attention follows")):
        changed = replace(findings, above_chance=(replace(first, p=p), *others))
        assert words in floor_sentences(results, changed)[0]


def test_ties_are_sought_in_every_layer_over_the_pairs_of_all_heads(results: Results, findings: Findings) -> None:
    choice = findings.choices[0]
    cells = {layer: at_fixed_sigma(results, choice.model, layer, ["kl"])["kl"].cells for layer in (11, 12)}
    people = [i for i, p in enumerate(cells[12].participants) if p != "06"]  # who lacks a picture
    named = cells[choice.layer].at(choice.map, 1.0)[people]
    tied = set()
    for layer, of in cells.items():
        for head in (m for m in of.maps if m.startswith("head-")):
            e = crossed_interval(of.at(head, 1.0)[people] - named, confidence=1 - 0.05 / 28)
            if (layer, head) != (choice.layer, choice.map) and e.low is not None and e.low <= 0:
                tied.add((layer, head))
    assert choice.ties is not None and set(choice.ties) == tied and {layer for layer, _ in tied} == {11, 12}


def test_heads_of_other_layers_are_named_with_their_layer(results: Results, findings: Findings) -> None:
    ties = ((12, "head-03"), (11, "head-04"), (11, "head-02"))
    assert "head 3 and heads 2 and 4 of layer 11 cannot be told from it" in said(results, findings, ties=ties)
    assert "every other head of any layer is farther" in said(results, findings, ties=())
    assert "none of the others of any layer can be told from it" in said(results, findings, ties=ties + ties + ties[:1])
    many = tuple((11, f"head-{i:02d}") for i in range(1, 10))
    sentence = said(results, findings, ties=many, candidates=24)
    assert "9 of the other 23 heads of any layer cannot be told from it" in sentence
    assert "cannot be tested" in said(results, findings, ties=None)


def test_what_is_no_head_and_comes_closer_stands_in_the_sentence(results: Results, findings: Findings) -> None:
    def with_lead(low: float, high: float) -> str:
        main = findings.main()
        changed = tuple(
            replace(r, lead=replace(r.lead, low=low, high=high)) if r.map == "centre-fitted" else r
            for r in main.references
        )
        sound = tuple(replace(s, references=changed) if s == main else s for s in findings.sound)
        return finding(results, replace(findings, sound=sound)).sentence

    assert with_lead(-0.3, -0.1).endswith("; a centre bias fitted to other pictures comes closer still.")
    assert "closer still" not in with_lead(-0.3, 0.1)


# One half of the pictures chooses, the other estimates.


@given(st.integers(4, 40), st.integers(0, 2**20), st.integers(2, 50))
def test_halves_split_blocks_and_kinds_as_evenly_as_they_can(n: int, seed: int, most: int) -> None:
    kinds = {f"p{i:02d}": "bag" if i % 3 else "jar" for i in range(n)}
    blocks = chance_blocks(list(kinds), most, seed)
    halves = picture_halves(blocks, kinds, seed)
    assert set(halves) == set(kinds) and picture_halves(blocks, kinds, seed) == halves
    for block in {tuple(sorted([name, *others])) for name, others in blocks.items()}:
        for some in ([*block], [name for name in block if kinds[name] == "jar"]):
            assert abs(sum(2 * halves[name] - 1 for name in some)) <= 1


def test_a_head_that_half_of_the_pictures_choose_is_estimated_on_the_other_half(halved_folder: Path) -> None:
    results, findings = read_results(halved_folder), read_findings(results_folder(halved_folder))
    (choice,) = findings.choices
    names = [f"object-{i + 1:02d}" for i in range(8)]
    assert (choice.chosen_on, choice.estimated_on) == (tuple(names[::2]), tuple(names[1::2]))
    fixed = results.scores("fixed", [("drift_corrected", "==", False), ("within", "==", "picture")])
    fixed = fixed[(fixed["window_end_s"] == 10.0) & fixed["map"].str.startswith("head-")]
    # Participant 06 lacks the third picture, of the first half, and has all of the second.
    people = [f"{i + 1:02d}" for i in range(7)]
    chosen = fixed[fixed["stimulus"].isin(names[::2]) & fixed["participant"].isin(set(people) - {"06"})]
    means = chosen.groupby(["layer", "map"])["kl"].mean()
    assert (choice.layer, choice.map) == means.idxmin()
    own = [("layer", "==", choice.layer), ("map", "==", choice.map), ("drift_corrected", "==", False)]

    def wide(rows: pd.DataFrame) -> np.ndarray:
        table = rows.pivot_table(index="participant", columns="stimulus", values="kl")
        return table.reindex(index=people, columns=names[1::2]).to_numpy(dtype=float)

    chance = results.scores("chance", own)
    square = chance[(chance["of"] == "picture") & chance["same_half"]].pivot_table(
        index="stimulus", columns="attention_of", values="kl"
    )
    assert set(square.loc[names[1]].dropna().index) == set(names[3::2])
    effect = attention_effect(square.loc[names[1::2], names[1::2]].to_numpy(dtype=float))
    score = wide(fixed[(fixed["layer"] == choice.layer) & (fixed["map"] == choice.map)])
    gain = pseudo_values(wide(chance[chance["of"] == "same half"]), effect) - score
    reading = choice.reading
    assert reading.gain is not None and (reading.value.participants, reading.value.pictures) == (7, 4)
    assert reading.value.mean == pytest.approx(score.mean())
    assert reading.gain.mean == pytest.approx(gain.mean())
    assert reading.gain.standard_error == pytest.approx(crossed_interval(gain).standard_error)
    # Four pictures have 24 orders.
    assert choice.p is not None and choice.p >= 1 / 24


def test_the_page_says_what_was_chosen_on_which_pictures(quick: None, halved_folder: Path, tmp_path: Path) -> None:
    results, findings = read_results(halved_folder), read_findings(results_folder(halved_folder))
    found = finding(results, findings)
    assert "is the closest on 4 objects; on the other 4 it is" in found.sentence
    notes = {note.lead: note.text for note in found.notes}
    assert "object-01, object-03, object-05 and object-07" in notes["Chosen on half of the pictures."]
    page = write_report(Path(shutil.copytree(halved_folder, tmp_path / "study"))).read_text("utf-8")
    assert "chosen on half of the pictures, drawn at random" in page


# How often a gain is claimed where there is none.


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "bench_inference.py"
    spec = importlib.util.spec_from_file_location("bench_inference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_inference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_where_no_head_gains_anything_the_sentence_seldom_claims_it(benchmark: ModuleType) -> None:
    """100 studies of 12 layers of 12 heads; the benchmark has 300 and more layouts. 5 % and four standard errors."""
    answers = [benchmark.null_study(12, 12, np.random.default_rng([20266, k])) for k in range(100)]
    claimed, before = (
        np.mean([a[rule] for a in answers]) for rule in ("by permuted pictures", "by Holm within the layer")
    )
    print(f"claimed {claimed:.2f}; by Holm's p within the layer {before:.2f}")
    assert claimed <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert before > claimed
