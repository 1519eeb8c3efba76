"""The report of a study: one HTML page that needs no network, and beside it every figure (SVG, PNG) and table (CSV).

The page is made from what the analysis left in derivatives/beholder and from the study's pictures; it holds no time and
no path, so that the same results give the same bytes. Here the parts are put together and written; what was found is
in findings/readings.py, sentences in prose/, figures in figures/, maps over pictures in explorer.py, the page itself in
templates/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.claims import claims_files
from beholder.analysis.findings.readings import Findings, read_findings
from beholder.analysis.report.explorer import Explorer, PicturePanel, make_explorer
from beholder.analysis.report.images import colour_bar, difference_bar
from beholder.analysis.report.labels import UNITS, layer_label, sigma_text, thing
from beholder.analysis.report.plates import Plate, make_plates
from beholder.analysis.report.prose import methods
from beholder.analysis.report.prose.finding import finding
from beholder.analysis.report.prose.quality import counts, drift_sentences
from beholder.analysis.report.prose.statistics import (
    REPLICATION_WARNING,
    SIGMA_WARNING,
    floor_sentences,
    group_sentences,
    layer_sentences,
    model_sentences,
    replication_sentences,
    sigma_reading,
)
from beholder.analysis.report.tables import AgainstPaper, Table, against_paper, make_tables
from beholder.analysis.results.files import part_of
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results, read_results
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import to_toml

Progress = Callable[[str, int, int], None]

TEMPLATES = Path(__file__).resolve().parent / "templates"


def write_report(study_folder: Path, progress: Progress = lambda stage, done, total: None) -> Path:
    """Write report.html, figures/ and tables/ into derivatives/beholder, and return the page's path.

    Raises DataError where the study has not been analysed, or a picture is gone.
    """
    folder = results_folder(study_folder)
    progress("report", 0, 3)
    results, findings = read_results(study_folder), read_findings(folder)
    claims = claims_files(study_folder, results.study.alignment.claims)
    stimuli = [s for s in read_stimuli(study_folder / "stimuli")[0] if s.name in set(results.trials["stimulus"])]
    tables = make_tables(results, findings, stimuli)
    against = []
    for file in claims:
        paper, table = against_paper(file, results, findings)
        against.append(paper)
        tables[table.name] = table
    progress("report", 1, 3)
    plates = make_plates(results, findings)
    progress("report", 2, 3)
    drawn = _Drawn(tables, plates, *make_explorer(results, findings, stimuli), against)
    page = render(results, findings, drawn, _provenance(folder))
    for plate in plates.values():
        _write(plate.svg, folder / "figures" / f"{plate.name}.svg")
        _write(plate.png, folder / "figures" / f"{plate.name}.png")
    for table in tables.values():
        _write(table.csv, folder / "tables" / f"{table.name}.csv")
    _remove_others(folder / "figures", {f"{p.name}.{e}" for p in plates.values() for e in ("svg", "png")})
    _remove_others(folder / "tables", {f"{t.name}.csv" for t in tables.values()})
    path = folder / "report.html"
    _write(page.encode("utf-8"), path)
    progress("report", 3, 3)
    return path


@dataclass(frozen=True)
class _Drawn:
    """What a page shows: tables and figures by their names, the pictures' panels and their explorer, papers' claims."""

    tables: dict[str, Table]
    plates: dict[str, Plate]
    panels: Sequence[PicturePanel]
    explorer: Explorer
    against: Sequence[AgainstPaper]


def render(results: Results, findings: Findings, drawn: _Drawn, provenance: dict[str, Any]) -> str:
    """The page as HTML; every word that comes from a study is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    main = findings.main()
    # "<" never stands in the script's data, so that no name can end it.
    data = json.dumps(drawn.explorer.data, separators=(",", ":"))
    return environment.get_template("report.html").render(
        study=results.study,
        summary=results.summary,
        finding=finding(results, findings),
        thing=thing(results),
        main=main,
        main_label=layer_label(results, main.model, main.layer),
        measure=MEASURES[main.measure],
        sigma=sigma_text(results.study, main.sigma),
        counts=counts(results),
        remarks=[*results.summary.remarks, *findings.remarks],
        tables=drawn.tables,
        plates=drawn.plates,
        looks=drawn.panels,
        chooser=drawn.explorer,
        data=data.replace("<", "\\u003c"),
        colours=colour_bar(),
        difference_colours=difference_bar(),
        sigma_unit=UNITS[results.study.maps.sigma_unit],
        sigma_warning=SIGMA_WARNING,
        sigma_reading=sigma_reading(results.study, findings),
        replication_warning=REPLICATION_WARNING,
        replication=replication_sentences(findings),
        against=drawn.against,
        sound_sentences=layer_sentences(results, findings),
        floor_sentences=floor_sentences(results, findings),
        model_sentences=model_sentences(results, findings),
        group_sentences=group_sentences(results, findings),
        drift_sentences=drift_sentences(results, findings),
        methods=methods.methods(results),
        settings=to_toml(results.study),
        provenance=provenance,
        references=methods.references(results),
        css=(TEMPLATES / "report.css").read_text("utf-8"),
        script=(TEMPLATES / "report.js").read_text("utf-8"),
    )


def _write(content: bytes, path: Path) -> None:
    part = part_of(path)
    part.write_bytes(content)
    part.replace(path)


def _remove_others(folder: Path, keep: set[str]) -> None:
    """What an earlier report left and this one does not have."""
    for path in folder.glob("*"):
        if path.name not in keep and path.suffix in (".svg", ".png", ".csv"):
            path.unlink()


def _provenance(folder: Path) -> dict[str, Any]:
    """Versions, machine and seed; the time is left out, for the page is the same whenever it is made."""
    try:
        values = json.loads((folder / "provenance.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: values[k] for k in ("versions", "machine", "stage_versions", "seed") if k in values}
