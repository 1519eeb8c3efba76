"""All comparisons of people's gaze on one picture with one layer of one model: what fills a partition of three tables.

    alignment   at every sigma, each participant's map and everybody's together against heads, their mean, references
                and attention on a few other pictures
    fixed       at the sigma fixed beforehand, by every measure of the study: the same, the ceiling of the other
                viewers, fitted centre and random weights; within the object; by windows of time; with equal counts
    chance      at that sigma, gaze against attention on every other picture: means by participant, and by picture

A job is one picture and layer, done in a process of its own; it holds all that goes into the numbers, so that its key
can say whether they are up to date. The formulas are sweep.py's, measures.py's and baselines.py's; who asks for which
jobs is pipeline/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.alignment.baselines import (
    Centre,
    Others,
    PictureGaze,
    elsewhere_density,
    everybodys_mass,
    others_densities,
)
from beholder.analysis.alignment.ceilings import Prediction, best_map, effective_fixations
from beholder.analysis.alignment.measures import MEASURES, auc_judd, earth_movers_distance, nss, values_at
from beholder.analysis.gaze.maps import Grid, area_resample, centre_gaussian, fixation_map, smooth, uniform
from beholder.analysis.results.study_results import (
    ALIGNMENT_COLUMNS,
    CHANCE_COLUMNS,
    EVERYBODY,
    FIXED_COLUMNS,
    HALF,
    POOLED,
    key_of,
    write_table,
)
from beholder.shared.arrays import FloatArray
from beholder.shared.provenance import digest
from beholder.shared.study import SWEPT, Measure, Study

NUMBERS_AT_ONCE = 2**21  # of an array of maps in float64: 16 MiB
PICTURES_AT_ONCE = 8  # whose maps are held, resampled, while chance is computed
# Not against every other picture: a programme for each pair, or curves of their own for each participant.
NOT_BY_CHANCE = ("emd", "auc_judd")
# Attention was never fitted as a density: before its information is measured it gets this share of the uniform one.
UNIFORM_SHARE = 0.01
# What the comparisons over sigma do not depend on.
AT_FIXED_SIGMA_ALONE = (
    "moved",
    "windows",
    "equal",
    "groups",
    "elsewhere",
    "random",
    "centre",
    "ceiling",
    "places",
    "unit_px",
)
# Densities that know their width already.
NEVER_BLURRED = ("centre-fitted", "uniform", "others")


@dataclass(frozen=True)
class Gaze:
    """People's fixations on a picture: whose they are, (participant, run), and x, y (map px) and weights of each."""

    people: tuple[tuple[str, int], ...]
    fixations: tuple[tuple[FloatArray, FloatArray, FloatArray], ...]

    def __len__(self) -> int:
        return len(self.people)

    def without_pooled(self) -> Gaze:
        """The participants alone."""
        kept = [i for i, (participant, _) in enumerate(self.people) if participant != POOLED]
        return Gaze(tuple(self.people[i] for i in kept), tuple(self.fixations[i] for i in kept))

    def by_viewer(self) -> dict[str, FloatArray]:
        """Each participant's fixations of all runs, (n, 2), in the order of their labels."""
        return self._by_viewer([np.stack([x, y], axis=1) for x, y, _ in self.fixations])

    def weights_by_viewer(self) -> dict[str, FloatArray]:
        """The weights (n,) of these fixations."""
        return self._by_viewer([w for _, _, w in self.fixations])

    def _by_viewer(self, values: Sequence[FloatArray]) -> dict[str, FloatArray]:
        found: dict[str, list[FloatArray]] = {}
        for (participant, _), of_run in zip(self.people, values, strict=True):
            if participant != POOLED:
                found.setdefault(participant, []).append(of_run)
        return {name: np.concatenate(found[name]) for name in sorted(found)}

    @cached_property
    def digest(self) -> str:
        """Of people and fixations; the same gaze is part of many jobs."""
        return digest([self.people, self.fixations])


NOBODY = Gaze((), ())


class Maps(dict[str, FloatArray]):
    """A layer's maps on one picture by their `map`, (rows, columns) of patches each; not changed once it is made."""

    @cached_property
    def digest(self) -> str:
        """Of names and maps; the same maps are part of many jobs."""
        return digest(dict(self))


