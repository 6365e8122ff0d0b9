"""`hotswap approve`, `reject`, `approvals`: people's decisions."""

import shlex
import shutil
import sysconfig
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import ApiClient
from cli.errors import CommandFailed
from cli.session import AsJson, connect, console, moment, show_json, show_table
from domain.names import approval_id
from domain.vote import Decision

GateOrDeployment = Annotated[str, typer.Argument(metavar="ID", help="A deployment's id or an approval's id.")]
GateName = Annotated[str | None, typer.Option("--gate", help="Which gate, when several wait.")]
Comment = Annotated[str, typer.Option("--comment", help="Shown with the vote.")]
PrintSignal = Annotated[
    bool, typer.Option("--print-signal", help="Do not vote: print the Temporal CLI command that would.")
]

APPROVAL_PREFIX = "approval-"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(approve)
    app.command()(reject)
    app.command()(approvals)


def approve(
    context: typer.Context,
    *,
    subject: GateOrDeployment,
    gate: GateName = None,
    comment: Comment = "",
    print_signal: PrintSignal = False,
) -> None:
    """Approve a waiting gate."""
    _vote(context, Decision.APPROVE, subject, gate, comment, print_signal=print_signal)


def reject(
    context: typer.Context,
    *,
    subject: GateOrDeployment,
    gate: GateName = None,
    comment: Comment = "",
    print_signal: PrintSignal = False,
) -> None:
    """Reject a waiting gate: one rejection is enough."""
    _vote(context, Decision.REJECT, subject, gate, comment, print_signal=print_signal)


def approvals(context: typer.Context, as_json: AsJson = False) -> None:
    """List the gates that wait for people."""
    with connect(context) as client:
        found = list(client.items("/approvals/pending"))
    if as_json:
        show_json(found)
        return
    columns = ("id", "subject", "requested by", "approvals", "expires")
    show_table(
        columns,
        (
            (
                each["id"],
                each["subject"],
                each["requester"],
                f"{each['approvals']}/{each['required']}",
                moment(each["expires_at"]),
            )
            for each in found
        ),
    )


def _vote(
    context: typer.Context,
    decision: Decision,
    subject: str,
    gate: str | None,
    comment: str,
    *,
    print_signal: bool,
) -> None:
    with connect(context) as client:
        approval = find_approval(client, subject, gate)
        if print_signal:
            ticket = client.post(
                f"/approvals/{approval}/token", {"decision": decision.value, "comment": comment}
            )
            console.print(signal_command(ticket), markup=False)
            return
        client.post(f"/approvals/{approval}/{decision.value}", {"comment": comment} if comment else {})
    console.print(f"{decision.value} sent to {approval}")


def find_approval(client: ApiClient, subject: str, gate: str | None) -> str:
    """The approval that is meant: named itself, or the waiting gate of a deployment.

    Raises:
        CommandFailed: no gate of the deployment waits, or several do and none was named.
    """
    if subject.startswith(APPROVAL_PREFIX):
        return subject
    if gate is not None:
        return approval_id(subject, gate)
    waiting = [each["id"] for each in client.items("/approvals/pending") if each["deployment"] == subject]
    if len(waiting) == 1:
        return str(waiting[0])
    if not waiting:
        raise CommandFailed(f"no gate of deployment {subject} waits")
    raise CommandFailed(f"several gates wait: {', '.join(waiting)}; name one", field="gate")


def signal_command(ticket: dict[str, Any]) -> str:
    """The command of a ticket (POST /approvals/ID/token), to be run within its life, once.

    When `temporal` is not on the path, the one that was installed with Hotswap is named in full.
    """
    command = str(ticket["command"])
    beside = Path(sysconfig.get_path("scripts")) / "temporal"
    if shutil.which("temporal") is None and beside.exists():
        return f"{shlex.quote(str(beside))} {command.removeprefix('temporal ')}"
    return command
