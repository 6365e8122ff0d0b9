"""Operations on a real agent, over real TLS: what each action does, idempotency, fencing, refusals."""

import asyncio
import threading

import pytest

from agent.service import Agent
from clients.agent import AgentClient
from domain.errors import (
    BundleInvalid,
    Conflict,
    Fenced,
    HotswapError,
    InvalidInput,
    ModuleNotReady,
    NotFound,
    NotStaged,
    SignatureRefused,
)
from domain.readback import mismatch
from domain.wire import Action, ModuleState
from tests.agent.nodes import Node, Pki, Release, Releases, ask, config, running
from tests.bundles.threads import SLOW, watched


async def test_stage_unpacks_beside_what_runs(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0")
    staged = await node.stage(one)
    assert (staged.ok, staged.changed, staged.replayed) == (True, True, False)
    assert staged.report.staged == one.ref
    assert staged.report.current is None
    assert staged.report.state is ModuleState.ABSENT
    assert (node.slot(one) / "index.txt").read_text().startswith("1.0.0")
    again = await node.stage(one)
    assert (again.ok, again.changed) == (True, False)


async def test_activate_moves_the_pointer_and_keeps_the_previous(node: Node, releases: Releases) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    await node.install(one)
    activated = await node.install(two)
    assert activated.changed
    assert (activated.report.current, activated.report.previous) == (two.ref, one.ref)
    assert activated.report.staged is None
    assert activated.report.tree == two.ref.tree
    assert (node.module_directory("site") / "current/index.txt").read_text().startswith("2.0.0")
    assert mismatch(activated.report, two.ref) is None
    repeated = await node.order(Action.ACTIVATE, two)
    assert (repeated.ok, repeated.changed) == (True, False)


async def test_revert_needs_no_bundle(node: Node, releases: Releases) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    await node.install(one)
    await node.install(two)
    for bundle in (node.directory / "bundles").iterdir():
        bundle.unlink()
    back = await node.order(Action.REVERT, one)
    assert back.changed
    assert (back.report.current, back.report.previous) == (one.ref, two.ref)
    assert mismatch(back.report, one.ref) is None


async def test_revert_to_nothing_removes_the_module_but_not_its_data(node: Node, releases: Releases) -> None:
    one = releases.program("1.0.0")
    installed = await node.install(one)
    (node.module_directory("echo") / "data" / "kept").touch()
    removed = await node.order(Action.REVERT, None, module="echo")
    assert (removed.ok, removed.changed) == (True, True)
    assert removed.report.state is ModuleState.ABSENT
    assert mismatch(removed.report, None) is None
    assert running(node.directory) == []
    assert list((node.module_directory("echo") / "releases").iterdir()) == []
    assert (node.module_directory("echo") / "data" / "kept").exists()
    with pytest.raises(OSError):
        await ask(installed.report.endpoints["http"])
    assert (await node.order(Action.REVERT, None, module="echo")).changed is False
    # A new installation is found where the old one was.
    assert (await node.install(one)).report.endpoints == installed.report.endpoints


async def test_retire_deletes_a_slot_but_never_the_current(node: Node, releases: Releases) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    await node.install(one)
    await node.install(two)
    with pytest.raises(Conflict):
        await node.order(Action.RETIRE, two)
    retired = await node.order(Action.RETIRE, one)
    assert retired.changed
    assert retired.report.previous is None
    assert not node.slot(one).exists()
    with pytest.raises(NotStaged):
        await node.order(Action.REVERT, one)
    assert (await node.order(Action.RETIRE, one)).changed is False


async def test_only_current_previous_and_staged_are_kept(node: Node, releases: Releases) -> None:
    made = [releases.files(f"{major}.0.0") for major in range(1, 5)]
    for release in made[:3]:
        await node.install(release)
    await node.stage(made[3])
    kept = {path.name for path in (node.module_directory("site") / "releases").iterdir()}
    assert kept == {node.slot(release).name for release in made[1:]}
    with pytest.raises(NotStaged):
        await node.order(Action.REVERT, made[0])


async def test_the_same_id_is_applied_once(node: Node, releases: Releases) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    first = await node.stage(one, name="once")
    again = await node.stage(one, name="once")
    assert again == first.model_copy(update={"replayed": True})
    with pytest.raises(Conflict):
        await node.stage(two, name="once")
    applied = [entry.id for entry in await node.client.journal(node.address, "site")]
    assert applied == ["once"]


async def test_the_same_id_from_two_clients_at_once_is_applied_once(
    node: Node, releases: Releases, pki: Pki
) -> None:
    one = releases.program("1.0.0")
    await node.stage(one)
    operation = node.operation(Action.ACTIVATE, one)
    async with pki.connect() as other:
        results = await asyncio.gather(
            *(client.operate(node.address, operation) for client in (node.client, other) * 3)
        )
    assert sorted(result.replayed for result in results) == [False, *[True] * 5]
    assert len({(result.finished, result.report.process.pid) for result in results}) == 1
    assert len(running(node.directory)) == 1


async def test_a_failure_is_recorded_and_replayed(node: Node, releases: Releases) -> None:
    bad = releases.program("6.0.0", "crash")
    await node.stage(bad)
    for _ in range(2):
        with pytest.raises(ModuleNotReady, match="this release cannot start"):
            await node.order(Action.ACTIVATE, bad, name="fails")
    entries = await node.client.journal(node.address, "echo")
    assert [(entry.id, entry.ok) for entry in entries if entry.action is Action.ACTIVATE] == [
        ("fails", False)
    ]


async def test_a_client_that_goes_away_does_not_stop_its_operation(
    node: Node, releases: Releases, pki: Pki
) -> None:
    slow = releases.program("1.0.0", "hang", start_timeout=1)
    await node.stage(slow)
    operation = node.operation(Action.ACTIVATE, slow)
    async with pki.connect() as leaving:
        with pytest.raises(HotswapError, match="did not answer"):
            await leaving.operate(node.address, operation, deadline=0.3)
    with pytest.raises(ModuleNotReady, match="not ready after 1 s"):
        await node.client.operate(node.address, operation)
    begun = [line for line in node.journal() if line.kind == "begin" and line.order.id == operation.id]
    assert len(begun) == 1


async def test_an_older_attempt_is_refused_for_every_action(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0")
    await node.stage(one, name="first")
    node.fence = 5
    assert (await node.order(Action.VERIFY, one)).report.fence == 5
    node.fence = 4
    for action in Action:
        with pytest.raises(Fenced):
            await node.client.operate(node.address, node.operation(action, one))
    # What was applied is still answered: the answer changes nothing.
    node.fence = 1
    assert (await node.stage(one, name="first")).replayed


async def test_fences_are_per_module(node: Node, releases: Releases) -> None:
    node.fence = 9
    await node.stage(releases.files("1.0.0"))
    node.fence = 1
    assert (await node.stage(releases.files("1.0.0", module="other"))).ok


@pytest.mark.finding("X20")
async def test_verify_reads_back_anew_every_time(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0")
    await node.install(one)
    assert (await node.order(Action.VERIFY, one, name="look")).report.problems == ()
    (node.slot(one) / "index.txt").write_text("changed on the disk")
    seen = await node.order(Action.VERIFY, one, name="look")
    assert not seen.replayed
    assert seen.report.tree != one.ref.tree
    assert seen.report.problems == ("the tree of site@1.0.0 on disk differs from the released tree",)
    assert mismatch(seen.report, one.ref) == "the files on disk are not those of the release"


async def test_a_changed_slot_is_not_activated_but_can_be_staged_again(
    node: Node, releases: Releases
) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    await node.install(one)
    await node.stage(two)
    (node.slot(two) / "extra").touch()
    with pytest.raises(HotswapError, match="differs from the released tree"):
        await node.order(Action.ACTIVATE, two)
    assert (await node.stage(two)).changed
    assert (await node.order(Action.ACTIVATE, two)).report.current == two.ref


async def test_what_was_not_staged_is_not_activated(node: Node, releases: Releases) -> None:
    with pytest.raises(NotStaged):
        await node.order(Action.ACTIVATE, releases.files("1.0.0"))
    assert (await node.module("site")).state is ModuleState.ABSENT
    assert node.journal() == []


async def test_a_bundle_that_was_not_sent_cannot_be_staged(node: Node, releases: Releases) -> None:
    with pytest.raises(NotFound):
        await node.order(Action.STAGE, releases.files("1.0.0"))


async def test_the_node_checks_the_signature_itself(node: Node, releases: Releases, pki: Pki) -> None:
    one = releases.files("1.0.0")
    unknown = releases.signature(one.bundle, pki.control)
    other = releases.files("2.0.0").signature
    for signature in (unknown, other, "bm90IGEgc2lnbmF0dXJl", "not base64!"):
        with pytest.raises(SignatureRefused):
            await node.stage(Release(one.ref, one.bundle, signature))
    assert list((node.module_directory("site") / "releases").iterdir()) == []
    assert (await node.module("site")).staged is None


async def test_the_bundle_has_to_be_the_ordered_release(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0")
    lies = [{"version": "1.0.1"}, {"tree": "0" * 64}, {"module": "other"}]
    for lie in lies:
        with pytest.raises(BundleInvalid):
            await node.stage(Release(one.ref.model_copy(update=lie), one.bundle, one.signature))


async def test_bytes_that_are_not_those_of_the_digest_are_refused(node: Node, releases: Releases) -> None:
    one, two = releases.files("1.0.0"), releases.files("2.0.0")
    with pytest.raises(BundleInvalid):
        await node.stage(Release(one.ref, two.bundle, one.signature))
    assert list((node.directory / "bundles").iterdir()) == []


async def test_a_large_bundle_is_refused(
    tmp_path, node_directory, pki: Pki, client: AgentClient, releases: Releases
) -> None:
    agent = Agent(config(tmp_path / "agent.toml", pki, max_bundle_bytes=100))
    await agent.start()
    with pytest.raises(HotswapError, match="larger than 100 bytes") as caught:
        await Node(client, agent.address, node_directory).stage(releases.files("1.0.0"))
    assert caught.value.code == "bundle-too-large"
    assert list((node_directory / "bundles").iterdir()) == []
    await agent.stop()


async def test_a_module_keeps_its_kind(node: Node, releases: Releases) -> None:
    await node.install(releases.files("1.0.0", module="echo"))
    with pytest.raises(Conflict, match="kind"):
        await node.stage(releases.program("2.0.0"))
    assert len(list((node.module_directory("echo") / "releases").iterdir())) == 1


async def test_a_probe_cannot_tell_readiness_under_hand_over(node: Node, releases: Releases) -> None:
    with pytest.raises(BundleInvalid, match="hand-over"):
        await node.stage(releases.program("1.0.0", ready="probe"))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"id":"x","action":"explode","module":"echo","fence":1}']
)
async def test_a_malformed_operation_is_refused_by_name(node: Node, pki: Pki, body: bytes) -> None:
    async with pki.connect() as client:
        with pytest.raises(InvalidInput):
            await client._ask("POST", f"{node.address}/v1/operations", data=body)


async def test_one_agent_per_directory(node: Node, tmp_path, pki: Pki) -> None:
    with pytest.raises(Conflict, match="another agent"):
        await Agent(config(tmp_path / "agent.toml", pki)).start()


@pytest.mark.finding("20")
async def test_bundles_are_checked_unpacked_and_hashed_beside_the_loop(
    node: Node, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = releases.files("1.0.0", module="beside")
    threads = watched(monkeypatch)
    await node.install(one)
    await node.order(Action.VERIFY, one)
    assert set(threads) == {name for _, name in SLOW}
    assert threading.current_thread() not in set().union(*threads.values())
