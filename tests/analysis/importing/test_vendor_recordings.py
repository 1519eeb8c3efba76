"""Vendors' recordings: what they hold comes in whole, as their own readers give it; what is not whole is refused.

Small files of every form are written here with planted gaze. Real recordings (BEHOLDER_TEST_DATA, the folder that holds
eyelink/ and tobii/) and the EDF files that eyelinkio ships are compared with pymovements, eyelinkio and ETDQualitizer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ETDQualitizer
import numpy as np
import pandas as pd
import polars
import pymovements
import pytest
from PIL import Image

from beholder.analysis.gaze.trials import fixations_of_run
from beholder.analysis.importing import recordings
from beholder.analysis.importing.eyelink_asc import read_asc
from beholder.analysis.importing.eyelink_edf import read_edf
from beholder.analysis.importing.recordings import ImportedGaze, NewStudy, import_asc, import_edf, import_tobii
from beholder.analysis.importing.tobii import read_tobii
from beholder.cli import place_of, size_of
from beholder.experiment.calibration import point_quality
from beholder.shared.dataset import withdrawal
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import Recording, read_recording, runs
from beholder.shared.errors import DataError, StudyError
from beholder.shared.gaze import Eye, Samples, no_samples
from beholder.shared.recording.records import Point
from beholder.shared.screen import Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import NEW_PRIMARY, MessageSettings, Study, read_study, write_study

SCREEN = Screen(1024, 768, 40.0, 30.0, 60.0)
KNOWN = {"screen_cm": (40.0, 30.0), "distance_cm": 60.0}
DATA = os.environ.get("BEHOLDER_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="set BEHOLDER_TEST_DATA to the folder of real recordings")
needs_eyelinkio = pytest.mark.skipif(
    importlib.util.find_spec("eyelinkio") is None, reason="eyelinkio is not installed: pip install eyelinkio"
)
VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")
EYELINK = ("bino1000", "bino500", "mono1000", "mono2000", "mono250")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in (("a.png", "teal"), ("b.png", "olive"), ("VC_1.png", "red"), ("VC_2.png", "blue")):
        Image.new("RGB", (400, 300), colour).save(folder / name)
    return folder


# Planted gaze, and the files that hold it.


def gaze(n: int, rate_hz: float, start_s: float = 10.0, eyes: str = "LR") -> Samples:
    """Fixations of 0.3 s on places that a seed draws, noise of half a px, and a blink in the middle; one decimal."""
    rng = np.random.default_rng(7)
    samples = no_samples(n)
    samples["time_s"] = start_s + np.arange(n) / rate_hz
    which = (np.arange(n) / rate_hz / 0.3).astype(int)
    places = rng.uniform([350, 250], [680, 520], (which.max() + 1, 2))[which]
    for letter, eye in (("L", "left"), ("R", "right")):
        if letter in eyes:
            noisy = np.round(places + rng.normal(0, 0.5, (n, 2)), 1)
            blink = slice(n // 2, n // 2 + int(0.12 * rate_hz))
            noisy[blink] = np.nan
            samples[f"{eye}_x_px"], samples[f"{eye}_y_px"] = noisy.T
            samples[f"{eye}_pupil"] = np.where(np.isnan(noisy[:, 0]), np.nan, np.round(rng.uniform(800, 900, n)))
    return samples


def sample_line(sample: Any, eyes: str, whole_ms: bool = False) -> str:
    cells = [f"{sample['time_s'] * 1000:.0f}" if whole_ms else f"{sample['time_s'] * 1000:.1f}".removesuffix(".0")]
    for eye in ["left"] * ("L" in eyes) + ["right"] * ("R" in eyes):
        seen = not np.isnan(sample[f"{eye}_x_px"])
        cells += [f"{sample[f'{eye}_{c}_px']:7.1f}" if seen else "   ." for c in "xy"]
        cells.append(f"{sample[f'{eye}_pupil']:7.1f}" if seen else "    0.0")
    return "\t".join([*cells, "." * (3 if len(eyes) == 1 else 5)])


def block(samples: Samples, eyes: str, rate_hz: float, inside: tuple[tuple[float, str], ...] = ()) -> list[str]:
    """A recording's lines from START to END, with other lines in between at their times in ms."""
    names = "\t".join(name for letter, name in (("L", "LEFT"), ("R", "RIGHT")) if letter in eyes)
    times_ms = samples["time_s"] * 1000
    lines = [
        (times_ms[0] - 0.1, line)
        for line in (
            f"START\t{times_ms[0]:.0f} \t{names}\tSAMPLES\tEVENTS",
            "PRESCALER\t1",
            "VPRESCALER\t1",
            "PUPIL\tAREA",
            f"EVENTS\tGAZE\t{names}\tRATE\t{rate_hz:7.2f}\tTRACKING\tCR\tFILTER\t2",
            f"SAMPLES\tGAZE\t{names}\tRATE\t{rate_hz:7.2f}\tTRACKING\tCR\tFILTER\t2",
        )
    ]
    lines += [(at, line) for at, line in inside]
    lines += [(at, sample_line(sample, eyes)) for at, sample in zip(times_ms, samples, strict=True)]
    lines.append((times_ms[-1] + 1e-3, f"END\t{times_ms[-1] + 1:.0f} \tSAMPLES\tEVENTS\tRES\t  35.17\t  35.14"))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


HEADER = [
    "** CONVERTED FROM C:\\data\\jane.edf using edfapi 3.1 on Sat Mar 28 22:46:17 2015",
    "** DATE: Wed Aug 20 07:17:25 2014",
    "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED", "** VERSION: EYELINK II 1", "** SOURCE: EYELINK CL",
    "** EYELINK II CL v5.03 Jul  3 2014", "** SERIAL NUMBER: CLG-BAF18", "**", "",
    "MSG\t9000 DISPLAY_COORDS 0 0 1023 767",
    "MSG\t9000 GAZE_COORDS 0.00 0.00 1023.00 767.00",
    "MSG\t9000 !CAL ", ">>>>>>> CALIBRATION (HV5,P-CR) FOR LEFT: <<<<<<<<<", "MSG\t9000 !CAL Cal coeff:(X=a+bx)",
    "   7554.5  200.42  61.681", "MSG\t9001 !CAL CALIBRATION HV5 LR LEFT    GOOD",
    "MSG\t9100 !CAL VALIDATION HV5 LR LEFT  GOOD ERROR 0.35 avg. 0.48 max  OFFSET 0.18 deg. -6.4,-0.9 pix.",
    "MSG\t9100 !CAL VALIDATION HV5 LR RIGHT GOOD ERROR 0.30 avg. 0.91 max  OFFSET 0.17 deg. 0.1,6.2 pix.",
    "MSG\t9100 VALIDATE LR POINT 0  LEFT  at 512,384  OFFSET 0.43 deg.  -15.3,-2.0 pix.",
    "MSG\t9100 VALIDATE LR 4POINT 1 RIGHT  at 512,65  OFFSET 0.17 deg.  0.9,6.2 pix.",
]  # fmt: skip
SAMPLES_A, SAMPLES_B = gaze(1000, 500.0), gaze(1000, 500.0, start_s=15.0)
INSIDE_A = (
    (10100.0, "MSG\t10112 12 image_onset"),
    (10301.0, "SFIX L   10100"), (10302.0, "EFIX L   10100\t10300\t202\t  -12.5\t  370.6\t    937"),
    (10322.0, "ESACC R  10302\t10320\t20\t  501.5\t  371.5\t  488.7\t  370.5\t   0.37\t     54"),
    (11242.0, "EBLINK L 11000\t11118\t120"),
    (11800.0, "MSG\t11800 blank_screen"),
)  # fmt: skip
INSIDE_B = ((15200.0, "MSG\t15200 -4 images\\b.png onset"), (15900.0, "MSG\t15900 images\\b.png offset"))


def asc_lines(eyes: str = "LR") -> list[str]:
    """Two trials: one in Data Viewer's conventions, one in ours; the tracker stops in between."""
    return [
        *HEADER, "MSG\t9990 TRIALID 1", "MSG\t9991 !V IMGLOAD CENTER C:\\Users\\jane\\images\\a.png 512 384 500 375",
        *block(SAMPLES_A, eyes, 500.0, INSIDE_A), "MSG\t12010 TRIAL_RESULT 0",
        "MSG\t14990 TRIALID 2", "MSG\t14991 !V IMGLOAD TOP_LEFT b.png 312 234",
        *block(SAMPLES_B, eyes, 500.0, INSIDE_B),
        "MSG\t17010 TRIAL_RESULT 0",
    ]  # fmt: skip


def asc_file(folder: Path, lines: list[str] | None = None, name: str = "p01.asc") -> Path:
    path = folder / name
    path.write_bytes(("\n".join(asc_lines() if lines is None else lines) + "\n").encode())
    return path


