"""The test of whether heads are closer to people on pictures they saw than on others, by permuted pictures."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beholder.analysis.alignment.measures import sign_of
from beholder.analysis.findings.readings import ChanceTest, LayerReading
from beholder.analysis.findings.score_arrays import ScoreArray, against_other_pictures
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.statistics.permutation import above_chance

PERMUTATIONS = 2000


@dataclass(frozen=True)
class Match:
    """Each head's mean scores over participants in one layer; a row a (picture of gaze, picture of attention)."""

    scores: pd.DataFrame
    participants: int


def chance_tests(
    matches: dict[tuple[str, int], Match], primary: str, seed: int
) -> tuple[tuple[ChanceTest, ...], dict[tuple[str, int, str], float]]:
    """The test of each model, and the adjusted p values by (model, layer, map); matches by (model, layer)."""
    tests: list[ChanceTest] = []
    p_values: dict[tuple[str, int, str], float] = {}
    for model in dict.fromkeys(m for m, _ in matches):
        tables = {layer: match.scores for (m, layer), match in matches.items() if m == model}
        pictures = sorted({picture for table in tables.values() for picture in table.index.get_level_values(0)})
        maps = [(layer, name) for layer, table in tables.items() for name in table.columns]
        where = pd.MultiIndex.from_product([pictures, pictures])
        scores = np.concatenate([t.reindex(where).to_numpy(dtype=np.float64) for t in tables.values()], axis=1)
        square = scores.reshape(1, len(pictures), len(pictures), len(maps))
        rng = np.random.default_rng((seed, crc32(f"chance of {model}".encode())))
        blocks = compared_with_each_other(np.isfinite(square[0]).any(axis=-1))
        if not any(len(block) > 1 for block in blocks):
            continue
        found = above_chance(square, sign_of(primary), rng, PERMUTATIONS, blocks)
        p_values |= {
            (model, layer, name): p for (layer, name), p in zip(maps, found.p_adjusted, strict=True) if p is not None
        }
        z = [value if value is not None else -np.inf for value in found.z]
        layer, name = maps[int(np.argmax(z))]
        tests.append(
            ChanceTest(
                model=model,
                measure=primary,
                p=found.p,
                map=name,
                layer=layer,
                z=found.z[int(np.argmax(z))],
                gain=found.gain[int(np.argmax(z))],
                maps=sum(v is not None for v in found.z),
                participants=matches[model, layer].participants,
                pictures=found.pictures,
                permutations=found.permutations,
                exact=found.exact,
                smallest_p=found.smallest_p,
            )
        )
    return tuple(tests), p_values


def match_of(results: Results, cells: ScoreArray, model: str, layer: int) -> Match:
    """The scores of one layer that pictures are permuted in; cells: by the primary measure, at the fixed sigma."""
    primary = results.study.alignment.primary
    heads = [m for m in cells.maps if is_head(m)]
    elsewhere = against_other_pictures(results, model, layer, primary)
    if elsewhere.empty:
        return Match(elsewhere.reindex(columns=heads), len(cells.participants))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a picture that nobody has a score on
        match = np.nanmean(np.stack([cells.at(h, cells.sigmas[0]) for h in heads], axis=2), axis=0)
    own = pd.DataFrame(match, index=pd.MultiIndex.from_arrays([cells.pictures, cells.pictures]), columns=heads)
    return Match(pd.concat([elsewhere[heads], own]), len(cells.participants))


def compared_with_each_other(known: NDArray[np.bool_]) -> list[list[int]]:
    """The blocks of pictures (by index) that have scores with each other; known: (pictures, pictures)."""
    blocks: dict[tuple[int, ...], list[int]] = {}
    for picture, row in enumerate(known):
        blocks.setdefault(tuple(np.flatnonzero(row)), []).append(picture)
    return [list(block) for block in blocks.values()]


def with_p_above_chance(reading: LayerReading, p_values: dict[tuple[str, int, str], float]) -> LayerReading:
    """A reading whose heads have their adjusted p values; p_values: by (model, layer, map)."""
    heads = [replace(h, p_above_chance=p_values.get((reading.model, reading.layer, h.map))) for h in reading.heads]
    return replace(reading, heads=tuple(heads))
