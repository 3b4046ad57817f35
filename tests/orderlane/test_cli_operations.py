"""The command as an operator's tool: events, status, dead letters, unknown orders, and its settings."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from click.testing import CliRunner

from common.redis_server import EmbeddedRedis
from orderlane.cli.app import group
from orderlane.cli.exits import MEANINGS, Exit
from orderlane.identity import client_order_id
from orderlane.intents import encode_intent, intent_schema
from orderlane.orders import OrderStatus, Reason
from tests.orderlane.cli_runs import PLACE, Run, documents
from tests.orderlane.played_pool import PlayedPool, an_intent


def test_watch_shows_events_and_filters_them(run: Run, pool: PlayedPool) -> None:
    pool.register()
    for number, status in enumerate((OrderStatus.SUBMITTED, OrderStatus.ACTIVE, OrderStatus.FILLED)):
        pool.advance(an_intent("a", strategy="s"), status)
        pool.advance(an_intent("b", account="alt", symbol="X/Y"), status, filled=Decimal(number))
    everything = documents(run("watch", "--after", "0", "--count", "6", "--json"))
    assert [one["intent_id"] for one in everything] == list("ababab")
    assert everything[5]["filled"] == "2"
    later = documents(run("watch", "--after", everything[3]["id"], "--count", "2", "--json"))
    assert later == everything[4:]
    for words, ids in [
        (["--name", "order.filled"], "ab"), (["--intent", "b"], "bb"), (["--symbol", "X/Y"], "bb"),
        (["--strategy", "s"], "aa"), (["--account", "alt"], "bb"),
    ]:  # fmt: skip
        found = documents(run("watch", "--after", "0", "--count", "2", "--json", *words))
        assert "".join(one["intent_id"] for one in found) == ids, words
    lines = run("watch", "--after", "0", "--count", "6", columns=40).stdout.splitlines()
    assert len(lines) == 6, "an event is one line for whoever reads it through a pipe"
    assert "order.filled" in lines[5]


def test_a_redis_that_refuses_is_told_from_one_that_is_gone() -> None:
    with EmbeddedRedis(password="hunter2") as server:
        for url in (server.url.replace("hunter2", "wrong"), re.sub(r"//.*@", "//", server.url)):
            result = CliRunner().invoke(group, ["--redis-url", url, "status"])
            assert result.exit_code == Exit.NO_REDIS
            assert "refused the command" in result.stderr
            assert "wrong@" not in result.stderr


def test_a_key_of_another_type_is_an_error_of_one_line(run: Run, pool: PlayedPool) -> None:
    pool.redis.set(pool.keys().intents, "x")
    result = run("submit", *PLACE)
    assert result.exit_code == Exit.NO_REDIS
    assert result.stderr.count("\n") == 1
    assert "WRONGTYPE" in result.stderr


def test_the_status_fits_eighty_columns_and_names_what_stands_still(run: Run, pool: PlayedPool) -> None:
    assert "no exchange is registered" in run("status").stdout
    pool.register()
    assert "no worker: nothing is run until one starts" in run("status", columns=80).stdout
    keys = pool.keys()
    pool.advance(an_intent(), OrderStatus.UNKNOWN)
    pool.raw.zadd(keys.workers, {f"{'host' * 10}:12345:abcdef123456": 9_999_999_999_999})
    pool.raw.hset(keys.bucket("ip", "penalty"), mapping={"until": 9_999_999_999_999})
    pool.raw.zadd(keys.parked, {"main|BTC/USDT:USDT": 1})
    shown = run("status", columns=80).stdout
    assert max(len(line) for line in shown.splitlines()) <= 80
    for words in ("1 the first for", "abcdef123456", "shut for"):
        assert words in shown
    document = documents(run("status", "--json"))[0]
    assert document["exchanges"][0]["unknown"] == 1


def test_dead_letters_are_listed_shown_and_retried(run: Run, pool: PlayedPool) -> None:
    pool.register()
    assert run("dead", "list").stdout == "no dead letters\n"
    reason = json.dumps({"code": "malformed_json", "message": "no [JSON] object"})
    letter = {"entry": "5-0", "reason": reason, "payload": b"\xffgarbage", "at": 1_700_000_000_000}
    bad = pool.raw.xadd(pool.keys().dead, letter).decode()
    good = pool.raw.xadd(pool.keys().dead, letter | {"payload": encode_intent(an_intent())}).decode()
    assert [one["id"] for one in documents(run("dead", "list", "--json"))] == [good, bad]
    assert "no [JSON] object" in run("dead", "list").stdout
    assert "\\xffgarbage" in run("dead", "show", bad).stdout
    assert documents(run("dead", "show", bad, "--json"))[0]["payload"] == "\\xffgarbage"
    refused = run("dead", "retry", bad)
    assert (refused.exit_code, "use --force" in refused.stderr) == (Exit.REFUSED, True)
    assert (
        documents(run("dead", "retry", good, "--json"))[0]["entry"].encode()
        == pool.raw.xrange(pool.keys().intents)[0][0]
    )
    assert run("dead", "retry", bad, "--force").exit_code == 0
    assert pool.payloads() == [encode_intent(an_intent()), b"\xffgarbage"]
    pool.register("kraken")
    assert run("dead", "show", bad).exit_code == Exit.USAGE, "which of the two exchanges?"


def test_unknown_orders_are_listed_and_their_lane_unparked(run: Run, pool: PlayedPool) -> None:
    pool.register()
    assert run("unknown", "list").stdout == "no unknown orders\n"
    pool.advance(an_intent(), OrderStatus.UNKNOWN, reason=Reason("timeout", "no answer"))
    pool.raw.zadd(pool.keys().parked, {"main|BTC/USDT:USDT": 1})
    assert "timeout: no answer" in run("unknown", "list").stdout
    listed = documents(run("unknown", "list", "--json"))[0]
    assert (listed["order"]["id"], listed["parked"]) == ("grid-1", True)
    assert run("unpark", "main|BTC/USDT:USDT").exit_code == 0
    assert documents(run("unknown", "list", "--json"))[0]["parked"] is False
    assert run("unpark", "main|BTC/USDT:USDT").exit_code == Exit.NOT_FOUND


def test_the_schema_is_that_of_the_intents(run: Run) -> None:
    assert json.loads(run("schema").stdout) == intent_schema()
    assert documents(run("schema", "--json")) == [intent_schema()]


def test_an_id_is_computed_without_redis(run: Run) -> None:
    words = ["id", "grid-1", "--exchange", "binance", "--account", "main"]
    expected = client_order_id("orderlane", "binance", "main", "grid-1")
    assert run(*words).stdout == f"{expected}\n"
    document = documents(run(*words, "--json"))[0]
    assert document["client_order_id"] == expected
    assert document["uuid"].replace("-", "") == document["hex"]


def test_settings_come_from_the_environment_and_options_go_first(run: Run, pool: PlayedPool) -> None:
    pool.register()
    environment = {"ORDERLANE_EXCHANGE": "kraken", "ORDERLANE_ACCOUNT": "env", "ORDERLANE_POOL": "staging"}
    expected = client_order_id("staging", "kraken", "env", "i")
    assert run("id", "i", **environment).stdout.strip() == expected
    options = run("--exchange", "binance", "id", "i", "--account", "main", "--pool", "p", **environment)
    assert options.stdout.strip() == client_order_id("p", "binance", "main", "i")


def test_the_help_lists_every_exit_code(run: Run) -> None:
    text = run("--help").stdout
    for code, meaning in MEANINGS.items():
        assert re.search(rf"^ +{code.value} +{re.escape(meaning[:40])}", text, re.MULTILINE)
    assert set(MEANINGS) == set(Exit)
