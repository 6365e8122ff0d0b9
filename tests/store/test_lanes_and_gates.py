import pytest

from domain.analysis import Outcome, Verdict
from domain.approval import ApprovalInput, PollEntry, PollRecord, Subject, SubjectKind
from domain.deployment import Phase
from domain.errors import Conflict, NotFound
from domain.events import EventKind
from domain.gate import GateResult, Poll
from domain.gate_rule import GateRule
from domain.judging import JudgedLook, JudgeState, LookMemory, Replay
from domain.messages import AnalysisInput, Look, Progress
from domain.metrics import JudgeLook
from domain.policy import AnalysisRule
from domain.vote import Ballot, Decision
from store import analyses, deployments, environments, events, lanes, polls
from store.database import Database
from store.lane_entries import SHOWN
from tests.store.conftest import TENANT, queue

RULE = GateRule(name="promotion")
REQUEST = ApprovalInput(
    tenant=TENANT,
    environment="production",
    deployment="d1",
    gate="approval-d1-promotion",
    rule=RULE,
    requester="ana",
    unsigned_votes=True,
    subject=Subject(
        kind=SubjectKind.DEPLOYMENT, reference="d1", digest="a" * 64, words="greeter@2.0.0 to production"
    ),
)
POLL = REQUEST.poll()
EXPIRES = 1_800_000_000.0


async def enter(database: Database, phase: Phase, deployment: str = "d1") -> None:
    async with database.transaction(TENANT) as session:
        await deployments.record(
            session,
            Progress(
                tenant=TENANT,
                deployment=deployment,
                key=phase,
                event=EventKind.PHASE,
                message=phase,
                phase=phase,
            ),
        )


async def test_a_lane_shows_what_runs_and_what_waits_in_order(database: Database) -> None:
    for name in ("d1", "d2", "d3"):
        await queue(database, name)
    await enter(database, Phase.PLANNING)
    async with database.transaction(TENANT) as session:
        view = await lanes.load(session, TENANT, "production")
        empty = await lanes.load(session, TENANT, "qa")
        work = await lanes.with_work(session)
        with pytest.raises(NotFound):
            await lanes.load(session, TENANT, "nowhere")
    assert view.running is not None
    assert view.running.deployment == "d1"
    assert [entry.deployment for entry in view.queued] == ["d2", "d3"]
    assert view.queued[0].strategy == "canary"
    assert (empty.running, empty.queued) == (None, ())
    assert [(lane.environment, lane.queued) for lane in work] == [("production", ("d2", "d3"))]


async def test_of_a_long_queue_a_lane_reads_the_first_and_all_that_is_not_ordinary(
    database: Database,
) -> None:
    names = [f"q{number:02}" for number in range(SHOWN + 5)]
    for name in names:
        await queue(database, name)
    await queue(database, "override", override="it burns")
    await queue(database, "hotfix", hotfix="it burns")
    async with database.transaction(TENANT) as session:
        view = await lanes.load(session, TENANT, "production")
    assert view.running is None
    assert [entry.deployment for entry in view.queued] == ["hotfix", *names[: SHOWN - 1], "override"]
    assert view.waiting == len(names) + 2


async def test_a_frozen_lane_stays_resolved_when_the_freeze_is_repeated(database: Database) -> None:
    await queue(database)

    async def freeze() -> None:
        async with database.transaction(TENANT) as session:
            await lanes.freeze(session, TENANT, "d1", "node-01 is not back")

    async def frozen() -> str | None:
        async with database.transaction(TENANT) as session:
            return (await lanes.load(session, TENANT, "production")).frozen

    await freeze()
    assert await frozen() == "node-01 is not back"
    async with database.transaction(TENANT) as session:
        await lanes.resolve(session, TENANT, "production", "bob", "looked at it")
    await freeze()
    assert await frozen() is None
    async with database.transaction(TENANT) as session:
        with pytest.raises(Conflict):
            await lanes.resolve(session, TENANT, "production", "bob", "again")
        kinds = [event.kind for event in await events.after(session, TENANT, "d1", 0)]
    assert kinds[1:] == [EventKind.LANE_FROZEN, EventKind.LANE_RESOLVED]


async def save(database: Database, poll: Poll, result: GateResult | None = None) -> None:
    async with database.transaction(TENANT) as session:
        await polls.save(session, PollRecord(request=REQUEST, poll=poll, expires=EXPIRES, result=result))


async def test_a_gate_waits_until_it_has_a_result(database: Database) -> None:
    await queue(database)
    await save(database, POLL)
    voted = POLL.cast(Ballot(approver="bob"), Decision.APPROVE, None, 1.0)
    await save(database, voted)
    await save(database, POLL)  # a late repeat of the first write
    async with database.transaction(TENANT) as session:
        waiting = await polls.pending(session, TENANT)
        assert (await polls.pending(session, "other")).items == ()
    assert [item.poll for item in waiting.items] == [voted]
    assert waiting.items[0].expires_at.timestamp() == EXPIRES
    await save(database, voted, GateResult.APPROVED)
    async with database.transaction(TENANT) as session:
        stored = await polls.get(session, TENANT, REQUEST.gate)
        assert (await polls.pending(session, TENANT)).items == ()
    assert stored.result is GateResult.APPROVED
    assert stored.closed_at is not None


async def test_the_end_of_a_deployment_closes_its_gates_for_good(database: Database) -> None:
    await queue(database)
    await save(database, POLL)
    await enter(database, Phase.ABORTED)
    await save(database, POLL)
    async with database.transaction(TENANT) as session:
        stored = await polls.get(session, TENANT, REQUEST.gate)
        assert (await polls.pending(session, TENANT)).items == ()
    assert (stored.result, stored.closed_at is not None) == (None, True)


