"""`hotswap rollbacks …`: what a person orders of a rollback that cannot prove every node to be back."""

from typing import Annotated

import typer

from cli.session import Reason, connect, console

DeploymentId = Annotated[str, typer.Argument(metavar="ID", help="The deployment that is rolling back.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]

group = typer.Typer(no_args_is_help=True, help="Orders to a rollback that waits for a person.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="rollbacks")


@group.command()
def retry(context: typer.Context, *, deployment: DeploymentId, reason: Reason = "") -> None:
    """Try all nodes that are not proved to be back once more."""
    _send(context, deployment, "retry", {"reason": reason})


@group.command("skip-node")
def skip_node(
    context: typer.Context,
    *,
    deployment: DeploymentId,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node to give up.")],
    reason: Why,
) -> None:
    """Give one node up. It ends as not verified, by name, and the lane is frozen until resolved."""
    _send(context, deployment, "skip-node", {"node": node, "reason": reason})


@group.command()
def abandon(context: typer.Context, *, deployment: DeploymentId, reason: Why) -> None:
    """Give up all nodes that are not back. They end as not verified; the lane is frozen until resolved."""
    _send(context, deployment, "abandon", {"reason": reason})


def _send(context: typer.Context, deployment: str, order: str, body: dict[str, str]) -> None:
    with connect(context) as client:
        client.post(f"/deployments/{deployment}/rollback/{order}", body)
    console.print(f"{order} is on its way; follow it with: hotswap watch {deployment}")
