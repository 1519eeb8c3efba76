"""The names that maps have in tables: of heads, of means over them, of controls and references."""

from __future__ import annotations


def is_head(name: str) -> bool:
    """Whether a `map` of the alignment table is one of the model's heads."""
    return name.startswith("head-")
