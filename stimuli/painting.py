"""The brush: what a decorator paints on a pot, drawn on a sheet that closes round it.

A `Sheet` is as wide as the pot's girth and as high as its outline, in decimetres, x = 0 in front and y = 0 at
the foot. Strokes swell and thin, washes gather at their edges, and pigment lies unevenly, all drawn from the
sheet's generator. Which pot bears what stands in jars.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from beholder.shared.arrays import FloatArray
from beholder.stimuli.geometry import smooth_curve, wave

Colour = tuple[float, float, float]


def clouds(rng: np.random.Generator, shape: tuple[int, int], down_px: float, across_px: float) -> FloatArray:
    """Smooth noise (height, width) of mean 0 and SD 1 that closes round the pot; sizes are Gaussian SDs in px."""
    # Large clouds are drawn small and enlarged, their left and right ends still meeting.
    times = max(1, int(min(down_px or across_px, across_px) / 6))
    rows, columns = -(-shape[0] // times), -(-shape[1] // times)
    sizes = (down_px / times, across_px / times)
    noise = ndimage.gaussian_filter(rng.normal(size=(rows, columns)), sizes, mode=("nearest", "wrap"))
    if times > 1:
        around = Image.fromarray(np.pad(noise, ((0, 0), (4, 4)), mode="wrap").astype(np.float32))
        box = (4, 0, 4 + columns, rows)
        noise = np.asarray(around.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box), dtype=np.float64)
    return np.asarray((noise - noise.mean()) / noise.std())


def crackle(rng: np.random.Generator, shape: tuple[int, int], cells: int, bend_px: float) -> FloatArray:
    """Distance in px (height, width) to the cracks of a glaze: borders between random cells, a little bent."""
    height, width = shape
    seeds = rng.uniform(size=(cells, 2)) * [height, width]
    around = np.concatenate([seeds, seeds + np.array([0, width]), seeds - np.array([0, width])])
    y, x = np.mgrid[0:height, 0:width].astype(float)
    y = y + bend_px * clouds(rng, shape, 45, 45) + 0.6 * clouds(rng, shape, 5, 5)
    x = x + bend_px * clouds(rng, shape, 45, 45) + 0.6 * clouds(rng, shape, 5, 5)
    place = np.stack([y.ravel(), x.ravel()], axis=-1)
    tree = cKDTree(around)
    nearest: NDArray[np.int64] = np.asarray(tree.query(place, k=2, workers=2)[1])
    first, second = around[nearest[:, 0]], around[nearest[:, 1]]
    middle, apart = (first + second) / 2, second - first
    distance = np.abs(((place - middle) * apart).sum(axis=1)) / np.linalg.norm(apart, axis=1)
    return np.asarray(distance.reshape(shape))


class Sheet:
    """A painted sheet: linear RGB, and the label of each painted field that counts as a part."""

    def __init__(
        self, girth_dm: float, height_dm: float, ground: Colour, rng: np.random.Generator, width_px: int = 4096
    ):
        self.girth, self.height, self.rng = girth_dm, height_dm, rng
        self.scale = width_px / girth_dm
        """px a dm."""
        self.shape = (round(height_dm * self.scale), width_px)
        self.rgb: NDArray[np.float32] = np.empty((*self.shape, 3), dtype=np.float32)
        self.rgb[:] = ground
        self.labels: NDArray[np.uint8] = np.zeros(self.shape, dtype=np.uint8)
        # Pigment lies unevenly: in clouds, and in small heaps.
        self.density = np.clip(
            1 + 0.11 * clouds(rng, self.shape, 34, 34) + 0.06 * clouds(rng, self.shape, 4, 4), 0.55, 1.3
        ).astype(np.float32)

    def _px(self, points: FloatArray) -> FloatArray:
        x = (points[:, 0] + self.girth / 2) * self.scale
        return np.stack([x, (self.height - points[:, 1]) * self.scale], axis=-1)

    def cover(self, outline: ArrayLike) -> tuple[Any, NDArray[np.float32]]:
        """The pixels in a polygon (n, 2) in dm: an index into the sheet, and coverage 0 to 1 there."""
        corners = self._px(np.asarray(outline, dtype=float))
        low = np.floor(corners.min(axis=0)).astype(int) - 2
        high = np.ceil(corners.max(axis=0)).astype(int) + 3
        top, bottom = max(low[1], 0), min(high[1], self.shape[0])
        if bottom <= top:
            return np.ix_([], []), np.zeros((0, 0), dtype=np.float32)
        size = (int(high[0] - low[0]), int(bottom - top))
        tile = Image.new("L", (2 * size[0], 2 * size[1]))
        shifted = 2 * (corners - [low[0], top])
        ImageDraw.Draw(tile).polygon([(float(x), float(y)) for x, y in shifted], fill=255)
        levels = np.asarray(tile.resize(size, Image.Resampling.BOX), dtype=np.float32)
        coverage = np.asarray(levels / 255, dtype=np.float32)
        where = np.ix_(np.arange(top, bottom), np.arange(low[0], high[0]) % self.shape[1])
        return where, coverage

    def lay(self, where: Any, amount: NDArray[np.float32], colour: Colour) -> None:
        """Lay pigment over what is there."""
        amount = np.clip(amount * self.density[where], 0, 1)[..., None]
        self.rgb[where] = self.rgb[where] * (1 - amount) + np.asarray(colour, dtype=np.float32) * amount

    def fill(
        self, outline: ArrayLike, colour: Colour, strength: float = 0.5, edge: float = 0.25, label: int = 0
    ) -> None:
        """A wash in a polygon, `edge` stronger where it dries at its border."""
        where, coverage = self.cover(outline)
        if not coverage.size:
            return
        # The blur is most of the work, so it is left out where the border is not stronger.
        dried = edge * (1 - ndimage.gaussian_filter(coverage, 0.04 * self.scale)) if edge else 0.0
        self.lay(where, coverage * (strength + dried), colour)
        if label:
            self.labels[where] = np.where(coverage > 0.5, label, self.labels[where])

    def stroke(self, control: ArrayLike, width: float, colour: Colour, strength: float = 0.9,
               ends: tuple[float, float] = (0.35, 0.15)) -> None:  # fmt: skip
        """A brush line along control points (n, 2), `width` dm where it is widest, thinned to `ends` of it."""
        path = smooth_curve(control, max(8, 12 * len(np.atleast_1d(np.asarray(control)))))
        along = np.linspace(0, 1, len(path))
        swell = np.interp(along, [0, 0.25, 0.6, 1], [ends[0], 1.0, 0.92, ends[1]])
        half = 0.5 * width * swell * (1 + wave(self.rng, along, 2.5, 0.12))
        tangent = np.gradient(path, axis=0)
        side = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
        side = side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
        where, coverage = self.cover(np.concatenate([path + side * half[:, None], (path - side * half[:, None])[::-1]]))
        self.lay(where, coverage * strength, colour)

    def ring(self, y: float, width: float, colour: Colour, strength: float = 0.9) -> None:
        """A line thrown on the wheel, all round."""
        x = np.arange(self.shape[1])
        phase, turns = self.rng.uniform(0, 2 * np.pi), self.rng.integers(1, 4)
        unsteady = 0.012 * self.scale * np.sin(2 * np.pi * turns * x / self.shape[1] + phase)
        centre = (self.height - y) * self.scale + unsteady
        half = 0.5 * width * self.scale * (1 + 0.18 * clouds(self.rng, (1, self.shape[1]), 0, 80)[0])
        top, bottom = int(centre.min() - half.max() - 2), int(centre.max() + half.max() + 3)
        top, bottom = max(top, 0), min(bottom, self.shape[0])
        if bottom <= top:
            return
        rows = np.arange(top, bottom)[:, None]
        coverage = np.clip(half + 0.5 - np.abs(rows - centre), 0, 1).astype(np.float32)
        self.lay(np.ix_(np.arange(top, bottom), np.arange(self.shape[1])), coverage * strength, colour)

    def band(self, low: float, high: float, colour: Colour, strength: float = 0.5) -> None:
        """A wash all round."""
        top, bottom = max(0, int((self.height - high) * self.scale)), int((self.height - low) * self.scale)
        rows = np.arange(top, min(bottom, self.shape[0]))
        amount = np.full((len(rows), self.shape[1]), strength, dtype=np.float32)
        self.lay(np.ix_(rows, np.arange(self.shape[1])), amount, colour)

    def image(self, bleed_px: float = 1.0, specks: int = 30) -> NDArray[np.float32]:
        """The sheet as it comes out of the kiln: lines a little run, specks of iron, glaze gathered at the ends."""
        for _ in range(specks):
            at = self.rng.uniform([-self.girth / 2, 0.0], [self.girth / 2, self.height])
            across = self.rng.uniform(0.003, 0.009)
            self.fill(ellipse_outline(at, across, across, 9), (0.10, 0.06, 0.035), self.rng.uniform(0.25, 0.7), 0.0)
        run = ndimage.gaussian_filter(self.rgb, (bleed_px, bleed_px, 0), mode=("nearest", "wrap", "nearest"))
        up = np.linspace(self.height, 0, self.shape[0])[:, None, None]
        thick = 0.6 * np.exp(-up / 0.05) + 0.35 * np.exp(-(self.height - up) / 0.04)
        # A clear glaze is a little blue-green where it is thick.
        return np.asarray(run * np.array([0.72, 0.86, 0.88]) ** thick, dtype=np.float32)


# Motifs: each is put at a place, with a size and a direction, in the colours given -------------------------------


def turned(shape: ArrayLike, at: ArrayLike, size: float, angle: float) -> FloatArray:
    """Points (n, 2) scaled, turned by `angle` radians and put at a place."""
    points = np.asarray(shape, dtype=float) * size
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]) + np.asarray(at, dtype=float))


def ellipse_outline(at: ArrayLike, across: float, up: float, points: int = 60) -> FloatArray:
    """An ellipse (points, 2) with half axes in dm."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.asarray(at, dtype=float) + np.stack([across * np.cos(angle), up * np.sin(angle)], axis=-1)