@dataclass(frozen=True)
class Elsewhere:
    """Attention on another picture, which is chance for the gaze on this one; whether both are of one kind and half."""

    picture: str
    same_kind: bool
    same_half: bool
    maps: Maps


@dataclass(frozen=True)
class Job:
    """One picture with one layer of one model; positions are in px of the map, maps (rows, columns) of patches.

    gaze: participants' fixations, and everybody's as "pooled"; moved: with the correction of drift that the study did
    not choose; windows: within (start_s, end_s) of viewing time; equal: as many fixations of everybody.
    groups: which group each participant belongs to, where groups are compared.
    others: the maps on the pictures beside the curves; elsewhere: those on all pictures that make up chance.
    random: (seeds x heads, rows, columns), with random weights.
    device: where torch computes.
    centre, ceiling: as fitted, None where they cannot be; places: fixations on other pictures, (n, 2), in shares of
    their pictures' width and height. unit_px: map px per unit of the ceiling's width.
    """

    alignment: Path
    fixed: Path
    chance: Path
    key: str
    fixed_key: str
    stimulus: str
    model: str
    layer: int
    grid: Grid
    gaze: Gaze
    moved: Gaze
    windows: tuple[tuple[float, float, Gaze], ...]
    equal: Gaze
    groups: Mapping[str, str]
    maps: Maps
    others: tuple[Maps, ...]
    elsewhere: tuple[Elsewhere, ...]
    random: FloatArray | None
    object_share: FloatArray | None
    centre: Centre | None
    ceiling: Others | None
    places: FloatArray
    unit_px: float
    sigmas: tuple[float, ...]
    sigmas_px: tuple[float, ...]
    window_end_s: float
    study: Study
    device: str = "cpu"

    def digests(self, version: int, packages: Mapping[str, str]) -> tuple[str, str]:
        """What the numbers over sigma depend on, in short, and what those at the fixed sigma depend on."""
        paths = {"alignment", "fixed", "chance", "key", "fixed_key", "study", "grid", "device"}
        inputs = {k: v for k, v in vars(self).items() if k not in paths} | {
            "gaze": self.gaze.digest, "moved": self.moved.digest, "equal": self.equal.digest,
            "windows": [(*window, gaze.digest) for *window, gaze in self.windows], "maps": self.maps.digest,
            "others": [maps.digest for maps in self.others],
            "elsewhere": [(e.picture, e.same_kind, e.same_half, e.maps.digest) for e in self.elsewhere],
        }  # fmt: skip
        settings = {"maps": self.study.maps.model_dump(exclude={"estimate_sigma"}), "grid": self.grid.shape,
                    "drift": self.study.fixations.correct_drift, "version": version, "packages": packages}  # fmt: skip
        alignment = self.study.alignment
        swept = {
            "inputs": {k: v for k, v in inputs.items() if k not in AT_FIXED_SIGMA_ALONE},
            "measures": [m for m in alignment.measures if m in SWEPT], "centre": alignment.centre_share,
        }  # fmt: skip
        # Windows, what is moved and equal counts have the primary measure alone.
        fixed = {"inputs": inputs, "measures": alignment.measures, "primary": alignment.primary,
                 "centre": alignment.centre_share}  # fmt: skip
        return digest(settings | swept), digest(settings | fixed)

    @property
    def fixed_px(self) -> float:
        """The sigma fixed beforehand, in map px."""
        return min(zip(self.sigmas, self.sigmas_px, strict=True), key=lambda s: abs(s[0] - self.study.maps.sigma))[1]


def compare(job: Job) -> None:
    """Do the job and write those of its partitions that are not up to date."""
    if key_of(job.chance) != job.fixed_key:
        write_table(_chance(job), job.chance, CHANCE_COLUMNS, key=job.fixed_key)
    if key_of(job.fixed) != job.fixed_key:
        write_table(_fixed(job), job.fixed, FIXED_COLUMNS, key=job.fixed_key)
    if key_of(job.alignment) != job.key:
        swept = [m for m in job.study.alignment.measures if m in SWEPT]
        write_table(_over_sigma(job, swept), job.alignment, ALIGNMENT_COLUMNS, key=job.key)


