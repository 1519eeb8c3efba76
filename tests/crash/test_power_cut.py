"""When the power fails, what was synced is there and the data set is whole, whatever the disk had not written yet.

A process does the work on a watched folder and never syncs for real: at every sync and before every change of names it
is noted what a disk would hold if the power failed just then. Three disks are imagined, all of which drop whatever was
written into a file since its last sync:

    kind     names of files and folders are on the disk at once, in order (a journalling file system)
    harsh    a name made or renamed since the last sync of its folder is gone, a rename as a whole; removals stay
    hardest  the same, and what was removed since the last sync of its folder is back

Each of these states is built, shown to the validator, recovered, and shown again.
"""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.recfunctions import structured_to_unstructured

from beholder.shared.dataset import publishing, withdrawal
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import SAMPLES, JournalWriter, journals, read_journal
from beholder.shared.recording.records import Begin, MessageSent, Record
from tests.headers import session_header

DISKS = ("kind", "harsh", "hardest")
# By relative path: a file's bytes, or None for a folder.
State = dict[str, "bytes | None"]
Act = Callable[[Path, Callable[[Any], None]], object]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the watched disk reads /proc: run these tests on Linux"),
]


@dataclass
class WatchedDisk:
    """What is on the disk for sure, by inode; what lay in the folder at first is."""

    root: Path
    content: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    # (from folder, name, what) -> to folder, which has not been synced since.
    _renamed: dict[tuple[int, str, int], int] = field(default_factory=dict)
    # An inode that is open is not given to another file.
    _open: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = self.tree()
        for inode in self._open:
            if inode not in self.names:
                self.synced(self._open[inode])

    def tree(self) -> dict[int, dict[str, int]]:
        """The names that are in each folder now."""
        found: dict[int, dict[str, int]] = {}
        for folder, _, _ in os.walk(self.root):
            found[self._inode(Path(folder))] = {path.name: self._inode(path) for path in Path(folder).iterdir()}
        return found

    def _inode(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self._open:
            self._open[inode] = os.open(path, os.O_RDONLY)
        return inode

    def synced(self, handle: int) -> None:
        """A file or folder has been synced."""
        what, place = os.fstat(handle), Path(f"/proc/self/fd/{handle}")
        if stat.S_ISDIR(what.st_mode):
            folder = place.resolve()
            self.names[what.st_ino] = {path.name: self._inode(path) for path in folder.iterdir()}
            for (source, name, inode), target in list(self._renamed.items()):
                if target == what.st_ino:
                    del self._renamed[source, name, inode]
                    if self.names.get(source, {}).get(name) == inode:
                        del self.names[source][name]
        else:
            self.content[what.st_ino] = place.read_bytes()

    def renames(self, source: Path, target: Path) -> None:
        """A name is about to be changed."""
        if source.exists():
            self._renamed[self._inode(source.parent), source.name, self._inode(source)] = self._inode(target.parent)

    def after_power_cut(self, disk: str) -> State:
        """What the folder holds when the power comes back."""
        now = self.tree()
        names = now if disk == "kind" else {inode: self._surviving(inode, now, disk) for inode in self.names}
        state: State = {}

        def build(folder: int, path: str) -> None:
            for name, inode in names.get(folder, {}).items():
                if stat.S_ISDIR(os.fstat(self._open[inode]).st_mode):
                    state[path + name] = None
                    build(inode, f"{path}{name}/")
                else:
                    state[path + name] = self.content.get(inode, b"")

        build(self._inode(self.root), "")
        return state

    def _surviving(self, folder: int, now: dict[int, dict[str, int]], disk: str) -> dict[str, int]:
        current, kept = now.get(folder, {}), {}
        for name, inode in self.names[folder].items():
            # Still here; or another has its name, but that is not on the disk; or it was renamed, likewise.
            pending = name in current or (folder, name, inode) in self._renamed
            if pending or folder not in now or disk == "hardest":
                kept[name] = inode
        return kept


CHANGES_OF_NAMES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link")


def power_cuts(study: Path, act: Act) -> Iterator[tuple[State, Any]]:
    """Do `act` in a process of its own; each state that a power cut could leave, with what was promised by then.

    `act` is handed the study and a function by which it says what it has promised.
    """
    found = study.with_name("power-cuts.pickle")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            found.write_bytes(pickle.dumps(_watched(study, act)))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    yield from pickle.loads(found.read_bytes())


def _watched(study: Path, act: Act) -> list[tuple[State, Any]]:
    disk = WatchedDisk(study)
    states: dict[bytes, tuple[State, Any]] = {}
    promised: Any = None
    watching = True

    def note() -> None:
        nonlocal watching
        watching = False
        for kind in DISKS:
            state = disk.after_power_cut(kind)
            states[pickle.dumps((sorted(state.items()), promised))] = (state, promised)
        watching = True

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal watching
        if watching and event in CHANGES_OF_NAMES:
            note()
        if watching and event == "os.rename":
            watching = False
            disk.renames(Path(arguments[0]), Path(arguments[1]))
            watching = True

    def fsync(handle: Any) -> None:
        nonlocal watching
        watching = False
        disk.synced(handle if isinstance(handle, int) else handle.fileno())
        note()

    def promise(what: Any) -> None:
        nonlocal promised
        promised = what
        note()

    os.fsync = fsync
    sys.addaudithook(heard)
    act(study, promise)
    note()
    watching = False
    return list(states.values())


@pytest.fixture
def built(tmp_path: Path) -> Callable[[State], Path]:
    """A folder with a state in it; the one before is removed."""

    def build(state: State) -> Path:
        folder = tmp_path / "after"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in state.items():
            if content is None:
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return folder

    return build


def numbered(first: int, last: int) -> np.ndarray:
    samples = np.zeros(last - first, SAMPLE)
    samples["time_s"] = np.arange(first, last) / 250
    samples["left_pupil"] = np.arange(first, last)
    return samples


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_what_a_journal_synced_is_recovered_after_a_power_cut(
    study: Path,
    leave_journal: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    visible: Callable[[Path], dict[str, bytes]],
    built: Callable[[State], Path],
) -> None:
    publishing.publish(leave_journal("02"))
    earlier = {name: data for name, data in visible(study).items() if "sub-02" in name}

    def record(study: Path, promise: Callable[[Any], None]) -> None:
        writer = JournalWriter(study, session_header())
        for number in range(4):
            writer.append_records([Record(0.4 * number, MessageSent(f"second {number}"))])
            if number == 1:
                writer.append_records([Record(0.4, Begin(1, "dot", trial=1))])
            writer.append_samples(numbered(100 * number, 100 * number + 60))
            writer.flush()
            writer.append_samples(numbered(100 * number + 60, 100 * number + 100))
            writer.sync()
            promise(100 * (number + 1))
        writer.append_samples(numbered(400, 450))
        writer.close()
        promise(450)

    counts = []
    for state, promised in power_cuts(study, record):
        folder = built(state)
        assert_valid(folder)
        publishing.recover(folder)
        assert_valid(folder)
        assert journals(folder) == ()
        assert {name: data for name, data in visible(folder).items() if "sub-02" in name} == earlier
        found = [run for run in runs(folder) if run.participant == "01"]
        samples = read_recording(found[0]).samples if found else numbered(0, 0)
        assert len(samples) >= (promised or 0)
        np.testing.assert_array_equal(samples["left_pupil"], np.arange(len(samples)))
        if found and promised and promised >= 200:
            assert read_recording(found[0]).events["status"].tolist() == ["aborted"]
        counts.append(len(samples))
    assert {0, 100, 200, 300, 400, 450} <= set(counts)


@pytest.mark.usefixtures("no_waiting_for_the_disk")
@pytest.mark.parametrize("earlier", [(), ("02",), ("01", "02")], ids=["first participant", "another", "a second run"])
@pytest.mark.parametrize("began", [False, True], ids=["publish", "recover a change that was cut short"])
def test_a_power_cut_while_publishing_loses_nothing(
    study: Path,
    leave_journal: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    visible: Callable[[Path], dict[str, bytes]],
    built: Callable[[State], Path],
    earlier: tuple[str, ...],
    began: bool,
) -> None:
    for label in earlier:
        publishing.publish(leave_journal(label))
    before = {name: data for name, data in visible(study).items() if not name.startswith("participants")}
    run = 2 if "01" in earlier else 1
    journal = leave_journal("01", run)
    recorded = read_journal(journal).samples
    if began:
        cut_short_at_step(journal, 7)
    vendors = f"sourcedata/sub-01/sub-01_task-viewing_run-{run}_host.edf"

    def act(study: Path, promise: Callable[[Any], None]) -> None:
        publishing.recover(study) if began else publishing.publish(journal)
        promise("published")

    states = list(power_cuts(study, act))
    assert len(states) > 20
    for state, promised in states:
        folder = built(state)
        assert_valid(folder)
        if promised:
            assert (folder / vendors).read_bytes() == f"01 {run}".encode()
        publishing.recover(folder)
        assert_valid(folder)
        after = visible(folder)
        assert {name: after.get(name) for name in before} == before
        assert after.get(vendors) == f"01 {run}".encode()
        assert list(read_participants(folder).index) == sorted({"01", *earlier})
        (found,) = (r for r in runs(folder) if (r.participant, r.run) == ("01", run))
        np.testing.assert_array_equal(
            structured_to_unstructured(read_recording(found).samples), structured_to_unstructured(recorded)
        )
        assert journals(folder) == ()
        assert not (folder / ".beholder" / "publish").exists()


def cut_short_at_step(journal: Path, number: int) -> None:
    """Publish, and die before that step."""
    child = os.fork()
    if child == 0:
        steps: list[str] = []

        def die(step: str) -> None:
            steps.append(step)
            if len(steps) > number:
                os._exit(9)

        publishing.publish(journal, die)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.usefixtures("no_waiting_for_the_disk")
@pytest.mark.parametrize("participants", [("01",), ("01", "02")], ids=["the only one", "one of two"])
def test_a_power_cut_while_withdrawing_takes_all_or_nothing(
    study: Path,
    leave_journal: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    visible: Callable[[Path], dict[str, bytes]],
    built: Callable[[State], Path],
    participants: tuple[str, ...],
) -> None:
    for label in participants:
        publishing.publish(leave_journal(label))
    before = visible(study)

    def act(study: Path, promise: Callable[[Any], None]) -> None:
        withdrawal.withdraw(study, "01")
        promise("withdrawn")

    outcomes = set()
    for state, promised in power_cuts(study, act):
        folder = built(state)
        assert_valid(folder)
        publishing.recover(folder)
        assert_valid(folder)
        after = visible(folder)
        own = {name for name in after if "sub-01" in name}
        assert own in (set(), {name for name in before if "sub-01" in name})
        assert ("01" in read_participants(folder).index) == bool(own)
        assert not (promised and own)
        assert {n: d for n, d in after.items() if "sub-02" in n} == {n: d for n, d in before.items() if "sub-02" in n}
        outcomes.add(bool(own))
    assert outcomes == {True, False}


@pytest.mark.usefixtures("no_waiting_for_the_disk")
def test_the_trackers_own_file_is_synced_before_its_journal_is_given_up(
    study: Path, leave_journal: Callable[..., Path], built: Callable[[State], Path]
) -> None:
    journal = leave_journal("01")

    def act(study: Path, promise: Callable[[Any], None]) -> None:
        # Written by a vendor's library, which syncs nothing.
        (journal / "files" / "late.edf").write_bytes(b"of the vendor")
        publishing.publish(journal)

    decided = 0
    for state, _ in power_cuts(study, act):
        if ".beholder/publish/redo.json" in state or f".beholder/journal/{journal.name}/{SAMPLES}" not in state:
            folder = built(state)
            publishing.recover(folder)
            vendors = folder / "sourcedata" / "sub-01" / "sub-01_task-viewing_run-1_late.edf"
            assert vendors.read_bytes() == b"of the vendor"
            decided += 1
    assert decided > 5
