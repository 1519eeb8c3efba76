"""The page: it needs no network, says what was found and no more, hides nothing, and is the same bytes each time."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import TypeAdapter

from beholder.analysis.alignment.bandwidth import SigmaEstimate
from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.readings import Findings, GroupContrast, Groups, SigmaReading, read_findings
from beholder.analysis.report.explorer import difference, make_explorer, people_map, shown_gaze
from beholder.analysis.report.images import LEVELS, difference_png, map_png
from beholder.analysis.report.labels import number
from beholder.analysis.report.page import write_report
from beholder.analysis.report.prose.captions import layers_caption, sigma_caption
from beholder.analysis.report.prose.finding import between_floor_and_ceiling, finding
from beholder.analysis.report.prose.methods import methods, references
from beholder.analysis.report.prose.statistics import group_sentences, model_sentences
from beholder.analysis.report.tables import make_tables
from beholder.analysis.results.files import write_json, write_table
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Apparatus, Results, read_results
from beholder.analysis.results.tables import FIXED_COLUMNS
from beholder.analysis.statistics.crossed import Estimate, Ratio, Share
from beholder.shared.errors import DataError
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import write_study
from tests.analysis.quick import drawn_plate

MEASURES = ("kl", "cc", "sim", "ssim", "nss")  # of the made-up study
VOID = {"meta", "img", "link", "br", "input", "hr"}


class Page(HTMLParser):
    """The page's elements: open tags must close in order; attributes and text are kept."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def page(quick: None, made_up_folder: Path) -> Page:
    """The page of the made-up study."""
    return Page(write_report(made_up_folder).read_text("utf-8"))


# What the page is.


def test_every_element_is_closed_and_every_id_is_one_of_its_kind(page: Page) -> None:
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))


