"""Who may do what, within one tenant."""

from enum import StrEnum


class Role(StrEnum):
    """viewer < deployer < approver < admin: each may do all that the ones before it may."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    APPROVER = "approver"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)
