"""Where a request may go that somebody's policy asks for: never into networks that nobody has allowed.

The name is resolved here, once, and the request goes to the very address that was checked: a name that
answers with another address a moment later gains nothing.
"""

import asyncio
import ipaddress
import socket

import httpx

from domain.errors import HookRefused, HookUnreachable
from domain.hook_settings import HookSettings
from domain.networks import Address, is_metadata, named, plain


async def checked(url: str, settings: HookSettings) -> tuple[httpx.URL, dict[str, str], dict[str, str]]:
    """The URL with its checked address, and the headers and extensions that keep its name.

    Raises:
        HookRefused: the host is not allowed, an address of it is not, or TLS is missing.
        HookUnreachable: the name does not resolve now.
    """
    asked = httpx.URL(url)
    host = asked.host
    if settings.hosts and host not in settings.hosts:
        raise HookRefused(f"{host} is not among the hosts that the worker's settings allow")
    port = asked.port or (443 if asked.scheme == "https" else 80)
    addresses = await _resolve(host, port)
    for address in addresses:
        private = named(address, settings.networks)
        if not private and (not address.is_global or address.is_multicast or is_metadata(address)):
            raise HookRefused(f"{host} is at {address}, in no network that the worker's settings allow")
        if not private and asked.scheme != "https":
            raise HookRefused(f"{host}: only https outside the networks that the worker's settings allow")
    default = (asked.scheme, port) in (("https", 443), ("http", 80))
    name = host if default else f"{host}:{port}"
    return asked.copy_with(host=str(addresses[0])), {"Host": name}, {"sni_hostname": host}


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HookUnreachable(f"{host} does not resolve: {error.strerror or error}") from error
    addresses = [ipaddress.ip_address(each[4][0]) for each in found]
    return [plain(address) for address in addresses]
