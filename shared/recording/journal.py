"""The journal of a session: all that was recorded so far, on disk before it becomes files of the data set.

A journal is a folder `.beholder/journal/sub-01_run-1/` of the study:

    session.json    participant, run, screen, tracker and settings; written once, at the start
    samples.tsv     one row a gaze sample (`shared.gaze.SAMPLE`), appended
    log.tsv         one row a record: time on the session's clock, kind, a JSON object, and their CRC-32; appended
    files/          what the tracker hands over at the end of the session (the vendor's own file)
    reserve         a file that reserves room, deleted when the disk is full

and, beside it, `sub-01_run-1.lock`, which the running session holds through the operating system: the lock vanishes
with the process, however that ends. Rows are only ever appended, so what was synced before a crash is whole; a last
row that was cut short is recognised by its missing line end, and left out. A row that a disk has damaged is left out
too, and its file is then kept unchanged in sourcedata. Nothing here knows of BIDS: `shared.dataset` makes the journal
part of the data set.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import SAMPLE, Samples
from beholder.shared.inside import inside
from beholder.shared.parsing import shortened
from beholder.shared.recording.records import Happening, Record, from_json, to_json
from beholder.shared.recording.session_header import SessionHeader, header_from_json, header_to_json
from beholder.shared.recording.transaction import NO_ROOM, have_folder, hold_room, sync_folder, write_synced

# Up to format 1 the rows of log.tsv had no checksum.
FORMAT = 2
HEADER, SAMPLES, LOG, FILES, RESERVE = "session.json", "samples.tsv", "log.tsv", "files", "reserve"
# Ending of a file below files/ that is still being received; such a file never becomes part of the data set.
PART = ".part"
# Two minutes of samples at 2,000 Hz from both eyes, but at most an eighth of the free room on the disk.
RESERVE_BYTES, RESERVE_SHARE = 16 << 20, 8
# Bounds memory where nothing calls `sync` (a simulation).
MOST_UNSYNCED_BYTES = 1 << 20
_COLUMNS = len(SAMPLE.names or ())
# A time in log.tsv: seconds on a clock with an arbitrary zero.
_SECONDS = re.compile(r"-?[0-9]{1,12}\.[0-9]{6}")
AnyKind = TypeVar("AnyKind", bound=Happening)
# Microseconds, hundredths of a px, thousandths of the pupil's unit: finer than any tracker, and as it is published.
_SAMPLE_ROW = "%.6f\t%.2f\t%.2f\t%.3f\t%.2f\t%.2f\t%.3f\n"


@dataclass(frozen=True)
class Journal:
    """A journal as read: its header, gaze samples, records in order of writing, and what could not be read."""

    folder: Path
    header: SessionHeader
    samples: Samples
    records: tuple[Record, ...]
    remarks: tuple[Remark, ...]
    damaged: tuple[str, ...] = ()  # its files that hold rows which could not be read

    def all_of(self, kind: type[AnyKind]) -> list[AnyKind]:
        """What the records of one kind say happened, in order of writing."""
        return [record.what for record in self.records if isinstance(record.what, kind)]


@dataclass(frozen=True)
class JournalState:
    """A journal found in a study: its participant and run, and whether its session is still running."""

    folder: Path
    participant: str
    run: int
    running: bool


def journals_folder(study_folder: Path) -> Path:
    """Where a study keeps its journals."""
    return study_folder / ".beholder" / "journal"


class JournalWriter:
    """Appends to a new journal and holds its lock until `close`; used by one thread at a time.

    `flush` hands appended rows to the operating system; they also stay in memory until `sync` knows that they are on
    the disk. After an error of either, the next call goes on where that one stopped, with no row lost, doubled or torn.
    When the disk is full, the reserve is deleted for what must still be written, and `disk_full` becomes True.

    Raises DataError where that journal exists already (a session never writes into another's) or cannot be made.
    """

    def __init__(self, study_folder: Path, header: SessionHeader) -> None:
        self.folder = journals_folder(study_folder) / header.name
        self.disk_full = self._ended = False
        # The key says which of the rows that were saved elsewhere are this session's.
        self._header = {"format": FORMAT, "key": secrets.token_hex(8), **header_to_json(header)}
        self._lock = _lock_of(self.folder)
        try:
            have_folder(self.folder.parent, study_folder)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise DataError(f"{self.folder} belongs to a session that is running: end that one first.") from None
        except OSError as error:
            raise self._not_made(error) from None
        if self.folder.exists():
            self._lock.release()
            raise DataError(f"{self.folder} was left by a crash: recover it before a new session.")
        try:
            self._begin()
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()
            raise self._not_made(error) from None

    def _not_made(self, error: OSError) -> DataError:
        return DataError(
            f"{self.folder} cannot be made ({error}): make room on the disk and the study folder writable."
        )

    def _begin(self) -> None:
        self.folder.mkdir()
        # Without a reserve the session goes on all the same: it may be short enough for the disk.
        room_bytes = min(RESERVE_BYTES, shutil.disk_usage(self.folder).free // RESERVE_SHARE)
        with suppress(OSError):
            hold_room(self.folder / RESERVE, room_bytes)
        self.files.mkdir()
        self._grown = {name: _GrowingFile(self.folder / name) for name in (SAMPLES, LOG)}
        # The header comes last and by rename: a folder without it never held a session.
        part = self.folder / (HEADER + ".part")
        write_synced(part, json.dumps(self._header, ensure_ascii=False, indent=1).encode())
        part.replace(self.folder / HEADER)
        sync_folder(self.folder)
        sync_folder(self.folder.parent)

    @property
    def files(self) -> Path:
        """The folder for what the tracker hands over."""
        return self.folder / FILES

    def append_samples(self, samples: Samples) -> None:
        """Append gaze samples, shape (n,)."""
        if len(samples):
            self._grown[SAMPLES].append(format_samples(samples))

    def append_records(self, records: Sequence[Record]) -> None:
        """Append records. Raises TypeError or ValueError where one cannot be written as JSON."""
        if records:
            self._grown[LOG].append(_format_records(records))

    def flush(self) -> None:
        """Hand what was appended to the system: from then on only a power failure can lose it. Raises OSError."""
        for file in self._grown.values():
            self._using_reserve(file.flush)
            if file.unsynced_bytes > MOST_UNSYNCED_BYTES:
                self._using_reserve(file.sync)

    def sync(self) -> None:
        """Return when all that was appended is on the disk. Raises OSError."""
        for file in self._grown.values():
            self._using_reserve(file.sync)

    def end(self) -> None:
        """Sync and close the rows and delete the reserve, but keep the lock; may be called twice. Raises OSError."""
        if self._ended:
            return
        self._ended = True
        try:
            self.sync()
        finally:
            for file in self._grown.values():
                file.close()
            # Publishing needs the room.
            with suppress(OSError):
                (self.folder / RESERVE).unlink(missing_ok=True)

    def close(self) -> None:
        """End the journal and release its lock; may be called twice. Raises OSError."""
        try:
            self.end()
        finally:
            self._lock.release()

    def unsynced_samples(self) -> int:
        """The number of appended samples that are not yet known to be on the disk."""
        return self._grown[SAMPLES].rest[1].count(b"\n")

    def save_elsewhere(self, more: Sequence[Samples | Record] = ()) -> Path:
        """Save all rows not known to be on the disk, then `more`, in the system's temporary folder; returns that place.

        May be called while another thread is stuck in `flush` or `sync`, since the journal's disk is not touched.
        `join_saved` later appends these rows to the journal. Raises OSError.
        """
        place = _saved_place(self._header["key"])
        place.mkdir(mode=0o700, exist_ok=True)
        added = {
            SAMPLES: b"".join(format_samples(item) for item in more if not isinstance(item, Record)),
            LOG: _format_records([item for item in more if isinstance(item, Record)]),
        }
        follows = {}
        for name, file in self._grown.items():
            follows[name], rows = file.rest
            write_synced(place / name, bytes(rows) + added[name])
        write_synced(place / HEADER, json.dumps({**self._header, "follows": follows}, ensure_ascii=False).encode())
        return place

    def _using_reserve(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if error.errno not in NO_ROOM or self.disk_full:
                raise
            self.disk_full = True
            (self.folder / RESERVE).unlink(missing_ok=True)
            write()


class _GrowingFile:
    """A file that only grows; rows not known to be on the disk stay in memory, so that they can be written again."""

    def __init__(self, path: Path) -> None:
        # Where in the file the unsynced rows begin, and these rows; one tuple, so that another thread reads a matching
        # pair.
        self.rest: tuple[int, bytearray] = (0, bytearray())
        self._flushed_bytes = 0  # of the unsynced rows
        self._file = path.open("xb", buffering=0)

    @property
    def unsynced_bytes(self) -> int:
        return len(self.rest[1])

    def append(self, rows: bytes) -> None:
        self.rest[1].extend(rows)

    def flush(self) -> None:
        start, rest = self.rest
        if self._flushed_bytes == len(rest):
            return
        self._file.seek(start + self._flushed_bytes)
        # A raw write may take only a part of what it is given (the disk fills up); the next write then raises.
        while self._flushed_bytes < len(rest):
            self._flushed_bytes += self._file.write(rest[self._flushed_bytes :])

    def sync(self) -> None:
        self.flush()
        start, rest = self.rest
        if not rest:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError:
            # The system may have dropped rows that it had taken: all since the last sync are written again, in place.
            self._flushed_bytes = 0
            raise
        self.rest, self._flushed_bytes = (start + len(rest), bytearray()), 0

    def close(self) -> None:
        # An error here loses nothing: all that could be synced has been.
        with suppress(OSError):
            self._file.close()


def _saved_place(key: str) -> Path:
    return Path(tempfile.gettempdir()) / f"beholder-unsaved-{key}"


def saved_elsewhere(folder: Path) -> Path | None:
    """The folder in which a journal's session saved the rows that its disk refused; None where there is none.

    A journal may come from a stranger: its key must be 16 hexadecimal digits, as ours are, so that it is no path.
    """
    try:
        key = json.loads((folder / HEADER).read_text("utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(key, str) or not re.fullmatch(r"[0-9a-f]{16}", key):
        return None
    place = _saved_place(key)
    # Every user can write to the temporary folder: another user's folder is not ours, and neither is a link.
    if place.is_symlink() or not place.is_dir():
        return None
    return place if sys.platform == "win32" or place.stat().st_uid == os.getuid() else None


def join_saved(folder: Path) -> int:
    """Append to a journal the rows that its session saved elsewhere; returns their bytes, 0 where none can be used.

    The caller holds the journal `exclusive`. Joining twice changes nothing more; what was saved is deleted only when
    its rows are on the journal's disk.
    """
    place = saved_elsewhere(folder)
    if place is None:
        return 0
    try:
        follows = json.loads((place / HEADER).read_text("utf-8"))["follows"]
        rows = {name: (place / name).read_bytes() for name in (SAMPLES, LOG)}
        sizes = {name: inside(folder.parents[2], folder / name).stat().st_size for name in rows}
        starts = {name: int(follows[name]) for name in rows}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    # The files are cut only where the saved rows replace at least what is cut: a damaged header joins nothing.
    if any(not 0 <= starts[name] <= sizes[name] <= starts[name] + len(rows[name]) for name in rows):
        return 0
    for name, data in rows.items():
        with (folder / name).open("r+b") as file:
            file.truncate(starts[name])
            file.seek(starts[name])
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    shutil.rmtree(place)
    return sum(len(data) for data in rows.values())


def format_samples(samples: Samples) -> bytes:
    """Rows of samples.tsv: the fields of `SAMPLE` in their order, n/a where not finite.

    >>> import numpy as np
    >>> format_samples(np.array([(1.5, 10, 20, np.nan, 11, 21, 3)], SAMPLE))
    b'1.500000\\t10.00\\t20.00\\tn/a\\t11.00\\t21.00\\t3.000\\n'
    """
    return format_rows(_SAMPLE_ROW, np.stack([samples[name] for name in SAMPLE.names or ()], axis=1))


def format_rows(row: str, values: NDArray[np.float64]) -> bytes:
    """`values` (n, columns) as text, each row by the printf-style format `row`; n/a where not finite."""
    # One formatting of all rows: fifty times faster than row by row.
    finite = np.where(np.isfinite(values), values, np.nan)
    return ((row * len(finite)) % tuple(finite.ravel().tolist())).replace("nan", "n/a").encode()


def parse_rows(data: bytes, columns: int, wanted: Sequence[int] | None = None) -> NDArray[np.float64]:
    """Numbers of a tab separated table without a header, exactly as they are written: (n, wanted columns).

    `wanted` are column numbers from 0, all where it is None; n/a is NaN. Raises ValueError where a row does not have
    `columns` columns, or a wanted cell is no number.

    >>> parse_rows(b"1\\tn/a\\n2\\t0.1\\n", 2).tolist()
    [[1.0, nan], [2.0, 0.1]]
    """
    if data and not data.endswith(b"\n"):
        data += b"\n"
    ends = np.frombuffer(data, np.uint8)
    ends = ends[(ends == ord("\t")) | (ends == ord("\n"))]
    if len(ends) % columns or (ends.reshape(-1, columns) != [ord("\t")] * (columns - 1) + [ord("\n")]).any():
        raise ValueError(f"not every row has {columns} columns")
    cells = data.replace(b"n/a", b"nan").replace(b"\n", b"\t").split(b"\t")[:-1]
    taken = range(columns) if wanted is None else wanted
    return np.stack([np.array([float(cell) for cell in cells[column::columns]]) for column in taken], axis=1)


def read_journal(folder: Path) -> Journal:
    """The journal in a folder: every row that can be read, wherever others were damaged, and remarks on the others.

    Raises DataError where the header cannot be read, names another session than the folder, or is of a later format.
    """
    path = folder / HEADER
    try:
        value = json.loads(path.read_text("utf-8"))
        if value["format"] > FORMAT:
            raise DataError(f"{path} was written by a later Beholder: recover it with that one.")
        header = header_from_json(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): move {folder} away, keep it, and ask for help.") from None
    if header.name != folder.name:
        raise DataError(
            f"{path} is of {shortened(header.name)}, and its folder is called {folder.name}: give the folder the name "
            "that the session had, or keep it elsewhere and ask for help."
        )
    samples, lost_samples = _read_samples(folder / SAMPLES)
    records, lost_records = _read_records(folder / LOG, sealed=value["format"] > 1)
    lost = {SAMPLES: lost_samples, LOG: lost_records}
    remarks = [
        Remark(f"{folder.name}/{name}", f"its last {of.cut_bytes} bytes were not whole rows and are left out")
        for name, of in lost.items()
        if of.cut_bytes
    ] + [
        Remark(
            f"{folder.name}/{name}",
            f"{of.rows} of its {of.of_rows} rows could not be read and are left out; the file is kept as it is in "
            "sourcedata, beside the tracker's own",
        )
        for name, of in lost.items()
        if of.rows
    ]
    damaged = tuple(name for name, of in lost.items() if of.rows)
    return Journal(folder, header, samples, records, tuple(remarks), damaged)


def journals(study_folder: Path) -> tuple[JournalState, ...]:
    """The journals of a study, sorted: those of running sessions, and those that a crash left."""
    found = []
    parent = journals_folder(study_folder)
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        participant, _, run = folder.name.removeprefix("sub-").rpartition("_run-")
        if folder.is_dir() and participant and run.isdigit():
            found.append(JournalState(folder, participant, int(run), _running(folder)))
    return tuple(found)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a journal's lock: nobody else records into, publishes or removes it meanwhile.

    Raises DataError where its session is running, or another process publishes it.
    """
    lock = _lock_of(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DataError(f"{folder} is in use by a session that is running: end that one first.") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be locked ({error}): make room, and the folder writable.") from None
    try:
        yield
    finally:
        lock.release()


def _lock_of(folder: Path) -> FileLock:
    # The lock's file is beside the folder, since the folder is removed when it is published. Any thread may release the
    # lock. Taking it empties its file, so no link may lead that file, or the journal, out of the study.
    file = folder.with_name(folder.name + ".lock")
    for path in (folder, file):
        inside(folder.parents[2], path)
    return FileLock(file, thread_local=False)


def _running(folder: Path) -> bool:
    try:
        with _lock_of(folder).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in (errno.EROFS, *NO_ROOM):
            # Nobody records on a disk that takes no lock file.
            return False
        raise


def _format_records(records: Sequence[Record]) -> bytes:
    return "".join(map(_format_record, records)).encode()


def _format_record(record: Record) -> str:
    # JSON escapes tabs and line ends within strings, so a row stays a row.
    kind, value = to_json(record.what)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    row = f"{record.at_s:.6f}\t{kind}\t{text}"
    return f"{row}\t{crc32(row.encode()):08x}\n"


# --------------------------------------------------------------------------------------- rows, some of them damaged


@dataclass(frozen=True)
class _Lost:
    """What could not be read of a file: bytes of a last row that was cut short, and `rows` of its `of_rows` rows."""

    cut_bytes: int = 0
    rows: int = 0
    of_rows: int = 0


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """The rows that have a line end, including it, and the number of bytes after the last of them."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    end = data.rfind(b"\n") + 1
    return [line + b"\n" for line in data[:end].split(b"\n")[:-1]], len(data) - end


def _read_samples(path: Path) -> tuple[Samples, _Lost]:
    """All samples that can be read, and what cannot: a power failure or a bad byte may leave garbage anywhere."""
    lines, cut_bytes = _whole_lines(path)
    values = _readable(lines)
    values = values[np.isfinite(values[:, 0])]
    if not (np.diff(values[:, 0]) > 0).all():
        values = values[_longest_rise(values[:, 0])]
    samples = np.zeros(len(values), SAMPLE)
    for column, name in enumerate(SAMPLE.names or ()):
        samples[name] = values[:, column]
    return samples, _Lost(cut_bytes, len(lines) - len(values), len(lines))


def _readable(lines: list[bytes]) -> NDArray[np.float64]:
    """The values of the rows that `format_samples` can have written, (n, columns); the others are skipped.

    Rows are parsed together, and in halves where that fails: one bad row among many costs twice the time of none.
    """
    data = b"".join(lines)
    # Python accepts more as a number than is ever written here: 1_000, inf, 1e5, blanks.
    if lines and not data.translate(None, b"0123456789.-n/a\t\n"):
        with suppress(ValueError):
            return parse_rows(data, _COLUMNS)
    if len(lines) <= 1:
        return np.zeros((0, _COLUMNS))
    half = len(lines) // 2
    return np.concatenate([_readable(lines[:half]), _readable(lines[half:])])


def _longest_rise(times: NDArray[np.float64]) -> list[int]:
    """Indices of the longest strictly rising subsequence of times: it leaves out times that a damaged digit has moved.

    >>> import numpy as np
    >>> _longest_rise(np.array([1.0, 2.0, 9.0, 3.0, 4.0, 4.0]))
    [0, 1, 3, 4]
    """
    # Patience sorting: of all rising subsequences of k + 1 times, `ends[k]` is the last index of the lowest-ending one.
    tops: list[float] = []
    ends: list[int] = []
    before: list[int] = []
    for index, time in enumerate(times.tolist()):
        place = bisect_left(tops, time)
        before.append(ends[place - 1] if place else -1)
        if place == len(tops) or time < tops[place]:
            tops[place : place + 1] = [time]
            ends[place : place + 1] = [index]
    kept = []
    index = ends[-1] if ends else -1
    while index >= 0:
        kept.append(index)
        index = before[index]
    return kept[::-1]


def _read_records(path: Path, *, sealed: bool) -> tuple[tuple[Record, ...], _Lost]:
    lines, cut_bytes = _whole_lines(path)
    rows = map(_unsealed, lines) if sealed else lines
    found = [record for record in map(_record, rows) if record is not None]
    return tuple(found), _Lost(cut_bytes, len(lines) - len(found), len(lines))


def _unsealed(line: bytes) -> bytes:
    """A row without its checksum; empty where the checksum does not match, since the row is then damaged."""
    row, _, seal = line.rstrip(b"\n").rpartition(b"\t")
    return row if seal == b"%08x" % crc32(row) else b""


def _record(line: bytes) -> Record | None:
    """The record of a row; None where it cannot be read."""
    try:
        at_s, kind, text = line.decode().split("\t")
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not _SECONDS.fullmatch(at_s) or not isinstance(value, dict):
        return None
    what = from_json(kind, value)
    return None if what is None else Record(float(at_s), what)
