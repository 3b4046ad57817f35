"""The command as a shell sees it: pipes, signals, outages, exit codes."""

from __future__ import annotations

import json
import signal
import time

from common.redis_server import EmbeddedRedis
from orderlane.cli.exits import Exit
from orderlane.intents import encode_intent
from orderlane.orders import OrderStatus
from tests.orderlane.cli_runs import PLACE, Start
from tests.orderlane.played_pool import PlayedPool, an_intent


def test_a_slow_pipe_is_submitted_as_it_comes(process: Start, pool: PlayedPool) -> None:
    one = process("submit", "--file", "-", "--json")
    assert one.stdin is not None
    assert one.stdout is not None
    for name in ("a", "b"):
        one.stdin.write(encode_intent(an_intent(name)).decode() + "\n")
        one.stdin.flush()
        assert json.loads(one.stdout.readline())["id"] == name, "without waiting for the end of the pipe"
    one.stdin.close()
    assert one.wait(20) == 0


def test_watch_follows_live_and_ctrl_c_ends_it_well(process: Start, pool: PlayedPool) -> None:
    one = process("watch", "--exchange", "binance", "--json", "--after", "0")
    assert one.stdout is not None
    for name in ("a", "b"):
        pool.advance(an_intent(name), OrderStatus.ACTIVE)
        assert json.loads(one.stdout.readline())["intent_id"] == name
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 0


def test_watch_outlives_an_outage_and_says_so(process: Start, fresh_redis: EmbeddedRedis) -> None:
    pool = PlayedPool(fresh_redis.url)
    pool.advance(an_intent("before"), OrderStatus.ACTIVE)
    one = process(
        "watch", "--exchange", "binance", "--json", "--after", "0", ORDERLANE_REDIS_URL=fresh_redis.url
    )
    assert one.stdout is not None
    assert one.stderr is not None
    assert json.loads(one.stdout.readline())["intent_id"] == "before"
    pool.close()
    fresh_redis.kill()
    assert "still trying" in one.stderr.readline()
    fresh_redis.restart()
    pool = PlayedPool(fresh_redis.url)
    pool.advance(an_intent("after"), OrderStatus.ACTIVE)
    assert json.loads(one.stdout.readline())["intent_id"] == "after"
    pool.close()


def test_output_that_nobody_reads_any_more_is_no_traceback(process: Start, pool: PlayedPool) -> None:
    for number in range(500):
        pool.advance(an_intent(f"i-{number}"), OrderStatus.ACTIVE)
    one = process("watch", "--exchange", "binance", "--json", "--after", "0", "--count", "500")
    assert one.stdout is not None
    one.stdout.readline()
    one.stdout.close()
    one.wait(20)
    assert one.stderr is not None
    assert "Traceback" not in one.stderr.read()


def test_ctrl_c_while_waiting_is_no_traceback(process: Start, pool: PlayedPool) -> None:
    one = process("submit", *PLACE, "--id", "x", "--wait", "terminal")
    deadline = time.monotonic() + 20
    while not pool.payloads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert one.stdout is not None
    assert one.stdout.readline().startswith("x added")
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == Exit.INTERRUPTED
    assert one.stderr is not None
    assert "Traceback" not in one.stderr.read()


def test_exit_codes_reach_the_shell(process: Start, pool: PlayedPool) -> None:
    pool.register()
    cases = [
        (["get", "nope"], {}, 3),
        (["submit"], {}, 2),
        (["submit", *PLACE, "--id", "x"], {}, 0),
        (["submit", *PLACE, "--backlog-limit", "1"], {}, 4),
        (["submit", *PLACE, "--id", "x", "--wait", "terminal", "--timeout", "0"], {}, 6),
        (["get", "x"], {"ORDERLANE_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, 5),
        (["get", "x"], {"ORDERLANE_REDIS_URL": "redis://no-such-host.invalid/0"}, 5),
        (["schema"], {"ORDERLANE_REDIS_URL": "redis://127.0.0.1:1/0"}, 0),
    ]
    for words, environment, code in cases:
        one = process(*words, **environment)
        _, complaint = one.communicate(timeout=60)
        assert one.returncode == code, (words, complaint)
        assert "Traceback" not in complaint
        assert "hunter2" not in complaint


def test_the_status_can_be_watched(process: Start, pool: PlayedPool) -> None:
    pool.register()
    one = process("status", "--watch", "--json", "--interval", "0.1")
    assert one.stdout is not None
    seen = [json.loads(one.stdout.readline())["at"] for _ in range(3)]
    assert seen == sorted(set(seen))
    one.send_signal(signal.SIGINT)
    assert one.wait(20) == 0
