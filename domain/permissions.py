"""What may be done, and which role may do it. Every route of the API names one of these permissions."""

from enum import StrEnum
from typing import Final

from domain.roles import Role


class Permission(StrEnum):
    """One kind of thing to do within a tenant. Each is granted by itself: to roles, and to API keys."""

    READ = "read"
    SELF = "self"  # one's own sign-in: who am I, password, sign out
    OWN_KEYS = "own-keys"  # API keys that act for oneself
    PUSH = "push"
    DEPLOY = "deploy"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    ROLL_BACK = "roll-back"
    APPROVE = "approve"
    FREEZE = "freeze"
    RESOLVE = "resolve"
    SET_POLICY = "set-policy"
    REGISTER_NODES = "register-nodes"
    MANAGE_PEOPLE = "manage-people"
    READ_AUDIT = "read-audit"
    ADMINISTER = "administer"
    MANAGE_TENANTS = "manage-tenants"  # the platform's admins only


_VIEWER: Final = (Permission.READ, Permission.SELF, Permission.OWN_KEYS)
_DEPLOYER: Final = (
    *_VIEWER,
    Permission.PUSH,
    Permission.DEPLOY,
    Permission.PAUSE,
    Permission.RESUME,
    Permission.PROMOTE,
    Permission.ABORT,
    Permission.ROLL_BACK,
)
_APPROVER: Final = (*_DEPLOYER, Permission.APPROVE, Permission.FREEZE)

GRANTED: Final[dict[Role, tuple[Permission, ...]]] = {
    Role.VIEWER: _VIEWER,
    Role.DEPLOYER: _DEPLOYER,
    Role.APPROVER: _APPROVER,
    Role.ADMIN: tuple(Permission),
}


# A key cannot make keys or change a password: whoever steals it must not be able to stay.
NEVER_BY_KEY: Final = (
    Permission.SELF,
    Permission.OWN_KEYS,
    Permission.MANAGE_PEOPLE,
    Permission.MANAGE_TENANTS,
)


def may(role: Role, permission: Permission) -> bool:
    """Whether the role grants the permission."""
    return permission in GRANTED[role]
