"""Every head of every model against every participant's gaze on every picture."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beholder.analysis.alignment.compare import compare
from beholder.analysis.alignment.comparison import (
    AtFixedSigma,
    Comparison,
    Maps,
    OtherPicture,
    OverSigma,
    Partitions,
    Where,
)
from beholder.analysis.alignment.measures import lift
from beholder.analysis.attention.named_maps import named_maps
from beholder.analysis.gaze.maps import coverage, sigma_in_map_px
from beholder.analysis.pipeline.attention_stage import ModelAttention, of_device
from beholder.analysis.pipeline.baseline_stage import Baselines, fit_baselines
from beholder.analysis.pipeline.fixation_stage import ViewedTrials, begin_writing
from beholder.analysis.pipeline.summary import groups_of
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.pipeline.views import PictureViews, picture_views
from beholder.analysis.pipeline.workers import Runner
from beholder.analysis.results.files import key_of, write_attention, write_table
from beholder.analysis.results.paths import alignment_path, attention_path, chance_path, fixed_path, results_folder
from beholder.analysis.results.tables import ATTENTION_COLUMNS
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import Remark, StudyError
from beholder.shared.provenance import versions
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study


@dataclass(frozen=True)
class _Plan:
    """What all comparisons of a study share: each picture's gaze and baselines, and which pictures are its controls.

    By picture: `shuffled` are those beside its curves, `blocks` those that make up its chance, `kinds` and `halves` say
    what it is of. `groups`: the group of each participant. `device`: where torch computes.
    """

    study_folder: Path
    study: Study
    views: Mapping[str, PictureViews]
    baselines: Baselines
    shuffled: Mapping[str, Sequence[str]]
    blocks: Mapping[str, Sequence[str]]
    kinds: Mapping[str, str]
    halves: dict[str, int]
    groups: Mapping[str, str]
    device: str

    def comparisons(self, model: ModelAttention, layer: int) -> Iterator[Comparison]:
        """Every picture with one layer of a model, as they are asked for.

        There is one copy of each map, which all comparisons of the layer share; only one layer's are held at a time.
        """
        maps = {name: Maps(_named(model, name, layer)) for name in self.views}
        for view in self.views.values():
            yield self._comparison(model, layer, view, maps)

    def _comparison(
        self, model: ModelAttention, layer: int, view: PictureViews, maps: Mapping[str, Maps]
    ) -> Comparison:
        study, name, picture = self.study, model.summary.name, view.stimulus.name
        of = (self.study_folder, name, layer, picture)
        job = Comparison(
            where=Where(name, layer, picture),
            files=Partitions(alignment_path(*of), fixed_path(*of), chance_path(*of)),
            over_sigma=OverSigma(
                gaze=view.gaze,
                attention=maps[picture],
                curve_controls=tuple(maps[other] for other in self.shuffled[picture]),
                object_share=view.object_share,
                sigmas=study.maps.sigmas(),
                sigmas_px=_sigmas_px(study, view, model.maps[picture][layer].shape[-1]),
                shown_s=view.shown_s,
            ),
            at_fixed=AtFixedSigma(
                drift_alternative=view.drift_alternative,
                windows=view.windows,
                equal_counts=view.equal_counts,
                groups=self.groups,
                chance_controls=tuple(self._control(picture, other, maps) for other in self.blocks[picture]),
                random=model.random[picture][layer].astype(np.float64) if model.random else None,
                baselines=self.baselines.of(picture),
            ),
            study=study,
            device=self.device,
        )
        packages = versions(("numpy", "scipy", "torch", "numba")) | of_device(self.device)
        return job.with_keys(VERSION["alignment"], packages)

    def _control(self, picture: str, other: str, maps: Mapping[str, Maps]) -> OtherPicture:
        same_half = other in self.halves and self.halves[other] == self.halves[picture]
        return OtherPicture(other, self.kinds[other] == self.kinds[picture], same_half, maps[other])


def alignment_stage(
    study_folder: Path,
    study: Study,
    stimuli: Sequence[Stimulus],
    people: ViewedTrials,
    seen: Sequence[ModelAttention],
    device: str,
    run: Runner,
) -> tuple[list[str], dict[str, int], dict[str, int], list[Remark]]:
    """Compare whatever is not up to date: the keys of all comparisons, how many were done by kind, halves, remarks."""
    views, remarks = picture_views(study, stimuli, people)
    baselines = fit_baselines(study_folder, study, views, run)
    blocks = chance_blocks(list(views), study.alignment.chance_pictures + 1, study.study.seed)
    kinds = {s.name: s.kind for s in stimuli}
    plan = _Plan(
        study_folder=study_folder,
        study=study,
        views=views,
        baselines=baselines,
        shuffled=shuffled_partners(list(views), study.alignment.shuffled_pictures, study.study.seed),
        blocks=blocks,
        kinds=kinds,
        halves=_half_of_pictures(study, blocks, kinds),
        groups=groups_of(study_folder, study),
        device=device,
    )
    keys: list[str] = []
    wanted: set[Path] = set()
    over_sigma = 0
    stale: dict[tuple[int, int], set[str]] = {}  # pictures, by the model's number and layer
    for number, model in enumerate(seen):
        for layer in model.layers:
            wanted.add(attention_path(study_folder, model.summary.name, layer))
            for job in plan.comparisons(model, layer):
                keys += [job.files.key, job.files.fixed_key]
                wanted |= {job.files.alignment, job.files.fixed, job.files.chance}
                old = [key_of(job.files.alignment) != job.files.key]
                old += [key_of(path) != job.files.fixed_key for path in (job.files.fixed, job.files.chance)]
                over_sigma += old[0]
                if any(old):
                    stale.setdefault((number, layer), set()).add(job.where.stimulus)
    lifts = [row for model in seen for layer in model.layers for s in stimuli for row in _lifts(model, layer, s)]
    # Everything that can be refused has been: now the results change.
    begin_writing(results_folder(study_folder))
    _write_attention(study_folder, stimuli, seen, lifts)
    to_do = sum(len(some) for some in stale.values())
    jobs = (
        job
        for (number, layer), some in stale.items()
        for job in plan.comparisons(seen[number], layer)
        if job.where.stimulus in some
    )
    run(compare, jobs, "alignment", to_do)
    _remove_stale(study_folder, wanted)
    return keys, {"alignment": over_sigma, "fixed sigma": to_do}, plan.halves, remarks


def _write_attention(
    study_folder: Path, stimuli: Sequence[Stimulus], seen: Sequence[ModelAttention], lifts: list[dict[str, object]]
) -> None:
    """Every layer's maps, and the table of attention on the object."""
    for model in seen:
        for layer in model.layers:
            attention = {s.name: model.maps[s.name][layer] for s in stimuli}
            write_attention(attention, attention_path(study_folder, model.summary.name, layer))
    table = pd.DataFrame(lifts, columns=list(ATTENTION_COLUMNS))
    write_table(table, results_folder(study_folder) / "attention.csv", ATTENTION_COLUMNS)


