"""A second tenant with one of everything, and every request that the first could make about it.

The requests are made from the application's OpenAPI document: a route that somebody adds is asked too.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.analysis import Doubt, Outcome, Verdict
from domain.approval import ApprovalInput, PollRecord, Subject, SubjectKind
from domain.gate_rule import GateRule
from domain.judging import JudgedLook, JudgePolicy
from domain.manifest import Files, Manifest
from domain.messages import AnalysisInput, Look
from domain.metrics import JudgeLook
from domain.names import analysis_id, approval_id
from domain.node import Node
from domain.permissions import Permission
from domain.policy import AnalysisRule, default_policy
from domain.promotion import PromotionStage
from domain.promotion_messages import PromotionInput
from domain.release import Kind, ReleaseRef
from domain.roles import Role
from store import analyses, api_keys, deployments, nodes, polls, promotions, releases, users
from store.database import Database
from store.metadata import METADATA
from store.tables import EnvironmentRow, TenantRow
from store.tenants import ENVIRONMENTS
from tests.api.conftest import World
from tests.store.rows import fill

THEM = "globex"
THEIR_ADMIN = "globex-admin"
# In every text of theirs that is no name: it must never show in an answer to us.
SECRET = f"secret{secrets.token_hex(8)}"
_RULE = GateRule(name="promotion")


@dataclass
class Theirs:
    """One object of each kind of the other tenant's, by the name that paths give it."""

    number: int

    @property
    def ids(self) -> dict[str, str]:
        deployment = f"{THEM}-deployment-{self.number}"
        return {
            "tenant": THEM,
            "deployment": deployment,
            "approval": approval_id(deployment, _RULE.name),
            "node": f"{THEM}-node-{self.number}",
            "module": f"{THEM}-module-{self.number}",
            "version": "1.0.0",
            "environment": f"{THEM}-lab",
            "username": f"{THEM}-user-{self.number}",
            "key": f"{THEM}-key-{self.number}",
            "analysis": analysis_id(deployment, 1),
            "promotion": f"{THEM}-promotion-{self.number}",
        }


async def populate(database: Database, superuser_url: str, count: int) -> list[Theirs]:
    """The other tenant, with so many of everything; tables that this does not know get a made-up row."""
    async with database.transaction(THEM) as session:
        await session.execute(insert(TenantRow).values(id=THEM))
        for position, name in enumerate((*ENVIRONMENTS, f"{THEM}-lab")):
            policy = default_policy(name).model_dump(mode="json")
            session.add(EnvironmentRow(tenant=THEM, name=name, position=position, policy=policy))
        await users.insert(session, THEM, username=THEIR_ADMIN, password_hash="!", role=Role.ADMIN)
    found = [Theirs(number) for number in range(1, count + 1)]
    for each in found:
        await _add(database, each)
    await asyncio.to_thread(_fill_the_rest, superuser_url)
    return found


