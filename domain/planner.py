"""Strategies compile to plans here: (release, nodes, strategy, policy) → steps."""

from collections import Counter
from collections.abc import Mapping, Sequence

from domain.errors import PlanImpossible
from domain.names import EnvironmentName, NodeName, TenantId
from domain.node import Node
from domain.placement import cut, fill, spread
from domain.plan import Activate, Analyze, Bake, Gate, Plan, Stage, Step, Verify, Wave
from domain.policy import EnvironmentPolicy
from domain.release import ReleaseRef
from domain.strategy import Canary, Direct, Rolling, Strategy, resolve


def make_plan(
    *,
    tenant: TenantId,
    environment: EnvironmentName,
    release: ReleaseRef,
    nodes: Sequence[Node],
    running: Mapping[NodeName, str | None],
    strategy: Strategy,
    policy: EnvironmentPolicy,
) -> Plan:
    """Compile a strategy for the nodes of an environment.

    Args:
        tenant: the owner of the environment.
        environment: where the release goes.
        release: what to bring.
        nodes: all nodes of the environment.
        running: the version that each node runs of this module now; None where it has none.
        strategy: how to go about it.
        policy: what the environment demands.

    Raises:
        PlanImpossible: the environment has no nodes.
    """
    if not nodes:
        raise PlanImpossible(f"environment {environment!r} has no nodes", field="environment")
    waves = _waves(strategy, nodes)
    versions = Counter(running.get(node.name) for node in nodes)
    has_baseline = any(version is not None for version in versions)
    steps: list[Step] = []
    for wave in waves:
        steps.extend(_gates_before(wave.number, policy))
        steps.extend((Stage(wave=wave.number), Activate(wave=wave.number), Verify(wave=wave.number)))
        last = wave.number == len(waves)
        steps.extend(_watch(strategy, policy, wave.number, judged=has_baseline and not last))
    return Plan(
        tenant=tenant,
        environment=environment,
        release=release,
        strategy=strategy.kind,
        replaces=versions.most_common(1)[0][0],
        waves=waves,
        steps=tuple(steps),
        deadlines=policy.deadlines,
        failures=policy.failures,
        unsigned_votes=policy.unsigned_votes,
    )


def _waves(strategy: Strategy, nodes: Sequence[Node]) -> tuple[Wave, ...]:
    return tuple(
        Wave(number=number, nodes=tuple(node.name for node in members))
        for number, members in enumerate(_slices(strategy, spread(nodes)), start=1)
    )


def _slices(strategy: Strategy, ordered: Sequence[Node]) -> list[list[Node]]:
    match strategy:
        case Direct():
            return [list(ordered)]
        case Canary():
            return cut(ordered, strategy.shares)
        case Rolling():
            return fill(
                ordered,
                resolve(strategy.batch, len(ordered)),
                lambda in_zone: resolve(strategy.max_unavailable, in_zone),
            )


def _gates_before(wave: int, policy: EnvironmentPolicy) -> list[Step]:
    return [Gate(wave=wave, rule=rule) for rule in policy.gates if rule.before_wave == wave]


def _watch(strategy: Strategy, policy: EnvironmentPolicy, wave: int, *, judged: bool) -> list[Step]:
    """What follows a changed wave: a judgement where a baseline is left, a health-gated bake elsewhere."""
    match strategy:
        case Direct():
            return []
        case Canary():
            if judged:
                return [Analyze(wave=wave, rule=policy.analysis)]
            seconds = strategy.bake
        case Rolling():
            first = strategy.first_bake if strategy.first_bake is not None else strategy.bake
            seconds = first if wave == 1 else strategy.bake
    return [Bake(wave=wave, seconds=seconds)] if seconds else []
