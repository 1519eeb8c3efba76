"""The pictures that the reader looks at: each with people's map, everybody's fixations, and every head's attention.

Maps become small PNGs, all in one scale of multiples of an even spread, transparent where they are weak. Nothing is
tested here, and no page is made.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from analysis.figures import head_label
from analysis.gaze_maps import fixation_map, grid_for, sigma_in_map_px, to_map_px
from analysis.inference import Inference
from analysis.results import POOLED, Results, head_name
from analysis.wording import layer_label, number
from shared.stimuli import Stimulus, open_picture

FloatArray = NDArray[np.float64]

MAP_BYTES = 9_000_000  # of head maps in the page, before base64; layers beyond it are left out of the chooser, and said
MOST_OBJECTS = 200
PEOPLE_MAP_PX = 112  # people's map is shown at this many px on its longer side
LEVELS = 64  # of the maps' colours


@dataclass(frozen=True)
class Look:
    """One object to look at: its picture, people's map, fixations, and the maps and scores of each head."""

    name: str
    width: int
    height: int
    picture: str
    people: str
    fixations: tuple[tuple[float, str], ...]
    n_fixations: int
    maps: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[str, ...], ...]
    scale_bar: tuple[float, str] | None


@dataclass(frozen=True)
class Chooser:
    """The heads that the reader can look at: (layer's label, names of its heads), the first two shown, the scale."""

    layers: tuple[tuple[str, tuple[str, ...]], ...]
    first: tuple[int, int]
    second: tuple[int, int]
    top: float
    note: str


def make_looks(results: Results, inference: Inference, stimuli: Sequence[Stimulus]) -> tuple[tuple[Look, ...], Chooser]:
    """Each object with people's map and every head's, all in one scale: times what an even spread would give."""
    main = inference.main()
    shown = [(s.model, s.layer) for s in inference.shown()]
    every = shown + [(s.model, s.layer) for s in inference.sound if s.primary and (s.model, s.layer) not in shown]
    seen, spent = stimuli[:MOST_OBJECTS], 0
    layers: list[tuple[str, int]] = []
    attention: list[dict[str, list[FloatArray]]] = []
    for model, layer in every:
        maps = results.attention(model, layer)
        images = {s.name: [_relative(m) for m in maps[s.name]] for s in seen if s.name in maps}
        # A palette PNG of noise-like patches takes about one byte a patch.
        size = sum(m.size for images_ in images.values() for m in images_)
        if layers and spent + size > MAP_BYTES:
            break
        spent += size
        layers.append((model, layer))
        attention.append(images)
    # Patches as the model saw that very picture: a tall one has fewer across than a wide one.
    columns = {name: heads.shape[-1] for name, heads in results.attention(main.model, main.layer).items()}
    people = {s.name: people_map(results, s, patches_across=columns[s.name]) for s in seen}
    drawn = [m for m in people.values() if m is not None]
    # The scale ends where one in two hundred points of people's maps is brighter; heads are cut off at the same value.
    top = float(np.quantile(np.concatenate([m.ravel() for m in drawn]), 0.995)) if drawn else 10.0
    top = max(2.0, float(round(top)))
    side = 480 if len(seen) <= 40 else 320 if len(seen) <= 120 else 240
    scores = _scores_by_picture(results, inference, layers)
    looks = tuple(
        _look(results, s, side, people[s.name], [a.get(s.name, []) for a in attention], scores, top, layers)
        for s in seen
    )
    names = {key: tuple(h.map for h in inference.primary_of(*key).heads) for key in layers}
    best, worst = names[layers[0]].index(main.ranked[0]), names[layers[0]].index(main.ranked[-1])
    note = (
        ""
        if len(layers) == len(every)
        else f"The chooser holds {len(layers)} of {len(every)} layers, to keep the page small."
    )
    if len(seen) < len(stimuli):
        note += f" The first {len(seen)} of {len(stimuli)} pictures by name are shown."
    labels = tuple((layer_label(results, *key), tuple(head_label(h) for h in names[key])) for key in layers)
    return looks, Chooser(labels, (0, best), (0, worst), top, note.strip())


def people_map(results: Results, stimulus: Stimulus, *, patches_across: int) -> FloatArray | None:
    """Where everybody looked, each participant weighing the same, at the fixed sigma; relative to an even spread.

    (height, width) at PEOPLE_MAP_PX on the longer side, its mean 1; None where nobody looked at the picture.
    """
    maps = results.study.maps
    grid = grid_for(stimulus.width_px, stimulus.height_px, min(PEOPLE_MAP_PX, maps.longer_side_px))
    sigma, unit = maps.sigma, maps.sigma_unit
    if unit == "deg":
        sigma, unit = sigma * results.summary.px_per_deg[stimulus.name], "px"
    sigma_px = sigma_in_map_px(
        sigma, unit, grid=grid, picture_width_px=stimulus.width_px, patches_across=patches_across
    )
    used = results.fixations[results.fixations["used"] & (results.fixations["stimulus"] == stimulus.name)]
    densities = []
    for _, one in used.groupby("participant", sort=True):
        x, y = to_map_px(
            one["x_px"].to_numpy(), one["y_px"].to_numpy(), picture_width_px=stimulus.width_px,
            picture_height_px=stimulus.height_px, grid=grid,
        )  # fmt: skip
        weight = one["duration_s"].to_numpy() if maps.weight == "duration" else np.ones(len(one))
        densities.append(fixation_map(x, y, weight, grid, sigma_px))
    if not densities:
        return None
    return _relative(np.mean(densities, axis=0))


