"""What is plainly another unit is asked about; what is meant so is taken; nothing else is asked about."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from beholder.analysis.importing.fixation_table import import_fixations
from beholder.analysis.importing.plausibility import check_fixations
from beholder.analysis.importing.recordings import ImportedGaze, NewStudy, import_asc, import_tobii
from beholder.analysis.importing.tobii import read_tobii
from beholder.cli import app
from beholder.shared.dataset.reading import beh_runs, fixations_file
from beholder.shared.errors import DataError, StudyError
from beholder.shared.study import CheckSettings, Meant, read_study, write_study
from beholder.shared.tables import read_fixations

DATA = os.environ.get("BEHOLDER_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="set BEHOLDER_TEST_DATA to the folder of real recordings")
WIDTH, HEIGHT = 900, 600
Table = pd.DataFrame


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in (("a.png", "teal"), ("b.png", "olive")):
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(folder / name)
    return folder


def viewing(seed: int = 1, people: int = 3, fixations: int = 8) -> Table:
    """Fixations as people make them, on the right half of the pictures."""
    rng = np.random.default_rng(seed)
    rows = []
    for participant in range(1, people + 1):
        for stimulus in ("a.png", "b.png"):
            durations_ms = rng.lognormal(np.log(250), 0.4, fixations).round()
            onsets_s = 0.1 + np.concatenate([[0], np.cumsum(durations_ms / 1000 + 0.04)[:-1]])
            rows += [
                (f"{participant:02}", stimulus, rng.uniform(460, 890), rng.uniform(20, 590), duration_ms, onset_s)
                for duration_ms, onset_s in zip(durations_ms, onsets_s, strict=True)
            ]
    return pd.DataFrame(rows, columns=["participant", "stimulus", "x_px", "y_px", "duration_ms", "onset_s"])


def saved(table: Table, folder: Path) -> Path:
    table.to_csv(folder / "gaze.csv", index=False)
    return folder / "gaze.csv"


def times(column: str, factor: float) -> Callable[[Table], Table]:
    return lambda table: table.assign(**{column: table[column] * factor})


def one(column: str, value: float) -> Callable[[Table], Table]:
    """The last fixation of the table has that value."""
    return lambda table: table.assign(**{column: [*table[column][:-1], value]})


def exchanged(table: Table) -> Table:
    return table.rename(columns={"x_px": "y_px", "y_px": "x_px"})


def of_a_picture(whole: float) -> Callable[[Table], Table]:
    return lambda table: table.assign(x_px=table["x_px"] / WIDTH * whole, y_px=table["y_px"] / HEIGHT * whole)


FAULTS: list[tuple[Callable[[Table], Table], str, list[str]]] = [
    (times("onset_s", 1e3), "onset unit", ["onset_s should be seconds", "times as long as a fixation lasts"]),
    (times("onset_s", 1e6), "onset unit", ["convert the column to seconds"]),
    (lambda t: t.assign(onset_s=t["onset_s"] + 4000), "onset unit", ["first fixation begins after 4000"]),
    (lambda t: t.assign(onset_s=0.1), "overlapping events", ["before the one before them ends"]),
    (times("onset_s", 1 / 60), "overlapping events", ["most fixations begin long before"]),
    (lambda t: pd.concat([t, t]), "overlapping events", ["line 50", "begins before that of line 9"]),
    (one("duration_ms", 61_000), "duration unit", ["line 49, column duration_ms", "lasts 61000 ms", "a minute"]),
    (one("duration_ms", 0.3), "duration unit", ["line 49, column duration_ms", "lasts 0.3 ms"]),
    (one("onset_s", 4000), "onset unit", ["line 49, column onset_s", "begins after 4000 s", "an hour"]),
    (times("duration_ms", 1e-3), "duration unit", ["duration_ms should be milliseconds", "as seconds they would be"]),
    (times("duration_ms", 1e3), "duration unit", ["as microseconds they would be", "convert the column"]),
    (of_a_picture(1), "position unit", ["px of pictures of 900 x 600", "between 0 and 1:", "multiply"]),
    (of_a_picture(100), "position unit", ["px of pictures of 900 x 600", "between 0 and 100:"]),
    (exchanged, "mostly off the picture", ["lie off it, 0% if x and y are exchanged: exchange the two"]),
    (
        lambda t: t.assign(x_px=t["x_px"] - 680, y_px=t["y_px"] - 300),
        "mostly off the picture",
        ["fixations should lie on their pictures", "check the unit and the origin"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "name", "words"), FAULTS)
def test_a_plain_fault_is_asked_about_and_taken_where_it_is_meant(
    tmp_path: Path, images: Path, change: Callable[[Table], Table], name: str, words: list[str]
) -> None:
    table, study = saved(change(viewing()), tmp_path), tmp_path / "study"
    with pytest.raises(DataError) as caught:
        import_fixations(table, study, images)
    sentence = str(caught.value)
    for word in [str(table), f'--meant "{name}"', "[checks] in study.toml", *words]:
        assert word in sentence
    assert sentence.endswith(".") and "\n" not in sentence and not study.exists()
    # Where times are in another unit, what they say of overlaps and onsets is odd too.
    result = import_fixations(table, study, images, meant=[name, "onset unit", "overlapping events"])
    assert result.fixations == len(change(viewing())) and name in read_study(study).checks.meant


def test_a_study_says_itself_what_is_meant(tmp_path: Path, images: Path) -> None:
    study = tmp_path / "study"
    import_fixations(saved(viewing(), tmp_path), study, images)
    strange = times("duration_ms", 0.05)(viewing()).replace({"participant": {"01": "04", "02": "05", "03": "06"}})
    table = saved(strange.drop(columns="onset_s"), tmp_path)
    with pytest.raises(DataError, match="duration unit"):
        import_fixations(table, study)
    write_study(read_study(study).model_copy(update={"checks": CheckSettings(meant=["duration unit"])}), study)
    assert import_fixations(table, study).participants == ("04", "05", "06")


@pytest.mark.parametrize("change", [times("onset_s", 1e3), times("duration_ms", 1e-3), of_a_picture(1)])
def test_one_participant_in_another_unit_is_found(
    tmp_path: Path, images: Path, change: Callable[[Table], Table]
) -> None:
    table = viewing()
    mixed = pd.concat([change(rows) if who == "02" else rows for who, rows in table.groupby("participant")])
    with pytest.raises(DataError, match=r"gaze\.csv, participant 02: .* --meant"):
        import_fixations(saved(mixed, tmp_path), tmp_path / "study", images)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("duration_ms", "1e300", "larger than anything"),
        ("x_px", "1e10", "1e.10 px is nowhere near a picture"),
        ("y_px", "-1e10", "nowhere near a picture"),
        ("onset_s", "1e300", "larger than anything"),
        ("order", "9" * 100_000, "larger than anything"),
        ("x_px", "1.2.3", "'1.2.3' is not a number"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_is_refused_whatever_is_meant(
    tmp_path: Path, images: Path, column: str, value: str, words: str
) -> None:
    table = viewing()
    table["order"] = [i % 8 + 1 for i in range(len(table))]
    table = table.astype(object)
    table.loc[47, column] = value
    everything = ["overlapping events", "onset unit", "duration unit", "position unit", "mostly off the picture"]
    with pytest.raises(DataError, match=f"line 49, column {column}: .*{words}.*(correct|remove)"):
        import_fixations(saved(table, tmp_path), tmp_path / "study", images, meant=everything)
    assert not (tmp_path / "study").exists()


@settings(max_examples=60)
@given(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 12), st.floats(0.4, 4), st.booleans(), st.floats(0, 0.3)
)
def test_viewing_in_the_right_units_is_not_asked_about(
    seed: int, people: int, fixations: int, slower: float, without_onsets: bool, off: float
) -> None:
    """Fixations of 40 ms to some seconds, some left out, a third of them off the picture on all sides."""
    rng = np.random.default_rng(seed)
    table = viewing(seed, people, fixations)
    table["duration_s"], table["onset_s"] = table["duration_ms"] / 1000 * slower, table["onset_s"] * slower
    table["order"] = table.groupby(["participant", "stimulus"]).cumcount() + 1
    table["line"] = np.arange(len(table)) + 2
    stray = rng.random(len(table)) < off
    table.loc[stray, "x_px"] = rng.choice([-50.0, 450, 950], stray.sum())
    table.loc[stray, "y_px"] = np.where(table.loc[stray, "x_px"] == 450, 650.0, 300.0)
    table = table[rng.random(len(table)) > 0.1] if len(table) > 9 else table
    if without_onsets:
        table["onset_s"] = np.nan
    size = np.full(len(table), float(WIDTH)), np.full(len(table), float(HEIGHT))
    try:
        check_fixations(Path("gaze.csv"), table, *size, ())
    except DataError as error:
        # Of few fixations chance may put most off the picture, and that is what is said.
        assert "mostly off the picture" in str(error) and stray[table.index].mean() > 0.1


@needs_data
def test_osies_fixations_are_taken_and_their_exchange_is_not(tmp_path: Path) -> None:
    """Pictures of 800 x 600 px: exchanged, a fifth of real fixations lie below them."""
    folder = Path(DATA or "") / "osie20"
    assert import_fixations(folder / "fixations.csv", tmp_path / "study", folder / "images").fixations == 2815
    table = saved(exchanged(pd.read_csv(folder / "fixations.csv", dtype=str)), tmp_path)
    with pytest.raises(DataError, match="0% if x and y are exchanged"):
        import_fixations(table, tmp_path / "other", folder / "images")
    first = next(fixations_file(run) for run in beh_runs(tmp_path / "study"))
    assert len(read_fixations(first)) > 100


# Gaze.

SCREEN = (1000, 750)


def sdk_table(change_px: Callable[[np.ndarray], np.ndarray] = lambda px: px, step_us: float = 3333.0) -> str:
    """Gaze of both eyes at 300 Hz, on the right of a screen of 1000 x 750 px, in shares of it."""
    rng = np.random.default_rng(4)
    px = change_px(np.repeat(rng.uniform([560, 100], [930, 650], (10, 2)), 10, axis=0))
    x, y = (px / SCREEN).T
    frame = pd.DataFrame({"system_time_stamp": np.arange(100) * step_us + 1e6, "stimulus": "a.png"})
    for eye in ("left", "right"):
        frame[f"{eye}_gaze_point_on_display_area_x"], frame[f"{eye}_gaze_point_on_display_area_y"] = x, y
    return frame.to_csv(None, sep="\t", index=False, float_format="%.10g")


def pro_lab(
    change_px: Callable[[np.ndarray], np.ndarray] = lambda px: px, unit: str = "[μs]", step: float = 2000
) -> str:
    rng = np.random.default_rng(4)
    px = change_px(np.repeat(rng.uniform([560, 100], [930, 650], (10, 2)), 10, axis=0))
    frame = pd.DataFrame({f"Recording timestamp {unit}": np.arange(100) * step, "Sensor": "Eye Tracker"})
    frame["Recording resolution width"], frame["Recording resolution height"] = SCREEN
    for eye in ("left", "right"):
        frame[f"Gaze point {eye} X"], frame[f"Gaze point {eye} Y"] = px.T
    frame["Presented Stimulus name"] = "a.png"
    return frame.to_csv(None, sep="\t", index=False, float_format="%.10g")


def asc(
    change_px: Callable[[np.ndarray], np.ndarray] = lambda px: px,
    rate_hz: float = 500,
    start_ms: int = 1000,
    step_ms: int = 2,
) -> str:
    rng = np.random.default_rng(4)
    px = change_px(np.repeat(rng.uniform([560, 100], [930, 650], (10, 2)), 10, axis=0))
    lines = ["MSG\t900 DISPLAY_COORDS 0 0 999 749", f"START\t{start_ms}\tLEFT\tSAMPLES\tEVENTS", "PUPIL\tAREA",
             f"SAMPLES\tGAZE\tLEFT\tRATE\t {rate_hz}\tTRACKING\tCR\tFILTER\t2",
             f"MSG\t{start_ms} a.png onset"]  # fmt: skip
    end_ms = start_ms + 100 * step_ms
    lines += [f"{start_ms + step_ms * i}\t{x:.4f}\t{y:.4f}\t900.0\t..." for i, (x, y) in enumerate(px)]
    return "\n".join([*lines, f"MSG\t{end_ms - 2} a.png offset", f"END\t{end_ms}\tSAMPLES\tEVENTS"]) + "\n"


def changed(text: str, change: Callable[[Table], Table]) -> str:
    """A table of text with some of its columns changed."""
    return change(pd.read_csv(io.StringIO(text), sep="\t", dtype=str)).to_csv(None, sep="\t", index=False)


def rounded_times(step_us: float, exact: bool) -> str:
    """Gaze at an even rate, by a system's clock that is read to 10 ms, and perhaps by the tracker's beside it."""

    def change(table: Table) -> Table:
        us = np.arange(100) * step_us + 1e6
        table["system_time_stamp"] = (np.floor(us / 10_000) * 10_000).astype(np.int64)
        return table.assign(device_time_stamp=(us + 5e8).round().astype(np.int64)) if exact else table

    return changed(sdk_table(), change)


def first_cell(text: str, column: str, value: str) -> str:
    return changed(text, lambda table: table.assign(**{column: [value, *table[column][1:]]}))


def codes(text: str, left: str, right: str) -> str:
    """The SDK's table with validity, the same for all samples of an eye."""
    columns = {"left_gaze_point_validity": left, "right_gaze_point_validity": right}
    return changed(text, lambda table: table.assign(**columns))


