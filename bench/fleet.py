"""A `files` release to many nodes through Hotswap, beside a bare client doing the same calls.

`make bench`. In one run, on the same agents, in turns: a deployment through API, Temporal, worker and
PostgreSQL (direct strategy: stage, activate, verify), and an asyncio client that sends the same requests
with the same parallelism and does nothing else. The ratio bare / Hotswap says what durability, records
and batches cost: 1 is free, 0.5 doubles the time. Raw output goes to bench/raw/.
"""

import argparse
import asyncio
import base64
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from temporalio.client import Client

from bench.embedded import RAW, ROOT, embedded
from bundles.archive import pack
from bundles.signature import sign
from domain.names import deployment_workflow_id
from domain.release import ReleaseRef
from domain.wire import TENANT_HEADER, Action, ModuleReport, Operation, OperationResult
from runtime.temporal import leave_cleanly

MODULE = "payload"
ENVIRONMENT = "qa"
PAYLOAD_BYTES = 200_000
BARE_AT_ONCE = 256  # as many nodes as eight batches of a worker drive at once


class Bench:
    """The stack, its API and the agents of one run."""

    def __init__(self, stack: Path, agents: dict[str, str], scratch: Path) -> None:
        self.stack = stack
        self.agents = agents
        self.scratch = scratch
        self.about = json.loads((stack / "client.json").read_text())
        self.api = httpx.Client(base_url=f"{self.about['url']}/api/v1", timeout=60)

    def sign_in(self) -> None:
        password = Path(self.about["password_file"]).read_text().strip()
        body = {"username": self.about["username"], "password": password}
        answer = self.api.post("/auth/token", json=body).raise_for_status()
        self.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def register(self, environment: str = ENVIRONMENT) -> None:
        for name, address in self.agents.items():
            body = {"name": name, "environment": environment, "address": address, "labels": {}}
            self.api.post("/nodes", json=body).raise_for_status()

    def release(self, version: str) -> tuple[ReleaseRef, Path, bytes]:
        """A signed bundle of 200 kB that does not compress, pushed."""
        source = self.scratch / version
        source.mkdir()
        (source / "hotswap.toml").write_text(f'name = "{MODULE}"\nversion = "{version}"\nkind = "files"\n')
        (source / "payload.bin").write_bytes(os.urandom(PAYLOAD_BYTES))
        bundle = self.scratch / f"{version}.tar.gz"
        ref = pack(source, bundle)
        signing = self.stack / "signing"
        signature = sign(bundle, (signing / "signer.pem").read_bytes(), (signing / "signer.key").read_bytes())
        files = {"bundle": bundle.read_bytes(), "signature": signature}
        self.api.post("/modules", files=files).raise_for_status()
        return ref, bundle, signature

    async def through_hotswap(self, ref: ReleaseRef) -> dict[str, float]:
        body = {"module": MODULE, "version": ref.version, "environment": ENVIRONMENT, "strategy": "direct"}
        began = time.monotonic()
        deployment = self.api.post("/deployments", json=body).raise_for_status().json()["id"]
        while True:
            shown = self.api.get(f"/deployments/{deployment}").raise_for_status().json()
            if shown["exit_code"] != 4:
                break
            await asyncio.sleep(0.2)
        whole = time.monotonic() - began
        if shown["phase"] != "completed":
            raise SystemExit(f"the deployment ended {shown['phase']}: {shown['cause']}")
        client = await Client.connect(self.about["temporal_address"])
        history = await client.get_workflow_handle(deployment_workflow_id(deployment)).fetch_history()
        moments = [event.event_time.ToDatetime(UTC) for event in history.events]
        staged = next(
            event.event_time.ToDatetime(UTC)
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == "stage"
        )
        return {
            "seconds": (moments[-1] - staged).total_seconds(),
            "whole_seconds": whole,
            "history_events": len(history.events),
        }

    async def bare(self, ref: ReleaseRef, bundle: Path, signature: bytes, fence: int) -> dict[str, float]:
        """HEAD, PUT and POST to stage; POST to activate; GET to read back: phase by phase, as a plan does."""
        tls = ssl.create_default_context(cafile=str(self.stack / "tls" / "ca.pem"))
        tls.load_cert_chain(
            self.stack / "tls" / "control-plane.pem", self.stack / "tls" / "control-plane.key"
        )
        content = await asyncio.to_thread(bundle.read_bytes)
        signed = base64.b64encode(signature).decode()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), headers={TENANT_HEADER: "default"}
        ) as session:

            async def order(name: str, address: str, action: Action, **facts: Any) -> None:
                operation = Operation(
                    id=f"bare:{ref.version}:{action}:{name}",
                    action=action,
                    module=MODULE,
                    fence=fence,
                    release=ref,
                    **facts,
                )
                body = operation.model_dump_json().encode()
                headers = {"Content-Type": "application/json"}
                async with session.post(f"{address}/v1/operations", data=body, headers=headers) as answer:
                    result = OperationResult.model_validate_json(await answer.read())
                if not result.ok:
                    raise SystemExit(f"{name}: {result.fault}")

            async def stage(name: str, address: str) -> None:
                url = f"{address}/v1/bundles/{ref.digest}"
                async with session.head(url) as answer:
                    missing = answer.status == 404
                if missing:
                    async with session.put(url, data=content) as answer:
                        answer.raise_for_status()
                await order(name, address, Action.STAGE, signature=signed)

            async def activate(name: str, address: str) -> None:
                await order(name, address, Action.ACTIVATE)

            async def verify(name: str, address: str) -> None:
                async with session.get(f"{address}/v1/modules/{MODULE}") as answer:
                    report = ModuleReport.model_validate_json(await answer.read())
                if report.current != ref or report.tree != ref.tree:
                    raise SystemExit(f"{name} does not run {ref}")

            began = time.monotonic()
            for step in (stage, activate, verify):
                await self._everywhere(step)
            return {"seconds": time.monotonic() - began}

    async def _everywhere(self, step: Callable[[str, str], Awaitable[None]]) -> None:
        slots = asyncio.Semaphore(BARE_AT_ONCE)

        async def one(name: str, address: str) -> None:
            async with slots:
                await step(name, address)

        await asyncio.gather(*(one(name, address) for name, address in self.agents.items()))


