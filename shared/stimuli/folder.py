"""The pictures of a study and their regions, as they lie in a folder `stimuli`.

    stimuli/images/NAME.png      the pictures (PNG, JPEG, TIFF, BMP or WebP; names are unique without their ending)
    stimuli/masks/NAME.png       optional label maps: 0 is background, every other value belongs to the object
    stimuli/stimuli.tsv          optional: file, kind, name, mask, parts, ... one row a picture
    stimuli/stimuli.json         optional: what the columns mean, and the labels' names under "labels"

`copy_stimuli` makes such a folder from a lab's own photographs, in which regions may be drawn in other forms
(regions.py). Pictures are copied byte for byte and become upright sRGB when they are opened; nothing is scaled.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.shared.errors import DataError, Remark
from beholder.shared.parsing import parse_json
from beholder.shared.stimuli.label_maps import (
    NOT_ARRAYS,
    check_mask,
    label_map_files,
    read_labels,
    refuse_nameless_labels,
    refuse_soft_edges,
    write_mask,
)
from beholder.shared.stimuli.pictures import PICTURE_ENDINGS, open_picture
from beholder.shared.stimuli.regions import composed, drawn_regions, folded, number_parts, paint, visible
from beholder.shared.stimuli.stimulus import Stimulus

LEFT_OUT = " It is left out."
# Pictures in formats that are not read here: refused, since a picture that is silently skipped would be missed.
OTHER_ENDINGS = (
    ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".xcf", ".eps", ".tga", ".exr", ".hdr",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef",
)  # fmt: skip
# The analysis puts ".parquet" behind a picture's name and folders before it; Windows allows 260 characters in all.
LONGEST_NAME_BYTES = 100
UNUSABLE_CHARACTERS = '<>:"/\\|?*'
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def bundled_folder() -> Path:
    """The folder of the 20 objects that come with Beholder."""
    return Path(__file__).resolve().parents[2] / "stimuli"


def read_stimuli(folder: Path) -> tuple[tuple[Stimulus, ...], tuple[Remark, ...]]:
    """The usable pictures of a folder `stimuli`, sorted by name, and a remark for each that is left out.

    A plain folder of pictures, without `images` in it, is read as well.
    Raises DataError where there is no usable picture, where two share a name, or where the table is not readable.
    """
    images = _pictures_folder(folder)
    _, rows = _read_table(folder)
    _, parts = _read_sidecar(folder)
    files = [path for path in visible(images) if path.suffix.lower() in PICTURE_ENDINGS]
    _refuse_shared_names(files)
    there = {composed(path.name) for path in files}
    remarks = [
        Remark(name, f"{folder / 'stimuli.tsv'} names {name}, but there is no such picture in {images}.{LEFT_OUT}")
        for name in rows
        if name not in there
    ]
    maps = label_map_files(folder, files)
    stimuli: list[Stimulus] = []
    for file in files:
        try:
            width, height = open_picture(file).size
            row = rows.get(composed(file.name), {})
            mask = _mask_of(folder, file, row, maps)
            if mask is not None:
                check_mask(mask, (width, height))
        except DataError as error:
            remarks.append(Remark(file.name, f"{error}{LEFT_OUT}"))
            continue
        stimuli.append(Stimulus(file.stem, file, width, height, _cell(row, "kind"), _cell(row, "name"), mask, parts))
    if not stimuli:
        reasons = f" ({remarks[0]})" if remarks else ""
        raise DataError(f"{images} holds no usable picture{reasons}: put PNG, JPEG, TIFF, BMP or WebP files there.")
    return tuple(stimuli), tuple(remarks)


def copy_stimuli(source: Path, target: Path) -> tuple[tuple[Stimulus, ...], tuple[Remark, ...]]:
    """Copy pictures into a study's folder `stimuli`; returns them as read from there, and remarks for the user.

    `source` is a folder of the form above, or a plain folder of pictures. Regions may lie in it as

        masks/NAME.png or masks/NAME_mask.png          label maps
        masks/NAME/PART.png or masks/NAME_PART.png     one PNG a part
        *.json, also in annotations, masks, images     COCO annotations: polygons, or run lengths of px

    and are written as label maps, so that all other code reads one form. Labels are those of stimuli.json; parts that
    it does not name get the next free ones, A to Z. Where parts overlap the later one is on top (by name, or in the
    order of the annotations), and a remark says so.
    Raises DataError, and leaves nothing behind, where a picture, name, table or region cannot be used: no study begins
    with broken pictures or lost regions.
    """
    if target.exists():
        raise DataError(f"{target} exists already: pictures are never overwritten.")
    _refuse_other_kinds(_pictures_folder(source))
    stimuli, found = read_stimuli(source)
    if found:
        raise DataError(found[0].text.removesuffix(LEFT_OUT))
    for stimulus in stimuli:
        _refuse_unusable_name(stimulus.file)
    drawn = drawn_regions(source, stimuli)
    _, names = _read_sidecar(source)
    numbers = number_parts(source, names, {region.part for regions in drawn.values() for region in regions})
    labelled = names | {number: name for name, number in numbers.items()}
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "images").mkdir(parents=True)
        remarks, present = [], {}
        for stimulus in stimuli:
            shutil.copyfile(stimulus.file, part / "images" / composed(stimulus.file.name))
            labels = None if stimulus.mask is None else read_labels(stimulus.mask)
            if labels is not None and labelled:
                refuse_nameless_labels(stimulus, labels, names)
            elif labels is not None:
                refuse_soft_edges(stimulus, labels)
            elif stimulus.name in drawn:
                labels, hidden = paint(stimulus, drawn[stimulus.name], numbers)
                remarks += hidden
            if labels is not None:
                (part / "masks").mkdir(exist_ok=True)
                write_mask(stimulus, labels, part / "masks" / f"{composed(stimulus.name)}.png")
                present[stimulus.name] = [labelled[n] for n in np.unique(labels).tolist() if n in labelled]
        _write_table(source, part, stimuli, present)
        _write_sidecar(source, part, labelled)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return read_stimuli(target)[0], tuple(remarks)


# ------------------------------------------------------------------------------------------------ names and tables


def _refuse_shared_names(files: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(folded(file.stem), file)
        if other is not file:
            raise DataError(f"{file.parent} has two pictures of one name, {other.name} and {file.name}: rename one.")


def _pictures_folder(folder: Path) -> Path:
    images = folder / "images" if (folder / "images").is_dir() else folder
    if not images.is_dir():
        raise DataError(f"{images} is not a folder: name the folder that holds the pictures.")
    return images


def _refuse_other_kinds(images: Path) -> None:
    for path in visible(images):
        if path.suffix.lower() in OTHER_ENDINGS:
            raise DataError(f"{path} is of a kind that is not read here ({path.suffix}): export it as PNG or JPEG.")


def _refuse_unusable_name(file: Path) -> None:
    """Raise DataError where a picture's name cannot be a table's cell and the name of files on every system."""
    name, stem = composed(file.name), composed(file.stem)
    unusable = sorted({c for c in name if c in UNUSABLE_CHARACTERS or not c.isprintable()})
    if unusable:
        reason = f"{unusable[0]!r} cannot stand in the name of a file everywhere"
    elif " ".join(name.split()) != name or stem != stem.strip():
        reason = "spaces at an end, or two of them together, do not survive in tables"
    elif len(name.encode()) > LONGEST_NAME_BYTES:
        reason = f"it has more than {LONGEST_NAME_BYTES} bytes, too long for the paths of the analysis"
    elif stem.casefold().split(".")[0] in DEVICES:
        reason = "Windows keeps that name to itself"
    elif stem in NOT_ARRAYS:
        reason = "no array of that name can be saved"
    else:
        return
    raise DataError(f"the picture {file.name!r} cannot keep its name ({reason}): rename it.")


def _read_table(folder: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The columns of stimuli.tsv, and its rows by the picture's file name; both empty where there is no table."""
    table = folder / "stimuli.tsv"
    rows: dict[str, dict[str, str]] = {}
    if not table.is_file():
        return [], rows
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t")
            columns = list(reader.fieldnames or ())
            if "file" not in columns:
                raise DataError(f"{table} has no column file: its first line must name the columns, tab separated.")
            if len(set(columns)) < len(columns):
                raise DataError(f"{table} has two columns of one name: rename one.")
            for number, row in enumerate(reader, start=2):
                if any(row.pop(None, None) or ()):
                    raise DataError(f"{table}, line {number} has more than {len(columns)} cells: mend that line.")
                name = composed(row["file"] or "")
                if name in rows:
                    raise DataError(f"{table}, line {number}: {name} is named twice; remove one line.")
                rows[name] = {key: value or "" for key, value in row.items()}
    except UnicodeDecodeError:
        raise DataError(f"{table} is not UTF-8: save it as tab separated text in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{table} cannot be read ({error}): save it as tab separated text in UTF-8.") from None
    return columns, rows