def _named(model: ModelAttention, picture: str, layer: int) -> dict[str, FloatArray]:
    rollout = model.rollout[picture][layer] if model.rollout else None
    return named_maps(model.maps[picture][layer], rollout)


def _sigmas_px(study: Study, view: PictureViews, patches_across: int) -> tuple[float, ...]:
    """The study's sigmas in map px of one picture."""
    width_deg = None if np.isnan(view.width_deg) else view.width_deg
    return tuple(
        sigma_in_map_px(
            s,
            study.maps.sigma_unit,
            grid=view.grid,
            picture_width_px=view.stimulus.width_px,
            picture_width_deg=width_deg,
            patches_across=patches_across,
        )
        for s in study.maps.sigmas()
    )


def shuffled_partners(names: Sequence[str], n: int, seed: int) -> dict[str, tuple[str, ...]]:
    """For each picture, `n` others (all, if there are fewer), every picture serving equally often.

    >>> shuffled_partners(["a", "b", "c"], 5, seed=1)["a"]
    ('b', 'c')
    """
    circle = list(np.random.default_rng([seed, zlib.crc32(b"shuffled pictures")]).permutation(sorted(names)))
    n = min(n, len(circle) - 1)
    return {
        str(name): tuple(sorted(str(circle[(at + step) % len(circle)]) for step in range(1, n + 1)))
        for at, name in enumerate(circle)
    }


