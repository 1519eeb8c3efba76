"""Participants' labels: what may stand after "sub-" in the names of files, and nothing else may.

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
# They stand in the tables' column `participant`, or for a group, where several participants are meant.
RESERVED = ("pooled", "everybody")


def label(text: str, where: str = "") -> Label:
    """The label that a text is, with or without "sub-" before it.

    `where` begins the error's sentence: a file and its line, or an option. Raises DataError where it is none.

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
    """What keeps a text from being a label, as half a sentence; empty where it is one.

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
