"""Claims of `shared.clocks`: offset and drift between two clocks come back from readings of unequal care."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clocks import fit_clocks


@given(st.floats(-1e6, 1e6), st.floats(-200, 200), st.floats(0, 1e5))
def test_exact_readings_give_back_offset_and_drift(offset_s: float, drift_ppm: float, start_s: float) -> None:
    times = start_s + np.arange(0, 600, 15.0)
    pairs = [(t, t + offset_s + drift_ppm * 1e-6 * (t - start_s), t) for t in times]
    fit = fit_clocks(pairs)
    # A double holds these times to 1e-10 s; over ten minutes that is far below 0.001 ppm.
    assert fit.drift_ppm == pytest.approx(drift_ppm, abs=1e-3)
    for before_s, tracker_s, _ in pairs:
        assert fit.tracker_s(before_s) == pytest.approx(tracker_s, abs=1e-6)
    assert fit.residual_ms < 1e-3


def test_a_reading_that_took_long_hardly_counts() -> None:
    careful = [(t, t + 5.0, t + 1e-5) for t in np.arange(0, 100, 5.0)]
    # The machine was busy: 40 ms between the outer readings, the tracker's at the very end of them.
    busy = (50.0, 55.040, 50.040)
    fit = fit_clocks([*careful, busy])
    assert fit.tracker_s(50.0) == pytest.approx(55.0, abs=2e-5)
    assert fit.residual_ms == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("times", [[3.0], [3.0, 90.0], [3.0, 4.0, 5.0]])
def test_too_few_or_too_close_readings_give_no_drift(times: list[float]) -> None:
    fit = fit_clocks([(t, t + 5.0 + 1e-4 * t, t) for t in times])
    assert fit.drift_ppm == 0
    assert fit.offset_s == pytest.approx(5.0 + 1e-4 * np.mean(times))


def test_clocks_that_were_never_read_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="never read together"):
        fit_clocks([])
