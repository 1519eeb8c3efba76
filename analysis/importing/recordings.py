"""Imports vendors' recordings into a study: EyeLink ASC and EDF, Tobii Pro Lab, Titta and SDK tables.

Readers give what a file holds (vendor_recording.py). Here messages become trials and pictures by the expressions in
the study's [messages], and each recording is then stored as a recorded session is: in a journal first, and from there,
whole or not at all, in the data set. Every file is read and checked before the first is written. The screen's geometry
comes from the study or from the user; where neither gives it, it stays unknown. Fixations are found later.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from beholder.analysis.importing.fixation_table import participant_labels, settings_for_import
from beholder.analysis.importing.identifying import without_dates, without_folders
from beholder.analysis.importing.one_change import ALL_THERE, alone, bring_in
from beholder.analysis.importing.plausibility import check_gaze, check_recording, meant_of
from beholder.analysis.importing.presentations import Presentations, ShownPicture
from beholder.analysis.importing.vendor_recording import VendorRecording
from beholder.shared.dataset.making import beholder_version
from beholder.shared.errors import DataError, Remark, StudyError
from beholder.shared.gaze import Samples
from beholder.shared.labels import Label
from beholder.shared.recording.journal import JournalWriter, journals_folder, read_journal
from beholder.shared.recording.records import (
    Begin,
    Calibrated,
    ClockReading,
    End,
    MessageSent,
    Point,
    Record,
    Validated,
)
from beholder.shared.recording.run_files import link_sourcedata, write_run
from beholder.shared.recording.session_header import RecordedScreen, SessionHeader, TrackerInfo
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import (
    NEW_PRIMARY,
    AlignmentSettings,
    CheckSettings,
    MessageSettings,
    PictureSettings,
    ScreenSettings,
    Study,
    StudySettings,
    TrackerSettings,
    read_study,
)

Place = Literal["centred", "filled"]
Reader = Callable[[Path], Sequence[VendorRecording]]
# Samples that are handed to the journal at once.
_CHUNK = 100_000


@dataclass(frozen=True)
class NewStudy:
    """What a new study needs to know that the recordings may not say.

    `images` is the folder of the pictures; `screen_px` and `screen_cm` are width and height; `place` is where pictures
    stood if no message says so. What is None is unknown.
    """

    images: Path | None = None
    screen_px: tuple[int, int] | None = None
    screen_cm: tuple[float, float] | None = None
    distance_cm: float | None = None
    place: Place | None = None


@dataclass(frozen=True)
class ImportedGaze:
    """What an import brought in: participants' labels, and how many samples and presentations of pictures."""

    study_folder: Path
    participants: tuple[str, ...]
    samples: int
    pictures: int
    remarks: tuple[Remark, ...]


@dataclass(frozen=True)
class _Plan:
    """What will be written of a recording that was checked, besides its samples."""

    label: Label
    run: int
    header: SessionHeader
    pictures: tuple[ShownPicture, ...]
    samples: int
    remarks: tuple[Remark, ...]
    file_name: str

    @property
    def noted(self) -> list[Remark]:
        """The remarks with label and run in place of the file's name, which may be a person's."""
        about = f"sub-{self.label}_run-{self.run}"
        return [replace(r, about=about) if r.about == self.file_name else r for r in self.remarks]


def import_asc(
    source: Path,
    study_folder: Path,
    new: NewStudy | None = None,
    *,
    participant: str | None = None,
    run: int = 1,
    meant: Sequence[str] = (),
) -> ImportedGaze:
    """Bring EyeLink ASC (a file, or a folder of files, one participant each) into a study; make it where there is none.

    `participant` labels a single recording, else the file's name does; `run` is the number of its run; `meant` names
    what is unusual but intended (see `shared.study.CheckSettings`), which a new study keeps. Raises DataError or
    StudyError, naming file, line and remedy, and writes nothing, where anything is not as it should be.
    """
    from beholder.analysis.importing.eyelink_asc import read_asc

    found = _Source(lambda path: [read_asc(path)], (".asc",), source, participant, run)
    return _import(found, study_folder, new, meant)


