"""What the tests of lanes that think ask of a pool: its rules, what was sent, and which two intents an event names."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from orderlane import Client
from orderlane.intents import Intent, PlaceOrder
from orderlane.orders import Order, OrderStatus
from tests.workers.pool_fixture import Pool
from tests.workers.products import SPOT, USDM, Product

Send = Callable[..., None]

RULES: Final = re.compile(r"lane_rules: \{.*\}")
OFF: Final = {
    "expire_waiting": "false",
    "annul_cancelled": "false",
    "edit_waiting": "false",
    "replace_waiting": "false",
    "merge_closes": "false",
    "merge_amends": "false",
}


def follow(pool: Pool, **rules: str) -> None:
    """Let the workers to come go by these lane rules, and by the defaults for what isn't named."""
    written = ", ".join(f"{name}: {value}" for name, value in rules.items())
    pool.config = RULES.sub(f"lane_rules: {{{written}}}", pool.config)


def send_raw(pool: Pool) -> Send:
    """As any language would: by XADD, which leaves no record."""

    def send(*intents: Intent) -> None:
        pool.send(*intents)

    return send


def send_by_client(pool: Pool) -> Send:
    """As `pool.send`, by the client's own atomic step."""

    def send(*intents: Intent) -> None:
        with Client(pool.redis_url, exchange=intents[0].exchange, account="main") as client:
            for intent in intents:
                client.submit(intent)

    return send


def market(name: str, amount: str = "0.02", product: Product = USDM, **fields: Any) -> PlaceOrder:
    """A market order that buys."""
    return product.order(name, **({"price": None, "type": "market", "amount": amount} | fields))


def close(name: str, amount: str = "0.02", **fields: Any) -> PlaceOrder:
    """A reduce-only market order that sells."""
    return market(name, amount, USDM, **({"side": "sell", "reduce_only": True} | fields))


def known(pool: Pool, intent: Intent) -> Order:
    order = pool.record(intent)
    assert order is not None, f"{intent.id} has no record"
    return order


def statuses(pool: Pool, *intents: Intent) -> list[OrderStatus]:
    return [known(pool, intent).status for intent in intents]


def sent(pool: Pool) -> list[tuple[str, str]]:
    """Every request that changed something at the exchange, in order: its kind, and whose id it named."""
    names = {
        event.client_order_id: event.intent_id for product in (USDM, SPOT) for event in pool.events(product)
    }
    return [
        (one["kind"], names.get(one["client_order_id"], one["client_order_id"])) for one in pool.paper.audit()
    ]


def told(pool: Pool, intent: Intent) -> list[tuple[str, str]]:
    """What the events of an intent say happened to it, and with which other intent."""
    product = SPOT if intent.exchange == SPOT.exchange else USDM
    return [
        (event.to_status.value, event.related)
        for event in pool.events(product, of=intent)
        if event.related and event.to_status
    ]


def position(pool: Pool) -> Decimal:
    """The account's position in base on USDⓈ-M."""
    positions = pool.paper.accounts()["main"].get("positions", {})
    found = positions.get(USDM.venue_symbol) if isinstance(positions, dict) else None
    return Decimal(found["amount"]) if found else Decimal(0)
