"""What the exchange has of a lane's orders since Redis' memory may end: the evidence that no forgetting takes away.

Open orders, and orders with fills: what else there may be (cancelled or refused without a fill) has changed nothing. A
list of fills names orders by the exchange's id alone; which of ours that is, the pool's events say. Those that Redis
knows as filled need no question: what they filled is their amount. Any other is asked for once.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from common import failpoints
from common.exchange.base import OrderReference, OrderReport, TradeReport
from common.lanes import Hold
from common.venue_limits import Operation
from orderlane.identity import belongs_to_pool
from orderlane.intents import URGENT_PRIORITY
from orderlane.orders import OrderStatus
from workers.desk import Behind, Desk

DAY_MS = 86_400_000
"""How far on from its beginning a list of fills is sure to look (Binance spot: 24 hours)."""


async def orders_behind(desk: Desk, hold: Hold) -> Mapping[str, Behind]:
    """The pool's orders of this lane that the exchange may have executed since Redis' memory ends, or since the entry
    in hand was appended, by client order id. Asked for once in a worker's life: nothing forgotten can be executed now.

    Raises:
        ExchangeFailure: a question failed.
        LeaseLost, Stopping: somebody else will ask.
    """
    since_ms = min(hold.entry_ms, await desk.queue.remembered_until() or hold.entry_ms)
    known = desk.behind.get(hold.lane)
    if known is not None and known[0] <= since_ms:
        return known[1]
    found = await _ask(desk, hold, since_ms)
    desk.behind[hold.lane] = since_ms, found
    failpoints.reach("recall.listed", hold.lane)
    return found


async def _ask(desk: Desk, hold: Hold, since_ms: int) -> dict[str, Behind]:
    account, _, symbol = hold.lane.partition("|")
    await desk.throttle.acquire(Operation.OPEN_ORDERS, account, symbol, URGENT_PRIORITY)
    async with desk.request_slot():
        listed = await desk.exchange.open_orders(account, symbol)
    found = {
        report.client_order_id: Behind(
            report.client_order_id, report.amount or Decimal(0), report.terms.side if report.terms else None
        )
        for report in listed
        if belongs_to_pool(desk.pool, report.client_order_id)
    }
    since_ms -= desk.policy.lease_ms + desk.policy.clock_margin_ms
    fills = await _fills(desk, account, symbol, since_ms)
    told = await desk.queue.names_told(since_ms) if fills else {}
    names = {one: told[one] for one in fills if one in told}
    records = dict(zip(names.values(), await desk.journal.read_many(list(names.values())), strict=True))
    for exchange_order_id, fill in fills.items():
        name = names.get(exchange_order_id, "")
        record = records.get(name)
        if record is not None and record.status is OrderStatus.FILLED:
            found[name] = Behind(name, record.filled, fill.side)  # the exchange's own word of its amount
            continue
        reference = OrderReference(
            account=account, symbol=symbol, client_order_id=name, exchange_order_id=exchange_order_id
        )
        report = await _find(desk, reference)
        if report is not None and belongs_to_pool(desk.pool, report.client_order_id):
            amount = report.amount or Decimal(0)
            found[report.client_order_id] = Behind(report.client_order_id, amount, fill.side)
    return found


async def _find(desk: Desk, reference: OrderReference) -> OrderReport | None:
    account, symbol = reference.account, reference.symbol
    await desk.throttle.acquire(Operation.FIND, account, symbol, URGENT_PRIORITY)
    async with desk.request_slot():
        return await desk.exchange.find(reference)


async def _fills(desk: Desk, account: str, symbol: str, since_ms: int) -> dict[str, TradeReport]:
    """One fill of each order that had any since then, by the exchange's id of the order."""
    fills: dict[str, TradeReport] = {}
    since_ms += desk.exchange.now_ms() - desk.now_ms()
    after_id = ""
    while True:
        await desk.throttle.acquire(Operation.HISTORY, account, symbol, URGENT_PRIORITY)
        async with desk.request_slot():
            page = await desk.exchange.trades(account, symbol, since_ms, after_id)
        fills |= {fill.exchange_order_id: fill for fill in page}
        if page and page[-1].trade_id != after_id:
            if after_id and len(page) < desk.exchange.trades_page:
                return fills
            after_id = page[-1].trade_id
        elif after_id or since_ms + DAY_MS >= desk.exchange.now_ms():
            return fills
        else:
            since_ms += DAY_MS
