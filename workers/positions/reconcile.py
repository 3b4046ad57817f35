"""One comparison of one account with what the exchange says, from the first reading to the corrections.

Where no stream tells of fills, the exchange's reading is what is kept. Else fills are, and a reading is held against
them; what a second reading confirms is corrected, in one step with its event and with what follows from it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import RedisError

from common import failpoints
from common.exchange.base import ExchangeFailure, Outcome
from common.positions import instrument_of
from orderlane.positions import (
    AccountState,
    BalanceReading,
    ComparedState,
    PositionReading,
    Readings,
    Source,
)
from workers.positions.books import Books
from workers.positions.consequences import Comparison, correction_of
from workers.positions.figures import Correction, Figures, correct, note_comparison, read_figures
from workers.positions.judging import Judged, Kind, Verdict, agrees, judge
from workers.positions.reading import Look, look, redis_now_ms
from workers.positions.uncounted import uncounted_fills

log: Final = logging.getLogger("orderlane.positions")

RENEWALS: Final = 4
"""How often the lease on a comparison is renewed in its time."""
MOST_MARKETS_ASKED: Final = 5
"""Markets whose fills are asked for because of one balance."""

Name = tuple[Kind, str]


class Compared(Struct, frozen=True, kw_only=True):
    """What became of a comparison: how many figures were corrected, how many of these were critical, and how many are
    to be looked at again. `agreed`: the account's figures are what the exchange says."""

    account: str
    state: ComparedState
    corrected: int = 0
    critical: int = 0
    unsettled: int = 0
    reason: str = ""
    refused: bool = False
    """FAILED for good: asked again, the exchange says the same."""

    @property
    def agreed(self) -> bool:
        return self.state in (ComparedState.AGREED, ComparedState.CORRECTED, ComparedState.CRITICAL)


async def reconcile_positions(books: Books, account: str, *, after: int | None = None) -> Compared:
    """Compare an account's figures with the exchange's, and correct what is wrong.

    Takes as long as a confirmation does where something seems wrong. Two processes never compare one account at once:
    one of them is told BUSY. `after`: leave it where somebody has compared since that moment (`tried_at`).

    Raises:
        redis.exceptions.RedisError: no answer; what was corrected stands.
    """
    async with _alone(books, account) as is_alone:
        figures = await read_figures(books, account) if is_alone else None
        if figures is None or (after is not None and figures.state and figures.state.tried_at > after):
            return Compared(account=account, state=ComparedState.BUSY)
        try:
            compared = await _compare(books, account, figures.state)
        except ExchangeFailure as failure:
            compared = Compared(
                account=account,
                state=ComparedState.FAILED,
                reason=str(failure),
                refused=failure.outcome is Outcome.REFUSED,
            )
        if not compared.agreed:
            await _note_failure(books, account, figures.state, compared)
        return compared


