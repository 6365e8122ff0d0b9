"""`hotswap up`, `down`, `status`: the embedded stack of one directory."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.context import stack_target
from cli.errors import CommandFailed, sentence
from cli.fleet import standstill
from cli.session import AsJson, client_of, console, errors, show_json, show_table
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
    """Show each part of the stack, and where nothing may start.

    Exit code 0 when it is ready, 1 otherwise.
    """
    if not directory.is_dir():
        raise StartFailed(f"there is no stack in {directory}: start one with 'hotswap up'")
    stack = StackDirectory(root=directory.absolute())
    state = load(stack.state)
    ready = state.supervised and state.status is StackStatus.READY
    still = _standstills(stack) if ready else {}
    if as_json:
        show_json({**_described(state), "standstills": still})
    else:
        show_table(
            ("part", "state", "pid", "port", "restarts", "log"),
            [
                (name, _standing(part), part.process and part.process.pid, part.port, part.restarts, part.log)
                for name, part in state.parts.items()
            ],
        )
        console.print(f"stack: {_overall(state)}")
        for environment, why in still.items():
            console.print(f"{environment}: {why}", markup=False)
    raise typer.Exit(0 if ready else 1)


def _standstills(stack: StackDirectory) -> dict[str, str]:
    """Environments where nothing may start, each with why; none where the API does not say."""
    try:
        with client_of(stack_target(stack.client)) as client:
            found = {each["environment"]: standstill(each) for each in client.get("/clusters")["items"]}
    except CommandFailed as error:
        errors.print(f"environments: {sentence(error)}", markup=False)
        return {}
    return {environment: why for environment, why in found.items() if why is not None}


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
