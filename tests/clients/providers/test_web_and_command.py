"""Web, command and plug-in providers, each the real thing: a server, programs, an installed package."""

import asyncio
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import psutil
import pytest

from clients.providers.command import run_command
from clients.providers.http import ProviderHttp
from clients.providers.plugins import ask_plugin
from clients.providers.web import ask_web
from domain.errors import ProviderDown, ProviderRefused
from domain.provider_settings import AllowedAddress, AllowedCommand, ProviderSettings
from domain.providers import Circumstances, PluginProvider, WebProvider
from tests.conftest import free_port
from tests.http_server import Quiet, serving

AROUND = Circumstances(
    module="greeter", version="2.0.0", environment="qa", deployment="d-1", canary=("web-1",)
)
SECRET = {"Authorization": "Bearer of-the-worker"}


class Handler(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 200
        if self.path.startswith("/status/"):
            status = int(self.path.rsplit("/", 1)[1])
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", 0))
        body: object = {
            "data": {"ok": True, "rates": [{"v": 1}, {"v": 2}]},
            "authorization": headers.get("authorization"),
            "sent": self.rfile.read(length).decode(),
        }
        text = b"no json" if self.path == "/text" else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - the server looks for this name


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Handler) as served:
        yield served


@pytest.fixture
async def http(address):
    allowed = (
        AllowedAddress(address=address, headers=SECRET),
        AllowedAddress(address="http://127.0.0.1:1/below"),
    )
    async with ProviderHttp(ProviderSettings(addresses=allowed)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.data.ok", True),
        ("$.data.rates[1].v", 2),
        ("$.data.rates[*].v", [1, 2]),
        ("$.authorization", SECRET["Authorization"]),
    ],
)
async def test_what_a_path_finds(address, http, path, expected):
    assert await ask_web(http, WebProvider(url=f"{address}/stats", json_path=path)) == expected


async def test_a_body_goes_along(address, http):
    provider = WebProvider(url=f"{address}/x", method="POST", json_body={"q": 1}, json_path="$.sent")
    assert json.loads(await ask_web(http, provider)) == {"q": 1}


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_an_answer_that_says_later_is_an_outage(address, http, status):
    with pytest.raises(ProviderDown, match=str(status)):
        await ask_web(http, WebProvider(url=f"{address}/status/{status}"))


@pytest.mark.parametrize(
    ("path", "json_path", "reason"),
    [
        ("/status/404", None, "404"),
        ("/status/302", None, "302"),
        ("/text", None, "no JSON"),
        ("/stats", "$.nothing", "nothing at"),
        ("/a/../b", None, "a path upwards"),
        ("/a/%2e%2E/b", None, "a path upwards"),
        ("/a/..%2fb", None, "a path upwards"),
        ("/a\\..\\b", None, "a path upwards"),
    ],
)
async def test_any_other_answer_is_refused(address, http, path, json_path, reason):
    with pytest.raises(ProviderRefused, match=reason):
        await ask_web(http, WebProvider(url=f"{address}{path}", json_path=json_path))


@pytest.mark.finding("N17")
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://127.0.0.1:1/belowed",
        "http://127.0.0.2/below",
        "http://127.0.0.1:1/below@127.0.0.2/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_an_address_that_is_not_allowed_is_not_asked(http, url):
    with pytest.raises(ProviderRefused, match="under no address"):
        await ask_web(http, WebProvider(url=url))


async def test_nobody_there_is_an_outage():
    url = f"http://127.0.0.1:{free_port()}"
    async with ProviderHttp(ProviderSettings(addresses=(AllowedAddress(address=url),))) as http:
        with pytest.raises(ProviderDown):
            await ask_web(http, WebProvider(url=url))


def python(code: str) -> AllowedCommand:
    return AllowedCommand(argv=(sys.executable, "-c", code), environment={"EXTRA": "1"})


async def test_a_command_answers_with_exit_code_and_output():
    code = "import os, json, sys; print(json.dumps(sorted(os.environ))); sys.exit(3)"
    found = await run_command(python(code), AROUND.values(), timeout=10)
    assert found["exit"] == 3
    assert "HOTSWAP_VERSION" in found["output"]


async def test_a_command_sees_no_variable_of_ours(monkeypatch):
    monkeypatch.setenv("HOTSWAP_DATABASE_URL", "secret")
    found = await run_command(python("import os; print(sorted(os.environ))"), {}, timeout=10)
    assert "HOTSWAP_DATABASE_URL" not in found["output"]
    assert "EXTRA" in found["output"]


async def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    mark = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, time; "
        "child = subprocess.Popen(['sleep', '60']); "
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid)); "
        "time.sleep(60)"
    )
    with pytest.raises(ProviderRefused, match="took longer"):
        await run_command(python(code), {}, timeout=2)
    child = int(mark.read_text())
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"the command's child {child} still runs")


async def test_a_command_that_is_not_there():
    with pytest.raises(ProviderRefused, match="No such file"):
        await run_command(AllowedCommand(argv=("/no/such/program",)), {}, timeout=1)
    with pytest.raises(ProviderRefused, match="not in the worker's settings"):
        ProviderSettings().command("smoke")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with an entry point, as an installer would lay it."""
    (tmp_path / "weather_provider.py").write_text(
        "from domain.errors import ProviderDown\n"
        "async def measure(config, circumstances):\n"
        "    if config.get('down'): raise ProviderDown('no weather')\n"
        "    if config.get('bug'): raise KeyError('x')\n"
        "    return {'module': circumstances.module, 'sun': config['sun']}\n"
    )
    info = tmp_path / "weather-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hotswap.providers]\nweather = weather_provider:measure\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return ProviderSettings(plugins=("weather", "missing"))


async def test_a_plugin_measures(plugin):
    found = await ask_plugin(plugin, PluginProvider(name="weather", config={"sun": 1}), AROUND)
    assert found == {"module": "greeter", "sun": 1}


@pytest.mark.parametrize(
    ("provider", "kind", "reason"),
    [
        (PluginProvider(name="weather", config={"down": True}), ProviderDown, "no weather"),
        (PluginProvider(name="weather", config={"bug": True}), ProviderRefused, "KeyError"),
        (PluginProvider(name="missing"), ProviderRefused, "no installed package"),
        (PluginProvider(name="other"), ProviderRefused, "not in the worker's settings"),
    ],
)
async def test_a_plugin_that_does_not(plugin, provider, kind, reason):
    with pytest.raises(kind, match=reason):
        await ask_plugin(plugin, provider, AROUND)
