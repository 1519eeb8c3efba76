"""Regions in the forms that people draw: each becomes the label map that was drawn, or a sentence."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder.shared.errors import DataError
from beholder.shared.stimuli.folder import copy_stimuli
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.stimuli.regions import decode_runs, fill_polygon, number_parts
from beholder.shared.stimuli.stimulus import Stimulus

W, H = 23, 17
corner = st.tuples(st.floats(-5, W + 5), st.floats(-5, H + 5))
outline = st.lists(corner, min_size=3, max_size=12)
Points = list[tuple[float, float]]


def far_from(points: Points, at_least_px: float) -> np.ndarray:
    """(H, W): px whose centre is farther than this from every edge of the polygon."""
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    nearest = np.full((H, W), np.inf)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * dx, y - y0 - along * dy))
    return nearest > at_least_px


def oracle(points: Points) -> np.ndarray:
    """scikit-image's even-odd filling; there the centre of the first px is 0, and points are (row, column)."""
    draw = pytest.importorskip("skimage.draw", reason="the oracle, scikit-image, is installed on 3.11 and 3.12")
    return np.asarray(draw.polygon2mask((H, W), np.array(points)[:, ::-1] - 0.5))


@given(outline)
def test_a_px_is_in_a_polygon_where_its_centre_is(points: Points) -> None:
    clear = far_from(points, 1e-6)
    assert np.array_equal(fill_polygon(np.array(points), W, H)[clear], oracle(points)[clear])


@pytest.mark.parametrize("n", [3, 4, 7, 40])
def test_the_area_is_the_polygons_to_a_share_of_its_border(n: int) -> None:
    """Oracle: the shoelace formula. Pillow's ImageDraw would be too large by half of the border's length and more."""
    rng = np.random.default_rng(n)
    errors = []
    for _ in range(200):
        # Less than half a turn from corner to corner, so that no edge crosses another.
        angle, radius = 2 * np.pi / n * (np.arange(n) + rng.uniform(0, 0.8, n)), rng.uniform(20, 90, n)
        x, y = 100 + radius * np.cos(angle) + rng.uniform(), 100 + radius * np.sin(angle) + rng.uniform()
        area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
        border = np.hypot(x - np.roll(x, 1), y - np.roll(y, 1)).sum()
        errors.append((fill_polygon(np.column_stack([x, y]), 200, 200).sum() - area) / border)
    assert np.abs(errors).max() < 0.5  # no more than half a px off, all along
    assert abs(np.mean(errors)) < 0.02  # and neither too large nor too small


@given(st.lists(st.floats(0, H), min_size=1, max_size=9))
def test_polygons_that_share_a_border_share_no_px_and_leave_none_out(bends: list[float]) -> None:
    x = np.linspace(0, W, len(bends) + 2)
    border = list(zip(x.tolist(), [3.3, *bends, 9.7], strict=True))
    upper = fill_polygon(np.array([(W, 0), (0, 0), *border]), W, H)
    lower = fill_polygon(np.array([(0, H), (W, H), *reversed(border)]), W, H)
    assert np.array_equal(upper, ~lower)


# Written by pycocotools 2.0 (mask.encode) for masks of 23 x 17 px: px by row, in hexadecimal, eight a byte.
PYCOCOTOOLS = {
    "i01=5M2O0O2OJLO40NO21N010O011MO47001O0O2N2NQ3": (
        "0000000000000000003fc001ffe007ffe00f8fe01e0fc07c1f80783f00f8fc00fff0007fc0001800000000000000000000"
    ),
    "11101011N031MN000070M0L00120N02ON50K0051LO011O21LO10O1104OK0002010N2O110OM>2BN51KO3012O1NMO01000363JL1OO00O2ON10"
    "00040MO20M100020M123ONOO2OO6OK10O10O20NO1001O140LN0020N0132MM25NK": (
        "1d9095253631aa42968102855295e0507f30a8588048bd7097be12a453f36994a34b0310b517eb96a44359090def0d098c"
    ),
    "02?000d:": "e00001c0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "0W<": "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe",
    "W<": "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
}


