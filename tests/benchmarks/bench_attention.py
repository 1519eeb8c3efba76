"""What reading the attention costs beside the network's plain forward pass, in one run on one machine.

    python tests/benchmarks/bench_attention.py [--models offline ...] [--pictures 4] [--rounds 5] [--json FILE]

The plain pass is the network's own `forward_features` on the same input, fused attention and all. `last` reads the last
layer (above which nothing is computed), `all` every layer, `rollout` follows attention through all. Each round has the
plain pass and every reading of the same picture in turn, so that a busy machine slows all of them, and medians of the
rounds' ratios are compared. Weights are random but the stand-in's: time does not depend on them. Not a test: nothing is
asserted.
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

from analysis.attention import attend, input_size, preprocess
from analysis.models import Model, load, with_random_weights

MODELS = ("offline", "vit_small_patch16_224", "vit_base_patch16_224", "vit_small_patch14_reg4_dinov2")


def seconds(work: Callable[[], object]) -> float:
    """Time to wait; work on a GPU is waited for by those who read its result."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def one_model(model: Model, pictures: int, rounds: int, longer_side: int | None, device: str) -> dict[str, float]:
    """Median seconds of the plain pass, and of each reading as a ratio to it."""
    rng = np.random.default_rng(1)
    layers = range(1, model.n_layers + 1)
    times: dict[str, list[float]] = {name: [] for name in ("plain", "last", "all", "rollout")}
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
        for work in works.values():
            work()
        for _round in range(rounds):
            for name, work in works.items():
                times[name].append(seconds(work))
    base = np.array(times["plain"])
    ratios = {name: float(np.median(np.array(t) / base)) for name, t in times.items() if name != "plain"}
    return {"plain_s": float(np.median(base)), **ratios}


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
    for heading in ("model", "plain (ms)", "last layer", "all layers", "rollout"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    figures = {}
    for name in options.models:
        model = load(name) if name == "offline" else with_random_weights(name, 1)
        found = one_model(model, options.pictures, options.rounds, options.longer_side, options.device)
        figures[name] = found
        table.add_row(name, f"{1000 * found['plain_s']:.0f}", *(f"{found[k]:.2f}" for k in ("last", "all", "rollout")))
    Console().print(table)
    Console().print(f"Load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, device {options.device}.")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
