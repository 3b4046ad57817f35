"""What the exchange answers when it says no: Binance's codes, messages and HTTP statuses.

Sources: Binance "Error Codes" for spot and for USDⓈ-M futures, and the messages quoted in ccxt's binance.py.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request the exchange refuses, with nothing changed.

    ``code`` is Binance's (negative), ``message`` its text, ``status`` the HTTP status,
    ``retry_after_seconds`` goes out as ``Retry-After`` when it is set.
    """

    def __init__(
        self, code: int, message: str, status: int = 400, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_seconds = retry_after_seconds


def illegal_characters(name: str, legal_range: str) -> Refusal:
    """A parameter that doesn't match its pattern."""
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal_range}'.")


def mandatory(name: str) -> Refusal:
    """A parameter that is required and absent."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def either_mandatory(first: str, second: str) -> Refusal:
    """Two parameters of which one is required, and neither was sent."""
    return Refusal(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def unread(read: int, sent: int) -> Refusal:
    """Parameters the spot order endpoints don't know."""
    return Refusal(
        -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
    )


def empty(name: str) -> Refusal:
    """A parameter sent without a value."""
    return Refusal(-1105, f"Parameter '{name}' was empty.")


def not_required(name: str) -> Refusal:
    """A parameter that doesn't belong to this order type."""
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def filter_failure(filter_type: str) -> Refusal:
    """A spot order that fails one of its symbol's filters."""
    return Refusal(-1013, f"Filter failure: {filter_type}")


def invalid_symbol() -> Refusal:
    """A symbol the exchange doesn't list."""
    return Refusal(-1121, "Invalid symbol.")


def unknown_order() -> Refusal:
    """A cancel or an amend of an order that isn't open."""
    return Refusal(-2011, "Unknown order sent.")


def order_does_not_exist() -> Refusal:
    """A query for an order the exchange has never had."""
    return Refusal(-2013, "Order does not exist.")


def rejected(message: str) -> Refusal:
    """A spot order the matching engine refuses."""
    return Refusal(-2010, message)
