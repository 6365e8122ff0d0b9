"""Nodes that a rollout loses on its way: whose fault each is, and when they are too many."""

from collections.abc import Mapping, Sequence
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
# Before, failures of all waves were counted against the nodes that had had their turn in one operation, so
# that one that was within the budget kept all further operations from beginning.
BY_WAVE: Final = "failures-are-counted-by-wave"


class Losses:
    """What one deployment has lost so far.

    `ailing` are the nodes whose module was ill before the rollout touched them.
    """

    def __init__(self, tenant: str, deployment: str) -> None:
        self._tenant = tenant
        self._deployment = deployment
        self._quarantines = 0
        self._through: dict[int, bool] = {}  # waves whose nodes have all had their turn once
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

    def gives_up(self, plan: Plan, wave: int, failures: Sequence[NodeFailure], executed: int) -> bool:
        """Whether an operation under way need not go on: too much has failed, or there is an outage."""
        fresh = self.look_at(plan, failures, executed)
        if of(Blame.INFRASTRUCTURE, fresh):
            return True
        return self._verdict(plan, wave, fresh, executed) is not None

    def through(self, wave: int) -> None:
        """An operation has been tried on all nodes of the wave."""
        self._through[wave] = True

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

    def judge(
        self, plan: Plan, wave: int, fresh: Sequence[Attributed], outcome: NodesOutcome, what: str
    ) -> None:
        """Whether the rollout may go on without the nodes that it has just lost.

        Raises:
            Halted: it may not.
        """
        words = "; ".join(each.words for each in fresh[:SHOWN])
        kind = self._verdict(plan, wave, fresh, outcome.done + len(fresh))
        if kind is not None:
            raise Halted(Cause(kind=kind, message=f"{what} failed on {words}"))

    @property
    def quarantined(self) -> tuple[NodeName, ...]:
        """Nodes that were lost for their own sake."""
        return tuple(name for name, each in self.lost.items() if each.blame is Blame.NODE)

    def _verdict(self, plan: Plan, wave: int, fresh: Sequence[Attributed], executed: int) -> CauseKind | None:
        """`executed` are the nodes of the present operation; those lost earlier are not among them."""
        everything = {**self.lost, **{each.failure.node: each for each in fresh}}
        bad = len(of(Blame.RELEASE, tuple(everything.values())))
        ill = len(everything) - bad
        told = executed - sum(each.blame is not Blame.RELEASE for each in fresh)
        if bad and self._release_fails(plan, wave, everything, told):
            return CauseKind.NODE_FAILURES
        if plan.ill.exceeded(ill=ill, planned=len(plan.nodes)):
            others = [each for each in everything.values() if each.blame is not Blame.RELEASE]
            return CauseKind.HOOK if all(map(_hooked, others)) else CauseKind.INFRASTRUCTURE
        return None

    def _release_fails(
        self, plan: Plan, wave: int, everything: Mapping[NodeName, Attributed], told: int
    ) -> bool:
        """Whether the release has failed on too many nodes of the wave, of which `told` had their turn."""
        if not workflow.patched(BY_WAVE):
            bad = of(Blame.RELEASE, tuple(everything.values()))
            earlier = sum(each.failure.node in self.lost for each in bad)
            return plan.failures.exceeded(failed=len(bad), executed=earlier + told)
        if all(name in self.lost for name, each in everything.items() if each.blame is Blame.RELEASE):
            return False  # what was lost earlier was judged then, by the budget of that time
        nodes = plan.wave(wave).nodes
        mine = tuple(everything[name] for name in nodes if name in everything)
        failed = len(of(Blame.RELEASE, mine))
        able = len(nodes) - (len(mine) - failed)
        if wave in self._through:
            return plan.failures.exceeded(failed=failed, executed=able)
        return plan.failures.exceeded_early(failed=failed, executed=told, nodes=able)


def _hooked(each: Attributed) -> bool:
    return each.failure.code == HookFailed.code
