"""What an analysis leaves in `derivatives/beholder/`, and how it is written and read: names, columns, types.

    fixations.parquet                               one row a fixation                        FIXATION_COLUMNS
    trials.csv                                      one row a picture shown: its quality      TRIAL_COLUMNS
    quality.csv                                     one row a participant, run and eye        QUALITY_COLUMNS
    recordings.json                                 how wide each picture was shown, in degrees; who was simulated
    attention/<model>/layer-<NN>.npz                one array (heads, rows, columns) a picture, as the model gave it
    attention.csv                                   attention inside the object, on special tokens   ATTENTION_COLUMNS
    alignment/<model>/layer-<NN>/<stimulus>.parquet one row a comparison                      ALIGNMENT_COLUMNS
    fixed/<model>/layer-<NN>/<stimulus>.parquet     all that is compared at the fixed sigma alone    FIXED_COLUMNS
    chance/<model>/layer-<NN>/<stimulus>.parquet    the same gaze against attention on other pictures CHANCE_COLUMNS
    densities.json                                  centre bias and ceiling, as fitted to gaze
    areas.parquet                                   looking and attention by part of the objects  areas.AREA_COLUMNS
    summary.json                                    models, simulation, remarks, counts       Summary
    inference.json, report.html, figures/, tables/  what inference and report make of these
    study.toml, dataset_description.json            the settings used; what makes it a BIDS derivative
    provenance.json                                 versions, digests, times (the one file that differs between runs)

Everything but provenance.json is the same bytes for the same inputs: sorted rows, no times, no paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray
from pydantic import TypeAdapter

from beholder.analysis.results.sums import DamagedError, reading
from beholder.shared.dataset.making import BIDS_VERSION, beholder_version
from beholder.shared.errors import DataError, Remark, WeightsError
from beholder.shared.parsing import for_spreadsheets, from_spreadsheets
from beholder.shared.study import Study, read_study

Comparisons = Literal["alignment", "fixed", "chance"]
Condition = tuple[str, str, Any]  # (column, operator, value), as pyarrow takes them

# x_px and y_px are px of the picture (origin upper left); onset_s counts from picture onset. `used` is false where the
# fixation is left out of the maps, and `why` says so: "dot" (under way at onset), "outside" (off the picture),
# "repeat" (the picture had been seen before), "interrupted" (its time was cut short), or a limit of
# `analysis.exclusion`.
FIXATION_COLUMNS = {
    "participant": "str", "run": "int64", "trial": "int64", "stimulus": "str", "fixation": "int64", "eye": "str",
    "onset_s": "float64", "duration_s": "float64", "x_px": "float64", "y_px": "float64", "used": "bool", "why": "str",
}  # fmt: skip

# Of the eye whose gaze was analysed, while the picture stood: samples_expected by rate and time, loss_percent of them
# (blinks are within), blink_percent in gaps too long to be bridged, effective_hz samples with gaze a second.
# accuracy_deg and passed: the last validation before it. drift: gaze less dot, in degrees and in px of the picture.
# dropped_frames: of its dot and its picture. outside_share: of the fixated time. `included` is false where nothing of
# the trial went into a map, and `why` says so: a reason of `analysis.fixations`, or a limit of `analysis.exclusion`.
# NaN is "not known".
TRIAL_COLUMNS = {
    "participant": "str", "run": "int64", "trial": "int64", "stimulus": "str", "status": "str", "exposure": "str",
    "shown_s": "float64", "samples_expected": "float64", "loss_percent": "float64", "blink_percent": "float64",
    "effective_hz": "float64", "passed": "str", "accuracy_deg": "float64", "drift_x_deg": "float64",
    "drift_y_deg": "float64", "drift_deg": "float64", "drift_x_px": "float64", "drift_y_px": "float64",
    "dropped_frames": "float64", "n_fixations": "int64", "n_used": "int64", "outside_share": "float64",
    "included": "bool", "why": "str",
}  # fmt: skip

# The last validation that was accepted, per eye; `used` marks the eye whose gaze was analysed. `overridden` counts the
# validations of the run that failed and were accepted all the same, `overridden_by` says by whom. NaN is "not known"
# (imported fixations have no validation).
QUALITY_COLUMNS = {
    "participant": "str", "run": "int64", "eye": "str", "used": "bool", "passed": "str", "accuracy_deg": "float64",
    "accuracy_worst_deg": "float64", "rms_s2s_deg": "float64", "sd_deg": "float64", "loss_percent": "float64",
    "effective_hz": "float64", "rate_hz": "float64", "calibrations": "float64", "validations": "int64",
    "overridden": "int64", "overridden_by": "str",
}  # fmt: skip

# The model's attention on a picture: `map` is head-01 ... or mean. Masses are shares of all patches' attention;
# lift_pp = 100 (inside - area), in percentage points. special_mass: attention on class and register tokens, a share
# of all tokens', before the patches are renormalised. NaN where the picture has no mask.
ATTENTION_COLUMNS = {
    "model": "str", "layer": "int64", "map": "str", "stimulus": "str", "inside": "float64", "outside": "float64",
    "area": "float64", "lift_pp": "float64", "special_mass": "float64",
}  # fmt: skip

# `participant` is a label or "pooled" (all participants' map, each weighing the same). `map` is head-01 ..., mean, or a
# reference: centre, uniform, object (uniform within the mask), shuffled-head-01 ... and shuffled-mean (the same
# picture's gaze against that head on other pictures, mean over these). A measure that is not defined is null.
# `drift_corrected` is as the study set it, at every sigma and for every measure; the rows with the other choice are the
# same fixations, moved by the drift on their trial's dot: participants' alone, primary measure and fixed sigma alone.
ALIGNMENT_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "model": "str", "layer": "int64", "map": "str",
    "smooth": "str", "sigma": "float64", "sigma_unit": "str", "window_start_s": "float64", "window_end_s": "float64",
    "drift_corrected": "bool", "n_fixations": "int64",
}  # fmt: skip
# What chance is: gaze on `stimulus` against the attention on other pictures, at the fixed sigma. `of`: "others", a
# participant's mean over all other pictures; "same kind" and "same half", over those of the picture's kind, or of its
# half (where heads are chosen on one half of the pictures and estimated on the other); "picture", the mean over
# participants for one other picture, `attention_of` (empty in the other rows), which `same_kind` and `same_half`
# describe. That mean is over "everybody", or over the participants of one `group` where these are compared, with equal
# counts. `counted`, measures and `drift_corrected` as above.
CHANCE_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "of": "str", "attention_of": "str", "same_kind": "bool",
    "same_half": "bool", "group": "str", "counted": "str", "model": "str", "layer": "int64", "map": "str",
    "drift_corrected": "bool",
}  # fmt: skip
EVERYBODY = "everybody"
# At the fixed sigma: what the sound reading is made of. Columns and rows as in the comparisons over sigma, and:
# `within`: "picture", or "object" where both maps are cut to the object and brought to sum to one; `window_...`: the
# fixations of a window of viewing time (the first window is the whole); `counted`: "all" fixations, or "equal" where
# everybody has as many on a picture, to compare groups. Further maps: see REFERENCES. Windows other than the whole,
# "object" and "equal" have the primary measure alone, no shuffled maps, and nobody pooled.
FIXED_COLUMNS = {
    "participant": "str", "run": "int64", "stimulus": "str", "model": "str", "layer": "int64", "map": "str",
    "within": "str", "window_start_s": "float64", "window_end_s": "float64", "counted": "str",
    "drift_corrected": "bool", "n_fixations": "int64",
}  # fmt: skip
# Maps that know nothing of the trained model. centre: a Gaussian of set width; centre-fitted: fitted by likelihood to
# everybody's fixations on other pictures; uniform; object: uniform within it; random: the heads of the same network
# with random weights, the mean of their scores over heads and seeds; others: the ceiling, by each measure the map that
# is best for it by the density of the other viewers, fitted by likelihood (ceilings.py); by ssim and emd, where no such
# map is known, that density itself, which is no ceiling; half: the map of the first half of the viewers at the fixed
# sigma (participant "pooled", whose fixations are the other half's).
REFERENCES = ("centre", "centre-fitted", "uniform", "object", "random", "others")
HALF = "half"
POOLED = "pooled"
KEY, REMARKS = "beholder_key", "beholder_remarks"
Source = Literal["samples", "recordings", "fixations"]
Family = Literal["", "dino", "dinov2", "dinov3"]
MEASURE_COLUMNS = ("kl", "cc", "sim", "ssim", "nss", "auc", "auc_judd", "sauc", "ig", "emd")


@dataclass(frozen=True)
class ModelSummary:
    """A model as the report names it; `stand_in` where its weights are not what a study would publish.

    `family` is the kind of training without labels that its weights come from, where it is one of these.
    """

    name: str
    label: str
    weights: str
    stand_in: bool
    patch_px: int
    layers: int
    heads: int
    analysed_layers: tuple[int, ...]
    query: str
    input_px: tuple[int, int]
    patches: tuple[int, int]
    family: Family = ""


@dataclass(frozen=True)
class Setup:
    """What the files say of participants and apparatus, for the methods; empty where they say nothing.

    `trackers` (maker, model, software) and `screens` (px, cm, distance) have each once; `answers` are, by column of
    participants.tsv, how many of the participants analysed gave each answer, "n/a" among them.
    """

    trackers: tuple[str, ...] = ()
    screens: tuple[str, ...] = ()
    answers: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Counts and notes that belong to no table.

    `halves`: where heads are chosen on half of the pictures, the half of each: 0 chooses, 1 estimates; else empty.
    `sources`: what gaze came from: samples recorded here, recordings of a tracker's own program, fixations as given.
    `simulated`: how many participants were simulated; `observers`: what they were programmed to follow, a sentence,
    empty without simulation. `px_per_deg`: px of the picture per degree at its centre, by stimulus; empty if unknown.
    """

    participants: int
    stimuli: int
    simulated: int
    observers: str
    sources: tuple[Source, ...]
    models: tuple[ModelSummary, ...]
    px_per_deg: dict[str, float]
    remarks: tuple[Remark, ...]
    setup: Setup = field(default_factory=Setup)
    halves: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """Everything that inference, figures and report read; tables have the columns above.

    The comparisons stay on disk: `rows` reads those of one picture. `areas`: `areas.AREA_COLUMNS`, empty without masks.
    """

    study_folder: Path
    study: Study
    summary: Summary
    fixations: pd.DataFrame
    trials: pd.DataFrame
    quality: pd.DataFrame
    attention_table: pd.DataFrame
    areas: pd.DataFrame

    def attention(self, model: str, layer: int) -> dict[str, NDArray[np.float32]]:
        """Attention maps (heads, rows, columns) by stimulus, not renormalised."""
        path = attention_path(self.study_folder, model, layer)
        with reading(path), np.load(path) as arrays:
            return {name: arrays[name] for name in sorted(arrays.files)}

    def compared(self, model: str, layer: int) -> tuple[str, ...]:
        """The pictures that were compared with one layer of a model, sorted."""
        folder = fixed_path(self.study_folder, model, layer, "").parent
        return tuple(sorted(path.stem for path in folder.glob("*.parquet")))

    def rows(
        self, table: Comparisons, model: str, layer: int, picture: str, columns: Sequence[str] = (),
        where: Sequence[Condition] = (),
    ) -> pd.DataFrame:  # fmt: skip
        """The comparisons of one picture with one layer: of `columns` those that there are (all, if none is named), and
        the rows that fulfil every condition. Raises DataError where the file is not there or broken.
        """
        path = PATHS[table](self.study_folder, model, layer, picture)
        if not path.exists():
            raise DamagedError(path)
        with reading(path):
            with pyarrow.parquet.ParquetFile(path) as file:
                there, empty = file.schema_arrow.names, not file.metadata.num_rows
            wanted = [c for c in columns if c in there] or None
            conditions = None if empty else list(where) or None  # a column without a value has no type to compare with
            rows: pd.DataFrame = pyarrow.parquet.read_table(path, columns=wanted, filters=conditions).to_pandas()
        return rows

    def scores(
        self, at: Literal["fixed", "sigmas", "chance"] = "fixed", where: Sequence[Condition] = ()
    ) -> pd.DataFrame:  # fmt: skip
        """All scores at once, of every model, layer and picture: for a notebook, where they fit into memory.

        at: at the sigma fixed beforehand, over sigma, or by chance (`FIXED_COLUMNS`, `ALIGNMENT_COLUMNS`,
        `CHANCE_COLUMNS`). where: conditions (column, operator, value) that the rows fulfil.
        """
        table: Comparisons = "alignment" if at == "sigmas" else at
        layers = [(m.name, layer) for m in self.summary.models for layer in m.analysed_layers]
        parts = [self.rows(table, *of, picture, where=where) for of in layers for picture in self.compared(*of)]
        filled = [part for part in parts if len(part)]
        return pd.concat(filled or parts[:1], ignore_index=True) if parts else pd.DataFrame()


