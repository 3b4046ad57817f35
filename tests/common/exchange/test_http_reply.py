"""A reply is read whole and as it was sent, or not at all."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from common.exchange import http_reply
from common.exchange.classify import Reply
from common.exchange.http_reply import ReplyReader, UnreadableReply
from tests.common.exchange.raw_server import reply

BODY = b'{"orderId":28,"clientOrderId":"abc"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n"


def read(data: bytes) -> Reply | None:
    return ReplyReader().feed(data)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def test_a_reply_is_read_wherever_it_is_cut_into_pieces() -> None:
    for whole, body in (
        (reply(BODY, "X-MBX-USED-WEIGHT-1M: 17 "), BODY),
        (CHUNKED + b"\r\n", b"hello world"),
        (CHUNKED + b"Retry-After: 7\r\n\r\n", b"hello world"),
        (reply(gzip.compress(BODY), "Content-Encoding: gzip"), BODY),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply(BODY), BODY),
    ):
        for size in (1, 2, 7, len(whole) - 1, len(whole)):
            reader = ReplyReader()
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
            read_so_far = [reader.feed(piece) for piece in pieces]
            assert read_so_far[:-1] == [None] * (len(pieces) - 1)
            found = read_so_far[-1]
            assert found is not None
            assert (found.status, found.body) == (200, body)
            assert reader.keep_alive
            assert not {"link", "retry-after"} & set(found.headers)


def test_headers_are_known_by_lower_case_names_and_without_spaces_around() -> None:
    found = read(reply(b"", "X-MBX-USED-WEIGHT-1M:   17 \t", "Retry-After:3", status="429 Too Many Requests"))
    assert found is not None
    assert found.status == 429
    assert (found.headers["x-mbx-used-weight-1m"], found.headers["retry-after"]) == ("17", "3")


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("br", bytes),
        ("identity", bytes),
    ],
)
def test_a_packed_body_is_unpacked_and_one_of_another_kind_left_alone(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    found = read(reply(pack(BODY), f"Content-Encoding: {encoding}"))
    assert found is not None
    assert found.body == BODY


@pytest.mark.parametrize(
    "body", [gzip.compress(BODY)[:-9], b"no gzip", gzip.compress(BODY) + b"more"], ids=["cut", "none", "more"]
)
def test_a_damaged_packed_body_is_no_reply(body: bytes) -> None:
    with pytest.raises(UnreadableReply):
        read(reply(body, "Content-Encoding: gzip"))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    ],
)
def test_what_is_no_clear_http_is_no_reply(data: bytes) -> None:
    with pytest.raises(UnreadableReply):
        read(data)


def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_reply() -> None:
    reader = ReplyReader()
    assert reader.feed(b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>") is None
    found = reader.end()
    assert found is not None
    assert (found.status, found.body, reader.keep_alive) == (502, b"<html>", False)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", reply(BODY)[:-1], CHUNKED])
def test_a_reply_with_a_length_is_not_whole_when_the_connection_ends_before_it(data: bytes) -> None:
    reader = ReplyReader()
    assert reader.feed(data) is None
    assert reader.end() is None


@pytest.mark.parametrize(
    "data",
    [
        reply(BODY, "Connection: close"),
        reply(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        reply(BODY) + b"HTTP/1.1 200 OK\r\n",
        reply(BODY) + reply(b"{}"),
        reply(BODY) + b"garbage",
        reply(BODY, "Connection: close") + b"garbage",
    ],
)
def test_a_connection_is_not_kept_after_close_or_after_bytes_that_follow(data: bytes) -> None:
    reader = ReplyReader()
    found = reader.feed(data)
    assert found is not None
    assert found.body == BODY
    assert not reader.keep_alive


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_ends_with_its_headers(status: str) -> None:
    found = read(f"HTTP/1.1 {status}\r\n\r\n".encode())
    assert found is not None
    assert found.body == b""


def test_a_reply_may_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reply, "MOST_REPLY_BYTES", 1000)
    assert read(reply(b"x" * 900)) is not None
    for data in (
        reply(b"x" * 1000),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200,
        reply(gzip.compress(b"x" * 1001), "Content-Encoding: gzip"),
    ):
        with pytest.raises(UnreadableReply):
            read(data)


def test_headers_may_not_grow_without_bound() -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-A: y\r\n" * (http_reply.MOST_HEAD_BYTES // 8)
    with pytest.raises(UnreadableReply):
        read(endless)
