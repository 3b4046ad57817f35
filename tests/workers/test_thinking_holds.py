"""Random lanes on real parts, with the rules and without: the same position and the same open orders in the end."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from orderlane.intents import Intent, PlaceOrder
from orderlane.orders import OrderStatus
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from tests.workers.thinking_lanes import OFF, close, follow, known, market, position, sent

__all__ = ["paper", "paper_of_module", "pool"]

SEEDS = range(6)
INTENTS = 40
PRICES = (48_000, 49_000, 50_000)
"""Far from the market of 60 000: they rest."""


def lane(seed: int) -> list[Intent]:
    """Orders that rest and orders that trade at once, and commands about those that rest.

    Market orders are not cancelled: without the rules they have traded by then.
    """
    chance = random.Random(seed)
    made: list[Intent] = [market("first", "0.5")]
    resting: list[str] = []
    for number in range(INTENTS):
        name = f"intent-{number}"
        strategy = chance.choice(["", "grid"])
        urgency = chance.choice([None, None, None, 1, 5, 8])
        what = chance.choice(
            ["rest", "rest", "rest", "open", "close", "close", "close", "cancel", "amend", "amend"]
        )
        if what == "rest":
            resting.append(name)
            made.append(USDM.order(name, price=chance.choice(PRICES), strategy=strategy, priority=urgency))
        elif what == "open":
            made.append(market(name, "0.01", strategy=strategy, priority=urgency))
        elif what == "close":
            made.append(close(name, "0.005", strategy=strategy))
        elif resting:
            target = chance.choice(resting[-4:])
            if what == "cancel":
                made.append(USDM.cancels(name, target))
            else:
                made.append(USDM.amends(name, target, price=chance.choice(PRICES)))
    return made


async def play(pool: Pool, intents: list[Intent]) -> tuple[Decimal, list[tuple[Decimal, Decimal]]]:
    """Run the lane; the position and the open orders (price, amount) that it leaves."""
    pool.send(*intents)
    async with pool.working():
        await pool.ended()
    book = [(Decimal(one["price"]), Decimal(one["quantity"])) for one in pool.open_on_book(USDM)]
    return position(pool), sorted(book)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_lane_that_thinks_leaves_what_one_that_does_not_leaves(
    pool: Pool, paper: PaperProcess, seed: int
) -> None:
    intents = lane(seed)
    thinking = await play(pool, intents)
    requests = len(sent(pool))
    assert_every_intent_has_ended_once(pool, intents)
    assert_order_is_kept(pool, intents)
    pool.client.flushall()
    paper.reset()
    paper.set_price(USDM.product, USDM.venue_symbol, 60_000, hold=True)
    follow(pool, **OFF)
    assert await play(pool, intents) == thinking
    assert requests < len(sent(pool))


def assert_every_intent_has_ended_once(pool: Pool, intents: list[Intent]) -> None:
    """A record and one story for each; what was merged names the one that was sent."""
    for intent in intents:
        order = known(pool, intent)
        assert order.status not in (OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
        pool.assert_told(intent)
        assert (order.status is OrderStatus.MERGED) is (order.merged_into is not None)
        if isinstance(intent, PlaceOrder):
            assert len(pool.placed(intent)) <= 1
    assert pool.dead() == []


def assert_order_is_kept(pool: Pool, intents: list[Intent]) -> None:
    """What was placed for one urgency was placed in the order in which it came."""
    names = [name for kind, name in sent(pool) if kind == "place"]
    places = {one.id: one for one in intents if isinstance(one, PlaceOrder)}
    for urgency in {one.urgency for one in places.values() if not one.reduce_only}:
        came = [one for one, place in places.items() if place.urgency == urgency and not place.reduce_only]
        placed = [name for name in names if name in came]
        assert placed == sorted(placed, key=came.index)
