"""Forms and strands have the sizes and directions that their descriptions give them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.stimuli import bags
from beholder.stimuli.geometry import UP, Form, Mesh, carried_normals, smooth_curve, tube, unit
from beholder.stimuli.painting import Sheet, bough, clouds
from beholder.stimuli.weaving import Fibre, Weave, woven

CYLINDER = Form(((1.0, 0.0), (1.0, 1.0), (1.0, 2.0)), 2.0, 2.0, wobble=0.0)
NATURAL = Fibre(((0.5, 0.4, 0.2),))


def area(mesh: Mesh) -> float:
    corners = mesh.vertices[mesh.faces]
    return float(
        0.5 * np.linalg.norm(np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]), axis=1).sum()
    )


def test_a_cylinder_has_its_girth_length_and_area():
    assert CYLINDER.girth(0.5) == pytest.approx(2 * np.pi, rel=1e-3)
    assert CYLINDER.length() == pytest.approx(2.0)
    mesh = CYLINDER.surface(np.linspace(0, 1, 20), 360, (1, 1, 1))
    assert area(mesh) == pytest.approx(2 * np.pi * 2.0, rel=1e-3)


@given(st.floats(0, 1), st.floats(0.05, 0.95), st.booleans())
def test_normals_of_a_cylinder_point_away_from_its_axis(u, v, lying):
    form = Form(CYLINDER.outline, 2.0, 2.0, wobble=0.0, lying=lying)
    place = form.point(u, v)
    away = place - (place * [0, 1, 0] if lying else place * [0, 0, 1])
    assert form.normal(u, v) == pytest.approx(unit(away), abs=1e-3)


def test_u_one_half_is_in_front_and_texture_runs_to_the_right_there():
    assert CYLINDER.point(0.5, 0.5) == pytest.approx([0, -1, 1], abs=1e-6)
    mesh = CYLINDER.surface(np.array([0.0, 1.0]), 8, (1, 1, 1))
    x, texture_u = mesh.vertices[mesh.faces][..., 0].ravel(), mesh.uv[..., 0].ravel()
    front = (mesh.vertices[mesh.faces][..., 1].ravel() < 0.1) & (np.abs(texture_u - 0.5) < 0.3)
    assert np.corrcoef(x[front], texture_u[front])[0, 1] > 0.9


@given(st.integers(2, 9), st.integers(5, 60), st.integers(0, 2**32 - 1))
def test_a_smooth_curve_keeps_its_ends_and_stays_within_its_control_points(n, samples, seed):
    control = np.random.default_rng(seed).normal(size=(n, 3))
    curve = smooth_curve(control, samples)
    assert curve[[0, -1]] == pytest.approx(control[[0, -1]])
    assert (curve >= control.min(axis=0) - 1e-9).all()
    assert (curve <= control.max(axis=0) + 1e-9).all()


def test_a_tube_has_its_diameter_everywhere_but_at_its_drawn_ends():
    path = smooth_curve([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], 60)
    rings = tube(path, 0.2, (1, 1, 1)).vertices.reshape(60, -1, 3)[1:-1]
    assert np.linalg.norm(rings - path[1:-1, None], axis=-1) == pytest.approx(0.1)


def test_carried_normals_stay_at_right_angles_to_the_path():
    path = smooth_curve(np.random.default_rng(1).normal(size=(7, 3)), 200)
    normals = carried_normals(path, UP)
    assert (normals * unit(np.gradient(path, axis=0))).sum(axis=1) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["plain", "twill", "diagonal", "hexagonal", "twined", "coiled"])
def test_every_weave_lies_on_its_form_within_a_few_strands_thickness(kind):
    weave = Weave(kind, 24, 8, thickness=0.02)
    mesh = woven(CYLINDER, weave, NATURAL, np.random.default_rng(0))
    radius = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1])
    room = 0.2 if kind in ("coiled", "twined") else 0.06
    assert np.abs(radius - 1).max() < room
    assert np.isfinite(mesh.vertices).all()
    assert mesh.faces.max() < len(mesh.vertices)


@pytest.mark.parametrize("kind", ["plain", "twill"])
def test_a_weaver_passes_outside_the_stake_that_lies_inside_at_each_crossing(kind):
    """At a crossing the two strands lie on opposite sides of the form, never in one another."""
    n, m, cycle = 12, 6, 4 if kind == "twill" else 2
    steady = Fibre(NATURAL.colours, unevenness=0.0)
    mesh = woven(CYLINDER, Weave(kind, n, m, thickness=0.02), steady, np.random.default_rng(0))
    corners = 12
    stakes = mesh.vertices[: n * (5 * m + 1) * corners].reshape(n, 5 * m + 1, corners, 3).mean(axis=2)
    weavers = mesh.vertices[n * (5 * m + 1) * corners :].reshape(m, 6 * n, corners, 3).mean(axis=2)
    outside_stake = np.hypot(*stakes[..., :2].transpose(2, 0, 1)) > 1
    outside_weaver = np.hypot(*weavers[..., :2].transpose(2, 0, 1)) > 1
    for row in range(m):
        for stake in range(n):
            at_stake = outside_stake[stake, [5 * row + 2, 5 * row + 3]]
            assert (at_stake != outside_weaver[row, 6 * stake]).all(), (row, stake, cycle)


def test_a_lid_meets_in_one_point_at_its_axis_however_uneven_it_is():
    lid = Form(((1.0, 0.0), (0.9, 0.6), (0.3, 0.8), (0.0, 0.8)), 2.0, 2.0, wobble=0.02, seed=3)
    top = lid.point(np.linspace(0, 1, 50), 1.0)
    assert np.ptp(top, axis=0) == pytest.approx(0, abs=1e-9)
    assert np.ptp(lid.point(np.linspace(0, 1, 50), 0.2)[:, 2]) > 0.004


def test_a_flap_lies_outside_the_wall_and_over_the_rim():
    for bag in (bags.BAGS[3], bags.BAGS[4]):
        sheet, out = bags._flap_sheet(bag.form, np.random.default_rng(0), 0.9, 0.8, 0.1)
        assert np.linalg.norm(out, axis=-1) == pytest.approx(1)
        rim = bag.form.point(0.5, 1.0)[2]
        over, front = sheet[sheet[..., 2] > rim], sheet[-20:]
        assert len(over) > 0.2 * sheet[..., 0].size
        # In front, each point lies further out than the wall at its own height and side.
        wall = bag.form.point(np.linspace(0.2, 0.8, 400)[:, None], np.linspace(0.4, 1, 400)[None, :]).reshape(-1, 3)
        at = np.array([np.argmin(np.hypot(*(wall[:, [0, 2]] - point[[0, 2]]).T)) for point in front.reshape(-1, 3)])
        assert (front.reshape(-1, 3)[:, 1] < wall[at, 1] - 0.04).all()


@pytest.mark.parametrize("sizes", [(2, 2), (40, 40), (0, 80), (80, 7)])
def test_clouds_have_unit_spread_and_close_round_the_pot(sizes):
    """A seam would be a step from the last column to the first far above those between neighbours."""
    cloud = clouds(np.random.default_rng(1), (1 if sizes[0] == 0 else 300, 1201), *sizes)
    assert (cloud.mean(), cloud.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    steps = np.abs(np.diff(cloud, axis=1)).mean(axis=0)
    assert np.abs(cloud[:, 0] - cloud[:, -1]).mean() < 1.5 * steps.max()


def test_a_bough_stays_near_its_root_and_its_spurs_lie_on_it():
    sheet = Sheet(8.0, 4.0, (0.0, 0.0, 0.0), np.random.default_rng(2), 512)
    spurs = bough(sheet, (0.0, 0.5), np.pi / 2, 2.0, 0.1, (1.0, 1.0, 1.0), (0.2, 0.2, 0.2))
    painted = sheet.rgb.max(axis=-1) > 0.5
    for at, way in spurs:
        column, row = ((at + np.array([sheet.girth / 2, 0])) * sheet.scale).astype(int)
        row = sheet.shape[0] - 1 - row
        assert painted[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4].any()
        assert np.isfinite(way)
        assert np.hypot(*(at - [0.0, 0.5])) < 4.0


def test_the_same_bag_is_built_of_the_same_points():
    first, second = bags.build(bags.BAGS[3]), bags.build(bags.BAGS[3])
    assert all((a.mesh.vertices == b.mesh.vertices).all() for a, b in zip(first, second, strict=True))
    assert all((a.mesh.colours == b.mesh.colours).all() for a, b in zip(first, second, strict=True))
