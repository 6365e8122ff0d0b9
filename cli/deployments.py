"""`hotswap deploy`, `watch`, `deployments`, and the orders to a deployment under way."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from cli.errors import CommandFailed, why
from cli.plans import compared, show_difference, show_plan
from cli.session import AsJson, Reason, connect, console, errors, moment, show_json, show_table
from cli.watching import Frames, Timeout, Watch, watch
from domain.arrival import Arrival
from domain.command import CommandName
from domain.deployment import Phase
from domain.strategy import Strategy

NAMED_STRATEGIES = ("blue-green", "canary", "direct", "rolling")

DeploymentId = Annotated[str, typer.Argument(metavar="ID", help="The deployment's id.")]
Hotfix = Annotated[
    str | None,
    typer.Option(
        "--hotfix", metavar="REASON", help="Goes before all others, also in a freeze; has its own gate."
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(deploy)
    app.command("plan")(plan_deployment)
    app.command("watch")(watch_deployment)
    app.command("deployments")(list_deployments)
    for command, words in ORDERS.items():
        app.command(command.value, help=words)(_order(command))
    app.command()(rollback)
    app.command()(retry)


def deploy(
    context: typer.Context,
    *,
    release: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The release to bring.")],
    environment: Annotated[str, typer.Option("--env", help="Where to.")],
    strategy: Annotated[
        str | None,
        typer.Option(
            help="canary, blue-green, rolling, direct, or a YAML or JSON file; without it the policy decides."
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="Why; shown to those who approve.")] = "",
    arrival: Annotated[
        Arrival | None, typer.Option(help="When the lane is busy; only stricter than the environment's.")
    ] = None,
    hotfix: Hotfix = None,
    override: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="With --hotfix: even in a frozen lane; has its own gate."),
    ] = None,
    live: Watch = False,
    as_json: Frames = False,
    timeout: Timeout = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or return at once.")
    ] = True,
) -> None:
    """Bring a release to an environment.

    Exit codes: 0 completed, 2 rolled back and verified, 3 rolled back but not verified or frozen, 4 still
    under way or waiting, 5 rejected or aborted, 1 error.
    """
    body = _request(release, environment, strategy, hotfix)
    if description:
        body["description"] = description
    if arrival is not None:
        body["arrival"] = arrival.value
    if override is not None:
        body["override"] = override
    with connect(context) as client:
        accepted = client.post("/deployments", body, key=str(uuid.uuid4()))
        errors.print(f"deployment {accepted['id']} accepted; follow it with: hotswap watch {accepted['id']}")
        seconds = timeout if wait else 0.0
        raise typer.Exit(watch(client, accepted["id"], live=live, as_json=as_json, seconds=seconds))


def plan_deployment(
    context: typer.Context,
    *,
    release: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The release to bring.")],
    environment: Annotated[str, typer.Option("--env", help="Where to.")],
    strategy: Annotated[str | None, typer.Option(help="As for `deploy`.")] = None,
    hotfix: Hotfix = None,
    diff: Annotated[
        str | None,
        typer.Option(metavar="ID|FILE", help="What differs from a deployment's plan, or one kept by --json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what `deploy` would do now, wave by wave; nothing is written and nothing moves.

    For each wave: its nodes, the zones that they are of (and how many of a zone are left alone meanwhile),
    gates, steps, the time that earlier deployments took for such steps, and what is taken back if it fails.
    """
    with connect(context) as client:
        shown = client.post("/deployments/plan", _request(release, environment, strategy, hotfix))
        found = compared(client, diff, shown["plan"]) if diff is not None else None
    if as_json:
        show_json(shown if found is None else found.model_dump(mode="json"))
    elif found is not None:
        show_difference(found)
    else:
        show_plan(release, shown)


def _request(release: str, environment: str, strategy: str | None, hotfix: str | None) -> dict[str, Any]:
    """The body of POST /deployments and /deployments/plan; what was not said is left out."""
    module, _, version = release.partition("@")
    if not module or not version:
        raise CommandFailed(f"{release!r} is not NAME@VERSION", field="release")
    body: dict[str, Any] = {"module": module, "version": version, "environment": environment}
    if (chosen := read_strategy(strategy)) is not None:
        body["strategy"] = chosen
    if hotfix is not None:
        body |= {"hotfix": True, "reason": hotfix}
    return body


