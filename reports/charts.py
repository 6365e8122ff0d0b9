"""The report's drawings: SVG from matplotlib, with text as text, in colours that the page's style sheet sets.

A fixed palette stands for classes of the page (`_INK` for text, and so on), so that one drawing serves light
and dark. No script, no font file, no reference to anything outside.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reports.model import BandPoint, Line, MetricReport
from reports.words import amount, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.2, 2.5  # inches; the page scales them
# Placeholders, one per role; see `_themed`.
_ROLES: Final = {
    "#010101": "var(--ink)",
    "#020202": "var(--grid)",
    "#030303": "var(--canary)",
    "#040404": "var(--baseline)",
    "#050505": "var(--bad)",
    "#060606": "var(--good)",
}
_INK, _GRID, _CANARY, _BASELINE, _BAD, _GOOD = _ROLES
_WIDEST = 4.0  # a bound further out than this many times the tolerance leaves the picture


def band_chart(metric: MetricReport) -> str:
    """The difference and its shrinking confidence band, look by look, against margin and tolerance."""
    figure, axes = _blank("canary against baseline")
    tolerance = metric.tolerance or 0.25
    low, high = _range(metric.band, tolerance)
    minutes = [point.minute for point in metric.band]
    axes.axhspan(tolerance, high, color=_BAD, alpha=0.10, linewidth=0)
    axes.axhline(tolerance, color=_BAD, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.text(1.0, tolerance, f"tolerance {percent(tolerance)} ", **_edge(axes), color=_BAD)
    axes.axhline(0, color=_GRID, linewidth=1)
    lows = [_cut(point.low, low, high) if point.low is not None else low for point in metric.band]
    highs = [_cut(point.high, low, high) if point.high is not None else high for point in metric.band]
    axes.fill_between(minutes, lows, highs, color=_CANARY, alpha=0.22, linewidth=0)
    axes.plot(minutes, highs, color=_CANARY, linewidth=0.9)
    axes.plot(minutes, lows, color=_CANARY, linewidth=0.9)
    known = [(point.minute, point.estimate) for point in metric.band if point.estimate is not None]
    axes.plot(*_columns(known), color=_CANARY, linewidth=2, marker="o", ms=3)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(lambda value, _place: percent(value).replace(".0", ""))
    _frame(axes, metric.band)
    return _svg(figure, "difference of the canary from the baseline, with its confidence band")


def sides_chart(metric: MetricReport) -> str:
    """Both sides over the same minutes."""
    figure, axes = _blank("both sides over time")
    for line, colour, label in (
        (metric.baseline, _BASELINE, "baseline"),
        (metric.canary, _CANARY, "canary"),
    ):
        _draw(axes, line, colour, label)
    unit = metric.verdict.unit
    axes.yaxis.set_major_formatter(lambda value, _place: amount(value, unit))
    axes.set_ylim(bottom=0)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, ncols=2, labelcolor=_INK, fontsize=8
    )
    axes.set_xlabel("minutes", color=_INK, fontsize=8)
    return _svg(figure, "canary and baseline over time")


def _draw(axes: "Axes", line: Line, colour: str, label: str) -> None:
    values = [float("nan") if value is None else value for value in line.values]
    axes.plot(line.minutes, values, color=colour, linewidth=1.6, label=label, marker="o", ms=2)


def _blank(title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - numpy and fonts take a second, once

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.patch.set_alpha(0)
    figure.patch.set_alpha(0)
    return figure, axes


def _frame(axes: "Axes", band: Sequence[BandPoint]) -> None:
    axes.set_xlabel("minutes", color=_INK, fontsize=8)
    if len(band) == 1:
        axes.set_xlim(band[0].minute - 1, band[0].minute + 1)


def _edge(axes: "Axes") -> dict[str, Any]:
    return {
        "transform": axes.get_yaxis_transform(),
        "ha": "right",
        "va": "bottom",
        "fontsize": 8,
    }


def _range(band: Sequence[BandPoint], tolerance: float) -> tuple[float, float]:
    """What the picture shows: the tolerance and the band, but no bound that is far out of interest."""
    known = [point for point in band if point.estimate is not None]
    top = [1.2 * (point.estimate or 0) for point in known] + [
        min(point.high, _WIDEST * tolerance) for point in band if point.high is not None
    ]
    bottom = [1.2 * (point.estimate or 0) for point in known] + [
        max(point.low, -_WIDEST * tolerance) for point in band if point.low is not None
    ]
    return max(-1.0, min([-0.5 * tolerance, *bottom]) - 0.05 * tolerance), max([1.5 * tolerance, *top])


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _cut(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _svg(figure: "Figure", description: str) -> str:
    """The drawing as an element of a page: no prolog, scaled by the page, told to those who cannot see."""
    import matplotlib as mpl  # noqa: PLC0415 - see _blank

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hotswap", "font.family": "sans-serif"}):
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _themed(text.getvalue(), description)


def _themed(svg: str, description: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt" width="[\d.]+pt"', "", svg, count=1)
    for placeholder, colour in _ROLES.items():
        svg = svg.replace(placeholder, colour)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)
