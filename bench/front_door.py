"""The API under 100 concurrent clients, beside a bare FastAPI + psycopg endpoint in the same run.

`python -m bench.front_door`. One embedded stack with one node; the bare endpoint uses the same PostgreSQL and
is served with the same options. Hotswap's requests and bare ones take turns, round by round. Every request of
ours passes authentication, limits (two counters in the database), row-level security, traces and security
headers; POST /deployments also plans, and writes the row, its event and its audit entry. All of them go to
one lane, whose first deployment waits at a gate, so that the queue grows by every one of them.

Beside the time that a client waits, it says how much of a processor each request took: of the process that
answers it, and of all that works for it (PostgreSQL, Temporal, worker). Other work on the machine spoils that
less than the times.

It also measures how far sign-ins with a known and an unknown name differ in time.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench.embedded import NEW, RAW, ROOT, Subject, embedded
from runtime.embedded import bootstrap
from runtime.embedded.stack import open_directory, read_choices

CLIENTS = 100
KEPT = 2.0  # seconds that a client keeps an idle connection: less than the server does
PARTS = {
    "api": "-m api",
    "postgres": "postgres -D",
    "temporal": "temporal server",
    "worker": "-m worker",
}
GETS = (
    "/auth/me",
    "/deployments",
    "/deployments/{id}",
    "/nodes",
    "/clusters",
    "/approvals/pending",
    "/modules",
)


class Processors:
    """The processor time of the stack's parts and of the bare endpoint.

    Args:
        stack: the stack's directory; each of its parts has it in its environment or on its command line.
        bare: the bare endpoint's process.
    """

    def __init__(self, stack: Path, bare: int) -> None:
        self._parts = {"bare": psutil.Process(bare)}
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or ())
            for name, mark in PARTS.items():
                if mark in words and _of_stack(process, words, stack):
                    self._parts.setdefault(name, process)
        missing = set(PARTS) - set(self._parts)
        assert not missing, missing

    def seconds(self) -> dict[str, float]:
        """By part, since each began; PostgreSQL's with those of its connections."""
        found = {}
        for name, process in self._parts.items():
            times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
            ended = process.cpu_times().children_user + process.cpu_times().children_system
            found[name] = sum(each.user + each.system for each in times) + ended
        return found


def _of_stack(process: psutil.Process, words: str, stack: Path) -> bool:
    return str(stack) in words or any(str(stack) in value for value in process.environ().values())


async def hammer(
    session: aiohttp.ClientSession, method: str, url: str, count: int, body: Any = None
) -> list[float]:
    """`count` requests from CLIENTS clients at once; the seconds of each."""
    taken: list[float] = []
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            async with session.request(method, url, json=body) as answer:
                await answer.read()
                assert answer.status < 300, (answer.status, await answer.text())
            taken.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return taken


def summary(taken: list[float]) -> dict[str, float]:
    """How long requests took."""
    cuts = statistics.quantiles(taken, n=100)
    return {
        "requests": len(taken),
        "p50_ms": round(cuts[49] * 1000, 1),
        "p95_ms": round(cuts[94] * 1000, 1),
        "p99_ms": round(cuts[98] * 1000, 1),
    }


def processor_time(requests: int, spent: dict[str, float], server: str) -> dict[str, float]:
    """What a request took of `server`, the part that answers it, and of all parts."""
    return {
        "cpu_ms": round(spent[server] / requests * 1000, 2),
        "all_cpu_ms": round(sum(spent.values()) / requests * 1000, 2),
    }


