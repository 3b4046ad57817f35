"""One order's news into its record: its fills noted once for ever, its state moved forward, whatever came first.

News may come in any order, twice, or late. A fill counts by the exchange's id of it; a report moves a record forward
or not at all (`apply_report`). So every step may be repeated, and what was left half done is done by whoever hears it
next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from common import failpoints
from common.absorbed import NOBODY
from common.exchange.base import OrderReport, StreamUpdate, TradeReport
from common.journal import Journal, Written, apply_report
from common.redis import ScriptRunner
from orderlane.events import encode_event
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, decode_order, encode_record
from workers.jobs.matching import IN_FLIGHT_MS, reference_to
from workers.user_stream.counting import Change, Fields, Figures, counted, fields_of, read_figures
from workers.user_stream.fills import Fill, decode_fill, encode_fill, fill_of, trade_event, with_fills
from workers.user_stream.lease import StreamLease, StreamLost

OPEN_FILLS_MS: Final = 90 * 86_400_000
"""How long the fills of an order are kept that has not ended: Binance cancels spot orders untouched for 90 days."""
AGAIN_SECONDS: Final = 0.2
"""How often news of an order whose request is under way is tried again."""
_RECORD_FIELDS: Final = (b"status", b"version", b"entry", b"record")


class Applied(StrEnum):
    """What became of an order's news."""

    DONE = "done"
    LATER = "later"
    """Its request is still its worker's own affair, which hears the same and more: to be tried again."""
    NO_RECORD = "no_record"


class News(Struct):
    """What is new about one order."""

    updates: list[StreamUpdate] = []
    trades: list[TradeReport] = []


class Applier:
    """Brings news into the journal, for the holder of the account's stream."""

    def __init__(
        self,
        runner: ScriptRunner,
        keys: Keys,
        journal: Journal,
        lease: StreamLease,
        *,
        retention_ms: int,
        counts_positions: bool = True,
    ) -> None:
        self._runner = runner
        self._keys = keys
        self._journal = journal
        self._lease = lease
        self._retention_ms = retention_ms
        self._counts_positions = counts_positions
        self._counting = asyncio.Lock()
        """Held from reading the account's figures to writing them: orders that fill at once share them."""

    async def apply(self, client_order_id: str, news: News) -> Applied:
        """Bring one order's news in.

        Raises:
            StreamLost: the stream is no longer this holder's; what was written stands.
            redis.exceptions.RedisError: no answer; the same news may be brought in again.
        """
        trades = {trade.trade_id: trade for trade in news.trades}
        trades |= {update.trade.trade_id: update.trade for update in news.updates if update.trade is not None}
        asked = fields_of(trades.values()) if self._counts_positions else Fields()
        while True:
            self._lease.require()
            async with self._counting if asked.symbol else nullcontext():
                record, known, figures = await self._read(client_order_id, asked)
                if record is None:
                    return Applied.NO_RECORD
                now_ms = self._lease.redis_now_ms()
                if _is_in_flight(record, now_ms):
                    return Applied.LATER
                reported = record
                for report in reports_for(record, news.updates):
                    reported = apply_report(reported, report, now_ms) or reported
                new = [trade for trade in trades.values() if trade.trade_id not in known]
                merged = with_fills(reported, [*known.values(), *map(fill_of, new)], now_ms)
                if record.status is OrderStatus.QUEUED:
                    merged = record  # sent, and forgotten: its lane asks for it, and records it then
                changes = counted(figures, asked, new, record.intent.strategy, now_ms)
                noted = await self._note_what_is_new(record, merged, new, changes, now_ms, bool(known))
            if noted and await self._move(record, merged):
                return Applied.DONE

    async def _note_what_is_new(
        self,
        record: Order,
        merged: Order,
        new: Sequence[TradeReport],
        changes: Sequence[Change],
        now_ms: int,
        has_fills: bool,
    ) -> bool:
        """Note new fills, and what changes of the record that no order event tells; False when somebody else wrote it
        meanwhile."""
        moves = _told(record) != _told(merged)
        put_right = merged if merged is not record and not moves else None
        # From its end on, an order's fills are kept as long as its record.
        ends = moves and has_fills and merged.status.terminal
        if not (new or put_right or ends):
            return True
        if not await self._note(record, put_right, merged, new, changes, now_ms):
            return False
        failpoints.reach("stream.noted", record.intent.id)
        return True

    async def _move(self, record: Order, merged: Order) -> bool:
        """Bring the record to what an order event tells of; False when somebody else wrote it meanwhile."""
        if _told(record) == _told(merged):
            return True
        written = isinstance(await self._journal.write(merged, record), Written)
        failpoints.reach("stream.written", record.intent.id)
        return written

    async def _note(
        self,
        record: Order,
        put_right: Order | None,
        merged: Order,
        new: Sequence[TradeReport],
        changes: Sequence[Change],
        now_ms: int,
    ) -> bool:
        keys, client_order_id = self._keys, record.client_order_id
        arguments: list[Any] = [
            self._lease.holder,
            str(record.version),
            encode_record(put_right) if put_right else "",
            self._retention_ms if merged.status.terminal else OPEN_FILLS_MS,
            len(changes),
        ]
        for change in changes:
            arguments += change.arguments
        followers = await self._journal.followers(put_right) if put_right is not None else NOBODY
        arguments += [*followers.arguments, len(followers.events), *map(encode_event, followers.events)]
        for trade in new:
            event = trade_event(put_right or record, trade, at=now_ms, worker=self._lease.holder)
            arguments += [trade.trade_id, encode_fill(fill_of(trade)), encode_event(event)]
        reply = await self._runner.run(
            "note_fills",
            [
                self._lease.key, keys.order(client_order_id), keys.fills(client_order_id), keys.events,
                *self._figure_keys(), *followers.keys,
            ],
            arguments,
        )  # fmt: skip
        if reply[0] == b"fenced":
            raise StreamLost(self._lease.account)
        return bool(reply[0] == b"ok")

    async def _read(
        self, client_order_id: str, asked: Fields
    ) -> tuple[Order | None, dict[str, Fill], Figures]:
        keys = [self._keys.order(client_order_id), self._keys.fills(client_order_id), *self._figure_keys()]
        fields, pairs, values = await self._runner.run("read_fills", keys, asked.arguments)
        record = decode_order(dict(zip(_RECORD_FIELDS, fields, strict=True))) if fields else None
        fills = {
            trade_id.decode(): decode_fill(fill)
            for trade_id, fill in zip(pairs[::2], pairs[1::2], strict=True)
        }
        return record, fills, read_figures(asked, values)

    def _figure_keys(self) -> tuple[str, str]:
        account = self._lease.account
        return self._keys.positions(account), self._keys.balances(account)


def reports_for(record: Order, updates: Sequence[StreamUpdate]) -> list[OrderReport]:
    """The reports as the record takes them: a conditional order keeps its own id when it becomes an ordinary order."""
    conditional = reference_to(record).conditional
    return [
        msgspec.structs.replace(update.report, exchange_order_id="")
        if conditional and not update.conditional
        else update.report
        for update in updates
    ]


def _is_in_flight(record: Order, now_ms: int) -> bool:
    return record.status is OrderStatus.SUBMITTED and now_ms - record.times.updated_at < IN_FLIGHT_MS


def _told(order: Order) -> tuple[Any, ...]:
    """What an order event is about; the rest of a record (fees, average) is told by the fills' own events."""
    return order.status, order.filled, order.exchange_order_id, order.amount, order.price
