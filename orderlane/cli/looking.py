"""Looking at orders, and at what needs no pool at all: the schema of intents and an order's id."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec

from orderlane.cli.history import DEFAULT_LIMIT, Wanted, history_options, show_history
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import order_detail, order_table
from orderlane.errors import OrderNotFound
from orderlane.events import Event
from orderlane.identity import as_uuid, client_order_id
from orderlane.intents import intent_schema
from orderlane.orders import Order
from orderlane.waiting import read_event


@click.command()
@click.argument("intent_id", metavar="INTENT")
@pool_options()
@click.pass_obj
def get(operator: Operator, intent_id: str) -> None:
    """Show the order of an intent as it stands.

    An intent that was appended to the stream without a client has no record until a worker has begun it.
    """
    order = operator.client.get(intent_id)
    if order is None:
        places = operator.link.places(operator.exchange, operator.account)
        raise OrderNotFound(intent_id, [(place.exchange, place.account) for place in places])
    operator.show(order, lambda: order_detail(order))


@click.command()
@click.option("--open", "only_open", is_flag=True, help="All that were begun and have not ended, instead")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    help=f"The newest so many [{DEFAULT_LIMIT}; open ones, a file: all]",
)
@history_options(with_status=True)
@pool_options()
@click.pass_obj
def orders(operator: Operator, /, only_open: bool, limit: int | None, **given: Any) -> None:
    """Show orders: the last to change, all open ones, or, with any of the other options, those in the archive.

    --account and --exchange count as filters. The archive is read from its database, and Redis is not asked.
    """
    wanted = Wanted(**given)
    if wanted.asks:
        if only_open:
            raise click.UsageError(
                "--open shows what Redis holds: leave it out, or the options about the archive"
            )
        show_history(operator, "orders", wanted, limit)
        return
    limit = limit or DEFAULT_LIMIT
    found = operator.client.open_orders() if only_open else _changed_last(operator, limit)
    if operator.as_json:
        for order in found:
            operator.show(order, lambda: "")
    elif found:
        operator.console.print(order_table(found))
    else:
        operator.console.print("no open orders" if only_open else "no orders have changed lately")


@click.command(short_help="Print the JSON Schema of intents.")
@pool_options()
@click.pass_obj
def schema(operator: Operator) -> None:
    """Print the JSON Schema of intents, for producers in other languages."""
    click.echo(json.dumps(intent_schema(), indent=None if operator.as_json else 2))


@click.command("id", short_help="Print the client order id of an intent.")
@click.argument("intent_id", metavar="INTENT")
@pool_options()
@click.pass_obj
def id_(operator: Operator, intent_id: str) -> None:
    """Print the client order id that the order of an intent has on the exchange. Needs --exchange and --account."""
    if operator.exchange is None or operator.account is None:
        raise click.UsageError(
            "give --exchange and --account: the id is computed from both and the intent's id"
        )
    text = client_order_id(operator.pool, operator.exchange, operator.account, intent_id)
    uuid = as_uuid(text)
    operator.show({"client_order_id": text, "uuid": uuid, "hex": uuid.replace("-", "")}, lambda: text)


def _changed_last(operator: Operator, limit: int) -> list[Order]:
    """The orders that the latest events speak of, by last change."""
    keys: dict[str, None] = {}
    link = operator.link
    for exchange in link.named_exchanges(operator.exchange):
        names = link.settings.keys(exchange)
        for event in _latest_events(operator, names.events, 10 * limit):
            if event.client_order_id and operator.account in (None, event.account):
                keys[names.order(event.client_order_id)] = None
    found = sorted(link.orders(list(keys)), key=lambda order: order.times.updated_at)
    return found[-limit:]


def _latest_events(operator: Operator, stream: str, count: int) -> list[Event]:
    link = operator.link
    entries = link.ask(lambda: link.redis.xrevrange(stream, count=count))
    events = [read_event(entry) for entry in msgspec.convert(entries, list[tuple[bytes, dict[bytes, bytes]]])]
    return [event for event in events if event is not None]
