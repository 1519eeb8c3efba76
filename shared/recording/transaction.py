"""Changes to a data set that happen wholly or not at all, whenever the power fails; each state in between is valid.

A BIDS data set is invalid where participants.tsv names a participant without a folder, or the reverse, and a folder
cannot be renamed together with a table. So a change goes in steps, each a single rename:

    1. everything new is built aside, in `.beholder/publish/new/`, old files hard-linked, and synced to the disk; room
       is held there for the steps, so that a full disk stops a change before it begins;
    2. the steps are written into a redo log, `.beholder/publish/redo.json`: from here on the change will happen;
    3. participants.json and participants.tsv are taken out (a data set needs none), what changes is taken out into
       `.beholder/publish/old/`, the new is put in its place, the new tables come last;
    4. what was taken out is deleted, and the log with it.

After a crash the next change, or `finish_changes`, goes on with the steps that the log still has; what was built
without a log is thrown away. A lock file in the data set lets only one process at a time change it. Nothing here knows
what the files mean.

A data set that comes from a stranger may hold a log too. It is obeyed only where each step names a place that a change
of ours would name (`CHANGED`), inside the data set (`shared.inside`): else it is refused before its first step.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from beholder.shared.errors import DataError, StudyError
from beholder.shared.inside import inside
from beholder.shared.parsing import shortened

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Room held for the redo log and a few folders.
ROOM_BYTES = 256 << 10

Step = tuple[Literal["take", "put"], str]

# What a change may take out and put in: the participants' tables and folders, their journals, the trackers' own files,
# what was noted of imports, the results. A part of a path is a name, never ".." and never a drive.
_NAME = r"(?!\.{1,2}(?:/|\Z))[^/\\:\0]+"
CHANGED = re.compile(
    r"participants\.(?:tsv|json)"
    r"|sub-[A-Za-z0-9]+"
    rf"|sourcedata/(?:imports\.json|sub-[A-Za-z0-9]+(?:/{_NAME})*)"
    r"|\.beholder/journal/sub-[A-Za-z0-9]+_run-[0-9]+(?:\.lock)?"
    r"|derivatives/beholder"
)


class Change:
    """A change of a data set while it is prepared: put files below `new`, then name the steps.

    Paths are relative to the data set. `steps` are carried out in order by `change`, when its block ends.
    """

    def __init__(self, study_folder: Path) -> None:
        self.study_folder = study_folder
        self.new = _place(study_folder) / "new"
        self.steps: list[Step] = []

    def carry_over(self, relative: str) -> None:
        """Hard-link all files below `relative` in the data set into the new folder."""
        source = self.study_folder / relative
        for path in sorted(source.rglob("*")):
            target = self.new / relative / path.relative_to(source)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                link(path, target)

    def take(self, relative: str) -> None:
        """Take a file or folder out of the data set; it is deleted when the change is complete."""
        self._step("take", relative)

    def put(self, relative: str) -> None:
        """Put what lies in `new` under this path into the data set, where this path is free by then."""
        self._step("put", relative)

    def _step(self, verb: Literal["take", "put"], relative: str) -> None:
        # A path of another kind is a defect of the program here, and of the data set where a log is read.
        assert CHANGED.fullmatch(relative), relative
        inside(self.study_folder, self.study_folder / relative)
        self.steps.append((verb, relative))


@contextmanager
def change(study_folder: Path, before_step: Callable[[str], None] = lambda step: None) -> Iterator[Change]:
    """A change of the data set: build it within the block; it happens when the block ends without an exception.

    Holds the data set's lock, and first finishes a change that a crash left. `before_step` is called before each
    step with its name, so that tests can fail there.
    """
    with told_in_a_sentence(study_folder), _lock_of(study_folder):
        _finish(study_folder, before_step)
        building = Change(study_folder)
        have_folder(building.new, study_folder)
        try:
            # Held for the steps, so that a full disk stops a change before its first step and not between two.
            hold_room(_room(study_folder), ROOM_BYTES)
            yield building
            _sync_tree(building.new)
        except BaseException:
            shutil.rmtree(_place(study_folder))
            raise
        before_step("log")
        _write_log(study_folder, building.steps)
        _finish(study_folder, before_step)


@contextmanager
def told_in_a_sentence(folder: Path) -> Iterator[None]:
    """Turn an OSError within the block into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder} could not be changed ({error}): nothing is lost; make room on the disk and the folder writable, "
            "then start Beholder again, which completes it."
        ) from error