def imported(source: Path, images: Path, read: Callable[..., ImportedGaze] = import_asc, **new: Any) -> ImportedGaze:
    return read(source, source.parent / f"study of {source.stem}", NewStudy(images, **{**KNOWN, **new}))


def the_recording(study: Path, participant: str | None = None) -> Recording:
    (run,) = [run for run in runs(study) if participant in (None, run.participant)]
    return read_recording(run)


def assert_same_samples(found: Samples, wanted: Samples) -> None:
    assert len(found) == len(wanted)
    for name in wanted.dtype.names or ():
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=0, atol=5e-7 if name == "time_s" else 1e-9, err_msg=name
        )


def errors_of(study: Path) -> list[str]:
    if not VALIDATOR.exists():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([VALIDATOR, study, "--json"], capture_output=True, text=True, check=False)
    return [i["code"] for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]


# EyeLink ASC.


@pytest.mark.parametrize("eyes", ["LR", "L", "R"])
def test_an_asc_file_comes_in_whole(tmp_path: Path, images: Path, eyes: str) -> None:
    result = imported(asc_file(tmp_path, asc_lines(eyes)), images)
    assert (result.participants, result.samples, result.pictures) == (("p01",), 2000, 2)
    recording = the_recording(result.study_folder)
    wanted = np.concatenate([SAMPLES_A, SAMPLES_B])
    wanted["time_s"] -= wanted["time_s"][0]
    for eye, letter in (("left", "L"), ("right", "R")):
        if letter not in eyes:
            for field in ("x_px", "y_px", "pupil"):
                wanted[f"{eye}_{field}"] = np.nan
    assert_same_samples(recording.samples, wanted)
    assert recording.rate_hz == 500.0 and recording.screen == SCREEN and not recording.simulated
    assert recording.eyes == tuple(e for e, letter in (("left", "L"), ("right", "R")) if letter in eyes)
    assert errors_of(result.study_folder) == []


def test_messages_become_trials_and_pictures(tmp_path: Path, images: Path) -> None:
    events = the_recording(imported(asc_file(tmp_path), images).study_folder).events
    assert list(events["trial"]) == [1, 2] and list(events["stim_file"]) == ["images/a.png", "images/b.png"]
    # The first sample is at 10 s. "12 image_onset" at 10.112 tells of 10.100; "-4 ... onset" at 15.2 of 15.204.
    np.testing.assert_allclose(events["onset"], [0.1, 5.204], atol=1e-6)
    np.testing.assert_allclose(events["duration"], [1.7, 0.696], atol=1e-6)
    sides = [f"picture_{side}_px" for side in ("x", "y", "width", "height")]
    np.testing.assert_array_equal(events[sides], [[262, 196.5, 500, 375], [312, 234, 400, 300]])
    assert set(events["status"]) == {"complete"} and set(events["exposure"]) == {"first"}


def physio_events(study: Path, eye: str = "eye1") -> pd.DataFrame:
    (file,) = study.glob(f"sub-*/beh/*_recording-{eye}_physioevents.tsv.gz")
    names = ["onset", "duration", "kind", "message", "x", "y"]
    return pd.read_csv(file, sep="\t", header=None, names=names, na_values=["n/a"])


def test_the_trackers_own_events_and_every_message_are_kept(tmp_path: Path, images: Path) -> None:
    study = imported(asc_file(tmp_path), images).study_folder
    left, right = physio_events(study), physio_events(study, "eye2")
    fixation = left[left["kind"] == "fixation"].iloc[0]
    assert (fixation["onset"], fixation["duration"], fixation["x"], fixation["y"]) == (0.1, 0.202, -12.5, 370.6)
    assert fixation["message"] == "pupil=937"
    assert list(left["kind"][left["kind"] != "message"]) == ["fixation", "blink"]
    saccade = right[right["kind"] == "saccade"].iloc[0]
    assert saccade["duration"] == 0.02 and "amplitude_deg=0.37 peak_velocity_deg_s=54" in saccade["message"]
    messages = list(left["message"][left["kind"] == "message"])
    assert len(messages) == sum(line.startswith("MSG") for line in asc_lines())
    assert "!V IMGLOAD CENTER a.png 512 384 500 375" in messages and not any("jane" in m for m in messages)


def test_the_trackers_validation_decides_which_eye_is_better(tmp_path: Path, images: Path) -> None:
    recording = the_recording(imported(asc_file(tmp_path), images).study_folder)
    validations = [recording.sidecars[eye].validation for eye in ("left", "right")]
    assert [validation.accuracy_deg for validation in validations if validation] == [0.35, 0.30]
    sidecar = recording.sidecars["right"]
    assert sidecar.MaximalCalibrationError == 0.91 and sidecar.CalibrationPosition == [[512, 384], [512, 65]]
    assert sidecar.calibrations == 1 and sidecar.DeviceSerialNumber == "CLG-BAF18"
    found = fixations_of_run(recording, read_stimuli(images)[0], Study().fixations)
    assert set(found.fixations["eye"]) == {"right"}


def test_the_vendors_file_is_kept_and_nothing_is_written_twice(tmp_path: Path, images: Path) -> None:
    source = asc_file(tmp_path)
    study = imported(source, images).study_folder
    (kept,) = (study / "sourcedata" / "sub-p01").iterdir()
    assert kept.read_bytes() == source.read_bytes() and kept.name == "sub-p01_task-viewing_run-1_recording.asc"
    before = {file: file.read_bytes() for file in study.rglob("*") if file.is_file()}
    assert "was there already" in import_asc(source, study).remarks[-1].text
    assert {file: file.read_bytes() for file in before} == before
    another = asc_file(tmp_path, [line.replace("blank_screen", "blank") for line in asc_lines()])
    with pytest.raises(StudyError, match=r"p01 has a run 1 .* already.*--run"):
        import_asc(another, study)
    source = asc_file(tmp_path)
    before |= {study / ".beholder" / "import.lock": b""}
    assert {file: file.read_bytes() for file in study.rglob("*") if file.is_file()} == before
    assert import_asc(source, study, run=2).samples == 2000
    assert {run.run for run in runs(study)} == {1, 2} and errors_of(study) == []
    assert {f: f.read_bytes() for f in before if "run-1" in f.name} == {
        f: b for f, b in before.items() if "run-1" in f.name
    }


def test_a_folder_is_a_participant_a_file(tmp_path: Path, images: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("sub-07_task-x.asc", "ann 2.ASC"):
        asc_file(folder, name=name)
    (folder / "notes.txt").write_text("not a recording")
    result = import_asc(folder, tmp_path / "study", NewStudy(images, **KNOWN))
    assert result.participants == ("07", "ann2") and result.samples == 4000
    assert read_study(result.study_folder).alignment.primary == NEW_PRIMARY
    assert errors_of(result.study_folder) == []
    with pytest.raises(DataError, match="leave --participant out"):
        import_asc(folder, tmp_path / "other", NewStudy(images, **KNOWN), participant="1")
    assert not (tmp_path / "other").exists()


def test_a_failure_in_mid_writing_leaves_nothing_to_be_recovered(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings.JournalWriter, "append_records", full)
    source = asc_file(tmp_path)
    with pytest.raises(DataError, match=r"No space.*nothing is lost"):
        imported(source, images)
    assert not (tmp_path / "study of p01").exists()
    assert [path.name for path in tmp_path.iterdir() if "study" in path.name] == []
    monkeypatch.undo()
    assert imported(source, images).samples == 2000


def test_an_eye_that_comes_and_goes_is_missing_where_it_was_not_recorded(tmp_path: Path, images: Path) -> None:
    lines = [*asc_lines("L")]
    start = next(i for i, line in enumerate(lines) if line.startswith("START\t15000"))
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("END"))
    lines[start : end + 1] = block(SAMPLES_B, "LR", 500.0, INSIDE_B)
    recording = the_recording(imported(asc_file(tmp_path, lines), images).study_folder)
    assert np.isnan(recording.samples["right_x_px"][:1000]).all()
    np.testing.assert_array_equal(recording.samples["right_x_px"][1000:], SAMPLES_B["right_x_px"])
    np.testing.assert_array_equal(recording.samples["left_x_px"][:1000], SAMPLES_A["left_x_px"])


def test_whole_milliseconds_twice_are_half_a_millisecond_apart_at_2000_hz(tmp_path: Path) -> None:
    samples = gaze(400, 2000.0)
    times = [f"{int(t * 1000 + 1e-6)}" for t in samples["time_s"]]
    lines = block(samples, "L", 2000.0)
    numbers = [i for i, line in enumerate(lines) if line[0].isdigit()]
    for i, time in zip(numbers, times, strict=True):
        lines[i] = "\t".join([time, *lines[i].split("\t")[1:]])
    np.testing.assert_allclose(read_asc(asc_file(tmp_path, lines)).samples["time_s"], samples["time_s"], atol=1e-7)


