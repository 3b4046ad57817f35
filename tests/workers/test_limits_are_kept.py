"""Several workers flooding one account stay within the exchange's limit, as the exchange itself counts."""

import time
from decimal import Decimal
from pathlib import Path

import msgspec

from orderlane.connection import connect
from orderlane.intents import OrderType, PlaceOrder, Side, encode_intent
from orderlane.keys import Keys
from scripts.demo import wait_until_ready
from scripts.harness.processes import LocalPool

LIMIT = 40
WINDOW_MS = 10_000
FLOOD_SECONDS = 22
CONFIG = """\
exchanges:
  binance:
    venue: binanceusdm
    accounts: {{main: {{}}}}
    limits: {{orders_10s: {limit}/10 seconds, orders_1m: 100000/minute}}
  binance-spot:
    venue: binance
    accounts: {{main: {{}}}}
"""


class Peak(msgspec.Struct):
    """The most the exchange counted in any window."""

    peak: int
    total: int


def test_three_workers_flooding_one_account_never_exceed_its_order_limit_in_any_window(
    tmp_path: Path,
) -> None:
    config = tmp_path / "orderlane.yaml"
    config.write_text(CONFIG.format(limit=LIMIT))
    options = ("--orders-10s", str(LIMIT), "--orders-1m", "100000")
    with LocalPool(tmp_path / "pool", config=config, paper_options=options) as pool:
        client = connect(pool.redis.url)
        for number in (1, 2, 3):
            pool.start_worker("binance", number)
        wait_until_ready(pool, client, 3)
        keys = Keys("binance")
        for number in range(400):
            coin = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC")[number % 8]
            client.xadd(
                keys.intents, {"intent": encode_intent(place(f"flood-{number}", f"{coin}/USDT:USDT"))}
            )
        time.sleep(FLOOD_SECONDS)
        pool.check()
        (peak,) = msgspec.json.decode(
            pool.ask_paper(f"/paper/windows?name=usdm:orders:main&ms={WINDOW_MS}"), type=list[Peak]
        )
        refused = [line for line in pool.ask_paper("/paper/audit").split(b"{") if b'"code":-1015' in line]
        left = client.xlen(keys.intents)
        client.close()
    assert left > 0, "the flood ended early: the limit was never tried"
    assert refused == []
    assert peak.peak <= LIMIT
    assert peak.total >= LIMIT, "so few orders that the limit was never near"


def place(intent_id: str, symbol: str) -> PlaceOrder:
    """A market order."""
    return PlaceOrder(
        id=intent_id, exchange="binance", account="main", symbol=symbol, side=Side.BUY, type=OrderType.MARKET,
        amount=Decimal(100) if symbol[:3] in ("XRP", "ADA", "DOG") else Decimal(1),
    )  # fmt: skip