OVERLAPPING = asc().replace(
    "MSG\t1198 a.png offset", "MSG\t1100 b.png onset\nMSG\t1150 a.png offset\nMSG\t1198 b.png offset"
)


def imported(name: str, text: str, folder: Path, images: Path, meant: list[str] | None = None) -> ImportedGaze:
    source = folder / name
    source.write_text(text, encoding="utf-8")
    px = SCREEN if name.startswith("sdk") else None
    new = NewStudy(images, px, (40.0, 30.0), 60.0, "centred")
    return (import_asc if name.endswith("asc") else import_tobii)(source, folder / "study", new, meant=meant or ())


@pytest.mark.parametrize(("name", "text"), [("sdk.tsv", sdk_table()), ("lab.tsv", pro_lab()), ("p.asc", asc())])
def test_gaze_in_the_right_units_is_taken(tmp_path: Path, images: Path, name: str, text: str) -> None:
    assert imported(name, text, tmp_path, images).samples == 100


@pytest.mark.parametrize(
    ("name", "text", "meant", "words"),
    [
        ("sdk.tsv", sdk_table(lambda px: px * SCREEN), "position unit", ["in shares of the screen, 0 to 1", "beyond"]),
        ("sdk.tsv", sdk_table(lambda px: px * 100), "position unit", ["in shares of the screen"]),
        ("lab.tsv", pro_lab(lambda px: px / SCREEN), "position unit", ["in px of a screen of 1000 x 750", "0 and 1"]),
        ("p.asc", asc(lambda px: px / SCREEN), "position unit", ["in px of a screen of 1000 x 750", "0 and 1"]),
        ("sdk.tsv", sdk_table(lambda px: px + 900), "mostly off the picture", ["a screen of 1000 x 750", "100% lie"]),
        ("lab.tsv", pro_lab(lambda px: px - 900), "mostly off the picture", ["check the unit and the origin"]),
        ("p.asc", asc(lambda px: px - 900), "mostly off the picture", ["check the unit and the origin"]),
        ("p.asc", asc(lambda px: px[:, ::-1]), "mostly off the picture", ["0% if x and y are exchanged"]),
        ("lab.tsv", pro_lab(lambda px: px[:, ::-1]), "mostly off the picture", ["0% if x and y are exchanged"]),
        ("lab.tsv", pro_lab(lambda px: px * 0.4), "position unit", ["within 400 x 300, the screen's size in mm"]),
        ("p.asc", asc(lambda px: px * 0.4), "position unit", ["in px", "the screen's size in mm"]),
        ("sdk.tsv", sdk_table(step_us=3.333), "sampling rate",
         ["10 to 5,000 samples a second", "system_time_stamp, which should hold microseconds, there are 3e+05",
          "as milliseconds there would be 300"]),
        ("sdk.tsv", sdk_table(step_us=3.333e6), "sampling rate", ["there are 0.3:", "as nanoseconds there would be"]),
        ("sdk.tsv", sdk_table(step_us=120_000), "sampling rate", ["there are 8.333:"]),
        ("lab.tsv", pro_lab(unit="[ms]"), "sampling rate", ["timestamp [ms], which should hold milliseconds",
                                                            "there are 0.5", "as microseconds there would be 500"]),
        ("lab.tsv", pro_lab(unit="[μs]", step=2), "sampling rate", ["there are 5e+05", "as milliseconds"]),
        ("p.asc", asc(rate_hz=8, step_ms=125), "sampling rate", ["the rate that the file gives there are 8"]),
        ("sdk.tsv", rounded_times(1e6 / 90, exact=False), "rounded times",
         ["system_time_stamp should be exact", "rounded to 10 ms", "100 samples a second in place of 90",
          "device_time_stamp beside"]),
        ("sdk.tsv", codes(sdk_table(), "0", "0"), "validity codes", ["none of the 200 samples with gaze is",
                                                                    "left_gaze_point_validity"]),
        ("lab.tsv", changed(pro_lab(), lambda t: t.assign(**{"Validity left": "Invalid", "Validity right": "Invalid"})),
         "validity codes", ["by Validity left and Validity right none of the 200 samples"]),
        ("lab.tsv", first_cell(pro_lab(np.round), "Gaze point left X", "1,012"), "decimal comma",
         ["line 2, column Gaze point left X", "'1,012' may be 1012 or, as it would be read, 1.012"]),
        ("p.asc", asc(start_ms=11_000).replace("11000 a.png onset", "1000 a.png onset"), "early onset",
         ["after that of picture 1 of 1 the first one comes 10 s later", "onset in [messages]"]),
        ("sdk.tsv", changed(sdk_table(), lambda t: t.assign(system_time_stamp=[
            *t["system_time_stamp"][:50], *(str(float(us) + 4e9) for us in t["system_time_stamp"][50:])])),
         "time jump", ["there is none for 4000 s", "cut the file in two"]),
        ("p.asc", OVERLAPPING, "overlapping events", ["p.asc, line", "'a.png' goes here, after the onset of 'b.png'"]),
    ],
)  # fmt: skip
def test_gaze_of_another_unit_or_place_is_asked_about(
    tmp_path: Path, images: Path, name: str, text: str, meant: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        imported(name, text, tmp_path, images)
    sentence = str(caught.value)
    for word in [name, f'--meant "{meant}"', "[checks] in study.toml", *words]:
        assert word in sentence
    assert sentence.endswith(".") and "\n" not in sentence and not (tmp_path / "study").exists()
    # Gaze that is invalid, of another unit or at another time is odd in other ways too; none of them is asked first.
    assert imported(name, text, tmp_path, images, [meant, "mostly off the picture"]).samples == 100
    assert meant in read_study(tmp_path / "study").checks.meant


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("sdk.tsv", sdk_table(lambda px: px * 1e10), "line 2: gaze at .*e.0?9 screens is nowhere near"),
        ("lab.tsv", pro_lab(lambda px: px * 1e8), "line 2: gaze at .*e.10 px is nowhere near"),
        ("p.asc", asc(lambda px: px * 1e8), "line 6: gaze at .*e.10 px is nowhere near"),
        ("p.asc", asc(rate_hz=50), "should lie 20 ms apart, as its rate of 50 Hz says, and most lie 2 ms apart"),
        ("p.asc", asc().replace("0 0 999 749", "0 0 999 99999"), "line 1: a screen of 999 x 99999 px is none"),
        ("p.asc", asc().replace("0 0 999 749", "0 0 999 7.4.9"), "line 1: .* should give the screen's left, top"),
        ("lab.tsv", pro_lab().replace("\t1000\t", "\t1e999\t"), "resolution width: '1e999' is larger than anything"),
        ("lab.tsv", pro_lab().replace("\t1000\t", "\tinf\t"), "resolution width: 'inf' is not a number"),
    ],
)  # fmt: skip
def test_gaze_that_cannot_be_is_refused_whatever_is_meant(
    tmp_path: Path, images: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        imported(name, text, tmp_path, images, ["position unit", "mostly off the picture"])


@pytest.mark.parametrize("step_us", [1e6 / 90, 1e6 / 60, 1e6 / 1200])
def test_the_trackers_own_time_is_taken_where_the_systems_is_rounded(tmp_path: Path, step_us: float) -> None:
    """Read to 10 ms, 90 samples a second come out as 100, of which a tenth was lost; 1,200 do not even rise."""
    path = tmp_path / "sdk.tsv"
    path.write_text(rounded_times(step_us, exact=True))
    (recording,) = read_tobii(path)
    assert recording.rate_hz == pytest.approx(1e6 / step_us)
    np.testing.assert_allclose(np.diff(recording.samples["time_s"]) * 1e6, step_us, atol=1.01)
    np.testing.assert_allclose(recording.samples["time_s"], 1 + np.arange(100) * step_us * 1e-6, atol=0.0101)
    (remark,) = recording.remarks
    assert "those of device_time_stamp" in remark.text and "rounded to 10 ms" in remark.text
    assert not recording.questions


def test_pro_labs_eyetracker_timestamp_is_taken_where_the_recordings_is_rounded(tmp_path: Path) -> None:
    us = np.arange(100) * 1e6 / 90
    path = tmp_path / "lab.tsv"
    path.write_text(
        changed(
            pro_lab(unit="[ms]"),
            lambda t: t.assign(
                **{
                    "Recording timestamp [ms]": (np.floor(us / 10_000) * 10).astype(int),
                    "Eyetracker timestamp [μs]": (us + 7e9).round().astype(np.int64),
                }
            ),
        )
    )
    (recording,) = read_tobii(path)
    assert recording.rate_hz == 90 and not recording.questions and len(recording.remarks) == 1
    np.testing.assert_allclose(np.diff(recording.samples["time_s"]) * 1e6, 1e6 / 90, atol=1.01)


@pytest.mark.parametrize("lost", [[], [40], list(range(20, 30)), [3, 50, 51, 90]])
def test_a_rate_of_whole_milliseconds_is_not_called_rounded(tmp_path: Path, lost: list[int]) -> None:
    """100 samples a second stand 10 ms apart exactly; some that were lost do not make them rounded."""
    path = tmp_path / "sdk.tsv"
    path.write_text(changed(sdk_table(step_us=10_000), lambda table: table.drop(index=lost)))
    (recording,) = read_tobii(path)
    assert recording.rate_hz == 100 and not recording.questions and not recording.remarks


@pytest.mark.parametrize("words", [("Gültig", "Ungültig"), ("有效", "无效"), ("0", "1"), ("Valid", "4")])
def test_validity_in_other_words_is_never_guessed(tmp_path: Path, words: tuple[str, str]) -> None:
    path = tmp_path / "lab.tsv"
    said = [words[i % 10 == 0] for i in range(100)]
    path.write_text(changed(pro_lab(), lambda t: t.assign(**{"Validity left": said, "Validity right": said})))
    first = "4" if "4" in words else words[1]
    with pytest.raises(
        DataError, match=rf"line 2, column Validity left: '{first}' is neither Valid nor Invalid; .* English"
    ):
        read_tobii(path)


@pytest.mark.parametrize("words", [("0", "4"), ("valid", "INVALID")])
def test_studios_codes_and_other_letters_are_understood(tmp_path: Path, words: tuple[str, str]) -> None:
    path = tmp_path / "lab.tsv"
    said = [words[i % 10 == 0] for i in range(100)]
    path.write_text(changed(pro_lab(), lambda t: t.assign(**{"Validity left": said, "Validity right": said})))
    (recording,) = read_tobii(path)
    np.testing.assert_array_equal(np.isnan(recording.samples["left_x_px"]), [i % 10 == 0 for i in range(100)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (first_cell(pro_lab(), "Gaze point left X", "1,012.5"), "line 2, column Gaze point left X: '1,012.5'"),
        (first_cell(pro_lab(), "Gaze point left X", "1,012"), "line 2, column Gaze point left X: '1,012'"),
        (first_cell(pro_lab(np.round), "Gaze point left X", "1,012,000"), "'1,012,000' has a sign between thousands"),
        (first_cell(pro_lab(np.round), "Gaze point left X", "1.012,5"), "'1.012,5' has a sign between thousands"),
        (
            first_cell(first_cell(pro_lab(np.round), "Gaze point left X", "1.012"), "Gaze point left Y", "312,5"),
            "line 2, column Gaze point left X: '1.012'",
        ),
    ],
)
def test_a_sign_between_thousands_is_refused_whatever_is_meant(
    tmp_path: Path, images: Path, text: str, words: str
) -> None:
    with pytest.raises(DataError, match=f"{words}.*export numbers with a decimal point, and without any sign"):
        imported("lab.tsv", text, tmp_path, images, ["decimal comma"])


def test_pictures_that_replace_each_other_do_not_overlap(tmp_path: Path, images: Path) -> None:
    """Without an offset the next onset ends a picture; one that comes twice may go twice."""
    for number, said in enumerate((
        ["b.png onset", "b.png offset"], ["a.png offset", "b.png onset", "b.png offset", "a.png onset", "a.png offset"],
        ["TRIALID 2", "b.png onset", "b.png offset", "a.png offset"],
    )):  # fmt: skip
        lines = "\n".join(f"MSG\t{1100 + 10 * i} {text}" for i, text in enumerate(said))
        folder = tmp_path / str(number)
        folder.mkdir()
        text = asc().replace("MSG\t1198 a.png offset", lines)
        assert imported("p.asc", text, folder, images).samples == 100


def test_a_validation_without_its_error_is_not_passed_over(tmp_path: Path, images: Path) -> None:
    """The analysis takes the eye that validated better: without the figure it would silently be the other one."""
    text = asc().replace("START", "MSG\t950 !CAL VALIDATION HV5 L LEFT GOOD ERROR 1.2.3 avg. 0.48 max\nSTART", 1)
    with pytest.raises(DataError, match=r"line 2: the validation's error should be in degrees, and '1\.2\.3' is not"):
        imported("p.asc", text, tmp_path, images)


def test_the_command_line_says_that_it_is_meant(tmp_path: Path, images: Path) -> None:
    table, study = saved(times("onset_s", 1e3)(viewing()), tmp_path), tmp_path / "study"
    command = ["import", "fixations", str(table), str(study), "--images", str(images)]
    assert isinstance(CliRunner().invoke(app, command).exception, DataError)
    wrong = CliRunner().invoke(app, [*command, "--meant", "onset"]).exception
    assert isinstance(wrong, StudyError) and "--meant is 'onset': it must be one of" in str(wrong)
    told = " ".join(CliRunner().invoke(app, [*command[:2], "--help"]).output.split())
    assert all(f'"{name}"' in told for name in get_args(Meant))
    done = CliRunner().invoke(app, [*command, "--meant", "onset unit", "--meant", "position unit"])
    assert done.exit_code == 0 and read_study(study).checks.meant == ["onset unit", "position unit"]
