"""Freezing and thawing by signals to the lane: what counts is written to the store, and the held are told."""

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import FailureError

from domain.freeze_orders import (
    AdHocFreeze,
    FreezeBody,
    FreezeOrder,
    Thaw,
    ThawClaims,
    ThawTokenVerdict,
    thaw_objection,
)
from domain.messages import LaneInput, TokenCheck
from domain.names import deployment_workflow_id
from workflows.inbox import Message
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.orders import Freezes, Tokens

MESSAGE = "through a signal"


class FreezeDesk:
    """Takes the lane's freeze and thaw signals."""

    def __init__(self, lane: LaneInput, refuse: Callable[[str, str], None]) -> None:
        self._lane = lane
        self._refuse = refuse
        self._orders = 0
        self.used_tokens = lane.used_tokens

    async def obey(self, message: Message) -> None:
        """Freeze, thaw, or show why not. A thaw without anything said is the API's "look again"."""
        body = message.read(FreezeBody)
        if body is None:
            self._refuse(message.name, "not an order of the form {actor, reason, until, token}")
        elif message.name == FreezeOrder.FREEZE:
            await self._freeze(body)
        elif message.body:
            await self._thaw(body)

    async def _freeze(self, body: FreezeBody) -> None:
        self._orders += 1
        order = AdHocFreeze(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            key=f"{workflow.info().run_id}-{self._orders}",
            actor=f"{body.actor or 'anonymous'} (unverified)",
            reason=body.reason or MESSAGE,
            until=body.until,
        )
        if order.until is not None and order.until <= workflow.time():
            self._refuse(FreezeOrder.FREEZE, "it would end before it starts")
            return
        await workflow.execute_activity_method(Freezes.freeze_now, order, summary="freeze", **RECORD)

    async def _thaw(self, body: FreezeBody) -> None:
        claims = await self._claims(body)
        if claims is None:
            return
        self.used_tokens = (*self.used_tokens, claims.token_id)[-100:]
        order = Thaw(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            actor=claims.subject,
            reason=body.reason or MESSAGE,
        )
        held: tuple[str, ...] = await workflow.execute_activity_method(
            Freezes.thaw, order, summary="thaw", **RECORD
        )
        for deployment in held:
            await self._tell(deployment)

    async def _claims(self, body: FreezeBody) -> ThawClaims | None:
        """What the token says; None, shown with its reason, when it does not count."""
        verdict = ThawTokenVerdict(refusal="it needs a token: use the API or the CLI")
        if body.token is not None:
            verdict = await workflow.execute_activity_method(
                Tokens.read_thaw, TokenCheck(token=body.token), summary="check the token", **RECORD
            )
        why_not = verdict.refusal
        if verdict.claims is not None:
            why_not = thaw_objection(
                verdict.claims,
                tenant=self._lane.tenant,
                environment=self._lane.environment,
                used=self.used_tokens,
            )
        if why_not is None:
            return verdict.claims
        self._refuse(f"{FreezeOrder.THAW} by {body.actor or 'anonymous'}", why_not)
        return None

    async def _tell(self, deployment: str) -> None:
        """Wake the deployment; one that has ended meanwhile needs it no more."""
        handle = workflow.get_external_workflow_handle(deployment_workflow_id(deployment))
        try:
            await handle.signal(FreezeOrder.THAW)
        except FailureError as error:
            workflow.logger.info("%s cannot be told of the thaw: %s", deployment, error)
