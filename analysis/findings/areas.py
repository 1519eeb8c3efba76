"""Areas of interest: how much of people's looking and of a model's attention lies on each part of an object.

`dwell` gives people's shares by participant, picture and part, `attention` a model's by picture and part, and
`areas_table` sets both beside the part's share of the picture's area, each with an interval. A part that a picture does
not have is left out there, and is not a share of 0. The parts are those of the label map (`shared.stimuli`), and
"object" is all of them together. Nothing is smoothed: a fixation belongs to the part whose px it lies on, so a part is
flagged where it is narrower than twice the accuracy of gaze, or than a patch. Not here: drawing; alignment of maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from beholder.analysis.alignment.measures import lift
from beholder.analysis.gaze.maps import coverage
from beholder.analysis.statistics.crossed import (
    Estimate,
    Ratio,
    complete,
    crossed_interval,
    mean_interval,
    ratio_of_means,
)
from beholder.shared.arrays import FloatArray

OBJECT = "object"
EVERY_KIND = "all"
PEOPLE = "people"

# By participant, picture and part that the picture has, over the fixations used (of all runs together). `share`: of the
# time fixated on the picture; `share_of_object`: of the time on the object, NaN where they never looked at it;
# `fixation_share`: of the fixations; `looked`: whether any is on the part; `first_s`: from picture onset to the first
# fixation there, NaN without one or where onsets are not known, the mean over runs.
DWELL_COLUMNS = ("participant", "stimulus", "part", "dwell_s", "share", "share_of_object", "fixation_share", "looked",
                 "first_s")  # fmt: skip

# By model, layer, map (head-01 ..., mean), picture and part: the share of the attention on patches.
ATTENTION_AREA_COLUMNS = ("model", "layer", "map", "stimulus", "part", "share")

# One row a part, kind of picture ("all": every kind) and source: "people" (model "", layer 0), or a model's `map`.
# share and area: means of the shares of looking or attention and of the picture's area. lift = share / area, with its
# 95 % interval low to high: for people over new participants and pictures, for a model over new pictures; lift_pp, the
# difference in percentage points, likewise. NaN where there is no interval (one picture).
# People alone: share_of_object, fixation_share; looked: the share of participants' viewings in which they looked there;
# people: the share of participants who did so on any picture; first_s: the mean over viewings that had one.
# participants, pictures: how many the shares rest on. narrow_pictures: on how many the part is too narrow for its
# source; `flags` says so in words.
AREA_COLUMNS = {
    "part": "str", "kind": "str", "source": "str", "model": "str", "layer": "int64", "share": "float64",
    "area": "float64", "lift": "float64", "low": "float64", "high": "float64", "lift_pp": "float64",
    "low_pp": "float64", "high_pp": "float64", "share_of_object": "float64", "fixation_share": "float64",
    "looked": "float64", "people": "float64", "first_s": "float64", "participants": "int64", "pictures": "int64",
    "narrow_pictures": "int64", "flags": "str",
}  # fmt: skip


@dataclass(frozen=True)
class AreaPicture:
    """A picture's parts: `labels` (height, width) in px of the picture, 0 the background; `names` of the labels.

    accuracy_px: of the gaze measured on this picture, NaN where it is not known. Labels without a name are called by
    their number, unless there is only one: then it is the object and no part of it.
    """

    name: str
    kind: str
    labels: NDArray[np.uint8]
    names: Mapping[int, str] = field(default_factory=dict)
    accuracy_px: float = np.nan

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """The mask of each part and of the object, (height, width) each. Empty where the picture has no object."""
        present = [int(number) for number in np.unique(self.labels) if number]
        if not present:
            return {}
        found = {OBJECT: self.labels > 0}
        if len(present) == 1 and present[0] not in self.names:
            return found
        for number in present:
            name = self.names.get(number, f"label {number}")
            if name == OBJECT:
                continue
            found[name] = found.get(name, np.zeros(self.labels.shape, dtype=np.bool_)) | (self.labels == number)
        return found


def widest_px(mask: NDArray[np.bool_]) -> float:
    """How wide a region is where it is widest: the diameter of the largest circle in it; 0 if it is empty.

    mask: (height, width). The value may be up to 2 px too small, never too large. Regions end at the picture's border.

    >>> widest_px(np.ones((3, 40), dtype=bool))
    3.0
    """
    if not mask.any():
        return 0.0
    # Distances are to the centre of the nearest px outside: half a px too far on either side of the middle px.
    to_outside = distance_transform_edt(np.pad(mask, 1))
    return float(2 * to_outside.max() - 1)


def dwell(fixations: pd.DataFrame, pictures: Sequence[AreaPicture]) -> pd.DataFrame:
    """How each participant's looking is shared out over the parts; DWELL_COLUMNS, by participant, picture and part.

    fixations: `FIXATION_COLUMNS`; those not `used` are left out. Participants without a fixation on a picture
    have no rows for it. Raises ValueError where a fixation used lies off the picture.
    """
    found = []
    used = fixations[fixations["used"]]
    for picture in pictures:
        masks = picture.masks()
        on_picture = used[used["stimulus"] == picture.name]
        if not masks or on_picture.empty:
            continue
        height, width = picture.labels.shape
        x, y = (np.floor(on_picture[c].to_numpy(dtype=np.float64)) for c in ("x_px", "y_px"))
        if not ((x >= 0) & (x < width) & (y >= 0) & (y < height)).all():
            raise ValueError(f"a fixation lies off {picture.name}, which has {width} x {height} px")
        rows, columns = y.astype(np.intp), x.astype(np.intp)
        found += [
            _dwell_on(on_picture, mask[rows, columns], masks[OBJECT][rows, columns]).assign(part=part)
            for part, mask in masks.items()
        ]
    if not found:
        return pd.DataFrame(columns=list(DWELL_COLUMNS))
    table = pd.concat(found, ignore_index=True)[list(DWELL_COLUMNS)]
    return table.sort_values(["participant", "stimulus", "part"], kind="stable", ignore_index=True)


def _dwell_on(on_picture: pd.DataFrame, there: NDArray[np.bool_], on_object: NDArray[np.bool_]) -> pd.DataFrame:
    """One row a participant, from one picture's fixations; there, on_object: which are on the part, on the object."""
    duration_s = on_picture["duration_s"].to_numpy(dtype=np.float64)
    whose = on_picture["participant"].to_numpy()
    of_each = pd.DataFrame(
        {"all_s": duration_s, "object_s": duration_s * on_object, "dwell_s": duration_s * there, "there": there}
    )
    sums = of_each.groupby(whose, sort=True).sum()
    counts = of_each.groupby(whose, sort=True)["there"].mean()
    first_s = on_picture[there].groupby(["participant", "run"])["onset_s"].min().groupby("participant").mean()
    return pd.DataFrame({
        "participant": sums.index, "stimulus": on_picture["stimulus"].iloc[0], "dwell_s": sums["dwell_s"].to_numpy(),
        "share": _by(sums["dwell_s"], sums["all_s"]), "share_of_object": _by(sums["dwell_s"], sums["object_s"]),
        "fixation_share": counts.to_numpy(), "looked": sums["there"].to_numpy() > 0,
        "first_s": first_s.reindex(sums.index).to_numpy(dtype=np.float64),
    })  # fmt: skip


