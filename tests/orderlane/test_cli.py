"""The command for orders: what it prints for a person and for a script, and its exit codes."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from orderlane.cli.exits import Exit
from orderlane.intents import CancelAll, CancelOrder, decode_intent, encode_intent
from orderlane.orders import OrderStatus, Reason
from tests.orderlane.cli_runs import PLACE, Run, documents
from tests.orderlane.played_pool import PlayedPool, an_intent


def test_submit_adds_an_order_and_says_under_which_entry(run: Run, pool: PlayedPool) -> None:
    result = run("submit", *PLACE, "--id", "grid-1", "--tag", "a=b", "--priority", "3", "--strategy", "grid")
    assert result.exit_code == 0
    assert result.stdout.startswith("grid-1 added as entry ")
    assert "buy 0.5 at 64000 BTC/USDT:USDT on binance/main, QUEUED" in result.stdout
    assert decode_intent(pool.payloads()[0]) == an_intent(tags={"a": "b"}, priority=3, strategy="grid")


def test_submit_says_which_order_is_replaced(run: Run, pool: PlayedPool) -> None:
    result = run("submit", *PLACE, "--id", "grid-2", "--replaces", "grid-1")
    assert result.exit_code == 0
    assert "buy 0.5 at 64000 instead of grid-1" in result.stdout
    assert decode_intent(pool.payloads()[0]) == an_intent("grid-2", replaces="grid-1")


@pytest.mark.parametrize(
    ("words", "symbol", "strategy", "said"),
    [
        (["--symbol", "BTC/USDT"], "BTC/USDT", "", "cancel all BTC/USDT on binance/main"),
        (["--every-symbol"], "*", "", "cancel all * on binance/main"),
        (["--every-symbol", "--strategy", "grid"], "*", "grid", "cancel all of grid * on"),
        (
            ["--symbol", "BTC/USDT", "--strategy", "grid"],
            "BTC/USDT",
            "grid",
            "cancel all of grid BTC/USDT on",
        ),
    ],
)
def test_cancel_all_names_what_it_covers_and_no_backlog_holds_it_back(
    run: Run, pool: PlayedPool, words: list[str], symbol: str, strategy: str, said: str
) -> None:
    run("submit", *PLACE)
    result = run("cancel-all", *words, *PLACE[:4], "--id", "out", "--priority", "0")
    assert result.exit_code == 0
    assert said in result.stdout
    intent = decode_intent(pool.payloads()[1])
    assert isinstance(intent, CancelAll)
    assert (intent.symbol, intent.strategy, intent.urgency) == (symbol, strategy, 0)


def test_the_most_urgent_priority_is_sent_too(run: Run, pool: PlayedPool) -> None:
    assert run("submit", *PLACE, "--priority", "0").exit_code == 0
    assert decode_intent(pool.payloads()[0]).priority == 0


def test_an_exchange_the_pool_does_not_have_is_refused(run: Run, pool: PlayedPool) -> None:
    pool.register("kraken")
    lines = encode_intent(an_intent("a")) + b"\n" + encode_intent(an_intent("b", exchange="kraken"))
    for words, given in (
        (["submit", *PLACE], b""),
        (["cancel", "x", *PLACE[:6]], b""),
        (["amend", "x", "--price", "1", *PLACE[:4]], b""),
        (["submit", "--file", "-"], lines),
    ):
        result = run(*words, given=given)
        assert result.exit_code == Exit.USAGE, words
        assert "exchange is 'binance', which the pool does not have (it has kraken)" in result.stderr
    assert pool.payloads() == []
    assert [decode_intent(one).id for one in pool.payloads("kraken")] == ["b"]


def test_the_status_shows_intents_that_no_worker_will_take(run: Run, pool: PlayedPool) -> None:
    pool.register("kraken")
    pool.raw.xadd(pool.keys("binnance").intents, {"intent": pool.encoded("x")})
    pool.raw.xadd(PlayedPool.keys(pool, "binance").events.replace("orderlane", "orderlane2"), {"a": "b"})
    shown = documents(run("status", "--json"))[0]
    assert [(one["exchange"], one["registered"], one["backlog"]) for one in shown["exchanges"]] == [
        ("kraken", True, 0), ("binnance", False, 1),
    ]  # fmt: skip
    assert shown["exchanges_complete"] is True
    assert "binnance  not registered: no worker has ever run it" in run("status").stdout
    assert (
        documents(run("status", "--json", "--exchange", "binnance"))[0]["exchanges"][0]["registered"] is False
    )


def test_open_orders_are_shown_as_they_were_last_sent(run: Run, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(an_intent(), OrderStatus.ACTIVE, amount=Decimal("0.4"), price=Decimal("63500"))
    assert "buy 0.4 at 63500" in run("orders", "--open").stdout
    assert "buy 0.5 at 64000" in run("get", "grid-1").stdout


def test_waiting_for_an_amend_ends_when_its_order_lives(run: Run, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    words = ["amend", "grid-1", "--price", "63500", "--id", "up"]
    assert run(*words).exit_code == 0
    pool.advance(decode_intent(pool.payloads()[0]), OrderStatus.ACTIVE, exchange_order_id="78")
    result = run(*words, "--wait", "terminal", "--timeout", "0.05", "--json")
    assert (result.exit_code, documents(result)[0]["order"]["status"]) == (0, "ACTIVE")


def test_submit_draws_an_id_of_its_own_and_shows_it(run: Run, pool: PlayedPool) -> None:
    ids = [documents(run("submit", *PLACE, "--json"))[0]["order"]["id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert [decode_intent(one).id for one in pool.payloads()] == ids


def test_submit_takes_every_kind_of_order(run: Run, pool: PlayedPool) -> None:
    words = [
        "submit", "--exchange", "binance", "--account", "main", "--symbol", "BTC/USDT:USDT", "--side", "sell",
        "--amount", "0.5", "--type", "stop_limit", "--price", "60000", "--trigger-price", "60100",
        "--time-in-force", "GTC", "--reduce-only", "--leg", "stop", "--expires-in", "60",
    ]  # fmt: skip
    before_ms = time.time() * 1000
    assert run(*words).exit_code == 0
    intent = decode_intent(pool.payloads()[0])
    assert b'"type":"stop_limit"' in pool.payloads()[0]
    assert b'"reduce_only":true' in pool.payloads()[0]
    assert intent.expires_at is not None
    assert before_ms + 60_000 - 1 <= intent.expires_at <= time.time() * 1000 + 60_001


def test_submitting_again_is_no_error_and_other_content_is(run: Run, pool: PlayedPool) -> None:
    assert run("submit", *PLACE, "--id", "x").exit_code == 0
    again = run("submit", *PLACE, "--id", "x", "--json")
    assert (again.exit_code, documents(again)[0]["duplicate"]) == (0, True)
    other = run("submit", *PLACE, "--id", "x", "--reduce-only")
    assert other.exit_code == Exit.REFUSED
    assert other.stderr.startswith("Error: intent id 'x' on binance/main was used before")
    assert len(pool.payloads()) == 1


def test_a_full_backlog_has_an_exit_code_of_its_own_and_does_not_hold_back_a_cancel(
    run: Run, pool: PlayedPool
) -> None:
    pool.register()
    run("submit", *PLACE, "--id", "x")
    full = run("submit", *PLACE, "--backlog-limit", "1", "--json")
    assert full.exit_code == Exit.BACKLOG
    assert json.loads(full.stderr) == {
        "error": "backlogged",
        "message": "the backlog of binance is 1 intents, and this client adds none at 1 or more: "
        "wait and submit again, or start more workers",
        "exit_code": 4,
    }
    assert run("cancel", "x").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["submit"],
            "give --exchange, --account, --symbol, --side, --type, --amount (or intents with --file)",
        ),
        (["submit", *PLACE, "--amount", "1e5"], "amount is '1e5'; write a plain positive decimal"),
        (["submit", *PLACE, "--id", "a b"], 'id is "a b": expected a text of 1 to 64'),
        (["submit", *PLACE, "--type", "market"], "price is 64000, but a market order has none"),
        (["submit", *PLACE, "--side", "long"], "'long' is not one of 'buy', 'sell'"),
        (["submit", *PLACE, "--tag", "novalue"], "--tag is 'novalue': expected NAME=VALUE"),
        (["submit", "--file", "-", "--amount", "1"], "leave out --amount"),
        (["submit", "--file", "/no/such/file"], "No such file"),
        (["watch", "--after", "now", "--exchange", "x"], "--after: after is 'now'; expected '$'"),
        (["submit", "--file", "-", "--priority", "0"], "leave out --priority"),
        (["submit", *PLACE, "--expires-in", "nan"], "nan is no length of time"),
        (["submit", *PLACE, "--expires-in", "inf"], "is not in the range"),
        (["submit", *PLACE, "--wait", "terminal", "--timeout", "nan"], "nan is no length of time"),
        (["status", "--watch", "--interval", "nan"], "nan is no length of time"),
        (["--redis-url", "redis://localhost:1/abc", "status"], "--redis-url can't be read"),
        (["watch"], "give the exchange by name (the pool has none registered"),
        (["id", "x"], "give --exchange and --account"),
        (["get", "x", "--pool", "a b"], "--pool: pool is 'a b'; expected"),
        (["--exchange", "{x}", "status"], "--exchange: exchange is '{x}'"),
        (
            ["--redis-url", "http://:hunter2@localhost", "status"],
            "--redis-url can't be read: expected redis://",
        ),
        (["--redis-url", "redis://:hunter2#x@localhost:1", "status"], "percent-encoded"),
        (["nonsense"], "No such command 'nonsense'"),
        (["amend", "x", "--price", "1e"], "--price is '1e'"),
        (["cancel-all", *PLACE[:4]], "give either --symbol SYMBOL or --every-symbol"),
        (["cancel-all", "--symbol", "X/Y", "--every-symbol", *PLACE[:4]], "give either --symbol SYMBOL"),
        (["cancel-all", "--every-symbol"], "give --exchange, --account"),
        (["cancel-all", "--symbol", "X Y", *PLACE[:4]], "or * for every symbol"),
        (["submit", *PLACE, "--symbol", "*"], "only a cancel_all may say *"),
        (["submit", *PLACE, "--id", "x", "--replaces", "x"], "replaces is 'x', this intent's own id"),
    ],
)
def test_a_wrong_call_is_explained_in_one_line_and_changes_nothing(
    run: Run, pool: PlayedPool, words: list[str], said: str
) -> None:
    result = run(*words, columns=200)
    assert result.exit_code == Exit.USAGE
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert "hunter2" not in result.output
    assert pool.raw.dbsize() == 0


def test_get_shows_an_order_for_a_person_and_for_a_script(run: Run, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(
        an_intent(strategy="grid", tags={"a": "b"}),
        OrderStatus.PARTIAL,
        filled=Decimal("0.0000001"),
        average=Decimal("63999.5"),
        fees={"USDT": Decimal("0.32")},
        exchange_order_id="77",
        changes={"price": "64000.05 -> 64000"},
        reason=Reason("code", "[words] in brackets"),
    )
    shown = run("get", "grid-1")
    assert shown.exit_code == 0
    for words in (
        "PARTIAL",
        "0.0000001 at 63999.5",
        "0.32 USDT",
        "77",
        "64000.05 -> 64000",
        "[words] in brackets",
    ):
        assert words in shown.stdout
    document = documents(run("get", "grid-1", "--json"))[0]
    assert (document["id"], document["status"], document["filled"]) == ("grid-1", "PARTIAL", "0.0000001")
    assert document["intent"] == json.loads(encode_intent(an_intent(strategy="grid", tags={"a": "b"})))
    assert documents(run("--json", "get", "grid-1"))[0] == document, "the options may stand in front"


def test_what_is_not_found_has_an_exit_code_of_its_own(run: Run, pool: PlayedPool) -> None:
    pool.register()
    for words in (
        ["get", "nope"], ["cancel", "nope"], ["amend", "nope", "--price", "1"], ["dead", "show", "1-1"],
        ["dead", "retry", "1-1"], ["unpark", "main|X/Y"],
    ):  # fmt: skip
        assert run(*words).exit_code == Exit.NOT_FOUND, words


def test_orders_lists_the_last_changed_or_all_open_ones(run: Run, pool: PlayedPool) -> None:
    pool.register("binance", "main", "alt")
    assert run("orders").stdout == "no orders have changed lately\n"
    assert run("orders", "--open").stdout == "no open orders\n"
    for number in range(5):
        pool.advance(an_intent(f"i-{number}"), OrderStatus.ACTIVE)
    pool.advance(an_intent("i-1"), OrderStatus.FILLED)
    pool.advance(an_intent("theirs", account="alt"), OrderStatus.UNKNOWN)
    listed = documents(run("orders", "--json", "--limit", "3"))
    assert [one["id"] for one in listed] == ["i-4", "i-1", "theirs"]
    is_open = documents(run("orders", "--open", "--json"))
    assert {one["id"] for one in is_open} == {"i-0", "i-2", "i-3", "i-4", "theirs"}
    assert [one["id"] for one in documents(run("orders", "--open", "--account", "alt", "--json"))] == [
        "theirs"
    ]
    assert [one["id"] for one in documents(run("orders", "--account", "alt", "--json"))] == ["theirs"]
    table = run("orders", "--open").stdout
    assert "binance/alt" in table
    assert "UNKNOWN" in table


def test_cancel_and_amend_send_their_intents(run: Run, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    assert "cancel:grid-1:1 added as entry" in run("cancel", "grid-1").stdout
    assert "cancel:grid-1:1 was there before" in run("cancel", "grid-1").stdout
    assert run("amend", "grid-1", "--price", "65000", "--id", "up").exit_code == 0
    assert run("amend", "grid-1").exit_code == Exit.USAGE
    assert (
        run("cancel", "up-2", "--symbol", "X/Y", "--exchange", "binance", "--account", "main").exit_code == 0
    )
    kinds = [decode_intent(one).id for one in pool.payloads()]
    assert kinds == ["cancel:grid-1:1", "up", "cancel:up-2:1"]
    assert isinstance(decode_intent(pool.payloads()[2]), CancelOrder)
    pool.advance(an_intent(), OrderStatus.FILLED)
    ended = run("cancel", "grid-1")
    assert (ended.exit_code, "has ended: it is FILLED" in ended.stderr) == (Exit.REFUSED, True)
    assert run("cancel", "cancel:grid-1:1").exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (OrderStatus.ACTIVE, 0),
        (OrderStatus.FILLED, 0),
        (OrderStatus.REJECTED, 1),
        (OrderStatus.FAILED, 1),
        (OrderStatus.EXPIRED, 1),
    ],
)
def test_waiting_ends_with_the_orders_outcome(
    run: Run, pool: PlayedPool, status: OrderStatus, code: int
) -> None:
    pool.advance(an_intent(), status, reason=Reason("why", "because"))
    result = run("submit", *PLACE, "--id", "grid-1", "--wait", "acknowledged", "--json")
    assert result.exit_code == code
    assert documents(result)[0]["order"]["status"] == status
    assert documents(result)[0]["duplicate"] is True


def test_waiting_in_vain_has_an_exit_code_of_its_own(run: Run) -> None:
    result = run("submit", *PLACE, "--id", "x", "--wait", "terminal", "--timeout", "0.05")
    assert result.exit_code == Exit.TIMED_OUT
    assert "it is QUEUED" in result.stderr


def test_a_file_of_intents_is_submitted_line_by_line(run: Run, pool: PlayedPool) -> None:
    lines = [
        encode_intent(an_intent("a")), b"", b"garbage", encode_intent(an_intent("b")), encode_intent(an_intent("a")),
        encode_intent(an_intent("a", amount=Decimal(9))), b'{"kind":"fly"}', b"x" * 200_000,
    ]  # fmt: skip
    result = run("submit", "--file", "-", "--json", given=b"\n".join(lines))
    assert result.exit_code == Exit.REFUSED
    assert [(one["line"], one["id"], one["result"]) for one in documents(result)] == [
        (1, "a", "added"), (3, "", "malformed_json"), (4, "b", "added"), (5, "a", "duplicate"),
        (6, "a", "id_reused"), (7, "", "unknown_kind"), (8, "", "payload_too_large"),
    ]  # fmt: skip
    assert [decode_intent(one).id for one in pool.payloads()] == ["a", "b"]
    shown = run("submit", "--file", "-", given=b"\n".join(lines))
    assert shown.stdout == "7 intents: 3 there before, 4 refused\n"
    assert "line 3: the field `intent` holds no JSON object" in shown.stderr


def test_a_file_ends_with_the_largest_code_of_its_lines(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "intents.jsonl"
    source.write_bytes(b"\n".join(encode_intent(an_intent(one)) for one in "abc") + b"\ngarbage\n")
    full = run("submit", "--file", str(source), "--backlog-limit", "2")
    assert full.exit_code == Exit.BACKLOG
    assert run("submit", "--file", str(source)).exit_code == Exit.REFUSED
    source.write_bytes(b"\n")
    assert (run("submit", "--file", str(source)).stdout, full.exit_code) == (
        "0 intents: nothing\n",
        Exit.BACKLOG,
    )


def test_a_file_can_be_waited_for(run: Run, pool: PlayedPool) -> None:
    for name, status in (("a", OrderStatus.FILLED), ("b", OrderStatus.REJECTED)):
        pool.advance(an_intent(name), status, reason=Reason("why", "because"))
    given = b"\n".join(encode_intent(an_intent(one)) for one in "ab")
    result = run("submit", "--file", "-", "--wait", "terminal", given=given)
    assert result.exit_code == Exit.REFUSED
    assert result.stdout == "2 intents: 2 there before\na FILLED  why: because\nb REJECTED  why: because\n"
    late = run(
        "submit", "--file", "-", "--wait", "terminal", "--timeout", "0", given=encode_intent(an_intent("c"))
    )
    assert late.exit_code == Exit.TIMED_OUT
