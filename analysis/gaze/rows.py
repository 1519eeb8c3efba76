"""Rows of tables as dicts, and the reasons for which a trial has no part in the maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

# Why a trial has no part in the maps, whatever the study's limits are.
NOT_AS_PLANNED = ("repeat", "interrupted")
NO_FIXATION, NONE_ON_PICTURE = "no fixation", "no fixation on the picture"


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as dicts by the columns' names."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def number_of(event: Mapping[str, object], key: str) -> float:
    """The number that an event has under a key; NaN where it has none."""
    value = event.get(key, np.nan)
    return float(value) if isinstance(value, int | float | np.number) else np.nan


def table_of(rows: list[dict[str, object]], columns: dict[str, str]) -> pd.DataFrame:
    """Rows as a table with these columns and their dtypes."""
    return pd.DataFrame(rows, columns=list(columns)).astype({k: v for k, v in columns.items() if v != "str"})
