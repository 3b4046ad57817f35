"""Requests without ccxt: signed by hand, over bare sockets where the wire itself is the question."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.paper_process import PaperProcess
from workers.paper.signing import sign

FORM = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def signed(params: Mapping[str, object], secret: str = "paper-main-secret") -> str:
    """A form with timestamp and signature."""
    form = urlencode({"timestamp": int(time.time() * 1000), **params})
    return f"{form}&signature={sign(secret, form)}"


def send(paper: PaperProcess, method: str, path: str, form: str = "", key: str = "paper-main-key") -> Answer:
    """Send a form, in the query for GET and DELETE and in the body otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", paper.port, timeout=20)
    headers = {"X-MBX-APIKEY": key} if key else {}
    try:
        if method in ("GET", "DELETE"):
            connection.request(method, f"{path}?{form}" if form else path, headers=headers)
        else:
            connection.request(method, path, form, {**headers, "Content-Type": FORM})
        response = connection.getresponse()
        text = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    return Answer(response.status, names, json.loads(text) if text[:1] in b"{[" and text else text)


def order(product: str = "usdm", **given: object) -> dict[str, object]:
    """The parameters of a resting limit order on BTCUSDT; those given as None are left out."""
    usual: dict[str, object] = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.01",
        "price": "60000",
        "newOrderRespType": "RESULT",
    }
    return {name: value for name, value in {**usual, **given}.items() if value is not None}


PATHS = {"spot": "/api/v3/order", "usdm": "/fapi/v1/order"}


def place(paper: PaperProcess, product: str = "usdm", **given: object) -> Answer:
    """Place an order."""
    return send(paper, "POST", PATHS[product], signed(order(product, **given)))


def everything(paper: PaperProcess, request: bytes) -> bytes:
    """Every byte the exchange sends back until it closes. Raises ``ConnectionResetError`` on RST."""
    with socket.create_connection(("127.0.0.1", paper.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def bare_order(params: dict[str, object]) -> bytes:
    """A whole HTTP request that places an order, asking for the connection to be closed afterwards."""
    form = signed(params)
    head = (
        "POST /fapi/v1/order HTTP/1.1\r\nHost: paper\r\nX-MBX-APIKEY: paper-main-key\r\nConnection: close\r\n"
        f"Content-Type: {FORM}\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    return (head + form).encode()
