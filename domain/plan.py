"""The plan: what a deployment will do, as data. Computed once, hashed, and never changed afterwards."""

import hashlib
import itertools
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from domain.attribution import IllBudget
from domain.base import Frozen, essence
from domain.gate_rule import GateRule, SubjectKind
from domain.guard import GuardRule
from domain.hooks import OF_NODES, Boundary, HookRule, boundaries_after, boundaries_before
from domain.names import EnvironmentName, NodeName, TenantId
from domain.policy import AnalysisRule, Deadlines, FailureBudget, RollbackRule
from domain.release import ReleaseRef
from domain.steps import Keep, Pause, Renew, Retire, Smoke, Start, Switch, disorder


class Stage(Frozen):
    """Bring the bundle to the wave's nodes and unpack it beside what runs."""

    kind: Literal["stage"] = "stage"
    wave: int


class Gate(Frozen):
    """Wait for people before the wave."""

    kind: Literal["gate"] = "gate"
    wave: int
    rule: GateRule


class Activate(Frozen):
    """Switch the wave's nodes to the release."""

    kind: Literal["activate"] = "activate"
    wave: int


class Verify(Frozen):
    """Read back from the wave's nodes what really runs there."""

    kind: Literal["verify"] = "verify"
    wave: int


class Bake(Frozen):
    """Let the changed nodes run for `seconds`, then read back again: health is what gates."""

    kind: Literal["bake"] = "bake"
    wave: int
    seconds: float


class Analyze(Frozen):
    """Judge all nodes changed so far: against those not changed yet, or by their own health alone.

    With `nodes`, of those not changed yet only these.
    """

    kind: Literal["analyze"] = "analyze"
    wave: int
    rule: AnalysisRule
    against: Literal["baseline", "health"] = "baseline"
    nodes: tuple[NodeName, ...] = ()


class Watch(Frozen):
    """Start the background analysis before the wave; it goes on beside all that follows."""

    kind: Literal["watch"] = "watch"
    wave: int
    rule: AnalysisRule


Step = Annotated[
    Stage
    | Gate
    | Activate
    | Verify
    | Bake
    | Analyze
    | Start
    | Smoke
    | Switch
    | Keep
    | Retire
    | Pause
    | Watch
    | Renew,
    Field(discriminator="kind"),
]


class Wave(Frozen):
    """Nodes that change together. Waves count from 1."""

    number: int = Field(ge=1)
    nodes: tuple[NodeName, ...] = Field(min_length=1)


