"""Groups of participants beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.readings import GroupContrast, Groups
from beholder.analysis.findings.score_arrays import Equal, with_equal_counts
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.crossed import complete, groups_interval
from beholder.analysis.statistics.multiplicity import holm
from beholder.shared.dataset.participants import read_participants


def compare_groups(results: Results, shown: Sequence[tuple[str, int]], primary: str) -> tuple[Groups | None, str]:
    """Groups of participants compared, or None and why in words (empty where they were not asked for)."""
    column = results.study.alignment.groups
    if not column:
        return None, ""
    people = read_participants(results.study_folder)
    if column not in people.columns:
        return None, f'participants.tsv has no column "{column}"; groups are not compared'
    of = people[column].dropna().astype(str)
    contrasts: list[GroupContrast] = []
    measured: list[Equal] = []
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
            rows = tuple(kept[0][belongs == group] for group in (first, second))
            by: tuple[Literal["score", "gain"], ...] = ("score", "gain")
            for measured_by in by:
                contrasts += _between_groups(
                    equal, measured_by, model, layer, maps, (first, second), rows, kept[1], primary
                )
    equal = measured[0]
    members = list(of[list(equal.cells.participants)])
    return Groups(
        column=column,
        sizes={name: members.count(name) for name in sorted(set(members))},
        fixations=equal.fixations,
        left_out=equal.viewed - int(np.isfinite(equal.cells.at("mean", equal.cells.sigmas[0])).sum()),
        contrasts=tuple(contrasts),
    ), ""


def _between_groups(
    equal: Equal, of: Literal["score", "gain"], model: str, layer: int, maps: Sequence[str], groups: tuple[str, str],
    rows: tuple[NDArray[np.intp], ...], columns: NDArray[np.intp], primary: str,
) -> list[GroupContrast]:  # fmt: skip
    """Two groups by each map's score or gain; rows: the participants of either. Empty where chance is not known."""
    cells, sign, some = equal.cells, sign_of(primary), []
    for name in maps:
        if of == "score":
            pair = [cells.at(name, cells.sigmas[0])[np.ix_(r, columns)] for r in rows]
            towards = [np.asarray(sign * scores) for scores in pair]
        else:
            pair = towards = [equal.gain(name, sign, g, r, columns) for g, r in zip(groups, rows, strict=True)]
        if any(np.isnan(scores).any() for scores in pair):
            continue
        e = groups_interval(towards[0], towards[1])
        means = (float(pair[0].mean()), float(pair[1].mean()))
        some.append(GroupContrast(of, model, layer, name, *groups, means, e.mean, e.low, e.high, e.df, e.p, None))
    heads = [c for c in some if is_head(c.map) and c.p is not None]
    p_holm = dict(zip([c.map for c in heads], holm([c.p for c in heads if c.p is not None]), strict=True))
    return [replace(c, p_holm=p_holm.get(c.map)) for c in some]
