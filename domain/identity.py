"""The rules of signing in: how often one may guess, how long things live, which passwords are good."""

from datetime import timedelta
from typing import Final

from domain.errors import Forbidden, InvalidInput, Unauthenticated

# So many wrong passwords in a row lock a name for so long, whoever types them.
FAILURES_ALLOWED: Final = 5
LOCK_OUT: Final = timedelta(minutes=15)
# A sign-in ends after this long, however often it was refreshed.
SESSION_LIFE: Final = timedelta(days=14)
LONGEST_KEY_LIFE: Final = timedelta(days=366)
KEYS_PER_PERSON: Final = 20

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256  # so that no hash is made of megabytes


class PasswordChangeRequired(Forbidden):
    """The password was given by somebody else; until it is changed, nothing else is allowed."""

    code = "password-change-required"


class TokenRevoked(Unauthenticated):
    """The token was good once; its session, key or person no longer is."""

    code = "token-revoked"


class TokenReused(TokenRevoked):
    """A refresh token came a second time: somebody has a copy, so its session is over."""

    code = "token-reused"


class WeakPassword(InvalidInput):
    """The password is easy to guess."""

    code = "weak-password"
