"""Claims of `experiment.quality_sheet`: it counts what happened, and says whether the analysis will keep it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from beholder.experiment.devices import Picture, Shape
from beholder.experiment.headless import ScriptedOperator
from beholder.experiment.plan import plan_from_disk
from beholder.experiment.quality_sheet import quality_sheet, sheet_lines
from beholder.experiment.session.operator import Command
from beholder.experiment.session.parts import Pace
from beholder.experiment.session.run_session import run_session
from beholder.experiment.simulation import SimulatedSession
from beholder.shared.dataset.reading import runs
from beholder.shared.tables import read_events

MakeStudy = Callable[..., Path]
Prepare = Callable[..., SimulatedSession]
SHORT = {"dot_s": 1.0, "picture_s": 2.0}


def stall(session: SimulatedSession, number: int, seconds: float) -> None:
    """Have the computer stand still in the middle of the n-th picture, as one does that swaps or updates itself."""
    display, shown = session.display, 0
    show, hold, clock = display.show, display.hold, display.clock
    stalls = False
    missed = 0

    def showing(scene: Sequence[Shape]) -> float:
        nonlocal shown, stalls
        onset_s = show(scene)
        if any(isinstance(shape, Picture) for shape in scene):
            shown += 1
            stalls = shown == number
        return onset_s

    def holding(until_s: float) -> None:
        nonlocal stalls, missed
        if stalls:
            stalls = False
            clock.sleep_until_s(clock.now_s() + seconds)
            missed += round(60 * seconds)
        hold(until_s)

    def late_frames() -> int:
        nonlocal missed
        found, missed = missed, 0
        return found

    display.show, display.hold, display.late_frames = showing, holding, late_frames  # type: ignore[method-assign]


def test_a_good_session_is_usable_and_every_figure_is_there(make_study: MakeStudy, prepare: Prepare) -> None:
    lossy = {"loss_percent": 10.0, "blinks_per_min": 0.0}
    folder = make_study(3, protocol=SHORT, tracker={"eyes": "left"}, observer=lossy)
    prepare(folder).run()
    sheet = quality_sheet(folder, "01")
    assert (sheet.planned, sheet.left, sheet.seen, sheet.late, sheet.broken_off) == (3, 0, 3, 0, 0)
    assert sheet.usable == 3 and sheet.enough and sheet.why_not == ()
    assert sheet.tracked_percent == pytest.approx(90, abs=4)
    assert set(sheet.accuracy_deg) == {"left"} and sheet.missed_frames == 0
    assert list(sheet_lines(sheet))[-1].strip().startswith("usable: 3 of 3 pictures")


def test_a_stall_of_20_s_is_told_at_once_and_the_picture_is_late(make_study: MakeStudy, prepare: Prepare) -> None:
    told: list[tuple[float, str]] = []

    class Watching(ScriptedOperator):
        def show(self, status: Any) -> None:
            super().show(status)
            told.extend((status.now_s, text) for text in status.notices)

    folder = make_study(3, protocol=SHORT)
    session = prepare(folder, operator=Watching())
    stall(session, 2, 20.0)
    assert session.run().status == "complete"
    events = read_events(runs(folder)[0].events_file)
    pictures = events[events["trial_type"] == "picture"]
    assert pictures["status"].tolist() == ["complete", "late", "complete"]
    assert pictures["dropped_frames"].tolist() == [0, 1200, 0] and pictures["duration"].iloc[1] > 20
    (held, held_text), (_, late) = [pair for pair in told if pair[1].startswith("trial 2")]
    assert "held up, 1200 frames (20000 ms)" in held_text and "is late: its picture stood for 20" in late
    onset_s = pictures["onset"].iloc[1] - pictures["onset"].iloc[0]
    first_s = next(at for at, text in told if "held up" in text)
    assert held == first_s and onset_s > 0
    sheet = quality_sheet(folder, "01")
    assert (sheet.seen, sheet.late, sheet.left, sheet.usable, sheet.missed_frames) == (3, 1, 0, 2, 1200)
    assert sheet.why_not == ("shown late: 1",) and sheet.enough
    # It was seen to its end: nobody is shown it once more unasked.
    with pytest.raises(Exception, match="has seen all 3 pictures"):
        plan_from_disk(folder, "01", resume=True)


def test_a_skipped_picture_is_left_and_a_blind_tracker_is_not_usable(make_study: MakeStudy, prepare: Prepare) -> None:
    folder = make_study(3, protocol=SHORT, observer={"loss_percent": 90.0, "blinks_per_min": 0.0})

    class Skipping(ScriptedOperator):
        def show(self, status: Any) -> None:
            super().show(status)
            if (status.phase, status.trial) == ("picture", 2) and "skip" in status.offers:
                self._answers.append(Command("skip", moment=status.moment))

    session = prepare(folder, operator=Skipping())
    outcome = run_session(
        session,
        Pace(sync_every_s=None, pump_every_s=0.05),
    )
    assert outcome.status == "complete"
    sheet = quality_sheet(folder, "01")
    assert (sheet.left, sheet.seen, sheet.broken_off) == (1, 2, 1)
    assert sheet.usable == 0 and not sheet.enough and sheet.why_not == ("more than 50 % of samples lost: 2",)
    assert sheet.overridden_by == ("simulation",)
    lines = "\n".join(sheet_lines(sheet))
    assert "2 of 3 seen, 1 left" in lines and "NOT USABLE: 0 of 3" in lines and "by simulation" in lines
