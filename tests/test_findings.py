"""The page of findings says what the tags say, and every promise on it has a test."""

from tests.findings import NONE, PAGE, STATEMENTS, page, tagged


def test_the_page_is_made_from_the_tags() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it again: python -m tests.findings"


def test_every_promise_has_a_test_and_every_tag_a_promise() -> None:
    promised = {number for number, statement in STATEMENTS.items() if not statement.startswith(NONE)}
    assert promised == set(tagged())
