"""The simulation that decides a new study's measure: its observers do what is said of them, its scores are ours."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from beholder.analysis.alignment import measures
from beholder.analysis.alignment.baselines import fit_centre
from beholder.analysis.gaze.maps import Grid, fixation_map
from beholder.shared.study import NEW_PRIMARY

SIDE, PEOPLE, PICTURES, HEADS = 32, 12, 10, 6
PX_PER_DEG = SIDE / 20


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """tests/benchmarks/bench_primary.py, which is a program."""
    path = Path(__file__).parents[2] / "benchmarks" / "bench_primary.py"
    spec = importlib.util.spec_from_file_location("bench_primary", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> object:
    """Ten pictures whose six heads are blobs, sharp and flat, in each of three layers."""
    rng = np.random.default_rng(3)
    shape = (PICTURES, 3, HEADS)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    at_y, at_x = rng.uniform(6, 26, (2, *shape, 1, 1))
    width = np.geomspace(2, 8, HEADS)[:, None, None]
    heads = np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * width**2)) + 1e-4
    heads /= heads.sum(axis=(-2, -1), keepdims=True)
    flat = np.full((PICTURES, SIDE, SIDE), SIDE**-2.0)
    made = bench.Pictures(heads, flat, flat, -(heads * np.log2(heads)).sum(axis=(-2, -1)).mean(axis=0))
    monkeypatch.setattr(bench, "PICTURES", PICTURES)
    monkeypatch.setattr(bench, "_pictures", lambda longer_side: made)
    bench._contributions.cache_clear()
    return made


@pytest.mark.parametrize("share", [0.25, 0.75, 1.0])
def test_the_share_that_follows_is_the_one_that_is_said(bench: ModuleType, share: float) -> None:
    """The map fills the left half and the rest the right: fixations near the last one do not move the balance."""
    rng = np.random.default_rng(5)
    left = np.zeros((200, SIDE, SIDE))
    left[:, :, : SIDE // 2] = 2 / SIDE**2
    right = left[:, :, ::-1]
    shares = bench.shares_of(bench.Case(share, "anywhere"), 30, 200, rng, each=False)
    looks = bench.look(left, right, shares, PX_PER_DEG, rng)
    found = (looks.x < SIDE / 2)[looks.there].mean()
    assert found == pytest.approx(share, abs=0.03)
    if share < 1:  # participants and pictures differ, and some pictures are not followed
        assert shares.mean(axis=1).std() > 0.05
        assert (shares == 0).all(axis=0).mean() == pytest.approx(bench.IDLE, abs=0.09)


def test_fixations_come_in_clusters_and_are_measured_with_the_error_that_is_said(bench: ModuleType) -> None:
    rng = np.random.default_rng(6)
    point = np.zeros((40, SIDE, SIDE))
    point[:, SIDE // 2, SIDE // 2] = 1
    looks = bench.look(point, point, np.ones((40, 40)), PX_PER_DEG, rng)
    away = np.hypot(looks.x - SIDE / 2 - 0.5, looks.y - SIDE / 2 - 0.5)[looks.there] / PX_PER_DEG
    # Within the pixel that all look at, they look anywhere.
    assert np.sqrt((away**2).mean() - 2 / 12 / PX_PER_DEG**2) == pytest.approx(0.5, abs=0.03)
    even = np.full((40, SIDE, SIDE), SIDE**-2.0)
    looks = bench.look(even, even, np.ones((40, 40)), PX_PER_DEG, rng)
    step = np.hypot(np.diff(looks.x), np.diff(looks.y))[looks.there[..., 1:] & looks.there[..., :-1]]
    assert np.median(step) < 0.6 * 0.512 * SIDE  # two independent points of a square are half a side apart


def test_scores_are_those_of_the_readable_measures(bench: ModuleType, small: object) -> None:
    rng, which = np.random.default_rng(7), np.array([4, 1, 4])
    some, grid = bench._pictures(SIDE), Grid(SIDE, SIDE)
    shares = np.full((5, 3), 0.5)
    looks = bench.look(some.heads[which, 1, 2], some.objects[which], shares, PX_PER_DEG, rng)
    found = bench.scores_of(looks, some, which, 1, np.random.default_rng(8), of_maps=True)
    for p, s in ((0, 0), (4, 1), (2, 2)):
        on = looks.weight[p, s] > 0
        x, y, weight = (of[p, s][on] for of in (looks.x, looks.y, looks.weight))
        others = looks.there & (which != which[s])[:, None]
        places = np.stack([looks.x[others], looks.y[others]], axis=1)
        rows, cols = np.floor(y).astype(int), np.floor(x).astype(int)
        maps = some.heads[which[s], 1]
        mixed = 0.99 * maps + 0.01 / SIDE**2
        centre = fit_centre(places / SIDE).density(grid)
        human = fixation_map(x, y, weight, grid, some.px(1.0))
        other_cols, other_rows = np.floor(places).astype(int).T
        expected = {
            "nss": measures.nss(maps, rows, cols),
            "auc": measures.auc(maps, rows, cols),
            "sauc": measures.shuffled_auc(maps, rows, cols, other_rows, other_cols),
            "kl": measures.kl_divergence(human, maps),
            "cc": measures.correlation(human, maps),
            "ig": measures.information_gain(mixed, rows, cols, centre),
        }
        assert set(expected) == set(found)
        for measure, values in expected.items():
            assert found[measure][p, s] == pytest.approx(values, rel=2e-3, abs=2e-3), measure


def test_a_head_that_all_follow_is_named_and_permuted_labels_name_none(bench: ModuleType, small: object) -> None:
    case = bench.Case(1.0, "anywhere", participants=PEOPLE)
    some = bench._pictures(SIDE)
    for number in (0, 9, 17):
        found = bench.study(case, number, some, None, np.random.default_rng(number))[NEW_PRIMARY]
        assert found["first"] == found["set"] == 1 and found["wrong alone"] == 0 and found["flatter"] == 0
        assert found["alone by chance"] == 0


def answers(bench: ModuleType, **rates: dict[str, float]) -> dict[str, list[dict[str, dict[str, float]]]]:
    """As of a hundred studies a case, in which each measure has every answer as often as is given."""
    made = []
    for i in range(100):
        fine = {"level": 0.05, "family": 0.03, "alone by chance": 0.0, "mean": 0.95, "difference": 0.95}
        fine |= {"first": 0.5, "wrong alone": 0.1}
        made.append({m: {w: float(i < 100 * r) for w, r in (fine | rates[m]).items()} for m in ("ig", "nss")})
    return {case.name: made for case in bench.CASES}


@pytest.mark.parametrize(
    ("ig", "nss", "winner"),
    [
        ({"first": 0.7}, {"first": 0.5}, "ig"),
        ({"first": 0.5}, {"first": 0.7}, "nss"),
        ({"first": 0.9, "level": 0.2}, {}, "nss"),
        ({}, {"first": 0.9, "mean": 0.9}, "ig"),
        ({"first": 0.9, "level": 0.2}, {"level": 0.2}, "ig"),
        ({"wrong alone": 0.05}, {"wrong alone": 0.2}, "ig"),
        ({}, {}, "nss"),
    ],
)
def test_the_rule_decides_as_it_is_written(
    bench: ModuleType, ig: dict[str, float], nss: dict[str, float], winner: str
) -> None:
    assert bench.decide(answers(bench, ig=ig, nss=nss), bench.FULL)[0] == winner


@pytest.mark.slow
def test_half_hearted_observers_are_named_by_the_new_measure_as_often_as_by_cc(bench: ModuleType) -> None:
    """Each of eighteen heads once, half of the fixations anywhere; the benchmark has all cases and more studies."""
    case = next(c for c in bench.CASES if (c.share, c.rest, c.participants) == (0.5, "anywhere", 30))
    some = bench.pictures(112)
    found = [bench.study(case, number, some, None, np.random.default_rng([11, number])) for number in range(18)]
    named = {measure: int(sum(of[measure]["first"] for of in found)) for measure in (NEW_PRIMARY, "cc", "kl")}
    print(named)
    assert named[NEW_PRIMARY] >= named["cc"] > named["kl"]
