"""How long one waits for the command line: help, the recordings named, an analysis that is up to date, a simulation.

    python tests/benchmarks/bench_start.py [--study FOLDER] [--rounds 5] [--json FILE]

The study is one that was analysed; if none is named, the demonstration is made first (30 simulated participants, 20
pictures, some minutes). Each round has every command in turn, each a process of its own; medians are shown, beside the
time in which Python itself starts and ends and the time in which it imports torch. Not a test: nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

SIMULATED = "beholder simulate, 4 participants of 20 pictures"
BEHOLDER = str(Path(sys.executable).with_name("beholder"))


def seconds(command: Sequence[str], until: str = "") -> float:
    """Time until the command has ended, or has printed `until`."""
    start_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        found_s = None
        for line in process.stdout or ():
            if until and until in line and found_s is None:
                found_s = time.perf_counter() - start_s
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return found_s or time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="one that was analysed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="beholder-start-") as folder:
        study = args.study or Path(folder) / "demo"
        if args.study is None:
            subprocess.run([BEHOLDER, "demo", "--out", str(study)], check=True, stdout=subprocess.DEVNULL)
        analyze = [BEHOLDER, "analyze", str(study), "--model", "offline"]
        commands = {
            "Python itself": ([sys.executable, "-c", ""], ""),
            "import torch": ([sys.executable, "-c", "import torch"], ""),
            "beholder --help": ([BEHOLDER, "--help"], ""),
            "beholder analyze --help": ([BEHOLDER, "analyze", "--help"], ""),
            "beholder analyze, recordings named": (analyze, "recording"),
            "beholder analyze, up to date": (analyze, ""),
        }
        seconds(analyze)
        times: dict[str, list[float]] = {name: [] for name in [*commands, SIMULATED]}
        for number in range(args.rounds):
            for name, (command, until) in commands.items():
                times[name].append(seconds(command, until))
            new = str(Path(folder) / f"new-{number}")
            subprocess.run([BEHOLDER, "new", new], check=True, stdout=subprocess.DEVNULL)
            times[SIMULATED].append(seconds([BEHOLDER, "simulate", new, "--participants", "4"]))
    table = Table(title=f"Waiting for the command line, median of {args.rounds}")
    for column in ("", "seconds", "times Python itself"):
        table.add_column(column, justify="left" if not column else "right")
    medians = {name: float(np.median(some)) for name, some in times.items()}
    for name, median in medians.items():
        table.add_row(name, f"{median:.2f}", f"{median / medians['Python itself']:.1f}")
    Console(width=120).print(table)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(medians, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
