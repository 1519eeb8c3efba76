"""`python -m beholder.stimuli.render`: photographs the objects anew, and measures the pictures.

Writes images/NAME.png, masks/NAME.png, stimuli.tsv and stimuli.json. The measures are pure functions of
pictures and need no renderer (`--table`); rendering needs Blender as a module (`pip install "bpy==5.0.*"`). What
the objects are stands in bags.py and jars.py, camera and light in scene.py.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from scipy import ndimage

from beholder.shared.arrays import FloatArray
from beholder.shared.errors import StudyError
from beholder.stimuli import bags, jars, scene

Picture = NDArray[np.uint8]
"""8-bit sRGB, (height, width, 3)."""
Labels = NDArray[np.uint8]
"""(height, width); 0 is background, the rest by scene.PARTS."""

HERE = Path(__file__).parent
LICENCE = "CC0-1.0"
COLUMNS = {
    "file": ("File name of the picture, in the folder images.", None),
    "kind": ("What kind of object it is.", None),
    "name": ("What the object is.", None),
    "mask": ("File name of the label map, in the folder masks; same size as the picture.", None),
    "parts": ("The parts present in the label map, separated by commas.", None),
    "licence": ("SPDX identifier of the picture's licence.", None),
    "mean_luminance": ("Mean relative luminance of the picture, 0 (black) to 1 (white of the display).", "1"),
    "rms_contrast": ("Standard deviation of relative luminance over the picture.", "1"),
    "object_share": ("Share of the picture's area that the object takes.", "1"),
    "edge_density": ("Share of the picture's pixels that lie on an edge of luminance.", "1"),
    "colourfulness": ("Colourfulness M of Hasler & Suesstrunk 2003, doi:10.1117/12.477378, of the picture.", "1"),
}
"""Description and unit of each column of stimuli.tsv."""
MEASURES = ("mean_luminance", "rms_contrast", "object_share", "edge_density", "colourfulness")
DECIMALS = 6
SIZE_PX, SAMPLES = 1024, 64
PREVIEW_SIZE_PX, PREVIEW_SAMPLES = 192, 12
TABLE_MARKS = "<!-- table of measures: begin -->", "<!-- table of measures: end -->"
"""Between which `--table FILE` puts the comparison into a document."""


def luminance(picture: Picture) -> FloatArray:
    """Relative luminance (height, width), 0 to 1, of an sRGB picture (IEC 61966-2-1, Rec. 709 weights).

    >>> luminance(np.full((1, 1, 3), 255, dtype=np.uint8)).round(6)
    array([[1.]])
    """
    value = picture.astype(np.float64) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light @ np.array([0.2126, 0.7152, 0.0722]))


def mean_luminance(picture: Picture) -> float:
    """Mean relative luminance of the whole picture, 0 to 1."""
    return float(luminance(picture).mean())


def rms_contrast(picture: Picture) -> float:
    """Standard deviation of relative luminance over the whole picture.

    Not divided by the mean. Source: Peli 1990, doi:10.1364/JOSAA.7.002032.
    """
    return float(luminance(picture).std())


def object_share(labels: Labels) -> float:
    """Share of the picture's area where the label is not background.

    >>> object_share(np.array([[0, 1], [2, 0]], dtype=np.uint8))
    0.5
    """
    return float((labels > 0).mean())


def edge_density(picture: Picture, threshold: float = 0.05) -> float:
    """Share of pixels where luma changes by more than `threshold` per pixel.

    Luma is 0.299 R + 0.587 G + 0.114 B of the encoded picture, 0 to 1 (Rec. 601), which steps about as the eye
    sees them; its gradient is Sobel's, divided by 8 so that its unit is luma per pixel.
    """
    luma = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
    gradient = np.hypot(ndimage.sobel(luma, axis=0), ndimage.sobel(luma, axis=1)) / 8
    return float((gradient > threshold).mean())


def colourfulness(picture: Picture) -> float:
    """Colourfulness M of the whole picture: 0 is grey, 15 slightly, 59 quite, 109 extremely colourful.

    M = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), rg = R - G, yb = (R + G) / 2 - B, on
    0 to 255. Source: Hasler & Suesstrunk 2003, doi:10.1117/12.477378.

    >>> colourfulness(np.full((4, 4, 3), 77, dtype=np.uint8))
    0.0
    """
    red, green, blue = (picture[..., channel].astype(np.float64) for channel in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def parts_present(labels: Labels) -> list[str]:
    """Names of the parts that the label map holds, in the order of their labels."""
    return [name for name, label in scene.PARTS.items() if (labels == label).any()]


def row(file: str, kind: str, name: str, picture: Picture, labels: Labels) -> dict[str, str]:
    """One line of stimuli.tsv."""
    values = {
        "mean_luminance": mean_luminance(picture),
        "rms_contrast": rms_contrast(picture),
        "object_share": object_share(labels),
        "edge_density": edge_density(picture),
        "colourfulness": colourfulness(picture),
    }
    words = {
        "file": file,
        "kind": kind,
        "name": name,
        "mask": file,
        "parts": ",".join(parts_present(labels)),
        "licence": LICENCE,
    }
    return words | {column: f"{value:.{DECIMALS}f}" for column, value in values.items()}


def table_text(rows: Sequence[dict[str, str]]) -> str:
    """stimuli.tsv as text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def z_scores(values: Sequence[float]) -> FloatArray:
    """Distances (n,) from the mean in sample SDs.

    >>> z_scores([1.0, 2.0, 3.0])
    array([-1.,  0.,  1.])
    """
    given = np.asarray(values, dtype=np.float64)
    return np.asarray((given - given.mean()) / given.std(ddof=1))


