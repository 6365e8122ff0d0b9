"""A program that misbehaves on some nodes: `main.py BEHAVIOUR:NODE,NODE PORT`; on all of them without nodes.

serve; crash: ends at the start; die: ends for good a moment after it was ready; tamper: changes its own
release tree; sick: fails its health probe after a moment; slow: takes a while to get ready. The rest is left
to program.py, which takes the same arguments.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

behaviour, _, nodes = sys.argv[1].partition(":")
here = not nodes or os.environ["HOTSWAP_NODE"] in nodes.split(",")
data, version = Path(os.environ["HOTSWAP_DATA"]), os.environ["HOTSWAP_VERSION"]
died = data / f"died-{version}"


def later(script: str) -> None:
    subprocess.Popen(["sh", "-c", f"sleep 1; {script}"])


if here and (behaviour == "crash" or died.exists()):
    sys.exit(f"{version} cannot run here")
if here and behaviour == "die":
    later(f"touch {died}; kill -9 {os.getpid()}")
if here and behaviour == "tamper":
    (Path(os.environ["HOTSWAP_RELEASE"]) / "left-behind").touch()
if here and behaviour == "sick":
    later(f"touch {data}/sick-{version}")
if here and behaviour == "slow":
    time.sleep(2)
os.execv(sys.executable, [sys.executable, "program.py", "serve", sys.argv[2]])
