"""The demo at a gate: says how a person would decide, then decides as demo-approver."""

import time

from cli.approvals import signal_command
from cli.client import ApiClient
from cli.context import Target
from cli.errors import Refused
from cli.follow import Update
from cli.session import console
from domain.deployment import Phase
from domain.gate import Decision

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
        approval = str(waiting[0]["id"])
        if self._seen is None:
            self._seen = time.monotonic()
            self._explain(approval)
        elif time.monotonic() - self._seen >= READING_TIME:
            self._approve(approval)

    def _explain(self, approval: str) -> None:
        target = self._approver.target
        ticket = self._approver.post(f"/approvals/{approval}/token", {"decision": Decision.APPROVE.value})
        command = signal_command(approval, Decision.APPROVE, ticket, target.temporal_address)
        deployment = approval.removeprefix("approval-").rpartition("-")[0]
        lines = (
            "The gate waits. A person would now do one of these:",
            f"  console  {console_url(target, approval)}",
            "           More Actions → Send a Signal → approve, with the JSON of the command below",
            f"  hotswap  hotswap approve {deployment}",
            f"  temporal {command}",
            f"In {READING_TIME:.0f} s {target.username} approves, unless somebody was faster.",
        )
        for line in lines:
            console.print(line, markup=False)

    def _approve(self, approval: str) -> None:
        self._done = True
        try:
            self._approver.post(f"/approvals/{approval}/approve", {"comment": "the demo's approver"})
        except Refused as refusal:  # somebody was faster
            console.print(f"{approval}: {refusal.message}", markup=False)


def console_url(target: Target, workflow: str) -> str:
    """A workflow's page in the Temporal console; empty when the console's address is not known."""
    if target.temporal_ui_url is None:
        return ""
    return f"{target.temporal_ui_url}/namespaces/default/workflows/{workflow}"
