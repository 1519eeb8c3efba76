"""The names in the column `map`: heads, means over them, references, and attention on other pictures."""

from __future__ import annotations

# Prefixes of a map's name: the same gaze against that map on other pictures, on those of the same kind or same half.
SHUFFLED, SAME_KIND, SAME_HALF = "shuffled-", "same-kind-", "same-half-"


def is_head(name: str) -> bool:
    """Whether a `map` of the alignment table is one of the model's heads."""
    return name.startswith("head-")


def head_name(head: int) -> str:
    """The `map` of a head, counted from 1 as in the papers.

    >>> head_name(7)
    'head-07'
    """
    return f"head-{head:02d}"


def head_number(name: str) -> int:
    """The number of a head, counted from 1, by its `map`.

    >>> head_number("head-07")
    7
    """
    return int(name.removeprefix("head-"))
