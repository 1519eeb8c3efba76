"""Writes the lists of packages with their hashes in this folder, from pyproject.toml and constraints.txt: `make locks`.

Each list is complete for its Pythons on Linux, macOS and Windows and holds the hash of every file of every release, so
that `pip install --require-hashes --no-deps -r` takes nothing else. torch has a list of its own, with the CUDA
libraries that its build for Linux on the public index brings: another build, for a machine without a GPU or with
another one, has other hashes, and which one suits is for the machine's owner to choose.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of each list: the oldest Python that it is for, and the extras that are in it.
LISTS = {
    "acquisition": ("3.10", ("experiment", "tobii", "eyelink", "test")),
    "analysis": ("3.11", ("analysis", "cluster", "offline", "vendors")),
    "all": ("3.11", ("analysis", "cluster", "offline", "vendors", "experiment", "tobii", "eyelink", "dev")),
}
OF_TORCH = re.compile(r"(torch|torchvision|triton|nvidia-\S+|cuda-\S+)(?===)")


def resolved(python: str, extras: tuple[str, ...]) -> list[str]:
    """The packages that these extras need, sorted by name, each with its version, marker and hashes; uv resolves."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list.txt"
        subprocess.run(
            [
                *(
                    Path(sys.executable).with_name("uv"),
                    "pip",
                    "compile",
                    "--quiet",
                    "--universal",
                    "--generate-hashes",
                ),
                *("--no-header", "--no-annotate", f"--python-version={python}", f"--output-file={file}"),
                *("pyproject.toml", "--constraints=constraints.txt", *(f"--extra={extra}" for extra in extras)),
            ],
            cwd=ROOT,
            check=True,
        )
        # A package's lines but its first begin with a space.
        packages = re.split(r"\n(?=\S)", file.read_text("utf-8").strip())
    return [package for package in packages if "sys_platform == 'emscripten'" not in package]


def write(name: str, about: str, packages: list[str]) -> None:
    """One list, with a line above that says what it is for."""
    text = f"# {about}. Written by locked/lock.py.\n" + "\n".join(packages) + "\n"
    (ROOT / "locked" / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """All lists but stand-in.txt, which has one package and is written by hand."""
    torch: dict[str, None] = {}
    for name, (python, extras) in LISTS.items():
        packages = resolved(python, extras)
        torch.update(dict.fromkeys(package for package in packages if OF_TORCH.match(package)))
        rest = [package for package in packages if not OF_TORCH.match(package)]
        write(name, f"The extras {', '.join(extras)} on Python {python} and later, without torch", rest)
    write("torch", "torch as the public index has it, and the CUDA libraries that it brings on Linux", sorted(torch))


if __name__ == "__main__":
    main()