def unpacked(digits: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8))[: W * H].reshape(H, W).astype(bool)


@pytest.mark.parametrize("counts", PYCOCOTOOLS)
def test_runs_mean_what_pycocotools_meant_by_them(counts: str) -> None:
    assert np.array_equal(decode_runs(counts, W, H), unpacked(PYCOCOTOOLS[counts]))


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=9))
def test_runs_given_as_numbers_are_read_column_by_column(rows: list[list[bool]]) -> None:
    area = np.array(rows)
    down = area.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], down]).astype(int))).tolist()
    counts = np.diff([0, *edges, down.size]).tolist()
    assert np.array_equal(decode_runs(counts, 4, len(rows)), area)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120)) | st.lists(st.integers(-9, 400)))
def test_any_other_runs_are_refused_or_fill_the_picture(counts: str | list[int]) -> None:
    with contextlib.suppress(ValueError):
        assert decode_runs(counts, W, H).shape == (H, W)


def test_new_parts_get_the_next_free_labels_and_there_are_255() -> None:
    where = Path("photographs")
    assert number_parts(where, {3: "lid", 1: "rim"}, ["foot", "lid", "body"]) == {
        "rim": 1, "body": 2, "lid": 3, "foot": 4,
    }  # fmt: skip
    assert len(number_parts(where, {}, [f"part {i}" for i in range(255)])) == 255
    with pytest.raises(DataError, match="more than 255 parts"):
        number_parts(where, {}, [f"part {i}" for i in range(256)])
    for part in ("a,b", "", " lid", "n/a", "Background", "a\nb"):
        with pytest.raises(DataError, match="cannot be a part's name"):
            number_parts(where, {}, [part])
    with pytest.raises(DataError, match=r"parts Lid and lid share a name"):
        number_parts(where, {}, ["lid", "Lid"])


# ------------------------------------------------------------------------------------------------ folders of them


def photos(folder: Path, *names: str, size: tuple[int, int] = (W, H)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size, "teal").save(folder / name)
    return folder


def part(file: Path, area: np.ndarray, mode: str = "L") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    grey = Image.fromarray(area.astype(np.uint8) * 255)
    if mode == "P":  # white is the palette's first colour
        grey = Image.fromarray((~area).astype(np.uint8))
        grey.putpalette([255, 255, 255, 0, 0, 0])
    elif mode == "cut-out":  # black where it is, transparent elsewhere
        grey = Image.merge("RGBA", [Image.new("L", grey.size)] * 3 + [grey])
    elif mode == "I;16":
        grey = Image.fromarray(area.astype(np.uint16) * 65535)
    else:
        grey = grey.convert(mode)
    grey.save(file)


def coco(file: Path, annotations: list[dict[str, Any]], **changes: Any) -> None:
    """A COCO file of one picture, bag.png, with category 1 "handle" and 7 "body"."""
    numbered = [{"id": i, "image_id": 5, "category_id": 1, **a} for i, a in enumerate(annotations, start=1)]
    whole = {
        "images": [{"id": 5, "file_name": "bag.png", "width": W, "height": H}],
        "categories": [{"id": 1, "name": "handle"}, {"id": 7, "name": "body"}],
        "annotations": numbered,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(whole | changes), encoding="utf-8")


def labels_by_name(stimulus: Stimulus) -> dict[str, np.ndarray]:
    assert stimulus.mask is not None
    labels = read_labels(stimulus.mask)
    assert set(np.unique(labels)) - {0} <= set(stimulus.parts)
    return {name: labels == label for label, name in stimulus.parts.items()}


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    area = np.zeros((H, W), bool)
    area[top:bottom, left:right] = True
    return area


def rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "cut-out", "I;16"])
def test_one_png_a_part_in_a_folder_or_by_its_name(tmp_path: Path, mode: str) -> None:
    source = photos(tmp_path / "photos", "bag.jpg", "bag_01.png", "jar.png")
    body, handle = box(2, 5, 12, 15), box(4, 1, 9, 5)
    for at in ("bag/body.png", "bag_01_body.png"):
        part(source / "masks" / at, body, mode)
    for at in ("bag/upper handle.png", "BAG_01_upper handle.png"):
        part(source / "masks" / at, handle, mode)
    (source / "masks" / "bag" / "Thumbs.db").write_bytes(b"x")
    stimuli, remarks = copy_stimuli(source, tmp_path / "stimuli")
    assert remarks == ()
    assert stimuli[0].parts == {1: "body", 2: "upper handle"}
    for stimulus in stimuli[:2]:
        found = labels_by_name(stimulus)
        assert np.array_equal(found["body"], body) and np.array_equal(found["upper handle"], handle)
    assert stimuli[2].name == "jar" and stimuli[2].mask is None
    assert (tmp_path / "stimuli" / "stimuli.tsv").read_text() == (
        "file\tmask\tparts\nbag.jpg\tbag.png\tbody,upper handle\nbag_01.png\tbag_01.png\tbody,upper handle\n"
        "jar.png\tn/a\tn/a\n"
    )
    assert json.loads((tmp_path / "stimuli" / "stimuli.json").read_text())["labels"]["0"] == "background"


