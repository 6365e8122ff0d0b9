"""`hotswap tenant`, `hotswap tenants`: one's own tenant, and all of them for the platform's admins."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.session import AsJson, connect, console, moment, show_json, show_table
from domain.tenancy import GIBIBYTE, Tier

tenants_app = typer.Typer(no_args_is_help=True, help="All tenants, for the platform's admins.")

Tenant = Annotated[str, typer.Argument(metavar="ID", help="The tenant's id.")]
Figure = Annotated[int | None, typer.Option(min=0, help="Own quota, with the tier custom.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(tenant)
    app.add_typer(tenants_app, name="tenants")


def tenant(context: typer.Context, as_json: AsJson = False) -> None:
    """Show your own tenant: its state, its quota, and what it uses of it."""
    with connect(context) as client:
        mine = client.get("/tenant")
    if as_json:
        show_json(mine)
        return
    console.print(
        f"{mine['id']} ({mine['name'] or mine['id']}): {mine['state']}, {mine['tier']}", markup=False
    )
    rows = [(name, mine["usage"].get(name), limit or "no limit") for name, limit in mine["quota"].items()]
    show_table(("what", "used", "quota"), rows)


@tenants_app.command("list")
def list_tenants(context: typer.Context, as_json: AsJson = False) -> None:
    """List all tenants."""
    with connect(context) as client:
        found = client.get("/tenants")["items"]
    if as_json:
        show_json(found)
    else:
        show_table(("id", "name", "state", "since", "tier", "reason"), (_row(each) for each in found))


@tenants_app.command("add")
def add(
    context: typer.Context,
    *,
    tenant: Tenant,
    name: Annotated[str, typer.Option(help="What people call it.")],
    tier: Annotated[Tier, typer.Option(help="Which quota it gets.")] = Tier.FREE,
    admin: Annotated[str, typer.Option(help="The first admin's name.")] = "admin",
    trust: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Own signing roots (PEM).")
    ] = None,
    nodes: Figure = None,
    deployments: Figure = None,
    storage_gib: Figure = None,
    requests_per_minute: Figure = None,
) -> None:
    """Make a tenant; `hotswap tenants bootstrap` then gives its first admin a password."""
    body: dict[str, Any] = {"id": tenant, "name": name, "tier": tier.value, "admin": admin}
    quota = _quota(nodes, deployments, storage_gib, requests_per_minute)
    if quota:
        body["quota"] = quota
    if trust is not None:
        body["trust"] = trust.read_text(encoding="utf-8")
    with connect(context) as client:
        made = client.post("/tenants", body)
    console.print(f"{made['id']}: {made['state']}", markup=False)


@tenants_app.command("show")
def show(context: typer.Context, tenant: Tenant) -> None:
    """Show one tenant (JSON)."""
    with connect(context) as client:
        show_json(client.get(f"/tenants/{tenant}"))


@tenants_app.command("bootstrap")
def bootstrap(context: typer.Context, tenant: Tenant) -> None:
    """Give a tenant's first admin a password and print it, this once."""
    with connect(context) as client:
        first = client.post(f"/tenants/{tenant}/bootstrap")
    console.print(f"{first['username']} of {first['tenant']}; password: {first['password']}", markup=False)


@tenants_app.command("suspend")
def suspend(
    context: typer.Context,
    *,
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
) -> None:
    """Refuse a tenant's requests; what runs comes to its end, what waits keeps waiting."""
    with connect(context) as client:
        _say(client.post(f"/tenants/{tenant}/suspend", {"reason": reason}))


@tenants_app.command("activate")
def activate(context: typer.Context, tenant: Tenant) -> None:
    """End a suspension."""
    with connect(context) as client:
        _say(client.post(f"/tenants/{tenant}/activate"))


@tenants_app.command("tier")
def tier(
    context: typer.Context,
    *,
    tenant: Tenant,
    tier: Annotated[Tier, typer.Argument(help="Which quota it gets.")],
    nodes: Figure = None,
    deployments: Figure = None,
    storage_gib: Figure = None,
    requests_per_minute: Figure = None,
) -> None:
    """Give a tenant another tier."""
    body: dict[str, Any] = {"tier": tier.value}
    quota = _quota(nodes, deployments, storage_gib, requests_per_minute)
    if quota:
        body["quota"] = quota
    with connect(context) as client:
        _say(client.put(f"/tenants/{tenant}/tier", body))


@tenants_app.command("trust")
def trust(
    context: typer.Context,
    *,
    tenant: Tenant,
    roots: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="PEM; the installation's without.")
    ] = None,
) -> None:
    """Give a tenant other signing roots, for what is pushed from now on; nodes keep their own."""
    body = {"trust": roots.read_text(encoding="utf-8") if roots is not None else None}
    with connect(context) as client:
        _say(client.put(f"/tenants/{tenant}/trust", body))


@tenants_app.command("delete")
def delete(
    context: typer.Context,
    *,
    tenant: Tenant,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a tenant away with all its data; its audit trail stays."""
    if not yes:
        typer.confirm(f"Delete {tenant} and everything that belongs to it?", abort=True)
    with connect(context) as client:
        _say(client.delete(f"/tenants/{tenant}"))


def _quota(
    nodes: int | None, deployments: int | None, storage_gib: int | None, requests_per_minute: int | None
) -> dict[str, int]:
    given = {
        "nodes": nodes,
        "deployments": deployments,
        "storage_bytes": None if storage_gib is None else storage_gib * GIBIBYTE,
        "requests_per_minute": requests_per_minute,
    }
    return {name: value for name, value in given.items() if value is not None}


def _say(tenant: dict[str, Any]) -> None:
    console.print(f"{tenant['id']}: {tenant['state']}, {tenant['tier']}", markup=False)


def _row(tenant: dict[str, Any]) -> tuple[object, ...]:
    since = moment(tenant["state_since"])
    return tenant["id"], tenant["name"], tenant["state"], since, tenant["tier"], tenant["reason"]
