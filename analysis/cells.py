"""From the partitions of an analysis to the arrays that statistics are made of: scores by participant, picture and map.

A layer's partitions are read a picture at a time, and of each only the rows and columns that are asked for; what stays
in memory are the arrays of one layer, however many layers, windows and measures a study has.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import HALF, POOLED, Condition, Results

FloatArray = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

# Before the name of a map: the same head on other pictures, and on other pictures of the same kind.
SHUFFLED, SAME_KIND = "shuffled-", "same-kind-"
CHANCE_PREFIX = {"others": SHUFFLED, "same kind": SAME_KIND}


@dataclass(frozen=True)
class Cells:
    """The scores of one model, layer and measure: scores (participants, pictures, maps, sigmas), NaN where missing."""

    scores: FloatArray
    participants: tuple[str, ...]
    pictures: tuple[str, ...]
    maps: tuple[str, ...]
    sigmas: tuple[float, ...]

    def at(self, name: str, sigma: float) -> FloatArray:
        """The scores of one map at one sigma, (participants, pictures); all NaN where the map is absent."""
        if name not in self.maps:
            return np.full(self.scores.shape[:2], np.nan)
        nearest = int(np.argmin(np.abs(np.array(self.sigmas) - sigma)))
        at_sigma: FloatArray = self.scores[:, :, self.maps.index(name), nearest]
        return at_sigma

    def without_scores(self) -> bool:
        """Whether there is not one score."""
        return bool(np.isnan(self.scores).all())


@dataclass(frozen=True)
class Fixed:
    """One model, layer and measure at the fixed sigma: the participants' scores, those within the object, and by
    picture those of everybody's map together, {map: (pictures,)}; cells have one sigma.
    """

    cells: Cells
    inside: Cells | None = None
    pooled: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """The primary measure in one window of viewing time; `fixations` in it, a mean over participants and pictures."""

    start_s: float
    end_s: float
    cells: Cells
    fixations: float


@dataclass(frozen=True)
class Equal:
    """The primary measure where everybody has as many fixations on a picture, `fixations` (a mean over pictures).

    viewed: how many pairs of participant and picture there are, with fewer fixations too.
    """

    cells: Cells
    fixations: float
    viewed: int


def to_cells(table: pd.DataFrame, measures: Sequence[str]) -> dict[str, Cells]:
    """Rows of one layer as arrays, by measure; what a participant saw in several runs is averaged.

    table: participant, stimulus, map, sigma and the measures.
    """
    codes, names = [], []
    for column in ("participant", "stimulus", "map", "sigma"):
        code, found = pd.factorize(table[column].round(9) if column == "sigma" else table[column], sort=True)
        codes.append(code)
        names.append(found)
    shape = tuple(len(n) for n in names)
    size = int(np.prod(shape))
    flat = np.ravel_multi_index(codes, shape)
    participants, pictures, maps = (tuple(str(n) for n in some) for some in names[:3])
    cells = {}
    for measure in measures:
        scores = table[measure].to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(scores)
        counts = np.bincount(flat[known], minlength=size)
        sums = np.bincount(flat[known], weights=scores[known], minlength=size)
        values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(shape)
        cells[measure] = Cells(values, participants, pictures, maps, tuple(float(s) for s in names[3]))
    return cells


def joined(parts: Sequence[Cells]) -> Cells:
    """The same measure on several pictures as one array; who or what a part lacks is missing there.

    Raises ValueError where there is no part, or two are of the same picture.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    participants, pictures, maps = (
        tuple(sorted({name for part in parts for name in getattr(part, axis)}))
        for axis in ("participants", "pictures", "maps")
    )
    if len(pictures) < sum(len(part.pictures) for part in parts):
        raise ValueError("a picture has two parts")
    sigmas = tuple(sorted({sigma for part in parts for sigma in part.sigmas}))
    scores = np.full((len(participants), len(pictures), len(maps), len(sigmas)), np.nan)
    for part in parts:
        of_part = (part.participants, part.pictures, part.maps, part.sigmas)
        places = [
            _places(some, every) for some, every in zip(of_part, (participants, pictures, maps, sigmas), strict=True)
        ]
        scores[np.ix_(*places)] = part.scores
    return Cells(scores, participants, pictures, maps, sigmas)


def _places(some: Sequence[Any], every: Sequence[Any]) -> NDArray[np.intp]:
    number = {name: i for i, name in enumerate(every)}
    return np.array([number[name] for name in some], dtype=np.intp)


