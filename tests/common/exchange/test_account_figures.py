"""Positions and balances as each venue writes them: what a reply is read as, and that a damaged one says nothing."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import pytest
from msgspec import Struct

from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import LINEAR, opened

RISK: Final = {
    "symbol": "BTCUSDT",
    "positionSide": "BOTH",
    "positionAmt": "-0.250",
    "entryPrice": "64000.50",
    "breakEvenPrice": "63990.1",
    "markPrice": "64100.00000000",
    "unRealizedProfit": "-24.87500000",
    "liquidationPrice": "0",
    "updateTime": 1720736417660,
}
FLAT_RISK: Final = {**RISK, "positionAmt": "0.000", "entryPrice": "0.0"}
WALLET: Final = {
    "accountAlias": "SgsR",
    "asset": "USDT",
    "balance": "122607.35137903",
    "crossWalletBalance": "23.72469206",
    "crossUnPnl": "0.00000000",
    "availableBalance": "122000.35137903",
    "maxWithdrawAmount": "23.72469206",
    "marginAvailable": True,
    "updateTime": 1617939110373,
}
SPOT_ACCOUNT: Final = {
    "makerCommission": 15,
    "canTrade": True,
    "updateTime": 123456789,
    "accountType": "SPOT",
    "balances": [
        {"asset": "BTC", "free": "4723846.89208129", "locked": "0.50000000"},
        {"asset": "LTC", "free": "0.00000000", "locked": "0.00000000"},
    ],
    "uid": 354937868,
}
BYBIT_ROW: Final = {
    "positionIdx": 0,
    "symbol": "BTCUSDT",
    "side": "Sell",
    "size": "0.25",
    "avgPrice": "64000.5",
    "markPrice": "64100",
    "unrealisedPnl": "-24.875",
    "liqPrice": "",
}
BYBIT_COIN: Final = {"coin": "USDT", "walletBalance": "1000.5", "locked": "100.25", "equity": "1010"}
OKX_ROW: Final = {
    "instId": "BTC-USDT-SWAP",
    "instType": "SWAP",
    "posSide": "net",
    "pos": "-25",
    "avgPx": "64000.5",
    "markPx": "64100",
    "upl": "-24.875",
}
OKX_DETAIL: Final = {"ccy": "USDT", "cashBal": "1000.5", "availBal": "900.25", "frozenBal": "100.25"}
KRAKEN_BALANCES: Final = {
    "ZUSD": {"balance": "25435.21", "hold_trade": "8249.76"},
    "XXBT": {"balance": "1.2435", "hold_trade": "0.8423"},
    "XETH": {"balance": "0.0000000000", "hold_trade": "0.0"},
}


def bybit(rows: list[Any], cursor: str = "") -> Any:
    result = {"category": "linear", "list": rows, "nextPageCursor": cursor}
    return {"retCode": 0, "retMsg": "OK", "result": result, "time": 1760000000000}


def bybit_wallet(coins: list[Any]) -> Any:
    result = {"list": [{"accountType": "UNIFIED", "coin": coins}]}
    return {"retCode": 0, "retMsg": "OK", "result": result, "time": 1760000000000}


def okx(rows: list[Any]) -> Any:
    return {"code": "0", "msg": "", "data": rows}


SHORT: Final = PositionReport(
    symbol=LINEAR,
    size=Decimal("-0.25"),
    entry_price=Decimal("64000.5"),
    mark_price=Decimal(64100),
    unrealised=Decimal("-24.875"),
)
TETHER: Final = BalanceReport(
    asset="USDT", total=Decimal("1000.5"), free=Decimal("900.25"), used=Decimal("100.25")
)

Question = Callable[[CcxtExchange], Awaitable[Any]]


class Case(Struct, frozen=True):
    """A question to a venue, its answer, and what is read out of it. `row`: where in the answer the figures are."""

    venue: str
    route: str
    reply: Any
    expected: list[Any]
    row: tuple[str | int, ...]
    numbers: tuple[str, ...]

    @property
    def ask(self) -> Question:
        return positions if isinstance(self.expected[0], PositionReport) else balances


async def positions(exchange: CcxtExchange) -> Any:
    return await exchange.positions("main")


async def balances(exchange: CcxtExchange) -> Any:
    return await exchange.balances("main")


CASES: Final = {
    "usdm positions": Case(
        "binanceusdm", "GET /fapi/v3/positionRisk", [RISK], [SHORT], (0,), ("positionAmt", "entryPrice")
    ),
    "usdm balances": Case(
        "binanceusdm",
        "GET /fapi/v3/balance",
        [WALLET, {**WALLET, "asset": "BNB", "balance": "0", "availableBalance": "0"}],
        [
            BalanceReport(
                asset="USDT",
                total=Decimal("122607.35137903"),
                free=Decimal("122000.35137903"),
                used=Decimal(607),
            )
        ],
        (0,),
        ("balance", "availableBalance"),
    ),
    "spot balances": Case(
        "binance",
        "GET /api/v3/account",
        SPOT_ACCOUNT,
        [
            BalanceReport(
                asset="BTC",
                total=Decimal("4723847.39208129"),
                free=Decimal("4723846.89208129"),
                used=Decimal("0.5"),
            )
        ],
        ("balances", 0),
        ("free", "locked"),
    ),
    "bybit positions": Case(
        "bybit",
        "GET /v5/position/list?settleCoin=USDT",
        bybit([BYBIT_ROW]),
        [SHORT],
        ("result", "list", 0),
        ("size", "avgPrice", "symbol"),
    ),
    "bybit balances": Case(
        "bybit",
        "GET /v5/account/wallet-balance",
        bybit_wallet([BYBIT_COIN, {**BYBIT_COIN, "coin": "BTC", "walletBalance": "0", "locked": "0"}]),
        [TETHER],
        ("result", "list", 0, "coin", 0),
        ("walletBalance", "locked", "coin"),
    ),
    "okx positions": Case(
        "okx",
        "GET /api/v5/account/positions",
        okx([OKX_ROW]),
        [SHORT],
        ("data", 0),
        ("pos", "avgPx", "posSide"),
    ),
    "okx balances": Case(
        "okx",
        "GET /api/v5/account/balance",
        okx([{"details": [OKX_DETAIL], "totalEq": "1"}]),
        [TETHER],
        ("data", 0, "details", 0),
        ("cashBal", "availBal", "frozenBal", "ccy"),
    ),
    "kraken balances": Case(
        "kraken",
        "POST /0/private/BalanceEx",
        {"error": [], "result": KRAKEN_BALANCES},
        [
            BalanceReport(
                asset="USD", total=Decimal("25435.21"), free=Decimal("17185.45"), used=Decimal("8249.76")
            ),
            BalanceReport(
                asset="BTC", total=Decimal("1.2435"), free=Decimal("0.4012"), used=Decimal("0.8423")
            ),
        ],
        ("result", "XXBT"),
        ("balance", "hold_trade"),
    ),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def at(reply: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        reply = reply[step]
    return reply


async def answers(case: Case, reply: Any) -> Any:
    async with opened(case.venue) as (exchange, stub):
        stub.answer("GET /v5/position/list", Answer(bybit([])))
        stub.answer(case.route, Answer(reply))
        return await case.ask(exchange)


@EVERY
async def test_what_is_held_is_read_out_of_a_reply(case: Case) -> None:
    assert await answers(case, case.reply) == case.expected


@EVERY
@pytest.mark.parametrize("damage", ["missing", "null", "text", "a list", "not finite"])
async def test_a_field_that_is_not_what_it_must_be_is_no_answer(case: Case, damage: str) -> None:
    async with opened(case.venue) as (exchange, stub):
        stub.answer("GET /v5/position/list", Answer(bybit([])))
        for name in case.numbers:
            damaged = copy.deepcopy(case.reply)
            row = at(damaged, case.row)
            if damage == "missing":
                del row[name]
            else:
                row[name] = {"null": None, "text": "0,5?", "a list": [1], "not finite": "NaN"}[damage]
            if damage in ("text", "not finite") and name in ("symbol", "coin", "ccy"):
                continue
            stub.answer(case.route, Answer(damaged))
            with pytest.raises(ExchangeFailure) as caught:
                await case.ask(exchange)
            assert caught.value.outcome is Outcome.UNKNOWN, (name, damage)


@EVERY
@pytest.mark.parametrize("body", ["{}", "[]", "null", '{"code": 0}', "[[]]", '{"data": [], "result": {}}'])
async def test_a_reply_of_another_form_is_never_an_empty_account(case: Case, body: str) -> None:
    if body == "[]" and case.venue == "binanceusdm":
        assert await answers(case, []) == []  # what Binance answers for an account without any
        return
    with pytest.raises(ExchangeFailure):
        await answers(case, body)


@pytest.mark.parametrize("name", [name for name in CASES if "kraken" not in name])
async def test_a_figure_that_is_listed_twice_is_no_answer(name: str) -> None:
    case = CASES[name]
    doubled = copy.deepcopy(case.reply)
    rows = at(doubled, case.row[:-1])
    rows.append(copy.deepcopy(rows[0]))
    with pytest.raises(ExchangeFailure, match="listed twice"):
        await answers(case, doubled)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("usdm positions", {"positionSide": "SHORT"}),
        ("bybit positions", {"positionIdx": 2}),
        ("okx positions", {"posSide": "short"}),
    ],
)
async def test_an_account_in_hedge_mode_is_refused_in_clear_words(name: str, change: dict[str, Any]) -> None:
    case = CASES[name]
    hedged = copy.deepcopy(case.reply)
    at(hedged, case.row).update(change)
    with pytest.raises(ExchangeFailure, match="one-way mode") as caught:
        await answers(case, hedged)
    assert caught.value.outcome is Outcome.REFUSED


async def test_flat_positions_are_none_and_spot_venues_have_none_at_all() -> None:
    case = CASES["usdm positions"]
    assert await answers(case, [FLAT_RISK]) == []
    for venue in ("binance", "kraken"):
        async with opened(venue) as (exchange, stub):
            assert not exchange.holds_positions
            assert await exchange.positions("main") == []
            assert stub.seen == []


async def test_bybit_lists_are_read_to_their_last_page() -> None:
    row = {**BYBIT_ROW, "size": "0"}
    async with opened("bybit") as (exchange, stub):
        full = [{**row, "symbol": f"C{number}USDT"} for number in range(200)]
        stub.answer("GET /v5/position/list", Answer(bybit([])))
        stub.answer(
            "GET /v5/position/list?settleCoin=USDT", Answer(bybit(full, "page-2")), Answer(bybit([BYBIT_ROW]))
        )
        assert await exchange.positions("main") == [SHORT]
        assert [seen.params.get("cursor") for seen in stub.seen] == [None, "page-2", None]


async def test_spot_asks_for_no_balances_that_are_zero() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer("GET /api/v3/account", Answer(SPOT_ACCOUNT))
        await exchange.balances("main")
        assert stub.seen[-1].params["omitZeroBalances"] == "true"
