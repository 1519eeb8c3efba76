"""The rows of chance: gaze on one picture against a layer's attention on the other pictures that make up chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.alignment.comparison import Comparison
from beholder.analysis.alignment.scores import resampled, scores_of
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.analysis.results.tables import CHANCE_COLUMNS, EVERYBODY
from beholder.shared.arrays import FloatArray
from beholder.shared.study import Measure

PICTURES_AT_ONCE = 8  # whose maps are held, resampled, while chance is computed


# Too slow against so many pictures: emd solves a programme for each pair, auc_judd needs curves for each participant.
NOT_BY_CHANCE = ("emd", "auc_judd")


def rows_of_chance(job: Comparison) -> pd.DataFrame:
    """The rows of chance: gaze on the job's picture against attention on others."""
    measures = [m for m in job.study.alignment.measures if m not in NOT_BY_CHANCE]
    primary: list[Measure] = [m for m in measures if m == job.study.alignment.primary]
    corrected = job.study.fixations.correct_drift
    tables = [
        *_over_other_pictures(job, job.gaze.without_pooled(), measures, corrected),
        *_over_other_pictures(job, job.at_fixed.drift_alternative, primary, not corrected),
        *_over_other_pictures(job, job.at_fixed.equal_counts, primary, corrected, counted="equal"),
    ]
    if not tables:
        return pd.DataFrame(columns=list(CHANCE_COLUMNS))
    keys = ["drift_corrected", "counted", "of", "group", "participant", "run", "attention_of", "map"]
    return pd.concat(tables, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)


def _over_other_pictures(
    job: Comparison, gaze: PictureGaze, measures: Sequence[Measure], corrected: bool, counted: str = "all"
) -> list[pd.DataFrame]:
    """Each participant's means over other pictures, and for each other picture the mean over participants.

    With equal counts the second mean is over the participants of each group, which have a gain of their own. Single
    scores are not kept: there are as many as a sweep over sigma has, and nothing asks for them.
    """
    if not len(gaze) or not measures or not job.at_fixed.chance_controls:
        return []
    controls, names = job.at_fixed.chance_controls, np.array(list(job.over_sigma.attention), dtype=object)
    n_maps = len(names)
    subsets = {
        "others": np.ones(len(controls), dtype=bool),
        "same kind": np.array([c.same_kind for c in controls]),
        "same half": np.array([c.same_half for c in controls]),
    }
    sums: dict[str, dict[str, FloatArray]] = {
        of: {m: np.zeros((len(gaze), n_maps)) for m in measures} for of, own in subsets.items() if own.any()
    }
    by_picture: dict[str, list[FloatArray]] = {m: [] for m in measures}
    groups, weights = _mean_weights(job, gaze, counted)
    for first in range(0, len(controls), PICTURES_AT_ONCE):
        some = slice(first, first + PICTURES_AT_ONCE)
        stack = np.concatenate([resampled(job, control.maps) for control in controls[some]])
        for measure, values in scores_of(job, gaze, stack, measures).items():
            by_map = values.reshape(len(gaze), -1, n_maps)
            for of, by_measure in sums.items():
                by_measure[measure] += by_map[:, subsets[of][some]].sum(axis=1)
            by_picture[measure].append(np.einsum("gp,pom->gom", weights, by_map))
    own = {"model": job.where.model, "layer": job.where.layer, "drift_corrected": corrected, "counted": counted,
           "stimulus": job.where.stimulus}  # fmt: skip
    people = {
        "participant": np.repeat(np.array([p for p, _ in gaze.people], dtype=object), n_maps),
        "run": np.repeat([r for _, r in gaze.people], n_maps), "group": "", "same_kind": False, "same_half": False,
        "map": np.tile(names, len(gaze)), "attention_of": "",
    }  # fmt: skip
    tables = [
        _chance_rows(own | people | {"of": of}, by_measure, int(subsets[of].sum())) for of, by_measure in sums.items()
    ]

    def spread(values: Sequence[object], dtype: type) -> NDArray[Any]:
        return np.tile(np.repeat(np.array(values, dtype=dtype), n_maps), len(groups))

    others = {
        "participant": EVERYBODY, "run": 0, "of": "picture",
        "group": np.repeat(np.array(groups, dtype=object), n_maps * len(controls)),
        "attention_of": spread([c.picture for c in controls], object),
        "same_kind": spread([c.same_kind for c in controls], bool),
        "same_half": spread([c.same_half for c in controls], bool),
        "map": np.tile(names, len(controls) * len(groups)),
    }  # fmt: skip
    return [*tables, _chance_rows(own | others, {m: np.concatenate(v, axis=1) for m, v in by_picture.items()}, 1)]


def _mean_weights(job: Comparison, gaze: PictureGaze, counted: str) -> tuple[list[str], FloatArray]:
    """The weight of each run in a mean over participants, (groups, people).

    Every participant weighs the same, however many runs there are. With all fixations there is one group, of everybody
    and without a name.
    """
    people = pd.Series([participant for participant, _ in gaze.people])
    of = people.map(dict(job.at_fixed.groups)) if counted == "equal" else pd.Series("", index=people.index)
    groups = sorted(set(of.dropna()))
    runs = people.map(people.value_counts())
    return groups, np.array([(of == g) / runs / people[of == g].nunique() for g in groups]).reshape(-1, len(people))


def _chance_rows(columns: dict[str, Any], sums: Mapping[str, FloatArray], n: int) -> pd.DataFrame:
    return pd.DataFrame(columns | {m: (v / n).ravel().astype(np.float32) for m, v in sums.items()})
