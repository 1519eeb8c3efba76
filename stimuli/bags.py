"""Ten basketry bags: each a short description, and the builders of what descriptions speak of.

`BAGS` is the craft shop; `build` turns one description into pieces. How strands cross is in weaving.py, how
things look under the lamp in scene.py. Lengths are in decimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from beholder.shared.arrays import FloatArray
from beholder.stimuli.geometry import (
    ROUND,
    STRIP,
    UP,
    Form,
    arch,
    carried_normals,
    dome,
    ellipse,
    grid,
    joined,
    smooth_curve,
    sweep,
    tube,
    unit,
    wave,
)
from beholder.stimuli.scene import Material, Part, Piece, linear
from beholder.stimuli.weaving import (
    Colour,
    Dye,
    Fibre,
    Strand,
    Weave,
    bound_hoop,
    braided_rim,
    loose_ends,
    rope,
    seam,
    stitching,
    strap,
    tassel,
    woven,
    wrapped_rim,
)

YARN = ellipse(5)
FIBRE = Material(roughness=0.62, sheen=0.08, grain="fibre")
GLOSSY_FIBRE = Material(roughness=0.38, coat=0.12, coat_roughness=0.3, grain="fibre")
CORD = Material(roughness=0.8, sheen=0.25)
LINING = Material(roughness=0.95)


def leather(colour: Colour | None) -> Material:
    """Vegetable-tanned leather; None takes the mesh's own colours."""
    return Material(colour=colour, roughness=0.42, coat=0.15, coat_roughness=0.35, grain="leather")


BRASS = Material(colour=(0.72, 0.50, 0.21), roughness=0.28, metallic=1.0)
HORN = Material(colour=linear("#3b2a1c"), roughness=0.25, coat=0.6, grain="leather")
WOOD = Material(colour=linear("#8d6238"), roughness=0.45, coat=0.2, coat_roughness=0.3, grain="fibre")

TAN, COGNAC, DARK_BROWN, BLACK = linear("#a9713f"), linear("#8a4f28"), linear("#4d2f1e"), linear("#2a2624")
THREAD = linear("#e6d9bd")

SEAGRASS = Fibre((linear("#b59a63"), linear("#9c9258"), linear("#c4ad7a")), 0.13, 0.12)
RATTAN = Fibre((linear("#c99a5b"), linear("#b98347"), linear("#d7b079")), 0.10, 0.05)
WILLOW = Fibre((linear("#8b5a31"), linear("#a26d3b"), linear("#74482a")), 0.14, 0.08)
PALM = Fibre((linear("#e2cd9c"), linear("#d4ba80"), linear("#ebddb5")), 0.08, 0.07)
BAMBOO = Fibre((linear("#d3ac62"), linear("#c2954e"), linear("#dcc084")), 0.07, 0.04)
ASH = Fibre((linear("#dcc096"), linear("#ccaa79"), linear("#e6cfa9")), 0.08, 0.06)
SWEETGRASS = Fibre((linear("#a98d55"), linear("#8f7c48"), linear("#bda56c")), 0.10, 0.10)
RUSH = Fibre((linear("#94835a"), linear("#7d6c48"), linear("#a8976c")), 0.12, 0.10)
RAFFIA = Fibre((linear("#eadaaf"), linear("#dec894"), linear("#f0e2c1")), 0.07, 0.10)
ATA = Fibre((linear("#a4672f"), linear("#b67a3b"), linear("#8f5526")), 0.10, 0.08)
JUTE = Fibre((linear("#b5935f"), linear("#a07f4d")), 0.10, 0.05)

INDIGO, MADDER, WALNUT, OLIVE, TEAL = (
    linear("#2c4168"), linear("#9c3b2a"), linear("#54321d"), linear("#6d7038"), linear("#2f6e6a"),
)  # fmt: skip


@dataclass(frozen=True)
class Bag:
    """One bag."""

    file: str
    name: str
    form: Form
    weave: Weave
    fibre: Fibre
    turn_deg: float
    """How far it is turned from the frontal view; positive shows its right side."""
    seed: int
    dye: Dye | None = None
    material: Material = FIBRE
    lining: Colour | None = (0.16, 0.11, 0.06)
    """What closes the wall from inside; None for open work, which one sees through."""
    fittings: tuple[Fitting, ...] = field(default=())
    """Rims, handles, closures and ornaments, each built in turn."""
    hairs: int = 120


Fitting = Callable[[Bag, np.random.Generator], list[Piece]]


