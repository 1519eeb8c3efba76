"""What `import beholder` offers that its packages have in another form: for notebooks, where folders are strings,
pictures arrays and results tables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from beholder.analysis.attention import extraction, models
from beholder.analysis.findings.readings import Findings
from beholder.analysis.findings.readings import read_findings as findings_of
from beholder.analysis.gaze.detection import detect
from beholder.analysis.pipeline.analyze import analyze as bring_up_to_date
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results
from beholder.analysis.results.study_results import read_results as results_of
from beholder.analysis.statistics.permutation import AboveChance, above_chance
from beholder.shared.arrays import FloatArray
from beholder.shared.dataset import reading
from beholder.shared.errors import DataError
from beholder.shared.labels import label
from beholder.shared.screen import Screen
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.study import FixationSettings, Study
from beholder.shared.study import read_study as study_of

Folder = str | os.PathLike[str]


def analyze(
    study_folder: Folder,
    models: Sequence[str] = (),
    *,
    weights: Folder | None = None,
    workers: int | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Results:
    """Bring the results of a study up to date, report included, and read them; computes only what is not.

    models: names in timm, or "offline", instead of those in study.toml. weights: a file for the one model. workers:
    processes, by default one a core. device: "cpu" or "cuda". progress(stage, done, of all).
    Raises BeholderError with nothing half-written where data, settings or weights cannot be used.
    """
    bring_up_to_date(
        Path(study_folder),
        model_names=models,
        weights=None if weights is None else Path(weights),
        workers=workers,
        device=device,
        progress=progress,
    )
    return read_results(study_folder)


def read_results(study_folder: Folder) -> Results:
    """What an analysis found of a study, as tables. Raises DataError where there is none, or one that is not whole."""
    return results_of(Path(study_folder))


def read_findings(study_folder: Folder) -> Findings:
    """What may be said of a study: intervals, tests and the head that is named, as dataclasses.

    Raises DataError where there is no analysis, or one of another version.
    """
    return findings_of(results_folder(Path(study_folder)))


def read_study(study_folder: Folder) -> Study:
    """The settings of a study. Raises StudyError, naming the key and its rule, where study.toml breaks one."""
    return study_of(Path(study_folder))


def read_recording(study_folder: Folder, participant: str, run: int = 1) -> reading.Recording:
    """Gaze and events of one run of a participant, whose label may begin with "sub-".

    Raises DataError where there is no such run, or where a file breaks its own description.
    """
    who, there = label(participant), reading.runs(Path(study_folder))
    found = next((r for r in there if (r.participant, r.run) == (who, run)), None)
    if found is None:
        known = ", ".join(f"{r.participant} run {r.run}" for r in there) or "none"
        raise DataError(f"{study_folder} has no gaze of participant {who}, run {run}; there is: {known}.")
    return reading.read_recording(found)


def load_model(name: str, weights: Folder | None = None) -> models.Model:
    """A Vision Transformer with its published weights, or those of a file.

    name: a name in timm, or "offline", which needs no network. weights: .safetensors, or .pth of tensors only.
    Raises WeightsError where the name is unknown or no plain ViT, or where the weights cannot be had or do not fit.
    """
    return models.load(name, None if weights is None else Path(weights))


def attend(
    model: models.Model,
    picture: NDArray[np.uint8] | Image.Image | Folder,
    layers: Sequence[int] | None = None,
    longer_side: int | None = None,
    *,
    device: str = "cpu",
) -> extraction.Attention:
    """Attention of each head to the patches of a picture, after the softmax.

    picture: (height, width, 3) of 0 to 255 in sRGB, (height, width) in grey, a PIL image or a file. layers: numbers
    from 1 (next to the input); all where left out. longer_side: of the network's input in px, rounded to whole patches;
    the side that the checkpoint was made for where left out.
    The result's `heads` are (layers, heads, rows, columns). Raises ValueError for an array of another form,
    WeightsError where there is no such layer, DataError where the picture cannot be read.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,)):
            raise ValueError(
                "a picture is an array of uint8, (height, width, 3) or (height, width); this one is "
                f"{picture.dtype}, {picture.shape}"
            )
        image = Image.fromarray(picture)
    elif isinstance(picture, Image.Image):
        image = picture
    else:
        image = open_picture(Path(picture))
    wanted = list(range(1, model.n_layers + 1)) if layers is None else layers
    return extraction.attend(model, image, wanted, longer_side, device=device)


def detect_fixations(
    time_s: FloatArray,
    x_px: FloatArray,
    y_px: FloatArray,
    screen: Screen,
    rate_hz: float,
    settings: FixationSettings | None = None,
) -> pd.DataFrame:
    """Fixations in samples, in order: onset_s, duration_s, and the centroid x_px, y_px on the screen.

    time_s, x_px, y_px: (n,), times rising, positions NaN where the eye was not seen. settings: of the study's section
    [fixations]; its defaults where left out. Methods and sources: `analysis/gaze/detection.py`.
    """
    chosen = FixationSettings() if settings is None else settings
    found = detect(np.asarray(time_s, float), np.asarray(x_px, float), np.asarray(y_px, float), screen, rate_hz, chosen)
    columns = ["onset_s", "duration_s", "x_px", "y_px"]
    return pd.DataFrame([[getattr(fixation, name) for name in columns] for fixation in found], columns=columns)


def permutation_test(
    scores: FloatArray, closer: Literal["higher", "lower"] = "higher", permutations: int = 2000, seed: int = 1
) -> AboveChance:
    """Whether any map is closer to people on the pictures they saw than on others, over all maps at once.

    scores: (participants, pictures of gaze, pictures of attention, maps), pictures in the same order in both, NaN where
    a participant did not see a picture. closer: whether higher or lower scores are.
    Source: Westfall and Young 1993, ISBN 978-0-471-55761-6.
    """
    rng = np.random.default_rng(seed)
    return above_chance(np.asarray(scores, float), 1 if closer == "higher" else -1, rng, permutations)
