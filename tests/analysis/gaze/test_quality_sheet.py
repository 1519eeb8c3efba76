"""The sheet at a session's end counts as usable what the analysis keeps, by every limit of the study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beholder.analysis.gaze.exclusion import LIMITS, exclude
from beholder.analysis.gaze.trials import fixations_of_run
from beholder.experiment.quality_sheet import quality_sheet
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import (
    ExclusionSettings,
    ObserverSettings,
    ProtocolSettings,
    Study,
    TrackerSettings,
    read_study,
    write_study,
)
from tests.analysis.scenes import three_scenes


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures; before the last a second validation, worse in the left eye and without a figure in the right."""
    folder = tmp_path_factory.mktemp("recorded")
    noisy = ObserverSettings(map="centre", loss_percent=20.0, drift_deg_per_min=3.0, blinks_per_min=20.0)
    quick = ProtocolSettings(dot_s=2.0, picture_s=2.0)
    study = Study(protocol=quick, observer=noisy, tracker=TrackerSettings(name="mouse", rate_hz=120.0))
    create_study(folder / "study", study, three_scenes(folder / "pictures"))
    simulate(folder / "study", 1, seed=4, workers=1)
    (run,) = runs(folder / "study")
    onsets = read_recording(run).events.query("trial_type == 'picture'")["onset"].sort_values().to_list()
    for file in run.events_file.parent.glob("*_physio.json"):
        said = json.loads(file.read_text())
        error = 0.9 if "eye1" in file.name else None
        later = said["Validation"] | {"onset_s": onsets[-1] - 0.5, "accuracy_deg": error, "passed": False,
                                      "overridden_by": "A. B."}  # fmt: skip
        file.write_text(json.dumps(said | {"Validations": [*said["Validations"], later], "Validation": later}))
    return folder / "study"


@pytest.mark.parametrize("eye", ["left", "right", "mean", "better"])
@pytest.mark.parametrize(
    "limits",
    [
        {}, {"accuracy_deg": 0.8}, {"accuracy_deg": 0.1}, {"trial_loss_percent": 20.0}, {"trial_loss_percent": 30.0},
        {"trial_drift_deg": 0.05}, {"trial_drift_deg": 0.3}, {"accuracy_deg": 0.8, "trial_drift_deg": 0.3},
    ],
    ids=str,
)  # fmt: skip
def test_it_counts_what_the_analysis_keeps(recorded: Path, eye: Any, limits: dict[str, float]) -> None:
    whole = read_study(recorded)
    exclusion = ExclusionSettings(participant_percent=0.0, **limits)  # type: ignore[arg-type]
    study = whole.model_copy(
        update={"exclusion": exclusion, "fixations": whole.fixations.model_copy(update={"eye": eye})}
    )
    write_study(study, recorded)
    (run,) = runs(recorded)
    found = fixations_of_run(read_recording(run), read_stimuli(recorded / "stimuli")[0], study.fixations)
    trials, _ = exclude(found.trials, found.fixations, exclusion)
    sheet = quality_sheet(recorded, "01")
    assert sheet.seen == len(trials) == 3
    assert sheet.usable == int((~trials["why"].isin(LIMITS)).sum())
    assert sum(int(why.rsplit(": ", 1)[1]) for why in sheet.why_not) == 3 - sheet.usable
    tracked_s = ((1 - trials["loss_percent"] / 100) * trials["shown_s"]).sum()
    assert sheet.tracked_percent == pytest.approx(100 * tracked_s / trials["shown_s"].sum())


def test_the_limits_differ_in_what_they_leave_out(recorded: Path) -> None:
    """So that the agreement above is not that of nothing with nothing."""
    (run,) = runs(recorded)
    study = read_study(recorded)
    found = fixations_of_run(read_recording(run), read_stimuli(recorded / "stimuli")[0], study.fixations)
    accuracy, drift = found.trials["accuracy_deg"], found.trials["drift_deg"]
    assert accuracy.nunique(dropna=False) == 2
    assert drift.notna().all() and drift.nunique() == 3
