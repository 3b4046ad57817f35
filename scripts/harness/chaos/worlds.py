"""Worlds a worker may wake up in: the one outside its process, changed where no proxy can reach.

Each takes effect inside a worker that the nursery has just forked, before any of its own code runs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import certifi
import uvloop


def enter(world: str) -> None:
    """Enter `NAME` or `NAME=ARGUMENT`.

    Raises:
        ValueError: there is no such world.
    """
    for one in world.split(";"):
        name, _, argument = one.partition("=")
        if name not in WORLDS:
            raise ValueError(f"no world is named {name!r}; there are: {', '.join(WORLDS)}")
        WORLDS[name](argument)


def clock_off(seconds: str) -> None:
    """The machine's wall clock is wrong by so many seconds."""
    off_seconds = float(seconds)
    off_ns = int(off_seconds * 1e9)
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + off_seconds
    time.time_ns = lambda: true_time_ns() + off_ns


def resolver_gone(flag: str) -> None:
    """No name is resolved while the file `flag` exists, and no answer is kept. Each refusal adds a byte to
    `refusals(flag)`."""
    from common.exchange import http_pool

    http_pool.DNS_CACHE_SECONDS = 0  # type: ignore[misc]
    gone = Path(flag)
    # uvloop asks the system's resolver itself, past Python's `socket`.
    resolve: Callable[..., Any] = uvloop.Loop.getaddrinfo

    def refuse(host: Any) -> None:
        if gone.exists() and str(host) == "localhost":
            with refusals(gone).open("ab") as file:
                file.write(b"x")
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def getaddrinfo(loop: uvloop.Loop, host: Any, *rest: Any, **options: Any) -> Any:
        refuse(host)
        return await resolve(loop, host, *rest, **options)

    uvloop.Loop.getaddrinfo = getaddrinfo  # type: ignore[assignment, method-assign]


def refusals(flag: Path) -> Path:
    """The file as long as how often no name was resolved."""
    return flag.with_name(f"{flag.name}.refused")


def trust(bundle: str) -> None:
    """The machine trusts the certificate authorities of this file alone."""
    certifi.where = lambda: bundle


WORLDS: Final[dict[str, Callable[[str], None]]] = {
    "clock_off": clock_off,
    "resolver_gone": resolver_gone,
    "trust": trust,
}
