"""The journal: what a crash may do to it, and what it must not lose."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent import journal as journals
from agent.journal import Journal, JournalDamaged
from agent.pool import Pool
from agent.records import Began, ModuleRecord, Order
from domain.wire import Action, ModuleReport, ModuleState, OperationResult


@pytest_asyncio.fixture(loop_scope="session")
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    yield pool
    await pool.close()


async def opened(path: Path, pool: Pool) -> Journal:
    journal = Journal(path, pool)
    await journal.open()
    return journal


def order(number: int, fence: int = 1) -> Order:
    return Order(id=f"op-{number}", action=Action.ACTIVATE, module="echo", fence=fence, release=None)


def began(number: int, fence: int = 1) -> Began:
    return Began(order=order(number, fence), origin="a", target="b", at=1.0)


def result(number: int) -> OperationResult:
    report = ModuleReport(module="echo", state=ModuleState.ABSENT)
    return OperationResult(
        id=f"op-{number}", action=Action.ACTIVATE, ok=True, report=report, started=1.0, finished=2.0
    )


async def test_a_new_start_finds_outcomes_intents_and_records(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    await journal.begin(began(1, fence=3))
    await journal.end(order(1), result(1), lambda record: record.model_copy(update={"staged": "x"}))
    await journal.begin(began(2, fence=4))
    await journal.begin(began(3))
    await journal.undo("op-3")
    journal.close()

    again = await opened(path, pool)
    assert again.ended("op-1").result == result(1)
    assert list(again.pending) == ["op-2"]
    assert again.record("echo") == ModuleRecord(module="echo", fence=4, staged="x")
    again.close()


async def test_a_torn_last_line_is_cut_off_at_every_length(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    await journal.begin(began(1))
    whole = path.stat().st_size
    await journal.end(order(1), result(1), lambda record: record)
    journal.close()
    data = path.read_bytes()
    for length in range(whole, len(data)):
        path.write_bytes(data[:length])
        torn = await opened(path, pool)
        assert torn.ended("op-1") is None, length
        assert list(torn.pending) == ["op-1"]
        assert path.stat().st_size == whole
        torn.close()


async def test_what_follows_a_torn_line_is_readable(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    await journal.begin(began(1))
    journal.close()
    with path.open("ab") as file:
        file.write(b"\0\0\0\n")  # a block that the disk never got
    torn = await opened(path, pool)
    await torn.begin(began(2))
    torn.close()
    again = await opened(path, pool)
    assert list(again.pending) == ["op-1", "op-2"]
    again.close()


async def test_damage_before_the_end_stops_the_start(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    await journal.begin(began(1))
    await journal.begin(began(2))
    journal.close()
    path.write_bytes(b"#" + path.read_bytes()[1:])
    with pytest.raises(JournalDamaged, match="line 1"):
        await opened(path, pool)


async def test_compaction_bounds_the_file_and_keeps_what_counts(
    tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "COMPACT_AT", 40)
    monkeypatch.setattr(journals, "REMEMBERED", 10)
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    await journal.begin(began(0, fence=9))
    for number in range(1, 100):
        await journal.begin(began(number))
        await journal.end(order(number), result(number), lambda record: record)
        assert path.read_bytes().count(b"\n") <= 40
    journal.close()
    again = await opened(path, pool)
    assert list(again.pending) == ["op-0"]
    assert [entry.id for entry in again.entries()] == [f"op-{number}" for number in range(90, 100)]
    assert again.record("echo").fence == 9
    again.close()


async def test_an_entry_is_written_even_if_nobody_waits_for_it_any_more(tmp_path: Path, pool: Pool) -> None:
    path = tmp_path / "journal"
    journal = await opened(path, pool)
    writing = asyncio.create_task(journal.begin(began(1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing.cancel()
    await journal.begin(began(2))
    journal.close()
    again = await opened(path, pool)
    assert list(again.pending) == ["op-1", "op-2"]
    again.close()
