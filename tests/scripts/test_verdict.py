"""The judge of demo and chaos must see what it is there to see."""

from decimal import Decimal

import msgspec

from orderlane.intents import CancelOrder, OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus
from scripts.harness.verdict import Appended, Arrived, Journalled, Verdict, judge

PLACE = PlaceOrder(
    id="a", exchange="x", account="main", symbol="BTC/USDT", side=Side.BUY, type=OrderType.MARKET, amount=Decimal(1)
)  # fmt: skip


def appended(entry: str, name: str = "a", **changes: object) -> Appended:
    intent = msgspec.structs.replace(PLACE, id=name, **changes)
    return Appended(intent.exchange, entry, f"id-{name}", intent)


def arrived(sequence: int, name: str = "a", kind: str = "place", *, executed: bool = True) -> Arrived:
    return Arrived(
        sequence=sequence, at_us=sequence, product="spot", account="main", symbol="BTCUSDT", kind=kind,
        client_order_id=f"id-{name}", order_id=sequence, executed=executed,
    )  # fmt: skip


def on_record(*entries: Appended, status: OrderStatus = OrderStatus.FILLED) -> Journalled:
    orders = {
        one.client_order_id: Order(
            client_order_id=one.client_order_id, intent=one.intent or PLACE, entry=one.entry, status=status,
            exchange_order_id="1",
        )
        for one in entries
    }  # fmt: skip
    return Journalled(orders=orders, dead={}, duplicates=frozenset())


def counts(verdict: Verdict) -> tuple[int, int, int]:
    return verdict.lost, verdict.duplicated, verdict.out_of_order


def test_one_order_for_one_intent_holds() -> None:
    one = appended("1-0")
    verdict = judge([one], [arrived(1)], on_record(one))
    assert counts(verdict) == (0, 0, 0)
    assert (verdict.acknowledged, verdict.filled) == (1, 1)


def test_an_intent_without_a_record_is_lost_even_if_another_stream_buried_the_same_entry_id() -> None:
    journal = Journalled(orders={}, dead={("y", "1-0"): "foreign_fields"}, duplicates=frozenset())
    verdict = judge([Appended("y", "1-0"), appended("1-0")], [], journal)
    assert (verdict.lost, verdict.failed) == (1, 1)


def test_an_order_on_record_that_the_exchange_does_not_have_is_lost() -> None:
    one = appended("1-0")
    assert judge([one], [], on_record(one)).lost == 1


def test_an_order_the_exchange_has_and_the_record_denies_is_found() -> None:
    one = appended("1-0")
    assert judge([one], [arrived(1)], on_record(one, status=OrderStatus.FAILED)).lost == 1


def test_two_placings_under_one_id_are_a_double() -> None:
    one = appended("1-0")
    assert judge([one], [arrived(1), arrived(2)], on_record(one)).duplicated == 1
    assert judge([one], [arrived(1, executed=False), arrived(2)], on_record(one)).duplicated == 0


def test_a_lane_out_of_order_is_seen_and_a_more_urgent_intent_may_overtake() -> None:
    first, second = appended("1-0", "a"), appended("2-0", "b")
    late = [arrived(1, "b"), arrived(2, "a")]
    assert judge([first, second], late, on_record(first, second)).out_of_order == 1
    urgent = appended("2-0", "b", priority=0)
    assert judge([first, urgent], late, on_record(first, urgent)).out_of_order == 0
    other_lane = appended("2-0", "b", symbol="ETH/USDT")
    assert judge([first, other_lane], late, on_record(first, other_lane)).out_of_order == 0


def test_a_reduce_only_order_may_not_overtake_the_opening_one_of_its_strategy() -> None:
    opening, closing = appended("1-0", "a"), appended("2-0", "b", reduce_only=True)
    late = [arrived(1, "b"), arrived(2, "a")]
    assert judge([opening, closing], late, on_record(opening, closing)).out_of_order == 1
    foreign = appended("2-0", "b", reduce_only=True, strategy="other")
    assert judge([opening, foreign], late, on_record(opening, foreign)).out_of_order == 0


def test_a_cancel_that_arrives_before_its_order_is_out_of_order() -> None:
    one = appended("1-0")
    cancel = CancelOrder(id="c", exchange="x", account="main", symbol="BTC/USDT", target="a")
    both = [one, Appended("x", "2-0", "id-c", cancel)]
    early = [arrived(1, kind="cancel", executed=False), arrived(2)]
    assert judge(both, early, on_record(*both)).out_of_order == 1
    assert judge(both, [arrived(1), arrived(2, kind="cancel")], on_record(*both)).out_of_order == 0


def test_an_entry_that_repeats_an_id_is_not_taken_for_the_one_that_was_placed() -> None:
    repeated, other, real = appended("1-0", "a"), appended("2-0", "b"), appended("3-0", "a")
    journal = on_record(other, real)
    assert judge([repeated, other, real], [arrived(1, "b"), arrived(2, "a")], journal).out_of_order == 0
