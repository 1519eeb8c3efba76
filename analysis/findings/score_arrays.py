"""Scores by participant, picture and map, read from an analysis's partitions into the arrays that statistics need.

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

from beholder.analysis.results.map_names import SAME_HALF, SAME_KIND, SHUFFLED
from beholder.analysis.results.study_results import Condition, Results
from beholder.analysis.results.tables import HALF, POOLED
from beholder.shared.arrays import FloatArray

Name = TypeVar("Name", bound=Hashable)

CHANCE_PREFIX = {"others": SHUFFLED, "same kind": SAME_KIND, "same half": SAME_HALF}
# The column that marks the rows of chance by picture which belong to each of these means; None: all rows do.
_AMONG = {"others": None, "same kind": "same_kind", "same half": "same_half"}


@dataclass(frozen=True)
class ScoreArray:
    """The scores of one model, layer and measure: scores (participants, pictures, maps, sigmas), NaN where missing."""

    scores: FloatArray
    participants: tuple[str, ...]
    pictures: tuple[str, ...]
    maps: tuple[str, ...]
    sigmas: tuple[float, ...]

    def at(self, name: str, sigma: float) -> FloatArray:
        """The scores of one map at the nearest sigma, (participants, pictures); all NaN where the map is absent."""
        if name not in self.maps:
            return np.full(self.scores.shape[:2], np.nan)
        nearest = int(np.argmin(np.abs(np.array(self.sigmas) - sigma)))
        at_sigma: FloatArray = self.scores[:, :, self.maps.index(name), nearest]
        return at_sigma

    def without_scores(self) -> bool:
        """Whether every score is missing."""
        return bool(np.isnan(self.scores).all())


@dataclass(frozen=True)
class AttentionEffect:
    """The mean score of the attention on each picture with the gaze on other pictures; (pictures,).

    `others`: how many other pictures the mean is over. Where there are none, the mean is NaN and `others` is 0.
    """

    mean: FloatArray
    others: NDArray[np.intp]

    def of(self, pictures: NDArray[np.intp]) -> AttentionEffect:
        """The effect of some of the pictures, by their index."""
        return AttentionEffect(self.mean[pictures], self.others[pictures])


@dataclass(frozen=True)
class FixedSigma:
    """The scores of one model, layer and measure at the fixed sigma.

    `cells`: the participants' scores, at that one sigma. `inside`: those within the object. `pooled`: by map, those of
    everybody's map together, (pictures that have one,). `attention`: by map of chance, the part that the attention on
    each picture of `cells` has in it.
    """

    cells: ScoreArray
    inside: ScoreArray | None = None
    pooled: dict[str, FloatArray] = field(default_factory=dict)
    attention: dict[str, AttentionEffect] = field(default_factory=dict)

    def chance(self, name: str, sigma: float, kept: tuple[NDArray[np.intp], ...]) -> FloatArray:
        """The pseudo-values of a map of chance, (participants, pictures); see `pseudo_values`.

        name: begins with SHUFFLED, SAME_KIND or SAME_HALF. kept: which participants and pictures, as by `np.ix_`.
        Pseudo-values have the mean of the scores, and the variance over pictures that this mean has.
        """
        scores = self.cells.at(name, sigma)[kept]
        attention = self.attention.get(name)
        return scores if attention is None else pseudo_values(scores, attention.of(kept[1].ravel()))


@dataclass(frozen=True)
class TimeWindow:
    """The primary measure in one window of viewing time; `fixations` in it, a mean over participants and pictures."""

    start_s: float
    end_s: float
    cells: ScoreArray
    fixations: float


@dataclass(frozen=True)
class EqualCounts:
    """The primary measure from equally many fixations of everybody on a picture, `fixations` (a mean over pictures).

    viewed: how many pairs of participant and picture there are, those with too few fixations included. `attention` is
    as in `FixedSigma`, for each group whose gaze it is averaged over.
    """

    cells: ScoreArray
    fixations: float
    viewed: int
    attention: dict[str, dict[str, AttentionEffect]] = field(default_factory=dict)

    def gain(self, name: str, sign: int, group: str, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """A map's gain over chance, (participants, pictures), positive towards people; NaN where chance is not known.

        rows: the indices of some participants of `group`; columns: those of some pictures.
        """
        kept, sigma = np.ix_(rows, columns), self.cells.sigmas[0]
        of_group = FixedSigma(self.cells, attention=self.attention.get(group, {}))
        return sign * (self.cells.at(name, sigma)[kept] - of_group.chance(SHUFFLED + name, sigma, kept))


def pseudo_values(chance: FloatArray, attention: AttentionEffect) -> FloatArray:
    """Pseudo-values of scores by chance: how their mean depends on each participant and picture.

    chance: (participants, pictures), each participant's mean over other pictures' attention, NaN where it is not known.
    Returns the same shape; each participant's mean stays. In the mean over all pairs of gaze on s and attention on t, a
    picture has two parts: by its gaze, which `chance` has, and by its attention. Leaving a picture out moves a
    participant's mean over n others by n / (n - 1) of both parts: these are the jackknife's pseudo-values. So whatever
    a map scores with anybody's gaze (a flat map scores well with all) adds to the match and to chance alike, and
    nothing to the gain.
    Sources: Hoeffding 1948, doi:10.1214/aoms/1177730196; Efron and Stein 1981, doi:10.1214/aos/1176345462.

    >>> effect = AttentionEffect(np.array([0.0, 3.0, 6.0]), np.array([2, 2, 2]))
    >>> pseudo_values(np.array([[4.5, 3.0, 1.5]]), effect).tolist()
    [[0.0, 3.0, 6.0]]
    """
    known = np.isfinite(chance)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)

    def mean(values: FloatArray) -> FloatArray:
        over_known: FloatArray = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
        return over_known

    # Attention that met no other picture's gaze is not in the mean, and adds nothing.
    met = np.isfinite(attention.mean)
    effect = np.where(met, attention.mean, attention.mean[met].mean() if met.any() else 0.0)
    factor = np.where(attention.others > 1, attention.others / np.maximum(attention.others - 1, 1), 1.0)
    deviation = factor * (chance - mean(chance) + effect)
    centred: FloatArray = mean(chance) + deviation - mean(deviation)
    return centred


def attention_effect(scores: FloatArray) -> AttentionEffect:
    """The part of each picture's attention in chance: its mean score with the gaze on other pictures.

    scores: (pictures of gaze, pictures of attention), NaN where they were not compared; the match is left out.
    """
    others = np.array(scores, dtype=np.float64)
    np.fill_diagonal(others, np.nan)
    known = np.isfinite(others)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, others, 0.0).sum(axis=0) / known.sum(axis=0)
    return AttentionEffect(mean, known.sum(axis=0))


def to_cells(table: pd.DataFrame, measures: Sequence[str]) -> dict[str, ScoreArray]:
    """Rows of one layer as arrays, by measure; a picture that a participant saw in several runs has their mean.

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
        cells[measure] = ScoreArray(values, participants, pictures, maps, tuple(float(s) for s in names[3]))
    return cells