def test_coordinates_with_another_origin_are_moved_to_the_upper_left(tmp_path: Path, images: Path) -> None:
    other = "DISPLAY_COORDS -100 -50 923 717"
    lines = [line.replace("DISPLAY_COORDS 0 0 1023 767", other) for line in asc_lines() if "GAZE_COORDS" not in line]
    recording = the_recording(imported(asc_file(tmp_path, lines), images).study_folder)
    np.testing.assert_allclose(recording.samples["left_x_px"][0], SAMPLES_A["left_x_px"][0] + 100)
    assert recording.screen.width_px == 1024
    assert recording.events["picture_x_px"].iloc[1] == 412 and recording.events["picture_y_px"].iloc[1] == 284


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("MSG\t10112 12 image_onset", "", "2 pictures have no onset"),
        ("a.png 512", "fixation_cross.png 512", "fixation_cross.png"),
        ("MSG\t15900 images\\b.png offset", "", None),
    ],
)
def test_what_is_doubtful_is_a_remark(tmp_path: Path, images: Path, old: str, new: str, words: str | None) -> None:
    lines = [line.replace(old, new) for line in asc_lines()]
    if "image_onset" in old:
        # Without its onset message a picture is there from when it is named, if the tracker records then.
        moved = "MSG\t10100 !V IMGLOAD FILL a.png"
        lines = [moved if line == "" and i > len(HEADER) else line for i, line in enumerate(lines)]
        lines = [line for line in lines if "jane\\images" not in line]
        words = "1 pictures have no onset"
    result = imported(asc_file(tmp_path, lines), images)
    said = [str(remark) for remark in result.remarks if "shown to nobody" not in str(remark)]
    assert (words is None and not said) or any(words in text for text in said if words)  # type: ignore[operator]
    events = the_recording(result.study_folder).events
    if words is None:
        assert events["onset"].iloc[1] + events["duration"].iloc[1] == pytest.approx(
            7.0, abs=0.01
        )  # where recording ends
    if "image_onset" in old:
        assert events["onset"].iloc[0] == pytest.approx(0.1) and events["picture_width_px"].iloc[0] == 1024


# The columns behind gaze and pupils, in the order of SR Research's manual, by the word of SAMPLES that announces them.
MORE_COLUMNS = {
    "VEL": lambda eyes: ["-12.3", "4.5"] * len(eyes),
    "RES": lambda eyes: ["35.17", "35.14"],
    "INPUT": lambda eyes: ["127.0"],
    "HTARGET": lambda eyes: ["4437.0", "2829.0", "607.5", "." * (13 if len(eyes) == 1 else 17)],
}


def with_columns(lines: list[str], eyes: str, words: tuple[str, ...]) -> list[str]:
    """The same recording with more columns; where the target is lost, so are its numbers."""
    out = []
    for number, line in enumerate(lines):
        if line.startswith("SAMPLES"):
            before = "".join(f"\t{word}" for word in words if word != "INPUT")
            line = line.replace("\tRATE", f"{before}\tRATE") + "\tINPUT" * ("INPUT" in words)
        elif line[:1].isdigit():
            *cells, flags = line.split("\t")
            more = {word: MORE_COLUMNS[word](eyes) if word in words else [] for word in MORE_COLUMNS}
            if more["HTARGET"] and number % 7 == 0:
                more["HTARGET"] = [".", ".", ".", "M" + more["HTARGET"][3][1:]]
            line = "\t".join([*cells, *more["VEL"], *more["RES"], *more["INPUT"], flags, *more["HTARGET"]])
        out.append(line)
    return out


@pytest.mark.parametrize("eyes", ["LR", "R"])
@pytest.mark.parametrize(
    "words",
    [("HTARGET",), ("HTARGET", "INPUT"), ("VEL",), ("RES",), ("VEL", "RES"), ("VEL", "RES", "HTARGET", "INPUT")],
)
def test_gaze_is_read_among_all_columns_that_edf2asc_writes(tmp_path: Path, eyes: str, words: tuple[str, ...]) -> None:
    """Remote mode has the target's place and distance and flags; velocity, resolution and input may be asked for."""
    plain = read_asc(asc_file(tmp_path, asc_lines(eyes), "plain.asc"))
    found = read_asc(asc_file(tmp_path, with_columns(asc_lines(eyes), eyes, words)))
    assert_same_samples(found.samples, plain.samples)
    assert found.rate_hz == 500.0 and found.eyes == plain.eyes and found.detected == plain.detected


def test_a_line_of_remote_mode_is_whole_where_its_flags_are(tmp_path: Path) -> None:
    """Columns of a lost target may be missing; a line without its flags is not whole."""
    lines = with_columns(asc_lines("L"), "L", ("HTARGET",))
    at = next(i for i, line in enumerate(lines) if line[:1].isdigit()) + 20
    *cells, _, _, _, flags = lines[at].split("\t")
    lines[at] = "\t".join([*cells, "M" + flags[1:]])
    plain = read_asc(asc_file(tmp_path, asc_lines("L"), "plain.asc"))
    assert_same_samples(read_asc(asc_file(tmp_path, lines)).samples, plain.samples)
    lines[at] = "\t".join(cells)
    with pytest.raises(DataError, match=f"line {at + 1}: this sample has 5 cells, the first of its recording 9"):
        read_asc(asc_file(tmp_path, lines))


def test_numbers_may_have_an_exponent(tmp_path: Path) -> None:
    """Large numbers, as of a saccade that a blink made, are written so; SR Research's 1e+08 is a missing position."""
    lines = [line.replace("0.37\t     54", "0.37\t2.3e+06") for line in asc_lines("L")]
    at = next(i for i, line in enumerate(lines) if line[:1].isdigit())
    time, _, y, _, flags = lines[at].split("\t")
    lines[at] = "\t".join([time, "5.1e+02", y, "1.2e+03", flags])
    time, *_, pupil, flags = lines[at + 1].split("\t")
    lines[at + 1] = "\t".join([time, "1e+08", "1e+08", pupil, flags])
    time, *_, pupil, flags = lines[at + 2].split("\t")
    lines[at + 2] = "\t".join([time, "2.3e+06", "410.0", pupil, flags])
    found = read_asc(asc_file(tmp_path, lines))
    (saccade,) = [event for event in found.detected if event.kind == "saccade"]
    assert saccade.text.endswith("peak_velocity_deg_s=2.3e+06")
    first = found.samples[0]
    assert (first["left_x_px"], first["left_y_px"], first["left_pupil"]) == (510.0, float(y), 1200.0)
    assert np.isnan(found.samples["left_x_px"][1:3]).all() and np.isnan(found.samples["left_y_px"][1:3]).all()
    np.testing.assert_array_equal(found.samples["left_x_px"][3:1000], SAMPLES_A["left_x_px"][3:])
    (remark,) = found.remarks
    assert "1 samples of the left eye lie more than a million px off" in remark.text


@pytest.mark.parametrize(("in_line", "samples"), [(False, 301), (True, 300)])
def test_a_recording_without_its_end_is_taken_as_far_as_it_is_whole(
    tmp_path: Path, images: Path, in_line: bool, samples: int
) -> None:
    """The tracker or its disk stopped in the second trial: its picture is there until then, and not complete."""
    lines = asc_lines()
    last = sample_line(SAMPLES_B[300], "LR")
    start = next(i for i, line in enumerate(lines, start=1) if line.startswith("START\t15000"))
    text = "\n".join(lines[: lines.index(last) + 1]) + "\n"
    path = tmp_path / "p01.asc"
    path.write_text(text[:-9] if in_line else text)
    result = imported(path, images)
    assert result.samples == 1000 + samples
    (said,) = [str(remark) for remark in result.remarks if "cut short" in str(remark)]
    assert f"starts in line {start} has no END; its {samples} samples are taken" in said
    assert ("its last line is not whole" in said) == in_line
    recording = the_recording(result.study_folder)
    wanted = np.concatenate([SAMPLES_A, SAMPLES_B[:samples]])
    wanted["time_s"] -= wanted["time_s"][0]
    assert_same_samples(recording.samples, wanted)
    assert list(recording.events["status"]) == ["complete", "aborted"]
    assert errors_of(result.study_folder) == []


def test_samples_that_never_came_are_told(tmp_path: Path, images: Path) -> None:
    gone = {sample_line(sample, "LR") for sample in SAMPLES_A[300:310]}
    result = imported(asc_file(tmp_path, [line for line in asc_lines() if line not in gone]), images)
    assert result.samples == 1990
    assert "10 samples (0.5 %) are missing between others" in " ".join(map(str, result.remarks))
    whole = imported(asc_file(tmp_path, name="p02.asc"), images)
    assert not any("missing between" in str(remark) for remark in whole.remarks)


