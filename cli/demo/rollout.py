"""One rollout of the demo: asked for, shown, attended, and measured."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cli.client import ApiClient
from cli.demo.setting import ENVIRONMENT, MODULE
from cli.errors import CommandFailed
from cli.follow import Update, follow
from cli.sse import ServerEvent
from cli.watching import for_people
from domain.analysis import Outcome
from domain.base import Frozen
from domain.deployment import Phase
from domain.events import EventKind

DEADLINE = 150.0  # seconds that one rollout of the demo may take
TICK = 1.0


class Course(Frozen):
    """How a rollout went; times are seconds since the epoch, `console` its page in the Temporal console."""

    console: str
    began: float
    ended: float
    exit_code: int
    touched: tuple[str, ...]
    first_wave: int
    detection_seconds: float = 0.0


def deploy(
    client: ApiClient,
    version: str,
    *,
    strategy: str | None = None,
    expected: int,
    attend: Callable[[Update], None] = lambda _: None,
) -> Course:
    """Ask for a rollout and follow it to its end; without a strategy the environment's policy decides.

    Raises:
        CommandFailed: it does not end within DEADLINE, or otherwise than with the `expected` exit code.
    """
    body = {
        "module": MODULE,
        "version": version,
        "environment": ENVIRONMENT,
        "strategy": strategy,
        "description": f"demo: {MODULE} {version}",
    }
    began = time.time()
    accepted = client.post("/deployments", body, key=str(uuid.uuid4()))
    events: list[ServerEvent] = []
    last = Update(deployment=accepted)
    with for_people(live=True) as show:
        for update in follow(client, accepted["id"], seconds=DEADLINE, tick=TICK):
            show(update)
            attend(update)
            events += update.events
            last = update
    ended = time.time()
    code = int(last.deployment["exit_code"])
    if code != expected:
        why = last.deployment.get("cause") or last.deployment.get("message")
        phase = last.deployment["phase"]
        raise CommandFailed(f"{version} ended as {phase} with exit code {code}, not {expected}: {why}")
    nodes: list[dict[str, Any]] = last.deployment["nodes"]
    return Course(
        console=accepted["links"]["console"],
        began=began,
        ended=ended,
        exit_code=code,
        touched=tuple(node["name"] for node in nodes if node["touched_at"]),
        first_wave=sum(node["wave"] == 1 for node in nodes),
        detection_seconds=detection(events),
    )


def detection(events: list[ServerEvent]) -> float:
    """Seconds from the order to activate the first wave to the failing verdict; 0 when there was none."""
    activated: datetime | None = None
    for event in events:
        content = json.loads(event.data)
        at = datetime.fromisoformat(content["at"])
        if content.get("phase") == Phase.ACTIVATING and activated is None:
            activated = at
        failed = event.event == EventKind.VERDICT and content["details"]["outcome"] == Outcome.FAIL
        if failed and activated is not None:
            return (at - activated).total_seconds()
    return 0.0
