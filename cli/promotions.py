"""`hotswap promotions …`: one release through several environments in order."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.errors import CommandFailed
from cli.promotion_view import promotion_headline, render_promotion
from cli.session import AsJson, Reason, connect, console, errors, moment, show_json, show_table
from cli.watching import Frames, Picture, Timeout, Watch, watch
from domain.command import CommandName
from domain.promotion import OnFailure, PromotionPhase

PICTURE = Picture(
    kind="promotions",
    command="hotswap promotions watch",
    headline=promotion_headline,
    render=render_promotion,
)

PromotionId = Annotated[str, typer.Argument(metavar="ID", help="The promotion's id.")]
ORDERS = {
    CommandName.PAUSE: "Hold a promotion and its deployment under way; one that still waits is withdrawn.",
    CommandName.RESUME: "Let a paused promotion go on.",
    CommandName.ABORT: "Stop a promotion and its deployment under way.",
}

group = typer.Typer(no_args_is_help=True, help="One release through several environments in order.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command, words in ORDERS.items():
        group.command(command.value, help=words)(_order(command))
    app.add_typer(group, name="promotions")


@group.command()
def start(
    context: typer.Context,
    *,
    release: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The release to promote.")],
    environments: Annotated[
        list[str] | None,
        typer.Option("--env", help="An environment; once per environment, in order. Without it: all."),
    ] = None,
    on_failure: Annotated[
        OnFailure | None,
        typer.Option(help="Keep the environments before the one that fails, or take them back, too."),
    ] = None,
    soak: Annotated[
        float | None, typer.Option(min=0, help="Seconds in each environment before the next.")
    ] = None,
    description: Annotated[str, typer.Option(help="Why; shown to those who approve.")] = "",
    live: Watch = False,
    as_json: Frames = False,
    timeout: Timeout = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or return at once.")
    ] = True,
) -> None:
    """Bring a release through the environments, each with its own policy, one after the other.

    Exit codes: 0 completed everywhere, 2 turned back and verified, 3 not verified somewhere, 4 still under
    way or waiting, 5 rejected or aborted, 1 stopped before anything was changed, or an error.
    """
    module, _, version = release.partition("@")
    if not module or not version:
        raise CommandFailed(f"{release!r} is not NAME@VERSION", field="release")
    said: dict[str, Any] = {
        "module": module,
        "version": version,
        "environments": environments or None,
        "on_failure": on_failure,
        "soak": soak,
        "description": description or None,
    }
    with connect(context) as client:
        body = {key: value for key, value in said.items() if value is not None}
        accepted = client.post("/promotions", body, key=str(uuid.uuid4()))
        follow = f"hotswap promotions watch {accepted['id']}"
        errors.print(f"promotion {accepted['id']} accepted; follow it with: {follow}")
        seconds = timeout if wait else 0.0
        raise typer.Exit(
            watch(client, accepted["id"], picture=PICTURE, live=live, as_json=as_json, seconds=seconds)
        )


@group.command("watch")
def watch_promotion(
    context: typer.Context, promotion: PromotionId, as_json: Frames = False, timeout: Timeout = None
) -> None:
    """Follow a promotion to its end; exit codes as `start`."""
    with connect(context) as client:
        raise typer.Exit(
            watch(client, promotion, picture=PICTURE, live=True, as_json=as_json, seconds=timeout)
        )


@group.command("list")
def list_promotions(
    context: typer.Context,
    module: Annotated[str | None, typer.Option(help="Only of this module.")] = None,
    phase: Annotated[PromotionPhase | None, typer.Option(help="Only in this phase.")] = None,
    as_json: AsJson = False,
) -> None:
    """List promotions, newest first."""
    with connect(context) as client:
        found = list(client.items("/promotions", module=module, phase=phase and phase.value))
    if as_json:
        show_json(found)
        return
    show_table(
        ("id", "module", "version", "phase", "environments", "waiting for", "by", "created"),
        (
            (
                each["id"],
                each["module"],
                each["version"],
                each["phase"],
                ", ".join(f"{stage['environment']}: {stage['state']}" for stage in each["stages"]),
                each["waiting_for"],
                each["requester"],
                moment(each["created_at"]),
            )
            for each in found
        ),
    )


def _order(command: CommandName) -> Callable[..., None]:
    def order(
        context: typer.Context,
        *,
        promotion: PromotionId,
        reason: Reason = "",
        live: Watch = False,
        as_json: Frames = False,
        timeout: Timeout = None,
    ) -> None:
        with connect(context) as client:
            client.post(f"/promotions/{promotion}/{command.value}", {"reason": reason})
            if live or as_json:
                raise typer.Exit(
                    watch(client, promotion, picture=PICTURE, live=live, as_json=as_json, seconds=timeout)
                )
        console.print(
            f"{command} of {promotion} is on its way; follow it with: hotswap promotions watch {promotion}"
        )

    return order
