"""`hotswap demo`: the whole story in one command, measured."""

from typing import Annotated

import typer

from cli.stack import DEFAULT_DIRECTORY, Directory


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    directory: Directory = DEFAULT_DIRECTORY,
    leave: Annotated[
        bool,
        typer.Option(
            "--exit", envvar="DEMO_EXIT", help="Stop the stack at the end instead of leaving it open."
        ),
    ] = False,
) -> None:
    """Roll a good release out under traffic, then a bad one, on ten real local nodes; measure both."""
    from cli.demo.story import tell  # noqa: PLC0415 - the stack and the traffic take most of a second

    raise typer.Exit(tell(directory, leave=leave))
