"""`hotswap key`, `passwd`, `logout`: one's own keys, password and sign-in."""

from typing import Annotated

import typer

from cli.errors import CommandFailed
from cli.people import read_password
from cli.session import AsJson, connect, console, moment, show_json, show_table
from domain.permissions import Permission

key_app = typer.Typer(no_args_is_help=True, help="API keys that act for you.")

PasswordsStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read both from standard input: first the present one.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(passwd)
    app.command()(logout)
    app.add_typer(key_app, name="key")


@key_app.command("add")
def add_key(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    scope: Annotated[list[Permission], typer.Option(help="What it may be used for; may be repeated.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good.")] = 90,
) -> None:
    """Make a key and print it, this once."""
    with connect(context) as client:
        made = client.post(
            "/auth/keys", {"name": name, "scopes": [each.value for each in scope], "days": days}
        )
    console.print(f"{made['name']}, good until {moment(made['expires_at'])}")
    typer.echo(made["key"])


@key_app.command("ls")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List your keys."""
    with connect(context) as client:
        found = client.get("/auth/keys")["items"]
    if as_json:
        show_json(found)
    else:
        show_table(
            ("id", "name", "scopes", "until"),
            (
                (each["id"], each["name"], ", ".join(each["scopes"]), moment(each["expires_at"]))
                for each in found
            ),
        )


@key_app.command("rm")
def revoke_key(context: typer.Context, key: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """End a key of yours, at once."""
    with connect(context) as client:
        client.delete(f"/auth/keys/{key}")
    console.print(f"{key} counts no more")


def passwd(context: typer.Context, *, password_stdin: PasswordsStdin = False) -> None:
    """Change your password. Every sign-in of yours ends, this one too."""
    if password_stdin:
        current, new = read_password(), read_password()
    else:
        current = typer.prompt("Present password", hide_input=True)
        new = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    if not new:
        raise CommandFailed("a new password is needed", field="new")
    with connect(context) as client:
        client.post("/auth/password", {"current": current, "new": new})
    console.print("changed; sign in again with 'hotswap login'")


def logout(context: typer.Context) -> None:
    """End the present sign-in: its token counts no more."""
    with connect(context) as client:
        client.post("/auth/logout")
    console.print("signed out")
