"""Lanes that think, end to end: each rule spares its requests, each switch turns it off, each record tells why."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest

from common.lane_rules import LaneRules
from common.lanes import Dispatcher, Doubt, Hold
from orderlane.intents import Intent
from orderlane.orders import Absorbed, IntentReference, OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM, VENUES, Product
from tests.workers.thinking_lanes import (
    OFF,
    Send,
    close,
    follow,
    known,
    market,
    position,
    send_by_client,
    send_raw,
    sent,
    statuses,
    told,
)
from workers.thinking import heeds_news

__all__ = ["paper", "paper_of_module", "pool"]

ACTIVE, FILLED, CANCELED = OrderStatus.ACTIVE, OrderStatus.FILLED, OrderStatus.CANCELED
DONE, MERGED, EXPIRED = OrderStatus.DONE, OrderStatus.MERGED, OrderStatus.EXPIRED


@pytest.fixture(params=["raw", "client"])
def send(pool: Pool, request: pytest.FixtureRequest) -> Send:
    """How intents come in: by XADD, which leaves no record, or by the client."""
    return send_raw(pool) if request.param == "raw" else send_by_client(pool)


async def run(pool: Pool, venue: Product = USDM) -> None:
    """Let a worker come and do all there is to do."""
    async with pool.working(venue):
        await pool.ended(venue)


async def open_position(pool: Pool, amount: str) -> None:
    async with pool.working():
        opening = market("opening", amount)
        pool.send(opening)
        await pool.outcome(opening)


# Annihilation


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_of_a_place_that_waits_ends_both_without_a_request(
    pool: Pool, send: Send, venue: Product
) -> None:
    first, target, cancel = venue.order("first"), venue.order("target"), venue.cancels("cancel", "target")
    send(first, target, cancel)
    await run(pool, venue)
    assert statuses(pool, first, target, cancel) == [ACTIVE, CANCELED, DONE]
    assert sent(pool) == [("place", "first")]
    assert told(pool, target) == [("CANCELED", "cancel")]
    assert told(pool, cancel) == [("DONE", "target")]
    for intent in (target, cancel):
        pool.assert_told(intent)
    assert known(pool, target).related == "cancel"


async def test_the_place_at_the_head_of_its_lane_is_annulled_as_well(pool: Pool, send: Send) -> None:
    target, cancel, following = USDM.order("target"), USDM.cancels("cancel", "target"), USDM.order("next")
    send(target, cancel, following)
    await run(pool)
    assert statuses(pool, target, cancel, following) == [CANCELED, DONE, ACTIVE]
    assert sent(pool) == [("place", "next")]


async def test_a_lane_may_think_itself_empty(pool: Pool, send: Send) -> None:
    send(USDM.order("target"), USDM.cancels("cancel", "target"))
    await run(pool)
    assert sent(pool) == []
    keys = pool.keys()
    assert pool.client.exists(keys.waiting, keys.owners, keys.ready, keys.load, keys.unseen) == 0


@pytest.mark.parametrize("venue", VENUES)
async def test_an_amend_of_a_place_that_waits_edits_it(pool: Pool, send: Send, venue: Product) -> None:
    target, amend = venue.order("target"), venue.amends("amend", "target", price=49_000, amount="0.02")
    send(venue.order("first"), target, amend)
    await run(pool, venue)
    assert statuses(pool, target, amend) == [ACTIVE, DONE]
    assert sent(pool) == [("place", "first"), ("place", "target")]
    record = known(pool, target)
    assert (record.price, record.amount) == (Decimal(49_000), Decimal("0.02"))
    assert record.intent == target
    assert told(pool, amend) == [("DONE", "target")]
    assert ("QUEUED", "amend") in told(pool, target)
    pool.assert_once(target)


async def test_amends_of_a_place_that_waits_edit_it_one_after_the_other(pool: Pool, send: Send) -> None:
    target = USDM.order("target")
    amends = [USDM.amends(f"amend-{price}", "target", price=price) for price in (49_000, 48_000)]
    amends.append(USDM.amends("amend-amount", "target", amount="0.03"))
    send(USDM.order("first"), target, *amends)
    await run(pool)
    assert statuses(pool, target, *amends) == [ACTIVE, DONE, DONE, DONE]
    assert (known(pool, target).price, known(pool, target).amount) == (Decimal(48_000), Decimal("0.03"))
    pool.assert_once(target)


async def test_a_place_that_replaces_one_that_waits_is_sent_alone(pool: Pool, send: Send) -> None:
    older, newer = USDM.order("older"), USDM.order("newer", price=49_000, replaces="older")
    send(USDM.order("first"), older, newer)
    await run(pool)
    assert statuses(pool, older, newer) == [CANCELED, ACTIVE]
    assert sent(pool) == [("place", "first"), ("place", "newer")]
    assert told(pool, older) == [("CANCELED", "newer")]
    assert ("QUEUED", "older") in told(pool, newer)
    pool.assert_once(newer)


async def test_an_open_and_its_close_end_each_other_where_the_operator_allows_it(
    pool: Pool, send: Send
) -> None:
    follow(pool, annul_open_and_close="true")
    opening, closing = market("opening"), close("closing")
    send(USDM.order("first"), opening, closing)
    await run(pool)
    assert statuses(pool, opening, closing) == [CANCELED, CANCELED]
    assert sent(pool) == [("place", "first")]
    assert told(pool, opening) == [("CANCELED", "closing")]
    assert told(pool, closing) == [("CANCELED", "opening")]


async def test_an_open_and_its_close_on_spot_are_told_by_their_leg(pool: Pool, send: Send) -> None:
    follow(pool, annul_open_and_close="true")
    opening = market("opening", product=SPOT)
    closing = market("closing", product=SPOT, side="sell", leg="close")
    send(SPOT.order("first"), opening, closing)
    await run(pool, SPOT)
    assert statuses(pool, opening, closing) == [CANCELED, CANCELED]
    assert sent(pool) == [("place", "first")]


# Merging


async def test_successive_closes_become_one_order_with_their_sum(pool: Pool, send: Send) -> None:
    await open_position(pool, "0.06")
    closes = [close(f"close-{number}") for number in range(3)]
    send(*closes)
    await run(pool)
    assert sent(pool) == [("place", "opening"), ("place", "close-0")]
    assert statuses(pool, *closes) == [FILLED, MERGED, MERGED]
    survivor = known(pool, closes[0])
    assert (survivor.filled, position(pool)) == (Decimal("0.06"), Decimal(0))
    assert survivor.absorbed == tuple(
        Absorbed(one.id, pool.client_order_id(one), Decimal("0.02")) for one in closes[1:]
    )
    for one in closes[1:]:
        into = IntentReference("close-0", pool.client_order_id(closes[0]))
        assert known(pool, one).merged_into == into
        assert told(pool, one)[0] == ("MERGED", "close-0")
    assert [other for status, other in told(pool, closes[0]) if status == "QUEUED"] == ["close-1", "close-2"]
    pool.assert_once(closes[0])


async def test_small_limits_at_one_price_become_one_where_the_operator_allows_it(
    pool: Pool, send: Send
) -> None:
    follow(pool, merge_small_limits="true", small_notional="600")
    small = [USDM.order(f"small-{number}") for number in range(3)]
    large = USDM.order("large", amount="0.02")
    send(*small, large)
    await run(pool)
    assert statuses(pool, *small, large) == [ACTIVE, MERGED, MERGED, ACTIVE]
    assert sent(pool) == [("place", "small-0"), ("place", "large")]
    assert known(pool, small[0]).amount == Decimal("0.03")
    pool.assert_once(small[0])


@pytest.mark.parametrize("venue", VENUES)
async def test_successive_amends_of_one_order_become_the_last(pool: Pool, send: Send, venue: Product) -> None:
    target = venue.order("target")
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
    amends = [venue.amends(f"amend-{price}", "target", price=price) for price in (49_000, 48_000, 47_000)]
    send(*amends)
    await run(pool, venue)
    assert statuses(pool, *amends[:2]) == [MERGED, MERGED]
    assert known(pool, amends[2]).status is (DONE if venue is USDM else ACTIVE)
    assert [float(one["price"]) for one in pool.open_on_book(venue)] == [47_000]
    assert told(pool, amends[0])[-1] == ("MERGED", "amend-48000")
    assert told(pool, amends[1])[-1] == ("MERGED", "amend-47000")
    kinds = [kind for kind, _ in sent(pool)]
    assert kinds == (["place", "amend"] if venue is USDM else ["place", "cancel", "place"])


async def test_a_merged_order_that_the_exchange_refuses_leaves_its_parts_merged_into_the_refusal(
    pool: Pool,
) -> None:
    closes = [close(f"close-{number}") for number in range(2)]
    pool.send(*closes)
    await run(pool)
    assert statuses(pool, *closes) == [OrderStatus.REJECTED, MERGED]
    assert known(pool, closes[1]).filled == 0


# Deadlines


async def test_what_has_expired_ends_where_it_waits_when_its_lane_is_looked_at(
    pool: Pool, send: Send
) -> None:
    soon = int(time.time() * 1000) + 60
    late = USDM.order("late", expires_at=soon)
    first = USDM.order("first")
    pool.paper.fault(USDM.place, "delay_reply", count=1, delay_ms=400)
    async with pool.working():
        pool.send(first)
        await pool.status(first, OrderStatus.SUBMITTED)
        send(late, USDM.cancels("cancel", "first"))
        await pool.ended()
    assert statuses(pool, late) == [EXPIRED]
    assert sent(pool) == [("place", "first"), ("cancel", "first")]


async def test_a_market_order_that_has_expired_asks_for_no_price_either(pool: Pool) -> None:
    late = market("late", expires_at=1)
    pool.paper.fault("^GET /fapi/v1/(ticker|premiumIndex)", "delay", delay_ms=0)
    pool.send(late)
    await run(pool)
    pool.assert_never(late)
    assert known(pool, late).status is EXPIRED
    assert [one["struck"] for one in pool.paper.faults()] == [0]


# What no rule touches


TARGET = USDM.order("target")
UNSPARED: list[tuple[str, list[Intent], list[str]]] = [
    ("annul_cancelled", [TARGET, USDM.cancels("cancel", "target")], ["place target", "cancel target"]),
    (
        "edit_waiting",
        [TARGET, USDM.amends("amend", "target", price=49_000)],
        ["place target", "amend target"],
    ),
    (
        "replace_waiting",
        [TARGET, USDM.order("newer", price=49_000, replaces="target")],
        ["place target", "cancel target", "place newer"],
    ),
    (
        "merge_closes",
        [market("opening", "0.04"), close("one"), close("two")],
        ["place opening", "place one", "place two"],
    ),
]


@pytest.mark.parametrize(("switch", "intents", "requests"), UNSPARED, ids=[one[0] for one in UNSPARED])
async def test_each_rule_has_a_switch(
    pool: Pool, switch: str, intents: list[Intent], requests: list[str]
) -> None:
    follow(pool, **{switch: "false"})
    send_raw(pool)(*intents)
    await run(pool)
    assert [" ".join(request) for request in sent(pool)] == requests


async def test_amends_are_sent_one_by_one_when_their_merging_is_off(pool: Pool) -> None:
    follow(pool, merge_amends="false")
    async with pool.working():
        pool.send(TARGET)
        await pool.outcome(TARGET)
    pool.send(*(USDM.amends(f"amend-{price}", "target", price=price) for price in (49_000, 48_000)))
    await run(pool)
    assert [kind for kind, _ in sent(pool)] == ["place", "amend", "amend"]


async def test_with_every_switch_off_each_intent_is_sent_as_it_came(pool: Pool) -> None:
    follow(pool, **OFF)
    lane: list[Intent] = [
        market("opening", "0.04"), close("close-0"), close("close-1"), USDM.order("target"),
        USDM.amends("amend", "target", price=49_000), USDM.cancels("cancel", "target"),
    ]  # fmt: skip
    pool.send(*lane)
    await run(pool)
    assert [kind for kind, _ in sent(pool)] == ["place"] * 4 + ["amend", "cancel"]


async def test_small_limits_and_opens_with_closes_are_left_alone_by_default(pool: Pool) -> None:
    lane = [USDM.order("small-0"), USDM.order("small-1"), market("opening"), close("closing")]
    pool.send(*lane)
    await run(pool)
    assert sent(pool) == [("place", one.id) for one in lane]
    assert position(pool) == 0


async def test_nothing_is_decided_across_a_cancel_all(pool: Pool) -> None:
    target, everything = USDM.order("target"), USDM.cancels_all("everything")
    cancel = USDM.cancels("cancel", "target")
    pool.send(target, everything, cancel)
    await run(pool)
    assert ("place", "target") in sent(pool)
    assert statuses(pool, target, everything) == [CANCELED, DONE]


async def test_closes_of_two_strategies_stay_two_orders(pool: Pool) -> None:
    await open_position(pool, "0.04")
    closes = [close("one", strategy="grid"), close("two", strategy="trend")]
    pool.send(*closes)
    await run(pool)
    assert statuses(pool, *closes) == [FILLED, FILLED]


async def test_a_repeated_id_is_no_second_intent_for_the_rules(pool: Pool) -> None:
    """Neither merged into the first, nor cancelled in its place: it is a repetition, or somebody else's id."""
    await open_position(pool, "0.06")
    closing, again, foreign = close("same"), close("same"), close("same", amount="0.03")
    pool.send(closing, again, foreign)
    await run(pool)
    assert (known(pool, closing).status, known(pool, closing).filled) == (FILLED, Decimal("0.02"))
    assert [letter.reason.code for letter in pool.dead()] == ["id_reused"]
    assert position(pool) == Decimal("0.04")


