"""Hooks against a real HTTP server, and real programs."""

import base64
import hashlib
import hmac
import json
import socket
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from clients import hooks
from clients.hooks import HookCaller
from domain.hook_settings import HookSettings
from domain.hooks import HookOrder, HookOutcome, HookResult, HookRule
from tests.clients.receiver import answers, receiving

KEY = "k" * 32
LOCAL = {"networks": ["127.0.0.0/8"], "secrets": {"ci": KEY}}
WAIT = json.dumps({"status": "WAIT", "explanation": "soaking", "link": "https://m.example.com/7"})
CONTINUE = json.dumps({"status": "CONTINUE"})
ABORT = json.dumps({"status": "ABORT", "explanation": "error budget is spent"})


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[HookCaller]:
    async with HookCaller(HookSettings.model_validate(LOCAL)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "pause_before", lambda attempt: 0.0)


def order(url: str = "", **changes: object) -> HookOrder:
    call = changes.pop("call", {"kind": "http", "url": url, "secret": "ci"})
    rule = {"name": "h", "at": "before-wave", "call": call, "timeout": 5, "poll_every": 1, **changes}
    return HookOrder(
        rule=HookRule.model_validate(rule),
        tenant="acme",
        environment="production",
        deployment="d1",
        module="greeter",
        version="2.0.0",
        plan="f" * 64,
        wave=2,
    )


async def run(caller: HookCaller, given: HookOrder) -> tuple[HookOutcome, list[str]]:
    told: list[str] = []

    async def tell(outcome: HookOutcome) -> None:
        told.append(outcome.message)

    return await caller.run(given, since=time.time(), told=tell), told


async def test_a_call_is_signed_as_standard_webhooks_say(caller: HookCaller) -> None:
    async with receiving(answers(200)) as receiver:
        outcome, _ = await run(caller, order(f"{receiver.url}/deployed"))
    assert (outcome.result, outcome.attempts) == (HookResult.DONE, 1)
    [got] = receiver.got
    said = json.loads(got.body)
    assert (said["point"], said["wave"], said["version"]) == ("before-wave", 2, "2.0.0")
    identity, at = got.headers["webhook-id"], got.headers["webhook-timestamp"]
    assert identity == said["id"] == "d1:before-wave:2:h"
    assert abs(int(at) - time.time()) < 60
    digest = hmac.new(KEY.encode(), f"{identity}.{at}.".encode() + got.body, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert got.headers["Host"] == receiver.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("given", "result", "requests"),
    [
        ((503, 429, 200), HookResult.DONE, 3),
        ((503,), HookResult.FAILED, 3),
        ((404, 200), HookResult.FAILED, 1),
        ((302, 200), HookResult.FAILED, 1),  # not followed: it may lead anywhere
        ((3.0, 200), HookResult.DONE, 2),
    ],
)
async def test_what_may_pass_is_tried_again_within_the_budget(
    caller: HookCaller, given: tuple[int, ...], result: HookResult, requests: int
) -> None:
    async with receiving(answers(*given)) as receiver:
        outcome, _ = await run(caller, order(receiver.url, timeout=0.5))
    assert (outcome.result, len(receiver.got), outcome.attempts) == (result, requests, requests)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert all(got.path == "/" for got in receiver.got)


async def test_nobody_there_is_a_failure_with_words(caller: HookCaller) -> None:
    async with receiving(answers(200)) as receiver:
        url = receiver.url
    outcome, _ = await run(caller, order(url))
    assert (outcome.result, outcome.attempts) == (HookResult.FAILED, 3)
    assert "127.0.0.1" in outcome.message


@pytest.mark.parametrize(
    ("given", "result", "told", "words"),
    [
        ((WAIT, WAIT, CONTINUE), HookResult.DONE, 2, "continue"),
        ((WAIT, ABORT), HookResult.ABORTED, 1, "error budget is spent"),
        ((WAIT, 500, CONTINUE), HookResult.DONE, 1, "continue"),
        (("[]",), HookResult.FAILED, 0, "answered neither"),
        (("x" * 100_000,), HookResult.FAILED, 0, "longer than"),
    ],
)
async def test_a_polled_hook_is_asked_until_it_decides(
    caller: HookCaller, given: tuple[str, ...], result: HookResult, told: int, words: str
) -> None:
    async with receiving(answers(*given)) as receiver:
        outcome, explanations = await run(caller, order(receiver.url, polled=True))
    assert (outcome.result, len(explanations)) == (result, told)
    assert words in outcome.message