def chance_blocks(names: Sequence[str], most: int, seed: int) -> dict[str, tuple[str, ...]]:
    """For each picture, the others of its block: all pictures, in as few blocks of at most `most` as there can be.

    Blocks are drawn from the seed and of sizes that differ by one at most. Within a block every picture's gaze meets
    every other's attention, so that pictures can be permuted there.

    >>> chance_blocks(["a", "b", "c"], 50, seed=1)["a"]
    ('b', 'c')
    """
    order = np.random.default_rng([seed, zlib.crc32(b"chance")]).permutation(sorted(names))
    blocks = np.array_split(order, max(1, -(-len(order) // most)))
    return {
        str(name): tuple(sorted(str(other) for other in block if other != name)) for block in blocks for name in block
    }


def _half_of_pictures(study: Study, blocks: Mapping[str, Sequence[str]], kinds: Mapping[str, str]) -> dict[str, int]:
    """The half that each picture belongs to, 0 or 1, where heads are chosen on one half; else empty.

    Raises StudyError where no half would have two pictures to compare with each other.
    """
    if study.alignment.choose_on == "all":
        return {}
    if len(blocks) < 4:
        raise StudyError(
            'study.toml: alignment.choose_on = "half" needs four pictures or more that people looked at, and there are '
            f'{len(blocks)}: set it to "all".'
        )
    return picture_halves(blocks, kinds, study.study.seed)


def picture_halves(blocks: Mapping[str, Sequence[str]], kinds: Mapping[str, str], seed: int) -> dict[str, int]:
    """The half of each picture, 0 (heads are chosen on it) or 1 (they are estimated on it), drawn from the seed.

    blocks: for each picture the others that it is compared with. Blocks and kinds are split evenly, as far as they can.

    >>> halves = picture_halves({"a": ["b", "c", "d"], "b": ["a", "c", "d"]}, {"a": "bag", "b": "bag"}, seed=1)
    >>> sorted(halves.values())
    [0, 1]
    """
    order = np.random.default_rng([seed, zlib.crc32(b"halves")]).permutation(sorted(blocks))
    by_stratum = sorted(order, key=lambda name: (min([name, *blocks[name]]), kinds[name]))  # stable: drawn within
    return {str(name): place % 2 for place, name in enumerate(by_stratum)}


def _lifts(model: ModelAttention, layer: int, stimulus: Stimulus) -> Iterator[dict[str, object]]:
    special = model.special_mass[stimulus.name][layer]
    mask = read_object(stimulus)
    rows, columns = model.maps[stimulus.name][layer].shape[-2:]
    # The mask is brought to the patches by area: a patch half on the object counts half.
    share = None if mask is None else coverage(mask.astype(np.float64), rows, columns)
    for index, (name, values) in enumerate(_named(model, stimulus.name, layer).items()):
        row: dict[str, object] = {"model": model.summary.name, "layer": layer, "map": name, "stimulus": stimulus.name}
        row["special_mass"] = special[index] if index < len(special) else special.mean() if name == "mean" else np.nan
        if share is None:
            yield row | dict.fromkeys(("inside", "outside", "area", "lift_pp"), np.nan)
            continue
        result = lift(values, share)
        yield row | {
            "inside": float(result.inside),
            "outside": float(result.outside),
            "area": result.area,
            "lift_pp": float(result.lift_pp),
        }


def _remove_stale(study_folder: Path, wanted: set[Path]) -> None:
    folder = results_folder(study_folder)
    parts = [folder / name for name in ("attention", "alignment", "fixed", "chance")]
    for path in [*parts[0].glob("*/*"), *(path for part in parts[1:] for path in part.glob("*/*/*"))]:
        if path not in wanted:
            path.unlink()
    for path in sorted([*(p for part in parts for p in part.glob("*")),
                        *(p for part in parts[1:] for p in part.glob("*/*"))], reverse=True):  # fmt: skip
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
