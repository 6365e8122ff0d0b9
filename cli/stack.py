"""`hotswap up`, `down`, `status`: the embedded stack of one directory."""

import asyncio
import logging
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.markup import escape

from cli.session import AsJson, console, errors, show_json, show_table
from runtime.embedded import bootstrap
from runtime.embedded.choices import Choices
from runtime.embedded.directory import StackDirectory
from runtime.embedded.part import StartFailed, python, tail
from runtime.embedded.stack import AlreadyRunning, end, open_directory, read_choices, serve
from runtime.embedded.state import PartState, StackState, StackStatus, load

START_SECONDS = 300.0
_POLL_SECONDS = 0.2

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
    stack = open_directory(directory)
    present = load(stack.state)
    if present.supervised and present.status is not StackStatus.READY:
        raise AlreadyRunning(f"the stack in {stack.root} is {present.status}")
    if present.supervised:
        announce(stack, read_choices(stack))
        return
    if detach:
        announce(stack, start_detached(stack, nodes=nodes, environment=environment))
        return
    progress = RichHandler(console=errors, show_path=False, show_level=False, markup=False)
    logging.getLogger("runtime.embedded").addHandler(progress)
    asyncio.run(
        serve(stack, nodes=nodes, environment=environment, ready=lambda chosen: announce(stack, chosen))
    )


def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the stack, in order; what a killed supervisor left running, too."""
    if not directory.is_dir():
        raise StartFailed(f"there is no stack in {directory}")
    found = asyncio.run(end(open_directory(directory)))
    console.print("stopped" if found else "nothing was running")


def status(directory: Directory = DEFAULT_DIRECTORY, *, as_json: AsJson = False) -> None:
    """Show each part of the stack. Exit code 0 when it is ready, 1 otherwise."""
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


def start_detached(
    directory: StackDirectory, *, nodes: int | None = None, environment: str | None = None
) -> Choices:
    """Start a supervisor that outlives us; return when the stack is ready.

    Raises:
        StartFailed: it did not come up; nothing of it is left running.
    """
    arguments = ["-m", "runtime.embedded", "--directory", str(directory.root)]
    arguments += ["--nodes", str(nodes)] if nodes is not None else []
    arguments += ["--environment", environment] if environment is not None else []
    directory.logs.mkdir(exist_ok=True)
    with directory.log("supervisor-output").open("ab") as output:
        supervisor = subprocess.Popen(
            python(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory.root,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    with errors.status("starting …"):
        while time.monotonic() < deadline:
            state = load(directory.state)
            ours = state.supervisor is not None and state.supervisor.pid == supervisor.pid
            if ours and state.status is StackStatus.READY:
                return read_choices(directory)
            if supervisor.poll() is not None:
                said = state.problem if ours else tail(directory.log("supervisor-output"))
                raise StartFailed(said or f"the supervisor ended; see {directory.supervisor_log}")
            time.sleep(_POLL_SECONDS)
    supervisor.terminate()
    raise StartFailed(f"not ready after {START_SECONDS:.0f} s; see {directory.supervisor_log}")


def announce(directory: StackDirectory, chosen: Choices) -> None:
    """Print where everything is and how to sign in."""
    ports = chosen.ports
    lines = {
        "API": f"{bootstrap.api_url(chosen)}/api/v1/docs",
        "Temporal console": f"http://{bootstrap.HOST}:{ports['temporal-ui']}",
        "Nodes": f"{chosen.nodes} in {chosen.environment}",
        "Logs": str(directory.logs),
        "Sign in": f"user {bootstrap.ADMIN}, password in {directory.admin_password}",
        "CLI": f"signed in by {directory.client}: run it from {directory.root.parent}",
        "Signing": f"certificate and key in {directory.signing}",
    }
    console.print("[bold]Hotswap is ready[/bold]")
    for name, value in lines.items():
        console.print(f"  {name:<17} {escape(value)}")


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
