"""Read runs and recordings from the data set: gaze, events and what their sidecars say."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.shared.errors import DataError, Remark
from beholder.shared.gaze import SAMPLE, Eye, Samples
from beholder.shared.labels import label
from beholder.shared.recording.journal import parse_rows
from beholder.shared.recording.run_files import PHYSIO_COLUMNS
from beholder.shared.screen import Screen
from beholder.shared.sidecars import PhysioSidecar, entities, events_sidecar, physio_sidecar
from beholder.shared.study import Meant
from beholder.shared.tables import read_events

_GAZE_FILES = "*_recording-eye[123]_physio.tsv.gz"


@dataclass(frozen=True, order=True)
class Run:
    """A run of a participant in the data set, and where its files lie; `prefix` begins all their names."""

    participant: str
    session: str
    task: str
    run: int
    folder: Path
    prefix: str

    @property
    def events_file(self) -> Path:
        """The table of what was shown when."""
        return self.folder / f"{self.prefix}_events.tsv"

    def physio_files(self) -> dict[str, Path]:
        """The gaze files by their recording ("eye1", "eye2", "eye3")."""
        found = {}
        for recording in ("eye1", "eye2", "eye3"):
            path = self.folder / f"{self.prefix}_recording-{recording}_physio.tsv.gz"
            if path.exists():
                found[recording] = path
        return found


@dataclass(frozen=True)
class Recording:
    """The gaze and events of a run, as read.

    `samples` (n,) of `shared.gaze.SAMPLE`, time on the tracker's clock; `events` has onset in seconds from the first
    sample, so that a sample's time on the events' scale is `time_s - time_s[0]`.
    """

    participant: str
    run: int
    samples: Samples
    rate_hz: float
    screen: Screen
    eyes: tuple[Eye, ...]
    simulated: bool
    events: pd.DataFrame
    sidecars: Mapping[Eye, PhysioSidecar]


def runs(study_folder: Path, *, with_gaze: bool = True) -> tuple[Run, ...]:
    """The recordings in a data set, sorted by participant, session, task and run.

    With `with_gaze` False, runs that ended before the first gaze sample, and so have only events, are among them.
    """
    found = {_run_of(path, "_recording-") for path in _data_files(study_folder, _GAZE_FILES)}
    if not with_gaze:
        found |= {_run_of(path, "_events.tsv") for path in _data_files(study_folder, "*_events.tsv")}
    return tuple(sorted(found))


def beh_runs(study_folder: Path) -> tuple[Run, ...]:
    """The runs that were imported as fixations, without samples; sorted as those of `runs`."""
    return tuple(sorted(_run_of(path, "_beh.tsv") for path in _data_files(study_folder, "*_beh.tsv")))


def unread_gaze(study_folder: Path) -> tuple[Remark, ...]:
    """Remarks on files of gaze whose names put them in no run, and on JSON files whose gaze is missing."""
    read = set(_data_files(study_folder, _GAZE_FILES))
    unread = set(_data_files(study_folder, "*_physio.tsv*")) - read
    described = (path.with_suffix(".tsv.gz") for path in _data_files(study_folder, "*_recording-eye[123]_physio.json"))
    # A JSON file without gaze of its own may describe other files in its folder and below: BIDS inheritance.
    gone = {
        path
        for path in described
        if path not in read and not any(path.parent in file.parents and _named(path) <= _named(file) for file in read)
    }
    return tuple(
        Remark(min(paths).name, text + (f" (the first of {len(paths)} such files)" if len(paths) > 1 else ""))
        for paths, text in (
            (unread, "is not read: gaze is in files called ..._recording-eye1_physio.tsv.gz (or eye2, eye3)"),
            (gone, "is not there, though its JSON file is: it was moved or renamed, and that eye is not analysed"),
        )
        if paths
    )


def _named(gaze_file: Path) -> set[tuple[str, str]]:
    return set(entities(gaze_file.name.removesuffix("_physio.tsv.gz")).items())


def fixations_file(run: Run) -> Path:
    """The table of imported fixations of a run of `beh_runs`."""
    return run.folder / f"{run.prefix}_beh.tsv"


def _data_files(study_folder: Path, pattern: str) -> list[Path]:
    return [path for deep in ("sub-*/*", "sub-*/ses-*/*") for path in study_folder.glob(f"{deep}/{pattern}")]


def _run_of(path: Path, after_prefix: str) -> Run:
    prefix = path.name.partition(after_prefix)[0]
    named = entities(prefix)
    folder = next(name for name in reversed(path.parts[:-1]) if name.startswith("sub-"))
    if f"sub-{named.get('sub')}" != folder or "task" not in named:
        raise DataError(f"{path}: its name must begin with {folder}_ and have a task-: rename it, or move it away.")
    who = label(named["sub"], str(path))
    try:
        run = int(named.get("run", "1"))
    except ValueError:
        raise DataError(f"{path}: run-{named['run']} must be a number: rename the file.") from None
    return Run(who, named.get("ses", ""), named["task"], run, path.parent, prefix)


def read_recording(run: Run, meant: Collection[Meant] = ()) -> Recording:
    """Gaze and events of a run; `meant` as in `read_events`.

    Columns that BIDS does not require may be missing. Raises DataError, naming file, key or row and the remedy, where a
    file breaks its own description, the clocks of two eyes disagree, or the screen is not known.
    """
    files = run.physio_files()
    if not files:
        raise DataError(f"{run.folder} has no gaze of {run.prefix}: its physio files were moved or renamed.")
    gaze: dict[Eye, NDArray[np.float64]] = {}
    sidecars: dict[Eye, PhysioSidecar] = {}
    for path in files.values():
        sidecar = physio_sidecar(path)
        # A cyclopean recording is its run's only one: it is read as the left eye's, and its sidecar says "cyclopean".
        eye: Eye = "right" if sidecar.eye == "right" else "left"
        if eye in gaze:
            raise DataError(f"{path}: another file of this run has the {eye} eye too; mend RecordedEye in one of them.")
        gaze[eye], sidecars[eye] = _read_physio(path, sidecar), sidecar
    rates = {sidecar.rate_hz for sidecar in sidecars.values()}
    if len(rates) > 1:
        raise DataError(f"{run.folder / run.prefix}: its eyes differ in SamplingFrequency; mend their JSON files.")
    return Recording(
        participant=run.participant,
        run=run.run,
        samples=_joined_eyes(gaze),
        rate_hz=rates.pop(),
        screen=_screen_of(run),
        eyes=tuple(eye for eye in ("left", "right") if eye in gaze),
        simulated=any(bool(sidecar.simulated) for sidecar in sidecars.values()),
        events=read_events(run.events_file, meant),
        sidecars=sidecars,
    )


def _read_physio(path: Path, sidecar: PhysioSidecar) -> NDArray[np.float64]:
    """(n, 4): seconds, x and y in px of the screen, pupil; NaN where missing."""
    names = sidecar.columns
    for name in PHYSIO_COLUMNS[:3]:
        if name not in names:
            raise DataError(f"{path}: Columns in its JSON file does not name {name}, which BIDS requires.")
    try:
        data = gzip.decompress(path.read_bytes()).replace(b"\r\n", b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed ({error}): fetch it again, it is not whole.") from None
    wanted = [names.index(name) for name in PHYSIO_COLUMNS if name in names]
    try:
        parsed = parse_rows(data, len(names), wanted)
    except ValueError as error:
        raise DataError(_first_broken_row(path, data, names, wanted, error)) from None
    values = np.full((len(parsed), len(PHYSIO_COLUMNS)), np.nan)
    values[:, [column for column, name in enumerate(PHYSIO_COLUMNS) if name in names]] = parsed
    if len(values) == 0:
        raise DataError(f"{path} has no rows: the run holds no gaze; leave it out of the data set.")
    if np.isinf(values).any():
        row, column = (int(i) for i in np.argwhere(np.isinf(values))[0])
        raise DataError(f"{path}, row {row + 1}: {PHYSIO_COLUMNS[column]} is infinite; where it is missing write n/a.")
    if np.isnan(values[:, 0]).any():
        row = int(np.flatnonzero(np.isnan(values[:, 0]))[0]) + 1
        raise DataError(f"{path}, row {row} has no timestamp: each sample needs one.")
    values[:, 0] *= _seconds_per_unit(path, sidecar, values[:, 0])
    steps = np.diff(values[:, 0])
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 2
        raise DataError(f"{path}, row {row}: its timestamp does not come after the row before; sort or mend the rows.")
    return values


def _first_broken_row(path: Path, data: bytes, names: Sequence[str], wanted: Sequence[int], error: Exception) -> str:
    for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n"), start=1):
        cells = line.split("\t")
        if len(cells) != len(names):
            return f"{path}, row {number} has {len(cells)} columns where its JSON names {len(names)}; mend that row."
        for column in wanted:
            try:
                float(cells[column].replace("n/a", "nan"))
            except ValueError:
                what = f"{names[column]} is {cells[column]!r}"
                return f"{path}, row {number}: {what}; it must be a number, or n/a where it is missing."
    return f"{path} cannot be read ({error}): export it again."


def _seconds_per_unit(path: Path, sidecar: PhysioSidecar, timestamps: NDArray[np.float64]) -> float:
    """Seconds per unit of the timestamps: as the sidecar says, else by the sampling rate; both must agree."""
    scales = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "μs": 1e-6, "ns": 1e-9}
    step = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else float("nan")
    named = sidecar.timestamp.units if sidecar.timestamp else None
    for unit, scale in scales.items():
        if named in (None, unit) and (not step > 0 or 0.5 < step * scale * sidecar.rate_hz < 2):
            return scale
    raise DataError(
        f"{path}: its timestamps step by {step:g} {named or ''} where SamplingFrequency is {sidecar.rate_hz:g} Hz; "
        "mend one."
    )


def _joined_eyes(eyes: Mapping[Eye, NDArray[np.float64]]) -> Samples:
    traces = list(eyes.values())
    times = traces[0][:, 0]
    for trace in traces[1:]:
        if np.array_equal(times, trace[:, 0]):
            continue
        if len(times) > 1:
            # A tracker may stamp one eye a little after the other: samples less than half a step apart are one.
            half_step = np.median(np.diff(times)) / 2
            right = np.clip(np.searchsorted(times, trace[:, 0]), 1, len(times) - 1)
            near = np.where(trace[:, 0] - times[right - 1] < times[right] - trace[:, 0], right - 1, right)
            same = np.abs(times[near] - trace[:, 0]) < half_step
            # Each sample has one partner: of two that are near, the second is a sample of its own.
            same[1:] &= near[1:] != near[:-1]
            trace[same, 0] = times[near[same]]
        times = np.union1d(times, trace[:, 0])
    samples = np.zeros(len(times), SAMPLE)
    for name in SAMPLE.names or ():
        samples[name] = np.nan
    samples["time_s"] = times
    for eye, trace in eyes.items():
        rows = np.searchsorted(times, trace[:, 0])
        for column, name in enumerate(("x_px", "y_px", "pupil"), start=1):
            samples[f"{eye}_{name}"][rows] = trace[:, column]
    return samples


def _screen_of(run: Run) -> Screen:
    path = run.events_file
    if not path.exists():
        raise DataError(f"{path} does not exist: without it nobody knows what was shown.")
    shown = events_sidecar(path).presentation
    if shown is None:
        raise DataError(f"{path}: its JSON file has no StimulusPresentation; add ScreenDistance, ScreenSize (metres).")
    if shown.distance_m is None or shown.size_m is None or shown.resolution_px is None:
        raise DataError(
            f"{path}: StimulusPresentation in its JSON file lacks one of ScreenDistance, ScreenSize (metres) and "
            "ScreenResolution (px); add it."
        )
    if shown.origin is not None and sorted(shown.origin) != ["left", "top"]:
        raise DataError(f"{path}: ScreenOrigin is {shown.origin}; convert gaze to an origin of top left.")
    distance_m, (width_m, height_m), (width_px, height_px) = shown.distance_m, shown.size_m, shown.resolution_px
    if not (distance_m < 20 and width_m < 10 and height_m < 10):
        raise DataError(
            f"{path}: ScreenDistance {distance_m:g} and ScreenSize {width_m:g} x {height_m:g} cannot be metres, the "
            "unit that BIDS asks for; mend its JSON file."
        )
    return Screen(width_px, height_px, width_m * 100, height_m * 100, distance_m * 100)