def _cell(row: Mapping[str, str], column: str) -> str:
    value = row.get(column, "")
    return "" if value == "n/a" else value


def _read_sidecar(folder: Path) -> tuple[dict[str, Any], dict[int, str]]:
    """The content of stimuli.json, and the parts' names in it by label; both empty where there is no such file."""
    sidecar = folder / "stimuli.json"
    if not sidecar.is_file():
        return {}, {}
    try:
        values = parse_json(sidecar.read_text("utf-8-sig"))
        names = {int(label): str(name) for label, name in values.get("labels", {}).items() if int(label)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{sidecar} cannot be read ({error}): mend it, or remove it.") from None
    return values, names


def _write_table(source: Path, target: Path, stimuli: Sequence[Stimulus], present: Mapping[str, list[str]]) -> None:
    """Write stimuli.tsv: the source's columns, with mask and parts as they are now; no file without any column."""
    columns, rows = _read_table(source)
    if present:
        columns = list(dict.fromkeys([*(columns or ["file"]), "mask", "parts"]))
    if not columns:
        return
    of_file = {composed(stimulus.file.name): stimulus for stimulus in stimuli}
    with (target / "stimuli.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="n/a", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for name in dict.fromkeys([*rows, *of_file]):
            row = {**rows.get(name, {}), "file": name}
            parts = present.get(of_file[name].name)
            if parts is not None:
                row |= {"mask": f"{composed(of_file[name].name)}.png"} | ({"parts": ",".join(parts)} if parts else {})
            writer.writerow({column: value or "n/a" for column, value in row.items()})


def _write_sidecar(source: Path, target: Path, labelled: Mapping[int, str]) -> None:
    sidecar, names = _read_sidecar(source)
    if dict(labelled) == names:
        if sidecar:
            shutil.copyfile(source / "stimuli.json", target / "stimuli.json")
        return
    sidecar.setdefault("mask", {"Description": "File name of the label map, in the folder masks."})
    sidecar.setdefault("parts", {"Description": "The parts present in the label map, separated by commas."})
    sidecar["labels"] = (
        {"0": "background"} | sidecar.get("labels", {}) | {str(n): labelled[n] for n in sorted(labelled)}
    )
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    (target / "stimuli.json").write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ label maps


def _mask_of(folder: Path, picture: Path, row: Mapping[str, str], maps: Mapping[str, Path]) -> Path | None:
    named = _cell(row, "mask")
    if not named:
        return maps.get(folded(picture.stem))
    mask = folder / "masks" / named
    if not mask.is_file():
        raise DataError(f"{folder / 'stimuli.tsv'} names the mask {named}, which is not in {folder / 'masks'}.")
    return mask
