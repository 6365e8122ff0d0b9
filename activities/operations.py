"""What one node is ordered to do, as its agent takes it."""

from domain.messages import NodesOrder, RevertOrder
from domain.release import ReleaseRef
from domain.wire import Action, Operation


def operation_id(order: NodesOrder | RevertOrder, node: str, action: Action) -> str:
    """The same in every retry of the same order; another in the next round of a rollback."""
    return f"{order.deployment}:{order.fence}:{order.attempt}:{action}:{node}"


def operation_of(
    order: NodesOrder, node: str, action: Action, *, signature: str | None = None, keep: bool = False
) -> Operation:
    """One action on one node of an order."""
    return Operation(
        id=operation_id(order, node, action),
        action=action,
        module=order.release.module,
        fence=order.fence,
        release=order.release,
        signature=signature,
        keep=keep,
    )


def revert_operation(order: RevertOrder, node: str, release: ReleaseRef | None) -> Operation:
    """Back to a release; None removes the module."""
    return Operation(
        id=operation_id(order, node, Action.REVERT),
        action=Action.REVERT,
        module=order.module,
        fence=order.fence,
        release=release,
    )
