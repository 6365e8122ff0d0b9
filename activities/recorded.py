"""A look against what the same nodes did in their last window under the release before."""

from collections.abc import Sequence

from activities.comparison import NOTHING_KNOWN, Compared, Found, Groups, Ran, judge_groups, samples_before
from domain.agent_metrics import interval_count
from domain.increments import NodeIntervals, cut, silent
from domain.judges.registry import judge
from domain.judging import JudgedLook, JudgeState, LookMemory
from domain.messages import Look
from domain.metrics import MetricLook


def recall(look: Look, found: Found, ran: Ran = NOTHING_KNOWN) -> dict[str, NodeIntervals]:
    """What each node did in the last window of the release that it ran before.

    The window ends where that release ended on the node, however long ago. Nodes without one are left out.
    """
    parts, kept = interval_count(look.seconds), {}
    for name, old in samples_before(look.analysis, found, ran).items():
        if old:
            end = old[-1].at
            kept[name] = cut(name, old, version=None, start=end - look.seconds, end=end, parts=parts)
    return kept


def compare_recorded(
    look: Look,
    found: Found,
    recorded: dict[str, NodeIntervals],
    now: float,
    sources: Sequence[MetricLook] = (),
) -> Compared:
    """Judge the window that ends now. Windows overlap, so that nothing is carried from one look to the next.

    Args:
        look: the look.
        found: samples of every node.
        recorded: what the nodes did before; kept with the first look.
        now: seconds since the epoch, for people.
        sources: metrics that are not the agents'.
    """
    request, policy = look.analysis, look.analysis.rule.judge_policy()
    parts = interval_count(look.seconds)
    nodes, before = {}, {}
    for name, samples in found.items():
        before[name] = recorded.get(name, silent(name, parts))
        if samples is None:
            nodes[name] = silent(name, parts)
            continue
        start = samples.now - look.seconds
        nodes[name] = cut(
            name,
            samples.samples,
            version=request.canary_version,
            start=start,
            end=samples.now,
            parts=parts,
        )
    groups = Groups(request.canary, request.canary, nodes, before, {}, {})
    asked = judge_groups(look, groups, start=now - look.seconds, end=now)
    asked = asked.model_copy(update={"metrics": (*asked.metrics, *sources)})
    fresh = JudgeState(judge=policy.judge)
    verdict, _ = judge(policy, fresh, asked)
    kept = LookMemory(state=fresh, recorded=recorded if look.number == 1 else {})
    return Compared(verdict, JudgedLook(policy=policy, look=asked), kept)
