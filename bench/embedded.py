"""The embedded stack that a benchmark measures, and one lane of it with a release and an admin's session."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from bundles.archive import pack
from bundles.signature import sign

ROOT: Final = Path(__file__).parent.parent
RAW: Final = ROOT / "bench" / "raw"
NEW: Final = {"module": "bench", "version": "1.0.0", "environment": "production", "strategy": "direct"}


@contextmanager
def embedded(scratch: Path, *, nodes: int) -> Iterator[Path]:
    """The directory of a stack that runs until the block ends; it has so many nodes of its own."""
    hotswap, stack = str(Path(sys.executable).with_name("hotswap")), scratch / "stack"
    up = [hotswap, "up", "--detach", "--nodes", str(nodes), "--dir", str(stack)]
    subprocess.run(up, check=True, stdout=subprocess.DEVNULL, cwd=scratch)
    try:
        yield stack
    finally:
        subprocess.run([hotswap, "down", "--dir", str(stack)], check=True, cwd=scratch)


class Subject:
    """The API of a stack, asked by its admin."""

    def __init__(self, stack: Path, session: aiohttp.ClientSession) -> None:
        self._stack, self.session = stack, session
        self._about = json.loads((stack / "client.json").read_text())
        self.api = f"{self._about['url']}/api/v1"

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """The answer as JSON, which has to be a good one."""
        async with self.session.request(method, self.api + path, **arguments) as answer:
            assert answer.status < 300, (path, answer.status, await answer.text())
            return await answer.json()

    async def prepare(self, scratch: Path) -> str:
        """Signed in, a release pushed, a first deployment that waits at a gate; its id."""
        password = await asyncio.to_thread(Path(self._about["password_file"]).read_text)
        credentials = {"username": self._about["username"], "password": password.strip()}
        signed_in = await self.ask("POST", "/auth/token", json=credentials)
        self.session.headers["Authorization"] = f"Bearer {signed_in['access_token']}"
        source = scratch / "tree"
        source.mkdir()
        (source / "hotswap.toml").write_text('name = "bench"\nversion = "1.0.0"\nkind = "files"\n')
        bundle = scratch / "bundle.tar.gz"
        pack(source, bundle)
        signing = self._stack / "signing"
        signature = sign(bundle, (signing / "signer.pem").read_bytes(), (signing / "signer.key").read_bytes())
        form = aiohttp.FormData()
        form.add_field("bundle", bundle.read_bytes(), filename="bundle")
        form.add_field("signature", signature, filename="signature")
        await self.ask("POST", "/modules", data=form)
        shown = await self.ask("GET", "/clusters/production")
        policy = {
            **shown["policy"],
            "strategy": {"kind": "direct"},
            "gates": [{"name": "hold", "before_wave": 1, "exclude_requester": False}],
        }
        await self.ask("PUT", "/clusters/production/policy", json=policy)
        return str((await self.ask("POST", "/deployments", json=NEW))["id"])
