"""Figures: what is drawn is what was given, for every study that can occur, and the same bytes each time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import Findings, read_findings
from beholder.analysis.report.figures.areas import draw_lift
from beholder.analysis.report.figures.heads import draw_heads, draw_layers, draw_measures
from beholder.analysis.report.figures.quality import draw_quality, draw_trials
from beholder.analysis.report.figures.sigma import draw_sigma
from beholder.analysis.report.figures.style import BLUE, STYLE, VERMILION, WIDTH_IN, to_png, to_svg
from beholder.analysis.report.labels import head_label
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results, read_results
from beholder.analysis.statistics.crossed import Share

SVG = "{http://www.w3.org/2000/svg}"


def texts(figure: Figure) -> list[str]:
    return ["".join(t.itertext()) for t in ET.fromstring(to_svg(figure)).iter(f"{SVG}text")]


def test_heads_are_rows_from_the_closest_to_the_farthest_at_their_means(findings: Findings) -> None:
    main = findings.main()
    axes = draw_heads(main).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [head_label(h) for h in main.ranked]
    filled = [
        (float(line.get_xdata()[0]), int(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() != "white"
    ]
    assert sorted(filled) == sorted((main.head(h).value.mean, row) for row, h in enumerate(main.ranked))


def test_intervals_are_drawn_from_low_to_high(findings: Findings) -> None:
    main = findings.main()
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in draw_heads(main).axes[0].lines}
    for head in main.heads:
        assert tuple(np.round((head.value.low, head.value.high), 9)) in drawn


def test_other_viewers_are_drawn_where_they_are_a_ceiling_and_nowhere_else(findings: Findings) -> None:
    measures = findings.measures_of(findings.main())
    figure = draw_measures(measures)
    drawn = {axes.get_title(loc="left"): [t.get_text() for t in axes.texts] for axes in figure.axes}
    for sound in measures:
        names = next(of for title, of in drawn.items() if title.startswith(MEASURES[sound.measure].label))
        assert any("other viewers" in name for name in names) == (sound.measure != "ssim"), sound.measure


def test_only_heads_that_cannot_be_told_from_the_closest_are_blue(findings: Findings) -> None:
    main = replace(findings.main(), ties=("head-02",))
    axes = draw_heads(main).axes[0]
    blue = {
        head_label(main.ranked[int(line.get_ydata()[0])])
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markerfacecolor() == BLUE
    }
    assert blue == {head_label(main.ranked[0]), "head 2"}


def test_a_reference_far_off_is_named_at_the_edge_and_does_not_squeeze_the_heads(findings: Findings) -> None:
    main = findings.main()
    near = draw_heads(main).axes[0].get_xlim()
    far = replace(main.best.value, mean=99.0, low=98.0, high=100.0)
    moved = tuple(replace(r, value=far) if r.map == "uniform" else r for r in main.references)
    figure = draw_heads(replace(main, references=moved))
    assert figure.axes[0].get_xlim()[1] <= near[1] + (near[1] - near[0])
    assert any("99.00" in t for t in texts(figure))


def test_the_best_sigma_is_marked_hollow_where_the_sweep_ends(findings: Findings) -> None:
    found = findings.replications_of(findings.main())
    axes = draw_sigma(found, 1.0).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    chance = found[0].shuffled_curve
    assert chance is not None and chance.at_edge
    assert [float(m.get_xdata()[0]) for m in marks if m.get_markerfacecolor() == "white"] == [chance.best_sigma]


def test_measures_share_the_rows_and_have_a_panel_each(findings: Findings) -> None:
    measures = findings.measures_of(findings.main())
    figure = draw_measures(measures)
    titles = ["KL divergence (primary)", "Pearson's CC", "SIM", "SSIM", "NSS"]
    assert [a.get_title(loc="left") for a in figure.axes] == titles


def test_participants_beyond_a_limit_are_red_and_the_limit_is_drawn(results: Results) -> None:
    figure = draw_quality(results.quality, results.trials, results.study.limits)
    assert figure is not None
    accuracy = figure.axes[0]
    used = results.quality[results.quality["used"]]
    limit = results.study.limits.accuracy_mean_deg
    marks = [line for line in accuracy.lines if line.get_marker() == "o"]
    red = [float(x) for m in marks if m.get_markerfacecolor() == VERMILION for x in m.get_xdata()]
    assert sorted(red) == sorted(used.loc[used["accuracy_deg"] > limit, "accuracy_deg"])
    assert any(list(line.get_xdata()) == [limit, limit] for line in accuracy.lines)


def test_imported_fixations_have_no_figure_of_quality_where_nothing_is_known(results: Results) -> None:
    unknown = results.trials.assign(loss_percent=np.nan, drift_deg=np.nan)
    assert draw_quality(results.quality.iloc[:0], unknown, results.study.limits) is None
    assert draw_trials(unknown, results.study.limits, results.study.exclusion) is None


def test_every_trial_has_its_tile_and_those_left_out_are_crossed(results: Results) -> None:
    figure = draw_trials(results.trials, results.study.limits, results.study.exclusion)
    assert figure is not None
    loss, drift = figure.axes[:2]
    drawn = np.asarray(loss.images[0].get_array())
    rows = results.trials.sort_values(["participant", "run", "trial"])
    np.testing.assert_allclose(drawn.ravel(), rows["loss_percent"])
    np.testing.assert_allclose(np.asarray(drift.images[0].get_array()).ravel(), rows["drift_deg"])
    # The made-up study lost the first trial of its last participant.
    [crosses] = [line for line in loss.lines if line.get_marker() == "x"]
    assert (list(crosses.get_xdata()), list(crosses.get_ydata())) == ([1], [5])


def test_of_many_participants_the_spread_of_their_trials_is_drawn(results: Results) -> None:
    one = results.trials[results.trials["participant"] == "01"]
    many = pd.concat([one.assign(participant=f"{i:04d}", loss_percent=i / 10) for i in range(1001)])
    figure = draw_trials(many, results.study.limits, results.study.exclusion)
    assert figure is not None
    loss = figure.axes[0]
    assert not loss.images
    median, most = (line.get_ydata() for line in loss.lines[:2])
    np.testing.assert_allclose(median, 50.0)
    np.testing.assert_allclose(most, 100.0)
    assert any(list(line.get_ydata()) == [50.0, 50.0] for line in loss.lines[2:]), "the limit"


def test_tiles_show_every_head_of_every_layer(findings: Findings) -> None:
    readings = [("first", [s for s in findings.sound if s.primary and s.model == "first"])]
    gains = [h.gain.mean for s in readings[0][1] for h in s.heads if h.gain is not None]
    shares = [h.share_over_centre for s in readings[0][1] for h in s.heads]
    assert len(gains) == len(shares) == 8
    shown = texts(draw_layers(readings))
    ratios = [share.ratio.ratio for share in shares if share.ratio is not None]
    assert len(ratios) == 8 and all(f"{100 * ratio:.0f}" in shown for ratio in ratios)
    without = [
        replace(s, heads=tuple(replace(h, share_over_centre=Share(None, "room")) for h in s.heads))
        for s in readings[0][1]
    ]
    shown = texts(draw_layers([("first", without)]))
    assert all(f"{gain:.2f}" in shown for gain in gains)


@pytest.mark.parametrize(
    "properties",
    [
        {"participants": 1},
        {"pictures": 1},
        {"heads": 1},
        pytest.param({"heads": 16}, marks=pytest.mark.slow),
        {"shuffled": False, "masks": False, "geometry": False},
        {"sigmas": 1},
    ],
)
def test_every_study_can_be_drawn(make_study: Callable[..., Path], properties: dict[str, object]) -> None:
    folder = make_study(**properties)
    results, found = read_results(folder), read_findings(results_folder(folder))
    main = found.main()
    swept = [r for r in found.replications_of(main) if r.swept]
    for figure in (
        draw_heads(main),
        draw_measures(found.measures_of(main)),
        *([draw_sigma(swept, main.sigma)] if swept else []),
        draw_layers([("first", [s for s in found.sound if s.primary])]),
        *([draw_lift(found.lifts)] if found.lifts else []),
    ):
        assert Image.open(BytesIO(to_png(figure))).size[0] == round(WIDTH_IN * 300)
    quality = draw_quality(results.quality, results.trials, results.study.limits)
    assert (quality is None) == (properties.get("geometry") is False)


def test_the_same_numbers_are_the_same_bytes_without_a_date(findings: Findings) -> None:
    main = findings.main()
    first, second = draw_heads(main), draw_heads(main)
    assert to_svg(first) == to_svg(second)
    assert to_png(first) == to_png(second)
    assert b"<dc:date>" not in to_svg(first)
    assert b"Software" not in to_png(first)


def test_the_readers_own_matplotlibrc_changes_nothing(findings: Findings) -> None:
    main = findings.main()
    plain = to_svg(draw_heads(main))
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        assert to_svg(draw_heads(main)) == plain


def test_text_in_svg_is_text_in_the_readers_font(findings: Findings) -> None:
    figure = draw_heads(findings.main())
    assert "head 4" in texts(figure)
    assert b"system-ui" in to_svg(figure)


def test_a_name_between_dollars_is_drawn_as_it_is() -> None:
    with mpl.rc_context(STYLE):
        figure = Figure()
        figure.text(0.1, 0.5, r"$\frac{$ handle_x^2")
    assert rb"$\frac{$ handle_x^2" in to_svg(figure)
    assert to_png(figure)
