"""What it takes to open one exchange: its venue, its accounts' keys, where it is, and how long to wait for it."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from common.secrets import Secret

LIVE: Final = "live"
TESTNET: Final = "testnet"


class Credentials(Struct, frozen=True, kw_only=True):
    """The keys of one account. None of them is ever shown: each is a `Secret`."""

    key: Secret
    secret: Secret
    password: Secret | None = None
    """The passphrase that some venues give out with a key (OKX)."""


class ExchangeSettings(Struct, frozen=True, kw_only=True):
    """One exchange of the pool.

    Raises:
        ValueError: `endpoint` is neither live nor testnet nor a base URL.
    """

    name: str
    """What intents say in `exchange`."""
    venue: str
    """The exchange's id in ccxt: binance (spot), binanceusdm (USDⓈ-M), bybit, okx, kraken …"""
    accounts: dict[str, Credentials]
    endpoint: str = LIVE
    """`live`, `testnet` (the venue's own), or a base URL such as http://127.0.0.1:8090, below which every path of
    the venue is found as it is on the venue's hosts."""
    receive_window_ms: int = 10_000
    """How long after its time stamp the exchange may still execute a request."""
    timeout_ms: int = 10_000
    """How long to wait for a whole reply before the outcome counts as unknown."""
    connect_timeout_ms: int = 3_000
    """How long to wait for a new connection, TLS included; nothing has been sent when this runs out."""
    keep_alive_seconds: float = 300
    """How long an idle connection is kept. The venue may close it earlier, which is noticed."""
    allowed_params: frozenset[str] | None = None
    """Extra request parameters that intents may carry; None: the venue's own list."""

    def __post_init__(self) -> None:
        if self.endpoint in (LIVE, TESTNET):
            return
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"endpoint of exchange {self.name!r} is {self.endpoint!r}: "
                "expected live, testnet, or a base URL such as http://127.0.0.1:8090"
            )

    @property
    def base_url(self) -> str | None:
        """The base URL that replaces the venue's hosts, without a slash at its end; None: the venue's own."""
        return None if self.endpoint in (LIVE, TESTNET) else self.endpoint.rstrip("/")
