"""Freeze windows against a naive model that walks the wall clock minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendar import CalendarWindow, must_open, next_start, spans, state
from domain.errors import InvalidInput

MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


def window(starts: str, ends: str, zone: str = "Europe/Berlin", repeat: str | None = None, name: str = "w"):
    return CalendarWindow(
        name=name,
        reason="because",
        zone=zone,
        starts=datetime.fromisoformat(starts),
        ends=datetime.fromisoformat(ends),
        repeat=repeat,
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def naive(starts: datetime, ends: datetime, zone: str) -> list[datetime]:
    """Every frozen minute, by looking at a clock on the wall once a minute for days."""
    begin = starts.replace(tzinfo=UTC) - timedelta(days=2)
    count = int((ends - starts + timedelta(days=4)) / MINUTE)
    minutes = [begin + MINUTE * number for number in range(count)]
    shown = [minute.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for minute in minutes]
    first = next(index for index, clock in enumerate(shown) if clock >= starts)
    exact = [index for index, clock in enumerate(shown) if clock == ends]
    last = exact[-1] if exact else next(index for index, clock in enumerate(shown) if clock >= ends)
    return minutes[first:last]


CHANGES = {  # the days around which clocks jump in 2026 (and one without)
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Asia/Kathmandu": ("2026-06-01",),
    "UTC": ("2026-06-01",),
}


@st.composite
def one_offs(draw: st.DrawFn) -> tuple[datetime, datetime, str]:
    zone = draw(st.sampled_from(ZONES))
    day = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone])))
    starts = day + MINUTE * draw(st.integers(-300, 600))
    return starts, starts + MINUTE * draw(st.integers(1, 600)), zone


@given(one_offs())
@settings(max_examples=150, deadline=None)
def test_a_window_freezes_exactly_the_minutes_that_a_clock_on_the_wall_says(drawn):
    starts, ends, zone = drawn
    frozen = naive(starts, ends, zone)
    try:
        made = window(starts.isoformat(), ends.isoformat(), zone)
    except ValidationError:
        assert frozen == []  # the clock jumps over all of it
        return
    [span] = spans(
        made, starts.replace(tzinfo=UTC) - timedelta(days=2), ends.replace(tzinfo=UTC) + timedelta(days=2)
    )
    assert (span.starts, span.ends) == (frozen[0], frozen[-1] + MINUTE)
    for at in (frozen[0], frozen[-1], frozen[len(frozen) // 2]):
        assert state([made], at).until == span.ends.timestamp()
    for at in (frozen[0] - MINUTE, frozen[-1] + MINUTE):
        assert state([made], at) is None


@st.composite
def calendars(draw: st.DrawFn) -> list[CalendarWindow]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        zone = draw(st.sampled_from(ZONES))
        starts = datetime.fromisoformat("2026-10-19") + timedelta(minutes=15) * draw(
            st.integers(0, 4 * 24 * 7)
        )
        length = timedelta(minutes=15) * draw(st.integers(1, 4 * 30))
        repeat = draw(st.sampled_from((None, "FREQ=DAILY;INTERVAL=2", "FREQ=WEEKLY", "FREQ=DAILY;COUNT=3")))
        made.append(window(starts.isoformat(), (starts + length).isoformat(), zone, repeat, f"w{number}"))
    return made


def naively_frozen(windows: list[CalendarWindow], until: datetime) -> dict[datetime, bool]:
    """Minute by minute over three weeks, every occurrence expanded by hand."""
    steps = {"FREQ=DAILY;INTERVAL=2": 2, "FREQ=WEEKLY": 7, "FREQ=DAILY;COUNT=3": 1}
    frozen = dict.fromkeys((utc("2026-10-19") + MINUTE * n for n in range(60 * 24 * 14)), False)
    for each in windows:
        count = 1 if each.repeat is None else 3 if "COUNT" in each.repeat else 15
        for number in range(count):
            shift = timedelta(days=steps.get(each.repeat or "", 0)) * number
            if (each.starts + shift).replace(tzinfo=UTC) > until + timedelta(days=2):
                break
            for minute in naive(each.starts + shift, each.ends + shift, each.zone):
                if minute in frozen:
                    frozen[minute] = True
    return frozen


@given(calendars(), st.lists(st.integers(0, 60 * 24 * 12), min_size=5, max_size=5))
@settings(max_examples=25, deadline=None)
def test_overlapping_and_recurring_windows_are_the_union_of_their_minutes(windows, moments):
    frozen = naively_frozen(windows, utc("2026-11-02"))
    minutes = list(frozen)
    for index in moments:
        found = state(windows, minutes[index])
        assert (found is not None) == frozen[minutes[index]]
        if found is not None and found.until < minutes[-1].timestamp():
            thawed = next(minute for minute in minutes[index:] if not frozen[minute])
            assert found.until == thawed.timestamp()


@pytest.mark.parametrize(
    ("zone", "starts", "ends", "begins", "stops"),
    [
        # 02:30 does not exist: the clock jumps from 02:00 to 03:00 at 01:00 UTC
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T06:00", "2026-03-29T01:00", "2026-03-29T04:00"),
        ("Europe/Berlin", "2026-03-28T22:00", "2026-03-29T02:30", "2026-03-28T21:00", "2026-03-29T01:00"),
        # 02:30 is there twice: starts the first time, ends the second time
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T06:00", "2026-10-25T00:30", "2026-10-25T05:00"),
        ("Europe/Berlin", "2026-10-25T00:00", "2026-10-25T02:30", "2026-10-24T22:00", "2026-10-25T01:30"),
        ("Europe/Berlin", "2026-10-25T02:10", "2026-10-25T02:20", "2026-10-25T00:10", "2026-10-25T01:20"),
        # over the change a night is an hour shorter or longer
        ("America/New_York", "2026-03-07T20:00", "2026-03-08T08:00", "2026-03-08T01:00", "2026-03-08T12:00"),
        ("America/New_York", "2026-10-31T20:00", "2026-11-01T08:00", "2026-11-01T00:00", "2026-11-01T13:00"),
        ("America/New_York", "2026-03-08T02:15", "2026-03-08T04:00", "2026-03-08T07:00", "2026-03-08T08:00"),
        # a whole day that was not there
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-31T12:00", "2011-12-30T10:00", "2011-12-30T22:00"),
    ],
)
def test_nonexistent_and_ambiguous_times_mean_what_is_documented(zone, starts, ends, begins, stops):
    [span] = spans(
        window(starts, ends, zone), utc(begins) - timedelta(days=9), utc(stops) + timedelta(days=9)
    )
    assert (span.starts, span.ends) == (utc(begins), utc(stops))


def test_a_weekly_window_keeps_its_wall_clock_times_over_the_change():
    weekly = window("2026-10-16T17:00", "2026-10-19T08:00", repeat="FREQ=WEEKLY;BYDAY=FR")
    found = spans(weekly, utc("2026-10-14"), utc("2026-11-01"))
    assert [(span.starts, span.ends) for span in found] == [
        (utc("2026-10-16T15:00"), utc("2026-10-19T06:00")),
        (utc("2026-10-23T15:00"), utc("2026-10-26T07:00")),
        (utc("2026-10-30T16:00"), utc("2026-11-02T07:00")),
    ]
    assert next_start([weekly], utc("2026-10-19T06:00")) == utc("2026-10-23T15:00")
    assert next_start([window("2026-10-16T17:00", "2026-10-19T08:00")], utc("2026-10-20")) is None


def test_windows_that_follow_on_each_other_are_one_freeze_with_both_reasons():
    night = window("2026-12-23T18:00", "2026-12-24T00:00", "UTC", name="night")
    feast = window("2026-12-24T00:00", "2026-12-27T00:00", "UTC", name="feast")
    found = state([feast, night], utc("2026-12-23T20:00"))
    assert found.until == utc("2026-12-27").timestamp()
    assert found.reason == "night (because); feast (because)"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"ends": "2026-05-01T08:00"}, "ends", "must end after it starts"),
        ({"ends": "2027-05-01T08:00"}, "ends", "never opens"),
        ({"starts": "2026-05-01T08:00Z"}, "starts", "without an offset"),
        ({"zone": "Mars/Olympus"}, "zone", "not a time zone"),
        ({"zone": "localtime"}, "zone", "not a time zone"),
        ({"zone": "../etc/passwd"}, "zone", "not a time zone"),
        ({"repeat": "FREQ=HOURLY"}, "repeat", "FREQ=HOURLY is not understood"),
        ({"repeat": "FREQ=WEEKLY;BYDAY=MO"}, "repeat", "does not name its own start"),
        ({"repeat": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "repeat", "does not name its own start"),
        ({"repeat": "FREQ=WEEKLY;UNTIL=20270101T000000Z"}, "repeat", "without Z"),
        ({"repeat": "FREQ=WEEKLY;UNTIL=20250101T000000"}, "repeat", "before the start"),
        ({"repeat": "FREQ=WEEKLY;COUNT=2;UNTIL=20280101T000000"}, "repeat", "exclude each other"),
        ({"repeat": "FREQ=WEEKLY;BYDAY=1FR"}, "repeat", "numbered BYDAY"),
        ({"repeat": "INTERVAL=2"}, "repeat", "needs FREQ"),
        ({"repeat": "FREQ=WEEKLY;FREQ=DAILY"}, "repeat", "twice"),
        ({"repeat": "RRULE:FREQ=WEEKLY"}, "repeat", "is not one of"),
        ({"starts": "1900-01-01T00:00"}, "starts", "between 2000 and 2200"),
        (
            {"starts": "2026-03-29T02:10", "ends": "2026-03-29T02:40", "zone": "Europe/Berlin"},
            "",
            "jumps over the whole",
        ),
    ],
)
def test_a_window_that_cannot_be_is_refused_naming_the_field(changes, field, words):
    body = {
        "name": "w",
        "reason": "r",
        "zone": "UTC",
        "starts": "2026-05-01T08:00",
        "ends": "2026-05-01T09:00",
    }
    with pytest.raises(ValidationError) as refused:
        CalendarWindow.model_validate({**body, **changes})
    [error] = refused.value.errors()
    assert ".".join(map(str, error["loc"])) == field
    assert words in error["msg"]


@pytest.mark.parametrize(
    "repeat",
    [
        "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=YEARLY;BYMONTH=5;BYDAY=5FR",
        "FREQ=MONTHLY;BYMONTHDAY=-3",
        "FREQ=DAILY",
    ],
)
def test_rules_that_name_their_start_are_taken(repeat):
    made = window("2026-05-29T08:00", "2026-05-29T09:00", "UTC", repeat)
    assert spans(made, utc("2026-05-29"), utc("2026-05-30")) != []


NOW = utc("2026-06-01")


@pytest.mark.parametrize(
    ("windows", "field"),
    [
        ([window("2026-05-01T00:00", "2026-05-02T00:00", "UTC", "FREQ=DAILY")], "repeat"),
        ([window("2026-05-04T00:00", "2026-05-11T01:00", "UTC", "FREQ=WEEKLY")], "repeat"),
        (
            [
                window("2026-06-01T00:00", "2026-12-24T00:00", "UTC"),
                window("2026-12-24T00:00", "2027-07-01T00:00", "UTC"),
            ],
            "ends",
        ),
    ],
)
def test_a_calendar_that_never_opens_is_refused(windows, field):
    with pytest.raises(InvalidInput, match="never opens") as refused:
        must_open(windows, NOW)
    assert refused.value.field == field


def test_a_calendar_with_a_gap_is_taken():
    must_open([window("2026-06-01T00:00", "2026-06-01T23:59", "UTC", "FREQ=DAILY")], NOW)
    must_open([window("2020-01-01T00:00", "2020-12-01T00:00", "UTC")], NOW)
