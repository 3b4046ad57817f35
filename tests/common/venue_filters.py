"""What the venues demand of an order, read from their own replies: a second opinion, sharing no code with `common`.

All numbers are fractions. `on_grid` puts an order where it should end up, `broken` names every rule that it breaks.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import Any

HAS_PRICE = {"limit", "stop_limit", "take_profit_limit"}
BINANCE_SPOT_TYPES = {
    "limit": "LIMIT",
    "market": "MARKET",
    "stop_market": "STOP_LOSS",
    "stop_limit": "STOP_LOSS_LIMIT",
    "take_profit_market": "TAKE_PROFIT",
    "take_profit_limit": "TAKE_PROFIT_LIMIT",
}


@dataclass(frozen=True)
class Order:
    side: str
    type: str
    amount: Fraction
    price: Fraction | None
    trigger_price: Fraction | None
    time_in_force: str | None
    reduce_only: bool


@dataclass(frozen=True)
class Size:
    step: Fraction
    least: Fraction = Fraction(0)
    most: Fraction | None = None


@dataclass(frozen=True)
class Filters:
    tick: Fraction
    lowest: Fraction
    highest: Fraction | None
    sizes: list[Size]
    market_sizes: list[Size]
    min_notional: Fraction
    reduce_only_exempt: bool
    band: dict[str, tuple[Fraction | None, Fraction | None]]
    band_on_stops: bool
    active: bool
    spot: bool
    types: set[str] | None
    times_in_force: set[str] | None
    post_only_stops: bool

    def sizes_of(self, order: Order) -> list[Size]:
        return self.sizes if order.type in HAS_PRICE else self.sizes + self.market_sizes


def filters_of(exchange_id: str, entry: dict[str, Any]) -> Filters:
    return {"binance": _spot, "binanceusdm": _usdm, "okx": _okx, "kraken": _kraken}[exchange_id](entry)


def on_grid(filters: Filters, order: Order) -> Order:
    step = _common([size.step for size in filters.sizes_of(order)])
    return replace(
        order,
        amount=floor(order.amount / step) * step,
        price=_to_tick(filters, order.side, order.price),
        trigger_price=_to_tick(filters, order.side, order.trigger_price),
    )


def _to_tick(filters: Filters, side: str, price: Fraction | None) -> Fraction | None:
    ticks = None if price is None else price / filters.tick
    return None if ticks is None else (floor(ticks) if side == "buy" else ceil(ticks)) * filters.tick


def broken(filters: Filters, order: Order, reference: Fraction | None) -> set[str]:
    found = set()
    if not filters.active:
        found.add("market_inactive")
    if filters.types is not None and order.type not in filters.types:
        found.add("order_type_not_allowed")
    found |= _broken_time_in_force(filters, order)
    if filters.spot and order.reduce_only:
        found.add("reduce_only_on_spot")
    for field, price in (("price", order.price), ("trigger_price", order.trigger_price)):
        if price is not None:
            found |= {f"{field}_{fault}" for fault in _broken_price(filters, price)}
    for size in filters.sizes_of(order):
        found |= {f"amount_{fault}" for fault in _broken_size(size, order.amount)}
    at = next((price for price in (order.price, order.trigger_price, reference) if price is not None), None)
    exempt = order.reduce_only and filters.reduce_only_exempt
    if at is not None and not exempt and at * order.amount < filters.min_notional:
        found.add("notional_below_minimum")
    if order.price is not None and reference is not None and (order.type == "limit" or filters.band_on_stops):
        down, up = filters.band[order.side]
        if (down is not None and order.price < reference * down) or (
            up is not None and order.price > reference * up
        ):
            found.add("price_outside_band")
    return found


def _broken_time_in_force(filters: Filters, order: Order) -> set[str]:
    wanted = order.time_in_force
    unknown = (
        wanted is not None and filters.times_in_force is not None and wanted not in filters.times_in_force
    )
    post_only_stop = wanted == "PO" and order.type != "limit" and not filters.post_only_stops
    return {"time_in_force_not_allowed"} if unknown or post_only_stop else set()


def _broken_price(filters: Filters, price: Fraction) -> set[str]:
    found = set()
    if price < filters.lowest or price <= 0:
        found.add("below_minimum")
    if filters.highest is not None and price > filters.highest:
        found.add("above_maximum")
    if price % filters.tick:
        found.add("off_tick")
    return found


def _broken_size(size: Size, amount: Fraction) -> set[str]:
    found = set()
    if amount < size.least or amount <= 0:
        found.add("below_minimum")
    if size.most is not None and amount > size.most:
        found.add("above_maximum")
    if amount % size.step:
        found.add("off_step")
    return found


def _common(steps: list[Fraction]) -> Fraction:
    result = steps[0]
    for step in steps[1:]:
        result = Fraction(lcm(result.numerator, step.numerator), gcd(result.denominator, step.denominator))
    return result


def _size(rule: dict[str, Any]) -> Size:
    """A Binance filter of amounts; a step of 0 is no step at all, so one that any amount is a multiple of."""
    step = Fraction(rule["stepSize"])
    return Size(step or Fraction(1, 10**18), Fraction(rule["minQty"]), Fraction(rule["maxQty"]) or None)


def _binance(entry: dict[str, Any]) -> dict[str, Any]:
    rules = {rule["filterType"]: rule for rule in entry["filters"]}
    price, market_lot = rules["PRICE_FILTER"], rules.get("MARKET_LOT_SIZE")
    return {
        "tick": Fraction(price["tickSize"]),
        "lowest": Fraction(price["minPrice"]),
        "highest": Fraction(price["maxPrice"]) or None,
        "sizes": [_size(rules["LOT_SIZE"])],
        "market_sizes": [_size(market_lot)] if market_lot else [],
        "active": entry["status"] == "TRADING",
    }


def _spot(entry: dict[str, Any]) -> Filters:
    rules = {rule["filterType"]: rule for rule in entry["filters"]}
    assert rules["MIN_NOTIONAL"]["applyToMarket"] is True
    percent = rules["PERCENT_PRICE"]
    band = Fraction(percent["multiplierDown"]), Fraction(percent["multiplierUp"])
    return Filters(
        **_binance(entry),
        min_notional=Fraction(rules["MIN_NOTIONAL"]["minNotional"]),
        reduce_only_exempt=False,
        band={"buy": band, "sell": band},
        band_on_stops=True,
        spot=True,
        types={ours for ours, theirs in BINANCE_SPOT_TYPES.items() if theirs in entry["orderTypes"]},
        times_in_force=None,
        post_only_stops=False,
    )


def _usdm(entry: dict[str, Any]) -> Filters:
    rules = {rule["filterType"]: rule for rule in entry["filters"]}
    percent = rules["PERCENT_PRICE"]
    assert entry["timeInForce"] == ["GTC", "IOC", "FOK", "GTX"]
    return Filters(
        **_binance(entry),
        min_notional=Fraction(rules["MIN_NOTIONAL"]["notional"]),
        reduce_only_exempt=True,
        band={
            "buy": (None, Fraction(percent["multiplierUp"])),
            "sell": (Fraction(percent["multiplierDown"]), None),
        },
        band_on_stops=False,
        spot=False,
        types=None,
        times_in_force=None,
        post_only_stops=True,
    )


def _okx(entry: dict[str, Any]) -> Filters:
    contract = Fraction(entry["ctVal"])
    size = Size(
        Fraction(entry["lotSz"]) * contract,
        Fraction(entry["minSz"]) * contract,
        Fraction(entry["maxLmtSz"]) * contract,
    )
    return _plain(Fraction(entry["tickSz"]), size, spot=False)


def _kraken(entry: dict[str, Any]) -> Filters:
    size = Size(Fraction(1, 10 ** entry["lot_decimals"]), Fraction(entry.get("ordermin", 0)))
    return _plain(Fraction(1, 10 ** entry["pair_decimals"]), size, spot=True)


def _plain(tick: Fraction, size: Size, *, spot: bool) -> Filters:
    return Filters(
        tick=tick,
        lowest=tick,
        highest=None,
        sizes=[size],
        market_sizes=[],
        min_notional=Fraction(0),
        reduce_only_exempt=not spot,
        band={"buy": (None, None), "sell": (None, None)},
        band_on_stops=False,
        active=True,
        spot=spot,
        types=None,
        times_in_force=None,
        post_only_stops=False,
    )
