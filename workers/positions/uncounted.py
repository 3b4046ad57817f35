"""Whether the exchange knows fills of the pool's orders that are not counted yet: a stream that fell silent unnoticed.

A drift that such fills may explain is none: the stream's end is noticed by itself, and what it missed is read again.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import MsgspecError

from common.claims import CATCHING_UP
from common.exchange.base import UNKNOWN_SYMBOL, ExchangeFailure
from common.venue_limits import Operation
from orderlane.events import EventName, decode_event
from orderlane.keys import EVENT_FIELD
from workers.positions.books import Books

SILENT_PINGS: Final = 3
"""For how many pings' time a dead connection may go unnoticed."""
EVENTS_READ_TOGETHER: Final = 1_000


async def uncounted_fills(books: Books, account: str, symbol: str, before_ms: int) -> int:
    """How many, of those that happened shortly before `before_ms` (by the exchange's clock) or since.

    Raises:
        ExchangeFailure: the question was not answered.
        redis.exceptions.RedisError: Redis did not answer.
    """
    section = books.section.user_stream
    since_ms = before_ms - (section.overlap_seconds + SILENT_PINGS * section.ping_seconds) * 1000
    told, orders = await _told(books, account, symbol, since_ms)
    for record in await books.open_orders(account):
        if record.intent.symbol == symbol and record.exchange_order_id:
            orders.add(record.exchange_order_id)
    await books.throttle.acquire(Operation.HISTORY, account, symbol, CATCHING_UP)
    try:
        page = await books.exchange.trades(account, symbol, since_ms)
    except ExchangeFailure as failure:
        if failure.code != UNKNOWN_SYMBOL:
            raise
        return 0
    return sum(1 for trade in page if trade.trade_id not in told and trade.exchange_order_id in orders)


async def _told(books: Books, account: str, symbol: str, since_ms: int) -> tuple[set[str], set[str]]:
    """The trades of the market that events tell of, and the orders with a record that they do."""
    trades: set[str] = set()
    orders: set[str] = set()
    after = f"{max(since_ms - SILENT_PINGS * 1000, 0)}-0"
    while True:
        entries: Any = await books.redis.xrange(books.keys.events, after, "+", count=EVENTS_READ_TOGETHER)
        for entry_id, fields in entries:
            try:
                event = decode_event(entry_id.decode(), fields.get(EVENT_FIELD.encode(), b""))
            except MsgspecError:
                continue
            is_ours = event.client_order_id and event.name is not EventName.EXTERNAL
            if is_ours and (event.account, event.symbol) == (account, symbol):
                orders.add(event.exchange_order_id)
                if event.name is EventName.TRADE:
                    trades.add(event.numbers.get("trade_id", ""))
        if len(entries) < EVENTS_READ_TOGETHER:
            return trades, orders - {""}
        after = f"({entries[-1][0].decode()}"
