"""The page in a browser: what it draws is what Python draws, its controls work by keyboard, it prints and it fits.

Chromium is the system's (apt install chromium); without it these are skipped, but not where CI says a screen is there.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from beholder.analysis.report.explorer import people_map, shown_gaze
from beholder.analysis.report.images import diverging_palette, palette
from beholder.analysis.report.page import write_report
from beholder.analysis.results.paths import results_folder
from beholder.analysis.results.study_results import Results
from beholder.shared.stimuli.folder import read_stimuli

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("BEHOLDER_NEEDS_SCREEN"):
            pytest.fail("no Chromium: apt install chromium")
        pytest.skip("no Chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(made_up_folder: Path) -> Path:
    """The page of the made-up study."""
    return write_report(made_up_folder)


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The page, opened from the disk; that it says nothing in the console and asks for nothing is checked after."""
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    opened.locator(".object").first.scroll_into_view_if_needed()  # maps out of sight wait
    opened.wait_for_timeout(200)
    yield opened
    opened.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


def pixels(page: Page, image: str) -> np.ndarray:
    """Red, green, blue and opacity of a map that the page shows."""
    href = page.locator(f"#{image}").get_attribute("href")
    assert href
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))).convert("RGBA")).astype(int)


def levels(rgba: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Where on the palette each pixel lies; a canvas rounds colours that are nearly transparent."""
    palette_ = np.rint(colours * 255)
    seen = np.concatenate([rgba[..., :3] * rgba[..., 3:] / 255, rgba[..., 3:]], axis=-1)
    known = np.concatenate([palette_[:, :3] * palette_[:, 3:] / 255, palette_[:, 3:]], axis=-1)
    return np.abs(seen[..., None, :] - known).sum(axis=-1).argmin(axis=-1)


def choose(page: Page, index: int, side: str = "a") -> str:
    """Choose an option by its place; its label."""
    page.select_option(f"#head-{side}", index=index)
    page.wait_for_timeout(100)
    return page.locator(f"#head-{side} option").nth(index).get_attribute("data-label") or ""


def test_peoples_map_at_any_sigma_is_what_python_makes(page: Page, results: Results) -> None:
    stimulus = read_stimuli(results.study_folder / "stimuli")[0][0]
    top = page.evaluate("data.top")
    sigmas = results.study.maps.sigmas()
    columns = next(iter(results.attention(results.summary.models[0].name, 12).values())).shape[-1]
    gaze = shown_gaze(results, stimulus, patches_across=columns)
    slider = page.locator("#people-sigma")
    slider.focus()
    slider.press("Home")
    drawn = []
    for sigma in sigmas:
        page.wait_for_timeout(100)
        expected = people_map(gaze, sigma)
        assert expected is not None
        level = np.clip(np.floor(expected / top * 63 + 0.5), 0, 63)
        found = levels(pixels(page, "people-0"), palette())
        # Positions are written to tenths of a px: a value near a step may fall on its other side.
        assert np.abs(found - level).max() <= 2
        assert (found == level).mean() > 0.9
        drawn.append(found)
        assert (page.locator("#sigma-text").text_content() or "").startswith(f"{sigma:g}")
        slider.press("ArrowRight")
    assert all(not np.array_equal(a, b) for a, b in pairwise(drawn))


def test_a_chosen_head_is_drawn_with_its_score_at_that_sigma(page: Page, results: Results) -> None:
    model, layer = results.summary.models[0].name, 12
    stimulus = read_stimuli(results.study_folder / "stimuli")[0][0]
    top = page.evaluate("data.top")
    label = choose(page, 1)
    assert label.startswith("head 2")
    attention = results.attention(model, layer)[stimulus.name][1].astype(float)
    relative = attention * attention.size / attention.sum()
    found = levels(pixels(page, "map-a-0"), palette())
    assert np.abs(found - np.clip(np.floor(relative / top * 63 + 0.5), 0, 63)).max() <= 1
    page.locator("#people-sigma").focus()
    page.locator("#people-sigma").press("End")
    page.wait_for_timeout(100)
    sigma = results.study.maps.sigmas()[-1]
    where = [("participant", "!=", "pooled"), ("map", "==", "head-02"), ("sigma", "==", sigma)]
    rows = results.rows("alignment", model, layer, stimulus.name, where=where)
    score = f"{rows[results.study.alignment.primary].mean():.2f}".replace("-", "\u2212")
    words = page.locator("#words-a-0").text_content() or ""
    assert words.startswith(label) and words.endswith(f" {score}")
    described = page.locator("svg:has(#map-a-0)").get_attribute("aria-label")
    assert described == f"Attention of {label}. {words.removeprefix(label + ', ')}"


def test_beside_a_score_that_has_no_sigma_stands_one_that_has(browser: Browser, nss_folder: Path) -> None:
    page = browser.new_page()
    page.goto(write_report(nss_folder).as_uri())
    page.locator(".object").first.scroll_into_view_if_needed()
    said = []
    for key in (None, "End"):
        if key:
            page.locator("#people-sigma").focus()
            page.locator("#people-sigma").press(key)
        page.wait_for_timeout(200)
        said.append(page.locator("#words-a-0").text_content() or "")
    page.close()
    assert said[0].startswith("head 4, NSS ") and said[1].startswith("head 4, KL ")


def test_the_difference_follows_the_head_and_gives_way_to_another_head(page: Page) -> None:
    first = levels(pixels(page, "map-b-0"), diverging_palette())
    label = choose(page, 1)
    assert page.locator("#words-b-0").text_content() == f"people minus {label}"
    assert not np.array_equal(first, levels(pixels(page, "map-b-0"), diverging_palette()))
    other = choose(page, 3, "b")  # the first option is the difference
    assert (page.locator("#words-b-0").text_content() or "").startswith(other)
    choose(page, 2)
    assert np.array_equal(pixels(page, "map-a-0"), pixels(page, "map-b-0"))


def test_every_control_is_reached_and_worked_by_keyboard(page: Page) -> None:
    reached = []
    for _ in range(400):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.id || document.activeElement.tagName")
        if name == "BODY":
            break
        reached.append(name)
        if name == "show-fixations":
            page.keyboard.press("Space")
    for control in ("head-a", "head-b", "people-sigma", "show-fixations", "BUTTON", "SUMMARY", "A"):
        assert control in reached
    assert page.locator(".fix").first.evaluate("e => getComputedStyle(e).display") != "none"


def test_everything_has_a_name_for_a_screen_reader(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('img, svg[role=img], select, input, button, section, table')]
        .filter(e => !(e.getAttribute('alt') || e.getAttribute('aria-label') || e.labels?.length ||
                       e.textContent.trim() || document.getElementById(e.getAttribute('aria-labelledby'))))
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


def test_it_fits_a_telephone(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(report.as_uri())
    wide = page.evaluate(
        "[document.documentElement.scrollWidth, [...document.querySelectorAll('main *')].filter(e => "
        "!e.closest('.scroll, pre, svg') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.tagName + '.' + e.className)]"
    )
    page.close()
    assert wide == [390, []]


def test_tables_that_may_wrap_are_not_cut_at_the_right_edge(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(report.as_uri())
    found = page.evaluate(
        "[...document.querySelectorAll('.wraps .scroll')].map(e => [e.parentElement.id, e.scrollWidth - e.clientWidth])"
    )
    page.close()
    assert found == [["table-best-sigma", 0], ["table-claims-carrasco-2025", 0]]


def luminance(colour: str) -> float:
    """Relative luminance of rgb(...) after WCAG 2.2."""
    parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(browser: Browser, report: Path, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(report.as_uri())
    paper = luminance(page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"))
    for what in ("body", "h1", "figcaption", "nav a", "figcaption a", "td", "th", "button.copy"):
        ink = luminance(page.locator(what).first.evaluate("e => getComputedStyle(e).color"))
        low, high = sorted((ink, paper))
        assert (high + 0.05) / (low + 0.05) >= 4.5, what
    page.close()
    assert (paper > 0.5) == (scheme == "light")


def test_it_prints_with_the_maps_that_were_chosen(page: Page, made_up_folder: Path) -> None:
    choose(page, 1)
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF") and len(printed) > 50_000
    # What was out of sight was drawn for the paper, too.
    last = page.evaluate("data.objects.length") - 1
    assert (page.locator(f"#words-a-{last}").text_content() or "").startswith("head 2")
    assert (results_folder(made_up_folder) / "report.html").stat().st_size < 15_000_000
