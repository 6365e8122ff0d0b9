"""The demo at a gate: says how a person would decide, then decides as demo-approver."""

import time
from typing import Any

from cli.approvals import signal_command
from cli.client import ApiClient
from cli.errors import Refused
from cli.follow import Update
from cli.session import console
from domain.deployment import Phase
from domain.vote import Decision

READING_TIME = 5.0  # seconds in which a person may decide first


class Attendant:
    """Looks at every update; approves a gate that nobody has decided within READING_TIME."""

    def __init__(self, approver: ApiClient) -> None:
        self._approver = approver
        self._seen: float | None = None
        self._done = False

    def __call__(self, update: Update) -> None:
        """Explain at the first sight of a gate, approve later."""
        if self._done or update.deployment["phase"] != Phase.WAITING_APPROVAL:
            return
        waiting = [
            each
            for each in self._approver.items("/approvals/pending")
            if each["deployment"] == update.deployment["id"]
        ]
        if not waiting:
            return
        if self._seen is None:
            self._seen = time.monotonic()
            self._explain(waiting[0])
        elif time.monotonic() - self._seen >= READING_TIME:
            self._approve(str(waiting[0]["id"]))

    def _explain(self, gate: dict[str, Any]) -> None:
        ticket = self._approver.post(f"/approvals/{gate['id']}/token", {"decision": Decision.APPROVE.value})
        lines = (
            "The gate waits. A person would now do one of these:",
            f"  console   {gate['links']['console']}",
            "            More Actions → Send a Signal → approve, with the JSON of the last line as input",
            f"  hotswap   hotswap approve {gate['deployment']}",
            f"  temporal  {signal_command(ticket)}",
            f"In {READING_TIME:.0f} s {self._approver.target.username} approves, unless somebody was faster.",
        )
        for line in lines:
            console.print(line, markup=False)

    def _approve(self, approval: str) -> None:
        self._done = True
        try:
            self._approver.post(f"/approvals/{approval}/approve", {"comment": "the demo's approver"})
        except Refused as refusal:  # somebody was faster
            console.print(f"{approval}: {refusal.message}", markup=False)
