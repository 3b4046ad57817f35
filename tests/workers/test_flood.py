"""One account with more lanes and intents than the limits let out does not hold back another's."""

from __future__ import annotations

from decimal import Decimal

from orderlane.intents import CancelAll, OrderType, PlaceOrder, Side
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import CONFIG, Pool, paper, paper_of_module, pool
from tests.workers.products import USDM

__all__ = ["paper", "paper_of_module", "pool"]

SYMBOLS = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC")
ONE_LANE = CONFIG.replace("lease_ms: 1500", "lanes: 1, in_flight: 1, lease_ms: 1500")
SLOW = ONE_LANE.replace("limits_reserve: 0", "limits: {orders_10s: 20/hour}\n    limits_reserve: 0", 1)
"""One lane at a time; of each account three orders, and then one in some minutes."""
NARROW = ONE_LANE.replace(
    "limits_reserve: 0",
    "limits: {weight_1m: 1000000/minute, orders_10s: 100000/10 seconds, orders_1m: 100000/minute}\n"
    "    limits_reserve: 0",
    1,
)
"""One lane at a time, and no limit that is ever met."""


def place(identifier: str, account: str, coin: str, **changes: object) -> PlaceOrder:
    fields: dict[str, object] = {
        "id": identifier,
        "exchange": USDM.exchange,
        "account": account,
        "symbol": f"{coin}/USDT:USDT",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "amount": Decimal(1000) if coin in ("XRP", "ADA", "DOGE") else Decimal(1),
    }
    return PlaceOrder(**(fields | changes))  # type: ignore[arg-type]


async def test_lanes_that_wait_for_tokens_hold_nothing_that_another_account_needs(pool: Pool) -> None:
    pool.config = SLOW
    async with pool.working() as worker:
        flood = [place(f"{coin}-{number}", "main", coin) for coin in SYMBOLS for number in range(4)]
        pool.send(*flood)
        await pool.until(
            lambda: len(worker.throttle.idle.tasks) == len(SYMBOLS), "every lane of the flood, waiting"
        )
        calm = place("calm", "alt", "BTC")
        pool.send(calm)
        assert (await pool.outcome(calm)).status is OrderStatus.FILLED
        pool.assert_once(calm)
    assert sum(len(pool.placed(one)) for one in flood) == 3


async def test_lanes_without_room_take_turns_instead_of_waiting_until_another_is_empty(pool: Pool) -> None:
    pool.config = NARROW
    deep = [place(f"deep-{number}", "main", "BTC", amount=Decimal("0.01")) for number in range(400)]
    last = place("short", "alt", "ETH")
    pool.send(*deep, last)
    async with pool.working():
        assert (await pool.outcome(last)).status is OrderStatus.FILLED
        assert pool.backlog() > 100, "the deep lane was far from empty"
        pool.send(CancelAll(id="stop", exchange=USDM.exchange, account="main", symbol="*"))
    arrived = [one["client_order_id"] for one in pool.paper.audit() if one["kind"] == "place"]
    mine = [pool.client_order_id(one) for one in deep]
    assert [one for one in arrived if one in mine] == mine[: len(arrived) - 1], (
        "a lane that makes room keeps order"
    )
