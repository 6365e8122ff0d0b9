"""`hotswap`: the command line. What people do is a client of the API; `up`, `down` and `demo` run a stack."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import UsageError  # typer has its own copy of click and exports no such error

from cli import (
    amendments,
    analyses,
    approvals,
    audit,
    backup,
    deployments,
    events,
    fleet,
    freezes,
    groups,
    history,
    judge,
    keys,
    people,
    policies,
    promotions,
    releases,
    rollbacks,
    stack,
    tenants,
)
from cli.context import Choice
from cli.demo import command as demo
from cli.errors import sentence
from cli.module import module_app
from cli.session import errors
from domain.errors import HotswapError

UsageError.exit_code = 1  # click's 2 is an outcome here: rolled back and verified

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Rolls signed modules out to fleets of nodes, durably.",
)


@app.callback()
def root(
    context: typer.Context,
    *,
    url: Annotated[str | None, typer.Option(envvar="HOTSWAP_URL", help="The API's address.")] = None,
    token: Annotated[str | None, typer.Option(envvar="HOTSWAP_TOKEN", help="A bearer token.")] = None,
    profile: Annotated[
        str | None, typer.Option(envvar="HOTSWAP_SIGN_IN", help="A sign-in that 'hotswap login' kept.")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(envvar="HOTSWAP_TENANT", help="Another tenant, for the platform's admins."),
    ] = None,
) -> None:
    """Keep where to go for the command that follows."""
    context.obj = Choice(url=url or None, token=token or None, profile=profile or None, tenant=tenant or None)


@app.command()
def agent(
    config: Annotated[
        Path, typer.Option("--config", exists=True, dir_okay=False, help="The node's agent.toml.")
    ],
) -> None:
    """Run the agent of one node, until SIGTERM."""
    from agent.__main__ import main as run_agent  # noqa: PLC0415 - no other command needs aiohttp

    raise typer.Exit(run_agent(["--config", str(config)]))


for room in (
    deployments,
    amendments,
    promotions,
    history,
    rollbacks,
    analyses,
    judge,
    approvals,
    fleet,
    freezes,
    policies,
    people,
    keys,
    groups,
    audit,
    events,
    stack,
    backup,
    tenants,
    demo,
):
    room.register(app)
releases.register(module_app)
app.add_typer(module_app, name="module", help="Releases: make, sign, push.")


def main() -> None:
    """The entry point: an error of ours is one line and exit code 1, never a traceback."""
    try:
        app()
    except HotswapError as error:
        errors.print(f"error: {sentence(error)}", markup=False)
        sys.exit(1)
