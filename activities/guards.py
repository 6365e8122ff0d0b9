"""The guard's hands."""

from temporalio import activity
from typing_extensions import override

from activities.orders import Guards
from domain.guard import Breach, Returned
from store import guards
from store.database import Database


class DatabaseGuards(Guards):
    """Short transactions on our own database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    @override
    async def take_back(self, breach: Breach) -> Returned:
        async with self._database.transaction(breach.tenant) as session:
            return await guards.take_back(session, breach)
