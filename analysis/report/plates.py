"""The report's figures, each with its caption and its finding in words."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from beholder.analysis.findings.readings import Findings
from beholder.analysis.report.figures.areas import draw_areas, draw_lift
from beholder.analysis.report.figures.heads import draw_heads, draw_layers, draw_measures, draw_models
from beholder.analysis.report.figures.quality import draw_quality, draw_trials
from beholder.analysis.report.figures.sigma import draw_sigma
from beholder.analysis.report.figures.style import to_png, to_svg
from beholder.analysis.report.figures.time import draw_windows
from beholder.analysis.report.images import data_uri
from beholder.analysis.report.labels import layer_label, sigma_text
from beholder.analysis.report.prose.captions import (
    areas_caption,
    heads_caption,
    layers_caption,
    lift_caption,
    measures_caption,
    models_caption,
    quality_caption,
    sigma_caption,
    time_caption,
    trials_caption,
)
from beholder.analysis.results.paths import model_folder
from beholder.analysis.results.study_results import Results


@dataclass(frozen=True)
class Plate:
    """A figure of the page: its file's name, its caption, and its finding in words for readers who cannot see it."""

    name: str
    caption: str
    alt: str
    svg: bytes
    png: bytes

    @property
    def source(self) -> str:
        """The figure as a data URI."""
        return data_uri(self.svg, "image/svg+xml")


def make_plates(results: Results, findings: Findings) -> dict[str, Plate]:
    """Every figure of the page by name; of each model, the layer that is shown."""
    main, study = findings.main(), results.study
    plates = []
    quality = draw_quality(results.quality, results.trials, study.limits)
    if quality is not None:
        plates.append(_plate("quality", quality, quality_caption(results)))
    tiles = draw_trials(results.trials, study.limits, study.exclusion)
    if tiles is not None:
        plates.append(_plate("trials", tiles, trials_caption(results)))
    for s in findings.shown():
        suffix = "" if s.model == main.model else f"-{model_folder(s.model)}"
        label = layer_label(results, s.model, s.layer)
        at = f"{label}, σ = {sigma_text(study, s.sigma)}"
        measures, lifts = findings.measures_of(s), findings.lifts_of(s)
        curves = [r for r in findings.replications_of(s) if r.swept]
        plates += [
            _plate(f"heads{suffix}", draw_heads(s), heads_caption(s, at)),
            _plate(f"measures{suffix}", draw_measures(measures), measures_caption(measures, at)),
        ]
        if curves:
            drawn = draw_sigma(curves, s.sigma)
            plates.append(_plate(f"sigma{suffix}", drawn, sigma_caption(curves, label)))
        if lifts:
            plates.append(_plate(f"lift{suffix}", draw_lift(lifts), lift_caption(lifts, label)))
        windows = [w for w in findings.windows if (w.model, w.layer) == (s.model, s.layer)]
        if len(windows) > 2:
            drawn = draw_windows(windows, s)
            plates.append(_plate(f"time{suffix}", drawn, time_caption(windows, s, label)))
        if len(set(results.areas["part"])) > 1:
            drawn = draw_areas(results.areas, s)
            plates.append(_plate(f"areas{suffix}", drawn, areas_caption(results.areas, s, label)))
    if len(findings.shown()) > 1:
        side_by_side = [(layer_label(results, s.model, s.layer), s) for s in findings.shown()]
        at = f"σ = {sigma_text(study, main.sigma)}"
        words = models_caption(side_by_side, at)
        plates.append(_plate("models", draw_models(side_by_side), words))
    models = [(m.label, [s for s in findings.sound if s.primary and s.model == m.name]) for m in results.summary.models]
    if any(len(layers) > 1 for _, layers in models):
        at = f"{layer_label(results, main.model, main.layer)}, σ = {sigma_text(study, main.sigma)}"
        readings = [(label, layers) for label, layers in models if layers]
        plates.append(_plate("layers", draw_layers(readings), layers_caption(readings, main, at)))
    return {p.name: p for p in plates}


def _plate(name: str, figure: Figure, words: tuple[str, str]) -> Plate:
    return Plate(name, *words, svg=to_svg(figure), png=to_png(figure))
