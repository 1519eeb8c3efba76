"""Basketry: weaves, coils, ropes and straps as strands on a form.

A weave is laid in coordinates of its own, s and t, in which its strands lie at whole numbers and cross over
and under one another by a rule; a form carries them into space. Each strand has its own width, colour and
course, drawn from the generator. Pure numpy; which basket is woven how stands in bags.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from beholder.shared.arrays import FloatArray
from beholder.stimuli.geometry import ROUND, STRIP, Form, Mesh, carried_normals, helix, joined, sweep, tube, unit, wave

Colour = tuple[float, float, float]
Strand = Literal["stake", "weaver", "rising", "falling", "stitch"]
Dye = Callable[[Strand, float, float], Colour | None]
"""The dye of a strand, or None where it is natural; called with what it is and its (u, v).

A stake or slanting strand has the u at which it begins and v = 0, a weaver u = 0 and its v, a stitch both.
"""


@dataclass(frozen=True)
class Fibre:
    """A plant fibre as it comes off the bundle."""

    colours: tuple[Colour, ...]
    """Linear RGB; each strand takes a mixture of two neighbours."""
    variation: float = 0.10
    """SD of a strand's lightness, as a share."""
    unevenness: float = 0.08
    """SD of the width along a strand, as a share."""

    def strand(self, rng: np.random.Generator, points: int, dye: Colour | None = None) -> FloatArray:
        """Colours (points, 3) of one strand: its own shade, drifting along it."""
        if dye is None:
            place = rng.uniform(0, len(self.colours) - 1) if len(self.colours) > 1 else 0.0
            lower = min(int(place), len(self.colours) - 1)
            upper = min(lower + 1, len(self.colours) - 1)
            colour = (1 - place + lower) * np.asarray(self.colours[lower])
            colour = colour + (place - lower) * np.asarray(self.colours[upper])
        else:
            colour = np.asarray(dye)
        lightness = 1 + self.variation * rng.normal()
        along = wave(rng, np.linspace(0, 1, points), 4.0, 0.6 * self.variation)
        return np.clip(colour * np.clip(lightness + along, 0.35, 1.7)[:, None], 0.0, 0.92)


@dataclass(frozen=True)
class Weave:
    """How the wall of a basket is made."""

    kind: Literal["plain", "twill", "diagonal", "hexagonal", "twined", "coiled"]
    across: int
    """Stakes round the basket (plain, twill, twined), or strands of one direction (diagonal, hexagonal)."""
    rows: int
    """Rows of weavers or coils from bottom to top; for diagonal and hexagonal, crossings."""
    stake_fill: float = 0.8
    """Width of a stake as a share of the room it has."""
    weaver_fill: float = 0.9
    thickness: float = 0.022
    """dm."""
    round_weavers: bool = False
    bottom: float = 0.0
    """v at which the weave begins."""
    top: float = 1.0


def woven(form: Form, weave: Weave, fibre: Fibre, rng: np.random.Generator, dye: Dye | None = None) -> Mesh:
    """The wall: every strand of the weave on the form."""
    dyed: Dye = dye or (lambda strand, u, v: None)
    if weave.kind == "coiled":
        return _coiled(form, weave, fibre, rng, dyed)
    if weave.kind == "hexagonal":
        return _hexagonal(form, weave, fibre, rng, dyed)
    if weave.kind == "diagonal":
        return _diagonal(form, weave, fibre, rng, dyed)
    return _upright(form, weave, fibre, rng, dyed)


def _between(pattern: FloatArray, at: FloatArray) -> FloatArray:
    """Heights at `at` between whole crossings, where `pattern` holds them; eased, so that floats lie flat."""
    lower = np.floor(at).astype(int)
    share = at - lower
    share = share * share * (3 - 2 * share)
    here, there = pattern[lower % len(pattern)], pattern[(lower + 1) % len(pattern)]
    return np.asarray(here * (1 - share) + there * share)


def _v(weave: Weave, row: ArrayLike) -> FloatArray:
    return weave.bottom + (weave.top - weave.bottom) * np.asarray(row, dtype=np.float64) / weave.rows


