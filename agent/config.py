"""`agent.toml`: what one agent needs to know. Written by people, so unknown keys are errors."""

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from domain.base import Strict
from domain.errors import InvalidInput
from domain.names import NodeName, TenantId

Listen = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$")]
Period = Annotated[float, Field(gt=0, le=3600)]


class AgentConfig(Strict):
    """The whole of `agent.toml`. Relative paths start at the file's own directory.

    Attributes:
        node: this node's name.
        tenant: the one that it belongs to; nobody else's requests are answered.
        listen: where the agent's own API answers, "host:port"; port 0 picks a free one.
        directory: everything that the agent keeps; one agent at a time.
        bind_address: the address that module sockets are bound to.
        tls_ca: PEM file of the CA whose clients may connect.
        tls_certificate: PEM file of the agent's own certificate.
        tls_key: PEM file of its key.
        trust: PEM file (or directory) of the roots that bundles must be signed under: the tenant's. Read anew
            for each bundle; nothing that comes over the network changes it.
        control_plane: base URL for heartbeats; none are sent without it.
        token_file: holds the bearer token for heartbeats; read anew for each.
        heartbeat_seconds: mean time between heartbeats.
        sample_seconds: time between looks at running modules.
        stop_modules_on_exit: SIGTERM stops the module processes too (a local stack wants that).
        otlp_endpoint: an OTLP collector's URL for traces (HTTP); none are sent without it.
        max_bundle_bytes: larger bundles are refused.
    """

    node: NodeName
    tenant: TenantId = "default"
    listen: Listen = "127.0.0.1:7701"
    directory: Path
    bind_address: str = "127.0.0.1"
    tls_ca: Path
    tls_certificate: Path
    tls_key: Path
    trust: Path
    control_plane: str | None = Field(default=None, pattern=r"^https?://")
    token_file: Path | None = None
    heartbeat_seconds: Period = 10.0
    sample_seconds: Period = 1.0
    stop_modules_on_exit: bool = False
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    max_bundle_bytes: int = Field(default=256 * 1024 * 1024, gt=0)

    @model_validator(mode="after")
    def _heartbeats_need_a_token(self) -> Self:
        if self.control_plane is not None and self.token_file is None:
            raise ValueError("control_plane needs token_file")
        return self

    @property
    def host_and_port(self) -> tuple[str, int]:
        """`listen`, taken apart."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def load(path: Path) -> AgentConfig:
    """Read and check a configuration file.

    Raises:
        InvalidInput: not readable, not TOML, or a key is unknown, missing or wrong; `field` names it.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        config = AgentConfig.model_validate(raw)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{path}: {field}: {first['msg']}", field=field) from error
    base = path.resolve().parent
    paths = {name: base / value for name, value in config if isinstance(value, Path)}
    return config.model_copy(update=paths)
