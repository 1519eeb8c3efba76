"""Pictures and masks: what is usable is read, what is not is named in a sentence."""

import csv
import io
import json
import struct
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from beholder.shared.errors import DataError
from beholder.shared.recording.run_files import safe_cell
from beholder.shared.stimuli.folder import bundled_folder, copy_stimuli, read_stimuli
from beholder.shared.stimuli.label_maps import read_labels, read_object
from beholder.shared.stimuli.pictures import common_background, open_picture
from beholder.shared.study import new_study


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
    stimuli, remarks = copy_stimuli(tmp_path / "photos", tmp_path / "study" / "stimuli")
    assert remarks == ()
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


# ------------------------------------------------------------------------------------------------- opened as shown


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_sixteen_bits_of_grey_are_rounded_to_eight(tmp_path: Path, ending: str) -> None:
    levels = np.array([[0, 128, 129, 25700, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{ending}")
    assert np.asarray(open_picture(tmp_path / f"a.{ending}"))[0, :, 0].tolist() == [0, 0, 1, 100, 255]


@pytest.mark.parametrize("values", [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 70000, np.int32)])
def test_values_of_no_known_range_are_not_guessed(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="no known range"):
        open_picture(tmp_path / "a.tif")


def test_half_transparent_px_lie_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 3), (0, 0, 255, 128)).save(tmp_path / "a.png")
    Image.new("LA", (3, 3), (0, 128)).save(tmp_path / "b.png")
    palette = Image.new("P", (3, 3), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "c.png", transparency=bytes([255, 128]))
    for name, expected in (("a", (127, 127, 255)), ("b", (127, 127, 127)), ("c", (127, 127, 255))):
        assert open_picture(tmp_path / f"{name}.png").getpixel((1, 1)) == pytest.approx(expected, abs=1)


