"""`hotswap analysis …`: what the judge said of a wave, and the report."""

from pathlib import Path
from typing import Annotated

import typer

from cli.report import show_report
from cli.session import AsJson, connect, console, show_json
from domain.names import analysis_id
from reports.model import Report

AnalysisId = Annotated[
    str, typer.Argument(metavar="ID", help="The analysis: analysis-DEPLOYMENT-WAVE, or a deployment's id.")
]
Wave = Annotated[int, typer.Option(min=1, help="Which wave, where ID is a deployment's.")]

group = typer.Typer(no_args_is_help=True, help="What the judge said of a wave.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="analysis")


@group.command()
def show(
    context: typer.Context,
    *,
    analysis: AnalysisId,
    wave: Wave = 1,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """The verdict, per metric: the difference, what the data allow, the evidence, and why.

    With --html the report as one self-contained page.
    """
    name = analysis if analysis.startswith("analysis-") else analysis_id(analysis, wave)
    with connect(context) as client:
        if as_json:
            show_json(client.get(f"/analyses/{name}"))
            return
        report = Report.model_validate(client.get(f"/analyses/{name}/summary"))
    show_report(report)
    if html is not None:
        from reports.page import render  # noqa: PLC0415 - the drawing library takes a second

        html.write_text(render(report), encoding="utf-8")
        console.print(f"report in {html}")