# Scores.


def _scores(
    job: Job, gaze: Gaze, stack: FloatArray, measures: Sequence[Measure], sigma_px: float, *, blurred: bool = True
) -> dict[str, FloatArray]:
    """Each of the people against maps (M, height, width) at one sigma, (people, M) by measure.

    blurred: whether sigma blurs the model's maps too where the study says so; densities that have a width of their own
    stay as they are.
    """
    from beholder.analysis.alignment.sweep import Fixations, align

    people = [Fixations(x, y, w) for x, y, w in gaze.fixations]
    human_px, model_px, how = _sigmas(job, sigma_px, blurred=blurred)
    of_maps = [m for m in measures if m in SWEPT]
    found: dict[str, FloatArray] = {}
    if of_maps:
        values = align(people, stack, [model_px if how == "model" else human_px], smooth=how, measures=of_maps,
                       device=job.device)  # fmt: skip
        found = {m: v[:, 0] for m, v in values.items()}
    prepared = smooth(stack, model_px) if model_px > 0 else stack
    if "emd" in measures:
        human = np.stack([fixation_map(x, y, w, job.grid, human_px) for x, y, w in gaze.fixations])
        found["emd"] = earth_movers_distance(human[:, None], prepared[None])
    return found | _at_fixations(job, gaze, prepared, measures)


def _sigmas(job: Job, sigma_px: float, *, blurred: bool) -> tuple[float, float, Any]:
    """What sigma blurs: px of the human map, px of the model's maps, and what the two are called."""
    how = job.study.maps.smooth
    human_px, model_px = (0.0 if how == "model" else sigma_px), (0.0 if how == "human" else sigma_px)
    return (human_px, model_px, how) if blurred else (human_px, 0.0, "human")


def _at_fixations(
    job: Job, gaze: Gaze, maps: FloatArray, measures: Sequence[Measure], *, uniform_share: float = UNIFORM_SHARE
) -> dict[str, FloatArray]:
    """The measures at fixations, (people, M); every fixation counts once. uniform_share: of maps, where ig is taken."""
    wanted = [m for m in measures if MEASURES[m].against == "fixations"]
    if not wanted or not len(gaze):
        return {m: np.empty((len(gaze), len(maps))) for m in wanted}
    pixels = [(np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)) for x, y, _ in gaze.fixations]
    counts = np.array([len(rows) for rows, _ in pixels])
    mean = np.repeat(np.eye(len(counts)) / counts, counts, axis=1)
    rows, cols = (np.concatenate([p[i] for p in pixels]) for i in range(2))
    found: dict[str, FloatArray] = {}
    for measure in wanted:
        if measure == "auc_judd":
            found[measure] = np.stack([auc_judd(maps, *p) for p in pixels])
        elif (measure == "sauc" and not len(job.places)) or (measure == "ig" and job.centre is None):
            found[measure] = np.full((len(gaze), len(maps)), np.nan)
        else:
            found[measure] = mean @ _contributions(job, measure, maps, rows, cols, uniform_share).T
    return found


def _contributions(
    job: Job, measure: Measure, maps: FloatArray, rows: NDArray[np.intp], cols: NDArray[np.intp], uniform_share: float
) -> FloatArray:
    if measure == "ig" and job.centre is not None:
        mixed = (1 - uniform_share) * maps / maps.sum(axis=(-2, -1), keepdims=True) + uniform_share / maps[0].size
        return values_at(measure, mixed, rows, cols, baseline=job.centre.density(job.grid))
    if measure == "sauc":
        last = np.array([job.grid.width, job.grid.height]) - 1
        other = np.minimum(np.floor(job.places * (last + 1)), last).astype(np.intp)
        return values_at(measure, maps, rows, cols, negatives=(other[:, 1], other[:, 0]))
    return values_at(measure, maps, rows, cols)


def _resampled(job: Job, maps: Mapping[str, FloatArray]) -> FloatArray:
    return np.stack([area_resample(v, job.grid.height, job.grid.width) for v in maps.values()])


