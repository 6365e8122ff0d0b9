"""Nodes that a rollout loses on its way: whose fault each is, and when they are too many."""

from collections.abc import Sequence
from typing import Final

from temporalio import workflow

from domain.attribution import Attributed, Blame, attribute, of
from domain.deployment import Cause, CauseKind, NodeFailure
from domain.errors import HookFailed
from domain.messages import NodesOutcome, QuarantineOrder
from domain.names import NodeName
from domain.plan import Plan
from workflows.controls import Halted
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records

SHOWN = 20  # failures that a message names
HOOKS_APART: Final = "hooks-of-nodes-are-the-operators"  # before, they counted against the release


class Losses:
    """What one deployment has lost so far.

    `ailing` are the nodes whose module was ill before the rollout touched them.
    """

    def __init__(self, tenant: str, deployment: str) -> None:
        self._tenant = tenant
        self._deployment = deployment
        self._quarantines = 0
        self.ailing: tuple[NodeName, ...] = ()
        self.lost: dict[NodeName, Attributed] = {}

    def look_at(self, plan: Plan, failures: Sequence[NodeFailure], executed: int) -> tuple[Attributed, ...]:
        """The failures of one operation, each put down to somebody."""
        found = attribute(failures, executed=executed, ailing=self.ailing, budget=plan.ill)
        if not any(map(_hooked, found)) or workflow.patched(HOOKS_APART):
            return found
        return tuple(
            each.model_copy(update={"blame": Blame.RELEASE}) if _hooked(each) else each for each in found
        )

    def gives_up(self, plan: Plan, failures: Sequence[NodeFailure], executed: int) -> bool:
        """Whether an operation under way need not go on: too much has failed, or there is an outage."""
        fresh = self.look_at(plan, failures, executed)
        return bool(of(Blame.INFRASTRUCTURE, fresh)) or self._verdict(plan, fresh, executed) is not None

    async def take(self, plan: Plan, fresh: Sequence[Attributed]) -> None:
        """These nodes are lost; the sick ones are quarantined."""
        self.lost.update({each.failure.node: each for each in fresh})
        sick = tuple(each.failure for each in of(Blame.NODE, fresh))
        if not sick:
            return
        self._quarantines += 1
        order = QuarantineOrder(
            tenant=self._tenant,
            deployment=self._deployment,
            key=f"quarantine-{self._quarantines}",
            nodes=sick,
        )
        await workflow.execute_activity_method(
            Records.quarantine, order, summary="quarantine sick nodes", **RECORD
        )

    def judge(self, plan: Plan, fresh: Sequence[Attributed], outcome: NodesOutcome, what: str) -> None:
        """Whether the rollout may go on without the nodes that it has just lost.

        Raises:
            Halted: it may not.
        """
        words = "; ".join(each.words for each in fresh[:SHOWN])
        kind = self._verdict(plan, fresh, outcome.done + len(fresh))
        if kind is not None:
            raise Halted(Cause(kind=kind, message=f"{what} failed on {words}"))

    @property
    def quarantined(self) -> tuple[NodeName, ...]:
        """Nodes that were lost for their own sake."""
        return tuple(name for name, each in self.lost.items() if each.blame is Blame.NODE)

    def _verdict(self, plan: Plan, fresh: Sequence[Attributed], executed: int) -> CauseKind | None:
        """`executed` are the nodes of the present operation; those lost earlier are not among them."""
        everything = {**self.lost, **{each.failure.node: each for each in fresh}}
        bad = len(of(Blame.RELEASE, tuple(everything.values())))
        ill = len(everything) - bad
        told = executed - sum(each.blame is not Blame.RELEASE for each in fresh)
        earlier = bad - len(of(Blame.RELEASE, fresh))
        if plan.failures.exceeded(failed=bad, executed=earlier + told):
            return CauseKind.NODE_FAILURES
        if plan.ill.exceeded(ill=ill, planned=len(plan.nodes)):
            others = [each for each in everything.values() if each.blame is not Blame.RELEASE]
            return CauseKind.HOOK if all(map(_hooked, others)) else CauseKind.INFRASTRUCTURE
        return None


def _hooked(each: Attributed) -> bool:
    return each.failure.code == HookFailed.code
