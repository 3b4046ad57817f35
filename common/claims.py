"""From a request to the tokens it needs: which buckets, which keys, how much; pure.

A `Claim` is what the scripts take as their block of KEYS and ARGV (see `lua/buckets.lua`), so that a script
that does more than acquire (begin an order) can include it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from common.buckets import (
    Bucket,
    Margins,
    background_floor,
    ceiling_after_usage,
    parse_notation,
    plan_bucket,
)
from common.exchange.base import Usage
from common.venue_limits import Charge, Operation, Scope, VenueLimits
from orderlane.intents import URGENT_PRIORITY
from orderlane.keys import Keys
from orderlane.published_limits import PENALTY, PublishedBucket, PublishedLimits, symbol_bucket

OF_INTENTS: Final = (Operation.PLACE, Operation.CANCEL, Operation.AMEND, Operation.CANCEL_ALL)
CATCHING_UP: Final = 10
"""The urgency of what nobody asked for, and what is needed once: reading what a gap may have hidden, comparing
positions, agreement at a start. Like BACKGROUND, but may go half as deep again into what that leaves: else questions
that are repeated for ever would take all that orders leave over, and a gap would never be read."""
BACKGROUND: Final = 11
"""The urgency of the pool's own questions that are repeated (sync, stuck orders). They wait behind every intent (0 to
9), and leave a part of each bucket untouched, so that they never starve orders, in whichever process."""


class Claim(Struct, frozen=True):
    """The tokens of one request, as the scripts take them.

    `keys` and `arguments` are the block described in `lua/buckets.lua`. `gate` names the set of buckets:
    requests of one gate wait in one queue. `urgent` ones may take the reserve.
    """

    gate: str
    urgent: bool
    keys: tuple[str, ...]
    arguments: tuple[int, ...]


class Ceiling(Struct, frozen=True):
    """One bucket's share in the arguments of `lua/bucket_sync.lua`."""

    keys: tuple[str, str]
    arguments: tuple[int, ...]