def over_sigma(results: Results, model: str, layer: int, measures: Sequence[str]) -> dict[str, Cells]:
    """The participants' scores at every sigma, by measure; empty where nothing was compared, and of a measure that was
    not swept there are none.
    """
    columns = ["participant", "stimulus", "map", "sigma", *measures]
    where = [("participant", "!=", POOLED), ("smooth", "==", results.study.maps.smooth)]
    parts: dict[str, list[Cells]] = {}
    for picture in results.compared(model, layer):
        rows = results.rows("alignment", model, layer, picture, columns, where)
        if len(rows):
            _add(parts, to_cells(rows, [m for m in measures if m in rows]))
    return {measure: joined(some) for measure, some in parts.items()}


def at_fixed_sigma(
    results: Results, model: str, layer: int, measures: Sequence[str], *, moved: bool = False
) -> dict[str, Fixed]:
    """By measure what was compared at the fixed sigma over all viewing time, with chance; empty where nothing was.

    Chance stands among the maps, by SHUFFLED and SAME_KIND. moved: with the correction of drift that the study did not
    choose.
    """
    keys, at = ["participant", "stimulus", "map"], {"sigma": results.study.maps.sigma}
    drift = ("drift_corrected", "==", results.study.fixations.correct_drift != moved)
    cells: dict[str, list[Cells]] = {}
    inside: dict[str, list[Cells]] = {}
    pooled: list[pd.DataFrame] = []
    for picture in results.compared(model, layer):
        columns = [*keys, "within", "window_start_s", "window_end_s", *measures]
        where: list[Condition] = [drift, ("counted", "==", "all"), ("map", "!=", HALF)]
        rows = results.rows("fixed", model, layer, picture, columns, where).assign(**at)
        rows = rows[_over_all_time(rows)]
        everybody = rows["participant"] == POOLED
        own, within_object = (rows[~everybody & (rows["within"] == part)] for part in ("picture", "object"))
        if own.empty:
            continue
        where = [drift, ("of", "in", list(CHANCE_PREFIX)), ("participant", "in", own["participant"].unique().tolist())]
        chance = results.rows("chance", model, layer, picture, [*keys, "of", *measures], where).assign(**at)
        if len(chance):
            chance["map"] = chance["of"].map(CHANCE_PREFIX) + chance["map"]
            own = pd.concat([own, chance.reindex(columns=own.columns)], ignore_index=True)
        _add(cells, to_cells(own, measures))
        if len(within_object):
            _add(inside, to_cells(within_object, measures))
        pooled.append(rows[everybody].groupby(["stimulus", "map"], sort=True)[list(measures)].mean())
    if not cells:
        return {}
    by_map = pd.concat(pooled).sort_index()
    return {
        measure: Fixed(
            joined(some),
            # Neighbours are lost within the object: some measures have no score there.
            known if measure in inside and not (known := joined(inside[measure])).without_scores() else None,
            {
                str(name): of.dropna().to_numpy(dtype=np.float64)
                for name, of in by_map[measure].groupby("map", sort=True)
            },
        )
        for measure, some in cells.items()
    }


def in_windows(results: Results, model: str, layer: int, measure: str) -> tuple[Window, ...]:
    """A measure in each window of viewing time that at least half of the pictures have, the whole left out."""
    columns = ["participant", "run", "stimulus", "map", "window_start_s", "window_end_s", "n_fixations", measure]
    where: list[Condition] = [
        ("drift_corrected", "==", results.study.fixations.correct_drift), ("counted", "==", "all"),
        ("within", "==", "picture"), ("participant", "!=", POOLED),
    ]  # fmt: skip
    parts: dict[tuple[float, float], list[Cells]] = {}
    counts: dict[tuple[float, float], list[NDArray[np.int64]]] = {}
    pictures = results.compared(model, layer)
    for picture in pictures:
        rows = results.rows("fixed", model, layer, picture, columns, where).assign(sigma=results.study.maps.sigma)
        for borders, own in rows[~_over_all_time(rows)].groupby(["window_start_s", "window_end_s"], sort=True):
            window = (float(str(borders[0])), float(str(borders[1])))  # pandas' types say Hashable
            _add(parts, {window: to_cells(own, [measure])[measure]})
            seen = own.drop_duplicates(["participant", "run"])["n_fixations"].to_numpy()
            counts.setdefault(window, []).append(seen)
    return tuple(
        Window(*window, joined(parts[window]), float(np.concatenate(counts[window]).mean()))
        for window in sorted(parts) if len(parts[window]) * 2 >= len(pictures)
    )  # fmt: skip


