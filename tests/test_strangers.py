"""A study that comes from a stranger: whatever it holds, no command writes or deletes outside of it.

`walked` runs everything that writes into a study once, and has Python itself report (PEP 578) each folder and file of
the study that is written or deleted. Then each of them in turn is a link to another person's folder or file, and the
same is run again: it may refuse, in a sentence; what is the other's stays as it is, byte for byte.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beholder.experiment.simulation import simulate
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.withdrawal import withdraw, withdrawal
from beholder.shared.errors import BeholderError, DataError
from beholder.shared.gaze import SAMPLE
from beholder.shared.inside import inside
from beholder.shared.labels import label
from beholder.shared.recording.journal import JournalWriter, journals_folder
from beholder.shared.recording.records import ClockReading, Record
from beholder.shared.recording.transaction import finish_changes
from beholder.shared.study import ObserverSettings, ProtocolSettings, Study
from tests.headers import session_header
from tests.watching import outside, watched


def make_study(folder: Path) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    Image.new("RGB", (64, 48), "#aa8855").save(pictures / "bag-01.png")
    quick, centre = ProtocolSettings(picture_s=0.5), ObserverSettings(map="centre")
    create_study(folder / "study", Study(protocol=quick, observer=centre), pictures)
    return folder / "study"


def leave_journal(study: Path, participant: str, run: int = 1) -> Path:
    writer = JournalWriter(study, session_header(participant, run))
    samples = np.zeros(50, SAMPLE)
    samples["time_s"] = np.arange(50) / 250
    writer.append_samples(samples)
    writer.append_records([Record(0.0, ClockReading(0.0, 0.0, 0.0))])
    (writer.files / "host.edf").write_bytes(b"gaze")
    writer.close()
    return writer.folder


def fixations() -> pd.DataFrame:
    row = {"trial": 1, "stim_file": "images/bag-01.png", "fixation": 1, "onset": 0.2, "duration": 0.25, "x_px": 3.0}
    return pd.DataFrame([row | {"y_px": 1.0}])


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file's bytes and every folder below a folder, links not followed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# --------------------------------------------------------------------------------------------- redo logs of strangers


@dataclass(frozen=True)
class Victim:
    """Somebody's study, and another folder beside it that nothing of ours may touch."""

    study: Path
    folder: Path


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    study = make_study(tmp_path)
    publishing.publish(leave_journal(study, "01"))
    publishing.publish(leave_journal(study, "02"))
    other = tmp_path / "other"
    (other / "sub-01").mkdir(parents=True)
    (other / "thesis.txt").write_text("three years of work")
    (other / "sub-01" / "gaze.tsv").write_text("1\t2\n")
    return Victim(study, other)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "finish": finish_changes,
    "import": lambda study: publishing.write_fixations(study, "07", fixations()),
    "withdraw": lambda study: withdraw(study, "01"),
    "publish": lambda study: publishing.publish(leave_journal(study, "09")),
}


def shipped(study: Path, steps: object, new: bool = True) -> None:
    place = study / ".beholder" / "publish"
    place.mkdir(parents=True)
    if new:
        (place / "new" / "sub-01").mkdir(parents=True)
        (place / "new" / "thesis.txt").write_text("mine now")
    (place / "redo.json").write_text(steps if isinstance(steps, str) else json.dumps(steps))


@pytest.mark.parametrize("command", [c if c == "finish" else pytest.param(c, marks=pytest.mark.slow) for c in COMMANDS])
@pytest.mark.parametrize(
    "path",
    ["{other}", "{other}/thesis.txt", "../other", "../other/thesis.txt", "sub-01/../../other", "./sub-01", "study.toml",
     "sourcedata/sub-01/../../../other", "sourcedata/sub-01/..", "stimuli", ".beholder", "..", ".", "", "sub-01/",
     "sub-01\n", "derivatives", "derivatives/other", "C:\\Users", "sub-01\\..\\..\\other", "~/other"],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["take", "put"])
