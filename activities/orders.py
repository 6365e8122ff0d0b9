"""What workflows may order: every activity by name, input and result. The hands are in the other modules.

Workflow code imports this module only, so it never reaches the database, the network or cryptography,
and types are checked from the order to the hand.
"""

from abc import ABC, abstractmethod

from temporalio import activity

from domain.analysis import Verdict
from domain.approval import DelegationTokenVerdict, PollRecord, VoteTokenVerdict
from domain.freeze import Freeze
from domain.freeze_orders import AdHocFreeze, FreezeQuestion, Thaw, ThawTokenVerdict
from domain.guard import Breach, Returned
from domain.hooks import HookOrder, HookOutcome
from domain.measuring import Conclusion, Measured, MeasureOrder
from domain.messages import (
    AmendmentEntry,
    CommandTokenVerdict,
    DeploymentInput,
    LaneLook,
    LaneView,
    Look,
    NodesOrder,
    NodesOutcome,
    Prepared,
    Progress,
    QuarantineOrder,
    RevertOrder,
    RollbackInput,
    RollbackTargets,
    Successor,
    TokenCheck,
    Withdrawal,
)


class Planning(ABC):
    """Nothing moves here."""

    @activity.defn
    @abstractmethod
    async def prepare(self, request: DeploymentInput) -> Prepared:
        """The stored plan of this deployment, made now if there is none yet.

        Raises:
            PlanImpossible: final; no nodes, or nodes that do not answer, by name.
        """


class Nodes(ABC):
    """Operations on the nodes of one batch. A node that fails is in the outcome, not an error."""

    @activity.defn
    @abstractmethod
    async def stage(self, order: NodesOrder) -> NodesOutcome:
        """Bring the bundle to the nodes; each checks the signature itself."""

    @activity.defn
    @abstractmethod
    async def activate(self, order: NodesOrder) -> NodesOutcome:
        """Switch the nodes to the release. They are recorded as touched before anything moves.

        Raises:
            Conflict: final; the deployment is rolling back already.
        """

    @activity.defn
    @abstractmethod
    async def verify(self, order: NodesOrder) -> NodesOutcome:
        """Read back from the nodes what runs; anything but the release is a failure of that node."""

    @activity.defn
    @abstractmethod
    async def start(self, order: NodesOrder) -> NodesOutcome:
        """Run the staged release beside what runs. The nodes are recorded as touched before anything moves.

        Raises:
            Conflict: final; the deployment is rolling back already.
        """

    @activity.defn
    @abstractmethod
    async def smoke(self, order: NodesOrder) -> NodesOutcome:
        """Check what runs beside, as its manifest says."""

    @activity.defn
    @abstractmethod
    async def switch(self, order: NodesOrder) -> NodesOutcome:
        """Let the public in to what runs beside; what ran until then stays beside.

        Raises:
            Conflict: final; the deployment is rolling back already.
        """

    @activity.defn
    @abstractmethod
    async def settle(self, order: NodesOrder) -> NodesOutcome:
        """End what runs beside the release, and read back that only it runs."""

    @activity.defn
    @abstractmethod
    async def renew(self, order: NodesOrder) -> NodesOutcome:
        """Let a new process of what each node ran before the deployment take over, and read that back.

        The nodes stay untouched: there is nothing to take back.

        Raises:
            Conflict: final; the deployment is rolling back already.
        """

    @activity.defn
    @abstractmethod
    async def revert(self, order: RevertOrder) -> NodesOutcome:
        """Order each node back to its recorded release, staging it again where its slot is gone."""

    @activity.defn
    @abstractmethod
    async def verify_reverted(self, order: RevertOrder) -> NodesOutcome:
        """Read back that each node runs its recorded release again."""


class Hooks(ABC):
    """Calls to others."""

    @activity.defn
    @abstractmethod
    async def call_hook(self, order: HookOrder) -> HookOutcome:
        """Call one hook to its end, with retries; a polled one until it decides. Failing is an outcome."""


