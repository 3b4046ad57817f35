"""Arithmetic on prices and sizes: always Decimal, never rounded by accident."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
EIGHT_PLACES = Decimal("0.00000001")


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether ``value`` is a whole number of ``step``; a step of zero allows everything, as on Binance."""
    return step == 0 or value % step == 0


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of ``step`` that is not above ``value``."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The least multiple of ``step`` that is not below ``value``."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def nearest_to(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of ``step`` nearest to ``value``."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def cut(value: Decimal) -> Decimal:
    """``value`` cut (not rounded) to the eight decimals in which the exchange keeps balances."""
    return value.quantize(EIGHT_PLACES, ROUND_DOWN)


def places(value: Decimal) -> int:
    """How many decimals ``value`` needs, trailing zeros not counted."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def plain(value: Decimal) -> str:
    """``value`` without exponent and without trailing zeros: ``0.5``, ``64000``."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def fixed(value: Decimal) -> str:
    """``value`` with eight decimals, as spot replies write every number."""
    return format(value.quantize(EIGHT_PLACES, ROUND_DOWN), "f")


def divide(numerator: Decimal, denominator: Decimal) -> Decimal:
    """A quotient cut to eight decimals, and zero when there is nothing to divide by."""
    return cut(numerator / denominator) if denominator else ZERO
