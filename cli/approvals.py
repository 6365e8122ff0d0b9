"""`hotswap approve`, `reject`, `approvals`: people's decisions."""

import shlex
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import CommandFailed
from cli.session import AsJson, connect, console, moment, show_json, show_table
from domain.gate_rule import SubjectKind
from domain.names import approval_id
from domain.vote import Decision

if TYPE_CHECKING:  # httpx is not loaded before somebody is asked
    from cli.client import ApiClient

GateOrDeployment = Annotated[str, typer.Argument(metavar="ID", help="A deployment's id or an approval's id.")]
GateName = Annotated[str | None, typer.Option("--gate", help="Which gate, when several wait.")]
Comment = Annotated[str, typer.Option("--comment", help="Shown with the vote.")]
PrintSignal = Annotated[
    bool, typer.Option("--print-signal", help="Do not vote: print the Temporal CLI command that would.")
]

Behalf = Annotated[
    str | None, typer.Option("--for", metavar="NAME", help="Cast the vote that NAME has handed on to you.")
]

APPROVAL_PREFIX = "approval-"


@dataclass(frozen=True)
class Vote:
    """What is said, why, and whose vote it is when it is not one's own."""

    decision: Decision
    comment: str
    behalf: str | None


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(approve)
    app.command()(reject)
    app.command()(approvals)
    app.command()(delegate)
    app.command()(request)


def approve(
    context: typer.Context,
    *,
    subject: GateOrDeployment,
    gate: GateName = None,
    comment: Comment = "",
    behalf: Behalf = None,
    print_signal: PrintSignal = False,
) -> None:
    """Approve a waiting gate."""
    cast = Vote(Decision.APPROVE, comment, behalf)
    _vote(context, cast, subject, gate, print_signal=print_signal)


def reject(
    context: typer.Context,
    *,
    subject: GateOrDeployment,
    gate: GateName = None,
    comment: Comment = "",
    behalf: Behalf = None,
    print_signal: PrintSignal = False,
) -> None:
    """Reject a waiting gate: one rejection is enough."""
    cast = Vote(Decision.REJECT, comment, behalf)
    _vote(context, cast, subject, gate, print_signal=print_signal)


def approvals(context: typer.Context, as_json: AsJson = False) -> None:
    """List the gates that wait for people."""
    with connect(context) as client:
        found = list(client.items("/approvals/pending"))
    if as_json:
        show_json(found)
        return
    columns = (
        "id",
        "subject",
        "requested by",
        "approvals",
        "missing",
        "delegated",
        "expires",
        "then",
        "reminders",
    )
    show_table(
        columns,
        (
            (
                each["id"],
                each["subject"],
                each["requester"],
                f"{each['approvals']}/{each['required']}",
                each["waits_for"],
                ", ".join(f"{one['delegator']} → {one['delegate']}" for one in each["delegations"]),
                moment(each["expires_at"]),
                "waits on" if each["overdue"] else each["on_expiry"],
                f"{each['reminders']}×" if each["reminders"] else "",
            )
            for each in found
        ),
    )


def delegate(
    context: typer.Context,
    *,
    subject: GateOrDeployment,
    to: Annotated[str, typer.Option(help="Who casts your vote: a user, or with --link anybody's name.")],
    link: Annotated[
        Decision | None, typer.Option(help="Make a link that casts this vote once, without a login.")
    ] = None,
    expires_in: Annotated[int, typer.Option(help="Seconds that the link is good for.", min=60)] = 86400,
    gate: GateName = None,
) -> None:
    """Hand your vote at a waiting gate on, to a user or as a link."""
    with connect(context) as client:
        approval = find_approval(client, subject, gate)
        if link is None:
            client.post(f"/approvals/{approval}/delegations", {"to": to})
            console.print(f"{to} may cast your vote: hotswap approve {approval} --for YOU", markup=False)
            return
        order = {"to": to, "decision": link.value, "expires_in": expires_in}
        made = client.post(f"/approvals/{approval}/links", order)
    console.print(made["url"], markup=False, soft_wrap=True)
    console.print(f"casts your vote to {link.value}, once, until {moment(made['expires_at'])}", markup=False)


def request(
    context: typer.Context,
    *,
    kind: Annotated[SubjectKind, typer.Argument(help="What people are to decide on.")],
    environment: Annotated[str, typer.Option("--env", help="Whose policy says who decides.")],
    reference: Annotated[str, typer.Option(help="What it refers to: an id, a name, an address.")],
    digest: Annotated[str, typer.Option(help="SHA-256 of what is decided; votes bind to it.")],
    subject: Annotated[str, typer.Option("--subject", help="In words, for those who decide.")],
) -> None:
    """Ask people to decide on something that is no deployment."""
    order = {
        "kind": kind.value,
        "environment": environment,
        "reference": reference,
        "digest": digest,
        "subject": subject,
    }
    with connect(context) as client:
        opened = client.post("/approvals", order)
    console.print(f"{opened['id']} waits for {opened['waits_for']}", markup=False)


def _vote(context: typer.Context, cast: Vote, subject: str, gate: str | None, *, print_signal: bool) -> None:
    decision, comment = cast.decision.value, cast.comment
    with connect(context) as client:
        approval = find_approval(client, subject, gate)
        if print_signal:
            ticket = client.post(f"/approvals/{approval}/token", {"decision": decision, "comment": comment})
            console.print(signal_command(ticket), markup=False)
            return
        if cast.behalf is not None:
            order = {"on_behalf_of": cast.behalf, "decision": decision, "comment": comment}
            client.post(f"/approvals/{approval}/delegated", order)
        else:
            client.post(f"/approvals/{approval}/{decision}", {"comment": comment} if comment else {})
    console.print(f"{decision} sent to {approval}")


def find_approval(client: "ApiClient", subject: str, gate: str | None) -> str:
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
        raise CommandFailed(
            f"no gate of deployment {subject} waits: 'hotswap watch {subject}' shows where it stands,"
            " 'hotswap approvals' what waits"
        )
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