def leaf(sheet: Sheet, at: ArrayLike, size: float, angle: float, wash: Colour, line: Colour, curl: float = 0.0,
         pale: Colour | None = None) -> None:  # fmt: skip
    """A pointed leaf growing from `at`; `pale` covers what lies below."""
    x = np.linspace(0, 1, 16)
    swell = 0.24 * np.sin(np.pi * x**0.75) * (1 + 0.08 * sheet.rng.normal())
    bend = curl * x**2
    edge = np.concatenate([np.stack([x, bend + swell], -1), np.stack([x, bend - swell], -1)[::-1]])
    if pale is not None:
        sheet.fill(turned(edge, at, size, angle), pale, 1.9, 0.0)
    # The side away from the light is laid darker.
    sheet.fill(turned(edge, at, size, angle), wash, 0.34, 0.35)
    shaded = np.concatenate([np.stack([x, bend], -1), np.stack([x, bend - swell], -1)[::-1]])
    sheet.fill(turned(shaded, at, size, angle), wash, 0.3, 0.1)
    weight = sheet.rng.uniform(0.75, 1.3)
    sheet.stroke(turned(np.stack([x, bend + swell], -1)[::3], at, size, angle), 0.020 * weight, line, 0.85)
    sheet.stroke(turned(np.stack([x, bend - swell], -1)[::3], at, size, angle), 0.026 * weight, line, 0.9)
    sheet.stroke(turned([[0, 0], [0.5, bend[8]], [0.95, bend[-1]]], at, size, angle), 0.015 * weight, line, 0.8)
    for place in (5, 8, 11):
        for side in (-1, 1):
            vein = [[x[place] - 0.06, bend[place]], [x[place] + 0.08, bend[place] + 0.75 * side * swell[place]]]
            sheet.stroke(turned(vein, at, size, angle), 0.008 * weight, line, 0.55)