def test_every_reference_within_the_page_leads_somewhere(page: Page) -> None:
    ids = {a["id"] for _, a in page.tags if "id" in a}
    links = [a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")]
    assert links
    assert set(links) <= ids


def test_the_page_loads_nothing_from_a_network_or_a_disk(page: Page, made_up_folder: Path) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            if name in attributes and tag != "svg":
                assert attributes[name].startswith(("data:", "#")) or attributes[name] == "", (
                    tag,
                    attributes[name][:80],
                )
    assert not page.of("link") and not page.of("iframe")
    css = (Path(__file__).parents[3] / "analysis" / "report" / "templates" / "report.css").read_text("utf-8")
    assert "url(" not in css and "@import" not in css
    script = page.scripts[-1]
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", script)


def test_the_same_results_give_the_same_bytes(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.analysis.report.plates._plate", drawn_plate)
    folder = results_folder(small_study)

    def written() -> dict[str, bytes]:
        write_report(small_study)
        files = [folder / "report.html", *(folder / "figures").glob("*"), *(folder / "tables").glob("*")]
        return {f.name: f.read_bytes() for f in files}

    first = written()
    assert written() == first
    assert len(first) > 10


def test_where_and_when_the_page_was_made_does_not_stand_in_it(page: Page, made_up_folder: Path) -> None:
    html = (results_folder(made_up_folder) / "report.html").read_text("utf-8")
    assert str(made_up_folder) not in html
    assert not re.search(r"\b20\d\d-\d\d-\d\d", page.text)


def test_what_an_earlier_report_left_is_removed(small_study: Path) -> None:
    old = results_folder(small_study) / "figures" / "heads-gone.svg"
    old.parent.mkdir(exist_ok=True)
    old.write_text("<svg/>")
    write_report(small_study)
    assert not old.exists()
    assert (old.parent / "heads.svg").exists() and (old.parent / "heads.png").exists()


# What the first sentence says.


def test_the_sentence_is_the_inference_in_words(page: Page, findings: Findings) -> None:
    best = findings.main().best
    assert best.gain is not None and best.gain.low is not None and best.gain.high is not None
    share = best.share.ratio
    assert share is not None and share.low is not None and share.high is not None
    assert findings.choices[0].ties is not None and len(findings.choices[0].ties) == 7
    sentence = (
        f"{best.value.participants} simulated observers, 80 % of fixations drawn from head 4 of layer 12, the rest "
        "from the centre, and ViT-S/14 (first) with stand-in weights on 4 objects: "
        f"head 4 of the last layer comes closest to where they looked, {number(best.gain.mean)} nats of KL divergence "
        f"closer than its own attention on other pictures (95 % interval {number(best.gain.low)} to "
        f"{number(best.gain.high)}; p = .042 by permuted pictures over all 8 heads), {100 * share.ratio:.0f} % of "
        f"the way from there to the other 4 to 5 viewers (95 % interval {100 * share.low:.0f} to "
        f"{100 * share.high:.0f}); none of the others of any layer can be told from it."
    )
    assert sentence in page.text


def with_main(findings: Findings, **changed: Any) -> Findings:
    """The same with another reading in the place of that which the first screen speaks of."""
    main = findings.main()
    return replace(findings, sound=tuple(replace(s, **changed) if s == main else s for s in findings.sound))


def estimate(mean: float, low: float, high: float) -> Estimate:
    return Estimate(mean, low, high, 0.1, 10.0, 0.5, 5, 4)


def way(ratio: float, low: float, high: float) -> Share:
    return Share(Ratio(ratio, low, high, 5, 4), "")


def note(results: Results, findings: Findings, lead: str) -> str:
    return {note.lead: note.text for note in finding(results, findings).notes}.get(lead, "")


BEATEN, BETWEEN = "What the closest head does not beat:", "Between floor and ceiling."
ABOVE = "more than 100 %, as here it predicts people better than the other 4 to 5 viewers do"


def test_the_first_screen_says_when_the_mean_of_the_heads_or_the_centre_bias_beats_the_closest_head(
    results: Results, findings: Findings
) -> None:
    main = findings.main()
    heads = tuple(replace(h, share=way(0.26, 0.2, 0.32)) if h == main.best else h for h in main.heads)

    def said(of_mean: Estimate, of_centre: Estimate) -> str:
        references = tuple(replace(r, lead=of_centre) if r.map == "centre-fitted" else r for r in main.references)
        changed = with_main(
            findings,
            heads=heads,
            references=references,
            leads_over_summaries=(of_mean,),
            share_of_centre=way(0.93, 0.8, 1.0),
        )
        return note(results, changed, BEATEN)

    ahead, tie, behind = estimate(-0.2, -0.3, -0.1), estimate(-0.1, -0.3, 0.1), estimate(0.2, 0.1, 0.3)
    gone = (
        ", and has gone 93 % of the way from the closest head's chance to the other 4 to 5 viewers (95 % interval 80 "
        "to 100), the head 26 %."
    )
    assert said(behind, behind) == ""
    assert said(ahead, behind) == "the mean of heads is closer to people, by 0.20 nats (95 % interval 0.10 to 0.30)."
    assert said(tie, behind) == (
        "the mean of heads is not shown to be farther from people (the head is 0.10 nats farther, 95 % interval "
        "\u22120.10 to 0.30)."
    )
    assert said(behind, ahead) == (
        f"a centre bias fitted to other pictures is closer to people, by 0.20 nats (95 % interval 0.10 to 0.30){gone}"
    )
    assert said(ahead, tie).startswith("the mean of heads is closer") and said(ahead, tie).endswith(gone)


def test_a_centre_bias_above_all_is_explained_too(results: Results, findings: Findings) -> None:
    main = findings.main()
    references = tuple(
        replace(r, lead=estimate(-0.2, -0.3, -0.1)) if r.map == "centre-fitted" else r for r in main.references
    )
    said = note(results, with_main(findings, references=references, share_of_centre=way(1.2, 1.1, 1.3)), BEATEN)
    assert "has gone 120 % of the way" in said and f"({ABOVE};" in said


def test_the_methods_name_the_map_that_each_measure_is_scored_with(results: Results) -> None:
    def said(**changed: Any) -> str:
        study = results.study.model_copy(update={"maps": results.study.maps.model_copy(update=changed)})
        return " ".join(methods(replace(results, study=study)))

    assert "the density itself for NSS, the mean human map for KL divergence" in said()
    assert "quantiles of the human maps' values for SIM" in said() and "SSIM has no ceiling" in said()
    assert "quantiles" not in said(smooth="model")
    assert "SIM has no ceiling where people's fixations stay points." in said(smooth="model")
    assert "kummerer2018" in references(results)


def test_a_share_above_all_never_stands_without_its_explanation(make_study: Callable[..., Path]) -> None:
    """The other viewers are put half-way between the fitted centre bias and head 4, by every measure."""
    folder = make_study(layers=(11, 12), effect=3.0)
    for path in (results_folder(folder) / "fixed").glob("*/*/*.parquet"):
        rows = pd.read_parquet(path)
        means = rows[rows["within"] == "picture"].groupby("map")[list(MEASURES)].mean()
        others = rows["map"] == "others"
        for measure in MEASURES:
            between = means.loc[["head-04", "centre-fitted"], measure].mean()
            rows.loc[others, measure] += between - means.loc["others", measure]
        path.unlink()
        write_table(rows, path, FIXED_COLUMNS)
    results = read_results(folder)
    findings = infer(results)
    main, first = findings.main(), finding(results, findings)
    best = main.best.share.ratio
    assert best is not None and best.ratio > 1
    percent = f"{100 * best.ratio:.0f} % of the way"
    for text in (first.sentence, {note.lead: note.text for note in first.notes}[BETWEEN]):
        assert percent in text and ABOVE in text and "with few viewers the ceiling is low" in text
    layers = [("first", [s for s in findings.sound if s.primary])]
    assert (
        "A head with more than 100 predicts people better than the other 4" in layers_caption(layers, main, "here")[0]
    )
    table = make_tables(results, findings, read_stimuli(folder / "stimuli")[0])["heads"].whole
    above = (table[["way to others (%)", "from centre (%)"]] > 100).any(axis=1)
    assert above.any() and table.loc[above, "why"].str.contains(ABOVE, regex=False).all()
    assert not table.loc[~above, "why"].str.contains("more than 100", regex=False).any()


def test_a_measure_without_a_ceiling_has_no_share_and_no_band_and_says_why(page: Page, made_up_folder: Path) -> None:
    folder = results_folder(made_up_folder)
    table = pd.read_csv(folder / "tables" / "heads.csv", na_values="n/a", keep_default_na=False)
    ways = table.set_index("measure")[["way to others (%)", "from centre (%)"]]
    assert ways.loc["ssim"].isna().all(axis=None) and ways.drop("ssim").notna().all(axis=None)
    assert table.loc[table["measure"] == "ssim", "why"].str.startswith("SSIM has no ceiling: no rule is known").all()
    references = pd.read_csv(folder / "tables" / "references.csv").set_index("measure")["map"]
    assert "other 4 to 5 viewers (no ceiling)" in set(references.loc["ssim"])
    assert "other 4 to 5 viewers" in set(references.loc["kl"])


def test_without_a_ceiling_the_first_screen_says_why_there_is_no_share(results: Results, findings: Findings) -> None:
    main = findings.main()

    def said(own: Share, common: Share, **changed: Any) -> str:
        best = replace(main.best, share=own, share_over_centre=common)
        heads = tuple(best if h == main.best else h for h in main.heads)
        return note(results, with_main(findings, heads=heads, **changed), BETWEEN)

    assert said(Share(None, "room"), way(-0.4, -0.6, -0.2)) == (
        "The closest head has gone \u221240 % of the way from a centre bias fitted to other pictures to the other 4 to "
        "5 viewers (95 % interval \u221260 to \u221220), less than 0, for it is farther from people than that. No "
        "share of the way from its own attention on other pictures: the other 4 to 5 viewers are not shown to be "
        "closer than its own attention on other pictures. From the centre bias heads compare, as it is one floor for "
        "all."
    )
    assert "there is no map of other viewers" in said(Share(None, "others"), Share(None, "others"), other_viewers=None)
    assert "the other viewer (95 %" in said(way(0.5, 0.4, 0.6), way(0.5, 0.4, 0.6), other_viewers=(1, 1))
    assert "the other 29 viewers (95 %" in said(way(0.5, 0.4, 0.6), way(0.5, 0.4, 0.6), other_viewers=(29, 29))
    ssim = next(s for s in findings.measures_of(main) if s.measure == "ssim")
    without = between_floor_and_ceiling(ssim)
    assert without.lead == BETWEEN
    assert without.text.startswith("No share of the way, for SSIM has no ceiling: no rule is known")


def test_the_table_of_floors_says_what_the_closest_head_beats(findings: Findings, results: Results) -> None:
    main = findings.main()
    leads, stimuli = (estimate(-0.2, -0.3, -0.1),), read_stimuli(results.study_folder / "stimuli")[0]
    table = make_tables(results, with_main(findings, leads_over_summaries=leads), stimuli)["references"].whole
    rows = table[(table["model"] == main.model) & (table["layer"] == main.layer) & (table["measure"] == main.measure)]
    rows = rows.set_index("map")
    assert rows.loc["mean of heads", "closest head is"] == "farther"
    assert rows.loc["mean of heads", "closest head's lead"] == -0.2
    assert rows.loc["mean of heads", "score"] == main.summaries[0].value.mean
    assert rows.loc["even spread", "closest head is"] == "closer"
    assert rows.loc["centre bias, fitted", "closest head is"] == "not shown to be either"


def test_simulated_observers_and_stand_in_weights_are_named_at_the_top(page: Page) -> None:
    top = page.text[: page.text.index("Who, and how well measured")]
    assert "simulated observers" in top and "Simulated, not people." in top
    assert "80 % of fixations drawn from head 4 of layer 12" in top
    assert "stand-in weights" in top and "tuned on human saliency" in top
    assert "Left out:" in top and "1 of 24 trials (aborted: 1)" in top


def test_real_people_and_published_weights_are_not_called_otherwise(make_study: Callable[..., Path]) -> None:
    folder = make_study(simulated=False, stand_in=False)
    words = Page(write_report(folder).read_text("utf-8")).text
    assert "5 people and ViT-S/14 (first) on 4 objects" in words
    # The settings, printed in full, speak of what was not used too.
    words = words[: words.index("Every setting")]
    assert "imulated observer" not in words and "tand-in" not in words


def test_one_participant_is_said_to_have_no_interval(make_study: Callable[..., Path]) -> None:
    words = Page(write_report(make_study(participants=1)).read_text("utf-8")).text
    assert "no interval, as there is one participant" in words
    assert "1 simulated observer, 80 % of fixations drawn" in words


def test_chance_that_is_not_known_is_said(make_study: Callable[..., Path]) -> None:
    words = Page(write_report(make_study(shuffled=False)).read_text("utf-8")).text
    assert "how far above chance that is cannot be said" in words


# What the page must not hide.


def test_every_remark_is_on_the_page(page: Page, results: Results, findings: Findings) -> None:
    assert results.summary.remarks and findings.remarks
    for remark in (*results.summary.remarks, *findings.remarks):
        assert remark.about in page.text
        assert remark.text in page.text


def test_names_cannot_become_markup(page: Page, made_up_folder: Path) -> None:
    html = (results_folder(made_up_folder) / "report.html").read_text("utf-8")
    assert "Made-up <study> & test" in page.text
    assert "<study>" not in html and "alert(1)</script>" not in html


def test_a_picture_named_like_markup_stays_a_name(make_study: Callable[..., Path]) -> None:
    folder = make_study(picture_names="a&b'<i>\"{:02d}")
    made = Page(write_report(folder).read_text("utf-8"))
    assert "a&b'<i>\"01" in made.text
    assert not made.of("i")


def test_trials_left_out_are_listed_with_their_reason(page: Page, made_up_folder: Path) -> None:
    table = pd.read_csv(results_folder(made_up_folder) / "tables" / "trials-left-out.csv", dtype=str)
    assert table[["participant", "picture", "why"]].to_numpy().tolist() == [["06", "object-01", "aborted"]]


def test_the_replication_carries_its_warning_and_stands_after_the_sound_reading(page: Page) -> None:
    warning = page.text.index("Do not conclude from these p values")
    assert page.text.index("The sound reading") < page.text.index("The replication, as published") < warning
    assert warning < page.text.index("One-way ANOVA over heads at")


def test_pictures_without_masks_have_no_lift_and_the_page_says_why(make_study: Callable[..., Path]) -> None:
    folder = make_study(masks=False)
    words = Page(write_report(folder).read_text("utf-8")).text
    assert "No picture of this study has a mask" in words
    assert not (results_folder(folder) / "tables" / "lift.csv").exists()


def test_imported_fixations_without_geometry_are_reported_in_per_cent_and_without_a_scale_bar(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(geometry=False, simulated=False)
    words = Page(write_report(folder).read_text("utf-8")).text
    assert "% of the width" in words
    assert "no validation of the tracker in these data" in words
    assert "Fixations were imported as given" in words
    assert "5°" not in words


# A primary measure that is not taken over sigma.


def test_the_page_is_about_nss_and_tells_the_replication_by_kl(nss_folder: Path) -> None:
    words = Page(write_report(nss_folder).read_text("utf-8")).text
    results, findings = read_results(nss_folder), read_findings(results_folder(nss_folder))
    assert (findings.main().measure, findings.replicated) == ("nss", "kl")
    assert "SD of NSS closer than its own attention on other pictures" in finding(results, findings).sentence
    assert "NSS is the primary measure" in words and "NSS by window of viewing time" in words
    kl = next(r for r in findings.replications_of(findings.main()) if r.measure == "kl")
    best = f"By KL divergence the heads' mean is best at σ = {kl.mean_curve.best_sigma:g}°"
    assert best in words and "NSS, the primary measure, is taken at the fixed σ alone" in words


def test_tables_of_the_replication_are_not_empty_where_the_primary_measure_has_none(nss_folder: Path) -> None:
    results, findings = read_results(nss_folder), read_findings(results_folder(nss_folder))
    tables = make_tables(results, findings, read_stimuli(nss_folder / "stimuli")[0])
    assert set(tables["pairs"].shown["measure"]) == {"nss"}
    assert set(tables["tukey"].shown["measure"]) == {"kl"} and "Shown: KL divergence" in tables["tukey"].note
    assert "replication: best for each head" in set(tables["sigma-units"].whole["sigma"])
    drift = tables["drift-correction"].whole
    assert set(drift["measure"]) == {"nss"} and drift["difference"].to_numpy() == pytest.approx(0.125)


def test_beside_a_head_stands_nss_at_the_fixed_sigma_and_kl_at_the_others(nss_folder: Path) -> None:
    results, findings = read_results(nss_folder), read_findings(results_folder(nss_folder))
    looks, chooser = make_explorer(results, findings, read_stimuli(nss_folder / "stimuli")[0])
    sigmas, main = results.study.maps.sigmas(), findings.main()
    fixed = sigmas.index(results.study.maps.sigma)
    assert chooser.data["measures"] == ["NSS" if i == fixed else "KL" for i in range(len(sigmas))]
    assert "NSS is taken at that σ alone; at the others the score is KL divergence." in chooser.note
    head = int(main.best.map[-2:]) - 1
    shown = chooser.data["objects"][1]["scores"][0][head]
    of_head = [("participant", "!=", "pooled"), ("map", "==", main.best.map), ("drift_corrected", "==", False)]
    rows = results.rows("fixed", main.model, main.layer, "object-02", where=of_head)
    whole = rows[(rows["window_end_s"] == 10.0) & (rows["within"] == "picture") & (rows["counted"] == "all")]
    assert shown[fixed] == pytest.approx(whole["nss"].mean(), rel=1e-3)
    assert looks[1].score == f"NSS {number(whole['nss'].mean())}"
    curve = results.rows("alignment", main.model, main.layer, "object-02", where=of_head).groupby("sigma")["kl"].mean()
    assert np.delete(shown, fixed) == pytest.approx(np.delete(curve.to_numpy(), fixed), rel=1e-3)


# Figures and tables.


def test_every_figure_says_its_finding_to_who_cannot_see_it(page: Page, findings: Findings) -> None:
    alternatives = [i["alt"] for i in page.of("img")]
    assert all(len(a) > 20 for a in alternatives)
    best = findings.main().best
    assert any(f"Closest is head 4 with {number(best.value.mean)}" in a for a in alternatives)


def test_every_table_on_the_page_is_a_file_with_the_same_bytes(page: Page, made_up_folder: Path) -> None:
    links = [a for a in page.of("a") if a.get("download", "").endswith(".csv")]
    assert {"heads.csv", "pairs.csv", "anova.csv", "tukey.csv", "curves.csv"} <= {a["download"] for a in links}
    for link in links:
        content = base64.b64decode(link["href"].partition(",")[2])
        assert content == (results_folder(made_up_folder) / "tables" / link["download"]).read_bytes()


def test_a_large_table_lies_beside_the_page(
    results: Results, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stimuli = read_stimuli(results.study_folder / "stimuli")[0]
    trials = make_tables(results, findings, stimuli)["trials"]
    assert trials.source.startswith("data:text/csv") and trials.link == "CSV"
    monkeypatch.setattr("beholder.analysis.report.tables.CSV_BYTES", len(trials.csv) - 1)
    assert trials.source == "tables/trials.csv" and "beside this page" in trials.link


def test_tables_hold_every_layer_with_full_numbers(made_up_folder: Path, findings: Findings) -> None:
    table = pd.read_csv(results_folder(made_up_folder) / "tables" / "heads.csv")
    assert set(zip(table["model"], table["layer"], strict=True)) == {(s.model, s.layer) for s in findings.sound}
    main = findings.main()
    mine = table.query("model == @main.model and layer == @main.layer and measure == 'kl' and map == 'head 4'")
    assert mine["score"].item() == pytest.approx(main.best.value.mean, rel=1e-5)
    assert mine["gain high"].item() == pytest.approx(main.best.gain.high, rel=1e-5)  # type: ignore[union-attr]


# Looking at maps.


def test_every_object_has_its_picture_people_and_two_heads(page: Page) -> None:
    assert len(page.of("article")) == 4
    for i in range(4):
        assert {f"picture-{i}", f"fixations-{i}", f"people-{i}", f"map-a-{i}", f"map-b-{i}"} <= {
            a.get("id") for _, a in page.tags
        }


def test_the_reader_can_choose_every_head_of_every_layer_and_sees_its_own_map(page: Page, results: Results) -> None:
    data: dict[str, Any] = json.loads(page.scripts[0])
    values = [o["value"] for o in page.of("option") if ":" in o["value"]]
    assert len(values) == 2 * 4 * 4  # two choosers, four layers of four heads
    maps = results.attention("first", 12)["object-03"]
    rows, columns, peaks, written = data["objects"][2]["heads"][0]
    assert (rows, columns) == maps.shape[1:]
    bytes_ = np.frombuffer(base64.b64decode(written), np.uint8).reshape(maps.shape)
    for found, peak, head in zip(bytes_, peaks, maps.astype(float), strict=True):
        relative = head * head.size / head.sum()
        # A byte of the square root: half a step of it, at the value that it stands for.
        assert np.abs(np.sqrt(peak) * found / 255 - np.sqrt(relative)).max() <= np.sqrt(peak) * 0.51 / 255
    # What stands there before anything is chosen is the closest head, head 4.
    shown = {a["id"]: a for _, a in page.tags if "id" in a}
    png = Image.open(io.BytesIO(base64.b64decode(shown["map-a-2"]["href"].partition(",")[2])))
    levels = np.asarray(png).astype(float)
    relative = maps[3].astype(float) * maps[3].size / maps[3].astype(float).sum()
    assert np.abs(levels - np.clip(relative / data["top"], 0, 1) * (LEVELS - 1)).max() <= 0.51


def test_scores_of_every_sigma_of_the_sweep_stand_beside_the_maps(page: Page, results: Results) -> None:
    data: dict[str, Any] = json.loads(page.scripts[0])
    assert data["sigmas"] == pytest.approx(results.study.maps.sigmas())
    where = [("participant", "!=", "pooled"), ("map", "==", "head-02")]
    rows = results.rows("alignment", "first", 12, "object-03", where=where)
    for j, sigma in enumerate(data["sigmas"]):
        own = rows[np.isclose(rows["sigma"], sigma)]
        assert data["objects"][2]["scores"][0][1][j] == pytest.approx(own["kl"].mean(), rel=1e-3)


def test_every_fixation_that_was_used_can_be_laid_over_and_no_other(page: Page, results: Results) -> None:
    used = results.fixations[results.fixations["used"]]
    inside: list[str] = []
    dots: dict[str, int] = {}
    for tag, attributes in page.tags:
        if tag == "g" and "id" in attributes:
            inside = [attributes["id"]]
        elif tag == "path" and inside[:1] and inside[0].startswith("fix") and attributes["stroke"] == "#fff":
            dots[inside[0]] = dots.get(inside[0], 0) + attributes["d"].count("M")
    counts = used.groupby("stimulus").size()
    assert dots == {f"fixations-{i}": n for i, n in enumerate(counts)}


def test_maps_have_one_scale_and_end_at_its_top() -> None:
    image = Image.open(io.BytesIO(map_png(np.array([[0.0, 2.0], [4.0, 40.0]]), 4.0)))
    assert np.asarray(image).tolist() == [[0, round((LEVELS - 1) / 2)], [LEVELS - 1, LEVELS - 1]]
    assert image.convert("RGBA").getpixel((0, 0))[3] == 0


def test_a_difference_is_people_minus_head_patch_by_patch_and_transparent_where_they_agree() -> None:
    people, head = np.array([[1.0, 1.0, 5.0, 1.0], [1.0, 1.0, 1.0, 1.0]]), np.array([[1.0, 3.0]])
    minus = difference(people, head)
    assert minus.tolist() == [[0, 0, 2, -2], [0, 0, -2, -2]]
    image = Image.open(io.BytesIO(difference_png(minus, 2.0)))
    assert np.asarray(image)[0].tolist() == [LEVELS // 2, LEVELS // 2, LEVELS - 1, 0]
    agree, more_people, more_head = (image.convert("RGBA").getpixel((x, 0)) for x in (0, 2, 3))
    assert agree[3] < 20 and more_people[3] > 200 and more_head[3] > 200
    assert more_people[0] > more_people[2] and more_head[2] > more_head[0]  # orange, purple


def test_in_peoples_map_each_participant_weighs_the_same(results: Results) -> None:
    stimulus = read_stimuli(results.study_folder / "stimuli")[0][1]
    every = people_map(shown_gaze(results, stimulus, patches_across=14), 1.0)
    assert every is not None
    assert every.mean() == pytest.approx(1)
    # One participant's fixations, counted ten times, change nothing.

    again = pd.concat([results.fixations, *[results.fixations.query("participant == '01'")] * 9])
    repeated = people_map(shown_gaze(replace(results, fixations=again), stimulus, patches_across=14), 1.0)
    assert repeated == pytest.approx(every)


def test_people_are_where_they_looked(results: Results) -> None:

    stimulus = read_stimuli(results.study_folder / "stimuli")[0][0]
    corner = results.fixations.assign(x_px=10.0, y_px=170.0)
    found = people_map(shown_gaze(replace(results, fixations=corner), stimulus, patches_across=14), 1.0)
    assert found is not None
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row / found.shape[0], column / found.shape[1]) == pytest.approx((170 / 180, 10 / 240), abs=0.02)


# Where something is missing.


def test_a_study_that_was_not_analysed_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="beholder analyze"):
        write_report(tmp_path)


def test_versions_are_shown_and_times_are_not(small_study: Path) -> None:
    write_json(
        {"made": "2031-05-06T00:00:00Z", "versions": {"numpy": "9.9.9"}, "machine": {"system": "Plan 9"}, "seed": 77},
        results_folder(small_study) / "provenance.json",
    )
    words = Page(write_report(small_study).read_text("utf-8")).text
    assert "numpy 9.9.9" in words and "seed 77" in words and "2031" not in words


def test_only_what_was_used_is_cited(results: Results) -> None:

    cited = references(results)
    assert "wang2004" in cited and cited.count("@") == len(cited.splitlines())
    imported = replace(results, summary=replace(results.summary, sources=("fixations",)))
    assert "niehorster2026" not in references(imported)


def test_progress_is_told(small_study: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write_report(small_study, lambda stage, done, total: told.append((stage, done, total)))
    assert told[0] == ("report", 0, 3)
    assert told[-1] == ("report", 3, 3)


def test_inference_is_read_not_computed_again(small_study: Path) -> None:
    """The page is made from inference.json: what stands there is what the page says."""

    folder = results_folder(small_study)
    found = read_findings(folder)
    main = found.main()
    best = replace(main.best, gain=replace(main.best.gain, mean=7.77))  # type: ignore[type-var]
    changed = replace(main, heads=tuple(best if h == main.best else h for h in main.heads))
    sound = tuple(changed if s == main else s for s in found.sound)
    choices = (replace(found.choices[0], reading=best),)
    write_json(replace(found, sound=sound, choices=choices), folder / "inference.json")
    assert "7.77 nats" in Page(write_report(small_study).read_text("utf-8")).text
    assert read_results(small_study).summary.participants == 6


# How well it was measured.


def test_limits_of_the_study_are_named_where_quality_and_methods_stand(page: Page) -> None:
    sentence = "trials with more than 50 % of samples lost while the picture stood and participants with less than 50 %"
    assert page.text.count(sentence) == 2
    assert page.text.index("Who, and how well measured") < page.text.index(sentence)
    assert "left out before maps are made: none of 24 trials." in page.text


def test_a_trial_that_a_limit_left_out_is_counted_on_the_first_screen_and_listed(small_study: Path) -> None:
    table = results_folder(small_study) / "trials.csv"
    trials = pd.read_csv(table, dtype=str, keep_default_na=False)
    trials.loc[2, ["included", "why", "n_used", "loss_percent"]] = ["False", "loss", "0", "61.5"]
    trials.to_csv(table, index=False)
    made = Page(write_report(small_study).read_text("utf-8"))
    top = made.text[: made.text.index("Who, and how well measured")]
    assert "2 of 24 trials (aborted: 1, loss over 50 %: 1)" in top
    listed = pd.read_csv(results_folder(small_study) / "tables" / "trials-left-out.csv", dtype=str)
    assert listed.iloc[0][["participant", "trial", "loss (%)", "why"]].tolist() == ["01", "3", "61.5", "loss over 50 %"]
    every = pd.read_csv(results_folder(small_study) / "tables" / "trials.csv", dtype=str)
    assert len(every) == 24 and every["why"][2] == "loss over 50 %"


def test_overridden_verdicts_are_named_with_who_overrode_them(small_study: Path) -> None:
    table = results_folder(small_study) / "quality.csv"
    quality = pd.read_csv(table, dtype=str, keep_default_na=False)
    quality.loc[2, ["passed", "overridden", "overridden_by"]] = ["overridden", "1", "K. L."]
    quality.to_csv(table, index=False)
    words = Page(write_report(small_study).read_text("utf-8")).text
    people = pd.read_csv(results_folder(small_study) / "tables" / "participants.csv", dtype=str)
    assert people["overridden by"].fillna("").tolist() == ["", "K. L.", "", "", "", ""]
    assert words.count("K. L.") == 2, "once by participant, once by eye"


def test_each_heads_gain_stands_without_and_with_the_correction_of_drift(page: Page, made_up_folder: Path) -> None:
    table = pd.read_csv(results_folder(made_up_folder) / "tables" / "drift-correction.csv")
    heads = pd.read_csv(results_folder(made_up_folder) / "tables" / "heads.csv").query("measure == 'kl'")
    main = table.merge(heads, on=["model", "layer", "map"])
    assert len(table) == 8 and len(main) == 8, "of each model the layer that is shown"
    np.testing.assert_allclose(main["without"], main["gain"], rtol=1e-5)
    np.testing.assert_allclose(main["without, high"], main["gain high"], rtol=1e-5)
    # The made-up study has heads 0.125 nats closer where drift is corrected.
    np.testing.assert_allclose(table["with"] - table["without"], 0.125, atol=1e-4)
    assert (
        "The main analysis is the one without it" in page.text
        and "Gain over chance without (main) and with" in page.text
    )
    assert re.search(
        r"head 4 stays the closest, and no head's gain over chance differs by more than 0\.1[23] nats", page.text
    )


def test_how_large_drift_was_is_said_with_what_has_no_figure(small_study: Path) -> None:
    table = results_folder(small_study) / "trials.csv"
    trials = pd.read_csv(table, dtype=str, keep_default_na=False)
    trials["drift_deg"] = [f"{v:g}" for v in np.arange(24) / 10]
    trials.loc[:1, "drift_deg"] = "n/a"
    trials.to_csv(table, index=False)
    words = Page(write_report(small_study).read_text("utf-8")).text
    # 0.2 to 2.3 degrees in steps of 0.1.
    assert "on the dot of 22 of 24 trials, has a median of 1.25° and is at most 2.09° in 90 % of them" in words
    assert "8 trials drifted by more than 1.5°, and 2 trials are without a figure" in words


@pytest.mark.slow
def test_a_thousand_participants_are_summarised_and_none_is_dropped_in_silence(make_study: Callable[..., Path]) -> None:
    folder = make_study(participants=1000, pictures=2, heads=2, sigmas=2)
    made = Page(write_report(folder).read_text("utf-8"))
    assert "Participants, summarised" in made.text and "Each of the 1,000 is in the CSV." in made.text
    assert "of 1,000 participants" in made.text and "of 2,000 eyes" in made.text
    assert len(made.of("tr")) < 200
    tables = results_folder(folder) / "tables"
    assert len(pd.read_csv(tables / "participants.csv")) == 1000
    assert len(pd.read_csv(tables / "trials.csv")) == 2000


def test_methods_claim_no_protocol_for_recordings_that_another_program_made(results: Results) -> None:
    ours = " ".join(methods(results))
    assert "after a dot of" in ours and "Calibration had" in ours
    theirs = replace(results, summary=replace(results.summary, sources=("recordings",)))
    said = " ".join(methods(theirs))
    assert "after a dot of" not in said and "Calibration had" not in said
    assert "Recordings were imported" in said and "Fixations were found" in said


def test_the_methods_say_who_took_part_and_name_what_is_not_recorded(results: Results) -> None:
    people = replace(results.summary, simulated=0, observers="", sources=("samples",))
    study = results.study
    quiet = " ".join(methods(replace(results, summary=people)))
    assert "Not recorded:" in quiet
    last = quiet[quiet.index("Not recorded:") :].partition(".")[0]
    assert all(word in last for word in ("age", "sex", "vision", "head support", "lighting", "tracker"))
    answers = {"age": {"20": 3, "26": 2, "n/a": 1}, "sex": {"F": 4, "O": 2}, "vision": {"glasses": 1, "none": 5}}
    setup = Apparatus(("EyeLink 1000 Plus (software 5.15)",), ("1920 x 1080 px and 53 x 30 cm, at 60 cm",), answers)
    told = study.protocol.model_copy(update={"head_support": "chin rest", "lighting": "dim"})
    full = replace(results, summary=replace(people, setup=setup), study=study.model_copy(update={"protocol": told}))
    said = " ".join(methods(full))
    assert "mean age 22.4 years (20 to 26, SD 3.3)" in said and "4 female" in said and "1 glasses" in said
    assert "age of 1 unknown" in said and "Head support: chin rest." in said and "Lighting: dim." in said
    assert "by EyeLink 1000 Plus (software 5.15) at" in said and "53 x 30 cm, at 60 cm from the eyes" in said
    assert "Not recorded" not in said


def test_models_are_compared_in_a_sentence_whichever_is_closer(results: Results, findings: Findings) -> None:
    contrast, gain = findings.model_contrasts
    for sign in (1, -1):
        made = replace(contrast, difference=sign * 0.5, low=sign * 0.5 - 0.1, high=sign * 0.5 + 0.1, p=0.001)
        (said,) = model_sentences(results, replace(findings, model_contrasts=(made,)))
        closer, other = (contrast.first, contrast.second)[::sign]
        assert said.index(f"({closer})") < said.index(f"({other})")
        assert "0.50 nats" in said and "0.40 to 0.60" in said and "cannot be told" not in said
    unsure = replace(contrast, difference=0.1, low=-0.1, high=0.3, p=0.3)
    (said,) = model_sentences(results, replace(findings, model_contrasts=(unsure,)))
    assert "cannot be told" in said
    (said,) = model_sentences(results, replace(findings, model_contrasts=(gain,)))
    assert "more over its attention on other pictures than" in said


def test_groups_are_compared_in_sentences(results: Results, findings: Findings) -> None:
    def contrast(
        name: str, difference: float, p: float, p_holm: float | None, of: Literal["score", "gain"] = "score"
    ) -> GroupContrast:
        return GroupContrast(
            of,
            "first",
            12,
            name,
            "expert",
            "novice",
            (1.0, 1.0 + difference),
            difference,
            difference - 0.1,
            difference + 0.1,
            9.0,
            p,
            p_holm,
        )

    contrasts = (
        contrast("head-01", -0.3, 0.001, 0.004), contrast("head-02", 0.05, 0.4, 0.8), contrast("mean", -0.2, 0.01, None)
    )  # fmt: skip
    made = replace(findings, groups=Groups("skill", {"expert": 3, "novice": 3}, 8.4, 0, contrasts))
    first, mean, heads = group_sentences(results, made)
    assert "skill" in first and "3 of expert and 3 of novice" in first and "8.4" in first
    assert "0.20 nats" in mean and "closer to novice than to expert" in mean and "0.10 to 0.30" in mean
    assert "head 1 differs between expert and novice" in heads
    gains = (contrast("mean", -0.2, 0.01, None, "gain"), contrast("head-01", -0.3, 0.001, 0.004, "gain"))
    *_, mean, heads = group_sentences(results, replace(made, groups=replace(made.groups, contrasts=gains)))
    assert "gains 0.20 nats of KL divergence more with novice than with expert" in mean
    assert "head 1 differs in its gain over chance between expert and novice" in heads
    assert group_sentences(results, replace(findings, groups=None)) == []


def test_sigma_stands_in_every_unit(results: Results, findings: Findings) -> None:
    stimuli = read_stimuli(results.study_folder / "stimuli")[0]
    table = make_tables(results, findings, stimuli)["sigma-units"].whole.set_index("sigma")
    row = table.loc["fixed beforehand"]
    # 240 px wide are 20 degrees by the made-up geometry; 18 patches lie on them.
    assert row["degrees"] == pytest.approx(results.study.maps.sigma)
    assert row["px"] == pytest.approx(12 * row["degrees"])
    assert row["patches"] == pytest.approx(row["px"] * 18 / 240)
    assert row["% of the width"] == pytest.approx(100 * row["px"] / 240)


def test_a_best_sigma_where_the_sweep_ends_is_said_in_every_table(results: Results, findings: Findings) -> None:
    """By KL the shuffled pictures are best at 4 degrees, the last of the sweep, and the heads within it."""
    stimuli = read_stimuli(results.study_folder / "stimuli")[0]
    tables = make_tables(results, findings, stimuli)
    units = tables["sigma-units"].whole.set_index("sigma")["which is"]
    assert units["fixed beforehand"] == "set"
    assert units["replication: best for each head"] == "mean of optima"
    assert units["replication: best for other pictures"] == "the sweep's end, no optimum"
    curves = tables["curves"].whole
    best = curves[(curves["best"] != "") & (curves["measure"] == "kl") & (curves["model"] == "first")]
    best = best[best["layer"] == 12].set_index("map")["best"]
    assert best["shuffled pictures"] == "at the sweep's end"
    assert (best.drop("shuffled pictures") == "optimum").all() and len(best) == 6
    replication = findings.replications_of(findings.main())[0]
    short = replace(
        replication,
        mean_curve=replace(replication.mean_curve, at_edge=True),
        curves=tuple(replace(c, at_edge=True) for c in replication.curves),
    )
    tables = make_tables(results, replace(findings, replication=(short,)), stimuli)
    row = tables["best-sigma"].whole.iloc[0]
    assert row["heads at the end"] == 4 and row["it at the end"] and row["shuffled at the end"]
    units = tables["sigma-units"].whole.set_index("sigma")["which is"]
    assert units["replication: best for each head"] == "mean; 4 of 4 at the sweep's end"
    assert (
        "KL divergence best at 2.4, the end of the sweep, shuffled pictures at 4, the end of"
        in sigma_caption([short], "")[1]
    )


def test_a_sigma_beyond_those_tried_is_a_bound_in_every_table(results: Results, findings: Findings) -> None:
    known = SigmaEstimate(0.5, None, None, 0.4, 0.6, 0.1, 6, 4, 500, (), ())
    fine = replace(known, sigma=None, at_most=0.05, low=None, high=None)
    wide = replace(known, sigma=None, at_least=9.0, low=None, high=None)
    main = findings.main()
    sigmas = [SigmaReading("", 0, "people", "deg", fine)]
    sigmas += [SigmaReading(main.model, main.layer, f"head-0{i}", "deg", e) for i, e in enumerate((wide, known), 1)]
    stimuli = read_stimuli(results.study_folder / "stimuli")[0]
    tables = make_tables(results, replace(findings, sigmas=tuple(sigmas)), stimuli)
    shown = tables["sigmas"].shown.set_index("of")
    assert shown.loc["people", ["at most"]].item() == 0.05 and shown.loc["head 1", ["at least"]].item() == 9.0
    assert shown["sigma"].notna().to_dict() == {"people": False, "head 1": False, "head 2": True}
    units = tables["sigma-units"].whole.set_index("sigma")
    assert units.loc["held-out likelihood: people", ["which is", "degrees"]].tolist() == [
        "at most",
        pytest.approx(0.05),
    ]
    assert units.loc["held-out likelihood: head 1", ["which is", "degrees"]].tolist() == ["at least", pytest.approx(9)]
    assert units.loc["held-out likelihood: head 2", "which is"] == "estimate"
    written = json.loads(TypeAdapter(tuple[SigmaReading, ...]).dump_json(tuple(sigmas)))
    assert [r["estimate"]["sigma"] for r in written] == [None, None, 0.5]


def test_where_sigma_is_not_swept_nothing_is_said_of_a_best_one(make_study: Callable[..., Path]) -> None:
    """Heads are compared at the one sigma as published; no curve, no best sigma, no sweep in the methods.

    The table of the paper's claims, which has one of a best sigma, is another matter.
    """
    folder = make_study(sigmas=1)
    settings = read_results(folder).study
    without = settings.alignment.model_copy(update={"claims": []})
    write_study(settings.model_copy(update={"alignment": without}), results_folder(folder))
    path = write_report(folder)
    text = path.read_text("utf-8")
    visible = re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.S)
    assert "Sigma was not swept: every score is of σ = 4°, and none is best." in visible
    assert "One-way ANOVA over heads at σ = 4: F(3, " in visible and 'id="table-tukey"' in visible
    assert "Tukey&#39;s HSD at that σ." in visible
    for absent in ("best σ", "best at", "swept from", "best sigma", 'id="figure-sigma"', 'id="table-best-sigma"'):
        assert absent not in visible, absent
    assert not (path.parent / "figures" / "sigma.svg").exists()
    assert not (path.parent / "tables" / "best-sigma.csv").exists()
    findings = read_findings(path.parent)
    assert all(r.best_sigma_mean is None and r.anova is not None for r in findings.replication)


def test_attention_on_special_tokens_is_shown_where_there_is_any(results: Results, findings: Findings) -> None:
    stimuli = read_stimuli(results.study_folder / "stimuli")[0]
    some = results.attention_table.assign(special_mass=0.25)
    table = make_tables(replace(results, attention_table=some), findings, stimuli)["special-tokens"].whole
    assert set(table["mean (%)"]) == {25.0} and set(table["pictures"]) == {4}
    none = results.attention_table.assign(special_mass=np.nan)
    assert "special-tokens" not in make_tables(replace(results, attention_table=none), findings, stimuli)


def test_more_fixations_than_a_page_can_carry_leave_maps_at_the_fixed_sigma(
    small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beholder.analysis.report.explorer.MOST_FIXATIONS", 40)
    path = write_report(small_study)
    page = Page(path.read_text("utf-8"))
    data: dict[str, Any] = json.loads(page.scripts[0])
    assert data["sigmas"] == [read_results(small_study).study.maps.sigma]
    assert not any(a.get("type") == "range" for a in page.of("input"))
    assert "the first 10 on each picture can be laid over" in page.text
    assert sum(a["d"].count("h0") for a in page.of("path") if a.get("stroke") == "#fff") == 40
    for one in data["objects"]:
        assert one["gaze"] == [] and one["people"][:2] == [one["grid"][1], one["grid"][0]]
