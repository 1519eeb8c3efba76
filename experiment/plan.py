"""What a session is to do: the order of the pictures, which of them are left, and where they stand on the screen.

Pure functions but for `plan_from_disk`. Nothing is shown or recorded here; `experiment.session` carries a plan out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, degrees, radians, tan
from pathlib import Path
from typing import Literal

import pandas as pd

from beholder.experiment.observer import generator
from beholder.shared.dataset.reading import runs
from beholder.shared.errors import StudyError
from beholder.shared.labels import label
from beholder.shared.recording.journal import journals
from beholder.shared.screen import Rect, Screen
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import PictureSettings, Study, read_study
from beholder.shared.tables import read_events

# The statuses of a picture that was shown to its end, late or not.
SEEN = ("complete", "late")


@dataclass(frozen=True)
class Trial:
    """One presentation: its number in the participant's order (from 1), and whether the picture was seen before."""

    number: int
    stimulus: Stimulus
    exposure: Literal["first", "repeat"]


@dataclass(frozen=True)
class Plan:
    """What a session is to do: the run's number, and the trials that have no complete presentation yet, in order."""

    participant: str
    run: int
    trials: tuple[Trial, ...]
    pictures: int


def picture_order(study: Study, stimuli: Sequence[Stimulus], participant: str) -> tuple[Stimulus, ...]:
    """The pictures in this participant's order, drawn from the study's seed and the label."""
    ordered = sorted(stimuli, key=lambda stimulus: stimulus.name)
    rng = generator(study.study.seed, participant, "order")
    return tuple(ordered[i] for i in rng.permutation(len(ordered)))


def plan_session(
    study: Study,
    stimuli: Sequence[Stimulus],
    participant: str,
    earlier: Sequence[tuple[int, pd.DataFrame]],
    *,
    again: bool = False,
) -> Plan:
    """The next session of a participant, given the run numbers and events tables of the earlier ones.

    The plan is for the next run number, with every trial whose picture was not yet shown to its end, in the
    participant's order. Where all were, it has none, unless the participant is to see them all `again`: in that new
    pass only the runs since count. A picture of which any part was shown before is a repeat. Raises StudyError where
    the earlier trials do not follow this order: then the pictures or the seed have been changed since.
    """
    order = picture_order(study, stimuli, participant)
    every = range(1, len(order) + 1)
    complete: set[int] = set()
    seen: set[str] = set()
    for run, events in sorted(earlier, key=lambda pair: pair[0]):
        if complete == {*every}:
            # A run after a complete pass can only have begun a new pass.
            complete = set()
        shown = events[events["trial_type"] == "picture"]
        for number, stim_file, status in zip(shown["trial"], shown["stim_file"], shown["status"], strict=True):
            if number not in every or order[number - 1].stim_file != stim_file:
                raise StudyError(
                    f"run {run} of participant {participant} showed {stim_file} in trial {number}, where the study now "
                    "has another picture: put the pictures and the seed back as they were, or take a new label."
                )
            seen.add(stim_file)
            if status in SEEN:
                complete.add(int(number))
    if again and complete == {*every}:
        complete = set()
    trials = tuple(
        Trial(number, stimulus, "repeat" if stimulus.stim_file in seen else "first")
        for number, stimulus in enumerate(order, start=1)
        if number not in complete
    )
    return Plan(participant, 1 + max((run for run, _ in earlier), default=0), trials, len(order))


def plan_from_disk(
    study_folder: Path, participant: str, *, resume: bool = False, another_run: int | None = None
) -> Plan:
    """The plan for the next session of this participant, from what the study folder holds.

    A first session needs no switch; `resume` goes on with one that has pictures left; `another_run` shows all pictures
    again to a participant who is complete, and names that run, so that nobody is measured twice by a slip. Raises
    StudyError, with what to type, where the switches do not fit what is there, where a session of this participant is
    running, or where a crash left one that could not be recovered (`shared.dataset.recover` comes before this).
    """
    participant = label(participant)
    for state in journals(study_folder):
        if state.participant == participant and state.running:
            raise StudyError(
                f"participant {participant} is being recorded now ({state.folder}): end that session first."
            )
        if state.participant == participant:
            raise StudyError(
                f"{state.folder} was left by a crash and could not be recovered: move it out of the study folder, keep "
                "it, and start again."
            )
    study, (stimuli, _) = read_study(study_folder), read_stimuli(study_folder / "stimuli")
    of_participant = [run for run in runs(study_folder, with_gaze=False) if run.participant == participant]
    earlier = [(run.run, read_events(run.events_file, study.checks.meant)) for run in of_participant]
    plan = plan_session(study, stimuli, participant, earlier)
    command = f"beholder run {study_folder} --participant {participant}"
    if not earlier:
        if resume or another_run not in (None, 1):
            raise StudyError(f'participant {participant} has no session to resume or repeat: begin with "{command}".')
        return plan
    if plan.trials:
        if another_run is not None or not resume:
            raise StudyError(
                f"participant {participant} has a session already, with {len(plan.trials)} of {plan.pictures} pictures "
                f'left: go on with "{command} --resume", or take another label.'
            )
        return plan
    if another_run != plan.run or resume:
        raise StudyError(
            f"participant {participant} has seen all {plan.pictures} pictures, nothing is left to do: to show them all "
            f'again, as another run, "{command} --run {plan.run}".'
        )
    return plan_session(study, stimuli, participant, earlier, again=True)


def picture_rect(screen: Screen, stimulus: Stimulus, pictures: PictureSettings) -> Rect:
    """Where a picture stands on the screen. Raises StudyError where its size is not known, or the screen too small."""
    if pictures.size_deg is None:
        raise StudyError("pictures.size_deg is not set in study.toml: say how large the pictures are to be shown.")
    size_deg = pictures.size_deg
    if pictures.size_of == "width" and stimulus.height_px > stimulus.width_px:
        # `Screen.place` takes the size of the longer side: here the height, from the width by the picture's aspect.
        share = stimulus.height_px / stimulus.width_px
        size_deg = degrees(2 * atan(tan(radians(size_deg) / 2) * share))
    rect = screen.place(stimulus.width_px, stimulus.height_px, size_deg)
    if rect.width_px > screen.width_px or rect.height_px > screen.height_px:
        raise StudyError(
            f"{stimulus.file.name} would be {rect.width_px:.0f} x {rect.height_px:.0f} px, larger than the screen: "
            "make pictures.size_deg in study.toml smaller."
        )
    return rect