def build(bag: Bag) -> list[Piece]:
    """The pieces of a bag; the same description gives the same pieces."""
    rng = np.random.default_rng(bag.seed)
    pieces = [Piece(woven(bag.form, bag.weave, bag.fibre, rng, bag.dye), bag.material, "body")]
    if bag.lining is not None:
        inside = bag.form.surface(
            np.linspace(0.0, 1.0 if bag.form.lying else 0.985, 60), 160, bag.lining, -2.2 * bag.weave.thickness
        )
        pieces.append(Piece(inside, LINING, "body"))
    floor = bag.form.surface(np.array([0.004, 0.03]), 160, bag.fibre.colours[0], -0.04).vertices[:160]
    middle = floor.mean(axis=0)
    shares = np.linspace(1.0, 0.02, 12)
    if not bag.form.lying:
        rings = middle + (floor[None] - middle) * shares[:, None, None]
        base = grid(rings, np.linspace(0, 1, 161), shares, np.asarray(bag.fibre.colours[0]) * 0.5)
        pieces.append(Piece(base, LINING, "body"))
    if bag.hairs:
        hairs = loose_ends(bag.form, bag.fibre, rng, bag.hairs, bag.weave.bottom + 0.05, bag.weave.top - 0.02)
        pieces.append(Piece(hairs, bag.material, "body"))
    for fitting in bag.fittings:
        pieces += fitting(bag, rng)
    return pieces


# Rims -------------------------------------------------------------------------------------------------------


def bound_rim(bag: Bag, rng: np.random.Generator, v: float = 0.99, diameter: float = 0.14, wraps: int = 90,
              fibre: Fibre | None = None, part: Part = "rim") -> list[Piece]:  # fmt: skip
    """A rod bound on with a strip."""
    return [Piece(wrapped_rim(bag.form, v, diameter, fibre or bag.fibre, rng, wraps), bag.material, part)]


def plaited_rim(bag: Bag, rng: np.random.Generator, v: float = 0.985, diameter: float = 0.2, crossings: int = 26,
                fibre: Fibre | None = None, part: Part = "rim") -> list[Piece]:  # fmt: skip
    """A plait of three."""
    return [Piece(braided_rim(bag.form, v, diameter, fibre or bag.fibre, rng, crossings), bag.material, part)]


# Handles ----------------------------------------------------------------------------------------------------


def rope_handles(bag: Bag, rng: np.random.Generator, apart: float = 0.13, rise: float = 1.5, diameter: float = 0.15,
                 fibre: Fibre = JUTE, v: float = 0.86) -> list[Piece]:  # fmt: skip
    """Two ropes, front and back, knotted outside the wall."""
    pieces = []
    for middle, lean in ((0.5, -0.25), (0.0, 0.5)):
        left = bag.form.point(middle - apart, v, 0.06)
        right = bag.form.point(middle + apart, v, 0.06)
        path = arch(left, right, rise * (1 + 0.05 * rng.normal()), 420, lean)
        pieces.append(Piece(rope(path, diameter, fibre, rng, 26), CORD, "handle"))
        for end, u in ((left, middle - apart), (right, middle + apart)):
            out = bag.form.normal(np.array(u), np.array(v))
            turn = np.linspace(0, 2 * np.pi * 3.2, 160)
            side = unit(np.cross(out, [0, 0, 1.0]))
            up = np.cross(side, out)
            knot = (
                end
                + out * (0.03 + 0.05 * np.sin(turn * 0.5 + 1))[:, None]
                + side * (0.11 * np.cos(turn))[:, None]
                + up * (0.09 * np.sin(turn) - 0.06 + 0.02 * turn / 6)[:, None]
            )
            pieces.append(Piece(rope(knot, 0.8 * diameter, fibre, rng, 12), CORD, "handle"))
    return pieces


def rolled_handles(bag: Bag, rng: np.random.Generator, colour: Colour, apart: float = 0.11, rise: float = 1.3,
                   low: float = 0.72, diameter: float = 0.13, over_rim: float = 0.12) -> list[Piece]:  # fmt: skip
    """Two handles of rolled leather whose flat ends are riveted to the wall."""
    pieces = []
    for middle, lean in ((0.5, -0.3), (0.0, 0.35)):
        walls = []
        for u in (middle - apart, middle + apart):
            # Up the wall, and out over the rim.
            v = np.linspace(low, 1.0, 14)
            walls.append(bag.form.point(np.full_like(v, u), v, np.interp(v, [0.86, 0.95], [0.06, over_rim])))
        left, right = walls
        tangent = unit(left[-1] - left[-3])
        loop = arch(left[-1] + tangent * 0.02, right[-1] + tangent * 0.02, rise, 110, lean)
        path = np.concatenate([left, loop, right[::-1]])
        flat = np.clip(np.concatenate([np.zeros(14), np.linspace(0, 8, 55), np.linspace(8, 0, 55), np.zeros(14)]), 0, 1)
        width = 0.34 * (1 - flat) + diameter * flat
        width[:4] *= [0.55, 0.8, 0.95, 1.0]
        width[-4:] *= [1.0, 0.95, 0.8, 0.55]
        thickness = 0.05 * (1 - flat) + diameter * flat
        # At its ends the handle lies on the wall, and between them it turns from the one side's to the other's.
        ends = [bag.form.normal(np.array(u), np.array(0.9)) for u in (middle - apart, middle + apart)]
        share = np.concatenate([np.zeros(14), np.linspace(0, 1, 110), np.ones(14)])[:, None]
        normal = unit(ends[0] * (1 - share) + ends[1] * share)
        pieces.append(Piece(sweep(path, normal, width, thickness, colour, ROUND), leather(colour), "handle"))
        for wall, u, out in ((left, middle - apart, ends[0]), (right, middle + apart, ends[1])):
            for height in (low + 0.05, low + 0.15):
                at = bag.form.point(u, height, 0.08)
                rivet = dome(at, bag.form.normal(u, height), 0.1, 0.035, (0, 0, 0))
                pieces.append(Piece(rivet, BRASS, "handle"))
            sewn = stitching(wall[3:], np.broadcast_to(out, wall[3:].shape), 0.34, 0.052, THREAD)
            pieces.append(Piece(sewn, CORD, "handle"))
    return pieces