def import_edf(
    source: Path,
    study_folder: Path,
    new: NewStudy | None = None,
    *,
    participant: str | None = None,
    run: int = 1,
    meant: Sequence[str] = (),
) -> ImportedGaze:
    """Bring EyeLink EDF into a study, which needs the package eyelinkio; arguments and errors as for `import_asc`."""
    from beholder.analysis.importing.eyelink_edf import read_edf

    found = _Source(lambda path: [read_edf(path)], (".edf",), source, participant, run)
    return _import(found, study_folder, new, meant)


def import_tobii(
    source: Path,
    study_folder: Path,
    new: NewStudy | None = None,
    *,
    participant: str | None = None,
    run: int = 1,
    meant: Sequence[str] = (),
) -> ImportedGaze:
    """Bring Tobii recordings into a study; arguments and errors as for `import_asc`.

    A file is a Pro Lab export (any number of participants), Titta's HDF5, or a table of SDK columns.
    """
    from beholder.analysis.importing.tobii import read_tobii

    found = _Source(read_tobii, (".tsv", ".csv", ".txt", ".h5", ".hdf5"), source, participant, run)
    return _import(found, study_folder, new, meant)


@dataclass(frozen=True)
class _Source:
    """Vendors' files of one kind, and the participant and run that the command names for them."""

    read: Reader
    endings: tuple[str, ...]
    place: Path
    participant: str | None
    run: int

    @cached_property
    def files(self) -> list[Path]:
        """The file, or the folder's files of this kind, sorted. Raises DataError where a folder holds none."""
        if not self.place.is_dir():
            return [self.place]
        found = sorted(
            file
            for file in self.place.iterdir()
            if file.is_file() and file.suffix.lower() in self.endings and not file.stem.endswith("_msg")
        )
        if not found:
            raise DataError(
                f"{self.place} holds no file that ends in {', '.join(self.endings)}: name the folder of the recordings."
            )
        return found

    @cached_property
    def _of_one_file(self) -> tuple[VendorRecording, ...]:
        return tuple(self.read(self.files[0]))

    def recordings(self) -> Iterator[VendorRecording]:
        """All recordings. A single file is read once, several anew each time, as they may not fit into memory."""
        for file in self.files:
            yield from self._of_one_file if len(self.files) == 1 else self.read(file)

    def names(self) -> list[str]:
        """The participant's name of each recording: as given, else the label in a BIDS name, else the recording's name.

        Raises DataError where one name is given for several recordings.
        """
        of_files = [recording.name for recording in self.recordings()]
        if self.participant is not None and len(of_files) > 1:
            raise DataError(
                f"{self.place} holds {len(of_files)} recordings: leave --participant out, their names are the labels."
            )
        bids = [re.match(r"sub-([A-Za-z0-9]+)(_|$)", name) for name in of_files]
        return [self.participant or (found[1] if found else name) for found, name in zip(bids, of_files, strict=True)]


@dataclass(frozen=True)
class _Target:
    """The study that recordings come into, with its pictures; `new` is None where the study exists already."""

    folder: Path
    new: NewStudy | None
    images: Path
    stimuli: Sequence[Stimulus]
    checks: CheckSettings

    def settings(self, first: VendorRecording) -> Study:
        """The study's settings; for a new study, made for its first recording."""
        if self.new is None:
            return read_study(self.folder)
        return _new_study(self.folder, self.new, first).model_copy(update={"checks": self.checks})


def _import(source: _Source, study_folder: Path, new: NewStudy | None, meant: Sequence[str]) -> ImportedGaze:
    with alone(study_folder):
        return _import_alone(source, study_folder, new or NewStudy(), meant)


