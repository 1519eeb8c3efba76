"""What reading the attention costs beside the network's plain forward pass, in one run on one machine.

    python tests/benchmarks/bench_attention.py [--models offline ...] [--pictures 4] [--rounds 5] [--json FILE]
        [--device cuda]

The plain pass is the network's own `forward_features` on the same input, fused attention and all. `last` reads the last
layer (above which nothing is computed), `all` every layer, `rollout` follows attention through all. Each round has the
plain pass and every reading of the same picture in turn, so that a busy machine slows all of them, and medians of the
rounds' ratios are compared. `batch` is the last layer of eight pictures at once, a picture. Weights are random but the
stand-in's: time does not depend on them.

Then what half the digits would cost: attention of the stand-in, whose weights are trained, with matrix products in
bfloat16 (torch.autocast) beside float32: the largest change of a head's map, as a share of its largest value, and of
its KL divergence to the centre Gaussian, beside how far the heads lie apart. Not a test: nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from beholder.analysis.alignment.measures import kl_divergence
from beholder.analysis.attention.extraction import attend, attend_batch, input_size, preprocess
from beholder.analysis.attention.models import Model, load, with_random_weights
from beholder.analysis.gaze.maps import Grid, centre_gaussian

MODELS = ("offline", "vit_small_patch16_224", "vit_base_patch16_224", "vit_small_patch14_reg4_dinov2")
BATCH = 8


def seconds(work: Callable[[], object]) -> float:
    """Time to wait; work on a GPU is waited for by those who read its result."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def one_model(model: Model, pictures: int, rounds: int, longer_side: int | None, device: str) -> dict[str, float]:
    """Median seconds of the plain pass, and of each reading as a ratio to it."""
    rng = np.random.default_rng(1)
    layers = range(1, model.n_layers + 1)
    times: dict[str, list[float]] = {name: [] for name in ("plain", "last", "all", "rollout", "batch")}
    model.module.to(device)
    for _ in range(pictures):
        picture = Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8))
        size = input_size(*picture.size, model.patch_px, longer_side or max(model.input_px))

        def plain(picture: Image.Image = picture, size: tuple[int, int] = size) -> object:
            with torch.inference_mode():
                pixels = preprocess(picture, size, model.mean, model.std).to(device)
                return model.module.forward_features(pixels).cpu()  # type: ignore[operator]

        works = {
            "plain": plain,
            "last": lambda picture=picture: attend(model, picture, [layers[-1]], longer_side, device=device),
            "all": lambda picture=picture: attend(model, picture, layers, longer_side, device=device),
            "rollout": lambda picture=picture: attend(
                model, picture, layers, longer_side, with_rollout=True, device=device
            ),
        }
        works["batch"] = lambda picture=picture: attend_batch(
            model, [picture] * BATCH, [layers[-1]], longer_side, device=device
        )
        for work in works.values():
            work()
        for _round in range(rounds):
            for name, work in works.items():
                times[name].append(seconds(work) / (BATCH if name == "batch" else 1))
    base = np.array(times["plain"])
    ratios = {name: float(np.median(np.array(t) / base)) for name, t in times.items() if name != "plain"}
    return {"plain_s": float(np.median(base)), **ratios}


def in_bfloat16(pictures: int, device: str) -> dict[str, float]:
    """Largest changes of the stand-in's maps and of their KL to the centre, and the spread of that KL over heads."""
    model = load("offline")
    of_map, of_kl, spread = [], [], []
    for number in range(pictures):
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        picture = picture.resize((512, 512), Image.Resampling.BICUBIC)
        kept = [attend(model, picture, [model.n_layers], device=device)]
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            kept.append(attend(model, picture, [model.n_layers], device=device))
        exact, half = (of.heads[0] / of.heads[0].sum(axis=(1, 2), keepdims=True) for of in kept)
        centre = centre_gaussian(Grid(*exact.shape[1:]), 0.2222)
        kl = [[float(kl_divergence(centre, m.astype(np.float64))) for m in maps] for maps in (exact, half)]
        of_map.append(np.max(np.abs(exact - half).max(axis=(1, 2)) / exact.max(axis=(1, 2))))
        of_kl.append(np.abs(np.subtract(*kl)).max())
        spread.append(np.std(kl[0], ddof=1))
    return {"map": float(np.max(of_map)), "kl": float(np.max(of_kl)), "kl_spread": float(np.mean(spread))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longer-side", type=int, help="of the input, in px; the model's own if left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    table = Table(title="Reading attention, as a ratio to the plain forward pass")
    for heading in ("model", "plain (ms)", "last layer", "all layers", "rollout", "batch of 8"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    figures: dict[str, dict[str, float]] = {}
    for name in options.models:
        model = load(name) if name == "offline" else with_random_weights(name, 1)
        found = one_model(model, options.pictures, options.rounds, options.longer_side, options.device)
        figures[name] = found
        table.add_row(
            name, f"{1000 * found['plain_s']:.0f}", *(f"{found[k]:.2f}" for k in ("last", "all", "rollout", "batch"))
        )
    Console().print(table)
    Console().print(f"Load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, device {options.device}.")
    changed = in_bfloat16(options.pictures, options.device)
    Console().print(
        f"In bfloat16 a head's map changes by up to {100 * changed['map']:.1f} % of its largest value, and its KL to "
        f"the centre by up to {changed['kl']:.4f} nats (SD over heads {changed['kl_spread']:.3f})."
    )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures | {"bfloat16": changed}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
