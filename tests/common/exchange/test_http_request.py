"""A request goes out as it was signed, to where its URL says, and can't become two."""

from __future__ import annotations

import pytest

from common.exchange.http_request import Origin, request_bytes, split_url

HERE = Origin(False, "127.0.0.1", 8090)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        (
            "https://fapi.binance.com/fapi/v1/order?a=1&b=%2F%20x",
            "fapi.binance.com",
            "/fapi/v1/order?a=1&b=%2F%20x",
        ),
        ("http://127.0.0.1:8090/v5/order", "127.0.0.1:8090", "/v5/order"),
        ("https://api.kraken.com", "api.kraken.com", "/"),
        ("https://api.kraken.com?a=/b", "api.kraken.com", "/?a=/b"),
        ("http://[::1]:80/x#y", "[::1]", "/x"),
        ("https://h:443/?q=http://other/", "h", "/?q=http://other/"),
    ],
)
def test_a_url_says_where_to_and_what_exactly(url: str, authority: str, target: str) -> None:
    origin, found = split_url(url)
    assert (origin.authority, found) == (authority, target)
    assert origin.secure == url.startswith("https")


@pytest.mark.parametrize("url", ["ftp://h/", "h/path", "https:///path", "https://name:word@h/"])
def test_a_url_that_can_not_be_requested_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="expected http") as caught:
        split_url(url)
    assert "word" not in str(caught.value)


def test_a_request_has_its_host_its_length_and_its_own_headers_first() -> None:
    sent = request_bytes("POST", "/order", HERE, {"X-MBX-APIKEY": "k", "user-agent": "mine"}, "a=é")
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /order HTTP/1.1",
        b"Host: 127.0.0.1:8090",
        b"Accept: */*",
        b"Accept-Encoding: gzip, deflate",
        b"X-MBX-APIKEY: k",
        b"user-agent: mine",
        b"Content-Length: 4",
    ]
    assert body == "a=é".encode()
    assert b"Content-Length: 0" in request_bytes("POST", "/order", HERE, {}, None)
    assert b"Content-Length" not in request_bytes("GET", "/order", HERE, {}, None)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/a b", {}),
        ("GET", "/a\r\nX: y", {}),
        ("GET", "/ä", {}),
        ("GET\r\n", "/", {}),
        ("GET", "/", {"X-KEY": "secret\r\nHost: other"}),
        ("GET", "/", {"X-KEY": "secret\n"}),
        ("GET", "/", {"X: Y": "secret"}),
    ],
)
def test_nothing_can_be_smuggled_into_a_request(method: str, target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="request to") as caught:
        request_bytes(method, target, HERE, headers, None)
    assert "secret" not in str(caught.value)
