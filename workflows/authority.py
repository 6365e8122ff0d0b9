"""Whether a command counts: its shape, its token, and what an unsigned one may do."""

from temporalio import workflow

from domain.base import Frozen
from domain.command import CommandBody, CommandName, objection
from domain.messages import CommandTokenVerdict, TokenCheck
from workflows.inbox import Message
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.orders import Tokens

TOKENS_KEPT = 100  # of the newest commands; a token lives for minutes, so older ones have expired


class Ordered(Frozen):
    """A command that counts. `actor` says so where nothing proves who sent it."""

    command: CommandName
    actor: str
    body: CommandBody

    @property
    def words(self) -> str:
        """For people: what, by whom, why."""
        what = f"{self.command} {self.body.node}" if self.body.node else str(self.command)
        return f"{what} by {self.actor}{': ' + self.body.reason if self.body.reason else ''}"


class Refused(Frozen):
    """A command that does not count, and why."""

    what: str
    why: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.what} does not count: {self.why}"


class Authority:
    """Checks the commands that one workflow receives; no token counts twice."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._used_tokens: tuple[str, ...] = ()
        self.unsigned_allowed = False

    async def check(self, message: Message) -> Ordered | Refused:
        """Read a signal as a command."""
        body = message.read(CommandBody)
        if body is None:
            why = "not an order of the form {actor, reason, token}" if message.known else "no such signal"
            return Refused(what=message.name, why=why)
        command = CommandName(message.name)
        verdict = CommandTokenVerdict()
        if body.token is not None:
            verdict = await workflow.execute_activity_method(
                Tokens.read_command, TokenCheck(token=body.token), summary="check the token", **RECORD
            )
        why_not = verdict.refusal or objection(
            command,
            verdict.claims,
            deployment=self._deployment,
            unsigned_allowed=self.unsigned_allowed,
            used=self._used_tokens,
        )
        if why_not is not None:
            return Refused(what=f"{command} by {body.actor or 'anonymous'}", why=why_not)
        if verdict.claims is None:
            return Ordered(command=command, actor=f"{body.actor or 'anonymous'} (unverified)", body=body)
        self._used_tokens = (*self._used_tokens, verdict.claims.token_id)[-TOKENS_KEPT:]
        return Ordered(command=command, actor=verdict.claims.subject, body=body)
