"""Too much of a good thing."""

from domain.errors import HotswapError


class TooManyRequests(HotswapError):
    """A limit is reached; `retry_after` seconds from now there is room again."""

    code = "too-many-requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
