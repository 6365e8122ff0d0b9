"""Where the control plane may connect to on somebody else's word: addresses of agents and of hooks."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import IPvAnyNetwork

from domain.base import Strict
from domain.errors import InvalidInput

Address = IPv4Address | IPv6Address

# Where clouds tell their machines secrets, other than at link-local addresses: AWS, Alibaba, Azure, Oracle.
METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
# RFC 6052: translators carry these on to the IPv4 address in the last four bytes.
_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))


def plain(address: Address) -> Address:
    """What an address leads to: an IPv4 address in IPv6's clothes is the IPv4 address."""
    if not isinstance(address, IPv6Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and any(address in network for network in _TRANSLATED):
        inner = IPv4Address(address.packed[-4:])
    return inner or address


def is_metadata(address: Address) -> bool:
    """Whether a machine's own secrets may be asked for there; link-local addresses all count."""
    return address.is_link_local or address in METADATA


def named(address: Address, networks: Iterable[IPvAnyNetwork]) -> bool:
    """Whether one of the networks allows the address. Metadata has to be meant: a wide one opens none."""
    return any(
        address in network
        and (not is_metadata(address) or network.is_link_local or network.num_addresses == 1)
        for network in networks
    )


class AgentNetworks(Strict):
    """Where agents may be.

    Attributes:
        networks: only here; without any, everywhere but at metadata, multicast and reserved addresses.
        loopback: whether on this machine too, where no network is named.
    """

    networks: tuple[IPvAnyNetwork, ...] = ()
    loopback: bool = False

    def allow(self, address: str) -> bool:
        """Whether an agent may be at this IP address."""
        found = plain(ip_address(address))
        if self.networks:
            return named(found, self.networks)
        if found.is_loopback:
            return self.loopback
        return not (is_metadata(found) or found.is_multicast or found.is_unspecified or found.is_reserved)

    def require(self, url: str) -> None:
        """Refuse a URL at once whose host is an address; a name is looked at when it is connected to.

        Raises:
            InvalidInput: no agent may be there.
        """
        try:
            address = ip_address(urlsplit(url).hostname or "")
        except ValueError:
            return
        if not self.allow(str(address)):
            raise InvalidInput(f"no agent may be at {address}", field="address")
