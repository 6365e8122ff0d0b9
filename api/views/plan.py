"""A plan before anything moves."""

from pydantic import BaseModel

from api.planning import Prospect
from domain.forecast import Estimate, History, WaveForecast, estimate, forecast
from domain.placement import zone_of
from domain.plan import Plan


class PlanPreview(BaseModel):
    """What a deployment would do now.

    `digest` is the one that votes would bind to, as long as policy, nodes and what they run stay as they are;
    `expected` is for the whole plan; `unheard` names nodes that have not reported yet, so that what they run
    is not known here.
    """

    digest: str
    plan: Plan
    waves: list[WaveForecast]
    expected: Estimate
    unheard: list[str]


def preview(prospect: Prospect, plan: Plan, history: History) -> PlanPreview:
    """The plan with what each wave takes and risks."""
    zones = {each.node.name: zone_of(each.node) for each in prospect.fleet}
    return PlanPreview(
        digest=plan.digest,
        plan=plan,
        waves=forecast(plan, zones, history, plan.min_healthy),
        expected=estimate(plan.steps, history),
        unheard=[each.node.name for each in prospect.fleet if each.report is None],
    )
