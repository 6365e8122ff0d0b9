"""`python -m agent --config agent.toml`: one agent, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.config import AgentConfig, load
from agent.service import Agent
from agent.telemetry import configure_logging, start_tracing
from domain.errors import HotswapError

_log = logging.getLogger("agent")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; return the exit status: 0 after a signal, 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="agent", description="The Hotswap agent of one node.")
    parser.add_argument("--config", type=Path, required=True, help="agent.toml")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load(options.config)
        configure_logging(config.node)
        traces = start_tracing(config.node, config.otlp_endpoint)
        asyncio.run(_serve(config))
        traces.shutdown()
    except (HotswapError, OSError) as error:
        _log.error("%s", error)
        return 1
    return 0


async def _serve(config: AgentConfig) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    agent = Agent(config)
    await agent.start()
    _log.info("%s answers on %s", config.node, agent.address)
    try:
        await stopping.wait()
    finally:
        await agent.stop()


if __name__ == "__main__":
    sys.exit(main())
