"""Paths of a study's results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

Comparisons = Literal["alignment", "fixed", "chance"]


def results_folder(study_folder: Path) -> Path:
    """The folder of a study's analysis."""
    return study_folder / "derivatives" / "beholder"


def attention_path(study_folder: Path, model: str, layer: int) -> Path:
    """The file of the attention of one layer of one model on every picture."""
    return results_folder(study_folder) / "attention" / model_folder(model) / f"layer-{layer:02d}.npz"


def alignment_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """The file of the comparisons over sigma of one picture with one layer of one model."""
    return (
        results_folder(study_folder) / "alignment" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"
    )


def chance_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """The file of the gaze on one picture against the attention of one layer of one model on other pictures."""
    return results_folder(study_folder) / "chance" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"


def fixed_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """The file of the comparisons at the fixed sigma of one picture with one layer of one model."""
    return results_folder(study_folder) / "fixed" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"


PATHS: dict[Comparisons, Callable[[Path, str, int, str], Path]] = {
    "alignment": alignment_path, "fixed": fixed_path, "chance": chance_path,
}  # fmt: skip


def model_folder(model: str) -> str:
    """A model's name as a folder: hub prefixes have slashes and colons.

    >>> model_folder("hf-hub:timm/vit_tiny")
    'hf-hub_timm_vit_tiny'
    """
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in model)
