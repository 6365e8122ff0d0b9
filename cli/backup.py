"""`hotswap backup`, `hotswap restore`: the embedded stack of one directory, saved and brought back."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli.session import console, errors
from cli.stack import DEFAULT_DIRECTORY, Directory
from runtime.embedded.directory import StackDirectory


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(backup)
    app.command()(restore)


def backup(
    target: Annotated[Path, typer.Argument(help="A new directory. It will hold every key and password.")],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Save a running stack, nodes included, while it works."""
    from runtime.embedded.backup import back_up  # noqa: PLC0415 - PostgreSQL's client takes half a second

    began = time.monotonic()
    with errors.status("saving …"):
        made = back_up(StackDirectory(root=directory.absolute()), target.absolute())
    taken = time.monotonic() - began
    size = sum(path.lstat().st_size for path in target.rglob("*")) / 2**20
    console.print(
        f"saved {escape(str(target))}: {size:.0f} MiB in {taken:.1f} s, as of {made.at:%H:%M:%S} UTC"
    )


def restore(
    source: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="What 'backup' has made.")],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Make a stack from a backup, in a directory that is empty. Start it with 'hotswap up'."""
    from runtime.embedded.backup import restore as bring_back  # noqa: PLC0415 - as above

    with errors.status("checking and copying …"):
        made = bring_back(source.absolute(), StackDirectory(root=directory.absolute()))
    console.print(f"{escape(str(directory))} is as it was on {made.at:%Y-%m-%d %H:%M:%S} UTC; start it with")
    console.print(f"  hotswap up --dir {escape(str(directory))}")
