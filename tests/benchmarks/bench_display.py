"""How long a session keeps a frame waiting, and how soon a participant sees something.

    python tests/benchmarks/bench_display.py [--rate 1200 --pictures 3 --json FILE]

A real session on a real window (where there is no screen, on an Xvfb of its own): the synthetic tracker at 1,200 Hz of
both eyes, the recorder with its thread and its syncs every second, pictures of 1024 px from the 20 objects. What
counts is the time of each frame that is spent neither in the flip nor in waiting for its moment: gaze, journal, keys,
operator, drawing. Beside the time of the clock stands the processor time of the drawing thread, which a busy computer
does not lengthen. Then the time from a command to its first screen, in fresh processes. Not a test: nothing is
asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from beholder.experiment.devices import Dot, Picture, Shape, WindowEvent
from beholder.experiment.headless import ScriptedOperator, ScriptedParticipant
from beholder.experiment.live import WatchedWindow
from beholder.experiment.observer import Observer, generator, read_densities
from beholder.experiment.plan import picture_rect, plan_session
from beholder.experiment.session.parts import Pace, SessionSetup
from beholder.experiment.session.run_session import run_session
from beholder.experiment.simulation import simulation_facts
from beholder.experiment.trackers.synthetic import SyntheticTracker
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import runs
from beholder.shared.stimuli.folder import bundled_folder, read_stimuli
from beholder.shared.study import ProtocolSettings, ScreenSettings, Study, TrackerSettings

ROOT = Path(__file__).resolve().parents[2]
WIDTH_PX, HEIGHT_PX = 1280, 800
FIRST_SCREEN = """
import time
from pathlib import Path
from beholder.experiment.devices import Text
from beholder.experiment.preflight import checks, window_checks
from beholder.experiment.window import Window
from beholder.shared.study import read_study
import sys
folder = Path(sys.argv[1])
study = read_study(folder)
window = Window(study.screen, "#ffffff")
opened_s = time.perf_counter()
checks(folder)
window_checks(study, window)
checked_s = time.perf_counter()
shown_s = window.show([Text("Welcome", *window.screen.centre_px, 30)])
print(opened_s, checked_s, shown_s)
window.close()
"""


@dataclass(frozen=True)
class Frame:
    """A frame: what was on the screen, and the seconds before its flip, by the clock and of the processor."""

    phase: str
    outside_s: float
    outside_cpu_s: float


class TimedWindow(WatchedWindow):
    """A window with a participant in front of it, that times what is done between one flip and the next."""

    def __init__(self, settings: ScreenSettings, background: str) -> None:
        self.frames: list[Frame] = []
        self.participant = ScriptedParticipant()
        self._coming: list[WindowEvent] = []
        self._flip_ended_s = self._cpu_ended_s = float("nan")
        self._waited_s = 0.0
        self._phase = "other"
        super().__init__(settings, background)
        self._sleep = self.clock.sleep_until_s
        self.clock.sleep_until_s = self._timed_sleep  # type: ignore[method-assign]

    def begin(self) -> None:
        """Forget the frames until now: those of the window's opening."""
        self.frames.clear()
        self._flip_ended_s = float("nan")

    def show(self, scene: Sequence[Shape]) -> float:
        """Shown as ever; the participant answers it."""
        kinds = {type(shape) for shape in scene}
        self._phase = "picture" if Picture in kinds else "dot" if kinds == {Dot} else "other"
        onset_s = super().show(scene)
        self._coming += self.participant.answer(onset_s, scene)
        return onset_s

    def events(self) -> list[WindowEvent]:
        """Those of the window, and the participant's answers that are due."""
        due = [event for event in self._coming if event.at_s <= self.clock.now_s()]
        self._coming = [event for event in self._coming if event not in due]
        return [*super().events(), *due]

    def _timed_sleep(self, time_s: float) -> None:
        from_s = time.perf_counter()
        self._sleep(time_s)
        self._waited_s += time.perf_counter() - from_s

    def _flip(self) -> float:
        outside_s = time.perf_counter() - self._flip_ended_s - self._waited_s
        outside_cpu_s = time.thread_time() - self._cpu_ended_s
        if not math.isnan(outside_s):
            self.frames.append(Frame(self._phase, outside_s, outside_cpu_s))
        flipped_s = super()._flip()
        self._flip_ended_s, self._cpu_ended_s, self._waited_s = time.perf_counter(), time.thread_time(), 0.0
        return flipped_s


def study_folder(parent: Path, rate_hz: float, pictures: int) -> Path:
    """A study of so many of the 20 objects, with short trials."""
    study = Study(
        screen=ScreenSettings(width_px=WIDTH_PX, height_px=HEIGHT_PX, width_cm=34, height_cm=21.25),
        tracker=TrackerSettings(name="synthetic", rate_hz=rate_hz, eyes="both"),
        protocol=ProtocolSettings(dot_s=3.0, picture_s=5.0, form=[]),
    )
    source = parent / "source"
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
        for file in sorted((bundled_folder() / kind).glob("*.png"))[:pictures]:
            shutil.copyfile(file, source / kind / file.name)
    create_study(parent / "study", study, source)
    return parent / "study"


