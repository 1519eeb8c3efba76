"""Text tables as vendors export them: columns by name and unit, cells as texts or numbers, rows with their lines."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from beholder.analysis.importing.vendor_recording import Question, read_text
from beholder.shared.arrays import FloatArray
from beholder.shared.errors import DataError
from beholder.shared.parsing import parse_number, shortened

# A number whose one comma or point may stand between thousands: 1,234.
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")


# A number in which one certainly does, as there are two: 1,234,567 or 1,234.5.
_THOUSANDS_TWICE = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?|[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?")


MISSING = {"", "nan", "n/a", "none"}


PX_UNITS = ("", "px", "DACSpx", "DACS px")


EXPORT_AGAIN = "export it again"


class TextTable:
    """A text table: its columns by name and unit, its rows with their lines. Raises DataError where it is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_text(path)
        self.raw = text.split("\n")
        head = self.raw[0]
        separator = max("\t,;", key=head.count)
        if text and not text.endswith("\n") and len(self.raw) > 1:
            raise DataError(f"{path}, line {len(self.raw)} has no end, the file is cut short: {EXPORT_AGAIN}.")
        # Between tabs nothing is quoted: a quotation mark belongs to the cell.
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        lines = (line + "\n" for line in self.raw)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
        reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
        try:
            header = next(reader, [])
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) != len(header):
                        raise DataError(
                            f"{path}, line {reader.line_num} has {len(cells)} cells where the first line names "
                            f"{len(header)}: {EXPORT_AGAIN}."
                        )
                    self.rows.append(cells)
                    self.lines.append(reader.line_num)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}; {EXPORT_AGAIN}.") from None
        self.names = [name.strip() for name in header]
        self.points = _Points()
        self._columns: dict[tuple[str, str], int] = {}
        for number, name in enumerate(self.names):
            match = re.fullmatch(r"(.+?)\s*[\[(]([^\])]*)[\])]", name)
            self._columns.setdefault((match[1], match[2].strip()) if match else (name, ""), number)

    def find(self, names: Iterable[str], units: Sequence[str] = ("",)) -> tuple[int, str] | None:
        """Number and unit of the first column with one of the names and one of the units; None where there is none."""
        for name in names:
            for unit in units:
                if (name, unit) in self._columns:
                    return self._columns[name, unit], unit
        return None

    def has(self, name: str) -> bool:
        """Whether there is a column of this name, whatever its unit."""
        return any(known == name for known, _ in self._columns)

    def texts(self, column: int | None, rows: Sequence[int]) -> list[str]:
        """Cells of a column; empty texts where `column` is None."""
        return [""] * len(rows) if column is None else [self.rows[row][column].strip() for row in rows]

    def numbers(self, column: int | None, rows: Sequence[int]) -> FloatArray:
        """Numbers of a column, NaN where missing or `column` is None; a comma may be a decimal sign (see `_Points`)."""
        if column is None:
            return np.full(len(rows), np.nan)
        return np.array([self._number(self.rows[row][column].strip(), row, column) for row in rows], np.float64)

    def _number(self, cell: str, row: int, column: int) -> float:
        if cell.lower() in MISSING:
            return math.nan
        if "," in cell or "." in cell:
            self.points.take(cell, f"{self.place(row)}, column {self.names[column]}")
        try:
            return parse_number(cell.replace(",", "."))
        except ValueError as error:
            raise DataError(f"{self.place(row)}, column {self.names[column]}: {error}; {EXPORT_AGAIN}.") from None

    def place(self, row: int) -> str:
        """File and line of a row, for an error's sentence."""
        return f"{self.path}, line {self.lines[row]}"


class _Points:
    """Finds whether points or commas begin the decimals of a table's numbers, or stand between thousands.

    Numbers with a sign between thousands are refused. "1,234" may be read either way; where no other number of the
    table settles it, it is asked about.
    """

    def __init__(self) -> None:
        # The first number of each kind, and where it stands; empty texts where there is none.
        self.found = {(sign, thousands): ("", "") for sign in ",." for thousands in (False, True)}

    def take(self, cell: str, place: str) -> None:
        """Note a number with a point or comma. Raises DataError where one certainly stands between thousands."""
        if cell.count(",") + cell.count(".") > 1:
            if _THOUSANDS_TWICE.fullmatch(cell):
                _refuse_thousands(place, cell)
            return  # not a number: refused where it is parsed
        sign = "," if "," in cell else "."
        kind = sign, bool(_THOUSANDS.fullmatch(cell))
        if not self.found[kind][0]:
            self.found[kind] = cell, place

    def questions(self) -> tuple[Question, ...]:
        """A question, if any. Raises DataError where one sign is decimal and the other may stand between thousands."""
        comma, point = self.found[",", False][0], self.found[".", False][0] or self.found[".", True][0]
        maybe_comma, maybe_point = self.found[",", True], self.found[".", True]
        if comma and maybe_point[0]:
            _refuse_thousands(maybe_point[1], maybe_point[0])
        if comma or not maybe_comma[0]:
            return ()
        if point:
            _refuse_thousands(maybe_comma[1], maybe_comma[0])
        cell, place = maybe_comma
        return (Question("decimal comma", f"{place}: a number should say which sign begins its decimals, and "
                         f"{shortened(cell)} may be {cell.replace(',', '')} or, as it would be read, "
                         f"{cell.replace(',', '.')}: export with decimal points and without commas"),)  # fmt: skip


def _refuse_thousands(place: str, cell: str) -> NoReturn:
    raise DataError(
        f"{place}: {shortened(cell)} has a sign between thousands, or other numbers have another one before their "
        "decimals: export numbers with a decimal point, and without any sign between thousands."
    )


def first_column(table: TextTable, names: Sequence[str]) -> int | None:
    """The column of the first of these names that the table has; None where it has none."""
    return next((table.names.index(name) for name in names if name in table.names), None)


def as_numbers(table: TextTable, column: int) -> FloatArray:
    """A column of numbers, in which True is 1 and False 0."""
    truth = {"true": 1.0, "false": 0.0}
    cells = table.texts(column, range(len(table.rows)))
    if cells and all(cell.lower() in truth or cell.lower() in MISSING for cell in cells):
        return np.array([truth.get(cell.lower(), math.nan) for cell in cells])
    return table.numbers(column, range(len(table.rows)))