class Plan(Frozen):
    """The steps, in order, and the nodes of each wave. Approvals bind to `digest`.

    `replaces` is the version that most nodes run before the deployment; None on a first install.
    `deferred` nodes are offline and are caught up when they return; `quarantined` ones are left alone.
    `min_healthy` says how many nodes of each zone must be up besides those that are being changed;
    `amendment` who approves an amendment that widens it.
    """

    tenant: TenantId
    environment: EnvironmentName
    release: ReleaseRef
    strategy: str
    replaces: str | None
    waves: tuple[Wave, ...] = Field(min_length=1)
    steps: tuple[Step, ...] = Field(min_length=1)
    deadlines: Deadlines
    failures: FailureBudget
    rollback: RollbackRule = RollbackRule()
    ill: IllBudget = IllBudget()
    deferred: tuple[NodeName, ...] = ()
    quarantined: tuple[NodeName, ...] = ()
    min_healthy: dict[str, int] = Field(default_factory=dict)
    guard: GuardRule | None = None
    hooks: tuple[HookRule, ...] = ()
    unsigned_votes: bool
    amendment: GateRule = GateRule(name=SubjectKind.AMENDMENT)

    @model_validator(mode="after")
    def _each_node_once(self) -> Self:
        if [wave.number for wave in self.waves] != list(range(1, len(self.waves) + 1)):
            raise ValueError("waves must be numbered from 1 without a gap")
        names = self.nodes
        if len(names) != len(dict.fromkeys(names)):
            raise ValueError("a node is in two waves")
        wrong = disorder([(step.kind, step.wave) for step in self.steps], len(self.waves))
        if wrong is not None:
            raise ValueError(f"step {wrong[0] + 1}: {wrong[1]}")
        return self

    @model_validator(mode="after")
    def _baselines_are_unchanged(self) -> Self:
        renewed: list[NodeName] = []
        for step in self.steps:
            if not isinstance(step, Analyze | Renew) or not step.nodes:
                continue
            later = dict.fromkeys(self.remaining_after(step.wave))
            strangers = [name for name in step.nodes if name not in later]
            if strangers:
                words = f"{strangers[0]} is not of a later wave"
                raise ValueError(f"{step.kind} of wave {step.wave}: {words}")
            renewed.extend(step.nodes if isinstance(step, Renew) else ())
        if len(renewed) != len(dict.fromkeys(renewed)):
            raise ValueError("a node is renewed twice")
        return self

    @property
    def nodes(self) -> tuple[NodeName, ...]:
        """All nodes, in the order in which they change."""
        return tuple(name for wave in self.waves for name in wave.nodes)

    @property
    def gates(self) -> tuple[GateRule, ...]:
        """The rules of its gates, in order."""
        return tuple(step.rule for step in self.steps if isinstance(step, Gate))

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the plan's essence: fields added later do not change it."""
        canonical = json.dumps(essence(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def node_hooks(self) -> tuple[HookRule, ...]:
        """The hooks around each node's change."""
        return tuple(hook for hook in self.hooks if hook.at in OF_NODES)

    @property
    def _kinds(self) -> list[tuple[str, int]]:
        return [(step.kind, step.wave) for step in self.steps]

    def begins_with(self, index: int) -> list[Boundary]:
        """Which points are reached before the step at `index`."""
        return boundaries_before(self._kinds, index) if self.hooks else []

    def ends_with(self, index: int) -> list[Boundary]:
        """Which points are reached after the step at `index`."""
        return boundaries_after(self._kinds, index) if self.hooks else []

    def wave(self, number: int) -> Wave:
        """The wave with this number."""
        return self.waves[number - 1]

    def beside(self, wave: int) -> bool:
        """Whether the wave's nodes run two releases for a while."""
        return any(isinstance(step, Switch) and step.wave == wave for step in self.steps)

    def changed_by(self, wave: int) -> tuple[NodeName, ...]:
        """Nodes on the new release once this wave is through."""
        return tuple(name for each in self.waves[:wave] for name in each.nodes)

    def remaining_after(self, wave: int) -> tuple[NodeName, ...]:
        """Nodes that this wave and those before it leave unchanged: the concurrent baseline."""
        return tuple(name for each in self.waves[wave:] for name in each.nodes)

    def fresh_baseline(self, wave: int) -> tuple[NodeName, ...]:
        """Of those, the ones that were renewed for this wave or one before it."""
        renewed = {
            name: True
            for step in self.steps
            if isinstance(step, Renew) and step.wave <= wave
            for name in step.nodes
        }
        return tuple(name for name in self.remaining_after(wave) if name in renewed)


SMALL_WAVE = 16
BATCH_NODES = 64
FEWEST_BATCHES = 8
MOST_BATCHES = 48


def batches(nodes: tuple[NodeName, ...]) -> list[tuple[NodeName, ...]]:
    """Cut a wave into slices, each for one activity.

    Up to SMALL_WAVE nodes get a batch each, so that the console's timeline names every node. Larger waves
    get between FEWEST_BATCHES and MOST_BATCHES slices of about BATCH_NODES, so that history stays small.
    """
    if len(nodes) <= SMALL_WAVE:
        return [(name,) for name in nodes]
    count = min(MOST_BATCHES, max(FEWEST_BATCHES, -(-len(nodes) // BATCH_NODES)))
    size, rest = divmod(len(nodes), count)
    edges = [index * size + min(index, rest) for index in range(count + 1)]
    return [nodes[start:end] for start, end in itertools.pairwise(edges)]