def cane_hoop(bag: Bag, rng: np.random.Generator, rise: float = 1.9, diameter: float = 0.16, pitch: float = 0.075,
              fibre: Fibre = RATTAN, low: float = 0.45, bound: bool = True) -> list[Piece]:  # fmt: skip
    """One hoop from side to side, its ends down the walls."""
    v = np.linspace(low, 1.0, 24)
    # The ends are pushed into the weave.
    lift = np.interp(v, [low, low + 0.06], [-0.16, 0.07])
    right = bag.form.point(np.full_like(v, 0.25), v, lift)
    left = bag.form.point(np.full_like(v, 0.75), v, lift)
    loop = arch(left[-1], right[-1], rise, 120)
    path = np.concatenate([left, loop[1:-1], right[::-1]])
    path = smooth_curve(path[::4], 260)
    if bound:
        return [Piece(bound_hoop(path, diameter, fibre, rng, pitch), GLOSSY_FIBRE, "handle")]
    return [Piece(tube(path, diameter, fibre.strand(rng, len(path))), GLOSSY_FIBRE, "handle")]


def ring_handles(bag: Bag, rng: np.random.Generator, radius: float = 0.75, diameter: float = 0.12,
                 fibre: Fibre = BAMBOO) -> list[Piece]:  # fmt: skip
    """Two upright hoops of bent cane, tied to the rim in front and at the back."""
    pieces = []
    for u, lean in ((0.5, -0.12), (0.0, 0.3)):
        foot = bag.form.point(u, 0.97, 0.07)
        angle = np.linspace(0, 2 * np.pi, 420, endpoint=False)
        # Bent over steam: nearly round, with the joints of the cane as low ridges with a dark line above.
        bent = 1 + sum(0.008 * rng.normal() * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5))
        hoop = foot + np.stack(
            [
                radius * bent * np.sin(angle) * 1.12,
                lean * (1 - np.cos(angle)) * 0.5,
                radius * (1 - bent * np.cos(angle)) * 0.92 - 0.18,
            ],
            axis=-1,
        )
        normal = np.broadcast_to([0.0, -1.0, 0.0], hoop.shape)
        colour = fibre.strand(rng, 420)
        thick = diameter * (1 + 0.03 * np.sin(3 * angle + rng.uniform(0, 6.3)))
        for joint in np.cumsum(rng.uniform(0.8, 1.25, 6)):
            ridge, scar = (np.exp(-(((angle - joint - off) / size) ** 2)) for off, size in ((0.0, 0.03), (0.03, 0.014)))
            thick = thick * (1 + 0.14 * ridge)
            colour = colour * (1 - 0.18 * ridge - 0.55 * scar)[:, None]
        pieces.append(Piece(sweep(hoop, normal, thick, thick, colour, closed=True), GLOSSY_FIBRE, "handle"))
        for at in (-0.34, 0.0, 0.34):
            where = round(420 * at / (2 * np.pi)) % 420
            line = hoop[[where - 9, where, (where + 9) % 420]]
            dense = smooth_curve(line, 60)
            pieces.append(Piece(bound_hoop(dense, diameter * 1.25, fibre, rng, 0.028), GLOSSY_FIBRE, "handle"))
    return pieces


def carrying_strap(bag: Bag, rng: np.random.Generator, colour: Colour, rise: float = 2.0, width: float = 0.2,
                   u: float = 0.25, v: float = 0.86) -> list[Piece]:  # fmt: skip
    """A long flat strap from side to side, fallen a little to the back."""
    right, left = bag.form.point(u, v, 0.05), bag.form.point(-u, v, 0.05)
    path = arch(left, right, rise, 160, 0.35)
    path = path + np.stack([wave(rng, np.linspace(0, 1, 160), 1.0, 0.02)] * 3, axis=-1)
    centre = path.mean(axis=0) - [0, 0, 0.6]
    normal = unit(path - centre)
    pieces = [
        Piece(strap(path, normal, width, 0.045, colour), leather(colour), "handle"),
        Piece(stitching(path, normal, width, 0.045, THREAD), CORD, "handle"),
    ]
    for at in (left, right):
        out = unit(at - np.array([0, 0, at[2]]))
        pieces.append(Piece(dome(at + out * 0.03, out, 0.12, 0.04, (0, 0, 0)), BRASS, "handle"))
    return pieces


# Closures ---------------------------------------------------------------------------------------------------


