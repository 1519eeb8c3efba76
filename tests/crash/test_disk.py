"""A disk that is full, read-only or does not answer: the operator is told at once, and nothing that was seen is lost.

Whole simulated sessions at twenty times their speed. Small disks are mounted for them, which takes root's rights:
elsewhere `unshare --user --map-root-user --mount .venv/bin/python -m pytest tests/crash/test_disk.py` has them.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.experiment import headless
from beholder.experiment import recorder as recording
from beholder.experiment.devices import Picture, Shape
from beholder.experiment.plan import plan_from_disk
from beholder.experiment.recorder import Recorder
from beholder.experiment.session import run_session as door
from beholder.experiment.session.parts import Pace
from beholder.experiment.session.run_session import run_session
from beholder.experiment.simulation import SimulatedSession, simulated_session, simulation_facts
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import DataError
from beholder.shared.recording.journal import RESERVE, JournalWriter, _GrowingFile, journals
from beholder.shared.recording.transaction import finish_changes
from beholder.shared.study import ObserverSettings, PictureSettings, ProtocolSettings, ScreenSettings, Study, read_study
from beholder.shared.tables import read_events
from tests.headers import session_header

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="mounts small disks: run these tests on Linux"),
]
SPEED = 20.0
TIMEOUT_S = 120.0


class FastClock:
    """Twenty seconds of a session pass in one."""

    def __init__(self) -> None:
        self._zero_s = time.perf_counter()

    def now_s(self) -> float:
        return (time.perf_counter() - self._zero_s) * SPEED

    def sleep_until_s(self, time_s: float) -> None:
        time.sleep(max(0.0, time_s - self.now_s()) / SPEED)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(
            f"a small disk cannot be mounted ({done.stderr.strip()}): run as root, or under unshare (see above)"
        )
    yield place
    remount(place, "rw")
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def fill(place: Path) -> None:
    """Take all the room there is."""
    with (place / f"filler-{time.monotonic_ns()}").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2


def make_room(place: Path) -> None:
    for file in place.glob("filler-*"):
        file.unlink()


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[[Path], Path]:
    def make(parent: Path) -> Path:
        for number in range(3):
            picture = tmp_path / "pictures" / f"bag-{number}.png"
            picture.parent.mkdir(exist_ok=True)
            Image.new("RGB", (64, 48), (60 * number, 128, 128)).save(picture)
        study = Study(
            screen=ScreenSettings(),
            pictures=PictureSettings(size_deg=15.0),
            protocol=ProtocolSettings(dot_s=2.0, picture_s=4.0, form=[]),
            observer=ObserverSettings(map="centre"),
        )
        create_study(parent / "study", study, tmp_path / "pictures")
        return parent / "study"

    return make


class Lab:
    """A simulated session in which something happens when the second picture comes."""

    def __init__(self, folder: Path, happens: Callable[[], None], participant: str = "01") -> None:
        study = read_study(folder)
        plan = plan_from_disk(folder, participant)
        self.session: SimulatedSession = simulated_session(folder, study, plan, simulation_facts(folder, study, 1))
        self.seen: list[np.ndarray] = []
        self.told: list[str] = []
        happened = False
        pictures = 0
        watch, read, show = self.session.display.watcher, self.session.tracker.read, self.session.operator.show

        def watching(onset_s: float, scene: Sequence[Shape]) -> None:
            nonlocal pictures, happened
            watch(onset_s, scene)
            pictures += any(isinstance(shape, Picture) for shape in scene)
            if pictures == 2 and not happened:
                happened = True
                happens()

        def reading() -> Any:
            batch = read()
            self.seen.append(batch.samples["time_s"])
            return batch

        def showing(status: Any) -> None:
            show(status)
            self.told += status.notices

        self.session.display.watcher = watching
        self.session.tracker.read = reading  # type: ignore[method-assign]
        self.session.operator.show = showing  # type: ignore[method-assign]

    def run(self) -> None:
        """As in a lab, with a sync each second."""
        s = self.session
        run_session(s, Pace(pump_every_s=0.2))

    def times_s(self) -> np.ndarray:
        """Of all samples that the session had from its tracker."""
        return np.concatenate(self.seen)


def assert_all_there(folder: Path, times_s: np.ndarray) -> None:
    (run,) = runs(folder)
    np.testing.assert_allclose(read_recording(run).samples["time_s"], times_s, rtol=0, atol=1e-6)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(headless, "VirtualClock", FastClock)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))


# Full.


def test_a_disk_that_fills_up_ends_the_session_and_everything_is_published_by_the_room_that_was_held(
    small_disk: Path, make_study: Callable[[Path], Path], assert_valid: Callable[[Path], None]
) -> None:
    folder = make_study(small_disk)
    lab = Lab(folder, lambda: fill(small_disk))
    with pytest.raises(DataError, match="no room left on its disk"):
        lab.run()
    assert any("no room left on its disk" in text for text in lab.told), lab.told
    assert_valid(folder)
    assert_all_there(folder, lab.times_s())
    status = read_events(runs(folder)[0].events_file).query("trial_type == 'picture'")["status"]
    assert status.tolist() == ["complete", "aborted"]
    assert journals(folder) == ()
    make_room(small_disk)


def test_what_cannot_be_published_on_a_full_disk_stays_whole_in_its_journal_until_there_is_room(
    small_disk: Path,
    make_study: Callable[[Path], Path],
    assert_valid: Callable[[Path], None],
    visible: Callable[[Path], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_study(small_disk)
    before = visible(folder)

    def publish_when_full(journal: Path) -> Any:
        fill(small_disk)
        return publishing.publish(journal)

    monkeypatch.setattr(door, "publish", publish_when_full)
    lab = Lab(folder, lambda: fill(small_disk))
    with pytest.raises(DataError, match="no room left on its disk") as raised:
        lab.run()
    if sys.version_info >= (3, 11):
        assert "nothing is lost; make room" in "".join(raised.value.__notes__)
    assert visible(folder) == before
    assert_valid(folder)
    # Started again on the full disk, it says so and changes nothing.
    (remark,) = publishing.recover(folder)
    assert "could not be recovered, and is kept as it is" in str(remark)
    assert visible(folder) == before
    make_room(small_disk)
    publishing.recover(folder)
    assert_valid(folder)
    assert_all_there(folder, lab.times_s())
    assert journals(folder) == ()
    assert not (folder / ".beholder" / "publish").exists()


def test_with_any_little_room_a_change_happens_whole_or_not_at_all(
    small_disk: Path,
    make_study: Callable[[Path], Path],
    leave_journal_in: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    visible: Callable[[Path], dict[str, bytes]],
) -> None:
    folder = make_study(small_disk)
    Lab(folder, lambda: None).run()
    before = visible(folder)
    journal = leave_journal_in(folder, "02")
    for pages in range(400):
        make_room(small_disk)
        finish_changes(folder)
        (small_disk / "room").write_bytes(b"1" * (pages * os.sysconf("SC_PAGE_SIZE")))
        fill(small_disk)
        (small_disk / "room").unlink()
        try:
            publishing.publish(journal)
            break
        except DataError as error:
            assert "nothing is lost" in str(error)
        assert visible(folder) == before
        assert journal.exists()
    assert pages > 10
    assert len(runs(folder)) == 2
    assert_valid(folder)
    assert not (folder / ".beholder" / "publish").exists()


@pytest.fixture
def leave_journal_in() -> Callable[..., Path]:
    """A session's journal, without publishing it."""

    def leave(folder: Path, participant: str = "01") -> Path:
        lab = Lab(folder, lambda: None, participant)
        s = lab.session
        publish, door.publish = door.publish, lambda journal: ()  # type: ignore[attr-defined]
        try:
            lab.run()
        finally:
            door.publish = publish  # type: ignore[attr-defined]
        assert s.display.closed
        return journals(folder)[0].folder

    return leave


