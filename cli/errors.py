"""What a command says when it cannot do its work: one line, exit code 1."""

from pydantic import ValidationError

from domain.base import in_words
from domain.errors import HotswapError


class CommandFailed(HotswapError):
    """The command cannot go on; the message says what to do about it."""

    code = "command-failed"


class NotSignedIn(CommandFailed):
    """Nothing says where the control plane is, or who is asking."""

    code = "not-signed-in"


class Unreachable(CommandFailed):
    """The control plane does not answer, or answers that it cannot now. Worth another try."""

    code = "unreachable"


class Refused(CommandFailed):
    """The control plane said no: a problem document (RFC 9457).

    Attributes:
        status: the HTTP status.
        problem: the problem's own code, such as "not-found".
        trace: the trace id to quote when asking for help; None when the answer had none.
    """

    code = "refused"

    def __init__(
        self, message: str, *, status: int, problem: str, field: str | None = None, trace: str | None = None
    ) -> None:
        super().__init__(message, field=field)
        self.status = status
        self.problem = problem
        self.trace = trace


def sentence(error: HotswapError) -> str:
    """An error as one line for people: what, which field, the code to look up."""
    where = f" (field {error.field})" if error.field else ""
    if isinstance(error, Refused):
        trace = f", trace {error.trace}" if error.trace else ""
        return f"{error.message}{where} [{error.problem}, HTTP {error.status}{trace}]"
    return f"{error.message}{where}"


def why(error: Exception) -> str:
    """On one line, why a person's file cannot be used: not to be read, no YAML, or fields that are wrong."""
    if isinstance(error, ValidationError):
        return in_words(error)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())
