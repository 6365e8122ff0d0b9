"""Recurrence rules (RFC 5545, section 3.3.10): the part of them that a freeze may use.

Only rules that surely occur, and at most once a day, are let in: expanding any of them costs little. The
expansion itself is python-dateutil's.
"""

import calendar
import re
from datetime import datetime
from functools import lru_cache
from typing import Final

from dateutil.rrule import rrule, rrulestr

_MONTH_DAY: Final = r"-?([1-9]|[12]\d|3[01])"
_WEEK_DAY: Final = r"(-?[1-5])?(MO|TU|WE|TH|FR|SA|SU)"
_MONTH: Final = r"([1-9]|1[0-2])"


def _listed(item: str) -> str:
    return rf"{item}(,{item})*"


_PARTS: Final = {
    "FREQ": r"DAILY|WEEKLY|MONTHLY|YEARLY",
    "INTERVAL": r"[1-9]\d?",
    "COUNT": r"[1-9]\d{0,3}",
    "UNTIL": r"\d{8}T\d{6}",
    "BYMONTH": _listed(_MONTH),
    "BYMONTHDAY": _listed(_MONTH_DAY),
    "BYDAY": _listed(_WEEK_DAY),
    "WKST": r"MO|SU",
}
_WEEK: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def check(rule: str, starts: datetime) -> None:
    """Refuse a rule that is not one of ours.

    Args:
        rule: such as FREQ=WEEKLY;BYDAY=FR.
        starts: the first occurrence, local time; the rule must name it, as RFC 5545 asks.

    Raises:
        ValueError: why not, in words.
    """
    parts = _parse(rule)
    if "FREQ" not in parts:
        raise ValueError("a rule needs FREQ")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("COUNT and UNTIL exclude each other")
    if re.search(r"\d", parts.get("BYDAY", "")) and not _counts_in_months(parts):
        raise ValueError("a numbered BYDAY needs FREQ=MONTHLY, or FREQ=YEARLY with BYMONTH")
    if not _names(parts, starts):
        raise ValueError(f"the rule does not name its own start, {starts:%Y-%m-%d} ({starts:%A})")
    if "UNTIL" in parts and datetime.strptime(parts["UNTIL"], "%Y%m%dT%H%M%S") < starts:  # noqa: DTZ007 - local
        raise ValueError("UNTIL is before the start")


def _parse(rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in rule.split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS:
            raise ValueError(f"{name or 'an empty part'!r} is not one of {', '.join(_PARTS)}")
        if name in parts:
            raise ValueError(f"{name} is there twice")
        if not re.fullmatch(_PARTS[name], value):
            raise ValueError(f"{name}={value} is not understood{_hint(name)}")
        parts[name] = value
    return parts


def _hint(name: str) -> str:
    return ": a local time such as 20271231T235959, without Z" if name == "UNTIL" else ""


def _counts_in_months(parts: dict[str, str]) -> bool:
    return parts["FREQ"] == "MONTHLY" or (parts["FREQ"] == "YEARLY" and "BYMONTH" in parts)


def _names(parts: dict[str, str], day: datetime) -> bool:
    length = calendar.monthrange(day.year, day.month)[1]
    if "BYMONTH" in parts and str(day.month) not in parts["BYMONTH"].split(","):
        return False
    if "BYMONTHDAY" in parts:
        days = [int(each) for each in parts["BYMONTHDAY"].split(",")]
        if day.day not in days and day.day - length - 1 not in days:
            return False
    if "BYDAY" in parts:
        weekday = _WEEK[day.weekday()]
        numbered = (weekday, f"{(day.day + 6) // 7}{weekday}", f"-{(length - day.day) // 7 + 1}{weekday}")
        return any(each in numbered for each in parts["BYDAY"].split(","))
    return True


@lru_cache(maxsize=512)
def expand(rule: str, starts: datetime) -> rrule:
    """The occurrences of a checked rule, as local times."""
    expanded = rrulestr(rule, dtstart=starts, cache=True)
    if not isinstance(expanded, rrule):
        raise TypeError(f"{rule!r} is not a single rule")
    return expanded