def broken(line: int | str, change: Callable[[str], str] | None) -> Callable[[list[str]], list[str]]:
    """A file with one line changed, or cut off after it (change None)."""

    def of(lines: list[str]) -> list[str]:
        at = line if isinstance(line, int) else next(i for i, text in enumerate(lines) if line in text)
        return lines[: at + 1] if change is None else [*lines[:at], change(lines[at]), *lines[at + 1 :]]

    return of


FIRST_SAMPLE = sample_line(SAMPLES_A[0], "LR")


@pytest.mark.parametrize(
    ("mutate", "words"),
    [
        (broken(FIRST_SAMPLE, lambda t: t[:-20]), ["this sample has", "convert the EDF again"]),
        (broken(FIRST_SAMPLE, lambda t: t.replace(t.split()[1], "3x1.0")), ["this sample has not x, y and pupil"]),
        (broken(sample_line(SAMPLES_A[9], "LR"), lambda t: t[:-6]), ["has 7 cells, the first of its recording 8"]),
        (broken(FIRST_SAMPLE, lambda t: ""), None),
        (broken("EFIX L", lambda t: t[:-20]), ["this fixation has not its 6 numbers"]),
        (
            broken("EFIX L", lambda t: t.replace("10100\t10300", "10300\t10100")),
            ["this fixation ends before it begins"],
        ),
        (broken("SAMPLES\tGAZE", lambda t: t.replace("GAZE", "HREF")), ["HREF, not GAZE", "-sg"]),
        (broken("SAMPLES\tGAZE", lambda t: t.replace("RATE", "R")), ["gives no RATE"]),
        (broken("SAMPLES\tGAZE", lambda t: t.replace("RIGHT", "RIGTH")), ["names 'RIGTH', which is no eye"]),
        (broken("SAMPLES\tGAZE", lambda t: t.replace("500.00", "250.00")), ["rate changes from 250 to 500", "cut"]),
        (broken("START\t10000", lambda t: ""), ["outside a recording"]),
        (broken("END\t", lambda t: ""), ["has not ended"]),
        (
            broken("TRIALID 2", lambda t: "** CONVERTED FROM b.edf"),
            ["second recording begins here", "cut the file in two"],
        ),
        (broken("TRIALID 2", lambda t: "gibberish"), ["'gibberish' is no line"]),
        (broken("TRIALID 2", lambda t: "MSG\tTRIALID 2"), ["message has no time"]),
        (broken("DISPLAY_COORDS", lambda t: t + "\nMSG\t9000 GAZE_COORDS 0.00 0.00 1919.00 1079.00"), ["contradicts"]),
        (lambda lines: [line for line in lines if not line[:1].isdigit()], ["has no samples"]),
        (lambda lines: [*lines, *lines[len(HEADER) :]], ["does not come after the sample before"]),
    ],
)
def test_a_broken_asc_file_is_refused_with_line_and_remedy(
    tmp_path: Path, images: Path, mutate: Callable[[list[str]], list[str]], words: list[str] | None
) -> None:
    path = asc_file(tmp_path, mutate(asc_lines()))
    if words is None:
        assert len(read_asc(path).samples) == 1999
        return
    with pytest.raises(DataError) as caught:
        imported(path, images)
    text = str(caught.value)
    assert all(word in text for word in [str(path), *words]) and text.endswith(".")
    assert "line " in text or "no samples" in text
    assert not (tmp_path / "study of p01").exists()


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "p01.asc"
    path.write_bytes("\n".join(asc_lines()).replace("image_onset", "image_onset niño").encode("latin-1"))
    line = next(i for i, text in enumerate(asc_lines(), start=1) if "image_onset" in text)
    with pytest.raises(DataError, match=f"line {line} is not UTF-8"):
        imported(path, images)
    with pytest.raises(DataError, match="does not exist"):
        imported(tmp_path / "none.asc", images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: "" if "IMGLOAD" in t or "b.png" in t else t,
            ["no message that names a picture", "[messages]", "blank_screen"],
        ),
        (lambda t: t.replace("a.png", "x.png").replace("b.png", "y.png"), ["x.png' was shown", "add it"]),
        (lambda t: "" if "IMGLOAD" in t else t, ["no message says where b.png stood", "--picture-place"]),
        (lambda t: "" if "_COORDS" in t else t, ["does not say how many px", "--screen-px"]),
    ],
)
def test_missing_messages_are_refused_before_anything_is_written(
    tmp_path: Path, images: Path, change: Callable[[str], str], words: list[str]
) -> None:
    path = asc_file(tmp_path, [change(line) for line in asc_lines()])
    with pytest.raises(DataError) as caught:
        imported(path, images)
    assert all(word in str(caught.value) for word in [str(path), *words])
    assert not (tmp_path / "study of p01").exists()


def test_an_unknown_place_is_said_by_the_one_who_imports(tmp_path: Path, images: Path) -> None:
    path = asc_file(tmp_path, ["" if "IMGLOAD" in line else line for line in asc_lines()])
    result = imported(path, images, place="centred")
    events = the_recording(result.study_folder).events
    assert list(events["stim_file"]) == ["images/b.png"]
    sides = [f"picture_{side}_px" for side in ("x", "y", "width", "height")]
    np.testing.assert_array_equal(events[sides], [[312, 234, 400, 300]])
    assert read_study(result.study_folder).messages.place == "centred"


def with_messages(folder: Path, **messages: Any) -> None:
    write_study(read_study(folder).model_copy(update={"messages": MessageSettings(**messages)}), folder)


def test_a_geometry_that_contradicts_the_study_is_refused(tmp_path: Path, images: Path) -> None:
    create_study(tmp_path / "study", Study(), images)
    with pytest.raises(DataError, match=r"1024 x 768 px, and \[screen\] in study\.toml says 1920 x 1080"):
        import_asc(asc_file(tmp_path), tmp_path / "study")
    with pytest.raises(DataError, match=r"1024 x 768 px, and --screen-px says 800 x 600"):
        imported(asc_file(tmp_path), images, screen_px=(800, 600))
    with pytest.raises(StudyError, match="cannot be of that size: its pixels are not square"):
        imported(asc_file(tmp_path), images, screen_cm=(40.0, 40.0))
    with pytest.raises(StudyError, match="belong together"):
        imported(asc_file(tmp_path), images, distance_cm=None)
    with pytest.raises(StudyError, match="is a study already"):
        import_asc(asc_file(tmp_path), tmp_path / "study", NewStudy(images))
    assert runs(tmp_path / "study") == ()


@pytest.mark.parametrize("text", ["1920", "1920 1080", "0x5", "-3x4", "axb"])
def test_a_size_is_a_width_and_a_height(text: str) -> None:
    with pytest.raises(StudyError, match=r"--screen-px is .*1920x1080"):
        size_of("--screen-px", text)
    with pytest.raises(StudyError, match="must be centred or filled"):
        place_of(text)


def test_a_distance_that_nobody_knows_stays_unknown(tmp_path: Path, images: Path) -> None:
    result = imported(asc_file(tmp_path), images, screen_cm=None, distance_cm=None)
    study = read_study(result.study_folder)
    assert study.screen is None and study.alignment.primary == NEW_PRIMARY
    assert any("size and distance are not known" in str(remark) for remark in result.remarks)
    (sidecar,) = result.study_folder.glob("sub-p01/beh/*_events.json")
    shown = json.loads(sidecar.read_text())["StimulusPresentation"]
    assert shown["ScreenResolution"] == [1024, 768] and not {"ScreenDistance", "ScreenSize"} & set(shown)
    assert errors_of(result.study_folder) == []
    with pytest.raises(DataError, match="ScreenDistance"):
        read_recording(runs(result.study_folder)[0])