def buckle(at: FloatArray, out: FloatArray, up: FloatArray, width: float) -> Piece:
    """A brass frame with its prong, lying on a strap."""
    side = np.cross(up, out)
    corner = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = np.cos(corner), np.sin(corner)
    radius = (np.abs(x) ** 5 + np.abs(y) ** 5) ** -0.2
    frame = at + side * (0.72 * width * x * radius)[:, None] + up * (0.55 * width * y * radius)[:, None] + out * 0.06
    ring = sweep(frame, np.broadcast_to(out, frame.shape), 0.05, 0.05, (0, 0, 0), closed=True)
    prong = (
        np.linspace(-0.6, 0.62, 10)[:, None] * width * up + at + out * (0.085 + 0.02 * np.linspace(1, 0, 10))[:, None]
    )
    return Piece(joined([ring, tube(prong, 0.035, (0, 0, 0))]), BRASS, "closure")


def front_strap(bag: Bag, rng: np.random.Generator, colour: Colour, u: float, low: float, high: float,
                width: float = 0.24, buckle_at: float = 0.6, lift: float | tuple[tuple[float, float], ...] = 0.07,
                part: Part = "closure", over_dm: float = 0.0, locked: bool = False) -> list[Piece]:  # fmt: skip
    """A leather strap down the wall with a buckle on it and a keeper below; from over a lid `over_dm` high.

    `lift` off the wall is a number or pairs of v and dm. A `locked` one is a tab that ends in a turn-lock instead.
    """
    v = np.linspace(high, low, 40)
    v[0], v[1] = high + 0.012, high + 0.0105
    raised = np.interp(v, *np.array(lift).T) if isinstance(lift, tuple) else np.full(40, lift)
    path = bag.form.point(np.full_like(v, u), v, raised)
    if over_dm:
        x, y, top = path[0, 0], path[0, 1], bag.form.outline[-1][1]
        over = [[x, 0.45 * y, top + over_dm], [x, 0.8 * y, top + over_dm], [x, 1.05 * y, top + 0.85 * over_dm],
                [x, 1.05 * y - 0.05, top + 0.1], [x, y - 0.10, top - 0.12], *path[4::4], path[-1]]  # fmt: skip
        path = smooth_curve(over, 40)
    along = unit(np.gradient(path, axis=0))
    normal = unit(np.cross(along, np.cross(bag.form.normal(np.full_like(v, u), v), along)))
    if over_dm:
        normal = unit(np.stack([0 * along[:, 0], along[:, 2], -along[:, 1]], axis=-1))
    shape = np.full(40, width)
    shape[-4:] *= [0.97, 0.88, 0.68, 0.35]
    if not over_dm:
        shape[1:4] *= [0.7, 0.9, 1.0]
    pieces = [
        Piece(sweep(path, normal, shape, 0.05, colour, STRIP), leather(colour), part),
        Piece(stitching(path[2:-4], normal[2:-4], width, 0.05, THREAD), CORD, part),
    ]
    place = int(buckle_at * 39)
    if locked:
        return [*pieces, turn_lock(path[place] + normal[place] * 0.02, normal[place])]
    up = unit(path[place - 1] - path[place + 1])
    pieces.append(buckle(path[place], normal[place], up, width))
    below = min(place + 6, 36)
    across = np.cross(normal[below], up)
    keeper = path[below] + across * np.linspace(-0.55, 0.55, 9)[:, None] * width + normal[below] * 0.035
    pieces.append(
        Piece(strap(keeper, np.broadcast_to(normal[below], keeper.shape), 0.09, 0.035, colour), leather(colour), part)
    )
    for hole in (place + 9, place + 12):
        if hole < 36:
            pieces.append(
                Piece(dome(path[hole] + normal[hole] * 0.02, normal[hole], 0.04, 0.008, (0, 0, 0)), HORN, part)
            )
    return pieces


def flap(bag: Bag, rng: np.random.Generator, colour: Colour, drop: float, share: float = 0.94, part: Part = "lid",
         clear: float = 0.0) -> list[Piece]:  # fmt: skip
    """A leather flap from the back over the opening and `drop` dm down the front, `clear` dm over a rim."""
    thickness = 0.055
    sheet, out = _flap_sheet(bag.form, rng, drop, share, clear)
    rows, columns, _ = sheet.shape
    # Thin at the cut edge, and darker there, where it was rubbed.
    from_side = 1 - np.abs(np.linspace(-1, 1, columns))[None, :]
    from_edge = np.minimum(from_side, (np.arange(rows)[::-1] / rows * 3.2)[:, None])
    half = 0.5 * thickness * np.sqrt(np.clip(from_edge / 0.02, 0.05, 1))[..., None]
    upper, lower = sheet + out * half, sheet - out * half
    paint = np.asarray(colour) * (1 - 0.45 * np.exp(-from_edge / 0.012))[..., None]
    u, v = np.linspace(0, 1, 2 * columns + 1), np.linspace(0, 1, rows)
    leaf = grid(np.concatenate([upper, lower[:, ::-1]], axis=1), u, v, np.concatenate([paint, paint[:, ::-1]], axis=1))
    hem = np.stack([upper[-1], lower[-1]])
    hem_mesh = grid(np.concatenate([hem, hem[:, ::-1]], axis=1), u, v[:2], 0.5 * np.asarray(colour))
    # One seam round the front, a little in from the edge.
    first, last = round(0.035 * columns), columns - 1 - round(0.035 * columns)
    down = np.arange(round(0.3 * rows), rows - 5)
    row = np.concatenate([down, np.full(last - first, down[-1] + 1), down[::-1]])
    column = np.concatenate([np.full_like(down, first), np.arange(first, last), np.full_like(down, last)])
    sewn = seam((sheet + out * (0.5 * thickness + 0.002))[row, column], out[row, column], THREAD, 0.06)
    return [Piece(joined([leaf, hem_mesh]), leather(None), part), Piece(sewn, CORD, part)]


