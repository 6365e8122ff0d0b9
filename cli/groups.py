"""`hotswap group`: groups of people, which gates may ask for."""

from typing import Annotated

import typer

from cli.session import AsJson, connect, console, show_json, show_table

group_app = typer.Typer(no_args_is_help=True, help="Groups of people, which gates may ask for.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group_app, name="group")


@group_app.command("set")
def set_group(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="GROUP")],
    members: Annotated[list[str] | None, typer.Argument(metavar="NAME...")] = None,
) -> None:
    """Say who is in a group from now on; with nobody, the group is gone."""
    with connect(context) as client:
        group = client.put(f"/groups/{name}", {"members": members or []})
    console.print(f"{name}: {', '.join(group['members']) or 'nobody'}", markup=False)


@group_app.command("ls")
def list_groups(context: typer.Context, as_json: AsJson = False) -> None:
    """List the groups with their members."""
    with connect(context) as client:
        found = client.get("/groups")["items"]
    if as_json:
        show_json(found)
    else:
        show_table(("group", "members"), ((each["name"], ", ".join(each["members"])) for each in found))
