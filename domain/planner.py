"""Strategies compile to plans here: (release, nodes, strategy, policy) → steps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.background import with_background
from domain.baseline import with_baseline
from domain.custom import compile_custom, wave_sizes
from domain.errors import PlanImpossible
from domain.feasibility import can_run_beside, few_enough, in_time, min_healthy
from domain.gate_places import gates_by_slice
from domain.gate_rule import GateRule, SubjectKind
from domain.manifest import Manifest
from domain.names import EnvironmentName, NodeName, TenantId
from domain.node import Node
from domain.placement import by_zone, cut, fill, spread, zone_limits, zone_of
from domain.plan import Activate, Analyze, Bake, Gate, Plan, Stage, Step, Verify, Wave
from domain.policy import EnvironmentPolicy
from domain.release import Kind, ReleaseRef
from domain.steps import Keep, Retire, Smoke, Start, Switch
from domain.strategy import Amount, BlueGreen, Canary, Custom, Direct, Rolling, Strategy, resolve

InPlace = Direct | Canary | Rolling


@dataclass(frozen=True)
class Fleet:
    """What strategies compile for.

    Attributes:
        nodes: in the order in which they change.
        installed: whether any of them has the module now, so that there is something to compare with.
        measured: whether the module's nodes give samples: those of a program do, files give none.
        stable: which nodes run the release that is replaced.
    """

    nodes: Sequence[Node]
    installed: bool
    measured: bool
    stable: Mapping[NodeName, bool]


@dataclass(frozen=True)
class LeftOut:
    """Nodes of the environment that a plan does not change: offline, or quarantined."""

    deferred: tuple[NodeName, ...] = ()
    quarantined: tuple[NodeName, ...] = ()


def make_plan(
    *,
    tenant: TenantId,
    environment: EnvironmentName,
    release: ReleaseRef,
    nodes: Sequence[Node],
    running: Mapping[NodeName, str | None],
    strategy: Strategy,
    policy: EnvironmentPolicy,
    manifest: Manifest | None = None,
    left_out: LeftOut = LeftOut(),
) -> Plan:
    """Compile a strategy for the nodes of an environment.

    Args:
        tenant: the owner of the environment.
        environment: where the release goes.
        release: what to bring.
        nodes: the nodes to change.
        running: the version that each node runs of this module now; None where it has none.
        strategy: how to go about it.
        policy: what the environment demands.
        manifest: what the release says of itself; without one it is taken for a program.
        left_out: nodes of the environment that the deployment does not change, and why.

    Raises:
        PlanImpossible: the environment has no nodes, or the strategy does not fit it or the release.
    """
    if not nodes:
        raise PlanImpossible(f"environment {environment!r} has no nodes", field="environment")
    versions = Counter(running.get(node.name) for node in nodes)
    replaces = versions.most_common(1)[0][0]
    fleet = Fleet(
        nodes=spread(nodes, _first_wave(strategy, len(nodes))),
        installed=any(version is not None for version in versions),
        measured=manifest is None or manifest.kind is Kind.PROCESS,
        stable={name: version == replaces for name, version in running.items()},
    )
    waves, compiled = _compile(strategy, fleet, policy, manifest)
    steps = _completed(compiled, waves, strategy, fleet, policy, manifest=manifest)
    return Plan(
        tenant=tenant,
        environment=environment,
        release=release,
        strategy=strategy.kind,
        replaces=replaces,
        waves=_numbered(waves),
        steps=steps,
        deadlines=policy.deadlines,
        failures=policy.failures,
        rollback=policy.rollback,
        ill=policy.ill,
        deferred=left_out.deferred,
        quarantined=left_out.quarantined,
        min_healthy=min_healthy(policy, nodes),
        guard=policy.guard,
        hooks=policy.hooks,
        unsigned_votes=policy.unsigned_votes,
        amendment=policy.rule_for(SubjectKind.AMENDMENT),
    )


def _completed(
    steps: Sequence[Step],
    waves: Sequence[Sequence[Node]],
    strategy: Strategy,
    fleet: Fleet,
    policy: EnvironmentPolicy,
    *,
    manifest: Manifest | None,
) -> tuple[Step, ...]:
    """A strategy's steps, with what the policy's analyses need besides them.

    Raises:
        PlanImpossible: too many waves, too little time, or nothing for an analysis to compare with.
    """
    few_enough(waves)
    compared = with_baseline(steps, waves, fleet.stable, _unavailable(strategy, fleet.nodes))
    steps = with_background(compared, policy)
    in_time(steps, policy.deadlines, manifest)
    return tuple(steps)


def _first_wave(strategy: Strategy, total: int) -> int:
    """How many nodes change first, where that is fewer than all of them."""
    match strategy:
        case Canary():
            return -(-total * strategy.shares[0] // 100)
        case Rolling():
            return resolve(strategy.batch, total)
        case Custom():
            size = strategy.waves[0]
            return total if size == "rest" else resolve(size, total)
        case Direct() | BlueGreen():
            return total


def _numbered(waves: Sequence[Sequence[Node]]) -> tuple[Wave, ...]:
    return tuple(
        Wave(number=number, nodes=tuple(node.name for node in members))
        for number, members in enumerate(waves, start=1)
    )


def _compile(
    strategy: Strategy, fleet: Fleet, policy: EnvironmentPolicy, manifest: Manifest | None
) -> tuple[list[list[Node]], list[Step]]:
    match strategy:
        case BlueGreen():
            can_run_beside(manifest)
            return [list(fleet.nodes)], _blue_green(strategy, policy)
        case Custom():
            if any(step.step == "start" for step in strategy.steps):
                can_run_beside(manifest)
            sizes = wave_sizes(strategy.waves, len(fleet.nodes))
            gates = {
                wave: [Gate(wave=wave, rule=rule) for rule in rules]
                for wave, rules in _gates(strategy, sizes, fleet.nodes, policy).items()
            }
            return compile_custom(strategy, fleet.nodes, policy, gates, installed=fleet.installed)
        case Direct() | Canary() | Rolling():
            return _in_place(strategy, fleet, policy)


def _blue_green(strategy: BlueGreen, policy: EnvironmentPolicy) -> list[Step]:
    """One wave. What other plans ask people before their second wave, this one asks before the switch."""
    early = [Gate(wave=1, rule=gate) for rule in policy.gates if (gate := rule.before(1)) is not None]
    once = {"every_wave": False}
    late = [Gate(wave=1, rule=rule.model_copy(update=once)) for rule in policy.gates if rule.before_wave > 1]
    steps: list[Step] = [*early, Stage(wave=1), Start(wave=1), Smoke(wave=1), *late, Switch(wave=1)]
    steps.append(Verify(wave=1))
    if strategy.watch:
        steps.append(Bake(wave=1, seconds=strategy.watch))
    if strategy.analyze:
        steps.append(Analyze(wave=1, rule=policy.analysis, against="health"))
    if strategy.keep:
        steps.append(Keep(wave=1, seconds=strategy.keep))
    steps.append(Retire(wave=1))
    return steps


def _in_place(
    strategy: InPlace, fleet: Fleet, policy: EnvironmentPolicy
) -> tuple[list[list[Node]], list[Step]]:
    """Slice after slice; one that holds too many nodes of a zone is changed in several waves."""
    waves: list[list[Node]] = []
    steps: list[Step] = []
    slices = _slices(strategy, fleet.nodes)
    gates = _gates(strategy, [len(members) for members in slices], fleet.nodes, policy)
    first_zone = zone_of(slices[0][0])
    for number, members in enumerate(slices, start=1):
        steps.extend(Gate(wave=len(waves) + 1, rule=rule) for rule in gates.get(number, ()))
        for part in _parts(strategy, members, fleet.nodes):
            waves.append(part)
            wave = len(waves)
            steps.extend((Stage(wave=wave), Activate(wave=wave), Verify(wave=wave)))
        zonal = isinstance(strategy, Rolling) and strategy.by_zone
        early = number == 1 or (zonal and zone_of(members[0]) == first_zone)
        steps.extend(_watch(strategy, policy, fleet, len(waves), early=early, last=number == len(slices)))
    return waves, steps


def _watch(
    strategy: InPlace, policy: EnvironmentPolicy, fleet: Fleet, wave: int, *, early: bool, last: bool
) -> list[Step]:
    """What follows a changed slice: a judgement where there is something to judge, else a bake."""
    match strategy:
        case Direct():
            return []
        case Rolling():
            longer = strategy.first_bake is not None and early
            return _bake(wave, strategy.first_bake if longer else strategy.bake)
        case Canary():
            steps = _bake(wave, strategy.first_bake if early else 0)
            if fleet.measured and not fleet.installed:
                return [*steps, Analyze(wave=wave, rule=policy.analysis, against="health")]
            if fleet.measured and not last:
                return [*steps, Analyze(wave=wave, rule=policy.analysis)]
            return [*steps, *_bake(wave, strategy.bake)]


def _bake(wave: int, seconds: float | None) -> list[Step]:
    return [Bake(wave=wave, seconds=seconds)] if seconds else []


def _parts(strategy: InPlace, members: Sequence[Node], nodes: Sequence[Node]) -> list[list[Node]]:
    limits = _unavailable(strategy, nodes)
    if isinstance(strategy, Rolling) or limits is None:
        return [list(members)]
    return fill(members, len(members), limits)


def _unavailable(strategy: Strategy, nodes: Sequence[Node]) -> dict[str, int] | None:
    """How many nodes of each zone may be in change at once; None where the strategy sets no limit."""
    if isinstance(strategy, BlueGreen) or strategy.max_unavailable is None:
        return None
    return _limits(strategy.max_unavailable, nodes)


def _limits(amount: Amount, nodes: Sequence[Node]) -> dict[str, int]:
    return zone_limits(nodes, lambda in_zone: resolve(amount, in_zone))


def _slices(strategy: InPlace, ordered: Sequence[Node]) -> list[list[Node]]:
    match strategy:
        case Direct():
            return [list(ordered)]
        case Canary():
            return cut(ordered, strategy.shares)
        case Rolling():
            size = resolve(strategy.batch, len(ordered))
            limits = _limits(strategy.max_unavailable, ordered)
            groups = by_zone(ordered) if strategy.by_zone else [list(ordered)]
            return [wave for group in groups for wave in fill(group, size, limits)]


def _gates(
    strategy: Strategy, sizes: Sequence[int], nodes: Sequence[Node], policy: EnvironmentPolicy
) -> dict[int, list[GateRule]]:
    """The policy's gates by the slice that they come before; see `domain.gate_places`."""
    own = sizes if strategy == policy.strategy else _own_sizes(policy.strategy, nodes)
    return gates_by_slice(policy.gates, sizes, own)


def _own_sizes(strategy: Strategy, nodes: Sequence[Node]) -> list[int]:
    """How many nodes change in each slice of the policy's strategy; one that does not fit asks at once."""
    match strategy:
        case BlueGreen():
            return [len(nodes)]
        case Custom():
            try:
                return wave_sizes(strategy.waves, len(nodes))
            except PlanImpossible:
                return [len(nodes)]
        case Direct() | Canary() | Rolling():
            return [len(each) for each in _slices(strategy, spread(nodes, _first_wave(strategy, len(nodes))))]
