"""Claims on what an import publishes: no person's or computer's name, no folder, no day, and no clock but its own."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.analysis.importing.fixation_table import import_fixations
from beholder.analysis.importing.identifying import without_dates, without_folders
from beholder.analysis.importing.recordings import NewStudy, import_asc, import_tobii
from beholder.shared.dataset.reading import read_recording, runs
from tests.analysis.scenes import two_pictures

PLACES = [
    r"C:\Users\schmidt\Documents and Settings\a.png", "file:///home/schmidt/my%20study/a.png",
    "file:///C:/Users/schmidt/a.png", r"\\lab-server\schmidt\a.png", r"..\schmidt\a.png", "../../schmidt/a.png",
    "~/schmidt/a.png", "/home/schmidt/a.png", r"./schmidt/a.png",
]  # fmt: skip
DAYS = [
    "2014-08-20", "2014-08-20T07:17:25.123Z", "20.08.2014 07:17", "8/20/2014 7:17:25 AM", "Wed Aug 20 07:17:25 2014",
    "20 August 2014", "20140820", "20140820_071725", "1408519045", "1408519045.25", "1408519045250", "1408519045250123",
]  # fmt: skip


@pytest.mark.parametrize("before", ["", "IMG ", "IMG=", 'load("', "(", "a "])
@pytest.mark.parametrize("place", PLACES)
def test_of_a_path_the_files_name_alone_is_left_and_what_follows_it(place: str, before: str) -> None:
    assert without_folders(f"{before}{place} 512 384 10/20") == f"{before}a.png 512 384 10/20"


@pytest.mark.parametrize(
    "text",
    ["images/a.png onset", r"images\b.png", "block 3/4", "and/or", "10/20/30", "a / b", "TRIALID 1", "!V TRIAL_VAR a b",
     "12 image_onset", "ratio 1:2", "C: drive", "..."],
)  # fmt: skip
def test_what_is_no_path_stays(text: str) -> None:
    assert without_folders(text) == text


@pytest.mark.parametrize("day", DAYS)
def test_days_and_stamps_since_1970_go(day: str) -> None:
    assert without_dates(f"start {day}, block 2") == "start [date], block 2"


@pytest.mark.parametrize(
    "text",
    ["TRIALID 20", "512 384 500 375", "v5.03", "11.2014 deg", "x 1024.5", "12345678", "30123456", "999999999",
     "TRIAL_VAR seed 20141399", "1.2.3", "rate 500.00", "1234567890"],
)  # fmt: skip
def test_numbers_that_are_no_day_stay(text: str) -> None:
    assert without_dates(text) == text


@given(st.text(max_size=80))
def test_cleaning_any_text_is_final_and_adds_nothing(text: str) -> None:
    cleaned = without_dates(without_folders(text))
    assert len(without_folders(text)) <= len(text)
    assert without_dates(cleaned) == cleaned


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return two_pictures(tmp_path / "images")


def new(images: Path) -> NewStudy:
    return NewStudy(images, (1024, 768), (40.0, 30.0), 60.0, "centred")


def asc(images: Path, folder: Path) -> Path:
    said = [f"MSG\t{10100 + 2 * i} LOAD {place} 5 6" for i, place in enumerate(PLACES)]
    said += [f"MSG\t{10200 + 2 * i} began {day}" for i, day in enumerate(DAYS)]
    rows = [f"{10000 + 2 * i}\t  400.0\t  380.0\t  900.0\t..." for i in range(600)]
    lines = ["** CONVERTED FROM C:\\Users\\schmidt\\x.edf", "** DATE: Wed Aug 20 07:17:25 2014",
             "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED", "MSG\t9000 DISPLAY_COORDS 0 0 1023 767",
             "START\t10000 \tLEFT\tSAMPLES\tEVENTS", "PUPIL\tAREA",
             "SAMPLES\tGAZE\tLEFT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2", "MSG\t10000 a.png onset", *rows, *said,
             "MSG\t11198 a.png offset", "END\t11200 \tSAMPLES\tEVENTS\tRES\t  35.17\t  35.14"]  # fmt: skip
    path = folder / "Anna_Schmidt.asc"
    path.write_text("\n".join(lines) + "\n")
    return path


def tobii(images: Path, folder: Path) -> Path:
    # An SDK's table on a computer whose clock counts microseconds since 1970.
    zero = 1_408_519_045_250_000
    of_eye = ("gaze_point_on_display_area_x", "gaze_point_on_display_area_y", "gaze_point_validity", "pupil_diameter")
    names = ["system_time_stamp", *(f"{eye}_{what}" for eye in ("left", "right") for what in of_eye)]
    rows = [[zero + 16_667 * i, *([0.5, 0.5, 1, 3.1] * 2)] for i in range(120)]
    path = folder / "Anna Schmidt.tsv"
    path.write_text("\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")
    said = [(zero + 100_000 + 9 * i, f"LOAD {text}") for i, text in enumerate([*PLACES, *DAYS])]
    said += [(zero + 200_000, "a.png onset"), (zero + 1_500_000, "a.png offset")]
    table = "\n".join(["\tsystem_time_stamp\tmsg", *(f"{i}\t{at}\t{text}" for i, (at, text) in enumerate(said))])
    (folder / "Anna Schmidt_msg.tsv").write_text(table + "\n")
    return path


def published(study: Path) -> dict[str, bytes]:
    """All that is shared: without the trackers' own files, whose folder says that they are not."""
    own = re.compile(r"sourcedata/sub-\w+/.*_recording\.\w+$")
    files = {path.relative_to(study).as_posix(): path for path in study.rglob("*") if path.is_file()}
    return {
        name: gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        for name, path in files.items()
        if not own.match(name) and ".beholder" not in name and "stimuli/" not in name
    }


@pytest.mark.parametrize(("make", "read"), [(asc, import_asc), (tobii, import_tobii)], ids=["asc", "tobii"])
def test_what_is_published_names_nobody_no_folder_no_day_and_starts_at_0(
    tmp_path: Path, images: Path, make: Callable[[Path, Path], Path], read: Callable[..., object]
) -> None:
    study = tmp_path / "study"
    source = make(images, tmp_path)
    read(source, study, new(images), participant="07")
    assert (study / "sourcedata" / "sub-07").is_dir()
    for name, data in published(study).items():
        for word in (b"schmidt", b"anna", b"users", b"lab-server", b"/home", b"2014", b"140851904", b"aug "):
            assert word not in name.lower().encode() + b"\n" + data.lower(), (name, word)
    assert not [path for path in study.rglob("*") if "anna" in path.name.lower()]
    (run,) = runs(study)
    times = read_recording(run).samples["time_s"]
    assert times[0] == 0
    assert times[-1] < 3


def test_a_table_of_fixations_leaves_no_name_of_its_file_or_of_anybody(tmp_path: Path, images: Path) -> None:
    table = tmp_path / "Anna Schmidt.csv"
    rows = ["P-1,a.png,5,4,200,x", "P-1,a.png,900,4,200,x"]
    table.write_text("\n".join(["participant,stimulus,x_px,y_px,duration_ms,mood", *rows]) + "\n")
    told = import_fixations(table, tmp_path / "study", images).remarks
    assert any(remark.about == "participant P-1" for remark in told)
    for name, data in published(tmp_path / "study").items():
        for word in (b"schmidt", b"anna", b"p-1"):
            assert word not in name.lower().encode() + b"\n" + data.lower(), (name, word)
    assert b"lie outside their picture" in published(tmp_path / "study")["sourcedata/imports.json"]
