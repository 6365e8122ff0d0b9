"""`hotswap policy …`: what holds for every rollout to an environment, as a file that people keep."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from cli.errors import CommandFailed, why
from cli.session import AsJson, connect, console, show_json
from domain.base import essence
from domain.difference import Changed, changed_fields
from domain.policy import EnvironmentPolicy

Environment = Annotated[str, typer.Argument(metavar="ENV", help="The environment.")]
policy_app = typer.Typer(no_args_is_help=True, help="What holds for every rollout to an environment.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(policy_app, name="policy")


@policy_app.command("show")
def show(
    context: typer.Context,
    environment: Environment,
    *,
    whole: Annotated[bool, typer.Option("--all", help="Also what is at its default.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print an environment's policy as the YAML that `hotswap policy set` takes."""
    with connect(context) as client:
        found = client.get(f"/clusters/{environment}")["policy"]
    shown = found if whole else essence(EnvironmentPolicy.model_validate(found))
    if as_json:
        show_json(shown)
    else:
        typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)


@policy_app.command("set")
def set_policy(
    context: typer.Context,
    environment: Environment,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML or JSON; what it leaves out is at its default.")
    ],
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would change.")] = False,
) -> None:
    """Replace an environment's policy. Deployments that have their plan keep it."""
    wanted = _read(file)
    path = f"/clusters/{environment}"
    with connect(context) as client:
        changes = changed_fields(client.get(path)["policy"], wanted)
        if changes and not preview:
            client.put(f"{path}/policy", wanted)
    for each in changes:
        console.print(_line(each), markup=False)
    done = "nothing was set" if preview else f"{environment} has this policy from the next plan on"
    console.print(done if changes else f"{environment} has this policy already", markup=False)


def _read(path: Path) -> Mapping[str, Any]:
    """A policy in full.

    Raises:
        CommandFailed: the file cannot be read, or is no policy; all fields at fault are named.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return EnvironmentPolicy.model_validate(content).model_dump(mode="json")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise CommandFailed(f"{str(path)!r} is no policy: {why(error)}") from error


def _line(change: Changed) -> str:
    before, after = (json.dumps(value, ensure_ascii=False) for value in (change.before, change.after))
    return f"~ {change.field}: {before} → {after}"
