"""Pictures and masks: what is usable is read, what is not is named in a sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import DataError
from shared.stimuli import bundled_folder, common_background, copy_stimuli, open_picture, read_object, read_stimuli


def picture(path: Path, size: tuple[int, int] = (20, 10), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 200 if mode in ("L", "I;16") else "teal").save(path)
    return path


def mask(path: Path, size: tuple[int, int] = (20, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((size[1], size[0]), np.uint8)
    labels[2:5, 3:9] = 3
    Image.fromarray(labels).save(path)
    return path


def test_the_twenty_bundled_objects_are_usable_each_with_its_mask() -> None:
    stimuli, remarks = read_stimuli(bundled_folder())
    assert remarks == ()
    assert [s.kind for s in stimuli].count("bag") == 10
    assert [s.kind for s in stimuli].count("jar") == 10
    for stimulus in stimuli:
        region = read_object(stimulus)
        assert region is not None and 0.05 < region.mean() < 0.7


def test_a_plain_folder_becomes_a_studys_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "b.jpg")
    picture(tmp_path / "photos" / "a.png", (7, 9))
    mask(tmp_path / "photos" / "masks" / "b.png")
    stimuli = copy_stimuli(tmp_path / "photos", tmp_path / "study" / "stimuli")
    assert [(s.name, s.width_px, s.height_px, s.mask is not None) for s in stimuli] == [
        ("a", 7, 9, False),
        ("b", 20, 10, True),
    ]
    assert stimuli[0].stim_file == "images/a.png"


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "A.jpg")
    with pytest.raises(DataError, match=r"two pictures of one name.*rename one"):
        read_stimuli(tmp_path)


def test_a_corrupt_picture_is_left_out_with_a_remark_and_refused_for_a_new_study(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "good.png")
    broken = picture(tmp_path / "images" / "broken.png", (200, 200))
    broken.write_bytes(broken.read_bytes()[:150])
    stimuli, remarks = read_stimuli(tmp_path)
    assert [s.name for s in stimuli] == ["good"]
    assert len(remarks) == 1 and "broken.png" in str(remarks[0]) and "left out" in str(remarks[0])
    with pytest.raises(DataError, match=r"broken\.png cannot be read as a picture"):
        copy_stimuli(tmp_path, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    mask(tmp_path / "masks" / "a.png", (21, 10))
    _, remarks = read_stimuli(tmp_path)
    assert "21 x 10" in remarks[0].text and "20 x 10" in remarks[0].text


def test_a_table_that_names_an_absent_picture_is_a_remark(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "stimuli.tsv").write_text("file\tkind\na.png\tbag\nb.png\tjar\n")
    stimuli, remarks = read_stimuli(tmp_path)
    assert stimuli[0].kind == "bag"
    assert "b.png" in remarks[0].text


def test_a_folder_without_pictures_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put PNG"):
        read_stimuli(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16", "CMYK", "1"])
def test_every_kind_of_picture_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((10, 20), 51400, np.uint16)).save(path)
    else:
        Image.new(mode, (20, 10)).save(path)
    image = open_picture(path)
    assert image.mode == "RGB" and image.size == (20, 10)
    if mode == "I;16":
        assert image.getpixel((0, 0)) == (200, 200, 200)
    if mode == "RGBA":  # transparent is white, as on the screen
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_the_colour_that_all_pictures_stand_on_is_found(tmp_path: Path) -> None:
    assert common_background(read_stimuli(bundled_folder())[0]) == "#ececec"
    picture(tmp_path / "a.png")
    teal = Image.new("RGB", (20, 10), "teal")
    teal.putpixel((0, 0), (0, 129, 128))
    teal.save(tmp_path / "b.png")
    assert common_background(read_stimuli(tmp_path)[0]) == "#008080"
    Image.new("RGB", (20, 10), "white").save(tmp_path / "c.png")
    assert common_background(read_stimuli(tmp_path)[0]) is None
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (10, 20, 3), np.uint8)).save(tmp_path / "c.png")
    assert common_background(read_stimuli(tmp_path)[0]) is None


def test_a_picture_from_a_camera_held_upright_stands_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (20, 10), "teal")
    note = Image.Exif()
    note[0x0112] = 6  # turn it by a quarter
    lying.save(tmp_path / "a.jpg", exif=note)
    assert open_picture(tmp_path / "a.jpg").size == (10, 20)
