"""The embedded stack's supervisor as the command line starts it, and what people are told of the stack."""

import asyncio
import logging
import subprocess
import time
from pathlib import Path

from rich.logging import RichHandler
from rich.markup import escape

from cli.session import console, errors
from runtime.embedded import bootstrap
from runtime.embedded.choices import Choices
from runtime.embedded.directory import StackDirectory
from runtime.embedded.part import StartFailed, python, tail
from runtime.embedded.stack import AlreadyRunning, open_directory, read_choices, serve
from runtime.embedded.state import StackStatus, load

START_SECONDS = 300.0
_POLL_SECONDS = 0.2


def bring_up(path: Path, *, nodes: int | None, environment: str | None, detach: bool) -> None:
    """Serve the stack of a directory until Ctrl-C, or start a supervisor that does; say where it is.

    Raises:
        AlreadyRunning: it is about to start or to stop, or runs with other nodes.
        StartFailed: it did not come up.
    """
    stack = open_directory(path)
    present = load(stack.state)
    if present.supervised and present.status is not StackStatus.READY:
        raise AlreadyRunning(f"the stack in {stack.root} is {present.status}")
    if present.supervised:
        chosen = read_choices(stack)
        wanted = (chosen.nodes if nodes is None else nodes, environment or chosen.environment)
        if wanted != (chosen.nodes, chosen.environment):
            raise AlreadyRunning(
                f"the stack in {stack.root} runs, with {chosen.nodes} nodes in {chosen.environment}: stop it"
                " with 'hotswap down' before it can have others"
            )
        announce(stack, chosen)
        return
    if detach:
        announce(stack, start_detached(stack, nodes=nodes, environment=environment))
        return
    progress = RichHandler(console=errors, show_path=False, show_level=False, markup=False)
    logging.getLogger("runtime.embedded").addHandler(progress)
    asyncio.run(
        serve(stack, nodes=nodes, environment=environment, ready=lambda chosen: announce(stack, chosen))
    )


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
