"""Other people's data sets are never perfect: a small valid one, damaged in every way that we could think of.

Each mutation says what must come of it (`Expected`), and the fixation stage is run on it: it ends in one sentence that
names a file, or gives numbers. All are made from the data set itself, in a fixed order, by a seeded choice of rows.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beholder.analysis.gaze.exclusion import exclude
from beholder.analysis.gaze.exclusion import remarks as exclusion_remarks
from beholder.analysis.pipeline.find import find
from beholder.analysis.pipeline.fixation_stage import _missing_trials, _run_fixations, _RunJob
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.errors import BeholderError, DataError
from beholder.shared.gaze import no_samples
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.records import (
    Begin,
    Calibrated,
    ClockReading,
    DriftChecked,
    End,
    FormAnswered,
    Point,
    Record,
    Validated,
)
from beholder.shared.study import CheckSettings, Study, read_study, write_study
from tests.headers import session_header
from tests.watching import outside, watched

# refused: one sentence. unchanged: the same numbers. told: a sentence, or numbers beside a new remark. content: another
# valid content, such as another finite x; a sentence or numbers, but no traceback and nothing that is not finite.
Expected = Literal["refused", "unchanged", "told", "content"]
RATE_HZ, PICTURE_S, DOT_S, SEED = 120.0, 1.0, 0.4, 20
PICTURES = ("bag", "jar", "vase")
GONE = object()  # in the place of a value: the key itself is removed


@dataclass(frozen=True)
class Mutation:
    """A file of the data set, by its path in there, with another content or another name."""

    file: str
    what: str
    expected: Expected
    content: bytes | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.what} ({self.expected})"


# The data set: two recorded participants, the first with both eyes and validations, and one with imported fixations.


def make_data_set(folder: Path) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    for name in PICTURES:
        Image.new("RGB", (400, 300), "#aa8855").save(pictures / f"{name}.png")
    study = folder / "study"
    create_study(study, Study(), pictures)
    record(study, "01", ("left", "right"), validated=True)
    record(study, "02", ("right",), validated=False)
    rows = [
        {
            "trial": trial,
            "stim_file": f"images/{name}.png",
            "fixation": order,
            "onset": 0.1 + 0.3 * (order - 1),
            "duration": 0.15 + 0.03 * order,
            "x_px": 40.0 * order + trial,
            "y_px": 35.0 * order + trial,
        }
        for trial, name in enumerate(PICTURES, start=1)
        for order in (1, 2, 3)
    ]
    publishing.write_fixations(study, "03", pd.DataFrame(rows), {"age": "30"})
    return study


def record(study: Path, participant: str, eyes: tuple[str, ...], *, validated: bool) -> None:
    records = [Record(0.0, ClockReading(0.0, 10.0, 0.0)),
               Record(0.0, FormAnswered({"age": "25", "group": "a"}))]  # fmt: skip
    figures = {"accuracy_deg": 0.4, "accuracy_worst_deg": 0.7, "rms_s2s_deg": 0.1, "sd_deg": 0.2, "loss_percent": 1.0,
               "effective_hz": 118.0, "passed": True}  # fmt: skip
    if validated:
        by_eye = {eye: figures | {"accuracy_deg": 0.3 + 0.2 * n} for n, eye in enumerate(eyes)}
        records.append(Record(0.0, Calibrated(success=True, points=(Point(1, 5, 5),))))
        for begun_s, by in ((0.0, None), (1.0, "A. B.")):
            records.append(Record(begun_s, Validated(begun_s, by_eye, accepted=True, overridden_by=by)))
    at_s, rect = 0.1, {"picture_x_px": 760.0, "picture_y_px": 390.0, "picture_width_px": 400.0,
                       "picture_height_px": 300.0}  # fmt: skip
    for trial, name in enumerate(PICTURES, start=1):
        drift = {"drift_x_deg": 0.1 * trial, "drift_y_deg": 0.0, "drift_deg": 0.1 * trial}
        dot, picture = 2 * trial - 1, 2 * trial
        shown = {"trial": trial, "stim_file": f"images/{name}.png", "exposure": "first"} | rect
        records += [
            Record(at_s, Begin(dot, "dot", trial=trial)),
            Record(at_s + DOT_S, DriftChecked(dot, **drift)),
            Record(at_s + DOT_S, End(dot, "complete", dropped_frames=1)),
            Record(at_s + DOT_S, Begin(picture, "picture", **shown)),
            Record(at_s + DOT_S + PICTURE_S, End(picture, "complete", dropped_frames=0)),
        ]
        at_s += DOT_S + PICTURE_S
    writer = JournalWriter(study, session_header(participant, rate_hz=RATE_HZ, eyes=eyes))
    samples = no_samples(int(RATE_HZ * (at_s + 0.3)))
    time_s = np.arange(len(samples)) / RATE_HZ
    samples["time_s"] = np.round(10 + time_s, 6)
    # A fixation every quarter of a second, at places of their own, on the picture.
    place = (time_s // 0.25).astype(int)
    for eye in eyes:
        samples[f"{eye}_x_px"], samples[f"{eye}_y_px"] = 800 + 67 * place % 320, 420 + 53 * place % 240
        samples[f"{eye}_pupil"] = 3.0
    writer.append_samples(samples)
    writer.append_records(records)
    writer.close()
    publishing.publish(writer.folder)


# The mutations. What must come of each stands beside it.

VALUES: list[Any] = [None, "abc", [120], {}, -5, 0, float("inf"), float("nan"), True, "y" * 5000, [[[1]]], "n/a", GONE]
OF_UNREAD: list[Any] = [None, [[[1]]], GONE]


def never(value: Any) -> bool:
    return False


def left_out(value: Any) -> bool:
    return value is GONE or value is None


def unknown(value: Any) -> bool:
    return left_out(value) or value == "n/a"


def text(value: Any) -> bool:
    return unknown(value) or isinstance(value, str)


def truth(value: Any) -> bool:
    return unknown(value) or value is True


def figure(value: Any) -> bool:
    return unknown(value) or (value == 0 and value is not False)


def described(value: Any) -> bool:
    return unknown(value) or value == {}


# The keys that the analysis reads, and which of VALUES each may have. All others may have any and change nothing.
FIGURES = ("accuracy_deg", "accuracy_worst_deg", "rms_s2s_deg", "sd_deg", "loss_percent", "effective_hz")
OF_VALIDATION = dict.fromkeys(FIGURES, figure) | {
    "passed": truth, "overridden_by": text, "onset_s": lambda value: figure(value) or value == -5,
}  # fmt: skip
READ: dict[str, dict[str, Callable[[Any], bool]]] = {
    "physio": {
        "SamplingFrequency": never, "Columns": never, "RecordedEye": never,
        "timestamp": described, "x_coordinate": described, "y_coordinate": described,
        "timestamp.Units": left_out, "x_coordinate.Units": left_out, "y_coordinate.Units": left_out,
        "Manufacturer": text, "ManufacturersModelName": text, "SoftwareVersions": text,
        "Simulated": truth, "Imported": truth, "CalibrationCount": figure,
        "Validation": described, "Validations": unknown, "Validations.1": described,
    }
    | {f"Validation.{name}": rule for name, rule in OF_VALIDATION.items()}
    | {f"Validations.1.{name}": rule for name, rule in OF_VALIDATION.items()},
    "events": {
        "StimulusPresentation": never, "StimulusPresentation.ScreenDistance": never,
        "StimulusPresentation.ScreenSize": never, "StimulusPresentation.ScreenResolution": never,
        "StimulusPresentation.ScreenOrigin": unknown,
    },
}  # fmt: skip


def of_json(file: str, content: bytes) -> Iterator[Mutation]:
    values = json.loads(content)
    suffix = file.removesuffix(".json").rpartition("_")[2]
    read = READ.get(suffix, {})
    for place in places(values):
        name = ".".join(map(str, place))
        for value in VALUES if name in read else OF_UNREAD:
            expected: Expected = "unchanged" if name not in read else "content" if read[name](value) else "refused"
            shown = "removed" if value is GONE else repr(value)[:20]
            yield Mutation(file, f"{name} = {shown}", expected, json.dumps(with_value(values, place, value)).encode())
    broken: Expected = "refused" if read else "unchanged"
    for what, damaged in (
        ("truncated", content[: len(content) // 2]), ("empty", b""), ("a list", b"[]"), ("a number", b"5"),
        ("null", b"null"), ("deep", b"[" * 100_000), ("deep within", b'{"TaskName": ' + b"[" * 100_000 + b"}"),
        ("UTF-16", content.decode().encode("utf-16")), ("Latin-1", b'{"TaskName": "\xe9"}'),
        ("huge number", b'{"TaskName": 1' + b"0" * 5000 + b"}"),
    ):  # fmt: skip
        yield Mutation(file, what, broken, damaged)
    yield Mutation(file, "with a byte order mark", "unchanged", b"\xef\xbb\xbf" + content)
    if suffix == "physio" or suffix == "events":
        yield Mutation(file, "renamed", "refused", name=f"old-{Path(file).name}")


def places(values: Any) -> Iterator[tuple[str | int, ...]]:
    """Where every key is, of objects within objects too, and the second of a list of objects."""
    for key, value in values.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *deeper) for deeper in places(value))
        elif isinstance(value, list) and len(value) > 1 and isinstance(value[1], dict):
            yield (key, 1)
            yield from ((key, 1, *deeper) for deeper in places(value[1]))


def with_value(values: Any, place: Sequence[str | int], value: Any) -> Any:
    copied = json.loads(json.dumps(values))
    within = copied
    for key in place[:-1]:
        within = within[key]
    if value is GONE:
        del within[place[-1]]
    else:
        within[place[-1]] = value
    return copied


CELLS = ["abc", "", "-5", "0", "1e999", "-inf", "nan", "1.5", "1e30", "n/a", "true", "7"]
NO_NUMBER = {"abc", "", "1e999", "-inf", "nan", "1e30", "true"}  # of a column of numbers, or out of all range
# What a column refuses beyond these, in all rows.
NOT_BELOW_0, WHOLE_FROM_1 = {"-5"}, {"-5", "0", "1.5"}
REFUSED_CELLS: dict[str, set[str]] = {
    "onset": set(), "duration": NOT_BELOW_0, "trial": WHOLE_FROM_1, "fixation": WHOLE_FROM_1,
    "drift_x_deg": set(), "drift_y_deg": set(), "drift_deg": NOT_BELOW_0, "picture_x_px": set(), "picture_y_px": set(),
    "picture_width_px": {"-5", "0"}, "picture_height_px": {"-5", "0"}, "dropped_frames": {"-5", "1.5"}, "rating": set(),
    "x_px": set(), "y_px": set(),
}  # fmt: skip
LEVELS = {"status": {"n/a"}, "exposure": {"n/a"}}  # of CELLS, those that the columns of words allow


def cell_of_events(column: str, cell: str, kind: str) -> Expected:
    if column in REFUSED_CELLS:
        if cell in NO_NUMBER | REFUSED_CELLS[column]:
            return "refused"
        if kind == "dot":
            return "content"
        if cell == "n/a":
            known = {"onset", "duration", "trial"}
            return "refused" if column in known else "told" if column.startswith("picture_") else "content"
        return "content"
    if kind == "dot":
        return "content"
    if column in LEVELS:
        return "unchanged" if cell in LEVELS[column] else "refused"
    return "told"  # the picture's kind of event, and its name


def cell_of_fixations(column: str, cell: str, kind: str) -> Expected:
    if column not in REFUSED_CELLS:
        return "refused" if cell == "n/a" else "told"
    if cell in NO_NUMBER | REFUSED_CELLS[column] or (column, cell) == ("duration", "0"):
        return "refused"
    return "refused" if cell == "n/a" and column != "onset" else "content"


def cell_of_participants(column: str, cell: str, kind: str) -> Expected:
    return "refused" if column == "participant_id" else "unchanged"


def of_table(
    file: str,
    content: bytes,
    rng: np.random.Generator,
    cell: Callable[[str, str, str], Expected],
    needed: dict[str, Expected],
    swaps: dict[tuple[str, str], Expected],
    doubled: dict[str, Expected],
    dropped: Expected,
) -> Iterator[Mutation]:
    names, *rows = [line.split("\t") for line in content.decode().splitlines()]
    kinds = [row[names.index("trial_type")] if "trial_type" in names else "" for row in rows]
    written = partial(as_table, names)
    for kind in sorted(set(kinds)):
        of_kind = [number for number, one in enumerate(kinds) if one == kind]
        for number in sorted(rng.choice(of_kind, min(2, len(of_kind)), replace=False)):
            for column, name in enumerate(names):
                for value in CELLS:
                    if rows[number][column] != value:
                        changed = [*rows[number][:column], value, *rows[number][column + 1 :]]
                        yield Mutation(file, f"line {number + 2}, {name} = {value!r}", cell(name, value, kind),
                                       written([*rows[:number], changed, *rows[number + 1 :]]))  # fmt: skip
            row = rows[number]
            yield Mutation(file, f"line {number + 2} twice", doubled[kind], written([*rows, row]))
            yield Mutation(file, f"line {number + 2} twice, one after the other", doubled[kind],
                           written([*rows[:number], row, *rows[number:]]))  # fmt: skip
            yield Mutation(file, f"line {number + 2} missing", dropped, written([*rows[:number], *rows[number + 1 :]]))
            yield Mutation(file, f"line {number + 2} too short", "refused",
                           written([*rows[:number], row[:-1], *rows[number + 1 :]]))  # fmt: skip
            yield Mutation(file, f"line {number + 2} too long", "refused",
                           written([*rows[:number], [*row, "7"], *rows[number + 1 :]]))  # fmt: skip
    for a, b in zip(range(len(rows) - 1), range(1, len(rows)), strict=True):
        order = [*range(a), b, a, *range(b + 1, len(rows))]
        yield Mutation(file, f"lines {a + 2} and {b + 2} swapped", "unchanged", written([rows[i] for i in order]))
    for column, name in enumerate(names):
        less = [[*row[:column], *row[column + 1 :]] for row in (names, *rows)]
        yield Mutation(file, f"without {name}", needed.get(name, "content"), as_table(less[0], less[1:]))
        renamed = [*names[:column], f"my_{name}", *names[column + 1 :]]
        yield Mutation(file, f"{name} renamed", needed.get(name, "content"), as_table(renamed, rows))
        twice = [[*row, row[column]] for row in (names, *rows)]
        yield Mutation(file, f"{name} twice", "refused", as_table(twice[0], twice[1:]))
    for (one, other), expected in swaps.items():
        swapped = [{one: other, other: one}.get(name, name) for name in names]
        yield Mutation(file, f"{one} and {other} swapped", expected, as_table(swapped, rows))
    for what, expected, damaged in (
        ("UTF-16", "refused", content.decode().encode("utf-16")),
        ("Latin-1", "refused", content + b"\xe9\n"),
        ("cut within its last row", "refused", content[: content.rstrip().rfind(b"\t") - 1]),
        ("with a byte order mark", "unchanged", b"\xef\xbb\xbf" + content),
        ("with Windows line ends", "unchanged", content.replace(b"\n", b"\r\n")),
        ("with an empty last line", "unchanged", content + b"\n"),
        ("comma separated", "refused", content.replace(b"\t", b",")),
    ):  # fmt: skip
        yield Mutation(file, what, expected, damaged)  # type: ignore[arg-type]


def as_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in (names, *rows)).encode()


def of_events(file: str, content: bytes, rng: np.random.Generator) -> Iterator[Mutation]:
    needed: dict[str, Expected] = {"onset": "refused", "duration": "refused", "stim_file": "told"} | {
        f"picture_{side}_px": "told" for side in ("x", "y", "width", "height")
    }
    swaps: dict[tuple[str, str], Expected] = {
        ("onset", "duration"): "refused", ("status", "exposure"): "refused", ("trial_type", "status"): "told",
        ("stim_file", "trial"): "refused", ("trial", "onset"): "refused", ("picture_x_px", "picture_y_px"): "content",
    }  # fmt: skip
    yield from of_table(
        file, content, rng, cell_of_events, needed, swaps, {"picture": "refused", "dot": "unchanged"}, "content"
    )
    yield Mutation(file, "empty", "refused", b"")
    yield Mutation(file, "renamed", "refused", name=f"old-{Path(file).name}")
    names, *rows = [line.split("\t") for line in content.decode().splitlines()]
    at = {name: column for column, name in enumerate(names)}
    for number, row in enumerate(rows):
        if row[at["trial_type"]] == "picture":
            for what, changes in (
                ("under another number", {"trial": "9"}),
                ("at another time", {"onset": f"{float(row[at['onset']]) + 30:.6f}"}),
                ("a little later", {"trial": "9", "onset": f"{float(row[at['onset']]) + 0.2:.6f}"}),
            ):
                again = [changes.get(name, cell) for name, cell in zip(names, row, strict=True)]
                yield Mutation(file, f"line {number + 2} again, {what}", "refused", as_table(names, [*rows, again]))
            for factor in (5, 1000):
                longer = [*row[: at["duration"]], f"{factor * PICTURE_S}", *row[at["duration"] + 1 :]]
                # The last picture may last as long as it likes: what has no gaze is lost, and is told.
                expected: Expected = "told" if number == len(rows) - 1 else "refused"
                yield Mutation(file, f"line {number + 2}, duration times {factor}", expected,
                               as_table(names, [*rows[:number], longer, *rows[number + 1 :]]))  # fmt: skip


def of_fixations(file: str, content: bytes, rng: np.random.Generator) -> Iterator[Mutation]:
    names = content.decode().splitlines()[0].split("\t")
    swaps: dict[tuple[str, str], Expected] = {
        ("onset", "duration"): "refused", ("stim_file", "trial"): "refused", ("onset", "trial"): "refused",
        ("x_px", "y_px"): "content", ("fixation", "x_px"): "content",
    }  # fmt: skip
    needed: dict[str, Expected] = dict.fromkeys(names, "refused")
    yield from of_table(file, content, rng, cell_of_fixations, needed, swaps, {"": "refused"}, "content")
    yield Mutation(file, "empty", "refused", b"")
    yield Mutation(file, "in another's name", "refused", name=Path(file).name.replace("sub-03", "sub-04"))
    yield Mutation(file, "with a foreign name", "refused", name="foo_beh.tsv")


def of_participants(file: str, content: bytes, rng: np.random.Generator) -> Iterator[Mutation]:
    swaps: dict[tuple[str, str], Expected] = {("participant_id", "age"): "refused", ("age", "group"): "unchanged"}
    needed: dict[str, Expected] = {"participant_id": "refused", "age": "unchanged", "group": "unchanged"}
    yield from of_table(file, content, rng, cell_of_participants, needed, swaps, {"": "refused"}, "unchanged")
    yield Mutation(file, "one who has no data", "told", content + b"sub-09\t30\ta\n")


def of_physio(file: str, content: bytes, rng: np.random.Generator) -> Iterator[Mutation]:
    lines = gzip.decompress(content).decode().splitlines()
    rows = [line.split("\t") for line in lines]

    def packed(some: Sequence[Sequence[str]]) -> bytes:
        return gzip.compress("".join("\t".join(row) + "\n" for row in some).encode(), 1, mtime=0)

    for number in (0, *sorted(rng.choice(np.arange(1, len(rows) - 1), 2, replace=False))):
        row, others = rows[number], (rows[:number], rows[number + 1 :])
        for column, name in enumerate(("timestamp", "x_coordinate", "y_coordinate", "pupil_size")):
            for value in CELLS:
                refused = value in {"abc", "", "1e999", "-inf", "true"}
                expected: Expected = "refused" if refused else "unchanged" if name == "pupil_size" else "content"
                if name == "timestamp" and not refused:
                    # A first sample of long ago moves all events: no gaze is left where they say.
                    early = number == 0 and value in ("-5", "0", "1.5", "7")
                    expected = "told" if early else "refused"
                changed = [*row[:column], value, *row[column + 1 :]]
                yield Mutation(file, f"row {number + 1}, {name} = {value!r}", expected,
                               packed([*others[0], changed, *others[1]]))  # fmt: skip
        yield Mutation(file, f"row {number + 1} twice", "refused", packed([*others[0], row, row, *others[1]]))
        yield Mutation(file, f"row {number + 1} missing", "content", packed([*others[0], *others[1]]))
        yield Mutation(file, f"row {number + 1} too short", "refused", packed([*others[0], row[:-1], *others[1]]))
        yield Mutation(file, f"row {number + 1} too long", "refused", packed([*others[0], [*row, "7"], *others[1]]))
        yield Mutation(file, f"row {number + 1} at the end", "refused", packed([*others[0], *others[1], row]))
    for what, expected, some in (
        ("its first row alone", "told", rows[:1]), ("two rows", "told", rows[:2]),
        ("half of it", "told", rows[: len(rows) // 2]),
        ("backwards", "refused", rows[::-1]), ("no rows", "refused", []), ("all of it twice", "refused", rows * 2),
        ("with a header", "refused", [["timestamp", "x_coordinate", "y_coordinate", "pupil_size"], *rows]),
        ("x and time swapped", "refused", [[x, t, *more] for t, x, *more in rows]),
        ("time in ms", "refused", [[str(1000 * float(t)), *more] for t, *more in rows]),
        ("without a column", "refused", [row[:-1] for row in rows]),
    ):  # fmt: skip
        yield Mutation(file, what, expected, packed(some))  # type: ignore[arg-type]
    for what, expected, damaged in (
        ("truncated", "refused", content[: len(content) // 2]), ("empty", "refused", b""),
        ("not compressed", "refused", gzip.decompress(content)),
        ("damaged", "refused", content[:200] + b"\0" + content[201:]),
        ("UTF-16", "refused", gzip.compress("\n".join(lines).encode("utf-16"))),
        ("with Windows line ends", "unchanged", gzip.compress("\r\n".join(lines).encode() + b"\r\n")),
        ("without its last line end", "unchanged", gzip.compress("\n".join(lines).encode())),
    ):  # fmt: skip
        yield Mutation(file, what, expected, damaged)  # type: ignore[arg-type]
    name = Path(file).name
    participant, task = name.split("_")[:2]
    for other, expected in (
        (name.replace(f"{task}_run-1_", ""), "refused"), (f"foo{name.removeprefix(participant)}", "refused"),
        (name.replace(participant, "sub-09"), "refused"), (name.replace("run-1", "run-abc"), "refused"),
        (name.replace(participant, "sub-"), "refused"), (name.replace(f"{participant}_", ""), "refused"),
        (name.replace("recording-eye", "recording-left"), "told"), (name.replace("_physio", "_gaze"), "told"),
        (name.removesuffix(".gz"), "told"), (name.replace("viewing", "reading"), "told"),
    ):  # fmt: skip
        yield Mutation(file, f"renamed {other}", expected, name=other)  # type: ignore[arg-type]


OF_TABLES = {"events.tsv": of_events, "beh.tsv": of_fixations, "participants.tsv": of_participants,
             "physio.tsv.gz": of_physio}  # fmt: skip


def mutations(study: Path) -> list[Mutation]:
    """All of them; one eye's files stand for those of the other, and one participant's events for the other's."""
    rng = np.random.default_rng(SEED)
    files = sorted(
        path
        for path in study.rglob("*")
        if path.is_file()
        and path.suffix in (".json", ".tsv", ".gz")
        and "stimuli" not in path.parts
        and "sub-02" not in path.name
        and "recording-eye2" not in path.name
    )
    found: list[Mutation] = []
    for path in files:
        file, content = path.relative_to(study).as_posix(), path.read_bytes()
        if path.suffix == ".json":
            found += of_json(file, content)
        elif make := OF_TABLES.get(path.name.rpartition("_")[2]):
            found += make(file, content, rng)
    # One that gives the same bytes as another, or as the file has, is no mutation.
    distinct = {(m.file, m.content, m.name): m for m in found if m.name or m.content != (study / m.file).read_bytes()}
    return list(distinct.values())


