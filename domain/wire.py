"""What the control plane and an agent say to each other: JSON over HTTP with mutual TLS.

| request | answer |
|---|---|
| `PUT /v1/bundles/{digest}`, the bundle's bytes | 204; `HEAD` tells whether it is there (204, 404) |
| `POST /v1/operations`, an `Operation` | `OperationResult`; for a repeated id the recorded one |
| `GET /v1/report` | `NodeReport`, read from the node now |
| `GET /v1/modules/{module}` | `ModuleReport`, read from the node now; absent when it is not known |
| `GET /v1/modules/{module}/samples?since=S` | `Samples` newer than S (seconds since the epoch) |
| `GET /v1/journal?module=M` | the operations that the node has applied, oldest first: `JournalEntry` list |
| `GET /healthz`, `GET /metrics` | liveness; Prometheus text |

What is refused before anything changed gets a 4xx with a `Fault` and is not recorded: the same id may come
again. What was begun is recorded, whether it succeeded or not, and a repeat gets the record. Verify is never
recorded: a repeat reads back anew.

Everything under /v1 names the tenant that asks in the header `Hotswap-Tenant`. An agent answers its own
tenant only; any other gets 421 (RFC 9110, 15.5.20) with the code `wrong-tenant`.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from domain.base import Frozen
from domain.names import ModuleName, NodeName, Sha256
from domain.release import Kind, ReleaseRef

TENANT_HEADER: Final = "Hotswap-Tenant"

OperationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]{1,256}$")]


class Action(StrEnum):
    """What an operation does to one module on one node.

    stage: unpack the bundle into a slot, after checking digest, signature and space.
    activate: make the staged release current; the one that was current becomes previous.
    verify: read back what runs; changes nothing.
    revert: make the given release current again, or, without one, remove the module.
    retire: delete the given release's slot, unless it is current.
    start: run the staged release beside the current one, where the public does not reach it; the one that is
        current runs already.
    smoke: check the release that runs beside, or is current, as its manifest says; changes nothing.
    settle: end what runs beside the given release, which has to be current.
    renew: let a new process of the given release, which has to be current, take over from the one that runs.
    """

    STAGE = "stage"
    ACTIVATE = "activate"
    VERIFY = "verify"
    REVERT = "revert"
    RETIRE = "retire"
    START = "start"
    SMOKE = "smoke"
    SETTLE = "settle"
    RENEW = "renew"


NEEDS_RELEASE = (
    Action.STAGE,
    Action.ACTIVATE,
    Action.RETIRE,
    Action.START,
    Action.SMOKE,
    Action.SETTLE,
    Action.RENEW,
)


class Operation(Frozen):
    """One order to one node.

    Attributes:
        id: stable over retries; a node applies an id at most once.
        fence: grows with every attempt on an environment; a node refuses one that is lower than the
            highest it has seen for the module (Fenced).
        release: what it is about; None reverts to "not installed".
        signature: the detached CMS signature (DER, base64), with stage only.
        keep: with activate only: leave what is replaced running beside, for an instant return.
    """

    id: OperationId
    action: Action
    module: ModuleName
    fence: int = Field(ge=0)
    release: ReleaseRef | None = None
    signature: str | None = Field(default=None, max_length=64 * 1024)
    keep: bool = False

    @model_validator(mode="after")
    def _release_fits(self) -> Self:
        if self.release is None and self.action in NEEDS_RELEASE:
            raise ValueError(f"{self.action} needs a release")
        if self.release is not None and self.release.module != self.module:
            raise ValueError("the release belongs to another module")
        if (self.signature is not None) != (self.action is Action.STAGE):
            raise ValueError("a signature goes with stage, and only there")
        if self.keep and self.action is not Action.ACTIVATE:
            raise ValueError("keep goes with activate only")
        return self


class ModuleState(StrEnum):
    """What the node sees of a module now."""

    ABSENT = "absent"
    RUNNING = "running"
    STARTING = "starting"
    FAILED = "failed"


class RunningProcess(Frozen):
    """Read from /proc (proc(5)) when the report was made.

    `release_tree` is the tree hash of the directory that the process runs from, as it is on disk now (None
    when it is gone);
    `started` is the process's start in clock ticks since boot, so that pid and started name it.
    """

    pid: int
    started: int
    executable: str
    release_directory: str
    release_tree: str | None = None
    restarts: int = 0


class BesideReport(Frozen):
    """What runs beside the current release: green before a switch, blue after it.

    Attributes:
        release: the release of it.
        process: as for the current one; None when it has ended.
        endpoints: socket name → "host:port" on the node itself: the private way to it.
        healthy: the probe's answer over that way; None without a probe.
    """

    release: ReleaseRef
    process: RunningProcess | None = None
    endpoints: dict[str, str] = Field(default_factory=dict)
    healthy: bool | None = None


class ModuleReport(Frozen):
    """What a node really has of one module: read back, not remembered.

    Attributes:
        current: the release behind the node's pointer.
        tree: tree hash of the current release's directory as it is on disk now.
        process: for kind process, what runs; None when nothing does.
        endpoints: socket name → "host:port" that clients use.
        fence: the highest fence seen.
        healthy: the last probe's answer; None without a probe.
        beside: what runs besides the current release because it was ordered so; None without such.
        problems: what does not fit together, in words; empty when all does.
    """

    module: ModuleName
    kind: Kind | None = None
    state: ModuleState
    current: ReleaseRef | None = None
    previous: ReleaseRef | None = None
    staged: ReleaseRef | None = None
    tree: str | None = None
    process: RunningProcess | None = None
    endpoints: dict[str, str] = Field(default_factory=dict)
    fence: int = 0
    healthy: bool | None = None
    beside: BesideReport | None = None
    problems: tuple[str, ...] = ()


class NodeReport(Frozen):
    """All of one node.

    `roots` are the SHA-256 fingerprints of the certificates that bundles must be signed under there.
    """

    node: NodeName
    boot_id: str
    agent_version: str
    agent_started: float
    disk_free_bytes: int
    roots: tuple[Sha256, ...] = ()
    modules: tuple[ModuleReport, ...] = ()


class Fault(Frozen):
    """Why an operation failed: a stable code of domain.errors and words for people."""

    code: str
    message: str


class OperationResult(Frozen):
    """What became of an operation.

    `changed` is false when the node already was as ordered; `replayed` is true when this answer was
    recorded earlier.
    """

    id: OperationId
    action: Action
    ok: bool
    changed: bool = False
    replayed: bool = False
    fault: Fault | None = None
    report: ModuleReport
    started: float
    finished: float


class JournalEntry(Frozen):
    """One line of the node's journal: an operation that was applied (or failed), as recorded."""

    id: OperationId
    action: Action
    module: ModuleName
    fence: int
    release: ReleaseRef | None
    ok: bool
    changed: bool
    at: float


