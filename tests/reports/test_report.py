"""The report of an analysis: what it is made of, the page alone in a browser, and the short form."""

import re
from datetime import UTC, datetime

import pytest

from cli.report import trace
from domain.analysis import Doubt, Interval, MetricVerdict, Outcome, Verdict
from reports.model import BandPoint, Judged, Line, MetricReport, Report, build
from reports.page import content_security_policy, render
from reports.words import amount, bounds, evidence, missing, percent
from tests.reports.browser import assert_shown, needs_chromium, serving
from tests.reports.looks import BASELINE, CANARY, STEPS, analysis


@pytest.fixture(scope="module")
def passed() -> Report:
    return build("analysis-d-1", "greeter@2.0.0, wave 1 in production", analysis())


@pytest.fixture(scope="module")
def failed() -> Report:
    return build("analysis-d-2", "greeter@2.0.1, wave 1 in production", analysis(factor=2.0))


def test_the_band_has_a_point_per_look_and_shrinks(passed):
    latency = next(metric for metric in passed.metrics if metric.verdict.metric == "latency")
    assert [point.minute for point in latency.band] == [3, 6, 9, 12, 15]
    widths = [point.high - point.low for point in latency.band if point.high is not None]
    assert widths[-1] < widths[0]
    assert latency.tolerance == 0.25
    assert len(trace(latency)) == len(widths)


def test_both_sides_are_over_the_same_minutes_and_every_node_has_its_samples(passed):
    for metric in passed.metrics:
        assert metric.canary.minutes == metric.baseline.minutes
        assert len(metric.canary.minutes) == 5 * STEPS
        assert {node.name for node in metric.nodes} == {*CANARY, *BASELINE}
        assert all(node.samples == 5 * STEPS for node in metric.nodes)
    errors = next(metric for metric in passed.metrics if metric.verdict.metric == "errors")
    assert all(0 <= value < 0.05 for value in errors.canary.values if value is not None)


@pytest.mark.finding("N2")
def test_a_look_without_its_inputs_still_has_a_report():
    verdict = Verdict(
        outcome=Outcome.INCONCLUSIVE,
        doubt=Doubt.NO_DATA,
        reason="<b>nothing</b>",
        metrics=(
            MetricVerdict(
                metric="a & b", outcome=Outcome.INCONCLUSIVE, doubt=Doubt.NO_DATA, unit="", reason="x"
            ),
        ),
    )
    look = Judged(number=1, at=datetime(2024, 1, 1, tzinfo=UTC), verdict=verdict)
    page = render(build("analysis-x", "<script>alert(1)</script>", [look]))
    assert "<script" not in page
    assert "&lt;b&gt;nothing&lt;/b&gt;" in page
    assert "a &amp; b" in page


@pytest.mark.finding("N2")
def test_the_page_needs_nothing_from_outside(passed):
    page = render(passed)
    assert page == render(passed), "the same report is the same page"
    assert len(page) < 600_000
    assert "<script" not in page
    outside = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", page) + re.findall(
        r"url\((?!#)[^)]*\)", page
    )
    assert outside == []


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(None, "s", "–"), (0.1234, "s", "123.4 ms"), (0.005, "%", "0.50 %"), (2**20, "bytes", "1.0 MiB")],
)
def test_amounts(value, unit, shown):
    assert amount(value, unit) == shown


def test_words_of_a_metric_without_bounds():
    bare = MetricVerdict(metric="m", outcome=Outcome.PASS, unit="", reason="")
    assert (bounds(bare), evidence(bare), missing(bare), percent(None)) == ("–", "–", "", "–")
    known = bare.model_copy(update={"ratio": Interval(low=0.9, high=1.2, level=0.99), "evidence": 3.0})
    assert bounds(known) == "-10.0 % … +20.0 % at 99 %"
    assert evidence(known) == "3 : 1"


def test_a_trace_of_bands_that_are_not_known_is_empty():
    line = Line(minutes=(), values=())
    bare = MetricVerdict(metric="m", outcome=Outcome.PASS, unit="", reason="")
    point = BandPoint(minute=1, estimate=None, low=None, high=None)
    report = MetricReport(
        verdict=bare, band=(point,), margin=None, tolerance=None, canary=line, baseline=line, nodes=()
    )
    assert trace(report) == ""


@needs_chromium
def test_a_browser_shows_it_under_a_strict_policy(failed, tmp_path):
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": content_security_policy(),
    }
    page = render(failed).encode()
    with serving(lambda _: (200, headers, page)) as (address, asked):
        assert_shown(f"{address}/report", tmp_path)
    assert [path for path in asked if path not in {"/report", "/favicon.ico"}] == []
