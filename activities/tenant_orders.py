"""What the workflows of tenants may order; the hands are in activities.tenants."""

from abc import ABC, abstractmethod

from temporalio import activity

from domain.tenancy import TenantMove, TenantOrder, TenantPart


class Tenancy(ABC):
    """Making tenants and taking them away. Each may be repeated."""

    @activity.defn
    @abstractmethod
    async def make_tenant_part(self, part: TenantPart) -> None:
        """Carry one step out."""

    @activity.defn
    @abstractmethod
    async def undo_tenant_part(self, part: TenantPart) -> None:
        """Take one step back."""

    @activity.defn
    @abstractmethod
    async def move_tenant(self, move: TenantMove) -> None:
        """Bring the tenant into a state.

        Raises:
            IllegalTransition: final; the state may not follow.
        """

    @activity.defn
    @abstractmethod
    async def quiet_tenant(self, order: TenantOrder) -> None:
        """Withdraw what waits in the tenant's lanes, and wait until nothing of it is under way any more."""

    @activity.defn
    @abstractmethod
    async def erase_tenant(self, order: TenantOrder) -> None:
        """End the tenant's lanes and delete its rows, but for the audit trail."""
