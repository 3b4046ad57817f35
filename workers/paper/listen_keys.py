"""Listen keys of USDⓈ-M: what names an account's user stream, and how long it does.

Source: "User Data Streams" of Binance's USDⓈ-M documentation: a key lives 60 minutes from when it was asked for or kept
alive; asking again while it lives gives the same key; an account has one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from workers.paper.calls import Call, Route
from workers.paper.errors import Refusal

if TYPE_CHECKING:
    from workers.paper.exchange import Exchange
    from workers.paper.store import Store

LISTEN_KEY_MS = 3_600_000
FACT = "listen_keys"


class ListenKey(msgspec.Struct):
    """An account's key, and until when (epoch ms) it names its stream."""

    key: str
    until_ms: int


class Kept(msgspec.Struct):
    """The keys on file, by account."""

    by_account: dict[str, ListenKey] = {}


class ListenKeys:
    """Every account's key, kept in the store: a restart doesn't end them."""

    def __init__(self, store: Store, life_ms: int) -> None:
        self._store = store
        self._life_ms = life_ms
        self._kept = store.fact(FACT, Kept) or Kept()

    def ask(self, account: str, now_ms: int) -> str:
        """The account's key, alive for its whole time again; a new one where there was none."""
        known = self._kept.by_account.get(account)
        if known is None or known.until_ms <= now_ms:
            known = self._kept.by_account[account] = ListenKey(secrets.token_hex(32), 0)
        known.until_ms = now_ms + self._life_ms
        self._store.put_fact(FACT, self._kept)
        return known.key

    def keep_alive(self, account: str, now_ms: int) -> str:
        """The account's key, alive for its whole time again. Raises -1125 where there is none."""
        known = self._kept.by_account.get(account)
        if known is None or known.until_ms <= now_ms:
            raise Refusal(-1125, "This listenKey does not exist.")
        return self.ask(account, now_ms)

    def end(self, account: str) -> None:
        """Let the account's key be no more."""
        known = self._kept.by_account.get(account)
        if known is not None:
            known.until_ms = 0
            self._store.put_fact(FACT, self._kept)

    def account_of(self, key: str, now_ms: int) -> str:
        """Whose living key this is; empty for none."""
        return next(
            (
                account
                for account, known in self._kept.by_account.items()
                if known.key == key and known.until_ms > now_ms
            ),
            "",
        )

    def forget(self) -> None:
        """Forget every key."""
        self._kept = Kept()


def ask(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/listenKey``"""
    return {"listenKey": exchange.listen_keys.ask(call.account, call.at_ms)}


def keep_alive(exchange: Exchange, call: Call) -> object:
    """``PUT /fapi/v1/listenKey``"""
    return {"listenKey": exchange.listen_keys.keep_alive(call.account, call.at_ms)}


def close(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/listenKey``"""
    exchange.listen_keys.end(call.account)
    return {}


LISTEN_KEY_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/listenKey"): Route("usdm", ask, "key"),
    ("PUT", "/fapi/v1/listenKey"): Route("usdm", keep_alive, "key"),
    ("DELETE", "/fapi/v1/listenKey"): Route("usdm", close, "key"),
}
