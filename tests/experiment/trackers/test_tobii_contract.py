"""The fakes of Tobii's packages against the packages: names, signatures, enumerations, strings, keys, errors.

TittaPy is compared where it is installed (`pip install beholder[tobii]` on 3.11 and newer), `tobii_research` in an
environment for Python 3.10 that is made here where there is such an interpreter: it has wheels for no other. No tracker
is needed for either, and none is looked for.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.experiment.trackers.tobii import tobii_research as adapter
from beholder.experiment.trackers.tobii.sdk import SdkError
from beholder.experiment.trackers.tobii.titta import _CODES, TittaPy
from beholder.experiment.trackers.tobii.tobii_research import _ERRORS
from beholder.shared.dataset.reading import read_recording, runs

FAKES = Path(__file__).parents[1] / "fakes"
ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(FAKES))
import faces  # noqa: E402


def ask(python: str | Path, script: str, *words: str) -> dict[str, Any]:
    """What a script prints as JSON in an interpreter of its own: what a vendor's module does to it stays there."""
    done = subprocess.run([str(python), "-c", script, str(FAKES), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# -------------------------------------------------------------------------------------------------- the comparison


def test_the_comparison_notices_what_a_fake_has_too_much_and_what_is_otherwise() -> None:
    fake = faces.face(importlib.import_module("fake_tittapy"))
    assert faces.differences(fake, copy.deepcopy(fake)) == []
    for change, noticed in (
        (lambda f: f.update(get_track_box={"kind": "function"}), "get_track_box: the real package has none"),
        (lambda f: f["EyeTracker"]["parts"].update(track_box={"kind": "property"}), "EyeTracker.track_box: the real"),
        (lambda f: f["get_log"]["signature"].append(["all", True]), "get_log: its parameters"),
        (lambda f: f["EyeTracker"]["parts"]["stop"]["signature"].pop(), "EyeTracker.stop: its parameters"),
        (lambda f: f["calibration_status"]["members"].update(success=7), "calibration_status: its members"),
        (lambda f: f["EyeTracker"]["parts"]["serial_number"].update({"can be set": True}), "number: its can be set"),
    ):
        changed = copy.deepcopy(fake)
        change(changed)
        (difference,) = faces.differences(changed, fake)
        assert noticed in difference


# --------------------------------------------------------------------------------------------------------- TittaPy

TITTAPY = """
import json, sys
sys.path.insert(0, sys.argv[1])
import faces, TittaPy_v2
text = {"face": faces.face(TittaPy_v2), "file": TittaPy_v2.__file__, "system_us": TittaPy_v2.get_system_timestamp()}
try:
    TittaPy_v2.EyeTracker("tobii-prp://127.0.0.1")
except RuntimeError as error:
    text["error"] = str(error)
print(json.dumps(text))
"""


@pytest.fixture(scope="module")
def tittapy() -> dict[str, Any]:
    if importlib.util.find_spec("TittaPy_v2") is None:
        pytest.skip("TittaPy is not installed: pip install beholder[tobii], on Python 3.11 or newer")
    return ask(sys.executable, TITTAPY)


def test_fake_tittapy_has_no_name_or_signature_that_tittapy_has_not(tittapy: dict[str, Any]) -> None:
    fake = faces.face(importlib.import_module("fake_tittapy"))
    assert faces.differences(fake, tittapy["face"]) == []
    assert len(fake) > 12 and tittapy["face"]["EyeTracker"]["parts"]["consume_N"]["signature"] == [
        ["stream", False], ["N_samples", True], ["side", True],
    ]  # fmt: skip
    assert set(importlib.import_module("fake_tittapy")._STREAMS) <= set(
        tittapy["face"]["EyeTracker"]["parts"]["stream"]["members"]
    )


def test_tittapy_s_errors_are_told_apart_by_their_number(tittapy: dict[str, Any]) -> None:
    """The loopback has no tracker: this is the real text of a refused connection."""
    fake = importlib.import_module("fake_tittapy")
    for text in (tittapy["error"], "Error code: 201: TOBII_RESEARCH_STATUS_SE_INSUFFICIENT_LICENSE (...)"):
        sdk = TittaPy(fake)
        with pytest.raises(SdkError) as refused, sdk._refusals():
            raise RuntimeError(text)
        assert refused.value.kind == ("connection" if "127.0.0.1" in text else "licence")
        assert "Titta::cpp" not in str(refused.value) and "\n" not in str(refused.value)


def test_the_keys_that_are_read_of_tittapy_are_in_the_module(tittapy: dict[str, Any]) -> None:
    """It puts its keys together from parts; each part stands in the compiled module."""
    data = Path(tittapy["file"]).read_bytes()
    for part in (
        "_gaze_point_", "on_display_area", "_pupil_", "diameter", "_gaze_origin_", "in_user_coordinates",
        "device_time_stamp", "system_time_stamp", "system_request_time_stamp", "system_response_time_stamp",
        "left_user_position", "right_user_position", "left_user_position_valid", "notification_type",
        "output_frequency", "errors_or_warnings", "machine_serial", "calibration_data", "calibration_result",
        "samples_left", "samples_right", "_validity", "position_on_display_area_x", "status_string", "work_item",
    ):  # fmt: skip
        # The compiler writes short strings into instructions, eight letters at a time.
        assert part.encode() in data or all(part[i : i + 8].encode() in data for i in (0, max(0, len(part) - 8))), part


# -------------------------------------------------------------------------------------------------- tobii_research

TOBII_RESEARCH = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import faces, tobii_lab, fake_tobii_research as fake, tobii_research as real

def same(left, right):
    return left == right or left != left

text = {"face": faces.face(real), "errors": {}, "fed": []}
for code in range(0, 1002):
    try:
        real._on_error_raise_exception(code)
    except Exception as error:
        text["errors"][code] = type(error).__name__

# What the fake hands to callbacks goes into the package's own classes, which refuse other keys and types.
now = [0.0]
lab = tobii_lab.Lab(tobii_lab.Script(invalid_every=3), lambda: now[0])
fake._use(lab)
tracker = fake.EyeTracker("tet-tcp://127.0.0.1")
classes = {
    "EYETRACKER_GAZE_DATA": real.GazeData,
    "EYETRACKER_TIME_SYNCHRONIZATION_DATA": real.TimeSynchronizationData,
    "EYETRACKER_USER_POSITION_GUIDE": real.UserPositionGuide,
    "EYETRACKER_STREAM_ERRORS": real.StreamErrorData,
    "EYETRACKER_NOTIFICATION_CONNECTION_LOST": real.ConnectionLostData,
    "EYETRACKER_NOTIFICATION_STREAM_BUFFER_OVERFLOW": real.StreamBufferOverflowData,
    "EYETRACKER_NOTIFICATION_GAZE_OUTPUT_FREQUENCY_CHANGED": real.GazeOutputFrequencyChangedData,
    "EYETRACKER_NOTIFICATION_DISPLAY_AREA_CHANGED": real.DisplayAreaChangedData,
    "EYETRACKER_NOTIFICATION_DEVICE_WARNINGS": real.DeviceWarningsData,
    "EYETRACKER_NOTIFICATION_CALIBRATION_MODE_ENTERED": real.CalibrationModeEnteredData,
    "EYETRACKER_NOTIFICATION_CALIBRATION_CHANGED": real.CalibrationChangedData,
}
rows = {name: [] for name in classes}
for name in classes:
    tracker.subscribe_to(getattr(fake, name), rows[name].append, as_dictionary=True)
for _ in range(20):
    now[0] += 0.1
    lab.advance()
for tell in (lab.overflow, lab.change_rate, lab.change_area, lab.warn, lab.disconnect):
    tell()
lab.tell("notification", ("entered", None))
lab.tell("notification", ("calibrated", None))
for name, made in classes.items():
    for row in rows[name]:
        thing = made(dict(row))
        for key in ("system_time_stamp", "device_time_stamp"):
            assert not hasattr(thing, key) or getattr(thing, key) == row[key]
    text["fed"].append([name, len(rows[name]), sorted(rows[name][0])])
seen = real.GazeData(rows["EYETRACKER_GAZE_DATA"][0])
assert seen.left_eye.gaze_point.validity is True and seen.left_eye.pupil.diameter > 3

# Display area and results are made by the package itself from what its library says.
area = real.DisplayArea({name: lab.script.area[name] for name in ("bottom_left", "top_left", "top_right")})
assert area.top_left == fake.DisplayArea(lab.script.area).top_left and round(area.width) == 530
folder = os.path.dirname(real.__file__)
library = b""
for place, _, files in os.walk(folder + "/tobiiresearch"):
    for name in files:
        if name.endswith((".so", ".py", ".pyd")):
            library += open(os.path.join(place, name), "rb").read()
text["unknown keys"] = [k for _, _, keys in text["fed"] for k in keys if k.encode() not in library]
print(json.dumps(text))
"""


def interpreter_310() -> Path | None:
    """A Python 3.10 of this computer."""
    if sys.version_info[:2] == (3, 10):
        return Path(sys.executable)
    found = [shutil.which("python3.10"), *sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python"))]
    for path in found:
        # A name on the path may be a stand-in that starts nothing.
        if path is not None and not subprocess.run([str(path), "-c", ""], capture_output=True, check=False).returncode:
            return Path(path)
    return None


# What a session needs beside it; all is in the list of packages for acquisition, with its hashes.
FOR_A_SESSION = (
    "annotated-types", "etdqualitizer", "filelock", "numpy", "pandas", "pillow", "pydantic", "pydantic-core",
    "python-dateutil", "pytz", "scipy", "six", "tomli", "typing-extensions", "typing-inspection", "tzdata",
)  # fmt: skip


@pytest.fixture(scope="module")
def with_tobii_research(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python 3.10 that has `tobii_research` and what a session needs."""
    python = interpreter_310()
    if python is None:
        pytest.skip("there is no Python 3.10 here, and tobii_research has wheels for no other: install one")
    folder = tmp_path_factory.mktemp("python-3.10")
    subprocess.run([str(python), "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
    inside = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    listed = (ROOT / "locked" / "acquisition.txt").read_text("utf-8")
    wanted = folder / "wanted.txt"
    entries = re.split(r"\n(?=[a-z])", listed)
    wanted.write_text("\n".join(entry for entry in entries if entry.partition("==")[0] in FOR_A_SESSION))
    for words in (
        # 2.1 is the newest that the adapter knows of; a later one may differ on purpose.
        ["--no-deps", "tobii-research>=2.1,<2.2"],
        ["--no-deps", "--require-hashes", "-r", str(wanted)],
    ):
        done = subprocess.run(
            [str(inside), "-m", "pip", "install", "--quiet", *words], capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            pytest.skip(f"tobii-research cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return inside


@pytest.fixture(scope="module")
def tobii_research(with_tobii_research: Path) -> dict[str, Any]:
    return ask(with_tobii_research, TOBII_RESEARCH)


def session(python: Path, *words: object) -> dict[str, Any]:
    """A session above the vendor's own Python, whose compiled library is a stand-in (`tobii_native`)."""
    program = [str(python), str(FAKES / "tobii_native.py"), *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def assert_all_kept(folder: Path, delivered: list[Any]) -> Any:
    """What the library handed over is what was recorded; returns the recording."""
    (run,) = runs(folder)
    recording = read_recording(run)
    for i, eye in enumerate(recording.sidecars, start=1):
        places = np.array([row[i] if row[i] is not None else (np.nan, np.nan) for row in delivered], float)
        np.testing.assert_allclose(recording.samples["time_s"], [row[0] / 1e6 for row in delivered], atol=1.1e-6)
        np.testing.assert_allclose(recording.samples[f"{eye}_x_px"], places[:, 0] * 1920, atol=0.01)
        np.testing.assert_allclose(recording.samples[f"{eye}_y_px"], places[:, 1] * 1080, atol=0.01)
    assert len(recording.samples) == len(delivered) > 1000
    return recording


@pytest.mark.slow
def test_a_session_above_the_vendors_own_python_keeps_all_that_it_gave(
    with_tobii_research: Path, make_study: Callable[..., Path]
) -> None:
    folder = make_study(3, protocol={"dot_s": 1.0, "picture_s": 2.0})
    told = session(with_tobii_research, folder, "both", "", "")
    assert (told["status"], told["failures"], told["left open"]) == ("complete", [], [])
    recording = assert_all_kept(folder, told["delivered"])
    sidecar = json.loads(next((folder / "sub-01" / "beh").glob("*eye1_physio.json")).read_text())
    assert sidecar["TrackingMode"] == "great_ape" and "tobii_research 2.1" in sidecar["SoftwareVersions"]
    assert recording.sidecars["left"].validation is not None


@pytest.mark.slow
def test_so_does_one_of_one_eye_before_a_participant_who_has_but_one(
    with_tobii_research: Path, make_study: Callable[..., Path]
) -> None:
    folder = make_study(3, protocol={"dot_s": 1.0, "picture_s": 2.0})
    told = session(with_tobii_research, folder, "left", "right", "")
    assert (told["status"], told["failures"]) == ("complete", [])
    assert set(assert_all_kept(folder, told["delivered"]).sidecars) == {"left"}
    # The first calibration held: nobody had to try again.
    assert told["calls"].count("compute") == 1


@pytest.mark.slow
def test_and_one_whose_cable_is_pulled_ends_in_a_sentence_with_all_until_then(
    with_tobii_research: Path, make_study: Callable[..., Path]
) -> None:
    folder = make_study(3, protocol={"dot_s": 1.0, "picture_s": 2.0})
    told = session(with_tobii_research, folder, "both", "", "disconnect")
    assert told["status"] == "lost" and "the connection to the Tobii tracker was lost" in told["said"]
    assert_all_kept(folder, told["delivered"])


@pytest.mark.slow
def test_fake_tobii_research_has_no_name_or_signature_that_tobii_research_has_not(
    tobii_research: dict[str, Any],
) -> None:
    fake = faces.face(importlib.import_module("fake_tobii_research"))
    assert faces.differences(fake, tobii_research["face"]) == []
    assert len(fake) > 45


@pytest.mark.slow
def test_what_the_fake_hands_to_callbacks_is_what_the_package_s_own_classes_take(
    tobii_research: dict[str, Any],
) -> None:
    assert all(count > 0 for _, count, _ in tobii_research["fed"])
    assert tobii_research["unknown keys"] == []


@pytest.mark.slow
def test_both_packages_errors_become_the_same(tobii_research: dict[str, Any]) -> None:
    """The number that the one tells is the class that the other raises."""
    for code, kind in _CODES.items():
        if code == 205:  # timed out: no error to tobii_research, and no success to us
            continue
        assert _ERRORS[tobii_research["errors"][str(code)]] == kind, code


@pytest.mark.slow
def test_every_name_that_the_adapter_uses_is_the_package_s(tobii_research: dict[str, Any]) -> None:
    source = Path(adapter.__file__).read_text("utf-8")
    names = set(re.findall(r"package\.([A-Z_a-z]+)|\"(EYETRACKER_\w+)\"", source))
    used = {name for pair in names for name in pair if name and not name.startswith("__")}
    assert len(used) > 20 and used <= set(tobii_research["face"]), used - set(tobii_research["face"])
