"""An exchange in trouble: new placements wait, cancels and closes go on, and all goes on by itself once it is over.

On a real paper exchange that misbehaves, with real workers and a real Redis.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from common.failpoints import POINTS, VARIABLE, Arm, Arming
from common.redis_server import EmbeddedRedis
from orderlane.client_settings import ClientSettings
from orderlane.events import EventName
from orderlane.holds import hold, resume
from orderlane.intents import PlaceOrder
from orderlane.keys import Keys
from orderlane.orders import OrderStatus
from orderlane.pool_link import PoolLink
from orderlane.standing import WHOLE_EXCHANGE, Cause, Standing, StandingState, decode_standings
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import CONFIG, Pool, paper, paper_of_module
from tests.workers.products import SPOT, USDM, Product
from tests.workers.user_stream.scene import worker_process

__all__ = ["paper", "paper_of_module"]

QUICK: Final = """
    degraded: {failures: 3, probe_seconds: 0.2, probe_cap_seconds: 0.4, recovery_shares: [0.5], step_seconds: 0.3}
    user_stream:"""
DEGRADED: Final = CONFIG.replace("\n    user_stream:", QUICK)
KEY_REFUSED: Final = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
STANDING_POINTS: Final = [name for name, point in POINTS.items() if "standing" in point.drives]
COINS: Final = ("ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK")


class Troubled(Pool):
    """A pool, and the trouble its exchange may have."""

    def standings(self, product: Product = USDM) -> list[Standing]:
        fields: Any = self.client.hgetall(Keys(product.exchange).standings)
        return decode_standings(fields)

    def stands(self, scope: str, cause: Cause = Cause.ERRORS, product: Product = USDM) -> Standing | None:
        return next(
            (one for one in self.standings(product) if (one.scope, one.cause) == (scope, cause)), None
        )

    async def expires(self, product: Product = USDM, **fields: Any) -> None:
        """See a place expire that is held: one that isn't would be on the book in time."""
        seconds, microseconds = self.client.time()
        deadline = int(seconds) * 1000 + int(microseconds) // 1000 + 400
        late = product.order("late", **fields, expires_at=deadline)
        self.send(late)
        assert (await self.outcome(late)).status is OrderStatus.EXPIRED
        self.assert_never(late)

    def settled(self, intent: PlaceOrder) -> bool:
        """Whether it has been tried, or is held."""
        return self.record(intent) is not None or self.stands(intent.account) is not None

    def told(self, product: Product = USDM) -> list[tuple[EventName, str]]:
        """The events about standings, each with its account."""
        return [(one.name, one.account) for one in self.events(product) if one.name.startswith("system.")]

    def break_down(self, product: Product) -> PlaceOrder:
        """Answer questions, and orders for ETH, with 503: the intent that will meet it."""
        self.paper.fault(product.query, "error_before", status=503)
        self.paper.fault(product.place, "error_before", status=503, symbol="ETHUSDT")
        struck = product.order("struck", "2500", symbol=product.symbol.replace("BTC", "ETH"), amount="0.1")
        self.send(struck)
        return struck

    async def closed(self, scope: str = WHOLE_EXCHANGE, product: Product = USDM) -> Standing:
        found: Standing = await self.until(lambda: self.stands(scope, product=product), f"{scope} is closed")
        return found

    async def open_again(self, product: Product = USDM) -> None:
        await self.until(lambda: not self.standings(product), "nothing stands any more")


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Troubled]:
    made = Troubled(redis_url, paper, DEGRADED)
    yield made
    made.close()


