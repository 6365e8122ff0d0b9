"""Tables and figures of the judge's benchmark, for docs/judge.md."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

JUDGES = ("sequential", "mann-whitney", "threshold")
COLOURS = {"sequential": "#1b7f5c", "mann-whitney": "#c46a1b", "threshold": "#7a7f87"}
BEGIN, END = "<!-- bench-judge: begin -->", "<!-- bench-judge: end -->"
CURVES = (
    "latency +10 %",
    "latency +50 %",
    "errors ×2",
    "errors ×10, 60 rpm",
    "memory +50 %",
    "latency +10 % from minute 30 on",
)
Rows = Sequence[dict[str, Any]]


def write(rows: Rows, docs: Path) -> None:
    """The tables into judge.md, the figures beside it."""
    mpl.rcParams["svg.hashsalt"] = "hotswap"
    (docs / "judge").mkdir(exist_ok=True)
    page = docs / "judge.md"
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}")
    alarms(rows, docs / "judge" / "false-alarms.svg")
    detection(rows, docs / "judge" / "detection.svg")


def tables(rows: Rows) -> str:
    """Three tables: nulls, effects, passes."""
    nulls = [row for row in rows if row["bars"]["alarms"] is not None]
    effects = [row for row in rows if row["metric"] and row["bars"]["false_passes"] is None]
    edges = [row for row in rows if row["bars"]["false_passes"] is not None]
    return "\n\n".join(
        (
            "### False alarms over the whole rollout (any of four metrics), %",
            _table(nulls, ("bar", "at most"), _alarm, lambda row: f"{row['bars']['alarms']:g}"),
            "### Regressions found within the hour, % @ median look (a look is 5 minutes)",
            _table(effects, ("bar", "at least"), _found, _wanted),
            "### Wrong passes: the true regression is the tolerance itself, % of rollouts",
            _passes(edges),
            "### Passes of a harmless release by the end of the hour, % @ median look",
            _certificates([row for row in nulls if row["scenario"] in _HARMLESS]),
        )
    )


_HARMLESS = ("iid", "diurnal", "diurnal, 60 rpm", "diurnal, 6000 rpm", "harsh")


def _table(rows: Rows, bar: tuple[str, str], cell: Callable[[Any], str], wanted: Callable[[Any], str]) -> str:
    lines = [f"| scenario | {' | '.join(JUDGES)} | {bar[1]} |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        cells = [cell(row["judges"][judge]["target"]) for judge in JUDGES]
        cells[0] = f"**{cells[0]}**"
        lines.append(f"| {row['scenario']} | {' | '.join(cells)} | {wanted(row)} |")
    return "\n".join(lines)


def _alarm(found: dict[str, Any]) -> str:
    return f"{found['rate']:.1f}"


def _found(found: dict[str, Any]) -> str:
    at = f" @ {found['median']:g}" if found["median"] is not None else ""
    return f"{found['rate']:.0f}{at}"


def _wanted(row: dict[str, Any]) -> str:
    bars = row["bars"]
    return "–" if bars["found"] is None else f"{bars['found']:g} @ {bars['median']}"


def _passes(rows: Rows) -> str:
    lines = ["| true regression | passed by sequential | at most |", "|---|---:|---:|"]
    for row in rows:
        found = row["passes"][row["metric"]]
        lines.append(f"| {row['scenario']} | **{found['rate']:.1f}** | {row['bars']['false_passes']:g} |")
    return "\n".join(lines)


def _certificates(rows: Rows) -> str:
    names = ("errors", "latency", "cpu", "memory")
    lines = [
        "| scenario | errors < 2 × | latency < 1.25 × | cpu < 1.5 × | memory < 1.25 × |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [_found(row["passes"][name]) for name in names]
        lines.append(f"| {row['scenario']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def alarms(rows: Rows, path: Path) -> None:
    """Bars: how often each judge alarms on nothing."""
    nulls = [row for row in rows if row["bars"]["alarms"] is not None]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(nulls) + 1.2))
    height = 0.27
    for offset, judge in enumerate(JUDGES):
        rates = [row["judges"][judge]["target"]["rate"] for row in nulls]
        places = [index + (offset - 1) * height for index in range(len(nulls))]
        axes.barh(places, rates, height, color=COLOURS[judge], label=judge)
    axes.set_yticks(range(len(nulls)), [row["scenario"] for row in nulls])
    axes.invert_yaxis()
    axes.axvline(5, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 100)
    axes.set_xlabel("harmless rollouts in which the judge fails some metric, % (dotted: 5 %)")
    axes.margins(y=0.01)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    _save(figure, path)


def detection(rows: Rows, path: Path) -> None:
    """Curves: the share found by each look."""
    chosen = [row for name in CURVES for row in rows if row["scenario"] == name]
    figure, grid = plt.subplots(2, 3, figsize=(10, 5.4), sharex=True, sharey=True)
    for axes, row in zip(grid.flat, chosen, strict=False):
        for judge in JUDGES:
            share = row["judges"][judge]["target"]["by_look"]
            axes.step(
                [5 * look for look in range(1, len(share) + 1)],
                share,
                where="post",
                color=COLOURS[judge],
                label=judge,
            )
        axes.set_title(row["scenario"], fontsize=10)
        axes.set_ylim(0, 103)
    grid[1][1].set_xlabel("minutes")
    grid[0][0].set_ylabel("found, %")
    grid[1][0].set_ylabel("found, %")
    grid[0][0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