def linear_grey_profile() -> bytes:
    """An ICC profile (version 2) of grey in which a value of 128 is half of the light: no gamma at all."""
    d50 = struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    text = b"linear grey\0"
    tags = {
        b"desc": b"desc" + struct.pack(">2I", 0, len(text)) + text + bytes(4 + 4 + 2 + 1 + 67),
        b"wtpt": b"XYZ " + bytes(4) + d50,
        b"kTRC": b"curv" + struct.pack(">2I", 0, 0),
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">2I", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + d50
    return head + bytes(128 - len(head)) + table + body


def test_a_colour_profile_is_followed_as_a_viewer_follows_it(tmp_path: Path) -> None:
    """Oracle: IEC 61966-2-1 encodes 128 / 255 of the light as 188, 13 / 255 as 64; black and white stay."""
    stored = Image.fromarray(np.array([[0, 13, 128, 255]], np.uint8))
    stored.save(tmp_path / "a.png", icc_profile=linear_grey_profile())
    assert np.asarray(open_picture(tmp_path / "a.png"))[0, :, 1] == pytest.approx([0, 64, 188, 255], abs=1)
    stored.convert("RGB").save(tmp_path / "b.png", icc_profile=linear_grey_profile())  # does not fit
    stored.save(tmp_path / "c.png", icc_profile=b"no profile")
    for name in "bc":
        assert np.asarray(open_picture(tmp_path / f"{name}.png"))[0, :, 1].tolist() == [0, 13, 128, 255]


def test_srgb_keeps_its_numbers_to_the_last_digit(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    values = np.random.default_rng(3).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.png")), values)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_a_film_or_a_document_is_not_one_picture(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf"{name} holds 3 pictures: export the one"):
        open_picture(tmp_path / name)


def test_the_second_view_in_a_phones_jpeg_is_passed_over(tmp_path: Path) -> None:
    views = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    views[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=views[1:])
    assert open_picture(tmp_path / "a.jpg").getpixel((4, 4)) == (255, 255, 255)


def test_a_picture_of_another_kind_under_a_pictures_ending_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("ending", "options"),
    [("png", {}), ("jpg", {}), ("jpg", {"progressive": True}), ("tif", {}), ("tif", {"compression": "tiff_lzw"}),
     ("bmp", {}), ("webp", {})],
)  # fmt: skip
def test_a_picture_that_is_cut_short_is_refused_wherever_it_was_cut(
    tmp_path: Path, ending: str, options: dict[str, object]
) -> None:
    values = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    file = tmp_path / f"a.{ending}"
    Image.fromarray(values).save(file, **options)
    stored, shown = file.read_bytes(), np.asarray(open_picture(file))
    lost = 0
    for length in [*range(0, len(stored), len(stored) // 97), *range(len(stored) - 30, len(stored))]:
        file.write_bytes(stored[:length])
        try:
            # What was cut off may be padding; then nothing of the picture is lost.
            assert np.array_equal(np.asarray(open_picture(file)), shown)
        except DataError:
            lost += 1
    assert lost > 90


def test_bytes_that_were_changed_end_in_a_picture_or_in_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 256, (12, 16, 3), np.uint8)
    sentences = 0
    for ending in ("png", "jpg", "tif", "bmp", "webp"):
        file = tmp_path / f"a.{ending}"
        Image.fromarray(values).save(file)
        stored = file.read_bytes()
        for _ in range(150):
            changed = bytearray(stored)
            for place in rng.integers(0, min(300, len(stored)), 4):
                changed[place] = rng.integers(0, 256)
            file.write_bytes(bytes(changed))
            try:
                assert open_picture(file).mode == "RGB"
            except DataError as error:
                sentences += 1
                assert f"a.{ending}" in str(error)
    assert sentences > 100


# ------------------------------------------------------------------------------------------------ a lab's own folder


def test_pictures_of_every_kind_and_size_come_into_one_study(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    picture(folder / "portrait.jpg", (30, 60))
    picture(folder / "landscape.tiff", (60, 30), "CMYK")
    picture(folder / "grey.png", (40, 40), "L")
    picture(folder / "with space and \u00f1.webp", (25, 40))
    turned = Image.Exif()
    turned[0x0112] = 8
    Image.new("RGB", (50, 20), "teal").save(folder / "turned.jpeg", exif=turned)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "notes.txt").write_text("not a picture")
    stimuli, remarks = copy_stimuli(folder, tmp_path / "stimuli")
    assert {s.name: (s.width_px, s.height_px) for s in stimuli} == {
        "portrait": (30, 60), "landscape": (60, 30), "grey": (40, 40), "with space and \u00f1": (25, 40),
        "turned": (20, 50),
    }  # fmt: skip
    assert remarks == () and all(s.mask is None for s in stimuli)
    assert sorted(path.name for path in (tmp_path / "stimuli").iterdir()) == ["images"]
    for stimulus in stimuli:
        assert stimulus.file.read_bytes() == (folder / stimulus.file.name).read_bytes()


def test_the_bundled_folder_is_copied_byte_for_byte(tmp_path: Path) -> None:
    copy_stimuli(bundled_folder(), tmp_path / "stimuli")
    there = sorted(path.relative_to(tmp_path / "stimuli") for path in (tmp_path / "stimuli").rglob("*.*"))
    assert len(there) == 42
    for path in there:
        assert (tmp_path / "stimuli" / path).read_bytes() == (bundled_folder() / path).read_bytes()


def refused(folder: Path, sentence: str) -> None:
    """The folder is refused with this one sentence, and nothing is made."""
    target = folder.with_name("study") / "stimuli"
    before = sorted(folder.parent.rglob("*.*"))
    with pytest.raises(DataError, match=sentence) as caught:
        copy_stimuli(folder, target)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not target.exists() and sorted(folder.parent.rglob("*.*")) == before


def test_what_cannot_be_used_is_refused_by_name_and_nothing_is_made(tmp_path: Path) -> None:
    def folder() -> Path:
        return Path(tempfile.mkdtemp(dir=tmp_path)) / "photos"

    one = picture(folder() / "a.png").parent
    (one / "b.jpg").write_bytes((one / "a.png").read_bytes()[:45])
    refused(one, r"b\.jpg cannot be read as a picture")
    one = picture(folder() / "a.png").parent
    mask(one / "masks" / "a.png", (10, 20))
    refused(one, r"masks/a\.png is 10 x 20 px, its picture 20 x 10: turn it as the picture is shown")
    one = picture(folder() / "bag.png").parent
    picture(one / "bag.jpg")
    refused(one, r"two pictures of one name, bag\.jpg and bag\.png")
    one = picture(folder() / "jarr\u00f3n.png").parent
    picture(one / "JARRO\u0301N.jpg")
    refused(one, "two pictures of one name")
    one = picture(folder() / "a.png").parent
    mask(one / "masks" / "b.png")
    refused(one, r"masks/b\.png is a mask without its picture: there is no picture b")
    one = picture(folder() / "a.png").parent
    Image.new("L", (20, 10), 1).save(one / "b.gif")
    refused(one, r"b\.gif is of a kind that is not read here \(\.gif\)")
    one = picture(folder() / "images" / "a.png").parent.parent
    (one / "stimuli.tsv").write_text("file\tkind\nz.png\tjar\n")
    refused(one, r"stimuli\.tsv names z\.png, but there is no such picture")
    one = picture(folder() / "a.png").parent
    (one / "stimuli.tsv").write_text("file\tkind\na.png\tjar\tblue\n")
    refused(one, r"stimuli\.tsv, line 2 has more than 2 cells")
    one = picture(folder() / "a.png").parent
    (one / "stimuli.json").write_text('{"labels": {"one": "body"}}')
    refused(one, r"stimuli\.json cannot be read")
    one = folder()
    one.mkdir()
    refused(one, "holds no usable picture")
    refused(one / "absent", "is not a folder")


@pytest.mark.parametrize(
    "name", ["con.png", "Aux.b.png", "file.png", "a:b.png", "a\tb.png", "a  b.png", "a .png", "a" * 97 + ".png",
             "Screenshot 9.41\u202fAM.png"],
)  # fmt: skip
def test_names_that_tables_paths_or_windows_cannot_carry_are_refused(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "photos" / name)
    refused(tmp_path / "photos", "cannot keep its name .*: rename it")


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40))
@example("NA").via("a missing value to many readers of tables")
@example("001").via("not the number 1")
@example("\ufeffa").via("begins as some files do")
@example("Jarro\u0301n").via("accents apart")
def test_any_name_is_refused_in_a_sentence_or_kept_wherever_it_is_written(stem: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photos"
        try:
            Image.new("L", (2, 2), 1).save(source.mkdir() or source / f"{stem}.png")
            mask = np.eye(2, dtype=np.uint8)
            (source / "masks").mkdir()
            Image.fromarray(mask).save(source / "masks" / f"{stem}.png")
        except (OSError, ValueError):
            return  # this system has no such file
        try:
            [stimulus], _ = copy_stimuli(source, Path(folder) / "stimuli")
        except DataError as error:
            assert str(error).isprintable()
            return
        assert stimulus.name == unicodedata.normalize("NFC", stem)
        assert safe_cell(stimulus.stim_file) == stimulus.stim_file
        out = io.BytesIO()
        np.savez(out, **{stimulus.name: mask})
        with np.load(io.BytesIO(out.getvalue())) as arrays:
            assert arrays.files == [stimulus.name]
        assert read_labels(stimulus.mask or Path()).tolist() == mask.tolist()
        with (Path(folder) / "stimuli" / "stimuli.tsv").open(encoding="utf-8", newline="") as lines:
            assert [row["file"] for row in csv.DictReader(lines, delimiter="\t")] == [stimulus.file.name]


def test_columns_of_the_table_are_kept_and_parts_are_filled_in(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a", "b", "c"):
        picture(folder / f"{name}.png")
    mask(folder / "masks" / "a.png")
    mask(folder / "masks" / "of b.png")
    (folder / "stimuli.tsv").write_text(
        "\ufefffile\tkind\tprice\tmask\r\nb.png\tbag\t12\tof b.png\r\nc.png\tn/a\t\t\r\n", encoding="utf-8"
    )
    (folder / "stimuli.json").write_text(json.dumps({"price": {"Units": "EUR"}, "labels": {"3": "handle", "4": "lid"}}))
    stimuli, _ = copy_stimuli(folder, tmp_path / "stimuli")
    assert (tmp_path / "stimuli" / "stimuli.tsv").read_text("utf-8") == (
        "file\tkind\tprice\tmask\tparts\n"
        "b.png\tbag\t12\tb.png\thandle\n"
        "c.png\tn/a\tn/a\tn/a\tn/a\n"
        "a.png\tn/a\tn/a\ta.png\thandle\n"
    )
    assert [(s.name, s.kind, s.mask.name if s.mask else None) for s in stimuli] == [
        ("a", "", "a.png"), ("b", "bag", "b.png"), ("c", "", None)
    ]  # fmt: skip
    assert json.loads((tmp_path / "stimuli" / "stimuli.json").read_text())["price"] == {"Units": "EUR"}


# ------------------------------------------------------------------------------------------------------ label maps


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB", "RGBA", "LA"])
def test_a_label_map_means_the_same_in_every_mode_that_programs_save(tmp_path: Path, mode: str) -> None:
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:9], labels[5:8, 3:9] = 1, 7
    image = Image.fromarray(labels.astype(np.uint16) if mode == "I;16" else labels)
    if mode == "P":
        image.putpalette([value for i in range(256) for value in (255 - i, i, 90)])
    elif mode in ("RGB", "RGBA", "LA"):
        image = image.convert(mode)
    picture(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "masks").mkdir()
    image.save(tmp_path / "photos" / "masks" / "A_mask.PNG")
    [stimulus], _ = copy_stimuli(tmp_path / "photos", tmp_path / "stimuli")
    assert stimulus.mask == tmp_path / "stimuli" / "masks" / "a.png"
    with Image.open(stimulus.mask) as stored:
        assert stored.mode == "L" and np.array_equal(np.asarray(stored), labels)


def test_a_mask_in_colours_or_above_eight_bits_is_no_label_map(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 256, np.uint16)).save(tmp_path / "b.png")
    Image.new("RGBA", (4, 4), (9, 9, 9, 128)).save(tmp_path / "c.png")
    for name in "abc":
        with pytest.raises(DataError, match="not an 8-bit label map"):
            read_labels(tmp_path / f"{name}.png")


