"""How hard a secret is to guess, by zxcvbn (Wheeler, USENIX Security 2016), which knows the usual ones."""

from collections.abc import Sequence
from typing import Final

from zxcvbn import zxcvbn

from domain.identity import LONGEST_PASSWORD, SHORTEST_PASSWORD, WeakPassword

_LEAST_SCORE: Final = 3  # of 0 to 4: at least 10^8 guesses
_LOOKED_AT: Final = 72  # characters; the time grows with the square, and what comes behind only helps


def is_weak(secret: str) -> bool:
    """Whether a secret is common, or made of patterns: well within reach of whoever tries."""
    return bool(zxcvbn(secret[:_LOOKED_AT], user_inputs=["hotswap"])["score"] < _LEAST_SCORE)


def require_strong(password: str, *, about: Sequence[str] = (), field: str = "password") -> None:
    """Refuse a password that is short, common, made of patterns, or made of what is known about its owner.

    Raises:
        WeakPassword: with the reason in words; never with the password.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise WeakPassword(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", field=field
        )
    found = zxcvbn(password[:_LOOKED_AT], user_inputs=[*about, "hotswap"])
    if found["score"] < _LEAST_SCORE:
        reason = found["feedback"]["warning"] or "it is easy to guess"
        raise WeakPassword(f"choose another password: {reason}", field=field)