def joined(parts: Sequence[ScoreArray]) -> ScoreArray:
    """One measure on several pictures as one array; NaN where a part lacks a participant, a map or a sigma.

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
    return ScoreArray(scores, participants, pictures, maps, sigmas)


def _places(some: Sequence[Any], every: Sequence[Any]) -> NDArray[np.intp]:
    number = {name: i for i, name in enumerate(every)}
    return np.array([number[name] for name in some], dtype=np.intp)


def over_sigma(results: Results, model: str, layer: int, measures: Sequence[str]) -> dict[str, ScoreArray]:
    """The participants' scores at every sigma, by measure; empty where nothing was compared.

    A measure that was not taken over sigma is left out.
    """
    columns = ["participant", "stimulus", "map", "sigma", *measures]
    where = [("participant", "!=", POOLED), ("smooth", "==", results.study.maps.smooth)]
    parts: dict[str, list[ScoreArray]] = {}
    for picture in results.compared(model, layer):
        rows = results.rows("alignment", model, layer, picture, columns, where)
        if len(rows):
            _add(parts, to_cells(rows, [m for m in measures if m in rows]))
    return {measure: joined(some) for measure, some in parts.items()}


def at_fixed_sigma(
    results: Results, model: str, layer: int, measures: Sequence[str], *, moved: bool = False
) -> dict[str, FixedSigma]:
    """The scores at the fixed sigma over all viewing time, with chance, by measure; empty where nothing was compared.

    Chance stands among the maps, under names that begin with SHUFFLED, SAME_KIND or SAME_HALF. moved: with drift
    correction off where the study has it on, and on where it has it off.
    """
    keys, at = ["participant", "stimulus", "map"], {"sigma": results.study.maps.sigma}
    drift = ("drift_corrected", "==", results.study.fixations.correct_drift != moved)
    cells: dict[str, list[ScoreArray]] = {}
    inside: dict[str, list[ScoreArray]] = {}
    pooled: list[pd.DataFrame] = []
    by_picture: list[pd.DataFrame] = []
    for picture in results.compared(model, layer):
        columns = [*keys, "within", "window_start_s", "window_end_s", *measures]
        where: list[Condition] = [drift, ("counted", "==", "all"), ("map", "!=", HALF)]
        rows = results.rows("fixed", model, layer, picture, columns, where).assign(**at)
        rows = rows[_over_all_time(rows)]
        everybody = rows["participant"] == POOLED
        own, within_object = (rows[~everybody & (rows["within"] == part)] for part in ("picture", "object"))
        if own.empty:
            continue
        columns = [*keys, "of", "attention_of", "same_kind", "same_half", *measures]
        where = [drift, ("counted", "==", "all")]
        chance = results.rows("chance", model, layer, picture, columns, where).assign(**at)
        if len(chance):
            by_picture.append(chance[chance["of"] == "picture"])
            chance = chance[chance["of"].isin(list(CHANCE_PREFIX)) & chance["participant"].isin(own["participant"])]
            chance["map"] = chance["of"].map(CHANCE_PREFIX) + chance["map"]
            own = pd.concat([own, chance.reindex(columns=own.columns)], ignore_index=True)
        _add(cells, to_cells(own, measures))
        if len(within_object):
            _add(inside, to_cells(within_object, measures))
        pooled.append(rows[everybody].groupby(["stimulus", "map"], sort=True)[list(measures)].mean())
    if not cells:
        return {}
    by_map = pd.concat(pooled).sort_index()
    found = {measure: joined(some) for measure, some in cells.items()}
    return {
        measure: FixedSigma(
            of_people,
            # Some measures have no score within the object, where pixels lose their neighbours.
            known if measure in inside and not (known := joined(inside[measure])).without_scores() else None,
            {
                str(name): of.dropna().to_numpy(dtype=np.float64)
                for name, of in by_map[measure].groupby("map", sort=True)
            },
            _attention(by_picture, measure, of_people.pictures),
        )
        for measure, of_people in found.items()
    }


def _attention(by_picture: Sequence[pd.DataFrame], measure: str, pictures: Sequence[str]) -> dict[str, AttentionEffect]:
    """`FixedSigma.attention` from the rows of chance by picture; by_picture: a table for each picture of gaze."""
    if not by_picture:
        return {}
    rows = pd.concat(by_picture)
    if measure not in rows:
        return {}
    found: dict[str, AttentionEffect] = {}
    for of, column in _AMONG.items():
        among = rows if column is None else rows[rows[column]] if column in rows else rows.iloc[:0]
        for name, own in among.groupby("map", sort=True):
            square = own.pivot_table(index="stimulus", columns="attention_of", values=measure)
            effect = attention_effect(
                square.reindex(index=list(pictures), columns=list(pictures)).to_numpy(dtype=np.float64)
            )
            found[CHANCE_PREFIX[of] + str(name)] = effect
    return found


def head_scores(results: Results, model: str, layer: int, measure: str) -> ScoreArray | None:
    """The participants' scores at the fixed sigma, over all viewing time and without chance; None where there are none.

    For one measure of many layers: `at_fixed_sigma` would read all of chance as well.
    """
    columns = ["participant", "stimulus", "map", "window_start_s", "window_end_s", measure]
    where: list[Condition] = [
        ("drift_corrected", "==", results.study.fixations.correct_drift), ("counted", "==", "all"),
        ("within", "==", "picture"), ("participant", "!=", POOLED), ("map", "!=", HALF),
    ]  # fmt: skip
    parts = []
    for picture in results.compared(model, layer):
        rows = results.rows("fixed", model, layer, picture, columns, where).assign(sigma=results.study.maps.sigma)
        rows = rows[_over_all_time(rows)]
        if len(rows):
            parts.append(to_cells(rows, [measure])[measure])
    return joined(parts) if parts else None


def in_windows(results: Results, model: str, layer: int, measure: str) -> tuple[TimeWindow, ...]:
    """A measure in each window of viewing time that at least half of the pictures have, without the whole time."""
    columns = ["participant", "run", "stimulus", "map", "window_start_s", "window_end_s", "n_fixations", measure]
    where: list[Condition] = [
        ("drift_corrected", "==", results.study.fixations.correct_drift), ("counted", "==", "all"),
        ("within", "==", "picture"), ("participant", "!=", POOLED),
    ]  # fmt: skip
    parts: dict[tuple[float, float], list[ScoreArray]] = {}
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
        TimeWindow(*window, joined(parts[window]), float(np.concatenate(counts[window]).mean()))
        for window in sorted(parts)
        if len(parts[window]) * 2 >= len(pictures)
    )


def with_equal_counts(
    results: Results, model: str, layer: int, measure: str, participants: Iterable[str]
) -> EqualCounts | None:
    """A measure of these participants from equally many fixations of each on a picture; None where there is none.

    Chance stands among the maps, under names that begin with SHUFFLED, where it is known.
    """
    drift = ("drift_corrected", "==", results.study.fixations.correct_drift)
    theirs, viewed = ("participant", "in", list(participants)), 0
    parts, counts, by_picture = [], [], []
    equal: list[Condition] = [drift, ("counted", "==", "equal")]
    for picture in results.compared(model, layer) if theirs[2] else ():
        columns = ["participant", "stimulus", "map", "n_fixations", measure]
        rows = results.rows("fixed", model, layer, picture, columns, [*equal, theirs])
        where: list[Condition] = [drift, theirs, ("counted", "==", "all"), ("map", "==", "mean")]
        viewed += results.rows("fixed", model, layer, picture, ["participant"], where)["participant"].nunique()
        if rows.empty:
            continue
        counts.append(rows["n_fixations"].iloc[0])
        columns = ["participant", "stimulus", "map", "of", "attention_of", "group", measure]
        chance = results.rows("chance", model, layer, picture, columns, equal)
        if len(chance) and measure in chance:
            by_picture.append(chance[chance["of"] == "picture"])
            own = chance[(chance["of"] == "others") & chance["participant"].isin(rows["participant"])]
            rows = pd.concat([rows, own.assign(map=SHUFFLED + own["map"])], ignore_index=True)
        parts.append(to_cells(rows.assign(sigma=results.study.maps.sigma), [measure])[measure])
    if not parts:
        return None
    cells = joined(parts)
    groups = sorted({str(g) for rows in by_picture for g in rows["group"]})
    effects = {
        group: _attention([rows[rows["group"] == group] for rows in by_picture], measure, cells.pictures)
        for group in groups
    }
    return EqualCounts(cells, float(np.mean(counts)), viewed, effects)


def against_other_pictures(results: Results, model: str, layer: int, measure: str) -> pd.DataFrame:
    """Mean scores over participants of each map on other pictures; empty where the measure has no chance.

    One row a (picture of gaze, picture of attention), one column a map.
    """
    where = [("drift_corrected", "==", results.study.fixations.correct_drift), ("of", "==", "picture"),
             ("counted", "==", "all")]  # fmt: skip
    columns = ["stimulus", "attention_of", "map", measure]
    tables = []
    for picture in results.compared(model, layer):
        rows = results.rows("chance", model, layer, picture, columns, where)
        if len(rows) and measure in rows:
            tables.append(rows.pivot_table(index=["stimulus", "attention_of"], columns="map", values=measure))
    return pd.concat(tables) if tables else pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []]), dtype=np.float64)


def means_over_participants(results: Results, model: str, layer: int, measure: str, swept: str = "") -> pd.DataFrame:
    """Mean scores over participants, over all viewing time: a row a (map, picture), a column a sigma.

    `measure` at the fixed sigma; `swept`, a measure that was taken over sigma, at the others. Without `swept` the fixed
    sigma is the only one.
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
    """NSS of the map of half of the viewers at the fixations of the others, (pictures that have one,)."""
    values = [
        results.rows("fixed", model, layer, picture, ["nss"], [("map", "==", HALF)])
        for picture in results.compared(model, layer)
    ]
    known = [rows["nss"].dropna().to_numpy(dtype=np.float64) for rows in values if "nss" in rows]
    return np.concatenate([np.empty(0), *known])


def _over_all_time(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows of one picture are of the whole viewing time: those of the widest window, or of an unknown one."""
    span = rows["window_end_s"] - rows["window_start_s"]
    whole: pd.Series[bool] = span.isna() | (span == span.max())
    return whole


def _add(parts: dict[Name, list[ScoreArray]], found: Mapping[Name, ScoreArray]) -> None:
    for name, cells in found.items():
        parts.setdefault(name, []).append(cells)
