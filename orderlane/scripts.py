"""The Lua scripts of this package: read once, named by their SHA-1, run by EVALSHA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

Argument = str | bytes | int


@dataclass(frozen=True)
class Script:
    """One Lua script; its header says what KEYS and ARGV mean, what it returns, and why it may run twice."""

    name: str
    source: str
    sha1: str

    def run(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run the script, loading it where the server does not know it (then it did not run)."""
        try:
            return client.evalsha(self.sha1, len(keys), *keys, *arguments)
        except NoScriptError:
            client.script_load(self.source)
            return client.evalsha(self.sha1, len(keys), *keys, *arguments)

    async def run_async(
        self, client: redis.asyncio.Redis, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """The asyncio counterpart of `run`."""
        try:
            return await client.evalsha(self.sha1, len(keys), *keys, *arguments)
        except NoScriptError:
            await client.script_load(self.source)
            return await client.evalsha(self.sha1, len(keys), *keys, *arguments)


@cache
def script(name: str) -> Script:
    """The script `orderlane/lua/<name>.lua`."""
    source = files("orderlane").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())
