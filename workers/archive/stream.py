"""The event stream of one exchange, as the archiver reads it: every call may be repeated at will."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import ResponseError

from orderlane.archive.state import ArchiveState, encode_state
from orderlane.events import Event, encode_event
from orderlane.keys import EVENT_FIELD, Keys
from workers.archive.judging import START, StreamFacts
from workers.archive.rows import Entry, entry_of

RECORDS_AT_ONCE: Final = 500


class EventStream:
    """Raises redis.exceptions.RedisError wherever Redis gives no answer."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys

    def from_position(self, event_id: str, count: int) -> list[Entry]:
        """Up to `count` entries beginning with the one at `event_id`, oldest first."""
        lowest = "-" if event_id == START else event_id
        return [entry_of(*one) for one in self._client.xrange(self._keys.events, lowest, "+", count=count)]

    def back_from(self, event_id: str, count: int, *, inclusive: bool) -> list[Entry]:
        """Up to `count` entries at or before `event_id`, newest first."""
        highest = event_id if inclusive else f"({event_id}"
        return [
            entry_of(*one) for one in self._client.xrevrange(self._keys.events, highest, "-", count=count)
        ]

    def facts(self) -> StreamFacts:
        """What Redis says of the stream."""
        try:
            found = self._client.xinfo_stream(self._keys.events)
        except ResponseError as error:
            if "no such key" not in str(error).lower():
                raise
            return StreamFacts(START, "")
        facts = {_name(name): value for name, value in found.items()}
        first = facts["first-entry"]
        return StreamFacts(_name(facts["last-generated-id"]), _name(first[0]) if first else "")

    def records(self, client_order_ids: Sequence[str]) -> dict[str, dict[bytes, bytes]]:
        """The records of these orders as they are stored; an empty one where there is none."""
        found: dict[str, dict[bytes, bytes]] = {}
        for start in range(0, len(client_order_ids), RECORDS_AT_ONCE):
            chunk = client_order_ids[start : start + RECORDS_AT_ONCE]
            with self._client.pipeline(transaction=False) as pipeline:
                for name in chunk:
                    pipeline.hgetall(self._keys.order(name))
                # A key of another type, put there by someone else, is as good as no record.
                replies = pipeline.execute(raise_on_error=False)
            for name, reply in zip(chunk, replies, strict=True):
                if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                    raise reply
                found[name] = {} if isinstance(reply, Exception) else reply
        return found

    def now_ms(self) -> int:
        """Redis' clock."""
        seconds, microseconds = self._client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def publish(self, state: ArchiveState) -> None:
        """Say how far the archive has come."""
        self._client.hset(self._keys.archive, state.archive, encode_state(state))

    def tell(self, event: Event) -> None:
        """Append an event."""
        self._client.xadd(self._keys.events, {EVENT_FIELD: encode_event(event)})


def _name(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