def test_of_a_small_disk_only_a_part_is_held(small_disk: Path) -> None:
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    writer = JournalWriter(small_disk, session_header())
    held = (writer.folder / RESERVE).stat()
    assert free / 10 < held.st_blocks * 512 <= free / 7
    writer.close()
    assert not (writer.folder / RESERVE).exists()


# Read-only.


def test_a_read_only_folder_is_told_before_anybody_sits_down_and_leaves_journals_as_they_are(
    small_disk: Path,
    make_study: Callable[[Path], Path],
    leave_journal_in: Callable[..., Path],
    assert_valid: Callable[[Path], None],
) -> None:
    folder = make_study(small_disk)
    journal = leave_journal_in(folder)
    remount(small_disk, "ro")
    (remark,) = publishing.recover(folder)
    assert "could not be recovered, and is kept as it is" in str(remark)
    with pytest.raises(DataError, match=r"Read-only file system.*writable"):
        JournalWriter(folder, session_header("02"))
    with pytest.raises(DataError, match=r"Read-only file system.*writable"):
        publishing.publish(journal)
    remount(small_disk, "rw")
    publishing.recover(folder)
    assert_valid(folder)
    assert len(runs(folder)) == 1


def test_a_folder_that_becomes_read_only_in_mid_session_costs_nothing_of_what_was_seen(
    study_elsewhere: Path, monkeypatch: pytest.MonkeyPatch, assert_valid: Callable[[Path], None]
) -> None:
    # A real one cannot be made so while files are open: the answers are put in its mouth.
    monkeypatch.setattr(recording, "GIVE_UP_AFTER_S", 0.5)
    read_only = threading.Event()
    flush = _GrowingFile.flush

    def refusing(self: _GrowingFile) -> None:
        if read_only.is_set():
            raise OSError(errno.EROFS, "Read-only file system")
        flush(self)

    monkeypatch.setattr(_GrowingFile, "flush", refusing)
    lab = Lab(study_elsewhere, read_only.set)
    with pytest.raises(DataError, match="Read-only file system"):
        lab.run()
    assert any("Read-only file system" in text for text in lab.told), lab.told
    # It was published from what had been saved elsewhere, since only the journal's files refused.
    assert_valid(study_elsewhere)
    assert_all_there(study_elsewhere, lab.times_s())
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


