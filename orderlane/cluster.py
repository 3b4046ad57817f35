"""Redis Cluster, as far as a pool needs it: how it is told, which slot a command is for, who serves a slot. Pure.

All keys of one exchange carry its name as hash tag, so they share one slot, and a worker speaks to one server. The
only other key is the pool's list of exchanges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from redis.crc import key_slot

DEFAULT_PORT: Final = 6379
FORM: Final = "redis+cluster://host:6379,host:6379 (or rediss+cluster://)"
SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

_NODE = re.compile(r"(?P<host>[^\s:\[\]@/,]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?\Z", re.ASCII)
_LITERAL_TAG = re.compile(r"[^{]*\{([^*?\[\]\\{}]+)\}")

ANY_NODE: Final = frozenset({"TIME", "PING", "ECHO", "INFO", "CLIENT", "CLUSTER", "COMMAND"})
"""Commands without a key that any server of a cluster can answer."""
EVERY_NODE: Final = frozenset({"SCRIPT"})
"""Commands that each server in use has to get."""
ONE_NODE: Final = frozenset(
    {
        "CONFIG",
        "DBSIZE",
        "FLUSHALL",
        "FLUSHDB",
        "KEYS",
        "MONITOR",
        "RANDOMKEY",
        "SAVE",
        "SHUTDOWN",
        "SWAPDB",
        "WAIT",
    }
)
"""Commands that would speak of one server where the whole is meant."""

Address = tuple[str, int]
Command = Sequence[Any]


class ClusterUrl(Struct, frozen=True):
    """A cluster as a URL tells it: some of its nodes, and the URL of each by itself, login and TLS as given."""

    nodes: tuple[Address, ...]
    first_url: str
    """What redis-py reads the login from; its host is the first node."""
    tls: bool


class ServedSlots(Struct, frozen=True):
    """Slots `first` to `last`, and the address of the master that serves them."""

    first: int
    last: int
    master: Address


def is_cluster(url: str) -> bool:
    """Whether a URL names a cluster."""
    return url.partition("://")[0] in SCHEMES


def read_cluster_url(url: str) -> ClusterUrl:
    """A `redis+cluster://[user:password@]host:port,host:port` URL, taken apart.

    Raises:
        ValueError: it has another form; the message repeats nothing of it, as it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"not the URL of a Redis Cluster: expected {FORM}") from None
    login, at, listed = parts.netloc.rpartition("@")
    found = [_NODE.match(node) for node in listed.split(",")]
    if parts.scheme not in SCHEMES or not all(found) or parts.fragment:
        raise ValueError(
            f"not the URL of a Redis Cluster: expected {FORM}; in a password, / ? # @ : % are written "
            "percent-encoded"
        )
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("a Redis Cluster has database 0 alone: leave the path of its URL away")
    nodes = tuple((one["host"].strip("[]"), int(one["port"] or DEFAULT_PORT)) for one in found if one)
    first = listed.split(",")[0]
    query = f"?{parts.query}" if parts.query else ""
    return ClusterUrl(
        nodes=nodes,
        first_url=f"{SCHEMES[parts.scheme]}://{login}{at}{first}/0{query}",
        tls=SCHEMES[parts.scheme] == "rediss",
    )


def slot_of(key: Any) -> int:
    """The slot of a key (Redis Cluster specification: CRC16 of the hash tag, modulo 16384)."""
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def keys_of(command: Command) -> Sequence[Any]:
    """The keys of a command as redis-py builds it, `(name, argument…)`; of one with several, those that decide."""
    name = str(command[0]).upper()
    if name.partition(" ")[0] in ANY_NODE | EVERY_NODE | ONE_NODE or name == "SCAN":
        return ()
    if name in ("EVAL", "EVALSHA"):
        return command[3 : 3 + int(command[2])]
    if name in ("XREAD", "XREADGROUP"):
        streams = 1 + next(at for at, word in enumerate(command) if word in (b"STREAMS", "STREAMS"))
        return command[streams : streams + (len(command) - streams) // 2]
    return command[1:2]


def slots_of(command: Command) -> list[int]:
    """The slots of a command's keys, each once, in order; none for a command without a key.

    Raises:
        ValueError: the command would reach one server where all are meant.
    """
    if str(command[0]).upper().partition(" ")[0] in ONE_NODE:
        raise ValueError(f"{command[0]} is about one server, and this is a cluster: ask each of its servers")
    return list(dict.fromkeys(slot_of(key) for key in keys_of(command)))


def slot_of_pattern(pattern: Any) -> int | None:
    """The slot of all keys that a SCAN pattern can match, where it names their hash tag; None: any slot."""
    text = pattern.decode() if isinstance(pattern, bytes) else str(pattern)
    return slot_of(text) if _LITERAL_TAG.match(text) else None


def is_for_every_node(command: Command) -> bool:
    """Whether each server in use has to get the command."""
    return str(command[0]).upper().partition(" ")[0] in EVERY_NODE


def split(commands: Sequence[Command]) -> dict[int | None, list[int]]:
    """The commands of a pipeline by slot, as their places in it; the order within a slot is kept.

    One without a key goes with the first that has one, SCRIPT LOAD with every slot. The slot is None when none has
    a key.

    Raises:
        ValueError: one command has keys of several slots.
    """
    slots = [slots_of(command) for command in commands]
    for command, found in zip(commands, slots, strict=True):
        if len(found) > 1:
            raise ValueError(f"the keys of one {command[0]} lie in several slots of the cluster")
    used: list[int | None] = list(dict.fromkeys(found[0] for found in slots if found)) or [None]
    places: dict[int | None, list[int]] = {slot: [] for slot in used}
    for place, (command, found) in enumerate(zip(commands, slots, strict=True)):
        targets = used if is_for_every_node(command) else [found[0]] if found else used[:1]
        for slot in targets:
            places[slot].append(place)
    return places


def served_slots(reply: Iterable[Any], asked: Address) -> list[ServedSlots]:
    """The reply of CLUSTER SLOTS, in order of slots; a node that does not know its own host is where it was asked."""
    found = [
        ServedSlots(int(first), int(last), (_text(master[0]) or asked[0], int(master[1])))
        for first, last, master, *_ in reply
    ]
    return sorted(found, key=lambda one: one.first)


def all_nodes(reply: Iterable[Any], asked: Address) -> list[Address]:
    """Every node of that reply, masters and replicas."""
    nodes = (node for _, _, *nodes in reply for node in nodes)
    return list(dict.fromkeys((_text(node[0]) or asked[0], int(node[1])) for node in nodes))


def one_slot_of_each_master(served: Sequence[ServedSlots]) -> list[int]:
    """For each master, the first slot it serves: with them, every key of the cluster can be reached."""
    found: dict[Address, int] = {}
    for one in served:
        found.setdefault(one.master, one.first)
    return list(found.values())


def _text(host: Any) -> str:
    return host.decode() if isinstance(host, bytes) else str(host or "")
