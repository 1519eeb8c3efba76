"""Commands killed at any write: the same command completes them, to the bytes of one that nothing disturbed.

Each runs in a process forked from this one, in which Python itself counts what is written, renamed or deleted (PEP 578)
and kills the process, as a power cut or the operator would, before the n-th of these. The slow tests kill a hundred: 48
imports, 20 simulations, 20 withdrawals, 8 analyses and 6 reports.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from beholder.analysis.importing.fixation_table import import_fixations
from beholder.analysis.importing.recordings import NewStudy, import_asc, import_tobii
from beholder.analysis.pipeline.analyze import analyze, conclude
from beholder.analysis.pipeline.workers import THREAD_VARIABLES
from beholder.analysis.results.paths import results_folder
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.withdrawal import withdraw
from beholder.shared.errors import StudyError
from beholder.shared.study import (
    AlignmentSettings,
    MapSettings,
    ModelSettings,
    ProtocolSettings,
    Study,
    TrackerSettings,
)
from tests.analysis.quick import run_here
from tests.analysis.scenes import three_scenes, two_pictures
from tests.watching import written

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes: run this on Linux or macOS")

NEW = {"screen_px": (1024, 768), "screen_cm": (40.0, 30.0), "distance_cm": 60.0}
Act = Callable[[], object]


def in_a_child(act: Act, below: Path, die_at: int | None = None) -> tuple[int, int]:
    """Run `act` in a forked process; returns how it ended and how many writes below a folder it had come to."""
    to_here, from_child = os.pipe()
    child = os.fork()
    if child:
        os.close(from_child)
        with os.fdopen(to_here, "rb") as pipe:
            writes = len(pipe.read())
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), writes
    seen = 0

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if any(path.is_relative_to(below) for path in written(event, args)):
            if seen == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
            os.write(from_child, b".")

    sys.addaudithook(count)
    try:
        act()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def asc(seed: int) -> str:
    rng = np.random.default_rng(seed)
    lines = [
        "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED", "MSG\t9000 DISPLAY_COORDS 0 0 1023 767",
        "START\t10000 \tLEFT\tSAMPLES\tEVENTS", "PUPIL\tAREA",
        "SAMPLES\tGAZE\tLEFT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2", "MSG\t10000 images/a.png onset",
    ]  # fmt: skip
    x = 400 + rng.normal(0, 1, 300).cumsum()
    lines += [f"{10000 + 2 * i}\t  {x[i]:.1f}\t  380.0\t  900.0\t..." for i in range(300)]
    lines += ["MSG\t10598 images/a.png offset", "END\t10600 \tSAMPLES\tEVENTS\tRES\t  35.17\t  35.14"]
    return "\n".join(lines) + "\n"


def tobii() -> str:
    of_eye = ("gaze_point_on_display_area_x", "gaze_point_on_display_area_y", "gaze_point_validity", "pupil_diameter")
    names = ["system_time_stamp", *(f"{eye}_{what}" for eye in ("left", "right") for what in of_eye)]
    rows = [[10_000_000 + 16_667 * i, *([0.5 + i / 9000, 0.5, 1, 3.1] * 2)] for i in range(120)]
    return "\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return two_pictures(tmp_path / "images")


def imports_of(tmp_path: Path, images: Path) -> dict[str, Callable[[Path, bool], object]]:
    """Each kind of import, into (a study, whether it is new); two participants or more where its files hold them."""
    header, rows = "participant,stimulus,x_px,y_px,duration_ms", [f"0{p},a.png,{50 + p},40,200" for p in (1, 2, 3)]
    (tmp_path / "gaze.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "raw").mkdir()
    for number in (1, 2):
        (tmp_path / "raw" / f"p0{number}.asc").write_text(asc(number))
    (tmp_path / "t1.tsv").write_text(tobii())
    (tmp_path / "t1_msg.tsv").write_text(
        "\tsystem_time_stamp\tmsg\n0\t10200000\timages/a.png onset\n1\t11000000\timages/a.png offset\n"
    )
    new = NewStudy(images, **NEW, place="centred")  # type: ignore[arg-type]
    return {
        "fixations": lambda study, made: import_fixations(tmp_path / "gaze.csv", study, images if made else None),
        "asc": lambda study, made: import_asc(tmp_path / "raw", study, new if made else None),
        "tobii": lambda study, made: import_tobii(tmp_path / "t1.tsv", study, new if made else None),
    }


def content(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, without locks and without what says when results were made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "provenance.json"
    }


def killed(
    act: Callable[[Path], object], base: Path, kills: int, valid: Callable[[Path], None], given: Callable[[Path], None]
) -> None:
    """Kill `act` on a study at so many of its writes, evenly spread, and let it go on.

    `given` puts the study where it is to be, or leaves it to `act` to make. Each time the data set is valid after the
    kill, and the same command ends as if nothing had been: the same files with the same bytes, and no others.
    """

    def fresh(name: str) -> Path:
        place = base / name / "study"
        place.parent.mkdir()
        given(place)
        return place

    whole = fresh("whole")
    ended, writes = in_a_child(lambda: act(whole), whole.parent)
    assert ended == 0 and writes > kills
    wanted = content(whole)
    for at in np.linspace(0, writes - 1, kills).round().astype(int).tolist():
        study = fresh(f"killed-{at}")
        ended, _ = in_a_child(lambda: act(study), study.parent, die_at=at)  # noqa: B023
        assert ended == -signal.SIGKILL
        if study.exists():
            valid(study)
        ended, _ = in_a_child(lambda: act(study), study.parent)  # noqa: B023
        assert ended == 0, f"what was killed at write {at} of {writes} was not completed"
        found = content(study)
        others = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        assert not others, f"killed at write {at} of {writes}: {others}"
        assert sorted(path.name for path in study.parent.iterdir() if not path.name.endswith(".lock")) == ["study"]
        valid(study)
        shutil.rmtree(study.parent)


def copy_of(study: Path) -> Callable[[Path], None]:
    return lambda place: shutil.copytree(study, place) and None


def killed_imports(
    kind: str, made: bool, tmp_path: Path, images: Path, kills: int, valid: Callable[[Path], None]
) -> None:
    act = imports_of(tmp_path, images)[kind]
    if not made:
        # A study with somebody in it; [screen] and place come from its own import.
        new = NewStudy(images, **NEW, place="centred")  # type: ignore[arg-type]
        (tmp_path / "first.asc").write_text(asc(9))
        import_asc(tmp_path / "first.asc", tmp_path / "first", new)
    given = (lambda place: None) if made else copy_of(tmp_path / "first")
    (tmp_path / "studies").mkdir()
    killed(lambda study: act(study, made), tmp_path / "studies", kills, valid, given)


@pytest.mark.parametrize(("kind", "made"), [("fixations", True), ("asc", False)])
def test_an_import_that_was_killed_is_completed_by_the_same_command(
    kind: str, made: bool, tmp_path: Path, images: Path, assert_valid: Callable[[Path], None]
) -> None:
    killed_imports(kind, made, tmp_path, images, 3, assert_valid)


@pytest.mark.slow
@pytest.mark.parametrize("made", [True, False], ids=["new", "into"])
@pytest.mark.parametrize("kind", ["fixations", "asc", "tobii"])
def test_imports_killed_at_many_writes_are_completed_by_the_same_command(
    kind: str, made: bool, tmp_path: Path, images: Path, assert_valid: Callable[[Path], None]
) -> None:
    killed_imports(kind, made, tmp_path, images, 8, assert_valid)


def test_a_second_import_at_the_same_time_is_refused(tmp_path: Path, images: Path) -> None:
    act = imports_of(tmp_path, images)["fixations"]
    with FileLock(tmp_path / ".study.import.lock"), pytest.raises(StudyError, match="another process imports into"):
        act(tmp_path / "study", True)
    act(tmp_path / "study", True)
    with FileLock(tmp_path / "study" / ".beholder" / "import.lock"), pytest.raises(StudyError, match="another process"):
        act(tmp_path / "study", False)


# Simulations, withdrawals, analyses and reports.

SMALL = Study(
    tracker=TrackerSettings(rate_hz=60.0),
    protocol=ProtocolSettings(dot_s=1.0, picture_s=2.0),
    maps=MapSettings(longer_side_px=24, sigma_from=1.0, sigma_to=2.0, sigma_step=1.0, sigma=1.0),
    models=ModelSettings(names=["offline"], input_px=112),
    alignment=AlignmentSettings(random_weights=0),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_scenes(tmp_path_factory.mktemp("pictures"))


@pytest.mark.slow
def test_simulations_that_were_killed_are_completed(
    tmp_path: Path, pictures: Path, assert_valid: Callable[[Path], None]
) -> None:
    create_study(tmp_path / "first", SMALL, pictures)
    (tmp_path / "studies").mkdir()
    act = partial(simulate, participants=2, seed=1, workers=1)
    killed(act, tmp_path / "studies", 20, assert_valid, copy_of(tmp_path / "first"))


@pytest.mark.slow
def test_withdrawals_that_were_killed_are_completed(
    tmp_path: Path, pictures: Path, assert_valid: Callable[[Path], None]
) -> None:
    create_study(tmp_path / "first", SMALL, pictures)
    simulate(tmp_path / "first", 2, 1, workers=1)
    (tmp_path / "studies").mkdir()
    act = partial(withdraw, participant="01")
    killed(act, tmp_path / "studies", 20, assert_valid, copy_of(tmp_path / "first"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kills"), [("analyze", 8), ("report", 6)])
def test_analyses_and_reports_that_were_killed_are_completed(
    tmp_path: Path,
    pictures: Path,
    assert_valid: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kills: int,
) -> None:
    # In a process of their own: one in which torch has begun to compute cannot be forked.
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))
    create_study(tmp_path / "first", SMALL, pictures)
    simulate(tmp_path / "first", 2, 1, workers=1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(killed_analyses, name, tmp_path, kills).result()
    for study in (tmp_path / "seen").iterdir():
        assert_valid(study)


def killed_analyses(name: str, folder: Path, kills: int) -> None:
    """Kill analyses or reports of the study `first`; each state that the data set was in is left in `seen`."""
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        if name == "report":
            ended, _ = in_a_child(lambda: analyze(folder / "first", workers=1), folder)
            assert ended == 0
            (results_folder(folder / "first") / "report.html").unlink()
        for made in ("studies", "seen"):
            (folder / made).mkdir()

        def keep(study: Path) -> None:
            shutil.copytree(study, folder / "seen" / str(len(list((folder / "seen").iterdir()))))

        act: Callable[[Path], object] = partial(analyze, workers=1) if name == "analyze" else conclude
        killed(act, folder / "studies", kills, keep, copy_of(folder / "first"))