def _import_alone(source: _Source, study_folder: Path, new: NewStudy, meant: Sequence[str]) -> ImportedGaze:
    checks = CheckSettings(meant=list(meant_of(meant)))
    names = source.names()
    labels, renamed = participant_labels(list(dict.fromkeys(names)), source.place)
    # Participants who are there already may come from this very command, if it was cut short after its last step.
    all_there = all((study_folder / f"sub-{who}").exists() for who in labels.values())
    is_new = not (study_folder / "study.toml").exists() or (new.images is not None and all_there)
    images = _images(study_folder, is_new, new)
    stimuli, found = read_stimuli(images)
    target = _Target(study_folder, new if is_new else None, images, stimuli, checks)
    study, plans = _checked(source, [labels[name] for name in names], target)
    taken = [plan for plan in plans if _is_there(study_folder, study, plan)]
    refusal = _refusal(study_folder, taken)
    if refusal and len(taken) < len(plans):
        raise StudyError(refusal)
    seen = {picture.stimulus.name for plan in plans for picture in plan.pictures}
    unseen = [Remark(s.file.name, "it was shown to nobody who was imported") for s in stimuli if s.name not in seen]

    def build(folder: Path) -> None:
        for recording, plan in zip(source.recordings(), plans, strict=True):
            _write(folder, recording, plan)

    people = sorted({plan.label for plan in plans})
    # Remarks that the study keeps, for the analysis to repeat, name no file, and participants by their label alone.
    noted = [*found, *(remark for plan in plans for remark in plan.noted), *unseen]
    added = bring_in(study_folder, (study, images) if is_new else None, build, people, noted, refusal)
    remarks = (*found, *renamed, *(remark for plan in plans for remark in plan.remarks), *unseen)
    return ImportedGaze(
        study_folder,
        tuple(people),
        sum(plan.samples for plan in plans),
        sum(len(plan.pictures) for plan in plans),
        remarks if added else (*remarks, ALL_THERE),
    )


def _refusal(study_folder: Path, taken: Sequence[_Plan]) -> str:
    if not taken:
        return ""
    return (
        f"participant {taken[0].label} has a run {taken[0].run} in {study_folder} already, and nothing recorded is "
        f"overwritten: name another with --run or --participant, or remove the participant with "
        f'"beholder withdraw {study_folder} {taken[0].label}".'
    )


def _checked(source: _Source, labels: Sequence[Label], target: _Target) -> tuple[Study, list[_Plan]]:
    """The study's settings, and what will be written of each recording.

    Raises DataError or StudyError where anything is not as it should be.
    """
    study: Study | None = None
    plans = []
    for recording, label in zip(source.recordings(), labels, strict=True):
        study = study or target.settings(recording)
        meant = {*target.checks.meant, *study.checks.meant}
        check_recording(recording, study.messages, meant)
        plan = _plan(recording, label, source.run + recording.run - 1, study, target)
        shown = [(picture.onset_s, picture.end_s, picture.rect) for picture in plan.pictures]
        screen = plan.header.screen
        px, cm = (screen.width_px, screen.height_px), (screen.width_cm, screen.height_cm)
        check_gaze(recording, px, shown, meant, cm)
        plans.append(plan)
    assert study is not None
    return study, plans


# The study that recordings come into.


def _images(study_folder: Path, is_new: bool, new: NewStudy) -> Path:
    if is_new and new.images is None:
        raise StudyError(f"{study_folder} is not a study yet: name the folder of its pictures with --images.")
    if not is_new and new != NewStudy():
        raise StudyError(
            f"{study_folder} is a study already, with its pictures and its [screen] in study.toml: leave --images, "
            "--screen-px, --screen-cm, --distance-cm and --picture-place out."
        )
    return new.images if is_new and new.images is not None else study_folder / "stimuli"


