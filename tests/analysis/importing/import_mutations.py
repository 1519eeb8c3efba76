"""A seeded generator of broken files: small valid ones of every form that is imported, and what may become of each.

`mutations(seed)` gives some 1,300 files that are wrong in one place: a cell, line or column, an encoding, a unit.
`expects` says how the import may end: "refused" in one sentence that names the file; "unchanged", with the numbers of
the valid file; or "any valid", where the change may be what somebody wanted, and which also may be refused.

    PYTHONPATH=. python tests/analysis/importing/import_mutations.py

counts how they end, by another version of the code too (PYTHONPATH=its folder).
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from beholder.analysis.importing.fixation_table import import_fixations
from beholder.analysis.importing.recordings import NewStudy, import_asc, import_tobii
from beholder.shared.dataset.reading import beh_runs, fixations_file, read_recording, runs
from beholder.shared.errors import BeholderError
from beholder.shared.stimuli.folder import copy_stimuli
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.tables import read_fixations

Kind = Literal["fixations", "asc", "sdk", "pro lab", "coco", "mask"]
Expected = Literal["refused", "unchanged", "refused or unchanged", "any valid"]
FILES: dict[Kind, str] = {
    "fixations": "gaze.csv", "asc": "p01.asc", "sdk": "p02.tsv", "pro lab": "export.tsv", "coco": "coco.json",
    "mask": "masks/a/lid.png",
}  # fmt: skip
WIDTH, HEIGHT = 900, 600  # of the pictures, in px
SCREEN_WIDTH, SCREEN_HEIGHT = 1000, 750
# No number at all, whatever the column; then numbers that no measurement is; then some that may be one.
NO_NUMBER = ("abc", "1.2.3", "inf", "-inf", "1_000", "0x10", "٣", "1e", "--5", "9" * 100_000)
TOO_LARGE = ("1e300", "-1e300", "1e999")
MAYBE = ("-5", "0")
MISSING = ("", "nan")


@dataclass(frozen=True)
class Mutation:
    """A file that is wrong in one place: what was done to it, and how the import may end."""

    kind: Kind
    what: str
    data: bytes
    expects: Expected


# Valid files.


@cache
def valid(kind: Kind) -> bytes:
    """The file that the mutations of a kind are made from."""
    return {"fixations": _fixations, "asc": _asc, "sdk": _sdk, "pro lab": _pro_lab, "coco": _coco, "mask": _mask}[
        kind
    ]()


def _fixations() -> bytes:
    rng = np.random.default_rng(1)
    rows = ["participant,stimulus,order,onset_s,x_px,y_px,duration_ms,note"]
    for participant in ("01", "02", "03"):
        for stimulus in ("a.png", "b.png"):
            onset_s = 0.1
            for order in range(1, 7):
                x, y, duration_ms = rng.uniform(450, 880), rng.uniform(50, 560), rng.uniform(150, 400)
                rows.append(
                    f"{participant},{stimulus},{order},{onset_s:.3f},{x:.1f},{y:.1f},{duration_ms:.0f},n{order}"
                )
                onset_s += duration_ms / 1000 + 0.04
    return ("\n".join(rows) + "\n").encode()


def _gaze(n: int) -> list[tuple[float, float, float, float]]:
    """x and y in px of the screen of the left and the right eye, to the right of the middle."""
    rng = np.random.default_rng(2)
    places = np.repeat(rng.uniform([560, 100], [930, 650], (n // 10, 2)), 10, axis=0)
    return [tuple(np.round([*(p + rng.normal(0, 0.5, 2)), *(p + rng.normal(0, 0.5, 2))], 1)) for p in places]  # type: ignore[misc]


def _asc() -> bytes:
    lines = [
        "** CONVERTED FROM p01.edf using edfapi 3.1", "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED",
        "MSG\t900 DISPLAY_COORDS 0 0 999 749", "MSG\t900 GAZE_COORDS 0.00 0.00 999.00 749.00",
        "MSG\t901 !CAL CALIBRATION HV5 LR LEFT    GOOD",
        "MSG\t902 !CAL VALIDATION HV5 LR LEFT  GOOD ERROR 0.35 avg. 0.48 max  OFFSET 0.18 deg. -6.4,-0.9 pix.",
        "MSG\t902 !CAL VALIDATION HV5 LR RIGHT GOOD ERROR 0.30 avg. 0.91 max  OFFSET 0.17 deg. 0.1,6.2 pix.",
        "MSG\t990 TRIALID 1", "MSG\t991 !V IMGLOAD CENTER a.png 500 375 900 600",
        "START\t1000 \tLEFT\tRIGHT\tSAMPLES\tEVENTS", "PRESCALER\t1", "VPRESCALER\t1", "PUPIL\tAREA",
        "EVENTS\tGAZE\tLEFT\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2",
        "SAMPLES\tGAZE\tLEFT\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2",
    ]  # fmt: skip
    for i, (left_x, left_y, right_x, right_y) in enumerate(_gaze(60)):
        lines.append(f"{1000 + 2 * i}\t {left_x}\t {left_y}\t  900.0\t {right_x}\t {right_y}\t  910.0\t.....")
        if i == 5:
            lines.append("MSG\t1010 image_onset")
        if i == 30:
            lines += ["EFIX L   1010\t1058\t50\t  600.5\t  370.6\t    937",
                      "ESACC R  1040\t1056\t18\t  501.5\t  371.5\t  488.7\t  370.5\t   0.37\t     54"]  # fmt: skip
        if i == 55:
            lines.append("MSG\t1110 blank_screen")
    return (
        "\n".join([*lines, "END\t1119 \tSAMPLES\tEVENTS\tRES\t  35.17\t  35.14", "MSG\t1120 TRIAL_RESULT 0"]) + "\n"
    ).encode()


def _sdk() -> bytes:
    names = "gaze_point_on_display_area_x", "gaze_point_on_display_area_y", "gaze_point_validity", "pupil_diameter"
    sides = [f"{eye}_{name}" for eye in ("left", "right") for name in names]
    rows = ["\t".join(["system_time_stamp", *sides, "stimulus", "note"])]
    for i, (left_x, left_y, right_x, right_y) in enumerate(_gaze(60)):
        shares = [
            f"{v / side:.6f}"
            for v, side in zip((left_x, left_y, right_x, right_y), [SCREEN_WIDTH, SCREEN_HEIGHT] * 2, strict=True)
        ]
        rows.append("\t".join([str(10_000_000 + round(i * 1e6 / 300)), *shares[:2], "1", "3.4", *shares[2:], "1", "3.5",
                               "a.png" if i >= 5 else "", "n"]))  # fmt: skip
    return ("\n".join(rows) + "\n").encode()


def _pro_lab() -> bytes:
    names = ["Recording timestamp", "Sensor", "Participant name", "Recording name", "Recording resolution height",
             "Recording resolution width", "Event", "Gaze point left X", "Gaze point left Y", "Gaze point right X",
             "Gaze point right Y", "Validity left", "Validity right", "Presented Stimulus name",
             "Presented Media width", "Presented Media height", "Presented Media position X",
             "Presented Media position Y", "Gaze event duration", "note"]  # fmt: skip
    rows = ["\t".join(names)]
    for i, gaze in enumerate(_gaze(60)):
        shown = ["a.png", "900", "600", "50", "75"] if i >= 5 else [""] * 5
        rows.append("\t".join([str(2000 * i), "Eye Tracker", "Ann", "R1", str(SCREEN_HEIGHT), str(SCREEN_WIDTH), "",
                               *map(str, gaze), "Valid", "Valid", *shown, "100", "n"]))  # fmt: skip
    return ("\n".join(rows) + "\n").encode()


def _coco() -> bytes:
    lid = [100, 100, 400, 100, 400, 300, 100, 300]
    return json.dumps(
        {
            "images": [{"id": 5, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
            "categories": [{"id": 1, "name": "lid"}, {"id": 7, "name": "body"}],
            "annotations": [
                {"id": 1, "image_id": 5, "category_id": 1, "segmentation": [lid]},
                {
                    "id": 2,
                    "image_id": 5,
                    "category_id": 7,
                    "segmentation": {"size": [HEIGHT, WIDTH], "counts": [300_500, 100, 239_400]},
                },
            ],
        }
    ).encode()


def _mask() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        picture = Image.new("L", (WIDTH, HEIGHT))
        ImageDraw.Draw(picture).rectangle((100, 100, 400, 300), fill=255)
        picture.save(Path(folder) / "lid.png")
        return (Path(folder) / "lid.png").read_bytes()


# What an import comes to.


def outcome(kind: Kind, data: bytes, folder: Path) -> object:
    """Every number that importing the file leaves, to be compared with ==. Raises what the import raises."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for name, colour in (("a.png", "teal"), ("b.png", "olive")):
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(pictures / name)
    source = (pictures if kind in ("coco", "mask") else folder) / FILES[kind]
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(data)
    study = folder / "study"
    if kind in ("coco", "mask"):
        stimuli, _ = copy_stimuli(pictures, study)
        return [(s.name, dict(s.parts), read_labels(s.mask).tobytes()) for s in stimuli if s.mask is not None]
    if kind == "fixations":
        import_fixations(source, study, pictures)
        return [(run.participant, read_fixations(fixations_file(run)).to_csv(index=False)) for run in beh_runs(study)]
    new = NewStudy(pictures, (SCREEN_WIDTH, SCREEN_HEIGHT) if kind == "sdk" else None, (40.0, 30.0), 60.0, "centred")
    (import_asc if kind == "asc" else import_tobii)(source, study, new)
    return [
        (
            run.participant,
            recording.rate_hz,
            recording.screen,
            str([s.validation for s in recording.sidecars.values()]),
            recording.samples.tobytes(),
            recording.events.to_csv(index=False),
        )
        for run in runs(study)
        for recording in [read_recording(run)]
    ]


