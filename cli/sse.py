"""Server-sent events, as the HTML standard reads them (html.spec.whatwg.org, "Server-sent events", 9.2.6)."""

from collections.abc import Iterable, Iterator

from domain.base import Frozen


class ServerEvent(Frozen):
    """One dispatched event. `id` is the last one seen on the stream, to reconnect with."""

    id: str | None = None
    event: str = "message"
    data: str


def read_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events of a stream, given its lines without their ends.

    Comments and `retry` are left out (the reconnect delay is ours); an event without data is not one; what
    follows the last blank line is incomplete and dropped, as the standard says.
    """
    last_id: str | None = None
    kind, data = "", list[str]()
    for line in lines:
        if line == "":
            if data:
                yield ServerEvent(id=last_id, event=kind or "message", data="\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
