"""Asynchronous connections whose loop says of a connection that is gone what redis-py does not expect.

uvloop raises RuntimeError where something is written to a connection that broke a moment ago; redis-py passes that on,
and takes an OSError alone for a lost connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

Client = TypeVar("Client", bound=Any)


class _Mended:
    """In front of redis-py's class of a connection."""

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        try:
            await super()._send_packed_command(command)  # type: ignore[misc]
        except RuntimeError as error:
            raise ConnectionResetError(f"the connection to Redis is closed: {error}") from error


@cache
def _mended(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (_Mended, kind), {})


def mended(client: Client) -> Client:
    """The client, whose connections from now on raise redis' ConnectionError for a connection that is gone."""
    pool = client.connection_pool
    pool.connection_class = _mended(pool.connection_class)
    return client
