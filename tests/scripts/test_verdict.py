"""The judge of demo and chaos must see what it is there to see."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, OrderType, PlaceOrder, Side
from orderlane.orders import Absorbed, IntentReference, Order, OrderStatus, Reason
from scripts.harness.content import Grid
from scripts.harness.material import Appended, Arrived, Journalled, Refused, Step
from scripts.harness.verdict import Verdict, judge

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


def test_a_repeated_entry_is_dropped_and_one_with_other_content_under_its_id_is_lost_unless_buried() -> None:
    one, again, other = appended("1-0"), appended("2-0"), appended("3-0", side=Side.SELL)
    journal = msgspec.structs.replace(on_record(one), duplicates=frozenset({one.client_order_id}))
    assert judge([one, again], [arrived(1)], journal).lost == 0
    assert judge([one, other], [arrived(1)], journal).lost == 1
    buried = msgspec.structs.replace(journal, dead={("x", "3-0"): "id_reused"})
    assert judge([one, other], [arrived(1)], buried).lost == 0


def test_an_order_on_record_that_the_exchange_does_not_have_is_lost() -> None:
    one = appended("1-0")
    assert judge([one], [], on_record(one)).lost == 1


def test_an_order_the_exchange_has_and_the_record_denies_is_found() -> None:
    one = appended("1-0")
    assert judge([one], [arrived(1)], on_record(one, status=OrderStatus.FAILED)).lost == 1


def changed(journal: Journalled, name: str, **changes: object) -> Journalled:
    order = msgspec.structs.replace(journal.orders[f"id-{name}"], **changes)
    return msgspec.structs.replace(journal, orders=journal.orders | {f"id-{name}": order})


def test_what_another_intent_ended_unsent_is_not_lost_unless_the_exchange_has_it() -> None:
    one = appended("1-0")
    why = Reason("cancelled_while_waiting", "cancelled by 'b' while it waited")
    record = on_record(one, status=OrderStatus.CANCELED)
    spared = changed(record, "a", exchange_order_id="", related="b", reason=why)
    assert (judge([one], [], spared).lost, judge([one], [], spared).failed) == (0, 1)
    assert judge([one], [arrived(1)], spared).lost == 1
    assert judge([one], [], changed(spared, "a", reason=None)).lost == 1


def test_what_is_merged_and_what_it_is_merged_into_name_each_other() -> None:
    one, other = appended("1-0", "a"), appended("2-0", "b")
    journal = changed(
        on_record(one, other),
        "b",
        status=OrderStatus.MERGED,
        exchange_order_id="",
        merged_into=IntentReference("a", "id-a"),
    )
    whole = changed(journal, "a", absorbed=(Absorbed("b", "id-b", Decimal(1)),))
    assert judge([one, other], [arrived(1)], whole).lost == 0
    assert judge([one, other], [arrived(1)], journal).lost == 1
    assert judge([one, other], [arrived(1)], changed(whole, "b", status=OrderStatus.FAILED)).lost == 1


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


GRIDS = {("spot", "BTCUSDT"): Grid(Decimal("0.1"), Decimal("0.1"), Decimal("0.5"))}


def asked_and_sent(intent: PlaceOrder, **sent: str) -> int:
    """How many findings there are about an order of `intent` that was sent so."""
    one = Appended("x", "1-0", "id-a", intent)
    request = {"side": "BUY", "type": "MARKET", "quantity": "1"} | sent
    return judge(
        [one], [msgspec.structs.replace(arrived(1), **request)], on_record(one), grids=GRIDS
    ).mismatched


def test_an_order_that_is_not_what_was_asked_for_is_seen() -> None:
    limit = msgspec.structs.replace(
        PLACE, type=OrderType.LIMIT, price=Decimal("10.2"), amount=Decimal("1.17")
    )
    assert asked_and_sent(PLACE) == 0
    assert asked_and_sent(PLACE, side="SELL") == 1
    assert asked_and_sent(PLACE, type="LIMIT") == 1
    assert asked_and_sent(PLACE, symbol="ETHUSDT") == 1
    assert asked_and_sent(PLACE, account="alt") == 1
    assert asked_and_sent(PLACE, quantity="2") > 0
    assert asked_and_sent(limit, type="LIMIT", quantity="1.1", price="10") == 0
    assert asked_and_sent(limit, type="LIMIT", quantity="1", price="10") > 0
    assert asked_and_sent(limit, type="LIMIT", quantity="1.1", price="10.5") == 1


def ordered(entry: str, name: str, intent: Intent, **changes: object) -> tuple[Appended, Journalled]:
    one = Appended("x", entry, f"id-{name}", intent)
    return one, changed(on_record(one), name, **changes)


def together(*records: Journalled) -> Journalled:
    orders = {name: order for journal in records for name, order in journal.orders.items()}
    return Journalled(orders=orders, dead={}, duplicates=frozenset())


def test_a_command_that_is_done_must_show_in_the_audit_log() -> None:
    target = appended("1-0")
    common: dict[str, Any] = {"exchange": "x", "account": "main", "symbol": "BTC/USDT"}
    for command, kind in (
        (CancelOrder(id="c", target="a", **common), "cancel"),
        (AmendOrder(id="c", target="a", amount=Decimal(2), **common), "amend"),
        (CancelAll(id="c", **common), "cancel_all"),
    ):
        one, record = ordered("2-0", "c", command, status=OrderStatus.DONE, exchange_order_id="")
        journal = together(on_record(target), record)
        done = msgspec.structs.replace(arrived(2, kind=kind), order_id=1)
        assert judge([target, one], [arrived(1)], journal).mismatched == 1, kind
        assert judge([target, one], [arrived(1), done], journal).mismatched == 0, kind


def test_a_command_ended_by_a_lane_rule_needs_no_request_but_a_target_that_waited() -> None:
    why = Reason("cancelled_while_waiting", "")
    target, waited = ordered(
        "1-0", "a", PLACE, status=OrderStatus.CANCELED, exchange_order_id="", related="c", reason=why
    )
    cancel = CancelOrder(id="c", exchange="x", account="main", symbol="BTC/USDT", target="a")
    one, record = ordered("2-0", "c", cancel, status=OrderStatus.DONE, exchange_order_id="", reason=why)
    assert judge([target, one], [], together(waited, record)).holds
    assert judge([target, one], [arrived(1)], together(on_record(target), record)).mismatched == 1


def test_a_refusal_must_be_the_exchange_s_own() -> None:
    one, record = ordered(
        "1-0", "a", PLACE, status=OrderStatus.REJECTED, exchange_order_id="", reason=Reason("-2010", "")
    )
    refusal = msgspec.structs.replace(arrived(1, executed=False), code=-2010)
    assert judge([one], [], record).mismatched == 1
    assert judge([one], [refusal], record).mismatched == 0
    assert judge([one], [], record, refused=[Refused("main", "BTCUSDT", -2010)]).mismatched == 0
    assert judge([one], [msgspec.structs.replace(refusal, code=-1013)], record).mismatched == 1


def test_a_cancel_given_up_as_without_effect_that_the_exchange_carried_out_is_seen() -> None:
    target = appended("1-0")
    cancel = CancelOrder(id="c", exchange="x", account="main", symbol="BTC/USDT", target="a")
    one, record = ordered("2-0", "c", cancel, status=OrderStatus.FAILED, reason=Reason("given_up", ""))
    journal = together(on_record(target), record)
    assert judge([target, one], [arrived(1)], journal).mismatched == 0
    assert judge([target, one], [arrived(1), arrived(2, kind="cancel")], journal).mismatched == 1


@pytest.mark.parametrize("status", [OrderStatus.FAILED, OrderStatus.REJECTED])
def test_an_amend_told_as_refused_that_the_exchange_carried_out_is_seen(status: OrderStatus) -> None:
    common: dict[str, Any] = {"exchange": "x", "account": "main", "symbol": "BTC/USDT", "target": "a"}
    target = appended("1-0")
    asked = AmendOrder(id="m", price=Decimal(3), **common)
    one, record = ordered("2-0", "m", asked, status=status, reason=Reason("target_closed", ""))
    journal = together(on_record(target), record)
    assert judge([target, one], [arrived(1)], journal).mismatched == 0
    amended = msgspec.structs.replace(arrived(2, kind="amend"), price="3")
    assert judge([target, one], [arrived(1), amended], journal).mismatched == 1
    other, done = ordered("3-0", "n", AmendOrder(id="n", price=Decimal(3), **common), status=OrderStatus.DONE)
    assert judge([target, one, other], [arrived(1), amended], together(journal, done)).mismatched == 0


def test_an_effect_doubled_by_a_forgotten_merge_is_seen() -> None:
    first, second = appended("1-0", "a"), appended("2-0", "b")
    both = [
        msgspec.structs.replace(arrived(1, "a"), side="BUY", type="MARKET", quantity="2"),
        msgspec.structs.replace(arrived(2, "b"), side="BUY", type="MARKET", quantity="1"),
    ]
    verdict = judge([first, second], both, on_record(first, second), grids=GRIDS)
    assert any("quantity" in line for line in verdict.findings)
    assert not verdict.holds


def test_what_was_merged_into_a_refused_order_asked_for_nothing_of_the_exchange() -> None:
    first, second, other = appended("1-0", "a"), appended("2-0", "b"), appended("3-0", "c")
    journal = on_record(first, second, other)
    merged = {
        "status": OrderStatus.MERGED,
        "exchange_order_id": "",
        "merged_into": IntentReference("a", "id-a"),
    }
    journal = changed(journal, "b", **merged)
    journal = changed(journal, "a", absorbed=(Absorbed("b", "id-b", Decimal(1)),))
    refused = changed(journal, "a", status=OrderStatus.FAILED, exchange_order_id="")
    lone = msgspec.structs.replace(arrived(2, "c"), side="BUY", type="MARKET", quantity="1")
    both = msgspec.structs.replace(arrived(1, "a"), side="BUY", type="MARKET", quantity="2")
    every = [first, second, other]

    def quantities(requests: list[Arrived], journal: Journalled) -> list[str]:
        return [line for line in judge(every, requests, journal, grids=GRIDS).findings if "quantity" in line]

    assert quantities([lone], refused) == []
    assert quantities([both, lone], journal) == []
    assert quantities([msgspec.structs.replace(both, quantity="1"), lone], journal) != []


def test_an_amend_needs_no_request_where_an_edit_had_given_its_order_the_same_numbers() -> None:
    common: dict[str, Any] = {"exchange": "x", "account": "main", "symbol": "BTC/USDT", "target": "a"}
    target = appended("1-0")
    edit, edited = ordered(
        "2-0", "m", AmendOrder(id="m", price=Decimal(3), **common), status=OrderStatus.DONE,
        exchange_order_id="", reason=Reason("edited_while_waiting", ""),
    )  # fmt: skip
    for price, wrong in ((Decimal(3), 0), (Decimal(4), 1)):
        again, done = ordered(
            "3-0",
            "n",
            AmendOrder(id="n", price=price, **common),
            status=OrderStatus.DONE,
            exchange_order_id="",
        )
        journal = together(on_record(target), edited, done)
        assert judge([target, edit, again], [arrived(1)], journal).mismatched == wrong


def test_events_must_lead_to_the_state_on_record_step_by_step() -> None:
    one = appended("1-0")

    def mismatched(*steps: tuple[OrderStatus | None, OrderStatus]) -> int:
        told = tuple(Step("id-a", before, after) for before, after in steps)
        return judge([one], [arrived(1)], msgspec.structs.replace(on_record(one), steps=told)).mismatched

    queued, sent, filled = OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.FILLED
    assert mismatched((queued, sent), (sent, filled)) == 0
    assert mismatched((None, sent), (sent, filled), (filled, filled)) == 0
    assert mismatched() == 1
    assert mismatched((queued, sent)) == 1
    assert mismatched((sent, filled)) == 1
    assert mismatched((queued, filled)) == 1


def test_a_record_made_anew_from_what_the_exchange_shows_begins_there_and_no_other_does() -> None:
    one = appended("1-0")
    steps = (Step("id-a", OrderStatus.QUEUED, OrderStatus.FILLED),)
    journal = msgspec.structs.replace(on_record(one), steps=steps)
    assert judge([one], [arrived(1)], journal).mismatched == 1
    rebuilt = msgspec.structs.replace(journal, rebuilt=frozenset({"id-a"}))
    assert judge([one], [arrived(1)], rebuilt).mismatched == 0
    twice = msgspec.structs.replace(rebuilt, steps=steps + steps)
    assert judge([one], [arrived(1)], twice).mismatched == 1