@pytest.mark.parametrize("product", [USDM, SPOT], ids=["usdm", "spot"])
async def test_while_the_exchange_fails_places_wait_and_the_rest_goes_on_until_it_recovers(
    pool: Troubled, product: Product
) -> None:
    resting, new = product.order("resting"), product.order("new")
    position = product.order("position", None, type="market")
    async with pool.working(product):
        pool.send(position, resting)
        assert (await pool.outcome(resting)).status is OrderStatus.ACTIVE
        struck = pool.break_down(product)
        closed = await pool.closed(product=product)
        assert closed.reason.code == "failures_in_a_row"
        pool.send(new)
        await pool.expires(product, account="alt")
        pool.send(product.cancels("cancel", "resting"))  # behind `new`, in its lane
        assert (await pool.outcome(product.cancels("cancel", "resting"))).status is OrderStatus.DONE
        if product is USDM:
            close = product.order(
                "close", None, type="market", side="sell", reduce_only=True, strategy="other"
            )
            pool.send(close)
            assert (await pool.outcome(close)).status is OrderStatus.FILLED
        assert pool.record(new) is None
        assert pool.arrived(new, "place") == []
        pool.paper.clear_faults()
        assert (await pool.outcome(new)).status is OrderStatus.ACTIVE
        assert (await pool.outcome(struck)).status is OrderStatus.ACTIVE
        await pool.open_again(product)
    pool.assert_once(new)
    names = [name for name, _ in pool.told(product)]
    assert names[0] is EventName.DEGRADED
    assert names[-2:] == [EventName.RECOVERING, EventName.RECOVERED]


async def test_an_account_whose_key_is_refused_is_closed_alone(pool: Troubled) -> None:
    for route in (USDM.place, USDM.query):
        pool.paper.fault(route, "verbatim", status=401, body=KEY_REFUSED, account="alt")
    async with pool.working():
        for number in range(1000):
            refused = USDM.order(f"refused-{number}", account="alt")
            pool.send(refused)
            await pool.until(partial(pool.settled, refused), "a verdict")
            if pool.stands("alt"):
                break
        waiting, other = USDM.order("waiting", account="alt"), USDM.order("other")
        pool.send(waiting, other)
        assert (await pool.outcome(other)).status is OrderStatus.ACTIVE
        probed = await pool.until(
            lambda: (one := pool.stands("alt")) is not None and one.probes and one, "a probe fails"
        )
        assert probed.reason.numbers["last_probe"] == "-2015"
        assert pool.arrived(waiting, "place") == []
        assert pool.stands(WHOLE_EXCHANGE) is None
        pool.paper.clear_faults()
        assert (await pool.outcome(waiting)).status is OrderStatus.ACTIVE
        await pool.open_again()
    assert {account for _, account in pool.told()} == {"alt"}
    pool.assert_once(waiting)


async def test_an_exchange_that_refuses_connections_gets_the_places_once_it_is_back(pool: Troubled) -> None:
    intents = [USDM.order(f"one-{coin}", "1", symbol=f"{coin}/USDT:USDT", amount="100") for coin in COINS]
    new = USDM.order("new", account="alt")
    async with pool.working():
        pool.paper.kill()
        try:
            pool.send(*intents)
            await pool.closed()
            pool.send(new)
            await pool.until(lambda: (one := pool.stands(WHOLE_EXCHANGE)) and one.probes, "a probe fails")
            assert pool.record(new) is None
        finally:
            pool.paper.restart()
        await pool.open_again()
        assert (await pool.outcome(new)).status is OrderStatus.ACTIVE
        for intent in intents:
            assert len(pool.placed(intent)) <= 1
            await pool.outcome(intent)
    pool.assert_once(new)


async def test_a_ban_closes_the_exchange_until_its_end_for_cancels_too(pool: Troubled) -> None:
    resting, banned, new = USDM.order("resting"), USDM.order("banned"), USDM.order("new", account="alt")
    cancel = USDM.cancels("cancel", "resting")
    async with pool.working():
        pool.send(resting)
        await pool.outcome(resting)
        pool.paper.fault(USDM.place, "418", count=1, headers={"Retry-After": "2"})
        pool.send(banned)
        ban = await pool.until(lambda: pool.stands(WHOLE_EXCHANGE, Cause.BAN), "the ban stands")
        pool.send(new, cancel)
        for intent in (new, cancel, banned):
            order = await pool.outcome(intent)
            assert order.status in (OrderStatus.ACTIVE, OrderStatus.DONE)
            assert order.times.begun_at >= ban.until_ms
        await pool.open_again()
    assert pool.told() == [(EventName.DEGRADED, ""), (EventName.RECOVERED, "")]


