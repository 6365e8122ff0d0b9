"""What is written down: phases, events, polls, lanes. One transaction each, safe to repeat."""

from temporalio import activity

from activities.orders import Records
from domain.deployment import Phase
from domain.messages import (
    LaneInput,
    LaneView,
    PollRecord,
    Progress,
    RollbackInput,
    RollbackTargets,
)
from store import deployments, lanes, polls, rollouts
from store.database import Database


class DatabaseRecords(Records):
    """Short transactions on our own database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def record(self, progress: Progress) -> None:
        """Write a change and its event together, once per key.

        An unverified end freezes the lane in the same transaction: nothing may follow before a person
        has looked.

        Raises:
            IllegalTransition: final; nothing was written.
        """
        async with self._database.transaction() as session:
            await deployments.record(session, progress)
            if progress.phase is Phase.ROLLED_BACK_UNVERIFIED:
                await lanes.freeze(session, progress.tenant, progress.deployment, progress.message)

    @activity.defn
    async def load_lane(self, lane: LaneInput) -> LaneView:
        """What runs, what waits, and why the lane is frozen."""
        async with self._database.transaction() as session:
            return await lanes.load(session, lane.tenant, lane.environment)

    @activity.defn
    async def save_poll(self, record: PollRecord) -> None:
        """Write a gate with its votes as they stand."""
        async with self._database.transaction() as session:
            await polls.save(session, record)

    @activity.defn
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        """The nodes to take back, and a fence above that of everything before."""
        async with self._database.transaction() as session:
            return await rollouts.rollback_targets(session, request.tenant, request.deployment, request.of)
