"""Reading and writing the files of an analysis, each whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from beholder.analysis.results.sums import reading
from beholder.analysis.results.tables import ALIGNMENT_COLUMNS, CHANCE_COLUMNS, FIXED_COLUMNS, MEASURE_COLUMNS
from beholder.shared.dataset.making import BIDS_VERSION, beholder_version
from beholder.shared.errors import Remark
from beholder.shared.parsing import for_spreadsheets, from_spreadsheets
from beholder.shared.study import Study

KEY, REMARKS = "beholder_key", "beholder_remarks"


def write_table(
    table: pd.DataFrame, path: Path, columns: dict[str, str], *, key: str = "", remarks: Sequence[Remark] = ()
) -> None:
    """Write a table with exactly `columns` (in tables of comparisons measures may follow), whole or not at all.

    The caller sorts the rows, so that the same results are the same bytes. A parquet file carries the key of what it
    was computed from, and the remarks of its stage, so that the file itself says whether it is up to date.
    """
    has_measures = any(columns is some for some in (ALIGNMENT_COLUMNS, FIXED_COLUMNS, CHANCE_COLUMNS))
    extra = [c for c in MEASURE_COLUMNS if c in table.columns] if has_measures else []
    typed = table[[*columns, *extra]].astype({k: ("object" if v == "str" else v) for k, v in columns.items()})
    part = part_of(path)
    if path.suffix == ".parquet":
        arrow = pyarrow.Table.from_pandas(typed, preserve_index=False)
        notes = {KEY: key, REMARKS: json.dumps([asdict(r) for r in remarks])}
        pyarrow.parquet.write_table(arrow.replace_schema_metadata(notes), part, compression="zstd")
    else:
        safe_texts(typed).to_csv(part, index=False, lineterminator="\n", na_rep="n/a", float_format="%.6g")
    part.replace(path)


def safe_texts(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of a table whose texts and headings no spreadsheet runs as formulas; `read_table` undoes it."""
    safe = table.rename(columns=lambda name: for_spreadsheets(str(name)))
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in safe.dtypes]]:
        safe[name] = safe[name].map(lambda cell: for_spreadsheets(cell) if isinstance(cell, str) else cell)
    return safe


def key_of(path: Path) -> str:
    """The key that a parquet file was written with; empty where there is no such file, or it cannot be read."""
    try:
        return str((pyarrow.parquet.read_schema(path).metadata or {}).get(KEY.encode(), b"").decode())
    except (OSError, pyarrow.ArrowInvalid):
        return ""


def remarks_of(path: Path) -> tuple[Remark, ...]:
    """The remarks that a parquet file was written with."""
    notes = (pyarrow.parquet.read_schema(path).metadata or {}).get(REMARKS.encode(), b"[]")
    return tuple(Remark(**remark) for remark in json.loads(notes))


def read_table(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read a table written by `write_table`. Raises DamagedError where the file is no longer one."""
    with reading(path):
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        types: dict[str, Any] = {k: v for k, v in columns.items() if v != "bool"}
        table = pd.read_csv(path, dtype=types, na_values=["n/a"], keep_default_na=False)
        if list(table.columns[: len(columns)]) != list(columns):
            raise ValueError("its columns are others")
        for name in table.columns[[columns.get(str(c)) == "str" for c in table.columns]]:
            table[name] = table[name].map(from_spreadsheets, na_action="ignore")
        return table.astype({k: v for k, v in columns.items() if v == "bool"})


def write_json(value: Any, path: Path) -> None:
    """Write JSON, whole or not at all; NaN becomes null."""
    part = part_of(path)
    part.write_text(json.dumps(_json(value), indent=1, ensure_ascii=False, sort_keys=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_attention(maps: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Write one array a picture, whole or not at all."""
    part = part_of(path)
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: maps[name] for name in sorted(maps)})
    part.replace(path)


def write_description(folder: Path, study: Study) -> None:
    """dataset_description.json of a BIDS derivative: what lies there, and what made it."""
    description = {
        "Name": f"{study.study.name}: gaze and attention compared",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Beholder", "Version": beholder_version()}],
    }
    write_json(description, folder / "dataset_description.json")


def part_of(path: Path) -> Path:
    """Where a file is written before it is renamed into its place; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _json(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return None if not np.isfinite(value) else float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return _json(asdict(value))
    return value
