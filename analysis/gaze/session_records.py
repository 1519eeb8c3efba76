"""Remarks on sessions for the reader of the results: unfit computers, overrides, settings that differ.

A session keeps the checks of its computer, why it was run although one failed, which failed validations somebody
accepted, and the sections of study.toml that it used. Here these become remarks; none of them leaves out any data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.shared.errors import Remark
from beholder.shared.gaze import Eye
from beholder.shared.parsing import shortened
from beholder.shared.sidecars import EventsSidecar, PhysioSidecar
from beholder.shared.study import OF_SESSIONS, Study, settings_of_sessions

# Settings that concern one laboratory alone and are not compared: the tracker's address, and which monitor it is.
OF_THE_LAB = {("tracker", "address"), ("screen", "monitor")}
MOST_NAMED = 6  # runs in a remark

Settings = Mapping[str, Mapping[str, Any]]


def session_remarks(about: str, events: EventsSidecar, eyes: Mapping[Eye, PhysioSidecar]) -> list[Remark]:
    """Remarks on what was unfit or doubtful before a run's session, and on failed validations that were accepted."""
    found = []
    preflight = events.preflight
    if preflight is not None:
        unfit = [f"{check.what} ({check.found})" for check in preflight.checks if check.verdict == "unfit"]
        if preflight.override:
            text = f'it was run although not fit: {"; ".join(unfit)}; the reason given: "{preflight.override}"'
            found.append(Remark(about, text))
        windows = [check.found for check in preflight.checks if check.found.startswith("a window of")]
        if windows:
            found.append(Remark(about, f"it was run in {windows[0]}, which is to try things out"))
    overridden = {
        (validation.onset_s, validation.overridden_by): None
        for eye in eyes.values()
        for validation in eye.validations or ()
        if validation.overridden_by
    }
    if overridden:
        by = ", ".join(dict.fromkeys(str(name) for _, name in overridden))
        failed = (
            "a validation that failed was" if len(overridden) == 1 else f"{len(overridden)} failed validations were"
        )
        found.append(Remark(about, f"{failed} accepted all the same, by {by}"))
    return found


def settings_remarks(study: Study, of_runs: Mapping[str, Settings]) -> list[Remark]:
    """Remarks on settings in which sessions differ from each other, or from study.toml as it is now.

    of_runs: the sections that each run's session used, by the run's name, such as "sub-01 run-1".
    """
    now = settings_of_sessions(study)
    found = []
    keys = {(s, k) for settings in of_runs.values() for s in OF_SESSIONS for k in settings.get(s, {})}
    for section, key in sorted(keys - OF_THE_LAB):
        runs_by_value: dict[str, list[str]] = {}
        for run, settings in of_runs.items():
            if key in settings.get(section, {}):
                runs_by_value.setdefault(_said(settings[section][key]), []).append(run)
        present = _said(now[section][key]) if key in now.get(section, {}) else None
        if len(runs_by_value) == 1 and present in (None, *runs_by_value):
            continue
        parts = [f"{value} ({_named(runs)})" for value, runs in runs_by_value.items()]
        if present is not None and present not in runs_by_value:
            parts.append(f"{present} now")
        text = f"was not the same all the time: {', '.join(parts)}; each session was run by its own"
        found.append(Remark(f"study.toml, [{section}] {key}", text))
    return found


def _said(value: object) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}" if number else shortened(str(value))


def _named(runs: list[str]) -> str:
    more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
    return ", ".join(runs[:MOST_NAMED]) + more