def results_folder(study_folder: Path) -> Path:
    """Where the analysis of a study lies."""
    return study_folder / "derivatives" / "beholder"


def attention_path(study_folder: Path, model: str, layer: int) -> Path:
    """The attention of one layer of one model on every picture."""
    return results_folder(study_folder) / "attention" / model_folder(model) / f"layer-{layer:02d}.npz"


def alignment_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """The comparisons of one picture with one layer of one model."""
    return (
        results_folder(study_folder) / "alignment" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"
    )


def chance_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """The gaze of one picture against the attention of one layer of one model on other pictures."""
    return results_folder(study_folder) / "chance" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"


def fixed_path(study_folder: Path, model: str, layer: int, stimulus: str) -> Path:
    """What is compared at the fixed sigma, of one picture with one layer of one model."""
    return results_folder(study_folder) / "fixed" / model_folder(model) / f"layer-{layer:02d}" / f"{stimulus}.parquet"


PATHS: dict[Comparisons, Callable[[Path, str, int, str], Path]] = {
    "alignment": alignment_path, "fixed": fixed_path, "chance": chance_path,
}  # fmt: skip


def model_folder(model: str) -> str:
    """A model's name as a folder: hub prefixes have slashes and colons.

    >>> model_folder("hf-hub:timm/vit_tiny")
    'hf-hub_timm_vit_tiny'
    """
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in model)


