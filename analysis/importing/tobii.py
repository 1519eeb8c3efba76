"""Tobii recordings, whichever of three forms a file has: Pro Lab's export, Titta's HDF5, or a table of SDK columns.

A row that is not whole is refused with its line. Pictures are found elsewhere (presentations.py).
"""

from __future__ import annotations

from pathlib import Path

from beholder.analysis.importing.text_table import TextTable
from beholder.analysis.importing.titta import read_titta
from beholder.analysis.importing.tobii_pro_lab import read_pro_lab
from beholder.analysis.importing.tobii_sdk_table import check_sides, read_sdk_table
from beholder.analysis.importing.vendor_recording import VendorRecording
from beholder.shared.errors import DataError


def read_tobii(path: Path) -> tuple[VendorRecording, ...]:
    """The recordings of a file, in its order. Raises DataError where it is of no known form, or a row is not whole."""
    if not path.is_file():
        raise DataError(f"{path} does not exist: check the name.")
    with path.open("rb") as file:
        if file.read(8) == b"\x89HDF\r\n\x1a\n" or path.suffix.lower() in (".h5", ".hdf5"):
            return (read_titta(path),)
    table = TextTable(path)
    check_sides(table)
    if table.has("Recording timestamp"):
        return read_pro_lab(table)
    return (read_sdk_table(table),)