async def live_since(books: Books, account: str) -> int:
    """Since when the account's user stream has had no gap, ms of Redis TIME; 0: it has one, or nobody holds it.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    fields: Any = await books.redis.hmget(books.keys.stream(account), "holder", "until", "state", "since")
    return stream_live_since(fields, await redis_now_ms(books))


def stream_live_since(fields: list[bytes | None], now_ms: int) -> int:
    """The same, of what the hash holds under `holder`, `until`, `state` and `since`."""
    holder, until, state, since = fields
    if not holder or state != b"live" or int(until or 0) <= now_ms:
        return 0
    return int(since or 0)


async def _compare(books: Books, account: str, before: AccountState | None) -> Compared:
    if not books.counts_fills:
        return await _take_over(books, account)
    since = await live_since(books, account)
    if not since:
        return _waiting(account)
    first = await look(books, account)
    failpoints.reach("positions.read", account)
    figures = await read_figures(books, account)
    suspects = [
        name for name in _names(first, figures) if not agrees(first.said(*name), figures.of(*name).trail)
    ]
    last, judged = first, dict[Name, Judged]()
    if suspects:
        await asyncio.sleep(books.section.positions.confirm_delay_seconds)
        last = await look(books, account)
        figures = await read_figures(books, account)
        if await live_since(books, account) != since:
            return _waiting(account)
        judged = {
            name: judge(first.said(*name), last.said(*name), figures.of(*name).trail) for name in suspects
        }
    is_first = before is None or not before.compared_at or before.source is not Source.FILLS
    if not is_first:
        judged = await _without_uncounted(books, account, first, figures, judged)
    seen = Comparison(
        exchange=books.keys.exchange,
        account=account,
        section=books.section.positions,
        first=first,
        last=last,
        figures=figures,
        records=await books.open_orders(account) if judged and not is_first else [],
        now_ms=await redis_now_ms(books),
        is_first=is_first,
    )
    compared = await _correct_all(books, seen, judged)
    if compared.agreed:
        now_ms = await redis_now_ms(books)
        state = AccountState(
            state=compared.state, source=Source.FILLS, tried_at=now_ms, compared_at=now_ms, since=since
        )
        drifts = {name: one.drift for name, one in judged.items() if not is_first}
        await note_comparison(books, account, state, _readings(last, figures, drifts))
    return compared


async def _take_over(books: Books, account: str) -> Compared:
    """Keep what the exchange says: nobody tells of fills."""
    said = await look(books, account)
    figures = await read_figures(books, account)
    now_ms = await redis_now_ms(books)
    for kind, name in _names(said, figures):
        kept = figures.of(kind, name)
        drift = said.said(kind, name).value - (kept.trail[-1][1] if kept.trail else Decimal(0))
        report = said.positions.get(name) if kind is Kind.POSITION else None
        if drift:
            correction = Correction(
                kind=kind,
                name=name,
                drift=drift,
                counted_from=said.exchange_at,
                seen=kept,
                entry_price=report.entry_price if report else None,
            )
            await correct(books, account, correction, now_ms)
    state = AccountState(
        state=ComparedState.AGREED, source=Source.EXCHANGE, tried_at=now_ms, compared_at=now_ms
    )
    await note_comparison(books, account, state, _readings(said, figures, {}))
    return Compared(account=account, state=ComparedState.AGREED)


async def _without_uncounted(
    books: Books, account: str, first: Look, figures: Figures, judged: Mapping[Name, Judged]
) -> dict[Name, Judged]:
    """The verdicts, those taken back that fills may explain which the exchange knows and nobody has counted."""
    counts: dict[str, int] = {}
    kept: dict[Name, Judged] = {}
    for (kind, name), one in judged.items():
        symbols = [name] if kind is Kind.POSITION else _markets_of(name, figures)
        for symbol in symbols if one.verdict is Verdict.DRIFTS else ():
            if symbol not in counts:
                counts[symbol] = await uncounted_fills(books, account, symbol, first.exchange_at)
            if counts[symbol]:
                one = Judged(Verdict.UNSETTLED)
                break
        kept[kind, name] = one
    if any(counts.values()):
        log.warning(
            "the exchange knows fills that the user stream has not told: nothing is judged by them yet",
            extra={"account": account, "fills": {symbol: count for symbol, count in counts.items() if count}},
        )
    return kept


def _markets_of(asset: str, figures: Figures) -> list[str]:
    """The markets whose fills change an asset, those that traded last first."""
    found = []
    for symbol, kept in figures.positions.items():
        instrument = instrument_of(symbol)
        if instrument and asset in (instrument.base, instrument.quote, instrument.settle):
            found.append((kept.figure.changed_at, symbol))
    return [symbol for _, symbol in sorted(found, reverse=True)[:MOST_MARKETS_ASKED]]


async def _correct_all(books: Books, seen: Comparison, judged: Mapping[Name, Judged]) -> Compared:
    """Write what is certain, and say how the comparison went."""
    done: list[Correction] = []
    unsettled = sum(1 for one in judged.values() if one.verdict is Verdict.UNSETTLED)
    for (kind, name), one in judged.items():
        if one.verdict is not Verdict.DRIFTS:
            continue
        correction = correction_of(seen, kind, name, one.drift)
        if await correct(books, seen.account, correction, seen.now_ms):
            done.append(correction)
        else:
            unsettled += 1
    told = [] if seen.is_first else done
    for correction in told:
        log.log(
            logging.ERROR if correction.is_critical else logging.WARNING,
            "a figure was not what the exchange says, and was corrected",
            extra={"account": seen.account, correction.kind.value: correction.name, **_numbers(correction)},
        )
    if seen.is_first:
        log.info(
            "figures taken over from the exchange", extra={"account": seen.account, "figures": len(done)}
        )
    critical = sum(1 for correction in told if correction.is_critical)
    return Compared(
        account=seen.account,
        state=_state(corrected=len(told), critical=critical, unsettled=unsettled),
        corrected=len(told),
        critical=critical,
        unsettled=unsettled,
    )


def _state(*, corrected: int, critical: int, unsettled: int) -> ComparedState:
    if unsettled:
        return ComparedState.UNSETTLED
    if critical:
        return ComparedState.CRITICAL
    return ComparedState.CORRECTED if corrected else ComparedState.AGREED


def _numbers(correction: Correction) -> dict[str, str]:
    return dict(correction.event.numbers) if correction.event else {}


def _names(said: Look, figures: Figures) -> list[Name]:
    """Every figure that the exchange or the pool knows. On spot the exchange knows nothing of positions."""
    positions = {*said.positions, *(figures.positions if said.asks_positions else ())}
    balances = {*said.balances, *figures.balances}
    return [(Kind.POSITION, name) for name in sorted(positions)] + [
        (Kind.BALANCE, name) for name in sorted(balances)
    ]


def _readings(said: Look, figures: Figures, drifts: Mapping[Name, Decimal]) -> Readings:
    zero = Decimal(0)
    positions: dict[str, PositionReading] = {}
    balances: dict[str, BalanceReading] = {}
    for kind, name in _names(said, figures):
        drift = drifts.get((kind, name), zero)
        if kind is Kind.POSITION:
            position = said.positions.get(name)
            positions[name] = PositionReading(
                size=position.size if position else zero,
                entry_price=position.entry_price if position else None,
                mark_price=position.mark_price if position else None,
                unrealised=position.unrealised if position else zero,
                drift=drift,
                at=said.asked_at,
            )
        else:
            held = said.balances.get(name)
            balances[name] = BalanceReading(
                total=held.total if held else zero,
                free=held.free if held else zero,
                used=held.used if held else zero,
                drift=drift,
                at=said.asked_at,
            )
    return Readings(positions=positions, balances=balances)


def _waiting(account: str) -> Compared:
    return Compared(
        account=account,
        state=ComparedState.WAITING,
        reason="its user stream has a gap: until that is read, its fills are not complete",
    )


async def _note_failure(books: Books, account: str, before: AccountState | None, compared: Compared) -> None:
    """Note why an account's figures are still as they were, and since when they are not compared."""
    state = AccountState(
        state=compared.state,
        source=before.source if before else Source.FILLS if books.counts_fills else Source.EXCHANGE,
        tried_at=await redis_now_ms(books),
        compared_at=before.compared_at if before else 0,
        since=before.since if before else 0,
        reason=compared.reason,
    )
    await note_comparison(books, account, state)
    level = logging.INFO if compared.state is ComparedState.UNSETTLED else logging.WARNING
    log.log(
        level,
        "an account's positions and balances could not be compared; it is tried again",
        extra={"account": account, "state": compared.state.value, "reason": compared.reason},
    )


@asynccontextmanager
async def _alone(books: Books, account: str) -> AsyncIterator[bool]:
    """Whether this process alone compares the account, until the block ends, or soon after the process does.

    One that stood still past its lease is no danger: what others corrected meanwhile is not corrected again.
    """
    key, mine = books.keys.lock(f"positions:{account}"), secrets.token_hex(8)
    lease_ms = books.section.worker.lease_ms
    if not await books.redis.set(key, mine, nx=True, px=lease_ms):
        yield False
        return
    renewing = asyncio.create_task(_renew(books, key, mine, lease_ms))
    try:
        yield True
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        if await books.redis.get(key) == mine.encode():
            await books.redis.delete(key)


async def _renew(books: Books, key: str, mine: str, lease_ms: int) -> None:
    while True:
        await asyncio.sleep(lease_ms / RENEWALS / 1000)
        with suppress(RedisError, OSError):
            if await books.redis.get(key) != mine.encode():
                return
            await books.redis.pexpire(key, lease_ms)
