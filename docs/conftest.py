"""The study that docs/python.md speaks of: three people, three pictures, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def my_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`my-study` in the folder where the guide is run."""
    pytest.importorskip("torch", reason="the analysis is not installed here")
    from beholder.experiment.simulation import simulate
    from beholder.shared.dataset.making import create_study
    from beholder.shared.study import new_study
    from tests.analysis.scenes import three_scenes

    scenes = three_scenes(tmp_path / "scenes")
    study = new_study("Scenes", scenes)
    alignment = study.alignment.model_copy(update={"random_weights": 1})
    maps = study.maps.model_copy(update={"sigma_step": 0.3, "longer_side_px": 112})
    create_study(tmp_path / "my-study", study.model_copy(update={"alignment": alignment, "maps": maps}), scenes)
    simulate(tmp_path / "my-study", 3, 1, workers=1)
    monkeypatch.chdir(tmp_path)
