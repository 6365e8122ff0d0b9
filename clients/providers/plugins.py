"""Providers that installed packages bring: entry points of the group `hotswap.providers`.

An entry point names an async function `measure(config, circumstances)` that returns a JSON value (NaN and
infinities allowed) and raises ProviderDown when what it asks does not answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any, Final

from pydantic import JsonValue

from domain.errors import HotswapError, ProviderDown, ProviderRefused
from domain.provider_settings import ProviderSettings
from domain.providers import Circumstances, PluginProvider

GROUP: Final = "hotswap.providers"
Measure = Callable[[dict[str, JsonValue], Circumstances], Awaitable[Any]]


async def ask_plugin(
    settings: ProviderSettings, provider: PluginProvider, circumstances: Circumstances
) -> Any:
    """What the plug-in measured.

    Raises:
        ProviderDown: it says so, or takes too long.
        ProviderRefused: it is not allowed or not installed, or raised something else.
    """
    if provider.name not in settings.plugins:
        raise ProviderRefused(f"plug-in {provider.name!r} is not in the worker's settings")
    found = entry_points(group=GROUP, name=provider.name)
    if not found:
        raise ProviderRefused(f"no installed package has a provider {provider.name!r}")
    try:
        measure: Measure = next(iter(found)).load()
        async with asyncio.timeout(provider.timeout):
            return await measure(dict(provider.config), circumstances)
    except TimeoutError as error:
        raise ProviderDown(f"plug-in {provider.name} took longer than {provider.timeout:g} s") from error
    except HotswapError:
        raise
    except Exception as error:
        raise ProviderRefused(f"plug-in {provider.name}: {type(error).__name__}: {error}") from error
