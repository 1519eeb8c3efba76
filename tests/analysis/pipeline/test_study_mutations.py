"""What a study holds beside its recordings, broken in a seeded way: settings, pictures, journals, results, cache.

test_mutations.py does the same for recordings, import_mutations.py for files that are imported; the three together are
some 4,000 inputs, of which `make test` tries 200. Each ends in one sentence that names the file, or in what the whole
file gives, or in what is explained: a setting that is another, rows of a journal that are fewer, with the damaged file
kept. Results and cached files are made anew, to the same bytes. Nothing is ever written outside of the study.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from beholder.analysis.pipeline.analyze import analyze
from beholder.analysis.pipeline.find import find
from beholder.analysis.results.paths import results_folder
from beholder.experiment.observer import read_densities
from beholder.experiment.simulation import simulate
from beholder.shared.dataset import publishing
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.reading import read_recording, runs
from beholder.shared.errors import BeholderError
from beholder.shared.gaze import SAMPLE
from beholder.shared.recording.journal import JournalWriter
from beholder.shared.recording.records import Begin, ClockReading, End, Record
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.label_maps import read_object
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.study import (
    AlignmentSettings,
    MapSettings,
    ModelSettings,
    ObserverSettings,
    ProtocolSettings,
    Study,
    TrackerSettings,
    read_study,
    to_toml,
)
from tests.analysis.scenes import three_scenes, written
from tests.headers import session_header
from tests.watching import outside, watched

Kind = Literal["settings", "pictures", "maps", "journal", "results", "cache"]
SEED = 25
JOURNAL = Path(".beholder", "journal", "sub-01_run-2")
FAST: dict[Kind, int] = {"settings": 12, "pictures": 8, "maps": 4, "journal": 8, "results": 6, "cache": 2}
# An analysis takes seconds: so many results, or cached files, are broken before each.
TOGETHER: dict[Kind, int] = {"results": 6, "cache": 4}
ALL: dict[Kind, int] = {"settings": 300, "pictures": 90, "maps": 40, "journal": 150, "results": 60, "cache": 20}
SMALL = Study(
    tracker=TrackerSettings(rate_hz=120.0),
    protocol=ProtocolSettings(dot_s=1.0, picture_s=2.0),
    maps=MapSettings(longer_side_px=32, sigma_from=1.0, sigma_to=2.0, sigma_step=1.0, sigma=1.0),
    models=ModelSettings(names=["offline"], input_px=112),
    alignment=AlignmentSettings(random_weights=1),
    observer=ObserverSettings(map="maps.npz"),
)


@dataclass(frozen=True)
class Mutation:
    """A file with another content; `path` is in the study, or in the cache."""

    kind: Kind
    path: Path
    what: str
    content: bytes


# ------------------------------------------------------------------------------------------------------------ mutations


def of_bytes(data: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """What disks, transfers and editors do to a file of any kind, without end."""
    yield "empty", b""
    yield "zeros", bytes(len(data))
    yield "another format", b"\x89HDF\r\n\x1a\n" + rng.bytes(500)
    while True:
        at, end = sorted(rng.integers(0, len(data), 2).tolist())
        yield f"cut at {at}", data[:at]
        yield f"without {at} to {end}", data[:at] + data[end:]
        yield f"{at} to {end} twice", data[:end] + data[at:]
        yield f"zeros from {at} to {end}", data[:at] + bytes(end - at) + data[end:]
        yield f"a bit flipped at {at}", data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
        yield f"noise at {at}", data[:at] + rng.bytes(16) + data[at + 16 :]


VALUES = (
    '"abc"', '""', "[]", '["abc"]', "{}", "-5", "0", "1.5", "nan", "inf", "1e300", "1" + "0" * 400, "true",
    "1979-05-27", '"\\u0000"', '"../../x"', '"' + "y" * 5000 + '"', "[" * 1000 + "]" * 1000, "",
)  # fmt: skip


def of_settings(study: Path, rng: np.random.Generator) -> Iterator[tuple[Path, str, bytes]]:
    path = study / "study.toml"
    lines = path.read_text("utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    damaged = of_bytes(path.read_bytes(), rng)
    while True:
        number, value = int(rng.choice(keys)), str(rng.choice(VALUES))
        key = lines[number].partition(" = ")[0]
        for what, row in (
            (f"{key} = {value[:20]}", [f"{key} = {value}"]), (f"{key} twice", [lines[number]] * 2),
            (f"{key} left out", []), (f"{key} misspelt", ["x" + lines[number]]),
        )[: 1 if rng.random() < 0.7 else None]:  # fmt: skip
            text = "\n".join([*lines[:number], *row, *lines[number + 1 :]]) + "\n"
            yield path, what, text.encode()
        yield path, *next(damaged)


def of_files(files: list[Path], rng: np.random.Generator) -> Iterator[tuple[Path, str, bytes]]:
    damaged = {path: of_bytes(path.read_bytes(), rng) for path in files}
    while True:
        for path in rng.permutation(np.array(files, object)):
            yield path, *next(damaged[path])


def of_journal(folder: Path, rng: np.random.Generator) -> Iterator[tuple[Path, str, bytes]]:
    damaged = of_files([folder / name for name in ("session.json", "samples.tsv", "log.tsv")], rng)
    odd = (None, [], {}, "x", -5, 0, 1e300, "n/a", "../../x", True, [[1]])
    while True:
        yield next(damaged)
        path = folder / ("samples.tsv" if rng.random() < 0.5 else "log.tsv")
        rows = path.read_bytes().split(b"\n")
        number = int(rng.integers(len(rows) - 1))
        cells = rows[number].split(b"\t")
        cells[int(rng.integers(len(cells)))] = str(rng.choice(np.array(odd, object))).encode()
        yield path, f"a cell of row {number}", b"\n".join([*rows[:number], b"\t".join(cells), *rows[number + 1 :]])
        path = folder / "session.json"
        header = json.loads(path.read_text("utf-8"))
        inner = header[str(rng.choice(["screen", "tracker"]))] if rng.random() < 0.5 else header
        key = str(rng.choice(list(inner)))
        inner[key] = odd[int(rng.integers(len(odd)))]
        yield path, f"{key} = {inner[key]!r}", json.dumps(header).encode()


def mutations(study: Path, cache: Path) -> dict[Kind, list[Mutation]]:
    """All of them, by kind, always the same ones for the same study."""
    results = [p for p in sorted(results_folder(study).rglob("*")) if p.is_file() and p.name != "provenance.json"]
    shown = [study / "stimuli" / name for name in ("stimuli.tsv", "stimuli.json")]
    shown += sorted((study / "stimuli" / "images").iterdir()) + sorted((study / "stimuli" / "masks").iterdir())
    made: dict[Kind, Callable[[np.random.Generator], Iterator[tuple[Path, str, bytes]]]] = {
        "settings": lambda rng: of_settings(study, rng),
        "pictures": lambda rng: of_files([path for path in shown if path.is_file()], rng),
        "maps": lambda rng: of_files([study / "maps.npz"], rng),
        "journal": lambda rng: of_journal(study / JOURNAL, rng),
        "results": lambda rng: of_files(results, rng),
        "cache": lambda rng: of_files(sorted(cache.rglob("*.npz")), rng),
    }
    return {
        kind: [Mutation(kind, *next(source)) for source in [made[kind](np.random.default_rng(SEED))] for _ in range(n)]
        for kind, n in ALL.items()
    }


# ------------------------------------------------------------------------------------------------- what comes of them


def settings(study: Path) -> object:
    found = read_study(study)
    again = study.parent / "again"
    again.mkdir()
    (again / "study.toml").write_text(to_toml(found), "utf-8")
    assert read_study(again) == found, "what was read is not what would be written"
    find(study)
    return found.model_dump()


def pictures(study: Path) -> object:
    """What is shown and where its object is, and what is said of pictures that are left out."""
    stimuli, remarks = read_stimuli(study / "stimuli")
    arrays = [np.asarray(a) for s in stimuli for a in (open_picture(s.file), read_object(s)) if a is not None]
    shown = [(s.name, s.kind, s.parts) for s in stimuli], [(a.shape, a.tobytes()) for a in arrays]
    return shown, "\n".join(map(str, remarks))


def maps(study: Path) -> object:
    stimuli, _ = read_stimuli(study / "stimuli")
    found = read_densities(study, read_study(study), stimuli)
    return {name: None if density is None else (density.shape, density.tobytes()) for name, density in found.items()}


def journal(study: Path) -> object:
    """The rows that were recovered, as bytes, and whether something was said of those that were not, and kept."""
    folder = study / JOURNAL
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    told = "\n".join(map(str, publishing.recover(study)))
    if folder.exists():
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before} == before
        raise BeholderError(told)
    recovered = [run for run in runs(study) if (run.participant, run.run) == ("01", 2)]
    rows = [row.tobytes() for run in recovered for row in read_recording(run).samples]
    return rows, any(study.glob("sourcedata/sub-*/*_damaged-*")) and "could not be read" in told


def results(study: Path) -> object:
    analyze(study, workers=1)
    return written(results_folder(study))


OUTCOMES: dict[Kind, Callable[[Path], object]] = {
    "settings": settings, "pictures": pictures, "maps": maps, "journal": journal, "results": results, "cache": results,
}  # fmt: skip


def fault(broken: list[Mutation], study: Path, whole: object, allowed: tuple[Path, ...]) -> str:
    """What is wrong with how these end, of one kind and each of another file; empty where nothing is."""
    kind = broken[0].kind
    for mutation in broken:
        mutation.path.write_bytes(mutation.content)
    with watched() as paths:
        try:
            found = OUTCOMES[kind](study)
        except BeholderError as refusal:
            found = refusal
        except Exception as error:
            return f"traceback: {type(error).__name__}: {error}"
    if elsewhere := outside(paths, *allowed):
        return f"written outside of the study: {elsewhere}"
    if isinstance(found, BeholderError):
        sentence = str(found)
        named = broken[0].path.name in sentence or (kind == "journal" and "sub-01" in sentence)
        one = "\n" not in sentence and sentence.endswith(".") and len(sentence) < 800
        return "" if named and one and kind not in TOGETHER else f"refused: {sentence}"
    if found == whole or is_explained(broken[0], found, whole):
        return ""
    return "other than what the whole files give, and nothing said"


def is_explained(mutation: Mutation, found: Any, whole: Any) -> bool:
    """Whether another outcome than that of the whole file is what the file says now, or was said to be less."""
    if mutation.kind == "journal":
        rows, said = found
        # A file that ends early is what a crash leaves, a number that is another may have been measured: who can tell?
        others = set(rows) - set(whole[0])
        one_number = mutation.what.startswith(("a cell", "a bit"))
        return len(others) <= one_number and (said or one_number or rows == whole[0][: len(rows)])
    if mutation.kind == "pictures" and mutation.path.name in found[1]:
        return True
    # A table, and a setting, may say anything that can be meant. A picture, a mask or a map has sums of its own.
    return mutation.path.suffix in (".toml", ".tsv", ".json") and mutation.kind not in TOGETHER


# ---------------------------------------------------------------------------------------------------------------- tests


@pytest.fixture(scope="module")
def cache(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("BEHOLDER_CACHE", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysed study with maps of its observer and the journal of a session that was cut short; never changed."""
    folder = tmp_path_factory.mktemp("whole")
    study = folder / "study"
    create_study(study, SMALL, three_scenes(folder / "pictures"))
    y, x = np.mgrid[:90, :120]
    bumps = {f"scene-{n}": np.exp(-((x - 40 - 15 * n) ** 2 + (y - 40) ** 2) / 800) for n in range(3)}
    np.savez(study / "maps.npz", **bumps)
    simulate(study, 2, seed=1, workers=1)
    analyze(study, workers=1)
    leave_journal(study)
    return study