def _upright(form: Form, weave: Weave, fibre: Fibre, rng: np.random.Generator, dye: Dye) -> Mesh:
    """Stakes up, weavers round: plain (over 1 under 1), twill (2 by 2, stepping), twined (pairs that twist)."""
    n, m = weave.across, weave.rows
    strands = []
    cycle = 4 if weave.kind == "twill" else 2
    over = np.array([1.0, 1.0, -1.0, -1.0]) if weave.kind == "twill" else np.array([1.0, -1.0])
    lift = weave.thickness * (0.55 if weave.kind == "twill" else 0.75)
    wefts = 1 if weave.kind != "twined" else 2
    stakes_lift = 0.0 if weave.kind == "twined" else lift
    if weave.round_weavers:
        stakes_lift *= 0.25
    t = np.linspace(0, m, 5 * m + 1)
    v = _v(weave, t)
    for stake in range(n):
        u = (stake + wave(rng, v, 1.5, 0.05) + 0.04 * rng.normal()) / n
        room = np.linalg.norm(form.point(u + 0.5 / n, v) - form.point(u - 0.5 / n, v), axis=-1)
        # A weaver on row j passes stake i outside where over[i + j] > 0, so the stake is inside there.
        height = -_between(over[(stake + np.arange(cycle)) % cycle], t - 0.5) * stakes_lift
        width = weave.stake_fill * room * (1 + fibre.unevenness * (rng.normal() + wave(rng, v, 2.0, 0.5)))
        colour = fibre.strand(rng, len(t), dye("stake", stake / n, 0.0))
        strands.append(
            sweep(form.point(u, v, height), form.normal(u, v), width, weave.thickness, colour, STRIP, taper=True)
        )
    s = np.linspace(0, n, (8 if weave.kind == "twined" else 6) * n, endpoint=False)
    u = s / n
    for row in range(m):
        drift = 0.05 * rng.normal()
        for weft in range(wefts):
            # Sines of whole turns, so that the ring closes on itself.
            course = sum(0.05 * rng.normal() * np.sin(2 * np.pi * k * u + rng.uniform(0, 6.3)) for k in (1, 2, 3, 5, 9))
            line = row + 0.5 + drift + course
            if weave.kind == "twined":
                phase = np.pi * (s + weft)
                height = 1.5 * lift * np.cos(phase)
                line = line + 0.22 * np.sin(phase)
            else:
                height = _between(over[(row + np.arange(cycle)) % cycle], s) * lift
                if weave.round_weavers:
                    height = height * 1.25
            v = _v(weave, line)
            room = np.linalg.norm(form.point(u, v + 0.5 / m) - form.point(u, v - 0.5 / m), axis=-1)
            room = room * (weave.top - weave.bottom)
            uneven = sum(rng.normal() * np.sin(2 * np.pi * k * u + rng.uniform(0, 6.3)) for k in (1, 2, 4, 7)) / 3
            width = weave.weaver_fill * room * (1 + fibre.unevenness * (0.5 * rng.normal() + uneven))
            width = width * (0.62 if weave.kind == "twined" else 1.0)
            thick = width * 0.9 if weave.round_weavers or weave.kind == "twined" else weave.thickness
            colour = fibre.strand(rng, len(s), dye("weaver", 0.0, (row + 0.5) / m))
            colour[-12:] = colour[-12:] * 0.5 + colour[:12][::-1] * 0.5
            strands.append(
                sweep(
                    form.point(u, v, height),
                    form.normal(u, v),
                    width,
                    thick,
                    colour,
                    ROUND if weave.round_weavers or weave.kind == "twined" else STRIP,
                    closed=True,
                )
            )
    return joined(strands)


def _diagonal(form: Form, weave: Weave, fibre: Fibre, rng: np.random.Generator, dye: Dye) -> Mesh:
    """Two directions at an angle, over 1 under 1: plaiting."""
    n, m = weave.across, weave.rows
    lift = 0.6 * weave.thickness
    strands = []
    t = np.linspace(0, m, 5 * m + 1)
    v = _v(weave, t)
    for direction in (1, -1):
        for start in range(n):
            u = (start + direction * t / 2 + 0.03 * rng.normal() + wave(rng, v, 1.5, 0.03)) / n
            height = direction * lift * np.cos(np.pi * t)
            room = np.linalg.norm(form.point(u + 0.5 / n, v) - form.point(u - 0.5 / n, v), axis=-1)
            along = unit(np.gradient(form.point(u, v), axis=0))
            across = unit(form.point(u + 0.5 / n, v) - form.point(u - 0.5 / n, v))
            slant = np.linalg.norm(np.cross(along, across), axis=-1)
            width = weave.weaver_fill * room * slant * (1 + fibre.unevenness * (rng.normal() + wave(rng, v, 2.0, 0.5)))
            colour = fibre.strand(rng, len(t), dye("rising" if direction > 0 else "falling", start / n, 0.0))
            strands.append(sweep(form.point(u, v, height), form.normal(u, v), width, weave.thickness, colour, STRIP))
    return joined(strands)


