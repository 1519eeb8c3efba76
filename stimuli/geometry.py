"""Meshes for the objects: surfaces round an axis, and strands laid on them or through the air.

Pure numpy. It knows nothing of materials, light or the renderer, and nothing of any one object.
Lengths are in decimetres. x runs to the right, y away from the camera, z up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from beholder.shared.arrays import FloatArray

IntArray = NDArray[np.int64]
Profile = FloatArray
"""A strand's cross-section: (corners, 2), across and outward, within -1 to 1."""


@dataclass(frozen=True)
class Mesh:
    """Quadrilaterals with a colour a vertex and a texture coordinate a corner."""

    vertices: FloatArray
    """(n, 3) in dm."""
    faces: IntArray
    """(m, 4) indices of vertices."""
    uv: FloatArray
    """(m, 4, 2); for a surface 0 to 1 round and up, for a strand dm along and 0 to 1 round it."""
    colours: FloatArray
    """(n, 3) linear RGB."""


def joined(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh of all."""
    parts = list(meshes)
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in parts)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in parts]),
        np.concatenate([mesh.faces + start for mesh, start in zip(parts, starts, strict=False)]),
        np.concatenate([mesh.uv for mesh in parts]),
        np.concatenate([mesh.colours for mesh in parts]),
    )


def grid(points: FloatArray, u: FloatArray, v: FloatArray, colour: ArrayLike, *, closed: bool = False) -> Mesh:
    """A mesh through a grid of points (rows, columns, 3); its columns always close into a ring.

    u: (columns + 1,) and v: (rows,), or (rows + 1,) where the rows `closed` into a ring too: texture
    coordinates. colour: (3,), (rows, 3) or (rows, columns, 3) linear RGB.
    """
    rows, columns, _ = points.shape
    row = np.arange(rows if closed else rows - 1)[:, None]
    column = np.arange(columns)[None, :]
    below, above = row * columns, (row + 1) % rows * columns
    right = (column + 1) % columns
    faces = np.stack([below + column, below + right, above + right, above + column], axis=-1)
    corner_u = np.stack([u[column], u[column + 1], u[column + 1], u[column]], axis=-1)
    corner_v = np.stack([v[row], v[row], v[row + 1], v[row + 1]], axis=-1)
    uv = np.stack(np.broadcast_arrays(corner_u, corner_v), axis=-1)
    paint = np.asarray(colour, dtype=float)
    if paint.ndim == 2:
        paint = paint[:, None, :]
    return Mesh(
        points.reshape(-1, 3),
        faces.reshape(-1, 4).astype(np.int64),
        uv.reshape(-1, 4, 2),
        np.broadcast_to(paint, points.shape).reshape(-1, 3),
    )


UP = np.array([0.0, 0.0, 1.0])


def unit(vectors: ArrayLike) -> FloatArray:
    """Vectors (..., 3) of length one; zero stays zero."""
    given = np.asarray(vectors, dtype=np.float64)
    return np.asarray(given / np.maximum(np.linalg.norm(given, axis=-1, keepdims=True), 1e-12))


def wave(rng: np.random.Generator, at: FloatArray, cycles: float, amplitude: float) -> FloatArray:
    """A smooth random line over `at` (n,): five sines of up to `cycles` per unit, SD `amplitude`."""
    frequency = rng.uniform(0.2, 1.0, 5) * cycles * 2 * np.pi
    phase = rng.uniform(0, 2 * np.pi, 5)
    return np.asarray(amplitude * np.sqrt(2 / 5) * np.sin(at[..., None] * frequency + phase).sum(axis=-1))


def smooth_curve(control: ArrayLike, samples: int) -> FloatArray:
    """Points (samples, d), evenly spaced, on the clamped cubic B-spline with control points (n, d).

    The curve begins and ends in the first and last control point and is only drawn towards the others,
    so it never overshoots; a control point that stands three times is a corner.
    """
    points = np.asarray(control, dtype=float)
    degree = min(3, len(points) - 1)
    inner = np.linspace(0, 1, len(points) - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    dense = BSpline(knots, points, degree)(np.linspace(0, 1, 40 * len(points)))
    return evenly(dense, samples)


def evenly(path: FloatArray, samples: int) -> FloatArray:
    """`samples` points at equal distances along a polyline (n, d)."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    wanted = np.linspace(0, length[-1], samples)
    return np.stack([np.interp(wanted, length, axis) for axis in path.T], axis=-1)


def ellipse(corners: int = 10, squareness: float = 2.0) -> Profile:
    """A closed cross-section: 2 is an ellipse, more is a flat strip with rounded edges."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    across, out = np.cos(angle), np.sin(angle)
    radius = (np.abs(across) ** squareness + np.abs(out) ** squareness) ** (-1 / squareness)
    return np.stack([across * radius, out * radius], axis=-1)


ROUND = ellipse(10)
STRIP = ellipse(12, 3.0)


def sweep(
    path: FloatArray,
    normal: FloatArray,
    width: ArrayLike,
    thickness: ArrayLike,
    colour: ArrayLike,
    profile: Profile = ROUND,
    *,
    closed: bool = False,
    taper: bool = True,
) -> Mesh:
    """A strand: `profile` carried along `path` (n, 3), its outward side along `normal` (n, 3).

    width and thickness: full, in dm, a number or (n,). colour: (3,) or (n, 3). Ends are drawn together
    (`taper`), so that no open tube is seen; a `closed` strand has none.
    """
    along = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    tangent = unit(along)
    out = unit(normal - (normal * tangent).sum(-1, keepdims=True) * tangent)
    side = np.cross(tangent, out)
    count = len(path)
    scale = np.ones(count)
    if taper and not closed:
        scale[[0, -1]] = 0.05
    half_width = np.broadcast_to(np.asarray(width, dtype=float) / 2, count) * scale
    half_thickness = np.broadcast_to(np.asarray(thickness, dtype=float) / 2, count) * scale
    points = (
        path[:, None, :]
        + side[:, None, :] * (half_width[:, None] * profile[:, 0])[..., None]
        + out[:, None, :] * (half_thickness[:, None] * profile[:, 1])[..., None]
    )
    steps = np.linalg.norm(np.diff(path, axis=0, append=path[:1]), axis=1)
    length = np.concatenate([[0], np.cumsum(steps)])
    round_it = np.linspace(0, 1, len(profile) + 1)
    mesh = grid(points, round_it, length if closed else length[:-1], colour, closed=closed)
    return Mesh(mesh.vertices, mesh.faces, mesh.uv[..., ::-1], mesh.colours)


def carried_normals(path: FloatArray, start: ArrayLike = (0.0, 0.0, 1.0)) -> FloatArray:
    """Normals (n, 3) carried along a path without twist (parallel transport)."""
    tangent = unit(np.gradient(path, axis=0))
    normal = np.empty_like(path)
    current = np.asarray(start, dtype=float)
    for i, direction in enumerate(tangent):
        current = current - (current @ direction) * direction
        if np.linalg.norm(current) < 1e-6:
            current = np.cross(direction, [0.31, 0.73, 0.61])
        current = current / np.linalg.norm(current)
        normal[i] = current
    return normal


def tube(path: FloatArray, diameter: ArrayLike, colour: ArrayLike, *, closed: bool = False) -> Mesh:
    """A round strand along any path."""
    return sweep(path, carried_normals(path), diameter, diameter, colour, closed=closed)


def helix(path: FloatArray, radius: ArrayLike, turns: float, phase: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """A path (n, 3) wound round another, and its outward normals (n, 3)."""
    normal = carried_normals(path, (0.1, 0.9, 0.3))
    side = np.cross(unit(np.gradient(path, axis=0)), normal)
    angle = (np.linspace(0, 2 * np.pi * turns, len(path)) + phase)[:, None]
    out = np.cos(angle) * normal + np.sin(angle) * side
    return path + out * np.broadcast_to(np.asarray(radius, dtype=float), len(path))[:, None], out


@dataclass(frozen=True)
class Form:
    """A closed surface round an axis: where u runs 0 to 1 round it and v 0 to 1 along its outline.

    u = 0 is at the back and 0.5 in front; v follows the outline's length, u the section's.
    """

    outline: tuple[tuple[float, float], ...]
    """Control points of a B-spline, from the base up: (share of the half width, height in dm)."""
    width: float
    """dm, side to side."""
    depth: float
    """dm, front to back."""
    squareness: float = 2.0
    """Exponent of the superellipse of the cross-section: 2 is round, 6 nearly a box."""
    wobble: float = 0.006
    """SD of the departure from the ideal form, as a share of the radius."""
    seed: int = 0
    lying: bool = False
    """The axis points to the camera instead of up, as in a round bag that stands on its edge."""

    @cached_property
    def _outline(self) -> FloatArray:
        return smooth_curve(self.outline, 400)

    @cached_property
    def _angle(self) -> tuple[FloatArray, FloatArray]:
        angle = np.linspace(0, 2 * np.pi, 2001)
        rim = self._section(angle)
        steps = np.linalg.norm(np.diff(rim, axis=0), axis=1)
        length = np.concatenate([[0], np.cumsum(steps)])
        return length / length[-1], angle

    def _section(self, angle: FloatArray) -> FloatArray:
        """The cross-section (..., 2) at its widest; angle 0 is the back."""
        x, y = np.sin(angle) / (self.width / 2), np.cos(angle) / (self.depth / 2)
        n = self.squareness
        radius = (np.abs(x) ** n + np.abs(y) ** n) ** (-1 / n)
        return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1)

    def point(self, u: ArrayLike, v: ArrayLike, lift: ArrayLike = 0.0) -> FloatArray:
        """Points (..., 3) on the surface, or `lift` dm outside it."""
        u_, v_, lift_ = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (u, v, lift)))
        place = self._raw(u_, v_)
        if np.any(lift_):
            place = place + self.normal(u_, v_) * lift_[..., None]
        return place

    def _raw(self, u: FloatArray, v: FloatArray) -> FloatArray:
        angle = np.interp(np.mod(u, 1), *self._angle)
        stations = np.linspace(0, 1, len(self._outline))
        inside = np.clip(v, 0, 1)
        share = np.interp(inside, stations, self._outline[:, 0])
        height = np.interp(inside, stations, self._outline[:, 1])
        # Beyond its ends the surface goes on straight, so that a normal can be had at the very rim.
        ends = (self._outline[1] - self._outline[0], self._outline[-1] - self._outline[-2])
        beyond = (v - inside)[..., None] * (len(stations) - 1) * np.where((v > 0.5)[..., None], ends[1], ends[0])
        share, height = share + beyond[..., 0], height + beyond[..., 1]
        rng = np.random.default_rng(self.seed)
        bump = np.zeros_like(share)
        for order in (2, 3, 5):
            phase, lean = rng.uniform(0, 2 * np.pi), rng.normal()
            bump = bump + rng.normal() * np.cos(order * angle + phase + lean * v) / np.sqrt(order / 2)
        flat = self._section(angle) * (share * (1 + self.wobble * bump))[..., None]
        # The tilt of the rim goes to nothing at the axis, where all angles meet in one point.
        tall = height * (1 + 0.5 * self.wobble * np.clip(share, 0, 1) * np.cos(angle + rng.uniform(0, 6)))
        if self.lying:
            return np.stack([flat[..., 0], -tall, flat[..., 1]], axis=-1)
        return np.stack([flat[..., 0], flat[..., 1], tall], axis=-1)

    def normal(self, u: ArrayLike, v: ArrayLike) -> FloatArray:
        """Outward unit normals (..., 3)."""
        u_, v_ = np.broadcast_arrays(np.asarray(u, dtype=float), np.asarray(v, dtype=float))
        step = 1e-3
        round_it = self._raw(u_ + step, v_) - self._raw(u_ - step, v_)
        up = self._raw(u_, v_ + step) - self._raw(u_, v_ - step)
        return unit(np.cross(up, round_it))

    def surface(self, v: FloatArray, columns: int, colour: ArrayLike, lift: ArrayLike = 0.0) -> Mesh:
        """The surface at the stations v (rows,); lift: a number or (rows, columns)."""
        u = np.arange(columns) / columns
        raise_by = np.broadcast_to(np.asarray(lift, dtype=float), (len(v), columns))
        points = self.point(u[None, :], v[:, None], raise_by)
        # Seen from outside, texture runs to the right and u to the left.
        return grid(points, 1 - np.arange(columns + 1) / columns, v, colour)

    def girth(self, v: float) -> float:
        """Length round the surface at v, in dm."""
        ring = self.point(np.linspace(0, 1, 200), v)
        return float(np.linalg.norm(np.diff(ring, axis=0), axis=1).sum())

    def length(self) -> float:
        """Length of the outline in front, in dm."""
        line = self.point(0.5, np.linspace(0, 1, 200))
        return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def dome(centre: ArrayLike, axis: ArrayLike, diameter: float, height: float, colour: ArrayLike) -> Mesh:
    """A rivet or button: half an ellipsoid on `centre`, pointing along `axis`."""
    rise = np.linspace(0, np.pi / 2, 7)
    out = unit(np.asarray(axis, dtype=float))
    path = np.asarray(centre, dtype=float) + np.outer(np.sin(rise) * height, out)
    width = diameter * np.maximum(np.cos(rise), 0.02)
    start = np.cross(out, [0.31, 0.73, 0.61])
    return sweep(path, np.broadcast_to(unit(start), path.shape), width, width, colour, taper=False)


def arch(start: ArrayLike, end: ArrayLike, rise: float, samples: int = 80, lean: float = 0.0) -> FloatArray:
    """A hoop (samples, 3) between two points, `rise` dm above them, leaning `lean` dm to the back at its top."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    up = np.array([0.0, lean, rise])
    control = [a, a + 0.55 * up, a + 1.12 * up + 0.1 * (b - a), b + 1.12 * up + 0.1 * (a - b), b + 0.55 * up, b]
    return smooth_curve(control, samples)
