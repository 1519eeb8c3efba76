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

from experiment.observer import generator
from shared.dataset import read_events, runs
from shared.errors import StudyError
from shared.journal import journals
from shared.screen import Rect, Screen
from shared.stimuli import Stimulus, read_stimuli
from shared.study import PictureSettings, Study, read_study


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
    study: Study, stimuli: Sequence[Stimulus], participant: str, earlier: Sequence[tuple[int, pd.DataFrame]]
) -> Plan:
    """The next session of a participant, given the run numbers and events tables of the earlier ones.

    A resumed session is the next run; it has every trial without a complete picture, in the same order. A picture of
    which any was shown is a repeat. Raises StudyError where the earlier trials do not follow this order: then the
    pictures or the seed have been changed since.
    """
    order = picture_order(study, stimuli, participant)
    complete: set[int] = set()
    seen: set[str] = set()
    for run, events in earlier:
        shown = events[events["trial_type"] == "picture"]
        for number, stim_file, status in zip(shown["trial"], shown["stim_file"], shown["status"], strict=True):
            if not 1 <= number <= len(order) or order[number - 1].stim_file != stim_file:
                raise StudyError(
                    f"run {run} of participant {participant} showed {stim_file} in trial {number}, where the study now "
                    "has another picture: put the pictures and the seed back as they were, or take a new label."
                )
            seen.add(stim_file)
            if status == "complete":
                complete.add(int(number))
    trials = tuple(
        Trial(number, stimulus, "repeat" if stimulus.stim_file in seen else "first")
        for number, stimulus in enumerate(order, start=1)
        if number not in complete
    )
    return Plan(participant, 1 + max((run for run, _ in earlier), default=0), trials, len(order))


def plan_from_disk(study_folder: Path, participant: str, *, resume: bool) -> Plan:
    """The plan for the next session of this participant, from what the study folder holds.

    Raises StudyError where there are runs and `resume` is not set, where there are none and it is, where nothing is
    left to do, or where a journal has to be recovered first.
    """
    if not participant.isalnum() or not participant.isascii():
        raise StudyError(f'participant "{participant}": a label is made of letters and digits, such as 01.')
    for state in journals(study_folder):
        if state.participant == participant:
            what = "is being recorded now" if state.running else "was left by a crash: recover it first"
            raise StudyError(f"{state.folder} {what}.")
    study, (stimuli, _) = read_study(study_folder), read_stimuli(study_folder / "stimuli")
    of_participant = [run for run in runs(study_folder, with_gaze=False) if run.participant == participant]
    earlier = [(run.run, read_events(run.events_file)) for run in of_participant]
    if earlier and not resume:
        raise StudyError(f"participant {participant} has a session already: resume it, or take another label.")
    if resume and not earlier:
        raise StudyError(f"participant {participant} has no session to resume: check the label.")
    plan = plan_session(study, stimuli, participant, earlier)
    if not plan.trials:
        raise StudyError(f"participant {participant} has seen all {plan.pictures} pictures: nothing is left to do.")
    return plan


def picture_rect(screen: Screen, stimulus: Stimulus, pictures: PictureSettings) -> Rect:
    """Where a picture stands on the screen. Raises StudyError where its size is not known, or the screen too small."""
    if pictures.size_deg is None:
        raise StudyError("pictures.size_deg is not set in study.toml: say how large the pictures are to be shown.")
    size_deg = pictures.size_deg
    if pictures.size_of == "width" and stimulus.height_px > stimulus.width_px:
        # The height is the longer side, and as much larger as the picture is higher than wide.
        share = stimulus.height_px / stimulus.width_px
        size_deg = degrees(2 * atan(tan(radians(size_deg) / 2) * share))
    rect = screen.place(stimulus.width_px, stimulus.height_px, size_deg)
    if rect.width_px > screen.width_px or rect.height_px > screen.height_px:
        raise StudyError(
            f"{stimulus.file.name} would be {rect.width_px:.0f} x {rect.height_px:.0f} px, larger than the screen: "
            "make pictures.size_deg in study.toml smaller."
        )
    return rect