def with_equal_counts(
    results: Results, model: str, layer: int, measure: str, participants: Iterable[str]
) -> Equal | None:
    """A measure where everybody has as many fixations on a picture, of these participants; None where there is none."""
    drift = ("drift_corrected", "==", results.study.fixations.correct_drift)
    theirs, viewed = ("participant", "in", list(participants)), 0
    parts, counts = [], []
    for picture in results.compared(model, layer) if theirs[2] else ():
        where: list[Condition] = [drift, theirs, ("counted", "==", "equal")]
        columns = ["participant", "stimulus", "map", "n_fixations", measure]
        rows = results.rows("fixed", model, layer, picture, columns, where).assign(sigma=results.study.maps.sigma)
        where = [drift, theirs, ("counted", "==", "all"), ("map", "==", "mean")]
        viewed += results.rows("fixed", model, layer, picture, ["participant"], where)["participant"].nunique()
        if len(rows):
            parts.append(to_cells(rows, [measure])[measure])
            counts.append(rows["n_fixations"].iloc[0])
    return Equal(joined(parts), float(np.mean(counts)), viewed) if parts else None


def against_other_pictures(results: Results, model: str, layer: int, measure: str) -> pd.DataFrame:
    """The mean over participants of each head's map on another picture: (picture of gaze, picture of attention) x maps;
    empty where chance was not measured by it.
    """
    where = [("drift_corrected", "==", results.study.fixations.correct_drift), ("of", "==", "picture")]
    columns = ["stimulus", "attention_of", "map", measure]
    tables = []
    for picture in results.compared(model, layer):
        rows = results.rows("chance", model, layer, picture, columns, where)
        if len(rows) and measure in rows:
            tables.append(rows.pivot_table(index=["stimulus", "attention_of"], columns="map", values=measure))
    return pd.concat(tables) if tables else pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []]), dtype=np.float64)


def means_over_participants(results: Results, model: str, layer: int, measure: str, swept: str = "") -> pd.DataFrame:
    """Over all viewing time, a row a (map, picture) and a column a sigma: `measure` at the fixed one, `swept`, which
    was taken over sigma, at the others; without it the fixed sigma is the only one.
    """
    fixed = results.study.maps.sigma
    drift, people = ("drift_corrected", "==", results.study.fixations.correct_drift), ("participant", "!=", POOLED)
    tables: dict[str, pd.DataFrame] = {}
    for picture in results.compared(model, layer):
        where = [drift, people, ("counted", "==", "all"), ("within", "==", "picture")]
        columns = ["map", "window_start_s", "window_end_s", measure]
        rows = results.rows("fixed", model, layer, picture, columns, where)
        table = rows[_over_all_time(rows)].groupby("map")[measure].mean().to_frame(fixed)
        if swept:
            rows = results.rows("alignment", model, layer, picture, ["map", "sigma", swept], [people])
            curves = rows.assign(sigma=rows["sigma"].round(9)).pivot_table(swept, index="map", columns="sigma")
            table = table.join(curves.drop(columns=fixed, errors="ignore"))
        tables[picture] = table
    if not tables:
        return pd.DataFrame(columns=[fixed])
    whole = pd.concat(tables, names=["picture"]).swaplevel()
    return whole[sorted(whole.columns)]


def half_of_viewers(results: Results, model: str, layer: int) -> FloatArray:
    """By NSS, the map of half of the viewers for the fixations of the others, (pictures,) of those that have it."""
    values = [results.rows("fixed", model, layer, picture, ["nss"], [("map", "==", HALF)])
              for picture in results.compared(model, layer)]  # fmt: skip
    known = [rows["nss"].dropna().to_numpy(dtype=np.float64) for rows in values if "nss" in rows]
    return np.concatenate([np.empty(0), *known])


def _over_all_time(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows of one picture are of the whole viewing time: those of the widest window, or of none that is known."""
    span = rows["window_end_s"] - rows["window_start_s"]
    whole: pd.Series[bool] = span.isna() | (span == span.max())
    return whole


def _add(parts: dict[Name, list[Cells]], found: Mapping[Name, Cells]) -> None:
    for name, cells in found.items():
        parts.setdefault(name, []).append(cells)
