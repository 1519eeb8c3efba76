"""The centre bias and the other viewers' density, fitted once a study."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from beholder.analysis.alignment.baselines import FEWEST_FIXATIONS, CentreBias, InterObserver, fit_centre, fit_others
from beholder.analysis.alignment.comparison import PictureBaselines
from beholder.analysis.gaze.picture_gaze import PictureGaze
from beholder.analysis.pipeline.fixation_stage import begin_writing
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.pipeline.views import PictureViews
from beholder.analysis.pipeline.workers import Runner
from beholder.analysis.results.files import write_json
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.sums import reading
from beholder.shared.arrays import FloatArray
from beholder.shared.provenance import digest, versions
from beholder.shared.study import Study

Item = TypeVar("Item")

# What the ceiling and the centre are fitted to, where there is more: so many tell it.
MOST_VIEWERS, MOST_PICTURES, MOST_PLACES = 60, 50, 20_000
# Of the other viewers' Gaussians, in degrees (in percent of the picture's width where degrees are not known).
WIDTHS = tuple(float(w) for w in np.geomspace(0.25, 8, 14))


@dataclass(frozen=True)
class Baselines:
    """Of each picture the centre bias on the other pictures, and where these were looked at (`places`: (n, 2), shares
    of their width and height); of all, how the other viewers become a density.
    """

    centres: dict[str, CentreBias]
    others: InterObserver | None
    places: dict[str, FloatArray]

    def of(self, picture: str) -> PictureBaselines:
        """Those of one picture."""
        return PictureBaselines(self.centres.get(picture), self.others, self.places[picture])


def fit_baselines(study_folder: Path, study: Study, views: dict[str, PictureViews], run: Runner) -> Baselines:
    """The baselines of all pictures, kept in densities.json until what they are fitted to changes."""
    file = results_folder(study_folder) / "densities.json"
    own = {name: view.gaze.viewers().all_points() / [view.grid.width, view.grid.height] for name, view in views.items()}
    places = {name: _others_places(own, name, study.study.seed) for name in views}
    fewest = {name: p for name, p in places.items() if len(p) >= FEWEST_FIXATIONS}
    key = digest({
        "version": VERSION["alignment"], "packages": versions(("numpy", "scipy")), "seed": study.study.seed,
        "places": own, "viewers": {name: [len(p) for p in v.gaze.viewers().points] for name, v in views.items()},
        "units": {name: [v.gaze.unit_px, v.grid.shape] for name, v in views.items()},
    })  # fmt: skip
    with reading(file):
        kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
        current = kept.get("key") == key
    if not current:
        centres = dict(zip(fewest, run(fit_centre, list(fewest.values()), "centre bias"), strict=True))
        sample = _ceiling_sample(tuple(views.values()), centres, study.study.seed)
        [others] = run(_fit_ceiling, [sample], "other viewers")
        kept = {"key": key, "centres": {n: asdict(c) for n, c in centres.items()}, "others": others and asdict(others)}
        begin_writing(results_folder(study_folder))
        write_json(kept, file)
    with reading(file):
        centres = {name: CentreBias(**values) for name, values in kept["centres"].items()}
        others = InterObserver(**kept["others"]) if kept["others"] else None
    return Baselines(
        centres,
        others,
        places,
    )


def _others_places(own: Mapping[str, FloatArray], name: str, seed: int) -> FloatArray:
    """Where the other pictures were looked at, (n, 2); of very many, as many as tell it, drawn from the seed."""
    every: FloatArray = np.concatenate([np.empty((0, 2)), *(p for other, p in own.items() if other != name)])
    if len(every) > MOST_PLACES:
        rng = np.random.default_rng([seed, zlib.crc32(f"places of {name}".encode())])
        every = every[np.sort(rng.choice(len(every), MOST_PLACES, replace=False))]
    return every


def _ceiling_sample(
    views: Sequence[PictureViews], centres: Mapping[str, CentreBias], seed: int
) -> tuple[list[PictureGaze], list[FloatArray] | None]:
    """The gaze that the ceiling is fitted to, and the centre bias on its pictures where all of these have one."""
    rng = np.random.default_rng([seed, zlib.crc32(b"other viewers")])
    viewers = sorted({name for view in views for name, _ in view.gaze.viewers().people})
    kept = set(_some(viewers, MOST_VIEWERS, rng))
    pictures: list[PictureGaze] = []
    biases: list[FloatArray] = []
    for view in _some(views, MOST_PICTURES, rng):
        every = view.gaze.viewers()
        gaze = every.only([i for i, (name, _) in enumerate(every.people) if name in kept])
        if len(gaze) > 1:
            pictures.append(gaze)
            centre = centres.get(view.stimulus.name)
            biases += [] if centre is None else [centre.density(view.grid)]
    return pictures, biases if len(biases) == len(pictures) else None


def _fit_ceiling(sample: tuple[list[PictureGaze], list[FloatArray] | None]) -> InterObserver | None:
    """How the other viewers' fixations become a density; None where nobody has others."""
    pictures, biases = sample
    return fit_others(pictures, WIDTHS, biases) if pictures else None


def _some(items: Sequence[Item], most: int, rng: np.random.Generator) -> list[Item]:
    """All, or so many of them, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.sort(rng.choice(len(items), most, replace=False))]
