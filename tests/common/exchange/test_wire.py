"""Connections: one request at a time on each, a reply for its own request alone, and never a second attempt."""

from __future__ import annotations

import asyncio
import datetime
import functools
import inspect
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import certifi
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.classify import Operation, Reply
from common.exchange.clock import ExchangeClock
from common.exchange.http_request import Origin, request_bytes
from common.exchange.transport import Call, Reader, Wire
from tests.common.exchange.raw_server import RawServer, Say, reply, running_raw
from tests.common.exchange.venues import settings_on

SECOND_REPLY = reply(b"/second")


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on asyncio's own event loop and on uvloop's, which the workers use."""

    @functools.wraps(test)
    def run(loop: Callable[[], asyncio.AbstractEventLoop], **given: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(**given))

    loops = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    known = inspect.signature(test).parameters.values()
    run.__dict__["__signature__"] = inspect.Signature([*known, loops])
    each: Callable[[Callable[..., None]], Callable[..., None]] = pytest.mark.parametrize(
        "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    return each(run)


def wire_of(**changes: Any) -> Wire:
    settings = settings_on("http://127.0.0.1:9", "binance", **changes)
    return Wire(settings, "main", ExchangeClock(), cast(Reader, None))


async def ask(wire: Wire, origin: Origin, target: str = "/first", method: str = "GET") -> Reply:
    return await wire.send(origin, request_bytes(method, target, origin, {}, None), Call(Operation.QUERY))


async def failure_of(wire: Wire, origin: Origin) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await ask(wire, origin, "/first?signature=abcdef")
    assert "abcdef" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    return caught.value


@asynccontextmanager
async def wired(**changes: Any) -> AsyncIterator[tuple[Wire, RawServer]]:
    async with running_raw() as raw:
        wire = wire_of(**changes)
        try:
            yield wire, raw
        finally:
            await wire.close()


@on_each_loop
async def test_a_connection_is_used_again_and_one_is_made_for_each_request_under_way() -> None:
    async with wired() as (wire, raw):
        for _ in range(3):
            assert (await ask(wire, raw.origin)).body == b"/first"
        assert raw.connections() == [0, 0, 0]
        targets = [f"/{number}" for number in range(20)]
        replies = await asyncio.gather(*(ask(wire, raw.origin, target) for target in targets))
        assert [one.body.decode() for one in replies] == targets
        assert sorted(set(raw.connections())) == list(range(20))


@on_each_loop
async def test_a_reply_that_comes_after_the_time_is_up_is_never_read_as_the_next_ones() -> None:
    async with wired(timeout_ms=60) as (wire, raw):
        late = asyncio.Event()
        raw.script = [Say(reply(b"late"), when=late)]
        failure = await failure_of(wire, raw.origin)
        assert (failure.outcome, failure.code) == (Outcome.UNKNOWN, "timeout")
        late.set()
        assert (await ask(wire, raw.origin, "/second")).body == b"/second"
        assert raw.connections() == [0, 1]
        await raw.until_ended(0)


@on_each_loop
async def test_a_reply_to_a_cancelled_call_is_never_read_as_the_next_ones() -> None:
    async with wired() as (wire, raw):
        late = asyncio.Event()
        raw.script = [Say(reply(b"late"), when=late)]
        call = asyncio.create_task(ask(wire, raw.origin))
        await raw.until_asked(1)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        late.set()
        assert (await ask(wire, raw.origin, "/second")).body == b"/second"
        assert raw.connections() == [0, 1]
        await raw.until_ended(0)


@on_each_loop
async def test_a_call_that_is_cancelled_as_its_reply_arrives_gives_no_connection_back() -> None:
    async with wired() as (wire, raw):
        call = asyncio.create_task(ask(wire, raw.origin))
        while not raw.ended and not (raw.asked and call.done()):
            if raw.asked:
                call.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await call
        assert (await ask(wire, raw.origin, "/second")).body == b"/second"


@on_each_loop
@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 200 OK\r\n", SECOND_REPLY, b"x"], ids=["begun", "whole", "a byte"]
)
async def test_bytes_that_nobody_asked_for_end_their_connection(more: bytes) -> None:
    async with wired() as (wire, raw):
        raw.script = [Say(reply(b"/first") + more)]
        assert (await ask(wire, raw.origin)).body == b"/first"
        assert (await ask(wire, raw.origin, "/third")).body == b"/third"
        raw.writers[1].write(more)
        await raw.until_ended(1)
        assert (await ask(wire, raw.origin, "/fourth")).body == b"/fourth"
        assert raw.connections() == [0, 1, 2]


@on_each_loop
@pytest.mark.parametrize(
    "say",
    [
        Say(close=True),
        Say(b"HTTP/1.1 200 OK\r\nContent-Le", close=True),
        Say(reply(b"whole")[:-1], close=True),
        Say(b"no http at all"),
        Say(reply(b"no gzip", "Content-Encoding: gzip")),
    ],
    ids=["nothing", "half a head", "half a body", "no http", "no gzip"],
)
@pytest.mark.parametrize("warm", [True, False])
async def test_what_breaks_after_the_request_left_is_unknown_and_not_tried_again(
    say: Say, warm: bool
) -> None:
    async with wired() as (wire, raw):
        if warm:
            await ask(wire, raw.origin)
        raw.script = [say]
        assert (await failure_of(wire, raw.origin)).outcome is Outcome.UNKNOWN
        assert len(raw.asked) == 1 + warm
        assert (await ask(wire, raw.origin, "/second")).body == b"/second"


@on_each_loop
async def test_connection_close_is_obeyed_and_a_redirect_is_a_reply() -> None:
    async with wired() as (wire, raw):
        raw.script = [
            Say(reply(b"bye", "Connection: close")),
            Say(reply(b"", "Location: /elsewhere", status="307 Temporary Redirect")),
            Say(b"HTTP/1.1 200 OK\r\n\r\nto the end", close=True),
        ]
        assert (await ask(wire, raw.origin)).body == b"bye"
        assert (await ask(wire, raw.origin)).status == 307
        assert (await ask(wire, raw.origin)).body == b"to the end"
        await ask(wire, raw.origin)
        assert raw.connections() == [0, 1, 1, 2]


@on_each_loop
async def test_a_connection_that_the_venue_closed_while_idle_is_not_used() -> None:
    async with wired() as (wire, raw):
        await ask(wire, raw.origin)
        raw.writers[0].close()
        await raw.until_ended(0)
        await asyncio.sleep(0.01)
        assert (await ask(wire, raw.origin, "/second")).body == b"/second"
        assert raw.connections() == [0, 1]


@on_each_loop
async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with wired(keep_alive_seconds=0.05) as (wire, raw):
        await asyncio.gather(ask(wire, raw.origin), ask(wire, raw.origin))
        await asyncio.gather(raw.until_ended(0), raw.until_ended(1))
        assert (await ask(wire, raw.origin)).body == b"/first"
        assert sorted(raw.connections()) == [0, 1, 2]


@on_each_loop
async def test_a_closed_wire_ends_what_is_under_way_and_sends_nothing_more() -> None:
    async with wired() as (wire, raw):
        await ask(wire, raw.origin)
        raw.script = [Say(when=asyncio.Event())]
        waiting = asyncio.create_task(failure_of(wire, raw.origin))
        await raw.until_asked(2)
        await wire.close()
        await wire.close()
        assert (await waiting).outcome is Outcome.UNKNOWN
        assert (await failure_of(wire, raw.origin)).outcome is Outcome.NOT_SENT
        assert len(raw.asked) == 2


@on_each_loop
async def test_a_host_without_an_address_was_sent_nothing() -> None:
    async with wired() as (wire, _):
        for host in ("no-such-host.invalid", "a" * 70 + ".invalid"):
            assert (await failure_of(wire, Origin(False, host, 80))).outcome is Outcome.NOT_SENT


class Authority:
    """A certificate for 127.0.0.1 that signs itself."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        self.bundle, chain = folder / "authorities.pem", folder / "chain.pem"
        shown = certificate.public_bytes(serialization.Encoding.PEM)
        self.bundle.write_bytes(shown)
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + shown
        )
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(chain)


