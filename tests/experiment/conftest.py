"""A small study with masks, and ways to run a simulated session in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.experiment.headless import ScriptedOperator
from beholder.experiment.plan import plan_from_disk, plan_session
from beholder.experiment.simulation import SimulatedSession, simulated_session, simulation_facts
from beholder.shared.dataset.making import create_study
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.study import (
    AlignmentSettings,
    LimitSettings,
    MapSettings,
    MouseSettings,
    ObserverSettings,
    PictureSettings,
    ProtocolSettings,
    ScreenSettings,
    Study,
    StudySettings,
    TrackerSettings,
    read_study,
)

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")
SECTIONS: dict[str, type[Any]] = {
    "study": StudySettings, "screen": ScreenSettings, "tracker": TrackerSettings, "protocol": ProtocolSettings,
    "limits": LimitSettings, "observer": ObserverSettings, "pictures": PictureSettings, "mouse": MouseSettings,
    "maps": MapSettings, "alignment": AlignmentSettings,
}  # fmt: skip
SHORT: dict[str, dict[str, Any]] = {"protocol": {"dot_s": 2.0, "picture_s": 2.0}, "pictures": {"size_deg": 20.0}}


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """make_study(pictures, section={key: value, ...}) -> its folder; times are short unless they are given."""

    def make(pictures: int = 3, name: str = "study", **settings: dict[str, Any]) -> Path:
        source = tmp_path / f"{name}-source"
        for folder in ("images", "masks"):
            (source / folder).mkdir(parents=True)
        for number in range(1, pictures + 1):
            mask = np.zeros((60, 80), np.uint8)
            mask[10 + number : 40, 20:50] = 1
            Image.fromarray(mask * 120).convert("RGB").save(source / "images" / f"bag-{number:02d}.png")
            Image.fromarray(mask).save(source / "masks" / f"bag-{number:02d}.png")
        merged = {section: {**SHORT.get(section, {}), **settings.get(section, {})} for section in {*SHORT, *settings}}
        study = Study(**{section: SECTIONS[section](**values) for section, values in merged.items()})
        create_study(tmp_path / name, study, source)
        return tmp_path / name

    return make


@pytest.fixture
def prepare() -> Callable[..., SimulatedSession]:
    """prepare(study_folder, participant, resume=False, ...) -> a simulated session that can be run."""

    def session(
        folder: Path,
        participant: str = "01",
        *,
        resume: bool = False,
        operator: ScriptedOperator | None = None,
        **more: Any,
    ) -> SimulatedSession:
        study = read_study(folder)
        if resume:
            plan = plan_from_disk(folder, participant, resume=True)
        else:
            plan = plan_session(study, read_stimuli(folder / "stimuli")[0], participant, [])
        facts = simulation_facts(folder, study, 1)
        return simulated_session(folder, study, plan, facts, operator=operator, **more)

    return session


@pytest.fixture(scope="session")
def assert_valid() -> Callable[[Path], None]:
    """The official validator finds no error."""
    if not VALIDATOR.exists():
        pytest.skip("bids-validator-deno is not installed")

    def check(folder: Path) -> None:
        run = subprocess.run([VALIDATOR, "--format", "json", folder], capture_output=True, text=True, check=False)
        issues = json.loads(run.stdout)["issues"]["issues"]
        assert [issue for issue in issues if issue["severity"] == "error"] == []

    return check
