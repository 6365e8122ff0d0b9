"""Who is asking, and whether they may. The actor always comes from the token.

Every route declares its policy by what it depends on: one permission, a node's own token, or the plain
statement that it is open to all. `api.policies` refuses an application with a route that declares none.
"""

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.identity import Caller as Caller  # noqa: PLC0414 - routes name both from here
from api.identity import Standings
from api.limits import Limited
from api.services import Hands, services_of
from api.tenancy import refuse_own, resolve
from domain.errors import Forbidden, Unauthenticated
from domain.identity import PasswordChangeRequired
from domain.permissions import Permission
from runtime.telemetry import note_about
from runtime.tokens import NodeClaims

_LOGGED: Final = ("deployment", "environment", "node")
_person = HTTPBearer(
    auto_error=False,
    scheme_name="person",
    description="From POST /auth/token, POST /auth/keys, or the external issuer.",
)
_node = HTTPBearer(auto_error=False, scheme_name="node", description="From POST /nodes.")


async def _caller(
    hands: Hands, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_person)], request: Request
) -> Caller:
    standings: Standings = request.app.state.standings
    caller = await resolve(hands, await standings.caller(hands, _token(bearer)), request)
    note_about(tenant=caller.tenant, **_objects(request))
    request.state.caller = caller  # for the audit trail, should the request be refused
    return caller


async def still_allowed(request: Request) -> None:
    """Ask again about whoever asked for something that lasts, such as a stream.

    Raises:
        Unauthenticated: the token has expired, or was revoked.
        Forbidden: the tenant is suspended, or the person is another's by now.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=token) if token else None
    standings: Standings = request.app.state.standings
    hands = services_of(request)
    await resolve(hands, await standings.caller(hands, _token(bearer)), request)


def _objects(request: Request) -> dict[str, str]:
    """What the path names, for the log."""
    return {name: str(value)[:64] for name, value in request.path_params.items() if name in _LOGGED}


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None:
        raise Unauthenticated("a bearer token is needed")
    return bearer.credentials


class Requires:
    """The policy "a person with this permission"; as a dependency it answers who that is.

    Raises:
        Unauthenticated: there is no good token.
        TooManyRequests: the person, or the tenant, has asked too often.
        Forbidden: the role (or the key's scopes) does not grant the permission.
        PasswordChangeRequired: the person must change the password first.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    @property
    def policy(self) -> str:
        """As the matrix and the OpenAPI document name it."""
        return self.permission.value

    async def __call__(
        self, caller: Annotated[Caller, Depends(_caller)], request: Request, limits: Limited
    ) -> Caller:
        """The person, when the role grants the permission and he has not asked too often."""
        await limits.asked(
            caller.tenant, caller.username, request, requests_per_minute=caller.requests_per_minute
        )
        refuse_own(caller, self.permission)
        if caller.must_change and self.permission is not Permission.SELF:
            raise PasswordChangeRequired("change the password first: POST /api/v1/auth/password")
        if not caller.may(self.permission):
            lacking = (
                "the key's scopes lack" if caller.scopes is not None else f"the role {caller.role} lacks"
            )
            raise Forbidden(f"this needs the permission {self.permission}; {lacking} it")
        return caller


class OfPlatform(Requires):
    """The same, of the tenant that administers the platform.

    Raises:
        Forbidden: the person is of another tenant, or comes with a key.
    """

    async def __call__(
        self, caller: Annotated[Caller, Depends(_caller)], request: Request, limits: Limited
    ) -> Caller:
        """The person."""
        caller = await super().__call__(caller, request, limits)
        if not caller.platform:
            raise Forbidden("this is for the platform's administrators")
        return caller


class NodeItself:
    """The policy "a node, under its own token"."""

    policy: Final = "node"

    async def __call__(
        self,
        hands: Hands,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_node)],
        request: Request,
        limits: Limited,
    ) -> NodeClaims:
        """The node that the token is for."""
        claims = hands.reader.node(_token(bearer))
        standings: Standings = request.app.state.standings
        rate = await standings.rate(hands, claims.tenant)
        await limits.asked(claims.tenant, f"node {claims.subject}", request, requests_per_minute=rate)
        return claims


class OpenToAll:
    """The policy "nobody has to be signed in"."""

    policy: Final = "open"

    async def __call__(self) -> None:
        """Nothing is asked."""


# Every route takes exactly one of these, as the type of a parameter or (OPEN) among its dependencies.
Viewer = Annotated[Caller, Depends(Requires(Permission.READ))]
Self = Annotated[Caller, Depends(Requires(Permission.SELF))]
KeyOwner = Annotated[Caller, Depends(Requires(Permission.OWN_KEYS))]
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
PlatformAdmin = Annotated[Caller, Depends(OfPlatform(Permission.MANAGE_TENANTS))]
ReportingNode = Annotated[NodeClaims, Depends(NodeItself())]
OPEN: Final = Depends(OpenToAll())
