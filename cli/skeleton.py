"""What `hotswap module init` writes: a module that runs, with a manifest that explains itself."""

from domain.release import Kind

PROCESS_MANIFEST = """\
# What Hotswap needs to know of this module. Unknown fields are errors.
name = "{name}"
version = "0.1.0"                  # semantic version (semver.org); a version is never reused
kind = "process"
description = ""

[process]
command = ["python3", "main.py"]   # run inside the unpacked release; no shell
swap = "handover"                  # the agent owns the sockets; "restart": the program binds its own ports
ready = "notify"                   # READY=1 on NOTIFY_SOCKET; "probe": the health probe answers
start_timeout = 10                 # seconds until ready, else the old release keeps running
drain_timeout = 10                 # seconds between SIGTERM and SIGKILL
sockets = [{{ name = "http" }}]      # file descriptor 3, and so on; add port = 8080 to fix one

[process.environment]
GREETING = "Hello"

[probe]                            # 2xx is healthy
socket = "http"
path = "/healthz"
interval = 1
timeout = 2

# [metrics]                        # a Prometheus endpoint that the canary analysis reads
# socket = "http"
# path = "/metrics"
# requests = "requests_total"                  # counter
# errors = "request_errors_total"              # counter
# latency = "request_duration_seconds"         # histogram, in seconds

# [smoke]                          # what a blue-green rollout checks before anybody is let in
# http = [{{ socket = "http", path = "/", contains = "Hello" }}]
# command = ["python3", "check.py", "http://{{address}}:{{port:http}}"]

[resources]                        # what a node must have left
memory_mb = 64
cpu_cores = 0.1
disk_mb = 10
"""

PROCESS_PROGRAM = '''\
"""A module that answers HTTP and can be swapped without losing a request."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST_LISTENING_DESCRIPTOR = 3  # sd_listen_fds(3)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"ok" if self.path == "/healthz" else os.environ.get("GREETING", "Hello").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the requests in flight

    def __init__(self, listening):
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening


def notify_ready():
    path = os.environ.get("NOTIFY_SOCKET")  # sd_notify(3)
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\\0" + path[1:] if path.startswith("@") else path)
            out.send(b"READY=1")


def main():
    listening = socket.socket(fileno=FIRST_LISTENING_DESCRIPTOR)
    listening.setblocking(False)  # the successor accepts from the same socket and may be faster
    server = Server(listening)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    notify_ready()
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
'''

FILES_MANIFEST = """\
# What Hotswap needs to know of this module. Unknown fields are errors.
name = "{name}"
version = "0.1.0"                  # semantic version (semver.org); a version is never reused
kind = "files"                     # this tree appears behind one pointer, all at once
description = ""

# [files]
# reload = ["systemctl", "reload", "nginx"]    # runs after each switch, inside the release; no shell
# reload_timeout = 10                          # seconds

[resources]                        # what a node must have left
disk_mb = 10
"""


def skeleton(name: str, kind: Kind) -> dict[str, str]:
    """The files of a new module: path → text."""
    if kind is Kind.PROCESS:
        return {"hotswap.toml": PROCESS_MANIFEST.format(name=name), "main.py": PROCESS_PROGRAM}
    return {"hotswap.toml": FILES_MANIFEST.format(name=name)}
