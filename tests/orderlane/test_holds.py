"""An operator's hold: what the command does, says, and leaves in Redis for the workers."""

from __future__ import annotations

import pytest

from orderlane.cli.exits import Exit
from orderlane.events import EventName, decode_event
from orderlane.orders import Reason
from orderlane.standing import (
    WHOLE_EXCHANGE,
    Cause,
    Standing,
    StandingState,
    decode_standings,
    encode_standing,
)
from tests.orderlane.cli_runs import Run, documents
from tests.orderlane.played_pool import PlayedPool


@pytest.fixture(autouse=True)
def registered(pool: PlayedPool) -> None:
    pool.register("binance", "main", "alt")


def standings(pool: PlayedPool) -> list[Standing]:
    return decode_standings(pool.raw.hgetall(pool.keys().standings))


def told(pool: PlayedPool) -> list[tuple[EventName, str]]:
    entries = pool.raw.xrange(pool.keys().events)
    return [
        (one.name, one.account)
        for entry, fields in entries
        for one in [decode_event(entry, fields[b"event"])]
    ]


def test_a_hold_stands_until_it_is_resumed(run: Run, pool: PlayedPool) -> None:
    result = run("hold", "binance", "main", "--reason", "rebalancing")
    assert result.exit_code == Exit.OK
    assert result.stdout == "account main of binance: new placements wait until `orderlane resume`\n"
    [held] = standings(pool)
    assert (held.scope, held.cause, held.reason.message) == ("main", Cause.OPERATOR, "rebalancing")
    assert "held by an operator" in run("status").stdout
    assert documents(run("status", "--json"))[0]["exchanges"][0]["standings"][0]["scope"] == "main"
    assert run("hold", "binance", "main", "--reason", "still at it").exit_code == Exit.OK
    assert (standings(pool)[0].since_ms, standings(pool)[0].reason.message) == (held.since_ms, "still at it")
    result = run("resume", "binance", "main")
    assert (result.exit_code, result.stdout) == (Exit.OK, "account main of binance goes on\n")
    assert standings(pool) == []
    assert told(pool) == [(EventName.DEGRADED, "main"), (EventName.RECOVERED, "main")]


def test_without_an_account_the_whole_exchange_is_held(run: Run, pool: PlayedPool) -> None:
    assert documents(run("hold", "binance", "--reason", "x", "--json"))[0]["scope"] == WHOLE_EXCHANGE
    assert run("resume", "binance", "main").exit_code == Exit.NOT_FOUND
    assert [one.scope for one in standings(pool)] == [WHOLE_EXCHANGE]
    assert documents(run("resume", "binance", "--json"))[0]["resumed"] == ["operator"]


def test_what_the_pool_found_out_is_ended_only_when_named_and_told_of_otherwise(
    run: Run, pool: PlayedPool
) -> None:
    found = Standing(
        scope="main",
        cause=Cause.ERRORS,
        state=StandingState.CLOSED,
        reason=Reason(code="failures_in_a_row", message="10 requests failed"),
        since_ms=1,
    )
    pool.raw.hset(pool.keys().standings, found.field, encode_standing(found))
    result = run("resume", "binance", "main")
    assert result.exit_code == Exit.NOT_FOUND
    assert "10 requests failed" in result.stdout
    assert run("resume", "binance", "main", "--cause", "errors").exit_code == Exit.OK
    assert standings(pool) == []
    assert run("resume", "binance", "main", "--cause", "ban").exit_code == Exit.USAGE


def test_what_nobody_would_heed_is_refused(run: Run, pool: PlayedPool) -> None:
    result = run("hold", "nowhere", "--reason", "x")
    assert (result.exit_code, "which the pool does not have" in result.stderr) == (Exit.USAGE, True)
    result = run("hold", "binance", "nobody", "--reason", "x")
    assert (result.exit_code, "it has alt, main" in result.stderr) == (Exit.USAGE, True)
    assert run("hold", "binance").exit_code == Exit.USAGE, "without a reason"
    assert standings(pool) == []
