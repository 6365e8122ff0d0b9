"""Environments and whether anything may start there, nodes, and orders about single ones."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import CommandFailed
from cli.freezes import present
from cli.session import AsJson, connect, console, moment, show_json, show_table
from runtime import files


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(environments)
    app.command()(nodes)
    app.command()(resolve)
    app.command()(quarantine)
    app.command("add-node")(add_node)
    app.command()(remove_node)
    app.command("release-node")(release_node)


def environments(context: typer.Context, as_json: AsJson = False) -> None:
    """List environments: how their nodes are, and whether anything may start there."""
    with connect(context) as client:
        found = client.get("/clusters")["items"]
    if as_json:
        show_json(found)
        return
    show_table(
        ("environment", "nodes", "healthy", "starts"),
        (
            (each["environment"], each["nodes_total"], each["nodes_healthy"], standstill(each) or "open")
            for each in found
        ),
    )


def standstill(cluster: dict[str, Any]) -> str | None:
    """Why nothing may start in an environment; None when it may."""
    lane = [f"lane frozen: {cluster['frozen']}"] if cluster["frozen"] else []
    freeze = [present(cluster["freeze"])] if cluster["freeze"] else []
    return "; ".join((*lane, *freeze)) or None


def nodes(
    context: typer.Context,
    environment: Annotated[str | None, typer.Option("--env", help="Only of this environment.")] = None,
    as_json: AsJson = False,
) -> None:
    """List nodes and what they run, as the nodes themselves report it."""
    with connect(context) as client:
        found = list(client.items("/nodes", environment=environment))
    if as_json:
        show_json(found)
        return
    columns = ("name", "environment", "runs", "healthy", "labels", "address", "last seen")
    show_table(columns, (_row(node) for node in found))


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    labels = " ".join(f"{key}={value}" for key, value in sorted(node["labels"].items()))
    runs = " ".join(_module(module) for module in (node.get("report") or {}).get("modules", []))
    healthy = "yes" if node["healthy"] else f"no: {'; '.join(node['problems'])}"
    if node.get("quarantine"):
        healthy = f"quarantined: {node['quarantine']['message']}"
    return (
        node["name"],
        node["environment"],
        runs,
        healthy,
        labels,
        node["address"],
        moment(node["last_seen"]),
    )


def _module(module: dict[str, Any]) -> str:
    release = module.get("current")
    named = f"{module['module']}@{release['version']}" if release else module["module"]
    return f"{named} {module['state']}"


def resolve(
    context: typer.Context,
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The frozen environment.")],
    reason: Annotated[
        str, typer.Option("--reason", help="What was found and done; kept in the audit trail.")
    ],
) -> None:
    """Let a frozen lane go on, after a person has looked at its nodes."""
    with connect(context) as client:
        client.post(f"/clusters/{environment}/resolve", {"reason": reason})
    console.print(f"{environment} goes on")


NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


def add_node(
    context: typer.Context,
    *,
    node: NodeArgument,
    environment: Annotated[str, typer.Option("--env", help="Where it belongs.")],
    address: Annotated[str, typer.Option(help="Its agent's URL: https://web-07.example.com:7701")],
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="zone=a, role=web …; may be repeated.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Write the node's token there, for its owner only.")
    ] = None,
) -> None:
    """Make a node known, or a known one anew: with this address, these labels and a new token."""
    pairs = [each.partition("=") for each in label or ()]
    if wrong := [name for name, equals, value in pairs if not (name and equals and value)]:
        raise CommandFailed(f"{wrong[0]!r} is no label such as zone=a", field="label")
    body = {
        "name": node,
        "environment": environment,
        "address": address,
        "labels": {name: value for name, _, value in pairs},
    }
    with connect(context) as client:
        token = client.post("/nodes", body)["token"]
    console.print(f"{node} belongs to {environment}. Its token, this once, for the agent's token_file:")
    if token_file is None:
        typer.echo(token)
    else:
        files.replace(token_file.absolute(), token.encode())
        console.print(f"written to {token_file}", markup=False)


def quarantine(
    context: typer.Context,
    node: NodeArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
) -> None:
    """Have rollouts leave a node alone until it is released."""
    _send(context, node, "quarantine", reason)
    console.print(f"{node} is quarantined; let it go with: hotswap release-node {node} --reason …")


def release_node(
    context: typer.Context,
    node: NodeArgument,
    reason: Annotated[
        str, typer.Option("--reason", help="What was found and done; kept in the audit trail.")
    ],
) -> None:
    """End a node's quarantine: it is caught up with what is current, and rollouts use it again."""
    _send(context, node, "release", reason)
    console.print(f"{node} takes part again")


def remove_node(
    context: typer.Context,
    node: NodeArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
) -> None:
    """Forget a node that has left for good. Its modules go on as they are; no rollout waits for it."""
    _send(context, node, "remove", reason)
    console.print(f"{node} is forgotten")


def _send(context: typer.Context, node: str, order: str, reason: str) -> None:
    with connect(context) as client:
        client.post(f"/nodes/{node}/{order}", {"reason": reason})
