"""Promotions: one release through several environments in order. Asked for, listed, shown, ordered about."""

import hashlib
import itertools
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import Aborter, Caller, Deployer, Pauser, Resumer, Viewer
from api.audit import done, record
from api.links import promotion_path
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.planning import look_ahead
from api.promotions import submit
from api.routes.deployments import IdempotencyKey
from api.services import Hands, Services
from api.signals import signal
from api.views.promotion import PromotionView
from domain.audit import AuditCategory
from domain.base import Strict
from domain.command import CommandName
from domain.deployment import Phase
from domain.errors import Conflict, InvalidInput, NotFound, PlanImpossible
from domain.names import EnvironmentName, ModuleName, Version, promotion_workflow_id
from domain.promotion import OnFailure, PromotionPhase, PromotionStage, Soak
from domain.promotion_messages import PromotionCommand, PromotionInput
from store import environments, idempotency, nodes, promotions, releases, requirements
from store.records import StoredEnvironment
from store.stages import StoredPromotion

router = APIRouter(prefix="/promotions", tags=["promotions"])

_OVER: Final = "promotion {} is {}: there is nothing left to {}"


class NewPromotion(Strict):
    """Which release, through which environments.

    Attributes:
        environments: in the tenant's order; without it all of them.
        soak: seconds in each environment before the next; without it as each environment's policy says.
        on_failure: what becomes of the environments before the one that fails; without it as the policy
            of the one that fails says.
    """

    module: ModuleName
    version: Version
    environments: Annotated[tuple[EnvironmentName, ...] | None, Field(min_length=1, max_length=20)] = None
    soak: Soak | None = None
    on_failure: OnFailure | None = None
    description: Annotated[str, StringConstraints(max_length=1000)] = ""


class PromotionQuery(PageQuery):
    """Which promotions to list."""

    module: ModuleName | None = None
    phase: PromotionPhase | None = None


class PromotionOrder(Strict):
    """Why."""

    reason: Annotated[str, StringConstraints(max_length=1000)] = ""


