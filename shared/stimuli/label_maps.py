"""Label maps: which pixels of a picture belong to which part of the object."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beholder.shared.errors import DataError
from beholder.shared.stimuli.pictures import PICTURE_FORMATS, verify
from beholder.shared.stimuli.regions import LARGEST_LABEL, check_size, folded, visible
from beholder.shared.stimuli.stimulus import Stimulus

# A label map without names that holds more values than this has soft edges, whose px would all count as the object.
MOST_NAMELESS_LABELS = 32


# Names of numpy.savez's own arguments, which an array in an .npz file cannot have.
NOT_ARRAYS = {"file", "allow_pickle"}


def read_labels(mask: Path) -> NDArray[np.uint8]:
    """A label map as (height, width) of small integers; 0 is background.

    Accepts grey and palette (the palette's index is the label), 16 bits where no value is above 255, and RGB where all
    px are grey and opaque. Raises DataError for any other file.
    """
    try:
        verify(mask)
        with Image.open(mask, formats=PICTURE_FORMATS) as image:
            image.load()
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # see open_picture
        raise DataError(f"{mask} cannot be read as a mask ({error}): save it as 8-bit greyscale PNG.") from None
    if values.ndim == 3 and mode in ("RGB", "RGBA", "LA"):
        colour, alpha = (values[..., :-1], values[..., -1]) if mode.endswith("A") else (values, None)
        if (colour == colour[..., :1]).all() and (alpha is None or (alpha == LARGEST_LABEL).all()):
            values = colour[..., 0]
    if values.ndim != 2 or mode == "F" or not 0 <= values.min() <= values.max() <= LARGEST_LABEL:
        raise DataError(f"{mask} is {mode}, not an 8-bit label map: save it as 8-bit greyscale PNG.")
    return values.astype(np.uint8)


def read_object(stimulus: Stimulus) -> NDArray[np.bool_] | None:
    """Where the object is, (height, width) of the picture; None where the picture has no mask."""
    return None if stimulus.mask is None else read_labels(stimulus.mask) > 0


def label_map_files(folder: Path, pictures: Sequence[Path]) -> dict[str, Path]:
    """Label maps by the folded name of their picture, where masks/NAME.png or masks/NAME_mask.png is there."""
    masks = {folded(path.name): path for path in visible(folder / "masks") if path.is_file()}
    names = {folded(picture.stem) for picture in pictures}
    found = {}
    for name in names:
        other = None if f"{name}_mask" in names else masks.get(f"{name}_mask.png")
        mask = masks.get(f"{name}.png") or other
        if mask is not None:
            found[name] = mask
    return found


def check_mask(mask: Path, size: tuple[int, int]) -> None:
    """Raise DataError where a mask is no label map, not of its picture's size (width, height), or marks nothing."""
    labels = read_labels(mask)
    check_size(mask, (labels.shape[1], labels.shape[0]), size)
    if not labels.any():
        raise DataError(f"{mask} marks nothing: the object's px must not be 0.")


def refuse_nameless_labels(stimulus: Stimulus, labels: NDArray[np.uint8], names: Mapping[int, str]) -> None:
    """Raise DataError where a mask has a label without a name: a slip in drawing, or an edge that was smoothed."""
    counts = np.bincount(labels.ravel(), minlength=LARGEST_LABEL + 1)
    for label in np.nonzero(counts)[0]:
        if label and int(label) not in names:
            raise DataError(
                f"{stimulus.mask} has {counts[label]} px of label {label}, which has no name: "
                'name it under "labels" in stimuli.json, or mend the mask.'
            )


def refuse_soft_edges(stimulus: Stimulus, labels: NDArray[np.uint8]) -> None:
    """Raise DataError where a mask has so many labels that it is a soft-edged picture, and no label map."""
    n_labels = len(np.unique(labels[labels > 0]))
    if n_labels > MOST_NAMELESS_LABELS:
        raise DataError(
            f"{stimulus.mask} has {n_labels} different values, as soft edges have: save it without smoothing, the "
            'object in one value a part (or name them under "labels" in stimuli.json).'
        )


def write_mask(stimulus: Stimulus, labels: NDArray[np.uint8], target: Path) -> None:
    """Write a stimulus's label map; a mask that is a grey PNG already is copied as it is."""
    if stimulus.mask is not None:
        with Image.open(stimulus.mask) as image:
            if image.format == "PNG" and image.mode == "L":
                shutil.copyfile(stimulus.mask, target)
                return
    Image.fromarray(labels).save(target, optimize=True)