def blossom(sheet: Sheet, at: ArrayLike, radius: float, petals: int, wash: Colour, line: Colour, layers: int = 3,
            heart: Colour | None = None, pale: Colour | None = None) -> None:  # fmt: skip
    """A peony or lotus, petals in layers from the outside in; `pale` covers what lies below."""
    centre = np.asarray(at, dtype=float)
    for layer in range(layers):
        reach = radius * (1 - 0.29 * layer)
        count = max(petals - layer, 4)
        spin = sheet.rng.uniform(0, 2 * np.pi)
        for petal in range(count):
            angle = 2 * np.pi * (petal + 0.15 * sheet.rng.normal()) / count + spin
            long = reach * (1 + 0.08 * sheet.rng.normal())
            wide = long * np.pi / count * 1.25
            half = wide / long
            shape = smooth_curve(
                [[0.1, 0], [0.3, half * 0.9], [0.8, half * 1.15], [1.06, half * 0.45], [0.95, 0], [1.06, -half * 0.45],
                 [0.8, -half * 1.15], [0.3, -half * 0.9], [0.1, 0]], 44,
            )  # fmt: skip
            outline = turned(shape, centre, long, angle)
            if pale is not None:
                sheet.fill(outline, pale, 1.0, 0.0)
            sheet.fill(outline, wash, 0.14 + 0.12 * layer, 0.34)
            # The colour is drawn out with a wet brush, from the heart of the flower to the petals' rims.
            for reached in (0.8, 0.62, 0.46):
                sheet.fill(turned(shape * [reached, 0.9 * reached**0.5], centre, long, angle), wash, 0.14, 0.0)
            sheet.stroke(outline[::4], 0.020 * sheet.rng.uniform(0.65, 1.3), line, 0.85, (0.8, 0.5))
            for vein in (-0.35, 0.0, 0.35):
                course = [[0.35, vein * half * 0.5], [0.6, vein * half * 1.0], [0.82, vein * half * 1.3]]
                sheet.stroke(
                    turned(course, centre, long, angle),
                    0.011, line, 0.5,
                )  # fmt: skip
    sheet.fill(ellipse_outline(centre, 0.2 * radius, 0.17 * radius), heart or line, 0.8, 0.2)
    for _ in range(14):
        angle, reach = sheet.rng.uniform(0, 2 * np.pi), radius * sheet.rng.uniform(0.2, 0.3)
        dot = centre + reach * np.array([np.cos(angle), np.sin(angle)])
        sheet.fill(ellipse_outline(dot, 0.014, 0.014, 10), heart or line, 0.9, 0.0)


def prunus(sheet: Sheet, at: ArrayLike, radius: float, petal: Colour, line: Colour, tilt: float = 1.0) -> None:
    """A plum blossom of five round petals; a `tilt` below 1 shows it from the side, foreshortened to that."""
    centre, spin, lean = np.asarray(at, dtype=float), sheet.rng.uniform(0, 6.3), sheet.rng.uniform(0, 6.3)

    def seen(points: ArrayLike) -> FloatArray:
        flat = turned(np.asarray(points, dtype=float) - centre, (0.0, 0.0), 1.0, -lean)
        return turned(flat * [1.0, tilt], centre, 1.0, lean)

    for number in range(5):
        angle = spin + 2 * np.pi * (number + 0.06 * sheet.rng.normal()) / 5
        reach = radius * (1 + 0.07 * sheet.rng.normal())
        middle = centre + 0.55 * reach * np.array([np.cos(angle), np.sin(angle)])
        outline = seen(turned(ellipse_outline((0.0, 0.0), 0.46 * reach, 0.43 * reach, 24), middle, 1.0, angle))
        sheet.fill(outline, petal, 1.9, 0.0)
        sheet.fill(outline, line, 0.0, 0.16)
        sheet.stroke(outline[::3], 0.014 * sheet.rng.uniform(0.7, 1.3), line, 0.75, (0.8, 0.5))
    for number in range(9):
        angle = spin + 2 * np.pi * (number + 0.2 * sheet.rng.normal()) / 9
        tip = centre + radius * sheet.rng.uniform(0.3, 0.5) * np.array([np.cos(angle), np.sin(angle)])
        sheet.stroke(seen([centre, tip]), 0.009, line, 0.8, (0.6, 0.6))
        sheet.fill(ellipse_outline(seen([tip])[0], 0.012, 0.012, 8), line, 0.9, 0.0)


