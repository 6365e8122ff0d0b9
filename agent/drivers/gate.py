"""The first code of every module process: waits until the agent has recorded its pid, then runs the module.

Called as `python -I -S gate.py GATE_FD DIRECTORY COMMAND…`. If the agent dies before it wrote down who this
is, the read below ends empty and the program never starts: no process runs that the agent does not know.
LISTEN_PID has to be the pid of the program itself (sd_listen_fds(3)), which nobody knows before it starts.

Imports nothing of Hotswap, so that it starts in a few milliseconds.
"""

import os
import sys


def main() -> None:
    """Wait, enter the release directory, become the program."""
    gate, directory, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if os.read(gate, 1) != b"\n":
        sys.exit("the agent ended before it could record this process")
    os.closerange(gate, os.sysconf("SC_OPEN_MAX"))  # the gate, and whatever the agent itself was started with
    if "LISTEN_FDS" in os.environ:
        os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        os.chdir(directory)
        os.execvp(command[0], command)  # noqa: S606 - starting the module's program is the point
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
