"""From samples of both groups to a verdict: what is new, cut into intervals, judged with what was kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain import agent_metrics
from domain.agent_metrics import interval_count
from domain.analysis import Verdict
from domain.increments import NodeIntervals, cut, silent
from domain.judges.registry import judge
from domain.judging import JudgedLook, LookMemory
from domain.messages import AnalysisInput, Look
from domain.metrics import JudgeLook, MetricLook
from domain.wire import Sample, Samples

OVERLAP: Final = 15.0  # seconds read again, so that the first increment of a look has its beginning
HISTORY_INTERVALS: Final = 240
HISTORY_SAMPLES: Final = 200_000  # over all nodes: what a first look may read to calibrate itself

LATE: Final = 10.0  # seconds that a look may come after its time: for them no process is called too old
SOURCES: Final = "sources/"  # among the cursors; no node has such a name

Found = Mapping[str, Samples | None]
Ran = Mapping[str, str]  # node → the version that it ran when the rollout was planned
NOTHING_KNOWN: Final[Ran] = {}


@dataclass(frozen=True, slots=True)
class Compared:
    """A look's verdict, what it rests on, and what it leaves for the next look."""

    verdict: Verdict
    judged: JudgedLook
    memory: LookMemory


def is_first(memory: LookMemory | None) -> bool:
    """Whether the judge has nothing yet, and so needs to see what was before the change."""
    return memory is None or not any(memory.state.metrics.values())


def read_from(look: Look, memory: LookMemory | None, earliest: float) -> dict[str, float]:
    """From when on each node's samples are needed.

    Args:
        look: the look.
        memory: what the last one left.
        earliest: when the analysis began, on the slowest clock that a node may have.
    """
    request, cursors = look.analysis, memory.cursors if memory else {}
    shift = request.clock_shift
    if is_first(memory):
        earliest -= _history_seconds(request)
        cursors = {}
    names = request.canary if shift else (*request.canary, *request.baseline)
    return {name: (cursors[name] - OVERLAP if name in cursors else earliest) - shift for name in names}


def compare(
    look: Look,
    found: Found,
    memory: LookMemory | None,
    now: float,
    *,
    sources: Sequence[MetricLook] = (),
    ran: Ran = NOTHING_KNOWN,
) -> Compared:
    """Judge what is new.

    Args:
        look: the look.
        found: samples of every node of both groups.
        memory: what the last look left; None before the first.
        now: seconds since the epoch, for people; what `sources` were read up to.
        sources: metrics that are not the agents'.
        ran: what the nodes ran before, as far as it is known.
    """
    request, policy = look.analysis, look.analysis.rule.judge_policy()
    parts = interval_count(request.rule.interval)
    cursors = dict(memory.cursors) if memory else {}
    shift, first = request.clock_shift, is_first(memory)
    old = samples_before(request, found, ran) if shift or first else {}
    nodes, before = {}, {}
    for name, samples in found.items():
        if samples is None:
            nodes[name] = before[name] = silent(name, parts)
            continue
        start = cursors.get(name, samples.now - look.seconds)
        end = max(samples.now, start + 1e-3)
        version = request.canary_version if name in request.canary else None
        nodes[name] = cut(name, samples.samples, version=version, start=start, end=end, parts=parts)
        if shift:
            before[name] = cut(
                name, old[name], version=None, start=start - shift, end=end - shift, parts=parts
            )
        cursors[name] = end
    past = _past(request, found, old, 0.0) if first else {}
    if shift:
        further = _past(request, found, old, shift) if first else {}
        groups = Groups(request.canary, request.canary, nodes, before, past, further)
    else:
        groups = Groups(request.canary, request.baseline, nodes, nodes, past, past)
    seconds = look.seconds if look.number == 1 else request.rule.interval
    asked = judge_groups(look, groups, start=now - seconds, end=now)
    if sources:
        asked = asked.model_copy(update={"metrics": (*asked.metrics, *sources)})
        cursors[SOURCES] = now
    verdict, state = judge(policy, memory.state if memory else None, asked)
    kept = LookMemory(state=state, cursors=cursors)
    return Compared(verdict, JudgedLook(policy=policy, look=asked), kept)


