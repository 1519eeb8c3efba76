"""All scores of people's gaze on one picture with one layer of one model: what fills a partition of three tables.

    alignment   at every sigma, each participant's map and everybody's together against heads, their mean, references
                and attention on a few other pictures
    fixed       at the sigma fixed beforehand, by every measure of the study: heads, their mean, references, the noise
                ceiling of the other viewers, fitted centre and random weights; also within the object, by windows of
                time and with equal counts
    chance      at that sigma, gaze against attention on the other pictures that make up chance: means by participant,
                and by picture

The formulas are those of sweep.py, measures.py and baselines.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.alignment.baselines import elsewhere_density, everybodys_mass, others_densities
from beholder.analysis.alignment.ceilings import Prediction, best_map, effective_fixations
from beholder.analysis.alignment.chance_rows import NOT_BY_CHANCE, rows_of_chance
from beholder.analysis.alignment.comparison import Comparison
from beholder.analysis.alignment.measures import MEASURES, nss, values_at
from beholder.analysis.alignment.scores import (
    NUMBERS_AT_ONCE,
    at_fixations,
    references_of,
    resampled,
    scores_of,
    sigmas_of,
)
from beholder.analysis.gaze.maps import area_resample, fixation_map, smooth, uniform
from beholder.analysis.gaze.picture_gaze import Fixations, PictureGaze
from beholder.analysis.results.files import key_of, write_table
from beholder.analysis.results.map_names import SHUFFLED
from beholder.analysis.results.tables import ALIGNMENT_COLUMNS, CHANCE_COLUMNS, FIXED_COLUMNS, HALF, POOLED
from beholder.shared.arrays import FloatArray
from beholder.shared.study import SWEPT, Measure

# Densities that have a width of their own, which sigma would widen.
NEVER_BLURRED = ("centre-fitted", "uniform", "others")


def compare(job: Comparison) -> None:
    """Compute and write those partitions of a comparison that are not up to date."""
    if key_of(job.files.chance) != job.files.fixed_key:
        write_table(rows_of_chance(job), job.files.chance, CHANCE_COLUMNS, key=job.files.fixed_key)
    if key_of(job.files.fixed) != job.files.fixed_key:
        write_table(_fixed(job), job.files.fixed, FIXED_COLUMNS, key=job.files.fixed_key)
    if key_of(job.files.alignment) != job.files.key:
        swept = [m for m in job.study.alignment.measures if m in SWEPT]
        write_table(_over_sigma(job, swept), job.files.alignment, ALIGNMENT_COLUMNS, key=job.files.key)


def _over_sigma(job: Comparison, measures: Sequence[Measure]) -> pd.DataFrame:
    """The rows of the alignment table."""
    from beholder.analysis.alignment.sweep import align

    inputs, references = job.over_sigma, references_of(job)
    stack = np.concatenate([
        resampled(job, inputs.attention), np.stack(list(references.values())),
        *[resampled(job, other) for other in inputs.curve_controls],
    ])  # fmt: skip
    how = job.study.maps.smooth
    values = align(job.gaze.fixations, stack, inputs.sigmas_px, smooth=how, measures=measures, device=job.device)
    names = [*job.over_sigma.attention, *references]
    columns: dict[str, FloatArray] = {}
    for measure in measures:
        own, elsewhere = np.split(values[measure], [len(names)], axis=-1)
        # The mean over other pictures of the measure, not the measure of a mean map.
        by_other = elsewhere.reshape(*elsewhere.shape[:2], len(inputs.curve_controls), len(job.over_sigma.attention))
        columns[measure] = np.concatenate([own, *([by_other.mean(axis=2)] if inputs.curve_controls else [])], axis=-1)
    if inputs.curve_controls:
        names += [SHUFFLED + name for name in job.over_sigma.attention]
    shape = (len(job.gaze), len(names), len(inputs.sigmas))

    def spread(values: Sequence[Any] | NDArray[Any], axis: int) -> NDArray[Any]:
        index = [None, None, None]
        index[axis] = slice(None)  # type: ignore[call-overload]
        return np.broadcast_to(np.asarray(values)[tuple(index)], shape).ravel()

    return pd.DataFrame({
        "participant": spread(np.array([p for p, _ in job.gaze.people], dtype=object), 0),
        "run": spread([r for _, r in job.gaze.people], 0), "stimulus": job.where.stimulus, "model": job.where.model,
        "layer": job.where.layer, "map": spread(np.array(names, dtype=object), 1), "smooth": how,
        "sigma": spread(inputs.sigmas, 2), "sigma_unit": job.study.maps.sigma_unit, "window_start_s": 0.0,
        "window_end_s": job.over_sigma.shown_s, "drift_corrected": job.study.fixations.correct_drift,
        "n_fixations": spread(job.gaze.counts, 0),
    } | {m: v.transpose(0, 2, 1).ravel().astype(np.float32) for m, v in columns.items()})  # fmt: skip


def _fixed(job: Comparison) -> pd.DataFrame:
    """The rows of the table of the fixed sigma."""
    study, measures = job.study, job.study.alignment.measures
    primary, corrected = [study.alignment.primary], study.fixations.correct_drift
    heads = resampled(job, job.over_sigma.attention)
    tables = [
        *_whole_picture(job, job.gaze, heads, measures, corrected),
        *_random(job, measures),
        *_inside(job, heads, measures),
        *_half(job),
    ]
    if len(job.at_fixed.drift_alternative):
        tables += _whole_picture(job, job.at_fixed.drift_alternative, heads, primary, not corrected)
    parts = [(gaze, Part(window=(start_s, end_s))) for start_s, end_s, gaze in job.at_fixed.windows]
    for gaze, part in (*parts, (job.at_fixed.equal_counts, Part(counted="equal"))):
        if len(gaze):
            values = scores_of(job, gaze, heads, primary)
            tables.append(_rows(job, gaze, list(job.over_sigma.attention), values, part))
            if job.centre_bias is not None:
                values = scores_of(job, gaze, job.centre_bias[None], primary, blurred=False)
                tables.append(_rows(job, gaze, ["centre-fitted"], values, part))
    keys = ["participant", "run", "map", "within", "window_start_s", "window_end_s", "counted", "drift_corrected"]
    table = pd.concat(tables, ignore_index=True)
    for measure in measures:
        table[measure] = table[measure].astype(np.float32)
    return table.sort_values(keys, kind="stable", ignore_index=True)


def _whole_picture(
    job: Comparison, gaze: PictureGaze, heads: FloatArray, measures: Sequence[Measure], corrected: bool
) -> list[pd.DataFrame]:
    references = references_of(job)
    if job.centre_bias is not None:
        references["centre-fitted"] = job.centre_bias
    # Where sigma blurs models' maps, it does not blur those that have a width of their own.
    apart = NEVER_BLURRED if job.study.maps.smooth != "human" else ()
    blurred = {name: values for name, values in references.items() if name not in apart}
    as_they_are = {name: values for name, values in references.items() if name in apart}
    stack = np.concatenate([heads, np.stack(list(blurred.values()))])
    values = scores_of(job, gaze, stack, measures)
    found = [_rows(job, gaze, [*job.over_sigma.attention, *blurred], values, Part(corrected=corrected))]
    if as_they_are:
        values = scores_of(job, gaze, np.stack(list(as_they_are.values())), measures, blurred=False)
        found.append(_rows(job, gaze, list(as_they_are), values, Part(corrected=corrected)))
    return found + _ceiling(job, gaze.without_pooled(), measures, corrected)


def _ceiling(job: Comparison, gaze: PictureGaze, measures: Sequence[Measure], corrected: bool) -> list[pd.DataFrame]:
    """The noise ceiling: each participant's score, by each measure, of the best map for the density of the others."""
    seen = gaze.viewers()
    others = job.at_fixed.baselines.inter_observer
    if others is None or len(seen) < 2:
        return []
    elsewhere, centre = None, job.centre_bias
    if len(job.other_fixations):
        elsewhere = elsewhere_density(job.other_fixations, job.grid, gaze.unit_px, others, centre)
    human_px, _, _ = sigmas_of(job, blurred=False)
    # Measures at fixations count every fixation once, human maps count its weight: each has its own density.
    ways = (None, tuple(own.weight for own in seen.fixations))
    everybody = [everybodys_mass(seen, others, weights) for weights in ways]
    names = [name for name, _ in seen.people]
    values: dict[str, FloatArray] = {m: np.empty((len(gaze), 1)) for m in measures}
    # Each viewer is compared with a density of their own; as many are held at once as suit the memory.
    step = max(1, NUMBERS_AT_ONCE // (job.grid.height * job.grid.width))
    for first in range(0, len(names), step):
        some = slice(first, first + step)
        densities = [
            others_densities(seen, others, centre, weights=weights, viewers=some, everybody=total)
            for weights, total in zip(ways, everybody, strict=True)
        ]
        number = {name: i for i, name in enumerate(names[some])}
        for row, ((participant, _), (x, y, w)) in enumerate(zip(gaze.people, gaze.fixations, strict=True)):
            if participant not in number:
                continue
            counted, weighted = (density[number[participant]] for density in densities)
            known = Prediction(counted, weighted, elsewhere, human_px, effective_fixations(w))
            own, human = gaze.only([row]), fixation_map(x, y, w, job.grid, human_px)
            for measure in measures:
                best = best_map(measure, known)
                if best is None:
                    values[measure][row] = np.nan
                elif MEASURES[measure].against == "map":
                    values[measure][row] = MEASURES[measure].function(human, best)
                else:  # a density that was fitted needs no further share of the uniform one
                    values[measure][row] = at_fixations(job, own, best[None], [measure], uniform_share=0)[measure][0]
    return [_rows(job, gaze, ["others"], values, Part(corrected=corrected))]


def _random(job: Comparison, measures: Sequence[Measure]) -> list[pd.DataFrame]:
    """The scores of the same network's heads with random weights: the mean over seeds and heads."""
    if job.at_fixed.random is None:
        return []
    gaze = job.gaze.without_pooled()
    wanted: list[Measure] = [m for m in measures if m not in NOT_BY_CHANCE]
    stack = area_resample(job.at_fixed.random, job.grid.height, job.grid.width)
    values = scores_of(job, gaze, stack, wanted)
    return [_rows(job, gaze, ["random"], {m: v.mean(axis=1, keepdims=True) for m, v in values.items()})]


def _inside(job: Comparison, heads: FloatArray, measures: Sequence[Measure]) -> list[pd.DataFrame]:
    """The scores of both maps cut to the object: does attention tell its parts, beyond figure and ground?

    The object's px stand in a row and lose their neighbours, so ssim and emd have no score. Of the measures at
    fixations nss and auc, which need nothing but the map, have one, over fixations on the object.
    """
    if job.over_sigma.object_share is None:
        return []
    mask = job.over_sigma.object_share >= 0.5
    gaze = job.gaze.without_pooled()
    number = np.full(job.grid.shape, -1)
    number[mask] = np.arange(mask.sum())
    human_px, model_px, _ = sigmas_of(job, blurred=True)
    maps = np.concatenate([smooth(heads, model_px) if model_px > 0 else heads, uniform(job.grid)[None]])
    # A map without any mass on the object has no score there.
    maps = maps[:, mask]
    there = maps.sum(axis=1) > 0
    found = []
    wanted: list[Measure] = [m for m in measures if m in ("kl", "cc", "sim", "nss", "auc")]
    for person, (x, y, w) in zip(gaze.people, gaze.fixations, strict=True):
        at = number[np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)]
        on = (at >= 0) & (w > 0)
        if not on.any() or mask.sum() < 2:
            continue
        human = fixation_map(x, y, w, job.grid, human_px)[mask]
        values: dict[str, FloatArray] = {}
        for measure in wanted:
            scores = np.full(len(maps), np.nan)
            if MEASURES[measure].against == "map":
                scores[there] = MEASURES[measure].function(human[None, None], maps[there][:, None])
            else:
                rows, cols = np.zeros(on.sum(), dtype=np.intp), at[on]
                scores[there] = values_at(measure, maps[there][:, None], rows, cols).mean(axis=1)
            values[measure] = scores[None]
        own = replace(gaze, people=(person,), fixations=(Fixations(x[on], y[on], w[on]),))
        found.append(_rows(job, own, [*job.over_sigma.attention, "uniform"], values, Part(within="object")))
    return found