class Histogram(Frozen):
    """Cumulative bucket counts, as Prometheus exposes them: counts[i] observations ≤ bounds[i] seconds.

    The +Inf bucket is `count`; `bounds` are finite and ascend.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    count: float
    total: float

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if len(self.bounds) != len(self.counts):
            raise ValueError("as many counts as bounds are needed")
        if list(self.bounds) != sorted(self.bounds):
            raise ValueError("bounds must ascend")
        return self


class Sample(Frozen):
    """One look of the agent at a running module. Counters are cumulative over the process's life.

    Attributes:
        at: seconds since the epoch on the node.
        version: the release that ran; samples taken while two processes overlap are not recorded.
        instance: names the process (pid and start), so that a counter's reset is never a decrease.
        age: seconds that the process has run; None from agents that do not say it.
        probe_ok, probe_seconds: the health probe's answer and how long it took; None without one.
        cpu_seconds: CPU time used so far; memory_bytes: resident set, children included.
        requests, errors, latency: from the module's metrics endpoint; None when it has none.
    """

    at: float
    version: str
    instance: str
    age: float | None = None
    probe_ok: bool | None = None
    probe_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_bytes: float | None = None
    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None


class Samples(Frozen):
    """An answer to a question for samples; `now` is the node's clock, to compare with `since`."""

    node: NodeName
    module: ModuleName
    now: float
    samples: tuple[Sample, ...] = ()