def _hexagonal(form: Form, weave: Weave, fibre: Fibre, rng: np.random.Generator, dye: Dye) -> Mesh:
    """Three directions at 60 degrees, each over one of the others and under the other (kagome).

    The horizontals lie at w = m + 1/2, the slants at n u - w / 2 = k and n u + w / 2 = l, with m, k, l whole;
    so no three strands meet in a point, and hexagons stay open between them.
    """
    n, q = weave.across, weave.rows
    lift = 0.8 * weave.thickness
    girth = form.girth(0.5)
    width = weave.weaver_fill * girth / n * np.sqrt(3) / 2
    strands = []
    u = np.linspace(0, 1, 12 * n, endpoint=False)
    for row in range(q):
        course = sum(0.02 * rng.normal() * np.sin(2 * np.pi * k * u + rng.uniform(0, 6.3)) for k in (1, 2, 3))
        v = _v(weave, row + 0.5 + course)
        height = lift * np.cos(2 * np.pi * (n * u - row / 2 - 0.25))
        colour = fibre.strand(rng, len(u), dye("weaver", 0.0, (row + 0.5) / q))
        strands.append(
            sweep(
                form.point(u, v, height), form.normal(u, v), width * (1 + fibre.unevenness * rng.normal()),
                weave.thickness, colour, STRIP, closed=True,
            )
        )  # fmt: skip
    w = np.linspace(0, q, 10 * q + 1)
    v = _v(weave, w)
    for direction in (1, -1):
        for start in range(n):
            u = (start + direction * w / 2 + wave(rng, v, 1.0, 0.015)) / n
            height = direction * lift * np.cos(2 * np.pi * w)
            wide = width * (1 + fibre.unevenness * (rng.normal() + wave(rng, v, 2.0, 0.3)))
            colour = fibre.strand(rng, len(w), dye("rising" if direction > 0 else "falling", start / n, 0.0))
            strands.append(sweep(form.point(u, v, height), form.normal(u, v), wide, weave.thickness, colour, STRIP))
    return joined(strands)


def _coiled(form: Form, weave: Weave, fibre: Fibre, rng: np.random.Generator, dye: Dye) -> Mesh:
    """One long coil, sewn to the row below it by stitches that cover it; `across` is stitches a dm."""
    m = weave.rows
    pitch = form.length() * (weave.top - weave.bottom) / m
    around = 90
    turn = np.linspace(0, m, around * m + 1)
    v = _v(weave, turn)
    wander = wave(rng, turn, 0.7, 0.04)
    core = fibre.strand(rng, len(turn)) * 0.75
    strands = [sweep(form.point(turn, v + wander / m), form.normal(turn, v), pitch * 1.08, pitch * 0.8, core, ROUND)]
    x = np.linspace(-0.56, 0.56, 9)
    bulge = 0.5 * pitch * np.sqrt(np.clip(1 - (x / 0.6) ** 2, 0.02, 1))
    place = 0.0
    while place < m:
        girth = form.girth(float(_v(weave, place)))
        count = max(6, round(girth * weave.across))
        # One turn of stitches at a time; their number follows the girth.
        at = place + (np.arange(count) + 0.12 * rng.normal(size=count)) / count
        at = at[at < m]
        rows = at[:, None] + x[None, :]
        slant = 0.55 * x[None, :] / count + 0.1 * rng.normal(size=(len(at), 1)) / count
        stitch_v = _v(weave, rows) + np.interp(at, turn, wander)[:, None] / m
        paths = form.point(at[:, None] + slant, stitch_v, bulge[None, :])
        inner = form.point(at[:, None] + slant, stitch_v, -0.85 * bulge[None, :])
        normals = form.normal(at[:, None] + slant, stitch_v)
        width = 0.94 * girth / count
        for i, position in enumerate(at):
            colour = fibre.strand(rng, len(x), dye("stitch", float(position % 1), float(position / m)))
            wide = width * max(0.5, 1 + fibre.unevenness * rng.normal())
            strands.append(sweep(paths[i], normals[i], wide, weave.thickness, colour, STRIP, taper=False))
            strands.append(sweep(inner[i], -normals[i], wide, weave.thickness, colour * 0.9, STRIP, taper=False))
        place += 1.0
    return joined(strands)


