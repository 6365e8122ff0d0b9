"""`python -m runtime.namespace`: give the Temporal namespace our search attributes, once, as its admin.

The embedded stack's server gets them on its command line; a cluster of one's own is prepared by this.
"""

import asyncio
import sys

from domain.errors import InvalidInput
from runtime.settings import Settings, load
from runtime.temporal import connect, ensure_search_attributes, leave_cleanly


async def prepare() -> None:
    """Register what is missing; run again, it changes nothing."""
    async with leave_cleanly():
        await ensure_search_attributes(await connect(load(Settings)))


def main() -> int:
    """0 when the namespace has all attributes; 1 when the settings are wrong."""
    try:
        asyncio.run(prepare())
    except InvalidInput as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