def cohens_d(first: Sequence[float], second: Sequence[float]) -> float:
    """Difference of two means in units of their pooled sample SD. Source: Cohen 1988, ISBN 978-0-8058-0283-2.

    >>> cohens_d([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    1.0
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    freedom = len(one) + len(other) - 2
    pooled = ((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / freedom
    return float((one.mean() - other.mean()) / np.sqrt(pooled))


def comparison(rows: Sequence[dict[str, str]]) -> str:
    """A Markdown table of the two kinds, one line a measure: means, SDs, Cohen's d and the furthest objects.

    rows: those of stimuli.tsv, at least two of each kind.
    """
    lines = [
        "| measure | bags: mean (SD) | jars: mean (SD) | Cohen's d | furthest within its kind | furthest over all |",
        "|---|---|---|---|---|---|",
    ]
    for measure in MEASURES:
        values = {row["file"]: float(row[measure]) for row in rows}
        kinds = [[values[row["file"]] for row in rows if row["kind"] == kind] for kind in ("bag", "jar")]
        within = dict(zip([row["file"] for kind in ("bag", "jar") for row in rows if row["kind"] == kind],
                          np.concatenate([z_scores(kind) for kind in kinds]), strict=True))  # fmt: skip
        overall = dict(zip(values, z_scores(list(values.values())), strict=True))
        digits = 1 if measure == "colourfulness" else 3
        cells = [f"{np.mean(kind):.{digits}f} ({np.std(kind, ddof=1):.{digits}f})" for kind in kinds]
        cells.append(f"{cohens_d(*kinds):+.2f}")
        for z in (within, overall):
            furthest = max(z, key=lambda file: abs(z[file]))
            cells.append(f"{Path(furthest).stem}, z = {z[furthest]:+.2f}")
        lines.append(f"| {measure.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def put_into(document: str, table: str) -> str:
    """The document with the table between its two marks; StudyError where they are not there."""
    begin, end = TABLE_MARKS
    if document.count(begin) != 1 or document.count(end) != 1:
        raise StudyError(f"The document has no place for the table: put the lines {begin} and {end} where it belongs.")
    before, rest = document.split(begin)
    return f"{before}{begin}\n{table}{end}{rest.split(end)[1]}"


def sidecar() -> dict[str, object]:
    """stimuli.json: what the columns and labels mean, in the manner of a BIDS sidecar."""
    columns: dict[str, dict[str, object]] = {}
    for column, (description, unit) in COLUMNS.items():
        columns[column] = {"Description": description}
        if unit is not None:
            columns[column]["Units"] = unit
    columns["kind"]["Levels"] = {"bag": "basketry bag", "jar": "ginger jar with its lid"}
    labels = {"0": "background, the shadow included"} | {str(label): name for name, label in scene.PARTS.items()}
    return {**columns, "labels": labels, "Licence": LICENCE}


Objects = dict[str, tuple[str, str, float, Callable[[], list[scene.Piece]]]]


def objects() -> Objects:
    """Every object by file stem: kind, name, turn in degrees, and what builds its pieces."""
    shop: Objects = {}
    for bag in bags.BAGS:
        shop[bag.file] = ("bag", bag.name, bag.turn_deg, partial(bags.build, bag))
    for jar in jars.JARS:
        shop[jar.file] = ("jar", jar.name, jar.turn_deg, partial(jars.build, jar))
    return shop


def write_table(out: Path) -> list[dict[str, str]]:
    """Measure every picture that is in `out`, write stimuli.tsv and stimuli.json beside them; the table's rows."""
    rows = []
    for stem, (kind, name, _, _) in objects().items():
        path = out / "images" / f"{stem}.png"
        if path.exists():
            picture = np.asarray(Image.open(path).convert("RGB"))
            labels = np.asarray(Image.open(out / "masks" / f"{stem}.png"))
            rows.append(row(path.name, kind, name, picture, labels))
    (out / "stimuli.tsv").write_text(table_text(rows), encoding="utf-8")
    (out / "stimuli.json").write_text(json.dumps(sidecar(), indent=2) + "\n", encoding="utf-8")
    return rows


