"""`python -m store`: bring the database forward, make the first admin, go on after a backup came back."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from domain.errors import HotswapError
from store import audit_months, schema
from store import bootstrap as first
from store import restored as brought_back
from store.database import Database

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
DatabaseUrl = Annotated[str, typer.Option(envvar="HOTSWAP_DATABASE_URL", show_default=False)]
OwnerUrl = Annotated[
    str,
    typer.Option(
        envvar="HOTSWAP_MIGRATION_DATABASE_URL", show_default=False, help="As the role that owns the tables."
    ),
]


@app.command()
def upgrade(migration_database_url: OwnerUrl) -> None:
    """Bring the database to the newest version."""
    schema.upgrade(migration_database_url)
    typer.echo("the database is up to date")


@app.command()
def restored(migration_database_url: OwnerUrl) -> None:
    """Once after a backup was brought back: nodes take orders although they saw more than it knows of."""
    moved = brought_back.leap(migration_database_url)
    typer.echo(f"fences go on above all that nodes may have seen, in {moved} environments")


@app.command()
def audit_retention(
    migration_database_url: OwnerUrl,
    keep_months: Annotated[int, typer.Option(min=1, help="How many whole months stay.")],
) -> None:
    """Drop the months of the audit trail that are older than so many months."""
    dropped = audit_months.drop_old(migration_database_url, keep_months=keep_months)
    typer.echo(f"dropped: {', '.join(dropped) or 'nothing'}")


@app.command()
def bootstrap(
    database_url: DatabaseUrl,
    username: Annotated[str, typer.Option()],
    password_file: Annotated[Path, typer.Option(exists=True, dir_okay=False, readable=True)],
    tenant: Annotated[str, typer.Option()] = "default",
    keep_password: Annotated[
        bool, typer.Option(help="For machines: the password was made at random and no person has seen it.")
    ] = False,
) -> None:
    """Make the tenant, its environments and its first admin. Runs once: refused when users exist.

    The admin must change the password before anything else.
    """
    password = password_file.read_text(encoding="utf-8").strip()
    try:
        asyncio.run(_bootstrap(database_url, tenant, username, password, must_change=not keep_password))
    except HotswapError as error:
        typer.echo(f"{error.message} [{error.code}]", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"tenant {tenant} and its admin {username} are there")


async def _bootstrap(url: str, tenant: str, username: str, password: str, *, must_change: bool) -> None:
    database = Database(url, pool_size=1)
    try:
        await first.bootstrap(
            database, tenant=tenant, username=username, password=password, must_change=must_change
        )
    finally:
        await database.dispose()


if __name__ == "__main__":
    app()
