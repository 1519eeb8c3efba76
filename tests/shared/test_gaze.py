"""Samples: what is missing is NaN, and a mean of eyes is over those seen."""

import numpy as np

from beholder.shared.gaze import no_samples, position


def test_the_mean_of_both_eyes_is_of_those_that_were_seen() -> None:
    samples = no_samples(3)
    samples["left_x_px"], samples["right_x_px"] = [1, 1, np.nan], [3, np.nan, np.nan]
    np.testing.assert_array_equal(position(samples, "mean")[0], [2, 1, np.nan])
    np.testing.assert_array_equal(position(samples, "left")[0], [1, 1, np.nan])