async def test_a_polled_hook_that_only_waits_is_given_up(caller: HookCaller) -> None:
    async with receiving(answers(WAIT)) as receiver:
        outcome, told = await run(caller, order(receiver.url, polled=True, give_up_after=1.5))
    assert outcome.result is HookResult.FAILED
    assert (outcome.message, outcome.link) == ("still waits after 1.5 s: soaking", "https://m.example.com/7")
    assert len(told) == len(receiver.got) >= 2


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("http://127.0.0.1:1/", {}, "127.0.0.1, in no network"),
        ("https://localhost/", {}, "in no network"),
        ("https://169.254.169.254/latest/meta-data", {}, "in no network"),
        ("https://[::1]/", {}, "in no network"),
        ("https://[::ffff:10.0.0.1]/", {}, "10.0.0.1, in no network"),
        ("https://[fd00::1]/", {}, "in no network"),
        ("https://224.0.0.1/", {}, "in no network"),
        ("http://127.0.0.1:1/", {"networks": ["10.0.0.0/8"]}, "in no network"),
        ("http://127.0.0.1:1/", {"networks": ["127.0.0.0/8"], "hosts": ["hooks.example.com"]}, "not among"),
        ("http://8.8.8.8/", {}, "only https"),
        ("https://[64:ff9b::a9fe:a9fe]/", {}, "169.254.169.254, in no network"),
        ("https://[2002:a9fe:a9fe::1]/", {}, "169.254.169.254, in no network"),
        ("https://168.63.129.16/", {}, "in no network"),
        ("http://169.254.169.254/", {"networks": ["0.0.0.0/0"]}, "in no network"),
        ("http://2852039166/", {"networks": ["0.0.0.0/0"]}, "169.254.169.254, in no network"),
    ],
)
@pytest.mark.finding("N17")
async def test_addresses_that_nobody_allowed_are_not_called(
    url: str, settings: dict[str, object], words: str
) -> None:
    async with HookCaller(HookSettings.model_validate(settings)) as strict:
        outcome, _ = await run(strict, order(call={"kind": "http", "url": url}))
    assert (outcome.result, outcome.attempts) == (HookResult.FAILED, 1)
    assert words in outcome.message


@pytest.mark.finding("N17")
async def test_a_call_goes_to_the_address_that_was_checked_whatever_the_name_says_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = iter(["127.0.0.1", "169.254.169.254"])
    ask = socket.getaddrinfo

    def rebinding(host: str, *more: object, **named: object) -> object:
        return ask(next(said) if host == "rebinds.test" else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    local = HookSettings.model_validate({**LOCAL, "networks": ["127.0.0.1/32"]})
    async with HookCaller(local) as caller, receiving(answers(200)) as receiver:
        url = receiver.url.replace("127.0.0.1", "rebinds.test")
        outcome, _ = await run(caller, order(url))
        assert outcome.result is HookResult.DONE
        again, _ = await run(caller, order(url))
    assert [got.headers["Host"] for got in receiver.got] == [url.removeprefix("http://")]
    assert "169.254.169.254, in no network" in again.message


async def test_an_unknown_key_is_refused_before_anything_is_sent() -> None:
    settings = HookSettings.model_validate({"networks": ["127.0.0.0/8"]})
    async with HookCaller(settings) as keyless, receiving(answers(200)) as receiver:
        outcome, _ = await run(keyless, order(receiver.url))
    assert (outcome.message, receiver.got) == ("secret 'ci' is not in the worker's settings", [])


def programs(**scripts: str) -> HookSettings:
    commands = {name: {"argv": [sys.executable, "-c", script]} for name, script in scripts.items()}
    return HookSettings.model_validate({"commands": commands})


async def test_a_program_gets_the_payload_on_its_input_and_no_argument_of_a_policy() -> None:
    judge = (
        "import json, os, sys; said = json.load(sys.stdin); "
        "ok = said['version'] == '2.0.0' and len(sys.argv) == 1 and 'SECRET' not in os.environ; "
        "print(json.dumps({'status': 'CONTINUE' if ok else 'ABORT'}))"
    )
    async with HookCaller(programs(judge=judge, no="raise SystemExit(3)")) as own:
        outcome, _ = await run(own, order(call={"kind": "command", "command": "judge"}, polled=True))
        assert outcome.result is HookResult.DONE
        outcome, _ = await run(own, order(call={"kind": "command", "command": "no"}, attempts=2))
        assert (outcome.message, outcome.attempts) == ("command 'no' ended with 3", 2)
        outcome, _ = await run(own, order(call={"kind": "command", "command": "drain"}))
        assert outcome.message == "command 'drain' is not in the worker's settings"


async def test_a_program_that_takes_too_long_is_ended_with_what_it_started() -> None:
    slow = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(77)', 'hook-child']); "
        "time.sleep(77)"
    )
    async with HookCaller(programs(slow=slow)) as own:
        call = {"kind": "command", "command": "slow"}
        outcome, _ = await run(own, order(call=call, timeout=1.5, attempts=1))
    assert (outcome.result, outcome.message) == (HookResult.FAILED, "no answer within 1.5 s")
    deadline = time.monotonic() + 10
    while left := [each for each in psutil.process_iter(["cmdline"]) if _ours(each)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _ours(process: psutil.Process) -> bool:
    return "hook-child" in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE


def test_keys_are_not_shown() -> None:
    assert KEY not in repr(HookSettings.model_validate(LOCAL))
