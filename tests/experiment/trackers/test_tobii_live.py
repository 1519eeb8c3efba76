"""`beholder run` and `beholder analyze` on a virtual screen, with a fake Tobii package in the real one's place.

The fake samples in real time in the session's process and writes down what it handed over; that is what must be found.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.study import read_study

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "fakes"))
from tobii_lab import flat_area  # noqa: E402

from tests.experiment.robot import (  # noqa: E402
    HEIGHT_PX,
    PICTURE,
    PROGRAM,
    REASON,
    TIMEOUT_S,
    WIDTH_PX,
    Operator,
    Robot,
    VirtualScreen,
    on_a_virtual_screen,
)

pytestmark = on_a_virtual_screen

PATH = [(0.5, 0.5), (0.46, 0.44), (0.54, 0.52), (0.5, 0.58), (0.44, 0.5)]
DWELL_S, RATE_HZ, TRIALS = 0.25, 120.0, 20
FAKES = {"fake_tobii_research": "tobii_research 2", "fake_tittapy": "TittaPy 2"}


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """Twenty teal pictures, the virtual screen's measures, and short times."""
    source = tmp_path / "photographs"
    (source / "masks").mkdir(parents=True)
    for number in range(1, TRIALS + 1):
        Image.new("RGB", (400, 300), PICTURE).save(source / f"p{number:02d}.png")
        mask = np.zeros((300, 400), np.uint8)
        mask[100:200, 100:200] = 1
        Image.fromarray(mask).save(source / "masks" / f"p{number:02d}.png")
    folder = tmp_path / "study"
    subprocess.run([*PROGRAM, "new", str(folder), "--stimuli", str(source)], check=True, stdout=subprocess.DEVNULL)
    settings = folder / "study.toml"
    text = settings.read_text()
    for name, was, now in (
        ("width_px", 1920, WIDTH_PX), ("height_px", 1080, HEIGHT_PX), ("width_cm", 53.0, 32.0),
        ("height_cm", 29.8, 20.0), ("size_deg", 20.0, 12.0), ("dot_s", 5.0, 0.3), ("picture_s", 10.0, 0.5),
        ("rate_hz", 250.0, RATE_HZ), ("break_every", 10, 0), ("name", '"mouse"', '"tobii"'),
        ("form", '["consent", "age", "sex", "vision", "group"]', "[]"),
        # A virtual screen on a busy machine is no lab's.
        ("late_ms", 100.0, 60000.0),
        # The analysis is to come to its end, not to find much.
        ("longer_side_px", 224, 56), ("sigma_step", 0.1, 0.3), ("random_weights", 20, 1),
    ):  # fmt: skip
        assert f"{name} = {was}\n" in text, name
        text = text.replace(f"{name} = {was}\n", f"{name} = {now}\n")
    settings.write_text(text.replace('background = "#008080"', 'background = "#ffffff"'))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fake", sorted(FAKES))
def test_twenty_trials_from_beholder_run_to_beholder_analyze(study_folder: Path, tmp_path: Path, fake: str) -> None:
    if fake == "fake_tittapy" and importlib.util.find_spec("tobii_research") is not None:
        pytest.skip("tobii_research is installed, and is taken before TittaPy")
    log = tmp_path / "handed-over.jsonl"
    script = {
        "path": PATH, "dwell_s": DWELL_S, "area": flat_area(32.0, 20.0), "log": str(log), "obliging": True,
    }  # fmt: skip
    screen = VirtualScreen(tmp_path)
    environment = screen.environment | {
        "PYTHONPATH": str(HERE / "fakes" / "as_installed" / fake),
        "BEHOLDER_FAKE": json.dumps(script),
    }
    operator = Operator("run", study_folder, "--participant", "01", "--override", REASON, environment=environment)
    study = read_study(study_folder)
    assert study.screen is not None
    robot = Robot(screen, operator, None, study.screen.screen().px_per_deg)
    try:
        last = None
        for name in ("welcome", "instructions", "calibration", "eyes"):
            last = robot.answer(name, lambda: screen.key("space"), last)
            if name == "eyes":
                Image.fromarray(last).save(tmp_path / "eyes.png")
        # They look elsewhere than at the targets of the validation: it fails, and the operator accepts it.
        robot.look(until=lambda: "accept all the same" in operator.read(), explores=False)
        operator.press("a")
        robot.look(until=lambda: "your initials" in operator.read(), explores=False)
        operator.press("xy\r")
        until_s = time.monotonic() + TIMEOUT_S
        while operator.process.poll() is None:
            assert time.monotonic() < until_s, operator.read()[-3000:]
            operator.read()
            # The thanks at the end are answered; before, nobody is asked.
            screen.key("space")
            time.sleep(1.0)
        assert operator.end() == 0, operator.shown[-3000:]
    finally:
        operator.close()
        screen.close()

    (run,) = runs(study_folder)
    recording = read_recording(run)
    handed_over = [json.loads(line) for line in log.read_text().splitlines()]
    samples = recording.samples
    # What came after the recording's end was nobody's: the tracker had been told to stop.
    assert samples["time_s"].tolist() == pytest.approx([row[0] / 1e6 for row in handed_over], abs=1.1e-6)
    for k, eye in ((2, "left"), (3, "right")):
        places = np.array([row[k] for row in handed_over])
        np.testing.assert_allclose(samples[f"{eye}_x_px"], places[:, 0] * WIDTH_PX, atol=0.01)
        np.testing.assert_allclose(samples[f"{eye}_y_px"], places[:, 1] * HEIGHT_PX, atol=0.01)
    # Where they looked is where it was scripted, at that time; the noise is below a px.
    session_s = samples["time_s"] - 7.5
    scripted = np.array([PATH[int(s / DWELL_S + 1e-6) % len(PATH)] for s in session_s])
    away = np.abs(samples["left_x_px"] - scripted[:, 0] * WIDTH_PX) > 1
    assert away.mean() < 0.01, "but at the jumps, where a rounded time may be of the place before"
    shown = recording.events[recording.events["trial_type"] == "picture"]
    assert shown["status"].tolist() == ["complete"] * TRIALS
    assert len(samples) > 0.8 * RATE_HZ * shown["onset"].iloc[-1]
    sidecar = json.loads(next(run.events_file.parent.glob("*eye1_physio.json")).read_text())
    assert sidecar["Manufacturer"] == "Tobii" and not sidecar.get("Simulated") and FAKES[fake] in json.dumps(sidecar)

    if sys.version_info < (3, 11):
        return  # a lab's computer; the analysis has its own
    done = subprocess.run(
        [*PROGRAM, "analyze", str(study_folder), "--model", "offline"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (study_folder / "derivatives" / "beholder" / "report.html").exists()
