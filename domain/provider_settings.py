"""What an installation lets policies measure with: the file that HOTSWAP_PROVIDERS_FILE names (YAML)."""

from typing import Annotated

from pydantic import Field, StringConstraints

from domain.base import Strict
from domain.errors import ProviderRefused
from domain.providers import Url


class AllowedAddress(Strict):
    """An address that may be asked, with all paths below it, and the headers that go with each request."""

    address: Url
    headers: dict[str, str] = Field(default_factory=dict, repr=False)


class AllowedCommand(Strict):
    """A program with its arguments; nothing of a policy becomes part of them."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = Field(default_factory=dict, repr=False)


class ProviderSettings(Strict):
    """All that is allowed. Without a file nothing is but the agents.

    Attributes:
        addresses: what Prometheus and web providers may ask.
        commands: name → program, what command providers may run.
        plugins: names of entry points of `hotswap.providers` that may be used.
    """

    addresses: tuple[AllowedAddress, ...] = ()
    commands: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], AllowedCommand
    ] = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()

    def headers_for(self, url: str) -> dict[str, str]:
        """The headers of a request to an allowed address.

        Raises:
            ProviderRefused: no allowed address covers it.
        """
        for allowed in self.addresses:
            base = allowed.address.rstrip("/")
            if url == base or url.startswith((f"{base}/", f"{base}?")):
                return dict(allowed.headers)
        raise ProviderRefused(f"{url} is under no address that the worker's settings allow")

    def command(self, name: str) -> AllowedCommand:
        """The command of this name.

        Raises:
            ProviderRefused: there is none.
        """
        if name not in self.commands:
            raise ProviderRefused(f"command {name!r} is not in the worker's settings")
        return self.commands[name]
