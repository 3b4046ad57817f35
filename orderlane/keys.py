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
    def unseen(self) -> str:
        """Hash: lane -> from which place in it on (rank and entry, as in `waiting`) nobody has looked at what waits
        there. Empty: an intent has arrived that may spare requests for what waits before it (a cancel of it, say)."""
        return self._key("unseen")

    @cached_property
    def notes(self) -> str:
        """Sorted set, score 0: of lanes that are long, `lane NUL fact NUL rank entry`: what each waiting entry is
        about, so that an urgent one finds what it must not pass; and, before all lanes, the facts of each entry."""
        return self._key("notes")

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
    def standings(self) -> str:
        """Hash: `scope|cause` -> a standing (JSON): why new placements of an account, or of the whole exchange (scope
        `*`), wait (`orderlane/standing.py`)."""
        return self._key("standings")

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

    def positions(self, account: str) -> str:
        """Hash: symbol -> `version position` (JSON): what the account's fills add up to (`orderlane/positions.py`)."""
        return self._key(f"positions:{account}")

    def balances(self, account: str) -> str:
        """Hash: asset -> `version balance` (JSON): what the account's fills leave of each asset."""
        return self._key(f"balances:{account}")

    def compared(self, account: str) -> str:
        """Hash: `state`, how the account's last comparison with the exchange went (JSON), and `readings`, what the
        exchange said then of each position and balance (JSON)."""
        return self._key(f"compared:{account}")

    @cached_property
    def disabled(self) -> str:
        """Hash: `account|symbol|strategy` (strategy `*`: all) -> why its opening orders are refused (JSON)."""
        return self._key("disabled")

    @cached_property
    def synced(self) -> str:
        """Hash: account -> when its open orders were last compared with the exchange's, and what came of it (JSON,
        `orderlane/sync_status.py`)."""
        return self._key("synced")

    @cached_property
    def limits(self) -> str:
        """Hash: what workers publish of the exchange's limits, so that others can say who waits for which: `buckets`
        and `charges` (JSON, `orderlane/published_limits.py`)."""
        return self._key("limits")

    def stuck(self, account: str) -> str:
        """Hash: client order id -> an order of the account about which nothing moves (JSON, `orderlane/stuck.py`)."""
        return self._key(f"stuck:{account}")

    def tries(self, client_order_id: str) -> str:
        """List: the last questions asked about an order, and their answers (JSON, `orderlane/tries.py`)."""
        return self._key(f"tries:{client_order_id}")

    def fills(self, client_order_id: str) -> str:
        """Hash: the exchange's trade id -> fill (JSON): an order's fills that were counted, each once."""
        return self._key(f"fills:{client_order_id}")

    def external(self, account: str) -> str:
        """Hash: name -> what is done about it, and what it is (JSON): orders on the account that the pool did not place
        (`orderlane/external.py`)."""
        return self._key(f"external:{account}")

    def external_ended(self, account: str) -> str:
        """Sorted set: those of them that are not open any more; score: since when, ms. They are kept for a while, so
        that none is told twice."""
        return self._key(f"external_ended:{account}")

    def reconcile(self, account: str) -> str:
        """Hash: how far the account is with being brought to agreement with the exchange, who does it and until when,
        and for which Redis server it was done last (`orderlane/reconcile_status.py`)."""
        return self._key(f"reconcile:{account}")

    def bucket(self, scope: str, name: str) -> str:
        """Hash: a token bucket, or (name `penalty`) a shared pause; scope is `ip` or an account."""
        return self._key(f"bucket:{scope}:{name}")

    def lock(self, job: str) -> str:
        """String with an expiry: one run of a periodic job, whichever scheduler enqueued it."""
        return self._key(f"lock:{job}")


KNOWN = re.compile(
    r"^[A-Za-z0-9._-]+:(exchanges|\{[A-Za-z0-9._-]+\}:("
    r"intents|waiting|owners|ready|parked|workers|load|hungry|grants|bell|unseen|notes|unread|drained|events|archive|dead|unknown|accounts|control|synced|limits|standings|markets"
    r"|(positions|balances|compared):[A-Za-z0-9._-]{1,64}|disabled"
    r"|order:[a-z2-7]{25}|open:[A-Za-z0-9._-]{1,64}|stream:[A-Za-z0-9._-]{1,64}|fills:[a-z2-7]{25}|(external|external_ended|reconcile):[A-Za-z0-9._-]{1,64}|tries:[a-z2-7]{25}|stuck:[A-Za-z0-9._-]{1,64}|bucket:[A-Za-z0-9._-]{1,64}:[a-z0-9_]+|lock:[A-Za-z0-9._:-]+"
    r"))\Z"
)
"""Every form a key of a pool can take (rq keeps its own, under `rq:`)."""


def exchanges_key(pool: str = "orderlane") -> str:
    """Set: the exchanges of the pool, so that an operator's tool need not be told."""
    return f"{pool}:exchanges"
