"""Pictures as they are shown and as models see them: 8 bits, sRGB, upright."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from beholder.shared.errors import DataError
from beholder.shared.stimuli.stimulus import Stimulus

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # what such files may hold, whatever their ending says


def common_background(stimuli: Sequence[Stimulus], tolerance: float = 2.0) -> str | None:
    """The colour, #rrggbb, that all pictures have along their borders; None where there is no such colour.

    A screen in that colour shows the object and not the picture's edge. tolerance, in levels of 255: the largest mean
    distance of a picture's border px from their median, and the largest distance of a median from that of all pictures.
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
    """The picture as a viewer shows it: upright, 8-bit sRGB by its colour profile, transparency on white.

    Raises DataError where it cannot be decoded whole, is more than one picture, or has values of no known range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about entries of a broken file; what matters is raised
            return _decoded(file)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{file} does not exist.") from None
    except Exception as error:  # decoders raise whatever they stumble over: also TypeError, struct.error, ...
        reason = str(error).rstrip(".")
        raise DataError(f"{file} cannot be read as a picture ({reason}): export it again as PNG.") from None


def verify(file: Path) -> None:
    """Raise what Pillow raises where a file's checksums are wrong."""
    # Pillow decodes a PNG without checking the checksums of its pixels, and a flipped bit makes another picture.
    with Image.open(file, formats=PICTURE_FORMATS) as stored:
        stored.verify()


def _decoded(file: Path) -> Image.Image:
    verify(file)
    with Image.open(file, formats=PICTURE_FORMATS) as stored:
        # A phone's JPEG may carry a second view of the same scene (MPO), which no viewer shows.
        n_pictures = 1 if stored.format == "MPO" else getattr(stored, "n_frames", 1)
        if n_pictures > 1:
            raise DataError(f"{file} holds {n_pictures} pictures: export the one that is to be shown as PNG.")
        # A camera held upright stores the picture on its side, with a note to turn it.
        picture = ImageOps.exif_transpose(stored)
        picture.load()
        profile = stored.info.get("icc_profile")
    if picture.mode[0] in "IF":
        picture = _eight_bits(picture, file)
    if not picture.has_transparency_data:
        return _in_srgb(picture, profile)
    on_white = Image.new("RGB", picture.size, "white")
    picture = picture.convert("LA" if picture.mode == "LA" else "RGBA")
    on_white.paste(_in_srgb(picture.convert(picture.mode[:-1]), profile), mask=picture.getchannel("A"))
    return on_white


def _eight_bits(picture: Image.Image, file: Path) -> Image.Image:
    levels = np.asarray(picture, dtype=np.float64)
    # Pillow opens 16-bit grey as I or I;16; a float, or 32 bits in use, could mean any range.
    if picture.mode == "F" or not 0 <= levels.min() <= levels.max() <= MAX_16_BIT:
        raise DataError(f"{file} has values ({picture.mode}) of no known range: save it with 8 bits a channel.")
    return Image.fromarray(np.round(levels * (255 / MAX_16_BIT)).astype(np.uint8))


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB, converted by its colour profile; taken for sRGB where it has no profile that fits."""
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if profile:
        from PIL import ImageCms

        # A profile that cannot be read is passed over, as viewers do.
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            space = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space.profile.xcolor_space.strip())
            if picture.mode == mode and "srgb" not in ImageCms.getProfileDescription(space).lower():
                converted = ImageCms.profileToProfile(picture, space, ImageCms.createProfile("sRGB"), outputMode="RGB")
                assert converted is not None  # only a conversion in place gives none
                return converted
    rgb: Image.Image = picture.convert("RGB")
    return rgb


MAX_16_BIT = 65535