def _references(job: Job) -> dict[str, FloatArray]:
    """Maps on the grid that know nothing of the model, by name."""
    found = {"centre": centre_gaussian(job.grid, job.study.alignment.centre_share), "uniform": uniform(job.grid)}
    if job.object_share is not None:
        found["object"] = job.object_share / job.object_share.sum()
    return found


# Over sigma.


def _over_sigma(job: Job, measures: Sequence[Measure]) -> pd.DataFrame:
    """The rows of the alignment table."""
    from beholder.analysis.alignment.sweep import Fixations, align

    references = _references(job)
    stack = np.concatenate([
        _resampled(job, job.maps), np.stack(list(references.values())),
        *[_resampled(job, other) for other in job.others],
    ])  # fmt: skip
    people = [Fixations(x, y, w) for x, y, w in job.gaze.fixations]
    how = job.study.maps.smooth
    values = align(people, stack, job.sigmas_px, smooth=how, measures=measures, device=job.device)
    names = [*job.maps, *references]
    columns: dict[str, FloatArray] = {}
    for measure in measures:
        own, elsewhere = np.split(values[measure], [len(names)], axis=-1)
        # The mean over other pictures of the measure, not the measure of a mean map.
        by_other = elsewhere.reshape(*elsewhere.shape[:2], len(job.others), len(job.maps))
        columns[measure] = np.concatenate([own, *([by_other.mean(axis=2)] if job.others else [])], axis=-1)
    if job.others:
        names += [f"shuffled-{name}" for name in job.maps]
    shape = (len(job.gaze), len(names), len(job.sigmas))

    def spread(values: Sequence[Any] | NDArray[Any], axis: int) -> NDArray[Any]:
        index = [None, None, None]
        index[axis] = slice(None)  # type: ignore[call-overload]
        return np.broadcast_to(np.asarray(values)[tuple(index)], shape).ravel()

    return pd.DataFrame({
        "participant": spread(np.array([p for p, _ in job.gaze.people], dtype=object), 0),
        "run": spread([r for _, r in job.gaze.people], 0), "stimulus": job.stimulus, "model": job.model,
        "layer": job.layer, "map": spread(np.array(names, dtype=object), 1), "smooth": how,
        "sigma": spread(job.sigmas, 2), "sigma_unit": job.study.maps.sigma_unit, "window_start_s": 0.0,
        "window_end_s": job.window_end_s, "drift_corrected": job.study.fixations.correct_drift,
        "n_fixations": spread(_counts(job.gaze), 0),
    } | {m: v.transpose(0, 2, 1).ravel().astype(np.float32) for m, v in columns.items()})  # fmt: skip


def _counts(gaze: Gaze) -> list[int]:
    return [int((w > 0).sum()) for _, _, w in gaze.fixations]


# At the fixed sigma.


def _fixed(job: Job) -> pd.DataFrame:
    """The rows of the table of the fixed sigma."""
    study, measures = job.study, job.study.alignment.measures
    primary, corrected = [study.alignment.primary], study.fixations.correct_drift
    whole = (0.0, job.window_end_s)
    heads = _resampled(job, job.maps)
    tables = [
        *_whole_picture(job, job.gaze, heads, measures, corrected),
        *_random(job, measures),
        *_inside(job, heads, measures),
        *_half(job),
    ]
    if len(job.moved):
        tables += _whole_picture(job, job.moved, heads, primary, not corrected)
    for gaze, window, counted in (*((g, (a, b), "all") for a, b, g in job.windows), (job.equal, whole, "equal")):
        if len(gaze):
            values = _scores(job, gaze, heads, primary, job.fixed_px)
            tables.append(_rows(job, gaze, list(job.maps), values, window=window, counted=counted))
            if job.centre is not None:
                fitted = job.centre.density(job.grid)[None]
                values = _scores(job, gaze, fitted, primary, job.fixed_px, blurred=False)
                tables.append(_rows(job, gaze, ["centre-fitted"], values, window=window, counted=counted))
    keys = ["participant", "run", "map", "within", "window_start_s", "window_end_s", "counted", "drift_corrected"]
    table = pd.concat(tables, ignore_index=True)
    for measure in measures:
        table[measure] = table[measure].astype(np.float32)
    return table.sort_values(keys, kind="stable", ignore_index=True)


