"""Maps as PNG in perceptually uniform colours, and bytes as data URIs."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
from PIL import Image

from beholder.shared.arrays import FloatArray

LEVELS = 64  # number of colours in a map


def map_png(relative: FloatArray, top: float) -> bytes:
    """A map as PNG: viridis from 0 to `top`, the weaker the more transparent.

    relative: (height, width), in multiples of an even spread, as is `top`.
    """
    return _png(relative / top, palette())


def difference_png(minus: FloatArray, top: float) -> bytes:
    """A difference of two maps as PNG: purple to orange from -`top` to `top`, transparent around 0.

    minus: (height, width), in multiples of an even spread, as is `top`.
    """
    return _png((minus / top + 1) / 2, diverging_palette())


def _png(value: FloatArray, colours: FloatArray) -> bytes:
    """Values (height, width) from 0 to 1, clipped beyond, as PNG in the colours of a palette."""
    level = np.clip(np.floor(value * (LEVELS - 1) + 0.5), 0, LEVELS - 1).astype(np.uint8)
    image = Image.frombytes("P", (level.shape[1], level.shape[0]), level.tobytes())
    rgba = (colours * 255).round().astype(np.uint8)
    image.putpalette(bytes(rgba[:, :3].ravel()))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=bytes(rgba[:, 3]), optimize=True)
    return buffer.getvalue()


def colour_bar() -> str:
    """The scale of the maps as a PNG of one row, as a data URI."""
    return data_uri(_png(np.linspace(0, 1, LEVELS)[None], palette()), "image/png")


def difference_bar() -> str:
    """The scale of the differences as a PNG of one row, as a data URI."""
    return data_uri(_png(np.linspace(0, 1, LEVELS)[None], diverging_palette()), "image/png")


def palette() -> FloatArray:
    """(LEVELS, 4) red, green, blue and opacity of viridis, 0 to 1 each."""
    value = np.linspace(0, 1, LEVELS)
    colours: FloatArray = np.asarray(mpl.colormaps["viridis"](value), dtype=np.float64)
    colours[:, 3] = np.clip(value * 2.2, 0, 0.86)
    return colours


def diverging_palette() -> FloatArray:
    """(LEVELS, 4) red, green, blue and opacity, 0 to 1 each; safe for colour-blind readers.

    From purple (the head has more) to orange (people have more).
    """
    value = np.linspace(0, 1, LEVELS)
    colours: FloatArray = np.asarray(mpl.colormaps["PuOr_r"](value), dtype=np.float64)
    colours[:, 3] = np.clip(np.abs(2 * value - 1) * 2.2, 0, 0.86)
    return colours


def colour_bytes(colours: FloatArray) -> str:
    """A palette (n, 3) of red, green and blue, 0 to 1 each, as bytes in base64."""
    return base64.b64encode((colours * 255).round().astype(np.uint8).tobytes()).decode("ascii")


def data_uri(content: bytes, kind: str) -> str:
    """Content as a data URI; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
