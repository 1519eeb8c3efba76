"""The screen's geometry: pixels, centimetres and degrees of visual angle, and where a picture stands on it.

Pixel coordinates are continuous, their origin is the upper left corner of the screen, y grows downwards; the
middle of the first pixel is (0.5, 0.5). Angles are Fick angles seen from a point straight in front of the middle of
the screen, as in ETDQualitizer: azimuth grows to the right, elevation downwards, both 0 in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, degrees, radians, tan

import numpy as np

from beholder.shared.arrays import FloatArray

FARTHEST_PX = 1e6  # from a screen's or a picture's corner; beyond it a number is no position


@dataclass(frozen=True)
class Rect:
    """A rectangle on the screen in px: its upper left corner, its width and its height."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float

    @property
    def centre_px(self) -> tuple[float, float]:
        """The middle of the rectangle, in px of the screen."""
        return self.x_px + self.width_px / 2, self.y_px + self.height_px / 2


@dataclass(frozen=True)
class Screen:
    """A flat screen looked at from straight in front of its middle."""

    width_px: int
    height_px: int
    width_cm: float
    height_cm: float
    distance_cm: float

    @property
    def centre_px(self) -> tuple[float, float]:
        """The middle of the screen, in px."""
        return self.width_px / 2, self.height_px / 2

    @property
    def px_per_deg(self) -> float:
        """Pixels that one degree spans at the middle of the screen, horizontally.

        >>> round(Screen(1920, 1080, 53.0, 29.8, 60.0).px_per_deg, 2)
        37.94
        """
        return self.distance_cm * tan(radians(1.0)) * self.width_px / self.width_cm

    def to_degrees(self, x_px: FloatArray, y_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Fick angles (azimuth, elevation) in degrees of positions in px; any shape, NaN stays NaN."""
        x_cm = (np.asarray(x_px, float) / self.width_px - 0.5) * self.width_cm
        y_cm = (np.asarray(y_px, float) / self.height_px - 0.5) * self.height_cm
        azimuth = np.degrees(np.arctan2(x_cm, self.distance_cm))
        elevation = np.degrees(np.arctan2(y_cm, np.hypot(self.distance_cm, x_cm)))
        return azimuth, elevation

    def to_px(self, azimuth_deg: FloatArray, elevation_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Positions (x, y) in px of Fick angles in degrees: the inverse of `to_degrees`."""
        x_cm = self.distance_cm * np.tan(np.radians(azimuth_deg))
        y_cm = np.hypot(self.distance_cm, x_cm) * np.tan(np.radians(elevation_deg))
        x_px = (x_cm / self.width_cm + 0.5) * self.width_px
        y_px = (y_cm / self.height_cm + 0.5) * self.height_px
        return x_px, y_px

    def angle_deg(self, x_px: FloatArray, y_px: FloatArray, to_x_px: float, to_y_px: float) -> FloatArray:
        """Angle in degrees between the directions of (x_px, y_px) and of one point; any shape, NaN stays NaN."""
        a = self._directions(np.asarray(x_px, float), np.asarray(y_px, float))
        b = self._directions(np.asarray(to_x_px, float), np.asarray(to_y_px, float))
        cross = np.linalg.norm(np.cross(a, np.broadcast_to(b, a.shape)), axis=-1)
        angle: FloatArray = np.degrees(np.arctan2(cross, (a * b).sum(axis=-1)))
        return angle

    def _directions(self, x_px: FloatArray, y_px: FloatArray) -> FloatArray:
        x_cm = (x_px / self.width_px - 0.5) * self.width_cm
        y_cm = (y_px / self.height_px - 0.5) * self.height_cm
        return np.stack([x_cm, y_cm, np.full_like(x_cm, self.distance_cm)], axis=-1)

    def place(self, width_px: int, height_px: int, size_deg: float) -> Rect:
        """Where a picture of the given pixels stands: centred, its longer side spanning `size_deg`.

        The longer side of the rectangle is 2 d tan(size / 2); the aspect is kept in centimetres.

        >>> Screen(1000, 1000, 50.0, 50.0, 60.0).place(800, 600, 20.0)
        Rect(x_px=288.0, y_px=341.0, width_px=424.0, height_px=318.0)
        """
        longer_cm = 2 * self.distance_cm * tan(radians(size_deg) / 2)
        scale_cm = longer_cm / max(width_px, height_px)
        # Whole, even numbers of px keep the rectangle on the pixel grid of a screen with even sides.
        width = 2 * round(width_px * scale_cm / self.width_cm * self.width_px / 2)
        height = 2 * round(height_px * scale_cm / self.height_cm * self.height_px / 2)
        return Rect((self.width_px - width) / 2, (self.height_px - height) / 2, float(width), float(height))

    def width_deg(self, rect: Rect) -> float:
        """Visual angle in degrees that the width of a centred rectangle spans."""
        return degrees(2 * atan(rect.width_px / self.width_px * self.width_cm / 2 / self.distance_cm))