async def test_an_id_that_is_on_record_already_is_left_to_the_worker_and_the_others_are_decided(
    pool: Pool,
) -> None:
    await open_position(pool, "0.06")
    async with pool.working():
        pool.send(close("done"))
        await pool.ended()
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    pool.send(close("one"), close("done"), close("two"), target, cancel)
    await run(pool)
    assert position(pool) == 0
    assert [name for _, name in sent(pool)] == ["opening", "done", "one", "two"]
    assert statuses(pool, target, cancel) == [CANCELED, DONE]


async def test_what_the_worker_would_refuse_is_refused_not_merged(pool: Pool) -> None:
    closes = [msgspec.structs.replace(close(name), account="nobody") for name in ("one", "two")]
    pool.send(*closes)
    await run(pool)
    assert [(known(pool, one).status, told(pool, one)) for one in closes] == [(OrderStatus.FAILED, [])] * 2


@pytest.mark.parametrize(
    ("change", "heeds"),
    [({}, True), ({"deaths": 1}, False), ({"entry": "1000-1"}, False)],
    ids=["untouched", "somebody died with it", "Redis may have forgotten it"],
)
def test_rules_heed_only_what_nobody_died_with_and_nothing_is_forgotten_of(
    change: dict[str, Any], heeds: bool
) -> None:
    class Dispatching:
        doubt = Doubt(since_ms=1, before_ms=1000)

    hold = Hold(lane="main|X/Y", owner="w#1", rank="5", entry="1001-0", deaths=0, fields=())
    changed = msgspec.structs.replace(hold, **change)
    assert heeds_news(LaneRules(), cast(Dispatcher, Dispatching()), changed) is heeds
    assert not heeds_news(LaneRules(look_ahead=1), cast(Dispatcher, Dispatching()), changed)


async def test_an_entry_that_is_no_intent_hides_what_is_behind_it_and_no_more(pool: Pool) -> None:
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    pool.send(USDM.order("first"))
    pool.append(b'{"kind":"place","exchange":"binance","account":"main","symbol":"BTC/USDT:USDT","id":"odd"}')
    pool.send(target, cancel)
    await run(pool)
    assert statuses(pool, target, cancel) == [CANCELED, DONE]
    assert len(pool.dead()) == 1
