"""Fixations from a table: what is right comes in whole, what is wrong is refused by file, line and remedy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.analysis.importing.fixation_table import import_fixations, participant_labels, read_fixation_csv
from beholder.shared.dataset.reading import beh_runs, fixations_file
from beholder.shared.errors import DataError, StudyError
from beholder.shared.study import NEW_PRIMARY, read_study
from beholder.shared.tables import read_fixations

GOOD = "participant,stimulus,x_px,y_px,duration_ms\n01,a.png,5.5,4,200\n01,a.png,6,5,150\n02,b,1,1,300\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "teal").save(folder / name)
    return folder


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gaze.csv"
    path.write_text(text)
    return path


def test_a_table_becomes_a_study_with_every_fixation(tmp_path: Path, images: Path) -> None:
    result = import_fixations(table(tmp_path, GOOD), tmp_path / "study", images)
    assert (result.participants, result.stimuli, result.fixations) == (("01", "02"), 2, 3)
    first, second = (read_fixations(fixations_file(run)) for run in beh_runs(tmp_path / "study"))
    np.testing.assert_array_equal(first[["x_px", "y_px", "duration"]], [[5.5, 4, 0.2], [6, 5, 0.15]])
    assert list(first["fixation"]) == [1, 2] and list(second["stim_file"]) == ["images/b.png"]
    assert read_study(tmp_path / "study").alignment.primary == NEW_PRIMARY


def test_a_picture_named_with_and_without_its_ending_is_one(tmp_path: Path, images: Path) -> None:
    import_fixations(table(tmp_path, GOOD.replace("a.png,6", "a,6")), tmp_path / "study", images)
    first, _ = (read_fixations(fixations_file(run)) for run in beh_runs(tmp_path / "study"))
    assert list(first["fixation"]) == [1, 2] and set(first["stim_file"]) == {"images/a.png"}


def test_degrees_stay_unknown_unless_the_pictures_width_is_given(tmp_path: Path, images: Path) -> None:
    import_fixations(table(tmp_path, GOOD), tmp_path / "without", images)
    study = read_study(tmp_path / "without")
    assert study.screen is None and study.pictures.size_deg is None and study.maps.sigma_unit == "percent"
    import_fixations(table(tmp_path, GOOD), tmp_path / "with", images, picture_width_deg=24.0)
    study = read_study(tmp_path / "with")
    assert (study.pictures.size_deg, study.pictures.size_of, study.maps.sigma_unit) == (24.0, "width", "deg")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_are_understood(tmp_path: Path, separator: str) -> None:
    rows, _ = read_fixation_csv(table(tmp_path, GOOD.replace(",", separator)))
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("y_px", "y"), ["line 1", "no column y_px"]),
        (GOOD.replace("6,5,150", "6,nan,150"), ["line 3", "y_px", "'nan'", "remove"]),
        (GOOD.replace("6,5,150", "6,,150"), ["line 3", "y_px", "nothing is there"]),
        (GOOD.replace("6,5,150", "6,five,150"), ["line 3", "y_px", "'five'", "not a number"]),
        (GOOD.replace("6,5,150", '"6,5",5,150'), ["line 3", "x_px", "comma as decimal point"]),
        (GOOD.replace("6,5,150", "6,5,5,150"), ["line 3", "6 cells", "comma as decimal point"]),
        (GOOD.replace(",150", ",-1"), ["line 3", "duration_ms", "above 0"]),
        (GOOD.replace("02,b", "02,c.png"), ["line 4", "no picture 'c.png'"]),
        (GOOD.replace("02,b", ",b"), ["line 4", "participant", "nothing is there"]),
        (GOOD.split("\n")[0] + "\n", ["no fixations"]),
        ("", ["line 1", "no column participant"]),
        (
            "participant,stimulus,x_px,y_px,duration_ms,order\n1,a,1,1,100,1\n1,a,2,2,100,1\n",
            ["line 3", "line 2", "twice"],
        ),
        (
            "participant,stimulus,x_px,y_px,duration_ms,order\n1,a,1,1,100,1\n1,a.png,2,2,100,1\n",
            ["line 3", "line 2", "twice"],
        ),
        ("participant,stimulus,x_px,y_px,duration_ms,order\n1,a,1,1,100,1.5\n", ["line 2", "order", "'1.5'"]),
    ],
)
def test_a_wrong_cell_is_refused_by_line_and_column_and_nothing_is_made(
    tmp_path: Path, images: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        import_fixations(table(tmp_path, text), tmp_path / "study", images)
    for word in ["gaze.csv", *words]:
        assert word in str(error.value)
    assert not (tmp_path / "study").exists()


def test_the_same_participant_is_not_imported_twice(tmp_path: Path, images: Path) -> None:
    path = table(tmp_path, GOOD)
    import_fixations(path, tmp_path / "study", images)
    # The same again may be what was cut short after its last step: it is whole, and that is said.
    for again in (images, None):
        assert "was there already" in import_fixations(path, tmp_path / "study", again).remarks[-1].text
    other = table(tmp_path, GOOD.replace("6,5,150", "6,5,151"))
    with pytest.raises(StudyError, match=r"participant 01 is in .* already: .*beholder withdraw"):
        import_fixations(other, tmp_path / "study")
    with pytest.raises(StudyError, match=r"is there already, and not as this import makes it"):
        import_fixations(other, tmp_path / "study", images)
    more = import_fixations(table(tmp_path, GOOD.replace("02,b", "03,b").replace("01,a", "04,a")), tmp_path / "study")
    assert more.participants == ("03", "04") and len(beh_runs(tmp_path / "study")) == 4


def test_what_hinders_an_import_of_somebody_who_is_there_is_told_as_it_is(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, GOOD)
    import_fixations(path, tmp_path / "study", images)

    def full(*_: object) -> bool:
        raise DataError("the disk is full: make room.")

    monkeypatch.setattr("beholder.analysis.importing.one_change.add_imported", full)
    with pytest.raises(DataError, match="the disk is full"):
        import_fixations(path, tmp_path / "study")


def test_pictures_are_counted_that_somebody_looked_at(tmp_path: Path, images: Path) -> None:
    of_one = GOOD.replace("02,b", "02,a")
    result = import_fixations(table(tmp_path, of_one), tmp_path / "study", images)
    assert result.stimuli == 1 and any("nobody's fixations" in str(r) for r in result.remarks)


def test_fixations_off_the_picture_are_kept_and_said(tmp_path: Path, images: Path) -> None:
    result = import_fixations(table(tmp_path, GOOD.replace("6,5,150", "60,5,150")), tmp_path / "study", images)
    assert result.outside == 1 and any("1 of 3 fixations lie outside" in str(r) for r in result.remarks)


def test_labels_that_would_become_the_same_are_refused() -> None:
    with pytest.raises(DataError, match="would be the same"):
        participant_labels(["P-1", "P1"], Path("gaze.csv"))


@pytest.mark.parametrize("name", ["p" * 300, "Pooled"])
def test_labels_that_cannot_be_kept_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="rename it in the table"):
        participant_labels([name], Path("gaze.csv"))
