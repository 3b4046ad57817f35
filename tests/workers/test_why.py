"""`orderlane why` against real workers, a real paper exchange and a real Redis: it says where an intent really is."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from click.testing import CliRunner

from orderlane.cli.app import group
from orderlane.client_settings import ClientSettings
from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from orderlane.pool_link import PoolLink
from orderlane.why import Explanation, explain
from orderlane.why_facts import read_facts
from orderlane.why_waiting import State
from tests.workers.pool_fixture import CONFIG, Pool, paper, paper_of_module, pool
from tests.workers.products import USDM

__all__ = ["paper", "paper_of_module", "pool"]

DUPLICATE: Final = '{"code":-4116,"msg":"ClientOrderId is duplicated."}'
NO_SUCH_ORDER: Final = '{"code":-2013,"msg":"Order does not exist."}'
TIGHT: Final = CONFIG.replace("lane_rules:", "limits: {orders_10s: 5/10 seconds}\n    lane_rules:", 1)


def why(pool: Pool, name: str) -> Explanation:
    link = PoolLink(ClientSettings(url=pool.redis_url))
    try:
        return explain(read_facts(link, name, None, None))
    finally:
        link.close()


def in_terminal(pool: Pool, *words: str) -> Any:
    """The command, as an operator runs it."""
    environment = {"ORDERLANE_REDIS_URL": pool.redis_url, "COLUMNS": "100", "ORDERLANE_ARCHIVE_URL": None}
    result = CliRunner(env=environment).invoke(group, ["why", *words])
    print(result.output)  # noqa: T201 - shown to whoever runs the tests with -s
    return result


async def until(pool: Pool, intent: Intent, state: State) -> Explanation:
    """Wait until an intent is said to be in a state."""
    answer = await asyncio.to_thread(why, pool, intent.id)
    for _ in range(2_000):
        answer = await asyncio.to_thread(why, pool, intent.id)
        if answer.state is state:
            in_terminal(pool, intent.id)
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(f"{intent.id} never was {state}: {answer}")


def text(answer: Explanation) -> str:
    return " ".join(answer.sentences)


async def test_of_what_nobody_submitted_it_says_where_to_look(pool: Pool) -> None:
    async with pool.working():
        result = in_terminal(pool, "nobody", "--exchange", "binance")
        assert result.exit_code == 3
        assert "The pool has never heard of 'nobody'" in result.output
        assert "orderlane orders --since" in result.output


async def test_without_a_worker_an_intent_is_in_no_lane(pool: Pool) -> None:
    async with pool.working():
        pass
    intent = USDM.order("early")
    entry = pool.send(intent)
    answer = await until(pool, intent, State.UNSORTED)
    assert entry in text(answer)
    assert "nothing is run until one starts" in text(answer)


async def test_an_outcome_that_is_not_known_and_what_waits_behind_it(pool: Pool) -> None:
    first, behind = USDM.order("first"), USDM.order("behind")
    pool.paper.fault(USDM.place, "drop_after", count=1)
    pool.paper.fault(USDM.query, "error_before", status=503)
    async with pool.working():
        pool.send(first, behind)
        unknown = await until(pool, first, State.UNKNOWN)
        assert "is at it" in text(unknown)
        assert any("no answer" in one.what for one in (await asked(pool, first)).tried)
        waiting = await until(pool, behind, State.WAITING)
        assert (
            "1 intent goes before it in its lane main|BTC/USDT:USDT; first is 'first', UNKNOWN for"
            in text(waiting)
        )
        pool.paper.clear_faults()
        await pool.outcome(first)
        opened = await until(pool, first, State.OPEN)
        assert "no scheduler has compared it yet" in text(opened)
        await pool.outcome(behind)


async def asked(pool: Pool, intent: Intent) -> Explanation:
    """The answer once it tells of a question to the exchange."""
    answer = await asyncio.to_thread(why, pool, intent.id)
    for _ in range(1_000):
        answer = await asyncio.to_thread(why, pool, intent.id)
        if any(one.what.startswith("asked ") for one in answer.tried):
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError(f"no question was noted: {answer}")


async def test_a_parked_lane_says_how_to_let_it_go_on(pool: Pool) -> None:
    intent = USDM.order("parked")
    pool.paper.fault(USDM.place, "verbatim", status=400, body=DUPLICATE)
    pool.paper.fault(USDM.query, "verbatim", status=400, body=NO_SUCH_ORDER)
    async with pool.working():
        pool.send(intent)
        answer = await until(pool, intent, State.PARKED)
    assert "orderlane unpark 'main|BTC/USDT:USDT' --exchange binance" in text(answer)
    assert answer.status is OrderStatus.UNKNOWN


async def test_it_names_the_limit_that_an_intent_waits_for(pool: Pool) -> None:
    pool.config = TIGHT
    intents = [USDM.order(f"many-{number}") for number in range(4)]
    async with pool.dying():
        pool.send(*intents)
        answer = await until(pool, intents[-1], State.TOKENS)
    assert "It waits for tokens of the limit orders_10s of account main, until about" in text(answer)


async def test_a_pause_of_the_exchange_is_told_with_its_end(pool: Pool) -> None:
    first, behind = (
        USDM.order("first"),
        USDM.order("other", symbol="ETH/USDT:USDT", price="2000", amount="0.1"),
    )
    pool.paper.fault(USDM.place, "429", headers={"Retry-After": "3"}, count=1)
    async with pool.dying():
        pool.send(first)
        await pool.until(lambda: pool.client.exists(pool.keys().bucket("ip", "penalty")), "the pause")
        pool.send(behind)
        answer = await until(pool, behind, State.PAUSED)
    assert "The exchange told this address to stay away (429 or 418)" in text(answer)


async def test_what_ended_says_how_and_what_was_done(pool: Pool) -> None:
    placed, cancel = USDM.order("placed"), USDM.cancels("cancel", "placed")
    async with pool.working():
        pool.send(placed, cancel)
        await pool.ended()
    answer = await until(pool, placed, State.ENDED)
    assert "It ended as CANCELED" in text(answer)
    assert answer.tried[0].what == "added to the stream"
    assert any("-> CANCELED" in one.what for one in answer.tried)
    assert (await asyncio.to_thread(why, pool, pool.client_order_id(placed))).tried == answer.tried


async def test_a_dead_letter_is_found_by_its_intents_id(pool: Pool) -> None:
    payload = b'{"kind":"place","id":"broken","exchange":"binance","account":"main"}'
    async with pool.working():
        pool.append(payload)
        await pool.ended()
        await pool.until(pool.dead, "the dead letter")
    result = in_terminal(pool, "broken", "--json")
    assert '"state":"dead"' in result.output
    assert "orderlane dead retry" in result.output