def _relative(mass: NDArray[Any]) -> FloatArray:
    """A map in multiples of an even spread: its mean is 1."""
    values = np.asarray(mass, dtype=np.float64)
    relative: FloatArray = values * (values.size / values.sum())
    return relative


def _scores_by_picture(
    results: Results, inference: Inference, layers: Sequence[tuple[str, int]]
) -> dict[tuple[str, int, str, str], float]:
    """The primary measure at the fixed sigma by (model, layer, map, picture), mean over participants."""
    t = results.fixed
    own = t[(t["participant"] != POOLED) & (t["within"] == "picture") & (t["counted"] == "all")]
    # Windows of time are parts of the whole, which is the widest.
    span = own["window_end_s"] - own["window_start_s"]
    whole = own[span.isna() | (span == span.groupby(own["stimulus"]).transform("max"))]
    means = whole.groupby(["model", "layer", "map", "stimulus"])[inference.primary].mean()
    return {(str(m), int(n), str(k), str(s)): float(v) for (m, n, k, s), v in zip(means.index, means, strict=True)}


def _look(
    results: Results, stimulus: Stimulus, side: int, people: FloatArray | None,
    attention: Sequence[Sequence[FloatArray]],
    scores: dict[tuple[str, int, str, str], float], top: float, layers: Sequence[tuple[str, int]],
) -> Look:  # fmt: skip
    scale = side / max(stimulus.width_px, stimulus.height_px)
    width, height = max(1, round(stimulus.width_px * scale)), max(1, round(stimulus.height_px * scale))
    small = open_picture(stimulus.file).resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82)
    used = results.fixations[results.fixations["used"] & (results.fixations["stimulus"] == stimulus.name)]
    label = results.study.alignment.primary.upper()

    def score(key: tuple[str, int], head: int) -> str:
        value = scores.get((*key, head_name(head + 1), stimulus.name), math.nan)
        return f"{label} {number(value)}" if np.isfinite(value) else ""

    return Look(
        name=stimulus.title or stimulus.name,
        width=width,
        height=height,
        picture=data_uri(buffer.getvalue(), "image/jpeg"),
        people="" if people is None else data_uri(map_png(people, top), "image/png"),
        fixations=tuple(_dots(used, scale)),
        n_fixations=len(used),
        maps=tuple(tuple(data_uri(map_png(m, top), "image/png") for m in maps) for maps in attention),
        scores=tuple(
            tuple(score(key, i) for i in range(len(maps))) for key, maps in zip(layers, attention, strict=True)
        ),
        scale_bar=_scale_bar(results.summary.px_per_deg.get(stimulus.name), scale, width),
    )


def _dots(used: pd.DataFrame, scale: float) -> Iterable[tuple[float, str]]:
    """Fixations as SVG paths of dots, in three sizes by duration: up to 200 ms, up to 400 ms, longer."""
    duration = used["duration_s"].to_numpy()
    x, y = (used["x_px"].to_numpy() * scale).round().astype(int), (used["y_px"].to_numpy() * scale).round().astype(int)
    for diameter, chosen in (
        (3.5, duration <= 0.2),
        (5.0, (duration > 0.2) & (duration <= 0.4)),
        (7.0, ~(duration <= 0.4)),
    ):
        yield diameter, "".join(f"M{a} {b}h0" for a, b in zip(x[chosen], y[chosen], strict=True))


def _scale_bar(px_per_deg: float | None, scale: float, width: int) -> tuple[float, str] | None:
    """The length in px and the label of a bar of 1, 2, 5, ... degrees, at most a third of the picture's width."""
    if not px_per_deg:
        return None
    fitting = [d for d in (0.5, 1, 2, 5, 10, 20) if d * px_per_deg * scale <= width / 3]
    degrees = fitting[-1] if fitting else 0.5
    return round(degrees * px_per_deg * scale, 1), f"{degrees:g}°"


def map_png(relative: FloatArray, top: float) -> bytes:
    """A map as PNG: viridis from 0 to `top` times an even spread, the weaker the more transparent."""
    level = np.clip(np.rint(relative / top * (LEVELS - 1)), 0, LEVELS - 1).astype(np.uint8)
    image = Image.frombytes("P", (level.shape[1], level.shape[0]), level.tobytes())
    image.putpalette(bytes((_palette()[:, :3] * 255).round().astype(np.uint8).ravel()))
    buffer = io.BytesIO()
    image.save(
        buffer, format="PNG", transparency=bytes((_palette()[:, 3] * 255).round().astype(np.uint8)), optimize=True
    )
    return buffer.getvalue()


def colour_bar() -> str:
    """The scale of the maps as a PNG of one row, as a data URI."""
    return data_uri(map_png(np.arange(LEVELS, dtype=np.float64)[None], LEVELS - 1), "image/png")


def _palette() -> FloatArray:
    """(LEVELS, 4) red, green, blue and opacity of viridis."""
    value = np.linspace(0, 1, LEVELS)
    colours: FloatArray = np.asarray(mpl.colormaps["viridis"](value), dtype=np.float64)
    colours[:, 3] = np.clip(value * 2.2, 0, 0.86)
    return colours


def data_uri(content: bytes, kind: str) -> str:
    """Content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
