"""What an installation lets hooks call: the file that HOTSWAP_HOOKS_FILE names (YAML)."""

from typing import Annotated

from pydantic import Field, IPvAnyNetwork, StringConstraints

from domain.base import Strict
from domain.errors import HookRefused
from domain.hooks import HookName


class HookProgram(Strict):
    """A program with all its arguments; nothing of a policy becomes part of them."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str] = Field(default_factory=dict, repr=False)


class HookSettings(Strict):
    """All that is allowed.

    Attributes:
        hosts: the only hosts that may be called; empty: any whose address is public.
        networks: private networks that may be called all the same, also without TLS.
        secrets: name → key that calls are signed with, 24 characters or more.
        commands: name → program.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[IPvAnyNetwork, ...] = ()
    secrets: dict[HookName, Annotated[str, StringConstraints(min_length=24)]] = Field(
        default_factory=dict, repr=False
    )
    commands: dict[HookName, HookProgram] = Field(default_factory=dict)

    def secret(self, name: str) -> str:
        """The key of this name.

        Raises:
            HookRefused: there is none.
        """
        if name not in self.secrets:
            raise HookRefused(f"secret {name!r} is not in the worker's settings")
        return self.secrets[name]

    def command(self, name: str) -> HookProgram:
        """The program of this name.

        Raises:
            HookRefused: there is none.
        """
        if name not in self.commands:
            raise HookRefused(f"command {name!r} is not in the worker's settings")
        return self.commands[name]
