"""A verdict and an analysis's report in the terminal, short."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from cli.session import console
from domain.analysis import MetricVerdict, Outcome, Verdict
from reports import words
from reports.model import MetricReport, Report

STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.INCONCLUSIVE: "yellow"}
_TICKS = "▁▂▃▄▅▆▇█"
_LONGEST_TRACE = 24


def show_verdict(verdict: Verdict, traces: dict[str, str] | None = None) -> None:
    """The verdict in a line, one row per metric, and why."""
    style = STYLES[verdict.outcome]
    console.print(f"[{style}]{words.MARKS[verdict.outcome]} {words.headline(verdict)}[/]  {_sizes(verdict)}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = ("metric", "verdict", "canary", "baseline", "difference", "the data allow", "evidence")
    for place, column in enumerate((*columns, *(("band",) if traces else ()))):
        table.add_column(column.upper(), no_wrap=place < 2)
    for metric in verdict.metrics:
        trace = (traces.get(metric.metric, ""),) if traces else ()
        table.add_row(*_row(metric), *trace)
    if verdict.metrics:
        console.print(table)
    console.print(f"[dim]why:[/] {escape(verdict.reason)}")


def show_report(report: Report) -> None:
    """The same with what became of the band, look by look."""
    console.print(f"[bold]{escape(report.title)}[/]   {report.analysis}")
    show_verdict(report.verdict, {metric.verdict.metric: trace(metric) for metric in report.metrics})


def trace(metric: MetricReport) -> str:
    """How wide the confidence band was at each look, as blocks: it shrinks as evidence comes in."""
    widths = [
        point.high - point.low for point in metric.band if point.high is not None and point.low is not None
    ][-_LONGEST_TRACE:]
    widest = max(widths, default=0.0)
    if widest <= 0:
        return ""
    return "".join(_TICKS[min(len(_TICKS) - 1, int(width / widest * len(_TICKS)))] for width in widths)


def _row(metric: MetricVerdict) -> Sequence[str]:
    style = STYLES[metric.outcome]
    doubt = f" ({metric.doubt})" if metric.doubt is not None else ""
    shown = "dry run: " if metric.dry_run else ""
    difference = metric.estimate - 1 if metric.estimate is not None else None
    return (
        escape(metric.metric),
        f"[{style}]{words.MARKS[metric.outcome]} {shown}{metric.outcome}{doubt}[/]",
        escape(words.amount(metric.canary, metric.unit)),
        escape(words.amount(metric.baseline, metric.unit)),
        words.percent(difference),
        words.bounds(metric),
        words.evidence(metric),
    )


def _sizes(verdict: Verdict) -> str:
    looks = f"{verdict.looks} look{'s' if verdict.looks != 1 else ''}"
    return f"{verdict.judge}, {looks}, {verdict.canary_nodes} against {verdict.baseline_nodes} nodes"
