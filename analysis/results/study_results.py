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

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray
from pydantic import TypeAdapter

from beholder.analysis.results.files import read_table
from beholder.analysis.results.paths import PATHS, Comparisons, attention_path, fixed_path, results_folder
from beholder.analysis.results.sums import DamagedError, reading
from beholder.analysis.results.tables import ATTENTION_COLUMNS, FIXATION_COLUMNS, QUALITY_COLUMNS, TRIAL_COLUMNS
from beholder.shared.errors import DataError, Remark
from beholder.shared.study import Study, read_study

Condition = tuple[str, str, Any]  # (column, operator, value), as pyarrow takes them


Source = Literal["samples", "recordings", "fixations"]
Family = Literal["", "dino", "dinov2", "dinov3"]


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
class Apparatus:
    """What the files say of participants and apparatus, for the report's methods; empty where they say nothing.

    `trackers` (maker, model, software) and `screens` (px, cm, distance) list each different one once; `answers` are, by
    column of participants.tsv, how many of the participants analysed gave each answer, "n/a" among them.
    """

    trackers: tuple[str, ...] = ()
    screens: tuple[str, ...] = ()
    answers: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Counts and notes that belong to no table.

    `halves`: where heads are chosen on half of the pictures, each picture's half: 0 chooses, 1 estimates; else empty.
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
    setup: Apparatus = field(default_factory=Apparatus)
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
        self,
        table: Comparisons,
        model: str,
        layer: int,
        picture: str,
        columns: Sequence[str] = (),
        where: Sequence[Condition] = (),
    ) -> pd.DataFrame:
        """The comparisons of one picture with one layer that fulfil every condition.

        columns: read where the file has them; all are read where none is named. Raises DataError where the file is
        missing or broken.
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
    ) -> pd.DataFrame:
        """All scores at once, of every model, layer and picture: for a notebook, where they fit into memory.

        at: at the sigma fixed beforehand, over sigma, or by chance (`FIXED_COLUMNS`, `ALIGNMENT_COLUMNS`,
        `CHANCE_COLUMNS`). where: conditions (column, operator, value) that the rows fulfil.
        """
        table: Comparisons = "alignment" if at == "sigmas" else at
        layers = [(m.name, layer) for m in self.summary.models for layer in m.analysed_layers]
        parts = [self.rows(table, *of, picture, where=where) for of in layers for picture in self.compared(*of)]
        filled = [part for part in parts if len(part)]
        return pd.concat(filled or parts[:1], ignore_index=True) if parts else pd.DataFrame()


def read_results(study_folder: Path) -> Results:
    """The results of an analysis. Raises DataError where the study has not been analysed, or only in part."""
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
