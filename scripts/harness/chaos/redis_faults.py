"""Redis killed, stalled, full, forgetful, unreachable by password, or holding something foreign under our keys."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import redis

from common.failpoints import POINTS, Arm
from common.redis_cluster_server import EmbeddedCluster
from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from orderlane.keys import Keys
from scripts.harness.chaos.judging import EXCHANGES, POOL, Fault
from scripts.harness.chaos.proxy import CALM, Mood
from scripts.harness.chaos.stage import Stage
from scripts.harness.evidence import read_journal, stream
from scripts.harness.material import Appended

KILLS: Final = 3
STALL_SECONDS: Final = 20.0
LOST_BYTES: Final = (5_000, 250_000)
"""How many of the append-only file's last bytes are gone: up to what this load writes in a second."""
OOM_SECONDS: Final = 4.0
FLUSHES: Final = 6
WRONG_PASSWORD_SECONDS: Final = 3.0
BAD_DOOR: Final = Mood(drop_reply=0.1, cut_reply=0.05, cut_request=0.05, delay_ms=5)
BAD_LINK: Final = Mood(drop_reply=0.01, cut_reply=0.01, cut_request=0.01, swallow_reply=0.003, delay_ms=5)


def command(client: redis.Redis, *words: str) -> None:
    """Send a command that redis-py has no typed method for."""
    send: Any = client.execute_command
    send(*words)


def play_kill(stage: Stage) -> None:
    """SIGKILL Redis and start it again on its append-only file, several times under load; SIGKILL of workers while they
    ask for what it may have forgotten."""
    kill_who_asks(stage)
    stage.open_house()
    stage.submitter.begin(stage.plan())
    for number in range(KILLS):
        stage.after((number + 1) / (KILLS + 1))
        stage.fault("SIGKILL of Redis")
        stage.pool.redis.kill()
        time.sleep(stage.random.uniform(0.1, 1.5))
        stage.pool.redis.restart()
    stage.drain()
    tell_who_died_asking(stage)


def play_tail_lost(stage: Stage) -> None:
    """SIGKILL Redis, cut the end off its append-only file, start it again; the producer repeats what is gone, and
    workers get SIGKILL while they ask for it."""
    kill_who_asks(stage)
    stage.open_house()
    stage.submitter.begin(stage.plan())
    stage.after(0.6)
    stage.fault("SIGKILL of Redis")
    stage.pool.redis.kill()
    lost_bytes = stage.random.randint(*LOST_BYTES)
    time.sleep(0.3)  # what was answered is on the producer's list by then
    file = append_only_file(stage.pool.redis.data_dir)
    size = file.stat().st_size
    os.truncate(file, max(0, size - lost_bytes))
    stage.fault(f"the last {lost_bytes} of {size} bytes of the append-only file are gone")
    resend_what_is_gone(stage, "were gone with the tail")
    tell_who_died_asking(stage)


def kill_who_asks(stage: Stage) -> None:
    """Arm the points of asking for what Redis may have forgotten: whoever comes to one first dies there."""
    stage.arms += [
        Arm(point=name, action="kill", token=name)
        for name, point in POINTS.items()
        if "forgotten" in point.drives
    ]


def tell_who_died_asking(stage: Stage) -> None:
    """Write these deaths down."""
    struck = stage.tokens_struck().values()
    stage.faults += [Fault(one.at_ms, f"SIGKILL of {one.pid} at {one.point}") for one in struck]
    stage.notes.append(f"SIGKILL of workers at {', '.join(one.point for one in struck) or 'no point'}")


def resend_what_is_gone(stage: Stage, how: str) -> None:
    """Start the killed Redis again on its file; the producer repeats what it had been answered and the file lacks."""
    before = list(stage.submitter.appended)
    survived = _survivors(stage, before)
    gone = [one for one in before if (one.exchange, one.entry) not in survived]
    stage.pool.redis.restart()
    again = stage.resend(gone)
    stage.drain()
    stage.notes.append(
        f"{len(gone)} of {len(before)} entries that had been answered {how}; their producer "
        f"sent {again} of them again with the same ids, the rest were no intents"
    )