def test_where_parts_overlap_the_later_name_is_on_top_and_a_remark_says_so(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", "bag.png")
    part(source / "masks" / "bag" / "rim.png", box(2, 4, 12, 7))
    part(source / "masks" / "bag" / "body.png", box(2, 5, 12, 15))
    [stimulus], [remark] = copy_stimuli(source, tmp_path / "stimuli")
    assert str(remark) == "bag.png: its parts overlap, and the later one is on top: rim over body (20 px)"
    assert labels_by_name(stimulus)["rim"].sum() == 30 and labels_by_name(stimulus)["body"].sum() == 80


def test_labels_that_have_names_keep_them_when_parts_are_added(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", "bag.png", "jar.png")
    part(source / "masks" / "bag_lid.png", box(2, 5, 12, 15))
    part(source / "masks" / "bag_cord.png", box(13, 5, 15, 15))
    Image.fromarray(box(1, 1, 9, 9).astype(np.uint8)).save(source / "masks" / "jar.png")
    (source / "stimuli.json").write_text('{"labels": {"1": "lid"}, "Licence": "CC0-1.0"}')
    (bag, jar), _ = copy_stimuli(source, tmp_path / "stimuli")
    assert jar.parts == bag.parts == {1: "lid", 2: "cord"}
    assert labels_by_name(bag)["lid"].sum() == 100 and labels_by_name(jar)["lid"].sum() == 64
    sidecar = json.loads((tmp_path / "stimuli" / "stimuli.json").read_text())
    assert sidecar["Licence"] == "CC0-1.0" and sidecar["labels"] == {"0": "background", "1": "lid", "2": "cord"}
    # Were label 1 of the jar without a name, it would silently have become the bag's first part.
    (source / "stimuli.json").unlink()
    with pytest.raises(DataError, match=r"jar\.png has 64 px of label 1, which has no name"):
        copy_stimuli(source, tmp_path / "again")


@pytest.mark.parametrize("place", ["annotations.json", "annotations/instances.json", "masks/all.json", "images/a.json"])
def test_coco_polygons_become_the_label_map_that_was_drawn(tmp_path: Path, place: str) -> None:
    source = tmp_path / "photos"
    photos(source / "images" if place.startswith("images") else source, "bag.png", "jar.png")
    coco(source / place, [
        {"category_id": 7, "segmentation": [rectangle(2, 5, 12, 15)]},
        {"segmentation": [rectangle(3.4, 1.4, 5.6, 6), rectangle(9, 1, 11, 6), rectangle(9, 2, 10, 9)]},
    ])  # fmt: skip
    (bag, jar), [remark] = copy_stimuli(source, tmp_path / "stimuli")
    found = labels_by_name(bag)
    handle = box(3, 1, 6, 6) | box(9, 1, 11, 6) | box(9, 2, 10, 9)  # COCO unites them; none is a hole
    assert bag.parts == {1: "body", 2: "handle"} and jar.mask is None
    assert np.array_equal(found["handle"], handle) and np.array_equal(found["body"], box(2, 5, 12, 15) & ~handle)
    assert "handle over body (8 px)" in str(remark)


@pytest.mark.parametrize("counts", ["i01=5M2O0O2OJLO40NO21N010O011MO47001O0O2N2NQ3", [0, W * H]])
def test_coco_runs_become_the_label_map_that_was_drawn(tmp_path: Path, counts: str | list[int]) -> None:
    source = photos(tmp_path / "photos", "bag.png")
    coco(source / "coco.json", [{"segmentation": {"size": [H, W], "counts": counts}, "iscrowd": 1}])
    [bag], _ = copy_stimuli(source, tmp_path / "stimuli")
    expected = unpacked(PYCOCOTOOLS[counts]) if isinstance(counts, str) else np.ones((H, W), bool)
    assert np.array_equal(labels_by_name(bag)["handle"], expected)


@pytest.mark.parametrize("name", ["bag.png", "train/bag.png", "C:\\photos\\Bag.PNG", "bag.jpg"])
def test_coco_finds_its_picture_whatever_folder_or_ending_it_was_drawn_on(tmp_path: Path, name: str) -> None:
    source = photos(tmp_path / "photos", "bag.png")
    images = [{"id": 5, "file_name": name}, {"id": 6, "file_name": "of nobody.png"}]
    coco(source / "coco.json", [{"segmentation": [rectangle(2, 5, 12, 15)]}], images=images)
    [bag], _ = copy_stimuli(source, tmp_path / "stimuli")
    assert labels_by_name(bag)["handle"].sum() == 100


@given(st.lists(st.tuples(st.booleans(), outline), min_size=1, max_size=5))
def test_any_polygons_become_their_label_map_within_its_borders(drawn: list[tuple[bool, Points]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = photos(Path(folder) / "photos", "bag.png")
        coco(
            source / "coco.json",
            [
                {"category_id": 7 if is_body else 1, "segmentation": [[v for point in points for v in point]]}
                for is_body, points in drawn
            ],
        )
        expected = np.zeros((H, W), int)
        clear = np.ones((H, W), bool)
        for is_body, points in drawn:
            expected[oracle(points)] = 2 if is_body else 1
            clear &= far_from(points, 1e-6)
        try:
            [bag], _ = copy_stimuli(source, Path(folder) / "stimuli")
        except DataError as error:
            # Rightly refused: one of them is empty, or hidden by the others, but for px on a border.
            empty = any(not (oracle(points) & far_from(points, 1e-6)).any() for _, points in drawn)
            gone = any(not (clear & (expected == (2 if is_body else 1))).any() for is_body, _ in drawn)
            assert empty or gone, error
            return
        found = sum((2 if name == "body" else 1) * area.astype(int) for name, area in labels_by_name(bag).items())
        assert np.array_equal(np.asarray(found)[clear], expected[clear])


FULL = {"segmentation": [rectangle(2, 5, 12, 15)]}


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ({"segmentation": []}, "annotation 1 has no usable polygon or runs .it has no outline"),
        ({"bbox": [1, 2, 3, 4]}, "it has no outline"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three corners or more"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "three corners or more"),
        ({"segmentation": [[[1, 2], [3, 4], [5, 9]]]}, "three corners or more"),
        ({"segmentation": [[1, 2, "x", 4, 5, 6]]}, "no usable polygon"),
        ({"segmentation": [[1, 2, math.nan, 4, 5, 6]]}, "nowhere near the picture"),
        ({"segmentation": [[1, 2, 1e300, 4, 5, 6]]}, "nowhere near the picture"),
        ({"segmentation": [rectangle(40, 5, 50, 15)]}, r"annotation 1 covers no px of bag\.png"),
        ({"segmentation": {"size": [H, W], "counts": "0"}}, "do not add up"),
        ({"segmentation": {"size": [H, W], "counts": "0W<d"}}, "in the midst"),
        ({"segmentation": {"size": [W, H], "counts": "0W<"}}, "17 x 23 px, its picture 23 x 17: turn it"),
        ({"segmentation": {"counts": "0W<"}}, "no usable polygon"),
        ({**FULL, "image_id": 8}, "cannot be read as COCO annotations .KeyError: 8"),
        ({**FULL, "category_id": 8}, "cannot be read as COCO annotations .KeyError: 8"),
    ],
)
def test_annotations_that_are_no_region_are_refused(tmp_path: Path, annotation: dict[str, Any], sentence: str) -> None:
    source = photos(tmp_path / "photos", "bag.png")
    coco(source / "coco.json", [annotation])
    with pytest.raises(DataError, match=sentence) as caught:
        copy_stimuli(source, tmp_path / "stimuli")
    assert "coco.json" in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


def test_regions_that_went_astray_are_refused(tmp_path: Path) -> None:
    def refused(sentence: str) -> None:
        with pytest.raises(DataError, match=sentence):
            copy_stimuli(source, tmp_path / "stimuli")

    source = photos(tmp_path / "photos", "bag.png")
    drawn = source / "coco.json"
    coco(drawn, [FULL], images=[{"id": 5, "file_name": "b/jar.png"}])
    refused(r"coco\.json has annotations of b/jar\.png, and there is no such picture")
    coco(drawn, [FULL], images=[{"id": 5, "file_name": "bag.png", "width": H, "height": W}])
    refused(r"bag\.png in .*coco\.json is 17 x 23 px, its picture 23 x 17: turn it as the picture is shown")
    both = [{"id": 5, "file_name": "left/bag.png"}, {"id": 6, "file_name": "right/bag.png"}]
    coco(drawn, [FULL, {**FULL, "image_id": 6}], images=both)
    refused(r"both left/bag\.png and right/bag\.png")
    coco(drawn, [FULL, {**FULL, "category_id": 7}])
    refused("parts painted after handle hide all of it")
    coco(drawn, [FULL])
    part(source / "masks" / "bag_lid.png", box(2, 5, 12, 15))
    refused(r"bag\.png has two masks, .*bag_lid\.png and .*coco\.json, annotation 1: keep one")
    drawn.unlink()
    part(source / "masks" / "bag.png", box(2, 5, 12, 15))
    refused(r"bag\.png has two masks")
    (source / "masks" / "bag.png").unlink()
    part(source / "masks" / "jar" / "lid.png", box(2, 5, 12, 15))
    refused(r"jar/lid\.png is a mask without its picture: there is no picture jar")
    (source / "masks" / "jar" / "lid.png").unlink()
    part(source / "masks" / "bag" / "rim.png", np.zeros((H, W), bool))
    refused(r"rim\.png covers no px of bag\.png")
    part(source / "masks" / "bag" / "rim.png", np.ones((H, W - 1), bool))
    refused(r"rim\.png is 22 x 17 px, its picture 23 x 17: a mask has its picture's size")
    (source / "masks" / "bag" / "rim.png").write_bytes(b"x")
    refused(r"rim\.png cannot be read as a mask")
    (source / "masks" / "bag" / "rim.png").rename(source / "masks" / "bag" / "rim.jpg")
    refused(r"rim\.jpg is not a PNG")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"shapes": []}', "null", '{"images": 3}'])
def test_a_json_file_that_is_not_coco_is_not_passed_over(tmp_path: Path, text: str) -> None:
    source = photos(tmp_path / "photos", "bag.png")
    (source / "bag.json").write_text(text)
    with pytest.raises(DataError, match=r"bag\.json cannot be read as COCO annotations"):
        copy_stimuli(source, tmp_path / "stimuli")
