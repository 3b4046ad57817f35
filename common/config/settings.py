"""Every setting of a pool, typed: what `orderlane.yaml` may say, its defaults and its bounds.

The text under each field is what `docs/configuration.md` says about it. A `unit` stands where the name
doesn't end in one (`_ms` milliseconds, `_seconds` seconds)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from common.buckets import Margins
from common.config.positions import PositionsSection
from common.health import DegradedPolicy
from common.lane_rules import LaneRules
from common.normalizer import NormalizerPolicy
from common.secrets import DatabaseUrl, Secret, SecretUrl
from orderlane.intents import Label, Name

PAPER_URL: Final = "http://127.0.0.1:8787"
DAY_SECONDS: Final = 86_400

_URL = r"https?://[^\s/?#@]+(/[^\s?#@]*)?"
BaseUrl = Annotated[
    str,
    Meta(
        pattern=rf"^{_URL}\Z",
        extra={"expected": "a URL (http:// or https://) without user, password and query"},
    ),
]
Endpoint = Annotated[
    str,
    Meta(
        pattern=rf"^(paper|testnet|live|{_URL})\Z",
        extra={
            "expected": '"paper", "testnet", "live" or a URL (http:// or https://) without user, password and query'
        },
    ),
]


class LogSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the processes of the pool write to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that is written. `info` has one line for each change of an order's state;
    `warning` only what a person should look at. `debug` adds what the libraries say, ccxt's requests among
    it, and costs speed."""
    format: Literal["auto", "json", "pretty"] = "auto"
    """`json` writes one object per line, for machines; `pretty` is for eyes; `auto` is pretty in a terminal,
    else JSON."""


class SentrySection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors to Sentry. Without a DSN nothing is sent, and Sentry's library is not even loaded."""

    dsn: Secret | None = None
    """Where to send them. Environment variable `SENTRY_DSN`, or `{env: NAME}`, or `{file: PATH}`."""
    environment: str = "paper"
    """The environment shown in Sentry: keep paper, testnet and live apart by it."""
    traces_sample_rate: Annotated[float, Meta(ge=0, le=1, extra={"unit": "share"})] = 0.0
    """The share of intents whose way through the pipeline is timed in Sentry. 0: none. Larger: more of a
    worker's time goes into tracing, and more of Sentry's quota."""


class StuckSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders about which nothing moves. Each is asked for by its id, with growing waits, until there is evidence of
    what became of it. Where there is none within its deadline, the event `order.stuck` says so, once, and
    `orderlane status` shows it: it is never ended by a guess. All are looked at with each sync."""

    unacknowledged_seconds: Annotated[int, Meta(ge=5, le=DAY_SECONDS)] = 30
    """How long a request may be under way (SUBMITTED) without a word of what became of it; from then on it is asked for
    here too. Smaller than a request and its worker's own questions take: weight is used for what is settled anyway.
    Larger: what no worker looks after is noticed later."""
    cancel_seconds: Annotated[int, Meta(ge=5, le=DAY_SECONDS)] = 30
    """How long a cancel or an amend may wait for the exchange's confirmation; from then on its target is asked for here
    too. Smaller: weight is used for what its worker finds out anyway. Larger: a cancel that had no effect is noticed
    later."""
    absent_seconds: Annotated[int, Meta(ge=5, le=DAY_SECONDS)] = 60
    """How long an open order may be absent from the exchange's open orders without evidence of how it ended. It is
    asked for at once; after this time it is told. Smaller: an exchange whose answers lag causes alarms. Larger: one
    that vanished is noticed later."""
    unknown_seconds: Annotated[int, Meta(ge=5, le=DAY_SECONDS)] = 60
    """How long an outcome may be UNKNOWN, its lane parked or not, before it is told; it is asked for here from half of
    this time on. Smaller: a short outage of the exchange causes alarms. Larger: a person is called later."""
    ask_first_seconds: Annotated[int, Meta(ge=1, le=3600)] = 5
    """The least time between the first question about one stuck order and the second; each further wait is twice as
    long, up to `ask_cap_seconds`. Smaller: evidence is found sooner, at a cost of weight."""
    ask_cap_seconds: Annotated[int, Meta(ge=1, le=DAY_SECONDS)] = 300
    """The longest wait between two questions about one order. Larger: an order that turns up late is noticed later."""


class SchedulerSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The periodic jobs, and how long things are kept."""

    sync_period_seconds: Annotated[int, Meta(ge=5, le=3600)] = 15
    """How often each account's open orders are compared with the exchange, while its user stream is up, or where there
    is none. Smaller: fills are seen sooner where no stream tells of them, at a cost of weight per account. Larger: the
    journal lags behind by as much there."""
    sync_period_down_seconds: Annotated[int, Meta(ge=2, le=3600)] = 5
    """The same while an account's user stream, which should be up, is not; `sync_period_seconds` if that is shorter.
    Smaller: the journal is closer behind during an outage of the stream, at a cost of weight. Larger: it lags behind by
    as much."""
    stuck: StuckSection = StuckSection()
    """When an order counts as stuck."""
    market_refresh_seconds: Annotated[int, Meta(ge=60, le=7 * DAY_SECONDS)] = 3600
    """How often the venue's market rules (tick sizes, lots, minimums) are loaded anew. Larger: after the
    venue changes a rule, orders are refused until the next load. Smaller: it costs weight (Binance spot: 20
    for each load)."""
    event_retention_seconds: Annotated[int, Meta(ge=60, le=90 * DAY_SECONDS)] = 3 * DAY_SECONDS
    """How long events stay in their stream. A consumer that is away for longer has missed some. Larger: more
    memory in Redis, for each change of each order."""
    order_retention_seconds: Annotated[int, Meta(ge=3600, le=365 * DAY_SECONDS)] = 3 * DAY_SECONDS
    """How long the record of an ended order stays. **An intent sent again after that is not recognised as a
    duplicate and places a new order.** Larger: more memory in Redis, for each order."""
    dead_retention_seconds: Annotated[int, Meta(ge=3600, le=365 * DAY_SECONDS)] = 14 * DAY_SECONDS
    """How long an entry that could not be run stays among the dead letters. Smaller: it is gone before
    anybody looks."""


class ArchiveSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The history in SQL: every event, every order, every trade, for as long as you keep the database."""

    enabled: bool = True
    """Whether the archiver archives, and Redis keeps events until it has. `false`: events are gone once they reach
    `scheduler.event_retention_seconds`."""
    url: DatabaseUrl | None = None
    """Where to: `sqlite:///PATH` or `postgresql://user@host:5432/database`. Environment variable
    `ORDERLANE_ARCHIVE_URL` goes first. One with a password comes from there, or from `{env: NAME}` or `{file: PATH}`.
    Left out: the SQLite file `archive.sqlite` in `data_folder`. Archivers on several machines need PostgreSQL, or each
    keeps a history of its own."""
    batch_size: Annotated[int, Meta(ge=1, le=10_000, extra={"unit": "events"})] = 500
    """How many events go into one transaction at most. Smaller: an archiver that was away catches up more slowly.
    Larger: more memory, and other writers wait longer."""
    poll_ms: Annotated[int, Meta(ge=50, le=60_000)] = 1000
    """How often an archiver that has caught up looks for new events. Smaller: the archive is closer behind, at a cost
    of two questions to Redis and the database each time. Larger: it lags behind by as much."""
    unarchived_retention_seconds: Annotated[int, Meta(ge=60, le=365 * DAY_SECONDS)] = 14 * DAY_SECONDS
    """How long events that are not archived yet stay in Redis, with the records of orders they end, where the
    scheduler's retention is shorter. After that they go all the same, which is logged and an event. Smaller: an
    archiver or a database that is away for longer leaves a gap in the history. Larger: more memory in Redis when that
    happens."""


class AccountSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of one account, each `{env: NAME}` or `{file: PATH}`.

    On the paper exchange they may be left out (`paper-<account>-key`, `paper-<account>-secret`) or written
    literally."""

    key: Secret
    """The API key. It needs the right to trade and no right to withdraw."""
    secret: Secret
    """The API secret, or the private key (PEM text, several lines) where the venue signs with one."""
    password: Secret | None = None
    """The passphrase that some venues give out with a key (OKX, KuCoin, Bitget)."""


class WorkerSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an exchange worker works. The defaults suit a pool in one data centre."""

    lease_ms: Annotated[int, Meta(ge=500, le=60_000)] = 2000
    """How long a worker counts as alive without a heartbeat; after that, others take its lanes. Smaller: a
    killed worker's lanes go on sooner, but a short pause (a slow disk, a busy host) already costs a worker
    its lanes. Larger: lanes of a dead worker stand still for as long."""
    heartbeat_ms: Annotated[int, Meta(ge=50, le=20_000)] = 500
    """How often a worker with lanes renews its lease; one without has a lease four times as long, and renews it a
    quarter as often. More than a third of the lease: a single lost heartbeat may end
    it. Smaller: more calls to Redis. It must be less than half of `lease_ms`."""
    lanes: Annotated[int, Meta(ge=1, le=10_000, extra={"unit": "lanes"})] = 256
    """How many lanes (account and symbol) one worker is at work on at once; those that only wait, for tokens or
    before they ask again, don't count. Smaller: lanes wait although the worker has time. Larger: when it is killed,
    more lanes wait for its lease to end."""
    in_flight: Annotated[int, Meta(ge=1, le=1000, extra={"unit": "requests"})] = 64
    """How many requests one worker has under way at once; at most `lanes`, since a lane has one. Smaller:
    less throughput on a slow connection. Larger: more connections, and more unknown outcomes at once when the
    network breaks."""
    grace_seconds: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """How long a stopping worker waits for the requests under way; at least `request_timeout_ms`. Smaller: a
    request cut off on shutdown leaves an unknown outcome for another worker to resolve. Larger: a shutdown
    may take as long, and whoever stops the process must not kill it before."""
    max_deaths: Annotated[int, Meta(ge=1, le=100, extra={"unit": "workers"})] = 3
    """How many workers may die while they run one entry before it is set aside: among the dead letters, or as
    UNKNOWN if a request had begun. 1: an unlucky entry is set aside after one crash. Larger: a poisonous
    entry takes more workers down."""
    resolve_delays_ms: Annotated[
        tuple[Annotated[int, Meta(ge=10, le=600_000)], ...], Meta(min_length=1, max_length=32)
    ] = (
        200,
        500,
        1000,
        2000,
    )
    """When an outcome is unknown, how long to wait before each question to the exchange; after the last, the
    wait doubles up to `resolve_cap_ms`. Smaller: the lane goes on sooner, and more weight is used while the
    exchange has trouble."""
    resolve_cap_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 30_000
    """The longest wait between two such questions. Larger: an order that turns up late is noticed later."""
    clock_margin_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1000
    """How far the exchange's clock may be from our estimate of it. It is added to the last moment at which a
    request may still be executed. **Smaller than the real error: an order that is still to come counts as
    absent, and is sent twice.** Larger: each unknown outcome takes longer to resolve."""
    restart_doubt_seconds: Annotated[int, Meta(ge=0, le=DAY_SECONDS)] = 60
    """After Redis restarted or failed over, its journal may lack its last writes: intents appended before that,
    and for this long after it (a producer repeats what got no answer), are asked for at the exchange before
    they are first sent. Smaller than producers go on repeating: an order may be sent twice. Larger: more
    questions after a restart."""
    unprovable_after_ms: Annotated[int, Meta(ge=1000, le=3_600_000)] = 60_000
    """On a venue whose requests have no bound in time, absence can't be proven: how long to ask before the
    lane is parked as UNKNOWN for a person. Smaller: a person is called for what would have resolved itself.
    Larger: called later."""
    attempts: Annotated[int, Meta(ge=1, le=20, extra={"unit": "requests"})] = 3
    """How often one intent is sent at most, each time after proof that the exchange never got the one before.
    1: a lost request makes the intent FAILED. Larger: an exchange in trouble gets more of it."""


class BatchSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several new orders in one request, on venues that take it (`binanceusdm`, `bybit`, `okx`)."""

    enabled: bool = False
    """On: orders of different lanes of one account that are ready at the same moment share a request. Each keeps its
    own record, verdict and resolving; but a request whose reply is lost leaves as many outcomes unknown as it
    had orders."""
    max_orders: Annotated[int, Meta(ge=2, le=20, extra={"unit": "orders"})] = 5
    """How many orders one request may hold; the venue bounds it too (`binanceusdm` 5, `bybit` 10, `okx` 20). Larger:
    fewer requests, and more outcomes unknown at once when a reply is lost."""


class UserStreamSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exchange tells of its own accord about orders and fills, on venues whose stream is known here
    (`binance`, `binanceusdm`); elsewhere, and where it is off, the journal hears of them from the periodic sync
    alone."""

    enabled: bool = True
    """Off: fills reach the journal with the periodic sync, and no `order.trade` events are published."""
    lease_ms: Annotated[int, Meta(ge=500, le=60_000)] = 5000
    """One worker at a time holds an account's stream. How long after its death another takes it over. Smaller: a worker
    that only paused loses it, which costs a backfill. Larger: fills are seen later after a death."""
    ping_seconds: Annotated[int, Meta(ge=1, le=180)] = 10
    """How often the connection is tried. One that gives no answer for twice as long counts as lost. Larger: a dead
    connection is noticed later."""
    overlap_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    """How far before a gap in the stream (a cut, an expired key, another worker's take-over) fills are asked for.
    Smaller than messages are late: a fill under way when the gap began waits for the next gap. Larger: more fills are
    read again."""


class ReconcileSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pool that starts does before it places anything: journal and exchange are brought to agreement, account by
    account. So it is after Redis was restarted or failed over."""

    enabled: bool = True
    """Off: a pool that starts places orders at once; what happened before it reaches the journal with the periodic
    sync. **After Redis lost its data, an intent sent again is then placed again.**"""
    deadline_seconds: Annotated[int, Meta(ge=1, le=3600)] = 120
    """How long agreement may take before the account counts as unreconciled: it stays closed for new placements, which
    is logged and an event, and it is tried again. Smaller than its questions take within the limits: an account with
    many open orders is called unreconciled while there is progress. Larger: a person is called later."""
    retry_seconds: Annotated[int, Meta(ge=1, le=3600)] = 5
    """How long after that it is tried again; each further wait is twice as long, up to `retry_cap_seconds`. Smaller:
    more questions to an exchange that refuses them."""
    retry_cap_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    """The longest of these waits. Larger: an account stays closed for longer after its trouble is over."""
    fills_seconds: Annotated[int, Meta(ge=0, le=600)] = 15
    """How long to wait for the user stream to bring in the fills that happened meanwhile, where orders turn out to be
    filled further than was known. After that the account opens without: amounts are right, and the fills' own events
    come later. Larger: a stream that can't be opened keeps the account closed for as long."""


class ExchangeSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exchange of the pool; its name is what intents say in `exchange`."""

    venue: Literal["binance", "binanceusdm", "bybit", "okx", "kraken"]
    """The exchange's id in ccxt: `binance` (spot), `binanceusdm` (USDⓈ-M futures), `bybit`, `okx` or
    `kraken`."""
    endpoint: Endpoint = "paper"
    """`paper` (our own, no real money), `testnet` (the venue's), `live`, or the base URL of a server below
    which every path of the venue is found. **`live` trades real money.**"""
    accounts: Annotated[dict[Name, AccountSection], Meta(min_length=1)]
    """The accounts, by the name that intents say in `account`."""
    receive_window_ms: Annotated[int, Meta(ge=100, le=60_000)] = 10_000
    """How old a request may be when it reaches the exchange; later, the exchange refuses it. Larger: an
    unknown outcome takes as much longer to resolve. Smaller than the network's delays: good requests are
    refused. Binance allows 60000 at most."""
    request_timeout_ms: Annotated[int, Meta(ge=100, le=120_000)] = 10_000
    """How long to wait for an answer before the outcome counts as unknown. Smaller: slow answers become
    questions, which cost weight. Larger: a lane waits as long on a connection that is dead."""
    limits: dict[Name, str] = {}
    """Rate limits of the venue by name (as `common/venue_limits.py` has them), each as `300/10 seconds`, in
    place of the published ones. Higher than what the venue really allows: it refuses requests (429), then
    bans the address (418)."""
    limits_burst: Annotated[float, Meta(ge=0, le=0.9, extra={"unit": "share"})] = 0.2
    """The share of a limit that may go out at one moment; the rest is spread over the window. Larger: quicker
    bursts, and less throughput in the long run, since both must fit into the limit together."""
    limits_safety: Annotated[float, Meta(ge=0.05, le=1, extra={"unit": "share"})] = 0.95
    """The share of each limit that the pool uses at all. Smaller: less throughput. 1: nothing is left for
    what else uses the address or the account, a person's browser among it."""
    limits_reserve: Annotated[float, Meta(ge=0, le=0.9, extra={"unit": "share"})] = 0.1
    """The share of a bucket that only what is urgent may use: cancels, reduce-only orders, priorities 0 to 2. It is one
    request at least, wherever a limit has room for one beside an order. 0: they wait behind opening orders when the
    limit is reached. Larger: less for opening orders."""
    limits_background: Annotated[float, Meta(ge=0.05, le=1, extra={"unit": "share"})] = 0.5
    """The share of a bucket that the pool's own questions may use (sync, stuck orders); what is asked once (what a gap
    in a stream hid, positions, a start) may use half of the rest, too. They take nothing from what is left, so that an
    order never waits because of them. Smaller: more is left for bursts of
    orders, and the journal lags behind when much is traded or many accounts share an address. Larger: a burst of
    orders may meet a bucket that such questions have emptied."""
    limits_arrival_spread_ms: Annotated[int, Meta(ge=0, le=60_000)] = 250
    """How much longer one request may take to the venue than another. Smaller than it really is: requests
    that left apart arrive together, and the venue counts more than it allows. Larger: less throughput."""
    normalizer: NormalizerPolicy = NormalizerPolicy()
    """What an operator decides about orders, apart from the venue's rules."""
    disabled_strategies: tuple[Label, ...] = ()
    """Strategies whose opening orders are refused; their cancels and reduce-only orders pass."""
    backlog_limit: Annotated[int, Meta(ge=1, le=10_000_000, extra={"unit": "intents"})] = 100_000
    """Unfinished intents of this exchange at which clients are told that the backlog is full (`Backlogged`). Cancels
    and reduce-only orders are admitted all the same. Workers publish it when they start, for every client; what is
    appended without a client is counted, and never refused. Larger: more memory in Redis, some 1.3 kB for each.
    Smaller: a burst is refused although it would have been worked off."""
    account_backlog_limit: Annotated[int, Meta(ge=1, le=10_000_000, extra={"unit": "intents"})] = 50_000
    """The same for the unfinished intents of one account, so that one that floods its lanes leaves room for the
    others. `backlog_limit` or larger: one account may use it all. Smaller: a burst of one account is refused
    sooner."""
    lane_rules: LaneRules = LaneRules()
    """What is decided about intents that wait in one lane, before a request is made for them."""
    batch: BatchSection = BatchSection()
    """Several new orders in one request."""
    user_stream: UserStreamSection = UserStreamSection()
    """What the exchange tells of its own accord."""
    positions: PositionsSection = PositionsSection()
    """Positions and balances."""
    degraded: DegradedPolicy = DegradedPolicy()
    """When new placements stop because requests fail, and how they start again."""
    reconcile: ReconcileSection = ReconcileSection()
    """What a pool that starts does before it places anything."""
    external_orders: Literal["report", "adopt", "cancel"] = "report"
    """What is done about orders on the accounts that the pool did not place (a person's, another program's). `report`:
    each is told once (event `order.external`) and listed (`orderlane external`). `adopt`: it also gets a record, is
    tracked like the pool's own, and intents may cancel or amend it. **`cancel`: it is also cancelled, whoever placed
    it.**"""
    external_pools: bool = False
    """Whether that counts for orders of other pools, too (those whose client order id is 25 of `a-z2-7`). Off: they are
    reported, and left alone. **On with `external_orders: cancel`, two pools on one account cancel each other's
    orders.**"""
    worker: WorkerSection = WorkerSection()
    """How this exchange's workers work."""

    @property
    def margins(self) -> Margins:
        """How far below the venue's limits the pool stays."""
        return Margins(
            safety=self.limits_safety,
            burst=self.limits_burst,
            reserve=self.limits_reserve,
            background=self.limits_background,
            arrival_spread_ms=self.limits_arrival_spread_ms,
        )


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole pool."""

    pool: Name = "orderlane"
    """The pool's name: what every key in Redis and, hashed, every client order id starts with. **Changed
    while orders are open, the pool no longer knows them.** Two pools in one Redis need two names."""
    redis_url: SecretUrl = SecretUrl("redis://127.0.0.1:6379/0")
    """The Redis that holds the stream and the journal: `redis://`, `rediss://` (TLS), `unix://`,
    `redis+sentinel://` (see "Sentinel" above) or `redis+cluster://` (see "Cluster" above). Environment variable
    `REDIS_URL` goes first. One with a password comes from there, or from `{env: NAME}` or `{file: PATH}`."""
    rq_redis_url: SecretUrl | None = None
    """The Redis for the scheduler's jobs. Environment variable `RQ_REDIS_URL` goes first. Left out: the same as
    `redis_url`; where that is a cluster it can't be left out, since rq does not run on one. While it is away
    no periodic job runs: the journal hears of fills later, orders are placed all the same."""
    paper_url: BaseUrl = PAPER_URL
    """Where the paper exchange listens and where exchanges with `endpoint: paper` find it. Environment
    variable `ORDERLANE_PAPER_URL` goes first."""
    data_folder: Annotated[str, Meta(min_length=1)] = ".data"
    """Where the embedded Redis, the paper exchange and the archive keep their files; relative to the working
    directory."""
    log: LogSection = LogSection()
    """What is written."""
    sentry: SentrySection = SentrySection()
    """Errors to Sentry."""
    scheduler: SchedulerSection = SchedulerSection()
    """The periodic jobs."""
    archive: ArchiveSection = ArchiveSection()
    """The history in SQL."""
    exchanges: Annotated[dict[Name, ExchangeSection], Meta(min_length=1)]
    """The exchanges, by the name that intents say in `exchange`."""

    @property
    def archive_url(self) -> DatabaseUrl:
        """The archive's database: the one that was named, or the file in the data folder."""
        return self.archive.url or DatabaseUrl(f"sqlite:///{self.data_folder}/archive.sqlite")

    @property
    def queue_redis_url(self) -> SecretUrl:
        """The Redis of the scheduler's jobs, whether it has its own or shares the pool's."""
        return self.rq_redis_url or self.redis_url
