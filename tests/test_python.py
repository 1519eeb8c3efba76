"""`import beholder as bh`: every name is there, documented, and loaded when it is used and no sooner."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import beholder as bh
from beholder.analysis.attention.extraction import attend
from beholder.analysis.attention.models import Model
from beholder.shared.errors import DataError
from tests.analysis.scenes import three_scenes

ROOT = Path(__file__).resolve().parent.parent


def test_every_name_has_a_home_and_says_what_it_is() -> None:
    assert sorted(bh.__all__) == sorted(name for names in bh._HOMES.values() for name in names)
    assert dir(bh) == sorted(bh.__all__)
    for name in bh.__all__:
        value = getattr(bh, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, name


def test_the_guide_names_every_name() -> None:
    guide = (ROOT / "docs" / "python.md").read_text("utf-8")
    assert [name for name in bh.__all__ if f"`{name}`" not in guide and f"bh.{name}" not in guide] == []


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"has no analyse; its names are .*analyze"):
        bh.analyse  # noqa: B018
    code = "import beholder, sys; print([m for m in ('numpy', 'pandas', 'torch', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recording_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    from beholder.experiment.simulation import simulate
    from beholder.shared.dataset.making import create_study
    from beholder.shared.study import new_study

    scenes = three_scenes(tmp_path / "scenes")
    create_study(tmp_path / "study", new_study("Scenes", scenes), scenes)
    simulate(tmp_path / "study", 1, 1, workers=1)
    assert bh.read_recording(str(tmp_path / "study"), "sub-01").participant == "01"
    with pytest.raises(DataError, match=r"no gaze of participant 02, run 1; there is: 01 run 1"):
        bh.read_recording(tmp_path / "study", "02")


def test_an_array_an_image_and_a_file_have_the_same_attention(tmp_path: Path) -> None:
    from PIL import Image

    model: Model = bh.load_model("offline")
    picture = np.random.default_rng(1).integers(0, 256, (56, 70, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    of_image = attend(model, Image.fromarray(picture), [12], 112)
    for given in (picture, Image.fromarray(picture), tmp_path / "picture.png", str(tmp_path / "picture.png")):
        np.testing.assert_array_equal(bh.attend(model, given, [12], 112).heads, of_image.heads)
    assert bh.attend(model, picture, longer_side=112).heads.shape[:2] == (12, 6)
    with pytest.raises(ValueError, match=r"an array of uint8, \(height, width, 3\) or \(height, width\); this one is"):
        bh.attend(model, picture.astype(float) / 255)
