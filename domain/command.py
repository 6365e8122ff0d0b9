"""Commands to a deployment under way, or to its rollback. They arrive as signals.

Stopping needs no proof of who asks; advancing (resume, promote) needs a token of the API, unless the
environment's policy lets unsigned signals advance.
"""

from enum import StrEnum

from pydantic import Field

from domain.amendment import Changes
from domain.base import Frozen
from domain.roles import Role


class CommandName(StrEnum):
    """What a person may order.

    Of a deployment: pause, resume, promote (skip the present bake, analysis or hold, never a gate), abort,
    amend (change what is still to come).
    Of a rollback that waits for a person: retry all nodes that are not proved to be back, give one of them up
    (skip_node), or give all of them up (abandon). Whatever is given up ends as not verified, by name.
    """

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    AMEND = "amend"
    RETRY = "retry"
    SKIP_NODE = "skip_node"
    ABANDON = "abandon"

    @property
    def advances(self) -> bool:
        """Whether it moves a rollout on or alters it, rather than stopping it."""
        return self in (CommandName.RESUME, CommandName.PROMOTE, CommandName.AMEND)


class CommandBody(Frozen):
    """The one JSON argument of a command signal. Without a token, `actor` is only what the sender says.

    `node` goes with skip_node only, `changes` with amend only.
    """

    actor: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=1000)
    node: str = Field(default="", max_length=200)
    changes: Changes | None = None
    token: str | None = Field(default=None, max_length=8192)


class CommandClaims(Frozen):
    """What a command token says, after its signature was checked."""

    subject: str
    role: Role
    deployment: str
    command: CommandName
    token_id: str


def objection(
    command: CommandName,
    claims: CommandClaims | None,
    *,
    deployment: str,
    unsigned_allowed: bool,
    used: tuple[str, ...],
) -> str | None:
    """Why a command does not count, in words; None when it does."""
    if claims is not None:
        if claims.deployment != deployment or claims.command is not command:
            return "the token is for another deployment or command"
        if claims.token_id in used:
            return "the token was used before"
        return None if claims.role.includes(Role.DEPLOYER) else f"role {claims.role} may not {command}"
    if command.advances and not unsigned_allowed:
        return f"an unsigned {command} may not advance this environment: use the API or the CLI"
    return None