def _flap_sheet(form: Form, rng: np.random.Generator, drop: float, share: float,
                clear: float) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """A flap's middle surface (rows, columns, 3) from the back over the rim and down, and its normals.

    It lies on the wall as the wall is rounded, sinks at its ends, and its lower corners are cut round.
    """
    across = np.linspace(-1, 1, 121)
    # As far round the front as `share` of the width reaches.
    turn = np.linspace(0, 0.25, 200)
    half_turn = float(np.interp(share * form.width / 2, np.abs(form.point(0.5 + turn, 0.95)[:, 0]), turn))
    corner = (1 - np.abs(across) ** 5) ** 0.2 * (1 - 0.16 * across**2)
    v = np.linspace(0.995, 1 - drop / form.length() * (0.42 + 0.58 * corner), 70)
    # Leather that was bent over a rim for years stands off here and there.
    share_down = np.linspace(0, 1, 70)
    soft = 0.016 * np.abs(np.outer(wave(rng, share_down, 1.2, 1.0), wave(rng, across, 0.7, 1.0)))
    lift = 0.085 + clear * (1 - 0.8 * share_down)[:, None] + soft
    front = form.point((0.5 - across * half_turn)[None, :], v, lift)
    behind = form.point((across * half_turn)[None, :], np.linspace(0.9, 0.995, 16)[:, None], 0.07 + clear)
    # From rim to rim a parabola that is blunt at both ends, so that it leaves each wall upward.
    over = np.linspace(0, 1, 66)[1:-1, None, None]
    crown = 0.15 + 0.8 * clear + 0.02 * wave(rng, across, 0.6, 1.0) - 0.07 * np.abs(across) ** 3
    top = behind[-1] * (1 - over) + front[0] * over + crown[None, :, None] * (1 - np.abs(2 * over - 1) ** 2.6) * UP
    course = np.concatenate([behind, top, front])
    sheet = np.stack([smooth_curve(course[:, column], 150) for column in range(len(across))], axis=1)
    out = unit(np.cross(np.gradient(sheet, axis=0), np.gradient(sheet, axis=1)))
    return sheet, out if out[75, 60, 2] > 0 else -out


def toggle(bag: Bag, rng: np.random.Generator, v: float, cord: Colour, lift: float = 0.2) -> list[Piece]:
    """A horn peg lying across the front, in a loop of cord."""
    at, out = bag.form.point(0.5, v, lift), bag.form.normal(np.array(0.5), np.array(v))
    side = unit(np.cross(out, [0, 0, 1.0]))
    x = np.linspace(-0.42, 0.42, 30)
    thickness = 0.16 * np.sqrt(np.clip(1 - (x / 0.44) ** 4, 0.05, 1)) * (1 - 0.15 * x)
    path = at + side * x[:, None] + np.array([0, 0, 1.0]) * (0.06 * x**2)[:, None]
    peg = sweep(path, np.broadcast_to(out, path.shape), thickness, thickness, (0, 0, 0))
    loops = []
    for shift in (-0.035, 0.035):
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        ring = (
            at
            + side * shift
            + np.array([0, 0, 1.0]) * (0.34 * np.cos(turn) + 0.2)[:, None]
            + out * (0.1 * np.sin(turn) * (1 + 0.3 * np.cos(turn)))[:, None]
        )
        loops.append(tube(ring, 0.045, cord, closed=True))
    return [Piece(peg, HORN, "closure"), Piece(joined(loops), CORD, "closure")]


def turn_lock(at: FloatArray, out: FloatArray) -> Piece:
    """A brass turn-lock: an oval plate, a bar on it and two screws."""
    side = unit(np.cross(out, [0, 0, 1.0]))
    up = np.cross(side, out)
    steps = np.linspace(0, 0.06, 5)
    rise = at + out * steps[:, None]
    plate = sweep(rise, np.broadcast_to(up, rise.shape), 0.5 * np.array([1, 1, 1, 0.94, 0.02]),
                  0.34 * np.array([1, 1, 1, 0.94, 0.02]), (0, 0, 0), ellipse(72, 2.6), taper=False)  # fmt: skip
    bar = at + out * 0.11 + up * np.linspace(-0.13, 0.13, 12)[:, None]
    lock = sweep(bar, np.broadcast_to(out, bar.shape), 0.09, 0.07, (0, 0, 0))
    screws = [dome(at + side * x + out * 0.055, out, 0.055, 0.02, (0, 0, 0)) for x in (-0.18, 0.18)]
    return Piece(joined([plate, lock, *screws]), BRASS, "closure")


