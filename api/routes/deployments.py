"""Deployments: asked for, listed, shown."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BeforeValidator, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import Caller, Deployer, Viewer
from api.arrivals import arrival_of, arrive, must_be_frozen
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.planning import Prospect, look_ahead
from api.services import Hands, Services
from api.views.deployment import DeploymentDetail, DeploymentItem, DeploymentParts, detail
from api.views.plan import PlanPreview, preview
from domain.arrival import Arrival
from domain.base import Strict
from domain.deployment import Phase
from domain.errors import InvalidInput, NotFound, PlanImpossible
from domain.freeze import Freeze
from domain.names import EnvironmentName, ModuleName, Version
from domain.plan import Plan
from domain.policy import own_parameters
from domain.strategy import Strategy
from store import (
    admission,
    analyses,
    deployments,
    durations,
    environments,
    freezes,
    hooks,
    idempotency,
    nodes,
    outages,
    polls,
    releases,
    requirements,
)
from store.records import StoredDeployment, StoredEnvironment

router = APIRouter(prefix="/deployments", tags=["deployments"])

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="The same key again finds what the first request made."),
]


def _named(strategy: Any) -> Any:
    return {"kind": strategy} if isinstance(strategy, str) else strategy


class NewDeployment(Strict):
    """What to bring where.

    Without a strategy the environment's policy decides; a bare name takes the policy's parameters where the
    policy is of that kind, and that strategy's defaults elsewhere.

    `arrival` may be stricter than the environment's. A `hotfix` needs a `reason`: it goes before all that
    waits, supersedes what is under way, and runs in a freeze, behind a gate of its own. `override` is the
    reason why it has to run although an unverified rollback has frozen the lane; that has a gate too.
    """

    module: ModuleName
    version: Version
    environment: EnvironmentName
    strategy: Annotated[Strategy | None, BeforeValidator(_named)] = None
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    arrival: Arrival | None = None
    hotfix: bool = False
    reason: Annotated[str, StringConstraints(max_length=1000)] = ""
    override: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None


class DeploymentQuery(PageQuery):
    """Which deployments to list."""

    environment: EnvironmentName | None = None
    phase: Phase | None = None
    module: ModuleName | None = None


@router.post("", status_code=HTTPStatus.ACCEPTED)
async def deploy(
    body: NewDeployment,
    caller: Deployer,
    hands: Hands,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> DeploymentDetail:
    """Queue a deployment in its environment's lane."""
    key = {"key": idempotency_key, "body_digest": _digest(body)} if idempotency_key is not None else None
    async with hands.database.transaction(caller.tenant) as session:
        # What was accepted once is, whatever has changed since.
        known = await idempotency.find(session, caller.tenant, caller.username, **key) if key else None
        wanted = await _want(session, caller, body) if known is None else None
    if wanted is None:
        return await accepted(hands, caller, str(known), response)
    # All that can be known before the lane is locked is: nobody waits for the lock with a connection.
    asked = secrets.token_hex(8)
    async with (
        hands.turns.of(caller.tenant, body.environment),
        hands.database.transaction(caller.tenant) as session,
    ):
        deployment = asked
        if key is not None:
            deployment = await idempotency.claim(
                session, caller.tenant, caller.username, deployment=asked, **key
            )
        if deployment == asked:
            stored = await _queue(session, caller, body, wanted, asked)
    if deployment != asked:
        return await accepted(hands, caller, deployment, response)
    parts = DeploymentParts(
        deployment=stored,
        environment=wanted.environment,
        freeze=wanted.freeze,
    )
    return _announced(hands, caller, detail(parts, tenant=caller.tenant, settings=hands.settings), response)


