"""Deployments: asked for, listed, shown."""

import hashlib
import secrets
import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BeforeValidator, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import Caller, Deployer, Viewer
from api.lanes import submit
from api.links import deployment_path
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.planning import Prospect, look_ahead
from api.services import Hands, Services
from api.views.deployment import DeploymentDetail, DeploymentItem, DeploymentParts, detail
from api.views.plan import PlanPreview, preview
from domain.base import Strict
from domain.deployment import Cause, CauseKind, Phase
from domain.errors import Conflict, InvalidInput, NotFound, PlanImpossible
from domain.names import EnvironmentName, ModuleName, Version
from domain.policy import Arrival, own_parameters
from domain.strategy import Strategy
from store import (
    analyses,
    deployments,
    durations,
    environments,
    freezes,
    idempotency,
    lanes,
    nodes,
    polls,
    releases,
    requirements,
)

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
    """

    module: ModuleName
    version: Version
    environment: EnvironmentName
    strategy: Annotated[Strategy | None, BeforeValidator(_named)] = None
    description: Annotated[str, StringConstraints(max_length=1000)] = ""


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
    asked = secrets.token_hex(8)
    async with hands.database.transaction(caller.tenant) as session:
        prospect = await _admit(session, caller, body)
        policy, strategy = prospect.policy, own_parameters(prospect.policy, body.strategy)
        prospect.plan(strategy)
        deployment = asked
        if idempotency_key is not None:
            deployment = await idempotency.claim(
                session,
                caller.tenant,
                caller.username,
                key=idempotency_key,
                body_digest=hashlib.sha256(body.model_dump_json().encode()).hexdigest(),
                deployment=asked,
            )
        if deployment == asked:
            await deployments.insert(
                session,
                caller.tenant,
                deployment=deployment,
                environment=body.environment,
                module=body.module,
                version=body.version,
                requester=caller.username,
                strategy=strategy,
                description=body.description,
            )
            await _arrive(session, caller, body, policy.arrival, deployment)
    return await accepted(hands, caller, deployment, response)


async def _arrive(
    session: AsyncSession, caller: Caller, body: NewDeployment, arrival: Arrival, deployment: str
) -> None:
    """Apply the arrival policy. The insert has locked the environment, so the lane stays as it is read here.

    Raises:
        Conflict: the lane is busy and the policy rejects; the transaction takes the insert back.
    """
    view = await lanes.load(session, caller.tenant, body.environment)
    ahead = [
        each for each in (view.running, *view.queued) if each is not None and each.deployment != deployment
    ]
    if arrival is Arrival.REJECT and ahead:
        blocking = ahead[0]
        raise Conflict(
            f"{body.environment} is busy with {blocking.module}@{blocking.version}:"
            f" see {deployment_path(blocking.deployment)}",
            field="environment",
        )
    if arrival is Arrival.COALESCE:
        words = f"superseded by {body.module}@{body.version}, deployment {deployment}"
        cause = Cause(kind=CauseKind.ABORTED, message=words, actor=caller.username)
        for each in ahead:
            if each.module == body.module and each.rolls_back is None:
                await deployments.withdraw(session, caller.tenant, each.deployment, cause)


@router.post("/plan")
async def plan_deployment(body: NewDeployment, caller: Deployer, hands: Hands) -> PlanPreview:
    """The plan that this request would get now, from what the nodes last reported. Nothing is written."""
    async with hands.database.transaction(caller.tenant) as session:
        prospect = await _admit(session, caller, body)
        plan = prospect.plan(own_parameters(prospect.policy, body.strategy))
        history = await durations.of_steps(session, caller.tenant, body.environment, body.module)
    return preview(prospect, plan, history)


async def _admit(session: AsyncSession, caller: Caller, body: NewDeployment) -> Prospect:
    """Refuse what cannot be, before anything is written; what the deployment would find.

    Raises:
        InvalidInput: `field` names what is unknown, empty, or missing on the nodes.
        RequirementUnmet: the release has not completed where the policy wants it first.
    """
    tenant = caller.tenant
    try:
        policy = await environments.policy(session, tenant, body.environment)
        release = await releases.get(session, tenant, body.module, body.version)
    except NotFound as error:
        known = (await releases.list_page(session, tenant, module=body.module, limit=1)).items
        field = error.field or ("version" if known else "module")
        raise InvalidInput(error.message, field=field) from error
    if not await nodes.of_environment(session, tenant, body.environment):
        raise PlanImpossible(f"environment {body.environment!r} has no nodes", field="environment")
    await requirements.check(
        session, tenant, body.environment, policy, module=body.module, version=body.version
    )
    return await look_ahead(session, tenant, body.environment, policy, release, requester=caller.username)


@router.get("")
async def list_deployments(
    query: Annotated[DeploymentQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[DeploymentItem]:
    """Deployments, newest first."""
    async with hands.database.transaction(caller.tenant) as session:
        known = {each.name: each for each in await environments.of_tenant(session, caller.tenant)}
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
        DeploymentItem.of(each, tenant=caller.tenant, environments=known, settings=hands.settings)
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
    answer = await shown(hands, caller, deployment)
    if answer.phase is Phase.QUEUED:
        await submit(hands.temporal, caller.tenant, answer.environment, deployment)
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
        release = await releases.by_ref(session, tenant, stored.release)
        parts = DeploymentParts(
            deployment=stored,
            environment=await environments.get(session, tenant, stored.environment),
            freeze=await freezes.at(session, tenant, stored.environment, time.time()),
            nodes=await deployments.nodes_of(session, tenant, deployment),
            polls=await polls.of_deployment(session, tenant, deployment),
            look=await analyses.latest(session, tenant, deployment),
            signer=release.signer,
        )
    return detail(parts, tenant=tenant, settings=hands.settings)
