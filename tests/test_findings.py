"""The page of findings says what the tags say, and every promise on it has a test."""

import re

from store.metadata import METADATA
from tests.api.authorisation import kept
from tests.findings import NONE, PAGE, STATEMENTS, page, tagged

# What the rows without a counterpart are about; none of it is a route or a table.
NOT_OURS = re.compile(
    r"messag|topic|subscription|consumer|broker|schema|dead_?letter"
    r"|billing|invoice|price|payment|website|site|theme|plugin|media|content"
)


def test_the_page_is_made_from_the_tags() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it again: python -m tests.findings"


def test_every_promise_has_a_test_and_every_tag_a_promise() -> None:
    promised = {number for number, statement in STATEMENTS.items() if not statement.startswith(NONE)}
    assert promised == set(tagged())


def test_what_has_no_counterpart_has_no_route_and_no_table() -> None:
    assert {number for number, statement in STATEMENTS.items() if statement.startswith(NONE)} == {
        *("9", "X15", "X16", "X17", "X18")
    }
    assert [name for name in (*kept(), *METADATA.tables) if NOT_OURS.search(name)] == []
