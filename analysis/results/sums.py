"""Checks that derived files are as they were written: damaged ones are made anew, and a remark says so.

A disk, a sync or an editor may damage files. At the end of an analysis `seal` writes the SHA-256 of every file in
derivatives/beholder into `sums.json` there; at the beginning of the next, `drop_damaged` deletes what differs, so that
it is computed again. An analysis that was cut short has no sums (`unseal`), and its files are kept: then, and in the
user's cache, a file that cannot be read raises `DamagedError`, upon which the analysis deletes it and goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beholder.shared.errors import UNREADABLE, DataError, Remark
from beholder.shared.inside import inside
from beholder.shared.provenance import file_digest

SUMS = "sums.json"
# What a report writes, and nothing else does.
OF_REPORT = ("inference.json", "report.html", "figures", "tables")
# Results by picture or layer, each made anew by itself where it is damaged; all other files belong together.
BY_PICTURE = ("attention", "alignment", "fixed", "chance")


class DamagedError(DataError):
    """A derived or cached file, `path`, cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f'{path} cannot be read, it is gone or damaged: run "beholder analyze", which makes it anew.')
        self.path = path

    def __reduce__(self) -> tuple[type[DamagedError], tuple[Path]]:
        # So that the exception comes back whole from a worker process.
        return DamagedError, (self.path,)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read and parsed into `DamagedError`, except that the file is missing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except UNREADABLE:
        raise DamagedError(path) from None


def only_inside(study_folder: Path, folder: Path) -> None:
    """Raise DataError where a link in a folder of results would move what is written or deleted out of the study."""
    inside(study_folder, folder)
    for path in folder.rglob("*"):
        if path.is_symlink():
            inside(study_folder, path)


def seal(folder: Path) -> None:
    """Write the sums of the files in a folder of results, so that damage to them is noticed."""
    _write_sums({path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}, folder)


def unseal(folder: Path) -> None:
    """Remove the sums of a folder of results: until `seal`, its files are not checked."""
    (folder / SUMS).unlink(missing_ok=True)


def unseal_report(folder: Path) -> bool:
    """Remove the sums of what a report writes, until `seal`; returns whether there are sums of all other files."""
    sums = _read_sums(folder)
    if sums is not None:
        _write_sums({name: value for name, value in sums.items() if name.split("/")[0] not in OF_REPORT}, folder)
    return sums is not None


def _read_sums(folder: Path) -> dict[str, str] | None:
    try:
        sums = json.loads((folder / SUMS).read_text("utf-8"))
        return {str(name): str(value) for name, value in sums.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _write_sums(sums: dict[str, str], folder: Path) -> None:
    part = folder / f".{SUMS}.part"
    part.write_text(json.dumps(sums, indent=0) + "\n", encoding="utf-8")
    part.replace(folder / SUMS)


def drop_damaged(folder: Path) -> list[Remark]:
    """Delete files of the last analysis that are not as it wrote them, and what belongs to them; a remark on each.

    Files that a killed analysis left half written are deleted too, without a remark.
    """
    for half_written in folder.rglob(".*.part"):
        half_written.unlink()
    if not (folder / SUMS).exists():
        return []
    wanted = _read_sums(folder)
    if wanted is None:
        # What damaged the sums may have damaged any other file.
        for path in folder.iterdir():
            delete(path)
        return [Remark(SUMS, "was damaged, and with it every result is made anew, for nothing vouches for them")]
    # Files that somebody deleted need no remark: they are made anew like files that were never there.
    there = [(name, folder / name) for name in wanted if (folder / name).exists()]
    # All are checked before the first is deleted, since what belongs to it is deleted too.
    damaged = [path for name, path in there if not path.is_file() or file_digest(path) != wanted[name]]
    return [drop(folder, path) for path in damaged]


def drop(folder: Path, path: Path) -> Remark:
    """Delete a damaged file of a folder of results or of the cache, and what belongs to it."""
    delete(path)
    if path.is_relative_to(folder) and path.relative_to(folder).parts[0] not in BY_PICTURE:
        for other in folder.glob("*"):
            if other.name not in BY_PICTURE and other.name != "figures" and other.is_file():
                other.unlink()
    return Remark(path.name, "was damaged, and is made anew")


def delete(path: Path) -> None:
    """Delete a file, or a folder that stands where a file should."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    # provenance.json says when it was made, and nothing is computed from it.
    apart = (SUMS, "provenance.json")
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if path.name not in apart and path.suffix != ".part"]
