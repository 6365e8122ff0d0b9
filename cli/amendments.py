"""`hotswap amend`: another plan for the steps that a deployment under way has still to come to."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from pydantic import ValidationError

from cli.deployments import DeploymentId
from cli.errors import CommandFailed, why
from cli.plans import show_difference
from cli.session import AsJson, Reason, connect, console, moment, show_json, show_table
from domain.amendment import Changes
from domain.difference import Difference

_TIMES: Final = {"metavar": "SECONDS", "min": 0}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(amend)
    app.command("amendments")(list_amendments)


def amend(
    context: typer.Context,
    *,
    deployment: DeploymentId,
    wave_nodes: Annotated[
        int | None, typer.Option(min=1, help="At most so many nodes change together; larger waves are cut.")
    ] = None,
    bake: Annotated[float | None, typer.Option(help="How long to let waves run.", **_TIMES)] = None,
    analysis: Annotated[float | None, typer.Option(help="How long analyses look.", **_TIMES)] = None,
    deadline: Annotated[
        float | None, typer.Option(help="How long the deployment may take in all.", **_TIMES)
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            "--changes",
            metavar="FILE",
            help="A YAML or JSON file with these, and with failures and gates as a policy has them.",
        ),
    ] = None,
    reason: Reason = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would change, and who would have to approve it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change what is still to come of a deployment under way.

    What narrows the plan holds from the next step on. What widens it (shorter bakes or analyses, laxer
    limits) waits for people, and the present plan goes on meanwhile.
    """
    asked = {"wave_nodes": wave_nodes, "bake": bake, "analysis": analysis, "deadline": deadline}
    body = {**_read(changes), **{name: value for name, value in asked.items() if value is not None}}
    path = f"/deployments/{deployment}/amend"
    with connect(context) as client:
        if preview:
            shown = client.post(f"{path}/plan", body)
        else:
            shown = client.post(path, {**body, "reason": reason})
    if as_json:
        show_json(shown)
        return
    show_difference(Difference.model_validate(shown["difference"]))
    for reason_of in shown["widens"]:
        console.print(f"wider: {reason_of}", highlight=False, markup=False)
    console.print(_conclusion(deployment, shown, preview=preview), highlight=False, markup=False)


def list_amendments(context: typer.Context, deployment: DeploymentId, as_json: AsJson = False) -> None:
    """List the amendments of a deployment, and what became of each."""
    with connect(context) as client:
        found = client.get(f"/deployments/{deployment}/amendments")["items"]
    if as_json:
        show_json(found)
        return
    rows = (
        [*(each[key] for key in ("number", "state", "message", "actor")), moment(each["created_at"])]
        for each in found
    )
    show_table(("number", "state", "why", "by", "ordered"), rows)


def _read(path: Path | None) -> dict[str, Any]:
    """The content of a file of changes, checked; nothing without a file.

    Raises:
        CommandFailed: it cannot be read, or says what cannot be changed.
    """
    if path is None:
        return {}
    try:
        content = Changes.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise CommandFailed(f"{str(path)!r} is no file of changes: {why(error)}", field="changes") from error
    return content.model_dump(mode="json", exclude_unset=True)


def _conclusion(deployment: str, shown: dict[str, Any], *, preview: bool) -> str:
    plan = f"plan {shown['before'][:12]} → {shown['digest'][:12]}"
    if preview:
        return f"{plan}; nothing was ordered"
    if shown["widens"]:
        return f"{plan} waits for people: hotswap approve {deployment}; until then the present plan goes on"
    return f"{plan} holds from the next step on"
