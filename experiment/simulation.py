"""Simulated participants: the real session, recorder and publishing, with synthetic eyes on a virtual clock.

Each participant's random numbers follow from the seed and their label alone, so the first 10 of 30 are the same as 10
alone, and the data are the same bytes for any number of processes. What was planted is written beside the data, in
`sourcedata/sub-01/..._truth.json`. Data that were recorded from people are never mixed with these.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.experiment.devices import WindowEvent
from beholder.experiment.headless import HeadlessDisplay, ScriptedOperator, ScriptedParticipant
from beholder.experiment.observer import Observer, generator, read_densities
from beholder.experiment.pages import choices, read_texts
from beholder.experiment.plan import Plan, plan_session
from beholder.experiment.session.ending import Outcome
from beholder.experiment.session.parts import Pace, SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.experiment.trackers.synthetic import SyntheticTracker
from beholder.shared.dataset.reading import beh_runs, runs
from beholder.shared.errors import StudyError
from beholder.shared.inside import inside
from beholder.shared.processes import deaf_to_interrupts
from beholder.shared.provenance import digest
from beholder.shared.recording.journal import exclusive, journals, read_journal
from beholder.shared.recording.transaction import finish_changes
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import ScreenSettings, Study, read_study

# Nobody has to be answered in time here: gaze is fetched in larger pieces than in a lab.
PUMP_EVERY_S = 0.5


@dataclass(frozen=True)
class SimulationReport:
    """Which participants were simulated now, and which were there already; labels, sorted."""

    simulated: tuple[str, ...]
    already_there: tuple[str, ...]


def simulate(
    study_folder: Path,
    participants: int,
    seed: int,
    *,
    workers: int = 2,
    progress: Callable[[str, float], None] | None = None,
) -> SimulationReport:
    """Simulate participants 01, 02, ... of a study; those that are there already are left alone.

    `progress` is told what was done last, and the share of all that is done (0 to 1). Raises StudyError where the
    study cannot be simulated, or holds data of people or of another simulation.
    """
    if participants < 1:
        raise StudyError(f"participants: {participants} is not possible; take 1 or more.")
    labels = [f"{number:02d}" for number in range(1, participants + 1)]
    study = read_study(study_folder)
    facts = simulation_facts(study_folder, study, seed)
    finish_changes(study_folder)
    _drop_unfinished(study_folder)
    _refuse_others(study_folder, facts)
    there = {run.participant for run in runs(study_folder)}
    missing = [label for label in labels if label not in there]
    done = 0

    def tell(label: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"sub-{label}", done / len(missing))

    if workers <= 1 or len(missing) <= 1:
        for label in missing:
            simulate_participant(study_folder, label, facts)
            tell(label)
    else:
        _simulate_in_parallel(study_folder, missing, facts, min(workers, len(missing)), tell)
    return SimulationReport(tuple(missing), tuple(label for label in labels if label in there))


def simulate_participant(study_folder: Path, label: str, facts: Mapping[str, Any]) -> None:
    """Simulate one participant's whole session and publish it; `facts` come from `simulation_facts`.

    Raises StudyError where it did not end as planned.
    """
    study = read_study(study_folder)
    stimuli, _ = read_stimuli(study_folder / "stimuli")
    plan = plan_session(study, stimuli, label, [])
    session = simulated_session(study_folder, study, plan, facts)
    outcome = session.run(keep_aborted=False)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.reason or outcome.failures:
        why = outcome.reason or outcome.failures[0]
        raise StudyError(f"the simulation of participant {label} did not end as planned: {why}")


@dataclass(frozen=True)
class SimulatedSession(SessionSetup):
    """A session whose display, tracker and people are simulated."""

    display: HeadlessDisplay
    tracker: SyntheticTracker
    operator: ScriptedOperator

    def run(self, *, keep_aborted: bool = True) -> Outcome:
        """Run the session, as a lab would; see `run_session`."""
        return run_session(self, Pace(sync_every_s=None, pump_every_s=PUMP_EVERY_S), keep_aborted=keep_aborted)


def simulated_session(
    study_folder: Path,
    study: Study,
    plan: Plan,
    facts: Mapping[str, Any],
    *,
    events: Sequence[WindowEvent] = (),
    operator: ScriptedOperator | None = None,
) -> SimulatedSession:
    """Display, tracker and people for one session; `events` come from the window at their times.

    A later run of a participant has random numbers of its own: it does not repeat the first.
    """
    screen = _screen_of(study_folder, study)
    who = plan.participant if plan.run == 1 else f"{plan.participant} run {plan.run}"
    seed = int(facts["seed"])
    densities = read_densities(study_folder, study, [trial.stimulus for trial in plan.trials])
    eyes = Observer(
        study.observer, screen.screen(), densities, study.alignment.centre_share, generator(seed, who, "gaze")
    )
    participant = ScriptedParticipant(_answers(study, generator(seed, who, "answers")))
    display = HeadlessDisplay(
        screen.screen(), screen.refresh_hz, participant, events=events, background=study.protocol.background
    )
    planted = {"participant": plan.participant, **facts}
    tracker = SyntheticTracker(display.clock, eyes, study.observer, generator(seed, who, "measurement"), planted)
    display.watcher = tracker.watch
    return SimulatedSession(study_folder, study, plan, display, tracker, operator or ScriptedOperator())


def _answers(study: Study, rng: np.random.Generator) -> dict[str, Callable[[], Sequence[str]]]:
    """What a simulated participant answers, by the beginning of the question: consent, age, ratings, else nothing."""
    texts = read_texts(study.study.language)
    age_years = str(rng.integers(18, 41))

    def typed(answer: str) -> Callable[[], Sequence[str]]:
        return lambda: [*answer, "return"]

    answers = {
        texts["form"].get(name, f"{name}:"): typed(age_years if name == "age" else "") for name in study.protocol.form
    }
    yes = next(key for key, (answer, _) in choices("consent", texts).items() if answer == "yes")
    consents = {texts["form"]["consent"]: lambda: [yes]}
    return {**answers, **consents, texts["rating"]: lambda: [str(rng.integers(1, 8))]}


def _screen_of(study_folder: Path, study: Study) -> ScreenSettings:
    if study.screen is None:
        raise StudyError(f"{study_folder / 'study.toml'} has no section screen: a simulation needs its geometry.")
    return study.screen


def simulation_facts(study_folder: Path, study: Study, seed: int) -> dict[str, Any]:
    """What determines a simulation, written into each truth file: simulations with the same facts belong together."""
    _screen_of(study_folder, study)
    stimuli, _ = read_stimuli(study_folder / "stimuli")
    settings = {
        name: getattr(study, name).model_dump()
        for name in ("study", "screen", "pictures", "tracker", "protocol", "limits", "observer")
    }
    return {
        "seed": seed,
        "map": study.observer.map,
        "head": study.observer.head,
        "map_digest": digest(read_densities(study_folder, study, stimuli)),
        "follow": study.observer.follow,
        "settings_digest": digest(settings),
    }


def _refuse_others(study_folder: Path, facts: dict[str, Any]) -> None:
    for run in beh_runs(study_folder):
        raise StudyError(
            f"{study_folder} holds imported fixations (participant {run.participant}): simulate in a study folder of "
            "its own."
        )
    for run in runs(study_folder):
        truth = study_folder / "sourcedata" / f"sub-{run.participant}" / f"{run.prefix}_truth.json"
        if not truth.exists():
            raise StudyError(
                f"{study_folder} holds recordings that this program did not simulate (participant {run.participant}): "
                "simulate in a study folder of its own."
            )
        known = json.loads(truth.read_text("utf-8"))
        for key, name in (("seed", "seed"), ("map_digest", "observer's map"), ("settings_digest", "settings")):
            if known.get(key) != facts[key]:
                raise StudyError(
                    f"participant {run.participant} was simulated with another {name}: put it back as it was, or "
                    "simulate in another study folder."
                )


def _drop_unfinished(study_folder: Path) -> None:
    """Remove the journals of simulated sessions that were cut short: they are simulated anew, with the same result."""
    for state in journals(study_folder):
        if state.running:
            raise StudyError(f"{state.folder} is being recorded now: wait for that session to end.")
        if (state.folder / "session.json").exists() and not read_journal(state.folder).header.tracker.simulated:
            raise StudyError(f"{state.folder} is a person's session that a crash left: recover it first.")
        with exclusive(state.folder):
            shutil.rmtree(inside(study_folder, state.folder))


def _simulate_in_parallel(
    study_folder: Path, labels: list[str], facts: Mapping[str, Any], workers: int, tell: Callable[[str], None]
) -> None:
    # Fresh processes, on every system alike: a forked one would inherit threads and locks in mid-use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        with deaf_to_interrupts():
            running = {pool.submit(simulate_participant, study_folder, label, facts): label for label in labels}
        for future in as_completed(running):
            future.result()
            tell(running[future])
    finally:
        # After Ctrl-C or an error the sessions under way are still finished, seconds each; the others are not begun.
        pool.shutdown(wait=True, cancel_futures=True)
