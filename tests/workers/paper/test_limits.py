"""Request weight and order limits: counted, shown, enforced, remembered."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.paper_process import PaperProcess
from tests.workers.paper.conftest import STILL
from tests.workers.paper.raw import order, place, send, signed
from workers.paper.audit import Arrival, peak_in_any_window

Start = Callable[..., PaperProcess]


def wait_for_a_fresh_window(seconds: int) -> None:
    """Return early in a fixed window, so that what follows fits into it."""
    left = seconds - time.time() % seconds
    if left < 3:
        time.sleep(left + 0.05)


def test_replies_say_how_much_was_used(paper: PaperProcess) -> None:
    wait_for_a_fresh_window(10)
    usdm = [place(paper).headers for _ in range(2)]
    assert [h["x-mbx-order-count-10s"] for h in usdm] == ["1", "2"]
    assert [h["x-mbx-order-count-1m"] for h in usdm] == ["1", "2"]
    before = int(send(paper, "GET", "/fapi/v1/time").headers["x-mbx-used-weight-1m"])
    listing = send(paper, "GET", "/fapi/v1/openOrders", signed({})).headers
    assert int(listing["x-mbx-used-weight-1m"]) == before + 40
    assert "x-mbx-order-count-10s" not in listing
    spot = place(paper, "spot").headers
    assert spot["x-mbx-used-weight"] == spot["x-mbx-used-weight-1m"] == "1"
    assert (spot["x-mbx-order-count-10s"], spot["x-mbx-order-count-1d"]) == ("1", "1")


def test_orders_over_the_account_limit_get_429_with_retry_after_and_are_not_placed(own_paper: Start) -> None:
    paper = own_paper(*STILL, "--orders-10s", "5")
    wait_for_a_fresh_window(10)
    answers = [place(paper) for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].body["code"] == -1015
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
    assert len(paper.orders()) == 5
    alt = signed(order(), "paper-alt-secret")
    assert send(paper, "POST", "/fapi/v1/order", alt, key="paper-alt-key").status == 200
    assert place(paper, "spot").status == 200
    assert [entry["code"] for entry in paper.audit()] == [0] * 5 + [-1015] * 2 + [0, 0]
    assert paper.peak("usdm:orders:main", 10_000) == 7
    info = send(paper, "GET", "/fapi/v1/exchangeInfo").body["rateLimits"]
    assert 5 in [entry["limit"] for entry in info]


def test_weight_over_the_limit_gets_429_and_going_on_gets_418_until_the_ban_ends(own_paper: Start) -> None:
    paper = own_paper(*STILL, "--usdm-weight-limit", "50", "--ban-after", "2", "--ban-seconds", "3600")
    wait_for_a_fresh_window(60)
    codes = [send(paper, "GET", "/fapi/v1/openOrders", signed({})) for _ in range(5)]
    assert [answer.status for answer in codes] == [200, 429, 429, 418, 418]
    assert {answer.body["code"] for answer in codes[1:]} == {-1003}
    assert 1 <= int(codes[1].headers["retry-after"]) <= 60
    assert 3590 <= int(codes[3].headers["retry-after"]) <= 3600
    assert place(paper).status == 418
    assert place(paper, "spot").status == 200
    paper.restart()
    assert send(paper, "GET", "/fapi/v1/time").status == 418


def test_counts_survive_a_kill(own_paper: Start) -> None:
    paper = own_paper(*STILL)
    wait_for_a_fresh_window(60)
    assert place(paper).status == 200
    before = paper.control("GET", "windows", ms=60_000)
    paper.restart()
    assert paper.control("GET", "windows", ms=60_000) == before
    assert place(paper).headers["x-mbx-order-count-1m"] == "2"


arrivals = st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 5)), max_size=40)


@given(rows=arrivals, window_ms=st.integers(1, 50))
def test_a_peak_is_the_most_that_any_window_of_that_length_holds(
    rows: list[tuple[int, int]], window_ms: int
) -> None:
    ordered = [Arrival("x", at_us, cost, False) for at_us, cost in sorted(rows)]
    by_hand = [
        sum(a.cost for a in ordered if begin.at_us <= a.at_us < begin.at_us + window_ms * 1000)
        for begin in ordered
    ]
    assert peak_in_any_window("x", ordered, window_ms).peak == max(by_hand, default=0)


@pytest.mark.parametrize(("form", "cost"), [({"symbol": "BTCUSDT"}, 1), ({}, 40)])
def test_listing_without_a_symbol_costs_more(paper: PaperProcess, form: dict[str, Any], cost: int) -> None:
    send(paper, "GET", "/fapi/v1/openOrders", signed(form))
    assert paper.peak("usdm:weight:127.0.0.1", 1000) == cost
