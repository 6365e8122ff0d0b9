"""`hotswap login`, `whoami`, `user`: who is asking, and who else may."""

import os
import secrets
import sys
from typing import Annotated

import typer

from cli.context import DEFAULT_PROFILE, Profile, Target, save_profile
from cli.session import AsJson, client_of, connect, console, moment, show_json, show_table
from domain.roles import Role

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]

user_app = typer.Typer(no_args_is_help=True, help="The people of the tenant.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(login)
    app.command()(whoami)
    app.add_typer(user_app, name="user")


def login(
    *,
    url: Annotated[str, typer.Option(help="The API's address.", prompt=True)],
    user: Annotated[str, typer.Option(help="Your name there.", prompt=True)],
    tenant: Annotated[str | None, typer.Option(help="Your tenant; without, the installation's own.")] = None,
    profile: Annotated[str, typer.Option(help="Name to keep the sign-in under.")] = DEFAULT_PROFILE,
    password_stdin: PasswordStdin = False,
) -> None:
    """Sign in and keep the token (never the password) for the commands that follow.

    A password that somebody else has chosen must be changed: the new one is asked for, or, with
    --password-stdin, is the second line.
    """
    password = read_password() if password_stdin else typer.prompt("Password", hide_input=True)
    address = url.rstrip("/")
    with client_of(Target(url=address, source="login")) as client:
        session = client.open_session(user, password, tenant=tenant)
        if session.get("must_change"):
            prompt = "New password (the one that you were given must be changed)"
            new = (
                read_password()
                if password_stdin
                else typer.prompt(prompt, hide_input=True, confirmation_prompt=True)
            )
            session = client.change_password(session["access_token"], password, new)
        token = session["access_token"]
    path = save_profile(Profile(name=profile, url=address, username=user, token=token), os.environ)
    console.print(f"signed in as {user}; kept in {path}")


def whoami(context: typer.Context, as_json: AsJson = False) -> None:
    """Show who the control plane takes you for."""
    with connect(context) as client:
        me = client.get("/auth/me")
        where = f"{client.target.url} ({client.target.source})"
    if as_json:
        show_json(me)
    else:
        console.print(f"{me['username']}, {me['role']} of tenant {me['tenant']}, at {where}", markup=False)


@user_app.command("add")
def add_user(
    context: typer.Context,
    *,
    username: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[Role, typer.Option(help="What the user may do.")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Add a user. Without --password-stdin a password is made and printed, this once."""
    password = read_password() if password_stdin else secrets.token_urlsafe(18)
    with connect(context) as client:
        client.post("/users", {"username": username, "password": password, "role": role.value})
    console.print(f"{username} added as {role.value}")
    if not password_stdin:
        console.print(f"password: {password}", markup=False)


@user_app.command("ls")
def list_users(context: typer.Context, as_json: AsJson = False) -> None:
    """List the users."""
    with connect(context) as client:
        found = list(client.items("/users"))
    if as_json:
        show_json(found)
    else:
        show_table(
            ("name", "role", "created"),
            ((each["username"], each["role"], moment(each["created_at"])) for each in found),
        )


def read_password() -> str:
    """The first line of standard input."""
    return sys.stdin.readline().rstrip("\r\n")
