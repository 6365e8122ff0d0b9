"""What may happen to a deployment: the reference model of the model-based tests.

It knows nothing of how the workflows are built. It reads the log of an honest world from its beginning and
keeps the few facts that decide what is allowed next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.deployment import CauseKind, Phase, advance
from domain.events import EventKind
from domain.gate import GateResult
from domain.gate_rule import SubjectKind
from domain.plan import Plan
from tests.workflows.honest import Entry, HonestWorld

UNTOUCHED = (Phase.REJECTED, Phase.ABORTED, Phase.SUPERSEDED, Phase.FAILED)
AUTHORS = ("ana", "dora")  # who ask for deployments, and amend them
KNOWN = ("1.0.0", "2.0.0", "3.0.0")


@dataclass
class Allowed:
    """One deployment, entry by entry; `see` fails where something happens that must not."""

    deployment: str
    lost: set[str]
    aborts_sent: int
    plan: Plan | None = None
    phase: Phase = Phase.QUEUED
    frozen: bool = False
    paused_since: int | None = None
    aborted: bool = False
    rejected: bool = False
    approved: set[str] = field(default_factory=set)
    barred_from: int | None = None  # waves after this one: the judge said no, or nobody has said yes yet
    failed: bool = False
    latest: int = 0  # wave
    prior: dict[str, str] = field(default_factory=dict)  # of the nodes that were started
    end: Entry | None = None

    def see(self, entry: Entry) -> None:
        """The next entry."""
        if entry.what in {"frozen", "thawed"}:
            self.frozen = entry.what == "frozen"
        if entry.deployment != self.deployment:
            return
        if entry.what in {"planned", "amended"}:
            self.plan = entry.plan
            return
        assert entry.what != "illegal", f"{self.phase} was to become {entry.progress.phase}"
        if entry.what == "started":
            self._start(entry)
        elif entry.what == "poll":
            self._poll(entry)
        else:
            self._recorded(entry)
        assert all(release in KNOWN for release, _beside in entry.nodes.values())

    def _start(self, entry: Entry) -> None:
        """A node is started: never in a freeze or a pause, before its gates, or after a no."""
        assert self.plan is not None
        assert not self.frozen, f"{entry.node} was started in a freeze"
        assert not self.phase.terminal
        assert self.phase is not Phase.ROLLING_BACK, f"{entry.node} was started beside a rollback"
        assert entry.node in self.plan.wave(entry.wave).nodes
        assert entry.wave >= self.latest, "an earlier wave after a later one"
        assert self.paused_since is None or entry.number < self.paused_since, "started while paused"
        assert self.barred_from is None or entry.wave <= self.barred_from, "went on against the judge"
        for step in self.plan.steps:
            if step.kind == "gate" and step.wave <= entry.wave and entry.action != "start":  # beside
                assert step.rule.name in self.approved, f"{entry.node} was started before {step.rule.name}"
        self.latest = entry.wave
        self.prior.setdefault(entry.node, entry.nodes[entry.node][0])

    def _poll(self, entry: Entry) -> None:
        request, result = entry.poll.request, entry.poll.result
        if result is GateResult.APPROVED:
            voters = {vote.voter for vote in entry.poll.poll.votes}
            assert voters - set(AUTHORS), f"approved by {voters}, who have asked for it"
        if request.subject.kind is not SubjectKind.DEPLOYMENT:
            return
        if result is GateResult.APPROVED and entry.poll.poll.plan == self.plan.digest:
            self.approved.add(request.rule.name)
        elif result not in {None, GateResult.APPROVED}:
            self.rejected = True

    def _recorded(self, entry: Entry) -> None:
        progress = entry.progress
        if progress.event is EventKind.COMMAND:
            self._command(entry)
        if progress.event is EventKind.VERDICT:
            outcome = progress.details["outcome"]
            self.failed = self.failed or outcome == "fail"
            self.barred_from = None if outcome == "pass" else progress.wave
        if progress.phase is None:
            return
        assert self.end is None or progress.phase is self.phase, f"{progress.phase} after {self.phase}"
        advance(self.phase, progress.phase)
        self.phase = progress.phase
        if self.phase.terminal:
            self.end = entry
            self._ended(entry)

    def _command(self, entry: Entry) -> None:
        words = entry.progress.message
        if words.startswith("pause "):
            self.paused_since = entry.number
        elif words.startswith("resume "):
            self.paused_since = None
        elif words.startswith("promote ") and not self.failed:
            self.barred_from = None
        elif words.startswith("abort "):
            assert self.aborts_sent, "nobody has ordered this"
            self.aborted = True

    def _ended(self, entry: Entry) -> None:
        """The one end: what it says is what the nodes run."""
        touched = {name: entry.nodes[name] for name in self.prior}
        if self.phase is Phase.COMPLETED:
            assert not self.aborted, "completed although an abort was accepted"
            assert not self.rejected
            assert not self.failed, "completed although the judge said fail"
            release = self.plan.release.version
            expected = {name: (release, None) for name in self.plan.nodes if name not in self.lost}
            assert {name: entry.nodes[name] for name in expected} == expected
            return
        if self.phase in UNTOUCHED:
            assert touched == {}, f"{self.phase}, and these were touched: {touched}"
        named = entry.progress.unverified
        assert bool(named) == (self.phase is Phase.ROLLED_BACK_UNVERIFIED)
        back = {name: (release, None) for name, release in self.prior.items()}
        wrong = {name: runs for name, runs in touched.items() if runs != back[name] and name not in named}
        assert wrong == {}, f"{self.phase} without naming {wrong}"
        self._for_a_reason(entry.progress.cause.kind)

    def _for_a_reason(self, kind: CauseKind) -> None:
        if kind is CauseKind.ABORTED:
            assert self.aborted or self.aborts_sent
        if kind is CauseKind.REJECTED:
            assert self.rejected
        if self.aborted and self.phase in UNTOUCHED:
            assert self.phase in {Phase.ABORTED, Phase.FAILED, Phase.REJECTED}


def replay(world: HonestWorld, deployment: str, aborts_sent: int) -> Allowed:
    """The model after everything that has happened so far.

    Raises:
        AssertionError: something happened that must not.
    """
    model = Allowed(
        deployment=deployment,
        lost=world.lost.get(deployment, set()),
        aborts_sent=aborts_sent,
    )
    entries: Sequence[Entry] = tuple(world.log)
    for entry in entries:
        model.see(entry)
    return model