@on_each_loop
async def test_tls_is_spoken_with_those_that_show_a_trusted_certificate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    async with running_raw(authority.server) as raw:
        foreign = wire_of()
        failure = await failure_of(foreign, raw.origin)
        assert (failure.outcome, failure.code) == (Outcome.NOT_SENT, "SSLCertVerificationError")
        await foreign.close()
        monkeypatch.setattr(certifi, "where", lambda: str(authority.bundle))
        wire = wire_of()
        assert [(await ask(wire, raw.origin)).body for _ in range(2)] == [b"/first"] * 2
        assert [number for number, _ in raw.asked] == [raw.asked[0][0]] * 2
        raw.script = [Say(close=True)]
        assert (await failure_of(wire, raw.origin)).outcome is Outcome.UNKNOWN
        await wire.close()


@on_each_loop
async def test_a_handshake_that_takes_too_long_has_sent_nothing() -> None:
    async with wired(connect_timeout_ms=50) as (wire, raw):
        silent = Origin(True, raw.origin.host, raw.origin.port)
        failure = await failure_of(wire, silent)
        assert (failure.outcome, failure.code) == (Outcome.NOT_SENT, "connect_timeout")
        assert raw.asked == []


@on_each_loop
async def test_a_cancelled_connect_leaves_nothing_behind() -> None:
    async with wired() as (wire, raw):
        call = asyncio.create_task(ask(wire, Origin(True, raw.origin.host, raw.origin.port)))
        await raw.until(lambda: len(raw.writers) == 1)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await raw.until_ended(0)