class Looks(ABC):
    """The judge's eyes."""

    @activity.defn
    @abstractmethod
    async def look(self, look: Look) -> Verdict:
        """Judge everything since the window's start; the verdict is stored with its numbers."""


class Measurements(ABC):
    """What condition checks are measured by."""

    @activity.defn
    @abstractmethod
    async def measure(self, order: MeasureOrder) -> Measured:
        """Measure one check now. A provider that does not answer is an outage in the result, no error."""

    @activity.defn
    @abstractmethod
    async def keep(self, conclusion: Conclusion) -> None:
        """Write the last word down, after the last look."""


class Records(ABC):
    """Short transactions on our own database; each may be repeated."""

    @activity.defn
    @abstractmethod
    async def record(self, progress: Progress) -> None:
        """Write a change and its event together, once per key.

        Raises:
            IllegalTransition: final; nothing was written.
        """

    @activity.defn
    @abstractmethod
    async def load_lane(self, look: LaneLook) -> LaneView:
        """What runs, what waits, and why nothing may start."""

    @activity.defn
    @abstractmethod
    async def save_poll(self, record: PollRecord) -> None:
        """Write a gate with its votes as they stand, and the event that tells why, once per key."""

    @activity.defn
    @abstractmethod
    async def save_amendment(self, entry: AmendmentEntry) -> None:
        """Write an amendment with its event, once per state; one that is applied becomes the plan."""

    @activity.defn
    @abstractmethod
    async def successor_of(self, request: DeploymentInput) -> Successor | None:
        """Who waits to take the deployment's place; None when nobody does."""

    @activity.defn
    @abstractmethod
    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """End an entry of a lane that will not start."""

    @activity.defn
    @abstractmethod
    async def quarantine(self, order: QuarantineOrder) -> None:
        """Leave these nodes alone from now on; one that is quarantined already keeps its first cause."""

    @activity.defn
    @abstractmethod
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        """The nodes to take back, and a fence above that of everything before."""


class Freezes(ABC):
    """The calendar of an environment, and what people freeze and thaw."""

    @activity.defn
    @abstractmethod
    async def freeze_now(self, order: AdHocFreeze) -> None:
        """Freeze an environment, once per order."""

    @activity.defn
    @abstractmethod
    async def thaw(self, order: Thaw) -> tuple[str, ...]:
        """End what people froze; the deployments that were held, to be told."""

    @activity.defn
    @abstractmethod
    async def may_start(self, question: FreezeQuestion) -> Freeze | None:
        """The freeze that holds a deployment at a moment; None when its nodes may start."""


class Tokens(ABC):
    """Tokens that votes and commands carry. A bad token is an answer, never an error."""

    @activity.defn
    @abstractmethod
    async def read_vote(self, check: TokenCheck) -> VoteTokenVerdict:
        """The claims of a vote token, or why it is void."""

    @activity.defn
    @abstractmethod
    async def read_delegation(self, check: TokenCheck) -> DelegationTokenVerdict:
        """What a delegation's token says, or why it is void."""

    @activity.defn
    @abstractmethod
    async def read_command(self, check: TokenCheck) -> CommandTokenVerdict:
        """The claims of a command token, or why it is void."""

    @activity.defn
    @abstractmethod
    async def read_thaw(self, check: TokenCheck) -> ThawTokenVerdict:
        """The claims of a thaw token, or why it is void."""


class Supervision(ABC):
    """Watching other workflows."""

    @activity.defn
    @abstractmethod
    async def await_end(self, workflow_id: str) -> None:
        """Wait until the workflow is closed, however it ends; one that is not there has ended."""


class Guards(ABC):
    """What a guard does when its window is breached."""

    @activity.defn
    @abstractmethod
    async def take_back(self, breach: Breach) -> Returned:
        """Queue the deployment that takes the watched one back, once; or say why there is none."""
