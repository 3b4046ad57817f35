"""Cancelling all of a symbol, an account or a strategy: everything covered goes, whatever one part of it meets."""

from __future__ import annotations

from typing import Any, Final

import pytest

from orderlane.intents import PlaceOrder
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import CONDITIONAL, USDM, VENUES, Product
from tests.workers.test_redis_forgot import Forgetful, forgetful, reason_code
from tests.workers.test_thinking_races import Dying, dying
from tests.workers.thinking_lanes import known, statuses

__all__ = ["dying", "forgetful", "paper", "paper_of_module", "pool"]

ACTIVE, CANCELED, DONE = OrderStatus.ACTIVE, OrderStatus.CANCELED, OrderStatus.DONE
CLEARING: Final = r"^DELETE /(api/v3/openOrders|fapi/v1/allOpenOrders)$"
RESTING: Final = {
    "BTC": ("50000", "0.01"), "ETH": ("2500", "0.1"), "BNB": ("500", "1"), "SOL": ("120", "4"), "LTC": ("60", "5"),
    "LINK": ("11", "20"), "AVAX": ("25", "10"), "DOT": ("5", "50"), "ATOM": ("7", "50"), "UNI": ("6", "50"),
    "BCH": ("300", "1"), "NEAR": ("4", "60"),
}  # fmt: skip
"""A price below the market on each of a dozen symbols, and an amount that both products take there."""


def on_every_symbol(venue: Product, **fields: Any) -> list[PlaceOrder]:
    """One order on each of them."""
    return [
        venue.order(f"order-{coin}", price, symbol=venue.symbol.replace("BTC", coin), amount=amount, **fields)
        for coin, (price, amount) in RESTING.items()
    ]


# Cancel all

REFUSAL = '{"code":-1102,"msg":"Mandatory parameter was not sent."}'


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    ("fault", "details"),
    [
        pytest.param("", {}, id="nothing wrong"),
        pytest.param("drop_after", {}, id="executed, then a dropped connection"),
        pytest.param("error_before", {"status": 503}, id="a 503"),
    ],
)
async def test_cancel_all_clears_the_symbol_and_nothing_else_and_nothing_placed_after_it(
    pool: Pool, venue: Product, fault: str, details: dict[str, Any]
) -> None:
    fields: Any = CONDITIONAL[0].values[0]
    plain, stop = venue.order("plain"), venue.order("stop", **fields)
    other = venue.order("other", symbol=venue.symbol.replace("BTC", "ETH"), price=2_500, amount="0.1")
    everything, after = venue.cancels_all("everything"), venue.order("after")
    route = r"^DELETE /(api/v3/openOrders|fapi/v1/allOpenOrders)$"
    async with pool.working(venue):
        pool.send(plain, stop, other)
        await pool.ended(venue)
        if fault:
            pool.paper.fault(route, fault, count=1, **details)
        pool.send(everything, after)
        assert (await pool.outcome(everything)).status is OrderStatus.DONE
        await pool.outcome(after)
    open_ids = {one.get("client_order_id") for one in pool.open_on_book(venue)}
    assert open_ids == {pool.client_order_id(other), pool.client_order_id(after)}
    for intent in (plain, stop, other, after):
        pool.assert_once(intent)
    pool.assert_told(everything)


@pytest.mark.parametrize("venue", VENUES)
async def test_cancel_all_that_is_given_up_leaves_no_request_behind_that_could_hit_later_orders(
    pool: Pool, venue: Product
) -> None:
    """A try whose reply was lost may be on its way still: what the lane places next must not meet it."""
    everything, after = venue.cancels_all("everything"), venue.order("after")
    route = r"^DELETE /(api/v3/openOrders|fapi/v1/allOpenOrders)$"
    pool.paper.fault(route, "error_before", count=3, status=503)
    async with pool.working(venue):
        pool.send(everything, after)
        await pool.outcome(everything)
        placed_at = (await pool.outcome(after)).times.sent_at
    order = pool.record(everything)
    assert order is not None
    assert (order.status, order.attempts) == (OrderStatus.FAILED, 3)
    assert placed_at > order.executable_until
    assert pool.open_on_book(venue)
    pool.assert_once(after)


async def test_cancel_all_that_the_exchange_half_refused_leaves_no_record_behind_the_exchange(
    pool: Pool,
) -> None:
    """On USDⓈ-M it is two requests: the conditional orders go with the first, and the second may be refused."""
    fields: Any = CONDITIONAL[0].values[0]
    plain, stop = USDM.order("plain"), USDM.order("stop", **fields)
    everything = USDM.cancels_all("everything")
    async with pool.working(USDM):
        pool.send(plain, stop)
        await pool.ended(USDM)
        pool.paper.fault("^DELETE /fapi/v1/allOpenOrders$", "verbatim", count=1, status=400, body=REFUSAL)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is OrderStatus.REJECTED
        record = pool.record(stop)
    assert record is not None
    assert record.status is OrderStatus.CANCELED
    assert {one.get("client_order_id") for one in pool.open_on_book(USDM)} == {pool.client_order_id(plain)}