@contextmanager
def fleet(stack: Path, where: Path, count: int, first: int) -> Iterator[dict[str, str]]:
    """One process with so many agents; their addresses."""
    command = [sys.executable, str(ROOT / "bench" / "fleet_host.py"), str(stack), str(count)]
    host = subprocess.Popen(
        [*command, str(where), str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert host.stdin is not None
    assert host.stdout is not None
    try:
        yield json.loads(host.stdout.readline())
    finally:
        host.stdin.close()
        host.wait(120)


async def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Hotswap and bare in turns; the fence of the bare calls lies above the last deployment's."""
    hotswap, bare = [], []
    for number in range(1, rounds + 1):
        ref, _, _ = bench.release(f"1.{number}.0")
        hotswap.append(await bench.through_hotswap(ref))
        ref, bundle, signature = bench.release(f"1.{number}.1")
        bare.append(await bench.bare(ref, bundle, signature, fence=number * 1000 + 500))
        sys.stdout.write(f"round {number}: hotswap {hotswap[-1]}, bare {bare[-1]}\n")
    times = [statistics.median(run["seconds"] for run in runs) for runs in (hotswap, bare)]
    return {
        "nodes": len(bench.agents),
        "bytes": PAYLOAD_BYTES,
        "hotswap": hotswap,
        "bare": bare,
        "hotswap_seconds": times[0],
        "bare_seconds": times[1],
        "ratio": times[1] / times[0],
        "history_events": max(run["history_events"] for run in hotswap),
        "at": datetime.now(UTC).isoformat(),
    }


def main() -> None:
    """Bring up the stack and the agents, measure, write the raw figures, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hotswap-bench-") as scratch_name:
        scratch = Path(scratch_name)
        with (
            embedded(scratch, nodes=1) as stack,
            fleet(stack, scratch / "fleet", options.nodes, first=0) as agents,
        ):
            bench = Bench(stack, agents, scratch)
            bench.sign_in()
            bench.register()
            result = asyncio.run(_measured(bench, options.rounds))
    (RAW / "fleet.json").write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(
        f"{result['nodes']} nodes: hotswap {result['hotswap_seconds']:.2f} s,"
        f" bare {result['bare_seconds']:.2f} s, ratio {result['ratio']:.2f},"
        f" {result['history_events']:.0f} history events\n"
    )


async def _measured(bench: Bench, rounds: int) -> dict[str, Any]:
    async with leave_cleanly():
        return await measure(bench, rounds)


if __name__ == "__main__":
    main()
