"""Where agents may be."""

import pytest

from domain.errors import InvalidInput
from domain.networks import AgentNetworks

ANYWHERE = AgentNetworks()
HERE_TOO = AgentNetworks(loopback=True)
TEN = AgentNetworks(networks=("10.0.0.0/8", "fd00::/8"))
ALL = AgentNetworks(networks=("0.0.0.0/0", "::/0"))
MEANT = AgentNetworks(networks=("169.254.7.0/24", "168.63.129.16/32"))


@pytest.mark.finding("N17")
@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (ANYWHERE, "10.1.2.3", True),
        (ANYWHERE, "8.8.8.8", True),
        (ANYWHERE, "fd00::1", True),
        (ANYWHERE, "127.0.0.1", False),
        (ANYWHERE, "::1", False),
        (ANYWHERE, "0.0.0.0", False),
        (ANYWHERE, "224.0.0.1", False),
        (ANYWHERE, "255.255.255.255", False),
        (ANYWHERE, "169.254.169.254", False),
        (ANYWHERE, "fe80::1", False),
        (ANYWHERE, "fd00:ec2::254", False),
        (ANYWHERE, "::ffff:169.254.169.254", False),
        (ANYWHERE, "64:ff9b::a9fe:a9fe", False),
        (ANYWHERE, "64:ff9b:1::a9fe:a9fe", False),
        (ANYWHERE, "2002:7f00:1::", False),
        (ANYWHERE, "::ffff:10.0.0.1", True),
        (HERE_TOO, "127.0.0.1", True),
        (HERE_TOO, "::1", True),
        (HERE_TOO, "169.254.169.254", False),
        (TEN, "10.255.0.1", True),
        (TEN, "::ffff:10.0.0.1", True),
        (TEN, "fd00::1", True),
        (TEN, "8.8.8.8", False),
        (TEN, "127.0.0.1", False),
        (TEN, "fd00:ec2::254", False),
        (ALL, "127.0.0.1", True),
        (ALL, "169.254.169.254", False),
        (ALL, "100.100.100.200", False),
        (MEANT, "169.254.7.9", True),
        (MEANT, "168.63.129.16", True),
        (MEANT, "169.254.169.254", False),
    ],
)
def test_where_agents_may_be(networks: AgentNetworks, address: str, allowed: bool) -> None:
    assert networks.allow(address) == allowed


@pytest.mark.parametrize("url", ["https://169.254.169.254:80", "https://[::1]:8443", "https://[fe80::1]:1"])
def test_an_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="no agent may be at") as refused:
        ANYWHERE.require(url)
    assert refused.value.field == "address"


@pytest.mark.parametrize("url", ["https://node-1.example.com:8443", "https://10.0.0.1:1", "https://[::1"])
def test_a_name_is_looked_at_when_it_is_connected_to(url: str) -> None:
    ANYWHERE.require(url)