@router.post("", status_code=HTTPStatus.ACCEPTED)
async def promote_release(
    body: NewPromotion,
    caller: Deployer,
    hands: Hands,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> PromotionView:
    """Bring a release through several environments, one after the other, each with its own policy."""
    promotion = asked = secrets.token_hex(8)
    async with hands.database.transaction(caller.tenant) as session:
        stages = await _admit(session, caller, body)
        if idempotency_key is not None:
            promotion = await idempotency.claim(
                session,
                caller.tenant,
                caller.username,
                key=idempotency_key,
                body_digest=hashlib.sha256(body.model_dump_json().encode()).hexdigest(),
                deployment=asked,
            )
        request = PromotionInput(
            tenant=caller.tenant,
            promotion=promotion,
            requester=caller.username,
            module=body.module,
            version=body.version,
        )
        if promotion == asked:
            await promotions.insert(session, request, stages, body.description)
    if promotion == asked:
        await submit(hands.temporal, request)
    response.headers["Location"] = promotion_path(promotion)
    return await _shown(hands, caller, promotion)


async def _admit(session: AsyncSession, caller: Caller, body: NewPromotion) -> list[PromotionStage]:
    """Refuse what cannot be, before anything is written; the stages with their terms.

    Raises:
        InvalidInput: `field` names what is unknown, out of order, empty, or missing on the nodes.
        RequirementUnmet: an environment wants one that is neither before it here nor has had the release.
    """
    tenant = caller.tenant
    try:
        release = await releases.get(session, tenant, body.module, body.version)
    except NotFound as error:
        known = (await releases.list_page(session, tenant, module=body.module, limit=1)).items
        raise InvalidInput(error.message, field="version" if known else "module") from error
    chosen = _in_order(await environments.of_tenant(session, tenant), body.environments)
    before: list[str] = []
    for each in chosen:
        members = await nodes.stored_of_environment(session, tenant, each.name)
        if not members:
            raise PlanImpossible(f"environment {each.name!r} has no nodes", field="environments")
        if each.policy.requires not in before:
            await requirements.check(
                session, tenant, each.name, each.policy, module=body.module, version=body.version
            )
        prospect = await look_ahead(
            session,
            tenant,
            each.name,
            each.policy,
            release,
            everybody=members,
            requester=caller.username,
        )
        prospect.plan(None)
        before.append(each.name)
    return [
        PromotionStage(
            environment=each.name,
            soak=each.policy.promotion.soak if body.soak is None else body.soak,
            on_failure=body.on_failure or each.policy.promotion.on_failure,
        )
        for each in chosen
    ]


def _in_order(known: Sequence[StoredEnvironment], named: Sequence[str] | None) -> list[StoredEnvironment]:
    """The environments that are meant, in the tenant's order, which a request has to keep.

    Raises:
        InvalidInput: an unknown name, one that comes twice, or one that comes too early.
    """
    if named is None:
        return list(known)
    positions = {each.name: position for position, each in enumerate(known)}
    for name in named:
        if name not in positions:
            raise InvalidInput(f"no environment {name!r}", field="environments")
    order = [positions[name] for name in named]
    if any(later <= earlier for earlier, later in itertools.pairwise(order)):
        names = ", ".join(each.name for each in known)
        raise InvalidInput(f"environments are promoted through in order: {names}", field="environments")
    return [known[position] for position in order]


@router.get("")
async def list_promotions(
    query: Annotated[PromotionQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[PromotionView]:
    """Promotions, newest first."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await promotions.list_page(
            session,
            caller.tenant,
            module=query.module,
            phase=query.phase,
            before=time_and_names(query.cursor, 1),
            limit=query.limit,
        )
    items = [PromotionView.of(each, tenant=caller.tenant, settings=hands.settings) for each in page.items]
    last = page.items[-1] if page.more else None
    return PageOf(items=items, next_cursor=cursor_of(last.created_at, last.id) if last else None)


@router.get("/{promotion}")
async def get_promotion(promotion: str, caller: Viewer, hands: Hands) -> PromotionView:
    """One promotion, environment by environment."""
    return await _shown(hands, caller, promotion)


@router.post("/{promotion}/pause", status_code=HTTPStatus.ACCEPTED)
async def pause_promotion(
    promotion: str, caller: Pauser, hands: Hands, body: PromotionOrder = PromotionOrder()
) -> PromotionView:
    """Start nothing further, and pause the deployment under way; one that still waits is withdrawn."""
    return await _order(hands, caller, promotion, CommandName.PAUSE, body.reason)


@router.post("/{promotion}/resume", status_code=HTTPStatus.ACCEPTED)
async def resume_promotion(
    promotion: str, caller: Resumer, hands: Hands, body: PromotionOrder = PromotionOrder()
) -> PromotionView:
    """Go on after a pause."""
    return await _order(hands, caller, promotion, CommandName.RESUME, body.reason)


@router.post("/{promotion}/abort", status_code=HTTPStatus.ACCEPTED)
async def abort_promotion(
    promotion: str, caller: Aborter, hands: Hands, body: PromotionOrder = PromotionOrder()
) -> PromotionView:
    """Stop, and abort the deployment under way; the environments before as the promotion says."""
    return await _order(hands, caller, promotion, CommandName.ABORT, body.reason)


async def _order(
    hands: Services, caller: Caller, promotion: str, command: CommandName, reason: str
) -> PromotionView:
    """Signal the promotion's workflow, with tokens that prove who orders.

    Raises:
        Conflict: it has ended, or is on its way back.
    """
    async with hands.database.transaction(caller.tenant) as session:
        present = await promotions.get(session, caller.tenant, promotion)
    if present.phase.terminal or present.phase is PromotionPhase.ROLLING_BACK:
        raise Conflict(_OVER.format(promotion, present.phase, command))
    page = promotion_workflow_id(promotion)
    running = _under_way(present)
    body = PromotionCommand(
        actor=caller.username,
        reason=reason,
        token=_token(hands, caller, page, command),
        deployment_token=_token(hands, caller, running, command) if running else None,
    )
    note = done(caller, f"{command}.ordered", AuditCategory.DEPLOYMENT, "promotion", promotion, reason=reason)
    await record(hands, caller, note)
    await signal(hands.temporal, page, command, body, over=f"promotion {promotion} does not run any more")
    return await _shown(hands, caller, promotion)


def _under_way(present: StoredPromotion) -> str | None:
    stage = present.stages[present.position - 1]
    going = stage.deployment_phase is not None and not stage.deployment_phase.terminal
    return stage.deployment if going and stage.deployment_phase is not Phase.QUEUED else None


def _token(hands: Services, caller: Caller, subject: str, command: CommandName) -> str:
    minted = hands.minter.command(
        tenant=caller.tenant, actor=caller.username, role=caller.role, deployment=subject, command=command
    )
    return minted.token


async def _shown(hands: Services, caller: Caller, promotion: str) -> PromotionView:
    async with hands.database.transaction(caller.tenant) as session:
        stored = await promotions.get(session, caller.tenant, promotion)
    return PromotionView.of(stored, tenant=caller.tenant, settings=hands.settings)