# Running the fixation stage on each.


@dataclass(frozen=True)
class Numbers:
    """What the fixation stage makes of a data set: its tables, and the remarks."""

    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
    remarks: frozenset[str]

    def equal(self, other: Numbers) -> bool:
        return all(one.equals(another) for one, another in zip(self.tables, other.tables, strict=True))

    def finite(self) -> bool:
        return not any(np.isinf(table.select_dtypes("number")).any(axis=None) for table in self.tables)


class Stage:
    """The stage without its files, and without doing again what has not changed."""

    def __init__(self, study: Path) -> None:
        self.study = study
        self.known: dict[object, Any] = {}

    def numbers(self) -> Numbers:
        study, found = read_study(self.study), find(self.study)
        outcomes = [
            self._outcome(_RunJob(run, imported, found.stimuli, study))
            for imported, runs in ((False, found.recordings), (True, found.imports))
            for run in runs
        ]
        tables = [outcome.fixations for outcome in outcomes]
        trials, fixations = exclude(
            pd.concat([t.trials for t in tables], ignore_index=True),
            pd.concat([t.fixations for t in tables], ignore_index=True),
            study.exclusion,
        )
        remarks = [
            *found.remarks, *exclusion_remarks(trials, study.exclusion), *(r for t in tables for r in t.remarks),
            *_missing_trials(trials, found.stimuli),
        ]  # fmt: skip
        quality = pd.concat([t.quality for t in tables], ignore_index=True)
        return Numbers((fixations, trials, quality), frozenset(map(str, remarks)))

    def _outcome(self, job: Any) -> Any:
        key = job.run, tuple((path.name, path.read_bytes()) for path in sorted(job.run.folder.iterdir()))
        if key not in self.known:
            # The first three are the whole data set's.
            self.known = dict([*self.known.items()][:3])
            self.known[key] = _run_fixations(job)
        return self.known[key]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("mutations"))


