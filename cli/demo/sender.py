"""The traffic as a process of its own: started, stopped, read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cli.demo.tally import Tally
from cli.errors import CommandFailed

RATE = 480.0  # requests per second to all nodes together: two cores carry it beside the rest of the stack
PATIENCE = 15.0  # seconds until every node has answered, and for the last answers at the end


class Sender:
    """Running traffic and what it has seen so far."""

    def __init__(self, output: Path, process: subprocess.Popen[bytes]) -> None:
        self._output = output
        self._process = process

    def tally(self) -> Tally:
        """Everything counted up to now.

        Raises:
            CommandFailed: the traffic has ended by itself.
        """
        if self._process.poll() is not None:
            raise CommandFailed(
                f"the traffic ended with exit code {self._process.returncode}: see {self._output}"
            )
        return Tally.read(self._output)

    def wait_for(self, nodes: int) -> None:
        """Return when that many nodes have answered.

        Raises:
            CommandFailed: not within PATIENCE.
        """
        for attempt in Retrying(
            stop=stop_after_delay(PATIENCE),
            wait=wait_fixed(0.1),
            retry=retry_if_exception_type(_Silent),
            reraise=True,
        ):
            with attempt:
                answering = self.tally().answering
                if len(answering) < nodes:
                    raise _Silent(
                        f"only {', '.join(answering) or 'no node'} of {nodes} nodes answers the traffic"
                    )


class _Silent(CommandFailed):
    """Some node has not answered yet."""


@contextmanager
def traffic(endpoints: Mapping[str, str], folder: Path) -> Iterator[Sender]:
    """Traffic to all endpoints (node → URL) for as long as the context is open."""
    output = folder / f"traffic-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    reading, writing = os.pipe()
    with output.open("w") as sink, (folder / "traffic.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.demo.traffic", str(RATE)],
            stdin=reading,
            stdout=sink,
            stderr=log,
            start_new_session=True,
        )
    os.close(reading)
    try:
        os.write(writing, json.dumps(dict(endpoints)).encode() + b"\n")
        yield Sender(output, process)
    finally:
        os.close(writing)  # the traffic ends with its input, and so also when this process dies
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
