"""The pictures of a study and their regions, as they lie in a folder `stimuli`.

    stimuli/images/NAME.png      the pictures (any format that Pillow reads; names are unique without their ending)
    stimuli/masks/NAME.png       optional label maps: 0 is background, every other value belongs to the object
    stimuli/stimuli.tsv          optional: file, kind, name, mask, ... one row a picture
    stimuli/stimuli.json         optional: what the columns mean, and the labels' names under "labels"

Reading checks every picture by decoding it; nothing is scaled or converted here but to RGB.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.errors import DataError, Remark

LEFT_OUT = " It is left out."
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True)
class Stimulus:
    """One picture: its name (unique in the study), file, size in px, kind, and mask where there is one."""

    name: str
    file: Path
    width_px: int
    height_px: int
    kind: str = ""
    title: str = ""
    mask: Path | None = None
    parts: dict[int, str] = field(default_factory=dict, compare=False)

    @property
    def stim_file(self) -> str:
        """The path that a BIDS events table names it by, relative to the folder `stimuli`."""
        return f"images/{self.file.name}"


def bundled_folder() -> Path:
    """The folder of the 20 objects that come with Beholder."""
    return Path(__file__).resolve().parent.parent / "stimuli"


def read_stimuli(folder: Path) -> tuple[tuple[Stimulus, ...], tuple[Remark, ...]]:
    """The usable pictures of a folder `stimuli`, sorted by name, and a remark for each that is left out.

    A plain folder of pictures, without `images` in it, is read as well.
    Raises DataError where there is no usable picture, where two share a name, or where the table is not readable.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    if not images.is_dir():
        raise DataError(f"{images} is not a folder: name the folder that holds the pictures.")
    rows, parts = _read_table(folder)
    files = sorted(p for p in images.iterdir() if p.suffix.lower() in PICTURE_ENDINGS and not p.name.startswith("."))
    _refuse_shared_names(files)
    remarks = [
        Remark(str(folder / "stimuli.tsv"), f"names {name}, but there is no such picture in {images}.{LEFT_OUT}")
        for name in rows
        if name not in {p.name for p in files}
    ]
    stimuli: list[Stimulus] = []
    for file in files:
        try:
            width, height = open_picture(file).size
            row = rows.get(file.name, {})
            mask = _mask_of(folder, file, row)
            if mask is not None:
                _check_mask(mask, (width, height))
        except DataError as error:
            remarks.append(Remark(file.name, f"{error}{LEFT_OUT}"))
            continue
        stimuli.append(
            Stimulus(file.stem, file, width, height, row.get("kind", ""), row.get("name", ""), mask, parts)
        )  # fmt: skip
    if not stimuli:
        reasons = f" ({remarks[0]})" if remarks else ""
        raise DataError(f"{images} holds no usable picture{reasons}: put PNG, JPEG, TIFF, BMP or WebP files there.")
    return tuple(stimuli), tuple(remarks)


