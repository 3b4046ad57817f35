"""An HTTP/1.1 request as bytes, and where it goes. Pure: nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

ALWAYS: Final[Mapping[str, str]] = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "orderlane",
}
"""Headers of every request, where it doesn't bring its own."""

_PORTS: Final = {"http": 80, "https": 443}
_SENDS_A_BODY: Final = ("POST", "PUT", "PATCH")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_TARGET: Final = re.compile(r"[!-~]+")  # one word of ASCII: a space or a line break would end it
_URL: Final = re.compile(r"([a-z]+://[^/?#]*)([^#]*)")
_FIELD: Final = re.compile(r"[\t -~\x80-\xff]*")  # RFC 9110, 5.5: no line breaks, or one header becomes two


class Origin(Struct, frozen=True):
    """Whom to connect to: connections to the same origin are interchangeable."""

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As the Host header names it: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"


@lru_cache(maxsize=256)
def origin_of(base_url: str) -> Origin:
    """The origin of an absolute http or https URL without a query.

    >>> origin_of("https://fapi.binance.com/fapi/v1").authority
    'fapi.binance.com'

    Raises:
        ValueError: it is no such URL, or holds a user name.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(
            f"a request goes to {parts.scheme}://{parts.hostname}: expected http(s)://host[:port]"
        )
    return Origin(parts.scheme == "https", parts.hostname, parts.port or _PORTS[parts.scheme])


def split_url(url: str) -> tuple[Origin, str]:
    """Where a URL leads, and the request target: path and query exactly as they were written (and signed).

    Raises:
        ValueError: see `origin_of`.
    """
    found = _URL.match(url)
    if found is None:
        raise ValueError("a request's URL is no absolute one: expected http(s)://host[:port]/path")
    base, target = found.groups()
    return origin_of(base), target if target.startswith("/") else f"/{target}"


def request_head(method: str, target: str, origin: Origin, headers: Mapping[str, str]) -> bytes:
    """Everything up to the headers' end, without it: a length and the empty line are still to come.

    Raises:
        ValueError: the method, the target or a header holds what would make it another request. The words don't show
            values: they may be keys or signatures.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError(
            f"the method or the target of a {method[:10]!r} request to {origin.host} is no plain ASCII"
        )
    given = {name.lower() for name in headers}
    lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.authority}"]
    lines += [f"{name}: {value}" for name, value in ALWAYS.items() if name.lower() not in given]
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _FIELD.fullmatch(value):
            raise ValueError(
                f"header {name!r} of a request to {origin.host} can't be sent: it holds a line break"
            )
        lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode("latin-1")


def request_bytes(
    method: str, target: str, origin: Origin, headers: Mapping[str, str], body: str | None
) -> bytes:
    """A whole request, ready to be written.

    Raises:
        ValueError: see `request_head`.
    """
    head = request_head(method, target, origin, headers)
    payload = body.encode() if body else b""
    if payload or method in _SENDS_A_BODY:
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(payload), payload)
    return head + b"\r\n\r\n"
