"""The judges by name."""

from collections.abc import Mapping
from typing import Final

from domain.analysis import Verdict
from domain.judges import mann_whitney, sequential, threshold
from domain.judging import Judge, JudgeName, JudgePolicy, JudgeState
from domain.metrics import JudgeLook

JUDGES: Final[Mapping[JudgeName, Judge]] = {
    "sequential": sequential.judge,
    "threshold": threshold.judge,
    "mann-whitney": mann_whitney.judge,
}


def judge(policy: JudgePolicy, state: JudgeState | None, look: JudgeLook) -> tuple[Verdict, JudgeState]:
    """What the policy's judge says. A state that another judge made is none."""
    own = state if state is not None and state.judge == policy.judge else None
    return JUDGES[policy.judge](policy, own, look)