def append_only_file(folder: Path) -> Path:
    """The file that Redis appends to: one file before version 7, the newest increment from then on."""
    increments = sorted(folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
    return increments[-1] if increments else folder / "appendonly.aof"


def cut_off(file: Path, lost_bytes: int) -> int:
    """Cut the end off an append-only file, back to where no transaction is left half; how many bytes went.

    `redis-check-aof --fix` cuts as far. Redis 6.2 itself starts without the half of a transaction, but leaves it in its
    file, and carries it out at the start after that, with the next whole one.
    """
    content = file.read_bytes()
    end = max(0, len(content) - lost_bytes)
    whole = at = 0
    is_open = False
    while at < end:
        at, word = _next_command(content, at)
        if at > end:
            break
        is_open = (is_open or word == b"MULTI") and word != b"EXEC"
        whole = whole if is_open else at
    os.truncate(file, whole)
    return len(content) - whole


def _next_command(content: bytes, at: int) -> tuple[int, bytes]:
    """Where the command after the one at `at` begins, and the first word of this one (RESP arrays of bulk strings)."""
    line = content.find(b"\r\n", at)
    words = int(content[at + 1 : line]) if line > 0 else 0
    at, first = line + 2, b""
    for _ in range(words):
        line = content.find(b"\r\n", at)
        if line < 0:
            return len(content) + 1, first
        length = int(content[at + 1 : line])
        first = first or content[line + 2 : line + 2 + length].upper()
        at = line + 2 + length + 2
    return at, first


def _survivors(stage: Stage, appended: Sequence[Appended]) -> set[tuple[str, str]]:
    """The entries that the shortened file still knows, as `known_to` gives them."""
    copy = stage.folder / "redis-copy"
    shutil.copytree(stage.pool.redis.data_dir, copy)
    with server_on(copy) as server:
        return known_to(server, appended)


def server_on(folder: Path) -> EmbeddedRedis:
    """A Redis of its own on a copy of a server's files: what that one knows once it has read them."""
    return EmbeddedRedis(folder, append_only=True)


def known_to(server: EmbeddedRedis | EmbeddedCluster, appended: Sequence[Appended]) -> set[tuple[str, str]]:
    """The entries, each with its exchange, of which a server has anything: in the stream, as a record or as a dead
    letter. Entries that end while this looks are not missed: the stream, which they leave, is read first."""
    with connect(server.url) as client:
        waiting = {
            (name, entry) for name in EXCHANGES for entry, _ in stream(client, Keys(name, POOL).intents)
        }
        journal = read_journal(client, POOL, EXCHANGES)
    repeated = {(one.exchange, one.entry) for one in appended if one.client_order_id in journal.duplicates}
    ended = {(order.intent.exchange, order.entry) for order in journal.orders.values()}
    return waiting | ended | journal.dead.keys() | repeated


def play_stall(stage: Stage) -> None:
    """SIGSTOP Redis for 20 s under load, and let it go on."""
    stage.open_house()
    stage.submitter.begin(stage.plan())
    stage.after(0.4)
    stage.fault(f"SIGSTOP of Redis for {STALL_SECONDS:g} s")
    os.kill(stage.pool.redis.pid, signal.SIGSTOP)
    time.sleep(STALL_SECONDS)
    os.kill(stage.pool.redis.pid, signal.SIGCONT)
    stage.drain()


def play_oom(stage: Stage) -> None:
    """Redis at its memory limit with `noeviction`: it reads and refuses every write, for a while, twice."""
    stage.open_house()
    stage.submitter.begin(stage.plan())
    for share in (0.3, 0.6):
        stage.after(share)
        stage.fault("Redis is out of memory")
        stage.client.config_set("maxmemory-policy", "noeviction")
        stage.client.config_set("maxmemory", 1)
        time.sleep(OOM_SECONDS)
        stage.client.config_set("maxmemory", 0)
    stage.drain()


def play_dropped_replies(stage: Stage) -> None:
    """Proxies between Redis and the pool, and Redis and the producer, that let commands be executed and drop the
    replies, cut at any byte, or fall silent."""
    proxy, door = stage.redis_proxy(), stage.front_door()
    stage.open_house()
    proxy.mood, door.mood = BAD_LINK, BAD_DOOR
    stage.submitter.begin(stage.plan())
    stage.after(1.0)
    time.sleep(1)
    proxy.mood = door.mood = CALM
    stage.drain()


def play_scripts_flushed(stage: Stage) -> None:
    """SCRIPT FLUSH under load, and every connection cut at the same moment."""
    stage.open_house()
    stage.submitter.begin(stage.plan())
    for number in range(FLUSHES):
        stage.after((number + 1) / (FLUSHES + 1))
        stage.fault("SCRIPT FLUSH")
        stage.client.script_flush()
        if number % 2:
            stage.fault("CLIENT KILL of every connection")
            command(stage.client, "CLIENT", "KILL", "TYPE", "normal")
    stage.drain()


def play_wrong_password(stage: Stage) -> None:
    """Redis asks for another password than the workers have, for a while, and cuts who is logged in."""
    stage.open_house()
    stage.submitter.begin(stage.plan())
    stage.after(0.4)
    stage.fault("Redis wants a password that nobody has")
    stage.client.config_set("requirepass", "changed")
    command(stage.client, "AUTH", "changed")
    command(stage.client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(WRONG_PASSWORD_SECONDS)
    stage.client.config_set("requirepass", "")
    stage.drain()


def play_wrong_type(stage: Stage) -> None:
    """Keys of ours overwritten by a string, one after the other, and put right again by a person (the key deleted)."""
    stage.open_house()
    stage.submitter.begin(stage.plan())
    keys = stage.keys()
    victims = ("bell", "hungry", "load", "unknown", "grants")
    for number, name in enumerate(victims):
        stage.after((number + 1) / (len(victims) + 1))
        key = getattr(keys, name)
        stage.fault(f"{key} is a string")
        stage.client.set(key, "not ours")
        time.sleep(1)
        kind: Any = stage.client.type(key)
        if kind == b"string":
            stage.client.delete(key)
    stage.drain()
