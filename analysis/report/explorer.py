"""The pictures that the reader looks at: each with people's map, everybody's fixations, and every head's attention.

What is shown at first are small PNGs; the page draws any other head and any sigma of the sweep itself, from the gaze
and the attention that it carries, in the same colours. All maps have one scale, in multiples of an even spread, and are
transparent where they are weak. Nothing is tested here, and no page is made.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from beholder.analysis.alignment.measures import MEASURES
from beholder.analysis.findings.readings import Findings
from beholder.analysis.findings.score_arrays import means_over_participants
from beholder.analysis.gaze.maps import fixation_map, grid_for, sigma_in_map_px
from beholder.analysis.gaze.picture_gaze import PictureGaze, picture_gaze
from beholder.analysis.report.images import colour_bytes, data_uri, difference_png, diverging_palette, map_png, palette
from beholder.analysis.report.labels import head_label, layer_label, number, sigma_text
from beholder.analysis.results.study_results import Results
from beholder.shared.arrays import FloatArray
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.stimuli.stimulus import Stimulus

MAP_BYTES = 6_000_000  # of attention in the page, before base64; layers beyond it are left out of the chooser, and said
MOST_SCORES = 600_000  # in the page; beyond it those of other sigmas than the fixed one are left out
MOST_OBJECTS = 200
MOST_FIXATIONS = 150_000  # in the page; beyond it people's maps stand at the fixed sigma, and some dots are shown
PEOPLE_MAP_PX = 112  # people's map is shown at this many px on its longer side


@dataclass(frozen=True)
class PicturePanel:
    """One object to look at, as it is shown at first: people's map, the closest head's, their difference.

    Maps are PNGs as data URIs, empty where there is none.
    """

    name: str
    width: int
    height: int
    picture: str
    people: str
    head: str
    difference: str
    score: str
    fixations: tuple[tuple[float, str], ...]
    n_fixations: int
    scale_bar: tuple[float, str] | None


@dataclass(frozen=True)
class Explorer:
    """What the reader can choose from, and what the page needs to draw it.

    `layers`: (layer's label, names of its heads), the first head of the first layer's `first` is shown at first;
    `top`: where the scale ends, in multiples of an even spread; `sigmas`: of the sweep, of which `fixed` counts.
    `data` is written into the page as JSON: see `_data`.
    """

    layers: tuple[tuple[str, tuple[str, ...]], ...]
    first: int
    top: float
    sigmas: tuple[str, ...]
    fixed: int
    note: str
    data: dict[str, Any]


def make_explorer(
    results: Results, findings: Findings, stimuli: Sequence[Stimulus]
) -> tuple[tuple[PicturePanel, ...], Explorer]:
    """Each object with people's map and every head's, all in one scale: times what an even spread would give."""
    study, main, seen = results.study, findings.main(), stimuli[:MOST_OBJECTS]
    layers, attention = _chosen_layers(results, findings, seen)
    # Patches as the model saw that very picture: a tall one has fewer across than a wide one.
    columns = {name: heads.shape[-1] for name, heads in results.attention(main.model, main.layer).items()}
    gaze = {s.name: shown_gaze(results, s, patches_across=columns[s.name]) for s in seen}
    people = {name: people_map(g, study.maps.sigma) for name, g in gaze.items()}
    top = _top([m for m in people.values() if m is not None])
    names = [tuple(h.map for h in findings.primary_of(*key).heads) for key in layers]
    best = names[0].index(main.ranked[0])
    sigmas = study.maps.sigmas()
    few = sum(len(g.all_points()) for g in gaze.values()) <= MOST_FIXATIONS
    too_many = sum(len(n) for n in names) * len(seen) * len(sigmas) > MOST_SCORES
    # What is not taken over sigma stands at the fixed one, and what the replication is told by at the others.
    swept = "" if too_many or not few or len(sigmas) == 1 else findings.replicated
    if not swept:
        sigmas = (study.maps.sigma,)
    scores = [means_over_participants(results, *key, findings.primary, swept) for key in layers]
    fixed = int(np.argmin(np.abs(np.array(sigmas) - study.maps.sigma)))
    side = 480 if len(seen) <= 40 else 320 if len(seen) <= 120 else 240
    dots = None if few else MOST_FIXATIONS // len(seen)
    panels, objects = [], []
    for s in seen:
        heads = [a.get(s.name, []) for a in attention]
        of_picture = [
            [_row(of_layer, name, s.name) for name in heads_of_layer]
            for of_layer, heads_of_layer in zip(scores, names, strict=True)
        ]
        first = heads[0][best] if heads[0] else None
        panels.append(_look(results, s, side, (people[s.name], first), of_picture[0][best][fixed], top, dots))
        objects.append(_data(gaze[s.name], None if few else people[s.name], heads, of_picture))
    data = {
        "top": top,
        "measures": [(findings.primary if i == fixed else swept).upper() for i in range(len(sigmas))],
        "sigmas": [round(s, 6) for s in sigmas],
        "colours": colour_bytes(palette()),
        "differences": colour_bytes(diverging_palette()),
        "objects": objects,
    }
    labels = tuple(
        (layer_label(results, *key), tuple(map(head_label, heads_of_layer)))
        for key, heads_of_layer in zip(layers, names, strict=True)
    )
    note = _note(findings, (len(layers), len(_layers(findings))), (len(seen), len(stimuli)), swept, dots)
    return tuple(panels), Explorer(labels, best, top, tuple(sigma_text(study, s) for s in sigmas), fixed, note, data)


def _layers(findings: Findings) -> list[tuple[str, int]]:
    """Every layer of every model, those that are shown first."""
    shown = [(s.model, s.layer) for s in findings.shown()]
    return shown + [(s.model, s.layer) for s in findings.sound if s.primary and (s.model, s.layer) not in shown]


def _chosen_layers(
    results: Results, findings: Findings, seen: Sequence[Stimulus]
) -> tuple[list[tuple[str, int]], list[dict[str, list[FloatArray]]]]:
    """As many layers as the page can carry, at least one, and their heads' maps by picture."""
    layers: list[tuple[str, int]] = []
    attention: list[dict[str, list[FloatArray]]] = []
    spent = 0
    for model, layer in _layers(findings):
        maps = results.attention(model, layer)
        relative = {s.name: [_relative(m) for m in maps[s.name]] for s in seen if s.name in maps}
        spent += sum(m.size for heads in relative.values() for m in heads)
        if layers and spent > MAP_BYTES:
            break
        layers.append((model, layer))
        attention.append(relative)
    return layers, attention


def _top(people: Sequence[FloatArray]) -> float:
    """Where the scale ends: one in two hundred points of people's maps is brighter; heads are cut off there too."""
    top = float(np.quantile(np.concatenate([m.ravel() for m in people]), 0.995)) if people else 10.0
    return max(2.0, float(round(top)))


def _note(findings: Findings, layers: tuple[int, int], pictures: tuple[int, int], swept: str, dots: int | None) -> str:
    """What the page leaves out to stay small; layers and pictures: how many are shown, of how many."""
    note = ""
    if layers[0] < layers[1]:
        note = f"The chooser holds {layers[0]} of {layers[1]} layers, to keep the page small."
    if pictures[0] < pictures[1]:
        note += f" The first {pictures[0]} of {pictures[1]} pictures by name are shown."
    if swept not in ("", findings.primary):
        primary, other = MEASURES[findings.primary].label, MEASURES[swept].label
        note += f" {primary} is taken at that σ alone; at the others the score is {other}."
    if dots is not None:
        note += f" Of the fixations the first {dots:,} on each picture can be laid over."
    return note.strip()


def _data(
    gaze: PictureGaze,
    people: FloatArray | None,
    heads: Sequence[Sequence[FloatArray]],
    scores: Sequence[Sequence[Sequence[float]]],
) -> dict[str, Any]:
    """What the page draws one object from.

    grid: columns and rows of people's map; pxPerSigma; gaze: for each participant x, y (tenths of its px) and weight
    in turn, none where `people` is given, their map at the fixed sigma; heads: for each layer its maps; scores: by
    layer, head and sigma, null where not known.
    """
    by_participant = [
        [int(v) for v in np.rint(np.stack([10 * p.x, 10 * p.y, 1000 * p.weight], axis=1)).ravel()]
        for p in gaze.fixations
    ]
    return {
        "grid": [gaze.grid.width, gaze.grid.height],
        "pxPerSigma": round(gaze.unit_px, 6),
        "gaze": by_participant if people is None else [],
        "people": None if people is None else _written([people]),
        "heads": [_written(of_layer) for of_layer in heads],
        "scores": [
            [[float(f"{v:.4g}") if np.isfinite(v) else None for v in head] for head in layer] for layer in scores
        ],
    }


def _written(maps: Sequence[FloatArray]) -> list[Any] | None:
    """Maps of one size for the page: rows, columns, each map's largest value, the bytes of `_quantised`."""
    if not maps:
        return None
    peaks = [float(f"{m.max():.5g}") for m in maps]
    content = b"".join(_quantised(m) for m in maps)
    return [*maps[0].shape, peaks, base64.b64encode(content).decode("ascii")]


def _quantised(relative: FloatArray) -> bytes:
    """A byte a patch: the square root of its share of the map's largest value, so that weak ones keep steps."""
    peak = relative.max()
    return bytes(np.rint(255 * np.sqrt(relative / peak if peak > 0 else relative)).astype(np.uint8).ravel())


def shown_gaze(results: Results, stimulus: Stimulus, *, patches_across: int) -> PictureGaze:
    """What people's map of one picture is made of, by participant; its unit is that of the study's sigma."""
    maps = results.study.maps
    grid = grid_for(stimulus.width_px, stimulus.height_px, min(PEOPLE_MAP_PX, maps.longer_side_px))
    one, unit = 1.0, maps.sigma_unit
    if unit == "deg":
        one, unit = results.summary.px_per_deg[stimulus.name], "px"
    unit_px = sigma_in_map_px(one, unit, grid=grid, picture_width_px=stimulus.width_px, patches_across=patches_across)
    used = results.fixations[results.fixations["used"] & (results.fixations["stimulus"] == stimulus.name)]
    return picture_gaze(used, stimulus, grid, maps.weight, unit_px).viewers()


def people_map(gaze: PictureGaze, sigma: float) -> FloatArray | None:
    """Where everybody looked, each participant weighing the same, at `sigma` in the study's unit.

    (height, width) at PEOPLE_MAP_PX on the longer side, relative to an even spread: its mean is 1. None where nobody
    looked at the picture.
    """
    densities = [fixation_map(*own, gaze.grid, sigma * gaze.unit_px) for own in gaze.fixations]
    return _relative(np.mean(densities, axis=0)) if densities else None


def difference(people: FloatArray, head: FloatArray) -> FloatArray:
    """People's map minus a head's, patch by patch, on the grid of people's map; both relative to an even spread."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(people.shape, head.shape, strict=True))
    minus: FloatArray = people - head[np.ix_(rows, columns)]
    return minus


def _relative(mass: NDArray[Any]) -> FloatArray:
    """A map in multiples of an even spread: its mean is 1."""
    values = np.asarray(mass, dtype=np.float64)
    relative: FloatArray = values * (values.size / values.sum())
    return relative


def _row(scores: pd.DataFrame, name: str, picture: str) -> list[float]:
    """The scores of one head on one picture, by sigma; NaN where it has none."""
    if (name, picture) not in scores.index:
        return [math.nan] * len(scores.columns)
    row: list[float] = scores.loc[[(name, picture)]].to_numpy(dtype=float)[0].tolist()
    return row


def _look(
    results: Results,
    stimulus: Stimulus,
    side: int,
    maps: tuple[FloatArray | None, FloatArray | None],
    score: float,
    top: float,
    most_dots: int | None,
) -> PicturePanel:
    """A picture's panel, `side` px on its longer side.

    maps: people's and the closest head's, up to `top`; None where there is none. score: the head's. most_dots: of
    fixations; None for all.
    """
    people, head = maps
    scale = side / max(stimulus.width_px, stimulus.height_px)
    width, height = max(1, round(stimulus.width_px * scale)), max(1, round(stimulus.height_px * scale))
    small = open_picture(stimulus.file).resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82)
    used = results.fixations[results.fixations["used"] & (results.fixations["stimulus"] == stimulus.name)]
    minus = None if people is None or head is None else difference(people, head)
    return PicturePanel(
        name=stimulus.title or stimulus.name,
        width=width,
        height=height,
        picture=data_uri(buffer.getvalue(), "image/jpeg"),
        people="" if people is None else data_uri(map_png(people, top), "image/png"),
        head="" if head is None else data_uri(map_png(head, top), "image/png"),
        difference="" if minus is None else data_uri(difference_png(minus, top), "image/png"),
        score=f"{results.study.alignment.primary.upper()} {number(score)}" if np.isfinite(score) else "",
        fixations=tuple(_dots(used[:most_dots], scale)),
        n_fixations=len(used),
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
