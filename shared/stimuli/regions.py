"""Regions as people draw them, made into label maps: COCO annotations, or one PNG a part.

COCO counts x and y in px from the picture's upper-left corner: the first px spans 0 to 1 and its centre is 0.5. A px
belongs to a polygon where its centre does. (Pillow's ImageDraw would cut corners to whole px and paint the border too,
which makes every region larger.) Polygons of one annotation are united, as COCO does; a hole is drawn as an annotation
of its own, on top.

Regions are read and checked here, and nothing is written. Listing pictures, reading finished label maps and copying are
done by the other files of `shared.stimuli`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.shared.errors import DataError, Remark
from beholder.shared.parsing import parse_json, shortened
from beholder.shared.screen import FARTHEST_PX

if TYPE_CHECKING:
    from beholder.shared.stimuli.stimulus import Stimulus

LARGEST_LABEL = 255
BESIDE_MASKS = (".json", ".txt", ".md", ".csv", ".tsv", ".db", ".ini")  # may lie in the folder masks, and are no mask


class Region(NamedTuple):
    """A region as it was drawn: its part's name, its source for error messages, and a PNG's path or COCO's outline."""

    part: str
    place: str
    drawn: Any


# ------------------------------------------------------------------------------------------------------ names


def composed(name: str) -> str:
    """A name with its accents composed (NFC): the same letters may be encoded in two ways, which differ as paths."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """A name without letter case and with composed accents: equal for names that some system does not tell apart.

    Windows and macOS ignore letter case.

    >>> folded("Jarro\\u0301n") == folded("JARR\\u00d3N")
    True
    """
    return composed(composed(name).casefold())


def visible(folder: Path) -> list[Path]:
    """A folder's files and folders, sorted, without hidden ones; none where there is no such folder."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def number_parts(source: Path, names: Mapping[int, str], parts: Iterable[str]) -> dict[str, int]:
    """Labels by the parts' names: the parts in `names` keep theirs, new parts get the next free ones, A to Z.

    Raises DataError where a new name cannot stand in a table or differs from another in letter case only, or where
    there are more than 255 parts.

    >>> number_parts(Path("photographs"), {2: "lid"}, ["lid", "rim", "body"])
    {'body': 1, 'lid': 2, 'rim': 3}
    """
    numbers = {name: number for number, name in names.items()}
    spelt = {folded(name): name for name in numbers}
    free = iter(sorted(set(range(1, LARGEST_LABEL + 1)) - set(names)))
    for part in sorted(set(parts) - set(numbers)):
        _check_part(source, part)
        if spelt.setdefault(folded(part), part) != part:
            raise DataError(f"{source}: the parts {spelt[folded(part)]} and {part} share a name: spell them alike.")
        number = next(free, None)
        if number is None:
            raise DataError(f"{source} has more than {LARGEST_LABEL} parts: a label map has room for no more.")
        numbers[part] = number
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def _check_part(source: Path, part: str) -> None:
    """Raise DataError where a part's name cannot stand in a table."""
    if part != part.strip() or not part.isprintable() or "," in part or part.casefold() in ("", "n/a", "background"):
        raise DataError(
            f"{source}: {shortened(part)} cannot be a part's name: rename it, with letters and without commas."
        )


# ------------------------------------------------------------------------------------------------ areas, in px


