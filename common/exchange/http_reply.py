"""One HTTP/1.1 reply, from the bytes that arrive for it. Pure: it is given bytes and holds no connection.

The syntax is httptools' (llhttp, in its strict mode): a reply whose length is ambiguous is an error there. A reader
reads one reply and is then done, so that nothing of a reply can leak into the next one's.
"""

from __future__ import annotations

import zlib
from typing import Final

from httptools import HttpParserError, HttpResponseParser

from common.exchange.classify import Reply

MOST_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Of a reply, as it arrives and unpacked. Three times the largest asked for: all of Binance spot's market rules."""
MOST_HEAD_BYTES: Final = 64 * 1024
"""Of a reply's status line and headers."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_SWITCHING_PROTOCOLS: Final = 101


class UnreadableReply(Exception):
    """What arrived is no HTTP reply that can be read whole; says why."""


class ReplyReader:
    """Reads one reply. `keep_alive`, once it was read: whether its connection can carry another request."""

    __slots__ = ("_body", "_headers", "_parser", "_size", "_status", "_until_end", "_whole", "keep_alive")

    def __init__(self) -> None:
        self.keep_alive = False
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._until_end = False
        self._whole = False

    def feed(self, data: bytes) -> Reply | None:
        """Take the next bytes; the reply, once they make it whole.

        Raises:
            UnreadableReply: they can't.
        """
        if self._parser is None:
            raise UnreadableReply("bytes after the reply's end")
        self._size += len(data)
        if self._size > MOST_REPLY_BYTES:
            raise UnreadableReply(f"more than {MOST_REPLY_BYTES} bytes")
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self.keep_alive = False
            if not self._whole:
                raise UnreadableReply(type(error).__name__) from None
        if self._whole:
            return self._reply()
        if self._status == 0 and self._size > MOST_HEAD_BYTES:
            raise UnreadableReply(f"headers of more than {MOST_HEAD_BYTES} bytes")
        return None

    def end(self) -> Reply | None:
        """The peer has closed its side: the reply, if that is what its length is told by (RFC 9112, 6.3); else None.

        Raises:
            UnreadableReply: its content is damaged.
        """
        return self._reply() if self._until_end and not self._whole else None

    def _reply(self) -> Reply:
        self._parser = None  # it holds our methods, as we hold it
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        encoding = self._headers.get("content-encoding")
        return Reply(self._status, self._headers, unpacked(body, encoding) if encoding else body)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._whole:
            self.keep_alive = False  # something follows that nobody asked for
            raise UnreadableReply("another reply follows")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status == 0:  # what comes after the body are trailers
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHING_PROTOCOLS:
            self._headers = {}  # an interim reply (RFC 9110, 15.2): the one that counts follows
            return
        self._status = status
        has_body = status not in (204, 304, _SWITCHING_PROTOCOLS)
        chunked = self._headers.get("transfer-encoding", "").lower().endswith("chunked")
        self._until_end = has_body and not chunked and "content-length" not in self._headers

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._status and self._parser is not None:
            self._whole = True
            self.keep_alive = self._parser.should_keep_alive() and self._status != _SWITCHING_PROTOCOLS


def unpacked(body: bytes, encoding: str) -> bytes:
    """A body as it was before `Content-Encoding`; as it is, where the encoding is none we asked for.

    Raises:
        UnreadableReply: it is cut or damaged, or unpacks to more than a reply may hold.
    """
    named = encoding.lower()
    if not body or named not in ("gzip", "x-gzip", "deflate"):
        return body
    # "deflate" is zlib's format, and raw deflate from servers that got it wrong (RFC 9110, 8.4.1.2).
    wrapped = _ZLIB if body[0] & 0x0F == zlib.DEFLATED else _RAW_DEFLATE
    unpacker = zlib.decompressobj(wrapped if named == "deflate" else _GZIP)
    try:
        content = unpacker.decompress(body, MOST_REPLY_BYTES + 1)
    except zlib.error:
        raise UnreadableReply(f"damaged {named}") from None
    if len(content) > MOST_REPLY_BYTES:
        raise UnreadableReply(f"more than {MOST_REPLY_BYTES} bytes, unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise UnreadableReply(f"cut {named}")
    return content