@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_file_is_refused_or_keeps_every_value_of_its_whole_lines(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    few = {sample_line(sample, "LR") for sample in (*SAMPLES_A[:25], *SAMPLES_B[:25])}
    whole = [line for line in asc_lines() if not line[:1].isdigit() or line in few]
    sdk = sdk_table(gaze(40, 300.0), "\t").split("\n")
    lab = pro_lab([("Ann", "R1", SAMPLES_A[:40])]).split("\n")
    counts = {"refused": 0, "kept": 0}
    for number in range(100):
        for name, text_lines, read in (
            ("m.asc", whole, lambda p: (read_asc(p),)), ("m.tsv", sdk, read_tobii), ("l.tsv", lab, read_tobii),
        ):  # fmt: skip
            path = tmp_path / f"{number}{name}"
            path.write_bytes(mutated("\n".join(text_lines).encode(), rng))
            try:
                (recording, *_) = read(path)
            except DataError as error:
                assert str(path) in str(error) and str(error).endswith(".") and "\n" not in str(error)
                counts["refused"] += 1
                continue
            counts["kept"] += 1
            found = {tuple(np.nan_to_num(list(row), nan=-1.0)) for row in recording.samples.tolist()}
            # A last line without its end may be cut short: it is not whole.
            after = set(path.read_bytes().decode("utf-8-sig").split("\n")[:-1])
            for line, row in planted_rows(name).items():
                assert line not in after or row in found, (line, number)
    assert min(counts.values()) > 10


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, lines swapped, bytes overwritten, a line doubled, or a line left out."""
    lines = data.split(b"\n")
    i, j = sorted(int(v) for v in rng.integers(0, len(lines), 2))
    kind = rng.integers(0, 5)
    if kind == 0:
        return data[: rng.integers(1, len(data))]
    if kind == 1:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 2:
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256) if rng.random() < 0.3 else int(rng.choice(list(b"0123456789.\t -aE")))
        return bytes(changed)
    elif kind == 3:
        lines.insert(i, lines[j])
    else:
        del lines[i]
    return b"\n".join(lines)


@cache
def planted_rows(name: str) -> dict[str, tuple[float, ...]]:
    """Lines of the files that are mutated, and the sample that each of them holds."""

    def rounded(sample: Any) -> tuple[float, ...]:
        return tuple(np.nan_to_num(list(sample), nan=-1.0))

    if name == "m.asc":
        both = np.concatenate([SAMPLES_A, SAMPLES_B])
        exact = {sample_line(s, "LR"): s for s in both}
        rows = {line: s.copy() for line, s in exact.items()}
        for line, s in rows.items():
            s["time_s"] = float(line.split("\t")[0]) / 1000
        return {line: rounded(s) for line, s in rows.items()}
    if name == "m.tsv":
        samples = gaze(40, 300.0)
        lines = sdk_table(samples, "\t").split("\n")[1:-1]
        return {line: rounded(s) for line, s in zip(lines, sdk_truth(samples), strict=True)}
    lines = [line for line in pro_lab([("Ann", "R1", SAMPLES_A[:40])]).split("\n") if "Eye Tracker" in line]
    return {line: rounded(s) for line, s in zip(lines, pro_lab_truth(SAMPLES_A[:40]), strict=True)}


# Tobii.


def microseconds(samples: Samples) -> list[int]:
    return [round(float(t) * 1e6) for t in samples["time_s"]]


def shares(samples: Samples) -> Samples:
    """The same gaze in shares of the screen, as precisely as the tables of this file give it."""
    out = samples.copy()
    for eye in ("left", "right"):
        out[f"{eye}_x_px"] = np.round(samples[f"{eye}_x_px"] / SCREEN.width_px, 7)
        out[f"{eye}_y_px"] = np.round(samples[f"{eye}_y_px"] / SCREEN.height_px, 7)
        out[f"{eye}_pupil"] = np.round(samples[f"{eye}_pupil"] / 250, 3)
    return out


def sdk_truth(samples: Samples) -> Samples:
    out = shares(samples)
    out["time_s"] = np.array(microseconds(samples), float) * 1e-6
    return out


def sdk_frame(samples: Samples, valid: str = "validity") -> pd.DataFrame:
    """Columns as the SDK's dictionaries and Titta name them; an invalid sample has a number all the same."""
    of = shares(samples)
    columns: dict[str, Any] = {"device_time_stamp": microseconds(samples), "system_time_stamp": microseconds(samples)}
    for eye in ("left", "right"):
        seen = ~np.isnan(of[f"{eye}_x_px"])
        for axis in "xy":
            columns[f"{eye}_gaze_point_on_display_area_{axis}"] = np.where(seen, of[f"{eye}_{axis}_px"], 0.123)
        columns[f"{eye}_gaze_point_{valid}"] = seen.astype(int)
        columns[f"{eye}_pupil_diameter"] = np.where(seen, of[f"{eye}_pupil"], -1.0)
        columns[f"{eye}_pupil_{valid}"] = seen.astype(int)
    return pd.DataFrame(columns)


def sdk_table(samples: Samples, separator: str) -> str:
    return sdk_frame(samples).to_csv(None, sep=separator, index=False, lineterminator="\n")


MESSAGES = ((10_100_000, "TRIALID 1"), (10_200_000, "images/a.png onset"), (11_000_000, "images/a.png offset"),
            (11_100_000, "stim on: b.png"), (11_600_000, "stim off: b.png"))  # fmt: skip


def check_tobii(result: ImportedGaze, samples: Samples, rate_hz: float) -> Recording:
    """The recording in the data set is the planted one, to what the tables and the data set round."""
    recording = the_recording(result.study_folder)
    wanted = shares(samples)
    for name, factor in (("x_px", SCREEN.width_px), ("y_px", SCREEN.height_px), ("pupil", 1)):
        for eye in ("left", "right"):
            np.testing.assert_allclose(recording.samples[f"{eye}_{name}"], wanted[f"{eye}_{name}"] * factor, atol=0.006)
    wanted_s = samples["time_s"] - samples["time_s"][0]
    np.testing.assert_allclose(recording.samples["time_s"], wanted_s, atol=2e-6)
    assert recording.rate_hz == rate_hz and recording.eyes == ("left", "right")
    return recording


@pytest.mark.parametrize("form", ["tsv", "csv", "pairs", "old"])
def test_tables_of_sdk_columns(tmp_path: Path, images: Path, form: str) -> None:
    samples = gaze(600, 300.0)
    frame = sdk_frame(samples)
    if form == "pairs":
        for eye in ("left", "right"):
            x, y = (frame.pop(f"{eye}_gaze_point_on_display_area_{axis}") for axis in "xy")
            frame[f"{eye}_gaze_point_on_display_area"] = [f"({a}, {b})" for a, b in zip(x, y, strict=True)]
    if form == "old":
        frame = pd.DataFrame(
            {"Time": frame["system_time_stamp"]}
            | {
                new: frame[old].where(frame[f"{eye}_gaze_point_validity"] == 1, -1.0)
                for eye, letter in (("left", "L"), ("right", "R"))
                for old, new in (
                    (f"{eye}_gaze_point_on_display_area_x", f"{letter}GazePos2dx"),
                    (f"{eye}_gaze_point_on_display_area_y", f"{letter}GazePos2dy"),
                    (f"{eye}_pupil_diameter", f"{letter}PupilDm"),
                )
            }
            | {
                f"{letter}Validity": np.where(frame[f"{eye}_gaze_point_validity"] == 1, 0, 4)
                for eye, letter in (("left", "L"), ("right", "R"))
            }
        )
        frame["stimulus"] = np.where(frame["Time"].between(10_200_000, 10_999_999), "a.png", "")
    path = tmp_path / f"p.{'tsv' if form in ('tsv', 'old') else 'csv'}"
    frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=form == "csv")
    if form != "old":
        said = pd.DataFrame(MESSAGES, columns=["system_time_stamp", "msg"])
        said.to_csv(tmp_path / "p_msg.tsv", sep="\t")
    recording = check_tobii(
        imported(path, images, import_tobii, screen_px=(1024, 768), place="centred"), samples, 300.0
    )
    assert list(recording.events["stim_file"]) == ["images/a.png", "images/b.png"][: 1 if form == "old" else 2]
    np.testing.assert_allclose(recording.events["onset"].iloc[0], 0.2, atol=2e-6 if form != "old" else 1 / 300)
    np.testing.assert_allclose(recording.events["duration"].iloc[0], 0.8, atol=2e-6 if form != "old" else 1 / 300)


