"""What commands share: the signed-in client, and output as a table for people or JSON for machines."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.context import Choice, Target, find_target

if TYPE_CHECKING:  # httpx is not loaded before somebody is asked
    from cli.client import ApiClient

WIDEST = 10_000  # columns; wider than any table

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of a table.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def connect(context: typer.Context) -> "ApiClient":
    """The client of the control plane that the command line, the environment or a saved profile names."""
    choice = context.find_root().obj
    return client_of(
        find_target(
            choice if isinstance(choice, Choice) else Choice(), environment=os.environ, directory=Path.cwd()
        )
    )


def client_of(target: Target) -> "ApiClient":
    """The client of one control plane."""
    from cli.client import ApiClient  # noqa: PLC0415 - see above

    return ApiClient(target, cache=token_cache())


def token_cache() -> Path:
    """Where tokens got with a password are kept: $XDG_CACHE_HOME/hotswap."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotswap"


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table without lines, or "none". Off a terminal it is as wide as it needs to be."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column.upper(), no_wrap=index == 0)
    for row in rows:
        table.add_row(*("—" if value in (None, "") else escape(str(value)) for value in row))
    out = console if console.is_terminal else Console(file=console.file, highlight=False, width=WIDEST)
    out.print(table if table.row_count else "none")


def moment(at: str | None) -> str | None:
    """A time of the API, on this machine's clock, to the second."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else None
