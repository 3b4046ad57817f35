"""No damage to a reply turns it into a wrong order, an absence or a verdict: what isn't whole is unknown.

Each kind of reply of each venue, as documented, has each of its fields damaged in each way, and goes through real
sockets and the real ccxt class.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from tests.common.exchange.damage import Damaged, damaged
from tests.common.exchange.documented.batches import batch_cases
from tests.common.exchange.documented.binance import spot_cases, usdm_cases
from tests.common.exchange.documented.bybit import bybit_cases
from tests.common.exchange.documented.case import Case, Refusal
from tests.common.exchange.documented.kraken import kraken_cases
from tests.common.exchange.documented.okx import okx_cases
from tests.common.exchange.documented.poloniex import poloniex, poloniex_cases
from tests.common.exchange.stub_server import Answer, Stub
from tests.common.exchange.venues import opened

CASES = [
    *spot_cases(), *usdm_cases(), *bybit_cases(), *okx_cases(), *kraken_cases(), *poloniex_cases(), *batch_cases()
]  # fmt: skip
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.venue.venue} {case.name}")


@asynccontextmanager
async def answering(case: Case) -> AsyncIterator[tuple[CcxtExchange, Stub]]:
    async with poloniex() if case.venue.venue == "poloniex" else opened(case.venue.venue) as (exchange, stub):
        for route, reply in case.around.items():
            stub.answer(route, Answer(reply))
        stub.answer(case.route, Answer(case.reply, case.status))
        yield exchange, stub


async def told(case: Case, exchange: CcxtExchange) -> Any:
    """What the question is answered with; a failure as what it means."""
    try:
        return comparable(await case.ask(exchange))
    except ExchangeFailure as failure:
        return comparable(failure)


def comparable(answer: Any) -> Any:
    if isinstance(answer, ExchangeFailure):
        return Refusal(answer.outcome, answer.code)
    if isinstance(answer, OrderReport):
        return msgspec.structs.replace(answer, terms=None)
    return [comparable(one) for one in answer] if isinstance(answer, list) else answer


def is_unknown(answer: Any) -> bool:
    return isinstance(answer, Refusal) and answer.outcome is Outcome.UNKNOWN


def is_safe(case: Case, one: Damaged, answer: Any) -> bool:
    """Whether the answer to a damaged reply misleads nobody."""
    if is_unknown(answer):
        return True
    if any(one.where == path and one.how in kinds for path, kinds, _ in case.unseen):
        return same_kind(case.means, answer)
    if any(one.where == path or one.where == "" for path in case.decisive):
        return False
    if isinstance(case.means, list) and isinstance(answer, list) and len(answer) == len(case.means):
        return all(found == true or is_unknown(found) for found, true in zip(answer, case.means, strict=True))
    return bool(answer == case.means)


def same_kind(means: Any, answer: Any) -> bool:
    """What no one can see may change a report, but not make an order of none, or none of an order."""
    if isinstance(means, OrderReport):
        return isinstance(answer, OrderReport) or answer is None
    return type(means) is type(answer)


@EVERY_CASE
async def test_the_intact_reply_means_what_is_documented(case: Case) -> None:
    async with answering(case) as (exchange, _):
        assert await told(case, exchange) == case.means


@EVERY_CASE
async def test_a_damaged_reply_is_never_misread(case: Case) -> None:
    misread = []
    async with answering(case) as (exchange, stub):
        number = 0
        for one in damaged(case.reply, case.other_order_id):
            stub.answer(case.route, Answer(one.reply, case.status))
            answer = await told(case, exchange)
            if not is_safe(case, one, answer):
                misread.append(f"{one.where} {one.how}: {answer}")
            number += 1
    assert number > 12
    assert not misread, f"{len(misread)} of {number}:\n" + "\n".join(misread)
