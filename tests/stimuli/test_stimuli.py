"""The bundled pictures are what their table says, and fit to be shown to people."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from beholder.shared.errors import StudyError
from beholder.stimuli import render, scene

FOLDER = Path(render.__file__).resolve().parent
with (FOLDER / "stimuli.tsv").open(encoding="utf-8", newline="") as lines:
    ROWS = list(csv.DictReader(lines, delimiter="\t"))
every_row = pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
MEASURES = {
    "mean_luminance": render.mean_luminance,
    "rms_contrast": render.rms_contrast,
    "edge_density": render.edge_density,
    "colourfulness": render.colourfulness,
}


def picture_of(row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / "images" / row["file"]))


def labels_of(row: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / "masks" / row["mask"]))


def test_there_are_ten_bags_and_ten_jars_and_nothing_else():
    assert [row["kind"] for row in ROWS] == ["bag"] * 10 + ["jar"] * 10
    assert sorted(p.name for p in (FOLDER / "images").iterdir()) == sorted(row["file"] for row in ROWS)
    assert sorted(p.name for p in (FOLDER / "masks").iterdir()) == sorted(row["mask"] for row in ROWS)


def test_the_table_has_the_columns_that_its_sidecar_describes():
    sidecar = json.loads((FOLDER / "stimuli.json").read_text("utf-8"))
    assert all(set(row) == set(render.COLUMNS) for row in ROWS)
    assert all(sidecar[column]["Description"] for column in render.COLUMNS)
    assert {name: int(label) for label, name in sidecar["labels"].items() if label != "0"} == scene.PARTS
    assert sidecar["Licence"] == "CC0-1.0"


def test_every_row_tells_of_an_object_in_the_shop():
    shop = render.objects()
    assert {Path(row["file"]).stem: row["name"] for row in ROWS} == {stem: thing[1] for stem, thing in shop.items()}


@every_row
def test_the_picture_is_8_bit_rgb_of_under_a_megabyte_without_dates_or_names(row):
    path = FOLDER / "images" / row["file"]
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert min(image.size) >= 512
        assert set(image.info) <= {"srgb"}
    assert path.stat().st_size < 1_000_000


@every_row
def test_the_mask_is_8_bit_grey_and_covers_the_picture(row):
    with Image.open(FOLDER / "masks" / row["mask"]) as mask, Image.open(FOLDER / "images" / row["file"]) as image:
        assert mask.mode == "L"
        assert mask.size == image.size


@every_row
def test_the_mask_holds_just_the_parts_that_the_table_names(row):
    assert set(np.unique(labels_of(row))) - {0} == {scene.PARTS[name] for name in row["parts"].split(",")}
    assert (labels_of(row) == 0).any()


@every_row
def test_the_object_takes_a_quarter_to_two_fifths_of_the_picture_and_is_centred(row):
    labels = labels_of(row)
    assert 0.25 <= float(row["object_share"]) <= 0.40
    assert float(row["object_share"]) == pytest.approx((labels > 0).mean(), abs=1e-6)
    for axis in (0, 1):
        occupied = np.nonzero((labels > 0).any(axis=1 - axis))[0]
        middle = (occupied[0] + occupied[-1] + 1) / 2 / labels.shape[axis]
        assert middle == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("row", [row for row in ROWS if "handle" not in row["parts"]], ids=lambda row: row["file"])
def test_an_object_without_handles_is_one_region_without_holes(row):
    labels = np.pad(labels_of(row) > 0, 1)
    # Hairs of fibre stand off a basket's wall; they may enclose a few pixels, or lie a pixel away from it.
    stray = 0 if row["kind"] == "jar" else 0.002 * labels.sum()
    regions, _ = ndimage.label(labels, np.ones((3, 3)))
    assert labels.sum() - np.bincount(regions[labels]).max() <= stray
    assert (ndimage.binary_fill_holes(labels) & ~labels).sum() <= stray


@every_row
def test_the_measures_in_the_table_are_those_of_the_picture(row):
    picture = picture_of(row)
    for column, measure in MEASURES.items():
        assert float(row[column]) == pytest.approx(measure(picture), abs=1e-6)


@every_row
def test_no_picture_is_clipped(row):
    picture = picture_of(row)
    assert (picture == 255).any(axis=-1).mean() < 0.001
    assert (picture == 0).all(axis=-1).mean() < 0.001


@every_row
def test_the_border_is_the_plain_background(row):
    picture, labels = picture_of(row), labels_of(row)
    border = np.ones(labels.shape, dtype=bool)
    border[4:-4, 4:-4] = False
    assert not labels[border].any()
    assert np.abs(picture[border].astype(int) - scene.BACKGROUND_SRGB).max() <= 1


@every_row
def test_the_mask_lies_where_the_picture_departs_from_the_background(row):
    """A mask moved by three pixels fits the picture worse in every direction than the mask as it is."""
    picture, labels = picture_of(row).astype(float), labels_of(row) > 0
    steps = np.abs(np.diff(picture.mean(axis=-1), axis=0))[:, :-1] + np.abs(np.diff(picture.mean(axis=-1), axis=1))[:-1]
    outline = (np.diff(labels, axis=0)[:, :-1]) | (np.diff(labels, axis=1)[:-1])

    def fit(down: int, right: int) -> float:
        return float(steps[np.roll(outline, (down, right), axis=(0, 1))].mean())

    assert all(fit(0, 0) > fit(down, right) for down, right in ((3, 0), (-3, 0), (0, 3), (0, -3)))


@every_row
def test_just_outside_the_mask_nothing_of_the_object_is_left(row):
    """Background and shadow are grey, objects are not; of a mask two pixels off, a third of a percent and more
    of the pixels one to three outside it have the object's colour."""
    picture, labels = picture_of(row).astype(int), labels_of(row) > 0
    ring = ndimage.binary_dilation(labels, iterations=3) & ~ndimage.binary_dilation(labels, iterations=1)
    assert (np.ptp(picture[ring], axis=-1) > 12).mean() < 0.003