# Ornaments --------------------------------------------------------------------------------------------------


def hanging_tassels(bag: Bag, rng: np.random.Generator, places: tuple[tuple[float, float], ...],
                    colours: tuple[Colour, ...], length: float = 0.7) -> list[Piece]:  # fmt: skip
    """Tassels on short cords from the wall at (u, v)."""
    pieces = []
    for number, (u, v) in enumerate(places):
        top = bag.form.point(u, v, 0.06)
        out = bag.form.normal(np.array(u), np.array(v))
        head = top + out * 0.06 + [0, 0, -0.22]
        cord = smooth_curve([top, top + out * 0.06, head + UP * 0.1, head], 20)
        colour = colours[number % len(colours)]
        pieces.append(Piece(joined([tube(cord, 0.035, colour), tassel(head, length, colour, rng)]), CORD, "ornament"))
    return pieces


def pompoms(bag: Bag, rng: np.random.Generator, v: float, us: tuple[float, ...], colours: tuple[Colour, ...],
            radius: float = 0.2) -> list[Piece]:  # fmt: skip
    """Balls of cut wool in a row."""
    pieces = []
    for number, u in enumerate(us):
        centre = bag.form.point(u, v, 0.75 * radius)
        colour = np.asarray(colours[number % len(colours)])
        hairs = []
        lean = unit(rng.normal(size=3)) * 0.12
        for _ in range(2600):
            direction = unit(rng.normal(size=3))
            # Cut with scissors: nearly a ball, a little flatter and longer here and there.
            reach = radius * (1 + 0.05 * rng.normal() + float(direction @ lean))
            path = centre + np.outer(np.linspace(0.45, 1, 4) * reach, direction)
            path = path + rng.normal(size=(4, 3)) * 0.007
            shade = np.clip(colour * (1 + 0.14 * rng.normal()) * 1.1, 0, 0.95)
            hairs.append(sweep(path, carried_normals(path), 0.010, 0.010, shade, YARN))
        pieces.append(Piece(joined(hairs), CORD, "ornament"))
    return pieces


# Lids -------------------------------------------------------------------------------------------------------


def woven_lid(bag: Bag, rng: np.random.Generator, weave: Weave, rise: float, overhang: float = 1.04,
              fibre: Fibre | None = None, knob: bool = False) -> list[Piece]:  # fmt: skip
    """A lid of the same making, on the rim."""
    edge = bag.form.outline[-1]
    share, height = edge[0] * overhang, edge[1]
    lid_form = Form(
        ((share, height - 0.06), (share, height + 0.10), (share, height + 0.16), (share * 0.9, height + 0.75 * rise),
         (share * 0.5, height + rise), (0.03, height + rise)),
        bag.form.width, bag.form.depth, bag.form.squareness, bag.form.wobble, bag.form.seed + 1,
    )  # fmt: skip
    stuff = fibre or bag.fibre
    pieces = [
        Piece(woven(lid_form, weave, stuff, rng, bag.dye), bag.material, "lid"),
        Piece(lid_form.surface(np.linspace(0.0, 1, 40), 120, (0.16, 0.11, 0.06), -0.05), LINING, "lid"),
        Piece(wrapped_rim(lid_form, 0.04, 0.14, stuff, rng, 110), bag.material, "lid"),
    ]
    if knob:
        top = np.array([0, 0, height + rise])
        path = top + np.outer(np.array([-0.02, 0.1, 0.16, 0.2, 0.3, 0.38, 0.42]), [0, 0, 1.0])
        width = np.array([0.14, 0.13, 0.16, 0.3, 0.36, 0.26, 0.02])
        turned = smooth_curve(np.column_stack([path, width]), 40)
        mesh = sweep(
            turned[:, :3], np.broadcast_to([0, -1.0, 0], (40, 3)), turned[:, 3], turned[:, 3], (0, 0, 0), taper=False
        )
        pieces.append(Piece(mesh, WOOD, "knob"))
    return pieces


# Dyes -------------------------------------------------------------------------------------------------------


def bands(strand: Strand, u: float, v: float, at: tuple[tuple[float, float, Colour], ...]) -> Colour | None:
    """Dyed weavers from v to v."""
    if strand == "weaver":
        for low, high, colour in at:
            if low <= v < high:
                return colour
    return None


def every(
    strand: Strand, u: float, v: float, among: Strand, number: int, of: int, dyed: int, colour: Colour
) -> Colour | None:
    """`dyed` strands of every `of`, among `number` of one direction."""
    return colour if strand == among and round(u * number) % of < dyed else None


