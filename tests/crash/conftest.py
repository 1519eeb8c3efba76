"""What the crash tests stand on: a study, sessions' journals, the official validator, and what "nothing lost" means."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.shared.dataset.making import create_study
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.records import Begin, ClockReading, End, FormAnswered, Record
from beholder.shared.study import Study
from tests.headers import session_header

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


@pytest.fixture
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a process loses nothing that was written: only the end of the power makes a sync matter."""
    monkeypatch.setattr("os.fsync", lambda file: None)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 48), "#aa8855").save(pictures / "bag-01.png")
    create_study(tmp_path / "study", Study(), pictures)
    return tmp_path / "study"


@pytest.fixture
def leave_journal(study: Path) -> Callable[[str, int], Path]:
    """A journal as a crash leaves it, with a tracker's own file."""

    def leave(participant: str, run: int = 1) -> Path:
        writer = JournalWriter(study, session_header(participant, run))
        samples = np.zeros(50, SAMPLE)
        samples["time_s"] = np.arange(50) / 250
        writer.append_samples(samples)
        writer.append_records(
            [
                Record(0.0, FormAnswered({"age": "30"})),
                Record(0.0, ClockReading(0.0, 0.0, 0.0)),
                Record(0.0, Begin(1, "dot", trial=1)),
                Record(0.1, End(1, "complete")),
            ]
        )
        (writer.files / "host.edf").write_bytes(f"{participant} {run}".encode())
        writer.close()
        return writer.folder

    return leave


@pytest.fixture(scope="session")
def assert_valid() -> Callable[[Path], None]:
    """The official validator finds no error; a state that it has seen already is not shown to it again."""
    if not VALIDATOR.exists():
        pytest.skip("bids-validator-deno is not installed")
    seen: set[str] = set()

    def check(folder: Path) -> None:
        state = repr(visible(folder))
        if state in seen:
            return
        run = subprocess.run([VALIDATOR, "--format", "json", folder], capture_output=True, text=True, check=False)
        issues = json.loads(run.stdout)["issues"]["issues"]
        assert [i for i in issues if i["severity"] == "error"] == [], sorted(visible(folder))
        seen.add(state)

    def visible(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and ".beholder" not in path.parts)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}

    check.visible = visible  # type: ignore[attr-defined]
    return check


@pytest.fixture(scope="session")
def visible(assert_valid: Any) -> Callable[[Path], dict[str, bytes]]:
    """The data set's files and their bytes, without Beholder's own folder."""
    found: Callable[[Path], dict[str, bytes]] = assert_valid.visible
    return found
