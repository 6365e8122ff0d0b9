"""Every refusal and failure that Hotswap can name.

An error has a stable `code` (kebab-case, part of the API), a message for people and, where one input is
at fault, the `field` that is. Nobody parses messages: the API maps codes to HTTP statuses, activities
to `ApplicationError.type`.
"""

from enum import StrEnum
from typing import ClassVar


class HotswapError(Exception):
    """The root of all errors of ours."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(HotswapError):
    """The input breaks a rule; `field` names where."""

    code = "invalid-input"


class NotFound(HotswapError):
    """No such object, or none that the caller may see."""

    code = "not-found"


class Conflict(HotswapError):
    """The object's present state does not allow this."""

    code = "conflict"


class RequirementUnmet(Conflict):
    """The environment wants the release to have completed in another one first."""

    code = "requirement-unmet"


class IllegalTransition(Conflict):
    """A phase may not follow the present one."""

    code = "illegal-transition"


class NotAmendable(Conflict):
    """The deployment cannot be amended now, or nothing of it would change."""

    code = "not-amendable"


class LaneBusy(Conflict):
    """Another deployment is in the way, and the arrival policy rejects; `link` is that one's place."""

    code = "lane-busy"

    def __init__(self, message: str, *, link: str = "") -> None:
        super().__init__(message, field="environment")
        self.link = link


class Unauthenticated(HotswapError):
    """No valid proof of who is asking."""

    code = "unauthenticated"


class Forbidden(HotswapError):
    """Known, but not allowed."""

    code = "forbidden"


class PlanImpossible(InvalidInput):
    """A plan that cannot be: no nodes, a wave larger than the environment, deadlines in the wrong order."""

    code = "plan-impossible"


class BundleInvalid(InvalidInput):
    """The archive or its manifest breaks a rule."""

    code = "bundle-invalid"


class BundleTooLarge(BundleInvalid):
    """The archive, or what it unpacks to, is over the limit."""

    code = "bundle-too-large"


class RefusalReason(StrEnum):
    """Why a signature was refused; stable, for machines.

    The first group is about the signature's structure, the second about the signed bytes, the third
    about the signer's certificate and the path from it to a trust root.
    """

    MALFORMED = "malformed"
    ATTACHED_CONTENT = "attached-content"
    NO_SIGNER = "no-signer"
    SEVERAL_SIGNERS = "several-signers"
    NO_CERTIFICATE = "no-certificate"
    SIGNED_ATTRIBUTES = "signed-attributes"
    WEAK_DIGEST = "weak-digest"
    UNSUPPORTED_ALGORITHM = "unsupported-algorithm"

    DIGEST_MISMATCH = "digest-mismatch"
    BAD_SIGNATURE = "bad-signature"

    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_YET_VALID = "not-yet-valid"
    WRONG_USAGE = "wrong-usage"
    WEAK_KEY = "weak-key"
    NOT_A_CA = "not-a-ca"
    PATH_TOO_LONG = "path-too-long"
    UNTRUSTED = "untrusted"


class SignatureRefused(HotswapError):
    """The signature does not prove that a trusted signer released these bytes; `reason` says why not."""

    code = "signature-refused"

    def __init__(
        self,
        message: str,
        *,
        reason: RefusalReason = RefusalReason.MALFORMED,
        field: str | None = "signature",
    ) -> None:
        super().__init__(message, field=field)
        self.reason = reason


class NodeError(HotswapError):
    """Something that a node answered or failed to answer."""

    code = "node-error"


class NodeUnreachable(NodeError):
    """The agent did not answer within the deadline."""

    code = "node-unreachable"


class NodeUntrusted(NodeError):
    """The agent's certificate does not prove who it is."""

    code = "node-untrusted"


class AddressRefused(NodeError):
    """The agent's address is in a network where no agent may be."""

    code = "address-refused"


class AnswerUnreadable(NodeError):
    """What answers there does not answer as an agent does: a redirect, too much, or of another form."""

    code = "answer-unreadable"


class WrongTenant(NodeError):
    """The agent belongs to another tenant than the one that asks."""

    code = "wrong-tenant"


class DiskFull(NodeError):
    """The release needs more space than the node has, or the disk took no more."""

    code = "disk-full"


class SocketUnavailable(NodeError):
    """A module's address on the node cannot be bound."""

    code = "socket-unavailable"


class Fenced(NodeError):
    """A newer attempt has touched this module on the node; this one is refused."""

    code = "fenced"


class NotStaged(NodeError):
    """The release to activate is not in a slot of the node."""

    code = "not-staged"


class ModuleNotReady(NodeError):
    """The new release did not become ready in time; the old one keeps running."""

    code = "module-not-ready"


class SmokeFailed(NodeError):
    """The release that runs beside the current one, or lies there staged, fails its own checks."""

    code = "smoke-failed"


class TooFewHealthy(NodeError):
    """The node was not changed: its zone could not spare it, and has ill nodes that were changed before."""

    code = "too-few-healthy"


class ZoneShort(NodeError):
    """The node was not changed: its zone could not spare it, for no reason that the rollout gave."""

    code = "zone-short"


class HookFailed(NodeError):
    """A hook around the node's change failed, and its rule says stop."""

    code = "hook-failed"


class HookUnreachable(HotswapError):
    """A hook did not answer, or not well; it may when asked again."""

    code = "hook-unreachable"


class HookRefused(HotswapError):
    """A hook that may not be called, or that refused; asking again changes nothing."""

    code = "hook-refused"


class ReadBackMismatch(NodeError):
    """What runs on the node is not what was ordered."""

    code = "read-back-mismatch"


class ProviderDown(HotswapError):
    """Where metrics come from does not answer; asking again may help, and nothing is known meanwhile."""

    code = "provider-down"


class ProviderRefused(HotswapError):
    """Where metrics come from gave no measurement: a bad query, a command that is not allowed."""

    code = "provider-refused"
