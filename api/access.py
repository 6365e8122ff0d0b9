"""Who is asking, and whether they may. The actor always comes from the token.

Every route declares its policy by what it depends on: one permission, a node's own token, or the plain
statement that it is open to all. `api.policies` refuses an application with a route that declares none.
"""

from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.services import Hands
from domain.base import Frozen
from domain.errors import Forbidden, Unauthenticated
from domain.names import TenantId, Username
from domain.permissions import Permission, may
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


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None:
        raise Unauthenticated("a bearer token is needed")
    return bearer.credentials


class Requires:
    """The policy "a person with this permission"; as a dependency it answers who that is.

    Raises:
        Unauthenticated: there is no good token.
        Forbidden: the person's role does not grant the permission.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    @property
    def policy(self) -> str:
        """As the matrix and the OpenAPI document name it."""
        return self.permission.value

    def __call__(self, caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        """The person, when the role grants the permission."""
        if not may(caller.role, self.permission):
            raise Forbidden(f"this needs the permission {self.permission}; the role {caller.role} lacks it")
        return caller


class NodeItself:
    """The policy "a node, under its own token"."""

    policy: Final = "node"

    def __call__(
        self, hands: Hands, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_node)]
    ) -> NodeClaims:
        """The node that the token is for."""
        return hands.reader.node(_token(bearer))


class OpenToAll:
    """The policy "nobody has to be signed in"."""

    policy: Final = "open"

    def __call__(self) -> None:
        """Nothing is asked."""


# Every route takes exactly one of these, as the type of a parameter or (OPEN) among its dependencies.
Viewer = Annotated[Caller, Depends(Requires(Permission.READ))]
Self = Annotated[Caller, Depends(Requires(Permission.SELF))]
Pusher = Annotated[Caller, Depends(Requires(Permission.PUSH))]
Deployer = Annotated[Caller, Depends(Requires(Permission.DEPLOY))]
Pauser = Annotated[Caller, Depends(Requires(Permission.PAUSE))]
Resumer = Annotated[Caller, Depends(Requires(Permission.RESUME))]
Promoter = Annotated[Caller, Depends(Requires(Permission.PROMOTE))]
Aborter = Annotated[Caller, Depends(Requires(Permission.ABORT))]
Undoer = Annotated[Caller, Depends(Requires(Permission.ROLL_BACK))]
Approver = Annotated[Caller, Depends(Requires(Permission.APPROVE))]
Freezer = Annotated[Caller, Depends(Requires(Permission.FREEZE))]
Resolver = Annotated[Caller, Depends(Requires(Permission.RESOLVE))]
PolicySetter = Annotated[Caller, Depends(Requires(Permission.SET_POLICY))]
Registrar = Annotated[Caller, Depends(Requires(Permission.REGISTER_NODES))]
PeopleAdmin = Annotated[Caller, Depends(Requires(Permission.MANAGE_PEOPLE))]
Auditor = Annotated[Caller, Depends(Requires(Permission.READ_AUDIT))]
Admin = Annotated[Caller, Depends(Requires(Permission.ADMINISTER))]
ReportingNode = Annotated[NodeClaims, Depends(NodeItself())]
OPEN: Final = Depends(OpenToAll())
