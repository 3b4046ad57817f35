"""How much waits at an exchange, for how long, and how fast it is worked off. What is read is one pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from orderlane.keys import Keys
from orderlane.scripts import script

FRESH_MS: Final = 2_000
"""A rate over less time than this says little: then the sample before is taken."""
STALE_MS: Final = 60_000
"""A sample older than this is none: no scheduler has taken one lately."""


class Backlog(Struct, frozen=True, kw_only=True):
    """What an exchange has left to do at `now_ms` (the clock of its Redis).

    `depth` counts its unfinished intents, of which `unread` are in no lane yet; `oldest_ms` is the age of the oldest.
    `drained_per_second` is how many ended, by whatever end, over the last 2 to 20 s; None where no scheduler has taken
    a sample in the last minute. `accounts` has the depth of each account that has any, the deepest first; intents that
    are unread and were not added by a client are counted in none.
    """

    now_ms: int
    depth: int
    unread: int
    oldest_ms: int | None
    drained_per_second: float | None
    accounts: dict[str, int]


def ask_backlog(pipeline: Any, keys: Keys, accounts: Sequence[str]) -> None:
    """Put the questions into a pipeline, six and one for each account; `read_backlog` reads their answers."""
    pipeline.eval(script("server_time").source, 1, keys.intents)
    pipeline.xlen(keys.intents)
    pipeline.zcard(keys.waiting)
    pipeline.xrange(keys.intents, count=1)
    pipeline.hgetall(keys.drained)
    pipeline.hgetall(keys.unread)
    for account in accounts:
        # Members begin `account|`, and `}` follows `|`.
        pipeline.zlexcount(keys.waiting, f"[{account}|", f"({account}}}")


def questions(accounts: Sequence[str]) -> int:
    """How many answers `read_backlog` needs."""
    return 6 + len(accounts)


def read_backlog(replies: Sequence[Any], accounts: Sequence[str]) -> Backlog:
    """What the answers say."""
    time, depth, sorted_in, first, drained, unread = replies[:6]
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    waiting = dict(zip(accounts, map(int, replies[6:]), strict=True))
    for name, count in unread.items():
        account = name.decode()
        waiting[account] = waiting.get(account, 0) + int(count)
    deepest = sorted(((count, name) for name, count in waiting.items() if count > 0), reverse=True)
    return Backlog(
        now_ms=now_ms,
        depth=int(depth),
        unread=max(int(depth) - int(sorted_in), 0),
        oldest_ms=max(now_ms - int(first[0][0].partition(b"-")[0]), 0) if first else None,
        drained_per_second=drained_per_second(drained, now_ms),
        accounts={name: count for count, name in deepest},
    )


def drained_per_second(drained: Mapping[bytes, bytes], now_ms: int) -> float | None:
    """The rate since the last sample that is old enough to say something; None where there is none.

    A count that went back (Redis came up again without its last writes) is no rate either.
    """
    total = int(drained.get(b"total", 0))
    for sample in ("sampled", "before"):
        at, then = (int(drained.get(f"{sample}_{name}".encode(), -1)) for name in ("at", "total"))
        if at >= 0 and FRESH_MS <= now_ms - at <= STALE_MS:
            return round((total - then) * 1000 / (now_ms - at), 1) if total >= then else None
    return None


def sampled(drained: Mapping[bytes, bytes], now_ms: int) -> dict[str, int]:
    """What to write beside the counter to sample it now: the sample before stays for who asks right after."""
    fields = {"sampled_at": now_ms, "sampled_total": int(drained.get(b"total", 0))}
    if b"sampled_at" in drained:
        fields |= {
            "before_at": int(drained[b"sampled_at"]),
            "before_total": int(drained.get(b"sampled_total", 0)),
        }
    return fields