# Mutations.


def mutations(seed: int = 0) -> list[Mutation]:
    """All of them, in an order that does not depend on the seed; where in a file each strikes, does."""
    rng = np.random.default_rng(seed)
    found = [
        *_of_fixations(rng), *_of_asc(rng), *_of_sdk(rng), *_of_pro_lab(rng), *_of_coco(rng),
        *(m for kind in FILES for m in _of_bytes(kind, rng)),
    ]  # fmt: skip
    assert all(m.data != valid(m.kind) for m in found)
    return found


Table = list[list[str]]


def _cells(kind: Kind) -> Table:
    separator = "," if kind == "fixations" else "\t"
    return [line.split(separator) for line in valid(kind).decode().splitlines()]


def _joined(kind: Kind, table: Table) -> bytes:
    separator = "," if kind == "fixations" else "\t"
    return ("\n".join(separator.join(cells) for cells in table) + "\n").encode()


def _table(
    kind: Kind,
    columns: dict[str, dict[str, Expected]],
    dropped: dict[str, Expected],
    swapped_lines: Expected,
    rng: np.random.Generator,
) -> Iterator[Mutation]:
    """Cells of each column replaced by values that end as given; columns dropped, renamed, moved; lines moved."""
    head = _cells(kind)[0]

    def changed(what: str, change: Callable[[Table], object], expects: Expected) -> Mutation:
        table = _cells(kind)
        change(table)
        return Mutation(kind, what, _joined(kind, table), expects)

    for name, values in columns.items():
        column = head.index(name)
        for value, expects in values.items():
            # Not the first and not the last, before and after which a time may lie anywhere; in a picture.
            row = int(rng.integers(10, len(_cells(kind)) - 2))
            yield changed(
                f"{name} is {value[:12]!r}", lambda t, r=row, c=column, v=value: t[r].__setitem__(c, v), expects
            )  # type: ignore[misc]
    for name, expects in dropped.items():
        column = head.index(name)
        yield changed(f"no column {name}", lambda t, c=column: [row.pop(c) for row in t], expects)  # type: ignore[misc]
        yield changed(f"column {name} renamed", lambda t, c=column: t[0].__setitem__(c, "Xy"), expects)  # type: ignore[misc]
        other = int(rng.integers(0, len(head)))
        if other != column:
            yield changed(
                f"column {name} moved",
                lambda t, c=column, o=other: [row.insert(o, row.pop(c)) for row in t],  # type: ignore[misc]
                "unchanged",
            )
        yield changed(f"column {name} doubled", lambda t, c=column: [row.append(row[c]) for row in t],  # type: ignore[misc]
                      "refused or unchanged")  # fmt: skip
    for _ in range(6):
        # Within a trial of six fixations: trials are numbered as they come.
        i = 1 + 6 * int(rng.integers(0, len(_cells(kind)) // 6))
        i, j = sorted(int(v) for v in i + rng.choice(6, 2, replace=False))
        yield changed(f"lines {i} and {j} swapped", lambda t, i=i, j=j: t.insert(i, t.pop(j)), swapped_lines)  # type: ignore[misc]
        yield changed(f"line {i} doubled", lambda t, i=i: t.insert(i, list(t[i])), "refused")  # type: ignore[misc]
        yield changed(f"line {i} dropped", lambda t, i=i: t.pop(i), "any valid")  # type: ignore[misc]
        yield changed(f"a cell too many in line {i}", lambda t, i=i: t[i].append("1"), "refused")  # type: ignore[misc]
        yield changed(f"a cell too few in line {i}", lambda t, i=i: t[i].pop(), "refused")  # type: ignore[misc]
    yield changed("first line dropped", lambda t: t.pop(0), "refused")
    yield changed("first line doubled", lambda t: t.insert(0, list(t[0])), "refused")
    yield changed("no rows", lambda t: t.__delitem__(slice(1, None)), "refused")


def _scaled(
    kind: Kind,
    what: str,
    factors: dict[str, Callable[[float], object]],
    only: Callable[[int, list[str]], bool],
    expects: Expected = "refused",
) -> Mutation:
    """Columns put through a function, in the rows (counted from 1) for which `only` holds."""
    table = _cells(kind)
    for number, row in enumerate(table[1:], start=1):
        for name, change in factors.items():
            column = table[0].index(name)
            if only(number, row) and row[column]:
                row[column] = str(change(float(row[column])))
    return Mutation(kind, what, _joined(kind, table), expects)


def _all(number: int, row: list[str]) -> bool:
    return True


def _ends(values: tuple[str, ...], expects: Expected) -> dict[str, Expected]:
    return dict.fromkeys(values, expects)


def _of_fixations(rng: np.random.Generator) -> Iterator[Mutation]:
    wrong = _ends((*NO_NUMBER, *TOO_LARGE), "refused")
    needed = wrong | _ends(MISSING, "refused")
    yield from _table(
        "fixations",
        {
            "x_px": needed | _ends(MAYBE, "any valid") | _ends(("1e10", "-1e10"), "refused"),
            "y_px": needed | _ends(MAYBE, "any valid") | _ends(("1e10",), "refused"),
            "duration_ms": needed | _ends((*MAYBE, "1e10", "3600000", "0.2"), "refused"),
            "onset_s": wrong | _ends(("nan", "1e10"), "refused") | _ends(("", *MAYBE), "any valid"),
            "order": needed | _ends((*MAYBE, "1.5"), "refused") | _ends(("77",), "any valid"),
            "participant": _ends(("",), "refused") | _ends(("abc", "1.2.3", *TOO_LARGE, "9" * 100_000), "any valid"),
            "stimulus": _ends(("", "abc", "1.2.3", "9" * 100_000), "refused") | _ends(("b",), "any valid"),
            "note": _ends(("", "abc", "9" * 100_000), "unchanged"),
        },
        {
            "participant": "refused", "stimulus": "refused", "x_px": "refused", "y_px": "refused",
            "duration_ms": "refused", "order": "any valid", "onset_s": "any valid", "note": "unchanged",
        },
        "unchanged", rng,
    )  # fmt: skip
    person = str(rng.choice(["01", "02", "03"]))
    for who, only in (("all", _all), (f"participant {person}", lambda _, row: row[0] == person)):
        for name, unit, factor in (
            ("onset_s", "ms", 1e3), ("onset_s", "microseconds", 1e6), ("duration_ms", "s", 1e-3),
            ("duration_ms", "microseconds", 1e3),
        ):  # fmt: skip
            yield _scaled("fixations", f"{name} in {unit}, {who}", {name: lambda v, f=factor: v * f}, only)  # type: ignore[misc]
        yield _scaled("fixations", f"positions 0 to 1, {who}",
                      {"x_px": lambda v: v / WIDTH, "y_px": lambda v: v / HEIGHT}, only)  # fmt: skip
        yield _scaled("fixations", f"positions 0 to 100, {who}",
                      {"x_px": lambda v: v / WIDTH * 100, "y_px": lambda v: v / HEIGHT * 100}, only)  # fmt: skip
    yield _scaled("fixations", "onsets by a clock", {"onset_s": lambda v: v + 5000}, _all)
    yield _scaled("fixations", "onsets all alike", {"onset_s": lambda v: 0.5}, _all)
    yield _scaled(
        "fixations", "positions from the middle", {"x_px": lambda v: v - 665, "y_px": lambda v: v - 300}, _all
    )
    table = _cells("fixations")
    x, y = table[0].index("x_px"), table[0].index("y_px")
    for row in table:
        row[x], row[y] = row[y], row[x]
    yield Mutation("fixations", "columns x_px and y_px moved", _joined("fixations", table), "unchanged")
    table[0] = _cells("fixations")[0]
    yield Mutation("fixations", "x and y exchanged", _joined("fixations", table), "refused")
    text = valid("fixations").decode()
    for separator in (";", "\t"):
        yield Mutation("fixations", f"separated by {separator!r}", text.replace(",", separator).encode(), "unchanged")
    yield Mutation("fixations", "comma as point", text.replace(",", ";").replace(".", ",").encode(), "refused")


def _of_sdk(rng: np.random.Generator) -> Iterator[Mutation]:
    wrong = _ends((*NO_NUMBER, *TOO_LARGE), "refused")
    gaze = wrong | _ends(("1e10", "-1e10"), "refused") | _ends((*MAYBE, *MISSING), "any valid")
    codes = wrong | _ends(("-5", "7", "0.5"), "refused") | _ends(("0", *MISSING), "any valid")
    x, y = "left_gaze_point_on_display_area_x", "right_gaze_point_on_display_area_y"
    yield from _table(
        "sdk",
        {
            "system_time_stamp": wrong | _ends((*MAYBE, *MISSING), "refused"), x: gaze, y: gaze,
            "left_gaze_point_validity": codes, "right_pupil_diameter": wrong | _ends((*MAYBE, *MISSING), "any valid"),
            "stimulus": _ends(("", "abc", "1.2.3", "9" * 100_000), "any valid"),
            "note": _ends(("", "abc"), "unchanged"),
        },
        {"system_time_stamp": "refused", x: "refused", "left_gaze_point_validity": "refused", "note": "unchanged"},
        "refused", rng,
    )  # fmt: skip
    last = len(_cells("sdk")) - 1
    for value in ("1e15", "1e300", "inf", "9" * 100_000):
        table = _cells("sdk")
        table[-1][0] = value
        yield Mutation("sdk", f"last time is {value[:12]}", _joined("sdk", table), "refused")
    for unit, factor in (("ms", 1e-3), ("s", 1e-6), ("ns", 1e3)):
        yield _scaled("sdk", f"time in {unit}", {"system_time_stamp": lambda v, f=factor: v * f}, _all)  # type: ignore[misc]
    columns = {
        name: (SCREEN_WIDTH if name.endswith("x") else SCREEN_HEIGHT) for name in _cells("sdk")[0] if "area" in name
    }
    for unit, sides in (("px", columns), ("percent", dict.fromkeys(columns, 100))):
        yield _scaled("sdk", f"gaze in {unit}", {name: lambda v, s=s: v * s for name, s in sides.items()}, _all)  # type: ignore[misc]
    yield _scaled("sdk", "gaze off the screen", {name: lambda v: v + 1.1 for name in columns}, _all)
    yield _scaled("sdk", "last sample off the screen", dict.fromkeys(columns, lambda v: v + 3),
                  lambda number, _: number == last, "any valid")  # fmt: skip


def _of_pro_lab(rng: np.random.Generator) -> Iterator[Mutation]:
    wrong = _ends((*NO_NUMBER, *TOO_LARGE), "refused")
    gaze = wrong | _ends(("1e10",), "refused") | _ends((*MAYBE, *MISSING), "any valid")
    yield from _table(
        "pro lab",
        {
            "Recording timestamp": wrong | _ends((*MAYBE, *MISSING), "refused"),
            "Sensor": _ends(("", "abc"), "any valid"), "Participant name": _ends(("", "abc"), "any valid"),
            "Recording resolution width": wrong | _ends((*MAYBE, "1e10"), "refused") | _ends(MISSING, "unchanged"),
            "Gaze point left X": gaze, "Gaze point right Y": gaze,
            "Validity left": _ends(("abc", "1.2.3", "0", "inf"), "refused") | _ends(("", "Invalid"), "any valid"),
            "Presented Media width": wrong | _ends((*MAYBE, *MISSING), "any valid"),
            "Gaze event duration": wrong | _ends((*MAYBE, *MISSING), "any valid"),
            "Event": _ends(("abc", "9" * 100_000), "any valid"), "note": _ends(("", "abc"), "unchanged"),
        },
        {"Recording timestamp": "refused", "Gaze point left X": "refused", "Validity left": "refused",
         "Recording resolution width": "refused", "note": "unchanged"},
        "refused", rng,
    )  # fmt: skip
    text = valid("pro lab").decode()
    for unit, expects in (("[ms]", "refused"), ("[μs]", "unchanged")):
        named = text.replace("Recording timestamp", f"Recording timestamp {unit}")
        yield Mutation("pro lab", f"microseconds in a column of {unit}", named.encode(), expects)  # type: ignore[arg-type]
    for name, factor in (("[μs]", 1e-3), ("[μs]", 1e-6), ("", 1e-6)):
        scaled = _scaled("pro lab", "", {"Recording timestamp": lambda v, f=factor: v * f}, _all).data  # type: ignore[misc]
        named = scaled.decode().replace("Recording timestamp", f"Recording timestamp {name}".strip())
        yield Mutation("pro lab", f"time times {factor} in a column of {name}", named.encode(), "refused")
    for value in ("inf", "1e999", "1e300", "0", "-5", "9" * 100_000, "1_000"):
        replaced = text.replace(f"\t{SCREEN_WIDTH}\t", f"\t{value}\t")
        yield Mutation("pro lab", f"resolution {value[:12]} everywhere", replaced.encode(), "refused")
    columns = [name for name in _cells("pro lab")[0] if name.startswith("Gaze point")]
    sides = {name: SCREEN_WIDTH if name.endswith("X") else SCREEN_HEIGHT for name in columns}
    yield _scaled("pro lab", "gaze in shares", {n: lambda v, s=s: v / s for n, s in sides.items()}, _all)  # type: ignore[misc]
    yield _scaled("pro lab", "gaze off the screen", {name: lambda v: v + 1000 for name in columns}, _all)
    table = _cells("pro lab")
    of = {name: number for number, name in enumerate(table[0])}
    for row in table[1:]:
        for eye in ("left", "right"):
            x, y = of[f"Gaze point {eye} X"], of[f"Gaze point {eye} Y"]
            row[x], row[y] = row[y], row[x]
    yield Mutation("pro lab", "x and y exchanged", _joined("pro lab", table), "refused")


def _of_asc(rng: np.random.Generator) -> Iterator[Mutation]:
    lines = valid("asc").decode().splitlines()
    samples = [i for i, line in enumerate(lines) if line[0].isdigit()]

    def changed(what: str, line: int, token: int, value: str, expects: Expected) -> Mutation:
        words = lines[line].split()
        words[token] = value
        head = " ".join(words) if words[0] == "MSG" else "\t".join(words)
        if words[0] == "MSG":
            head = head.replace(" ", "\t", 1)
        return Mutation("asc", what, ("\n".join([*lines[:line], head, *lines[line + 1 :]]) + "\n").encode(), expects)

    wrong = _ends((*NO_NUMBER, *TOO_LARGE), "refused")
    gaze = wrong | _ends(("10000000000", "-10000000000", "nan", ""), "refused") | _ends(MAYBE, "any valid")
    for token, name in ((1, "x"), (2, "y"), (5, "y of the right"), (3, "pupil")):
        values = gaze if name != "pupil" else wrong | _ends(("nan",), "refused") | _ends(MAYBE, "any valid")
        for value, expects in values.items():
            yield changed(f"{name} is {value[:12]!r}", int(rng.choice(samples[10:50])), token, value, expects)
    for value, expects in (wrong | _ends((*MAYBE, "", "nan"), "refused")).items():
        yield changed(f"time is {value[:12]!r}", int(rng.choice(samples[10:50])), 0, value, expects)
    for start, token, values in (
        ("MSG\t900 DISPLAY", 5, wrong | _ends((*MAYBE, *MISSING, "10000000000"), "refused")),
        ("MSG\t902 !CAL VALIDATION HV5 LR LEFT", 9, wrong | _ends((*MISSING, "-5"), "refused")),
        ("MSG\t902 !CAL VALIDATION HV5 LR RIGHT", 11, wrong | _ends((*MISSING, "-5"), "refused")),
        ("MSG\t1010", 1, wrong | _ends((*MISSING, "-5"), "refused") | _ends(("0",), "any valid")),
        ("MSG\t990 TRIALID", 3, _ends((*NO_NUMBER, *TOO_LARGE, *MAYBE, *MISSING), "any valid")),
        ("MSG\t991 !V", 5, _ends((*NO_NUMBER, *TOO_LARGE, *MAYBE, *MISSING), "any valid")),
        ("MSG\t991 !V", 7, _ends((*NO_NUMBER, *TOO_LARGE, *MAYBE, *MISSING), "any valid")),
        ("START", 1, wrong | _ends((*MISSING, "-5"), "refused") | _ends(("0",), "unchanged")),
        ("SAMPLES", 5, wrong | _ends((*MAYBE, *MISSING, "50", "5000", "1e10"), "refused")),
        ("EFIX", 2, wrong | _ends(MISSING, "refused") | _ends(MAYBE, "any valid")),
        ("EFIX", 5, wrong | _ends(MISSING, "refused") | _ends(MAYBE, "any valid")),
        ("ESACC", 9, wrong | _ends(MISSING, "refused") | _ends(MAYBE, "any valid")),
        ("END", 1, wrong | _ends((*MISSING, "-5"), "refused") | _ends(("0",), "any valid")),
    ):  # fmt: skip
        line = next(i for i, text in enumerate(lines) if text.startswith(start))
        for value, expects in values.items():
            yield changed(f"{start} {token} is {value[:12]!r}", line, token, value, expects)
    for value in ("1000", "-1000", "0.001"):
        far = [line.split("\t") for line in lines]
        for i in samples:
            for token in (1, 2, 4, 5):
                number = float(far[i][token])
                far[i][token] = f"{number * 0.001 if value == '0.001' else number + float(value):.4f}"
        text = "\n".join("\t".join(words) for words in far)
        yield Mutation("asc", f"gaze moved by {value}", (text + "\n").encode(), "refused")
    coords = "\n".join(line.replace("999", "1" * 12).replace("749", "1" * 12) for line in lines)
    yield Mutation("asc", "a screen of 111111111111 px", (coords + "\n").encode(), "refused")
    for _ in range(6):
        i, j = sorted(int(v) for v in rng.choice(samples[1:], 2, replace=False))
        swapped = [*lines[:i], lines[j], *lines[i:j], *lines[j + 1 :]]
        yield Mutation("asc", f"line {j} before line {i}", ("\n".join(swapped) + "\n").encode(), "refused")
        doubled = [*lines[: i + 1], *lines[i:]]
        yield Mutation("asc", f"line {i} doubled", ("\n".join(doubled) + "\n").encode(), "refused")
        dropped = [*lines[:i], *lines[i + 1 :]]
        yield Mutation("asc", f"line {i} dropped", ("\n".join(dropped) + "\n").encode(), "any valid")
        cut = "\n".join(lines[: i + 1])[: -int(rng.integers(1, 20))]
        # What is whole of a recording that stops is taken.
        yield Mutation("asc", f"cut in line {i}", cut.encode(), "any valid")


def _of_coco(rng: np.random.Generator) -> Iterator[Mutation]:
    odd = (
        '"abc"',
        '"1.2.3"',
        "Infinity",
        "NaN",
        "1e300",
        "-5",
        "0",
        "null",
        "[]",
        "{}",
        "true",
        '""',
        "1.5",
        "9" * 100_000,
        "9" * 400,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    )
    mark = "__here__"
    for path, passes in (
        (("images",), ()), (("images", 0), ()), (("images", 0, "id"), ()), (("images", 0, "file_name"), ()),
        (("images", 0, "width"), ("null",)), (("categories",), ()), (("categories", 0), ()),
        (("categories", 0, "id"), ("true",)), (("categories", 0, "name"), odd), (("annotations",), ("[]", "{}", '""')),
        (("annotations", 0), ()), (("annotations", 0, "id"), odd), (("annotations", 0, "image_id"), ()),
        (("annotations", 1, "category_id"), ("true",)), (("annotations", 0, "segmentation"), ()),
        (("annotations", 0, "segmentation", 0), ()),
        (("annotations", 0, "segmentation", 0, int(rng.integers(8))), ("-5", "0", "true", "1.5")),
        (("annotations", 1, "segmentation", "size"), ()), (("annotations", 1, "segmentation", "size", 0), ()),
        (("annotations", 1, "segmentation", "counts"), ()), (("annotations", 1, "segmentation", "counts", 1), ()),
    ):  # fmt: skip
        for value in odd:
            tree = json.loads(valid("coco"))
            inner: Any = tree
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = mark
            text = json.dumps(tree).replace(f'"{mark}"', value)
            # An id that no annotation names is as good as any; what does not parse is not.
            expects: Expected = "any valid" if value in passes else "refused"
            yield Mutation("coco", f"{path} is {value[:12]}", text.encode(), expects)
            if not isinstance(path[-1], int) and value == odd[0]:
                del inner[path[-1]]
                lacking: Expected = "any valid" if path[-1] in ("width", "id", "name") else "refused"
                yield Mutation("coco", f"no {path}", json.dumps(tree).encode(), lacking)
    for name, change in (
        ("category 1 twice", lambda t: t["categories"].append({"id": 1, "name": "rim"})),
        ("image 5 twice", lambda t: t["images"].append({"id": 5, "file_name": "b.png"})),
        ("polygon of 0 to 1", lambda t: t["annotations"][0].update(segmentation=[[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]])),
        ("width and height exchanged", lambda t: t["images"][0].update(width=HEIGHT, height=WIDTH)),
    ):
        tree = json.loads(valid("coco"))
        change(tree)
        yield Mutation("coco", name, json.dumps(tree).encode(), "refused")
    tree = json.loads(valid("coco"))
    for part in tree:
        again = json.loads(valid("coco"))
        again[part] = again[part] * 2
        yield Mutation("coco", f"{part} doubled", json.dumps(again).encode(), "unchanged")
    for deep in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"images":' * 100_000):
        yield Mutation("coco", f"{deep[:9]} nested", deep.encode(), "refused")


def _of_bytes(kind: Kind, rng: np.random.Generator) -> Iterator[Mutation]:
    """Encodings, line ends, cuts and noise, of a file of any kind."""
    data = valid(kind)
    is_text = kind != "mask"
    if is_text:
        text = data.decode()
        utf16: Expected = "refused" if kind in ("fixations", "coco") else "unchanged"
        yield Mutation(kind, "UTF-8 with its mark", text.encode("utf-8-sig"), "unchanged")
        yield Mutation(kind, "UTF-16", text.encode("utf-16"), utf16)
        yield Mutation(kind, "UTF-32", text.encode("utf-32"), "refused")
        middle = len(text) // 2
        yield Mutation(kind, "a byte of Latin-1", data[:middle] + b"\xf1" + data[middle:], "refused")
        if kind != "coco":
            yield Mutation(kind, "lines end in CR LF", data.replace(b"\n", b"\r\n"), "unchanged")
            yield Mutation(kind, "lines end in CR", data.replace(b"\n", b"\r"), "refused or unchanged")
            yield Mutation(kind, "an empty line at the end", data + b"\n", "unchanged")
    yield Mutation(kind, "empty", b"", "refused")
    yield Mutation(kind, "nothing but zeros", bytes(1000), "refused")
    yield Mutation(kind, "another format", b"\x89HDF\r\n\x1a\n" + bytes(rng.integers(0, 256, 500).tolist()), "refused")
    for _ in range(4):
        yield Mutation(kind, "cut", data[: int(rng.integers(1, len(data) * 9 // 10))],
                       "any valid" if kind in ("fixations", "asc") else "refused")  # fmt: skip
        noisy = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            noisy[at] = (noisy[at] + int(rng.integers(1, 256))) % 256
        yield Mutation(kind, "three bytes changed", bytes(noisy), "any valid")


# How they end.


def verdict(mutation: Mutation, folder: Path) -> str:
    """How an import ends: refused (by a sentence that names the file), refused badly, unchanged, changed, traceback."""
    try:
        numbers = outcome(mutation.kind, mutation.data, folder / "mutated")
    except BeholderError as error:
        sentence = str(error)
        if Path(FILES[mutation.kind]).name not in sentence or "\n" in sentence or not sentence.endswith("."):
            return f"refused badly: {sentence}"
        return "refused" if len(sentence) < 1000 else f"refused badly: a sentence of {len(sentence)} characters"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"traceback: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
    return "unchanged" if numbers == expected_numbers(mutation.kind) else "changed"


@cache
def expected_numbers(kind: Kind) -> object:
    """What the valid file of a kind comes to."""
    with tempfile.TemporaryDirectory() as folder:
        return outcome(kind, valid(kind), Path(folder) / "valid")


def is_allowed(expects: Expected, found: str) -> bool:
    """Whether an import may end so."""
    if expects == "any valid":
        return found in ("refused", "unchanged", "changed")
    return found in expects.split(" or ")


def main() -> None:
    """Print how the imports end, and which of them should not end so."""
    ends: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for mutation in mutations(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
        with tempfile.TemporaryDirectory() as folder:
            found = verdict(mutation, Path(folder))
        ends[found.partition(":")[0]] += 1
        if not is_allowed(mutation.expects, found):
            wrong["traceback" if found.startswith("traceback") else "sentence" if ":" in found else "silent"] += 1
            print(f"{mutation.kind}: {mutation.what}: {found}, expected {mutation.expects}")
    print(f"{ends.total()} mutations: {dict(ends)}; not as they should: {dict(wrong)}")


if __name__ == "__main__":
    main()
