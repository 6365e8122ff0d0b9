"""The module that tests deploy: an HTTP server on the socket that it is given, or on a port of its own.

Arguments: how to behave (serve, with-child, crash, hang, die-soon, once), and a port to bind when no
socket is handed over.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

VERSION = os.environ["HOTSWAP_VERSION"]
BEHAVIOUR = sys.argv[1]
EXPOSITION = """# TYPE requests_total counter
requests_total{{path="/"}} {served}
requests_total{{path="/other"}} 2
# TYPE request_errors_total counter
# TYPE request_duration_seconds histogram
request_duration_seconds_bucket{{le="0.1"}} {served}
request_duration_seconds_bucket{{le="+Inf"}} {served}
request_duration_seconds_sum 0.5
request_duration_seconds_count {served}
"""

served = 0
active = 0


def listening_socket() -> socket.socket:
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        assert os.environ["LISTEN_FDS"] == "1"
        return socket.socket(fileno=3)
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", int(sys.argv[2])))
    bound.listen(1024)
    return bound


def notify(message: bytes) -> None:
    if "NOTIFY_SOCKET" in os.environ:
        # The agent may be gone by now; sd_notify(3) recommends to ignore failures.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
            sender.send(message)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    global served, active
    active += 1
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        data = Path(os.environ["HOTSWAP_DATA"])
        healthy = not ((data / "sick").exists() or (data / f"sick-{VERSION}").exists())
        text = f"{VERSION} {os.getpid()}"
        if path == "/metrics":
            text = EXPOSITION.format(served=served)
        elif path != "/healthz":
            served += 1
        status = "200 OK" if healthy or path != "/healthz" else "503 Sick"
        body = text.encode()
        writer.write(
            b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (status.encode(), len(body), body)
        )
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        active -= 1


async def main() -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    listener = listening_socket()
    server = await asyncio.start_server(answer, sock=listener)
    loop.add_signal_handler(signal.SIGUSR1, server.close)
    notify(b"STATUS=serving\nREADY=1")
    if BEHAVIOUR == "die-soon":
        await asyncio.sleep(0.05)
        sys.exit(7)
    await stopping.wait()
    # Server.close() drops connections that were accepted in the same turn of the loop (its _attach asserts):
    # so stop accepting first, let those become active, and close then.
    loop.remove_reader(listener)
    for _ in range(50):
        await asyncio.sleep(0.001)
    server.close()
    while active:
        await asyncio.sleep(0.01)


if BEHAVIOUR == "with-child":
    subprocess.Popen(["sleep", "1000"])
if BEHAVIOUR == "once":
    try:
        (Path(os.environ["HOTSWAP_DATA"]) / "started").touch(exist_ok=False)
    except FileExistsError:
        sys.exit("this release starts only once")
if BEHAVIOUR == "crash":
    sys.exit("this release cannot start")
if BEHAVIOUR == "hang":
    print("this release never gets ready", flush=True)
    signal.pause()
asyncio.run(main())
