"""A process whose lanes ask for tokens as fast as they can; run by the tests, several at once.

    python -m tests.common.hammer REDIS_URL NOTATION LANES GRANTS

Prints one JSON object: `granted_ms`, by Redis TIME, and `refused`, how often it was told to wait.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from common.buckets import Margins
from common.claims import Claims
from common.limiter import Limiter
from common.redis import ScriptRunner
from common.venue_limits import Operation, venue_limits
from orderlane.connection import connect_async
from orderlane.keys import Keys

VENUE, LIMIT, ACCOUNT = "binanceusdm", "orders_10s", "main"
TIGHT = Margins(safety=1.0, burst=0.5, arrival_spread_ms=0)
"""No margin: grants alone, by Redis' clock, use the limit to the full, and one too many is seen."""


async def send_nothing() -> None:
    """What a lane does with its tokens when only the grants are counted."""


async def hammer(
    url: str,
    notation: str,
    lanes: int,
    grants: int,
    send: Callable[[], Awaitable[None]] = send_nothing,
    margins: Margins = TIGHT,
) -> dict[str, Any]:
    """Acquire `grants` orders over `lanes` lanes and `send` after each, to whatever counts there."""
    client = connect_async(url)
    runner = ScriptRunner(client)
    granted_ms: list[int] = []
    refused = 0

    async def run(name: str, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        nonlocal refused
        reply = await runner.run(name, keys, arguments)
        if reply[0] == 0:
            granted_ms.append(int(reply[1]))
        else:
            refused += 1
        return reply

    limits = venue_limits(
        VENUE, {LIMIT: notation, "orders_1m": "1000000/minute", "weight_1m": "1000000/minute"}
    )
    limiter = Limiter(run, Claims(Keys(VENUE), limits, margins))
    left = iter(range(grants))

    async def lane(number: int) -> None:
        claim = limiter.claims.claim(Operation.PLACE, ACCOUNT, f"X{number}/Y", urgency=5)
        for _ in left:
            await limiter.acquire(claim, 5)
            await send()

    try:
        await asyncio.gather(*(lane(number) for number in range(lanes)))
    finally:
        await client.aclose()
    return {"granted_ms": granted_ms, "refused": refused}


if __name__ == "__main__":
    address, limit, lane_count, grant_count = sys.argv[1:]
    print(json.dumps(asyncio.run(hammer(address, limit, int(lane_count), int(grant_count)))))  # noqa: T201
