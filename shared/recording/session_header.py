"""The header of a session: participant, run, screen, tracker and settings.

It is the file session.json of a journal, written once, before the first sample.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from beholder.shared.gaze import Eye
from beholder.shared.labels import not_a_label
from beholder.shared.recording.records import Number


@dataclass(frozen=True)
class TrackerInfo:
    """What a connected tracker says of itself; `simulated` is written into everything recorded with it.

    `host_file` is the name of the file that it records on a computer of its own, `tracking_mode` the vendor's name of
    how it finds eyes; empty where there is none. `pupil_measure` is what it records of the pupil: diameter or area, or
    size where a file does not say which.
    """

    manufacturer: str
    model: str
    serial: str
    software: str
    rate_hz: Number
    eyes: tuple[Eye, ...]
    pupil_unit: str
    pupil_measure: str
    simulated: bool
    host_file: str = ""
    tracking_mode: str = ""


@dataclass(frozen=True)
class RecordedScreen:
    """The screen that was looked at; size and distance are None where an imported recording does not say them."""

    width_px: int
    height_px: int
    width_cm: Number | None
    height_cm: Number | None
    distance_cm: Number | None


@dataclass(frozen=True, kw_only=True)
class SessionHeader:
    """The header of a session, or of a recording that was imported.

    `settings` are those of study.toml that shape a session, `preflight` is what was found before it, `beholder` the
    version; `task_description` replaces Beholder's own description where another program showed the pictures.
    """

    participant: str
    run: int
    task: str
    settings: Mapping[str, Any] | None = None
    beholder: str
    instructions: str
    task_description: str | None = None
    imported: bool = False
    screen: RecordedScreen
    tracker: TrackerInfo
    preflight: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the session's journal."""
        return f"sub-{self.participant}_run-{self.run}"


def header_to_json(header: SessionHeader) -> dict[str, Any]:
    """The JSON object for session.json, without fields that are None or False."""
    return {name: value for name, value in asdict(header).items() if value is not None and value is not False}


def header_from_json(value: object) -> SessionHeader:
    """A header from the JSON of session.json. Raises ValueError, in a few words, where no session writes such JSON."""
    try:
        header = _reader().validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'header'}: {first['msg']}") from None
    # These three become parts of the names of files.
    if why := not_a_label(header.participant):
        raise ValueError(f"participant: {why}")
    if header.run < 1:
        raise ValueError("run must be a whole number from 1")
    if not re.fullmatch("[A-Za-z0-9]+", header.task):
        raise ValueError("task must be of letters and digits")
    return header


@cache
def _reader() -> TypeAdapter[SessionHeader]:
    return TypeAdapter(SessionHeader)
