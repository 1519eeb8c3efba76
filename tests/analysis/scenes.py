"""Pictures for small studies, and what an analysis has written of them, to be compared."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from beholder.analysis.results.sums import SUMS


def three_scenes(folder: Path) -> Path:
    """A folder of three grey pictures with a teal ellipse each, and its mask."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(3):
        picture, mask = Image.new("RGB", (120, 90), "lightgrey"), Image.new("L", (120, 90))
        box = (20 + 15 * number, 20, 60 + 15 * number, 60)
        ImageDraw.Draw(picture).ellipse(box, fill="teal")
        ImageDraw.Draw(mask).ellipse(box, fill=1)
        picture.save(folder / "images" / f"scene-{number}.png")
        mask.save(folder / "masks" / f"scene-{number}.png")
    return folder


def two_pictures(folder: Path) -> Path:
    """A folder of two plain pictures, a.png and b.png."""
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (400, 300), "teal").save(folder / name)
    return folder


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder of results, without those that say when it was made."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in ("provenance.json", SUMS)
    }
