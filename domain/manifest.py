"""`hotswap.toml`: what a bundle says of itself. Written by people, so unknown fields are errors."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from domain.base import Strict
from domain.dependencies import check_ranges
from domain.names import ModuleName, Version
from domain.release import Kind

SocketName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]
HttpPath = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=512)]
# execve(2) ends arguments and variables at the first NUL.
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=4096)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=32768)]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]

_PORT_PLACEHOLDER = re.compile(r"\{port:([^{}]*)\}")


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
    environment: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=64)
    start_timeout: Seconds = 10.0
    drain_timeout: Seconds = 10.0

    def socket_names(self) -> tuple[str, ...]:
        """The names of the sockets, in the manifest's order."""
        return tuple(socket.name for socket in self.sockets)

    @field_validator("ready")
    @classmethod
    def _a_probe_can_tell(cls, ready: str, info: ValidationInfo) -> str:
        if ready == "probe" and info.data.get("swap") == "handover":
            raise ValueError(
                'under hand-over a probe cannot tell the new process from the old: use ready = "notify"'
            )
        return ready

    @field_validator("sockets")
    @classmethod
    def _names_are_unique(cls, sockets: tuple[Socket, ...]) -> tuple[Socket, ...]:
        names = [socket.name for socket in sockets]
        if len(names) != len(dict.fromkeys(names)):
            raise ValueError("two sockets have the same name")
        ports = [socket.port for socket in sockets if socket.port is not None]
        if len(ports) != len(dict.fromkeys(ports)):
            raise ValueError("two sockets have the same port")
        return sockets

    @model_validator(mode="after")
    def _placeholders_exist(self) -> Self:
        for text in (*self.command, *self.environment.values()):
            for name in _PORT_PLACEHOLDER.findall(text):
                if name not in self.socket_names():
                    raise ValueError(f"{{port:{name}}} names no declared socket")
        return self


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


class HttpCheck(Strict):
    """One request of the smoke test: the answer must have this status and contain this text."""

    socket: SocketName
    path: HttpPath = "/healthz"
    status: int = Field(default=200, ge=100, le=599)
    contains: str = Field(default="", max_length=1000)
    timeout: Seconds = 5.0


class Smoke(Strict):
    """What a release must pass before the public reaches it.

    `http` asks the program over its private ports; `command` runs in the release directory, and its status
    0 is a pass. In it `{port:NAME}` and `{address}` lead to the program under test, not to the public one.
    For kind files only a command makes sense. Time is in seconds.
    """

    http: tuple[HttpCheck, ...] = Field(default=(), max_length=32)
    command: tuple[Argument, ...] = Field(default=(), max_length=64)
    timeout: Seconds = 30.0


class Resources(Strict):
    """What the module needs of a node. The agent checks the disk before it stages; the rest is declared."""

    memory_mb: int = Field(default=512, gt=0, le=1 << 20)
    cpu_cores: float = Field(default=1.0, gt=0, le=1024)
    disk_mb: int = Field(default=100, gt=0, le=1 << 20)


class Manifest(Strict):
    """The whole of `hotswap.toml`. `dependencies`: module → version range, see domain.dependencies."""

    name: ModuleName
    version: Version
    kind: Kind
    description: str = Field(default="", max_length=1000)
    process: Process | None = Field(default=None, validate_default=True)
    files: Files | None = None
    probe: Probe | None = Field(default=None, validate_default=True)
    metrics: Metrics | None = None
    smoke: Smoke | None = None
    resources: Resources = Resources()
    dependencies: dict[ModuleName, str] = Field(default_factory=dict, max_length=64)

    @property
    def tested_beside(self) -> bool:
        """Whether it has a smoke test that can be run before the public is let in."""
        return self.smoke is not None and (self.process is None or self.process.swap == "handover")

    # Checks that look at several fields hang on one of them, so that the error names it.

    @field_validator("process")
    @classmethod
    def _process_goes_with_its_kind(cls, process: Process | None, known: ValidationInfo) -> Process | None:
        if "kind" in known.data and (process is not None) != (known.data["kind"] is Kind.PROCESS):
            raise ValueError('a [process] section is needed with kind = "process", and only there')
        return process

    @field_validator("files")
    @classmethod
    def _files_go_with_their_kind(cls, files: Files | None, known: ValidationInfo) -> Files | None:
        if files is not None and known.data.get("kind", Kind.FILES) is not Kind.FILES:
            raise ValueError('a [files] section goes with kind = "files"')
        return files

    @field_validator("dependencies")
    @classmethod
    def _ranges_can_be_read(cls, needs: dict[str, str], known: ValidationInfo) -> dict[str, str]:
        if known.data.get("name") in needs:
            raise ValueError("a module cannot depend on itself")
        check_ranges(needs)
        return needs

    @field_validator("probe", "metrics")
    @classmethod
    def _socket_exists(cls, section: Probe | Metrics | None, known: ValidationInfo) -> Probe | Metrics | None:
        process = known.data.get("process")
        if section is None or "process" not in known.data:  # then the error is about the process
            return section
        if process is None or section.socket not in process.socket_names():
            raise ValueError(f"socket {section.socket!r} is not declared under [process]")
        return section

    @field_validator("smoke")
    @classmethod
    def _smoke_test_has_its_sockets(cls, smoke: Smoke | None, known: ValidationInfo) -> Smoke | None:
        process = known.data.get("process")
        if smoke is None or "process" not in known.data:
            return smoke
        names = process.socket_names() if process is not None else ()
        asked = [check.socket for check in smoke.http]
        asked.extend(name for word in smoke.command for name in _PORT_PLACEHOLDER.findall(word))
        for name in asked:
            if name not in names:
                raise ValueError(f"socket {name!r} is not declared under [process]")
        return smoke

    @field_validator("probe")
    @classmethod
    def _readiness_has_its_probe(cls, probe: Probe | None, known: ValidationInfo) -> Probe | None:
        process = known.data.get("process")
        if probe is None and process is not None and process.ready == "probe":
            raise ValueError('process.ready = "probe" needs a [probe] section')
        return probe
