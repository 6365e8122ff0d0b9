"""Tokens that people's votes and commands carry: checked against the API's public key."""

from temporalio import activity
from typing_extensions import override

from activities.orders import Tokens
from domain.errors import Unauthenticated
from domain.gate import Refusal
from domain.messages import CommandTokenVerdict, TokenCheck, VoteTokenVerdict
from runtime.tokens import TokenExpired, TokenReader


class PublicKeyTokens(Tokens):
    """Needs the public key only: a worker cannot mint what it accepts."""

    def __init__(self, reader: TokenReader) -> None:
        self._reader = reader

    @activity.defn
    @override
    async def read_vote(self, check: TokenCheck) -> VoteTokenVerdict:
        try:
            return VoteTokenVerdict(claims=self._reader.vote(check.token))
        except TokenExpired:
            return VoteTokenVerdict(refusal=Refusal.EXPIRED_TOKEN)
        except Unauthenticated:
            return VoteTokenVerdict(refusal=Refusal.FORGED_TOKEN)

    @activity.defn
    @override
    async def read_command(self, check: TokenCheck) -> CommandTokenVerdict:
        try:
            return CommandTokenVerdict(claims=self._reader.command(check.token))
        except Unauthenticated as error:
            return CommandTokenVerdict(refusal=error.message)
