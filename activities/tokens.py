"""Tokens that people's votes and commands carry: checked against the API's public key."""

from temporalio import activity
from typing_extensions import override

from activities.orders import Tokens
from domain.approval import DelegationTokenVerdict, VoteTokenVerdict
from domain.errors import Unauthenticated
from domain.freeze_orders import ThawTokenVerdict
from domain.messages import CommandTokenVerdict, TokenCheck
from domain.vote import Refusal
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
    async def read_delegation(self, check: TokenCheck) -> DelegationTokenVerdict:
        try:
            return DelegationTokenVerdict(delegation=self._reader.delegation(check.token))
        except TokenExpired:
            return DelegationTokenVerdict(refusal=Refusal.EXPIRED_TOKEN)
        except Unauthenticated:
            return DelegationTokenVerdict(refusal=Refusal.FORGED_TOKEN)

    @activity.defn
    @override
    async def read_command(self, check: TokenCheck) -> CommandTokenVerdict:
        try:
            return CommandTokenVerdict(claims=self._reader.command(check.token))
        except Unauthenticated as error:
            return CommandTokenVerdict(refusal=error.message)

    @activity.defn
    @override
    async def read_thaw(self, check: TokenCheck) -> ThawTokenVerdict:
        try:
            return ThawTokenVerdict(claims=self._reader.thaw(check.token))
        except Unauthenticated as error:
            return ThawTokenVerdict(refusal=error.message)
