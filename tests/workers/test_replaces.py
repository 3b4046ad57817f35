"""A place that `replaces` an older order: that one off the book first, then the rest of the new one, once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderlane.intents import Intent
from orderlane.orders import Order, OrderStatus, encode_record
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import LOST, SPOT, USDM, VENUES, Product
from tests.workers.test_redis_forgot import Forgetful, forgetful, reason_code
from tests.workers.test_thinking_races import Dying, dying
from tests.workers.thinking_lanes import OFF, follow, known, sent, statuses

__all__ = ["dying", "forgetful", "paper", "paper_of_module", "pool"]

ACTIVE, CANCELED, DONE = OrderStatus.ACTIVE, OrderStatus.CANCELED, OrderStatus.DONE
FAILED, EXPIRED, FILLED = OrderStatus.FAILED, OrderStatus.EXPIRED, OrderStatus.FILLED

POINTS = (
    "lane.decoded", "command.admitted", "command.begun", "command.replied", "target.noted",
    "replace.cancelled", "replace.named", "place.normalized", "place.admitted", "place.begun", "place.replied",
    "record.before", "record.done",
)  # fmt: skip
"""What a replacement passes, in this order."""


def newer(venue: Product, name: str = "newer", replaces: str = "older", **fields: Any) -> Any:
    return venue.order(name, **({"price": 49_000, "replaces": replaces} | fields))


async def placed(pool: Pool, venue: Product, *orders: Intent) -> None:
    pool.send(*orders)
    for order in orders:
        await pool.outcome(order)


# What is placed


@pytest.mark.parametrize("venue", VENUES)
async def test_a_live_order_is_cancelled_and_what_it_filled_counts_towards_the_new_one(
    pool: Pool, venue: Product
) -> None:
    older, replacement = venue.order("older", amount="0.02"), newer(venue, amount="0.05")
    async with pool.working(venue):
        await placed(pool, venue, older)
        pool.fill_partly(venue)
        filled = Decimal(pool.on_book(older)[0]["executed_quantity"])
        pool.send(replacement)
        order = await pool.outcome(replacement)
    assert 0 < filled < Decimal("0.02")
    assert (order.status, order.amount, order.filled_before) == (ACTIVE, Decimal("0.05") - filled, filled)
    assert sent(pool) == [("place", "older"), ("cancel", "older"), ("place", "newer")]
    assert known(pool, older).successor == "newer"
    pool.assert_once(older)
    pool.assert_once(replacement)


@pytest.mark.parametrize("venue", VENUES)
async def test_the_total_holds_through_replacements_and_amends_in_a_row(pool: Pool, venue: Product) -> None:
    chain: list[Intent] = [
        venue.order("older", amount="0.1"),
        venue.order("second", amount="0.2", replaces="older"),
        venue.amends("third", "second", amount="0.3"),
        venue.order("fourth", amount="0.4", replaces="second"),
    ]
    async with pool.working(venue):
        for intent in chain:
            await placed(pool, venue, intent)
            pool.fill_partly(venue)
        await pool.until(lambda: len(pool.open_on_book(venue)) == 1, "one order on the book")
    booked = [one for intent in chain for one in pool.on_book(intent)]
    filled = sum(Decimal(one["executed_quantity"]) for one in booked)
    [standing] = pool.open_on_book(venue)
    left = Decimal(standing["quantity"]) - Decimal(standing["executed_quantity"])
    assert filled > known(pool, chain[-1]).filled_before > 0
    assert filled + left == Decimal("0.4")


@pytest.mark.parametrize("venue", VENUES)
async def test_an_amend_of_an_order_that_replaced_one_gives_a_total_too(pool: Pool, venue: Product) -> None:
    older, replacement = venue.order("older", amount="0.1"), newer(venue, amount="0.2", price=50_000)
    amend = venue.amends("amend", "newer", amount="0.3")
    async with pool.working(venue):
        await placed(pool, venue, older)
        pool.fill_partly(venue)
        await placed(pool, venue, replacement)
        await placed(pool, venue, amend)
    filled = sum(Decimal(one["executed_quantity"]) for one in pool.on_book(older))
    [standing] = pool.open_on_book(venue)
    assert filled > 0
    assert filled + Decimal(standing["quantity"]) == Decimal("0.3")


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_ended_otherwise_is_replaced_by_all_that_is_left(
    pool: Pool, venue: Product
) -> None:
    cancelled, too_small = venue.order("cancelled", amount="0.02"), venue.order("small", amount="0.00001")
    after_cancel = newer(venue, "after-cancel", "cancelled", amount="0.05")
    after_failed = newer(venue, "after-failed", "small")
    async with pool.working(venue):
        await placed(pool, venue, cancelled, too_small)
        pool.fill_partly(venue)
        await placed(pool, venue, venue.cancels("cancel", "cancelled"))
        await placed(pool, venue, after_cancel, after_failed)
    assert statuses(pool, cancelled, too_small) == [CANCELED, FAILED]
    filled = known(pool, cancelled).filled
    assert filled > 0
    assert known(pool, after_cancel).amount == Decimal("0.05") - filled
    assert known(pool, after_failed).amount == Decimal("0.01")
    pool.assert_once(after_cancel)
    pool.assert_once(after_failed)


@pytest.mark.parametrize("venue", VENUES)
async def test_where_nothing_is_left_the_older_order_is_cancelled_and_nothing_placed(
    pool: Pool, venue: Product
) -> None:
    older, replacement = venue.order("older", amount="0.1"), newer(venue, amount="0.001")
    async with pool.working(venue):
        await placed(pool, venue, older)
        pool.fill_partly(venue)
        await placed(pool, venue, replacement)
    assert statuses(pool, older, replacement) == [CANCELED, DONE]
    assert pool.open_on_book(venue) == []
    pool.assert_never(replacement)


@pytest.mark.parametrize("venue", VENUES)
async def test_without_the_rule_an_order_that_waits_is_sent_and_then_replaced(
    pool: Pool, venue: Product
) -> None:
    follow(pool, **OFF)
    older, replacement = venue.order("older"), newer(venue)
    pool.send(older, replacement)
    async with pool.working(venue):
        await pool.ended(venue)
    assert sent(pool) == [("place", "older"), ("cancel", "older"), ("place", "newer")]
    assert statuses(pool, older, replacement) == [CANCELED, ACTIVE]


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_of_a_replaced_order_takes_off_what_stands_for_it(pool: Pool, venue: Product) -> None:
    """One was replaced on the exchange, the other while it waited."""
    older, replacement, cancel = venue.order("older"), newer(venue), venue.cancels("cancel", "older")
    waiting, latest = venue.order("waiting"), newer(venue, "latest", "waiting")
    async with pool.working(venue):
        await placed(pool, venue, older)
        await placed(pool, venue, replacement)
        await placed(pool, venue, cancel)
    pool.send(waiting, latest)
    async with pool.working(venue):
        await pool.ended(venue)
        await placed(pool, venue, venue.cancels("cancel-2", "waiting"))
    assert statuses(pool, older, replacement, cancel) == [CANCELED, CANCELED, DONE]
    assert statuses(pool, waiting, latest) == [CANCELED, CANCELED]
    assert pool.placed(waiting) == []
    assert pool.open_on_book(venue) == []


# What is refused


@pytest.mark.parametrize("venue", VENUES)
async def test_what_can_not_be_replaced_is_refused_and_nothing_is_sent(pool: Pool, venue: Product) -> None:
    older, filled = venue.order("older"), venue.order("filled", price=None, type="market")
    cancel = venue.cancels("cancel", "no-such")
    refused = {
        "target_unknown": newer(venue, "of-nothing", "no-such"),
        "target_other_side": newer(venue, "other-side", side="sell", price=70_000),
        "target_closed": newer(venue, "of-filled", "filled"),
        "min_amount": newer(venue, "too-small", amount="0.00001"),
        "deadline_passed": newer(venue, "late", expires_at=1),
    }
    of_a_cancel = newer(venue, "of-a-cancel", "cancel")
    async with pool.working(venue):
        await placed(pool, venue, older, filled, cancel)
        await placed(pool, venue, *refused.values(), of_a_cancel)
    assert [one["kind"] for one in pool.paper.audit()] == ["place", "place"]
    for code, intent in refused.items():
        assert known(pool, intent).status is (EXPIRED if code == "deadline_passed" else FAILED)
        if code != "min_amount":
            assert reason_code(pool.record(intent)) == code
        pool.assert_never(intent)
    assert reason_code(pool.record(of_a_cancel)) == "target_unknown"
    assert known(pool, older).successor == ""
    pool.assert_once(older)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_second_replacement_of_one_order_is_refused_and_names_the_first(
    pool: Pool, venue: Product
) -> None:
    older, first, second = venue.order("older"), newer(venue), newer(venue, "second")
    async with pool.working(venue):
        for intent in (older, first, second):
            await placed(pool, venue, intent)
    reason = known(pool, second).reason
    assert reason is not None
    assert reason.code == "target_replaced"
    assert "'newer'" in reason.message
    pool.assert_once(first)
    pool.assert_never(second)
    assert len(pool.open_on_book(venue)) == 1


# What goes wrong on the way


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("step", ["cancel", "place"])
@pytest.mark.parametrize(("fault", "details"), LOST)
async def test_one_order_stands_at_the_end_after(
    pool: Pool, venue: Product, step: str, fault: str, details: dict[str, Any]
) -> None:
    older, replacement, following = venue.order("older"), newer(venue), venue.order("next")
    async with pool.working(venue):
        await placed(pool, venue, older)
        pool.paper.fault(venue.cancel if step == "cancel" else venue.place, fault, count=1, **details)
        await placed(pool, venue, replacement, following)
    assert statuses(pool, older, replacement, following) == [CANCELED, ACTIVE, ACTIVE]
    for intent in (older, replacement, following):
        pool.assert_once(intent)
    assert_never_both(pool, older, replacement)


def assert_never_both(pool: Pool, older: Intent, replacement: Intent) -> None:
    """The exchange executed the cancel of the older one before the place of the newer one."""
    done = [(one["kind"], one["client_order_id"]) for one in pool.paper.audit() if one["executed"]]
    cancelled = done.index(("cancel", pool.client_order_id(older)))
    assert done.index(("place", pool.client_order_id(replacement))) > cancelled


@pytest.mark.parametrize("venue", VENUES)
async def test_a_fill_that_comes_before_the_cancel_leaves_nothing_to_replace(
    pool: Pool, venue: Product
) -> None:
    older, replacement = venue.order("older"), newer(venue, amount="0.5")
    async with pool.working(venue):
        await placed(pool, venue, older)
        pool.paper.fault(venue.cancel, "delay", count=1, delay_ms=250)
        pool.send(replacement)
        await pool.until(lambda: pool.paper.faults()[0]["struck"], "the cancel on its way")
        pool.fill(older, venue)
        await pool.outcome(replacement)
    assert statuses(pool, older, replacement) == [FILLED, FAILED]
    assert reason_code(pool.record(replacement)) == "target_closed"
    pool.assert_once(older)
    pool.assert_never(replacement)


async def test_a_cancel_that_never_takes_effect_leaves_the_older_order_and_places_nothing(pool: Pool) -> None:
    older, replacement = USDM.order("older"), newer(USDM)
    async with pool.working():
        await placed(pool, USDM, older)
        pool.paper.fault(USDM.cancel, "error_before", status=503)
        await placed(pool, USDM, replacement)
    assert statuses(pool, older, replacement) == [ACTIVE, FAILED]
    assert reason_code(pool.record(replacement)) == "given_up"
    pool.assert_once(older)
    assert pool.placed(replacement) == []


def at_once(venue: Product) -> Any:
    """A replacement that fills at once, which makes its id free again: only asking prevents a second one."""
    return newer(venue, price=None, type="market")


CRASHES = [(USDM, point) for point in POINTS] + [(SPOT, point) for point in POINTS[2::3]]


@pytest.mark.parametrize(
    ("venue", "point"), [pytest.param(*one, id=f"{one[0].product}-{one[1]}") for one in CRASHES]
)
async def test_whoever_comes_after_a_death_finds_out_how_far_it_came(
    pool: Pool, dying: Dying, venue: Product, point: str
) -> None:
    older, replacement, following = venue.order("older"), at_once(venue), venue.order("next")
    async with pool.dying(venue):
        await placed(pool, venue, older)
        dying.arm(point, 1)
        pool.send(replacement, following)
        await pool.until(dying.died.is_set, point)
    async with pool.working(venue):
        await pool.ended(venue)
    assert statuses(pool, older, replacement, following) == [CANCELED, FILLED, ACTIVE]
    for intent in (older, replacement, following):
        pool.assert_once(intent)
    assert_never_both(pool, older, replacement)


@pytest.mark.parametrize("point", ["", "replace.named", "place.replied"])
@pytest.mark.parametrize("venue", VENUES)
async def test_a_replacement_that_redis_forgot_is_asked_for_and_not_placed_twice(
    forgetful: Forgetful, dying: Dying, venue: Product, point: str
) -> None:
    older, replacement, following = venue.order("older"), at_once(venue), venue.order("next")
    async with forgetful.working(venue):
        await placed(forgetful, venue, older)
    forgetful.send(replacement, following)
    forgetful.remember()
    dying.arm(point, 1)
    async with forgetful.dying(venue):
        if point:
            await forgetful.until(dying.died.is_set, point)
        else:
            await forgetful.outcome(following)
    forgetful.forget()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    assert statuses(forgetful, older, replacement, following) == [CANCELED, FILLED, ACTIVE]
    for intent in (older, replacement, following):
        forgetful.assert_once(intent)
    assert known(forgetful, older).successor == "newer"
    assert len(forgetful.open_on_book(venue)) == 1


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_stands_as_unknown_is_looked_for_before_it_is_replaced(
    pool: Pool, venue: Product
) -> None:
    """Its lane moved on, as after a person let it: its order is live, has filled, or never was."""
    live, filled, absent = venue.order("live"), venue.order("filled", amount="0.001"), venue.order("absent")
    replacements = [newer(venue, f"after-{one.id}", one.id) for one in (live, filled, absent)]
    async with pool.working(venue):
        await placed(pool, venue, filled)
        pool.fill(filled, venue)
        await placed(pool, venue, live)
    for intent in (live, filled, absent):
        stand_as_unknown(pool, intent)
    async with pool.working(venue):
        await placed(pool, venue, *replacements)
    assert statuses(pool, live, filled, absent) == [CANCELED, FILLED, FAILED]
    assert statuses(pool, *replacements) == [ACTIVE, FAILED, ACTIVE]
    assert_never_both(pool, live, replacements[0])
    pool.assert_never(replacements[1])
    pool.assert_once(replacements[2])


def stand_as_unknown(pool: Pool, intent: Intent) -> None:
    identifier = pool.client_order_id(intent)
    sent_before = Order(client_order_id=identifier, intent=intent, entry="1-1", amount=Decimal("0.01"))
    order = msgspec.structs.replace(
        pool.record(intent) or sent_before, exchange_order_id="", executable_until=1
    )
    product = SPOT if intent.exchange == SPOT.exchange else USDM
    fields = {
        "status": "UNKNOWN",
        "version": order.version + 1,
        "record": encode_record(order),
        "entry": order.entry,
    }
    pool.client.hset(pool.keys(product).order(identifier), mapping=fields)  # type: ignore[arg-type]
