"""Ten ginger jars: each a short description, and the potters and painters it calls for.

`JARS` is the shelf; `build` turns one description into pieces. The brush and its motifs are in painting.py,
how things look under the lamp in scene.py. Lengths are in decimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from beholder.shared.arrays import FloatArray
from beholder.stimuli import painting
from beholder.stimuli.geometry import Form, smooth_curve, sweep, unit
from beholder.stimuli.painting import Colour, Sheet, clouds
from beholder.stimuli.scene import PARTS, Material, Part, Piece, linear

PORCELAIN = linear("#dbe1e3")
COBALT, COBALT_WASH = linear("#14225a"), linear("#2f56a8")
CLAY = Material(colour=linear("#b39474"), roughness=0.85, grain="clay")
DARK_CLAY = Material(colour=linear("#6b4a36"), roughness=0.85, grain="clay")

Field = Literal["body", "lid", "plain"]
"""Where a finish is asked for: `plain` is what bears no pattern (neck and knob)."""


@dataclass(frozen=True)
class Finish:
    """The surface of one field of a jar."""

    material: Material
    lift: NDArray[np.float32] | None = None
    """(height, width) in dm outward: carving and moulding."""
    labels: NDArray[np.uint8] | None = None
    """(height, width): the label of painted panels that count as a part of their own, else 0."""


Finisher = Callable[[Form, Field, np.random.Generator], Finish]


@dataclass(frozen=True)
class Jar:
    """One jar; its shares are of half the width."""

    file: str
    name: str
    finish: Finisher
    width: float
    height: float
    """Without lid, dm."""
    foot: float
    neck: float
    shoulder: float
    """Height of the widest place, as a share of the height."""
    lid: Literal["cap", "dome", "hat"]
    knob: Literal["none", "button", "bud", "ring", "peach", "flame"]
    turn_deg: float
    seed: int
    clay: Material = CLAY
    lugs: int = 0
    """Loop handles on the shoulder."""


def build(jar: Jar) -> list[Piece]:
    """The pieces of a jar; the same description gives the same pieces."""
    rng = np.random.default_rng(jar.seed)
    h, foot, neck = jar.height, jar.foot, jar.neck

    def form(*outline: tuple[float, float]) -> Form:
        return Form(outline, jar.width, jar.width, 2.0, 0.005, jar.seed)

    low = jar.shoulder * h
    body = form(
        (foot, 0.10), (foot, 0.16), (foot + 0.02, 0.3), (0.55 * foot + 0.42, 0.42 * low), (1.0, low - 0.22 * h),
        (1.07, low + 0.10 * h), (0.98, low + 0.62 * (h - low)), (neck + 0.16, h - 0.02), (neck, h), (neck, h + 0.02),
    )  # fmt: skip
    ring = form((foot - 0.12, 0.0), (foot - 0.05, 0.0), (foot - 0.03, 0.02), (foot - 0.025, 0.06), (foot - 0.02, 0.12))
    collar = form((neck, h - 0.02), (neck - 0.01, h + 0.08), (neck - 0.01, h + 0.2), (neck + 0.02, h + 0.26))
    pieces = [_thrown(body, jar.finish(body, "body", rng), "body")]
    pieces.append(Piece(ring.surface(np.linspace(0, 1, 20), 240, (0.0, 0.0, 0.0)), jar.clay, "foot"))
    pieces.append(_thrown(collar, jar.finish(collar, "plain", rng), "rim", 24))
    covers: dict[str, tuple[tuple[float, float], ...]] = {
        "cap": (
            (neck + 0.10, h + 0.09), (neck + 0.12, h + 0.09), (neck + 0.12, h + 0.13), (neck + 0.125, h + 0.45),
            (neck + 0.12, h + 0.62), (neck + 0.02, h + 0.72), (0.7 * neck, h + 0.79),
            (0.3 * neck, h + 0.83), (0.0, h + 0.83),
        ),
        "dome": (
            (neck + 0.08, h + 0.12), (neck + 0.13, h + 0.12), (neck + 0.13, h + 0.18), (neck + 0.11, h + 0.26),
            (neck + 0.04, h + 0.5), (0.75 * neck, h + 0.72), (0.4 * neck, h + 0.84), (0.0, h + 0.86),
        ),
        "hat": (
            (neck + 0.05, h + 0.22), (neck + 0.24, h + 0.21), (neck + 0.27, h + 0.24), (neck + 0.24, h + 0.28),
            (0.95 * neck, h + 0.33), (0.8 * neck, h + 0.46), (0.5 * neck, h + 0.58),
            (0.2 * neck, h + 0.62), (0.0, h + 0.62),
        ),
    }  # fmt: skip
    outline = covers[jar.lid]
    lid = form(*outline)
    pieces.append(_thrown(lid, jar.finish(lid, "lid", rng), "lid"))
    top = outline[-1][1] - 0.02
    knobs: dict[str, tuple[tuple[float, float], ...]] = {
        "button": ((0.2, 0), (0.16, 0.05), (0.26, 0.08), (0.3, 0.13), (0.28, 0.2), (0.1, 0.22), (0, 0.22)),
        "bud": ((0.15, 0), (0.1, 0.08), (0.1, 0.1), (0.24, 0.16), (0.24, 0.32), (0.08, 0.44), (0.02, 0.54), (0, 0.55)),
        "ring": ((0.2, 0), (0.18, 0.05), (0.2, 0.11), (0.24, 0.14), (0.22, 0.17), (0.15, 0.14), (0.14, 0.05)),
        "peach": ((0.16, 0), (0.13, 0.04), (0.3, 0.1), (0.33, 0.25), (0.2, 0.38), (0.06, 0.46), (0, 0.48)),
        "flame": ((0.18, 0), (0.12, 0.05), (0.14, 0.08), (0.32, 0.16), (0.26, 0.34), (0.1, 0.42), (0.09, 0.6),
                  (0, 0.74)),
    }  # fmt: skip
    if jar.knob != "none":
        knob = form(*((share * 1.15 / jar.width * 2 * 0.9, top + rise) for share, rise in knobs[jar.knob]))
        pieces.append(_thrown(knob, jar.finish(knob, "plain", rng), "knob", 90))
    for number in range(jar.lugs):
        pieces.append(_lug(body, (number + 0.5) / jar.lugs, jar.finish(body, "plain", rng).material, rng))
    return pieces


def _thrown(form: Form, finish: Finish, part: Part, rows: int = 420) -> Piece:
    """A form turned on the wheel, with its finish."""
    v = np.linspace(0, 1, rows)
    columns = 240
    lift: FloatArray | float = 0.0
    if finish.lift is not None:
        columns = 1400
        height, width = finish.lift.shape
        # The sheet's columns run to the right in front, the form's u to the left.
        across = (1 - np.arange(columns) / columns) * width - 0.5
        down = (1 - v) * height - 0.5
        at = np.stack(np.meshgrid(down, across, indexing="ij"))
        lift = ndimage.map_coordinates(finish.lift, at, order=1, mode="grid-wrap")
    return Piece(form.surface(v, columns, (0.0, 0.0, 0.0), lift), finish.material, part, finish.labels)


def _lug(form: Form, u: float, material: Material, rng: np.random.Generator) -> Piece:
    """A strap of clay bent into a loop on the shoulder."""
    path = smooth_curve(
        [
            form.point(u, v, lift)
            for v, lift in (
                (0.715, -0.16),
                (0.72, 0.06),
                (0.74, 0.24),
                (0.79, 0.33),
                (0.85, 0.24),
                (0.865, 0.06),
                (0.87, -0.16),
            )
        ],
        50,
    )
    side = unit(np.cross(form.normal(np.array(u), np.array(0.79)), [0, 0, 1.0]))
    normal = unit(np.cross(unit(np.gradient(path, axis=0)), side))
    # Pressed on with the thumb: wide and thick where it meets the wall.
    along = np.abs(np.linspace(-1, 1, 50))
    width = 0.22 + 0.16 * along**4 + 0.006 * rng.normal()
    mesh = sweep(path, normal, width, 0.10 + 0.07 * along**4, linear("#000000"))
    return Piece(mesh, material, "handle")


# Glazes: what covers a field --------------------------------------------------------------------------------


def glazed(image: NDArray[np.float32] | None = None, colour: Colour | None = None, *, roughness: float = 0.22,
           subsurface: float = 0.0, coat: float = 1.0) -> Material:  # fmt: skip
    """A clear glaze over a painted or a plain ground."""
    return Material(colour=colour, image=image, roughness=roughness, coat=coat, coat_roughness=0.05,
                    subsurface=subsurface, grain="glaze")  # fmt: skip


def sheet_for(form: Form, ground: Colour, rng: np.random.Generator, width_px: int = 4096) -> Sheet:
    """A sheet that fits round a form at its widest."""
    girth = max(form.girth(float(v)) for v in np.linspace(0, 1, 21))
    return Sheet(girth, form.length(), ground, rng, width_px)


def lotus_scroll(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Blue and white: lotus on a vine, lappets at the foot, hanging ones at the shoulder."""
    if field == "plain":
        return Finish(glazed(colour=PORCELAIN))
    sheet = sheet_for(form, PORCELAIN, rng)
    top = sheet.height
    if field == "body":
        painting.lappets(sheet, 0.12, 0.62, 22, COBALT_WASH, COBALT)
        for y in (0.06, 0.10, 0.66, 0.70, top - 0.74, top - 0.70):
            sheet.ring(y, 0.026, COBALT)
        painting.scroll(sheet, (0.7 + top - 0.74) / 2, 0.44, 4, COBALT_WASH, COBALT, PORCELAIN, 0.40)
        painting.lappets(sheet, top - 0.68, top - 0.26, 20, COBALT_WASH, COBALT, up=False)
        painting.key_fret(sheet, top - 0.22, top - 0.1, 36, COBALT)
        sheet.ring(top - 0.24, 0.02, COBALT)
        sheet.ring(top - 0.07, 0.03, COBALT)
    else:
        _capped(sheet)
    return Finish(glazed(sheet.image()))


