"""A stand-in for Binance USDⓈ-M that answers as fast as Python can, so that it is not what is measured.

    python -m scripts.harness.bench.endpoint --port-file FILE [--delay-ms 20] [--symbols 64]

It believes every request: no signature, limit or balance is checked, an order is filled (`--status FILLED`) or rests
(`--status NEW`) as it comes. Connections are kept. It writes down when each order arrived.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qsl

import click
import msgspec
import uvloop

from scripts.harness.bench.instruments import exchange_info
from scripts.harness.bench.open_orders import OpenOrders, open_order_rows

ORDER: Final = (
    '{"orderId":%d,"symbol":"%s","status":"%s","clientOrderId":"%s","price":"%s","avgPrice":"%s","origQty":"%s",'
    '"executedQty":"%s","cumQty":"%s","cumQuote":"0","timeInForce":"GTC","type":"%s","reduceOnly":false,'
    '"closePosition":false,"side":"%s","positionSide":"BOTH","stopPrice":"0","workingType":"CONTRACT_PRICE",'
    '"priceProtect":false,"origType":"%s","priceMatch":"NONE","selfTradePreventionMode":"NONE","goodTillDate":0,'
    '"updateTime":%d}'
)
"""An order as `POST /fapi/v1/order` shows it."""

HEAD: Final = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
    b"X-MBX-USED-WEIGHT-1M: 1\r\nX-MBX-ORDER-COUNT-10S: 1\r\nX-MBX-ORDER-COUNT-1M: 1\r\n\r\n"
)
UNKNOWN_ORDER: Final = b'{"code":-2013,"msg":"Order does not exist."}'
OK: Final = b"200 OK"
BAD: Final = b"400 Bad Request"
GONE: Final = b"404 Not Found"

Parameters = dict[str, str]


class Exchange:
    """What the endpoint remembers: when each order arrived and under which id, and which orders it lists as open."""

    def __init__(self, status: str, info: bytes) -> None:
        self.status = status
        self.info = info
        self.arrivals: list[tuple[int, str]] = []
        self.requests = 0
        self.open_orders = b"[]"
        self._ids = count(1_000_001)

    def answer(self, method: str, path: str, query: str, body: bytes, at_ns: int) -> tuple[bytes, bytes]:
        """The status line's end and the body for one request that arrived at `at_ns`, ns since 1970."""
        self.requests += 1
        if path == "/fapi/v1/order":
            return self._order(method, dict(parse_qsl(query or body.decode())), at_ns)
        if path == "/fapi/v1/time":
            return OK, b'{"serverTime":%d}' % (at_ns // 1_000_000)
        if path == "/fapi/v1/exchangeInfo":
            return OK, self.info
        if path == "/fapi/v1/openOrders":
            return OK, self.open_orders
        if path == "/fapi/v1/openAlgoOrders":
            return OK, b"[]"
        return self._steer(path, query, body)

    def _order(self, method: str, given: Parameters, at_ns: int) -> tuple[bytes, bytes]:
        if method != "POST":
            return BAD, UNKNOWN_ORDER
        name = given.get("newClientOrderId", "")
        self.arrivals.append((at_ns, name))
        filled = self.status == "FILLED"
        amount, price, kind = given["quantity"], given.get("price", "0"), given["type"]
        executed, average = (amount, price) if filled else ("0", "0")
        return OK, (
            ORDER
            % (
                next(self._ids), given["symbol"], self.status, name, price, average, amount, executed, executed,
                kind, given["side"], kind, at_ns // 1_000_000,
            )
        ).encode()  # fmt: skip

    def _steer(self, path: str, query: str, body: bytes) -> tuple[bytes, bytes]:
        if path == "/bench/count":
            return OK, b"%d" % len(self.arrivals)
        if path == "/bench/requests":
            return OK, b"%d" % self.requests
        if path == "/bench/arrivals":
            return OK, msgspec.json.encode(self.arrivals)
        if path == "/bench/reset":
            self.arrivals.clear()
            self.requests = 0
            return OK, b"{}"
        if path == "/bench/open":
            self.open_orders = open_order_rows(msgspec.json.decode(body, type=OpenOrders))
            return OK, b"{}"
        return GONE, b'{"code":-5000,"msg":"Path %s, Method is invalid"}' % path.encode()


class Connection(asyncio.Protocol):
    """One client's connection: requests come one after the other, as HTTP/1.1 clients send them without pipelining."""

    def __init__(self, exchange: Exchange, delay_seconds: float) -> None:
        self._exchange = exchange
        self._delay_seconds = delay_seconds
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, alike in all but its base

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        at_ns = time.time_ns()
        self._unread = self._unread + data if self._unread else data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end]
            length = _content_length(head)
            if len(self._unread) < end + 4 + length:
                return
            body, self._unread = self._unread[end + 4 : end + 4 + length], self._unread[end + 4 + length :]
            self._answer(head, body, at_ns)

    def _answer(self, head: bytes, body: bytes, at_ns: int) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        path, _, query = target.partition("?")
        status, payload = self._exchange.answer(method, path, query, body, at_ns)
        reply = HEAD % (status, len(payload)) + payload
        if self._delay_seconds and path.startswith("/fapi/v1/order"):
            asyncio.get_running_loop().call_later(self._delay_seconds, self._write, reply)
        else:
            self._write(reply)

    def _write(self, reply: bytes) -> None:
        if self._transport is not None:
            self._transport.write(reply)


def _content_length(head: bytes) -> int:
    """From the request's head; 0 where it names none."""
    found = head.lower().find(b"\r\ncontent-length:")
    if found < 0:
        return 0
    line_end = head.find(b"\r\n", found + 2)
    return int(head[found + 17 : line_end if line_end >= 0 else len(head)])


async def serve(exchange: Exchange, delay_seconds: float, ready: Callable[[int], None]) -> None:
    """Listen on a free port of loopback until a signal ends it."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(
        lambda: Connection(exchange, delay_seconds), "127.0.0.1", 0, backlog=4096
    )
    ready(server.sockets[0].getsockname()[1])
    await ended.wait()
    server.close()


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--port-file", type=click.Path(path_type=Path), required=True, help="Where the port is written."
)
@click.option("--delay-ms", default=0.0, help="How long an order takes to be answered.")
@click.option("--status", type=click.Choice(["FILLED", "NEW"]), default="FILLED", help="What orders become.")
@click.option("--symbols", default=64, help="How many symbols are listed.")
def main(port_file: Path, delay_ms: float, status: str, symbols: int) -> None:
    """Serve until a signal ends it."""

    def ready(port: int) -> None:
        unfinished = port_file.with_suffix(".unfinished")
        unfinished.write_text(str(port))
        os.replace(unfinished, port_file)

    uvloop.run(serve(Exchange(status, exchange_info(symbols)), delay_ms / 1000, ready))


if __name__ == "__main__":
    main()
