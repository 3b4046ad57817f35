"""What is said of an intent, fact by fact."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderlane.dead_letters import DeadLetter
from orderlane.events import Event, EventName
from orderlane.intents import Intent, OrderType, PlaceOrder, Side
from orderlane.orders import IntentReference, Order, OrderStatus, Reason, Times
from orderlane.published_limits import PublishedBucket
from orderlane.standing import Cause, Standing, StandingState
from orderlane.stuck import StuckKind, Watch
from orderlane.sync_status import SyncState
from orderlane.tries import Try
from orderlane.why import Explanation, explain
from orderlane.why_facts import Archived, Bucket, Facts, LanePlace, Neighbour
from orderlane.why_waiting import State

NOW = 1_700_000_100_000
ENTRY = "1700000090000-0"
INTENT = PlaceOrder(
    id="grid-1", exchange="binance", account="main", symbol="BTC/USDT", side=Side.BUY, type=OrderType.LIMIT,
    amount=Decimal(2), price=Decimal(3),
)  # fmt: skip
FIRST = LanePlace(
    lane="main|BTC/USDT", ahead=0, first=None, owner="w:1:a", in_hand=ENTRY, lease_left_ms=1_500, parked_since=0,
    ready=False,
)  # fmt: skip


def order(status: OrderStatus, intent: Intent = INTENT, **changes: Any) -> Order:
    times = Times(sent_at=NOW - 8_000, updated_at=NOW - 4_000, acknowledged_at=NOW - 4_000)
    fields: dict[str, Any] = {"amount": Decimal(2), "times": times, "attempts": 1, **changes}
    return Order(client_order_id="c", intent=intent, status=status, entry=ENTRY, **fields)


def facts(**changes: Any) -> Facts:
    known = changes.get("order")
    fields: dict[str, Any] = {
        "name": "grid-1", "exchange": "binance", "account": "main", "searched": (("binance", "main"),),
        "now_ms": NOW, "registered": True, "workers": 2, "intent": known.intent if known else INTENT,
        "entry": ENTRY, "waiting": True, "place": FIRST,
    }  # fmt: skip
    return Facts(**{**fields, **changes})


def said(answer: Explanation) -> str:
    return " ".join(answer.sentences)


def standing(cause: Cause) -> Standing:
    return Standing(
        scope="main", cause=cause, state=StandingState.CLOSED, reason=Reason("errors", "5 failures"),
        since_ms=NOW - 60_000, until_ms=NOW + 9_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"waiting": False}, State.LOST, "Submit it again, with the same id"),
        (
            {"place": None},
            State.UNSORTED,
            "No worker has sorted it into its lane yet. 2 workers have a lease",
        ),
        ({"place": None, "workers": 0}, State.UNSORTED, "nothing is run until one starts"),
        ({}, State.IN_HAND, "worker w:1:a has it in hand. Nothing that is known here keeps it"),
        ({"standings": (standing(Cause.ERRORS),)}, State.HELD, "New placements wait: account main is closed"),
        ({"standings": (standing(Cause.BAN),)}, State.HELD, "account main is banned for another 9 s"),
        ({"buckets": (Bucket("ip", "penalty", 2_500, True),)}, State.PAUSED, "another 2.5 s"),
        (
            {"buckets": (Bucket("main", "orders_10s", 2_500, False),)},
            State.TOKENS,
            "tokens of the limit orders_10s of account main, until about 2023-11-14 22:15:02 UTC (another 2.5 s",
        ),
        ({"doubtful_until": NOW}, State.DOUBTED, "the exchange is asked for it before it is sent"),
        (
            {"place": msgspec.structs.replace(FIRST, parked_since=NOW - 5_000)},
            State.PARKED,
            "`orderlane unpark 'main|BTC/USDT' --exchange binance`",
        ),
        (
            {"place": msgspec.structs.replace(FIRST, in_hand="", owner="", ready=True)},
            State.WAITING,
            "The lane waits for a worker with room",
        ),
        (
            {"place": msgspec.structs.replace(FIRST, in_hand="", owner="", ready=True), "workers": 0},
            State.WAITING,
            "No worker of binance has a lease",
        ),
        (
            {"place": msgspec.structs.replace(FIRST, in_hand="", lease_left_ms=-1)},
            State.WAITING,
            "its lease has ended: another takes it over",
        ),
    ],
)
def test_an_intent_of_which_nothing_was_sent(changes: dict[str, Any], state: State, words: str) -> None:
    answer = explain(facts(**changes))
    assert answer.state is state
    assert words in said(answer)


def test_behind_others_it_names_the_first_of_them_and_who_runs_the_lane() -> None:
    first = Neighbour("1-0", "grid-0", order(OrderStatus.UNKNOWN))
    place = msgspec.structs.replace(FIRST, ahead=3, first=first, in_hand="1-0")
    answer = explain(facts(place=place))
    assert answer.state is State.WAITING
    assert "3 intents go before it in its lane main|BTC/USDT; first is 'grid-0', UNKNOWN for 8.0 s" in said(
        answer
    )
    assert "Worker w:1:a runs the lane; its lease ends in 1.5 s" in said(answer)
    unreadable = msgspec.structs.replace(place, first=Neighbour("1-0", "", None))
    assert "first is entry 1-0, which can't be read" in said(explain(facts(place=unreadable)))


def test_what_closes_a_position_is_not_held_by_a_standing() -> None:
    closing = msgspec.structs.replace(INTENT, reduce_only=True)
    held = facts(intent=closing, standings=(standing(Cause.ERRORS),))
    assert explain(held).state is State.IN_HAND


def test_a_deadline_is_told() -> None:
    in_time = msgspec.structs.replace(INTENT, expires_at=NOW + 1_000)
    assert "If it is not sent by 2023-11-14 22:15:01 UTC" in said(explain(facts(intent=in_time)))
    late = msgspec.structs.replace(INTENT, expires_at=NOW - 1_000)
    assert "it ends as EXPIRED, unsent" in said(explain(facts(intent=late)))


def test_a_request_without_an_answer_says_until_when_it_may_be_executed_and_when_it_is_asked_for() -> None:
    known = order(OrderStatus.SUBMITTED, executable_until=NOW + 2_000)
    asked = Try(at=NOW - 1_000, by="w:1:a", asked="for the order", said="no such order", next=NOW + 500)
    answer = explain(facts(order=known, tries=(asked,)))
    assert answer.state is State.SENT
    assert "Its request left 8.0 s ago. There is no answer yet." in said(answer)
    assert "may execute it until 2023-11-14 22:15:02 UTC, another 2.0 s" in said(answer)
    assert "Worker w:1:a is at it. The exchange is asked for it again" in said(answer)
    assert answer.tried[-1].what == "asked for the order by w:1:a: no such order"


def test_an_outcome_that_is_not_known_on_a_venue_without_a_bound() -> None:
    answer = explain(
        facts(order=order(OrderStatus.UNKNOWN, reason=Reason("timeout", "no reply")), place=None)
    )
    assert answer.state is State.UNKNOWN
    assert "What became of it is not known (timeout: no reply)" in said(answer)
    assert "never proves that it won't" in said(answer)
    assert "It is in no lane: no worker is at it" in said(answer)


def test_a_stuck_order_says_what_was_asked_and_that_it_was_told() -> None:
    watch = Watch(
        client_order_id="c", intent_id="grid-1", symbol="BTC/USDT", kind=StuckKind.ABSENT, since=NOW - 90_000,
        deadline=NOW - 30_000, asked=4, not_found=4, last=NOW - 9_000, next=NOW + 30_000, told=NOW - 29_000,
        said="no such order",
    )  # fmt: skip
    sync = SyncState(account="main", began=NOW - 6_000, listed=NOW - 6_000, period_seconds=15)
    answer = explain(
        facts(order=order(OrderStatus.ACTIVE), waiting=False, place=None, watch=watch, sync=sync)
    )
    assert answer.state is State.OPEN
    assert "compared with the exchange's 6.0 s ago, every 15 s" in said(answer)
    assert (
        "lacks it for 90.0 s; the scheduler has asked 4 times; the last answer, 9.0 s ago: no such order"
        in said(answer)
    )
    assert "`order.stuck` was published 29.0 s ago" in said(answer)


def test_an_open_order_says_who_tells_of_it() -> None:
    known = order(OrderStatus.PARTIAL, filled=Decimal("0.5"))
    live = explain(facts(order=known, waiting=False, place=None, stream_live=True))
    assert "PARTIAL, 0.5 of 2 filled" in said(live)
    assert "user stream tells" in said(live)
    assert "does one run?" in said(explain(facts(order=known, waiting=False, place=None)))
    failed = SyncState(account="main", began=NOW, listed=NOW, error="away")
    assert "failed: away" in said(explain(facts(order=known, waiting=False, place=None, sync=failed)))


def test_what_ended_says_how_and_by_whom() -> None:
    rejected = order(OrderStatus.REJECTED, reason=Reason("-2019", "Margin is insufficient."))
    answer = explain(facts(order=rejected, waiting=False, place=None))
    assert answer.state is State.ENDED
    assert "It ended as REJECTED 4.0 s ago, after one request. Why: -2019: Margin is insufficient." in said(
        answer
    )
    replaced = order(OrderStatus.CANCELED, successor="grid-2")
    assert "The order of 'grid-2' took its place" in said(
        explain(facts(order=replaced, waiting=False, place=None))
    )
    merged = order(OrderStatus.MERGED, merged_into=IntentReference("grid-3", "d"), attempts=0)
    answer = explain(facts(order=merged, waiting=False, place=None))
    assert answer.state is State.MERGED
    assert "became part of the order of 'grid-3'" in said(answer)


NOTHING: dict[str, Any] = {"intent": None, "entry": "", "waiting": False, "place": None}


def test_what_is_not_on_record_is_looked_for_everywhere_else() -> None:
    never = explain(facts(**NOTHING))
    assert never.state is State.NOT_KNOWN
    assert "never heard of 'grid-1'" in said(never)
    assert "binance/main" in said(never)
    assert "No worker has ever run such an exchange" in said(explain(facts(**NOTHING, registered=False)))
    assert "Only a part of the stream" in said(explain(facts(**NOTHING, searched_all=False)))
    letter = DeadLetter(
        id="5-0",
        exchange="binance",
        entry=ENTRY,
        at=NOW - 3_000,
        reason=Reason("invalid", "no symbol"),
        payload=b"{}",
    )
    dead = explain(facts(**NOTHING, dead=letter))
    assert dead.state is State.DEAD
    assert "for 3.0 s: invalid: no symbol" in said(dead)
    archived = explain(
        facts(**NOTHING, archived=Archived(status="FILLED", updated_at=NOW - 86_400_000, filled="2"))
    )
    assert archived.state is State.FORGOTTEN
    assert "the archive has it: FILLED with 2 filled, changed last 24.0 hours ago" in said(archived)
    event = Event(name=EventName.FILLED, at=NOW - 1_000, to_status=OrderStatus.FILLED)
    told = explain(facts(**NOTHING, events=(event,)))
    assert told.state is State.FORGOTTEN
    assert "the last event about it is order.filled 1.0 s ago, FILLED" in said(told)


def test_questions_with_the_same_answer_are_told_as_one() -> None:
    tries = tuple(
        Try(at=NOW - 9_000 + at, by="w", asked="for the order", said=words)
        for at, words in ((1, "no such order"), (2, "no such order"), (3, "no answer"))
    )
    answer = explain(facts(order=order(OrderStatus.UNKNOWN), tries=tries))
    assert [one.what for one in answer.tried if one.what.startswith("asked")] == [
        "asked for the order 2 times until 2023-11-14 22:14:51 UTC by w: no such order",
        "asked for the order by w: no answer",
    ]


def test_a_buckets_wait_is_what_its_script_would_say() -> None:
    bucket = PublishedBucket(
        name="orders", scope="account", capacity=10, refill=1, refill_ms=1_000, reserve=2
    )
    full: dict[bytes, bytes] = {}
    half = {b"level": b"1500", b"unit": b"1000", b"at": str(NOW - 500).encode()}
    assert bucket.wait_ms(full, 0, 1, False, NOW) == 0
    assert bucket.wait_ms(half, 0, 1, True, NOW) == 0
    assert bucket.wait_ms(half, 0, 1, False, NOW) == 1_000
    assert bucket.wait_ms(full, NOW + 400, 1, True, NOW) == 1_400
    assert bucket.key_parts("main", "A/B") == ("main", "orders")
    assert msgspec.structs.replace(bucket, scope="symbol").key_parts("main", "A/B") == ("main", "orders_a_b")
    assert msgspec.structs.replace(bucket, scope="ip").key_parts("main", "A/B") == ("ip", "orders")
