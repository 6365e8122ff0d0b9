"""`hotswap freeze …`: when nothing may start in an environment, by calendar or from now on."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.approvals import signal_command
from cli.errors import CommandFailed
from cli.session import AsJson, connect, console, moment, show_json, show_table

Environment = Annotated[str, typer.Argument(metavar="ENV", help="The environment.")]
Why = Annotated[str, typer.Option("--reason", help="Why; shown to those who wait, and kept.")]
UNITS = {"m": "minutes", "h": "hours", "d": "days"}

freeze_app = typer.Typer(no_args_is_help=True, help="Freezes: when nothing may start in an environment.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(freeze_app, name="freeze")


@freeze_app.command("list")
def list_freezes(
    context: typer.Context,
    environment: Environment,
    removed: Annotated[bool, typer.Option("--removed", help="Also those that were removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show whether an environment is frozen now, and its freezes."""
    with connect(context) as client:
        shown = client.get(f"/clusters/{environment}/freezes", removed=removed or None)
    if as_json:
        show_json(shown)
        return
    console.print(_state(shown), markup=False)
    columns = ("name", "kind", "holds", "until", "next", "when", "reason", "by")
    show_table(columns, (_row(each) for each in shown["items"]))


@freeze_app.command("add")
def add(
    context: typer.Context,
    *,
    environment: Environment,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The window's name.")],
    starts: Annotated[str, typer.Option("--from", help="Local time: 2026-12-23T18:00")],
    ends: Annotated[str, typer.Option("--to", help="Local time: 2026-12-27T08:00")],
    zone: Annotated[str, typer.Option("--zone", help="IANA time zone: Europe/Berlin")],
    reason: Why,
    repeat: Annotated[
        str | None, typer.Option("--repeat", help="RFC 5545 rule: FREQ=WEEKLY;BYDAY=FR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a window into an environment's calendar, once or recurring."""
    said = {
        "name": name,
        "reason": reason,
        "zone": zone,
        "starts": starts,
        "ends": ends,
        "repeat": repeat,
    }
    body = {key: value for key, value in said.items() if value is not None}
    with connect(context) as client:
        added = client.post(f"/clusters/{environment}/freezes", body)
    if as_json:
        show_json(added)
        return
    console.print(f"{name} added to {environment}: {_when(added)}", markup=False)


@freeze_app.command("remove")
def remove(
    context: typer.Context,
    environment: Environment,
    freeze: Annotated[str, typer.Argument(metavar="NAME", help="The window's name, or a freeze's id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept.")] = "",
) -> None:
    """Take a freeze out; what it holds goes on."""
    with connect(context) as client:
        client.delete(f"/clusters/{environment}/freezes/{freeze}", reason=reason or None)
    console.print(f"{freeze} removed from {environment}", markup=False)


@freeze_app.command("now")
def now(
    context: typer.Context,
    environment: Environment,
    reason: Why,
    lasting: Annotated[
        str | None, typer.Option("--for", help="30m, 4h or 2d; without it until it is thawed.")
    ] = None,
) -> None:
    """Let nothing start from now on. Rollouts finish the nodes they are on; rollbacks still run."""
    body: dict[str, Any] = {"reason": reason}
    if lasting is not None:
        body["until"] = (datetime.now(UTC) + span(lasting)).isoformat()
    with connect(context) as client:
        shown = client.post(f"/clusters/{environment}/freeze", body)
    console.print(_state(shown), markup=False)


@freeze_app.command("thaw")
def thaw(
    context: typer.Context,
    environment: Environment,
    reason: Why,
    print_signal: Annotated[
        bool,
        typer.Option("--print-signal", help="Do not thaw: print the Temporal CLI command that would."),
    ] = False,
) -> None:
    """End what people froze now. The calendar stays as it is."""
    with connect(context) as client:
        if print_signal:
            ticket = client.post(f"/clusters/{environment}/thaw/token", {"reason": reason})
            console.print(signal_command(ticket), markup=False)
            return
        shown = client.post(f"/clusters/{environment}/thaw", {"reason": reason})
    console.print(_state(shown), markup=False)


def span(words: str) -> timedelta:
    """A length of time such as 30m, 4h or 2d.

    Raises:
        CommandFailed: it is none.
    """
    number, unit = words[:-1], words[-1:]
    if unit not in UNITS or not number.isdecimal() or not 0 < int(number) < 100_000:
        raise CommandFailed(f"{words!r} is not a length of time such as 30m, 4h or 2d", field="for")
    return timedelta(**{UNITS[unit]: int(number)})


def _state(shown: dict[str, Any]) -> str:
    held = present(shown["freeze"]) if shown["freeze"] is not None else "open"
    return f"{shown['environment']} is {held}"


def present(freeze: dict[str, Any]) -> str:
    """A freeze that holds now: until when and why."""
    until = freeze["until"]
    end = moment(datetime.fromtimestamp(until, tz=UTC).isoformat()) if until else "it is thawed"
    return f"frozen until {end}: {freeze['reason']}"


def _when(added: dict[str, Any]) -> str:
    if added["holds"]:
        return f"holds until {moment(added['until'])}"
    if added["next_start"]:
        return f"next from {moment(added['next_start'])}"
    return "it holds for the first time in more than a year"


def _row(freeze: dict[str, Any]) -> tuple[object, ...]:
    window = freeze["window"]
    when = ""
    if window is not None:
        repeat = f" {window['repeat']}" if window["repeat"] else ""
        when = f"{window['starts']} to {window['ends']} {window['zone']}{repeat}"
    holds = "removed" if freeze["removed_at"] else "yes" if freeze["holds"] else "no"
    return (
        freeze["name"] or freeze["id"],
        freeze["kind"],
        holds,
        moment(freeze["until"]),
        moment(freeze["next_start"]),
        when,
        freeze["reason"],
        freeze["created_by"],
    )
