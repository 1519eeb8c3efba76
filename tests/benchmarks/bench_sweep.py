"""How fast the sweep is beside the libraries it is checked against and beside the machine's own floor, in one run.

    python tests/benchmarks/bench_sweep.py [--pictures 20 --participants 30 --heads 12 --sigmas 40 --size 224]
        [--json FILE] [--plot FILE.png] [--against FILE.json]

The sweep is that of the published study: participants x pictures x heads x sigmas x 4 measures (1,152,000 by default),
from fixations and attention to numbers, pictures in parallel in worker processes of one thread each. Then pysaliency
(KL, CC, SIM) and scikit-image (SSIM) compute a random sample of the same pairs one by one, in one process, and their
processor time is scaled up to all pairs. The sample also gives the errors. Gaze and attention are random, since times
depend on sizes only. Not a test: nothing is asserted.

The floor of a part is what no way of computing it number by number goes below, on this machine, measured there and then
in all workers at once:

    maps, kl, cc   their matrix products (2 K, 2 and 2 operations a pixel, K fixations; maps once a sigma, the others
                   once a pair) at the rate of a product of two matrices of 2048 x 2048 in float32
    sim, ssim      each pair's two maps read from memory once, 8 bytes a pixel, at the rate of reading a large array

Blocks that stay in cache can go below the second. Parts are timed alone, on two pictures in each worker.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from beholder.analysis.alignment.sweep import MEASURE_NAMES, align
from beholder.analysis.gaze.maps import Grid, area_resample, fixation_map
from beholder.analysis.gaze.picture_gaze import Fixations
from beholder.shared.arrays import FloatArray

FIXATIONS_PER_PICTURE = 28  # 10 s of viewing at about 350 ms
PICTURE_WIDTH_DEG = 20.0
PATCHES_ACROSS = 28


@dataclass(frozen=True)
class Sweep:
    """The sizes of a sweep; `height` and `width` in map px."""

    pictures: int
    participants: int
    heads: int
    sigmas: int
    height: int
    width: int

    @property
    def pairs(self) -> int:
        """Human map and model map."""
        return self.pictures * self.participants * self.heads * self.sigmas

    @property
    def sigmas_px(self) -> list[float]:
        """0.1, 0.2, ... degrees of a picture 20 degrees wide, in map px."""
        return [0.1 * i * self.width / PICTURE_WIDTH_DEG for i in range(1, self.sigmas + 1)]


def picture(sweep: Sweep, number: int) -> tuple[list[Fixations], FloatArray]:
    """Everybody's fixations on a picture and the heads' attention (heads, height, width) to it."""
    rng = np.random.default_rng(np.random.SeedSequence((7, number)))
    n = FIXATIONS_PER_PICTURE
    people = [
        Fixations(rng.random(n) * sweep.width, rng.random(n) * sweep.height, rng.lognormal(-1.2, 0.5, n))
        for _ in range(sweep.participants)
    ]
    patches_down = max(1, round(PATCHES_ACROSS * sweep.height / sweep.width))
    patches = rng.gamma(0.4, size=(sweep.heads, patches_down, PATCHES_ACROSS)) + 1e-6
    return people, area_resample(patches, sweep.height, sweep.width)


@dataclass(frozen=True)
class Done:
    """One picture's numbers, and what the worker has used so far."""

    values: dict[str, FloatArray]
    worker: int
    cpu_s: float
    peak_gb: float


def align_picture(sweep: Sweep, number: int) -> Done:
    people, heads = picture(sweep, number)
    start_s = time.process_time()
    values = align(people, heads, sweep.sigmas_px, smooth="human")
    return Done(values, os.getpid(), time.process_time() - start_s, peak_gb())


def peak_gb() -> float:
    """The most memory this process has held, in 10^9 bytes; Linux counts in KiB, macOS in bytes."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


@dataclass(frozen=True)
class Machine:
    """One worker's rates while all work: floating-point operations a second, bytes read a second."""

    flops: float
    bytes_per_s: float