def run_timed(folder: Path, rate_hz: float) -> tuple[list[Frame], dict[str, Any]]:
    from beholder.experiment.live import _undisturbed
    from beholder.shared.study import read_study

    study = read_study(folder)
    plan = plan_session(study, read_stimuli(folder / "stimuli")[0], "01", [])
    assert study.screen is not None
    window = TimedWindow(study.screen, study.protocol.background)
    densities = read_densities(folder, study, [trial.stimulus for trial in plan.trials])
    eyes = Observer(study.observer, window.screen, densities, study.alignment.centre_share, generator(1, "01", "gaze"))
    facts = simulation_facts(folder, study, 1)
    tracker = SyntheticTracker(window.clock, eyes, study.observer, generator(1, "01", "measurement"), facts)
    window.watcher = tracker.watch
    rects = [(trial.stimulus, picture_rect(window.screen, trial.stimulus, study.pictures)) for trial in plan.trials]
    window.preload(Picture(stimulus.file, rect) for stimulus, rect in rects)
    window.begin()
    with _undisturbed():
        outcome = run_session(
            SessionSetup(folder, study, plan, window, tracker, ScriptedOperator()), Pace(system_time=time.time)
        )
    (run,) = runs(folder)
    samples = sum(1 for _ in run.events_file.parent.glob("*_physio.tsv.gz"))
    facts = {"status": outcome.status, "reason": outcome.reason, "failures": outcome.failures, "eyes": samples}
    return window.frames, {**facts, "waits_for_screen": window.waits_for_screen, "rate_hz": rate_hz}


def first_screen(folder: Path, times: int = 3) -> dict[str, float]:
    """Median seconds from the start of a process to window, preflight and first screen; its processor time too."""
    found = []
    for _ in range(times):
        from_s, cpu_s = time.perf_counter(), sum(os.times()[2:4])
        done = subprocess.run(
            [sys.executable, "-c", FIRST_SCREEN, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        # One clock for all processes of a computer, on Linux at least; elsewhere only its end can be compared.
        found.append([*(float(value) - from_s for value in done.stdout.split()), sum(os.times()[2:4]) - cpu_s])
    return dict(
        zip(("window", "preflight", "first screen", "processor"), np.median(found, axis=0).tolist(), strict=True)
    )


@contextmanager
def screen() -> Iterator[str]:
    """The screen that is there, or one of Xvfb's."""
    if platform.system() != "Linux" or os.environ.get("DISPLAY"):
        yield os.environ.get("DISPLAY", "the screen")
        return
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{WIDTH_PX}x{HEIGHT_PX}x24", "-noreset"],
        pass_fds=(writer,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as numbers:
        os.environ["DISPLAY"] = ":" + numbers.readline().strip()
    try:
        yield "Xvfb, drawn by the processor"
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1200.0, help="samples per second of each eye")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with tempfile.TemporaryDirectory() as parent, screen() as on:
        folder = study_folder(Path(parent), options.rate, options.pictures)
        starts = first_screen(folder)
        frames, facts = run_timed(folder, options.rate)

    console = Console()
    table = Table(title=f"Time outside the flip, ms a frame, at {options.rate:g} Hz of both eyes ({on})")
    for heading in ("on the screen", "frames", "median", "95 %", "99 %", "worst", "99 % of processor time"):
        table.add_column(heading, justify="left" if heading == "on the screen" else "right")
    figures: dict[str, Any] = {"session": facts, "first_screen_s": starts, "load_average": load_before}
    for phase in ("dot", "picture", "other", "all"):
        chosen = [frame for frame in frames if phase in (frame.phase, "all")]
        if not chosen:
            continue
        clock_ms = 1e3 * np.array([frame.outside_s for frame in chosen])
        cpu_ms = 1e3 * np.array([frame.outside_cpu_s for frame in chosen])
        row = [*np.quantile(clock_ms, [0.5, 0.95, 0.99, 1]).tolist(), float(np.quantile(cpu_ms, 0.99))]
        table.add_row(phase, str(len(chosen)), *(f"{value:.2f}" for value in row))
        figures[phase] = dict(zip(("median", "p95", "p99", "worst", "cpu_p99"), row, strict=True))
    console.print(table)
    console.print(f"The session: {facts['status']} {facts['reason']} {'; '.join(facts['failures'])}")
    told = ", ".join(f"{name} after {starts[name]:.1f} s" for name in ("window", "preflight", "first screen"))
    used = f"{starts['processor']:.1f} s of processor time"
    console.print(f"From the command, median of 3: {told}, with {used} in all.")
    console.print(f"Load average before {load_before:.1f} on {os.cpu_count()} cores.")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
