"""Several orders in one request, and one verdict for each of them: what the venues' batches have in common.

Nothing is concluded for an order from what a reply says of another one. A row that can't be told to be about an order
leaves that order unknown; a failure of the whole request is the failure of each order in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from common.exchange.base import ExchangeFailure, OrderReport, OrderRequest, Outcome
from common.exchange.classify import ErrorTable, Operation, Reply, VenueError, classify
from common.secrets import scrub

Verdict = OrderReport | ExchangeFailure

_ANSWERED: Final = Reply(200, {}, b"")
"""A row has no status or headers of its own, and is read only where those of its reply report success."""


async def place_together(
    requests: Sequence[OrderRequest],
    limit: int,
    build: Callable[[OrderRequest], dict[str, Any]],
    ask: Callable[[list[dict[str, Any]]], Awaitable[Any]],
    read: Callable[[Any, Sequence[OrderRequest]], Sequence[Verdict]],
) -> list[Verdict]:
    """Send what can be sent in one request.

    Args:
        requests: the orders, of one account.
        limit: how many the venue takes at once.
        build: an order's parameters; what it raises concerns that order alone, which is then left out.
        ask: sends the parameters of the orders that are left, in order.
        read: the verdicts on those orders, in order, from the reply.

    Returns:
        One verdict for each order, in the order given.
    """
    verdicts: dict[int, Verdict] = {}
    built: list[tuple[int, dict[str, Any]]] = []
    names: set[str] = set()
    for place, request in enumerate(requests):
        try:
            if len(built) == limit:
                raise _not_sent("batch_full", f"a batch holds {limit} orders: send this one in another")
            if request.client_order_id in names:
                raise _not_sent("twice_in_batch", f"{request.client_order_id} stands in the batch already")
            built.append((place, build(request)))
            names.add(request.client_order_id)
        except ExchangeFailure as failure:
            verdicts[place] = failure
    if built:
        asked = [requests[place] for place, _ in built]
        found = await _verdicts(asked, [params for _, params in built], ask, read)
        verdicts |= {place: verdict for (place, _), verdict in zip(built, found, strict=True)}
    return [verdicts[place] for place in range(len(requests))]


async def _verdicts(
    asked: Sequence[OrderRequest],
    params: list[dict[str, Any]],
    ask: Callable[[list[dict[str, Any]]], Awaitable[Any]],
    read: Callable[[Any, Sequence[OrderRequest]], Sequence[Verdict]],
) -> Sequence[Verdict]:
    try:
        verdicts = read(await ask(params), asked)
    except ExchangeFailure as failure:
        return [failure] * len(asked)
    times = Counter((one.symbol, one.exchange_order_id) for one in verdicts if isinstance(one, OrderReport))
    return [
        unmatched("an id that several orders were given")
        if isinstance(one, OrderReport) and times[one.symbol, one.exchange_order_id] > 1
        else one
        for one in verdicts
    ]


def _not_sent(code: str, message: str) -> ExchangeFailure:
    return ExchangeFailure(Outcome.NOT_SENT, code, message)


def row_failure(error: VenueError, table: ErrorTable, operation: Operation, at_ms: int) -> ExchangeFailure:
    """What the error of one order's row means for that order.

    `at_ms`: the exchange's clock, for an error that says until when to wait.
    """
    clean = VenueError(error.code, scrub(error.message))
    failure = classify(_ANSWERED, clean, table, operation, at_ms)
    return failure or ExchangeFailure(Outcome.UNKNOWN, error.code, clean.message)


def verdict_of(read: Callable[[], Verdict]) -> Verdict:
    """What one row says; a row that can't be read is a failure of its order alone."""
    try:
        return read()
    except ExchangeFailure as failure:
        return failure


def unmatched(what: object) -> ExchangeFailure:
    """The verdict on an order of which the reply says nothing that is certain."""
    return ExchangeFailure(
        Outcome.UNKNOWN, "unmatched_row", f"the reply has no certain row for this order: {str(what)[:200]}"
    )


def by_client_id(
    rows: Sequence[Mapping[str, Any]], name: str, asked: Sequence[OrderRequest]
) -> list[int | None]:
    """For each order the place of the row that bears its client order id; None where none or several do."""
    places: list[int | None] = []
    for request in asked:
        found = [place for place, row in enumerate(rows) if row.get(name) == request.client_order_id]
        places.append(found[0] if len(found) == 1 else None)
    return places
