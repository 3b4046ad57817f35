"""Positions, balances and disabled strategies as clients and operators see them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from orderlane.async_client import AsyncClient
from orderlane.client import Client
from orderlane.disabled import DisabledStrategy, encode_disabled
from orderlane.events import EventName
from orderlane.orders import Reason
from orderlane.positions import (
    READINGS_FIELD,
    STATE_FIELD,
    AccountState,
    Balance,
    BalanceReading,
    ComparedState,
    Position,
    PositionReading,
    Readings,
    Source,
    decode_balance,
    decode_position,
    encode_comparison,
    encode_figure,
    side_of,
)
from tests.orderlane.cli_runs import Run, documents
from tests.orderlane.played_pool import PlayedPool

SYMBOL = "BTC/USDT:USDT"
SHORT = Position(
    size=Decimal("-0.25"),
    entry_price=Decimal("64000.123456789012"),
    realised=Decimal("12.5"),
    fees={"USDT": Decimal("0.75")},
    shares={"grid": Decimal("-0.3"), "old": Decimal(0)},
    fills=7,
    changed_at=1_760_000_000_000,
)


@pytest.fixture
def now_ms(pool: PlayedPool) -> int:
    seconds, _ = pool.raw.time()
    return int(seconds) * 1000


def hold(
    pool: PlayedPool, now_ms: int, state: ComparedState = ComparedState.AGREED, reason: str = ""
) -> None:
    """What workers note of an account that is short, and of one that is flat."""
    keys = pool.keys()
    pool.register("binance", "main", "alt")
    pool.raw.hset(keys.positions("main"), SYMBOL, encode_figure(3, SHORT))
    pool.raw.hset(keys.positions("main"), "ETH/USDT:USDT", encode_figure(9, Position(fills=2)))
    pool.raw.hset(keys.balances("main"), "USDT", encode_figure(4, Balance(total=Decimal("999.5"))))
    readings = Readings(
        positions={
            SYMBOL: PositionReading(
                size=Decimal("-0.25"),
                mark_price=Decimal(64100),
                unrealised=Decimal("-25"),
                drift=Decimal("0.01"),
                at=now_ms - 9_000,
            )
        },
        balances={
            "USDT": BalanceReading(
                total=Decimal("999.5"), free=Decimal(900), used=Decimal("99.5"), at=now_ms - 9_000
            )
        },
    )
    compared = AccountState(
        state=state,
        source=Source.FILLS,
        tried_at=now_ms - 9_000,
        compared_at=now_ms - 9_000,
        reason=reason,
    )
    fields = {STATE_FIELD: encode_comparison(compared), READINGS_FIELD: encode_comparison(readings)}
    pool.raw.hset(keys.compared("main"), mapping=fields)


def disable(pool: PlayedPool, strategy: str) -> DisabledStrategy:
    one = DisabledStrategy(
        account="main",
        symbol=SYMBOL,
        strategy=strategy,
        reason=Reason(code="position_drift", message="a drift of -0.5", numbers={"drift": "-0.5"}),
        since_ms=1_760_000_000_000,
    )
    pool.raw.hset(pool.keys().disabled, one.field, encode_disabled(one))
    return one


def test_figures_come_back_from_redis_as_they_were_and_nonsense_is_flat() -> None:
    assert decode_position(encode_figure(3, SHORT)).figure == SHORT
    assert decode_position(encode_figure(3, SHORT)).version == 3
    assert decode_balance(b"12 {").figure == Balance()
    assert (decode_position(None).version, decode_position(b"nonsense").version) == (0, 0)


def test_sides_have_names() -> None:
    assert [side_of(Decimal(size)) for size in (1, 0, -1)] == ["long", "flat", "short"]


async def test_clients_read_positions_with_the_exchange_s_last_word(
    pool: PlayedPool, client: Client, async_client: AsyncClient, now_ms: int
) -> None:
    hold(pool, now_ms)
    [found] = client.positions()
    short, flat = found.positions
    assert (short.symbol, short.side, short.size, short.fills) == (SYMBOL, "short", Decimal("-0.25"), 7)
    assert (short.unrealised, short.mark_price, short.drift) == (
        Decimal(-25),
        Decimal(64100),
        Decimal("0.01"),
    )
    assert (short.shares["grid"], short.unattributed) == (Decimal("-0.3"), Decimal("0.05"))
    assert (flat.side, flat.compared_at, flat.exchange_size) == ("flat", 0, None)
    [held] = found.balances
    assert (held.total, held.free, held.used) == (Decimal("999.5"), Decimal(900), Decimal("99.5"))
    assert found.comparison is not None
    assert found.comparison.state is ComparedState.AGREED
    [same] = await async_client.positions()
    assert (same.positions, same.balances, same.comparison) == (
        found.positions,
        found.balances,
        found.comparison,
    )


def test_an_account_of_which_nothing_is_known_is_empty_and_says_so(
    pool: PlayedPool, client: Client, run: Run
) -> None:
    pool.register("binance", "main")
    [found] = client.positions("main")
    assert (found.positions, found.balances, found.comparison) == ([], [], None)
    assert "never compared" in run("positions").stdout


def test_the_command_shows_what_is_open_and_with_all_what_is_flat(
    pool: PlayedPool, run: Run, now_ms: int
) -> None:
    hold(pool, now_ms)
    shown = run("positions", "--account", "main", columns=200).stdout
    assert SYMBOL in shown
    assert "short" in shown
    assert "64000.12345679" in shown
    assert "grid -0.3" in shown
    assert "? 0.05" in shown
    assert "ETH/USDT:USDT" not in shown
    assert "ETH/USDT:USDT" in run("positions", "--account", "main", "--all", columns=200).stdout


def test_as_json_each_account_is_one_object_with_every_digit(pool: PlayedPool, run: Run, now_ms: int) -> None:
    hold(pool, now_ms)
    both = documents(run("--json", "positions"))
    assert [one["account"] for one in both] == ["alt", "main"]
    short = both[1]["positions"][0]
    assert (short["size"], short["entry_price"], short["side"]) == ("-0.25", "64000.123456789012", "short")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ComparedState.CRITICAL, "critical drift"),
        (ComparedState.WAITING, "waiting since: its stream has a gap"),
        (ComparedState.UNSETTLED, "unsettled"),
    ],
)
def test_the_command_says_how_far_figures_can_be_relied_on(
    pool: PlayedPool, run: Run, now_ms: int, state: ComparedState, words: str
) -> None:
    hold(pool, now_ms, state, "its stream has a gap" if state is ComparedState.WAITING else "")
    assert words in run("positions", "--account", "main", columns=200).stdout


def test_status_shows_who_is_disabled_where_and_how_to_go_on(pool: PlayedPool, run: Run) -> None:
    pool.register("binance", "main")
    disable(pool, "grid")
    disable(pool, "*")
    [exchange] = json.loads(run("--json", "status").stdout)["exchanges"]
    assert {one["strategy"] for one in exchange["disabled"]} == {"grid", "*"}
    shown = run("status", columns=250).stdout
    assert f"strategy grid on {SYMBOL} of main" in shown
    assert "every strategy on" in shown
    assert f"orderlane enable main {SYMBOL}" in shown


def test_enable_lets_one_strategy_or_all_go_on_and_tells_of_each(pool: PlayedPool, run: Run) -> None:
    pool.register("binance", "main")
    for strategy in ("grid", "other", "third"):
        disable(pool, strategy)
    assert documents(run("--json", "enable", "main", SYMBOL, "grid"))[0]["enabled"] == ["grid"]
    assert set(pool.raw.hkeys(pool.keys().disabled)) == {
        f"main|{SYMBOL}|{name}".encode() for name in ("other", "third")
    }
    everyone = run("enable", "main", SYMBOL)
    assert (everyone.exit_code, pool.raw.exists(pool.keys().disabled)) == (0, 0)
    assert "other" in everyone.stdout
    entries = pool.raw.xrange(pool.keys().events)
    told = [json.loads(fields[b"event"]) for _, fields in entries]
    assert {one["strategy"] for one in told} == {"grid", "other", "third"}
    assert {one["name"] for one in told} == {EventName.STRATEGY_ENABLED.value}


def test_enable_says_when_nothing_is_disabled(pool: PlayedPool, run: Run) -> None:
    pool.register("binance", "main")
    result = run("enable", "main", SYMBOL)
    assert result.exit_code != 0
    assert "nothing is disabled" in result.stdout
