"""A large study from its files to its report: time and memory as it grows from a hundredth to the whole.

    python tests/benchmarks/bench_large.py [--participants 1000] [--pictures 200] [--shares 1 10 100] [--out FOLDER]

Simulated viewers' fixations, as an import leaves them, on pictures of noise and blobs; ViT-B/16 with random weights,
whose 12 layers of 12 heads are 144; maps at the patch grid of 28 x 28; one sigma; four measures; attention on other
pictures, floors and windows of time are left out, as one leaves them out to look at 144 heads of a thousand people.
A share of s percent has all the participants and s percent of the pictures: a partition, the unit of work, is as large
in each. Every share is a study of its own and analysed in a process of its own, the pictures' attention being there; a
second call then finds everything up to date. An evaluation is one participant's map on a picture against one head's by
one measure. Memory is the peak of resident bytes, of the process that leads and of the largest worker. Not a test:
nothing is asserted, and the figures are those of the machine and the day.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from beholder.analysis.attention.models import with_random_weights
from beholder.shared.dataset.making import create_study
from beholder.shared.dataset.publishing import write_fixations
from beholder.shared.study import AlignmentSettings, MapSettings, ModelSettings, PictureSettings, Study, StudySettings

MODEL, LAYERS, HEADS = "vit_base_patch16_224", 12, 12
SIDE_PX, GRID, FIXATIONS = 448, 28, 8
MEASURES = ("kl", "cc", "sim", "ssim")
SEED = 20260


def blobs(picture: int) -> np.ndarray:
    """x, y and radius of a picture's six blobs, as shares of its side, (6, 3)."""
    return np.random.default_rng((SEED, picture)).uniform((0.1, 0.1, 0.02), (0.9, 0.9, 0.12), (6, 3))