class Claims:
    """The buckets of one exchange in one pool.

    Raises ValueError if a request costs more than its limit allows, or a notation can't be read.
    """

    def __init__(self, keys: Keys, limits: VenueLimits, margins: Margins | None = None) -> None:
        self.keys = keys
        self.limits = limits
        self._background = (margins or Margins()).background
        self.buckets: dict[str, Bucket] = {}
        for name, limit in limits.limits.items():
            try:
                item, burst = parse_notation(limit.notation)
                self.buckets[name] = plan_bucket(
                    item, burst=burst, greatest_cost=limits.greatest_cost(name), margins=margins
                )
            except ValueError as error:
                raise ValueError(f"{limits.venue}, limit {name!r}: {error}") from None
        self._by_symbol = any(limit.scope is Scope.SYMBOL for limit in limits.limits.values())
        self._made: dict[tuple[Operation, str, str, bool, int, bool], Claim] = {}

    def claim(
        self,
        operation: Operation,
        account: str = "",
        symbol: str = "",
        *,
        urgency: int,
        conditional: bool = False,
    ) -> Claim:
        """The claim of one request. `account` may be empty for what needs none (markets, time).

        `urgency`: 0 to 9, as of an intent, CATCHING_UP or BACKGROUND; up to 2 may take the reserve.

        Raises:
            ValueError: the charge is per account or symbol and none is given, or the account is called `ip`.
        """
        urgent, own = urgency <= URGENT_PRIORITY, max(urgency - CATCHING_UP + 1, 0)
        if not self._by_symbol:
            symbol = ""
        kind = operation, account, symbol, urgent, own, conditional
        made = self._made.get(kind)
        if made is None:
            charges = self.limits.cost_of(operation, conditional=conditional)
            made = self._made[kind] = self._make(charges, account, symbol, urgent, self._share_of(own))
        return made

    def _share_of(self, own: int) -> float | None:
        """The part of a bucket that the pool's own question may use; `own`: 0 of an intent, 1 when it catches up."""
        if not own:
            return None
        return self._background if own > 1 else (1 + self._background) / 2

    def _make(
        self, charges: tuple[Charge, ...], account: str, symbol: str, urgent: bool, share: float | None
    ) -> Claim:
        scopes = [scope for scope in (str(Scope.IP), account) if scope]
        if account == Scope.IP:
            raise ValueError(
                "an account can't be called 'ip': that names the limits of this address. Rename it"
            )
        bucket_keys: list[str] = []
        arguments: list[int] = []
        for charge in charges:
            owner, name = _place_of(charge, account, symbol)
            bucket = self.buckets[charge.limit_name]
            bucket_keys.append(self.keys.bucket(owner, name))
            floor = None if share is None else background_floor(bucket, charge.cost, share)
            arguments += bucket_arguments(
                bucket, charge.cost, urgent=urgent, penalty=scopes.index(owner) + 1, floor=floor
            )
        penalties = tuple(self.penalty_key(scope) for scope in scopes)
        return Claim(
            gate=" ".join(bucket_keys),
            urgent=urgent,
            keys=(*penalties, *bucket_keys),
            arguments=(len(penalties), len(bucket_keys), *arguments),
        )

    def penalty_key(self, scope: str) -> str:
        """The key that shuts a scope: `ip` or an account."""
        return self.keys.bucket(scope, PENALTY)

    def ceiling(self, usage: Usage, account: str, venue_ms: int) -> Ceiling | None:
        """How far a venue's own count lowers a bucket (see `ceiling_after_usage`); None where it has no say.

        The count is the address' or the `account`'s, as the limit says. `venue_ms`: the venue's clock when its
        reply came.
        """
        bucket, limit = self.buckets.get(usage.limit_name), self.limits.limits.get(usage.limit_name)
        if bucket is None or limit is None or not limit.header:
            return None
        grains = ceiling_after_usage(bucket, usage.used, venue_ms % bucket.window_ms)
        owner = str(Scope.IP) if limit.scope is Scope.IP else account
        if grains is None or not owner:
            return None
        return Ceiling(
            (self.penalty_key(owner), self.keys.bucket(owner, usage.limit_name)),
            (int(bucket.restarts_empty), grains, bucket.capacity, bucket.refill, bucket.refill_ms),
        )


def published(claims: Claims) -> PublishedLimits:
    """The limits as others may know them: the buckets, and what the requests of intents take from them."""
    limits = claims.limits
    return PublishedLimits(
        buckets=[
            PublishedBucket(
                name=name,
                scope=str(limits.limits[name].scope),
                capacity=bucket.capacity,
                refill=bucket.refill,
                refill_ms=bucket.refill_ms,
                reserve=bucket.reserve,
            )
            for name, bucket in claims.buckets.items()
        ],
        charges={
            str(operation): {charge.limit_name: charge.cost for charge in limits.cost_of(operation)}
            for operation in OF_INTENTS
        },
    )


def bucket_arguments(
    bucket: Bucket, cost: int, *, urgent: bool, penalty: int, floor: int | None = None
) -> tuple[int, ...]:
    """A bucket's six integers in the block of `lua/buckets.lua`; `penalty`: which penalty key, from 1; `floor`: tokens
    to be left, if not the reserve."""
    left = 0 if urgent else bucket.reserve if floor is None else floor
    return (
        penalty if bucket.restarts_empty else 0,
        cost,
        left,
        bucket.capacity,
        bucket.refill,
        bucket.refill_ms,
    )


def _place_of(charge: Charge, account: str, symbol: str) -> tuple[str, str]:
    """Whose bucket a charge is taken from, and its name there."""
    if charge.scope is Scope.IP:
        return str(Scope.IP), charge.limit_name
    if not account or (charge.scope is Scope.SYMBOL and not symbol):
        missing = "account" if not account else "symbol"
        raise ValueError(
            f"limit {charge.limit_name!r} counts by {charge.scope}: name the {missing} of the request"
        )
    if charge.scope is Scope.ACCOUNT:
        return account, charge.limit_name
    # Symbols that differ only in signs share a bucket: less is sent, never more.
    return account, symbol_bucket(charge.limit_name, symbol)