async def _add(database: Database, theirs: Theirs) -> None:
    ids = theirs.ids
    digest = f"{theirs.number:064x}"
    async with database.transaction(THEM) as session:
        await users.insert(session, THEM, username=ids["username"], password_hash=SECRET, role=Role.DEPLOYER)
        await nodes.register(
            session,
            THEM,
            Node(
                name=ids["node"],
                environment=ids["environment"],
                address="https://127.0.0.1:9",
                labels={"zone": SECRET},
            ),
        )
        await releases.insert(
            session,
            THEM,
            ref=ReleaseRef(module=ids["module"], version="1.0.0", digest=digest, tree=digest),
            kind=Kind.FILES,
            manifest=Manifest(name=ids["module"], version="1.0.0", kind=Kind.FILES, files=Files()),
            signature=b"signature",
            signer=f"CN={SECRET}",
            size=1000,
            pushed_by=THEIR_ADMIN,
        )
        await deployments.insert(
            session,
            THEM,
            deployment=ids["deployment"],
            environment=ids["environment"],
            module=ids["module"],
            version="1.0.0",
            requester=ids["username"],
            description=SECRET,
        )
        await polls.save(session, _poll(ids))
        await _judge(session, ids)
        promotion = PromotionInput(
            tenant=THEM,
            promotion=ids["promotion"],
            requester=ids["username"],
            module=ids["module"],
            version="1.0.0",
        )
        stage = PromotionStage(environment=ids["environment"])
        await promotions.insert(session, promotion, [stage], SECRET)
        made, _ = await api_keys.make(
            session,
            THEM,
            ids["username"],
            name=ids["key"],
            scopes=(Permission.READ,),
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
        table = METADATA.tables["api_keys"]
        await session.execute(sa.update(table).where(table.c.id == made.id).values(id=ids["key"]))


async def _judge(session: AsyncSession, ids: dict[str, str]) -> None:
    """One look of an analysis, with what it was judged on."""
    request = AnalysisInput(
        tenant=THEM,
        environment=ids["environment"],
        deployment=ids["deployment"],
        analysis=ids["analysis"],
        wave=1,
        module=ids["module"],
        canary=(),
        baseline=(),
        canary_version="1.0.0",
        rule=AnalysisRule(),
        subject=SECRET,
    )
    verdict = Verdict(outcome=Outcome.INCONCLUSIVE, doubt=Doubt.NO_DATA, reason=SECRET)
    judged = JudgedLook(policy=JudgePolicy(), look=JudgeLook(number=1, start=0, end=1, step=1))
    await analyses.save(session, Look(analysis=request, number=1, seconds=1), verdict, judged)


def _poll(ids: dict[str, str]) -> PollRecord:
    request = ApprovalInput(
        tenant=THEM,
        environment=ids["environment"],
        deployment=ids["deployment"],
        gate=ids["approval"],
        rule=_RULE,
        requester=ids["username"],
        subject=Subject(
            kind=SubjectKind.DEPLOYMENT, reference=ids["deployment"], digest="a" * 64, words=SECRET
        ),
    )
    return PollRecord(request=request, poll=request.poll(), expires=time.time() + 3600)


def _fill_the_rest(superuser_url: str) -> None:
    engine = sa.create_engine(superuser_url)
    with engine.connect() as connection:
        empty = [
            name
            for name, table in METADATA.tables.items()
            if "tenant" in table.c
            and not connection.scalar(sa.select(sa.func.count()).where(table.c.tenant == THEM))
        ]
    engine.dispose()
    fill(superuser_url, (THEM,), tables=empty)


@dataclass(frozen=True)
class Asked:
    """One request about something of the other tenant's."""

    method: str
    path: str
    route: str
    body: Any
    has_id: bool

    @property
    def made_up(self) -> bool:
        """Whether the body is made from the schema: it may break a rule that the schema does not tell."""
        return self.body is not None and self.route not in _BODIES


# In a body these name something that has to be there; anything else names what is to be made.
_REFERENCES = ("deployment", "approval", "node", "module", "version", "environment")
# Bodies that the routes take; for the rest one is made from the schema.
_BODIES: dict[str, dict[str, Any]] = {
    "POST /clusters/{environment}/resolve": {"reason": "x"},
    "PUT /clusters/{environment}/policy": {},
    "POST /clusters/{environment}/freezes": {
        "name": "x",
        "reason": "x",
        "zone": "UTC",
        "starts": "2030-01-01T00:00:00",
        "ends": "2030-01-02T00:00:00",
    },
    "POST /deployments/{deployment}/rollback": {"reason": "x"},
    "POST /approvals/{approval}/token": {"decision": "approve"},
    "PATCH /users/{username}": {"role": "viewer"},
    "POST /users/{username}/password": {"password": "Quite-long-and-strange-41"},
}


def requests(document: dict[str, Any], theirs: Theirs) -> Iterator[Asked]:
    """Every route with the other tenant's ids in the path, in the query and in the body."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path.removeprefix('/api/v1')}"
            names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"]
            unknown = [name for name in names if name not in theirs.ids]
            filled = path.format(**{name: theirs.ids.get(name, f"{THEM}-{name}-1") for name in names})
            if set(unknown) == set(names) and names:
                filled = path.format(**{name: _of_table(name) for name in names})
            body = _BODIES.get(route, _made(document, operation, theirs))
            yield Asked(method.upper(), filled, route, body, bool(names))
            for query in _queries(operation, theirs):
                yield Asked(method.upper(), f"{filled}?{query}", route, body, bool(names))


def _of_table(name: str) -> str:
    """The id of the row that `fill` made in the table that a path's parameter seems to name."""
    return f'"{THEM}-id"' if f"{name}s" in METADATA.tables else f"{THEM}-{name}-1"


def _queries(operation: dict[str, Any], theirs: Theirs) -> Iterator[str]:
    for each in operation.get("parameters", ()):
        if each["in"] == "query" and each["name"] in theirs.ids:
            yield f"{each['name']}={theirs.ids[each['name']]}"


def _made(document: dict[str, Any], operation: dict[str, Any], theirs: Theirs) -> Any:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return _value(document, content["schema"], "", theirs) if content else None


def _value(document: dict[str, Any], schema: dict[str, Any], name: str, theirs: Theirs) -> Any:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _value(document, schema[several][0], name, theirs)
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    if schema.get("type") == "object":
        wanted = schema.get("required", ())
        return {
            each: _value(document, schema.get("properties", {}).get(each, {}), each, theirs)
            for each in wanted
        }
    if schema.get("type") == "array":
        return [_value(document, schema.get("items", {}), name, theirs)]
    if schema.get("type") in ("integer", "number"):
        return max(1, schema.get("minimum", 1))
    if schema.get("type") == "boolean":
        return True
    if schema.get("format") == "date-time":
        return "2030-01-01T00:00:00Z"
    ours = f"ours-{name or 'x'}".ljust(schema.get("minLength", 0), "x")
    return theirs.ids[name] if name in _REFERENCES else ours


async def everything(database: Database) -> dict[str, list[Any]]:
    """All rows of the other tenant's, to see that they stay as they are."""
    found = {}
    async with database.transaction(THEM) as session:
        for name, table in METADATA.tables.items():
            rows = await session.execute(sa.select(table))
            found[name] = sorted(map(repr, rows))
    return found


def superuser_url(world: World, server: Any) -> str:
    return str(server.directory.url(server.port, world.services.database.url.rsplit("/", 1)[1]))
