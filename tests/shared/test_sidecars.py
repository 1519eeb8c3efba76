"""Claims of `shared.sidecars`: what describes gaze and screen is typed once, and a wrong value named by its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beholder.shared.errors import DataError
from beholder.shared.sidecars import events_sidecar, physio_sidecar

REQUIRED = {"SamplingFrequency": 250, "RecordedEye": "left", "Columns": ["timestamp", "x_coordinate", "y_coordinate"]}
SCREEN = {"ScreenDistance": 0.6, "ScreenSize": [0.5, 0.3], "ScreenResolution": [1920.0, 1080]}


def physio(folder: Path, values: Any) -> Path:
    (folder / "sub-01_recording-eye1_physio.json").write_text(json.dumps(values))
    return folder / "sub-01_recording-eye1_physio.tsv.gz"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"SamplingFrequency": None}, "SamplingFrequency is null; it must be a number"),
        ({"SamplingFrequency": "abc"}, "SamplingFrequency is 'abc'; it must be a number"),
        ({"SamplingFrequency": [120]}, "SamplingFrequency is [120]; it must be a number"),
        ({"SamplingFrequency": 0}, "SamplingFrequency is 0; it must be greater than 0"),
        ({"SamplingFrequency": float("inf")}, "SamplingFrequency is inf; it must be a finite number"),
        ({"Columns": 5}, "Columns is 5; it must be a list"),
        ({"Columns": ["a", "a"]}, "Columns is ['a', 'a']; it must name each column once"),
        ({"timestamp": 5}, "timestamp is 5; it must be an object"),
        ({"x_coordinate": []}, "x_coordinate is []; it must be an object"),
        ({"Validation": "good"}, "Validation is 'good'; it must be an object"),
        ({"Validations": {}}, "Validations is {}; it must be a list"),
        ({"Validations": [{}, {"accuracy_deg": -5}]}, "Validations[2].accuracy_deg is -5; it must be greater than or"),
        ({"Validation": {"loss_percent": 101}}, "Validation.loss_percent is 101; it must be less than or equal to 100"),
        ({"Simulated": "false"}, "Simulated is 'false'; it must be true or false"),
        ({"CalibrationCount": 1.5}, "CalibrationCount is 1.5; it must be a whole number"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence_with_file_key_value_and_what_it_must_be(
    tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    path = physio(tmp_path, REQUIRED | values)
    with pytest.raises(DataError) as refused:
        physio_sidecar(path)
    assert str(refused.value).startswith(f"{path.with_suffix('').with_suffix('.json')}: {told}")
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_what_is_unknown_is_none_and_what_nothing_reads_is_kept(tmp_path: Path) -> None:
    values = {"Validation": None, "Manufacturer": "n/a", "CalibrationCount": 2.0, "timestamp": {}, "Lamp": [5]}
    sidecar = physio_sidecar(physio(tmp_path, REQUIRED | values))
    assert (sidecar.validation, sidecar.manufacturer, sidecar.calibrations) == (None, None, 2)
    assert sidecar.model_extra == {"Lamp": [5]}


def test_a_value_is_blamed_on_the_file_that_it_is_inherited_from(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "recording-eye1_physio.json").write_text(json.dumps(REQUIRED | {"Simulated": 1}))
    path = physio(tmp_path / "sub-01", {"SamplingFrequency": 500})
    with pytest.raises(DataError, match=r"/recording-eye1_physio\.json: Simulated is 1; "):
        physio_sidecar(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "nested too deep"), ('{"a": ' + "[" * 100_000 + "}", "nested too deep"), ("[]", "an object"),
        ("5", "an object"), ("{", "cannot be read as JSON"), ('{"a": "\\ud800', "cannot be read as JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_json_object_is_refused_by_its_name(tmp_path: Path, text: str, told: str) -> None:
    path = physio(tmp_path, {})
    (tmp_path / "sub-01_recording-eye1_physio.json").write_text(text)
    with pytest.raises(DataError, match=rf"eye1_physio\.json .*{told}"):
        physio_sidecar(path)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ScreenResolution": [0, 0]}, "StimulusPresentation.ScreenResolution[1] is 0; it must be greater than 0"),
        ({"ScreenResolution": [1920.5, 1080]}, "ScreenResolution[1] is 1920.5; it must be a whole number"),
        ({"ScreenResolution": [1920]}, "ScreenResolution is [1920]; it must have at least 2 items"),
        ({"ScreenSize": [float("inf"), 0.3]}, "ScreenSize[1] is inf; it must be a finite number"),
        ({"ScreenDistance": "60 cm"}, "ScreenDistance is '60 cm'; it must be a number"),
        ({"ScreenOrigin": 5}, "ScreenOrigin is 5; it must be a list"),
    ],
)
def test_a_screen_that_cannot_be_is_refused(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    file = tmp_path / "sub-01_events.json"
    file.write_text(json.dumps({"StimulusPresentation": SCREEN}))
    screen = events_sidecar(tmp_path / "sub-01_events.tsv").presentation
    assert screen is not None and screen.resolution_px == [1920, 1080]
    file.write_text(json.dumps({"StimulusPresentation": SCREEN | values}))
    with pytest.raises(DataError) as refused:
        events_sidecar(tmp_path / "sub-01_events.tsv")
    assert told in str(refused.value)
