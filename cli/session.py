"""What commands share: the signed-in client, and output as a table for people or JSON for machines."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.client import ApiClient
from cli.context import Choice, find_target

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of a table.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def connect(context: typer.Context) -> ApiClient:
    """The client of the control plane that the command line, the environment or a saved profile names."""
    choice = context.find_root().obj
    target = find_target(
        choice if isinstance(choice, Choice) else Choice(), environment=os.environ, directory=Path.cwd()
    )
    return ApiClient(target, cache=token_cache())


def token_cache() -> Path:
    """Where tokens got with a password are kept: $XDG_CACHE_HOME/hotswap."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotswap"


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table without lines, or "none"."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.upper())
    for row in rows:
        table.add_row(*("—" if value in (None, "") else str(value) for value in row))
    console.print(table if table.row_count else "none")
