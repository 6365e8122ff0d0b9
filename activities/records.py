"""What is written down: phases, events, polls, lanes. One transaction each, safe to repeat."""

from temporalio import activity
from temporalio.client import Client
from typing_extensions import override

from activities.orders import Records
from activities.promotions import tell
from domain.approval import PollRecord
from domain.deployment import Phase
from domain.messages import (
    AmendmentEntry,
    DeploymentInput,
    LaneLook,
    LaneView,
    Progress,
    QuarantineOrder,
    RollbackInput,
    RollbackTargets,
    Successor,
    Withdrawal,
)
from store import amendments, deployments, lanes, polls, quarantine, rollouts, succession
from store.database import Database


class DatabaseRecords(Records):
    """Short transactions on our own database."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    @override
    async def record(self, progress: Progress) -> None:
        async with self._database.transaction(progress.tenant) as session:
            await deployments.record(session, progress)
            if progress.phase is Phase.ROLLED_BACK_UNVERIFIED:
                await lanes.freeze(session, progress.tenant, progress.deployment, progress.message)
        if progress.phase is not None and progress.phase.terminal:
            await tell(self._client, self._database, progress.tenant, progress.deployment)

    @activity.defn
    @override
    async def load_lane(self, look: LaneLook) -> LaneView:
        async with self._database.transaction(look.tenant) as session:
            return await lanes.load(session, look.tenant, look.environment, at=look.at)

    @activity.defn
    @override
    async def save_poll(self, record: PollRecord) -> None:
        async with self._database.transaction(record.request.tenant) as session:
            await polls.save(session, record)

    @activity.defn
    @override
    async def save_amendment(self, entry: AmendmentEntry) -> None:
        async with self._database.transaction(entry.tenant) as session:
            await amendments.save(session, entry.tenant, entry.deployment, entry.amendment)

    @activity.defn
    @override
    async def successor_of(self, request: DeploymentInput) -> Successor | None:
        async with self._database.transaction(request.tenant) as session:
            return await succession.successor(session, request.tenant, request.deployment)

    @activity.defn
    @override
    async def withdraw(self, withdrawal: Withdrawal) -> None:
        async with self._database.transaction(withdrawal.tenant) as session:
            tenant, deployment, cause = withdrawal.tenant, withdrawal.deployment, withdrawal.cause
            if not await succession.take_back_instead(session, tenant, deployment, cause):
                await deployments.withdraw(session, tenant, deployment, cause)

    @activity.defn
    @override
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        async with self._database.transaction(request.tenant) as session:
            return await rollouts.rollback_targets(session, request.tenant, request.deployment, request.of)

    @activity.defn
    @override
    async def quarantine(self, order: QuarantineOrder) -> None:
        async with self._database.transaction(order.tenant) as session:
            await quarantine.take(session, order)
