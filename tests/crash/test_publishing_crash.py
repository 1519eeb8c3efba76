"""Killed between any two steps, publishing and withdrawing leave a valid data set, and recovery completes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beholder.shared.dataset import publishing, withdrawal
from beholder.shared.dataset.participants import read_participants
from beholder.shared.dataset.reading import runs
from beholder.shared.recording.journal import journals

ROOT = Path(__file__).parents[2]
Visible = Callable[[Path], dict[str, bytes]]
Hook = Callable[[str], None]


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it and tidy up."""


def killed_at_every_step(base: Path, act: Callable[[Path, Hook], object]) -> Iterator[tuple[Path, str]]:
    """Copies of the study in which `act` died before its first step, its second, ...; each with that step's name."""
    for number in range(1000):
        copy = base.with_name(f"{base.name}-{number}")
        shutil.copytree(base, copy)
        steps: list[str] = []

        def die(step: str, steps: list[str] = steps, last: int = number) -> None:
            steps.append(step)
            if len(steps) > last:
                raise Killed(step)

        try:
            act(copy, die)
        except Killed:
            yield copy, steps[-1]
            shutil.rmtree(copy)
        else:
            assert steps[0] == "log"
            assert steps[-1] == "clean"
            return


@pytest.mark.usefixtures("no_waiting_for_the_disk")
@pytest.mark.parametrize("earlier", [(), ("02",), ("01", "02")], ids=["first participant", "another", "a second run"])
def test_publishing_killed_between_any_two_steps_loses_nothing_and_stays_valid(
    study: Path,
    leave_journal: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    visible: Visible,
    earlier: tuple[str, ...],
) -> None:
    for label in earlier:
        publishing.publish(leave_journal(label))
    before = visible(study)
    run = 2 if "01" in earlier else 1
    journal = leave_journal("01", run).relative_to(study)
    killed = 0
    for copy, _ in killed_at_every_step(study, lambda copy, hook: publishing.publish(copy / journal, hook)):
        killed += 1
        assert_valid(copy)
        publishing.recover(copy)
        assert_valid(copy)
        after = visible(copy)
        tables = {"participants.tsv", "participants.json"}
        assert {name: after.get(name) for name in before if name not in tables} == {
            name: data for name, data in before.items() if name not in tables
        }
        assert f"sub-01/beh/sub-01_task-viewing_run-{run}_recording-eye1_physio.tsv.gz" in after
        assert after[f"sourcedata/sub-01/sub-01_task-viewing_run-{run}_host.edf"] == f"01 {run}".encode()
        assert list(read_participants(copy).index) == sorted({"01", *earlier})
        assert journals(copy) == ()
        assert not (copy / ".beholder" / "publish").exists()
    # The log, renames of tables and folder, the tracker's file, the journal, each with its striking off; the end.
    assert killed == 18


@pytest.mark.usefixtures("no_waiting_for_the_disk")
@pytest.mark.parametrize("participants", [("01",), ("01", "02")], ids=["the only one", "one of two"])
def test_withdrawing_killed_between_any_two_steps_is_completed_by_recovery(
    study: Path,
    leave_journal: Callable[..., Path],
    assert_valid: Callable[[Path], None],
    participants: tuple[str, ...],
) -> None:
    for label in participants:
        publishing.publish(leave_journal(label))
    pooled = study / "derivatives" / "beholder"
    pooled.mkdir(parents=True)
    (pooled / "dataset_description.json").write_text(
        '{"Name": "x", "BIDSVersion": "1.11.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "Beholder"}]}'
    )
    killed = 0
    for copy, step in killed_at_every_step(study, lambda copy, hook: withdrawal.withdraw(copy, "01", before_step=hook)):
        killed += 1
        assert_valid(copy)
        publishing.recover(copy)
        assert_valid(copy)
        # Before the log is written nothing has happened; from then on the withdrawal is completed.
        left = [path for path in copy.rglob("*") if "sub-01" in path.name]
        assert bool(left) == (step == "log")
        assert (copy / "derivatives" / "beholder").exists() == (step == "log")
        assert (copy / "sub-02").exists() == ("02" in participants)
    assert killed > 12


@pytest.mark.slow
@pytest.mark.parametrize("step_number", [0, 5, 9, 14])
def test_a_real_kill_leaves_no_lock_behind(
    study: Path, leave_journal: Callable[..., Path], assert_valid: Callable[[Path], None], step_number: int
) -> None:
    folder = leave_journal("01")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom beholder.shared.dataset.publishing import publish\nsteps = []\n"
        "def hook(step):\n    steps.append(step)\n    len(steps) > int(sys.argv[2]) and os._exit(9)\n"
        "publish(Path(sys.argv[1]), hook)\n"
    )
    command = [sys.executable, "-c", program, str(folder), str(step_number)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9
    assert_valid(study)
    publishing.recover(study)
    assert_valid(study)
    assert len(runs(study)) == 1
    assert journals(study) == ()