def leave_journal(study: Path) -> None:
    writer = JournalWriter(study, session_header(run=2, rate_hz=120.0, eyes=("right",)))
    samples = np.zeros(200, SAMPLE)
    samples["time_s"] = 10 + np.arange(200) / 120
    samples["right_x_px"], samples["right_y_px"] = 900 + np.arange(200) % 60, 500
    samples["left_x_px"] = samples["left_y_px"] = np.nan
    writer.append_samples(samples)
    writer.append_records([
        Record(0.0, ClockReading(10.0, 10.0, 10.0)),
        Record(10.2, Begin(1, "picture", trial=1, stim_file="images/scene-0.png")),
        Record(11.2, End(1, "complete", dropped_frames=0)),
    ])  # fmt: skip
    writer.close()


def faults(whole: Path, cache: Path, kind: Kind, n: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the first n of a kind, those that do not end as they should."""
    kept_cache = Path(shutil.copytree(cache, folder / "cache"))
    monkeypatch.setenv("BEHOLDER_CACHE", str(kept_cache))
    monkeypatch.setattr("os.fsync", lambda file: None)
    found = []

    def copied() -> Path:
        shutil.rmtree(folder / "one", ignore_errors=True)
        study = Path(shutil.copytree(whole, folder / "one" / "study"))
        if kind != "journal":
            shutil.rmtree(study / ".beholder" / "journal")
        return study

    wanted = OUTCOMES[kind](copied())
    for several in batches(mutations(whole, cache)[kind][:n], TOGETHER.get(kind, 1)):
        study = copied()
        to, base = (kept_cache, cache) if kind == "cache" else (study, whole)
        here = [replace(mutation, path=to / mutation.path.relative_to(base)) for mutation in several]
        if wrong := fault(here, study, wanted, (study, kept_cache, study.parent / "again")):
            found.append(f"{', '.join(f'{one.path.name}: {one.what}' for one in here)}: {wrong}")
    return found


def batches(some: list[Mutation], size: int) -> Iterator[list[Mutation]]:
    for start in range(0, len(some), size):
        batch = some[start : start + size]
        assert len({mutation.path for mutation in batch}) == len(batch)
        yield batch


@pytest.mark.parametrize("kind", FAST)
def test_a_broken_file_of_a_study_ends_in_a_sentence_or_in_what_is_explained(
    whole: Path, cache: Path, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (found := faults(whole, cache, kind, FAST[kind], tmp_path, monkeypatch)) == [], "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
def test_so_do_hundreds(whole: Path, cache: Path, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (found := faults(whole, cache, kind, ALL[kind], tmp_path, monkeypatch)) == [], "\n".join(found)