def steps(strand: Strand, u: float, v: float, repeats: int, rows: tuple[tuple[float, float], ...], height: float,
          colours: tuple[Colour, ...]) -> Colour | None:  # fmt: skip
    """Stepped diamonds in stitches: rows of them from v to v."""
    for number, (low, high) in enumerate(rows):
        if strand == "stitch" and low <= v < high:
            across = abs((u * repeats + 0.5 * number) % 1 - 0.5) * 2
            along = abs((v - low) / (high - low) - 0.5) * 2
            ring = across + np.round(along * height) / height
            if ring < 0.42:
                return colours[1 % len(colours)]
            if ring < 0.85:
                return colours[0]
    return None


# The shop ---------------------------------------------------------------------------------------------------

_TOTE = Form(((0.80, 0.0), (0.87, 0.02), (0.9, 0.3), (0.94, 1.2), (1.0, 2.0), (1.04, 2.45)), 3.3, 1.5, 3.0, 0.008, 11)
_ROUND = Form(
    ((0.62, 0.0), (0.78, 0.03), (0.95, 0.35), (1.04, 0.9), (1.0, 1.4), (0.92, 1.75)), 3.1, 2.8, 2.1, 0.008, 12
)
_BUCKET = Form(
    ((0.74, 0.0), (0.80, 0.02), (0.83, 0.3), (0.9, 1.1), (0.98, 2.0), (1.02, 2.5)), 2.6, 2.45, 2.0, 0.008, 13
)
_CLUTCH = Form(((0.90, 0.0), (0.97, 0.05), (1.0, 0.4), (1.0, 1.1), (0.97, 1.8), (0.95, 2.0)), 3.6, 0.95, 4.0, 0.006, 14)
_PACK = Form(
    ((0.80, 0.0), (0.92, 0.03), (1.06, 0.5), (1.04, 1.3), (0.84, 2.2), (0.78, 2.6), (0.82, 2.95)),
    2.5,
    1.75,
    3.0,
    0.008,
    15,
)
_HAMPER = Form(((0.93, 0.0), (0.96, 0.02), (0.97, 0.3), (0.99, 0.9), (1.0, 1.55)), 3.5, 2.3, 5.0, 0.006, 16)
_KAGOME = Form(((0.66, 0.0), (0.84, 0.02), (0.96, 0.35), (1.03, 1.0), (1.0, 1.7), (0.9, 2.2)), 2.9, 2.1, 2.4, 0.006, 17)
_DISC = Form(
    ((1.0, -0.45), (1.02, -0.3), (1.02, 0.0), (1.02, 0.3), (1.0, 0.45), (0.96, 0.5), (0.6, 0.62), (0.3, 0.68),
     (0.01, 0.7)),
    2.9, 2.9, 2.0, 0.004, 18, lying=True,
)  # fmt: skip
_MARKET = Form(((0.56, 0.0), (0.66, 0.01), (0.74, 0.25), (0.88, 1.0), (1.0, 1.7), (1.1, 2.1)), 3.7, 1.9, 2.4, 0.012, 19)
_CREEL = Form(((0.84, 0.0), (0.98, 0.04), (1.04, 0.4), (0.98, 1.1), (0.9, 1.7), (0.88, 1.95)), 3.0, 1.9, 2.6, 0.008, 20)

# Off the wall below the flap of the pack, and over it.
_OVER_FLAP = ((0.3, 0.075), (0.64, 0.085), (0.72, 0.17), (1.0, 0.255))

