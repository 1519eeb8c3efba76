"""Claims of `shared.tables`: what cannot be true is refused by its line, what is unlikely is asked about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.shared.errors import DataError
from beholder.shared.tables import read_events, read_fixations

COLUMNS = ["onset", "duration", "trial_type", "trial", "stim_file", "status", "exposure", "picture_width_px"]
DOT = "0 1 dot 1 n/a complete n/a n/a"
BAG = "1 2 picture 1 images/bag.png complete first 400"
JAR = "3 2 picture 2 images/jar.png complete first 400"


def events(folder: Path, *rows: str, columns: list[str] = COLUMNS) -> Path:
    path = folder / "sub-01_task-viewing_events.tsv"
    path.write_text("".join("\t".join(row.split() if isinstance(row, str) else row) + "\n" for row in (columns, *rows)))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read_events(path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path)) and sentence.endswith(".") and "\n" not in sentence
    return sentence.removeprefix(str(path))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("3 2", "3 inf", "line 4: duration is 'inf'; it must be a number from 0 to 1,000,000"),
        ("3 2", "3 -2", "line 4: duration is '-2'"),
        ("3 2", "3 n/a", "line 4: duration is n/a; it must be known for a picture"),
        ("3 2", "1e400 2", "line 4: onset is '1e400'"),
        ("picture 2", "picture 1.5", "line 4: trial is '1.5'; it must be a whole number from 1"),
        ("picture 2", "picture 1e30", "line 4: trial is '1e30'"),
        ("picture 2", "picture 0", "line 4: trial is '0'"),
        ("picture 2", "picture -3", "line 4: trial is '-3'"),
        ("picture 2", "picture n/a", "line 4: trial is n/a; it must be known for all pictures, or for none"),
        ("400", "0", "line 4: picture_width_px is '0'; it must be a number from 1"),
        (
            "complete",
            "finished",
            "line 4: status is 'finished'; it must be one of complete, aborted, late, repeated, or n/a",
        ),
        ("first", "second", "line 4: exposure is 'second'; it must be one of first, repeat, or n/a"),
        (JAR, BAG, "lines 3 and 4 are the same row: it would count twice"),
        (JAR, BAG.replace("1", "3", 1), "lines 3 and 4 are the same picture in one trial"),
        (JAR, f"{JAR} 7", "line 4 has 9 columns where the first line names 8"),
    ],
)
def test_an_event_that_cannot_be_true_is_refused_by_its_line(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    assert len(read_events(events(tmp_path, DOT, BAG, JAR))) == 3
    assert told in refusal(events(tmp_path, DOT, BAG, JAR.replace(right, wrong)))


def test_a_picture_cut_short_and_shown_again_under_its_number_counts_once_and_is_read(tmp_path: Path) -> None:
    short = BAG.replace("complete", "repeated")
    again = "9 2 picture 1 images/bag.png complete repeat 400"
    other = "11 2 picture 1 images/jar.png complete first 400"  # two pictures in one trial
    assert list(read_events(events(tmp_path, DOT, short, JAR, again, other))["trial"]) == [1, 1, 2, 1, 1]


def test_words_that_are_missing_have_their_defaults(tmp_path: Path) -> None:
    table = read_events(events(tmp_path, DOT, "1 2 picture n/a images/bag.png n/a n/a n/a"))
    assert table.loc[1, ["trial", "status", "exposure"]].tolist() == [1, "complete", "first"]


def test_rows_that_are_no_pictures_may_say_what_they_like_of_their_status(tmp_path: Path) -> None:
    table = read_events(events(tmp_path, DOT.replace("complete", "correct"), "2 n/a key n/a n/a wrong x n/a", BAG))
    assert list(table["status"]) == ["correct", "wrong", "complete"]


@given(lasts_s=st.floats(0.2, 20), pause_s=st.floats(0, 5), first_s=st.floats(0.2, 100), pictures=st.integers(2, 6))
@settings(max_examples=40)
def test_onset_and_duration_swapped_are_asked_about_whatever_the_protocol(
    tmp_path_factory: pytest.TempPathFactory, lasts_s: float, pause_s: float, first_s: float, pictures: int
) -> None:
    rows = [
        f"{first_s + i * (lasts_s + pause_s):.6f} {lasts_s:.6f} picture {i + 1} images/{i}.png complete first 400"
        for i in range(pictures)
    ]
    folder = tmp_path_factory.mktemp("swapped")
    assert len(read_events(events(folder, *rows))) == pictures
    sentence = refusal(events(folder, *rows, columns=["duration", "onset", *COLUMNS[2:]]))
    assert 'if it is meant, add "overlapping events" to meant in [checks] of study.toml' in sentence


def test_pictures_that_overlap_are_read_where_the_study_says_it_is_meant(tmp_path: Path) -> None:
    path = events(tmp_path, DOT, BAG, JAR.replace("3", "2.5", 1))
    assert "line 4: its picture begins at 2.5 s, when that of line 3 still lasts, until 3 s" in refusal(path)
    assert list(read_events(path, ["overlapping events"])["onset"]) == [0, 1, 2.5]
    # Clocks and screens are not exact to a frame or two.
    assert len(read_events(events(tmp_path, DOT, BAG, JAR.replace("3", "2.95", 1)))) == 3


FIXATION = {
    "trial": 1,
    "stim_file": "images/bag.png",
    "fixation": 1,
    "onset": 0.1,
    "duration": 0.2,
    "x_px": 3,
    "y_px": 4,
}


def fixations(folder: Path, **second: object) -> Path:
    path = folder / "sub-01_task-viewing_beh.tsv"
    rows = pd.DataFrame([FIXATION, FIXATION | {"fixation": 2, "onset": 0.4} | second])
    rows.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"duration": float("inf")}, "line 3: duration is 'inf'"),
        ({"duration": 0}, "line 3: a duration must be above 0 seconds"),
        ({"trial": 1.5}, "line 3: trial is '1.5'"),
        ({"fixation": 0}, "line 3: fixation is '0'"),
        ({"x_px": float("-inf")}, "line 3: x_px is '-inf'"),
        ({"fixation": 1}, "lines 2 and 3 are the same fixation of one trial: it would count twice"),
        ({"onset": 0.15}, "line 3: its fixation begins at 0.15 s, when that of line 2 still lasts, until 0.3 s"),
    ],
)
def test_a_fixation_that_cannot_be_true_is_refused_by_its_line(
    tmp_path: Path, second: dict[str, object], told: str
) -> None:
    assert len(read_fixations(fixations(tmp_path))) == 2
    path = fixations(tmp_path, **second)
    with pytest.raises(DataError) as refused:
        read_fixations(path)
    assert f"{path}, {told}" in str(refused.value)


def test_fixations_that_overlap_are_read_where_the_study_says_it_is_meant(tmp_path: Path) -> None:
    path = fixations(tmp_path, onset=0.15)
    assert list(read_fixations(path, ["overlapping events"])["onset"]) == [0.1, 0.15]
