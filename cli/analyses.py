"""`hotswap analysis …`: what the judge said of a wave, and the report."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cli.errors import CommandFailed
from cli.judge import read_document
from cli.report import show_report
from cli.session import AsJson, connect, console, errors, moment, show_json, show_table
from domain.analysis import Verdict
from domain.conditions.metric import ARGO, OURS
from domain.imports.argo import KINDS, read_template
from domain.imports.kayenta_request import read_request
from domain.names import analysis_id, guard_id
from domain.offline import read_judge_config
from domain.providers import ConditionCheck
from reports import words
from reports.model import Report

AnalysisId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The analysis: analysis-DEPLOYMENT-WAVE, guard-DEPLOYMENT, or a deployment's id."
    ),
]
Wave = Annotated[int, typer.Option(min=1, help="Which wave, where ID is a deployment's.")]

OWN_IDS = ("analysis-", "guard-")

group = typer.Typer(no_args_is_help=True, help="What the judge said of a wave.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="analysis")


@group.command("import")
def import_file(
    *,
    file: Annotated[Path, typer.Argument(help="An Argo AnalysisTemplate or a Kayenta canary config.")],
    argument: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for an argument of the template; more than once.")
    ] = None,
    as_argo: Annotated[bool, typer.Option("--as-argo", help="Argo's semantics where ours differ.")] = False,
    request: Annotated[Path | None, typer.Option(help="A Kayenta execution request that goes along.")] = None,
) -> None:
    """Read a file of another system and print what it comes to, as YAML for a policy.

    What cannot be honoured is named, field by field.
    """
    document = read_document(file)
    if isinstance(document, dict) and document.get("kind") in KINDS:
        given = dict(_pair(each) for each in argument or ())
        checks = read_template(document, given, ARGO if as_argo else OURS)
        found: object = {"conditions": [_shown(check) for check in checks]}
    else:
        found = _kayenta(document, read_document(request) if request else None)
    typer.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)


def _shown(check: ConditionCheck) -> dict[str, Any]:
    """What a person would write of a check; the provider's kind is needed although it is a default."""
    shown = check.model_dump(mode="json", exclude_defaults=True)
    shown["provider"] = {"kind": check.provider.kind, **shown["provider"]}
    return shown


def _kayenta(document: Any, request: Any) -> dict[str, object]:
    reading = read_judge_config(document, request)
    for note in reading.notes:
        errors.print(f"note: {note.field}: {note.reason}", markup=False)
    policy = reading.policy
    rule: dict[str, object] = {"judge": policy.judge, "weights": policy.weights}
    if request is not None:
        timing = read_request(request).rule()
        rule |= {"duration": timing.duration, "interval": timing.interval, "warm_up": timing.warm_up}
    rule["mann_whitney"] = policy.mann_whitney.model_dump(mode="json", exclude_defaults=True)
    metrics = [spec.model_dump(mode="json", exclude_defaults=True) for spec in reading.specs]
    return {"analysis": rule, "metrics": metrics}


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise CommandFailed(f"{text!r} is not NAME=VALUE", field="argument")
    return name, value


@group.command("list")
def list_all(
    context: typer.Context,
    *,
    deployment: Annotated[str | None, typer.Option(help="Only of this deployment.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="The latest, at most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Analyses of waves, in the background and after completion, the latest first."""
    with connect(context) as client:
        found = list(islice(client.items("/analyses", deployment=deployment), most))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            each["id"],
            each["looks"],
            moment(each["at"]),
            words.headline(Verdict.model_validate(each["verdict"])),
            each["verdict"]["reason"],
        )
        for each in found
    )
    show_table(("analysis", "looks", "at", "verdict", "why"), rows)


@group.command()
def show(
    context: typer.Context,
    *,
    analysis: AnalysisId,
    wave: Wave = 1,
    guard: Annotated[bool, typer.Option("--guard", help="The guard, where ID is a deployment's.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """The verdict, per metric: the difference, what the data allow, the evidence, and why.

    With --html the report as one self-contained page.
    """
    name = analysis
    if not analysis.startswith(OWN_IDS):
        name = guard_id(analysis) if guard else analysis_id(analysis, wave)
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
