"""The fixtures themselves: what they promise to everybody's tests."""

import uuid
from datetime import timedelta

import psycopg
import pytest
from temporalio import workflow
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from domain.names import SEARCH_ATTRIBUTES
from runtime.temporal import ensure_search_attributes, workflow_runner
from tests.conftest import APPLICATION, OWNER, as_owner


def connect(url):
    return psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)


def test_each_database_is_empty_and_belongs_to_the_owner(new_database):
    first, second = new_database(), new_database()
    with connect(as_owner(first)) as connection:
        connection.execute("CREATE TABLE t (x int)")
    for url in (first, as_owner(first)):
        with connect(url) as connection:
            role = connection.execute(
                "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert role == (False, False, False)
    with connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM t")


def test_what_an_application_owned_before_belongs_to_the_owner_afterwards(postgres_server, new_database):
    url = new_database()
    name = url.rsplit("/", 1)[1]
    with postgres_server.directory.connect(postgres_server.port, name) as connection:
        connection.execute("CREATE TABLE old (x int)")
        connection.execute(f"ALTER TABLE old OWNER TO {APPLICATION.name}")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {APPLICATION.name}")
    postgres_server.directory.ensure_database(
        postgres_server.port, owner=OWNER, application=APPLICATION, database=name
    )
    with connect(url) as connection:
        owned = connection.execute(
            "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
            " UNION SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = current_user"
        )
        assert owned.fetchall() == []


def test_nobody_gets_in_without_the_password(postgres_server):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=postgres_server.port, user="postgres", password="guess")


async def test_search_attributes_can_be_ensured_twice(temporal):
    await ensure_search_attributes(temporal.client)
    await ensure_search_attributes(temporal.client)
    known = await temporal.client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="default")
    )
    assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


@workflow.defn(sandboxed=False)
class Columns:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(timedelta(days=3))


async def test_three_days_pass_at_once(time_skipping):
    attributes = TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword("Phase"), "baking")]
    )
    queue = uuid.uuid4().hex
    async with Worker(
        time_skipping.client, task_queue=queue, workflows=[Columns], workflow_runner=workflow_runner()
    ):
        await time_skipping.client.execute_workflow(
            Columns.run, id=queue, task_queue=queue, search_attributes=attributes
        )