def head_name(head: int) -> str:
    """The `map` of a head, counted from 1 as in the papers.

    >>> head_name(7)
    'head-07'
    """
    return f"head-{head:02d}"


def named_maps(
    heads: NDArray[np.float32], rollout: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The maps of a layer by their `map`: `head-01` and so on, `mean`, and `rollout` where there is one.

    heads: (heads, rows, columns) as the model gave them. Each map is (rows, columns), not negative, and sums to one
    over the patches. `mean` averages the heads' attention before it is divided by its sum, so that a head counts by
    the mass that it gives to patches. Raises WeightsError where a head gives the patches no mass at all.
    """
    raw = {head_name(number): np.asarray(head, np.float64) for number, head in enumerate(heads, start=1)}
    raw["mean"] = np.asarray(heads, np.float64).mean(axis=0)
    if rollout is not None:
        raw["rollout"] = np.asarray(rollout, np.float64)
    for name, values in raw.items():
        if not values.sum() > 0:
            raise WeightsError(f"{name} gives no patch any attention: check the model's weights.")
    return {name: values / values.sum() for name, values in raw.items()}


def write_table(
    table: pd.DataFrame, path: Path, columns: dict[str, str], *, key: str = "", remarks: Sequence[Remark] = ()
) -> None:
    """Write a table with exactly `columns` (measures may follow in those of comparisons), whole or not at all.

    The rows' order is the caller's: sorted, so that the same results are the same bytes. A parquet file carries the
    key of what it was computed from, and the remarks of its stage, so that it can be known as up to date by itself.
    """
    has_measures = any(columns is some for some in (ALIGNMENT_COLUMNS, FIXED_COLUMNS, CHANCE_COLUMNS))
    extra = [c for c in MEASURE_COLUMNS if c in table.columns] if has_measures else []
    typed = table[[*columns, *extra]].astype({k: ("object" if v == "str" else v) for k, v in columns.items()})
    part = part_of(path)
    if path.suffix == ".parquet":
        arrow = pyarrow.Table.from_pandas(typed, preserve_index=False)
        notes = {KEY: key, REMARKS: json.dumps([asdict(r) for r in remarks])}
        pyarrow.parquet.write_table(arrow.replace_schema_metadata(notes), part, compression="zstd")
    else:
        safe_texts(typed).to_csv(part, index=False, lineterminator="\n", na_rep="n/a", float_format="%.6g")
    part.replace(path)


def safe_texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts and headings such that no spreadsheet runs them; `read_table` undoes it."""
    safe = table.rename(columns=lambda name: for_spreadsheets(str(name)))
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in safe.dtypes]]:
        safe[name] = safe[name].map(lambda cell: for_spreadsheets(cell) if isinstance(cell, str) else cell)
    return safe


