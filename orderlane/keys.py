"""Every Redis key the pool uses, built here and nowhere else.

All keys of one exchange carry the hash tag `{<exchange>}`, so that a script may touch several of them on
Redis Cluster. `KNOWN` lists every form: a key in Redis that fits none of them is a leak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

GROUP = "workers"
"""The consumer group on the intents stream."""
CONSUMER = "pool"
"""Its one consumer: who runs what is decided by lane ownership, not by the group."""
INTENT_FIELD = "intent"
EVENT_FIELD = "event"


@dataclass(frozen=True)
class Keys:
    """The keys of one exchange in one pool.

    >>> Keys("binance").intents
    'orderlane:{binance}:intents'
    """

    exchange: str
    pool: str = "orderlane"

    def _key(self, name: str) -> str:
        return f"{self.pool}:{{{self.exchange}}}:{name}"

    @cached_property
    def intents(self) -> str:
        """Stream, group `workers`: what is not finished. An entry is deleted when acked: XLEN is the backlog."""
        return self._key("intents")

    @cached_property
    def waiting(self) -> str:
        """Sorted set, score 0: `lane NUL rank entry`: each lane's queue, in order, read by ZRANGEBYLEX.

        `rank` is `!` for the entry that has begun (it sorts first) or its urgency, `0` to `9`; `entry` is the
        stream id with the length of each number in front of it, so that text order is number order.
        """
        return self._key("waiting")

    @cached_property
    def owners(self) -> str:
        """Hash: lane -> `worker id#grant@entry`: who runs it now, by which call of take, and which entry."""
        return self._key("owners")

    @cached_property
    def ready(self) -> str:
        """Sorted set: lanes with work and no owner, most urgent first (urgency * 1e13 + ms of the head entry, or of the
        moment at which the lane made room for others)."""
        return self._key("ready")

    @cached_property
    def parked(self) -> str:
        """Sorted set: lanes whose head is UNKNOWN beyond what can be resolved; score: since when, ms."""
        return self._key("parked")

    @cached_property
    def workers(self) -> str:
        """Sorted set: worker id -> end of its lease, ms by Redis TIME."""
        return self._key("workers")

    @cached_property
    def load(self) -> str:
        """Hash: worker id -> number of lanes it owns."""
        return self._key("load")

    @cached_property
    def hungry(self) -> str:
        """Sorted set: workers whose last take got fewer lanes than it wanted; score: lanes still wanted."""
        return self._key("hungry")

    @cached_property
    def grants(self) -> str:
        """Hash: worker id -> number of its last call of take, so that a call that arrives late is refused."""
        return self._key("grants")

    @cached_property
    def bell(self) -> str:
        """Stream, short: wakes idle workers for lanes that others released."""
        return self._key("bell")

    @cached_property
    def news(self) -> str:
        """Set: lanes in which an intent has arrived that may spare requests for what waits before it (a cancel of it,
        say), and that nobody has looked at since."""
        return self._key("news")

    @cached_property
    def unread(self) -> str:
        """Hash: account -> intents that clients have added and no worker has sorted into a lane yet; gone once all are.

        The account's backlog is these and its entries in `waiting`.
        """
        return self._key("unread")

    @cached_property
    def drained(self) -> str:
        """Hash: `total`, how many entries have ever left the backlog; beside it what the scheduler noted of it lately
        (`orderlane/backlog.py`)."""
        return self._key("drained")

    @cached_property
    def events(self) -> str:
        """Stream, trimmed by age: every state change."""
        return self._key("events")

    @cached_property
    def archive(self) -> str:
        """Hash: archive id -> how far that archive has come with the events (`orderlane/archive/state.py`)."""
        return self._key("archive")

    @cached_property
    def dead(self) -> str:
        """Stream: entries that are no intent, or that killed their workers, each with its reason."""
        return self._key("dead")

    @cached_property
    def unknown(self) -> str:
        """Sorted set: client order ids whose outcome is not known; score: since when, ms."""
        return self._key("unknown")

    @cached_property
    def accounts(self) -> str:
        """Set: the accounts the pool's workers are configured with; lets `get` find an intent by its id alone."""
        return self._key("accounts")

    @cached_property
    def control(self) -> str:
        """Hash: switches that an operator or a guard sets, and what workers noted of the server itself."""
        return self._key("control")

    @cached_property
    def markets(self) -> str:
        """Hash: the venue's market rules, loaded once and shared: `loaded_at` (ms), `markets` (JSON), and `ccxt`,
        what ccxt itself needs of them (JSON, deflated)."""
        return self._key("markets")

    @cached_property
    def prefix_order(self) -> str:
        """What every order key starts with; scripts append a client order id."""
        return self._key("order:")

    def order(self, client_order_id: str) -> str:
        """Hash: an order's record."""
        return f"{self.prefix_order}{client_order_id}"

    def open(self, account: str) -> str:
        """Sorted set: client order ids of the account that have not ended; score: last change, ms."""
        return self._key(f"open:{account}")

    def stream(self, account: str) -> str:
        """Hash: who holds the account's user stream and until when (Redis TIME, ms), in which state it is, and until
        when (`complete_until`, ms by the exchange's clock) all that it has to tell is in the journal."""
        return self._key(f"stream:{account}")

    def fills(self, client_order_id: str) -> str:
        """Hash: the exchange's trade id -> fill (JSON): an order's fills that were counted, each once."""
        return self._key(f"fills:{client_order_id}")

    def bucket(self, scope: str, name: str) -> str:
        """Hash: a token bucket, or (name `penalty`) a shared pause; scope is `ip` or an account."""
        return self._key(f"bucket:{scope}:{name}")

    def lock(self, job: str) -> str:
        """String with an expiry: one run of a periodic job, whichever scheduler enqueued it."""
        return self._key(f"lock:{job}")


KNOWN = re.compile(
    r"^[A-Za-z0-9._-]+:(exchanges|\{[A-Za-z0-9._-]+\}:("
    r"intents|waiting|owners|ready|parked|workers|load|hungry|grants|bell|news|unread|drained|events|archive|dead|unknown|accounts|control|markets"
    r"|order:[a-z2-7]{25}|open:[A-Za-z0-9._-]{1,64}|stream:[A-Za-z0-9._-]{1,64}|fills:[a-z2-7]{25}|bucket:[A-Za-z0-9._-]{1,64}:[a-z0-9_]+|lock:[A-Za-z0-9._:-]+"
    r"))\Z"
)
"""Every form a key of a pool can take (rq keeps its own, under `rq:`)."""


def exchanges_key(pool: str = "orderlane") -> str:
    """Set: the exchanges of the pool, so that an operator's tool need not be told."""
    return f"{pool}:exchanges"
