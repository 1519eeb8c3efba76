"""The primary measure in windows of viewing time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beholder.analysis.findings.readings import LayerReading, MapReading, WindowReading
from beholder.analysis.findings.score_arrays import in_windows
from beholder.analysis.results.map_names import is_head
from beholder.analysis.results.study_results import Results
from beholder.analysis.results.tables import REFERENCES
from beholder.analysis.statistics.crossed import complete, crossed_interval


def read_windows(results: Results, reading: LayerReading) -> tuple[WindowReading, ...]:
    """The primary measure in each window of time that at least half of the pictures have, without the whole time."""
    found = []
    for window in in_windows(results, reading.model, reading.layer, reading.measure):
        cells = window.cells
        heads = [m for m in cells.maps if is_head(m)]
        kept = complete(np.stack([cells.at(h, reading.sigma) for h in heads], axis=2))
        if not kept[0].size:
            continue
        readings = {
            name: MapReading(name, crossed_interval(value), None, None)
            for name in cells.maps
            if not np.isnan(value := cells.at(name, reading.sigma)[np.ix_(*kept)]).any()
        }
        found.append(
            WindowReading(
                model=reading.model,
                layer=reading.layer,
                start_s=window.start_s,
                end_s=window.end_s,
                heads=tuple(r for name, r in readings.items() if name not in REFERENCES),
                references=tuple(r for name, r in readings.items() if name in REFERENCES),
                fixations=window.fixations,
                participants=len(kept[0]),
                pictures=len(kept[1]),
            )
        )
    return tuple(found)


def steps(windows: Sequence[WindowReading]) -> list[WindowReading]:
    """The consecutive windows: those of the most common length, in order."""
    lengths = [round(w.end_s - w.start_s, 6) for w in windows]
    common = max(set(lengths), key=lambda length: (lengths.count(length), -length))
    return sorted((w for w, n in zip(windows, lengths, strict=True) if n == common), key=lambda w: w.start_s)
