"""`hotswap module` without a control plane: init, pack, sign, verify, and what they say when they refuse."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bundles.archive import unpack
from cli.module import module_app
from domain.errors import BundleInvalid, HotswapError, InvalidInput
from tests.bundles.pki import Identity, identity

PATIENCE = 20.0


@pytest.fixture
def signer(tmp_path: Path) -> Identity:
    root = identity("root", authority=True)
    made = identity("release team", root)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "signer.pem").write_bytes(made.pem)
    (tmp_path / "signer.key").write_bytes(made.key_pem)
    return made


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(module_app, arguments)


def refusal(*arguments: str) -> HotswapError:
    """What `cli.main` turns into one line and exit code 1."""
    error = run(*arguments).exception
    assert isinstance(error, HotswapError)
    return error


def output(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_from_nothing_to_a_verified_bundle(tmp_path: Path, signer: Identity) -> None:
    assert run("init", "hello").exit_code == 0
    packed = output("pack", "hello")
    assert (packed["bundle"], packed["module"], packed["version"]) == ("hello-0.1.0.tar.gz", "hello", "0.1.0")
    signed = run("sign", packed["bundle"], "--certificate", "signer.pem", "--key", "signer.key")
    assert signed.exit_code == 0, signed.output
    verified = output("verify", packed["bundle"], "--trust", "root.pem")
    assert verified["ok"]
    assert (verified["digest"], verified["tree"]) == (packed["digest"], packed["tree"])
    assert verified["signer"]["subject"] == "CN=release team"
    assert "hello@0.1.0" in run("verify", packed["bundle"], "--trust", "root.pem").stdout


def test_a_tampered_bundle_is_refused_with_a_reason(tmp_path: Path, signer: Identity) -> None:
    run("init", "hello", "--kind", "files")
    run("pack", "hello", "-o", "b.tar.gz")
    run("sign", "b.tar.gz", "--certificate", "signer.pem", "--key", "signer.key")
    (tmp_path / "hello" / "more").touch()
    run("pack", "hello", "-o", "b.tar.gz")
    result = run("verify", "b.tar.gz", "--trust", "root.pem", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["ok"], answer["code"], answer["reason"]) == (False, "signature-refused", "digest-mismatch")
    assert refusal("verify", "b.tar.gz", "--trust", "root.pem").code == "signature-refused"


def test_an_unsigned_bundle_is_refused(tmp_path: Path, signer: Identity) -> None:
    run("init", "hello")
    run("pack", "hello")
    assert refusal("verify", "hello-0.1.0.tar.gz", "--trust", "root.pem").field == "signature"


def test_a_wrong_manifest_is_named_by_its_field(tmp_path: Path) -> None:
    run("init", "hello")
    manifest = tmp_path / "hello" / "hotswap.toml"
    manifest.write_text(manifest.read_text().replace("start_timeout = 10", "start_timeout = -1"))
    error = refusal("pack", "hello")
    assert isinstance(error, BundleInvalid)
    assert error.field == "process.start_timeout"
    assert list(tmp_path.glob("*.tar.gz")) == []


def test_what_is_no_bundle_is_not_signed(tmp_path: Path, signer: Identity) -> None:
    (tmp_path / "b.tar.gz").write_bytes(b"not a bundle")
    assert refusal("sign", "b.tar.gz", "--certificate", "signer.pem", "--key", "signer.key").field == "bundle"
    assert not (tmp_path / "b.tar.gz.p7s").exists()


def test_init_overwrites_nothing_and_wants_a_name(tmp_path: Path) -> None:
    run("init", "hello")
    assert "exists" in refusal("init", "hello").message
    error = refusal("init", "Not_A_Name")
    assert isinstance(error, InvalidInput)
    assert error.field == "name"
    assert not (tmp_path / "Not_A_Name").exists()
    assert run("init", "Not_A_Name", "--name", "a-name").exit_code == 0


def test_the_program_that_init_writes_runs_and_ends(tmp_path: Path) -> None:
    run("init", "hello")
    run("pack", "hello")
    unpack(tmp_path / "hello-0.1.0.tar.gz", tmp_path / "release")
    move = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.executable, [sys.executable, 'main.py'])"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
    ):
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(PATIENCE)
        number = listening.fileno()
        program = subprocess.Popen(
            [sys.executable, "-c", move, str(number)],
            cwd=tmp_path / "release",
            pass_fds=(number,),
            env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "GREETING": "Good day", "LISTEN_FDS": "1"},
        )
        try:
            assert notified.recv(64) == b"READY=1"
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            for path, body in (("/", b"Good day"), ("/healthz", b"ok")):
                with urllib.request.urlopen(base + path, timeout=PATIENCE) as answer:
                    assert answer.read() == body
            program.send_signal(signal.SIGTERM)
            assert program.wait(PATIENCE) == 0
        finally:
            program.kill()
            program.wait()
    assert not (tmp_path / "release" / "__pycache__").exists()
