"""`python -m runtime.embedded --directory D`: a supervisor without a terminal, for `hotswap up --detach`."""

import argparse
import asyncio
import sys
from pathlib import Path

from domain.errors import HotswapError
from runtime.embedded.stack import open_directory, serve


def main() -> int:
    """Supervise until SIGTERM; 1 when the stack does not come up (state.json and the log say why)."""
    parser = argparse.ArgumentParser(prog="runtime.embedded")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--environment")
    given = parser.parse_args()
    try:
        asyncio.run(serve(open_directory(given.directory), nodes=given.nodes, environment=given.environment))
    except HotswapError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
