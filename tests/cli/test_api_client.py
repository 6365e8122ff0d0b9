import json
import stat

import pytest

from cli.client import ApiClient
from cli.context import Target
from cli.errors import NotSignedIn, Refused, Unreachable, sentence
from tests.cli.small_server import Answer, SmallServer


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    return path


def signing_in(server, tokens):
    """Signs in with the right password; each sign-in gets the next token, and only the last one is good."""
    good = []

    def token(request):
        if json.loads(request.body) != {"username": "ana", "password": "correct horse"}:
            return Answer(
                401, {"title": "Unauthenticated", "detail": "wrong password", "code": "unauthenticated"}
            )
        good[:] = [next(tokens)]
        return Answer(200, {"access_token": good[0], "token_type": "bearer"})

    def me(request):
        if request.headers.get("Authorization") not in [f"Bearer {each}" for each in good]:
            return Answer(401, {"title": "Unauthenticated", "detail": "no", "code": "unauthenticated"})
        return Answer(200, {"username": "ana"})

    server.routes = {"POST /api/v1/auth/token": token, "GET /api/v1/auth/me": me}


def client(server, tmp_path, **target):
    return ApiClient(Target(url=server.url, source="test", **target), cache=tmp_path / "cache")


def test_a_password_is_used_once_and_its_token_kept_for_its_owner_only(server, tmp_path, password):
    signing_in(server, iter(["t-1", "t-2"]))
    for _ in range(2):
        with client(server, tmp_path, username="ana", password_file=password) as api:
            assert api.get("/auth/me") == {"username": "ana"}
    assert [request.path for request in server.requests].count("/api/v1/auth/token") == 1
    (kept,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_token_that_is_no_longer_taken_is_replaced(server, tmp_path, password):
    signing_in(server, iter(["t-1", "t-2", "t-3"]))
    with client(server, tmp_path, username="ana", password_file=password) as api:
        api.get("/auth/me")
        api.sign_in("ana", "correct horse")
        assert api.get("/auth/me") == {"username": "ana"}


def test_a_token_that_was_given_is_never_replaced(server, tmp_path, password):
    signing_in(server, iter(["t-1"]))
    given = client(server, tmp_path, username="ana", password_file=password, token="given")
    with given as api, pytest.raises(Refused) as caught:
        api.get("/auth/me")
    assert caught.value.status == 401


def test_without_token_and_password_the_error_says_what_to_do(server, tmp_path):
    with client(server, tmp_path) as api, pytest.raises(NotSignedIn, match="HOTSWAP_TOKEN"):
        api.get("/auth/me")


def test_a_problem_document_becomes_one_line_with_field_code_and_trace(server, tmp_path):
    problem = {
        "title": "Invalid input",
        "detail": "no such module",
        "code": "invalid-input",
        "field": "module",
    }
    server.routes = {"POST /api/v1/deployments": lambda _: Answer(422, {**problem, "trace_id": "abc"})}
    with client(server, tmp_path, token="t") as api, pytest.raises(Refused) as caught:
        api.post("/deployments", {})
    assert sentence(caught.value) == "no such module (field module) [invalid-input, HTTP 422, trace abc]"


def test_an_answer_that_is_no_problem_document_is_still_an_error(server, tmp_path):
    server.routes = {"GET /api/v1/nodes": lambda _: Answer(500, ["?"])}
    with client(server, tmp_path, token="t") as api, pytest.raises(Refused, match="Internal Server Error"):
        api.get("/nodes")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_passing_failure_is_worth_another_try(server, tmp_path, status):
    server.routes = {"GET /api/v1/nodes": lambda _: Answer(status)}
    with client(server, tmp_path, token="t") as api, pytest.raises(Unreachable):
        api.get("/nodes")


def test_nobody_listening_is_unreachable(tmp_path):
    with SmallServer().running() as gone:
        pass
    with client(gone, tmp_path, token="t") as api, pytest.raises(Unreachable, match="does not answer"):
        api.get("/nodes")


def test_a_list_is_read_to_its_last_page(server, tmp_path):
    pages = {"": (["a", "b"], "2"), "cursor=2": (["c"], None)}

    def page(request):
        items, following = pages[request.path.partition("?")[2]]
        return Answer(200, {"items": items, "next_cursor": following})

    server.routes = {"GET /api/v1/nodes": page}
    with client(server, tmp_path, token="t") as api:
        assert list(api.items("/nodes")) == ["a", "b", "c"]
