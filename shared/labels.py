"""Participants' labels: the only text that may stand after "sub-" in the names of files.

A label becomes part of paths that are written and deleted, so every command, import and file passes it through `label`
before it is used. BIDS allows letters and digits; a label must fit into a file's name, and must not be a word that
stands for several participants in the result tables.
"""

from __future__ import annotations

import re
from typing import NewType

from beholder.shared.errors import DataError
from beholder.shared.parsing import shortened

Label = NewType("Label", str)

LONGEST_LABEL = 50
# Words for several participants together in the tables' column `participant`, or in the place of a group.
RESERVED = ("pooled", "everybody")


def label(text: str, where: str = "") -> Label:
    """The participant's label in a text, which may have "sub-" before it.

    `where` begins the error's sentence: a file and its line, or an option. Raises DataError where the text is no label.

    >>> label("sub-07"), label("P1")
    ('07', 'P1')
    >>> label("../07")
    Traceback (most recent call last):
    beholder.shared.errors.DataError: participant '../07': a label is made of letters and digits: choose another.
    """
    found = text.removeprefix("sub-")
    if why := not_a_label(found):
        raise DataError(f"{where + ': ' if where else ''}participant {shortened(text)}: {why}: choose another.")
    return Label(found)


def not_a_label(text: str) -> str:
    """Why a text is no label, as half a sentence; empty where it is one.

    >>> not_a_label("07"), not_a_label("Pooled")
    ('', 'the word stands for several participants in the tables')
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", text):
        return "a label is made of letters and digits"
    if len(text) > LONGEST_LABEL:
        return f"a label has at most {LONGEST_LABEL} letters and digits"
    if text.casefold() in RESERVED:
        return "the word stands for several participants in the tables"
    return ""
