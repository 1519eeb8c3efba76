"""Imports killed at any write: the same command completes them, to the bytes of one that nothing disturbed.

Each import runs in a process forked from this one, in which Python itself counts what is written, renamed or deleted
(PEP 578) and kills the process, as a power cut or the operator would, before the n-th of these.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from analysis.importing import import_fixations
from analysis.importing_gaze import NewStudy, import_asc, import_tobii
from shared.errors import StudyError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes: run this on Linux or macOS")

WRITES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")
NEW = {"screen_px": (1024, 768), "screen_cm": (40.0, 30.0), "distance_cm": 60.0}
Act = Callable[[], object]


def in_a_child(act: Act, below: Path, die_at: int | None = None) -> tuple[int, int]:
    """Run `act` in a forked process; returns how it ended and how many writes below a folder it had come to."""
    to_here, from_child = os.pipe()
    child = os.fork()
    if child:
        os.close(from_child)
        _, status = os.waitpid(child, 0)
        with os.fdopen(to_here, "rb") as pipe:
            return os.waitstatus_to_exitcode(status), len(pipe.read())
    seen = 0

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event in WRITES or (
            event == "open" and (any(c in args[1] for c in "wax+") if args[1] else args[2] & (os.O_WRONLY | os.O_RDWR))
        )
        if writes and isinstance(args[0], str | os.PathLike) and os.fspath(args[0]).startswith(os.fspath(below)):
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
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (400, 300), "teal").save(folder / name)
    return folder


def imports_of(tmp_path: Path, images: Path) -> dict[str, Callable[[Path, bool], object]]:
    """Each kind of import, into (a study, whether it is new); two participants or more where its files hold them."""
    header, rows = "participant,stimulus,x_px,y_px,duration_ms", [f"0{p},a.png,{50 + p},40,200" for p in (1, 2, 3)]
    (tmp_path / "gaze.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "raw").mkdir()
    for number in (1, 2):
        (tmp_path / "raw" / f"p0{number}.asc").write_text(asc(number))
    (tmp_path / "t1.tsv").write_text(tobii())
    (tmp_path / "t1_msg.tsv").write_text("\tsystem_time_stamp\tmsg\n0\t10200000\timages/a.png onset\n"
                                         "1\t11000000\timages/a.png offset\n")  # fmt: skip
    new = NewStudy(images, **NEW, place="centred")  # type: ignore[arg-type]
    return {
        "fixations": lambda study, made: import_fixations(tmp_path / "gaze.csv", study, images if made else None),
        "asc": lambda study, made: import_asc(tmp_path / "raw", study, new if made else None),
        "tobii": lambda study, made: import_tobii(tmp_path / "t1.tsv", study, new if made else None),
    }


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }  # fmt: skip


def killed_imports(
    kind: str, made: bool, tmp_path: Path, images: Path, kills: int, valid: Callable[[Path], None]
) -> None:
    act = imports_of(tmp_path, images)[kind]
    base = tmp_path / "base"
    if not made:
        # A study with somebody in it; [screen] and place come from its own import.
        new = NewStudy(images, **NEW, place="centred")  # type: ignore[arg-type]
        (tmp_path / "first.asc").write_text(asc(9))
        import_asc(tmp_path / "first.asc", base, new)

    def fresh(name: str) -> Path:
        place = tmp_path / name / "study"
        if made:
            place.parent.mkdir()
        else:
            shutil.copytree(base, place)
        return place

    whole = fresh("whole")
    ended, writes = in_a_child(lambda: act(whole, made), whole.parent)
    assert ended == 0
    wanted = content(whole)
    chosen = sorted({round(at) for at in np.linspace(0, writes - 1, kills)})
    for at in chosen:
        study = fresh(f"killed-{at}")
        ended, _ = in_a_child(lambda: act(study, made), study.parent, die_at=at)  # noqa: B023
        assert ended == -signal.SIGKILL
        if study.exists():
            valid(study)
        ended, _ = in_a_child(lambda: act(study, made), study.parent)  # noqa: B023
        assert ended == 0, f"the import killed at write {at} was not completed"
        assert content(study) == wanted
        assert sorted(path.name for path in study.parent.iterdir() if not path.name.endswith(".lock")) == ["study"]
        valid(study)
        shutil.rmtree(study.parent)


@pytest.mark.parametrize(("kind", "made"), [("fixations", True), ("asc", False)])
def test_an_import_that_was_killed_is_completed_by_the_same_command(
    kind: str, made: bool, tmp_path: Path, images: Path, assert_valid: Callable[[Path], None]
) -> None:
    killed_imports(kind, made, tmp_path, images, 6, assert_valid)


@pytest.mark.slow
@pytest.mark.parametrize("made", [True, False], ids=["new", "into"])
@pytest.mark.parametrize("kind", ["fixations", "asc", "tobii"])
def test_imports_killed_at_many_writes_are_completed_by_the_same_command(
    kind: str, made: bool, tmp_path: Path, images: Path, assert_valid: Callable[[Path], None]
) -> None:
    killed_imports(kind, made, tmp_path, images, 12, assert_valid)


def test_a_second_import_at_the_same_time_is_refused(tmp_path: Path, images: Path) -> None:
    act = imports_of(tmp_path, images)["fixations"]
    with FileLock(tmp_path / ".study.import.lock"), pytest.raises(StudyError, match="another process imports into"):
        act(tmp_path / "study", True)
    act(tmp_path / "study", True)
    with FileLock(tmp_path / "study" / ".beholder" / "import.lock"), pytest.raises(StudyError, match="another process"):
        act(tmp_path / "study", False)