@pytest.mark.parametrize("venue", VENUES)
async def test_cancel_all_of_an_account_clears_every_symbol_of_it_and_no_other_account(
    pool: Pool, venue: Product
) -> None:
    fields: Any = CONDITIONAL[0].values[0]
    eth = venue.symbol.replace("BTC", "ETH")
    mine = [
        venue.order("plain"),
        venue.order("stop", **fields),
        venue.order("other-symbol", symbol=eth, price=2_500, amount="0.1"),
    ]
    theirs = venue.order("theirs", account="alt")
    everything = venue.cancels_all("everything", symbol="*")
    async with pool.working(venue):
        pool.send(*mine, theirs)
        await pool.ended(venue)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is OrderStatus.DONE
    assert {one.get("client_order_id") for one in pool.open_on_book(venue)} <= {pool.client_order_id(theirs)}
    assert [order.status for order in map(pool.record, mine) if order] == [OrderStatus.CANCELED] * 3
    record = pool.record(theirs)
    assert record is not None
    assert record.status is OrderStatus.ACTIVE


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("venue", VENUES)
async def test_cancel_all_of_a_strategy_leaves_other_strategies_and_later_orders(
    pool: Pool, venue: Product, lost: bool
) -> None:
    fields: Any = CONDITIONAL[0].values[0]
    eth = venue.symbol.replace("BTC", "ETH")
    grid = [
        venue.order("grid-1", strategy="grid"),
        venue.order("grid-2", strategy="grid", **fields),
        venue.order("grid-3", strategy="grid", symbol=eth, price=2_500, amount="0.1"),
    ]
    trend, later = venue.order("trend", strategy="trend"), venue.order("later", strategy="grid")
    everything = venue.cancels_all("everything", symbol="*", strategy="grid")
    async with pool.working(venue):
        pool.send(*grid, trend)
        await pool.ended(venue)
        if lost:
            pool.paper.fault("^DELETE ", "drop_after", count=2)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is OrderStatus.DONE
        pool.send(later)
        await pool.outcome(later)
    assert {one.get("client_order_id") for one in pool.open_on_book(venue)} == {
        pool.client_order_id(trend),
        pool.client_order_id(later),
    }
    assert [order.status for order in map(pool.record, grid) if order] == [OrderStatus.CANCELED] * 3


async def test_what_one_symbol_is_refused_does_not_spare_the_others_and_is_named(pool: Pool) -> None:
    btc, eth = USDM.order("btc"), USDM.order("eth", symbol="ETH/USDT:USDT", price=2_500, amount="0.1")
    everything = USDM.cancels_all("everything", symbol="*")
    pool.paper.fault(
        "^DELETE /fapi/v1/allOpenOrders$", "verbatim", symbol="BTCUSDT", status=400, body=REFUSAL
    )
    async with pool.working(USDM):
        pool.send(btc, eth)
        await pool.ended(USDM)
        pool.send(everything)
        ended = await pool.outcome(everything)
    assert ended.status is OrderStatus.REJECTED
    assert {one.get("client_order_id") for one in pool.open_on_book(USDM)} == {pool.client_order_id(btc)}


# Many at once


@pytest.mark.parametrize("strategy", ["", "grid"])
@pytest.mark.parametrize("venue", VENUES)
async def test_what_stands_still_on_one_symbol_does_not_hold_up_the_others(
    pool: Pool, venue: Product, strategy: str
) -> None:
    orders = on_every_symbol(venue, strategy="grid")
    everything = venue.cancels_all("everything", symbol="*", strategy=strategy)
    async with pool.working(venue):
        pool.send(*orders)
        await pool.ended(venue)
        pool.paper.fault("^DELETE ", "delay", symbol="BTCUSDT", count=1, delay_ms=450)
        pool.send(everything)
        await pool.until(lambda: len(pool.open_on_book(venue)) == 1, "all but one off the book")
        assert not known(pool, everything).status.terminal
        assert (await pool.outcome(everything)).status is DONE
    assert pool.open_on_book(venue) == []
    assert set(statuses(pool, *orders)) == {CANCELED}
    pool.assert_told(everything)


@pytest.mark.parametrize("strategy", ["", "grid"])
@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    ("fault", "details"),
    [
        pytest.param("drop_after", {}, id="executed, then dropped connections"),
        pytest.param("error_after", {"status": 503}, id="executed, then 503s"),
        pytest.param("error_before", {"status": 503}, id="503s"),
        pytest.param("429", {}, id="a 429"),
    ],
)
async def test_replies_lost_on_some_symbols_leave_no_order_behind(
    pool: Pool, venue: Product, strategy: str, fault: str, details: dict[str, Any]
) -> None:
    orders = on_every_symbol(venue, strategy="grid")
    everything = venue.cancels_all("everything", symbol="*", strategy=strategy)
    async with pool.working(venue):
        pool.send(*orders)
        await pool.ended(venue)
        pool.paper.fault("^DELETE ", fault, count=1 if fault == "429" else 5, **details)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is DONE
    assert pool.open_on_book(venue) == []
    assert set(statuses(pool, *orders)) == {CANCELED}
    pool.assert_told(everything)