class FrontDoor:
    """The API and the bare endpoint, both running, in turns."""

    def __init__(self, subject: Subject, bare: str, processors: Processors) -> None:
        self.session, self.api = subject.session, subject.api
        self.bare, self.processors = bare, processors
        self.spent: dict[str, dict[str, float]] = {}

    async def rounds(self, deployment: str, rounds: int, count: int) -> dict[str, list[float]]:
        """Ours and the bare ones in turns; the seconds of each request by route."""
        item = {"module": "bench", "version": "1.0.0"}
        gets = [(f"GET {path}", self.api + path.replace("{id}", deployment)) for path in GETS]
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, url in (("bare GET", f"{self.bare}/item"), *gets):
                taken.setdefault(name, []).extend(await self.measured(name, "GET", url, count))
            for name, url, body, each in (
                ("bare POST", f"{self.bare}/item", item, count),
                ("POST /deployments", f"{self.api}/deployments", NEW, count // 4),
            ):
                taken.setdefault(name, []).extend(await self.measured(name, "POST", url, each, body))
        return taken

    async def measured(self, name: str, method: str, url: str, count: int, body: Any = None) -> list[float]:
        """`hammer`, with the processor time that it took."""
        before = self.processors.seconds()
        taken = await hammer(self.session, method, url, count, body)
        spent = self.spent.setdefault(name, dict.fromkeys(before, 0.0))
        for part, seconds in self.processors.seconds().items():
            spent[part] += seconds - before[part]
        return taken

    async def sign_ins(self, count: int) -> dict[str, float]:
        """Median seconds of a refused sign-in, with names that exist and names that do not, in turns."""
        taken: dict[str, list[float]] = {"known": [], "unknown": []}
        names = [f"bench-{number}" for number in range(count // 4)]
        for name in names:
            body = {"username": name, "password": secrets.token_urlsafe(16), "role": "viewer"}
            async with self.session.post(f"{self.api}/users", json=body) as answer:
                assert answer.status in (201, 409), await answer.text()
        for number in range(count):
            # Four guesses per known name: the fifth would lock it.
            for kind, name in (("known", names[number // 4]), ("unknown", f"nobody-{number // 4}")):
                began = time.perf_counter()
                body = {"username": name, "password": "wrong"}
                async with self.session.post(f"{self.api}/auth/token", json=body) as answer:
                    assert answer.status == 401
                taken[kind].append(time.perf_counter() - began)
        return {f"{kind}_ms": round(statistics.median(each) * 1000, 2) for kind, each in taken.items()}


async def measure(
    stack: Path, bare: str, processors: Processors, scratch: Path, *, rounds: int, count: int
) -> dict[str, Any]:
    load = os.getloadavg()[0]
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT)
    async with aiohttp.ClientSession(connector=connector) as session:
        subject = Subject(stack, session)
        deployment = await subject.prepare(scratch)
        door = FrontDoor(subject, bare, processors)
        await door.rounds(deployment, 1, CLIENTS)  # warm: pools, caches, imports
        door.spent.clear()
        taken = await door.rounds(deployment, rounds, count)
        sign_ins = await door.sign_ins(80)
    routes = {
        name: summary(each)
        | processor_time(len(each), door.spent[name], "bare" if name.startswith("bare") else "api")
        for name, each in taken.items()
    }
    for name, each in routes.items():
        base = routes["bare GET" if "GET" in name else "bare POST"]
        for figure in ("p99", "cpu", "all_cpu"):
            each[f"{figure}_over_bare"] = round(each[f"{figure}_ms"] / base[f"{figure}_ms"], 1)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "clients": CLIENTS,
        "routes": routes,
        "refused_sign_in": sign_ins,
        "seconds": {name: [round(value, 5) for value in each] for name, each in taken.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=800, help="per route and round")
    parser.add_argument("--out", type=Path, default=RAW / "front_door.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, embedded(Path(directory), nodes=1) as stack:
        chosen = read_choices(open_directory(stack))
        port = chosen.ports["api"] + 500
        url = bootstrap.database_url(chosen, bootstrap.owner_login(open_directory(stack)))
        bare = start_bare(url.replace("+psycopg", ""), port)
        try:
            measuring = measure(
                stack,
                f"http://127.0.0.1:{port}",
                Processors(stack, bare.pid),
                Path(directory),
                rounds=options.rounds,
                count=options.requests,
            )
            found = asyncio.run(measuring)
        finally:
            bare.terminate()
    options.out.write_text(json.dumps(found) + "\n")
    print(json.dumps({key: value for key, value in found.items() if key != "seconds"}, indent=1))
    return 0


def start_bare(url: str, port: int) -> subprocess.Popen[bytes]:
    """The bare endpoint, with the API's own server options."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.bare_api:app",
            "--port",
            str(port),
            "--http",
            "h11",
            "--no-access-log",
        ],
        cwd=ROOT,
        env={**os.environ, "BARE_DATABASE": url},
    )
    time.sleep(3)
    return process


if __name__ == "__main__":
    sys.exit(main())
