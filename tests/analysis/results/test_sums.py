"""Claims of `analysis.intact`: a damaged derived or cached file is made anew, to the same bytes, and that is said."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beholder.analysis.pipeline.analyze import analyze, conclude
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.sums import SUMS, DamagedError
from beholder.experiment.simulation import simulate
from beholder.shared.dataset.making import create_study
from beholder.shared.errors import DataError
from beholder.shared.study import (
    AlignmentSettings,
    MapSettings,
    ModelSettings,
    ProtocolSettings,
    Study,
    StudySettings,
    TrackerSettings,
)
from tests.analysis.scenes import three_scenes, written

SMALL = Study(
    study=StudySettings(name="Small"),
    tracker=TrackerSettings(rate_hz=120.0),
    protocol=ProtocolSettings(dot_s=1.0, picture_s=2.0),
    maps=MapSettings(longer_side_px=32, sigma_from=1.0, sigma_to=2.0, sigma_step=1.0, sigma=1.0),
    models=ModelSettings(names=["offline"], input_px=112),
    alignment=AlignmentSettings(random_weights=1),
)


@pytest.fixture(scope="module")
def cache(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("BEHOLDER_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def analysed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    create_study(folder / "study", SMALL, three_scenes(folder / "pictures"))
    simulate(folder / "study", 2, seed=1, workers=1)
    analyze(folder / "study", workers=1)
    return folder / "study"


@pytest.fixture
def study(analysed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(analysed, tmp_path / "study"))


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "a bit flipped": flipped,
    "a list": lambda data: b"[]",
    "null": lambda data: b"null",
}
FAST = ("cut in half",)


@pytest.mark.parametrize("damage", [d if d in FAST else pytest.param(d, marks=pytest.mark.slow) for d in DAMAGES])
def test_every_derived_file_that_was_damaged_is_made_anew_and_said(study: Path, damage: str) -> None:
    folder = results_folder(study)
    before = written(folder)
    for name in before:
        (folder / name).write_bytes(DAMAGES[damage](before[name]))
    result = analyze(study, workers=1)
    assert written(folder) == before
    said = {remark.about for remark in result.remarks if "was damaged, and is made anew" in remark.text}
    assert {Path(name).name for name in before} == said


@pytest.mark.slow
@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "a bit flipped"])
@pytest.mark.parametrize("name", ["recordings.json", "densities.json", "trials.csv", "fixations.parquet"])
def test_after_an_analysis_that_was_cut_short_what_cannot_be_read_is_made_anew(
    study: Path, name: str, damage: str
) -> None:
    # A bit that was flipped is not among them: nobody vouches for a file before the analysis is whole.
    folder = results_folder(study)
    before = written(folder)
    (folder / SUMS).unlink()
    (folder / name).write_bytes(DAMAGES[damage](before[name]))
    analyze(study, workers=1)
    assert written(folder) == before


@pytest.mark.parametrize("damage", [d if d in FAST else pytest.param(d, marks=pytest.mark.slow) for d in DAMAGES])
def test_every_cached_file_that_was_damaged_is_made_anew_and_said(study: Path, cache: Path, damage: str) -> None:
    before = {path: path.read_bytes() for path in sorted(cache.rglob("*.npz"))}
    assert before
    wanted = written(results_folder(study))
    for path, data in before.items():
        path.write_bytes(DAMAGES[damage](data))
    said = {remark.about for remark in analyze(study, workers=1).remarks if "was damaged" in remark.text}
    assert said == {path.name for path in before}
    assert written(results_folder(study)) == wanted
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_folder_in_the_place_of_a_file_and_an_empty_page_are_no_obstacle(study: Path) -> None:
    folder = results_folder(study)
    before = written(folder)
    (folder / "report.html").write_bytes(b"")
    (folder / "inference.json").unlink()
    (folder / "inference.json").mkdir()
    analyze(study, workers=1)
    assert written(folder) == before


@pytest.mark.slow
def test_the_report_command_says_what_is_damaged_and_what_makes_it_anew(study: Path) -> None:
    path = results_folder(study) / "trials.csv"
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(DataError, match=r"trials\.csv was damaged.*beholder analyze"):
        conclude(study)
    analyze(study, workers=1)
    assert conclude(study).stat().st_size > 10_000


def test_a_damaged_file_comes_back_from_a_worker_process_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(DamagedError(Path("a.npz")))).path == Path("a.npz")


@pytest.mark.parametrize(
    "link",
    ["derivatives", "derivatives/beholder", "derivatives/beholder/figures", "derivatives/beholder/report.html",
     "derivatives/beholder/alignment", ".beholder"],
)  # fmt: skip
@pytest.mark.parametrize("act", [lambda study: analyze(study, workers=1), conclude], ids=["analyze", "report"])
def test_no_result_is_written_or_deleted_where_a_link_leads_out(
    study: Path, tmp_path: Path, link: str, act: Callable[[Path], object]
) -> None:
    other = tmp_path / "other"
    shutil.move(study / link, other)
    if other.is_dir():
        (other / "mine.png").write_bytes(b"years of work")
    (study / link).symlink_to(other)
    before = written(tmp_path)
    with pytest.raises(DataError, match="lies outside of the study"):
        act(study)
    assert written(tmp_path) == before
