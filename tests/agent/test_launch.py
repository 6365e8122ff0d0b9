"""How a module's program is started: descriptors, environment, placeholders, and the gate."""

import os
import socket
import sys
from pathlib import Path

import pytest

from agent import procfs
from agent.drivers.launch import Launch, Place, environment, spawn
from agent.notify import NotifySocket
from agent.sockets import bind, port_of
from domain.errors import BundleInvalid, SocketUnavailable
from domain.manifest import Manifest, Process
from domain.release import Kind
from tests.agent.nodes import until

SHOW = """
import os, socket
opened = [fd for fd in range(300) if os.path.exists(f"/proc/self/fd/{fd}")]
ports = [socket.socket(fileno=fd).getsockname()[1] for fd in (3, 4, 5)]
print(os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"])
print(*ports)
print(opened)
print(os.getcwd(), os.getsid(0) == os.getpid())
"""


def place(**ports: int) -> Place:
    return Place(node="node-1", address="10.0.0.1", release=Path("/slots/x"), data=Path("/data"), ports=ports)


def launch(tmp_path: Path, command: tuple[str, ...], sockets: dict[str, int] | None = None) -> Launch:
    return Launch(
        command=command,
        environment={"PATH": os.environ["PATH"]},
        directory=tmp_path,
        log=tmp_path / "log",
        sockets=sockets or {},
    )


async def test_sockets_come_in_order_and_nothing_else_is_inherited(tmp_path: Path) -> None:
    bound = {name: bind(name, "127.0.0.1", 0) for name in ("zeta", "alpha", "mid")}
    try:
        pid, gate = spawn(
            launch(
                tmp_path, (sys.executable, "-c", SHOW), {name: each.fileno() for name, each in bound.items()}
            )
        )
        os.write(gate, b"\n")
        os.close(gate)
        assert os.waitpid(pid, 0)[1] == 0, (tmp_path / "log").read_text()
        named, ports, opened, where = (tmp_path / "log").read_text().splitlines()
        assert named == "True 3 zeta:alpha:mid"
        assert [int(port) for port in ports.split()] == [port_of(each) for each in bound.values()]
        assert opened == "[0, 1, 2, 3, 4, 5]"
        assert where == f"{tmp_path} True"
    finally:
        for each in bound.values():
            each.close()


def test_nothing_runs_when_the_gate_closes_unopened(tmp_path: Path) -> None:
    pid, gate = spawn(launch(tmp_path, ("touch", "it-ran")))
    assert procfs.stat(pid).session == pid
    os.close(gate)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert not (tmp_path / "it-ran").exists()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    pid, gate = spawn(launch(tmp_path, ("./no-such-program",)))
    os.write(gate, b"\n")
    os.close(gate)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert "cannot run ./no-such-program: No such file" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{port:http}", "80"),
        ("{address}:{port:admin}", "10.0.0.1:81"),
        ("--dir={data} {release}/x", "--dir=/data /slots/x/x"),
        ('{"json": {"port": 1}}', '{"json": {"port": 1}}'),
        ("{unknown} {}", "{unknown} {}"),
    ],
)
def test_placeholders(text: str, filled: str) -> None:
    assert place(http=80, admin=81).fill(text) == filled


def test_a_port_of_an_undeclared_socket_is_an_error() -> None:
    with pytest.raises(BundleInvalid, match="port:nope"):
        place(http=80).fill("{port:nope}")


def test_a_module_cannot_pretend_to_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    process = Process(command=("x",), environment={"HOTSWAP_NODE": "other", "WHERE": "{data}"})
    manifest = Manifest(name="echo", version="1.0.0", kind=Kind.PROCESS, process=process)
    variables = environment(manifest, place())
    assert variables["HOTSWAP_NODE"] == "node-1"
    assert variables["WHERE"] == "/data"
    assert "SECRET_OF_THE_AGENT" not in variables


def test_a_taken_port_is_an_error_that_names_it() -> None:
    with bind("http", "127.0.0.1", 0) as taken:
        port = port_of(taken)
        with pytest.raises(SocketUnavailable, match=f"socket http cannot listen on 127.0.0.1:{port}"):
            bind("http", "127.0.0.1", port)


async def test_readiness_by_datagram() -> None:
    notify = NotifySocket()
    try:
        address = notify.address.replace("@", "\0", 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(address)
            sender.send(b"STATUS=NOT_READY=1")
            # sd_notify_barrier(3): the receiver closes the descriptor that comes along.
            reader, writer = os.pipe()
            socket.send_fds(sender, [b"BARRIER=1"], [writer])
            os.close(writer)
            os.set_blocking(reader, False)
            await until(lambda: at_end(reader))
            os.close(reader)
            waiting = notify.ready()
            sender.send(b"STATUS=x\nREADY=1\n")
            await waiting
    finally:
        notify.close()


def at_end(reader: int) -> bool:
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False