def key_of(path: Path) -> str:
    """The key that a parquet file was written with; empty where there is no such file, or it cannot be read."""
    try:
        return str((pyarrow.parquet.read_schema(path).metadata or {}).get(KEY.encode(), b"").decode())
    except (OSError, pyarrow.ArrowInvalid):
        return ""


def remarks_of(path: Path) -> tuple[Remark, ...]:
    """The remarks that a parquet file was written with."""
    notes = (pyarrow.parquet.read_schema(path).metadata or {}).get(REMARKS.encode(), b"[]")
    return tuple(Remark(**remark) for remark in json.loads(notes))


def read_table(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """Read a table written by `write_table`. Raises DamagedError where it is not such a one any more."""
    with reading(path):
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        types: dict[str, Any] = {k: v for k, v in columns.items() if v != "bool"}
        table = pd.read_csv(path, dtype=types, na_values=["n/a"], keep_default_na=False)
        if list(table.columns[: len(columns)]) != list(columns):
            raise ValueError("its columns are others")
        for name in table.columns[[columns.get(str(c)) == "str" for c in table.columns]]:
            table[name] = table[name].map(from_spreadsheets, na_action="ignore")
        return table.astype({k: v for k, v in columns.items() if v == "bool"})


def write_json(value: Any, path: Path) -> None:
    """Write JSON, whole or not at all; NaN becomes null."""
    part = part_of(path)
    part.write_text(json.dumps(_json(value), indent=1, ensure_ascii=False, sort_keys=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_attention(maps: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Write one array a picture, whole or not at all."""
    part = part_of(path)
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: maps[name] for name in sorted(maps)})
    part.replace(path)


def write_description(folder: Path, study: Study) -> None:
    """dataset_description.json of a BIDS derivative: what lies there, and what made it."""
    description = {
        "Name": f"{study.study.name}: gaze and attention compared",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Beholder", "Version": beholder_version()}],
    }
    write_json(description, folder / "dataset_description.json")


def read_results(study_folder: Path) -> Results:
    """What an analysis left. Raises DataError where the study has not been analysed, or only in part."""
    folder = results_folder(study_folder)
    try:
        summary = TypeAdapter(Summary).validate_json((folder / "summary.json").read_bytes())
        return Results(
            study_folder=study_folder,
            study=read_study(folder),
            summary=summary,
            fixations=read_table(folder / "fixations.parquet", FIXATION_COLUMNS),
            trials=read_table(folder / "trials.csv", TRIAL_COLUMNS),
            quality=read_table(folder / "quality.csv", QUALITY_COLUMNS),
            attention_table=read_table(folder / "attention.csv", ATTENTION_COLUMNS),
            areas=_read_areas(folder / "areas.parquet"),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{folder} has no complete analysis ({error}): run "beholder analyze {study_folder}" first.'
        ) from None


def _read_areas(path: Path) -> pd.DataFrame:
    with reading(path):
        return pd.read_parquet(path)


def part_of(path: Path) -> Path:
    """Where a file is written before it is renamed into its place; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _json(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return None if not np.isfinite(value) else float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return _json(asdict(value))
    return value
