"""The house style: fonts, colours and sizes, and figures as SVG and PNG.

`to_svg` and `to_png` give the same bytes for the same numbers. Colours are perceptually even or from the Okabe-Ito set,
safe for colour-blind readers. Text in SVG stays text, so that a journal can set it in its own font.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure

INK, SOFT, FAINT = "#1d1f24", "#6b7280", "#c9cdd4"


BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#a8578a"


FONT = "DejaVu Sans"  # comes with matplotlib, so a figure is laid out alike everywhere


SVG_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


STYLE: dict[Any, Any] = {
    "font.family": [FONT],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": SOFT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # a study's names may hold dollar signs, and what stands between two is no formula
    "xtick.color": SOFT,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.labelcolor": SOFT,
    "grid.color": "#e8eaee",
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "beholder",
    "path.simplify": True,
}


WIDTH_IN = 7.2


P = ParamSpec("P")


Drawn = TypeVar("Drawn", Figure, Figure | None)


def in_house_style(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Draw with the house style, whatever the reader's matplotlibrc says."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        with mpl.rc_context(_whole_style()):
            return draw(*args, **kwargs)

    return styled


def _whole_style() -> dict[Any, Any]:
    """The style over matplotlib's own defaults, not over the reader's; the backend stays as it is."""
    return {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")} | STYLE


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date; text set in the reader's own interface font."""
    buffer = io.BytesIO()
    with mpl.rc_context(_whole_style()):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().replace(f"'{FONT}'".encode(), SVG_FONTS.encode())


def to_png(figure: Figure) -> bytes:
    """The figure as PNG at 300 dots per inch, without the program's name."""
    buffer = io.BytesIO()
    with mpl.rc_context(_whole_style()):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
