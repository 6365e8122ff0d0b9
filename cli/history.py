"""`hotswap history` and `hotswap undo`: what ran in an environment when, and the way back to it."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli.session import AsJson, connect, errors, moment, show_json, show_table
from cli.watching import Frames, Timeout, Watch, watch

NAMED_NODES = 8  # more nodes than this are shown by their number


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(history)
    app.command()(undo)


def history(
    context: typer.Context,
    *,
    environment: Annotated[str, typer.Option("--env", help="Of which environment.")],
    module: Annotated[str | None, typer.Option(help="Only of this module.")] = None,
    node: Annotated[str | None, typer.Option(help="Only of this node.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what ran there when: from which release to which, on which nodes, by whom, why. Newest first."""
    with connect(context) as client:
        found = list(client.items("/history", environment=environment, module=module, node=node))
    if as_json:
        show_json(found)
        return
    columns = ("ended", "module", "from", "to", "nodes", "outcome", "by", "why", "deployment")
    show_table(columns, (row for each in found for row in _rows(each)))


def _rows(entry: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    why = entry["cause"]["message"] if entry["cause"] else entry["reason"]
    for change in entry["changes"]:
        names = change["nodes"]
        shown = ", ".join(names) if len(names) <= NAMED_NODES else f"{len(names)} nodes"
        unproved = f" ({len(change['unverified'])} not verified)" if change["unverified"] else ""
        yield (
            moment(entry["finished_at"]) or "under way",
            entry["release"]["module"],
            _named(change["from"]),
            _named(change["to"]),
            f"{shown}{unproved}",
            entry["phase"],
            entry["actor"],
            why,
            entry["deployment"],
        )


def _named(release: dict[str, Any] | None) -> str:
    return f"{release['version']} {release['digest'][:12]}" if release else "none"


def undo(
    context: typer.Context,
    *,
    module: Annotated[str, typer.Argument(metavar="MODULE", help="The module to take back.")],
    environment: Annotated[str, typer.Option("--env", help="Where.")],
    to: Annotated[str, typer.Option("--to", metavar="VERSION", help="A release that ran there before.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    live: Watch = False,
    as_json: Frames = False,
    timeout: Timeout = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or return at once.")
    ] = True,
) -> None:
    """Go back to an earlier release: at once, on the nodes that differ, without gates or bakes.

    A deployment of its own, verified node by node, which can itself be taken back. Exit codes as `deploy`.
    """
    body = {"module": module, "environment": environment, "to": to, "reason": reason}
    with connect(context) as client:
        accepted = client.post("/undo", body)
        errors.print(f"deployment {accepted['id']} accepted; follow it with: hotswap watch {accepted['id']}")
        seconds = timeout if wait else 0.0
        raise typer.Exit(watch(client, accepted["id"], live=live, as_json=as_json, seconds=seconds))