def measure_machine(_: int) -> Machine:
    square = torch.randn(2048, 2048)
    product = torch.empty_like(square)
    large = torch.ones(2**26)  # 268 MB: in no cache
    times: dict[str, list[float]] = {"product": [], "reading": []}
    for _round in range(5):
        start_s = time.perf_counter()
        torch.mm(square, square, out=product)
        times["product"].append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        large.sum()
        times["reading"].append(time.perf_counter() - start_s)
    return Machine(2 * 2048**3 / float(np.median(times["product"])), large.nbytes / float(np.median(times["reading"])))


PARTS = ("maps", *MEASURE_NAMES)


def time_parts(sweep: Sweep, number: int) -> dict[str, float]:
    """Processor seconds of each part for one picture: the maps alone, and what each measure takes beside them."""
    people, heads = picture(sweep, number)
    seconds = {}
    for part in PARTS:
        measures = () if part == "maps" else (part,)
        align(people[:1], heads, sweep.sigmas_px, smooth="human", measures=measures)  # warm
        start_s = time.process_time()
        align(people, heads, sweep.sigmas_px, smooth="human", measures=measures)
        seconds[part] = time.process_time() - start_s
    return {part: s - (0 if part == "maps" else seconds["maps"]) for part, s in seconds.items()}


def floors(sweep: Sweep, machine: Machine) -> dict[str, float]:
    """The least processor seconds of each part of the whole sweep: see the first lines."""
    pixels = sweep.height * sweep.width
    maps = sweep.pictures * sweep.participants * sweep.sigmas
    products = sweep.pairs * 2 * pixels / machine.flops
    reading = sweep.pairs * 8 * pixels / machine.bytes_per_s
    drawing = maps * 2 * FIXATIONS_PER_PICTURE * pixels / machine.flops
    return {"maps": drawing, "kl": products, "cc": products, "sim": reading, "ssim": reading}


