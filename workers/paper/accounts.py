"""Accounts: their keys, their spot balances and their USDⓈ-M wallet and positions.

The default credentials are derived from the account's name alone and protect nothing: the money is not
real and the process listens on loopback. They exist so that signatures are really checked.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from workers.paper.amounts import ZERO

DEFAULT_LEVERAGE = 20
START_SPOT = {
    "USDT": Decimal(1_000_000),
    "BTC": Decimal(100),
    "ETH": Decimal(1_000),
    "BNB": Decimal(1_000),
    "TRY": Decimal(10_000_000),
    "BIDR": Decimal(10_000_000_000),
    "IDRT": Decimal(10_000_000_000),
}
START_USDM = {"USDT": Decimal(1_000_000)}
START_OTHER = Decimal(100_000_000)


class Balance(msgspec.Struct):
    """A spot balance, in units of its asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


class Position(msgspec.Struct):
    """A USDⓈ-M position in one-way mode: base units, negative when short, and its average entry price."""

    amount: Decimal = ZERO
    entry_price: Decimal = ZERO
    updated_ms: int = 0


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account of ``--accounts-file``: its key pair and start balances by asset (defaults where absent)."""

    name: str
    key: str = ""
    secret: str = ""
    spot: dict[str, Decimal] | None = None
    usdm: dict[str, Decimal] | None = None


class Account(msgspec.Struct):
    """The money and positions of one account; everything here is stored."""

    name: str
    balances: dict[str, Balance]
    wallet: dict[str, Decimal]
    positions: dict[str, Position] = {}
    leverage: dict[str, int] = {}
    margin_type: dict[str, str] = {}

    def balance(self, asset: str) -> Balance:
        """The spot balance of ``asset``, made on first use."""
        return self.balances.setdefault(asset, Balance())

    def position(self, symbol: str) -> Position:
        """The position on ``symbol``, made on first use."""
        return self.positions.setdefault(symbol, Position())

    def leverage_of(self, symbol: str) -> int:
        """Leverage on ``symbol``; 20 until it is set, as on Binance."""
        return self.leverage.get(symbol, DEFAULT_LEVERAGE)


def default_credentials(name: str) -> Credentials:
    """The well-known key pair of a paper account: ``paper-<name>-key`` and ``paper-<name>-secret``."""
    return Credentials(name, f"paper-{name}-key", f"paper-{name}-secret")


def read_credentials(path: Path) -> list[Credentials]:
    """Accounts from a YAML or JSON file: a list of ``{name, key, secret, spot, usdm}``; only the name is
    required.

    Raises ``msgspec.ValidationError`` naming the entry and field that is wrong.
    """
    given = msgspec.yaml.decode(path.read_bytes(), type=list[Credentials])
    return [with_defaults(entry) for entry in given]


def with_defaults(entry: Credentials) -> Credentials:
    """``entry`` with the well-known key pair where it names none."""
    usual = default_credentials(entry.name)
    return Credentials(
        entry.name, entry.key or usual.key, entry.secret or usual.secret, entry.spot, entry.usdm
    )


def opened(credentials: Credentials, assets: list[str]) -> Account:
    """A fresh account: the given start balances, or enough of every asset the exchange lists."""
    if credentials.spot is not None:
        spot = credentials.spot
    else:
        spot = {asset: START_SPOT.get(asset, START_OTHER) for asset in assets}
    wallet = START_USDM if credentials.usdm is None else credentials.usdm
    return Account(
        name=credentials.name,
        balances={asset: Balance(free=amount) for asset, amount in spot.items()},
        wallet=dict(wallet),
    )
