"""One process that hosts many real agents: `python bench/fleet_host.py STACK_DIRECTORY COUNT WHERE [FIRST]`.

Each has its own directory, port, TLS server and journal; only the certificate is shared. FIRST is the
number of the first of them, where several processes make up the fleet. Prints the addresses as JSON, then
serves until its input ends; the modules' processes end with it.
"""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.config import AgentConfig
from agent.service import Agent
from runtime.authority import Authority, Usage

STARTS_AT_ONCE = 25
SAMPLE_SECONDS = 10.0


async def host(stack: Path, count: int, where: Path, first: int = 0) -> None:
    """Start the agents, say where they are, serve until end of file on standard input."""
    authority = Authority.ensure(stack / "tls", "ca", "Hotswap local CA")
    certificate = authority.issue(
        stack / "tls", "fleet", usage=Usage.SERVER, common_name="fleet", hosts=("127.0.0.1", "localhost")
    )
    with ThreadPoolExecutor(max_workers=32) as pool:
        agents = {
            name: Agent(
                AgentConfig(
                    node=name,
                    listen="127.0.0.1:0",
                    directory=where / name,
                    tls_ca=stack / "tls" / "ca.pem",
                    tls_certificate=certificate.certificate,
                    tls_key=certificate.key,
                    trust=stack / "trust",
                    sample_seconds=SAMPLE_SECONDS,
                    stop_modules_on_exit=True,
                ),
                executor=pool,
            )
            for name in (f"fleet-{index:04}" for index in range(first, first + count))
        }
        slots = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(agent: Agent) -> None:
            async with slots:
                await agent.start()

        await asyncio.gather(*(start(agent) for agent in agents.values()))
        sys.stdout.write(json.dumps({name: agent.address for name, agent in agents.items()}) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.gather(*(agent.stop() for agent in agents.values()))


if __name__ == "__main__":
    asyncio.run(host(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:])))
