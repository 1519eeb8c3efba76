"""A comparison: one picture with one layer of one model, and all that its scores are computed from.

The inputs are grouped by the tables that depend on them: a table's key, which says whether it is up to date, is made of
its groups' digests. compare.py computes the scores; pipeline/ decides which comparisons there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from beholder.analysis.alignment.baselines import CentreBias, InterObserver
from beholder.analysis.gaze.maps import Grid
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.shared.arrays import FloatArray
from beholder.shared.provenance import digest
from beholder.shared.study import SWEPT, Study


class Maps(dict[str, FloatArray]):
    """A layer's maps on one picture by name, (rows, columns) of patches each; never changed once made."""

    @cached_property
    def digest(self) -> str:
        """Digest of names and maps, computed once: the same maps are part of many comparisons."""
        return digest(dict(self))


@dataclass(frozen=True)
class OtherPicture:
    """Attention on another picture, which is chance for the gaze on this one; whether both are of one kind and half."""

    picture: str
    same_kind: bool
    same_half: bool
    maps: Maps


@dataclass(frozen=True)
class Where:
    """Which picture is compared with which layer of which model."""

    model: str
    layer: int
    stimulus: str


@dataclass(frozen=True)
class Partitions:
    """The files of the three tables, and the keys under which they are up to date.

    `key` is that of `alignment` (over sigma), `fixed_key` that of `fixed` and `chance` (at the fixed sigma).
    """

    alignment: Path
    fixed: Path
    chance: Path
    key: str = ""
    fixed_key: str = ""


@dataclass(frozen=True)
class OverSigma:
    """What the scores over sigma are computed from.

    gaze: participants' fixations, and everybody's as "pooled". attention: the layer's maps on this picture, (rows,
    columns) of patches each. curve_controls: its maps on a few other pictures, for the curve of chance. object_share:
    the share of each map px that the object covers, (height, width); None without a mask. sigmas: in the study's unit;
    sigmas_px: the same in map px. shown_s: how long the picture was shown.
    """

    gaze: PictureGaze
    attention: Maps
    curve_controls: tuple[Maps, ...]
    object_share: FloatArray | None
    sigmas: tuple[float, ...]
    sigmas_px: tuple[float, ...]
    shown_s: float

    @property
    def digest(self) -> str:
        """Digest of all these inputs."""
        maps = [self.attention.digest, *(maps.digest for maps in self.curve_controls)]
        sigmas = [self.sigmas, self.sigmas_px, self.shown_s]
        return digest([self.gaze.digest, self.gaze.grid.shape, maps, self.object_share, sigmas])


@dataclass(frozen=True)
class PictureBaselines:
    """The centre bias and the other viewers' density fitted for a picture, each None where it cannot be fitted.

    other_fixations: those on other pictures, (n, 2), in shares of their pictures' width and height.
    """

    centre: CentreBias | None
    inter_observer: InterObserver | None
    other_fixations: FloatArray


@dataclass(frozen=True)
class AtFixedSigma:
    """What the scores at the sigma fixed beforehand are computed from, in addition to `OverSigma`.

    drift_alternative: gaze with drift correction off where the study has it on, and on where it has it off. windows:
    (start_s, end_s, gaze within that viewing time) each. equal_counts: equally many fixations of everybody. groups:
    which group each participant belongs to, where groups are compared. chance_controls: attention on all pictures that
    make up chance. random: attention of the network with random weights, (seeds x heads, rows, columns).
    """

    drift_alternative: PictureGaze
    windows: tuple[tuple[float, float, PictureGaze], ...]
    equal_counts: PictureGaze
    groups: Mapping[str, str]
    chance_controls: tuple[OtherPicture, ...]
    random: FloatArray | None
    baselines: PictureBaselines

    @property
    def digest(self) -> str:
        """Digest of all these inputs."""
        gaze = [self.drift_alternative.digest, self.equal_counts.digest, dict(self.groups)]
        windows = [(*window, gaze.digest) for *window, gaze in self.windows]
        chance = [(c.picture, c.same_kind, c.same_half, c.maps.digest) for c in self.chance_controls]
        return digest([gaze, windows, chance, self.random, self.baselines])


@dataclass(frozen=True)
class Comparison:
    """One picture with one layer of one model: where its scores go, and all that they are computed from.

    device: where torch computes.
    """

    where: Where
    files: Partitions
    over_sigma: OverSigma
    at_fixed: AtFixedSigma
    study: Study
    device: str = "cpu"

    @property
    def gaze(self) -> PictureGaze:
        """Participants' fixations, and everybody's as "pooled"."""
        return self.over_sigma.gaze

    @property
    def grid(self) -> Grid:
        """The grid of people's maps."""
        return self.gaze.grid

    @property
    def fixed_px(self) -> float:
        """The sigma fixed beforehand, in map px."""
        pairs = zip(self.over_sigma.sigmas, self.over_sigma.sigmas_px, strict=True)
        return min(pairs, key=lambda s: abs(s[0] - self.study.maps.sigma))[1]

    @property
    def other_fixations(self) -> FloatArray:
        """Fixations on other pictures, (n, 2), in shares of their pictures' width and height."""
        return self.at_fixed.baselines.other_fixations

    @cached_property
    def centre_bias(self) -> FloatArray | None:
        """The density of the centre bias, (height, width); None where none could be fitted."""
        centre = self.at_fixed.baselines.centre
        return None if centre is None else centre.density(self.grid)

    def with_keys(self, version: int, packages: Mapping[str, str]) -> Comparison:
        """A copy with the keys of its partitions: digests of all that their numbers depend on."""
        alignment = self.study.alignment
        common = {
            "where": self.where, "over sigma": self.over_sigma.digest, "centre": alignment.centre_share,
            "maps": self.study.maps.model_dump(exclude={"estimate_sigma"}),
            "drift": self.study.fixations.correct_drift, "version": version, "packages": packages,
        }  # fmt: skip
        # Windows, the other choice of drift correction and equal counts have the primary measure alone.
        fixed = {"at fixed": self.at_fixed.digest, "measures": alignment.measures, "primary": alignment.primary}
        swept = {"measures": [m for m in alignment.measures if m in SWEPT]}
        files = replace(self.files, key=digest(common | swept), fixed_key=digest(common | fixed))
        return replace(self, files=files)