def test_a_redo_log_that_names_another_place_is_refused_before_anything_is_touched(
    victim: Victim, command: str, path: str, verb: str
) -> None:
    # A step that is as it should be comes first: it is not done either.
    shipped(victim.study, [["take", "sub-02"], [verb, path.format(other=victim.folder)]])
    journal = journals_folder(victim.study) / "sub-09_run-1"
    before, mine = content(victim.folder), content(victim.study)
    with pytest.raises(DataError, match=r"redo\.json holds the step .*nothing was touched"):
        COMMANDS[command](victim.study)
    assert content(victim.folder) == before
    after = {name: data for name, data in content(victim.study).items() if journal.name not in name}
    assert {name for name in {*after, *mine} if after.get(name) != mine.get(name)} <= {
        ".beholder/publish.lock", ".beholder/analysis.lock", ".beholder/journal"
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_such_a_log(victim: Victim, command: str) -> None:
    shipped(victim.study, [["take", "../other"]])
    before = content(victim.folder)
    with pytest.raises(DataError, match=r"redo\.json holds the step .*nothing was touched"):
        COMMANDS[command](victim.study)
    assert content(victim.folder) == before


@pytest.mark.parametrize(
    "log",
    ['{"take": "sub-01"}', '"take"', "7", "null", "[7]", '[["take"]]', '[["take", 7]]', '[["delete", "sub-01"]]',
     '[["take", "sub-01", "sub-02"]]', "[" * 100_000, '[["take", "sub-01"]', "\x00"],
    ids=lambda log: log[:20],
)  # fmt: skip
def test_a_redo_log_that_is_none_is_one_sentence(victim: Victim, log: str) -> None:
    shipped(victim.study, log)
    with pytest.raises(DataError, match=r"redo\.json"):
        finish_changes(victim.study)
    assert (victim.study / "sub-01").is_dir()


def test_a_redo_log_does_not_follow_a_link_out(victim: Victim) -> None:
    (victim.study / "derivatives").symlink_to(victim.folder)
    (victim.folder / "beholder").mkdir()
    (victim.folder / "beholder" / "thesis.txt").write_text("another copy")
    shipped(victim.study, [["take", "derivatives/beholder"]])
    before = content(victim.folder)
    with pytest.raises(DataError, match="lies outside of the study"):
        finish_changes(victim.study)
    assert content(victim.folder) == before


# ------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "name",
    ["01/../../other", "../other", "*", "0?", "[0-9]*", "01/beh", "01\\beh", "", "sub-", "sub-*", "pooled", "Pooled",
     "everybody", "1" * 51, "٣", "ä", "01 ", "0\n", "01_run-1"],
)  # fmt: skip
def test_only_letters_and_digits_are_withdrawn_imported_or_recorded(victim: Victim, name: str) -> None:
    writer = JournalWriter(victim.study, session_header("03"))
    (victim.study / "sub-01_run-1").mkdir()
    before, mine = content(victim.folder), content(victim.study)
    acts: list[Callable[[], object]] = [
        lambda: withdrawal(victim.study, name), lambda: withdraw(victim.study, name), lambda: label(name),
        lambda: publishing.write_fixations(victim.study, name, fixations()),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(DataError, match=r"a label (is made|has at most)|several participants"):
            act()
    writer.close()
    assert content(victim.folder) == before
    assert {name for name, data in content(victim.study).items() if mine.get(name, b"") != data} <= {
        ".beholder/journal/sub-03_run-1"
    }


# -------------------------------------------------------------------------------------------------------------- links


def test_inside_takes_what_is_in_the_study_and_nothing_that_a_link_leads_out_to(tmp_path: Path) -> None:
    study, other = tmp_path / "study", tmp_path / "study-2"
    for folder in (study / "a", other):
        folder.mkdir(parents=True)
    (tmp_path / "door").symlink_to(study)
    (study / "out").symlink_to(other)
    (study / "in").symlink_to(study / "a")
    (study / "gone").symlink_to(tmp_path / "nowhere")
    (study / "round").symlink_to(study / "round")
    for path in ("a", "a/new/deep.tsv", "in/file", "new", "."):
        assert inside(study, study / path) == study / path
        assert inside(tmp_path / "door", tmp_path / "door" / path)
    for path in ("out", "out/file", "gone", "gone/x", "..", "a/../../study-2", "../study-2"):
        with pytest.raises(DataError, match="lies outside of the study"):
            inside(study, study / path)


def nothing(study: Path) -> None:
    pass


def _two_published(study: Path) -> None:
    for name in ("01", "02"):
        publishing.publish(leave_journal(study, name))


def _everything_of_one(study: Path) -> None:
    _two_published(study)
    publishing.write_fixations(study, "07", fixations())
    leave_journal(study, "01", 2)
    (study / "derivatives" / "beholder").mkdir(parents=True)
    (study / "derivatives" / "beholder" / "report.html").write_text("pooled")
    (study / "sourcedata" / "imports.json").write_text(
        '[{"about": "sub-01", "text": "x"}, {"about": "y", "text": "z"}]'
    )


def _a_change_in_its_midst(study: Path) -> None:
    _two_published(study)

    class Killed(BaseException):
        pass

    def die(step: str) -> None:
        if step == "put sub-03":
            raise Killed

    with suppress(Killed):
        publishing.publish(leave_journal(study, "03"), die)


# What a study holds beforehand, and what is then done with it; together they reach every function that writes into one.
WALKED: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "record": (nothing, lambda study: leave_journal(study, "01")),
    "publish": (lambda study: leave_journal(study, "01") and None, publishing.recover),
    "a second run": (_two_published, lambda study: publishing.publish(leave_journal(study, "01", 2))),
    "recover a change": (_a_change_in_its_midst, publishing.recover),
    "import": (_two_published, lambda study: publishing.write_fixations(study, "07", fixations())),
    "withdraw": (_everything_of_one, lambda study: withdraw(study, "01")),
    "simulate": (nothing, lambda study: simulate(study, 1, 1, workers=1)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "simulate" else name for name in WALKED]
)
def test_no_link_leads_what_is_written_or_deleted_out_of_the_study(name: str, tmp_path: Path) -> None:
    prepare, act = WALKED[name]
    study = make_study(tmp_path / "first")
    prepare(study)
    there = {path.relative_to(study) for path in study.rglob("*")}
    shutil.copytree(study, tmp_path / "prepared")
    with watched() as paths:
        act(study)
    touched = {path.relative_to(study) for path in paths if path.is_relative_to(study)} - {Path()}
    assert touched, "nothing was seen to be written"
    assert not outside(paths, study)
    places = sorted({*touched, *(above for path in touched for above in path.parents)} - {Path()})
    tried = 0
    for number, place in enumerate(places):
        copy, other = tmp_path / f"study-{number}", tmp_path / f"other-{number}"
        shutil.copytree(tmp_path / "prepared", copy, symlinks=True)
        (copy / place.parent).mkdir(parents=True, exist_ok=True)
        target = other / "theirs"
        other.mkdir()
        if place in there:
            shutil.move(copy / place, target)
        elif not any(place in path.parents for path in touched):
            target.write_bytes(b"theirs")
        else:
            target.mkdir()
            (target / "theirs.txt").write_bytes(b"theirs")
        (copy / place).symlink_to(target)
        before = content(other)
        with suppress(BeholderError):
            act(copy)
        assert content(other) == before, place
        shutil.rmtree(copy)
        tried += 1
    assert tried >= 2
