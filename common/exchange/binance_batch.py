"""Several USDⓈ-M orders in one request (`POST /fapi/v1/batchOrders`).

The venue works on the orders of a batch at the same time: "the order of matching is not guaranteed", so orders that
must follow each other don't belong in one. Conditional orders have no batches. A row of an order that failed bears no
client order id, but "the order of returned contents is the same as the order of the order list": such a row is taken
for the order at its place, as long as every row that bears an id stands at its own.

Source: "Place Multiple Orders" of the USDⓈ-M documentation (developers.binance.com).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from common.exchange.base import ExchangeFailure, OrderRequest, Outcome
from common.exchange.batch import Verdict, by_client_id, place_together, row_failure, unmatched, verdict_of
from common.exchange.binance import Binance
from common.exchange.binance_codes import USDM_ERRORS
from common.exchange.binance_replies import UsdmOrder, usdm_report
from common.exchange.binance_requests import Endpoint, SignedRequests
from common.exchange.classify import Operation, VenueError
from common.exchange.fields import same_order, unreadable
from common.exchange.venue import market_of

BATCH_LIMIT: Final = 5
_PLACE_BATCH: Final = Endpoint("POST", "fapiPrivate", "batchOrders", "fapiPrivatePostBatchOrders")
_ROWS: Final = msgspec.json.Decoder(list[dict[str, Any]], float_hook=str)


def batches(request: OrderRequest) -> bool:
    """Whether the venue takes such an order in a batch: conditional ones live under endpoints of their own."""
    return not request.type.has_trigger


async def place_batch(
    venue: Binance,
    client: Any,
    requests: Sequence[OrderRequest],
    at_ms: int,
    order_params: Callable[[str, OrderRequest], dict[str, Any]],
) -> list[Verdict]:
    """One verdict for each order, in the order given; see `Venue.place_batch`.

    `order_params`: an order's parameters, from its market's id.
    """

    def build(request: OrderRequest) -> dict[str, Any]:
        if not batches(request):
            raise ExchangeFailure(
                Outcome.NOT_SENT,
                "not_batchable",
                f"{request.type} orders go one by one: there are no batches of them",
            )
        return _as_text(order_params(market_of(client, request.symbol)["id"], request))

    async def ask(orders: list[dict[str, Any]]) -> Any:
        # ccxt, which signs for keys of other kinds, makes the text out of the list by itself.
        ours = SignedRequests.cover(client)
        params = {"batchOrders": msgspec.json.encode(orders).decode() if ours else orders}
        return await venue.ask(client, _PLACE_BATCH, params, _ROWS)

    def read(rows: list[dict[str, Any]], asked: Sequence[OrderRequest]) -> list[Verdict]:
        market_ids = [str(market_of(client, request.symbol)["id"]) for request in asked]
        return batch_verdicts(rows, asked, market_ids, at_ms)

    return await place_together(requests, BATCH_LIMIT, build, ask, read)


def batch_verdicts(
    rows: Sequence[dict[str, Any]], asked: Sequence[OrderRequest], market_ids: Sequence[str], at_ms: int
) -> list[Verdict]:
    """What the rows of a reply say of each order asked for, whose markets have these ids."""
    places = by_client_id(rows, "clientOrderId", asked)
    in_order = len(rows) == len(asked) and all(
        place == at if "clientOrderId" in rows[at] else place is None for at, place in enumerate(places)
    )
    verdicts: list[Verdict] = []
    for at, (request, place) in enumerate(zip(asked, places, strict=True)):
        if place is not None:
            verdicts.append(verdict_of(partial(_placed, request, market_ids[at], rows[place])))
        elif in_order:
            verdicts.append(verdict_of(partial(_failed, rows[at], at_ms)))
        else:
            verdicts.append(unmatched(rows))
    return verdicts


def _placed(request: OrderRequest, market_id: str, row: dict[str, Any]) -> Verdict:
    try:
        order = msgspec.convert(row, UsdmOrder)
    except msgspec.ValidationError as error:
        raise unreadable(str(error), row) from None
    same_order(request.client_order_id, order.client_order_id)
    return usdm_report(order, market_id, request.symbol)


def _failed(row: dict[str, Any], at_ms: int) -> Verdict:
    code, message = row.get("code"), row.get("msg")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str) or len(row) != 2:
        raise unreadable("a row is neither an order nor an error", row)
    return row_failure(VenueError(str(code), message), USDM_ERRORS, Operation.PLACE, at_ms)


def _as_text(params: dict[str, Any]) -> dict[str, Any]:
    """Every value as it stands in a query, where booleans are words."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