def samples_before(request: AnalysisInput, found: Found, ran: Ran) -> dict[str, list[Sample]]:
    """What each node that answers sampled under the release that it ran before the one that is judged.

    Not under others: a release that was tried and taken back since is no picture of how things usually are.
    What was sampled last is only taken for that release where it is not known: after one that was taken back
    there may have been no time for a sample of what is back.
    """
    return {
        name: _of_release_before(request, samples, ran.get(name))
        for name, samples in found.items()
        if samples is not None
    }


def _of_release_before(request: AnalysisInput, samples: Samples, ran: str | None) -> list[Sample]:
    others = [each for each in samples.samples if each.version != request.canary_version]
    before = ran if ran not in (None, request.canary_version) else others[-1].version if others else None
    return [each for each in others if each.version == before]


def _history_seconds(request: AnalysisInput) -> float:
    """How far back to read: all that agents keep, less in large groups."""
    most = HISTORY_SAMPLES / max(1, len(request.canary) + len(request.baseline))
    step = request.rule.interval / interval_count(request.rule.interval)
    return min(most, HISTORY_INTERVALS * step)


def _past(
    request: AnalysisInput, found: Found, old: Mapping[str, Sequence[Sample]], shift: float
) -> dict[str, NodeIntervals]:
    """What the same nodes did before the change, in intervals of the same length, at the same times.

    The time before the change ends where the first canary node ended its old release; `shift` seconds earlier
    for what a comparison with the time before is calibrated against.
    """
    answering = {name: samples for name, samples in found.items() if samples is not None}
    changed = [answering[name].now - old[name][-1].at for name in request.canary if old.get(name)]
    if not changed:
        return {}
    step = request.rule.interval / interval_count(request.rule.interval)
    age, number = max(changed), max(1, int(_history_seconds(request) / step))
    past = {}
    for name, samples in answering.items():
        end = samples.now - age - shift
        start = end - number * step
        past[name] = cut(name, old[name], version=None, start=start, end=end, parts=number)
    return past


@dataclass(frozen=True, slots=True)
class Groups:
    """Both sides: who they are, what they did in this look, what they did before the change."""

    canary: tuple[str, ...]
    baseline: tuple[str, ...]
    canary_now: Mapping[str, NodeIntervals]
    baseline_now: Mapping[str, NodeIntervals]
    canary_past: Mapping[str, NodeIntervals]
    baseline_past: Mapping[str, NodeIntervals]


def _group(names: Sequence[str], of: Mapping[str, NodeIntervals]) -> list[NodeIntervals]:
    return [of[name] for name in names] if all(name in of for name in names) else []


def judge_groups(look: Look, groups: Groups, *, start: float, end: float) -> JudgeLook:
    """What the judge reads of both groups, between two instants for people."""
    request = look.analysis
    canary = _group(groups.canary, groups.canary_now)
    baseline = _group(groups.baseline, groups.baseline_now)
    metrics = agent_metrics.metric_looks(
        request.rule.metrics,
        canary,
        baseline,
        _group(groups.canary, groups.canary_past),
        _group(groups.baseline, groups.baseline_past),
    )
    if not any(node.samples for node in canary):
        gone = {"provider_down": "no canary node answers with samples"}
        metrics = tuple(metric.model_copy(update=gone) for metric in metrics)
    asked = agent_metrics.judge_look(
        look.number,
        start=start,
        end=end,
        metrics=metrics,
        groups=(canary, baseline),
        even=request.rule.traffic == "even" and not request.clock_shift,
    )
    fault = agent_metrics.overlap(baseline, request.canary_version)
    if request.rule.against == "fresh":
        oldest = (request.renewed or 0.0) + request.rule.warm_up + look.seconds + LATE
        fault = fault or agent_metrics.stale(baseline, oldest)
    return asked.model_copy(update={"baseline_fault": fault})
