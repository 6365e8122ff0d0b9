"""How long the histories of a canary to 1,000 nodes become: `python -m bench.history`.

Real agents in two processes, each with a program of its own under it; the real API, worker, Temporal and
PostgreSQL. The policy is production's: waves at 10, 30, 50 and 100 %, a gate, the sequential judge, twenty
looks after each wave and twenty more in doubt, a bake; beside them a background analysis. Only the
seconds between looks are fewer, which no history shows. Where the judge stays in doubt a person promotes.
Afterwards the whole rollout is taken back. Raw output goes to bench/raw/.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from bench.embedded import RAW, embedded
from bench.fleet import Bench, fleet
from bundles.archive import pack
from bundles.signature import sign
from domain.policy import default_policy
from runtime.temporal import leave_cleanly

MODULE = "sleeper"
ENVIRONMENT = "production"
MOST_EVENTS = 2000
INTERVAL = 2.0  # seconds between the judge's looks; production has fifteen times as many
PROGRAM = """
import os
import signal
import socket

ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
ready.send(b"READY=1")
signal.pause()
"""
MANIFEST = """
name = "{module}"
version = "{version}"
kind = "process"

[process]
command = ["python3", "-I", "-S", "sleeper.py"]
start_timeout = 60
"""


class Rollouts(Bench):
    """The stack, its API and the agents; a second person who approves."""

    def people(self) -> None:
        secret = secrets.token_urlsafe(24)
        person = {"username": "approver", "password": secret, "role": "approver", "must_change": False}
        self.api.post("/users", json=person).raise_for_status()
        self.approver = httpx.Client(base_url=self.api.base_url, timeout=60)
        answer = self.approver.post("/auth/token", json={"username": "approver", "password": secret})
        token = answer.raise_for_status().json()["access_token"]
        self.approver.headers["Authorization"] = f"Bearer {token}"

    def policy(self, interval: float) -> None:
        """Production's, with the seconds of its looks scaled and a background analysis."""
        policy = default_policy(ENVIRONMENT).model_dump(mode="json")
        scale = interval / policy["analysis"]["interval"]
        policy["analysis"].update(interval=interval, duration=policy["analysis"]["duration"] * scale)
        memory = {"name": "memory", "interval": 10, "success_condition": "result.canary < 1e9"}
        check = {"metric": memory, "provider": {"kind": "agent", "metric": "memory"}}
        policy["background"] = {"conditions": [check]}
        self.api.put(f"/clusters/{ENVIRONMENT}/policy", json=policy).raise_for_status()

    def program(self, version: str) -> None:
        """A signed release of a program that is ready at once and does nothing."""
        source = self.scratch / version
        source.mkdir()
        (source / "hotswap.toml").write_text(MANIFEST.format(module=MODULE, version=version))
        (source / "sleeper.py").write_text(PROGRAM)
        bundle = self.scratch / f"{version}.tar.gz"
        pack(source, bundle)
        signing = self.stack / "signing"
        signature = sign(bundle, (signing / "signer.pem").read_bytes(), (signing / "signer.key").read_bytes())
        files = {"bundle": bundle.read_bytes(), "signature": signature}
        self.api.post("/modules", files=files).raise_for_status()

    def deploy(self, version: str, strategy: str) -> str:
        body = {"module": MODULE, "version": version, "environment": ENVIRONMENT, "strategy": strategy}
        deployment = str(self.api.post("/deployments", json=body).raise_for_status().json()["id"])
        self.follow(deployment, "completed")
        return deployment

    def follow(self, deployment: str, wanted: str) -> None:
        """To its end: gates are approved, what is in doubt is promoted."""
        shown, before = self.look(deployment), ""
        while shown["exit_code"] == 4:
            if shown["phase"] == "holding":
                self.api.post(f"/deployments/{deployment}/promote", json={}).raise_for_status()
            for gate in self.approver.get("/approvals/pending").raise_for_status().json()["items"]:
                self.approver.post(f"/approvals/{gate['id']}/approve", json={}).raise_for_status()
            if shown["phase"] != before:
                sys.stdout.write(f"{time.strftime('%X')} {deployment} {shown['phase']} {shown['wave']}\n")
                sys.stdout.flush()
            before = shown["phase"]
            time.sleep(1)
            shown = self.look(deployment)
        if shown["phase"] != wanted:
            raise SystemExit(f"{deployment} ended {shown['phase']}: {shown['cause']}")

    def look(self, deployment: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.api.get(f"/deployments/{deployment}").raise_for_status().json()
        return shown

    def take_back(self, deployment: str) -> str:
        answer = (
            self.api.post(f"/deployments/{deployment}/rollback", json={"reason": "measured"})
            .raise_for_status()
            .json()
        )
        self.follow(answer["id"], "rolled-back-verified")
        return str(answer["id"])

    async def histories(self) -> dict[str, int]:
        """Workflow id → events, of all workflows that there are."""
        async with leave_cleanly():
            client = await Client.connect(self.about["temporal_address"])
            found: dict[str, int] = {}
            async for each in client.list_workflows():
                handle = client.get_workflow_handle(each.id, run_id=each.run_id)
                found[each.id] = max(found.get(each.id, 0), len((await handle.fetch_history()).events))
            return found


def measure(bench: Rollouts, interval: float) -> dict[str, Any]:
    """Install, roll out by canary, take back; then count."""
    bench.sign_in()
    bench.people()
    bench.policy(interval)
    bench.register(ENVIRONMENT)
    bench.program("1.0.0")
    bench.program("2.0.0")
    install = bench.deploy("1.0.0", "direct")
    began = time.monotonic()
    canary = bench.deploy("2.0.0", "canary")
    seconds = time.monotonic() - began
    back = bench.take_back(canary)
    names = {install: "direct", canary: "canary", back: "rollback"}
    events = asyncio.run(bench.histories())
    for deployment, what in names.items():
        events = {key.replace(deployment, what): value for key, value in events.items()}
    return {
        "nodes": len(bench.agents),
        "interval": interval,
        "events": dict(sorted(events.items(), key=lambda each: -each[1])),
        "most": max(events.values()),
        "canary_seconds": seconds,
        "at": datetime.now(UTC).isoformat(),
    }


def main() -> None:
    """Bring up the stack and the agents, measure, write the raw figures, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=INTERVAL)
    options = parser.parse_args()
    half = options.nodes // 2
    with tempfile.TemporaryDirectory(prefix="hotswap-bench-") as scratch_name:
        scratch = Path(scratch_name)
        with embedded(scratch, nodes=0) as stack, ExitStack() as fleets:
            agents: dict[str, str] = {}
            for first, count in ((0, half), (half, options.nodes - half)):
                agents |= fleets.enter_context(fleet(stack, scratch / f"fleet-{first}", count, first))
            result = measure(Rollouts(stack, agents, scratch), options.interval)
    (RAW / "history.json").write_text(json.dumps(result, indent=2) + "\n")
    for workflow_id, events in result["events"].items():
        sys.stdout.write(f"{events:6} {workflow_id}\n")
    if result["most"] >= MOST_EVENTS:
        raise SystemExit(f"a history has {result['most']} events; the bar is {MOST_EVENTS}")


if __name__ == "__main__":
    main()