def read_strategy(chosen: str | None) -> str | dict[str, Any] | None:
    """A strategy's name as it is, or the content of a YAML file, checked.

    Raises:
        CommandFailed: neither a known name nor a readable strategy file.
    """
    if chosen is None or chosen in NAMED_STRATEGIES:
        return chosen
    try:
        content = yaml.safe_load(Path(chosen).read_text(encoding="utf-8"))
        strategy: Strategy = TypeAdapter[Strategy](Strategy).validate_python(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        known = ", ".join(NAMED_STRATEGIES)
        raise CommandFailed(
            f"{chosen!r} is neither {known} nor a strategy file: {why(error)}", field="strategy"
        ) from error
    return strategy.model_dump(mode="json", exclude_unset=True)


def watch_deployment(
    context: typer.Context, deployment: DeploymentId, as_json: Frames = False, timeout: Timeout = None
) -> None:
    """Follow a deployment to its end, its rollback included; exit codes as `deploy`."""
    with connect(context) as client:
        raise typer.Exit(watch(client, deployment, live=True, as_json=as_json, seconds=timeout))


def list_deployments(
    context: typer.Context,
    environment: Annotated[str | None, typer.Option("--env", help="Only of this environment.")] = None,
    phase: Annotated[Phase | None, typer.Option(help="Only in this phase.")] = None,
    as_json: AsJson = False,
) -> None:
    """List deployments, newest first."""
    with connect(context) as client:
        found = list(client.items("/deployments", environment=environment, phase=phase and phase.value))
    if as_json:
        show_json(found)
        return
    columns = (
        "id",
        "module",
        "from",
        "to",
        "environment",
        "strategy",
        "phase",
        "waiting for",
        "by",
        "created",
    )
    keys = (
        "id",
        "module",
        "replaces",
        "version",
        "environment",
        "strategy",
        "phase",
        "waiting_for",
        "requester",
    )
    ahead = {each["environment"]: each["id"] for each in found if _under_way(Phase(each["phase"]))}
    for each in found:
        if each["phase"] == Phase.QUEUED and each["environment"] in ahead:
            each["waiting_for"] += f", after {ahead[each['environment']]}"
    show_table(columns, ([*(each[key] for key in keys), moment(each["created_at"])] for each in found))


def _under_way(phase: Phase) -> bool:
    return phase is not Phase.QUEUED and not phase.terminal


ORDERS = {
    CommandName.PAUSE: "Hold a deployment at its next safe point.",
    CommandName.RESUME: "Let a paused deployment go on.",
    CommandName.PROMOTE: "Skip the present wait (bake, analysis or hold), never a gate.",
    CommandName.ABORT: "Stop a deployment and take back what it changed.",
}


def rollback(
    context: typer.Context,
    *,
    deployment: DeploymentId,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="Even in a lane that is frozen; has its own gate.")
    ] = None,
    live: Watch = False,
    as_json: Frames = False,
    timeout: Timeout = None,
) -> None:
    """Take a deployment back: stop it, or undo a completed one."""
    more = {"override": override} if override is not None else {}
    _send(context, deployment, "rollback", reason, live=live, as_json=as_json, timeout=timeout, more=more)


def retry(
    context: typer.Context,
    *,
    deployment: DeploymentId,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Only the nodes that the deployment has lost.")
    ] = False,
    reason: Reason = "",
    live: Watch = False,
    as_json: Frames = False,
    timeout: Timeout = None,
) -> None:
    """Try a deployment again that is over, as a deployment of its own."""
    body = {"reason": reason, "failed_only": failed_only}
    with connect(context) as client:
        fresh = client.post(f"/deployments/{deployment}/retry", body)["id"]
        if live or as_json:
            raise typer.Exit(watch(client, fresh, live=live, as_json=as_json, seconds=timeout))
    console.print(f"{deployment} is tried again; follow it with: hotswap watch {fresh}")


def _order(command: CommandName) -> Callable[..., None]:
    def order(
        context: typer.Context,
        *,
        deployment: DeploymentId,
        reason: Reason = "",
        live: Watch = False,
        as_json: Frames = False,
        timeout: Timeout = None,
    ) -> None:
        _send(context, deployment, command.value, reason, live=live, as_json=as_json, timeout=timeout)

    return order


def _send(
    context: typer.Context,
    deployment: str,
    command: str,
    reason: str,
    *,
    live: bool,
    as_json: bool,
    timeout: float | None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Send an order; follow what comes of it when that is wanted (undoing is a deployment of its own)."""
    with connect(context) as client:
        followed = client.post(f"/deployments/{deployment}/{command}", {"reason": reason, **(more or {})})[
            "id"
        ]
        if live or as_json:
            raise typer.Exit(watch(client, followed, live=live, as_json=as_json, seconds=timeout))
    console.print(f"{command} of {deployment} is on its way; follow it with: hotswap watch {followed}")