@pytest.mark.parametrize("strategy", ["", "grid"])
async def test_several_refusals_are_named_and_the_rest_is_cancelled(pool: Pool, strategy: str) -> None:
    orders = on_every_symbol(USDM, strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy=strategy)
    async with pool.working():
        pool.send(*orders)
        await pool.ended()
        for symbol in ("BTCUSDT", "ETHUSDT"):
            pool.paper.fault("^DELETE ", "verbatim", symbol=symbol, status=400, body=REFUSAL)
        pool.send(everything)
        ended = await pool.outcome(everything)
    assert (ended.status, reason_code(ended)) == (OrderStatus.REJECTED, "partly_refused")
    assert ended.reason is not None
    assert "BTC" in ended.reason.message
    assert "ETH" in ended.reason.message
    assert statuses(pool, *orders) == [ACTIVE] * 2 + [CANCELED] * (len(RESTING) - 2)


async def test_a_deadline_that_passes_on_the_way_ends_it_with_true_records(pool: Pool) -> None:
    orders = on_every_symbol(USDM)
    async with pool.working():
        pool.send(*orders)
        await pool.ended()
        pool.paper.fault(CLEARING, "error_before", symbol="BTCUSDT", status=503)
        deadline = int(pool.client.time()[0] * 1000) + 1_300
        everything = USDM.cancels_all("everything", symbol="*", expires_at=deadline)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is OrderStatus.EXPIRED
    assert statuses(pool, *orders) == [ACTIVE] + [CANCELED] * (len(RESTING) - 1)


@pytest.mark.parametrize("point", ["command.begun", "command.replied"])
async def test_a_strategy_s_order_that_was_submitted_after_it_is_not_met_by_a_replay(
    pool: Pool, dying: Dying, point: str
) -> None:
    orders, later = on_every_symbol(USDM, strategy="grid"), USDM.order("later", strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy="grid")
    async with pool.dying():
        pool.send(*orders)
        await pool.ended()
        dying.arm(point, 3)
        pool.send(everything)
        await pool.until(dying.died.is_set, point)
        pool.send(later)  # its own lane goes on
        await pool.outcome(later)
    async with pool.working():
        assert (await pool.outcome(everything)).status is DONE
    assert set(statuses(pool, *orders)) == {CANCELED}
    assert len(pool.open_on_book(USDM)) == 1
    pool.assert_once(later)


@pytest.mark.parametrize("point", ["command.begun", "command.replied", "target.noted", "record.before"])
@pytest.mark.parametrize("strategy", ["", "grid"])
async def test_whoever_comes_after_a_death_in_the_middle_finishes_it(
    pool: Pool, dying: Dying, strategy: str, point: str
) -> None:
    orders = on_every_symbol(USDM, strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy=strategy)
    async with pool.dying():
        pool.send(*orders)
        await pool.ended()
        dying.arm(point, 1 if point == "record.before" else 3)
        pool.send(everything)
        await pool.until(dying.died.is_set, point)
    later = USDM.order("later", strategy="grid")
    async with pool.working():
        assert (await pool.outcome(everything)).status is DONE
        pool.send(later)
        await pool.outcome(later)
    assert len(pool.open_on_book(USDM)) == 1
    assert set(statuses(pool, *orders)) == {CANCELED}
    pool.assert_once(later)


@pytest.mark.parametrize("strategy", ["", "grid"])
async def test_after_redis_forgot_it_a_strategy_is_cancelled_again_and_an_account_is_not(
    forgetful: Forgetful, strategy: str
) -> None:
    """Done again, that of the account could meet what was placed meanwhile."""
    orders = on_every_symbol(USDM, strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy=strategy)
    async with forgetful.working():
        forgetful.send(*orders)
        await forgetful.ended()
    forgetful.send(everything)
    forgetful.remember()
    later = USDM.order("later", strategy="grid")
    async with forgetful.working():
        await forgetful.outcome(everything)
        forgetful.send(later)
        await forgetful.outcome(later)
    forgetful.forget()
    async with forgetful.working():
        ended = await forgetful.outcome(everything)
    assert ended.status is (DONE if strategy else OrderStatus.FAILED)
    if not strategy:
        assert reason_code(ended) == "redis_restarted"
    assert len(forgetful.open_on_book(USDM)) == 1


@pytest.mark.parametrize("fault", ["drop_after", "error_before"])
async def test_an_order_of_the_strategy_whose_outcome_is_not_known_yet_is_found_out_about(
    pool: Pool, fault: str
) -> None:
    """Its own lane is asking for it still; if it is not there, that lane does not send it again."""
    order = USDM.order("order", strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy="grid")
    async with pool.working():
        pool.paper.fault(USDM.place, fault, count=1)
        pool.paper.fault(USDM.query, "error_before", count=3, status=503)
        pool.send(order)
        await pool.status(order, OrderStatus.UNKNOWN)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is DONE
        await pool.ended()
    if fault == "drop_after":
        assert known(pool, order).status is CANCELED
        assert len(pool.placed(order)) == 1
    else:
        assert known(pool, order).status in (OrderStatus.FAILED, CANCELED)
    assert pool.open_on_book(USDM) == []
