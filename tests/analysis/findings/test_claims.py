"""Claims of a paper: a mistake in a file is one sentence; verdicts follow planted truth, and say why there is none."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from beholder.analysis.findings.claims import (
    SHIPPED,
    BestSigma,
    Claim,
    Claims,
    LiftRange,
    claims_files,
    heads_of,
    read_claims,
    shipped,
)
from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.object_lift import lifts
from beholder.analysis.findings.readings import Findings, ObjectLift, read_findings
from beholder.analysis.findings.replication import replicate
from beholder.analysis.findings.reproduction import (
    Judgement,
    Reason,
    Row,
    best_sigma,
    closeness,
    concordance,
    extreme,
    inside_over_outside,
    lift_published,
    lift_sound,
    main_layer,
    reproduce,
)
from beholder.analysis.findings.score_arrays import ScoreArray
from beholder.analysis.report.page import write_report
from beholder.analysis.report.prose.claims import claim_columns, claims_sentences, verdict_words
from beholder.analysis.report.prose.statistics import replication_sentences
from beholder.analysis.report.tables import against_paper, make_tables
from beholder.analysis.results.files import write_json
from beholder.analysis.results.map_names import head_name, is_head
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results, read_results
from beholder.analysis.statistics.crossed import Estimate
from beholder.shared.errors import StudyError
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import read_study, write_study

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
PAPER = '[paper]\nauthors = ["Clark"]\ntitle = "T"\nyear = 1973\n'
ONE = '[[claims]]\nid = "a"\nstatement = "s"\n'


def claims(*each: dict[str, Any], **paper: Any) -> Claims:
    """A file of claims, as it would be read."""
    of = {"authors": ["Clark"], "title": "T", "year": 1973} | paper
    numbered = [{"id": f"claim-{i}", "statement": "It is so"} | claim for i, claim in enumerate(each)]
    return Claims.model_validate({"paper": of, "claims": numbered})


def judged(folder: Path, *each: dict[str, Any], **paper: Any) -> list[Row]:
    results = read_results(folder)
    return list(reproduce(claims(*each, **paper), results, read_findings(results_folder(folder))))


def verdicts(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.published.verdict, row.sound.verdict) for row in rows]


# The file.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x =", ["not valid TOML", "mend"]),
        (PAPER, ["claims is missing"]),
        ("claims = [3]\n" + PAPER, ["claims 1"]),
        (PAPER + ONE, ['"a", how is missing', "best_sigma", "kendall_w"]),
        (PAPER + ONE + 'how = "magic"', ['"a", how', "one of participants", '"magic"']),
        (PAPER + ONE + 'how = "participants"', ['"a", number is missing']),
        (PAPER + ONE + 'how = "participants"\nnumber = 2.5', ['"a", number', "integer", "2.5"]),
        (PAPER + ONE + 'how = "measures"\nmeasures = ["kl", "xx"]', ['"a", measures 2', "'auc_judd'", "'xx'"]),
        (PAPER + ONE + 'how = "measures"\nmeasures = ["kl"]\nstatement2 = 1', ['"a", statement2', "no such key"]),
        (PAPER + ONE + 'how = "best_sigma"\nmeasures = ["kl", "kl"]\nsigma = 1', ["measures", "twice"]),
        (PAPER + ONE + 'how = "best_sigma"\nmeasures = ["kl"]\nsigma = nan', ["sigma", "finite", "nan"]),
        (PAPER + ONE + 'how = "best_sigma"\nmeasures = ["kl"]\nsigma = 1\nunit = "inch"', ["unit", "'deg'", "'inch'"]),
        (PAPER + ONE + 'how = "closest_heads"\nheads = [0]\nmeasures = ["kl"]', ["heads 1", "0 is not"]),
        (PAPER + ONE + 'how = "closest_heads"\nheads = [1, 1]\nmeasures = ["kl"]', ["heads", "named twice"]),
        (PAPER + ONE + 'how = "setting"\nkey = "protocol.nope"\nvalue = 1', ["no such setting", "'protocol.nope'"]),
        (PAPER + ONE + 'how = "setting"\nkey = "protocol.dot_s"\nvalue = 2020-01-01', ["date", "quotes"]),
        (PAPER + ONE + 'how = "lift"\nheads = [1]\nlow_pp = 30\nhigh_pp = 20', ["high_pp (20)", "low_pp (30)"]),
        (PAPER + "heads = 4\n" + ONE + 'how = "lift"\nheads = [5]\nlow_pp = 1', ['"a" names head 5', "heads is 4"]),
        (PAPER + ONE + 'how = "model"\n' + ONE + 'how = "model"', ['two claims have the id "a"']),
        (PAPER + '[[claims]]\nstatement = "s"\nhow = "model"', ["claims 1, id is missing"]),
        (PAPER.replace("1973", '"1973"') + ONE + 'how = "model"', ["paper, year", "integer", "'1973'"]),
    ],
)
def test_a_mistake_is_one_sentence_with_file_claim_key_rule_and_value(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(StudyError) as error:
        read_claims(path)
    sentence = str(error.value)
    assert str(path) in sentence and "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


def test_a_file_that_is_not_there_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r'called "carasco-2025".*carrasco-2025'):
        claims_files(tmp_path, ["carasco-2025"])
    with pytest.raises(StudyError, match=r"code/mine\.toml does not exist: put it there"):
        claims_files(tmp_path, ["code/mine.toml"])
    assert claims_files(tmp_path, []) == ()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "Carrasco 2025.toml").write_text((SHIPPED / "carrasco-2025.toml").read_text("utf-8"), "utf-8")
    with pytest.raises(StudyError, match=r'two files are called "carrasco-2025"'):
        claims_files(tmp_path, ["carrasco-2025", "Carrasco 2025.toml"])


@pytest.mark.parametrize("name", ["/etc/claims.toml", "../claims.toml"])
def test_a_file_of_claims_lies_in_the_study(tmp_path: Path, name: str) -> None:
    (tmp_path / "study.toml").write_text(f'[alignment]\nclaims = ["{name}"]')
    with pytest.raises(StudyError, match=r"alignment\.claims.*in the study's folder"):
        read_study(tmp_path)


def test_a_study_without_the_key_has_the_shipped_paper(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[alignment]\npooled = false")
    [file] = claims_files(tmp_path, read_study(tmp_path).alignment.claims)
    assert file.name == "carrasco-2025" and file.content.paper.label == "Carrasco et al. (2025)"


def test_what_is_shipped_is_read_and_belongs_to_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert shipped()
    for name in shipped():
        read_claims(SHIPPED / f"{name}.toml")
        assert any(fnmatch(f"papers/{name}.toml", pattern) for pattern in patterns["beholder.analysis.findings"])


def test_the_guides_example_is_read(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "claims.md").read_text("utf-8")
    [example] = [block for block in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "[paper]" in block]
    (tmp_path / "example.toml").write_text(example, "utf-8")
    assert read_claims(tmp_path / "example.toml").paper.label == "Clark and Moss (2024)"
    kinds = {k for of in Claim.__args__ for k in of.model_fields["how"].annotation.__args__}
    assert all(f"`{kind}`" in guide for kind in kinds)


# The shipped paper against studies.


@pytest.mark.parametrize(
    "properties",
    [
        {"masks": False, "participants": 1},
        {"pictures": 1, "heads": 1, "shuffled": False},
        {"sigmas": 1, "geometry": False, "simulated": False},
        {"heads": 12, "models": ("vit_base_patch16_224.dino",), "pictures": 2, "participants": 3, "sigmas": 3},
    ],
    ids=lambda p: ", ".join(f"{k}={v}" for k, v in p.items()),
)
def test_every_claim_that_is_shipped_is_computed_or_says_why_not(
    make_study: Callable[..., Path], properties: dict[str, Any]
) -> None:
    folder = make_study(**properties)
    results, found = read_results(folder), read_findings(results_folder(folder))
    content = read_claims(SHIPPED / "carrasco-2025.toml")
    rows = reproduce(content, results, found)
    assert {row.claim.id for row in rows} == {claim.id for claim in content.claims}
    for row in rows:
        for judgement in (row.published, row.sound):
            assert judgement.reason or judgement.verdict in ("as in the paper", "differs")
        words = claim_columns(content.paper, row)
        assert all(words[c] for c in words if c != "by"), words
        assert not any(bad in text for text in words.values() for bad in ("nan", "None", "head-"))
    sentences = " ".join(claims_sentences(content.paper, rows, results, main_layer(content, found)))
    assert "20 findings" in sentences and "nothing is tuned" in sentences


def test_every_reason_has_its_words(small_folder: Path) -> None:
    content = read_claims(SHIPPED / "carrasco-2025.toml")
    [row] = judged(small_folder, {"how": "closest_heads", "heads": [1], "measures": ["kl"]})
    said = {r: verdict_words(content.paper, row, Judgement("holds", r, ("head-01",), 0.5)) for r in get_args(Reason)}
    assert {reason for reason, words in said.items() if words == "holds"} == {"", "unit not known", "not set"}


def test_heads_by_number_are_those_of_the_papers_own_weights_alone(small_folder: Path) -> None:
    closest = {"how": "closest_heads", "heads": [4], "measures": ["kl"]}
    folder = small_folder
    assert verdicts(judged(folder, closest, models=["first"], heads=4)) != [("not testable", "not testable")]
    for paper, reason in (
        ({"models": ["another"]}, "other weights"), ({"heads": 6}, "other heads"), ({"layer": 11}, "other layer")
    ):  # fmt: skip
        [row] = judged(folder, closest, **paper)
        assert (row.published, row.sound) == (Judgement("not testable", reason),) * 2  # type: ignore[arg-type]
    [row] = judged(folder, closest | {"heads": [9]})
    assert row.sound.reason == "other heads"


def test_how_a_study_was_made_is_set_beside_the_papers(small_folder: Path) -> None:
    folder = small_folder  # 6 participants, 4 pictures, 4 heads, sigmas 0.8 to 4; one cell of 24 is missing
    rows = judged(
        folder,
        {"how": "participants", "number": 6},
        {"how": "pictures", "number": 20},
        {"how": "evaluations", "number": 23 * 4 * 5 * 4},
        {"how": "sweep", "first": 0.8, "last": 4.0, "step": 0.8},
        {"how": "sweep", "first": 0.8, "last": 4.0, "step": 0.8, "unit": "px"},
        {"how": "measures", "measures": ["kl", "cc"]},
        {"how": "measures", "measures": ["kl", "auc"]},
        {"how": "setting", "key": "protocol.picture_s", "value": 10},
        {"how": "setting", "key": "maps.smooth", "value": "both"},
        {"how": "model"},
        models=["first"],
        heads=4,
    )
    same, other = ("as in the paper",) * 2, ("differs",) * 2
    assert verdicts(rows) == [same, other, same, same, other, same, other, same, other, same]
    assert {row.of for row in rows} == {"design"}


def test_what_imported_recordings_were_shown_is_not_known(results: Results, findings: Findings) -> None:
    imported = replace(results, summary=replace(results.summary, sources=("fixations",)))
    said = claims({"how": "setting", "key": "protocol.picture_s", "value": 10.0})
    assert reproduce(said, imported, findings)[0].published == Judgement("cannot be told", "imported")


# Verdicts, against planted truth.


MEASURES = ["kl", "cc", "sim", "ssim"]


def test_what_is_planted_and_large_holds_under_both_readings(decisive_folder: Path) -> None:
    rows = judged(
        decisive_folder,
        {"how": "closest_heads", "heads": [4], "measures": [*MEASURES, "nss"]},
        {"how": "farthest_heads", "heads": [1], "measures": MEASURES, "p": 0.05},
        {"how": "closest_heads", "heads": [3, 4], "measures": MEASURES},
        {"how": "anova", "measures": MEASURES},
    )
    nss = next(row for row in rows if row.measure == "nss")
    assert (nss.published.reason, nss.sound.verdict) == ("not swept", "holds")
    assert set(verdicts([row for row in rows if row is not nss])) == {("holds", "holds")}
    # The head effect of a secondary measure counts by Holm's p, that of the primary one by its own.
    for row in (row for row in rows if row.claim.how == "anova"):
        assert row.here.sound is not None and row.here.sound.head_effect is not None
        corrected = row.here.sound.head_effect_p_holm
        assert (corrected is None) == (row.measure == "kl")
        assert row.sound.p == (row.here.sound.head_effect.p if corrected is None else corrected)


def test_the_contrary_of_what_is_planted_does_not_hold(decisive_folder: Path) -> None:
    rows = judged(
        decisive_folder,
        {"how": "closest_heads", "heads": [1], "measures": MEASURES},
        {"how": "farthest_heads", "heads": [4], "measures": MEASURES},
        {"how": "closest_heads", "heads": [2, 4], "measures": MEASURES},
    )
    assert set(verdicts(rows)) == {("does not hold", "does not hold")}
    assert rows[0].sound.heads == (head_name(4), head_name(3), head_name(2))
    assert {row.sound.heads for row in rows[8:]} == {(head_name(3),)}


def test_where_heads_do_not_differ_nothing_can_be_told(make_study: Callable[..., Path]) -> None:
    folder = make_study(effect=0.0, participants=4, pictures=3)
    found = read_findings(results_folder(folder)).main()
    last = int(found.ranked[-1][-2:])
    [row] = judged(folder, {"how": "closest_heads", "heads": [last], "measures": ["kl"]})
    assert row.sound == Judgement("cannot be told", "ties", found.ranked[:-1], row.sound.p)
    [row] = judged(folder, {"how": "anova", "measures": ["kl"]})
    assert row.sound.verdict == "cannot be told"


@pytest.fixture(scope="module")
def parts(decisive_folder: Path) -> tuple[Results, str]:
    return read_results(decisive_folder), (results_folder(decisive_folder) / "inference.json").read_text("utf-8")


@settings(max_examples=15)
@given(order=st.permutations([1, 2, 3, 4]), heads=st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
def test_heads_by_other_numbers_have_the_verdicts_of_these_numbers(
    parts: tuple[Results, str], order: list[int], heads: list[int]
) -> None:
    results, text = parts
    for new, old in enumerate(order, start=1):
        text = text.replace(head_name(old), f"head+{new:02d}")
    renamed = TypeAdapter(Findings).validate_json(text.replace("head+", "head-"))
    number = {old: new for new, old in enumerate(order, start=1)}

    def of(named: list[int]) -> Claims:
        each = [{"how": how, "heads": named, "measures": MEASURES} for how in ("closest_heads", "farthest_heads")]
        return claims(*each, {"how": "lift", "heads": named, "low_pp": 20}, {"how": "kendall_w", "measures": MEASURES})

    before = reproduce(of(heads), results, TypeAdapter(Findings).validate_json(parts[1]))
    after = reproduce(of([number[h] for h in heads]), results, renamed)
    assert verdicts(list(before)) == verdicts(list(after))
    assert [row.here.w for row in before] == [row.here.w for row in after]


def test_heads_first_in_rank_hold_without_a_test_and_only_with_one_where_the_claim_has_one() -> None:
    ranked, pairs = ["a", "b", "c"], {("a", "b"): 0.4, ("a", "c"): 0.01, ("b", "c"): 0.2}
    assert extreme(["a"], ranked, pairs, by_rank=True) == Judgement("holds", "ranked with ties", ("b",), 0.4)
    assert extreme(["a"], ranked, pairs, by_rank=False) == Judgement("cannot be told", "ranked with ties", ("b",), 0.4)
    assert extreme(["b"], ranked, pairs, by_rank=True) == Judgement("cannot be told", "ties", ("a", "c"), 0.4)
    assert extreme(["c"], ranked, pairs, by_rank=True) == Judgement("does not hold", "others beyond", ("a",), 0.01)
    assert extreme(["a"], ranked, pairs, 0.5, by_rank=False) == Judgement("holds", "told apart", (), 0.4)


# Best sigma.


def bumps(best: list[list[float]], sigmas: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0)) -> ScoreArray:
    """One head whose score by participant and picture is highest at these sigmas."""
    at = np.array(best)[:, :, None, None]
    names = tuple(str(i) for i in range(max(at.shape)))
    return ScoreArray(-((np.array(sigmas) - at) ** 2), names[: len(at)], names[: at.shape[1]], ("head-01",), sigmas)


def test_the_best_sigma_over_participants_and_pictures_is_worked_by_hand() -> None:
    cells = bumps([[2.0, 3.0], [3.0, 5.0]])
    cells.scores[0, 1, 0, 2] = np.nan  # without its own best: 2 is the first of the next best, which are equal
    found = replicate(cells, "m", 12, "cc", "deg", pairs=False)
    over = found.over_cells
    assert over is not None
    # 2, 2, 3 and 5: mean 3, squares 1 + 1 + 0 + 4 = 6.
    assert (over.mean, over.cells, over.at_edge) == (3.0, 4, 1)
    assert (over.sd, over.se) == (pytest.approx(np.sqrt(6 / 3)), pytest.approx(np.sqrt(6 / 3) / 2))
    # Over heads there is one, and no SE.
    assert found.best_sigma_se is None


def test_a_participant_and_picture_without_a_score_of_every_head_has_no_best_sigma() -> None:
    one = bumps([[2.0, 4.0]])
    both = ScoreArray(
        np.concatenate([one.scores, one.scores], axis=2),
        one.participants,
        one.pictures,
        ("head-01", "head-02"),
        one.sigmas,
    )
    both.scores[0, 1, 1] = np.nan
    over = replicate(both, "m", 12, "cc", "deg", pairs=False).over_cells
    assert over is not None
    assert (over.mean, over.cells, over.sd, over.se) == (2.0, 1, None, None)


def test_one_sigma_is_no_sweep() -> None:
    assert replicate(bumps([[1.0, 1.0]], (1.0,)), "m", 12, "cc", "deg", pairs=False).over_cells is None


def claimed(sigma: float, se: float = 0.0, unit: str | None = None) -> BestSigma:
    return BestSigma.model_validate(
        {"id": "a", "statement": "s", "how": "best_sigma", "measures": ["cc"], "sigma": sigma, "se": se, "unit": unit}
    )


@pytest.mark.parametrize(
    ("best", "claim", "verdict", "reason"),
    [
        # Mean 3, SE sqrt(2 / 3) / 2 = .41, so 1.96 SE = .80.
        ([[2.0, 3.0], [3.0, 4.0]], claimed(3.7), "holds", "in the interval"),
        ([[2.0, 3.0], [3.0, 4.0]], claimed(3.9), "does not hold", "out of the interval"),
        ([[2.0, 3.0], [3.0, 4.0]], claimed(3.9, 0.3), "holds", "in the interval"),
        ([[3.0, 3.0], [3.0, 3.0]], claimed(3.5), "holds", "in the interval"),  # half a step
        ([[3.0, 3.0], [3.0, 3.0]], claimed(3.6), "does not hold", "out of the interval"),
        ([[3.0, 3.0], [3.0, 3.0]], claimed(6.0), "not testable", "sweep too short"),
        ([[3.0, 3.0], [3.0, 3.0]], claimed(3.0, 0.0, "px"), "not testable", "other unit"),
        ([[5.0, 5.0], [5.0, 4.0]], claimed(5.0), "not testable", "sweep's end"),
        ([[5.0, 5.0], [3.0, 1.5]], claimed(3.0), "not testable", "sweep's end"),  # half of them
        ([[3.0]], claimed(3.0), "not testable", "no interval"),
    ],
)
def test_a_best_sigma_is_the_papers_within_its_errors(
    best: list[list[float]], claim: BestSigma, verdict: str, reason: str
) -> None:
    found = best_sigma(claim, replicate(bumps(best), "m", 12, "cc", "deg", pairs=False))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_the_sound_reading_says_nothing_of_a_best_sigma(decisive_folder: Path) -> None:
    rows = judged(decisive_folder, {"how": "best_sigma", "measures": ["kl", "auc"], "sigma": 2.4})
    assert [row.sound.reason for row in rows] == ["sigma moves the target", "not measured"]
    assert [row.published.verdict for row in rows] == ["holds", "not testable"]


def test_both_best_sigmas_are_named_in_sentence_table_and_json(decisive_folder: Path) -> None:
    results, found = read_results(decisive_folder), read_findings(results_folder(decisive_folder))
    [sentence] = [text for text in replication_sentences(found) if text.startswith("KL")]
    assert "over heads (mean ± SE" in sentence and "over participants x pictures, each with the mean" in sentence
    table = make_tables(results, found, read_stimuli(decisive_folder / "stimuli")[0])["best-sigma"].whole
    [kl] = [r for r in found.replication if r.measure == "kl"]
    assert kl.over_cells is not None
    row = table[table["measure"] == "kl"].iloc[0]
    assert (row["mean over heads"], row["SE"]) == (kl.best_sigma_mean, kl.best_sigma_se)
    assert (row["mean over participants x pictures"], row["its SE"]) == (kl.over_cells.mean, kl.over_cells.se)


# A head's mean.


def test_a_heads_mean_is_compared_at_its_sigma_alone(decisive_folder: Path) -> None:
    found = read_findings(results_folder(decisive_folder))
    main, [r] = found.main(), [r for r in found.replication if r.measure == "kl"]
    at = r.sigmas.index(r.sigma)
    published = r.curves[0].mean[at]
    fixed = main.heads[0].value.mean
    rows = judged(
        decisive_folder,
        {"how": "head_mean", "head": 1, "measures": ["kl"], "mean": published},
        {"how": "head_mean", "head": 1, "measures": ["kl"], "mean": fixed, "sigma": main.sigma},
        {"how": "head_mean", "head": 1, "measures": ["kl"], "mean": fixed + 9, "sigma": main.sigma},
        {"how": "head_mean", "head": 1, "measures": ["kl"], "mean": fixed, "sigma": main.sigma, "unit": "px"},
        {"how": "head_mean", "head": 1, "measures": ["kl"], "mean": fixed, "sigma": 1.234},
    )
    assert verdicts(rows) == [
        ("holds", "not testable"), ("holds", "holds"), ("does not hold", "does not hold"),
        ("not testable", "not testable"), ("not testable", "not testable"),
    ]  # fmt: skip
    assert [row.sound.reason for row in rows][-2:] == ["other unit", "other sigma"]


# Attention on the object.


def lift_of(mean: float, half: float, p: float, holm: float | None = None) -> ObjectLift:
    e = Estimate(mean, mean - half, mean + half, half / 2, 19.0, p, 0, 20)
    return ObjectLift("m", 12, "head-01", e, e, e, e, p if holm is None else holm)


def test_a_lift_holds_where_its_mean_or_its_whole_interval_lies_in_the_range() -> None:
    said = {"id": "a", "statement": "s", "how": "lift", "heads": [1], "low_pp": 30, "high_pp": 40, "p": 0.0001}
    claim = LiftRange.model_validate(said)
    for lift, published, sound in (
        (lift_of(35, 4, 1e-6), "holds", "holds"),
        (lift_of(35, 4, 1e-3), "cannot be told", "holds"),
        (lift_of(35, 6, 1e-6), "holds", "cannot be told"),
        (lift_of(35, 4, 1e-6, 0.2), "holds", "cannot be told"),
        (lift_of(42, 4, 1e-6), "does not hold", "cannot be told"),
        (lift_of(50, 4, 1e-6), "does not hold", "does not hold"),
        (lift_of(20, 4, 1e-6), "does not hold", "does not hold"),
    ):
        assert (lift_published(claim, lift).verdict, lift_sound(claim, lift).verdict) == (published, sound), lift
    alone = replace(lift_of(35, 4, 1e-6), lift_pp=Estimate(35, None, None, None, None, None, 0, 1))
    assert lift_sound(claim, alone).reason == lift_published(claim, alone).reason == "no interval"


def test_the_lifts_p_is_corrected_over_the_heads_of_its_layer(results: Results, findings: Findings) -> None:
    from statsmodels.stats.multitest import multipletests

    for model, layer in {(x.model, x.layer) for x in findings.lifts}:
        heads = [x for x in findings.lifts if (x.model, x.layer) == (model, layer) and is_head(x.map)]
        oracle = multipletests([x.lift_pp.p for x in heads], method="holm")[1]
        assert [x.lift_p_holm for x in heads] == pytest.approx(list(oracle))
        t = results.attention_table
        own = t[(t["model"] == model) & (t["layer"] == layer) & (t["map"] == heads[0].map)]["lift_pp"]
        assert heads[0].lift_pp.p == pytest.approx(stats.ttest_1samp(own, 0).pvalue)
    assert {x.lift_p_holm for x in findings.lifts if not is_head(x.map)} == {None}


def test_more_inside_than_outside_is_a_t_test_of_their_difference(results: Results, findings: Findings) -> None:
    table = results.attention_table
    for x, (p, _) in zip(findings.lifts, inside_over_outside(findings.lifts), strict=True):
        own = table[(table["model"] == x.model) & (table["layer"] == x.layer) & (table["map"] == x.map)]
        # The table on disk has six digits.
        assert p == pytest.approx(stats.ttest_rel(own["inside"], own["outside"]).pvalue, rel=1e-3)


def test_every_head_means_every_head(results: Results, findings: Findings) -> None:
    def verdict(inside: dict[str, float], sd: float = 0.01) -> tuple[str, str]:
        rng = np.random.default_rng(5)
        table = pd.DataFrame([
            {"model": "first", "layer": 12, "map": head, "inside": value, "outside": 1 - value, "area": 0.3}
            | {"lift_pp": 100 * (value - 0.3)}
            for head, mean in inside.items() for value in mean + rng.normal(0, sd, 12)
        ])  # fmt: skip
        rows = reproduce(
            claims({"how": "inside_over_outside", "p": 0.0001}), results, replace(findings, lifts=lifts(table))
        )
        [row] = [row for row in rows if row.model == "first"]
        return row.published.verdict, row.sound.verdict

    shown = findings.main()
    assert (shown.model, shown.layer) == ("first", 12)
    assert verdict({"head-01": 0.6, "head-02": 0.7}) == ("holds", "holds")
    assert verdict({"head-01": 0.6, "head-02": 0.4}) == ("does not hold", "does not hold")
    assert verdict({"head-01": 0.6, "head-02": 0.5}, 0.05) == ("cannot be told", "cannot be told")
    assert verdict({"head-01": 0.6, "head-02": 0.51}) == ("cannot be told", "holds")  # by .0001, and by .05


def test_many_heads_inside_are_corrected_for_in_the_sound_reading_alone(results: Results, findings: Findings) -> None:
    # t = 2.5 with 11 degrees of freedom: p = .03, four times of which is beyond .05.
    inside = Estimate(0.55, 0.506, 0.594, 0.02, 11.0, None, 0, 12)
    four = tuple(ObjectLift("first", 12, head_name(n), inside, inside, inside, inside) for n in range(1, 5))
    rows = reproduce(claims({"how": "inside_over_outside"}), results, replace(findings, lifts=four))
    assert verdicts(list(rows))[0] == ("holds", "cannot be told")
    assert rows[0].here.inside[0] == pytest.approx((0.0295, 0.118), rel=0.01)


def test_without_masks_nothing_is_said_of_objects(results: Results, findings: Findings) -> None:
    said = claims({"how": "inside_over_outside"}, {"how": "lift", "heads": [1], "low_pp": 0})
    rows = reproduce(said, results, replace(findings, lifts=()))
    assert {row.sound.reason for row in rows} == {row.published.reason for row in rows} == {"no masks"}


# Kendall's W.


def test_kendalls_w_with_ties_is_the_one_worked_by_hand() -> None:
    # Ranks 1 2 3 4, 1 2.5 2.5 4 and 2 1 3 4: sums 4, 5.5, 8.5 and 12, squares about 7.5: 37.5.
    # W = 12 x 37.5 / (9 (64 - 4) - 3 (8 - 2)) = 450 / 522.
    assert concordance([[10, 20, 30, 40], [1, 5, 5, 9], [0.2, 0.1, 0.3, 0.4]]) == pytest.approx(450 / 522)


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.integers(3, 8).flatmap(
            lambda k: st.lists(st.lists(st.integers(0, 6), min_size=k, max_size=k), min_size=n, max_size=n)
        )
    )
)
def test_kendalls_w_is_its_definition(orders: list[list[int]]) -> None:
    ranks = stats.rankdata(orders, axis=1)
    m, n = ranks.shape
    tied = sum(t**3 - t for row in orders for t in np.unique(row, return_counts=True)[1])
    below = m**2 * (n**3 - n) - m * tied
    if below == 0:
        assert concordance(orders) is None
        return
    s = float(((ranks.sum(axis=0) - ranks.sum(axis=0).mean()) ** 2).sum())
    assert concordance(orders) == pytest.approx(12 * s / below, abs=1e-12)


def test_kendalls_w_needs_two_orders_of_three() -> None:
    assert concordance([[1, 2, 3]]) is None
    assert concordance([[1, 2], [1, 2]]) is None
    assert concordance([[1, 2, 3], [1, 2, np.nan]]) is None


def test_measures_order_heads_by_closeness_whatever_their_direction(decisive_folder: Path) -> None:
    found = read_findings(results_folder(decisive_folder))
    for of in (*found.sound, *found.replication):
        assert list(np.argsort(closeness(of))) == [0, 1, 2, 3], of.measure
    rows = judged(
        decisive_folder, *({"how": "kendall_w", "measures": ["kl", "cc"]} | w for w in ({}, {"at_least": 0.9}))
    )
    assert rows[0].here.w == (1.0, 1.0)
    assert verdicts(rows) == [("not testable", "not testable"), ("holds", "holds")]
    assert [row.of for row in rows] == ["description", "finding"]


# The page.


def test_the_page_counts_its_own_rows(made_up_folder: Path, results: Results, findings: Findings) -> None:
    [file] = claims_files(made_up_folder, ["carrasco-2025"])
    paper, table = against_paper(file, results, findings)
    main = findings.main()
    assert len(table.whole) == len(findings.shown()) * len(table.shown)
    own = table.whole[(table.whole["model"] == main.model) & (table.whole["layer"] == main.layer)]
    for which, words in (("published", "under the published reading"), ("sound", "under the sound reading")):
        some = own[~own["id"].isin(["agreement"]) & own["how"].isin(
            ["best_sigma", "anova", "closest_heads", "farthest_heads", "lift", "inside_over_outside"])]  # fmt: skip
        n = int((some[f"{which} verdict"] == "holds").sum())
        assert f"{words} {n or 'none'} hold" in paper.sentences[0]
    assert "is simulated" in paper.sentences[1] and "model is another" in paper.sentences[1]
    assert "In 6 of 10 points" in paper.sentences[1]


def test_a_file_of_the_studys_own_has_a_table_of_its_own(quick: None, small_study: Path) -> None:
    (small_study / "code").mkdir()
    text = PAPER.replace("Clark", "Clark <b>& Co</b>") + ONE.replace('"s"', '"<i>more</i>"') + 'how = "model"'
    (small_study / "code" / "Mine & yours.toml").write_text(text)
    folder = results_folder(small_study)
    (folder / "tables").mkdir()
    (folder / "tables" / "claims-gone.csv").write_text("of an earlier report")
    study = read_study(folder)
    alignment = study.alignment.model_copy(update={"claims": ["code/Mine & yours.toml", "carrasco-2025"]})
    write_study(study.model_copy(update={"alignment": alignment}), folder)
    html = write_report(small_study).read_text("utf-8")
    assert "&lt;i&gt;more" in html and "<i>more" not in html and "Against the paper: Carrasco et al. (2025)" in html
    names = {path.name for path in (folder / "tables").glob("claims-*")}
    assert names == {"claims-mine-yours.csv", "claims-carrasco-2025.csv"}


def test_the_layer_shown_is_that_of_the_papers_own_model(results: Results, findings: Findings) -> None:
    assert main_layer(claims({"how": "model"}), findings) is findings.main()
    assert main_layer(claims({"how": "model"}, models=["second"]), findings).model == "second"


def test_heads_of_a_claim_are_those_it_names() -> None:
    named = claims(
        {"how": "lift", "heads": [3, 1], "low_pp": 0}, {"how": "head_mean", "head": 2, "measures": ["kl"], "mean": 1},
        {"how": "model"},
    )  # fmt: skip
    assert [heads_of(claim) for claim in named.claims] == [(3, 1), (2,), ()]


def test_what_is_judged_is_read_back_from_json_alike(decisive_folder: Path, tmp_path: Path) -> None:
    results = read_results(decisive_folder)
    fresh = infer(results)
    path = tmp_path / "again.json"
    write_json(fresh, path)
    content = claims({"how": "closest_heads", "heads": [4], "measures": MEASURES})
    stored = TypeAdapter(Findings).validate_json(path.read_bytes())
    assert verdicts(list(reproduce(content, results, fresh))) == verdicts(list(reproduce(content, results, stored)))
