import os
import time
from pathlib import Path

import pytest

from domain.errors import Conflict, InvalidInput, NotFound
from domain.manifest import Files, Manifest
from domain.node import Node
from domain.release import Kind, ReleaseRef
from domain.roles import Role
from domain.wire import NodeReport
from store import nodes, releases, users
from store.bootstrap import bootstrap
from store.bundles import BundleDirectory
from store.database import Database
from tests.store.conftest import NEW, NODES, OLD, TENANT

NODE = Node(name="node-01", environment="production", address="https://127.0.0.1:7999")


async def test_nodes_are_listed_by_name_and_by_page(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        first = await nodes.list_page(session, TENANT, environment="production", limit=6)
        rest = await nodes.list_page(session, TENANT, after=first.items[-1].node.name, limit=6)
        where = await nodes.addresses(session, TENANT, ["node-01", "ghost"])
    assert tuple(item.node.name for item in (*first.items, *rest.items)) == NODES
    assert (first.more, rest.more) == (True, False)
    assert where == {"node-01": "https://127.0.0.1:7000"}


async def test_a_node_known_already_gets_its_new_address_and_token(database: Database) -> None:
    async with database.transaction(TENANT) as session:
        assert not await nodes.register(session, TENANT, NODE, token_id="t2")
        stored = await nodes.get(session, TENANT, "node-01")
    assert (stored.node, stored.token_id) == (NODE, "t2")
    assert (stored.last_seen, stored.age) == (None, None)


async def test_a_node_does_not_move_to_another_environment(database: Database) -> None:
    moved = NODE.model_copy(update={"environment": "qa"})
    async with database.transaction(TENANT) as session:
        with pytest.raises(Conflict):
            await nodes.register(session, TENANT, moved)
        with pytest.raises(NotFound):
            await nodes.register(session, TENANT, NODE.model_copy(update={"environment": "nowhere"}))


async def test_a_heartbeat_is_kept_with_its_time(database: Database) -> None:
    report = NodeReport(node="node-01", boot_id="b", agent_version="1", agent_started=1.0, disk_free_bytes=5)
    async with database.transaction(TENANT) as session:
        await nodes.seen(session, TENANT, "node-01", report)
        with pytest.raises(NotFound):
            await nodes.seen(session, "other", "node-01", report)
    async with database.transaction(TENANT) as session:
        stored = await nodes.get(session, TENANT, "node-01")
    assert stored.report == report
    assert stored.age is not None
    assert 0 <= stored.age < 60


async def push(database: Database, ref: ReleaseRef) -> bool:
    manifest = Manifest(name=ref.module, version=ref.version, kind=Kind.FILES, files=Files())
    async with database.transaction(TENANT) as session:
        return await releases.insert(
            session,
            TENANT,
            ref=ref,
            kind=Kind.FILES,
            manifest=manifest,
            signature=b"\x30",
            signer="CN=x",
            size=1,
            pushed_by="ana",
        )


async def test_a_version_is_immutable(database: Database) -> None:
    assert not await push(database, NEW)
    with pytest.raises(Conflict):
        await push(database, NEW.model_copy(update={"digest": "9" * 64}))
    async with database.transaction(TENANT) as session:
        stored = await releases.by_ref(session, TENANT, NEW)
        with pytest.raises(NotFound):
            await releases.by_ref(session, TENANT, NEW.model_copy(update={"digest": "9" * 64}))
        with pytest.raises(NotFound):
            await releases.get(session, "other", NEW.module, NEW.version)
    assert (stored.ref, stored.signature_base64) == (NEW, "c2lnbmF0dXJl")


async def test_releases_are_listed_latest_push_first(database: Database) -> None:
    assert await push(database, NEW.model_copy(update={"version": "3.0.0"}))
    async with database.transaction(TENANT) as session:
        first = await releases.list_page(session, TENANT, module="greeter", limit=1)
        item = first.items[0]
        rest = await releases.list_page(
            session, TENANT, before=(item.pushed_at, item.ref.module, item.ref.version)
        )
    assert item.ref.version == "3.0.0"
    assert {each.ref for each in rest.items} == {OLD, NEW}


@pytest.mark.finding("5")
async def test_the_bootstrap_runs_once(database: Database) -> None:
    with pytest.raises(Conflict):
        await bootstrap(database, tenant="second", username="eve-admin", password="correct horse battery")
    async with database.transaction(TENANT) as session:
        admin = await users.find(session, TENANT, "admin")
        assert await users.find(session, "second", "eve-admin") is None
    assert admin is not None
    assert admin.role is Role.ADMIN
    assert admin.password_hash.startswith("$argon2")


async def test_a_short_password_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput):
        await bootstrap(database, tenant="default", username="admin", password="short")


def test_bundles_are_kept_by_content(tmp_path: Path) -> None:
    kept = BundleDirectory(tmp_path / "bundles")
    upload = kept.scratch()
    upload.write_bytes(b"bundle")
    digest = kept.seal(upload)
    kept.keep(upload, digest)
    assert kept.require(digest).read_bytes() == b"bundle"
    assert not upload.exists()
    again = kept.scratch()
    again.write_bytes(b"bundle")
    assert kept.seal(again) == digest
    kept.keep(again, digest)
    with pytest.raises(NotFound):
        kept.require("0" * 64)


def test_uploads_that_were_cut_off_are_swept_and_none_under_way(tmp_path: Path) -> None:
    kept = BundleDirectory(tmp_path)
    cut_off, under_way = kept.scratch(), kept.scratch()
    for each in (cut_off, under_way):
        each.write_bytes(b"half")
    long_ago = time.time() - 1000
    os.utime(cut_off, (long_ago, long_ago))
    assert kept.sweep(older_than=900) == 1
    assert (cut_off.exists(), under_way.exists()) == (False, True)