@pytest.mark.slow
def test_tittas_hdf5(tmp_path: Path, images: Path) -> None:
    pytest.importorskip("tables")
    samples = gaze(1200, 600.0)
    path = tmp_path / "p.h5"
    frame = sdk_frame(samples, "valid")
    for name in [name for name in frame if name.endswith("_valid")]:
        frame[name] = frame[name].astype(bool)
    frame.to_hdf(path, key="gaze")
    pd.DataFrame(MESSAGES, columns=["system_time_stamp", "msg"]).to_hdf(path, key="msg")
    columns = ["offset_left_eye (deg)", "offset_right_eye (deg)", "RMS_S2S_left_eye (deg)", "RMS_S2S_right_eye (deg)",
               "Prop_data_loss_left_eye", "Prop_data_loss_right_eye", "SD_left_eye (deg)", "SD_right_eye (deg)",
               "Calibration used"]  # fmt: skip
    rows = [[9.0] * 8 + ["not used"], [0.4, 0.6, 0.05, 0.07, 0.01, 0.02, 0.2, 0.3, "used"]]
    pd.DataFrame(rows, columns=columns).to_hdf(path, key="calibration_history")
    told = {"model": "Tobii Pro Spectrum", "serial_number": "TPSP1-1", "firmware_version": "2.6"}
    path.with_suffix(".json").write_text(json.dumps(told))
    result = imported(path, images, import_tobii, screen_px=(1024, 768), place="centred")
    recording = check_tobii(result, samples, 600.0)
    assert recording.sidecars["right"].validation.accuracy_deg == 0.6  # type: ignore[union-attr]
    assert recording.sidecars["left"].validation.loss_percent == 1.0  # type: ignore[union-attr]
    assert recording.sidecars["left"].model == "Tobii Pro Spectrum"
    assert list(recording.events["stim_file"]) == ["images/a.png", "images/b.png"]
    path.with_suffix(".json").write_text("[" * 100_000)
    assert read_tobii(path)[0].tracker["model"] == "Tobii"
    clock = frame["system_time_stamp"]
    frame.assign(system_time_stamp=clock / 1000).to_hdf(tmp_path / "changed.h5", key="gaze")
    (question,) = read_tobii(tmp_path / "changed.h5")[0].questions
    assert "system_time_stamp, which should hold microseconds, there are 6e+05" in question.sentence
    x = "left_gaze_point_on_display_area_x"
    for changed, words in (
        (frame.assign(**{x: np.where(frame.index == 700, np.inf, frame[x])}), "sample 701: gaze at inf screens"),
        (frame.assign(**{x: np.where(frame.index == 700, 1e10, frame[x])}), "sample 701: gaze at 1e.10 screens"),
    ):
        changed.to_hdf(tmp_path / "changed.h5", key="gaze")
        with pytest.raises(DataError, match=f"changed.h5.*{words}"):
            read_tobii(tmp_path / "changed.h5")
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:8] + bytes(2000), b"nonsense"):
        path.write_bytes(part)
        with pytest.raises(DataError, match=str(path)):
            read_tobii(path)


LAB_UNITS = {
    "new": ("[ms]", "[DACS px]", "[mm]"),
    "old": ("", "", ""),
    "older": ("", "(DACSpx)", ""),
    "oldest": ("", "", ""),
}