BAGS = (
    Bag(
        "bag-01", "tote of plain seagrass with indigo bands and rope handles", _TOTE,
        Weave("plain", 58, 34, 0.7, 0.97, 0.03, round_weavers=True), SEAGRASS, 24, 101, lining=None,
        dye=partial(bands, at=((0.2, 0.3, INDIGO), (0.36, 0.39, INDIGO), (0.74, 0.84, INDIGO))),
        fittings=(partial(plaited_rim, diameter=0.24), partial(rope_handles, rise=1.25, apart=0.12)),
    ),
    Bag(
        "bag-02", "round twill basket with cane handle", _ROUND,
        Weave("twill", 96, 38, 0.93, 0.93, 0.02), ASH, -22, 102, lining=None,
        dye=lambda strand, u, v: WALNUT if strand == "weaver" else None,
        fittings=(partial(bound_rim, diameter=0.17, wraps=100), partial(cane_hoop, rise=1.6, low=0.8)),
    ),
    Bag(
        "bag-03", "coiled bucket with stepped diamonds and leather handles", _BUCKET,
        Weave("coiled", 15, 26, thickness=0.02), SWEETGRASS, 20, 103, lining=None,
        dye=partial(steps, repeats=8, rows=((0.12, 0.5), (0.5, 0.88)), height=5, colours=(MADDER, WALNUT)),
        fittings=(
            partial(bound_rim, diameter=0.15, wraps=110), partial(rolled_handles, colour=COGNAC, rise=1.15, apart=0.10),
        ),
        hairs=80,
    ),
    Bag(
        "bag-04", "plaited clutch with leather flap and horn toggle", _CLUTCH,
        Weave("diagonal", 76, 20, weaver_fill=0.95, thickness=0.02), PALM, 18, 104,
        dye=partial(every, among="rising", number=76, of=6, dyed=2, colour=TEAL),
        fittings=(
            partial(flap, colour=COGNAC, drop=0.95), partial(toggle, v=0.53, cord=DARK_BROWN, lift=0.22),
            partial(hanging_tassels, places=((0.28, 0.9),), colours=(MADDER,), length=0.75),
        ),
    ),
    Bag(
        "bag-05", "pack basket of ash splint with leather harness", _PACK,
        Weave("plain", 44, 26, 0.9, 0.9, 0.024), ASH, 26, 105,
        fittings=(
            partial(bound_rim, diameter=0.18, wraps=64, fibre=RATTAN),
            partial(flap, colour=DARK_BROWN, drop=0.85, share=0.72, clear=0.10),
            partial(front_strap, colour=COGNAC, u=0.435, low=0.3, high=0.93, buckle_at=0.62, lift=_OVER_FLAP),
            partial(front_strap, colour=COGNAC, u=0.565, low=0.3, high=0.93, buckle_at=0.62, lift=_OVER_FLAP),
            partial(carrying_strap, colour=COGNAC, rise=0.75, width=0.22, u=0.04, v=0.98),
        ),
    ),
    Bag(
        "bag-06", "willow picnic hamper with buckled straps", _HAMPER,
        Weave("plain", 64, 20, 0.5, 1.0, 0.05, round_weavers=True), WILLOW, 27, 106, material=GLOSSY_FIBRE,
        fittings=(
            partial(bound_rim, diameter=0.15, wraps=120),
            partial(woven_lid, weave=Weave("plain", 64, 22, 0.5, 1.0, 0.04, round_weavers=True), rise=0.42),
            partial(front_strap, colour=COGNAC, u=0.43, low=0.28, high=0.9, buckle_at=0.66, lift=0.12, over_dm=0.50,
                    width=0.26),
            partial(front_strap, colour=COGNAC, u=0.57, low=0.28, high=0.9, buckle_at=0.66, lift=0.12, over_dm=0.50,
                    width=0.26),
            partial(cane_hoop, rise=1.5, diameter=0.2, fibre=WILLOW, low=0.55),
        ),
        hairs=40,
    ),
    Bag(
        "bag-07", "hexagonal bamboo bag with hoop handles", _KAGOME,
        Weave("hexagonal", 30, 10, weaver_fill=0.42, thickness=0.024, top=0.97), BAMBOO, -18, 107,
        material=GLOSSY_FIBRE,
        lining=None,
        fittings=(
            partial(bound_rim, diameter=0.14, wraps=90),
            partial(bound_rim, v=0.03, diameter=0.13, wraps=80, part="foot"),
            partial(ring_handles, radius=0.72),
        ),
        hairs=0,
    ),
    Bag(
        "bag-08", "round coiled bag of ata grass with strap and clasp", _DISC,
        Weave("coiled", 14, 30, thickness=0.018), ATA, 26, 108,
        dye=lambda strand, u, v: WALNUT if strand == "stitch" and int(v * 30) % 7 == 5 and int(u * 60) % 3 else None,
        fittings=(
            partial(carrying_strap, colour=DARK_BROWN, rise=1.5, width=0.16, u=0.13, v=0.28),
            partial(front_strap, colour=DARK_BROWN, u=0.0, high=0.1, low=0.62, buckle_at=0.85, lift=0.09, width=0.62,
                    locked=True),
        ),
        hairs=60,
    ),
    Bag(
        "bag-09", "market basket of twined raffia with pompoms", _MARKET,
        Weave("twined", 70, 30, 0.6, 1.0, 0.03), RAFFIA, 20, 109, lining=None,
        dye=partial(bands, at=((0.16, 0.2, MADDER), (0.23, 0.33, OLIVE), (0.36, 0.4, MADDER))),
        fittings=(
            partial(plaited_rim, diameter=0.22, crossings=32),
            partial(rolled_handles, colour=TAN, rise=1.2, apart=0.12, over_rim=0.19),
            partial(pompoms, v=0.8, us=(0.424, 0.462, 0.5, 0.538, 0.576), colours=(MADDER, linear("#d9a441"), TEAL)),
        ),
    ),
    Bag(
        "bag-10", "oval twined creel with lid, peg and strap", _CREEL,
        Weave("twined", 60, 30, 0.55, 1.0, 0.034), RUSH, -24, 110,
        dye=partial(bands, at=((0.42, 0.47, WALNUT), (0.5, 0.62, DARK_BROWN), (0.65, 0.7, WALNUT))),
        fittings=(
            partial(bound_rim, diameter=0.16, wraps=80, fibre=WILLOW),
            partial(woven_lid, weave=Weave("twined", 60, 20, 0.5, 1.0, 0.03), rise=0.3),
            partial(toggle, v=0.93, cord=TAN), partial(carrying_strap, colour=TAN, rise=1.35, u=0.22),
        ),
    ),
)  # fmt: skip
