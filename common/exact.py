"""Exact decimal arithmetic: nothing here rounds unless its name says which way.

The operators of `Decimal` round to the thread's context (28 digits by default) in silence; `EXACT` raises.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final

EXACT: Final = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Far more digits than any price times any amount has, and an error rather than a rounded result."""


def plain(value: Decimal) -> Decimal:
    """The same number without trailing zeros or exponent, so that `str` of it is what a venue reads."""
    shortest = EXACT.normalize(value)
    exponent = shortest.as_tuple().exponent
    return EXACT.quantize(shortest, Decimal(1)) if isinstance(exponent, int) and exponent > 0 else shortest


def exact_decimal(value: object) -> Decimal:
    """A number as ccxt hands it out (text, int or float) without losing a digit; a float counts as it prints.

    Raises:
        ValueError: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"{value!r} is a {type(value).__name__}: expected a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not finite")
    return plain(number)


def times(left: Decimal, right: Decimal) -> Decimal:
    """The exact product."""
    return EXACT.multiply(left, right)


def multiple_at_most(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of `step` not above `value` (both positive); 0 when `value` is below `step`."""
    return plain(times(Decimal(_whole_steps(value, step)), step))


def multiple_at_least(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value` (both positive)."""
    return plain(times(Decimal(-_whole_steps(-value, step)), step))


def common_multiple(left: Decimal, right: Decimal) -> Decimal:
    """The smallest positive number that is a whole multiple of both steps."""
    (left_over, left_under), (right_over, right_under) = left.as_integer_ratio(), right.as_integer_ratio()
    under = math.lcm(left_under, right_under)
    over = math.lcm(left_over * (under // left_under), right_over * (under // right_under))
    return plain(EXACT.divide(Decimal(over), Decimal(under)))


def _whole_steps(value: Decimal, step: Decimal) -> int:
    over, under = value.as_integer_ratio()
    step_over, step_under = step.as_integer_ratio()
    return (over * step_under) // (under * step_over)


def bound(value: object) -> Decimal | None:
    """A venue's bound or step; None where it is absent, empty or 0, which venues write for "no such rule".

    Raises:
        ValueError: it is no number, or negative.
    """
    if value is None or value == "":
        return None
    number = exact_decimal(value)
    if number < 0:
        raise ValueError(f"a bound is {number}: expected 0 or more")
    return number or None


def highest(*bounds: Decimal | None) -> Decimal | None:
    """The strictest of several minima; None where there is none."""
    return max((one for one in bounds if one is not None), default=None)


def lowest(*bounds: Decimal | None) -> Decimal | None:
    """The strictest of several maxima; None where there is none."""
    return min((one for one in bounds if one is not None), default=None)
