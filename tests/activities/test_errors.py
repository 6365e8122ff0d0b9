"""Which errors of ours end an activity, and which are worth another try."""

import pytest

from activities.errors import _is_final
from domain.errors import Conflict, HotswapError, IllegalTransition, NodeUnreachable, NotFound
from domain.tenancy import QuotaExceeded


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (Conflict("x"), True),
        (IllegalTransition("x"), True),
        (NotFound("x"), True),
        (QuotaExceeded("there may be room later"), False),
        (NodeUnreachable("x"), False),
    ],
)
def test_a_quota_may_have_room_later_and_other_conflicts_stay(error: HotswapError, final: bool) -> None:
    assert _is_final(error) is final
