"""Making and taking away tenants: to the end, or back to nothing."""

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.tenancy import TenantState
from tests.workflows.tenants import Hands, at_work, fresh, make, remove

MADE = ["make environments", "make admin", "active"]


@pytest.mark.parametrize(
    ("refuses", "ends", "done"),
    [
        ("", TenantState.ACTIVE, MADE),
        ("make environments", TenantState.DELETED, [MADE[0], "undo environments", "deleted"]),
        ("make admin", TenantState.DELETED, [*MADE[:2], "undo admin", "undo environments", "deleted"]),
        ("active", TenantState.DELETED, [*MADE, "undo admin", "undo environments", "deleted"]),
    ],
)
async def test_what_cannot_be_made_is_taken_back(
    time_skipping: WorkflowEnvironment, refuses: str, ends: TenantState, done: list[str]
) -> None:
    hands = Hands(refuses=refuses)
    async with at_work(time_skipping.client, hands):
        assert await make(time_skipping.client, fresh()) == ends
    assert hands.done == done


async def test_a_tenant_is_quiet_before_it_is_erased(time_skipping: WorkflowEnvironment) -> None:
    hands = Hands()
    async with at_work(time_skipping.client, hands):
        assert await remove(time_skipping.client, fresh()) == TenantState.DELETED
    assert hands.done == ["quiet", "erase", "deleted"]
