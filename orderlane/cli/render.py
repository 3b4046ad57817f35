"""Values as a person reads them in a terminal of 80 columns or more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orderlane.events import Event, EventName
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, PlaceOrder
from orderlane.orders import Order, OrderStatus

STYLES = {
    OrderStatus.FILLED: "green",
    OrderStatus.DONE: "green",
    OrderStatus.ACTIVE: "cyan",
    OrderStatus.PARTIAL: "cyan",
    OrderStatus.REJECTED: "red",
    OrderStatus.FAILED: "red",
    OrderStatus.UNKNOWN: "bold red",
    OrderStatus.EXPIRED: "yellow",
}


def table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table whose cells fold rather than lose text."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def pairs(rows: Iterable[tuple[str, Text | str]]) -> Table:
    """Names and values, one pair to a line; pairs without a value are left out."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, value if isinstance(value, Text) else Text(value))
    return made


def number(value: Decimal | None) -> str:
    """A decimal without exponent; nothing for None."""
    return "" if value is None else f"{value:f}"


def moment(ms: int) -> str:
    """A time as UTC, to the ms; nothing for 0."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}.{ms % 1000:03} UTC" if ms else ""


def span(ms: int | None) -> str:
    """A length of time in its largest sensible unit."""
    if ms is None:
        return "-"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if abs(ms) >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms"


def status(value: OrderStatus | None) -> Text:
    """A status in its colour."""
    return Text(value.value if value else "", STYLES.get(value, "") if value else "")


def asked(intent: Intent) -> str:
    """What an intent asks for, in a few words."""
    if isinstance(intent, CancelOrder):
        return f"cancel {intent.target}"
    if isinstance(intent, AmendOrder):
        new = [
            f"{name} {number(value)}"
            for name, value in (("amount", intent.amount), ("price", intent.price))
            if value
        ]
        return f"amend {intent.target}: {', '.join(new)}"
    if isinstance(intent, CancelAll):
        whose = f" of {intent.strategy}" if intent.strategy else ""
        return f"cancel all{whose}"
    return _placed(intent)


def stands(order: Order) -> str:
    """What an order is on the exchange, in a few words: as `asked`, with the amount and price last sent."""
    intent = order.intent
    if isinstance(intent, PlaceOrder):
        return _placed(intent, order.amount, order.price)
    if isinstance(intent, AmendOrder):
        return asked(
            msgspec.structs.replace(
                intent, amount=order.amount or intent.amount, price=order.price or intent.price
            )
        )
    return asked(intent)


def _placed(intent: PlaceOrder, amount: Decimal | None = None, price: Decimal | None = None) -> str:
    words = [intent.side.value, number(amount or intent.amount)]
    words += ["at", number(price or intent.price)] if intent.price else [intent.type.value]
    if intent.trigger_price:
        words += [intent.type.value] if intent.price else []
        words += ["from", number(intent.trigger_price)]
    if intent.time_in_force:
        words.append(intent.time_in_force.value)
    if intent.reduce_only:
        words.append("reduce-only")
    if intent.replaces:
        words.append(f"instead of {intent.replaces}")
    return " ".join(words)


def order_detail(order: Order) -> Table:
    """Everything a person wants to know about one order."""
    intent, times = order.intent, order.times
    reason = f"{order.reason.code}: {order.reason.message}" if order.reason else ""
    filled = number(order.filled) if order.filled else ""
    if filled and order.average:
        filled += f" at {number(order.average)}"
    return pairs(
        [
            ("intent", f"{intent.id}  ({asked(intent)})"),
            ("status", status(order.status)),
            ("reason", reason),
            ("symbol", f"{intent.symbol} on {intent.exchange}/{intent.account}"),
            ("strategy", " ".join(filter(None, (intent.strategy, getattr(intent, "leg", ""))))),
            ("sent", " at ".join(filter(None, (number(order.amount), number(order.price))))),
            ("changed", ", ".join(f"{name} {change}" for name, change in order.changes.items())),
            ("filled", filled),
            ("fees", ", ".join(f"{number(fee)} {currency}" for currency, fee in order.fees.items())),
            ("replaced by", order.successor),
            ("sent as", asked(order.edited) if order.edited else ""),
            ("stands for", ", ".join(f"{one.intent_id} ({number(one.amount)})" for one in order.absorbed)),
            ("merged into", order.merged_into.intent_id if order.merged_into else ""),
            ("other intent", "" if order.merged_into else order.related),
            ("client id", order.client_order_id),
            ("exchange id", order.exchange_order_id),
            ("entry", order.entry),
            ("queued", moment(times.queued_at)),
            ("sent at", moment(times.sent_at)),
            ("answered", moment(times.acknowledged_at)),
            ("changed at", moment(times.updated_at)),
            ("tags", ", ".join(f"{name}={value}" for name, value in intent.tags.items())),
        ]
    )


def order_table(orders: Iterable[Order]) -> Table:
    """Orders, one to a row."""
    made = table("intent", "account", "symbol", "order", "status", "filled", numbers=("filled",))
    for order in orders:
        intent = order.intent
        made.add_row(
            escape(intent.id),
            f"{intent.exchange}/{intent.account}",
            intent.symbol,
            escape(stands(order)),
            status(order.status),
            number(order.filled) if order.filled else "",
        )
    return made


def event_line(event: Event) -> Text:
    """One event on one line: when, what, whose, and why."""
    style = STYLES.get(event.to_status, "") if event.to_status else ""
    if event.name in (EventName.SYSTEM_ERROR, EventName.UNKNOWN, EventName.ERROR, EventName.STUCK):
        style = "bold red"
    line = Text.assemble(
        (f"{datetime.fromtimestamp(event.at / 1000, UTC):%H:%M:%S}.{event.at % 1000:03} ", "dim")
    )
    line.append(f"{event.name.value:<20} ", style)
    words = [event.intent_id, event.account, event.symbol, f"with {event.related}" if event.related else ""]
    if event.filled:
        words.append(
            f"filled {number(event.filled)}" + (f" at {number(event.average)}" if event.average else "")
        )
    words += [f"{name} {change}" for name, change in event.changes.items()]
    words += [f"{name}={value}" for name, value in event.numbers.items()]
    line.append("  ".join(filter(None, words)))
    if event.reason:
        line.append(f"  {event.reason.code}: {event.reason.message}", "yellow")
    return line
