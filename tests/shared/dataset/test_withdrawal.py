"""Claims of `shared.withdrawal`: everything of a participant goes, and is looked for again, whatever cuts it short."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from beholder.shared.dataset import publishing, withdrawal
from beholder.shared.dataset.making import create_study
from beholder.shared.errors import DataError, StudyError
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.records import ClockReading, Record
from beholder.shared.study import Study
from tests.headers import session_header

NOTED = [
    {"about": "participant Anna Schmidt", "text": "is called 01 in the study"},
    {"about": "Anna Schmidt.asc", "text": "12 of 300 samples lie off the screen"},
    {"about": "sub-01", "text": "its clock stood still"},
    {"about": "jar-01.png", "text": "was shown to nobody"},
    {"about": "sub-011", "text": "2 blinks of 01 s"},
]


class Killed(BaseException):
    """Stands for the end of the process."""


def record(study: Path, participant: str, run: int = 1) -> JournalWriter:
    writer = JournalWriter(study, session_header(participant, run))
    samples = np.zeros(20, SAMPLE)
    samples["time_s"] = np.arange(20) / 250
    writer.append_samples(samples)
    writer.append_records([Record(0.0, ClockReading(0.0, 0.0, 0.0))])
    return writer


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two participants, a journal and something in the temporary folder of each, results, and remarks of imports."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("os.fsync", lambda file: None)
    Image.new("RGB", (64, 48), "#aa8855").save(tmp_path / "pictures" / "bag-01.png")
    folder = tmp_path / "study"
    create_study(folder, Study(), tmp_path / "pictures")
    for name in ("01", "02"):
        writer = record(folder, name)
        writer.close()
        publishing.publish(writer.folder)
        writer = record(folder, name, 2)
        writer.save_elsewhere()
        writer.close()
    (folder / "derivatives" / "beholder").mkdir(parents=True)
    (folder / "derivatives" / "beholder" / "report.html").write_text("pooled over sub-01 and sub-02")
    (folder / "sourcedata" / "imports.json").write_text(json.dumps(NOTED))
    return folder


def test_nothing_of_the_participant_is_left_and_all_of_the_other_is(study: Path) -> None:
    temporary = study.parent / "temporary"
    assert len(list(temporary.iterdir())) == 2
    listed = withdrawal.withdrawal(study, "01")
    assert {path.name for path in listed} >= {"imports.json", "sub-01", "participants.tsv", "beholder"}
    done = withdrawal.withdraw(study, "01")
    assert done.deleted == tuple(listed)
    assert done.left == ()
    assert done.searched > 5
    (saved,) = temporary.iterdir()
    assert '"participant": "02"' in (saved / "session.json").read_text()
    assert json.loads((study / "sourcedata" / "imports.json").read_text()) == NOTED[3:]
    assert not (study / "derivatives" / "beholder").exists()
    names = [path.relative_to(study).as_posix() for path in study.rglob("*")]
    assert [name for name in names if "sub-01" in name] == []
    assert "sub-02/beh" in names
    assert ".beholder/journal/sub-02_run-2" in names
    assert not (study / ".beholder" / "withdrawing").exists()


def test_what_still_names_them_is_told_by_name_and_content_and_packed_content(study: Path) -> None:
    mine = {
        "notes/sub-01_odd.txt": b"slept", "notes/list.csv": b"participant\nx\nsub-01,tired\n",
        "notes/said.json": b'{"participant": "01", "age": 3}', "notes/mail.txt": b"Dear ANNA SCHMIDT, thank you",
        "notes/packed.tsv.gz": gzip.compress(b"1\tparticipant 01 left\n"),
    }  # fmt: skip
    others = {"notes/fine.txt": b"sub-011, sub-02, 01, participant 011", "notes/joanna schmidtke.txt": b"no"}
    for name, data in {**mine, **others}.items():
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_bytes(data)
    done = withdrawal.withdraw(study, "01")
    assert {path.relative_to(study).as_posix() for path in done.left} == set(mine)
    assert (study / "notes" / "mail.txt").exists()


def test_another_name_is_searched_for_when_it_is_given(study: Path) -> None:
    (study / "notes.txt").write_text("Bo was late; Bartholomew was not")
    assert withdrawal.withdraw(study, "02", names=["Bartholomew"]).left == (study / "notes.txt",)


def test_no_analysis_runs_meanwhile(study: Path) -> None:
    with FileLock(study / ".beholder" / "analysis.lock"), pytest.raises(StudyError, match="being analysed by another"):
        withdrawal.withdraw(study, "01")
    assert (study / "sub-01").exists()


def test_who_is_not_there_is_told_with_those_who_are(study: Path) -> None:
    with pytest.raises(DataError, match=r'nothing of a participant "07".*there are 01, 02'):
        withdrawal.withdraw(study, "07")


def test_repeated_after_a_kill_at_any_step_it_is_done_and_ends_as_if_undisturbed(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def killed(copy: Path, last: int) -> bool:
        steps: list[str] = []

        def die(step: str) -> None:
            steps.append(step)
            if len(steps) > last:
                raise Killed

        try:
            withdrawal.withdraw(copy, "01", before_step=die)
        except Killed:
            return True
        return False

    undisturbed = study.with_name("undisturbed")
    shutil.copytree(study, undisturbed)
    saved = study.parent / "temporary"
    shutil.copytree(saved, study.parent / "saved")
    withdrawal.withdraw(undisturbed, "01")
    for number in range(100):
        copy = study.with_name(f"killed-{number}")
        shutil.copytree(study, copy)
        shutil.rmtree(saved)
        shutil.copytree(study.parent / "saved", saved)
        if not killed(copy, number):
            break
        assert withdrawal.withdraw(copy, "01").left == ()
        assert state(copy) == state(undisturbed)
        assert len(list(saved.iterdir())) == 1
    assert number > 12

    # The search comes after the last step of the change.
    search = withdrawal.traces

    def die_searching(*args: object) -> None:
        raise Killed

    monkeypatch.setattr(withdrawal, "traces", die_searching)
    with pytest.raises(Killed):
        withdrawal.withdraw(study, "01")
    monkeypatch.setattr(withdrawal, "traces", search)
    assert withdrawal.withdraw(study, "01").left == ()
    assert state(study) == state(undisturbed)
    with pytest.raises(DataError, match="if they were withdrawn before, that is done"):
        withdrawal.withdraw(study, "01")


@pytest.mark.parametrize("text", ["[", "7", '["a"]', "[" * 100_000], ids=lambda text: text[:5])
def test_remarks_of_imports_that_cannot_be_read_are_one_sentence(study: Path, text: str) -> None:
    (study / "sourcedata" / "imports.json").write_text(text)
    with pytest.raises(DataError, match=r"imports\.json"):
        withdrawal.withdraw(study, "01")
    assert (study / "sub-01").exists()


@pytest.mark.parametrize("key", ["../../study", "/etc", "*", "", "x" * 16, None, 7, ["a"]])
def test_a_journal_of_a_stranger_has_no_key_that_leads_anywhere(study: Path, key: object) -> None:
    header = study / ".beholder" / "journal" / "sub-01_run-2" / "session.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "key": key}))
    before = sorted((study.parent / "temporary").iterdir())
    withdrawal.withdraw(study, "01")
    assert sorted((study.parent / "temporary").iterdir()) == before