@every_row
def test_above_the_object_is_the_plain_background(row):
    """No shadow falls there."""
    picture, labels = picture_of(row).astype(int), labels_of(row) > 0
    above = picture[: int(np.nonzero(labels.any(axis=1))[0][0]) - 8]
    assert (above != scene.BACKGROUND_SRGB).any(axis=-1).mean() < 5e-4
    assert np.abs(above - scene.BACKGROUND_SRGB).max() <= 1


def test_the_objects_take_similar_shares_of_their_pictures():
    shares = [float(row["object_share"]) for row in ROWS]
    assert max(shares) / min(shares) < 1.35


@pytest.mark.parametrize("measure", [name for name in render.MEASURES if name != "object_share"])
def test_no_object_is_an_outlier(measure):
    """The share is left out: it is held nearly constant, so that its SD is too small a unit."""
    assert np.abs(render.z_scores([float(row[measure]) for row in ROWS])).max() < 2.5
    for kind in ("bag", "jar"):
        of_kind = [float(row[measure]) for row in ROWS if row["kind"] == kind]
        assert np.abs(render.z_scores(of_kind)).max() < 2.5


def test_the_table_in_the_guide_is_that_of_the_pictures():
    guide = (FOLDER.parent / "docs" / "stimuli.md").read_text("utf-8")
    assert render.put_into(guide, render.comparison(ROWS)) == guide


def test_the_comparison_says_what_two_plain_kinds_are():
    """By hand: bags 1, 2, 3 and jars 2, 3, 7: means 2 and 4, variances 1 and 7, pooled 4, d = -2 / 2."""
    values = {"bag-1": 1, "bag-2": 2, "bag-3": 3, "jar-1": 2, "jar-2": 3, "jar-3": 7}
    rows = [
        {"file": f"{stem}.png", "kind": stem[:3]} | dict.fromkeys(render.MEASURES, str(value))
        for stem, value in values.items()
    ]
    line = render.comparison(rows).splitlines()[2]
    assert "| 2.000 (1.000) | 4.000 (2.646) | -1.00 |" in line
    assert "jar-3, z = +1.13 |" in line  # (7 - 4) / sqrt(7)
    assert line.endswith("| jar-3, z = +1.91 |")  # (7 - 3) / sqrt(4.4)


