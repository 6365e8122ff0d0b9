"""Pages: a limit, and an opaque cursor that says where the next one begins."""

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InvalidInput

Item = TypeVar("Item")

Limit = Annotated[int, Field(ge=1, le=100, description="How many items at most.")]
Cursor = Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before.")]


class PageQuery(BaseModel):
    """The query of every list; a parameter that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = 20
    cursor: Cursor | None = None


class PageOf(BaseModel, Generic[Item]):
    """Some items; `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None


def cursor_of(*position: str | datetime) -> str:
    """The cursor for what comes after this position in the list's order."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in position]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def name_after(cursor: str | None) -> str | None:
    """The position in a list that is ordered by name.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    return _parts(cursor, 1)[0] if cursor else None


def number_after(cursor: str | None) -> int | None:
    """The position in a list that is ordered by number.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    if cursor is None:
        return None
    [number] = _parts(cursor, 1)
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise _foreign()
    return int(number)


def time_and_names(cursor: str | None, names: int) -> tuple[Any, ...] | None:
    """The position in a list that is ordered by time, then by so many names.

    Raises:
        InvalidInput: the cursor is not one of ours.
    """
    if cursor is None:
        return None
    at, *rest = _parts(cursor, 1 + names)
    try:
        return datetime.fromisoformat(at), *rest
    except ValueError as error:
        raise _foreign() from error


def _parts(cursor: str, count: int) -> list[str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise _foreign() from error
    if not isinstance(parts, list) or len(parts) != count or not all(isinstance(part, str) for part in parts):
        raise _foreign()
    return parts


def _foreign() -> InvalidInput:
    return InvalidInput("the cursor is not one of ours", field="cursor")
