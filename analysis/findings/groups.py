"""Comparison of groups of participants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.readings import GroupContrast, Groups
from beholder.analysis.findings.score_arrays import EqualCounts, with_equal_counts
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import complete, groups_interval
from beholder.analysis.statistics.multiplicity import holm
from beholder.shared.dataset.participants import read_participants


def compare_groups(results: Results, shown: Sequence[tuple[str, int]], primary: str) -> tuple[Groups | None, str]:
    """The comparison of groups of participants, or None and the reason in words (empty where it was not asked for)."""
    column = results.study.alignment.groups
    if not column:
        return None, ""
    people = read_participants(results.study_folder)
    if column not in people.columns:
        return None, f'participants.tsv has no column "{column}"; groups are not compared'
    of = people[column].dropna().astype(str)
    contrasts: list[GroupContrast] = []
    measured: list[EqualCounts] = []
    for model, layer in shown:
        equal = with_equal_counts(results, model, layer, primary, of.index)
        names = sorted(set(of[list(equal.cells.participants)])) if equal else []
        if equal is None or len(names) < 2:
            return None, f'the column "{column}" of participants.tsv names fewer than two groups among those measured'
        measured.append(equal)
        cells = equal.cells
        maps = [m for m in cells.maps if is_head(m) or m in ("mean", "rollout")]
        kept = complete(np.stack([cells.at(m, cells.sigmas[0]) for m in maps], axis=2))
        belongs = np.array([of[p] for p in cells.participants])[kept[0]]
        for first, second in combinations(names, 2):
            if min((belongs == first).sum(), (belongs == second).sum()) < 2 or len(kept[1]) < 2:
                return None, f"of the group {first} or {second} fewer than two participants can be compared"
            rows = (kept[0][belongs == first], kept[0][belongs == second])
            pair = _Pair(model, layer, (first, second), rows, kept[1])
            contrasts += _between_groups(equal, pair, maps, "score", sign_of(primary))
            contrasts += _between_groups(equal, pair, maps, "gain", sign_of(primary))
    equal = measured[0]
    members = list(of[list(equal.cells.participants)])
    return Groups(
        column=column,
        sizes={name: members.count(name) for name in sorted(set(members))},
        fixations=equal.fixations,
        left_out=equal.viewed - int(np.isfinite(equal.cells.at("mean", equal.cells.sigmas[0])).sum()),
        contrasts=tuple(contrasts),
    ), ""


@dataclass(frozen=True)
class _Pair:
    """Two groups in one layer of a model: the rows of the participants of either, and the columns of the pictures."""

    model: str
    layer: int
    groups: tuple[str, str]
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    columns: NDArray[np.intp]


def _between_groups(
    equal: EqualCounts, of: _Pair, maps: Sequence[str], by: Literal["score", "gain"], sign: int
) -> list[GroupContrast]:
    """The contrasts of two groups by each map's score or gain, without maps that lack one (gain without chance)."""
    cells, some = equal.cells, []
    for name in maps:
        if by == "score":
            pair = [cells.at(name, cells.sigmas[0])[np.ix_(rows, of.columns)] for rows in of.rows]
            towards = [np.asarray(sign * scores) for scores in pair]
        else:
            both = zip(of.groups, of.rows, strict=True)
            pair = towards = [equal.gain(name, sign, group, rows, of.columns) for group, rows in both]
        if any(np.isnan(scores).any() for scores in pair):
            continue
        e = groups_interval(towards[0], towards[1])
        means = (float(pair[0].mean()), float(pair[1].mean()))
        some.append(
            GroupContrast(by, of.model, of.layer, name, *of.groups, means, e.mean, e.low, e.high, e.df, e.p, None)
        )
    heads = [c for c in some if is_head(c.map) and c.p is not None]
    p_holm = dict(zip([c.map for c in heads], holm([c.p for c in heads if c.p is not None]), strict=True))
    return [replace(c, p_holm=p_holm.get(c.map)) for c in some]
