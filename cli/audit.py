"""`hotswap audit`: who did what, and whether the record of it is whole."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.session import AsJson, connect, console, errors, moment, show_json, show_table
from domain.audit import AuditCategory, AuditOutcome

audit_app = typer.Typer(no_args_is_help=True, help="The audit trail: who did what.")

Actor = Annotated[str | None, typer.Option(help="Only what this person did.")]
Action = Annotated[str | None, typer.Option(help="Only this action, such as policy.set.")]
Category = Annotated[AuditCategory | None, typer.Option(help="Only of this category.")]
Outcome = Annotated[AuditOutcome | None, typer.Option(help="Only what was done, or what was refused.")]
Subject = Annotated[str | None, typer.Option(help="Only about this kind of object, such as deployment.")]
SubjectId = Annotated[str | None, typer.Option("--id", help="Only about the object of this id.")]
Trace = Annotated[str | None, typer.Option(help="Only of the request with this trace id.")]
Since = Annotated[str | None, typer.Option(help="From this time on, as 2026-03-01T00:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Before this time.")]


class ExportFormat(StrEnum):
    """How an export is written."""

    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(audit_app, name="audit")


@audit_app.command("list")
def list_entries(
    context: typer.Context,
    *,
    actor: Actor = None,
    action: Action = None,
    category: Category = None,
    outcome: Outcome = None,
    subject: Subject = None,
    subject_id: SubjectId = None,
    trace: Trace = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, latest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest entries that match."""
    wanted = _wanted(
        actor=actor,
        action=action,
        category=category,
        outcome=outcome,
        subject=subject,
        subject_id=subject_id,
        trace=trace,
        since=since,
        until=until,
    )
    with connect(context) as client:
        found = client.get("/audit", limit=limit, **wanted)["items"]
    if as_json:
        show_json(found)
    else:
        columns = ("number", "at", "actor", "action", "object", "outcome", "reason", "address")
        show_table(columns, (_row(entry) for entry in found))


@audit_app.command()
def verify(
    context: typer.Context,
    *,
    known: Annotated[
        str | None, typer.Option(help="What it said earlier, as ENTRIES:HASH, kept elsewhere since.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the chain of hashes over all entries; exit code 1 when an entry is missing or was changed."""
    entries, _, digest = (known or "").partition(":")
    with connect(context) as client:
        report = client.get("/audit/verify", **({"entries": entries, "hash": digest} if known else {}))
    if as_json:
        show_json(report)
    elif report["intact"]:
        console.print(f"intact: {report['entries']} entries, the last with {report['hash']}")
        console.print(f"later: hotswap audit verify --known {report['entries']}:{report['hash']}")
    if not report["intact"]:
        errors.print(f"error: the audit trail was changed: {report['fault']}", markup=False)
        raise typer.Exit(1)


@audit_app.command()
def export(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Argument(dir_okay=False, writable=True, help="The file to write.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="How it is written.")] = ExportFormat.JSON,
    actor: Actor = None,
    category: Category = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write every entry that matches into a file, oldest first."""
    wanted = _wanted(actor=actor, category=category, since=since, until=until)
    with connect(context) as client:
        size = client.download("/audit/export", output, format=form.value, **wanted)
    console.print(f"{size} bytes in {output}", markup=False)


def _wanted(**given: str | None) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    return (
        entry["sequence"],
        moment(entry["at"]),
        entry["actor"],
        entry["action"],
        f"{entry['subject']} {entry['subject_id']}",
        entry["outcome"],
        entry["reason"],
        entry["origin"]["address"],
    )
