"""What Python itself reports of files that are written, renamed or deleted (audit events, PEP 578)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Of each event, where its paths stand among what it reports, and where the folders that these may be relative to.
PATHS: dict[str, tuple[tuple[int, int], ...]] = {
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),), "os.symlink": ((1, 2),), "os.truncate": ((0, 1),), "shutil.rmtree": ((0, 1),),
}  # fmt: skip


def written(event: str, args: tuple[Any, ...]) -> list[Path]:
    """The files that an audit event is about to write, make, rename or delete; none of most events."""
    if event == "open":
        path, mode, flags = args
        writes = any(c in mode for c in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return [Path.cwd() / os.fsdecode(path)] if writes and isinstance(path, str | bytes | os.PathLike) else []
    return [
        _folder(args[folder] if folder < len(args) else None) / os.fsdecode(args[path])
        for path, folder in PATHS.get(event, ())
        if isinstance(args[path], str | bytes | os.PathLike)
    ]


def _folder(descriptor: Any) -> Path:
    """What a relative path starts from: an open folder, as Linux tells it, or the working folder."""
    is_open = isinstance(descriptor, int) and descriptor >= 0
    return Path(f"/proc/self/fd/{descriptor}").readlink() if is_open else Path.cwd()


class _Watch:
    """One hook for all tests, since a hook cannot be taken off again."""

    def __init__(self) -> None:
        self.hear: Callable[[Iterable[Path]], object] | None = None
        sys.addaudithook(self._report)

    def _report(self, event: str, args: tuple[Any, ...]) -> None:
        if self.hear is not None and (paths := written(event, args)):
            self.hear(paths)


_WATCH = _Watch()


@contextmanager
def watched() -> Iterator[set[Path]]:
    """The files that are written, made, renamed or deleted within it; those of child processes are not seen."""
    paths: set[Path] = set()
    _WATCH.hear = paths.update
    try:
        yield paths
    finally:
        _WATCH.hear = None


def outside(paths: Iterable[Path], *folders: Path) -> set[Path]:
    """Those of the paths that lie in none of the folders; devices and what Python and Numba compile are no files."""
    return {
        path
        for path in paths
        if not any(path.is_relative_to(folder) for folder in (*folders, Path("/dev"), Path("/proc")))
        and "__pycache__" not in path.parts
    }
