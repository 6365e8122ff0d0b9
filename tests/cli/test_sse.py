import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sse import ServerEvent, read_events


def events(text):
    return list(read_events(text.split("\n")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [ServerEvent(data="YHOO\n+2\n10")]),
        (": comment\n\ndata: a\nid: 1\n\ndata:b\nid\n\ndata:  c\n\n", [
            ServerEvent(id="1", data="a"), ServerEvent(id="", data="b"), ServerEvent(id="", data=" c")]),
        ("data\n\ndata\ndata\n\ndata:", [ServerEvent(data=""), ServerEvent(data="\n")]),
        ("event: phase\nid: 7\ndata: {}\n\nevent: x\n\n", [ServerEvent(id="7", event="phase", data="{}")]),
        ("id: 3\n\ndata: after an id alone\n\n", [ServerEvent(id="3", data="after an id alone")]),
        ("retry: 5\nunknown: 1\ndata: x\n\n", [ServerEvent(data="x")]),
        ("data: cut off", []),
    ],
)  # fmt: skip
def test_streams_read_as_the_standard_says(text, expected):
    assert events(text) == expected


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(LINE, st.lists(LINE, min_size=1)), max_size=5))
def test_what_was_written_is_read(stream):
    lines = []
    for identity, data in stream:
        lines += [f"id: {identity}", *(f"data: {part}" for part in data), ""]
    assert [(event.id, event.data) for event in read_events(lines)] == [(i, "\n".join(d)) for i, d in stream]
