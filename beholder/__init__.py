"""Beholder: run an eye-tracking study of pictures, and compare where people look with where Vision Transformers attend.

`import beholder as bh` has the names below, each loaded when it is first used; docs/python.md shows them at work. They
are what stays: anything else in the packages may change.

`experiment` runs sessions, `analysis` compares, `shared` is what both speak, `stimuli` the bundled pictures. In a
checkout these are folders at the top, and links to them lie here; installed, they are packages of this one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beholder.analysis.alignment.measures import (
        MEASURES,
        auc,
        correlation,
        earth_movers_distance,
        information_gain,
        kl_divergence,
        lift,
        nss,
        shuffled_auc,
        similarity,
        structural_similarity,
    )
    from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map, smooth
    from beholder.analysis.statistics.crossed import crossed_interval
    from beholder.analysis.statistics.quasi_f import quasi_f
    from beholder.notebook import (
        analyze,
        attend,
        detect_fixations,
        load_model,
        permutation_test,
        read_findings,
        read_recording,
        read_results,
        read_study,
    )
    from beholder.shared.errors import BeholderError
    from beholder.shared.screen import Screen
    from beholder.shared.study import FixationSettings, Study

__all__ = [
    "MEASURES",
    "BeholderError",
    "FixationSettings",
    "Grid",
    "Screen",
    "Study",
    "analyze",
    "area_resample",
    "attend",
    "auc",
    "correlation",
    "crossed_interval",
    "detect_fixations",
    "earth_movers_distance",
    "fixation_map",
    "information_gain",
    "kl_divergence",
    "lift",
    "load_model",
    "nss",
    "permutation_test",
    "quasi_f",
    "read_findings",
    "read_recording",
    "read_results",
    "read_study",
    "shuffled_auc",
    "similarity",
    "smooth",
    "structural_similarity",
]
_HOMES = {
    "analysis.alignment.measures": (
        "MEASURES", "auc", "correlation", "earth_movers_distance", "information_gain", "kl_divergence", "lift", "nss",
        "shuffled_auc", "similarity", "structural_similarity",
    ),
    "analysis.gaze.maps": ("Grid", "area_resample", "fixation_map", "smooth"),
    "analysis.statistics.crossed": ("crossed_interval",),
    "analysis.statistics.quasi_f": ("quasi_f",),
    "notebook": (
        "analyze", "attend", "detect_fixations", "load_model", "permutation_test", "read_findings", "read_recording",
        "read_results", "read_study",
    ),
    "shared.errors": ("BeholderError",),
    "shared.screen": ("Screen",),
    "shared.study": ("FixationSettings", "Study"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A name when it is first used (PEP 562): whoever asks the command line for help waits for none of them."""
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(f"beholder.{home}"), name)
            return value
    raise AttributeError(f"beholder has no {name}; its names are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