def pro_lab(
    people: list[tuple[str, str, Samples]], form: str = "old", comma: bool = False, with_events: bool = True
) -> str:
    """A Pro Lab export: two pictures, fixations of 0.1 s, event rows in between, rows of a mouse."""
    of_time, of_gaze, of_pupil = (f" {unit}".rstrip() for unit in LAB_UNITS[form])
    place = " [DACS px]" if form == "new" else " (DACSpx)"
    header = ["Recording timestamp" + of_time, "Sensor", "Participant name", "Recording name",
              "Recording resolution height", "Recording resolution width", "Event", "Event value",
              *(f"Gaze point {eye} {axis}{of_gaze * (form == 'new')}" for eye in ("left", "right") for axis in "XY"),
              "Pupil diameter left" + of_pupil, "Pupil diameter right" + of_pupil, "Validity left", "Validity right",
              "Presented Stimulus name", "Presented Media width", "Presented Media height",
              "Presented Media position X" + place, "Presented Media position Y" + place, "Eye movement type",
              "Eye movement type index", "Gaze event duration" + of_time, "Fixation point X", "Fixation point Y",
              "AOI hit [a]"]  # fmt: skip
    lines = ["\t".join(header)]
    for person, recording, samples in people:
        last = ""
        for number, sample in enumerate(samples):
            micro = round(float(sample["time_s"]) * 1e6) - 10_000_000
            stamp = {"new": f"{micro / 1000:.3f}", "oldest": f"{micro // 1000}"}.get(form, str(micro))
            base = [stamp, "", person, recording, "768", "1024"]
            picture = "a" if 200_000 <= micro < 1_000_000 else "b.png" if 1_100_000 <= micro < 1_600_000 else ""
            if picture != last and with_events:
                for name, event in ((last, "ImageStimulusEnd"), (picture, "ImageStimulusStart")):
                    if name:
                        lines.append("\t".join([*base, event, name, *[""] * (len(header) - 8)]))
            last = picture
            seen = {eye: not np.isnan(sample[f"{eye}_x_px"]) for eye in ("left", "right")}
            # An invalid sample may carry a number all the same.
            cells = [f"{sample[f'{eye}_{axis}_px']:.1f}" if seen[eye] else "7.5" for eye in seen for axis in "xy"]
            pupils = [f"{sample[f'{eye}_pupil'] / 250:.2f}" if seen[eye] else "" for eye in seen]
            valid = ["Valid" if seen[eye] else "Invalid" for eye in seen]
            shown = [picture, *(["500", "375", "262", "196"] if picture else [""] * 4)]
            kind = (
                ["Fixation", str(number // 50 + 1), "100", "500", "300"]
                if number % 100 < 50
                else ["Saccade", "1", "9", "", ""]
            )
            row = [*base[:1], "Eye Tracker", *base[2:], "", "", *cells, *pupils, *valid, *shown, *kind, "0"]
            lines.append("\t".join(cell.replace(".", ",") if comma and cell != "b.png" else cell for cell in row))
            if number % 97 == 0:
                lines.append("\t".join([*base[:1], "Mouse", *base[2:], *[""] * (len(header) - 6)]))
    return "\n".join(lines) + "\n"


def pro_lab_truth(samples: Samples) -> Samples:
    out = samples.copy()
    for eye in ("left", "right"):
        out[f"{eye}_pupil"] = np.round(samples[f"{eye}_pupil"] / 250, 2)
    out["time_s"] = np.array([us - 10_000_000 for us in microseconds(samples)], float) * 1e-6
    return out


@pytest.mark.parametrize("form", list(LAB_UNITS))
@pytest.mark.parametrize("with_events", [True, False])
def test_tobii_pro_lab(tmp_path: Path, images: Path, form: str, with_events: bool) -> None:
    samples = gaze(1000, 500.0)
    path = tmp_path / "export.tsv"
    text = pro_lab([("Ann", "R1", samples)], form, comma=form == "older", with_events=with_events)
    path.write_bytes(text.encode("utf-16" if form == "older" else "utf-8-sig"))
    result = imported(path, images, import_tobii)
    assert result.participants == ("Ann",)
    recording = the_recording(result.study_folder)
    assert_same_samples(recording.samples, pro_lab_truth(samples))
    assert recording.rate_hz == 500.0 and recording.screen == SCREEN
    events = recording.events
    assert list(events["stim_file"]) == ["images/a.png", "images/b.png"]
    np.testing.assert_allclose(events["onset"], [0.2, 1.1], atol=1e-6)
    np.testing.assert_allclose(events["duration"], [0.8, 0.5], atol=1e-6)
    sides = [f"picture_{side}_px" for side in ("x", "y", "width", "height")]
    np.testing.assert_array_equal(events[sides], [[262, 196, 500, 375]] * 2)
    left = physio_events(result.study_folder)
    fixations = left[left["kind"] == "fixation"]
    assert len(fixations) == 10 and set(fixations["x"]) == {500.0} and set(fixations["duration"]) == {0.1}
    np.testing.assert_allclose(fixations["onset"], np.arange(10) * 0.2, atol=1e-9)
    assert errors_of(result.study_folder) == []


def test_participants_of_one_export_are_kept_apart(tmp_path: Path, images: Path) -> None:
    first, second = gaze(1000, 500.0), gaze(900, 500.0, start_s=10.0)
    path = tmp_path / "export.tsv"
    path.write_text(pro_lab([("Ann", "R1", first), ("Bo", "R2", second), ("Ann", "R3", second)]))
    result = imported(path, images, import_tobii)
    study = result.study_folder
    assert [(run.participant, run.run) for run in runs(study)] == [("Ann", 1), ("Ann", 2), ("Bo", 1)]
    assert [len(read_recording(run).samples) for run in runs(study)] == [1000, 900, 900]
    kept = {file.name: file.read_text() for file in (study / "sourcedata").rglob("*_recording.tsv")}
    assert len(kept) == 3 and all(("Bo" in text) == name.startswith("sub-Bo") for name, text in kept.items())
    (bo,) = [text for name, text in kept.items() if name.startswith("sub-Bo")]
    (tmp_path / "own.tsv").write_text(bo)
    assert len(read_tobii(tmp_path / "own.tsv")[0].samples) == 900
    withdrawal.withdraw(study, "Bo")
    assert not [f for f in study.rglob("*") if f.is_file() and b"\tBo\t" in f.read_bytes()] and errors_of(study) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[: len(t) // 2], ["line ", "cut short"]),
        (lambda t: t.replace("\t262\t", "\t", 1), ["line ", "cells where the first line names"]),
        (lambda t: t.replace("Gaze point ", "Gaze spot "), ["line 1", "Gaze point left X", "not their mean"]),
        (lambda t: t.replace("Recording timestamp", "Stamp"), ["line 1", "columns are those of no Tobii file"]),
        (lambda t: t.replace("\tEye Tracker\t", "\tGSR\t"), ["no gaze samples of participant Ann"]),
        (lambda t: t.replace("\t1024\t", "\t1280\t", 1), ["Recording resolution width changes"]),
        (
            lambda t: t.replace("\t1024\t", "\twide\t", 1),
            ["line 2", "Recording resolution width", "'wide' is not a number"],
        ),
        (lambda t: t + t.split("\n", 1)[1], ["does not come after", "each recording in its own file"]),
        (lambda t: t.split("\n")[0] + "\n", ["has no rows"]),
    ],
)
def test_a_broken_export_is_refused_with_line_and_remedy(
    tmp_path: Path, images: Path, change: Callable[[str], str], words: list[str]
) -> None:
    path = tmp_path / "export.tsv"
    path.write_text(change(pro_lab([("Ann", "R1", gaze(400, 500.0))])))
    with pytest.raises(DataError) as caught:
        imported(path, images, import_tobii)
    assert all(word in str(caught.value) for word in [str(path), *words]) and str(caught.value).endswith(".")
    assert not (tmp_path / "study of export").exists()


def test_shares_of_a_screen_need_its_pixels(tmp_path: Path, images: Path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text(sdk_table(gaze(600, 300.0), "\t"))
    with pytest.raises(DataError, match=r"how many px the screen has.*--screen-px"):
        imported(path, images, import_tobii)
    with pytest.raises(DataError, match=r"no message that names a picture"):
        imported(path, images, import_tobii, screen_px=(1024, 768))
    path.write_text("a\tb\n1\t2\n")
    with pytest.raises(DataError, match="line 1: its columns are those of no Tobii file"):
        imported(path, images, import_tobii)


# Against the field's own readers.


def assert_equals_pymovements(path: Path) -> None:
    """Samples, rate, fixations and saccades of an ASC file as pymovements gives them."""
    recording = read_asc(path)
    theirs = pymovements.gaze.from_asc(path, events=True, encoding="utf-8")
    assert theirs.experiment is not None and theirs.experiment.sampling_rate == recording.rate_hz
    assert len(theirs.samples) == len(recording.samples)
    pixels = np.array(theirs.samples["pixel"].to_list(), float)
    pixels = pixels.reshape(len(pixels), -1, 2)
    pupils = np.array(theirs.samples["pupil"].to_list(), float).reshape(len(pixels), -1)
    whole_ms = np.floor(recording.samples["time_s"] * 1000 + 1e-6)
    np.testing.assert_array_equal(np.floor(theirs.samples["time"].to_numpy()), whole_ms)
    for i, eye in enumerate(recording.eyes):
        np.testing.assert_array_equal(recording.samples[f"{eye}_x_px"], pixels[:, i, 0])
        np.testing.assert_array_equal(recording.samples[f"{eye}_y_px"], pixels[:, i, 1])
        np.testing.assert_array_equal(np.nan_to_num(recording.samples[f"{eye}_pupil"]), np.nan_to_num(pupils[:, i]))
    for kind in ("fixation", "saccade", "blink"):
        found = theirs.events.frame.filter(polars.col("name") == f"{kind}_eyelink").sort("eye", "onset")
        ours = sorted((d.eye or "", d.time_s) for d in recording.detected if d.kind == kind)
        assert [eye for eye, _ in ours] == found["eye"].to_list()
        np.testing.assert_allclose([time_s for _, time_s in ours], found["onset"].to_numpy() / 1000)


@pytest.mark.parametrize("eyes", ["LR", "L"])
def test_asc_equals_pymovements(tmp_path: Path, eyes: str) -> None:
    # pymovements passes over a fixation with a negative coordinate; ours is there, theirs is not.
    lines = [line.replace("-12.5", " 12.5") for line in asc_lines(eyes)]
    assert_equals_pymovements(asc_file(tmp_path, lines))


@needs_data
@pytest.mark.parametrize("name", EYELINK)
def test_real_asc_equals_pymovements(name: str) -> None:
    assert_equals_pymovements(Path(DATA or "") / "eyelink" / f"{name}.asc")


@pytest.fixture(scope="module")
def edf_files() -> list[Path]:
    eyelinkio = pytest.importorskip("eyelinkio")
    return sorted((Path(eyelinkio.__file__).parent / "tests" / "data").glob("*.edf"))


@needs_eyelinkio
@pytest.mark.slow
def test_edf_equals_eyelinkio(edf_files: list[Path]) -> None:
    """On the files that it ships: one eye and two, one block and many. Its times leave the pauses out, ours do not."""
    import eyelinkio

    assert len(edf_files) == 3
    for path in edf_files:
        theirs, ours = eyelinkio.read_edf(path), read_edf(path)
        assert ours.rate_hz == theirs["info"]["sfreq"] and len(ours.samples) == len(theirs["times"])
        assert len(ours.messages) == len(theirs["discrete"]["messages"])
        fields = dict(zip(theirs["info"]["sample_fields"], theirs["samples"], strict=True))
        for eye in ours.eyes:
            end = f"_{eye}" if len(ours.eyes) == 2 else ""
            for name, field in (("x_px", "xpos"), ("y_px", "ypos"), ("pupil", "ps")):
                wanted = fields[field + end]
                got = ours.samples[f"{eye}_{name}"]
                wanted = np.where(wanted == 0, np.nan, wanted) if name == "pupil" else wanted
                np.testing.assert_allclose(got, wanted, atol=0.01)
        times_ms = ours.samples["time_s"] * 1000
        for kind, name in (("fixation", "fixations"), ("saccade", "saccades"), ("blink", "blinks")):
            events = theirs["discrete"][name]
            mine = [d for d in ours.detected if d.kind == kind]
            assert len(mine) == len(events)
            assert [d.eye for d in mine] == [("left", "right")[int(eye)] for eye in events["eye"]]
            onset = np.interp([d.time_s * 1000 for d in mine], times_ms, theirs["times"])
            np.testing.assert_allclose(onset, events["stime"], atol=1e-6)
            ends = [(d.time_s + (d.duration_s or 0)) * 1000 - 1000 / ours.rate_hz for d in mine]
            np.testing.assert_allclose(np.interp(ends, times_ms, theirs["times"]), events["etime"], atol=1e-5)
            if kind == "fixation":
                np.testing.assert_allclose([d.x_px for d in mine], events["axp"], atol=0.01)


@needs_eyelinkio
@pytest.mark.slow
def test_an_edf_file_becomes_a_study(tmp_path: Path, edf_files: list[Path]) -> None:
    (path,) = [file for file in edf_files if file.name == "test_2_raw.edf"]
    (tmp_path / "images").mkdir()
    for trial in (1, 2):
        Image.new("RGB", (40, 30), (trial * 90, 9, 9)).save(tmp_path / "images" / f"{trial}.png")
    study = tmp_path / "study"
    create_study(study, Study(), tmp_path / "images")
    with_messages(study, onset=[r"^TRIALID (?P<stim_file>\d+)"], trial=[], place="filled")
    result = import_edf(path, study, participant="01")
    recording = the_recording(study)
    assert (result.samples, recording.rate_hz, recording.eyes) == (124_740, 1000.0, ("left",))
    assert list(recording.events["stim_file"]) == ["images/1.png", "images/2.png"] and errors_of(study) == []


@needs_eyelinkio
@pytest.mark.slow
def test_a_broken_edf_file_is_refused(tmp_path: Path, edf_files: list[Path]) -> None:
    data = next(file for file in edf_files if file.name == "test_raw.edf").read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "x.edf"
    noise = bytearray(data)
    for at in rng.integers(2000, len(data), 500):
        noise[at] = rng.integers(0, 256)
    for number, broken_data in enumerate((b"", b"nonsense", data[:300], bytes(noise))):
        path.write_bytes(broken_data)
        try:
            read_edf(path)
        except DataError as error:
            assert str(path) in str(error) and str(error).endswith(".")
        else:
            assert number > 2


@needs_eyelinkio
@pytest.mark.slow
def test_an_edf_file_that_was_cut_short_is_taken_as_far_as_it_is_whole(tmp_path: Path, edf_files: list[Path]) -> None:
    (source,) = [file for file in edf_files if file.name == "test_2_raw.edf"]
    whole, data = read_edf(source), source.read_bytes()
    path = tmp_path / "x.edf"
    for share in (0.03, 0.561, 0.955):
        path.write_bytes(data[: int(len(data) * share)])
        found = read_edf(path)
        n = len(found.samples)
        assert abs(n / len(whole.samples) - share) < 0.02
        assert_same_samples(found.samples, whole.samples[:n])
        assert [m.text for m in found.messages] == [m.text for m in whole.messages[: len(found.messages)]]
        (remark,) = found.remarks
        assert f"has no END; its {n} samples are taken" in remark.text
    assert whole.remarks == ()


# From ASC through BIDS to the analysis.


def direct_recording(path: Path, through: Recording) -> Recording:
    """What pymovements reads of an ASC file, as the analysis takes it, with the events of the imported run."""
    theirs = pymovements.gaze.from_asc(path, encoding="utf-8").samples
    samples = no_samples(len(theirs))
    samples["time_s"] = theirs["time"].to_numpy() / 1000
    if through.rate_hz > 1000:
        samples["time_s"][1::2] = np.where(np.diff(samples["time_s"])[::2] == 0, 0.0005, 0) + samples["time_s"][1::2]
    pixels = np.array(theirs["pixel"].to_list(), float).reshape(len(theirs), -1, 2)
    for i, eye in enumerate(through.eyes):
        samples[f"{eye}_x_px"], samples[f"{eye}_y_px"] = pixels[:, i].T
    return replace(through, samples=samples)


@needs_data
@pytest.mark.parametrize("name", EYELINK)
def test_the_way_through_the_data_set_changes_no_fixation(tmp_path: Path, name: str) -> None:
    path = Path(DATA or "") / "eyelink" / f"{name}.asc"
    (tmp_path / "images").mkdir()
    for number in (1, 2, 3, 4):
        Image.new("RGB", (1024, 768), (60 * number, 0, 0)).save(tmp_path / "images" / f"VC_{number}.png")
    study = tmp_path / "study"
    create_study(study, Study(), tmp_path / "images")
    settings = read_study(study)
    screen = settings.screen.model_copy(
        update={"width_px": 1024, "height_px": 768, "width_cm": 40.0, "height_cm": 30.0}
    )  # type: ignore[union-attr]
    write_study(settings.model_copy(update={"screen": screen}), study)
    with_messages(
        study,
        picture=[r"DRAW_LIST \S*/(?P<stim_file>VC_\d)\.vcl"],
        offset=["^End_trial_display"],
        onset=[r"DRAW_LIST \S*/(?P<stim_file>VC_\d)\.vcl"],
        place="filled",
    )
    result = import_asc(path, study)
    assert result.pictures == 4 and errors_of(study) == []
    recording = the_recording(study)
    raw = pymovements.gaze.from_asc(path, events=True, encoding="utf-8")
    assert result.samples == len(raw.samples) and recording.rate_hz == raw.experiment.sampling_rate  # type: ignore[union-attr]
    kinds = pd.concat([physio_events(study, f"eye{1 + (eye == 'right')}") for eye in recording.eyes])["kind"]
    for kind in ("fixation", "saccade"):
        assert (kinds == kind).sum() == len(raw.events.frame.filter(polars.col("name") == f"{kind}_eyelink"))
    stimuli = read_stimuli(study / "stimuli")[0]
    through = fixations_of_run(recording, stimuli, settings.fixations).fixations
    direct = fixations_of_run(direct_recording(path, recording), stimuli, settings.fixations).fixations
    assert len(through) > 4
    pd.testing.assert_frame_equal(through, direct, rtol=0, atol=1e-6)


@needs_data
@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [("EyeLink_1000+_binocular_1000Hz", 1000.0), ("Tobii_Spectrum_120Hz", 120.0), ("Tobii_Spectrum_600Hz", 600.0)],
)
def test_quality_of_real_gaze_at_targets_equals_etdqualitizers(
    tmp_path: Path, images: Path, name: str, rate_hz: float
) -> None:
    """People looked at targets of known position: the recordings, brought into SDK columns, keep their figures."""
    raw = pd.read_csv(Path(DATA or "") / "tobii" / f"{name}.tsv", sep="\t")
    screen = Screen(1920, 1080, 52.8, 29.7, 65.0)
    table = pd.DataFrame({"system_time_stamp": (raw["timestamp"] * 1000).round().astype("int64")})
    for eye in ("left", "right"):
        table[f"{eye}_gaze_point_on_display_area_x"] = raw[f"{eye}_x"] / 1920 + 0.5
        table[f"{eye}_gaze_point_on_display_area_y"] = raw[f"{eye}_y"] / 1080 + 0.5
    table["stimulus"] = "a.png"
    path = tmp_path / "p.tsv"
    table.to_csv(path, sep="\t", index=False, na_rep="nan")
    geometry = {"screen_px": (1920, 1080), "screen_cm": (52.8, 29.7), "distance_cm": 65.0}
    result = imported(path, images, import_tobii, place="centred", **geometry)
    recording = the_recording(result.study_folder)
    assert recording.rate_hz == rate_hz and len(recording.samples) == len(raw)
    assert recording.screen.px_per_deg == pytest.approx(screen.px_per_deg, rel=1e-12)
    theirs = ETDQualitizer.ScreenConfiguration(528.0, 297.0, 1920, 1080, 650.0)
    for target, rows in raw[raw["target_id"] > 0].groupby("target_id"):
        of_target = recording.samples[np.asarray(rows.index)]
        point = Point(int(str(target)), rows["tar_x"].iloc[0] + 960, rows["tar_y"].iloc[0] + 540)
        eyes: tuple[Eye, ...] = ("left", "right")
        for eye in eyes:
            azimuth, elevation = theirs.pix_to_deg(rows[f"{eye}_x"].to_numpy(), rows[f"{eye}_y"].to_numpy())
            aim = theirs.pix_to_deg(rows["tar_x"].iloc[0], rows["tar_y"].iloc[0])
            ours = point_quality(of_target, eye, point, recording.screen, recording.rate_hz)
            # The data set keeps hundredths of a px, 0.0003 degrees here; figures have four decimals.
            assert ours.accuracy_deg == pytest.approx(ETDQualitizer.accuracy(azimuth, elevation, *aim)[0], abs=2e-4)
            assert ours.rms_s2s_deg == pytest.approx(ETDQualitizer.rms_s2s(azimuth, elevation)[0], abs=2e-4)
            assert ours.sd_deg == pytest.approx(ETDQualitizer.std(azimuth, elevation)[0], abs=2e-4)
            lost = ETDQualitizer.data_loss_from_invalid(azimuth, elevation)
            x, y = recording.screen.to_degrees(of_target[f"{eye}_x_px"], of_target[f"{eye}_y_px"])
            assert ETDQualitizer.data_loss_from_invalid(x, y) == lost


@needs_data
@pytest.mark.parametrize(("name", "count"), [("tobii_sdk_columns_p1", 651), ("tobii_sdk_columns_p2", 1210)])
def test_real_sdk_columns(tmp_path: Path, name: str, count: int) -> None:
    path = Path(DATA or "") / "tobii" / f"{name}.tsv"
    (recording,) = read_tobii(path)
    raw = pd.read_csv(path, sep="\t")
    assert len(recording.samples) == len(raw) == count and recording.rate_hz == 300.0
    for eye, letter in (("left", "L"), ("right", "R")):
        seen = raw[f"{letter}Validity"] <= 1
        wanted = raw[f"{letter}GazePos2dx"].where(seen)
        np.testing.assert_array_equal(recording.samples[f"{eye}_x_px"], wanted)
        assert not (recording.samples[f"{eye}_x_px"] == -1).any() and np.isnan(wanted).sum() == (~seen).sum()


# Others read ours.


def test_our_files_open_in_pymovements(tmp_path: Path, images: Path) -> None:
    study = imported(asc_file(tmp_path), images).study_folder
    (file,) = study.glob("sub-*/beh/*_recording-eye1_physio.tsv.gz")
    gaze = pymovements.gaze.from_csv(file, time_column="timestamp", time_unit="s", pixel_columns=["x_coordinate", "y_coordinate"], read_csv_kwargs={"separator": "\t", "has_header": False, "null_values": "n/a", "new_columns": ["timestamp", "x_coordinate", "y_coordinate", "pupil_size"]})  # noqa: E501  # fmt: skip
    pixels = np.array([[np.nan if v is None else v for v in p] for p in gaze.samples["pixel"].to_list()], float)
    np.testing.assert_array_equal(pixels[:, 0], np.concatenate([SAMPLES_A, SAMPLES_B])["left_x_px"])
    np.testing.assert_allclose(gaze.samples["time"].to_numpy()[[0, -1]], [0.0, 6_998.0])


def test_our_files_open_in_mne(tmp_path: Path, images: Path) -> None:
    mne = pytest.importorskip("mne", reason="MNE-Python is not installed: pip install mne")
    study = imported(asc_file(tmp_path), images).study_folder
    (file,) = study.glob("sub-*/beh/*_recording-eye1_physio.tsv.gz")
    raw = mne.io.RawArray(pd.read_csv(file, sep="\t", header=None, na_values="n/a").to_numpy().T[1:], mne.create_info(["x_left", "y_left", "pupil_left"], 500.0, ["eyegaze", "eyegaze", "pupil"]))  # noqa: E501  # fmt: skip
    np.testing.assert_array_equal(raw.get_data()[0], np.concatenate([SAMPLES_A, SAMPLES_B])["left_x_px"])
    assert raw.get_channel_types() == ["eyegaze", "eyegaze", "pupil"] and raw.info["sfreq"] == 500.0
