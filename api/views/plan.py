"""A plan before anything moves."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel

from domain.plan import Plan
from store.records import StoredNode


class WaveSpread(BaseModel):
    """How many nodes of each zone a wave takes, and how many run the release once it is through."""

    wave: int
    nodes: int
    zones: dict[str, int]
    changed_so_far: int


class PlanPreview(BaseModel):
    """What a deployment would do now.

    `digest` is the one that votes would bind to, as long as policy, nodes and what they run stay as they are;
    `unheard` names nodes that have not reported yet, so that what they run is not known here.
    """

    digest: str
    plan: Plan
    spread: list[WaveSpread]
    unheard: list[str]


def preview(plan: Plan, fleet: Sequence[StoredNode]) -> PlanPreview:
    """The plan with its waves' spread over zones."""
    zones = {each.node.name: each.node.labels.get("zone", "") for each in fleet}
    return PlanPreview(
        digest=plan.digest,
        plan=plan,
        spread=[
            WaveSpread(
                wave=wave.number,
                nodes=len(wave.nodes),
                zones=dict(sorted(Counter(zones[name] for name in wave.nodes).items())),
                changed_so_far=len(plan.changed_by(wave.number)),
            )
            for wave in plan.waves
        ],
        unheard=[each.node.name for each in fleet if each.report is None],
    )
