"""`hotswap.toml`: what a bundle says of itself. Written by people, so unknown fields are errors."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.base import Strict
from domain.names import ModuleName, Version
from domain.release import Kind

SocketName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=512)]
Argument = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]


class Socket(Strict):
    """A listening TCP socket of the module, on the node's own address.

    With `swap = "handover"` the agent binds it and passes it on (LISTEN_FDS, sd_listen_fds(3), in the
    order of the manifest, named by LISTEN_FDNAMES); with `swap = "restart"` the program binds it itself
    and finds the number in `{port:NAME}` of its command. Without `port` the agent picks a free one once
    and keeps it.
    """

    name: SocketName
    port: int | None = Field(default=None, ge=1, le=65535)


class Process(Strict):
    """What to run, from inside the release directory, and how it is replaced.

    `ready = "notify"`: READY=1 on NOTIFY_SOCKET (sd_notify(3)); `"probe"`: the health probe answers.
    Times are seconds: `start_timeout` until ready, `drain_timeout` between SIGTERM and SIGKILL.
    In `command` and `environment`, `{port:NAME}`, `{address}`, `{release}` and `{data}` are replaced by
    a socket's port, the node's bind address, the release directory and the module's data directory.
    """

    command: tuple[Argument, ...] = Field(min_length=1, max_length=64)
    swap: Literal["handover", "restart"] = "handover"
    ready: Literal["notify", "probe"] = "notify"
    sockets: tuple[Socket, ...] = Field(default=(), max_length=16)
    environment: dict[str, str] = Field(default_factory=dict, max_length=64)
    start_timeout: Seconds = 10.0
    drain_timeout: Seconds = 10.0


class Probe(Strict):
    """An HTTP health probe of the running module: 2xx within `timeout` seconds is healthy."""

    socket: SocketName
    path: HttpPath = "/healthz"
    interval: Seconds = 1.0
    timeout: Seconds = 2.0


class Metrics(Strict):
    """The module's own Prometheus endpoint and the names of what the judge reads there.

    `requests` and `errors` are counters, `latency` a histogram in seconds. A metric that the module does
    not expose is absent from the samples, never zero.
    """

    socket: SocketName
    path: HttpPath = "/metrics"
    requests: MetricName = "requests_total"
    errors: MetricName = "request_errors_total"
    latency: MetricName = "request_duration_seconds"


class Files(Strict):
    """A tree of files behind one pointer; `reload` runs after each switch, in the release directory."""

    reload: tuple[Argument, ...] = Field(default=(), max_length=64)
    reload_timeout: Seconds = 10.0


class Resources(Strict):
    """What the module needs of a node; checked before it is staged."""

    memory_mb: int = Field(default=512, gt=0, le=1 << 20)
    cpu_cores: float = Field(default=1.0, gt=0, le=1024)
    disk_mb: int = Field(default=100, gt=0, le=1 << 20)


class Manifest(Strict):
    """The whole of `hotswap.toml`."""

    name: ModuleName
    version: Version
    kind: Kind
    description: str = Field(default="", max_length=1000)
    process: Process | None = None
    files: Files | None = None
    probe: Probe | None = None
    metrics: Metrics | None = None
    resources: Resources = Resources()
    dependencies: dict[ModuleName, str] = Field(default_factory=dict, max_length=64)

    @model_validator(mode="after")
    def _kind_has_its_section(self) -> Self:
        if (self.process is not None) != (self.kind is Kind.PROCESS):
            raise ValueError('a [process] section is needed with kind = "process", and only there')
        if self.files is not None and self.kind is not Kind.FILES:
            raise ValueError('a [files] section goes with kind = "files"')
        if self.process is None and (self.probe or self.metrics):
            raise ValueError("[probe] and [metrics] need a process with sockets")
        return self

    @model_validator(mode="after")
    def _sockets_exist(self) -> Self:
        names = [socket.name for socket in self.process.sockets] if self.process else []
        if len(names) != len(dict.fromkeys(names)):
            raise ValueError("two sockets have the same name")
        for section in (self.probe, self.metrics):
            if section is not None and section.socket not in names:
                raise ValueError(f"socket {section.socket!r} is not declared under [process]")
        if self.process and self.process.ready == "probe" and self.probe is None:
            raise ValueError('ready = "probe" needs a [probe] section')
        return self