def _whole_picture(
    job: Job, gaze: Gaze, heads: FloatArray, measures: Sequence[Measure], corrected: bool
) -> list[pd.DataFrame]:
    references = _references(job)
    if job.centre is not None:
        references["centre-fitted"] = job.centre.density(job.grid)
    # Where sigma blurs models' maps, it does not blur those that have a width of their own.
    apart = NEVER_BLURRED if job.study.maps.smooth != "human" else ()
    blurred = {name: values for name, values in references.items() if name not in apart}
    as_they_are = {name: values for name, values in references.items() if name in apart}
    stack = np.concatenate([heads, np.stack(list(blurred.values()))])
    values = _scores(job, gaze, stack, measures, job.fixed_px)
    found = [_rows(job, gaze, [*job.maps, *blurred], values, corrected=corrected)]
    if as_they_are:
        values = _scores(job, gaze, np.stack(list(as_they_are.values())), measures, job.fixed_px, blurred=False)
        found.append(_rows(job, gaze, list(as_they_are), values, corrected=corrected))
    return found + _ceiling(job, gaze.without_pooled(), measures, corrected)


def _ceiling(job: Job, gaze: Gaze, measures: Sequence[Measure], corrected: bool) -> list[pd.DataFrame]:
    """Each participant against what the density of all the others makes best, by each measure a map of its own."""
    viewers = gaze.by_viewer()
    if job.ceiling is None or len(viewers) < 2:
        return []
    centre = None if job.centre is None else job.centre.density(job.grid)
    seen = PictureGaze(tuple(viewers.values()), job.grid, job.unit_px)
    elsewhere = elsewhere_density(job.places, job.grid, job.unit_px, job.ceiling, centre) if len(job.places) else None
    human_px, _, _ = _sigmas(job, job.fixed_px, blurred=False)
    # Measures at fixations count each once, human maps by its weight: so do their densities.
    ways = (None, tuple(gaze.weights_by_viewer().values()))
    everybody = [everybodys_mass(seen, job.ceiling, weights) for weights in ways]
    names = list(viewers)
    values: dict[str, FloatArray] = {m: np.empty((len(gaze), 1)) for m in measures}
    # Everybody has a density of their own: pair by pair, of as many viewers at once as suit the memory.
    step = max(1, NUMBERS_AT_ONCE // (job.grid.height * job.grid.width))
    for first in range(0, len(names), step):
        some = slice(first, first + step)
        densities = [
            others_densities(seen, job.ceiling, centre, weights=weights, viewers=some, everybody=total)
            for weights, total in zip(ways, everybody, strict=True)
        ]
        number = {name: i for i, name in enumerate(names[some])}
        for row, ((participant, _), (x, y, w)) in enumerate(zip(gaze.people, gaze.fixations, strict=True)):
            if participant not in number:
                continue
            counted, weighted = (density[number[participant]] for density in densities)
            known = Prediction(counted, weighted, elsewhere, human_px, effective_fixations(w))
            own, human = Gaze((gaze.people[row],), ((x, y, w),)), fixation_map(x, y, w, job.grid, human_px)
            for measure in measures:
                best = best_map(measure, known)
                if best is None:
                    values[measure][row] = np.nan
                elif MEASURES[measure].against == "map":
                    values[measure][row] = MEASURES[measure].function(human, best)
                else:  # a density that was fitted needs no further share of the uniform one
                    values[measure][row] = _at_fixations(job, own, best[None], [measure], uniform_share=0)[measure][0]
    return [_rows(job, gaze, ["others"], values, corrected=corrected)]


def _random(job: Job, measures: Sequence[Measure]) -> list[pd.DataFrame]:
    """What the same network's heads score with random weights: the mean over seeds and heads."""
    if job.random is None:
        return []
    gaze = job.gaze.without_pooled()
    wanted: list[Measure] = [m for m in measures if m not in NOT_BY_CHANCE]
    stack = area_resample(job.random, job.grid.height, job.grid.width)
    values = _scores(job, gaze, stack, wanted, job.fixed_px)
    return [_rows(job, gaze, ["random"], {m: v.mean(axis=1, keepdims=True) for m, v in values.items()})]


def _inside(job: Job, heads: FloatArray, measures: Sequence[Measure]) -> list[pd.DataFrame]:
    """Both maps cut to the object: does attention tell parts of the object, beyond figure and ground?

    Neighbours are lost when the object's px stand in a row, so ssim and emd have no score; of the measures at fixations
    the two that need nothing but the map have one, over fixations on the object.
    """
    if job.object_share is None:
        return []
    mask = job.object_share >= 0.5
    gaze = job.gaze.without_pooled()
    number = np.full(job.grid.shape, -1)
    number[mask] = np.arange(mask.sum())
    human_px, model_px, _ = _sigmas(job, job.fixed_px, blurred=True)
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
        own = Gaze((person,), ((x[on], y[on], w[on]),))
        found.append(_rows(job, own, [*job.maps, "uniform"], values, within="object"))
    return found


def _half(job: Job) -> list[pd.DataFrame]:
    """By NSS, the map of the first half of the viewers (in the order of their labels) for the others' fixations."""
    if "nss" not in job.study.alignment.measures:
        return []
    gaze = job.gaze.without_pooled()
    labels = sorted({participant for participant, _ in gaze.people})
    first = set(labels[: (len(labels) + 1) // 2])
    halves: list[list[tuple[FloatArray, FloatArray, FloatArray]]] = [[], []]
    for (participant, _), fixations in zip(gaze.people, gaze.fixations, strict=True):
        halves[participant not in first].append(fixations)
    if not all(halves):
        return []
    (x, y, w), other = ([np.concatenate([f[i] for f in half]) for i in range(3)] for half in halves)
    density = fixation_map(x, y, w, job.grid, job.fixed_px)
    value = nss(density, np.floor(other[1]).astype(np.intp), np.floor(other[0]).astype(np.intp))
    pooled = Gaze(((POOLED, 0),), ((other[0], other[1], other[2]),))
    return [_rows(job, pooled, [HALF], {"nss": np.array([[value]])})]


def _rows(
    job: Job, gaze: Gaze, names: Sequence[str], values: Mapping[str, FloatArray], *, within: str = "picture",
    window: tuple[float, float] | None = None, counted: str = "all", corrected: bool | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Scores (people, maps) as rows; measures that were not taken are NaN."""
    start_s, end_s = window or (0.0, job.window_end_s)
    n = len(names)
    shape = (len(gaze), n)
    nothing = np.full(shape, np.nan)
    return pd.DataFrame({
        "participant": np.repeat(np.array([p for p, _ in gaze.people], dtype=object), n),
        "run": np.repeat([r for _, r in gaze.people], n), "stimulus": job.stimulus, "model": job.model,
        "layer": job.layer, "map": np.tile(np.array(names, dtype=object), len(gaze)), "within": within,
        "window_start_s": start_s, "window_end_s": end_s, "counted": counted,
        "drift_corrected": job.study.fixations.correct_drift if corrected is None else corrected,
        "n_fixations": np.repeat(_counts(gaze), n),
    } | {m: values.get(m, nothing).ravel() for m in job.study.alignment.measures})  # fmt: skip


# Chance.


def _chance(job: Job) -> pd.DataFrame:
    """The rows of chance: gaze on the job's picture against attention on others."""
    measures = [m for m in job.study.alignment.measures if m not in NOT_BY_CHANCE]
    primary: list[Measure] = [m for m in measures if m == job.study.alignment.primary]
    corrected = job.study.fixations.correct_drift
    tables = [
        *_elsewhere(job, job.gaze.without_pooled(), measures, corrected),
        *_elsewhere(job, job.moved, primary, not corrected),
        *_elsewhere(job, job.equal, primary, corrected, counted="equal"),
    ]
    if not tables:
        return pd.DataFrame(columns=list(CHANCE_COLUMNS))
    keys = ["drift_corrected", "counted", "of", "group", "participant", "run", "attention_of", "map"]
    return pd.concat(tables, ignore_index=True).sort_values(keys, kind="stable", ignore_index=True)


def _elsewhere(
    job: Job, gaze: Gaze, measures: Sequence[Measure], corrected: bool, counted: str = "all"
) -> list[pd.DataFrame]:
    """Each participant's means over other pictures, and for each of these the mean over participants.

    With equal counts the second mean is over the participants of each group, which have a gain of their own. Single
    scores are not kept: there are as many as a sweep over sigma has, and nothing asks for them.
    """
    if not len(gaze) or not measures or not job.elsewhere:
        return []
    subsets = {
        "others": np.ones(len(job.elsewhere), dtype=bool),
        "same kind": np.array([e.same_kind for e in job.elsewhere]),
        "same half": np.array([e.same_half for e in job.elsewhere]),
    }
    n_maps = len(job.maps)
    sums: dict[str, dict[str, FloatArray]] = {
        of: {m: np.zeros((len(gaze), n_maps)) for m in measures} for of, own in subsets.items() if own.any()
    }
    by_picture: dict[str, list[FloatArray]] = {m: [] for m in measures}
    groups, weights = _mean_weights(job, gaze, counted)
    for first in range(0, len(job.elsewhere), PICTURES_AT_ONCE):
        some = slice(first, first + PICTURES_AT_ONCE)
        stack = np.concatenate([_resampled(job, e.maps) for e in job.elsewhere[some]])
        for measure, values in _scores(job, gaze, stack, measures, job.fixed_px).items():
            by_map = values.reshape(len(gaze), -1, n_maps)
            for of, by_measure in sums.items():
                by_measure[measure] += by_map[:, subsets[of][some]].sum(axis=1)
            by_picture[measure].append(np.einsum("gp,pom->gom", weights, by_map))
    own = {"model": job.model, "layer": job.layer, "drift_corrected": corrected, "counted": counted,
           "stimulus": job.stimulus}  # fmt: skip
    people = {
        "participant": np.repeat(np.array([p for p, _ in gaze.people], dtype=object), n_maps),
        "run": np.repeat([r for _, r in gaze.people], n_maps), "group": "", "same_kind": False, "same_half": False,
        "map": np.tile(np.array(list(job.maps), dtype=object), len(gaze)), "attention_of": "",
    }  # fmt: skip
    tables = [
        _chance_rows(own | people | {"of": of}, by_measure, int(subsets[of].sum())) for of, by_measure in sums.items()
    ]

    def spread(values: Sequence[object], dtype: type) -> NDArray[Any]:
        return np.tile(np.repeat(np.array(values, dtype=dtype), n_maps), len(groups))

    others = {
        "participant": EVERYBODY, "run": 0, "of": "picture",
        "group": np.repeat(np.array(groups, dtype=object), n_maps * len(job.elsewhere)),
        "attention_of": spread([e.picture for e in job.elsewhere], object),
        "same_kind": spread([e.same_kind for e in job.elsewhere], bool),
        "same_half": spread([e.same_half for e in job.elsewhere], bool),
        "map": np.tile(np.array(list(job.maps), dtype=object), len(job.elsewhere) * len(groups)),
    }  # fmt: skip
    return [*tables, _chance_rows(own | others, {m: np.concatenate(v, axis=1) for m, v in by_picture.items()}, 1)]


def _mean_weights(job: Job, gaze: Gaze, counted: str) -> tuple[list[str], FloatArray]:
    """What each run counts in a mean over participants, (groups, people): everybody the same, however many runs.

    With all fixations there is one group, everybody, without a name.
    """
    people = pd.Series([participant for participant, _ in gaze.people])
    of = people.map(dict(job.groups)) if counted == "equal" else pd.Series("", index=people.index)
    groups = sorted(set(of.dropna()))
    runs = people.map(people.value_counts())
    return groups, np.array([(of == g) / runs / people[of == g].nunique() for g in groups]).reshape(-1, len(people))


def _chance_rows(columns: dict[str, Any], sums: Mapping[str, FloatArray], n: int) -> pd.DataFrame:
    return pd.DataFrame(columns | {m: (v / n).ravel().astype(np.float32) for m, v in sums.items()})