def _by(part_s: pd.Series[float], whole_s: pd.Series[float]) -> FloatArray:
    """Each part's share of its whole; NaN where the whole is 0."""
    part, whole = part_s.to_numpy(dtype=np.float64), whole_s.to_numpy(dtype=np.float64)
    shares: FloatArray = np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
    return shares


def attention(model: str, layer: int, maps: Mapping[str, FloatArray], picture: AreaPicture) -> pd.DataFrame:
    """How a model's attention is shared out over the parts of a picture; ATTENTION_AREA_COLUMNS.

    maps: (rows, columns) of patches over the whole picture, by `map`. A patch counts by the share of it that the part
    covers. Raises ValueError where a map is negative, NaN or sums to zero.
    """
    names, stack = list(maps), np.stack(list(maps.values()))
    rows: list[dict[str, object]] = []
    for part, mask in picture.masks().items():
        inside = lift(stack, coverage(mask.astype(np.float64), *stack.shape[-2:])).inside
        rows += [
            {"model": model, "layer": layer, "map": name, "stimulus": picture.name, "part": part, "share": float(share)}
            for name, share in zip(names, inside, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(ATTENTION_AREA_COLUMNS))


def areas_table(
    pictures: Sequence[AreaPicture],
    people: pd.DataFrame,
    models: pd.DataFrame,
    patches: Mapping[tuple[str, str], tuple[int, int]],
) -> pd.DataFrame:
    """People and models beside each other; AREA_COLUMNS, ordered by part and kind, people first.

    people: of `dwell`; models: of `attention`, joined; patches: (rows, columns) of a model's patches by (model,
    stimulus). Kinds have rows of their own where a part occurs on pictures of several.
    """
    geometry = pd.DataFrame(_geometry(pictures), columns=["stimulus", "kind", "part", "area", "widest_px"])
    by_name = {p.name: p for p in pictures}
    rows: list[dict[str, object]] = []
    for part, of_part in geometry.groupby("part", sort=True):
        kinds = sorted(set(of_part["kind"]))
        for kind in [EVERY_KIND, *(kinds if len(kinds) > 1 else [])]:
            of_kind = of_part if kind == EVERY_KIND else of_part[of_part["kind"] == kind]
            of_kind = of_kind.set_index("stimulus")
            about = {"part": part, "kind": kind}
            seen = people[(people["part"] == part) & people["stimulus"].isin(of_kind.index)]
            if len(seen):
                rows.append(about | _people_row(seen, of_kind, by_name))
            attended = models[(models["part"] == part) & models["stimulus"].isin(of_kind.index)]
            for (model, layer, name), own in attended.groupby(["model", "layer", "map"], sort=True):
                source = {"source": name, "model": model, "layer": layer}
                rows.append(about | source | _model_row(own, of_kind, by_name, str(model), patches))
    table = pd.DataFrame(rows, columns=list(AREA_COLUMNS))
    return table.astype({k: ("object" if v == "str" else v) for k, v in AREA_COLUMNS.items()})


def _geometry(pictures: Sequence[AreaPicture]) -> list[tuple[str, str, str, float, float]]:
    return [
        (picture.name, picture.kind, part, float(mask.mean()), widest_px(mask))
        for picture in pictures
        for part, mask in picture.masks().items()
    ]


def _people_row(seen: pd.DataFrame, of_kind: pd.DataFrame, by_name: Mapping[str, AreaPicture]) -> dict[str, object]:
    wide = seen.pivot_table(index="participant", columns="stimulus", values="share")
    kept_rows, kept_columns = complete(wide.to_numpy(dtype=np.float64))
    kept = wide.iloc[kept_rows, kept_columns]
    stimuli = [str(s) for s in kept.columns]
    widest = of_kind["widest_px"].to_dict()
    narrow = unknown = 0
    for stimulus in stimuli:
        accuracy = by_name[stimulus].accuracy_px
        unknown += bool(np.isnan(accuracy))
        narrow += bool(widest[stimulus] < 2 * accuracy)
    flags = _flags(narrow, unknown, len(stimuli), "twice the measured accuracy")
    seen = seen[seen["participant"].isin(kept.index) & seen["stimulus"].isin(stimuli)]
    return (
        {"source": PEOPLE, "model": "", "layer": 0}
        | _lifted(kept.to_numpy(dtype=np.float64), of_kind.loc[stimuli, "area"].to_numpy(dtype=np.float64))
        | {
            "share_of_object": seen["share_of_object"].mean(),
            "fixation_share": seen["fixation_share"].mean(),
            "looked": seen["looked"].mean(),
            "people": seen.groupby("participant")["looked"].any().mean(),
            "first_s": seen["first_s"].mean(),
            "participants": len(kept),
            "pictures": len(stimuli),
            "narrow_pictures": narrow,
            "flags": flags,
        }
    )


def _model_row(
    own: pd.DataFrame,
    of_kind: pd.DataFrame,
    by_name: Mapping[str, AreaPicture],
    model: str,
    patches: Mapping[tuple[str, str], tuple[int, int]],
) -> dict[str, object]:
    stimuli = [str(s) for s in own["stimulus"]]
    widest = of_kind["widest_px"].to_dict()
    narrow = 0
    for stimulus in stimuli:
        height, width = by_name[stimulus].labels.shape
        rows, columns = patches[model, stimulus]
        narrow += bool(widest[stimulus] < max(height / rows, width / columns))
    area = of_kind.loc[stimuli, "area"].to_numpy(dtype=np.float64)
    return _lifted(own["share"].to_numpy(dtype=np.float64), area) | {
        "participants": 0,
        "pictures": len(stimuli),
        "narrow_pictures": narrow,
        "flags": _flags(narrow, 0, len(stimuli), "one patch"),
    }


def _lifted(share: FloatArray, area: FloatArray) -> dict[str, object]:
    """Share, area and lift, with intervals; share: (participants, pictures) or (pictures,), area: (pictures,)."""
    areas = np.broadcast_to(area, share.shape)
    if not share.size:
        return {}
    ratio: Ratio = ratio_of_means(share, areas)
    more = 100 * (share - areas)
    points: Estimate = crossed_interval(more) if share.ndim == 2 else mean_interval(more)
    return {
        "share": float(share.mean()), "area": float(areas.mean()), "lift": ratio.ratio, "low": ratio.low,
        "high": ratio.high, "lift_pp": points.mean, "low_pp": points.low, "high_pp": points.high,
    }  # fmt: skip


def _flags(narrow: int, unknown: int, pictures: int, limit: str) -> str:
    """In words, on how many pictures a part is too narrow to be told, and on how many the accuracy is not known.

    >>> _flags(2, 0, 10, "one patch"), _flags(0, 0, 10, "one patch"), _flags(10, 0, 10, "one patch")
    ('narrower than one patch on 2 of 10 pictures', '', 'narrower than one patch on all pictures')
    """
    texts: Iterable[tuple[int, str]] = ((narrow, f"narrower than {limit}"), (unknown, "accuracy not known"))
    of = {pictures: "all pictures"}
    return "; ".join(f"{text} on {of.get(n, f'{n} of {pictures} pictures')}" for n, text in texts if n)
