"""Claims of `analysis.session_records`: what sessions say of themselves reaches the reader, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from beholder.analysis.gaze.session_records import session_remarks, settings_remarks
from beholder.shared.sidecars import EventsSidecar, PhysioSidecar
from beholder.shared.study import OF_SESSIONS, Study

UNFIT = {"verdict": "unfit", "what": "refresh rate", "found": "55 Hz"}
FIT = {"verdict": "fit", "what": "display scaling", "found": "100 %"}


def events(**preflight: Any) -> EventsSidecar:
    return EventsSidecar.model_validate({"Preflight": preflight} if preflight else {})


def eye(*by: str | None) -> PhysioSidecar:
    validations = [
        {"onset_s": float(i), "passed": name is None, "accepted": True, "overridden_by": name}
        for i, name in enumerate(by)
    ]
    required = {"SamplingFrequency": 500, "Columns": ["timestamp", "x_coordinate", "y_coordinate"], "StartTime": 0}
    rest = {"PhysioType": "eyetrack", "RecordedEye": "left", "SampleCoordinateSystem": "gaze-on-screen"}
    return PhysioSidecar.model_validate({**required, **rest, "Validations": validations})


def test_a_session_that_was_fit_and_validated_needs_no_word() -> None:
    assert session_remarks("sub-01 run-1", events(checks=[FIT], override=None), {"left": eye(None)}) == []
    assert session_remarks("sub-01 run-1", events(), {"left": eye()}) == []


def test_an_override_a_window_and_a_failed_validation_are_each_said_with_who_and_why() -> None:
    window = {"verdict": "doubtful", "what": "screen size in px", "found": "a window of 800 x 600 px"}
    found = session_remarks(
        "sub-01 run-1", events(checks=[FIT, UNFIT, window], override="a pilot"), {"left": eye(None, "kb", "kb")}
    )
    assert [str(remark) for remark in found] == [
        'sub-01 run-1: it was run although not fit: refresh rate (55 Hz); the reason given: "a pilot"',
        "sub-01 run-1: it was run in a window of 800 x 600 px, which is to try things out",
        "sub-01 run-1: 2 failed validations were accepted all the same, by kb",
    ]
    # Both eyes of one validation are one validation.
    (both,) = session_remarks("sub-02 run-1", events(), {"left": eye("kb"), "right": eye("kb")})
    assert "a validation that failed was accepted" in both.text


def settings_of(study: Study) -> dict[str, Any]:
    parts = {name: getattr(study, name) for name in OF_SESSIONS}
    return {name: part.model_dump(mode="json") for name, part in parts.items() if part is not None}


def with_protocol(**values: Any) -> Study:
    return Study.model_validate({"protocol": values})


def test_the_same_settings_all_the_time_need_no_word() -> None:
    study = with_protocol(picture_s=5.0)
    assert settings_remarks(study, {f"sub-0{i} run-1": settings_of(study) for i in range(3)}) == []
    assert settings_remarks(study, {}) == []


@pytest.mark.parametrize("now_s", [5.0, 8.0, 12.0])
def test_what_changed_between_participants_or_since_is_said_with_whose_it_was(now_s: float) -> None:
    runs = {"sub-01 run-1": 5.0, "sub-02 run-1": 8.0, "sub-03 run-1": 8.0}
    found = settings_remarks(
        with_protocol(picture_s=now_s), {run: settings_of(with_protocol(picture_s=s)) for run, s in runs.items()}
    )
    (remark,) = found
    assert remark.about == "study.toml, [protocol] picture_s"
    assert remark.text.startswith("was not the same all the time: 5 (sub-01 run-1), 8 (sub-02 run-1, sub-03 run-1)")
    assert (", 12 now;" in remark.text) == (now_s == 12.0)


def test_a_tracker_at_another_address_is_the_same_study() -> None:
    kept = settings_of(Study())
    moved = {**kept, "tracker": {**kept["tracker"], "address": "tet-tcp://lab-2"}}
    assert settings_remarks(Study(), {"sub-01 run-1": kept, "sub-02 run-1": moved}) == []


def test_strangers_settings_are_compared_and_never_trusted() -> None:
    strange = {"protocol": {"picture_s": "x" * 500, "unheard_of": [1]}, "model_dump": {"a": 1}}
    found = settings_remarks(Study(), {"sub-01 run-1": strange})
    assert len(found) == 1 and len(found[0].text) < 300