def _capped(sheet: Sheet, wash: Colour = COBALT_WASH, line: Colour = COBALT) -> None:
    """What goes on a lid: a fret on its wall, petals on its top."""
    top = sheet.height
    for y in (0.07, 0.11, 0.33, 0.37):
        sheet.ring(y, 0.022, line)
    painting.key_fret(sheet, 0.145, 0.295, 26, line)
    painting.lappets(sheet, 0.44, min(0.95, top - 0.12), 14, wash, line, up=False)


def landscape(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Blue and white: a walker and a fisherman among mountains, in two panels on a lattice ground."""
    if field == "plain":
        return Finish(glazed(colour=PORCELAIN))
    sheet = sheet_for(form, PORCELAIN, rng)
    top = sheet.height
    if field == "lid":
        _capped(sheet)
        return Finish(glazed(sheet.image()))
    painting.waves(sheet, 0.1, 0.5, 44, COBALT)
    painting.diaper(sheet, 0.56, top - 0.56, 0.24, COBALT_WASH, COBALT, COBALT_WASH)
    for y in (0.06, 0.53, 0.56, top - 0.55, top - 0.52, top - 0.10):
        sheet.ring(y, 0.028, COBALT)
    painting.lappets(sheet, top - 0.5, top - 0.14, 24, COBALT_WASH, COBALT, up=False)
    middle, tall = (0.55 + top - 0.55) / 2, (top - 1.1) / 2 - 0.05
    for x in (0.0, sheet.girth / 2):
        across = 0.19 * sheet.girth
        angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        wavy = 1 + 0.05 * np.cos(8 * angle)
        panel = np.stack([x + across * wavy * np.cos(angle), middle + tall * wavy * np.sin(angle)], axis=-1)
        for size, colour, label in ((1.0, COBALT, 0), (0.965, PORCELAIN, PARTS["ornament"])):
            sheet.fill((panel - [x, middle]) * size + [x, middle], colour, 1.9, 0.0, label=label)
        inner = (panel - [x, middle]) * 0.93 + [x, middle]
        for start in range(0, 120, 8):
            sheet.stroke(
                np.take(inner, range(start, start + 10), axis=0, mode="wrap")[::3], 0.014, COBALT, 0.8, (0.9, 0.9)
            )
        _lake(sheet, x, middle)
    return Finish(glazed(sheet.image()), labels=sheet.labels)


def _lake(sheet: Sheet, x: float, y: float) -> None:
    """A lake between two banks: pine and walker on the near one, a pavilion on the far one, hills behind."""
    far = tuple(0.6 * w + 0.4 * p for w, p in zip(COBALT_WASH, PORCELAIN, strict=True))
    faint = (far[0], far[1], far[2])
    painting.mountain(sheet, (x - 0.1, y + 0.16), 0.8, 0.5, faint, COBALT_WASH)
    painting.mountain(sheet, (x + 0.42, y + 0.14), 0.62, 0.36, faint, COBALT_WASH)
    painting.mountain(sheet, (x + 0.82, y + 0.12), 0.55, 0.24, faint, COBALT_WASH)
    painting.bank(sheet, [[x + 0.22, y - 0.06], [x + 0.4, y + 0.1], [x + 0.7, y + 0.12], [x + 1.02, y + 0.06],
                          [x + 1.05, y - 0.08], [x + 0.6, y - 0.1]], COBALT_WASH, COBALT, PORCELAIN)  # fmt: skip
    painting.pavilion(sheet, (x + 0.66, y + 0.06), 0.46, COBALT_WASH, COBALT, PORCELAIN)
    painting.pine(sheet, (x + 0.95, y + 0.04), 0.42, COBALT_WASH, COBALT, -0.15, PORCELAIN)
    painting.bank(sheet, [[x - 1.05, y - 0.5], [x - 1.02, y - 0.2], [x - 0.72, y - 0.12], [x - 0.4, y - 0.24],
                          [x - 0.16, y - 0.30], [x + 0.02, y - 0.46], [x - 0.12, y - 0.58], [x - 0.62, y - 0.62]],
                  COBALT_WASH, COBALT, PORCELAIN)  # fmt: skip
    painting.pine(sheet, (x - 0.72, y - 0.2), 1.02, COBALT_WASH, COBALT, 0.25, PORCELAIN)
    painting.person(sheet, (x - 0.28, y - 0.34), 0.56, COBALT_WASH, COBALT, PORCELAIN)
    for _ in range(9):
        root = [x + sheet.rng.uniform(-0.95, -0.1), y - sheet.rng.uniform(0.3, 0.5)]
        for lean in (-0.03, 0.0, 0.035):
            sheet.stroke([root, [root[0] + lean, root[1] + 0.05], [root[0] + 2 * lean, root[1] + 0.08]], 0.012,
                         COBALT, 0.8)  # fmt: skip
    painting.boat(sheet, (x + 0.46, y - 0.42), 0.56, COBALT_WASH, COBALT, PORCELAIN)
    painting.birds(sheet, (x + 0.55, y + 0.72), 5, 0.05, COBALT)


def _apart(spurs: list[tuple[FloatArray, float]], distance: float) -> list[tuple[FloatArray, float]]:
    """Those spurs that keep their distance, in dm, from the ones before them."""
    kept: list[tuple[FloatArray, float]] = []
    for at, way in spurs:
        if all(np.hypot(*(at - other)) > distance for other, _ in kept):
            kept.append((at, way))
    return kept


def cracked_ice(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Blue and white: white plum blossom on ice that breaks, the blue laid in washes."""
    if field == "plain":
        return Finish(glazed(colour=PORCELAIN))
    sheet = sheet_for(form, PORCELAIN, rng)
    distance = painting.crackle(rng, sheet.shape, 420 if field == "body" else 150, 5.0)
    blue = np.clip(0.78 + 0.16 * clouds(rng, sheet.shape, 60, 60) + 0.12 * clouds(rng, sheet.shape, 12, 8), 0.35, 1)
    line = np.clip(1 - (distance - 2.0) / 2.0, 0, 1) * (0.75 + 0.2 * clouds(rng, sheet.shape, 20, 20))
    ground = np.array(COBALT) * blue[..., None] + np.array(COBALT_WASH) * (1 - blue[..., None])
    sheet.rgb[:] = ground * 1.15
    sheet.rgb[:] = (
        sheet.rgb * (1 - np.clip(line, 0, 1)[..., None]) + np.array(linear("#0c153c")) * np.clip(line, 0, 1)[..., None]
    )
    top = sheet.height
    pale = linear("#eef1f1")
    bark = linear("#1a2a66")
    if field == "body":
        count = 7
        for number in range(count):
            x = -sheet.girth / 2 + (number + 0.5) * sheet.girth / count + 0.12 * rng.normal()
            hang = number % 2 == 1
            root, heading = ((x, top - 0.08), -np.pi / 2) if hang else ((x, 0.1), np.pi / 2)
            long = rng.uniform(1.15, 1.4) if hang else rng.uniform(1.7, 2.1)
            lean = 0.28 * rng.choice([-1, 1])
            spurs = painting.bough(sheet, root, heading + lean, long, 0.085 if hang else 0.12, pale, bark)
            shown = [(at, way) for at, way in _apart(spurs, 0.17) if 0.3 < at[1] < top - 0.3]
            for at, way in shown:
                for _ in range(rng.integers(1, 3)):
                    sprout = way + rng.normal()
                    stem = at + rng.uniform(0.10, 0.2) * np.array([np.cos(sprout), np.sin(sprout)])
                    sheet.stroke([at, stem], 0.016, pale, 1.5, (1.0, 0.8))
                    painting.bud(sheet, stem, rng.uniform(0.026, 0.04), sprout, pale, COBALT)
            for at, way in shown:
                if rng.uniform() < 0.7:
                    middle = at + 0.05 * np.array([np.cos(way), np.sin(way)])
                    painting.prunus(sheet, middle, rng.uniform(0.10, 0.165), pale, COBALT, rng.uniform(0.6, 1.0))
        low, high = 0.16, top - 0.12
    else:
        for number in range(14):
            spot_at = np.array(
                [
                    -sheet.girth / 2 + number * sheet.girth / 14,
                    0.22 + (0.33 if number % 2 else 0.0) + 0.04 * rng.normal(),
                ]
            )
            painting.prunus(sheet, spot_at, rng.uniform(0.09, 0.13), pale, COBALT, rng.uniform(0.7, 1.0))
            way = rng.uniform(0, 2 * np.pi)
            painting.bud(sheet, spot_at + 0.19 * np.array([np.cos(way), np.sin(way)]), 0.034, way, pale, COBALT)
        low, high = 0.07, top
    for start, end in ((0.0, low), (high, top)):
        sheet.band(start, end, PORCELAIN, 2.0)
    for y in (low - 0.01, low - 0.06, high + 0.02, high + 0.07):
        sheet.ring(y, 0.03, COBALT)
    return Finish(glazed(sheet.image()))


def celadon(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Celadon over carved lotus petals: the glaze is deep where it pooled."""
    if field == "plain":
        return Finish(glazed(colour=linear("#84a588"), roughness=0.3))
    sheet = Sheet(form.girth(0.6), form.length(), (0.0, 0.0, 0.0), rng, 3072)
    top = sheet.height
    white = (1.0, 1.0, 1.0)
    # The row behind comes first; a lid's petals hang.
    rows = ((0.10, 1.75, 15), (0.10, 1.15, 15)) if field == "body" else ((0.34, top - 0.1, 12),)
    for number, (low, high, count) in enumerate(rows):
        step = sheet.girth / count
        for petal in range(count):
            x = -sheet.girth / 2 + (petal + 0.5 * number + 0.5) * step
            shape = smooth_curve(
                [[-0.5, 0], [-0.52, 0.45], [-0.45, 0.8], [0, 1.02], [0, 1.02], [0.45, 0.8], [0.52, 0.45], [0.5, 0]], 40
            )
            tall = (high - low) * (1 + 0.02 * rng.normal())
            outline = shape * [step * 0.97, tall] + [x + 0.012 * rng.normal(), low]
            if field == "lid":
                outline = shape * [step * 0.97, -tall] + [x, high]
            where, coverage = sheet.cover(outline)
            inside = ndimage.distance_transform_edt(coverage > 0.5) / sheet.scale
            # Each petal is a shallow vault with a keel, cut off steeply at its edge.
            across = np.linspace(-1, 1, coverage.shape[1])[None, :]
            vault = (
                np.clip(inside / 0.06, 0, 1) * 0.6
                + np.clip(inside / 0.3, 0, 1) * 0.4
                + 0.25 * np.exp(-((across / 0.08) ** 2)) * (inside > 0.03)
            )
            sheet.rgb[where] = np.where((coverage > 0.5)[..., None], vault[..., None], sheet.rgb[where])
    if field == "body":
        painting.scroll(sheet, top - 0.85, 0.12, 5, white, white, (0.2, 0.2, 0.2), 0.21)
    height = ndimage.gaussian_filter(sheet.rgb[..., 0], 3.0, mode=("nearest", "wrap"))
    hollow = ndimage.gaussian_filter(height, 14, mode=("nearest", "wrap")) - height
    depth = np.clip(0.42 + 1.6 * hollow + 0.05 * clouds(rng, sheet.shape, 60, 60), 0, 1)[..., None]
    pale, deep = np.array(linear("#a5c0a3")), np.array(linear("#4b785f"))
    image = (pale * (1 - depth) + deep * depth).astype(np.float32)
    return Finish(glazed(image, roughness=0.28), lift=(0.035 * height).astype(np.float32))


def crackled(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """A cream glaze with two crackles: wide ones stained black, fine ones stained gold."""
    cream = np.array(linear("#cabd9f"))
    shape = {"body": (1536, 4096), "lid": (768, 3072), "plain": (384, 2048)}[field]
    area = form.girth(0.5) * form.length()
    wide = painting.crackle(rng, shape, max(12, int(13 * area)), 9.0)
    fine = painting.crackle(rng, shape, max(30, int(110 * area)), 5.0)
    # Cracks open and close along their way, and the stain does not reach all of them alike.
    strength = np.clip(0.7 + 0.28 * clouds(rng, shape, 60, 60), 0.08, 1)
    dark = np.clip(2.2 + 0.5 * clouds(rng, shape, 30, 30) - wide, 0, 1) * strength
    gold = np.clip(1.7 - fine, 0, 1) * np.clip(0.5 + 0.3 * clouds(rng, shape, 50, 50), 0.0, 1)
    halo = np.exp(-wide / 10) * 0.16
    image = cream * (1 + 0.035 * clouds(rng, shape, 50, 70)[..., None])
    for amount, colour in ((halo, "#8b7a5c"), (gold, "#a5783a"), (dark, "#33261c")):
        image = image * (1 - amount[..., None]) + np.array(linear(colour)) * amount[..., None]
    if field == "body":
        # The glaze thins at the mouth and the foot, where the iron of the clay shows.
        y = np.linspace(1, 0, shape[0])[:, None] + 0.004 * clouds(rng, (1, shape[1]), 0, 60)
        bare = np.clip(1 - y / 0.035, 0, 1) + np.clip((y - 0.975) / 0.02, 0, 1)
        image = (
            image * (1 - np.clip(bare, 0, 1)[..., None]) + np.array(linear("#54382a")) * np.clip(bare, 0, 1)[..., None]
        )
    return Finish(glazed(np.clip(image, 0, 0.85).astype(np.float32), roughness=0.32, coat=0.8))


def hares_fur(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Black glaze that breaks to rust in streaks, as fine as fur, from the shoulder down."""
    shape = (768, 2048) if field == "plain" else (1536, 4096)
    streaks = clouds(rng, shape, 80, 1.7) + 0.6 * clouds(rng, shape, 140, 6)
    y = np.linspace(1, 0, shape[0])[:, None] + 0.035 * clouds(rng, (1, shape[1]), 0, 110)
    y = y + 0.012 * clouds(rng, (1, shape[1]), 0, 14)
    if field == "body":
        where = np.exp(-(((y - 0.72) / 0.22) ** 2)) * 0.95 + np.clip((y - 0.95) / 0.04, 0, 1)
    elif field == "lid":
        where = 0.75 * np.exp(-(((y - 0.5) / 0.25) ** 2)) + np.clip((0.12 - y) / 0.06, 0, 1)
    else:
        where = 0.3 + 0 * y
    rust = np.clip(0.55 * streaks + 1.6 * where - 0.75 + 0.16 * clouds(rng, shape, 60, 40), 0, 1)[..., None]
    black, brown, gold = np.array(linear("#15110f")), np.array(linear("#6a3416")), np.array(linear("#a8743a"))
    image = black * (1 - rust) + brown * rust
    bright = np.clip(1.4 * rust - 0.75, 0, 1) * 0.6
    image = image * (1 - bright) + gold * bright
    return Finish(glazed(image.astype(np.float32), roughness=0.2))


def running_ochre(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Ochre glaze with runs of green from the shoulder, stopping in drops above the bare clay."""
    shape = (1024, 3072)
    y = np.linspace(1, 0, shape[0])[:, None]
    x = np.arange(shape[1])[None, :]
    tone = 0.5 + 0.14 * clouds(rng, shape, 50, 12) + 0.10 * clouds(rng, shape, 8, 8)
    tone = np.clip(tone + 0.25 * (0.6 - y), 0, 1)[..., None]
    image = np.array(linear("#d39a35")) * (1 - tone) + np.array(linear("#8a5314")) * tone
    if field == "plain":
        return Finish(glazed(image.astype(np.float32), roughness=0.25))
    lift = np.zeros(shape)
    green = np.zeros(shape)
    for _ in range(44 if field == "body" else 18):
        middle, wide = rng.uniform(0, shape[1]), 12 + 52 * rng.uniform() ** 2
        start, end = (0.97, rng.uniform(0.28, 0.72)) if field == "body" else (1.0, rng.uniform(0.12, 0.6))
        # A run narrows on its way, ends in a round drop and bends where the wall is uneven.
        bend = 9 * np.sin(7 * y + middle) + 5 * np.sin(17 * y + 3 * middle)
        off = (x - middle + bend + shape[1] / 2) % shape[1] - shape[1] / 2
        left = np.clip((y - end) / (start - end), 0, 1)
        drop = np.exp(-(((y - end - 0.03) / 0.03) ** 2)) * (0.2 + 9 / wide)
        tip = np.sqrt(np.clip((y - end) / 0.05, 1e-4, 1) * (2 - np.clip((y - end) / 0.05, 1e-4, 1)))
        across = wide * (0.42 + 0.58 * left**0.7 + drop) * tip
        run = np.clip(1.3 - (off / across) ** 2, 0, 1) * (y > end) * (y < start) * rng.uniform(0.75, 1.0)
        green = np.maximum(green, run)
    green = ndimage.gaussian_filter(
        green * np.clip(1 + 0.18 * clouds(rng, shape, 40, 5), 0, 1.4), 2.2, mode=("nearest", "wrap")
    )
    lift += 0.018 * green
    mix = np.clip(green * 1.1, 0, 0.96)[..., None]
    shade = np.clip(0.5 + 0.3 * clouds(rng, shape, 40, 6), 0, 1)[..., None]
    image = image * (1 - mix) + (np.array(linear("#3f6b33")) * (1 - shade) + np.array(linear("#24482a")) * shade) * mix
    roughness = np.full(shape, 0.2)
    if field == "body":
        edge = 0.17 + 0.035 * clouds(rng, (1, shape[1]), 0, 70) + 0.012 * clouds(rng, (1, shape[1]), 0, 18)
        glaze = np.clip((y - edge) / 0.006 + 0.5, 0, 1)
        rolled = np.exp(-(((y - edge - 0.012) / 0.012) ** 2))
        lift += 0.02 * glaze + 0.022 * rolled
        bare = np.array(linear("#b58d66")) * (1 + 0.07 * clouds(rng, shape, 2, 3) + 0.08 * np.sin(260 * y))[..., None]
        image = image * (1 - 0.45 * rolled[..., None] * glaze[..., None])
        image = image * glaze[..., None] + bare * (1 - glaze[..., None])
        roughness = roughness * glaze + 0.85 * (1 - glaze)
    material = Material(image=np.clip(image, 0, 0.9).astype(np.float32), roughness_image=roughness.astype(np.float32),
                        coat=0.5, coat_roughness=0.12, grain="glaze")  # fmt: skip
    return Finish(material, lift=lift.astype(np.float32))


ROSE, ROSE_PALE, IRON, LEAF_GREEN, PALE_GREEN, GOLD, AUBERGINE, SKY = (
    linear("#b3305f"), linear("#e08aa6"), linear("#9f3a22"), linear("#2f7a4c"), linear("#7fb069"),
    linear("#d2a32c"), linear("#5a3557"), linear("#5f9fc4"),
)  # fmt: skip
OUTLINE = linear("#3a2420")


def peony_spray(sheet: Sheet, x: float, y: float, size: float, ground: Colour, rng: np.random.Generator) -> None:
    """Peonies on a leafy branch, rising from (x, y)."""
    control = np.array([[0, 0], [0.15, 0.35], [-0.12, 0.7], [0.2, 1.05], [0.1, 1.4]]) * size + [x, y]
    stem = painting.branch(sheet, control, 0.05 * size + 0.02, linear("#6b4a2c"))
    side = [[0.1, 0.3], [0.45, 0.55], [0.65, 0.9]]
    other = [[-0.08, 0.6], [-0.4, 0.75], [-0.62, 1.1]]
    tips = [stem[-1]]
    for bough in (side, other):
        tips.append(painting.branch(sheet, np.array(bough) * size + [x, y], 0.03 * size + 0.01, linear("#6b4a2c"))[-1])
    for tip in (*tips, stem[10], stem[18]):
        for _ in range(6):
            angle = rng.uniform(0, 2 * np.pi)
            green = LEAF_GREEN if rng.uniform() < 0.6 else PALE_GREEN
            painting.leaf(
                sheet,
                tip + 0.1 * size * rng.normal(size=2),
                size * rng.uniform(0.26, 0.4),
                angle,
                green,
                linear("#1e4a30"),
                0.2 * rng.normal(),
                ground,
            )
    for tip, colour, radius in zip(tips, (ROSE, ROSE_PALE, GOLD), (0.36, 0.29, 0.26), strict=True):
        painting.blossom(
            sheet,
            tip,
            radius * size,
            8,
            colour,
            ROSE if colour != GOLD else IRON,
            4,
            heart=GOLD,
            pale=linear("#f2dfe0"),
        )


def famille_rose(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Enamels on white: peonies from a rock, butterflies above, a rose border."""
    ground = linear("#e6e3da")
    if field == "plain":
        return Finish(glazed(colour=ground, roughness=0.25))
    sheet = sheet_for(form, ground, rng)
    top = sheet.height
    if field == "lid":
        sheet.band(0.05, 0.30, ROSE_PALE, 0.7)
        painting.key_fret(sheet, 0.10, 0.25, 26, ROSE)
        for y in (0.05, 0.30):
            sheet.ring(y, 0.03, GOLD)
        for number in range(5):
            x = -sheet.girth / 2 + (number + 0.5) * sheet.girth / 5
            painting.blossom(
                sheet,
                (x, 0.62),
                0.19,
                7,
                ROSE_PALE if number % 2 else SKY,
                ROSE if number % 2 else AUBERGINE,
                3,
                GOLD,
                ground,
            )
            for angle in (0.1, 3.0, 0.8, 2.4):
                painting.leaf(
                    sheet,
                    (x + 0.2 * np.cos(angle), 0.6 + 0.1 * np.sin(angle)),
                    0.24,
                    angle,
                    LEAF_GREEN,
                    linear("#1e4a30"),
                )
        return Finish(glazed(sheet.image(0.7), roughness=0.25))
    sheet.band(top - 0.36, top - 0.08, ROSE_PALE, 0.75)
    painting.diaper(sheet, top - 0.36, top - 0.08, 0.14, ROSE, ROSE, GOLD)
    for y in (top - 0.38, top - 0.07, 0.10, 0.14, 0.42):
        sheet.ring(y, 0.032, GOLD)
    painting.lappets(sheet, 0.15, 0.40, 26, PALE_GREEN, IRON)
    for number, x in enumerate((-0.35, sheet.girth * 0.26, -sheet.girth * 0.34)):
        painting.rock(sheet, (x - 0.4, 0.46), 0.7, 0.62, SKY, AUBERGINE)
        peony_spray(sheet, x, 0.5, 1.0 + 0.06 * number, ground, rng)
        for blade in range(7):
            root = [x + 0.3 + 0.06 * blade, 0.46]
            sheet.stroke(
                [root, [root[0] + 0.05, 0.62], [root[0] + 0.12 * rng.normal(), 0.75 + 0.1 * rng.uniform()]],
                0.022,
                LEAF_GREEN,
                0.9,
                (0.9, 0.1),
            )
    for x, y, size, angle, upper in (
        (0.85, 2.0, 0.34, 0.6, SKY),
        (-1.2, 2.05, 0.29, 2.2, GOLD),
        (2.9, 1.9, 0.30, 1.2, ROSE_PALE),
    ):
        painting.butterfly(sheet, (x, min(y, top - 0.6)), size, angle, upper, IRON, OUTLINE)
    return Finish(glazed(sheet.image(0.7), roughness=0.25))


def moulded_turquoise(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Turquoise over flowers and scrolls in low relief; the glaze is thin and pale on their edges."""
    if field == "plain":
        return Finish(glazed(colour=linear("#2b898f"), roughness=0.25))
    sheet = Sheet(form.girth(0.6), form.length(), (0.0, 0.0, 0.0), rng, 3072)
    top = sheet.height
    sheet.density[:] = 1.0
    white, half = (1.0, 1.0, 1.0), (0.55, 0.55, 0.55)
    if field == "body":
        painting.scroll(sheet, 0.55 * top, 0.42, 4, half, white, (0.25, 0.25, 0.25), 0.42, petal=half)
        painting.lappets(sheet, 0.14, 0.6, 18, half, white)
        painting.lappets(sheet, top - 0.52, top - 0.18, 18, half, white, up=False)
        rings: tuple[float, ...] = (0.08, 0.66, top - 0.58, top - 0.12)
    else:
        painting.lappets(sheet, 0.4, top - 0.12, 12, half, white, up=False)
        rings = (0.08, 0.32)
    for y in rings:
        sheet.ring(y, 0.05, white)
    height = ndimage.gaussian_filter(sheet.rgb[..., 0], 4.0, mode=("nearest", "wrap"))
    height = height + 0.6 * ndimage.gaussian_filter(sheet.rgb[..., 0], 16.0, mode=("nearest", "wrap"))
    hollow = ndimage.gaussian_filter(height, 20, mode=("nearest", "wrap")) - height
    depth = np.clip(0.5 + 1.1 * hollow + 0.07 * clouds(rng, sheet.shape, 50, 50), 0, 1)[..., None]
    pale, deep = np.array(linear("#6eb8b3")), np.array(linear("#0e6270"))
    image = (pale * (1 - depth) + deep * depth).astype(np.float32)
    return Finish(glazed(image, roughness=0.25), lift=(0.05 * height).astype(np.float32))


def yellow_medallions(form: Form, field: Field, rng: np.random.Generator) -> Finish:
    """Enamels on yellow: round medallions with plum and birds, scrolls of small flowers between them."""
    ground, white = linear("#d2a544"), linear("#ebe6d8")
    if field == "plain":
        return Finish(glazed(colour=ground, roughness=0.25))
    sheet = sheet_for(form, ground, rng)
    top = sheet.height
    field_low, field_high = (0.55, top - 0.5) if field == "body" else (0.36, top - 0.15)
    middle, radius = (field_low + field_high) / 2, 0.5 * (field_high - field_low) * 0.86
    count = 4 if field == "body" else 5
    for _ in range(130 if field == "body" else 40):
        at = np.array([rng.uniform(-0.5, 0.5) * sheet.girth, rng.uniform(field_low, field_high)])
        angle = rng.uniform(0, 6.3)
        turn = np.linspace(0, 4.0, 10)
        curl = at + (0.16 - 0.03 * turn)[:, None] * np.stack([np.cos(turn + angle), np.sin(turn + angle)], -1)
        sheet.stroke(curl, 0.022, LEAF_GREEN, 0.9)
        painting.leaf(sheet, curl[0], 0.16, angle, LEAF_GREEN, linear("#1e4a30"))
        colour = (ROSE, SKY, AUBERGINE, IRON)[rng.integers(4)]
        if rng.uniform() < 0.55:
            painting.blossom(sheet, at, 0.085, 6, colour, OUTLINE, 1, GOLD, linear("#f0dcd8"))
    for number in range(count):
        x = (number * sheet.girth / count + sheet.girth / 2) % sheet.girth - sheet.girth / 2
        size = radius if field == "body" else 0.8 * radius
        for scale, colour, label in (
            (1.09, IRON, 0),
            (1.06, GOLD, 0),
            (1.0, white, PARTS["ornament"] if field == "body" else 0),
        ):
            sheet.fill(
                painting.ellipse_outline((x, middle), size * scale, size * scale, 90), colour, 1.9, 0.0, label=label
            )
        if field == "body":
            root = np.array([x - 0.72 * size, middle - 0.52 * size])
            bark, dark = linear("#6b4c33"), linear("#2c1d14")
            spurs = painting.bough(sheet, root, 0.62, 1.75 * size, 0.085, bark, dark, 1)
            inside = [
                (at, way) for at, way in _apart(spurs, 0.15 * size) if np.hypot(*(at - [x, middle])) < 0.82 * size
            ]
            for at, way in inside:
                for _ in range(2):
                    sprout = way + rng.normal()
                    stem = at + 0.15 * size * np.array([np.cos(sprout), np.sin(sprout)])
                    sheet.stroke([at, stem], 0.014, bark, 0.9, (1.0, 0.8))
                    painting.bud(sheet, stem, 0.035, sprout, ROSE_PALE, ROSE)
            for at, way in inside:
                petal = ROSE_PALE if rng.uniform() < 0.7 else linear("#f4eef0")
                centre, reach = at + 0.04 * np.array([np.cos(way), np.sin(way)]), rng.uniform(0.085, 0.125)
                painting.prunus(sheet, centre, reach * size + 0.02, petal, ROSE, rng.uniform(0.65, 1.0))
            _bird(sheet, np.array([x - 0.12 * size, middle - 0.02 * size]), 0.46 * size)
        else:
            painting.blossom(sheet, (x, middle), 0.75 * size, 7, ROSE, ROSE, 3, GOLD, white)
    if field == "body":
        sheet.band(0.09, 0.48, white, 2.0)
        painting.lappets(sheet, 0.12, 0.46, 20, SKY, IRON)
        painting.key_fret(sheet, top - 0.3, top - 0.14, 30, IRON)
        rings: tuple[float, ...] = (0.07, 0.5, top - 0.38, top - 0.34, top - 0.09)
    else:
        painting.key_fret(sheet, 0.10, 0.24, 24, IRON)
        rings = (0.05, 0.30)
    for y in rings:
        sheet.ring(y, 0.034, ROSE)
    return Finish(glazed(sheet.image(0.7), roughness=0.25), labels=sheet.labels if field == "body" else None)


def _bird(sheet: Sheet, at: FloatArray, size: float) -> None:
    """A magpie on a twig."""
    body = smooth_curve(
        [
            [-0.5, 0.1],
            [-0.2, 0.42],
            [0.2, 0.62],
            [0.42, 0.75],
            [0.55, 0.95],
            [0.75, 0.92],
            [0.78, 0.7],
            [0.55, 0.35],
            [0.1, 0.08],
            [-0.5, 0.1],
        ],
        50,
    )
    sheet.fill(painting.turned(body, at, size, 0.1), SKY, 0.95, 0.1)
    sheet.stroke(painting.turned(body[::3], at, size, 0.1), 0.02, OUTLINE, 0.9, (0.8, 0.8))
    wing = smooth_curve([[0.35, 0.55], [0.0, 0.45], [-0.55, 0.12], [-0.2, 0.1], [0.3, 0.3], [0.35, 0.55]], 30)
    sheet.fill(painting.turned(wing, at, size, 0.1), AUBERGINE, 0.95, 0.1)
    sheet.stroke(
        painting.turned([[-0.3, 0.2], [-0.8, 0.0], [-1.2, -0.25]], at, size, 0.1),
        0.16 * size,
        OUTLINE,
        0.95,
        (0.9, 0.3),
    )
    sheet.stroke(
        painting.turned([[0.78, 0.84], [0.88, 0.83], [0.98, 0.78]], at, size, 0.1), 0.05 * size, IRON, 0.95, (1.0, 0.2)
    )
    sheet.fill(
        painting.ellipse_outline(painting.turned([[0.64, 0.83]], at, size, 0.1)[0], 0.04 * size, 0.04 * size, 10),
        (0.01, 0.01, 0.01),
        1.0,
    )
    for leg in (0.1, 0.22):
        sheet.stroke(
            painting.turned([[leg, 0.12], [leg + 0.02, 0.0], [leg, -0.08]], at, size, 0.1), 0.014, OUTLINE, 0.9
        )


JARS = (
    Jar(
        "jar-01",
        "blue and white jar with lotus scroll",
        lotus_scroll,
        2.5,
        2.7,
        0.62,
        0.44,
        0.60,
        "cap",
        "none",
        8,
        201,
    ),
    Jar(
        "jar-02",
        "blue and white jar with figures in a landscape",
        landscape,
        2.3,
        2.9,
        0.60,
        0.42,
        0.64,
        "dome",
        "bud",
        -4,
        202,
    ),
    Jar(
        "jar-03",
        "blue and white jar with plum blossom on cracked ice",
        cracked_ice,
        2.6,
        2.5,
        0.60,
        0.42,
        0.58,
        "cap",
        "none",
        14,
        203,
    ),
    Jar("jar-04", "celadon jar with carved lotus petals", celadon, 2.2, 2.9, 0.56, 0.40, 0.68, "dome", "bud", 5, 204),
    Jar(
        "jar-05",
        "cream jar with double crackle and hat lid",
        crackled,
        2.8,
        2.2,
        0.58,
        0.40,
        0.56,
        "hat",
        "ring",
        10,
        205,
        DARK_CLAY,
    ),
    Jar(
        "jar-06",
        "black jar with hare's fur streaks",
        hares_fur,
        2.4,
        2.6,
        0.52,
        0.42,
        0.66,
        "hat",
        "button",
        0,
        206,
        DARK_CLAY,
    ),
    Jar(
        "jar-07",
        "ochre jar with green runs and four lugs",
        running_ochre,
        2.8,
        2.4,
        0.60,
        0.42,
        0.60,
        "hat",
        "button",
        12,
        207,
        lugs=4,
    ),
    Jar(
        "jar-08",
        "enamelled jar with peonies and butterflies",
        famille_rose,
        2.45,
        2.75,
        0.60,
        0.43,
        0.62,
        "dome",
        "peach",
        6,
        208,
    ),
    Jar(
        "jar-09",
        "turquoise jar with moulded flowers",
        moulded_turquoise,
        2.35,
        2.8,
        0.60,
        0.42,
        0.62,
        "dome",
        "flame",
        16,
        209,
    ),
    Jar(
        "jar-10",
        "yellow jar with plum and magpie medallions",
        yellow_medallions,
        2.6,
        2.6,
        0.60,
        0.44,
        0.60,
        "cap",
        "button",
        -6,
        210,
    ),
)