def _new_study(study_folder: Path, new: NewStudy, first: VendorRecording) -> Study:
    """The settings of a study made for its first recording; a geometry that nobody gave stays unknown."""
    name = study_folder.resolve().name or "Imported recordings"
    if (new.screen_cm is None) != (new.distance_cm is None):
        raise StudyError("--screen-cm and --distance-cm belong together: give both, or neither if one is not known.")
    update: dict[str, Any] = {"messages": MessageSettings(place=new.place or "unknown")}
    maker = first.tracker["manufacturer"]
    if 20 <= first.rate_hz <= 4000:
        eyes = "both" if len(first.eyes) == 2 else first.eyes[0]
        update["tracker"] = TrackerSettings(
            name="eyelink" if maker == "SR Research" else "tobii", rate_hz=first.rate_hz, eyes=eyes
        )
    if new.screen_cm is None or new.distance_cm is None:
        return settings_for_import(name, None).model_copy(update=update)
    width_px, height_px = _screen_px(first, None, new)
    try:
        screen = ScreenSettings(
            width_px=width_px,
            height_px=height_px,
            width_cm=new.screen_cm[0],
            height_cm=new.screen_cm[1],
            distance_cm=new.distance_cm,
        )
    except ValidationError as error:
        said = re.sub(r"^Value error, ", "", error.errors()[0]["msg"])
        raise StudyError(f"the screen of {width_px} x {height_px} px cannot be of that size: {said}.") from None
    alignment = AlignmentSettings(primary=NEW_PRIMARY)
    study = Study(study=StudySettings(name=name), screen=screen, pictures=PictureSettings(), alignment=alignment)
    return study.model_copy(update=update)


def _screen_px(recording: VendorRecording, screen: ScreenSettings | None, new: NewStudy | None) -> tuple[int, int]:
    """The screen's width and height in px, as the study (or the user, for a new one) and the file say.

    Raises DataError where neither says it, or where they contradict each other.
    """
    told = (screen.width_px, screen.height_px) if screen else new.screen_px if new else None
    by = "[screen] in study.toml" if screen else "--screen-px"
    if told is None and not recording.screen_px:
        raise DataError(
            f"{recording.file} does not say how many px the screen has, without which gaze cannot be placed on it: "
            f"{'give --screen-px' if new else 'write [screen] into study.toml'}."
        )
    if told and recording.screen_px and told not in recording.screen_px:
        width_px, height_px = recording.screen_px[0]
        raise DataError(
            f"{recording.file} was recorded on a screen of {width_px} x {height_px} px, and {by} says "
            f"{told[0]} x {told[1]}: correct the one that is wrong."
        )
    return told or recording.screen_px[0]


def _is_there(study_folder: Path, study: Study, plan: _Plan) -> bool:
    folder = study_folder / f"sub-{plan.label}" / "beh"
    recorded = any(folder.glob(f"sub-{plan.label}_task-{study.study.task}_run-{plan.run}_*"))
    return recorded or (journals_folder(study_folder) / f"sub-{plan.label}_run-{plan.run}").exists()


def _plan(recording: VendorRecording, label: Label, run: int, study: Study, target: _Target) -> _Plan:
    screen_px = _screen_px(recording, study.screen, target.new)
    stimuli, images, is_new = target.stimuli, target.images, target.new is not None
    pictures, remarks = Presentations(recording, study, stimuli, images, screen_px, is_new).found()
    if missing := _missing_samples(recording):
        share = 100 * missing / (missing + len(recording.samples))
        text = f"{missing} samples ({share:.2g} %) are missing between others; they count as lost"
        remarks.append(Remark(recording.file.name, text))
    known = study.screen
    if known is None:
        text = (
            "the screen's size and distance are not known: no fixation can be found in its gaze before both stand in "
        )
        remarks.append(Remark(recording.file.name, text + "study.toml ([screen]) and it is imported again"))
    told = recording.tracker
    cm = (known.width_cm, known.height_cm, known.distance_cm) if known else (None, None, None)
    header = SessionHeader(
        participant=label,
        run=run,
        task=study.study.task,
        beholder=beholder_version(),
        instructions="Not known: the recording was imported.",
        task_description="Pictures were shown by another program; its recording was imported.",
        imported=True,
        screen=RecordedScreen(*screen_px, *cm),
        tracker=TrackerInfo(
            manufacturer=told["manufacturer"],
            model=told["model"],
            serial=told["serial"],
            software=told["software"],
            rate_hz=recording.rate_hz,
            eyes=recording.eyes,
            pupil_unit=told["pupil_unit"],
            pupil_measure=told["pupil_measure"],
            simulated=False,
        ),
    )
    samples = len(recording.samples)
    return _Plan(label, run, header, pictures, samples, (*recording.remarks, *remarks), recording.file.name)


