"""People's gaze and models' attention on the parts of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from beholder.analysis.attention.named_maps import named_maps
from beholder.analysis.pipeline.attention_stage import ModelAttention
from beholder.analysis.pipeline.fixation_stage import ViewedTrials
from beholder.analysis.pipeline.versions import VERSION
from beholder.analysis.results.files import key_of, write_table
from beholder.analysis.results.paths import results_folder
from beholder.shared.provenance import digest, file_digest, versions
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.stimuli.stimulus import Stimulus
from beholder.shared.study import Study


def area_stage(
    study_folder: Path, study: Study, stimuli: Sequence[Stimulus], people: ViewedTrials, seen: Sequence[ModelAttention]
) -> None:
    """What people look at and models attend to, part by part of the objects."""
    path = results_folder(study_folder) / "areas.parquet"
    accuracy = _accuracy_px(people, stimuli)
    masked = [s for s in stimuli if s.mask is not None]
    key = digest({
        "version": VERSION["areas"], "packages": versions(("numpy", "scipy", "pandas")),
        "fixations": key_of(results_folder(study_folder) / "fixations.parquet"), "accuracy": accuracy,
        "masks": {s.name: [file_digest(s.mask), s.parts, s.kind] for s in masked if s.mask},
        "maps": [[m.summary.name, {name: list(by_layer.items()) for name, by_layer in some.items()}]
                 for m in seen for some in (m.maps, m.rollout)],
    })  # fmt: skip
    if key_of(path) == key:
        return
    # Not before: statsmodels comes with it, which no worker needs, nor an analysis that is up to date.
    from beholder.analysis.findings import areas

    pictures = [
        areas.AreaPicture(s.name, s.kind, read_labels(s.mask), s.parts, accuracy.get(s.name, np.nan))
        for s in masked
        if s.mask
    ]
    attended = [
        areas.attention(m.summary.name, layer, named_maps(m.maps[p.name][layer]), p)
        for m in seen
        for layer in m.layers
        for p in pictures
    ]
    patches = {(m.summary.name, p.name): m.maps[p.name][m.layers[0]].shape[-2:] for m in seen for p in pictures}
    empty = pd.DataFrame(columns=list(areas.ATTENTION_AREA_COLUMNS))
    table = areas.areas_table(
        pictures,
        areas.dwell(people.fixations, pictures),
        pd.concat(attended) if attended else empty,
        {where: (int(shape[0]), int(shape[1])) for where, shape in patches.items()},
    )
    write_table(table, path, areas.AREA_COLUMNS, key=key)


def _accuracy_px(people: ViewedTrials, stimuli: Sequence[Stimulus]) -> dict[str, float]:
    """How accurate gaze was on each picture, in px of it: the median over trials; absent where it is not known."""
    known = people.trials.dropna(subset=["accuracy_deg"])
    median_deg = known[known["included"]].groupby("stimulus")["accuracy_deg"].median().to_dict()
    return {
        s.name: float(median_deg[s.name]) * s.width_px / people.width_deg[s.name]
        for s in stimuli
        if s.name in median_deg and s.name in people.width_deg
    }