def fill_polygon(polygon: NDArray[np.float64], width_px: int, height_px: int) -> NDArray[np.bool_]:
    """(height, width): the px whose centre lies inside a closed polygon, by the even-odd rule.

    polygon: (n, 2), x and y in px from the picture's upper-left corner. A centre on a left or upper border is inside,
    on a right or lower one outside: polygons that share a border share no px. What lies off the picture is cut off.

    >>> fill_polygon(np.array([[0.5, 0.0], [2.5, 0.0], [2.5, 1.0], [0.5, 1.0]]), 4, 2).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 0, 0]])
    """
    ends = np.stack([polygon, np.roll(polygon, -1, axis=0)])
    # Each edge downwards: both polygons along a border then find the same crossings, to the last digit.
    upward = ends[0, :, 1] > ends[1, :, 1]
    ends[:, upward] = ends[::-1, upward]
    (x0, y0), (x1, y1) = ends[0].T, ends[1].T
    # An edge crosses the rows whose centres lie between its ends.
    first, stop = (np.clip(np.ceil(y - 0.5), 0, height_px).astype(np.int64) for y in (y0, y1))
    n_rows = stop - first
    edge = np.repeat(np.arange(len(n_rows)), n_rows)
    row = np.arange(n_rows.sum()) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) / (y1 - y0)[edge] * (x1 - x0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width_px).astype(np.int64)
    crossed = np.zeros((height_px, width_px + 1), np.bool_)
    np.logical_xor.at(crossed, (row, column), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(crossed, axis=1)[:, :width_px]
    return inside


def decode_runs(counts: str | Sequence[int], width_px: int, height_px: int) -> NDArray[np.bool_]:
    """(height, width) from COCO's run lengths: px outside and inside in turn, column by column from the upper left.

    counts: the lengths, or COCO's text for them. There, each letter's code less that of "0" holds five bits of a signed
    number, the lowest bits first, and a sixth bit that is set where more letters follow; from the fourth on, a number
    is the difference from the length two before. Raises ValueError where the lengths do not fill the picture.

    >>> decode_runs([1, 2, 3], 3, 2).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    lengths = _lengths(counts) if isinstance(counts, str) else list(counts)
    if not all(type(length) is int for length in lengths):
        raise ValueError("its runs are not whole numbers")
    if min(lengths, default=0) < 0 or sum(lengths) != width_px * height_px:
        raise ValueError(f"its runs do not add up to the picture's {width_px * height_px} px")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width_px, height_px).T


def _lengths(text: str) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"{letter!r} is no letter of COCO's run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its run lengths end in the midst of one")
    return lengths


def check_size(place: Path | str, size: tuple[int, int], picture: tuple[int, int]) -> None:
    """Raise DataError where a region was drawn on another size than the picture's; both (width, height) in px."""
    if size != picture:
        remedy = "turn it as the picture is shown" if size == picture[::-1] else "a mask has its picture's size"
        raise DataError(f"{place} is {size[0]} x {size[1]} px, its picture {picture[0]} x {picture[1]}: {remedy}.")


# ------------------------------------------------------------------------------------------- from files to a map


def drawn_regions(source: Path, stimuli: Sequence[Stimulus]) -> dict[str, list[Region]]:
    """Regions drawn as one PNG a part or as COCO annotations, by the picture's name, in the order of painting.

    Raises DataError where a region cannot be read or has no picture, or where a picture has regions in two forms.
    """
    by_name = {folded(stimulus.name): stimulus for stimulus in stimuli}
    parts, annotated = _parts_in_files(source / "masks", by_name), _parts_in_coco(source, by_name)
    for stimulus in stimuli:
        forms = [str(stimulus.mask)] if stimulus.mask is not None else []
        forms += [some[stimulus.name][0].place for some in (parts, annotated) if stimulus.name in some]
        if len(forms) > 1:
            raise DataError(f"{stimulus.file.name} has two masks, {forms[0]} and {forms[1]}: keep one of them.")
    return parts | annotated


def paint(
    stimulus: Stimulus, regions: Sequence[Region], numbers: Mapping[str, int]
) -> tuple[NDArray[np.uint8], list[Remark]]:
    """The regions as one label map (height, width), later ones on top, and a remark where parts overlap.

    numbers: labels by the parts' names. Raises DataError where a region is not usable, or where later ones hide it all.
    """
    labels = np.zeros((stimulus.height_px, stimulus.width_px), np.uint8)
    names = {number: name for name, number in numbers.items()}
    hidden: dict[tuple[str, str], int] = {}
    drawn: dict[str, Region] = {}
    for region in regions:
        where, own = _area(region, stimulus), numbers[region.part]
        if not where.any():
            raise DataError(f"{region.place} covers no px of {stimulus.file.name}: draw it again, or remove it.")
        covered = np.bincount(labels[where], minlength=LARGEST_LABEL + 1)
        for number in set(np.nonzero(covered)[0].tolist()) - {0, own}:
            pair = region.part, names[number]
            hidden[pair] = hidden.get(pair, 0) + int(covered[number])
        labels[where] = own
        drawn[region.part] = region
    for part, region in drawn.items():
        if not (labels == numbers[part]).any():
            raise DataError(f"{region.place}: the parts painted after {part} hide all of it: mend them, or remove it.")
    overlaps = ", ".join(f"{top} over {under} ({n_px} px)" for (top, under), n_px in sorted(hidden.items()))
    text = f"its parts overlap, and the later one is on top: {overlaps}"
    return labels, [Remark(stimulus.file.name, text)] if hidden else []


def _parts_in_files(masks: Path, by_name: Mapping[str, Stimulus]) -> dict[str, list[Region]]:
    label_maps = {stimulus.mask for stimulus in by_name.values()}
    found: dict[str, list[Region]] = {}
    for path in visible(masks):
        for file in visible(path) if path.is_dir() else [path]:
            if file in label_maps or file.suffix.lower() in BESIDE_MASKS:
                continue
            if file.suffix.lower() != ".png":
                raise DataError(f"{file} is not a PNG: masks are PNG, or COCO annotations in a JSON file.")
            name, part = (path.name, file.stem) if path.is_dir() else _owner_and_part(file, by_name)
            stimulus = by_name.get(folded(name))
            if stimulus is None:
                raise DataError(f"{file} is a mask without its picture: there is no picture {name}.")
            found.setdefault(stimulus.name, []).append(Region(composed(part), str(file), file))
    return {name: sorted(regions, key=lambda region: region.part) for name, regions in found.items()}


def _owner_and_part(file: Path, by_name: Mapping[str, Stimulus]) -> tuple[str, str]:
    """The picture's and the part's name in NAME_PART.png; NAME is the longest that a picture has."""
    words = file.stem.split("_")
    for n in range(len(words) - 1, 0, -1):
        if folded("_".join(words[:n])) in by_name:
            return "_".join(words[:n]), "_".join(words[n:])
    return file.stem, ""


def _read_part(file: Path, stimulus: Stimulus) -> NDArray[np.bool_]:
    """A PNG's region, (height, width): px that are not black or, if any px is transparent, not fully transparent."""
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.load()
            # In a palette picture the colours count, not their numbers: colour 0 may be white.
            alike = image.mode in ("1", "L", "RGB") and not image.has_transparency_data
            values = np.asarray(image if alike or image.mode.startswith("I") else image.convert("RGBA"))
    except Exception as error:  # decoders raise whatever they stumble over: also TypeError, struct.error, ...
        raise DataError(f"{file} cannot be read as a mask ({error}): save it as 8-bit greyscale PNG.") from None
    check_size(file, (values.shape[1], values.shape[0]), (stimulus.width_px, stimulus.height_px))
    bands = values.reshape(*values.shape[:2], -1)
    if bands.shape[2] == 4 and (bands[..., 3] < LARGEST_LABEL).any():
        bands = bands[..., 3:]
    return np.asarray((bands[..., :3] > 0).any(axis=-1))


def _parts_in_coco(source: Path, by_name: Mapping[str, Stimulus]) -> dict[str, list[Region]]:
    found: dict[str, list[Region]] = {}
    for folder in (source, source / "annotations", source / "masks", source / "images"):
        for file in visible(folder):
            if file.suffix.lower() == ".json" and file != source / "stimuli.json":
                for name, region in _regions_in(file, by_name):
                    found.setdefault(name, []).append(region)
    return found


def _regions_in(file: Path, by_name: Mapping[str, Stimulus]) -> Iterator[tuple[str, Region]]:
    """The annotations of one COCO file in its order, each with its picture's name."""
    try:
        coco = parse_json(file.read_text("utf-8-sig"))
        parts = {entry["id"]: composed(str(entry["name"])) for entry in _numbered(coco["categories"])}
        images = {entry["id"]: entry for entry in _numbered(coco["images"])}
        annotations = [(images[a["image_id"]], parts[a["category_id"]], a) for a in coco["annotations"]]
        paths = {image["id"]: PurePosixPath(image["file_name"].replace("\\", "/")) for image, _, _ in annotations}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} cannot be read as COCO annotations ({type(error).__name__}: {error}): export it again, or take it "
            "out of the folder of pictures."
        ) from None
    pictures: dict[str, PurePosixPath] = {}
    for number, path in paths.items():
        stimulus = by_name.get(folded(path.stem))
        if stimulus is None:
            raise DataError(f"{file} has annotations of {path}, and there is no such picture: add it, or remove them.")
        if pictures.setdefault(stimulus.name, path) != path:
            raise DataError(
                f"{file} annotates both {pictures[stimulus.name]} and {path}, which share a name: rename one."
            )
        size: Any = images[number].get("width"), images[number].get("height")
        if None not in size:
            check_size(f"{path} in {file}", size, (stimulus.width_px, stimulus.height_px))
    for image, part, annotation in annotations:
        _check_part(file, part)
        stimulus = by_name[folded(paths[image["id"]].stem)]
        place = f"{file}, annotation {annotation.get('id', 'without id')}"
        yield stimulus.name, Region(part, place, annotation.get("segmentation"))