def _digest(body: NewDeployment) -> str:
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that was admitted, and what it found."""

    environment: StoredEnvironment
    freeze: Freeze | None
    prospect: Prospect
    strategy: Strategy | None
    arrival: Arrival

    def plan(self) -> Plan:
        """The plan that it would get now."""
        return self.prospect.plan(self.strategy)


async def _want(session: AsyncSession, caller: Caller, body: NewDeployment) -> Wanted:
    """Admit what can be deployed as it is asked for, or raise. Nothing is written."""
    wanted = await _admit(session, caller, body)
    if body.override is not None:
        await must_be_frozen(session, caller.tenant, body.environment)
    wanted.plan()
    return wanted


async def _queue(
    session: AsyncSession, caller: Caller, body: NewDeployment, wanted: Wanted, deployment: str
) -> StoredDeployment:
    """Queue an admitted request in its lane, or raise when that is busy and the arrival rejects."""
    tenant, policy = caller.tenant, wanted.prospect.policy
    row = await deployments.insert(
        session,
        tenant,
        deployment=deployment,
        environment=body.environment,
        module=body.module,
        version=body.version,
        requester=caller.username,
        strategy=wanted.strategy,
        description=body.description,
        hotfix=body.reason if body.hotfix else None,
        override=body.override,
    )
    await arrive(session, tenant, body.environment, deployment, arrival=wanted.arrival, policy=policy)
    return deployments.as_inserted(row, wanted.prospect.release)


@router.post("/plan")
async def plan_deployment(body: NewDeployment, caller: Deployer, hands: Hands) -> PlanPreview:
    """The plan that this request would get now, from what the nodes last reported. Nothing is written."""
    async with hands.database.transaction(caller.tenant) as session:
        wanted = await _admit(session, caller, body)
        plan = wanted.plan()
        history = await durations.of_steps(session, caller.tenant, body.environment, body.module)
    return preview(wanted.prospect, plan, history)


async def _admit(session: AsyncSession, caller: Caller, body: NewDeployment) -> Wanted:
    """Refuse what cannot be, before anything is written; what the deployment would find.

    Raises:
        InvalidInput: `field` names what is unknown, empty, or missing on the nodes.
        RequirementUnmet: the release has not completed where the policy wants it first, and is no hotfix.
    """
    tenant = caller.tenant
    try:
        environment, frozen, release = await admission.grounds(
            session, tenant, body.environment, body.module, body.version
        )
    except NotFound as error:
        known = (await releases.list_page(session, tenant, module=body.module, limit=1)).items
        field = error.field or ("version" if known else "module")
        raise InvalidInput(error.message, field=field) from error
    members = await nodes.stored_of_environment(session, tenant, body.environment)
    if not members:
        raise PlanImpossible(f"environment {body.environment!r} has no nodes", field="environment")
    if not body.hotfix:
        await requirements.check(
            session,
            tenant,
            body.environment,
            environment.policy,
            module=body.module,
            version=body.version,
        )
    prospect = await look_ahead(
        session,
        tenant,
        body.environment,
        environment.policy.of_request(hotfix=body.hotfix),
        release,
        everybody=members,
        requester=caller.username,
    )
    policy = prospect.policy
    return Wanted(
        environment=environment,
        freeze=freezes.state(frozen, time.time()),
        prospect=prospect,
        strategy=own_parameters(policy, body.strategy),
        arrival=arrival_of(
            policy, body.arrival, hotfix=body.hotfix, reason=body.reason, override=body.override
        ),
    )


@router.get("")
async def list_deployments(
    query: Annotated[DeploymentQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[DeploymentItem]:
    """Deployments, newest first."""
    async with hands.database.transaction(caller.tenant) as session:
        terms = await environments.terms(session, caller.tenant)
        page = await deployments.list_page(
            session,
            caller.tenant,
            environment=query.environment,
            phase=query.phase,
            module=query.module,
            before=time_and_names(query.cursor, 1),
            limit=query.limit,
        )
    items = [
        DeploymentItem.of(each, tenant=caller.tenant, terms=terms[each.environment], settings=hands.settings)
        for each in page.items
    ]
    last = page.items[-1] if page.more else None
    return PageOf(items=items, next_cursor=cursor_of(last.created_at, last.id) if last else None)


@router.get("/{deployment}")
async def get_deployment(deployment: str, caller: Viewer, hands: Hands) -> DeploymentDetail:
    """One deployment with its plan, steps, gates, last verdict and nodes."""
    return await shown(hands, caller, deployment)


async def accepted(hands: Services, caller: Caller, deployment: str, response: Response) -> DeploymentDetail:
    """Wake the lane of a deployment that was queued, and say where to look."""
    return _announced(hands, caller, await shown(hands, caller, deployment), response)


def _announced(
    hands: Services, caller: Caller, answer: DeploymentDetail, response: Response
) -> DeploymentDetail:
    if answer.phase is Phase.QUEUED:
        hands.bell.ring(caller.tenant, answer.environment, answer.id)
    response.headers["Location"] = answer.links["self"]
    return answer


async def shown(hands: Services, caller: Caller, deployment: str) -> DeploymentDetail:
    """A deployment in full, as it stands now.

    Raises:
        NotFound: no such deployment of the caller's tenant.
    """
    tenant = caller.tenant
    async with hands.database.transaction(caller.tenant) as session:
        stored = await deployments.get(session, tenant, deployment)
        underway = not stored.phase.terminal
        parts = DeploymentParts(
            deployment=stored,
            environment=await environments.get(session, tenant, stored.environment),
            freeze=await freezes.at(session, tenant, stored.environment, time.time()),
            nodes=await deployments.nodes_of(session, tenant, deployment),
            polls=await polls.of_deployment(session, tenant, deployment),
            hooks=await hooks.of_deployment(session, tenant, deployment),
            outages=await outages.present(session, tenant, deployment, stored.wave) if underway else [],
            look=await analyses.latest(session, tenant, deployment),
        )
    return detail(parts, tenant=tenant, settings=hands.settings)