def fault(study: Path, mutation: Mutation, stage: Stage, whole: Numbers) -> str:
    """What is wrong with how the mutation ended; empty where nothing is. The data set is as before afterwards."""
    path = study / mutation.file
    content, target = path.read_bytes(), path.with_name(mutation.name or path.name)
    path.unlink()
    target.write_bytes(content if mutation.content is None else mutation.content)
    try:
        found = stage.numbers()
    except BeholderError as refusal:
        return fault_of_sentence(str(refusal), mutation, study)
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    finally:
        target.unlink()
        path.write_bytes(content)
    if not found.finite():
        return "silent: a number is infinite"
    same, told = found.equal(whole), bool(found.remarks - whole.remarks)
    if mutation.expected == "refused":
        return "silent: not refused"
    if mutation.expected == "unchanged" and not same:
        return "silent: other numbers"
    return "silent: neither a sentence nor a remark" if mutation.expected == "told" and not told else ""


def fault_of_sentence(sentence: str, mutation: Mutation, study: Path) -> str:
    if mutation.expected == "unchanged":
        return f"refused: {sentence}"
    # A run's files are described by its JSON and the JSON by its run: either may be named.
    stem = Path(mutation.file).name.partition(".")[0].rpartition("_")[0]
    named = str(study) in sentence and (stem in sentence or (mutation.name and mutation.name in sentence))
    one = "\n" not in sentence and sentence.endswith(".") and not re.search(r"\.\s+[A-Z]", sentence)
    return "" if named and one and len(sentence) < 800 else f"sentence: {sentence}"


