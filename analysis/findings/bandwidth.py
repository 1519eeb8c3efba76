"""Sigma by held-out likelihood: of people, and of the heads shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beholder.analysis.alignment.bandwidth import human_sigma, model_sigma, sigmas_to_try
from beholder.analysis.attention.named_maps import named_maps
from beholder.analysis.findings.readings import LayerReading, SigmaReading
from beholder.analysis.gaze.maps import area_resample, grid_for, sigma_in_map_px
from beholder.analysis.gaze.picture_gaze import PictureGaze, picture_gaze
from beholder.analysis.results.study_results import Results
from beholder.shared.stimuli.folder import read_stimuli


def estimate_sigmas(results: Results, shown: Sequence[LayerReading]) -> tuple[SigmaReading, ...]:
    """Sigma by held-out likelihood, of people and of each head of the layers shown, in the study's unit."""
    study = results.study
    used = results.fixations[results.fixations["used"]]
    viewers = sorted(set(used["participant"]))
    stimuli = {s.name: s for s in read_stimuli(results.study_folder / "stimuli")[0] if s.name in set(used["stimulus"])}
    found: list[SigmaReading] = []

    def gaze_on(name: str, patches_across: int) -> PictureGaze:
        s = stimuli[name]
        grid = grid_for(s.width_px, s.height_px, study.maps.longer_side_px)
        unit_px = (
            results.summary.px_per_deg[name] * grid.width / s.width_px
            if study.maps.sigma_unit == "deg"
            else sigma_in_map_px(
                1.0, study.maps.sigma_unit, grid=grid, picture_width_px=s.width_px, patches_across=patches_across
            )
        )
        return picture_gaze(used[used["stimulus"] == name], s, grid, unit_px=unit_px).viewers(viewers)

    for number, reading in enumerate(shown):
        attention = results.attention(reading.model, reading.layer)
        gaze = {name: gaze_on(name, attention[name].shape[-1]) for name in stimuli}
        pictures = list(gaze.values())
        if number == 0 and len(viewers) > 1:
            estimate = human_sigma(pictures, sigmas_to_try(pictures))
            found.append(SigmaReading("", 0, "people", study.maps.sigma_unit, estimate))
        patches_px = [max(np.divide(g.grid.shape, attention[name].shape[-2:])) for name, g in gaze.items()]
        for head in (h.map for h in reading.heads):
            maps = [area_resample(named_maps(attention[name])[head], *g.grid.shape) for name, g in gaze.items()]
            estimate = model_sigma(pictures, maps, sigmas_to_try(pictures, patches_px))
            found.append(SigmaReading(reading.model, reading.layer, head, study.maps.sigma_unit, estimate))
    return tuple(found)