def bud(sheet: Sheet, at: ArrayLike, radius: float, angle: float, petal: Colour, line: Colour) -> None:
    """A closed blossom in its calyx, growing from `at`."""
    outline = turned(ellipse_outline((0.7, 0.0), 0.7, 0.58, 20), at, radius, angle)
    sheet.fill(outline, petal, 1.9, 0.0)
    sheet.fill(outline, line, 0.0, 0.16)
    sheet.stroke(outline[4:17:2], 0.012, line, 0.75, (0.8, 0.5))
    for side in (-0.5, 0.0, 0.5):
        sheet.stroke(turned([[-0.1, 0.0], [0.3, 0.6 * side], [0.6, side]], at, radius, angle), 0.022, line, 0.85)


def bough(sheet: Sheet, at: ArrayLike, angle: float, length: float, width: float, pale: Colour, line: Colour,
          forks: int = 2) -> list[tuple[FloatArray, float]]:  # fmt: skip
    """A plum bough left white in the ground, bent at its knots, its bark in dry strokes, forking `forks` times.

    The places and directions (radians) of its spurs come back, to hang blossoms on.
    """
    rng = sheet.rng
    joints = 5
    heading = angle + np.cumsum(0.42 * np.resize([1, -1], joints) * rng.uniform(0.3, 1.2, joints) * rng.choice([-1, 1]))
    steps = (
        (length / joints) * rng.uniform(0.75, 1.25, joints)[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    )
    corners = np.asarray(at, dtype=float) + np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)])
    # Each knot stands twice, which makes the bend there sudden, as in old wood.
    path = smooth_curve(np.repeat(corners, [1, *[2] * (joints - 1), 1], axis=0), 90)
    along = np.linspace(0, 1, 90)
    half = 0.5 * width * (1 - 0.78 * along**0.9) * (1 + wave(rng, along, 6.0, 0.12) + wave(rng, along, 22.0, 0.06))
    for knot in range(1, joints):
        half = half * (1 + 0.4 * np.exp(-(((along - knot / joints) / 0.02) ** 2)))
    tangent = np.gradient(path, axis=0)
    side = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    side = side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    left, right = path + side * half[:, None], path - side * half[:, None]
    spurs = []
    for joint in range(1, joints + 1):
        way = float(heading[joint - 1] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)) if joint < joints else heading[-1]
        spurs.append((corners[joint], float(way)))
    if forks:
        for joint in (1, 2, 3, 4) if forks > 1 else (1, 3):
            way = heading[joint] + (-1) ** (joint + forks) * rng.uniform(0.6, 1.05)
            grown = length * rng.uniform(0.32, 0.55) * (1.1 - 0.12 * joint)
            twig_width = 0.5 * width * (1 - 0.13 * joint)
            spurs += bough(sheet, corners[joint], float(way), grown, twig_width, pale, line, forks - 1)
    sheet.fill(np.concatenate([left, right[::-1]]), pale, 1.9, 0.0)
    dark = right if np.cos(angle) > 0 else left
    sheet.fill(np.concatenate([dark, (0.35 * dark + 0.65 * path)[::-1]]), line, 0.22, 0.1)
    for edge, weight in ((dark, 0.9), (left if dark is right else right, 0.5)):
        for start in range(0, 84, 14):
            stop = start + int(rng.integers(8, 17))
            sheet.stroke(edge[start:stop:3], 0.014 * weight + 0.08 * width * weight, line, 0.75, (0.3, 0.15))
    for _ in range(int(22 * width / 0.1)):
        start = int(rng.integers(0, 80))
        shift = rng.uniform(-0.6, 0.6)
        bark = path[start : start + 9] + (side * half[:, None] * shift)[start : start + 9]
        sheet.stroke(bark[::3], 0.012, line, 0.5, (0.6, 0.2))
    return spurs


def branch(sheet: Sheet, control: ArrayLike, width: float, colour: Colour) -> FloatArray:
    """A gnarled twig; its points (n, 2) come back, to hang blossoms on."""
    path = smooth_curve(control, 30)
    path[1:-1] += sheet.rng.normal(size=(28, 2)) * 0.012
    sheet.stroke(path, width, colour, 0.9, (1.0, 0.25))
    sheet.stroke(path + np.array([0.0, 0.2 * width]), 0.35 * width, colour, 0.6, (1.0, 0.3))
    return path


