"""A thousand people at the API: a steady rate, a spike, all at once, and fifty deployments at once.

`python -m bench.many_users`. One embedded stack with one node and one API process, on the machine that also
sends the requests. The thousand have rows and tokens of their own; each asks for what a console shows.
Requests are sent when their time has come, whether or not earlier ones were answered, and take from that time
until their last byte: who waits is counted as waiting.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from bench.embedded import NEW, RAW, ROOT, Subject, embedded
from bench.front_door import GETS, summary
from domain.roles import Role
from runtime.authority import ensure_token_keys
from runtime.embedded import bootstrap
from runtime.embedded.stack import open_directory, read_choices
from runtime.tokens import TokenMinter
from store import users
from store.database import Database

PEOPLE = 1000
LONGEST = 30.0  # seconds after which a request counts as failed
TENANT = "default"
NOBODYS = "!"  # no password has this hash


@dataclass
class Taken:
    """What became of a phase's requests: seconds by the second that they were due, and failures."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    def told(self) -> dict[str, Any]:
        every = [value for values in self.seconds.values() for value in values]
        failed = self.failures.total()
        return {
            **summary(every),
            "max_ms": round(max(every) * 1000, 1),
            "failed": dict(self.failures),
            "failed_percent": round(100 * failed / (len(every) + failed), 3),
            "by_second": [
                [
                    second,
                    len(values),
                    round(statistics.median(values) * 1000, 1),
                    round(max(values) * 1000, 1),
                ]
                for second, values in sorted(self.seconds.items())
            ],
        }


class Crowd:
    """A thousand people with a token each."""

    def __init__(self, subject: Subject, tokens: list[str], deployment: str) -> None:
        self._subject = subject
        self._people = itertools.cycle(tokens)
        self._paths = itertools.cycle([path.replace("{id}", deployment) for path in GETS])

    async def one(self, taken: Taken, began: float, due: float) -> None:
        """One GET of the next person, due at this moment of the loop's clock."""
        loop = asyncio.get_running_loop()
        headers = {"Authorization": f"Bearer {next(self._people)}"}
        url = self._subject.api + next(self._paths)
        await asyncio.sleep(due - loop.time())
        try:
            async with asyncio.timeout(LONGEST), self._subject.session.get(url, headers=headers) as answer:
                await answer.read()
                failure = None if answer.ok else str(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = type(error).__name__
        if failure is not None:
            taken.failures[failure] += 1
        else:
            taken.seconds.setdefault(int(due - began), []).append(loop.time() - due)

    async def at(self, *stages: tuple[float, float]) -> Taken:
        """So many requests per second for so many seconds, stage after stage."""
        taken, began = Taken(), asyncio.get_running_loop().time() + 0.5
        async with asyncio.TaskGroup() as group:
            for due in moments(began, stages):
                ahead = due - asyncio.get_running_loop().time() - 1
                if ahead > 0:
                    await asyncio.sleep(ahead)
                group.create_task(self.one(taken, began, due))
        return taken

    async def at_once(self, count: int) -> Taken:
        taken, now = Taken(), asyncio.get_running_loop().time()
        await asyncio.gather(*(self.one(taken, now, now) for _ in range(count)))
        return taken

    async def deployments(self, count: int) -> Taken:
        """So many deployments of one environment asked for at once; they queue in its lane."""
        taken, began = Taken(), time.perf_counter()

        async def ask() -> None:
            async with self._subject.session.post(f"{self._subject.api}/deployments", json=NEW) as answer:
                await answer.read()
                if answer.ok:
                    taken.seconds.setdefault(0, []).append(time.perf_counter() - began)
                else:
                    taken.failures[str(answer.status)] += 1

        await asyncio.gather(*(ask() for _ in range(count)))
        return taken


def moments(began: float, stages: tuple[tuple[float, float], ...]) -> Iterator[float]:
    start = began
    for rate, seconds in stages:
        yield from (start + number / rate for number in range(int(rate * seconds)))
        start += seconds


async def people(stack: Path) -> list[str]:
    """A thousand viewers in the stack's database; their tokens."""
    embedded = open_directory(stack)
    database = Database(bootstrap.database_url(read_choices(embedded), bootstrap.application_login(embedded)))
    minter = TokenMinter.load(ensure_token_keys(embedded.tokens).private)
    names = [f"person-{number}" for number in range(PEOPLE)]
    async with database.transaction(TENANT) as session:
        for name in names:
            await users.insert(session, TENANT, username=name, password_hash=NOBODYS, role=Role.VIEWER)
    await database.dispose()
    return [minter.user(tenant=TENANT, username=name, role=Role.VIEWER).token for name in names]


async def measure(stack: Path, scratch: Path, rate: float, seconds: float, spike: float) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        subject = Subject(stack, session)
        deployment = await subject.prepare(scratch)
        crowd = Crowd(subject, await people(stack), deployment)
        await crowd.at((20, 10))  # warm: pools, caches, imports
        found = {
            "steady": await crowd.at((rate, seconds)),
            "at once": await crowd.at_once(PEOPLE),
            "spike": await crowd.at((10, 15), (spike, 10), (10, 20)),
            "deployments": await crowd.deployments(50),
        }
    return {name: taken.told() for name, taken in found.items()}


def table(found: dict[str, Any]) -> str:
    """The phases as a table of docs/benchmarks.md."""
    rows = [
        f"| {name} | {phase['requests']} | {phase['p50_ms']:.0f} ms | {phase['p95_ms']:.0f} ms "
        f"| {phase['p99_ms']:.0f} ms | {phase['failed_percent']:.1f} % |"
        for name, phase in found["phases"].items()
    ]
    return "\n".join(["| | answered | p50 | p95 | p99 | failed |", "|---|---|---|---|---|---|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="requests per second of the steady phase")
    parser.add_argument("--seconds", type=float, default=300, help="of the steady phase")
    parser.add_argument("--spike", type=float, default=500, help="requests per second at the spike")
    parser.add_argument("--out", type=Path, default=RAW / "many_users.json")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "load_before": os.getloadavg()[0],
        "people": PEOPLE,
        "rate": options.rate,
        "seconds": options.seconds,
        "spike": options.spike,
    }
    with tempfile.TemporaryDirectory() as directory, embedded(Path(directory), nodes=1) as stack:
        found = asyncio.run(measure(stack, Path(directory), options.rate, options.seconds, options.spike))
    options.out.write_text(json.dumps({**about, "phases": found}) + "\n")
    print(table({"phases": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