FIRST_LOOKS = AnalysisInput(
    tenant=TENANT,
    environment="production",
    deployment="d1",
    analysis="analysis-d1-1",
    wave=1,
    module="greeter",
    canary=("node-01",),
    baseline=("node-02",),
    canary_version="2.0.0",
    rule=AnalysisRule(),
    subject="wave 1",
)


async def test_looks_are_kept_in_order_and_a_repeat_replaces(database: Database) -> None:
    await queue(database)
    said = [Verdict(outcome=outcome, reason=str(outcome)) for outcome in Outcome]
    async with database.transaction(TENANT) as session:
        for number, verdict in enumerate(said, start=1):
            await analyses.save(session, Look(analysis=FIRST_LOOKS, number=number, seconds=1), verdict)
        await analyses.save(session, Look(analysis=FIRST_LOOKS, number=1, seconds=1), said[2])
        looks = await analyses.of_deployment(session, TENANT, "d1")
        latest = await analyses.latest(session, TENANT, "d1")
    assert [look.verdict for look in looks] == [said[2], said[1], said[2]]
    assert latest == looks[-1]


async def test_a_look_leaves_what_the_next_one_needs_and_what_a_replay_needs(database: Database) -> None:
    await queue(database)
    first, second = (Look(analysis=FIRST_LOOKS, number=number, seconds=30.0 * number) for number in (1, 2))
    judged = [
        JudgedLook(
            policy=FIRST_LOOKS.rule.judge_policy(),
            look=JudgeLook(number=number, start=0.1, end=1 / 3, step=0.1, canary_nodes=1),
        )
        for number in (1, 2)
    ]
    memory = LookMemory(state=JudgeState(judge="sequential", shared={"seen": 5}), cursors={"node-01": 1 / 3})
    said = Verdict(outcome=Outcome.INCONCLUSIVE, reason="too early")
    async with database.transaction(TENANT) as session:
        assert await analyses.memory(session, first) is None
        await analyses.save(session, first, said, judged[0], memory)
        assert await analyses.memory(session, second) == memory
        await analyses.save(session, second, said, judged[1], memory)
        assert await analyses.replay(session, TENANT, "analysis-d1-1") == Replay(
            judged=judged[1], before=memory.state, verdict=said
        )
        assert await analyses.replay(session, TENANT, "analysis-d1-1", 1) == Replay(
            judged=judged[0], before=None, verdict=said
        )
        assert await analyses.replay(session, TENANT, "analysis-d1-1", 3) is None
    async with database.transaction(TENANT) as session:  # nothing is read yet
        looks = await analyses.of_analysis(session, TENANT, "analysis-d1-1")
        assert [(look.number, look.judged) for look in looks] == [(1, judged[0]), (2, judged[1])]
        await analyses.save(session, second, said)
        assert await analyses.replay(session, TENANT, "analysis-d1-1", 2) is None


async def test_policies_are_stored_whole(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        policy = await environments.policy(session, TENANT, "qa")
        wanted = policy.model_copy(update={"gates": (RULE,)})
        await environments.set_policy(session, TENANT, "qa", wanted)
    async with database.transaction(TENANT) as session:
        assert await environments.policy(session, TENANT, "qa") == wanted
        names = [each.name for each in await environments.of_tenant(session, TENANT)]
    assert names == ["development", "qa", "staging", "production"]


OVERRIDE = REQUEST.model_copy(
    update={
        "deployment": None,
        "gate": "approval-freeze-override-1",
        "subject": Subject(
            kind=SubjectKind.FREEZE_OVERRIDE, reference="year-end", digest="b" * 64, words="open the freeze"
        ),
    }
)


async def write(database: Database, request: ApprovalInput, number: int, poll: Poll) -> None:
    entry = PollEntry(key=f"{request.gate}-{number}", event=EventKind.VOTE_COUNTED, message=f"vote {number}")
    record = PollRecord(request=request, poll=poll, expires=EXPIRES, entry=entry)
    async with database.transaction(TENANT) as session:
        await polls.save(session, record)


@pytest.mark.finding("X9")
async def test_a_gate_and_its_event_are_one_write_and_a_repeat_writes_nothing(database: Database) -> None:
    await queue(database)
    voted = POLL.cast(Ballot(approver="bob"), Decision.APPROVE, None, 1.0)
    await write(database, REQUEST, 1, POLL)
    await write(database, REQUEST, 2, voted)
    await write(database, REQUEST, 1, POLL)
    async with database.transaction(TENANT) as session:
        found = await events.after(session, TENANT, "d1", 0)
        assert (await polls.get(session, TENANT, REQUEST.gate)).poll == voted
    assert [event.payload["message"] for event in found[1:]] == ["vote 1", "vote 2"]


async def test_a_request_of_another_kind_has_events_of_its_own(database: Database) -> None:
    poll = OVERRIDE.poll()
    await write(database, OVERRIDE, 1, poll)
    await write(database, OVERRIDE, 1, poll)
    async with database.transaction(TENANT) as session:
        assert [item.request for item in (await polls.pending(session, TENANT)).items] == [OVERRIDE]
        found = await events.after_of_approval(session, TENANT, OVERRIDE.gate, 0)
    assert [(event.approval, event.deployment) for event in found] == [(OVERRIDE.gate, None)]
    async with database.transaction("other") as session:
        assert await events.after_of_approval(session, TENANT, OVERRIDE.gate, 0) == []
