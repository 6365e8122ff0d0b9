"""Orders to a deployment: pause, resume, promote, abort, rollback."""

import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.access import Aborter, Caller, Deployer, Pauser, Promoter, Resumer, Undoer
from api.arrivals import hotfix_allowed, must_be_frozen
from api.audit import done, record
from api.routes.deployments import accepted, shown
from api.services import Hands, Services
from api.signals import signal
from api.views.deployment import DeploymentDetail
from domain.audit import AuditCategory
from domain.base import Strict
from domain.command import CommandBody, CommandName
from domain.deployment import Cause, CauseKind, Phase
from domain.errors import Conflict
from domain.names import TenantId, deployment_workflow_id
from domain.strategy import Undo
from store import audit, deployments, environments, requirements, retries, succession
from store.records import StoredDeployment

router = APIRouter(prefix="/deployments", tags=["deployments"])

Reason = Annotated[str, StringConstraints(max_length=1000)]
_OVER: Final = "deployment {} is {}: there is nothing left to {}"


class Order(Strict):
    """Why."""

    reason: Reason = ""


class RetryOrder(Order):
    """Try again: everything, or only the nodes that the deployment has lost."""

    failed_only: bool = False


class RollbackOrder(Strict):
    """Why a deployment is to be taken back; `override`: why even in a lane that is frozen."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    override: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None


@router.post("/{deployment}/pause", status_code=HTTPStatus.ACCEPTED)
async def pause(deployment: str, caller: Pauser, hands: Hands, body: Order = Order()) -> DeploymentDetail:
    """Start nothing further after the present step."""
    return await _order(hands, caller, deployment, CommandName.PAUSE, body.reason)


@router.post("/{deployment}/resume", status_code=HTTPStatus.ACCEPTED)
async def resume(deployment: str, caller: Resumer, hands: Hands, body: Order = Order()) -> DeploymentDetail:
    """Go on after a pause."""
    return await _order(hands, caller, deployment, CommandName.RESUME, body.reason)


@router.post("/{deployment}/promote", status_code=HTTPStatus.ACCEPTED)
async def promote(deployment: str, caller: Promoter, hands: Hands, body: Order = Order()) -> DeploymentDetail:
    """Skip the present bake, analysis or hold; never a gate."""
    return await _order(hands, caller, deployment, CommandName.PROMOTE, body.reason)


@router.post("/{deployment}/abort", status_code=HTTPStatus.ACCEPTED)
async def abort(deployment: str, caller: Aborter, hands: Hands, body: Order = Order()) -> DeploymentDetail:
    """Stop, and take back what was changed."""
    return await _abort(hands, caller, deployment, body.reason)


@router.post("/{deployment}/rollback", status_code=HTTPStatus.ACCEPTED)
async def roll_back(
    deployment: str, body: RollbackOrder, caller: Undoer, hands: Hands, response: Response
) -> DeploymentDetail:
    """Take a deployment back: abort it while it is under way, undo it when it has completed.

    Undoing is a deployment of its own, which waits for its turn; only the latest deployment of a module
    in its environment can be undone.
    """
    present = await shown(hands, caller, deployment)
    if not present.phase.terminal:
        return await _abort(hands, caller, deployment, body.reason)
    record = secrets.token_hex(8)
    async with hands.database.transaction(caller.tenant) as session:
        newest = await deployments.newest_of_module(
            session, caller.tenant, present.environment, present.module
        )
        if present.phase is not Phase.COMPLETED:
            raise Conflict(_OVER.format(deployment, present.phase, "take back"))
        if newest != deployment:
            raise Conflict(f"deployment {newest} of {present.module} came later: take that one back first")
        if body.override is not None:
            await must_be_frozen(session, caller.tenant, present.environment)
        await deployments.insert(
            session,
            caller.tenant,
            deployment=record,
            environment=present.environment,
            module=present.module,
            version=present.version,
            requester=caller.username,
            description=body.reason,
            rolls_back=deployment,
            override=body.override,
        )
    return await accepted(hands, caller, record, response)


@router.post("/{deployment}/retry", status_code=HTTPStatus.ACCEPTED)
async def retry(
    deployment: str, body: RetryOrder, caller: Deployer, hands: Hands, response: Response
) -> DeploymentDetail:
    """Try a deployment again that is over: as a whole, or on the nodes that it lost.

    The nodes that it had quarantined take part again. It is a deployment of its own, with its own plan, and
    has to be allowed as one: a hotfix is one again, with its gate; anything else meets what the environment
    requires.
    """
    present = await shown(hands, caller, deployment)
    if not present.phase.terminal:
        raise Conflict(f"deployment {deployment} is {present.phase}: it is not over yet")
    if present.rolls_back is not None:
        raise Conflict(f"deployment {deployment} took another one back: there is nothing to try again")
    record = secrets.token_hex(8)
    async with hands.database.transaction(caller.tenant) as session:
        lost = await retries.lost_nodes(session, caller.tenant, deployment)
        if body.failed_only and not lost:
            raise Conflict(f"deployment {deployment} has lost no node", field="failed_only")
        for node in await retries.release_from_quarantine(session, caller.tenant, deployment, lost):
            why = f"retry of {deployment}"
            note = done(caller, "node.released", AuditCategory.NODE, "node", node, reason=why)
            audit.note(session, note)
        stored = await deployments.get(session, caller.tenant, deployment)
        await _allowed(session, caller.tenant, stored)
        await deployments.insert(
            session,
            caller.tenant,
            deployment=record,
            environment=present.environment,
            module=present.module,
            version=present.version,
            requester=caller.username,
            strategy=stored.strategy,
            description=body.reason,
            hotfix=stored.hotfix,
            retries=deployment,
            only_nodes=lost if body.failed_only else None,
        )
    return await accepted(hands, caller, record, response)


async def _allowed(session: AsyncSession, tenant: TenantId, wanted: StoredDeployment) -> None:
    """See that what is tried again might be asked for now.

    Raises:
        InvalidInput: it is a hotfix, and the policy allows none.
        RequirementUnmet: the release has not completed where the policy wants it first.
    """
    policy = await environments.policy(session, tenant, wanted.environment)
    if wanted.hotfix is not None:
        hotfix_allowed(policy)
    elif not isinstance(wanted.strategy, Undo):
        await requirements.check(
            session,
            tenant,
            wanted.environment,
            policy,
            module=wanted.release.module,
            version=wanted.release.version,
        )


async def _abort(hands: Services, caller: Caller, deployment: str, reason: str) -> DeploymentDetail:
    """One that still waits for its turn is withdrawn; one under way gets the signal.

    One that waits to go on from where another stopped takes back instead what that one had changed.
    """
    words = f"abort by {caller.username}{': ' + reason if reason else ''}"
    cause = Cause(kind=CauseKind.ABORTED, message=words, actor=caller.username)
    async with hands.database.transaction(caller.tenant) as session:
        turned = await succession.take_back_instead(session, caller.tenant, deployment, cause)
        withdrawn = not turned and await deployments.withdraw(session, caller.tenant, deployment, cause)
    if turned:
        present = await shown(hands, caller, deployment)
        hands.bell.ring(caller.tenant, present.environment, deployment)
        return present
    if withdrawn:
        return await shown(hands, caller, deployment)
    return await _order(hands, caller, deployment, CommandName.ABORT, reason)


async def _order(
    hands: Services, caller: Caller, deployment: str, command: CommandName, reason: str
) -> DeploymentDetail:
    """Signal the deployment's workflow."""
    present = await shown(hands, caller, deployment)
    if present.phase.terminal or present.phase in (Phase.ROLLING_BACK, Phase.QUEUED):
        raise Conflict(_OVER.format(deployment, present.phase, command))
    if command is CommandName.PROMOTE and present.phase is Phase.WAITING_APPROVAL:
        raise Conflict(f"deployment {deployment} waits for {present.waiting_for}: promote passes no gate")
    body = CommandBody(actor=caller.username, reason=reason)
    await send(hands, caller, deployment, command, body, to=deployment_workflow_id(deployment))
    return present


async def send(
    hands: Services, caller: Caller, deployment: str, command: CommandName, body: CommandBody, *, to: str
) -> None:
    """Send the signal to workflow `to`, with a token that proves who orders.

    Raises:
        Conflict: that workflow does not run.
    """
    minted = hands.minter.command(
        tenant=caller.tenant,
        actor=caller.username,
        role=caller.role,
        deployment=deployment,
        command=command,
    )
    action = f"{command}.ordered"
    sent = done(caller, action, AuditCategory.DEPLOYMENT, "deployment", deployment, reason=body.reason)
    await record(hands, caller, sent)
    signed = body.model_copy(update={"token": minted.token})
    await signal(hands.temporal, to, command, signed, over=f"deployment {deployment} does not run any more")