def commit() -> str:
    """The commit of the code, marked where files differ from it; empty outside a repository."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return said.stdout.strip()


def one_thread() -> None:
    torch.set_num_threads(1)


def ready(seconds: float) -> None:
    """Keeps a worker busy until the others have started too."""
    time.sleep(seconds)


@dataclass(frozen=True)
class Oracles:
    """Processor seconds a pair by measure and a gaze map, and the largest error of the sweep on the sample.

    Processor time, of one thread, is what a quiet machine's clock would show, and what a busy one's cannot.
    """

    pairs: int
    seconds_per_pair: dict[str, float]
    seconds_per_map: float
    largest_error: dict[str, float]


def run_oracles(sweep: Sweep, found: list[dict[str, FloatArray]], n_pairs: int) -> Oracles:
    from pysaliency import metrics
    from scipy.ndimage import gaussian_filter
    from skimage.metrics import structural_similarity

    measures = {
        "kl": lambda human, model: metrics.MIT_KLDiv(model, human),
        "cc": metrics.CC,
        "sim": metrics.SIM,
        "ssim": lambda human, model: structural_similarity(
            human / human.max(),
            model / model.max(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        ),
    }
    rng = np.random.default_rng(99)
    grid, sigmas_px = Grid(sweep.height, sweep.width), sweep.sigmas_px
    seconds = dict.fromkeys(measures, 0.0)
    errors = dict.fromkeys(measures, 0.0)
    map_seconds = 0.0
    for _ in range(n_pairs):
        number, who, head, j = (
            int(rng.integers(n)) for n in (sweep.pictures, sweep.participants, sweep.heads, sweep.sigmas)
        )
        people, heads = picture(sweep, number)
        gaze, model = people[who], heads[head]
        start_s = time.process_time()
        histogram, _, _ = np.histogram2d(
            gaze.y, gaze.x, bins=grid.shape, range=[[0, grid.height], [0, grid.width]], weights=gaze.weight
        )
        gaussian_filter(histogram, sigmas_px[j], mode="constant")
        map_seconds += time.process_time() - start_s
        human = fixation_map(gaze.x, gaze.y, gaze.weight, grid, sigmas_px[j])
        for name, measure in measures.items():
            start_s = time.process_time()
            with np.errstate(divide="ignore"):
                expected = float(measure(human, model))
            seconds[name] += time.process_time() - start_s
            errors[name] = max(errors[name], abs(expected - float(found[number][name][who, j, head])))
    per_pair = {name: total / n_pairs for name, total in seconds.items()}
    return Oracles(n_pairs, per_pair, map_seconds / n_pairs, errors)


def draw(
    sweep: Sweep, parts_s: dict[str, float], floors_s: dict[str, float], libraries_s: dict[str, float], file: Path
) -> None:
    """Processor seconds of each part: libraries, Beholder, floor, on a scale of powers of ten."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    shown = (("libraries, pair by pair", libraries_s, "#b8bcc4"), ("Beholder", parts_s, "#0072b2"),
             ("the machine's floor", floors_s, "#1d1f24"))  # fmt: skip
    for row, part in enumerate(PARTS):
        for label, seconds, colour in shown:
            axes.plot(seconds[part], row, "o", ms=8, color=colour)
            if row == 0:
                axes.annotate(
                    label,
                    (seconds[part], row),
                    xytext=(0, 10),
                    textcoords="offset points",
                    ha="center",
                    color=colour if label != shown[0][0] else "#5b6270",
                    fontsize=9,
                )
        axes.plot([floors_s[part], libraries_s[part]], [row, row], color="#dfe2e8", zorder=0)
    axes.set_yticks(range(len(PARTS)), PARTS)
    axes.set_ylim(len(PARTS) - 0.5, -0.8)
    axes.set_xscale("log")
    axes.set_xlabel(f"processor seconds for {sweep.pairs:,} pairs of {sweep.height} x {sweep.width} px")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(file, dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--participants", type=int, default=30)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--sigmas", type=int, default=40)
    parser.add_argument("--size", default="224", help="map px: 224, or height x width as 768x1024")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one thread each")
    parser.add_argument("--oracle-pairs", type=int, default=400, help="random sample that the libraries compute")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--plot", type=Path, help="draw the parts to this file, PNG or SVG")
    parser.add_argument("--against", type=Path, help="figures of an earlier run, of another commit, to compare with")
    options = parser.parse_args()
    sides = [int(side) for side in options.size.split("x")]
    sweep = Sweep(
        options.pictures, options.participants, options.heads, options.sigmas, height=sides[0], width=sides[-1]
    )

    load_before = os.getloadavg()
    start_s = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context, initializer=one_thread) as pool:
        list(pool.map(ready, [0.5] * options.workers))
        starting_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        done = list(pool.map(align_picture, [sweep] * sweep.pictures, range(sweep.pictures)))
        sweep_s = time.perf_counter() - start_s
        machines = list(pool.map(measure_machine, range(options.workers)))
        machine = Machine(*(float(np.mean([getattr(m, f) for m in machines])) for f in ("flops", "bytes_per_s")))
        sampled = min(sweep.pictures, 2 * options.workers)
        timed = list(pool.map(time_parts, [sweep] * sampled, range(sampled)))
        parts_s = {part: sum(t[part] for t in timed) * sweep.pictures / sampled for part in PARTS}
        floors_s = floors(sweep, machine)
    peaks_gb: dict[int, float] = {}
    for one in done:
        peaks_gb[one.worker] = max(one.peak_gb, peaks_gb.get(one.worker, 0))
    workers_peak_gb = sum(peaks_gb.values())
    cpu_s = sum(one.cpu_s for one in done)
    load_between = os.getloadavg()
    oracles = run_oracles(sweep, [one.values for one in done], options.oracle_pairs)
    load_after = os.getloadavg()

    measures_s = {name: per_pair * sweep.pairs for name, per_pair in oracles.seconds_per_pair.items()}
    maps_s = oracles.seconds_per_map * sweep.pictures * sweep.participants * sweep.sigmas
    oracle_s = sum(measures_s.values())
    figures = {
        "sweep": asdict(sweep),
        "commit": commit(),
        "evaluations": 4 * sweep.pairs,
        "workers": options.workers,
        "starting_s": starting_s,
        "sweep_s": sweep_s,
        "sweep_cpu_s": cpu_s,
        "evaluations_per_s": 4 * sweep.pairs / sweep_s,
        "workers_peak_gb": workers_peak_gb,
        "oracle_pairs": oracles.pairs,
        "oracle_ms_per_pair": {name: 1000 * s for name, s in oracles.seconds_per_pair.items()},
        "oracle_measures_s": oracle_s,
        "oracle_maps_s": maps_s,
        "ratio_waiting": oracle_s / sweep_s,
        "ratio_waiting_with_maps": (oracle_s + maps_s) / sweep_s,
        "ratio_core_for_core": oracle_s / cpu_s,
        "ratio_core_for_core_with_maps": (oracle_s + maps_s) / cpu_s,
        "parts_cpu_s": parts_s,
        "floors_cpu_s": floors_s,
        "machine": asdict(machine),
        "largest_error": oracles.largest_error,
        "load_average_1_min": {"before": load_before[0], "between": load_between[0], "after": load_after[0]},
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    libraries_s = {"maps": maps_s, **measures_s}
    for file in (options.json, options.plot):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        draw(sweep, parts_s, floors_s, libraries_s, options.plot)

    before = json.loads(options.against.read_text("utf-8")) if options.against else None
    parts = Table(title="Processor seconds of each part, and of the machine's floor")
    for heading in ("", "Beholder", "floor", "ratio to it", "libraries", "ratio to Beholder"):
        parts.add_column(heading, justify="right" if heading else "left")
    if before:
        parts.add_column(f"at {before['commit']}", justify="right")
    for part in PARTS:
        earlier = [f"{before['parts_cpu_s'][part]:.1f}"] if before else []
        parts.add_row(
            part,
            f"{parts_s[part]:.1f}",
            f"{floors_s[part]:.2f}",
            f"{parts_s[part] / floors_s[part]:.1f}",
            f"{libraries_s[part]:.0f}",
            f"{libraries_s[part] / parts_s[part]:.0f}",
            *earlier,
        )
    table = Table(title=f"{4 * sweep.pairs:,} evaluations at {sweep.height} x {sweep.width} px")
    for heading in ("", "seconds", "evaluations/s", "ms a pair", "largest error"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row(f"Beholder, {options.workers} workers", f"{sweep_s:.1f}", f"{4 * sweep.pairs / sweep_s:,.0f}", "", "")
    table.add_row("  processor time of the workers", f"{cpu_s:.1f}", f"{4 * sweep.pairs / cpu_s:,.0f}", "", "")
    table.add_row(
        f"Libraries, {oracles.pairs} pairs scaled up", f"{oracle_s:.0f}", f"{4 * sweep.pairs / oracle_s:,.0f}"
    )
    for name in MEASURE_NAMES:
        library = "scikit-image" if name == "ssim" else "pysaliency"
        table.add_row(
            f"  {name}, {library}",
            f"{measures_s[name]:.0f}",
            f"{1 / oracles.seconds_per_pair[name]:,.0f}",
            f"{1000 * oracles.seconds_per_pair[name]:.2f}",
            f"{oracles.largest_error[name]:.1e}",
        )
    table.add_row("  gaze maps, scipy", f"{maps_s:.0f}", "", "", "")
    console = Console()
    console.print(table)
    console.print(parts)
    console.print(
        f"The machine, a worker: {machine.flops / 1e9:.0f} GFLOP/s in matrix products, "
        f"{machine.bytes_per_s / 1e9:.1f} GB/s from memory."
    )
    if before:
        console.print(
            f"At {before['commit']}: {before['sweep_s']:.1f} s to wait, {before['sweep_cpu_s']:.1f} s of processors; "
            f"libraries / Beholder {before['ratio_waiting_with_maps']:.0f} then, "
            f"{figures['ratio_waiting_with_maps']:.0f} now."
        )
    console.print(
        f"Libraries / Beholder, measures alone: {oracle_s / sweep_s:.0f} in time to wait with {options.workers} "
        f"workers, {oracle_s / cpu_s:.0f} core for core (processor time). With the making of the gaze maps, which "
        f"Beholder's time includes: {(oracle_s + maps_s) / sweep_s:.0f} and {(oracle_s + maps_s) / cpu_s:.0f}. "
        "On a machine busy with other things the time to wait says little."
    )
    console.print(
        f"Peak memory of all workers {workers_peak_gb:.2f} GB; starting them took {starting_s:.1f} s more. "
        f"Load average over a minute: {load_before[0]:.1f} before, {load_between[0]:.1f} between, "
        f"{load_after[0]:.1f} after, on {os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