# Not answering.


@pytest.fixture
def study_elsewhere(make_study: Callable[[Path], Path], tmp_path: Path) -> Path:
    return make_study(tmp_path)


@pytest.mark.parametrize("stuck_in", ["write", "sync"])
def test_a_session_goes_on_while_its_disk_does_not_answer_and_loses_nothing_when_the_process_ends(
    study_elsewhere: Path, monkeypatch: pytest.MonkeyPatch, assert_valid: Callable[[Path], None], stuck_in: str
) -> None:
    folder = study_elsewhere
    monkeypatch.setattr(recording, "SLOW_AFTER_S", 0.2)
    close = Recorder.close
    monkeypatch.setattr(Recorder, "close", lambda self: close(self, 0.5))
    stuck = threading.Event()
    flush, fsync = _GrowingFile.flush, os.fsync

    def for_ever() -> None:
        if stuck.is_set() and threading.current_thread().name == "recorder":
            threading.Event().wait()

    if stuck_in == "write":
        monkeypatch.setattr(_GrowingFile, "flush", lambda self: (for_ever(), flush(self)))
    else:
        monkeypatch.setattr(os, "fsync", lambda handle: (for_ever(), fsync(handle)))
    result = folder.parent / "seen.npy"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            lab = Lab(folder, stuck.set)
            lab.run()
            np.save(result, lab.times_s())
            (folder.parent / "told").write_text("\n".join(lab.told))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    give_up_s = time.monotonic() + TIMEOUT_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    assert ended[1] == 0
    assert "has not answered" in (folder.parent / "told").read_text()
    (state,) = journals(folder)
    assert not state.running
    told = [str(remark) for remark in publishing.recover(folder)]
    assert any("that its disk refused have been joined" in text for text in told), told
    assert_valid(folder)
    assert_all_there(folder, np.load(result))
    events = read_events(runs(folder)[0].events_file).query("trial_type == 'picture'")
    # All pictures were shown to the end, each for its time, though the disk was silent from the second on.
    assert events["status"].tolist() == ["complete"] * 3
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