def _missing_samples(recording: VendorRecording) -> int:
    """How many samples the tracker left out while it was recording; pauses are not counted."""
    times = recording.samples["time_s"]
    steps = np.rint(np.diff(times) * recording.rate_hz).astype(int) - 1
    steps[np.searchsorted(times, recording.pauses_s[recording.pauses_s < times[-1]]) - 1] = 0
    return int(np.maximum(steps, 0).sum())


# Writing.


def _write(folder: Path, recording: VendorRecording, plan: _Plan) -> None:
    """Build a recording's files below `folder` as for a recorded session: first a journal, then the run's files."""
    aside = folder.with_name("import-journal")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        writer = JournalWriter(aside, plan.header)
        try:
            samples = _on_screen(recording, plan)
            for first in range(0, len(samples), _CHUNK):
                writer.append_samples(samples[first : first + _CHUNK])
                writer.flush()
            writer.append_records(_records(recording, plan))
            # The file's name may be a person's: the copy is named by the participant's label alone.
            own = writer.files / f"recording{recording.file.suffix.lower()}"
            if recording.own_file is None:
                shutil.copyfile(recording.file, own)
            else:
                # Without other participants' rows: each participant can be withdrawn alone.
                own.write_bytes(recording.own_file)
        finally:
            writer.close()
        journal = read_journal(writer.folder)
        # Written to a folder of its own: a participant may have several runs, and `write_run` expects one in a folder.
        run = folder / "run"
        write_run(journal, run)
        of_participant = folder / f"sub-{plan.label}" / "beh"
        of_participant.mkdir(parents=True, exist_ok=True)
        for file in run.iterdir():
            file.rename(of_participant / file.name)
        run.rmdir()
        link_sourcedata(journal, folder / "sourcedata" / f"sub-{plan.label}")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _on_screen(recording: VendorRecording, plan: _Plan) -> Samples:
    samples = recording.samples.copy()
    # From 0: a clock that counts since 1970, or since its computer was started, says when somebody was recorded.
    samples["time_s"] -= samples["time_s"][0]
    if recording.unit == "px":
        return samples
    for eye in ("left", "right"):
        samples[f"{eye}_x_px"] *= plan.header.screen.width_px
        samples[f"{eye}_y_px"] *= plan.header.screen.height_px
    return samples


def _records(recording: VendorRecording, plan: _Plan) -> list[Record]:
    zero_s = float(recording.samples["time_s"][0])
    # One clock: the file's own, from 0.
    records = [Record(0.0, ClockReading(0.0, 0.0, 0.0))]
    for calibration in recording.calibrations:
        points = tuple(Point(number, x, y) for number, (x, y) in enumerate(calibration.targets_px, start=1))
        records.append(Record(calibration.time_s - zero_s, Calibrated(success=True, points=points)))
    for validation in recording.validations:
        unknown = {"accuracy_deg": None, "accuracy_worst_deg": None, "passed": None}
        eyes = {eye: dict(validation.eyes.get(eye, unknown)) for eye in recording.eyes}
        at_s = validation.time_s - zero_s
        records.append(Record(at_s, Validated(at_s, eyes, accepted=True, overridden_by=None)))
    seen: set[str] = set()
    for number, shown in enumerate(plan.pictures, start=1):
        name, rect = shown.stimulus.name, shown.rect
        place = {f"picture_{side}": value for side, value in asdict(rect).items()}
        exposure = "repeat" if name in seen else "first"
        seen.add(name)
        begin = Begin(number, "picture", shown.trial, shown.stimulus.stim_file, exposure, **place)
        records.append(Record(shown.onset_s - zero_s, begin))
        status = "complete" if shown.complete else "aborted"
        records.append(Record(shown.end_s - zero_s, End(number, status)))
    for message in recording.messages:
        text = without_dates(without_folders(message.text))
        records.append(Record(message.time_s - zero_s, MessageSent(text)))
    for event in recording.detected:
        at_s = event.time_s - zero_s
        records.append(Record(at_s, replace(event, time_s=round(at_s, 6))))
    return records
