"""`hotswap up`, `down`, `status`: the embedded stack of one directory."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.session import AsJson, console, show_json, show_table
from runtime.embedded.directory import StackDirectory
from runtime.embedded.part import StartFailed
from runtime.embedded.state import PartState, StackState, StackStatus, load

Directory = Annotated[Path, typer.Option("--dir", help="Where all of the stack is kept.")]
DEFAULT_DIRECTORY = Path(".hotswap")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    nodes: Annotated[int | None, typer.Option(min=0, max=500, help="How many nodes; 10 at first.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="Where the nodes belong; production at first.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready; it goes on.")] = False,
) -> None:
    """Bring up PostgreSQL, Temporal, API, worker and nodes on this machine. Ctrl-C stops them all."""
    from cli.supervisor import bring_up  # noqa: PLC0415 - PostgreSQL's and Temporal's clients take half a second

    bring_up(directory, nodes=nodes, environment=environment, detach=detach)


def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the stack, in order; what a killed supervisor left running, too."""
    from runtime.embedded.stack import end, open_directory  # noqa: PLC0415 - as above

    if not directory.is_dir():
        raise StartFailed(f"there is no stack in {directory}: run this where it is, or name it with --dir")
    found = asyncio.run(end(open_directory(directory)))
    console.print("stopped" if found else "nothing was running")


def status(directory: Directory = DEFAULT_DIRECTORY, *, as_json: AsJson = False) -> None:
    """Show each part of the stack. Exit code 0 when it is ready, 1 otherwise."""
    if not directory.is_dir():
        raise StartFailed(f"there is no stack in {directory}: start one with 'hotswap up'")
    stack = StackDirectory(root=directory.absolute())
    state = load(stack.state)
    if as_json:
        show_json(_described(state))
    else:
        show_table(
            ("part", "state", "pid", "port", "restarts", "log"),
            [
                (name, _standing(part), part.process and part.process.pid, part.port, part.restarts, part.log)
                for name, part in state.parts.items()
            ],
        )
        console.print(f"stack: {_overall(state)}")
    raise typer.Exit(0 if state.supervised and state.status is StackStatus.READY else 1)


def _described(state: StackState) -> dict[str, object]:
    parts = {
        name: {
            "state": _standing(part),
            "pid": part.process.pid if part.process is not None else None,
            "port": part.port,
            "restarts": part.restarts,
            "log": str(part.log),
        }
        for name, part in state.parts.items()
    }
    return {
        "status": _overall(state),
        "problem": state.problem,
        "supervisor": state.supervisor.pid if state.supervisor is not None and state.supervised else None,
        "parts": parts,
    }


def _overall(state: StackState) -> str:
    if state.supervised or state.status in (StackStatus.STOPPED, StackStatus.FAILED):
        return str(state.status)
    return "without supervisor" if state.unfinished else str(StackStatus.STOPPED)


def _standing(part: PartState) -> str:
    if part.process is not None and not part.process.alive():
        return "gone"
    return str(part.status)
