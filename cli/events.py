"""`hotswap events`: everything that happened in the tenant, from a cursor on."""

from typing import Annotated, Any

import typer

from cli.session import AsJson, connect, console, moment, show_json, show_table


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(events)


def events(
    context: typer.Context,
    *,
    cursor: Annotated[str | None, typer.Option(help="Go on after this place.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as deployment.finished.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most, oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what happened, oldest first; from the last time's cursor on, nothing missed and nothing twice."""
    with connect(context) as client:
        page = client.get("/events", cursor=cursor, kind=kind, limit=limit)
    if as_json:
        show_json(page)
        return
    show_table(("id", "at", "kind", "about", "what"), (_row(event) for event in page["items"]))
    if page["cursor"]:
        console.print(f"cursor: {page['cursor']}{' (more follows)' if page['more'] else ''}", markup=False)


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    about = event["deployment"] or event["approval"] or event["promotion"]
    return event["id"], moment(event["at"]), event["kind"], about, event["payload"].get("message", "")