def make_pictures(folder: Path, n: int) -> None:
    """Grey noise with bright blobs."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    for number in range(1, n + 1):
        picture = np.random.default_rng((SEED, 0, number)).uniform(90, 130, (SIDE_PX, SIDE_PX))
        for cx, cy, radius in blobs(number):
            picture += 110 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"scene-{number:03d}.png")


def fixations_of(person: int, pictures: int) -> pd.DataFrame:
    """Eight fixations a picture, half on its blobs and half about the centre, as `write_fixations` takes them."""
    rng = np.random.default_rng((SEED, 1, person))
    places = np.stack([blobs(number)[rng.integers(0, 6, 4), :2] for number in range(1, pictures + 1)])
    on_blobs = places + rng.normal(0, 0.05, places.shape)
    at = np.concatenate([on_blobs, rng.normal(0.5, 0.15, places.shape)], axis=1)
    x, y = np.clip(at, 0, 0.999).reshape(-1, 2).T * SIDE_PX
    duration = rng.gamma(4, 0.06, (pictures, FIXATIONS))
    trial = np.repeat(np.arange(1, pictures + 1), FIXATIONS)
    return pd.DataFrame({
        "trial": trial, "stim_file": [f"images/scene-{number:03d}.png" for number in trial],
        "fixation": np.tile(np.arange(1, FIXATIONS + 1), pictures),
        "onset": (np.cumsum(duration + 0.04, axis=1) - duration).ravel().round(3),
        "duration": duration.ravel().round(3), "x_px": x.round(1), "y_px": y.round(1),
    })  # fmt: skip


def make_study(folder: Path, pictures: Path, participants: int) -> int:
    """A study of these pictures and so many viewers; how many pictures there are."""
    alignment = AlignmentSettings(
        measures=list(MEASURES), shuffled_pictures=0, chance_pictures=0, random_weights=0, window_step_s=0, pooled=False
    )
    study = Study(
        study=StudySettings(name=f"{participants:,} simulated viewers"),
        screen=None,
        pictures=PictureSettings(size_deg=20, size_of="width"),
        maps=MapSettings(longer_side_px=GRID, sigma_from=1, sigma_to=1, sigma=1),
        models=ModelSettings(names=[MODEL], layers=["all"], input_px=SIDE_PX),
        alignment=alignment,
    )
    create_study(folder, study, pictures)
    n = len(list((folder / "stimuli" / "images").iterdir()))
    for person in range(1, participants + 1):
        write_fixations(folder, f"{person:04d}", fixations_of(person, n))
    return n


def analysed(folder: Path, weights: Path, workers: int) -> dict[str, Any]:
    """Seconds by stage, all of them, and the peaks of memory, of an analysis in a process of its own."""
    command = [sys.executable, __file__, "--child", str(folder), "--weights", str(weights), "--workers", str(workers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(folder: Path, weights: Path, workers: int) -> None:
    """What the process does that `analysed` starts: prints what it found as a line of JSON."""
    from beholder.analysis.pipeline.analyze import analyze

    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def progress(stage: str, done: int, total: int) -> None:
        began.setdefault(stage, time.perf_counter())
        ended[stage] = time.perf_counter()

    start_s = time.perf_counter()
    result = analyze(folder, weights=weights, workers=workers, progress=progress)
    kib = {
        name: resource.getrusage(who).ru_maxrss
        for name, who in (("leader", resource.RUSAGE_SELF), ("worker", resource.RUSAGE_CHILDREN))
    }
    print(json.dumps({
        "seconds": time.perf_counter() - start_s, "stages": {name: ended[name] - began[name] for name in began},
        "peak_gb": {name: value / 2**20 for name, value in kib.items()},
        "report_mb": result.report.stat().st_size / 1e6, "computed": result.computed,
    }))  # fmt: skip


def one_share(out: Path, pictures: Path, weights: Path, participants: int, workers: int) -> dict[str, Any]:
    """A study made and analysed twice."""
    # Attention first, for two viewers alone: it is the same for a thousand, and its memory is the network's.
    two = out.with_name(f"{out.name}-two")
    make_study(two, pictures, 2)
    analysed(two, weights, workers)
    start_s = time.perf_counter()
    n = make_study(out, pictures, participants)
    made_s = time.perf_counter() - start_s
    first = analysed(out, weights, workers)
    again = analysed(out, weights, workers)
    tables = sum(p.stat().st_size for p in (out / "derivatives").rglob("*.parquet")) / 1e6
    evaluations = participants * n * LAYERS * HEADS * len(MEASURES)
    return {"pictures": n, "evaluations": evaluations, "made_s": made_s, "first": first, "again": again,
            "tables_mb": tables}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 10, 100], help="percent of the pictures")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="where the studies stay; removed if left out")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.weights, args.workers)
        return
    out = args.out or Path(tempfile.mkdtemp(prefix="beholder-large-"))
    out.mkdir(parents=True, exist_ok=True)
    try:
        os.environ.setdefault("BEHOLDER_CACHE", str(out / "cache"))
        weights = out / "random.safetensors"
        if not weights.exists():
            save_file(with_random_weights(MODEL, SEED).module.state_dict(), weights)
        found = []
        for share in args.shares:
            n = max(2, round(args.pictures * share / 100))
            folder, pictures = out / f"study-{n}", out / f"pictures-{n}"
            for old in (folder, pictures, out / f"study-{n}-two"):
                shutil.rmtree(old, ignore_errors=True)
            make_pictures(pictures, n)
            found.append({"share": share} | one_share(folder, pictures, weights, args.participants, args.workers))
            show(found, args.participants)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    finally:
        if not args.out:
            shutil.rmtree(out, ignore_errors=True)


def show(found: list[dict[str, Any]], participants: int) -> None:
    table = Table(title=f"{participants:,} participants, {LAYERS * HEADS} heads, {len(MEASURES)} measures, one sigma")
    columns = ["pictures", "evaluations", "alignment µs each", "statistics µs", "report µs", "all µs",
               "leader GB", "worker GB", "again s", "tables MB", "report MB"]  # fmt: skip
    for name in columns:
        table.add_column(name, justify="right")
    for f in found:
        stages, each = f["first"]["stages"], 1e6 / f["evaluations"]
        row = [
            f"{f['pictures']}", f"{f['evaluations']:,}", f"{stages['alignment'] * each:.3f}",
            f"{stages['statistics'] * each:.3f}", f"{stages['report'] * each:.3f}",
            f"{f['first']['seconds'] * each:.3f}", f"{f['first']['peak_gb']['leader']:.2f}",
            f"{f['first']['peak_gb']['worker']:.2f}", f"{f['again']['seconds']:.1f}", f"{f['tables_mb']:.0f}",
            f"{f['first']['report_mb']:.1f}",
        ]  # fmt: skip
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