def save_srgb(picture: Picture, path: Path) -> None:
    """A PNG that says that it is sRGB (perceptual intent), there whole or not at all."""
    mark = PngImagePlugin.PngInfo()
    mark.add(b"sRGB", b"\0")
    unfinished = path.with_suffix(".part")
    Image.fromarray(picture).save(unfinished, format="PNG", optimize=True, pnginfo=mark)
    unfinished.replace(path)


def contact_sheet(out: Path, columns: int = 5, tile_px: int = 230) -> Image.Image:
    """All pictures of `out` on one sheet: to look at, not to measure."""
    paths = sorted((out / "images").glob("*.png"))
    sheet = Image.new("RGB", (columns * tile_px, -(-len(paths) // columns) * tile_px))
    for number, path in enumerate(paths):
        tile = Image.open(path).convert("RGB").resize((tile_px, tile_px), Image.Resampling.LANCZOS)
        sheet.paste(tile, (number % columns * tile_px, number // columns * tile_px))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Render what was asked for, and measure all."""
    parser = argparse.ArgumentParser(prog="python -m beholder.stimuli.render", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="objects such as bag-03 jar-01; default all")
    parser.add_argument("--missing", action="store_true", help="leave out objects whose picture is there already")
    parser.add_argument("--size", type=int, default=SIZE_PX, help=f"side of the picture in pixels ({SIZE_PX})")
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"most light paths a pixel ({SAMPLES})")
    preview = f"small and quick: {PREVIEW_SIZE_PX} pixels, {PREVIEW_SAMPLES} paths"
    parser.add_argument("--preview", action="store_true", help=preview)
    parser.add_argument("--threads", type=int, default=0, help="threads to render with (0: all)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for images, masks and the table")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="also put all pictures of the folder on one sheet")
    table = "render nothing: measure the pictures in the folder, compare the kinds on the terminal or in FILE"
    parser.add_argument("--table", type=Path, nargs="?", const=Path("-"), metavar="FILE", help=table)
    wanted = parser.parse_args(arguments)
    size, samples = (PREVIEW_SIZE_PX, PREVIEW_SAMPLES) if wanted.preview else (wanted.size, wanted.samples)
    try:
        if wanted.table is None:
            photograph(wanted.only, size, samples, wanted.out, wanted.threads, missing=wanted.missing)
        else:
            compare(wanted.out, wanted.table)
    except StudyError as error:
        raise SystemExit(str(error)) from None
    if wanted.sheet is not None:
        contact_sheet(wanted.out).save(wanted.sheet, optimize=True)


def compare(out: Path, document: Path) -> None:
    """Measure the pictures in `out` and put the comparison of the kinds into a document ("-": the terminal).

    Raises StudyError where a kind has fewer than two pictures, or the document no place for the table.
    """
    rows = write_table(out)
    if min(sum(row["kind"] == kind for row in rows) for kind in ("bag", "jar")) < 2:
        raise StudyError(f"{out / 'images'} has fewer than two pictures of a kind: render them first.")
    if document == Path("-"):
        print(comparison(rows), end="")
    else:
        document.write_text(put_into(document.read_text("utf-8"), comparison(rows)), encoding="utf-8")


def photograph(
    only: Sequence[str] | None, size_px: int, samples: int, out: Path, threads: int = 0, *, missing: bool = False
) -> None:
    """Render the named objects (None: all) into `out`, or those `missing` there, then write the table.

    Raises StudyError where a name is not an object, or Blender is not installed.
    """
    from rich.progress import track

    shop = objects()
    unknown = sorted(set(only or ()) - set(shop))
    if unknown:
        raise StudyError(f"No object is called {unknown[0]}: choose from {', '.join(shop)}.")
    try:
        import bpy
    except ImportError:
        raise StudyError('Rendering needs Blender as a Python module: pip install "bpy==5.0.*".') from None
    for folder in ("images", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    stems = [stem for stem in only or shop if not (missing and (out / "images" / f"{stem}.png").exists())]
    for stem in track(stems, description="Rendering"):
        _, _, turn_deg, pieces = shop[stem]
        scene.prepare(pieces(), turn_deg)
        if threads:
            bpy.context.scene.render.threads_mode = "FIXED"
            bpy.context.scene.render.threads = threads
        labels = scene.label_map(size_px)
        Image.fromarray(labels).save(out / "masks" / f"{stem}.png", optimize=True)
        save_srgb(scene.picture(size_px, samples, labels), out / "images" / f"{stem}.png")
    write_table(out)


if __name__ == "__main__":
    main()
