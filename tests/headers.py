"""The header of a session that a test needs, where it matters little which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from beholder.shared.recording.session_header import RecordedScreen, SessionHeader, TrackerInfo

TRACKER = TrackerInfo(
    manufacturer="Maker",
    model="M1",
    serial="7",
    software="1.0",
    rate_hz=250.0,
    eyes=("left", "right"),
    pupil_unit="mm",
    pupil_measure="diameter",
    simulated=False,
)
SCREEN = RecordedScreen(width_px=1920, height_px=1080, width_cm=53.0, height_cm=29.8, distance_cm=60.0)


def session_header(participant: str = "01", run: int = 1, **of_tracker: Any) -> SessionHeader:
    """Of a person's session; `of_tracker` are fields of its tracker, by default 250 Hz of both eyes."""
    return SessionHeader(
        participant=participant,
        run=run,
        task="viewing",
        beholder="0",
        instructions="Look.",
        screen=SCREEN,
        tracker=replace(TRACKER, **of_tracker),
    )
