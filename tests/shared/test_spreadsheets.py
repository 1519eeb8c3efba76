"""Claims on cells that begin like a formula: no spreadsheet runs what we write, and our readers give the text back."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder.analysis.results.files import read_table, safe_texts, write_table
from beholder.analysis.results.tables import TRIAL_COLUMNS
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.participants import read_participants
from beholder.shared.parsing import for_spreadsheets, from_spreadsheets, parse_number
from beholder.shared.study import Study
from beholder.shared.tables import read_fixations

FORMULAS = [
    "=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)", '=HYPERLINK("http://x","y")', "'=1", "''-x",
    "-", "=", "'+",
]  # fmt: skip
texts = st.text(alphabet=st.sampled_from("=+-@'1.5ax ") | st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def runs(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula; a number is none."""
    try:
        parse_number(cell)
    except ValueError:
        return cell[:1] in tuple("=+-@\t\r")
    return False


@given(texts)
def test_any_text_comes_back_and_never_runs(text: str) -> None:
    assert from_spreadsheets(for_spreadsheets(text)) == text
    assert not runs(for_spreadsheets(text))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 48), "#aa8855").save(tmp_path / "pictures" / "bag-01.png")
    create_study(tmp_path / "study", Study(), tmp_path / "pictures")
    return tmp_path / "study"


def cells(path: Path, delimiter: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]


@pytest.mark.parametrize("text", FORMULAS)
def test_answers_and_imported_columns_come_back_and_do_not_run(study: Path, text: str) -> None:
    row = {"trial": 1, "stim_file": "images/bag-01.png", "fixation": 1, "onset": 0.2, "duration": 0.25, "x_px": -3.5}
    table = pd.DataFrame([row | {"y_px": 1.0, "remark": text}])
    path = publishing.write_fixations(study, "07", table, {"group": text})
    # Written again when somebody else comes in: an apostrophe is not put before an apostrophe each time.
    publishing.write_fixations(study, "08", table)
    for file in (path, study / "participants.tsv"):
        assert not [cell for cell in cells(file, "\t") if runs(cell)]
    assert read_participants(study).loc["07", "group"] == text
    assert read_fixations(path)["remark"].tolist() == [text]
    assert read_fixations(path)["x_px"].tolist() == [-3.5]


@settings(max_examples=30)
@given(texts.filter(lambda text: text not in ("", "n/a") and text == text.strip()))
def test_results_come_back_and_do_not_run(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("results") / "trials.csv"
    values = {"str": text, "float64": -1.5, "int64": 3, "bool": True}
    table = pd.DataFrame({name: pd.Series([values.get(kind, 1)]) for name, kind in TRIAL_COLUMNS.items()})
    write_table(table, path, TRIAL_COLUMNS)
    assert not [cell for cell in cells(path, ",") if runs(cell)]
    found = read_table(path, TRIAL_COLUMNS)
    for name, kind in TRIAL_COLUMNS.items():
        assert found[name].tolist() == [values.get(kind, 1)], name


def test_headings_are_cells_too() -> None:
    safe = safe_texts(pd.DataFrame({"=1": ["@x", None], "gain": [-0.5, 1.0]}))
    assert list(safe.columns) == ["'=1", "gain"]
    assert safe["'=1"].tolist()[0] == "'@x"
    assert safe["gain"].tolist() == [-0.5, 1.0]