def scroll(sheet: Sheet, y: float, swing: float, waves: int, wash: Colour, line: Colour, ground: Colour,
           radius: float, heart: Colour | None = None, petal: Colour | None = None) -> None:  # fmt: skip
    """A vine all round, a blossom in each bend and leaves on curling tendrils."""
    x = np.linspace(-sheet.girth / 2, sheet.girth / 2, 40 * waves + 1)
    phase = 2 * np.pi * waves * x / sheet.girth
    spine = np.stack([x, y + swing * np.cos(phase)], axis=-1)
    for start in range(0, 40 * waves, 10):
        sheet.stroke(spine[start : start + 12], 0.045, line, 0.9, (0.9, 0.8))
    heading = np.arctan2(*np.gradient(spine, axis=0).T[::-1])
    for number in range(3, 40 * waves, 5):
        turn = (-1) ** (number // 5)
        size = radius * sheet.rng.uniform(0.38, 0.68)
        angle = heading[number] + turn * sheet.rng.uniform(0.6, 1.2)
        leaf(sheet, spine[number], size, float(angle), wash, line, 0.3 * turn * sheet.rng.uniform(), ground)
    for half in range(2 * waves):
        # A tendril with a bud on the outer side of each bend, where the field would be empty.
        side = 1 if half % 2 == 0 else -1
        top = np.array([-sheet.girth / 2 + sheet.girth * half / (2 * waves), y + side * swing])
        for turn in (-1, 1):
            swirl = np.linspace(0, 4.6, 14)
            reach = radius * sheet.rng.uniform(0.26, 0.36) * (1 - swirl / 6.5)
            centre = top + radius * np.array([turn * sheet.rng.uniform(0.45, 0.75), side * 0.42])
            curl = centre - reach[:, None] * np.stack([turn * np.cos(swirl), side * np.sin(swirl)], -1)
            sheet.stroke(np.vstack([top + np.array([turn * 0.1 * radius, 0.0]), curl]), 0.028, line, 0.85, (0.8, 0.4))
            for number in (4, 8):
                sprout = float(np.arctan2(side, turn * 0.4) + 0.3 * sheet.rng.normal())
                leaf(sheet, curl[number], 0.3 * radius, sprout, wash, line, 0.0, ground)
    for half in range(2 * waves):
        centre_x = -sheet.girth / 2 + sheet.girth * (half + 0.0) / (2 * waves)
        side = 1 if half % 2 == 0 else -1
        centre = np.array([centre_x, y - side * swing * 0.32])
        for number in range(7):
            angle = side * np.pi / 2 + (number - 3) * 0.72 + 0.12 * sheet.rng.normal()
            root = centre + radius * 0.85 * np.array([np.cos(angle), np.sin(angle)])
            leaf(
                sheet,
                root,
                radius * sheet.rng.uniform(0.62, 0.9),
                angle + 0.35 * sheet.rng.normal(),
                wash,
                line,
                0.25 * side,
                ground,
            )
        blossom(sheet, centre, radius, 9, petal or wash, line, pale=ground, heart=heart)
        for turn in (-1, 1):
            root = np.array([centre_x + turn * 0.25 * sheet.girth / waves * 0.62, y + side * swing * 0.05])
            swirl = np.linspace(0, 4.2, 12)
            curl = root + (0.21 * radius * (1.9 - swirl / 4.2 * 1.5))[:, None] * np.stack(
                [turn * np.cos(swirl), side * np.sin(swirl)], axis=-1
            )
            sheet.stroke(curl, 0.03, line, 0.85)
            for number in (2, 5, 8):
                way = float(swirl[number] * turn * side + np.pi / 2 * turn)
                leaf(sheet, curl[number], 0.4 * radius, way, wash, line, 0.0, ground)


def lappets(sheet: Sheet, low: float, high: float, count: int, wash: Colour, line: Colour, up: bool = True) -> None:
    """A band of upright or hanging petals, each with an inner outline and a curl."""
    step, tall = sheet.girth / count, high - low
    x = np.array([-0.5, -0.5, -0.5, -0.46, -0.25, 0.0, 0.0, 0.0, 0.25, 0.46, 0.5, 0.5, 0.5])
    y = np.array([0.0, 0.0, 0.3, 0.74, 0.88, 1.0, 1.0, 1.0, 0.88, 0.74, 0.3, 0.0, 0.0])
    shape = smooth_curve(np.stack([x, y], -1), 50)
    for number in range(count):
        centre = -sheet.girth / 2 + (number + 0.5) * step
        for size, strength, width in ((0.96, 0.0, 0.034), (0.72, 0.45, 0.018)):
            points = np.stack([shape[:, 0] * step * size, shape[:, 1] * tall * (0.5 + 0.5 * size)], axis=-1)
            if not up:
                points[:, 1] = tall - points[:, 1]
            points = points + np.array([centre, low])
            if strength:
                sheet.fill(points, wash, strength, 0.4)
            sheet.stroke(points[::3], width, line, 0.9, (0.9, 0.9))
        middle = low + (0.45 if up else 0.55) * tall
        angle = np.linspace(0, 5.0, 10)
        curl = np.stack(
            [
                centre + 0.16 * step * (1 - angle / 7) * np.cos(angle),
                middle + 0.16 * step * (1 - angle / 7) * np.sin(angle),
            ],
            -1,
        )
        sheet.stroke(curl, 0.028, line, 0.9)


def key_fret(sheet: Sheet, low: float, high: float, count: int, line: Colour) -> None:
    """The squared spiral, all round."""
    step, tall = sheet.girth / count, high - low
    shape = np.array([[0.05, 0.1], [0.05, 0.9], [0.78, 0.9], [0.78, 0.35], [0.42, 0.35], [0.42, 0.62]])
    for number in range(count):
        points = shape * [step, tall] + [-sheet.girth / 2 + number * step, low]
        for a, b in pairwise(points):
            sheet.stroke([a, (a + b) / 2, b], 0.14 * tall, line, 0.92, (0.95, 0.9))
        a, b = points[0] * [1, 1], points[0] + [step, 0]
        sheet.stroke([a, (a + b) / 2, b], 0.14 * tall, line, 0.92, (0.95, 0.9))


def diaper(sheet: Sheet, low: float, high: float, across: float, wash: Colour, line: Colour, dot: Colour) -> None:
    """A lattice of lozenges with a dot in each."""
    count = round(sheet.girth / across)
    step = sheet.girth / count
    rows = max(1, round((high - low) / step))
    tall = (high - low) / rows
    for number in range(count):
        x = -sheet.girth / 2 + number * step
        for row in range(rows):
            y = low + row * tall
            sheet.stroke([[x, y], [x + step / 2, y + tall / 2], [x + step, y + tall]], 0.02, line, 0.85, (0.9, 0.9))
            sheet.stroke([[x, y + tall], [x + step / 2, y + tall / 2], [x + step, y]], 0.02, line, 0.85, (0.9, 0.9))
            sheet.fill(ellipse_outline((x, y + tall / 2), 0.2 * step, 0.2 * tall, 12), dot, 0.8, 0.1)
            sheet.fill(ellipse_outline((x + step / 2, y), 0.13 * step, 0.13 * tall, 12), wash, 0.6, 0.1)


def waves(sheet: Sheet, low: float, high: float, count: int, line: Colour) -> None:
    """Overlapping scales of water."""
    step = sheet.girth / count
    rows = 3
    tall = (high - low) / rows
    for row in range(rows):
        for number in range(count):
            x = -sheet.girth / 2 + (number + 0.5 * (row % 2)) * step
            for size in (1.0, 0.66, 0.33):
                angle = np.linspace(0, np.pi, 9)
                arc = np.stack(
                    [x + 0.5 * step * size * np.cos(angle), low + row * tall + tall * size * np.sin(angle)], -1
                )
                sheet.stroke(arc, 0.018, line, 0.85, (0.7, 0.7))


def mountain(sheet: Sheet, at: Sequence[float], width: float, height: float, wash: Colour, line: Colour) -> None:
    """A peak in ink: a wash from its ridge, folds, and dots of shrubs."""
    x0, y0 = at
    ridge_x = np.linspace(-0.5, 0.5, 11)
    profile = np.clip(1 - np.abs(ridge_x * 2) ** 1.4 + 0.10 * sheet.rng.normal(size=11), 0, 1.1)
    ridge = np.stack([x0 + ridge_x * width, y0 + profile * height], axis=-1)
    curve = smooth_curve(ridge, 50)
    for depth, strength in ((0.75, 0.16), (0.5, 0.18), (0.25, 0.2)):
        lower = curve.copy()
        lower[:, 1] = np.maximum(
            curve[:, 1] - depth * height * (0.6 + 0.4 * np.abs(wave(sheet.rng, curve[:, 0], 0.8, 0.6))), y0
        )
        sheet.fill(np.concatenate([curve, lower[::-1]]), wash, strength, 0.05)
    sheet.stroke(ridge, 0.035, line, 0.9, (0.3, 0.3))
    for number in (2, 3, 4, 5, 6, 7, 8):
        top = ridge[number]
        for _ in range(2):
            fall = height * profile[number] * sheet.rng.uniform(0.25, 0.6)
            lean = (ridge_x[number] * 0.8 + 0.1 * sheet.rng.normal()) * fall
            sheet.stroke(
                [top, top + np.array([lean * 0.3, -fall * 0.5]), top + np.array([lean, -fall])], 0.018, line, 0.55
            )
    for _ in range(16):
        place = curve[sheet.rng.integers(5, 45)] + [0.03 * sheet.rng.normal(), -abs(0.06 * sheet.rng.normal())]
        sheet.fill(ellipse_outline(place, 0.02, 0.013, 8), line, 0.75, 0.0)


def bank(sheet: Sheet, control: ArrayLike, wash: Colour, line: Colour, pale: Colour) -> None:
    """Land in the water, from its outline: `pale` covers what lies below, rock and shadow are brushed on."""
    outline = smooth_curve(np.concatenate([np.asarray(control), np.asarray(control)[:1]]), 90)
    sheet.fill(outline, pale, 1.9, 0.0)
    sheet.fill(outline, wash, 0.16, 0.35)
    low, high = outline[:, 1].min(), outline[:, 1].max()
    lower = outline.copy()
    lower[:, 1] = np.minimum(outline[:, 1], low + (0.4 + 0.1 * wave(sheet.rng, outline[:, 0], 2.0, 1.0)) * (high - low))
    sheet.fill(lower, wash, 0.35, 0.2)
    for start in range(0, 84, 12):
        stop = start + int(sheet.rng.integers(8, 14))
        sheet.stroke(outline[start:stop:2], sheet.rng.uniform(0.014, 0.034), line, 0.85, (0.4, 0.2))
    middle = outline.mean(axis=0)
    for _ in range(26):
        edge = outline[sheet.rng.integers(90)]
        at = middle + (edge - middle) * sheet.rng.uniform(0.5, 0.93)
        fall = np.array([sheet.rng.normal() * 0.03, -sheet.rng.uniform(0.02, 0.06)])
        sheet.stroke([at, at + 0.6 * fall + [0.01, 0.0], at + fall], 0.014, line, 0.6)


def pine(sheet: Sheet, at: Sequence[float], height: float, wash: Colour, line: Colour, lean: float = 0.2,
         pale: Colour | None = None) -> None:  # fmt: skip
    """A pine: a bent trunk and flat pads of needles; `pale` covers what lies behind them."""
    x, y = at
    trunk = smooth_curve([[x, y], [x + 0.1 * lean, y + 0.35 * height], [x + 0.9 * lean * height, y + 0.6 * height],
                          [x + 0.5 * lean * height, y + height]], 30)  # fmt: skip
    trunk[1:-1] += 0.008 * height * sheet.rng.normal(size=(28, 2))
    sheet.stroke(trunk, 0.075 * height + 0.01, line, 0.9, (1.0, 0.4))
    for number in (11, 14, 17, 20, 22, 25, 27, 29):
        side = 1 if number % 2 else -1
        tip = trunk[number] + [side * height * sheet.rng.uniform(0.12, 0.34) * (1.25 - number / 40), 0.02]
        sheet.stroke([trunk[number], (trunk[number] + tip) / 2 + [0, -0.02], tip], 0.03 * height, line, 0.85)
        for _ in range(3):
            pad = tip + height * sheet.rng.normal(size=2) * [0.08, 0.022]
            wide, tall = height * sheet.rng.uniform(0.11, 0.17), height * sheet.rng.uniform(0.045, 0.065)
            dome = np.clip(np.sin(np.linspace(0, 2 * np.pi, 24)), -0.35, 1)
            outline = pad + np.stack([wide * np.cos(np.linspace(0, 2 * np.pi, 24)), tall * dome], -1)
            if pale is not None:
                sheet.fill(outline, pale, 1.5, 0.0)
            sheet.fill(outline, wash, 0.4, 0.2)
            for needle in np.linspace(0.15, np.pi - 0.15, 11) + 0.08 * sheet.rng.normal(size=11):
                reach = sheet.rng.uniform(0.85, 1.15) * np.array(
                    [0.95 * wide * np.cos(needle), 1.35 * tall * np.sin(needle)]
                )
                sheet.stroke([pad + 0.15 * reach, pad + reach], 0.011, line, 0.8)


def pavilion(
    sheet: Sheet, at: Sequence[float], size: float, wash: Colour, line: Colour, pale: Colour | None = None
) -> None:
    """An open pavilion on posts, with a curved roof."""
    x, y = at
    eaves = y + 0.62 * size
    half = [[-0.62, 0.68], [-0.4, 0.62], [-0.2, 0.88]]
    outline = [*half, [0.0, 1.0], *([-across, up] for across, up in half[::-1])]
    roof = smooth_curve(turned(outline, (x, y), size, 0.0), 40)
    if pale is not None:
        walls = np.array([[-0.42, 0.0], [-0.42, 0.66], [0.42, 0.66], [0.42, 0.0]]) * size + [x, y]
        for covered in (walls, roof):
            sheet.fill(covered, pale, 1.9, 0.0)
    sheet.fill(roof, wash, 0.6, 0.3)
    sheet.stroke(roof[::3], 0.03, line, 0.95, (0.8, 0.8))
    for rib in np.linspace(-0.5, 0.5, 9):
        sheet.stroke([[x + 0.35 * rib * size, y + 0.93 * size], [x + 0.8 * rib * size, y + 0.76 * size],
                      [x + 1.15 * rib * size, y + 0.66 * size]], 0.013, line, 0.7)  # fmt: skip
    sheet.stroke([[x - 0.5 * size, eaves], [x, eaves - 0.02], [x + 0.5 * size, eaves]], 0.03, line, 0.9, (0.8, 0.8))
    for post in (-0.38, -0.13, 0.13, 0.38):
        sheet.stroke(
            [[x + post * size, eaves], [x + post * size, y + 0.3 * size], [x + post * size, y]],
            0.024,
            line,
            0.9,
            (0.9, 0.9),
        )
    for rail in (0.0, 0.08, 0.18):
        sheet.stroke(
            [[x - 0.42 * size, y + rail * size], [x, y + rail * size], [x + 0.42 * size, y + rail * size]],
            0.018,
            line,
            0.85,
        )


def person(sheet: Sheet, at: Sequence[float], height: float, wash: Colour, line: Colour, pale: Colour,
           staff: bool = True) -> None:  # fmt: skip
    """A robed figure, seen from the side, with hat and staff; `pale` covers what lies behind."""
    x, y = at
    robe = smooth_curve([[x - 0.22, y], [x - 0.2, y + 0.3], [x - 0.12, y + 0.68], [x, y + 0.76], [x + 0.12, y + 0.68],
                         [x + 0.26, y + 0.36], [x + 0.2, y], [x - 0.22, y]], 40)  # fmt: skip
    robe = (robe - [x, y]) * height + [x, y]
    head = [x + 0.02 * height, y + 0.86 * height]
    for covered in (robe, ellipse_outline(head, 0.085 * height, 0.1 * height, 16)):
        sheet.fill(covered, pale, 1.9, 0.0)
    sheet.fill(robe, wash, 0.45, 0.4)
    sheet.stroke(robe[::3], 0.024, line, 0.9, (0.8, 0.7))
    sash = [[x - 0.17 * height, y + 0.42 * height], [x + 0.02 * height, y + 0.38 * height],
            [x + 0.22 * height, y + 0.43 * height]]  # fmt: skip
    sheet.stroke(sash, 0.03, line, 0.9, (0.8, 0.8))
    for fold in (-0.08, 0.02, 0.1):
        sheet.stroke([[x + fold * 0.4 * height, y + 0.6 * height], [x + fold * height, y + 0.3 * height],
                      [x + 1.2 * fold * height, y + 0.05 * height]],
                     0.014, line, 0.7)  # fmt: skip
    sheet.stroke(ellipse_outline(head, 0.085 * height, 0.1 * height, 16), 0.018, line, 0.9, (0.9, 0.9))
    sheet.fill(ellipse_outline([head[0], head[1] + 0.08 * height], 0.1 * height, 0.05 * height, 14), line, 0.85, 0.0)
    sheet.stroke(
        [
            [x + 0.08 * height, y + 0.6 * height],
            [x + 0.22 * height, y + 0.5 * height],
            [x + 0.33 * height, y + 0.55 * height],
        ],
        0.03,
        line,
        0.85,
    )
    if staff:
        sheet.stroke(
            [
                [x + 0.36 * height, y - 0.02],
                [x + 0.34 * height, y + 0.5 * height],
                [x + 0.33 * height, y + 1.02 * height],
            ],
            0.018,
            line,
            0.9,
        )


def boat(sheet: Sheet, at: Sequence[float], size: float, wash: Colour, line: Colour, pale: Colour) -> None:
    """A fisherman in a small boat, with lines of water."""
    x, y = at
    outline = [[-0.6, 0.14], [-0.3, -0.04], [0.3, -0.04], [0.66, 0.2], [0.3, 0.06], [-0.3, 0.06]]
    hull = smooth_curve(turned(outline, (x, y), size, 0.0), 40)
    sheet.fill(hull, wash, 0.7, 0.3)
    sheet.stroke(hull[::3], 0.024, line, 0.9, (0.8, 0.8))
    person(sheet, [x - 0.1 * size, y + 0.05 * size], 0.5 * size, wash, line, pale, staff=False)
    sheet.stroke(
        [[x, y + 0.3 * size], [x + 0.45 * size, y + 0.62 * size], [x + 0.85 * size, y + 0.66 * size]], 0.014, line, 0.9
    )
    for number in range(7):
        left = x + (sheet.rng.uniform(-0.9, 0.5)) * size
        level = y - (0.08 + 0.05 * number) * size
        sheet.stroke([[left, level], [left + 0.25 * size, level + 0.02], [left + 0.5 * size, level]], 0.012, line, 0.6)


def birds(sheet: Sheet, at: Sequence[float], count: int, size: float, line: Colour) -> None:
    """A skein of geese."""
    for number in range(count):
        row = np.array([(number + 1) // 2 * (-1) ** number * 2.3, -0.9 * ((number + 1) // 2)])
        place = np.asarray(at) + size * (row + 0.25 * sheet.rng.normal(size=2))
        for side in (-1, 1):
            sheet.stroke(
                [place, place + size * np.array([side * 0.5, 0.35]), place + size * np.array([side, 0.15])],
                0.026,
                line,
                0.9,
                (1.0, 0.2),
            )


def butterfly(
    sheet: Sheet, at: ArrayLike, size: float, angle: float, upper: Colour, lower: Colour, line: Colour
) -> None:
    """Two pairs of wings, open."""
    for side in (-1, 1):
        wing = smooth_curve(
            [[0.0, 0.0], [0.05, side * 0.7], [0.65, side * 1.35], [1.25, side * 1.0], [1.0, side * 0.3], [0.0, 0.0]], 30
        )
        hind = smooth_curve(
            [
                [0.0, 0.0],
                [-0.05, side * 0.75],
                [-0.6, side * 1.15],
                [-1.0, side * 0.5],
                [-0.5, side * 0.0],
                [0.0, 0.0],
            ],
            30,
        )
        for shape, colour in ((wing, upper), (hind, lower)):
            outline = turned(shape, at, size, angle)
            sheet.fill(outline, colour, 0.85, 0.2)
            sheet.stroke(outline[::3], 0.016, line, 0.9, (0.8, 0.8))
        for spot in ((0.62, side * 0.62), (-0.5, side * 0.42)):
            sheet.fill(
                ellipse_outline(turned([spot], at, size, angle)[0], 0.08 * size, 0.08 * size, 10), line, 0.8, 0.0
            )
        sheet.stroke(turned([[0.2, 0.0], [0.5, side * 0.08], [0.75, side * 0.2]], at, size, angle), 0.009, line, 0.9)
    sheet.stroke(turned([[-0.35, 0.0], [0.0, 0.0], [0.25, 0.0]], at, size, angle), 0.035, line, 0.95)


def rock(sheet: Sheet, at: Sequence[float], width: float, height: float, wash: Colour, line: Colour) -> None:
    """A scholar's rock, pierced and leaning."""
    x, y = at
    control = [[x - 0.5 * width, y], [x - 0.45 * width, y + 0.4 * height], [x - 0.1 * width, y + 0.45 * height],
               [x - 0.25 * width, y + 0.8 * height],
               [x + 0.05 * width, y + height], [x + 0.25 * width, y + 0.7 * height],
               [x + 0.2 * width, y + 0.4 * height],
               [x + 0.5 * width, y + 0.3 * height], [x + 0.48 * width, y]]  # fmt: skip
    outline = smooth_curve(control, 50)
    sheet.fill(outline, wash, 0.45, 0.45)
    shaded = outline.copy()
    shaded[:, 0] = np.maximum(outline[:, 0], x + 0.12 * width * np.sin(9 * outline[:, 1] / height))
    sheet.fill(shaded, line, 0.18, 0.15)
    for start in range(0, 48, 6):
        weight = sheet.rng.uniform(0.018, 0.042)
        sheet.stroke(outline[start : start + 9 : 2], weight, line, 0.9, (0.5, 0.3))
    for hole in ([0.0, 0.3], [0.03, 0.62], [-0.22, 0.2], [0.22, 0.16]):
        at = [x + hole[0] * width, y + hole[1] * height]
        sheet.fill(ellipse_outline(at, 0.06 * width, 0.075 * height, 16), line, 0.55, 0.3)
        for _ in range(3):
            fold = np.array([[0.0, 0.0], [0.07, 0.05], [0.09, 0.14]]) + sheet.rng.normal(size=2) * [0.03, 0.02]
            sheet.stroke(at + fold * [width, height], 0.016, line, 0.7)