def test_a_document_without_a_place_for_the_table_is_refused():
    with pytest.raises(StudyError, match="no place for the table"):
        render.put_into("# Nothing here\n", "| a |\n")


def test_a_picture_is_saved_as_srgb_and_nothing_else_stays_behind(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    render.save_srgb(picture, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == picture).all()
        assert image.info == {"srgb": 0}


def test_a_slope_of_light_is_dithered_without_changing_its_mean_or_a_whole_level():
    """Oracle: IEC 61966-2-1 decoded by hand, at 200 and 200.3 of 255."""
    for level in (200.0, 200.3):
        light = np.full((200, 200, 3), ((level / 255 + 0.055) / 1.055) ** 2.4)
        encoded = scene.as_srgb(light).astype(float)
        assert encoded.mean() == pytest.approx(level, abs=0.02)
        assert np.ptp(encoded) == (0 if level == 200 else 1)


def test_the_shadow_fades_before_the_border_and_without_a_step():
    shaded = np.zeros((200, 200, 4))
    shaded[..., 3] = 0.5
    labels = np.zeros((200, 200), dtype=np.uint8)
    labels[90:110, 90:110] = 1
    picture = scene.over_background(shaded, labels).astype(int)
    assert (picture[[0, -1]] == scene.BACKGROUND_SRGB).all()
    assert (picture[:, [0, -1]] == scene.BACKGROUND_SRGB).all()
    assert picture[100, 100, 0] < scene.BACKGROUND_SRGB - 40
    assert np.abs(np.diff(picture, axis=0)).max() <= 4


def test_luminance_is_that_of_the_srgb_standard():
    """Oracle: IEC 61966-2-1 gives 0.2140 for 50 % grey (code 127.5); Rec. 709 weights the primaries."""
    greys = np.full((1, 1, 3), 128, dtype=np.uint8)
    assert render.mean_luminance(greys) == pytest.approx(0.21586, abs=1e-5)
    primaries = np.eye(3, dtype=np.uint8)[None] * 255
    assert render.luminance(primaries).ravel() == pytest.approx([0.2126, 0.7152, 0.0722])


def test_a_half_black_half_white_picture_has_rms_contrast_one_half():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[:, 2:] = 255
    assert render.rms_contrast(picture) == pytest.approx(0.5)


def test_edges_are_found_on_both_sides_of_a_step_and_nowhere_else():
    picture = np.full((20, 20, 3), 60, dtype=np.uint8)
    picture[:, 10:] = 200
    assert render.edge_density(picture) == pytest.approx(2 / 20)
    assert render.edge_density(picture[:, :10]) == 0


def test_colourfulness_follows_its_formula_on_two_pixels():
    """By hand: red and green give rg = +-255, yb = 127.5 both; M = 255 + 0.3 * 127.5."""
    picture = np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8)
    assert render.colourfulness(picture) == pytest.approx(255 + 0.3 * 127.5)


def test_tone_curve_keeps_srgb_below_its_knee_and_never_clips():
    codes = np.arange(0, scene.BACKGROUND_SRGB + 1)
    light = np.where(codes / 255 <= 0.04045, codes / 255 / 12.92, ((codes / 255 + 0.055) / 1.055) ** 2.4)
    assert (scene.as_srgb(np.repeat(light[None, :, None], 3, axis=2))[0, :, 0] == codes).all()
    assert scene.as_srgb(np.full((1, 1, 3), 1e6)).max() < 255


def test_an_empty_film_becomes_the_plain_background():
    empty = scene.over_background(np.zeros((16, 16, 4)), np.zeros((16, 16), dtype=np.uint8))
    assert (empty == scene.BACKGROUND_SRGB).all()
