"""Every activity that workflows may order is registered with a worker."""

import inspect
from typing import Any, cast

from temporalio import activity

from activities import orders, promotion_orders, tenant_orders
from activities.registry import Holdings, control_activities, hook_activities, node_activities


def name_of(hand: Any) -> str | None:
    definition = activity._Definition.from_callable(hand)
    return definition.name if definition else None


def ordered() -> list[str]:
    """The activities that the orders declare, by name."""
    rooms = [
        room
        for module in (orders, promotion_orders, tenant_orders)
        for _, room in inspect.getmembers(module, inspect.isclass)
        if room.__module__ == module.__name__
    ]
    hands = [hand for room in rooms for _, hand in inspect.getmembers(room, inspect.isfunction)]
    return sorted(name for hand in hands if (name := name_of(hand)) is not None)


def test_what_workflows_order_some_worker_does():
    held = Holdings(*cast("list[Any]", [None] * 8))
    hands = (*control_activities(held), *hook_activities(held), *node_activities(held))
    assert ordered() == sorted(str(name_of(hand)) for hand in hands)
    assert "save_amendment" in ordered()
