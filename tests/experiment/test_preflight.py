"""What preflight makes of what it is told: monitors as Qt describes them, intervals of flips, weights in the cache.

The checks with a real window stand in test_window.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.experiment import preflight
from beholder.experiment.preflight import (
    Check,
    Monitor,
    checks,
    display_scaling,
    parse_monitors,
    refresh_rate,
    size_in_cm,
    size_in_px,
    which_monitor,
)
from beholder.shared.errors import DisplayError
from beholder.shared.study import ScreenSettings

# A panel of 24 inches: 1920 x 1080 px on 53.1 x 29.9 cm.
PANEL: dict[str, Any] = {
    "name": "DP-1", "maker": "Dell", "model": "U2412M", "x": 0, "y": 0, "width": 1920, "height": 1080,
    "width_mm": 531, "height_mm": 299, "scaling": 1.0, "refresh_hz": 59.95,
}  # fmt: skip
WANTED = ScreenSettings(width_px=1920, height_px=1080, width_cm=53.0, height_cm=29.8, refresh_hz=60.0)


def one(**values: Any) -> Monitor:
    return parse_monitors(json.dumps([{**PANEL, **values}]))[0]


def test_a_plain_monitor_is_read_as_it_is() -> None:
    assert one() == Monitor("DP-1 Dell U2412M", 0, 0, 1920, 1080, 531.0, 299.0, 1.0, 59.95)


def test_a_desktop_of_125_percent_is_seen_and_its_panel_keeps_its_px() -> None:
    monitor = one(width=1536, height=864, scaling=1.25)
    assert (monitor.width_px, monitor.height_px, monitor.scaling) == (1920, 1080, 1.25)
    check = display_scaling((1920, 1080), (1920, 1080), monitor)
    assert (check.verdict, check.found) == ("unfit", "125 %")
    assert "100 %" in check.remedy or "Retina" in check.remedy


def test_a_framebuffer_larger_than_its_window_is_scaling_too() -> None:
    check = display_scaling((1440, 900), (2880, 1800), one())
    assert (check.verdict, check.found) == ("unfit", "200 %")
    assert display_scaling((1920, 1080), (1920, 1080), None).verdict == "doubtful"
    assert display_scaling((1920, 1080), (1920, 1080), one()).verdict == "fit"


def test_of_two_monitors_each_keeps_its_name_and_place() -> None:
    second = {**PANEL, "name": "HDMI-1", "model": "VG248", "x": 1920, "refresh_hz": 144.0}
    first, other = parse_monitors(json.dumps([PANEL, second]))
    assert (first.name, first.x_px, other.name, other.x_px) == ("DP-1 Dell U2412M", 0, "HDMI-1 Dell VG248", 1920)
    assert which_monitor(WANTED, 2, first) == Check("fit", "monitor", "1 of 2: DP-1 Dell U2412M")
    assert which_monitor(WANTED.model_copy(update={"monitor": 3}), 2, first).verdict == "unfit"
    assert which_monitor(WANTED, 2, None).verdict == "doubtful"
    assert which_monitor(WANTED, 1, None, "Qt is missing: install it").remedy == "Qt is missing: install it"


@pytest.mark.parametrize("silent", [{"maker": "", "model": ""}, {"width_mm": 0, "height_mm": 0}])
def test_without_edid_the_size_is_unknown_and_not_what_qt_makes_up(silent: dict[str, Any]) -> None:
    monitor = one(**silent)
    assert (monitor.width_mm, monitor.height_mm) == (None, None)
    check = size_in_cm(WANTED, monitor)
    assert check.verdict == "doubtful"
    assert "ruler" in check.remedy


@pytest.mark.parametrize("answer", ["", "qt.qpa.plugin: could not load", "[1]", "{}x", '[{"name": "DP-1"}]', "7"])
def test_what_is_no_list_of_monitors_is_a_value_error(answer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_monitors(answer)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ('import sys; sys.exit("qt.qpa.plugin: xcb-cursor0 or libxcb-cursor0 is needed to load the xcb plugin.")',
         "apt-get install libxcb-cursor0"),
        ('import sys; sys.exit("qt.qpa.xcb: could not connect to display :9\\nlibxcb-cursor0 is needed for xcb")',
         "could not connect to the screen"),
        ("import a_module_that_is_not_there", "pip install"),
        ("import os; os.abort()", "no answer"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)  # fmt: skip
def test_where_qt_fails_one_sentence_has_the_remedy(
    program: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_ASK_QT", program)
    monkeypatch.setattr(preflight, "MONITORS_TIMEOUT_S", 1.0 if "sleep" in program else 60.0)
    with pytest.raises(DisplayError, match=re.escape(sentence)) as caught:
        preflight.monitors()
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("width_mm", "height_mm", "verdict"),
    [(530, 298, "fit"), (553, 311, "fit"), (560, 315, "doubtful"), (605, 340, "doubtful"), (620, 349, "unfit"),
     (440, 248, "unfit"), (530, 330, "doubtful")],
)  # fmt: skip
def test_cm_are_doubtful_over_5_percent_and_unfit_over_15(width_mm: float, height_mm: float, verdict: str) -> None:
    assert size_in_cm(WANTED, one(width_mm=width_mm, height_mm=height_mm)).verdict == verdict


def test_px_must_be_the_studys() -> None:
    assert size_in_px(WANTED, (1920, 1080)).verdict == "fit"
    check = size_in_px(WANTED, (1536, 864))
    assert check.verdict == "unfit"
    assert "1920 x 1080" in check.remedy


def flips(rate_hz: float, sd_s: float = 0.0002, n: int = 120) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 1 / rate_hz + sd_s * np.random.default_rng(5).standard_normal(n)


def verdicts(found: list[Check]) -> list[tuple[str, str]]:
    return [(check.what, check.verdict) for check in found]


def test_regular_flips_at_the_studys_rate_are_fit() -> None:
    assert verdicts(refresh_rate(flips(60), 60, 59.95)) == [("refresh rate", "fit"), ("frame intervals", "fit")]
    assert verdicts(refresh_rate(flips(59.0), 60, None))[0] == ("refresh rate", "fit")


@pytest.mark.parametrize(("rate_hz", "told_hz"), [(58.5, 58.5), (75, 75), (30, 30), (144, 144), (50, None)])
def test_a_rate_2_percent_off_is_unfit_and_named(rate_hz: float, told_hz: float | None) -> None:
    found = refresh_rate(flips(rate_hz, 1e-5), 60, told_hz)
    assert verdicts(found) == [("refresh rate", "unfit"), ("frame intervals", "fit")]
    assert float(found[0].found.split()[0]) == pytest.approx(rate_hz, rel=0.002)
    assert "60 Hz" in found[0].remedy


@pytest.mark.parametrize(("rate_hz", "told_hz"), [(2000, 60), (200, 60), (200, None), (90, None), (300, 144)])
def test_flips_that_wait_for_nothing_are_unfit(rate_hz: float, told_hz: float | None) -> None:
    found = refresh_rate(flips(rate_hz, 1e-5), 60, told_hz)
    assert verdicts(found) == [("refresh rate", "unfit")]
    assert "no vertical sync" in found[0].found


def test_jitter_over_1_ms_and_any_missed_frame_are_doubtful() -> None:
    assert verdicts(refresh_rate(flips(60, 0.0013), 60, 60))[1] == ("frame intervals", "doubtful")
    one_missed = flips(60)
    one_missed[50] = 2 / 60
    found = refresh_rate(one_missed, 60, 60)
    assert verdicts(found) == [("refresh rate", "fit"), ("frame intervals", "doubtful")]
    assert "1 of 120 missed" in found[1].found


def test_weights_are_looked_for_in_the_cache_and_their_want_stops_nothing(
    make_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def weights() -> Check:
        (line,) = [check for check in checks(folder) if check.what == "weights"]
        return line

    folder = make_study()
    assert weights().verdict == "doubtful"
    assert "not needed to record" in weights().remedy
    kept = tmp_path / "hub" / "models--timm--vit_base_patch8_224.dino"
    (kept / "snapshots" / "abc").mkdir(parents=True)
    assert weights().verdict == "doubtful"
    (kept / "snapshots" / "abc" / "model.safetensors").write_bytes(b"")
    assert weights() == Check("fit", "weights", "vit_base_patch8_224.dino")
    kept.rename(kept.with_name("models--timm--vit_base_patch8_224x.dino"))
    assert weights().verdict == "doubtful"
