"""How many requests a second one API process answers, and three on the same database and Temporal.

`python -m bench.replicas`. One embedded stack; the others are started beside its API as the product starts
them, with another port. 100 clients are spread evenly over the processes; one and three take turns. Clients,
API processes, PostgreSQL and Temporal share the machine's cores, which is written down with the figures.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from bench.embedded import RAW, Subject, embedded
from bench.front_door import CLIENTS
from runtime.embedded.part import child_environment, python
from runtime.settings import FILE_VARIABLE

PATHS = ("/auth/me", "/nodes", "/deployments/{id}")
COUNTS = (1, 3)
START_SECONDS = 60.0


async def throughput(session: aiohttp.ClientSession, urls: Sequence[str], count: int) -> float:
    """Requests a second of CLIENTS clients, who each keep to one process."""
    left = iter(range(count))

    async def client(url: str) -> None:
        for _ in left:
            async with session.get(url) as answer:
                await answer.read()
                assert answer.status == 200, await answer.text()

    began = time.perf_counter()
    await asyncio.gather(*(client(url) for url in itertools.islice(itertools.cycle(urls), CLIENTS)))
    return count / (time.perf_counter() - began)


@contextmanager
def beside(stack: Path, first: int, more: int) -> Iterator[list[str]]:
    """The addresses of the stack's API and of so many more processes of it."""
    ports = [first + 600 + number for number in range(more)]
    started = []
    try:
        for port in ports:
            environment = {FILE_VARIABLE: str(stack / "settings.env"), "HOTSWAP_API_PORT": str(port)}
            with (stack / "logs" / f"api-{port}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        python("-m", "api"), stdout=log, stderr=log, env=child_environment(environment)
                    )
                )
        yield [f"http://127.0.0.1:{port}" for port in (first, *ports)]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


async def measure(stack: Path, urls: Sequence[str], rounds: int, count: int) -> dict[str, Any]:
    taken: dict[str, dict[int, list[float]]] = {path: {number: [] for number in COUNTS} for path in PATHS}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(ready(session, url) for url in urls))
        with tempfile.TemporaryDirectory() as scratch:
            deployment = await Subject(stack, session).prepare(Path(scratch))
        for turn in range(rounds + 1):  # the first warms pools, caches, imports
            for path, number in itertools.product(PATHS, COUNTS):
                asked = [f"{url}/api/v1{path.format(id=deployment)}" for url in urls[:number]]
                found = await throughput(session, asked, count)
                if turn:
                    taken[path][number].append(round(found, 1))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "clients": CLIENTS,
        "requests_per_second": {
            f"GET {path}": {
                **{f"{number} processes": each for number, each in by_number.items()},
                "ratio": round(statistics.median(by_number[3]) / statistics.median(by_number[1]), 2),
            }
            for path, by_number in taken.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1200, help="per path, round and number of processes")
    parser.add_argument("--out", type=Path, default=RAW / "replicas.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, embedded(Path(directory), nodes=1) as stack:
        first = json.loads((stack / "stack.json").read_text())["ports"]["api"]
        with beside(stack, first, max(COUNTS) - 1) as urls:
            found = asyncio.run(measure(stack, urls, options.rounds, options.requests))
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