def _numbered(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The distinct entries of a COCO list, referred to by id. Raises ValueError where two of them share an id."""
    seen: dict[Any, Mapping[str, Any]] = {}
    for entry in entries:
        if seen.setdefault(entry["id"], entry) != entry:
            raise ValueError(f"the id {entry['id']!r} stands twice, for different entries")
    return list(seen.values())


def _area(region: Region, stimulus: Stimulus) -> NDArray[np.bool_]:
    """The px that a region covers, (height, width) of its picture."""
    if isinstance(region.drawn, Path):
        return _read_part(region.drawn, stimulus)
    size = stimulus.width_px, stimulus.height_px
    try:
        if isinstance(region.drawn, dict):
            height, width = region.drawn["size"]
            check_size(region.place, (width, height), size)
            return decode_runs(region.drawn["counts"], width, height)
        if not isinstance(region.drawn, list) or not region.drawn:
            raise ValueError("it has no outline")
        area = np.zeros(size[::-1], np.bool_)
        for polygon in region.drawn:
            area |= fill_polygon(_corners(polygon), *size)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise DataError(
            f"{region.place} has no usable polygon or runs ({error}): draw it again, or remove it."
        ) from None
    return area


def _corners(polygon: Any) -> NDArray[np.float64]:
    values = np.asarray(polygon, np.float64)
    if values.ndim != 1 or len(values) < 6 or len(values) % 2:
        raise ValueError("a polygon is x and y of three corners or more, in one list")
    if not (np.abs(values) <= FARTHEST_PX).all():
        raise ValueError("a corner lies nowhere near the picture")
    if (values >= 0).all() and (values <= 1).all():
        raise ValueError("its corners lie between 0 and 1, where px of the picture should be")
    return values.reshape(-1, 2)
