"""What goes over the connection: true answers, and the ways in which a fault keeps them from arriving."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from workers.paper.calls import JSON_TYPE, Reply
from workers.paper.faults import FaultRule, Faults

LINGER_NOT = struct.pack("ii", 1, 0)
FOREIGN_BODY = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please stand by.</body></html>"
HANG_POLL_SECONDS = 0.05
HTML = {"Content-Type": "text/html; charset=utf-8"}


def true_reply(reply: Reply) -> web.Response:
    """The exchange's own answer."""
    headers = {"Content-Type": JSON_TYPE, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


def close(transport: Any, reset: bool) -> None:
    """Close a connection without an answer: by RST if ``reset``, otherwise by FIN."""
    if transport is None:
        return
    if reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    transport.abort()


def _unanswered(request: web.BaseRequest, reset: bool) -> web.Response:
    """Close the connection; the response only tells aiohttp that the request is over, nothing of it is
    sent.
    """
    close(request.transport, reset)
    return web.Response()


async def _hang(request: web.BaseRequest) -> web.Response:
    """Say nothing for as long as the client waits."""
    while request.transport is not None:  # noqa: ASYNC110 - aiohttp tells a handler nothing when its client leaves
        await asyncio.sleep(HANG_POLL_SECONDS)
    return web.Response()


async def before(request: web.BaseRequest, rule: FaultRule) -> web.Response | None:
    """Carry out the part of a fault that comes before the exchange sees the request.

    Returns the answer if the fault is the answer, None to go on.
    """
    if rule.delay_ms and rule.fault != "delay_reply":
        await asyncio.sleep(rule.delay_ms / 1000)
    if rule.executes:
        return None
    if rule.fault in ("drop_before", "reset_before"):
        return _unanswered(request, reset=rule.fault == "reset_before")
    if rule.fault == "hang":
        return await _hang(request)
    if rule.fault in ("429", "418"):
        return _throttled(rule)
    if rule.fault == "error_before":
        return _given(rule, 503, _error_body(request), {"Content-Type": JSON_TYPE})
    return _given(rule, 200, b"", {"Content-Type": JSON_TYPE})


async def after(request: web.BaseRequest, rule: FaultRule, reply: Reply) -> web.StreamResponse:
    """Answer a request that was carried out, as its fault wants."""
    if rule.fault in ("drop_after", "reset_after"):
        return _unanswered(request, reset=rule.fault == "reset_after")
    if rule.fault == "hang":
        return await _hang(request)
    if rule.fault == "delay_reply":
        await asyncio.sleep(rule.delay_ms / 1000)
    if rule.fault == "cut_body":
        return await _cut(request, reply)
    if rule.fault == "empty_body":
        return web.Response(status=rule.status or 200, body=b"", headers=rule.headers or None)
    if rule.fault == "foreign_body":
        return _given(rule, 200, FOREIGN_BODY, HTML)
    if rule.fault == "error_after":
        return _given(rule, 503, _error_body(request), {"Content-Type": JSON_TYPE})
    if rule.fault == "verbatim":
        return _given(rule, 200, b"", {"Content-Type": JSON_TYPE})
    return true_reply(reply)


def _given(rule: FaultRule, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """The rule's own status, body and headers, or these where it names none."""
    sent = rule.body.encode() if rule.body else body
    return web.Response(status=rule.status or status, body=sent, headers={**headers, **rule.headers})


def _error_body(request: web.BaseRequest) -> bytes:
    """What Binance's hosts answer with a 503: a message, the time and the path, but no code."""
    return msgspec.json.encode(
        {
            "timestamp": int(time.time() * 1000),
            "path": request.raw_path.partition("?")[0],
            "msg": "Unknown error, please check your request or try again later.",
        }
    )


def _throttled(rule: FaultRule) -> web.Response:
    """Binance's 429 or 418, with a ``Retry-After`` of one second unless the rule sets another."""
    banned_until_ms = int(time.time() * 1000) + 1000
    message = (
        f"Way too many requests; IP banned until {banned_until_ms}. "
        "Please use the websocket for live updates to avoid bans."
        if rule.fault == "418"
        else "Too many requests; current limit is 2400 requests per minute."
    )
    body = f'{{"code":-1003,"msg":"{message}"}}'.encode()
    return _given(rule, int(rule.fault), body, {"Content-Type": JSON_TYPE, "Retry-After": "1"})


async def _cut(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send half of the body under a ``Content-Length`` that promises all of it, then close."""
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": JSON_TYPE, **reply.headers})
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


class ResettingHandler(RequestHandler):
    """aiohttp's connection handler, which can reset a connection before a request on it is read."""

    __slots__ = ("_faults",)

    def __init__(self, manager: web.Server, faults: Faults, **options: Any) -> None:
        super().__init__(manager, **options)
        self._faults = faults

    def data_received(self, data: bytes) -> None:
        """Look at the first line of what arrives, and hand it on unless a fault resets the connection."""
        if self._faults:
            first_line = data.split(b"\r\n", 1)[0]
            begins = first_line.endswith((b"HTTP/1.1", b"HTTP/1.0"))
            if begins and self._faults.resets_unread(first_line.decode("latin-1")):
                close(self.transport, reset=True)
                return
        super().data_received(data)


class ResettingServer(web.Server):
    """An aiohttp low-level server whose connections are :class:`ResettingHandler`."""

    def __init__(self, handler: Any, faults: Faults, **options: Any) -> None:
        super().__init__(handler, **options)
        self._faults = faults

    def __call__(self) -> RequestHandler:
        """A handler for a new connection."""
        return ResettingHandler(self, self._faults, loop=self._loop, **self._kwargs)
