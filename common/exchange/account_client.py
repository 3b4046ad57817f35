"""An account as a venue's adapter sees it: its keys and connections, and ccxt's client only once something asks for it.

A ccxt client costs milliseconds and a third of a megabyte, and holds little that differs between accounts of one venue.
Requests that an adapter writes itself need none: a process with a thousand accounts starts as fast as one with two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from common.exchange.http_request import Origin
from common.exchange.settings import Credentials
from common.exchange.transport import Answer, Wire, ask, milliseconds

SHARED: Final = frozenset(
    ("id", "has", "urls", "options", "markets", "markets_by_id", "headers", "userAgent", "all_headers")
)
"""What is the same for all accounts of a venue, and only ever read once a client is configured."""


class AccountClient:
    """Stands for an account's ccxt client. What it doesn't know itself it takes from `shared`, another account's client
    (see `SHARED`), or from a client of its own, which `make` makes when it is first needed.
    """

    def __init__(self, wire: Wire, keys: Credentials, shared: Any, make: Callable[[], Any]) -> None:
        self.wire = wire
        self.made: Any = None
        """The client of its own, or None."""
        self._keys = keys
        self._shared = shared
        self._make = make

    @property
    def apiKey(self) -> str:
        return self._keys.key.reveal()

    @property
    def secret(self) -> str:
        return self._keys.secret.reveal()

    def milliseconds(self) -> int:
        """See `WiredClient.milliseconds`."""
        return milliseconds(self.wire)

    async def ask(self, origin: Origin, request: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
        """See `WiredClient.ask`."""
        return await ask(self, self.wire, origin, request, decoder)

    def __getattr__(self, name: str) -> Any:
        if name in SHARED:
            return getattr(self._shared, name)
        if name.startswith("__"):  # how tools look at an object
            raise AttributeError(name)
        if self.made is None:
            self.made = self._make()
        return getattr(self.made, name)
