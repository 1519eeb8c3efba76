"""Attention of every model on every picture, kept in a cache of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from beholder.analysis.attention import models
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.pipeline.workers import Runner
from beholder.analysis.results.files import part_of, write_json
from beholder.analysis.results.study_results import Family, ModelSummary
from beholder.analysis.results.sums import reading
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import StudyError
from beholder.shared.provenance import digest, file_digest, versions
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study

Item = TypeVar("Item")

PICTURES_PER_BATCH = 16  # through the network together, on a GPU


@dataclass(frozen=True)
class ModelAttention:
    """A model's attention on every picture: `maps[stimulus][layer]` is (heads, rows, columns).

    `rollout` has (rows, columns) a picture and layer, and `random` the heads of the same network with random weights,
    (seeds x heads, rows, columns); empty where they were not asked for.
    """

    summary: ModelSummary
    layers: tuple[int, ...]
    maps: dict[str, dict[int, NDArray[np.float32]]]
    special_mass: dict[str, dict[int, FloatArray]]
    rollout: dict[str, dict[int, NDArray[np.float32]]]
    random: dict[str, dict[int, NDArray[np.float32]]]


@dataclass(frozen=True)
class _AttentionJob:
    """Pictures of one size, and for each the files of its layers."""

    model: str
    weights: Path | None
    pictures: tuple[Path, ...]
    layers: tuple[int, ...]
    input_px: int | None
    rollout: bool
    files: tuple[tuple[Path, ...], ...]
    device: str


@dataclass(frozen=True)
class _RandomJob:
    """The network with random weights of one seed, on every picture (by the picture's digest)."""

    model: str
    seed: int
    pictures: dict[str, Path]
    layers: tuple[int, ...]
    input_px: int | None
    files: tuple[Path, ...]
    device: str


def attention_stage(
    study: Study, stimuli: Sequence[Stimulus], weights: Path | None, device: str, run: Runner
) -> tuple[list[ModelAttention], int]:
    """The attention of every model on every picture, and how many pieces of it had to be computed."""
    cache = cache_folder() / "attention"
    pictures = {s.name: file_digest(s.file) for s in stimuli}
    seen: list[ModelAttention] = []
    computed = 0
    for name in dict.fromkeys(study.models.names):
        identity = {
            "version": VERSION["attention"],
            "model": models.digest(name, weights),
            "packages": versions(("torch", "timm", "pillow", "numpy")),
            "input_px": study.models.input_px,
        } | of_device(device)
        facts = _facts(cache / f"{digest(identity)}.json", name, weights, run)
        layers = _layers(study, facts)
        rolled = study.models.rollout
        files = {
            (s.name, layer): cache / f"{digest([identity, pictures[s.name], layer, *['rollout'] * rolled])}.npz"
            for s in stimuli
            for layer in layers
        }
        jobs = [
            _AttentionJob(
                name,
                weights,
                tuple(s.file for s in some),
                absent,
                study.models.input_px,
                rolled,
                tuple(tuple(files[s.name, layer] for layer in absent) for s in some),
                device,
            )
            for absent, alike in _lacking(stimuli, layers, files)
            for some in _batches(alike, device)
        ]
        computed += sum(len(job.layers) * len(job.pictures) for job in jobs)
        run(_attend, jobs, f"attention of {name}")
        random = _random_weights(study, name, stimuli, pictures, layers, device, run)
        seen.append(_read(name, models.family_of(name, weights), facts, layers, files, rolled, random))
    return seen, computed


def _lacking(
    stimuli: Sequence[Stimulus], layers: tuple[int, ...], files: Mapping[tuple[str, int], Path]
) -> Iterator[tuple[tuple[int, ...], list[Stimulus]]]:
    """Layers that are not in the cache, and the pictures of one size that lack just these."""
    lacking: dict[tuple[tuple[int, ...], int, int], list[Stimulus]] = {}
    for s in stimuli:
        absent = tuple(layer for layer in layers if not files[s.name, layer].exists())
        if absent:
            lacking.setdefault((absent, s.width_px, s.height_px), []).append(s)
    for (absent, *_), alike in lacking.items():
        yield absent, alike


def _read(
    name: str,
    family: Family,
    facts: Mapping[str, Any],
    layers: tuple[int, ...],
    files: Mapping[tuple[str, int], Path],
    rolled: bool,
    random: dict[str, dict[int, NDArray[np.float32]]],
) -> ModelAttention:
    """A model's attention from the cache's files, by picture and layer."""
    maps: dict[str, dict[int, NDArray[np.float32]]] = {}
    special: dict[str, dict[int, FloatArray]] = {}
    rollout: dict[str, dict[int, NDArray[np.float32]]] = {}
    shapes = set()
    query = ""
    for (stimulus, layer), file in files.items():
        with reading(file), np.load(file) as arrays:
            maps.setdefault(stimulus, {})[layer] = arrays["heads"]
            special.setdefault(stimulus, {})[layer] = arrays["special_mass"]
            if rolled:
                rollout.setdefault(stimulus, {})[layer] = arrays["rollout"]
            shapes.add(tuple(int(v) for v in arrays["input_px"]))
            query = str(arrays["query"])
    shape = max(shapes)
    summary = ModelSummary(
        name=name,
        label=facts["label"],
        weights=facts["weights"],
        stand_in=facts["stand_in"],
        patch_px=facts["patch_px"],
        layers=facts["layers"],
        heads=facts["heads"],
        analysed_layers=layers,
        query=query,
        input_px=(shape[0], shape[1]),
        patches=(shape[0] // facts["patch_px"], shape[1] // facts["patch_px"]),
        family=family,
    )
    return ModelAttention(summary, layers, maps, special, rollout, random)


def _facts(file: Path, name: str, weights: Path | None, run: Runner) -> dict[str, Any]:
    """What is to be known of a model before it is loaded: kept in a file, for loading it takes long."""
    if not file.exists():
        [facts] = run(_model_facts, [(name, weights)], f"weights of {name}")
        write_json(facts, file)
    with reading(file):
        kept: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if not set(_FACTS) <= kept.keys():
            raise KeyError("a fact lacks")
    return kept


def _random_weights(
    study: Study,
    name: str,
    stimuli: Sequence[Stimulus],
    digests: Mapping[str, str],
    layers: tuple[int, ...],
    device: str,
    run: Runner,
) -> dict[str, dict[int, NDArray[np.float32]]]:
    """The attention of the network with random weights: what its architecture alone makes of a picture."""
    seeds = range(study.alignment.random_weights)
    identity = {
        "version": VERSION["random weights"],
        "architecture": name,
        "input_px": study.models.input_px,
        "packages": versions(("torch", "timm", "pillow", "numpy")),
        "pictures": sorted(digests.values()),
    } | of_device(device)
    folder = cache_folder() / "random-weights"
    kept = {(seed, layer): folder / f"{digest([identity, seed, layer])}.npz" for seed in seeds for layer in layers}
    # Those of one size beside each other, for batches.
    by_size = sorted(stimuli, key=lambda s: (s.width_px, s.height_px, s.name))
    by_digest = {digests[s.name]: s.file for s in by_size}
    jobs = []
    for seed in seeds:
        absent = tuple(layer for layer in layers if not kept[seed, layer].exists())
        if absent:
            into = tuple(kept[seed, layer] for layer in absent)
            jobs.append(_RandomJob(name, seed, by_digest, absent, study.models.input_px, into, device))
    run(_attend_at_random, jobs, f"random weights in {name}")
    found: dict[str, dict[int, list[NDArray[np.float32]]]] = {s.name: {layer: [] for layer in layers} for s in stimuli}
    for (_, layer), file in kept.items():
        with reading(file), np.load(file) as arrays:
            for stimulus, by_layer in found.items():
                by_layer[layer].append(arrays[digests[stimulus]])
    if not kept:
        return {}
    return {s: {layer: np.concatenate(maps) for layer, maps in by_layer.items()} for s, by_layer in found.items()}


@lru_cache(maxsize=1)
def _loaded(name: str, weights: Path | None) -> models.Model:
    return models.load(name, weights)


_FACTS = ("label", "weights", "stand_in", "patch_px", "layers", "heads")


def _model_facts(job: tuple[str, Path | None]) -> dict[str, Any]:
    model = _loaded(*job)
    return {"label": model.label, "weights": model.weights, "stand_in": model.stand_in, "patch_px": model.patch_px,
            "layers": model.n_layers, "heads": model.n_heads}  # fmt: skip


def _attend(job: _AttentionJob) -> None:
    from beholder.analysis.attention.extraction import attend_batch

    model, pictures = _loaded(job.model, job.weights), [open_picture(file) for file in job.pictures]
    found = attend_batch(model, pictures, job.layers, job.input_px, with_rollout=job.rollout, device=job.device)
    for attention, files in zip(found, job.files, strict=True):
        for index, file in enumerate(files):
            more = {} if attention.rollout is None else {"rollout": attention.rollout[index]}
            part = part_of(file)
            with part.open("wb") as out:
                np.savez(
                    out,
                    heads=attention.heads[index],
                    input_px=np.array(attention.input_px),
                    query=attention.query,
                    special_mass=attention.prefix_mass[index].sum(axis=-1, dtype=np.float64),
                    **more,
                )
            part.replace(file)


def _attend_at_random(job: _RandomJob) -> None:
    from beholder.analysis.attention.extraction import attend_batch

    model = models.with_random_weights(job.model, job.seed)
    found: list[NDArray[np.float32]] = []
    for some in _batches(list(job.pictures.values()), job.device):
        by_size = groupby([open_picture(file) for file in some], key=lambda picture: picture.size)
        for _, alike in by_size:
            batch = attend_batch(model, list(alike), job.layers, job.input_px, device=job.device)
            found += [attention.heads for attention in batch]
    for index, file in enumerate(job.files):
        part = part_of(file)
        with part.open("wb") as out:
            np.savez(out, **{name: heads[index] for name, heads in zip(job.pictures, found, strict=True)})
        part.replace(file)


def _batches(items: Sequence[Item], device: str) -> Iterator[Sequence[Item]]:
    """As many pictures at once as the device gains by. On a processor that is one: a core is busy with it, and its
    bytes then do not depend on which pictures lacked their attention.
    """
    size = 1 if device == "cpu" else PICTURES_PER_BATCH
    return (items[first : first + size] for first in range(0, len(items), size))


def of_device(device: str) -> dict[str, str]:
    """What a key has more where numbers come from a GPU: they differ from a processor's in their last digits."""
    return {} if device == "cpu" else {"device": device.partition(":")[0]}


def cache_folder() -> Path:
    """Where attention is kept for all studies of this user; BEHOLDER_CACHE names another place."""
    return Path(os.environ.get("BEHOLDER_CACHE") or platformdirs.user_cache_dir("beholder", appauthor=False))


def _layers(study: Study, facts: dict[str, Any]) -> tuple[int, ...]:
    n = int(facts["layers"])
    chosen: set[int] = set()
    for layer in study.models.layers:
        if layer == "all":
            chosen |= set(range(1, n + 1))
        elif layer == "last":
            chosen.add(n)
        elif 1 <= int(layer) <= n:
            chosen.add(int(layer))
        else:
            raise StudyError(f"study.toml: models.layers: {facts['label']} has layers 1 to {n}; {layer} is not one.")
    return tuple(sorted(chosen))
