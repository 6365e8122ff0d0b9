"""The command provider: a program from the worker's allow-list, without a shell, with a time limit."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from domain.errors import ProviderRefused
from domain.provider_settings import AllowedCommand

LARGEST_OUTPUT = 1024 * 1024  # bytes
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ")


async def run_command(
    command: AllowedCommand,
    values: Mapping[str, str],
    *,
    timeout: float,  # noqa: ASYNC109 - the program is ended then, not only left
) -> dict[str, Any]:
    """Its exit code and output, as JSON where it is JSON.

    The program learns what is judged from variables: HOTSWAP_MODULE, HOTSWAP_VERSION and so on.

    Raises:
        ProviderRefused: it cannot be started, says too much, or takes too long (then it is ended with all
            that it started).
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {f"HOTSWAP_{name.upper()}": value for name, value in values.items()}
    try:
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**environment, **command.environment},
            start_new_session=True,
        )
    except OSError as error:
        raise ProviderRefused(f"{command.argv[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise ProviderRefused(f"{command.argv[0]} took longer than {timeout:g} s") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if len(output) > LARGEST_OUTPUT:
        raise ProviderRefused(f"{command.argv[0]}: more than {LARGEST_OUTPUT} bytes of output")
    return {"exit": process.returncode, "output": _parsed(output)}


def _parsed(output: bytes) -> Any:
    text = output.decode(errors="replace").strip()
    try:
        return json.loads(text)
    except ValueError:
        return text