def _wraps(fibre: Fibre, rng: np.random.Generator, turns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Colours (n, 3) and widths (n,), as shares, of a strip at `turns` (n,): no two turns of it are alike."""
    count = int(turns[-1]) + 2
    shade = 1 + 0.8 * fibre.variation * rng.normal(size=count)
    width = 1 + 0.8 * fibre.unevenness * rng.normal(size=count)
    colour = fibre.strand(rng, len(turns)) * np.interp(turns, np.arange(count), shade)[:, None]
    return np.clip(colour, 0, 0.92), np.clip(np.interp(turns, np.arange(count), width), 0.7, 1.1)


def wrapped_rim(form: Form, v: float, diameter: float, fibre: Fibre, rng: np.random.Generator, wraps: int) -> Mesh:
    """A rod laid round the form at v and bound to it by a strip."""
    u = np.linspace(0, 1, 240, endpoint=False)
    line = form.point(u, np.full_like(u, v))
    core = sweep(
        line, form.normal(u, np.full_like(u, v)), diameter, diameter, fibre.strand(rng, 240) * 0.8, closed=True
    )
    dense = np.linspace(0, 1, wraps * 14 + 1)
    ring = form.point(dense, np.full_like(dense, v))
    out = form.normal(dense, np.full_like(dense, v))
    up = unit(np.cross(out, np.gradient(ring, axis=0)))
    angle = (2 * np.pi * wraps * dense)[:, None]
    around = np.cos(angle) * out + np.sin(angle) * up
    binding = ring + around * (0.5 * diameter + 0.004)
    spacing = form.girth(v) / wraps
    colour, width = _wraps(fibre, rng, wraps * dense)
    strip = sweep(binding, around, spacing * 0.92 * width, 0.018, colour, STRIP)
    return joined([core, strip])


def braided_rim(form: Form, v: float, diameter: float, fibre: Fibre, rng: np.random.Generator, crossings: int) -> Mesh:
    """Three strands plaited round the form at v."""
    u = np.linspace(0, 1, 24 * crossings, endpoint=False)
    out, ring = form.normal(u, np.full_like(u, v)), form.point(u, np.full_like(u, v))
    up = unit(np.cross(np.roll(ring, -1, 0) - np.roll(ring, 1, 0), out))
    strands = []
    for strand in range(3):
        phase = 2 * np.pi * (crossings * u + strand / 3)
        path = (
            ring + up * (0.5 * diameter * np.sin(phase))[:, None] + out * (0.24 * diameter * np.sin(2 * phase))[:, None]
        )
        strands.append(sweep(path, out, 0.52 * diameter, 0.4 * diameter, fibre.strand(rng, len(u)), closed=True))
    return joined(strands)


def rope(path: FloatArray, diameter: float, fibre: Fibre, rng: np.random.Generator, turns: float) -> Mesh:
    """Three plies laid round each other along a path (n, 3)."""
    plies = []
    for ply in range(3):
        line, out = helix(path, 0.27 * diameter, turns, 2 * np.pi * ply / 3)
        colour = fibre.strand(rng, len(path))
        plies.append(sweep(line, out, 0.56 * diameter, 0.56 * diameter, colour))
    yarns = []
    for ply in range(3):
        line, _ = helix(path, 0.27 * diameter, turns, 2 * np.pi * ply / 3)
        for yarn in range(5):
            fine, out = helix(line, 0.25 * diameter, -turns * 0.8, 2 * np.pi * yarn / 5)
            yarns.append(sweep(fine, out, 0.2 * diameter, 0.12 * diameter, fibre.strand(rng, len(path)), ROUND))
    return joined(plies + yarns)


def bound_hoop(path: FloatArray, diameter: float, fibre: Fibre, rng: np.random.Generator, pitch: float) -> Mesh:
    """A cane along a path (n, 3), bound all along with a flat strip, `pitch` dm a turn."""
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    turns = length / pitch
    dense = np.linspace(0, 1, int(turns * 12) + 1)
    stations = np.linspace(0, 1, len(path))
    fine = np.stack([np.interp(dense, stations, axis) for axis in path.T], axis=-1)
    line, out = helix(fine, diameter / 2, turns)
    colour, width = _wraps(fibre, rng, turns * dense)
    strip = sweep(line, out, pitch * 0.93 * width, 0.018, colour, STRIP)
    return joined([tube(path, diameter, fibre.strand(rng, len(path)) * 0.7), strip])


def strap(path: FloatArray, normal: FloatArray, width: float, thickness: float, colour: Colour) -> Mesh:
    """A flat strip of leather along a path (n, 3)."""
    return sweep(path, normal, width, thickness, colour, STRIP, taper=True)


def stitching(
    path: FloatArray, normal: FloatArray, width: float, thickness: float, thread: Colour, pitch: float = 0.055
) -> Mesh:
    """Two seams of running stitches along the edges of a strap."""
    along = unit(np.gradient(path, axis=0))
    out = unit(normal - (normal * along).sum(-1, keepdims=True) * along)
    side = np.cross(along, out)
    return joined(
        seam(path + side * edge * width * 0.31 + out * thickness * 0.5, out, thread, pitch) for edge in (-1, 1)
    )


def seam(line: FloatArray, out: FloatArray, thread: Colour, pitch: float = 0.055) -> Mesh:
    """Running stitches along a line (n, 3) that lies on leather, whose outward normals are `out` (n, 3)."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    stitches = []
    for start in np.arange(pitch, length[-1] - pitch, pitch):
        at = np.linspace(start, start + 0.62 * pitch, 5)
        centre = np.stack([np.interp(at, length, axis) for axis in line.T], axis=-1)
        away = np.stack([np.interp(at, length, axis) for axis in out.T], axis=-1)
        centre = centre + away * (0.004 * np.sin(np.linspace(0, np.pi, 5)))[:, None]
        stitches.append(sweep(centre, away, 0.011, 0.011, thread, ROUND, taper=False))
    return joined(stitches)


def tassel(top: FloatArray, length: float, colour: Colour, rng: np.random.Generator, threads: int = 90) -> Mesh:
    """A bundle of threads hanging from `top` (3,), tied below a head."""
    strands = []
    drop = np.linspace(0, 1, 14)
    for _ in range(threads):
        angle, spread = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
        radius = 0.055 * np.interp(drop, [0, 0.06, 0.16, 0.22, 0.5, 1], [0.3, 1.0, 1.0, 0.62, 1.15, 1.5]) * spread
        bend = wave(rng, drop, 1.2, 0.012) * drop
        path = np.asarray(top) + np.stack(
            [
                radius * np.cos(angle) + bend,
                radius * np.sin(angle) + bend[::-1] * drop,
                -drop * length * (1 + 0.04 * rng.normal()),
            ],
            axis=-1,
        )
        shade = np.clip(np.asarray(colour) * (1 + 0.15 * rng.normal()), 0, 0.95)
        strands.append(sweep(path, carried_normals(path, (1, 0, 0)), 0.014, 0.014, shade, ROUND))
    ring = np.linspace(0, 1, 5 * 40)
    tie = np.asarray(top) + np.stack(
        [
            0.045 * np.cos(2 * np.pi * 5 * ring),
            0.045 * np.sin(2 * np.pi * 5 * ring),
            -length * (0.18 + 0.05 * ring),
        ],
        axis=-1,
    )
    strands.append(tube(tie, 0.016, np.asarray(colour) * 0.7))
    return joined(strands)


def loose_ends(form: Form, fibre: Fibre, rng: np.random.Generator, count: int, low: float, high: float) -> Mesh:
    """Short hairs of fibre that stand off the wall from v = `low` to `high`, none of them under the basket."""
    ground = float(form.point(np.linspace(0, 1, 100)[:, None], np.linspace(0, 1, 50)[None, :])[..., 2].min())
    hairs = []
    for _ in range(count):
        u, v = rng.uniform(), rng.uniform(low, high)
        steps = np.linspace(0, 1, 7)
        course_u = u + steps * rng.normal() * 0.012
        course_v = v + steps * rng.normal() * 0.02
        lift = 0.02 + rng.uniform(0.01, 0.07) * steps**1.5
        path = form.point(course_u, course_v, lift)
        colour = np.clip(fibre.strand(rng, 7) * 1.15, 0, 0.9)
        if path[:, 2].min() < ground + 0.02:
            continue
        hairs.append(sweep(path, form.normal(course_u, course_v), 0.007, 0.006, colour, ROUND))
    return joined(hairs)
