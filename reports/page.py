"""The report as one HTML page: styles and drawings inside, no script, nothing fetched."""

import hashlib
from base64 import b64encode
from functools import lru_cache
from importlib.resources import files
from typing import Final

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from reports import words
from reports.charts import band_chart, sides_chart
from reports.model import Report

SHOWN_NODES: Final = 60


def render(report: Report) -> str:
    """The page."""
    charts = {
        metric.verdict.metric: (
            Markup(band_chart(metric)) if metric.band and metric.tolerance is not None else "",  # noqa: S704
            Markup(sides_chart(metric)) if metric.canary.minutes else "",  # noqa: S704 - our own drawing
        )
        for metric in report.metrics
    }
    template = _environment().from_string(_text("report.html"))
    return template.render(
        report=report,
        charts=charts,
        words=words,
        style=Markup(_text("report.css")),  # noqa: S704
        shown=SHOWN_NODES,
    )


def content_security_policy() -> str:
    """The strictest policy that the page works under."""
    digest = b64encode(hashlib.sha256(_text("report.css").encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src-elem 'sha256-{digest}'; style-src-attr 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


@lru_cache(maxsize=4)
def _text(name: str) -> str:
    return (files("reports") / "templates" / name).read_text(encoding="utf-8")
