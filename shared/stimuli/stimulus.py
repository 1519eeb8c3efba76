"""A picture of a study, in the form that every part of Beholder uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Stimulus:
    """One picture: its name (unique in the study), file, size in px, kind, and mask where there is one."""

    name: str
    file: Path
    width_px: int
    height_px: int
    kind: str = ""
    title: str = ""
    mask: Path | None = None
    parts: dict[int, str] = field(default_factory=dict, compare=False)

    @property
    def stim_file(self) -> str:
        """The picture's path in a BIDS events table, relative to the folder `stimuli`."""
        return f"images/{self.file.name}"
