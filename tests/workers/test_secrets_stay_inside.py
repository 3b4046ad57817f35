"""Known secrets are planted in every place a secret can come from; then everything the pool wrote is searched."""

import base64
import json
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import redis

from orderlane.connection import connect
from orderlane.intents import OrderType, PlaceOrder, Side, encode_intent
from orderlane.keys import Keys
from scripts.harness.evidence import scan
from scripts.harness.processes import LocalPool

KEY = "planted-api-key-0f8fad5b"
SECRET = "planted/api+secret=7c9e6679"
WRONG_SECRET = "planted-wrong-secret-1b9d6bcd"
REDIS_PASSWORD = "planted:redis@password-6ba7b810"
PLANTED = (KEY, SECRET, WRONG_SECRET, REDIS_PASSWORD)

CONFIG = """\
log: {{level: debug, format: json}}
exchanges:
  binance:
    venue: binanceusdm
    endpoint: {paper}
    receive_window_ms: 1000
    reconcile: {{enabled: false}}
    accounts:
      main: {{key: {{env: PLANTED_KEY}}, secret: {{file: {secret_file}}}}}
      wrong: {{key: {{env: PLANTED_KEY}}, secret: {{env: PLANTED_WRONG_SECRET}}}}
"""


def test_no_planted_secret_is_found_in_redis_logs_or_errors(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps([{"name": "main", "key": KEY, "secret": SECRET}]))
    secret_file, config = tmp_path / "secret", tmp_path / "orderlane.yaml"
    secret_file.write_text(SECRET)
    config.write_text("exchanges: {}\n")
    pool = LocalPool(
        tmp_path / "pool",
        config=config,
        password=REDIS_PASSWORD,
        paper_options=("--accounts-file", str(accounts)),
        environment={"PLANTED_KEY": KEY, "PLANTED_WRONG_SECRET": WRONG_SECRET},
    )
    with pool:
        config.write_text(CONFIG.format(paper=pool.paper_url, secret_file=secret_file))
        client = connect(pool.redis.url)
        keys = Keys("binance")
        pool.start_worker("binance", 1)
        pool.start_scheduler()
        for intent in (
            place("good", "main"),
            place("bad-signature", "wrong"),
            place("bad-size", "main", "0.00000001"),
        ):
            client.xadd(keys.intents, {"intent": encode_intent(intent)})
        drain(pool, client)
        pool.ask_paper(
            "/paper/faults", json.dumps({"route": "POST /fapi/v1/order", "fault": "foreign_body"}).encode()
        )
        client.xadd(keys.intents, {"intent": encode_intent(place("after-html", "main"))})
        drain(pool, client)
        written = {name: process.log.read_text() for name, process in pool.processes.items()}
        written["redis"] = dump(client)
        client.close()
    assert "good" in written["redis"]
    assert "bad-signature" in written["binance.1"]
    found = [
        f"{form!r} in {where}"
        for where, text in written.items()
        for secret in PLANTED
        for form in forms(secret)
        if form in text
    ]
    assert found == []


def drain(pool: LocalPool, client: "redis.Redis") -> None:
    """Wait until every intent has ended."""
    deadline = time.monotonic() + 60
    while client.xlen(Keys("binance").intents):
        assert time.monotonic() < deadline, pool.processes["binance.1"].last_words()
        pool.check()
        time.sleep(0.05)


def place(intent_id: str, account: str, amount: str = "0.01") -> PlaceOrder:
    """A small market order."""
    return PlaceOrder(
        id=intent_id, exchange="binance", account=account, symbol="BTC/USDT:USDT", side=Side.BUY, type=OrderType.MARKET,
        amount=Decimal(amount),
    )  # fmt: skip


def forms(secret: str) -> tuple[str, ...]:
    """The secret as it might have been written."""
    return secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode(), secret[:-4]


def dump(client: "redis.Redis") -> str:
    """Every key and value, as text."""
    parts = []
    for key in scan(client, "*"):
        kind = client.type(key)
        read = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1),
            b"list": lambda name: client.lrange(name, 0, -1),
            b"stream": client.xrange,
        }[kind]  # type: ignore[index]
        parts.append(f"{key!r} {read(key)!r}")  # type: ignore[operator]
    return "\n".join(parts)
