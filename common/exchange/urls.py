"""Where a venue's requests go: its own hosts, or a server of ours that stands for all of them."""

from __future__ import annotations

import re
from typing import Any

_HOST = re.compile(r"^[a-z]+://[^/]+")


def redirected(urls: Any, base_url: str) -> Any:
    """ccxt's `urls['api']` with every scheme and host replaced by `base_url`, every path kept.

    >>> redirected({"fapiPrivate": "https://fapi.binance.com/fapi/v1"}, "http://127.0.0.1:8090")
    {'fapiPrivate': 'http://127.0.0.1:8090/fapi/v1'}
    """
    if isinstance(urls, dict):
        return {name: redirected(url, base_url) for name, url in urls.items()}
    return _HOST.sub(lambda _: base_url, urls) if isinstance(urls, str) else urls
