"""With one tenant's token and another's ids, every route answers as if there were nothing."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from domain.roles import Role
from tests.api.conftest import PEOPLE, World, new_namespace, new_world
from tests.api.two_tenants import (
    SECRET,
    THEIR_ADMIN,
    THEM,
    Asked,
    Theirs,
    everything,
    populate,
    requests,
    superuser_url,
)
from tests.conftest import PostgresServer

NOTHING = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
SLOW = ("/events", "/metrics")  # a stream without an end; agents that do not answer
SETS = 12  # of the other tenant's objects, in the long form
OPEN_TO_ALL = ("/healthz", "/readyz", "/metrics", "/.well-known")
# A name in these paths is of what is made, in our tenant.
MAKING = ("PUT /groups/{group}",)
OUR_TRAIL = "/api/v1/audit"  # has our own refused requests, with the names that we used
# These end the asker's own sign-in or change what is his: no business of anybody else's.
OWN = ("POST /auth/logout", "POST /auth/password")
# A node's own token is asked for, and no person has one.
NODES_OWN = ("POST /nodes/{node}/heartbeat",)


@pytest_asyncio.fixture(scope="module")
async def shared(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[World, list[Theirs]]]:
    client = await new_namespace(temporal)
    async with new_world(
        tmp_path_factory.mktemp("two"), new_database(), client, platform_tenant="platform"
    ) as world:
        theirs = await populate(world.services.database, superuser_url(world, postgres_server), SETS)
        yield world, theirs


def about_them(world: World, theirs: Theirs) -> list[Asked]:
    """Every request, but for what is open to everybody and what is the asker's own."""
    asked = requests(world.app.openapi(), theirs)
    return [each for each in asked if not each.path.startswith(OPEN_TO_ALL) and each.route not in OWN]


async def ask_everything(world: World, sets: list[Theirs], people: dict[str, Role]) -> Counter[str]:
    """Ask as each of us about each of theirs; answers are counted, leaks fail."""
    answers: Counter[str] = Counter()
    for person, role in people.items():
        async with world.asks(person) as client:
            client.base_url = "http://api"
            for theirs in sets:
                for each in about_them(world, theirs):
                    answer = await client.request(each.method, each.path, json=each.body)
                    answers[f"{answer.status_code}"] += 1
                    check(each, role, answer.status_code, answer.text)
    return answers


def check(asked: Asked, role: Role, status: int, text: str) -> None:
    what = f"{asked.method} {asked.path} as {role}: {status} {text[:300]}"
    assert SECRET not in text, what
    assert status < HTTPStatus.INTERNAL_SERVER_ERROR, what
    if asked.route in NODES_OWN:
        assert status == HTTPStatus.UNAUTHORIZED, what
    elif asked.route in MAKING:
        return
    elif asked.has_id and "/tenants/" in asked.path:  # nobody's but the platform's
        assert status == HTTPStatus.FORBIDDEN, what
    elif asked.has_id:
        nothing = NOTHING[: 1 if role is Role.ADMIN else 2]
        assert status in nothing or (asked.made_up and status == HTTPStatus.UNPROCESSABLE_ENTITY), what
    elif THEM in text and not asked.path.startswith(OUR_TRAIL):
        # A refusal repeats what was asked for; an answer names nothing of theirs.
        assert status in (
            HTTPStatus.FORBIDDEN,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.CONFLICT,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ), what


@pytest.mark.finding("15", "16", "X14")
@pytest.mark.finding("16")
async def test_every_route_with_the_other_tenants_ids(shared: tuple[World, list[Theirs]]) -> None:
    """The short form: one object of each kind, two roles. `make test-races` asks about all, as everybody."""
    world, theirs = shared
    before = await everything(world.services.database)
    answers = await ask_everything(world, theirs[:1], {"vera": Role.VIEWER, "admin": Role.ADMIN})
    print(f"\n{answers.total()} requests across tenants, 0 leaks: {dict(answers)}")
    assert answers["404"] >= 30
    assert await everything(world.services.database) == before


@pytest.mark.races_long
@pytest.mark.timeout(900)
@pytest.mark.finding("16")
async def test_thousands_of_requests_across_tenants(shared: tuple[World, list[Theirs]]) -> None:
    world, theirs = shared
    before = await everything(world.services.database)
    answers = await ask_everything(world, theirs, PEOPLE)
    print(f"\n{answers.total()} requests across tenants, 0 leaks: {dict(answers)}")
    assert answers.total() >= 2000
    assert await everything(world.services.database) == before


async def test_what_is_refused_to_us_is_there_for_them(shared: tuple[World, list[Theirs]]) -> None:
    """The control: the same paths, asked by their own admin, find something."""
    world, theirs = shared
    token = world.token("admin", tenant=THEM, username=THEIR_ADMIN)
    async with world.asks(None) as client:
        client.base_url, client.headers["Authorization"] = "http://api", f"Bearer {token}"
        for each in about_them(world, theirs[0]):
            if each.method == "GET" and each.has_id and not each.route.endswith(SLOW):
                answer = await client.get(each.path)
                what = f"{each.path}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, what
                assert answer.status_code != HTTPStatus.NOT_FOUND, what
        listed = (await client.get("/api/v1/nodes")).text
    assert SECRET in listed