def _half(job: Comparison) -> list[pd.DataFrame]:
    """NSS of the map of the first half of the viewers (in the order of their labels) at the others' fixations."""
    if "nss" not in job.study.alignment.measures:
        return []
    gaze = job.gaze.without_pooled()
    labels = sorted({participant for participant, _ in gaze.people})
    first = set(labels[: (len(labels) + 1) // 2])
    halves: list[list[Fixations]] = [[], []]
    for (participant, _), fixations in zip(gaze.people, gaze.fixations, strict=True):
        halves[participant not in first].append(fixations)
    if not all(halves):
        return []
    (x, y, w), other = ([np.concatenate([f[i] for f in half]) for i in range(3)] for half in halves)
    density = fixation_map(x, y, w, job.grid, job.fixed_px)
    value = nss(density, np.floor(other[1]).astype(np.intp), np.floor(other[0]).astype(np.intp))
    pooled = replace(gaze, people=((POOLED, 0),), fixations=(Fixations(*other),))
    return [_rows(job, pooled, [HALF], {"nss": np.array([[value]])})]


@dataclass(frozen=True)
class Part:
    """Which part of the gaze rows hold, see FIXED_COLUMNS.

    `window` None is the whole viewing time, `corrected` None the study's own choice of drift correction.
    """

    within: Literal["picture", "object"] = "picture"
    window: tuple[float, float] | None = None
    counted: Literal["all", "equal"] = "all"
    corrected: bool | None = None


WHOLE = Part()


def _rows(
    job: Comparison, gaze: PictureGaze, names: Sequence[str], values: Mapping[str, FloatArray], part: Part = WHOLE
) -> pd.DataFrame:
    """Scores (people, maps) as rows; measures that were not taken are NaN."""
    start_s, end_s = part.window or (0.0, job.over_sigma.shown_s)
    n = len(names)
    shape = (len(gaze), n)
    nothing = np.full(shape, np.nan)
    return pd.DataFrame({
        "participant": np.repeat(np.array([p for p, _ in gaze.people], dtype=object), n),
        "run": np.repeat([r for _, r in gaze.people], n), "stimulus": job.where.stimulus, "model": job.where.model,
        "layer": job.where.layer, "map": np.tile(np.array(names, dtype=object), len(gaze)), "within": part.within,
        "window_start_s": start_s, "window_end_s": end_s, "counted": part.counted,
        "drift_corrected": job.study.fixations.correct_drift if part.corrected is None else part.corrected,
        "n_fixations": np.repeat(gaze.counts, n),
    } | {m: values.get(m, nothing).ravel() for m in job.study.alignment.measures})  # fmt: skip
