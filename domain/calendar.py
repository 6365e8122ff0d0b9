"""An environment's calendar of freezes: windows in local time, and what they mean as instants.

A window begins and ends by the wall clock of its own time zone. Where a change to or from daylight-saving
time makes that clock jump, the longer reading holds: in doubt it is frozen.

- A time that the clock shows twice (autumn): a freeze starts the first time and ends the second time.
- A time that the clock never shows (spring): it means the instant at which the clock jumps over it.

Everything here is a pure function of windows and instants.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from domain.base import Frozen, Strict
from domain.errors import InvalidInput
from domain.freeze import Freeze, longest
from domain.names import EnvironmentName
from domain.recurrence import check, expand

MOST_WINDOWS: Final = 100  # per environment
LONGEST_FREEZE: Final = timedelta(days=365)  # an environment that is frozen for longer never opens
_HORIZON: Final = 2 * LONGEST_FREEZE
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_MACHINE_ZONES: Final = ("localtime", "Factory")  # mean something else on each machine, or nothing


def _local(time: datetime) -> datetime:
    if time.tzinfo is not None:
        raise ValueError("a local time, without an offset: the time zone is a field of its own")
    if not 2000 <= time.year <= 2200:
        raise ValueError("a year between 2000 and 2200")
    return time.replace(microsecond=0)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in _zones() or name in _MACHINE_ZONES:
        raise ValueError(f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin")
    return name


LocalTime = Annotated[datetime, AfterValidator(_local)]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
WindowName = EnvironmentName  # the same form: a short slug


class CalendarWindow(Strict):
    """When an environment is frozen, once or again and again.

    Attributes:
        starts: the first moment of the freeze, local time of `zone`; ends: the first moment after it.
        zone: a time zone of the IANA database.
        repeat: a recurrence rule of RFC 5545 (`domain.recurrence`), such as FREQ=WEEKLY;BYDAY=FR; each
            occurrence lasts as long by the wall clock as the first.
    """

    name: WindowName
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    zone: TimeZone
    starts: LocalTime
    ends: LocalTime
    repeat: Annotated[str, StringConstraints(max_length=200)] | None = None

    @field_validator("ends")
    @classmethod
    def _after_the_start(cls, ends: datetime, info: ValidationInfo) -> datetime:
        starts = info.data.get("starts")
        if starts is not None and ends <= starts:
            raise ValueError("a freeze must end after it starts")
        if starts is not None and ends - starts >= LONGEST_FREEZE:
            raise ValueError("a freeze of a year or longer never opens")
        return ends

    @field_validator("repeat")
    @classmethod
    def _a_rule(cls, rule: str | None, info: ValidationInfo) -> str | None:
        starts = info.data.get("starts")
        if rule is not None and starts is not None:
            check(rule, starts)
        return rule

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        first = _span(self, self.starts)
        if first.ends <= first.starts:
            raise ValueError("the clock jumps over the whole freeze: it would never be frozen")
        return self

    @property
    def reason_in_words(self) -> str:
        """Which window, and why."""
        return f"{self.name} ({self.reason})"


class Span(Frozen):
    """From one instant to another."""

    starts: datetime
    ends: datetime


def spans(window: CalendarWindow, after: datetime, before: datetime) -> list[Span]:
    """The occurrences that have a moment in [after, before), oldest first. Instants carry an offset."""
    if window.repeat is None:
        found = [window.starts]
    else:
        length = window.ends - window.starts
        begin = after.astimezone(UTC).replace(tzinfo=None) - length - 2 * _DAY
        end = before.astimezone(UTC).replace(tzinfo=None) + 2 * _DAY
        found = expand(window.repeat, window.starts).between(begin, end, inc=True)
    every = (_span(window, starts) for starts in found)
    return [span for span in every if span.starts < before and span.ends > after and span.starts < span.ends]


def state(windows: Sequence[CalendarWindow], at: datetime) -> Freeze | None:
    """Whether the calendar freezes the instant `at`; its end is that of all windows that follow on."""
    reasons: list[str] = []
    until = at
    while until - at < _HORIZON:
        covering = [
            (span.ends, window.reason_in_words)
            for window in windows
            for span in spans(window, until, until + _SECOND)
            if span.starts <= until
        ]
        if not covering:
            break
        until = max(ends for ends, _reason in covering)
        reasons += [reason for _ends, reason in covering]
    return longest(tuple(Freeze(reason=reason, until=until.timestamp()) for reason in reasons))


def next_start(windows: Sequence[CalendarWindow], at: datetime) -> datetime | None:
    """When the next freeze begins after `at`, within the next year."""
    starts = [
        span.starts
        for window in windows
        for span in spans(window, at, at + LONGEST_FREEZE)
        if span.starts > at
    ]
    return min(starts, default=None)


def must_open(windows: Sequence[CalendarWindow], at: datetime) -> None:
    """Refuse a calendar that, once closed, stays closed for a year or longer.

    Raises:
        InvalidInput: `field` is `repeat` where a rule is at fault, else `ends`.
    """
    found = [(span, window) for window in windows for span in spans(window, at, at + _HORIZON)]
    begun = ended = at
    for span, window in sorted(found, key=lambda each: each[0].starts):
        if span.starts > ended:
            begun = span.starts
        ended = max(ended, span.ends)
        if ended - begun >= LONGEST_FREEZE:
            raise InvalidInput(
                f"with {window.name} the environment would be frozen from {begun:%Y-%m-%d} on for a year or"
                " longer: a freeze that never opens",
                field="ends" if window.repeat is None else "repeat",
            )


def _span(window: CalendarWindow, starts: datetime) -> Span:
    zone = ZoneInfo(window.zone)
    return Span(
        starts=_readings(starts, zone)[0], ends=_readings(starts + (window.ends - window.starts), zone)[1]
    )


def _readings(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first and the last instant that a wall clock's time means."""
    both = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    first, last = min(both), max(both)
    if first == last or _shown(first, zone) == local:
        return first, last
    while last - first > _SECOND:  # the clock jumps over it between the two
        middle = first + (last - first) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if _shown(middle, zone) >= local:
            last = middle
        else:
            first = middle
    return last, last


def _shown(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