def test_a_label_without_a_name_is_refused_where_the_others_have_names(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png")
    mask(tmp_path / "photos" / "masks" / "a.png")
    (tmp_path / "photos" / "stimuli.json").write_text('{"labels": {"0": "background", "1": "body"}}')
    refused(tmp_path / "photos", r"a\.png has 18 px of label 3, which has no name: name it")
    (tmp_path / "photos" / "stimuli.json").unlink()
    [stimulus], _ = copy_stimuli(tmp_path / "photos", tmp_path / "stimuli")
    assert stimulus.parts == {}
    assert "n/a" in (tmp_path / "stimuli" / "stimuli.tsv").read_text()


def test_soft_edges_are_refused_since_they_would_all_count_as_the_object(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png", (64, 4))
    (tmp_path / "photos" / "masks").mkdir()
    Image.fromarray(np.tile(np.arange(0, 256, 4, np.uint8), (4, 1))).save(tmp_path / "photos" / "masks" / "a.png")
    refused(tmp_path / "photos", r"a\.png has 63 different values, as soft edges have")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("images/a.png", b"", r"images/a\.png cannot be read as a picture"),
        ("images/a.png", b"hello", r"images/a\.png cannot be read as a picture"),
        ("masks/a.png", b"", r"masks/a\.png cannot be read as a mask"),
        ("masks/a.png", None, r"masks/a\.png is 7 x 5 px, its picture 60 x 40"),
        ("masks/c.png", None, r"masks/c\.png is a mask without its picture"),
    ],
)
def test_a_new_study_says_what_is_wrong_with_a_picture_or_mask(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    source = tmp_path / "source"
    for folder in ("images", "masks"):
        (source / folder).mkdir(parents=True)
    for letter in "ab":
        Image.new("RGB", (60, 40), "teal").save(source / "images" / f"{letter}.png")
        Image.new("L", (60, 40), 1).save(source / "masks" / f"{letter}.png")
    if content is None:
        Image.new("L", (7, 5), 1).save(source / name)
    else:
        (source / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        new_study("study", source)