def faults(study: Path, some: Sequence[Mutation]) -> list[str]:
    stage = Stage(study)
    whole = stage.numbers()
    with watched() as paths:
        found = [f"{m}: {wrong}" for m in some if (wrong := fault(study, m, stage, whole))]
    return found + [f"written outside of the study: {path}" for path in outside(paths, study)]


def test_the_whole_data_set_gives_fixations_of_everybody(study: Path) -> None:
    whole = Stage(study).numbers()
    fixations, trials, quality = whole.tables
    assert trials["included"].all() and len(trials) == 9 and len(quality) == 3
    assert fixations.groupby("participant")["used"].sum().min() >= 9
    assert whole.remarks == {"sub-02 run-1: no drift"} or not whole.remarks


def test_a_damaged_data_set_ends_in_one_sentence_or_in_numbers_that_are_accounted_for(study: Path) -> None:
    every = mutations(study)
    assert len(every) >= 600
    some = np.random.default_rng(SEED).choice(len(every), 80, replace=False)
    assert faults(study, [every[i] for i in sorted(some)]) == []


def test_pictures_that_overlap_are_analysed_where_the_study_says_that_it_is_meant(tmp_path: Path) -> None:
    study = make_data_set(tmp_path)
    stage = Stage(study)
    before = stage.numbers()
    [events] = study.glob("sub-01/beh/*_events.tsv")
    events.write_text(events.read_text().replace("\t1.0\tpicture", "\t1.5\tpicture"))
    with pytest.raises(DataError, match=r'"overlapping events" to meant in \[checks\] of study\.toml'):
        stage.numbers()
    settings = read_study(study)
    write_study(settings.model_copy(update={"checks": CheckSettings(meant=["overlapping events"])}), study)
    shown_s = [n.tables[1].query("participant == '01'")["shown_s"].tolist() for n in (before, stage.numbers())]
    assert shown_s == [[1.0] * 3, [1.5] * 3]
    assert any('"overlapping events" is meant' in r.text for r in find(study).remarks)


@pytest.mark.slow
def test_so_does_every_mutation(study: Path) -> None:
    assert faults(study, mutations(study)) == []
