"""The screen's geometry, against ETDQualitizer and by going there and back."""

import numpy as np
from ETDQualitizer import ScreenConfiguration
from hypothesis import given
from hypothesis import strategies as st

from beholder.shared.screen import Screen

SCREEN = Screen(1920, 1080, 53.0, 29.8, 60.0)
inside_x = st.floats(0, 1920)
inside_y = st.floats(0, 1080)


@given(x=inside_x, y=inside_y)
def test_degrees_are_those_of_etdqualitizer(x: float, y: float) -> None:
    oracle = ScreenConfiguration(530.0, 298.0, 1920, 1080, 600.0)
    # Its origin is the middle of the screen, ours the upper left corner.
    azimuth, elevation = oracle.pix_to_deg(x - 960, y - 540)
    ours = SCREEN.to_degrees(np.array(x), np.array(y))
    np.testing.assert_allclose(ours, (azimuth, elevation), atol=1e-9)


@given(x=inside_x, y=inside_y)
def test_to_degrees_and_back_is_the_same_place(x: float, y: float) -> None:
    back = SCREEN.to_px(*SCREEN.to_degrees(np.array(x), np.array(y)))
    np.testing.assert_allclose(back, (x, y), atol=1e-6)


@given(x=inside_x, y=inside_y, to_x=inside_x, to_y=inside_y)
def test_an_angle_is_the_arc_between_two_directions(x: float, y: float, to_x: float, to_y: float) -> None:
    def direction(px: float, py: float) -> np.ndarray:
        v = np.array([(px / 1920 - 0.5) * 53.0, (py / 1080 - 0.5) * 29.8, 60.0])
        return v / np.linalg.norm(v)

    chord = np.linalg.norm(direction(x, y) - direction(to_x, to_y))
    expected = np.degrees(2 * np.arcsin(chord / 2))
    np.testing.assert_allclose(SCREEN.angle_deg(np.array(x), np.array(y), to_x, to_y), expected, atol=1e-6)


def test_missing_gaze_stays_missing() -> None:
    assert np.isnan(SCREEN.to_degrees(np.array([np.nan]), np.array([5.0]))[0]).all()
    assert np.isnan(SCREEN.angle_deg(np.array([np.nan]), np.array([5.0]), 0.0, 0.0)).all()


@given(width=st.integers(10, 5000), height=st.integers(10, 5000), size=st.floats(1, 40))
def test_a_placed_picture_is_centred_keeps_its_shape_and_spans_its_angle(width: int, height: int, size: float) -> None:
    rect = SCREEN.place(width, height, size)
    assert rect.centre_px == SCREEN.centre_px
    longer_px = max(rect.width_px, rect.height_px)
    cm_per_px = 53.0 / 1920
    spanned = np.degrees(2 * np.arctan(longer_px * cm_per_px / 2 / 60.0))
    assert abs(spanned - size) < 0.06  # rounded to an even number of px, about a fortieth of a degree each
    assert abs(rect.width_px * height - rect.height_px * width) <= 2.2 * max(width, height)
