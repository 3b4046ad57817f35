"""What fills sum up to in a record, and what their events say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.base import Liquidity, TradeReport
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus
from workers.archive.rows import trade_row
from workers.user_stream.fills import Fill, decode_fill, encode_fill, fill_of, trade_event, with_fills


def order(**fields: Any) -> Order:
    intent = PlaceOrder(
        id="one",
        exchange="binance",
        account="main",
        symbol="BTC/USDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=Decimal(3),
        price=Decimal(100),
        strategy="grid",
    )
    return Order(client_order_id="a" * 25, intent=intent, amount=Decimal(3), **fields)


def fill(amount: object, price: object, fee: object = None, currency: str = "USDT") -> Fill:
    cost = None if fee is None else Decimal(str(fee))
    return Fill(amount=Decimal(str(amount)), price=Decimal(str(price)), fee=cost, fee_currency=currency)


def test_fills_that_account_for_all_that_is_filled_give_its_average_and_fees() -> None:
    known = order(status=OrderStatus.FILLED, filled=Decimal(3), average=Decimal(99))
    summed = with_fills(known, [fill(1, 100, "0.1"), fill(2, 103, "0.2"), fill("0", 1)], 5)
    assert (summed.average, summed.fees) == (Decimal(102), {"USDT": Decimal("0.3")})
    assert summed.status is OrderStatus.FILLED


def test_fees_are_summed_by_currency_and_none_is_left_out() -> None:
    fills = [fill(1, 100, "0.1"), fill(1, 100, "0.002", "BNB"), fill(1, 100, 0), fill("0.5", 100)]
    summed = with_fills(order(status=OrderStatus.PARTIAL, filled=Decimal(3)), fills, 5)
    assert summed.fees == {"USDT": Decimal("0.1"), "BNB": Decimal("0.002")}


def test_fills_that_account_for_less_say_nothing_yet() -> None:
    known = order(status=OrderStatus.FILLED, filled=Decimal(3), average=Decimal(99))
    assert with_fills(known, [fill(1, 100, "0.1"), fill(1, 100, "0.1")], 5) is known
    assert with_fills(known, [], 5) is known


def test_more_filled_than_the_record_knows_raises_it_and_what_is_open_is_filled_in_part() -> None:
    summed = with_fills(order(status=OrderStatus.ACTIVE), [fill(1, 100)], 5)
    assert (summed.status, summed.filled, summed.times.updated_at) == (OrderStatus.PARTIAL, Decimal(1), 5)
    ended = with_fills(order(status=OrderStatus.CANCELED), [fill(1, 100)], 5)
    assert (ended.status, ended.filled) == (OrderStatus.CANCELED, Decimal(1))


amounts = st.decimals(min_value="0.00000001", max_value="1000000", places=8)
made_fills = st.builds(
    fill, amounts, amounts, st.none() | st.decimals(0, 100, places=8), st.sampled_from(("USDT", "BNB"))
)


@given(st.lists(made_fills, min_size=1, max_size=8), st.randoms())
def test_in_whatever_order_fills_come_the_record_ends_the_same(fills: list[Fill], chance: Any) -> None:
    known = order(status=OrderStatus.PARTIAL)
    shuffled = chance.sample(fills, len(fills))
    ended = with_fills(known, fills, 5)
    assert with_fills(known, shuffled, 5).filled == ended.filled
    assert with_fills(known, shuffled, 5).fees == ended.fees
    assert with_fills(ended, fills, 9) is ended, "the same fills again are no news"


@given(made_fills)
def test_a_fill_is_kept_exactly(made: Fill) -> None:
    assert decode_fill(encode_fill(made)) == made


def test_the_event_of_a_fill_is_a_row_of_the_archive() -> None:
    trade = TradeReport(
        trade_id="77",
        exchange_order_id="12",
        symbol="BTC/USDT",
        side=Side.SELL,
        amount=Decimal("0.000000010"),
        price=Decimal("64000.10"),
        fee=Decimal("1E-7"),
        fee_currency="BNB",
        liquidity=Liquidity.MAKER,
        traded_at=1_760_000_000_123,
    )
    event = trade_event(order(status=OrderStatus.PARTIAL, exchange_order_id="12"), trade, at=9, worker="w")
    assert (event.from_status, event.to_status) == (OrderStatus.PARTIAL, OrderStatus.PARTIAL)
    row = trade_row("binance", event)
    assert row is not None
    assert (row.trade_id, row.side, row.liquidity, row.fee_currency) == ("77", "sell", "maker", "BNB")
    assert (row.amount, row.price, row.fee) == (
        Decimal("0.00000001"),
        Decimal("64000.1"),
        Decimal("0.0000001"),
    )
    assert (row.traded_at_ms, row.strategy, row.exchange_order_id) == (1_760_000_000_123, "grid", "12")
    bare = msgspec.structs.replace(trade, fee=None, fee_currency="", liquidity=None)
    told = trade_event(order(status=OrderStatus.FILLED), bare, at=9, worker="w").numbers
    assert {"fee", "fee_currency", "liquidity"}.isdisjoint(told)
    assert fill_of(bare).fee is None
