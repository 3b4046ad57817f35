"""Pointing an unmodified ccxt class at the paper exchange.

Every path stays what it is at Binance and only the host changes, so the ``urls['api']`` overrides are plain
concatenations: ``http://127.0.0.1:PORT`` + ``/api/v3``, ``/sapi/v1``, ``/fapi/v1`` and so on.

One thing then differs: ccxt's ``binance`` picks its table of error codes by the *host*
(``https://fapi.binance.com/`` is "linear", ``https://api.binance.com/`` is "spot"), and on another host
falls back to the table common to both, in which, for example, -4116 is unknown. :func:`venue_exceptions`
gives the table that the real host would select; put it into ``exchange.exceptions['exact']`` to see exactly
the exceptions of the real venue.
"""

from __future__ import annotations

from typing import Any, Literal

PATHS = {
    "sapi": "/sapi/v1",
    "sapiV2": "/sapi/v2",
    "sapiV3": "/sapi/v3",
    "sapiV4": "/sapi/v4",
    "dapiPublic": "/dapi/v1",
    "dapiPrivate": "/dapi/v1",
    "dapiPrivateV2": "/dapi/v2",
    "dapiData": "/futures/data",
    "eapiPublic": "/eapi/v1",
    "eapiPrivate": "/eapi/v1",
    "fapiPublic": "/fapi/v1",
    "fapiPublicV2": "/fapi/v2",
    "fapiPublicV3": "/fapi/v3",
    "fapiPrivate": "/fapi/v1",
    "fapiPrivateV2": "/fapi/v2",
    "fapiPrivateV3": "/fapi/v3",
    "fapiData": "/futures/data",
    "public": "/api/v3",
    "private": "/api/v3",
    "v1": "/api/v1",
    "papi": "/papi/v1",
    "papiV2": "/papi/v2",
}
STREAM_PATHS = {
    # ccxt takes prices for spot's where the URL has "/stream" in it, as that of Binance's spot host has.
    **dict.fromkeys(("spot", "margin"), "/stream/ws"),
    **dict.fromkeys(("linear", "inverse"), "/ws"),
    "stock": "/equity/ws",
    "option": "/public/ws",
    "optionMarket": "/market/ws",
    "optionPrivate": "/private/ws",
    "papi": "/pm/ws",
}
REQUEST_PATHS = {"spot": "/ws-api/v3", "linear": "/ws-fapi/v1", "inverse": "/ws-dapi/v1"}


def paper_urls(base_url: str) -> dict[str, Any]:
    """The ``urls['api']`` of ccxt's (and ccxt.pro's) ``binance`` and ``binanceusdm`` for a paper exchange at
    ``base_url``.

    Every section is named, so that no request can reach the real venue.

    >>> paper_urls("http://127.0.0.1:8000")["fapiPrivate"]
    'http://127.0.0.1:8000/fapi/v1'
    """
    base = base_url.rstrip("/")
    streams: dict[str, Any] = {kind: base + path for kind, path in STREAM_PATHS.items()}
    streams["ws-api"] = {kind: base + path for kind, path in REQUEST_PATHS.items()}
    return {**{section: base + path for section, path in PATHS.items()}, "ws": streams}


def venue_exceptions(
    exceptions: dict[str, Any], market_type: Literal["spot", "linear"]
) -> dict[str, type[Exception]]:
    """ccxt's exact error table as the real host of ``market_type`` would select it: its own before the
    common one.
    """
    return {**exceptions["exact"], **exceptions[market_type]["exact"]}