def copy_stimuli(source: Path, target: Path) -> tuple[Stimulus, ...]:
    """Copy pictures into a study's folder `stimuli` and return them as read from there.

    `source` is a folder of the form above, or a plain folder of pictures. Raises DataError, and leaves nothing behind,
    where a picture or mask cannot be used: a study is not begun with pictures that are broken.
    """
    stimuli, remarks = read_stimuli(source)
    if remarks:
        raise DataError(f"{remarks[0].text.removesuffix(LEFT_OUT)}")
    if target.exists():
        raise DataError(f"{target} exists already: pictures are never overwritten.")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "images").mkdir(parents=True)
    for stimulus in stimuli:
        shutil.copyfile(stimulus.file, part / stimulus.stim_file)
        if stimulus.mask is not None:
            (part / "masks").mkdir(exist_ok=True)
            shutil.copyfile(stimulus.mask, part / "masks" / stimulus.mask.name)
    for name in ("stimuli.tsv", "stimuli.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, part / name)
    part.rename(target)
    return read_stimuli(target)[0]


def common_background(stimuli: Sequence[Stimulus], tolerance: float = 2.0) -> str | None:
    """The colour, #rrggbb, that all pictures have along their borders; None where they have no one colour.

    A screen in that colour shows the object and not the picture's edge. tolerance: in levels of 255, of the mean
    distance of border px from their median, and of the pictures' medians from each other.
    """
    medians = []
    for stimulus in stimuli:
        rgb = np.asarray(open_picture(stimulus.file), dtype=np.float64)
        border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
        median = np.median(border, axis=0)
        if np.abs(border - median).mean() > tolerance:
            return None
        medians.append(median)
    common = np.median(medians, axis=0)
    if np.abs(np.array(medians) - common).max() > tolerance:
        return None
    return "#" + "".join(f"{round(level):02x}" for level in common)


def open_picture(file: Path) -> Image.Image:
    """The picture as RGB, upright, transparency on white. Raises DataError where it cannot be decoded whole."""
    try:
        with Image.open(file) as stored:
            # A camera held upright stores a lying picture and a note to turn it.
            picture = ImageOps.exif_transpose(stored)
            picture.load()
            if picture.mode == "I;16" or picture.mode == "I":
                levels = np.asarray(picture, dtype=np.float64) / 257
                return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")
            if "A" in picture.getbands() or "transparency" in picture.info:
                white = Image.new("RGBA", picture.size, "white")
                return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
            rgb: Image.Image = picture.convert("RGB")
            return rgb
    except FileNotFoundError:
        raise DataError(f"{file} does not exist.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).rstrip(".")
        raise DataError(f"{file} cannot be read as a picture ({reason}): export it again as PNG.") from None


def read_labels(mask: Path) -> NDArray[np.uint8]:
    """A label map as (height, width) of small integers; 0 is background."""
    try:
        with Image.open(mask) as image:
            if image.mode not in ("L", "P", "1"):
                raise DataError(f"{mask} is {image.mode}, not an 8-bit label map: save it as 8-bit greyscale PNG.")
            labels = np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{mask} cannot be read as a mask ({error}): save it as 8-bit greyscale PNG.") from None
    return labels.astype(np.uint8)


def read_object(stimulus: Stimulus) -> NDArray[np.bool_] | None:
    """Where the object is, (height, width) of the picture; None where the picture has no mask."""
    return None if stimulus.mask is None else read_labels(stimulus.mask) > 0


def _read_table(folder: Path) -> tuple[dict[str, dict[str, str]], dict[int, str]]:
    table, sidecar = folder / "stimuli.tsv", folder / "stimuli.json"
    rows: dict[str, dict[str, str]] = {}
    if table.is_file():
        try:
            with table.open(encoding="utf-8", newline="") as lines:
                reader = csv.DictReader(lines, delimiter="\t")
                if "file" not in (reader.fieldnames or ()):
                    raise DataError(f"{table} has no column file: its first line must name the columns, tab separated.")
                for number, row in enumerate(reader, start=2):
                    name = row["file"]
                    if name in rows:
                        raise DataError(f"{table}, line {number}: {name} is named twice; remove one line.")
                    rows[name] = {key: value or "" for key, value in row.items() if key}
        except UnicodeDecodeError:
            raise DataError(f"{table} is not UTF-8: save it as tab separated text in UTF-8.") from None
    parts: dict[int, str] = {}
    if sidecar.is_file():
        try:
            parts = {
                int(k): str(v) for k, v in json.loads(sidecar.read_text("utf-8")).get("labels", {}).items() if int(k)
            }
        except (ValueError, AttributeError) as error:
            raise DataError(f"{sidecar} cannot be read ({error}): mend it, or remove it.") from None
    return rows, parts


def _refuse_shared_names(files: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        # Letter case does not tell files apart on every system that a study may be moved to.
        other = seen.setdefault(file.stem.casefold(), file)
        if other is not file:
            raise DataError(f"{file.parent} has two pictures of one name, {other.name} and {file.name}: rename one.")


def _mask_of(folder: Path, picture: Path, row: dict[str, str]) -> Path | None:
    named = row.get("mask", "")
    if named and named != "n/a":
        mask = folder / "masks" / named
        if not mask.is_file():
            raise DataError(f"{folder / 'stimuli.tsv'} names the mask {named}, which is not in {folder / 'masks'}.")
        return mask
    mask = folder / "masks" / f"{picture.stem}.png"
    return mask if mask.is_file() else None


def _check_mask(mask: Path, size: tuple[int, int]) -> None:
    labels = read_labels(mask)
    if labels.shape != (size[1], size[0]):
        raise DataError(
            f"{mask} is {labels.shape[1]} x {labels.shape[0]} px, its picture {size[0]} x {size[1]}: "
            "a mask has its picture's size."
        )
    if not labels.any():
        raise DataError(f"{mask} marks nothing: the object's px must not be 0.")