async def test_an_operator_holds_an_account_and_lets_it_go_on(pool: Troubled, redis_url: str) -> None:
    link = PoolLink(ClientSettings(url=redis_url))
    held, other = USDM.order("held"), USDM.order("other", account="alt")
    replacing = USDM.order("replacing", "51000", replaces="resting")
    async with pool.working() as worker:
        pool.send(USDM.order("resting", "49000"))
        await pool.outcome(USDM.order("resting", "49000"))
        hold(link, "binance", "main", "the model is being looked at")
        await pool.until(lambda: worker.standings.holding("main"), "the worker heeds it")
        pool.send(replacing, held, other)
        assert (await pool.outcome(other)).status is OrderStatus.ACTIVE
        await pool.expires(symbol="ETH/USDT:USDT", price="2500", amount="0.1")
        assert (pool.record(held), pool.record(replacing)) == (None, None)
        assert pool.on_book(USDM.order("resting", "49000"))[0]["status"] == "NEW"
        assert [one.cause for one in resume(link, "binance", "main", [Cause.OPERATOR])] == [Cause.OPERATOR]
        assert (await pool.outcome(replacing)).status is OrderStatus.ACTIVE
        assert (await pool.outcome(held)).status is OrderStatus.ACTIVE
    link.close()
    assert pool.told() == [(EventName.DEGRADED, "main"), (EventName.RECOVERED, "main")]


async def test_what_stands_outlives_every_worker_and_a_restart_of_redis(
    fresh_redis: EmbeddedRedis, paper: PaperProcess
) -> None:
    pool = Troubled(fresh_redis.url, paper, DEGRADED)
    new = USDM.order("new")
    async with pool.dying():
        struck = pool.break_down(USDM)
        closed = await pool.closed()
    fresh_redis.kill()
    fresh_redis.restart()
    pool.send(new)
    async with pool.working():
        failed = await pool.until(
            lambda: (one := pool.stands(WHOLE_EXCHANGE)) and one.probes > closed.probes and one,
            "a probe fails",
        )
        assert (failed.since_ms, failed.state is StandingState.RECOVERING) == (closed.since_ms, False)
        await pool.expires(account="alt")
        assert pool.arrived(new, "place") == []
        paper.clear_faults()
        assert (await pool.outcome(new)).status is OrderStatus.ACTIVE
        assert (await pool.outcome(struck)).status is OrderStatus.ACTIVE
        await pool.open_again()
    pool.close()


@pytest.mark.parametrize("points", [STANDING_POINTS[:2], STANDING_POINTS[2:]], ids=["declaring", "probing"])
async def test_workers_killed_while_they_declare_or_probe_are_followed_by_another(
    pool: Troubled, tmp_path: Path, points: list[str]
) -> None:
    new = USDM.order("new")
    arms = [Arm(point=point, action="kill", token=point) for point in points]
    armed = [
        {VARIABLE: msgspec.json.encode(Arming(folder=str(tmp_path), arms=(arm,))).decode()} for arm in arms
    ]
    with (
        worker_process(pool, USDM, tmp_path, "one", **armed[0]) as one,
        worker_process(pool, USDM, tmp_path, "other", **armed[1]) as other,
    ):
        await pool.until(lambda: len(pool.workers()) == 2, "both have joined")
        async with pool.working():
            struck = pool.break_down(USDM)
            await pool.until(lambda: one.poll() and other.poll(), f"deaths at {points}")
            assert (one.poll(), other.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
            await pool.closed()
            pool.send(new)
            pool.paper.clear_faults()
            assert (await pool.outcome(new)).status is OrderStatus.ACTIVE
            assert (await pool.outcome(struck)).status is OrderStatus.ACTIVE
            await pool.open_again()
    pool.assert_once(new)
