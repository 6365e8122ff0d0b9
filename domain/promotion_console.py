"""What operators see of a promotion in the Temporal console."""

from collections.abc import Mapping

from domain.console import DETAILS_LIMIT, escape
from domain.deployment import Cause
from domain.names import deployment_workflow_id
from domain.promotion import PromotionPhase, PromotionStage


def promotion_details(
    *,
    stages: tuple[PromotionStage, ...],
    deployments: Mapping[int, str],
    said: Mapping[int, str],
    phase: PromotionPhase,
    message: str,
    waiting_for: str,
    cause: Cause | None,
    notices: tuple[str, ...],
) -> str:
    """The current details of a ReleaseWorkflow: where it stands and why, environment by environment.

    Args:
        stages: the environments in order.
        deployments: by position (from 1), the deployment of each environment that was reached.
        said: by position, the last that is known of it.
        phase: where the promotion stands.
        message: why.
        waiting_for: what it waits for; "" when it does not wait.
        cause: what stopped it.
        notices: commands and refused signals, oldest first.
    """
    lines = [f"**{phase}**: {escape(message)}"]
    if waiting_for:
        lines.append(f"\nwaiting for **{escape(waiting_for)}**")
    if cause is not None:
        lines.append(f"\nbecause ({cause.kind}): {escape(cause.message)}")
    lines.append("")
    for position, stage in enumerate(stages, start=1):
        page = f", page `{deployment_workflow_id(deployments[position])}`" if position in deployments else ""
        lines.append(f"1. **{escape(stage.environment)}**: {escape(said.get(position, 'pending'))}{page}")
    if notices:
        lines += ["\n### Notices\n", *(f"- {escape(notice)}" for notice in notices)]
    return "\n".join(lines)[:DETAILS_LIMIT]
