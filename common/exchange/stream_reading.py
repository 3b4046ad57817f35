"""Reading the messages of a venue's user stream: what such a reader answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from common.exchange.base import ExchangeFailure, Outcome, StreamUpdate


class StreamReader(Protocol):
    """Reads one venue's messages. Pure."""

    def event_in(self, message: Any) -> Mapping[str, Any] | None:
        """The event in a decoded message, out of whatever envelope it came in; None: it is none (an answer, say)."""
        ...

    def read(self, client: Any, event: Mapping[str, Any], received_at: int) -> StreamUpdate | None:
        """What an event says of an order; None for an event that is about something else.

        Raises:
            ExchangeFailure: the event ends the stream, or can't be read.
        """
        ...


def stream_ended(code: str, message: str) -> ExchangeFailure:
    """The end of a stream: what happens from now on may go unheard."""
    return ExchangeFailure(Outcome.UNKNOWN, code, message)
