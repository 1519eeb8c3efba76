"""An import as one change: all of its participants come into the study, or none, whenever it is cut short.

    into a study    everything is built in `.beholder/import/`, then becomes part of the data set in one change
    a new study     the study is made under another name beside its place, filled likewise, and renamed at the end

What a kill leaves is thrown away by the next import; a change that had begun is completed. The same command then comes
to the same bytes: nothing here depends on the time, or on chance. A second import into the same study is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.publishing import add_imported
from beholder.shared.errors import DataError, Remark, StudyError, TakenError
from beholder.shared.inside import inside
from beholder.shared.labels import Label
from beholder.shared.recording.transaction import finish_changes, told_in_a_sentence
from beholder.shared.study import Study

# Builds the files of all participants below a folder, and nothing elsewhere.
Build = Callable[[Path], object]
ALL_THERE = Remark("import", "all of it was there already, byte for byte: nothing was added")


@contextmanager
def alone(study_folder: Path) -> Iterator[None]:
    """Keep other imports out of the study meanwhile; finish first a change that an import left half done.

    Raises StudyError where another import is running, or where the folder cannot be written to.
    """
    whole = study_folder.resolve()
    # Beside a study that is not there yet; within one that is, as nothing beside it may be writable.
    there = (whole / "study.toml").exists()
    file = inside(whole, whole / ".beholder" / "import.lock") if there else _lock_beside(whole)
    with told_in_a_sentence(whole):
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(f"another process imports into {study_folder}: wait until that is done.") from None
    except OSError as error:
        raise StudyError(f"{study_folder} cannot be written to ({error.strerror}): name another folder.") from None
    try:
        if there:
            finish_changes(whole)
        yield
    finally:
        if not there:
            file.unlink(missing_ok=True)
        lock.release()


def bring_in(
    study_folder: Path,
    new: tuple[Study, Path] | None,
    build: Build,
    participants: Collection[Label],
    remarks: Sequence[Remark],
    refusal: str,
) -> bool:
    """Make a study of `new` (settings, folder of pictures) with what `build` makes; add to the study if `new` is None.

    Returns False where all of it was there already, byte for byte. `refusal` is the sentence for participants who are
    in the study already with something else, empty where none of them is. Raises StudyError or DataError.
    """
    if new:
        return make(study_folder, *new, build, participants, remarks)
    try:
        return add(study_folder, build, participants, remarks)
    except TakenError:
        if refusal:
            raise StudyError(refusal) from None
        raise


def add(study_folder: Path, build: Build, participants: Collection[Label], remarks: Sequence[Remark]) -> bool:
    """Bring what `build` makes into a study; returns False where all of it was there already, byte for byte."""
    aside = inside(study_folder, study_folder / ".beholder" / "import")
    with told_in_a_sentence(study_folder):
        _remove(aside)
        try:
            build(aside)
            return add_imported(study_folder, aside, participants, remarks)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def make(
    study_folder: Path,
    study: Study,
    images: Path,
    build: Build,
    participants: Collection[Label],
    remarks: Sequence[Remark],
) -> bool:
    """Make a study with what `build` makes in it; returns False where exactly that study was there already.

    Raises StudyError where the folder is not empty and holds anything else.
    """
    whole = study_folder.resolve()
    part = whole.with_name(f".{whole.name}.import")
    with told_in_a_sentence(study_folder):
        _remove(part)
        try:
            create_study(part, study, images)
            add(part, build, participants, remarks)
            if not whole.exists() or (whole.is_dir() and not any(whole.iterdir())):
                if whole.exists():
                    whole.rmdir()
                part.rename(whole)
                return True
            if _content(whole) != _content(part):
                raise StudyError(
                    f"{study_folder} is there already, and not as this import makes it: name another folder, or leave "
                    "out what only a new study takes (--images and the like) to import into it."
                )
            return False
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _lock_beside(whole: Path) -> Path:
    return whole.with_name(f".{whole.name}.import.lock")


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"{folder} is a link, where an import builds its files: remove it.")
    if folder.exists():
        shutil.rmtree(folder)


def _content(study_folder: Path) -> dict[str, bytes]:
    """A data set's files by their path, without Beholder's own folder, results and what is not data (.DS_Store)."""
    files = (path for path in sorted(study_folder.rglob("*")) if path.is_file())
    named = ((path.relative_to(study_folder), path) for path in files)
    return {
        name.as_posix(): path.read_bytes()
        for name, path in named
        if name.parts[0] not in (".beholder", "derivatives") and name.name != ".DS_Store"
    }
