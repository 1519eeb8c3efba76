"""The model's attention on the object. It is the same for everybody, so its intervals are over pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from beholder.analysis.findings.readings import ObjectLift
from beholder.analysis.results.map_names import is_head
from beholder.analysis.statistics.crossed import mean_interval
from beholder.analysis.statistics.multiplicity import holm


def lifts(table: pd.DataFrame) -> tuple[ObjectLift, ...]:
    """Attention on the object by map; pictures without a mask are left out."""
    masked = table.dropna(subset=["lift_pp"])
    found = []
    for model, layer, name in sorted(
        {(str(m), int(n), str(k)) for m, n, k in masked[["model", "layer", "map"]].to_numpy()}
    ):
        part = masked[(masked["model"] == model) & (masked["layer"] == layer) & (masked["map"] == name)]
        inside, outside, area, lift = (
            mean_interval(part[c].to_numpy(dtype=np.float64)) for c in ("inside", "outside", "area", "lift_pp")
        )
        found.append(ObjectLift(model, layer, name, inside, outside, area, lift))
    return tuple(_with_holm_of_lifts(found))


def _with_holm_of_lifts(found: Sequence[ObjectLift]) -> list[ObjectLift]:
    corrected = list(found)
    for layer in dict.fromkeys((x.model, x.layer) for x in found):
        heads = [i for i, x in enumerate(found) if (x.model, x.layer) == layer and is_head(x.map)]
        known = [p for i in heads if (p := found[i].lift_pp.p) is not None]
        if len(known) == len(heads):
            for i, p in zip(heads, holm(known), strict=True):
                corrected[i] = replace(found[i], lift_p_holm=p)
    return corrected
