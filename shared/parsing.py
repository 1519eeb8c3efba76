"""Numbers and JSON from other programs' files: what is accepted is bounded, and all else is a ValueError.

Python's own parsers accept more than a measurement can be ("inf", "1_000", digits of other scripts, 1e400 as infinity),
and fail in several ways (a limit of digits, an overflow, a recursion). A reader that uses this file catches ValueError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

# Beyond it a float no longer tells neighbouring whole numbers apart; microseconds since 1970 are a fifth of it.
LARGEST = 2.0**53
# With the apostrophes before it, so that one added by `for_spreadsheets` can be told from those that were there.
_LIKE_A_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def parse_number(text: str) -> float:
    """A finite number no larger than `LARGEST`, written in ASCII with a point. Raises ValueError saying what is wrong.

    >>> parse_number("-1.5e3")
    -1500.0
    >>> parse_number("1.2.3")
    Traceback (most recent call last):
    ValueError: '1.2.3' is not a number
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{shortened(text)} is not a number")
    value = float(text)
    if abs(value) > LARGEST:
        raise ValueError(f"{shortened(text)} is larger than anything that is measured")
    return value


def parse_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError where the text is no JSON, or nested deeper than Python reads."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def for_spreadsheets(text: str) -> str:
    """A table's cell that no spreadsheet runs: a text that begins like a formula gets an apostrophe before it.

    Numbers stay as they are. `from_spreadsheets` gives back any text that went through here.
    Source: OWASP, "CSV Injection".

    >>> for_spreadsheets("=1+1"), for_spreadsheets("-1.5"), for_spreadsheets("well - no"), for_spreadsheets("'=1")
    ("'=1+1", '-1.5', 'well - no', "''=1")
    """
    return f"'{text}" if _LIKE_A_FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_spreadsheets(text: str) -> str:
    """The text that `for_spreadsheets` was given.

    >>> from_spreadsheets("'=1+1"), from_spreadsheets("'tis")
    ('=1+1', "'tis")
    """
    return text[1:] if text.startswith("'") and _LIKE_A_FORMULA.match(text[1:]) else text


def shortened(text: str) -> str:
    """A text in quotes for an error message, cut after 40 characters.

    >>> shortened("7" * 100)
    "'7777777777777777777777777777777777777777...'"
    """
    return repr(text if len(text) <= 40 else text[:40] + "...")


def listed(names: Sequence[str]) -> str:
    """Names of a file's columns for an error message: at most 12, and long ones cut.

    >>> listed(["x", "y"]), listed([])
    ('x, y', 'nothing')
    """
    shown = [name if len(name) <= 40 and name.isprintable() else shortened(name) for name in names[:12]]
    return ", ".join([*shown, *["..."] * (len(names) > 12)]) or "nothing"
