"""Orders on an account that the pool did not place: what is kept of them, and how they are listed.

Which orders these are: those whose client order id does not begin with the pool's prefix. An order whose client order
id looks like another pool's is told apart (`other_pool`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.keys import Keys
from orderlane.orders import OrderStatus
from orderlane.pool_link import PoolLink


class ExternalAction(StrEnum):
    """What is done about an order that the pool did not place; each does what those before it do, too."""

    REPORT = "report"
    """It is told, and listed."""
    ADOPT = "adopt"
    """It gets a record and is tracked; intents may name it."""
    CANCEL = "cancel"
    """A cancel is appended for it."""


class ExternalOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that the pool did not place, as it was last seen. Amounts in base, prices in quote per base, times in
    ms.

    `id` is the name by which intents speak of it once it is tracked. `side` and `type` are empty where the venue did
    not tell, or where no intent can ask for such an order; it is then not tracked, whatever the settings say.
    `ended_at`: since when it is not open any more; 0: it is, as far as is known.
    """

    id: str
    account: str
    symbol: str
    exchange_order_id: str
    client_order_id: str = ""
    other_pool: bool = False
    action: ExternalAction = ExternalAction.REPORT
    status: OrderStatus = OrderStatus.ACTIVE
    side: str = ""
    type: str = ""
    amount: Decimal | None = None
    price: Decimal | None = None
    filled: Decimal = Decimal(0)
    created_at: int = 0
    ended_at: int = 0


_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_decoder: Final = msgspec.json.Decoder(ExternalOrder)


def encode_external(order: ExternalOrder) -> bytes:
    """The order as the hash keeps it; `ended_at` is left out, it stands in a set of its own."""
    return _encoder.encode(msgspec.structs.replace(order, ended_at=0))


def decode_externals(
    fields: Mapping[bytes, bytes], ended: Iterable[tuple[bytes, float]] = ()
) -> list[ExternalOrder]:
    """The orders in the hash `external:<account>`, by symbol and id; values that are none are passed over."""
    ended_at = {name: int(at) for name, at in ended}
    found: list[ExternalOrder] = []
    for name, value in fields.items():
        try:
            order = _decoder.decode(value)
        except msgspec.DecodeError:
            continue
        found.append(msgspec.structs.replace(order, ended_at=ended_at.get(name, 0)))
    return sorted(found, key=lambda order: (order.symbol, order.created_at, order.id))


def list_external(link: PoolLink, exchange: str, account: str, *, ended: bool = False) -> list[ExternalOrder]:
    """The account's open orders that the pool did not place; with `ended` those that were seen lately, too.

    Raises:
        Unreachable: Redis did not answer.
    """
    keys = link.settings.keys(exchange)

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(keys.external(account))
            pipeline.zrange(keys.external_ended(account), 0, -1, withscores=True)
            return list(pipeline.execute())

    found = decode_externals(*link.ask(ask))
    return [order for order in found if ended or not order.ended_at]


def count_external(link: PoolLink, keys: Keys, accounts: Sequence[str]) -> dict[str, int]:
    """How many such orders are open, of each account that has any.

    Raises:
        Unreachable: Redis did not answer.
    """

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for account in accounts:
                pipeline.hlen(keys.external(account))
                pipeline.zcard(keys.external_ended(account))
            return list(pipeline.execute())

    answers = iter(link.ask(ask) if accounts else [])
    counts = {account: next(answers) - next(answers) for account in accounts}
    return {account: count for account, count in counts.items() if count > 0}
