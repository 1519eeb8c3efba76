"""Records of a session: every kind is written as sessions have always written it, and read back as what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beholder.shared.recording.records import KINDS, from_json, to_json

# By kind, what earlier versions wrote; the order of the names is part of it.
WRITTEN: list[tuple[str, str]] = [
    ("begin", '{"id":1,"trial_type":"calibration"}'),
    ("begin", '{"id":4,"trial_type":"dot","trial":1,"dropped_frames":0}'),
    ("begin", '{"id":5,"trial_type":"picture","trial":1,"stim_file":"images/cup-01.png","exposure":"first",'
              '"picture_x_px":720,"picture_y_px":300.5,"picture_width_px":480.0,"picture_height_px":480.0,'
              '"dropped_frames":2}'),
    ("begin", '{"id":6,"trial_type":"rating","trial":1,"stim_file":"images/cup-01.png"}'),
    ("end", '{"id":1,"status":"complete"}'),
    ("end", '{"id":5,"status":"late","dropped_frames":7}'),
    ("end", '{"id":6,"status":"complete","rating":7}'),
    ("drift", '{"id":4,"drift_x_deg":0.125,"drift_y_deg":-0.5,"drift_deg":0.515}'),
    ("form", '{"age":"31","group":"naïve"}'),
    ("calibration", '{"success":true,"points":[{"number":1,"x_px":960.0,"y_px":540}],"failed":[2],"message":"poor"}'),
    ("validation", '{"begun_s":3.5,"eyes":{"left":{"accuracy_deg":null,"points":[{"number":1}]}},"accepted":true,'
                   '"overridden_by":null}'),
    ("message", '{"text":"TRIALID 1"}'),
    ("notice", '{"text":"3 samples are lost","fatal":false}'),
    ("tracker", '{"time_s":12.25,"kind":"blink","duration_s":null,"text":"","eye":null,"x_px":null,"y_px":null}'),
    ("clock", '{"before_s":0.1,"tracker_s":100.0,"after_s":0.2}'),
    ("clock", '{"before_s":0.1,"tracker_s":100.0,"after_s":0.2,"step_s":-3.0}'),
    ("system_clock", '{"before_s":0.1,"elapsed_s":0.0,"after_s":0.2}'),
    ("system_clock", '{"before_s":0.1,"elapsed_s":0.0,"after_s":0.2,"step_s":3600.0}'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), WRITTEN)
def test_what_is_read_is_written_the_same(kind: str, text: str) -> None:
    what = from_json(kind, json.loads(text))
    assert type(what) is KINDS[kind]
    again, value = to_json(what)
    assert (again, json.dumps(value, ensure_ascii=False, separators=(",", ":"))) == (kind, text)


def test_every_kind_is_among_them() -> None:
    assert {kind for kind, _ in WRITTEN} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("begin", {"trial_type": "dot"}),
        ("begin", {"id": "first", "trial_type": "dot"}),
        ("end", {"id": 1, "status": 7}),
        ("clock", {"before_s": 0.0, "tracker_s": "soon", "after_s": 0.0}),
        ("validation", {"begun_s": 0.0, "eyes": {"third": {}}, "accepted": True, "overridden_by": None}),
        ("calibration", {"success": True, "points": [{"x_px": 1.0, "y_px": 1.0}]}),
        ("unheard_of", {}),
    ],
)
def test_what_no_session_writes_is_none(kind: str, value: dict[str, Any]) -> None:
    assert from_json(kind, value) is None


def test_of_a_calibration_of_an_earlier_version_the_rest_is_left_open() -> None:
    assert from_json("calibration", {"success": True, "points": []}) == KINDS["calibration"](success=True, points=())
