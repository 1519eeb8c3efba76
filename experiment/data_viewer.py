"""What SR Research's Data Viewer reads in an EDF: messages that say which trial it is, and what stood where.

Pure text; the session hands it to the tracker, and a tracker without a file of messages ignores it. Source: Data Viewer
User's Manual, "Protocol for EyeLink Data to Viewer Integration". A region is given as its bounding box, in which Data
Viewer counts; the analysis counts in the region itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from beholder.shared.screen import Rect
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.stimuli.stimulus import Stimulus

# How a trial ended, as SR Research's `TRIAL_RESULT` counts it.
TRIAL_RESULTS = {"complete": 0, "repeated": 1, "skipped": 2, "aborted": 3, "late": 4}


def trial_begins(stimulus: Stimulus, rect: Rect, background: str, variables: Mapping[str, object]) -> Iterator[str]:
    """The messages that follow TRIALID: the background's colour, the picture's regions and the trial's variables.

    rect: where the picture will stand, px of the screen. Variables without a value are left out.
    """
    yield cleared(background)
    for label, (left, top, right, bottom) in _boxes(stimulus.mask, rect).items() if stimulus.mask else ():
        part = stimulus.parts.get(label, f"region {label}")
        yield f"!V IAREA RECTANGLE {label} {left} {top} {right} {bottom} {_one_word(part)}"
    yield from _variables(variables)


def picture_stands(stimulus: Stimulus, rect: Rect) -> str:
    """The message for the picture's onset. Its path is relative to the published EDF, in sourcedata/sub-LABEL."""
    x_px, y_px = rect.centre_px
    file = f"../../stimuli/{stimulus.stim_file}"
    return f"!V IMGLOAD CENTER {file} {x_px:.0f} {y_px:.0f} {rect.width_px:.0f} {rect.height_px:.0f}"


def cleared(background: str) -> str:
    """The message that the screen shows nothing but its background, #rrggbb."""
    red, green, blue = (int(background[i : i + 2], 16) for i in (1, 3, 5))
    return f"!V CLEAR {red} {green} {blue}"


def trial_ends(status: str, variables: Mapping[str, object]) -> Iterator[str]:
    """The variables known only at a trial's end, and the message that closes it; `status` is from `TRIAL_RESULTS`."""
    yield from _variables(variables)
    yield f"TRIAL_RESULT {TRIAL_RESULTS[status]}"


def _variables(variables: Mapping[str, object]) -> Iterator[str]:
    for name, value in variables.items():
        if value not in (None, ""):
            yield f"!V TRIAL_VAR {name} {value}"


@lru_cache(maxsize=1024)
def _boxes(mask: Path, rect: Rect) -> dict[int, tuple[int, int, int, int]]:
    """The bounding box of each label: left, top, right and bottom in px of the screen."""
    labels = read_labels(mask)
    height_px, width_px = labels.shape
    boxes = {}
    for label in np.unique(labels[labels > 0]).tolist():
        rows, columns = np.flatnonzero((labels == label).any(axis=1)), np.flatnonzero((labels == label).any(axis=0))
        x_px = rect.x_px + rect.width_px / width_px * np.array([columns[0], columns[-1] + 1])
        y_px = rect.y_px + rect.height_px / height_px * np.array([rows[0], rows[-1] + 1])
        (left, right), (top, bottom) = np.rint(x_px).astype(int).tolist(), np.rint(y_px).astype(int).tolist()
        boxes[label] = left, top, right, bottom
    return boxes


def _one_word(name: str) -> str:
    return "_".join(name.split())