@contextmanager
def no_analysis(study_folder: Path) -> Iterator[None]:
    """Let no other process analyse the study meanwhile, since two would remove each other's files.

    Raises StudyError where one does already.
    """
    folder = inside(study_folder, study_folder / ".beholder")
    with told_in_a_sentence(study_folder):
        folder.mkdir(exist_ok=True)
    lock = FileLock(inside(study_folder, folder / "analysis.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(f"{study_folder} is being analysed by another process: wait until that is done.") from None
    try:
        yield
    finally:
        lock.release()


def finish_changes(study_folder: Path) -> bool:
    """Finish the change that a crash interrupted, if there is one; returns whether there was."""
    # A link that leads nowhere does not "exist", and is no place of ours either: the guard refuses it.
    if not os.path.lexists(_place(study_folder)):
        return False
    with told_in_a_sentence(study_folder), _lock_of(study_folder):
        there = _log(study_folder).exists()
        _finish(study_folder, lambda step: None)
        return there


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it on a disk without hard links. Raises FileExistsError, never overwrites."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(source, target)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk (where the system can tell)."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            # Some network disks sync no folders.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(handle)


def have_folder(folder: Path, within: Path) -> None:
    """Make a folder and the missing ones above it; return when their names, below `within`, are on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for above in folder.parents:
        sync_folder(above)
        if above == within:
            break


def hold_room(path: Path, room_bytes: int) -> None:
    """Make a file that holds room on the disk until it is removed. Raises OSError where the disk is too full."""
    with path.open("xb") as file:
        if sys.platform == "linux":
            try:
                os.posix_fallocate(file.fileno(), 0, room_bytes)
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
        # Where the system cannot set room aside, zeros take it.
        file.write(bytes(room_bytes))


def write_synced(path: Path, data: bytes) -> None:
    """Write a whole file and return when it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _place(study_folder: Path) -> Path:
    return inside(study_folder, study_folder / ".beholder" / "publish")


def _log(study_folder: Path) -> Path:
    return _place(study_folder) / "redo.json"


def _room(study_folder: Path) -> Path:
    return _place(study_folder) / "room"


def _lock_of(study_folder: Path) -> FileLock:
    folder = inside(study_folder, study_folder / ".beholder")
    folder.mkdir(exist_ok=True)
    # Taking a lock empties its file, whatever a link makes of it.
    return FileLock(inside(study_folder, folder / "publish.lock"), thread_local=False)


def _write_log(study_folder: Path, steps: Sequence[Step]) -> None:
    part = inside(study_folder, _log(study_folder).with_suffix(".part"))
    write_synced(part, json.dumps(list(steps)).encode())
    part.replace(_log(study_folder))
    sync_folder(_place(study_folder))


def _finish(study_folder: Path, before_step: Callable[[str], None]) -> None:
    """Carry out the steps that the log still has; each is struck off the log before the next begins.

    A step that was done already does nothing when it is repeated.
    """
    place = _place(study_folder)
    _room(study_folder).unlink(missing_ok=True)
    if _log(study_folder).exists():
        steps = _read_log(study_folder)
        while steps:
            verb, relative = steps[0]
            before_step(f"{verb} {relative}")
            _move(study_folder, *_way(study_folder, verb, relative))
            steps = steps[1:]
            before_step(f"strike {verb} {relative}")
            _write_log(study_folder, steps)
    if place.exists():
        before_step("clean")
        # The empty log goes last: without a log, what is built aside counts as a change that was never decided on.
        for name in ("old", "new"):
            shutil.rmtree(place / name, ignore_errors=True)
        shutil.rmtree(place)


def _read_log(study_folder: Path) -> list[Step]:
    """The steps still to be done. Raises DataError, before any is done, where one is not of Beholder's kind."""
    log = _log(study_folder)
    try:
        found: Any = json.loads(log.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{log} cannot be read ({error}): keep the whole study folder and ask for help.") from None
    steps: list[Step] = []
    for step in found if isinstance(found, list) else [found]:
        match step:
            case [("take" | "put") as verb, str(relative)] if CHANGED.fullmatch(relative):
                for path in _way(study_folder, verb, relative):
                    inside(study_folder, path)
                steps.append((verb, relative))
            case _:
                raise DataError(
                    f"{log} holds the step {shortened(json.dumps(step))}, which no change of Beholder's makes: nothing "
                    f"was touched; if the study came from somebody else remove {_place(study_folder)}, else keep the "
                    "whole study folder and ask for help."
                )
    return steps


def _way(study_folder: Path, verb: Literal["take", "put"], relative: str) -> tuple[Path, Path]:
    """The paths that a step moves its file or folder from and to."""
    there = study_folder / relative
    return (
        (there, _place(study_folder) / "old" / relative)
        if verb == "take"
        else (_place(study_folder) / "new" / relative, there)
    )


def _move(study_folder: Path, source: Path, target: Path) -> None:
    if not source.exists():
        return
    inside(study_folder, source)
    inside(study_folder, target)
    have_folder(target.parent, study_folder)
    if target.exists():
        raise DataError(f"{target} is in the way of a change: move it out of the study folder, then try again.")
    source.rename(target)
    # The target first: after a crash, a name that is on the disk twice can be mended, one that is nowhere cannot.
    sync_folder(target.parent)
    sync_folder(source.parent)


def _sync_tree(folder: Path) -> None:
    # The files too: a tracker's own files, and copies made where there are no hard links, have not been synced yet.
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b" if sys.platform == "win32" else "rb") as file:
                os.fsync(file.fileno())
