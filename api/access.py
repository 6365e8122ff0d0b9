"""Who is asking, and whether they may. The actor always comes from the token."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.services import Hands
from domain.base import Frozen
from domain.errors import Forbidden, Unauthenticated
from domain.names import TenantId, Username
from domain.roles import Role
from runtime.tokens import NodeClaims

_person = HTTPBearer(auto_error=False, scheme_name="person", description="From POST /auth/token.")
_node = HTTPBearer(auto_error=False, scheme_name="node", description="From POST /nodes.")


class Caller(Frozen):
    """A signed-in person."""

    tenant: TenantId
    username: Username
    role: Role


def _caller(hands: Hands, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_person)]) -> Caller:
    claims = hands.reader.user(_token(bearer))
    return Caller(tenant=claims.tenant, username=claims.subject, role=claims.role)


def _reporting_node(
    hands: Hands, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_node)]
) -> NodeClaims:
    return hands.reader.node(_token(bearer))


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None:
        raise Unauthenticated("a bearer token is needed")
    return bearer.credentials


def _at_least(role: Role) -> Callable[[Caller], Caller]:
    def check(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if not caller.role.includes(role):
            raise Forbidden(f"this needs the role {role}; yours is {caller.role}")
        return caller

    return check


# Every route takes one of these; what takes none is on the short list that tests/api checks.
Viewer = Annotated[Caller, Depends(_at_least(Role.VIEWER))]
Deployer = Annotated[Caller, Depends(_at_least(Role.DEPLOYER))]
Approver = Annotated[Caller, Depends(_at_least(Role.APPROVER))]
Admin = Annotated[Caller, Depends(_at_least(Role.ADMIN))]
ReportingNode = Annotated[NodeClaims, Depends(_reporting_node)]
