"""The job that keeps the shared market rules recent; exchange workers take over what it publishes."""

from __future__ import annotations

import logging
from typing import Final

from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobPlan

log: Final = logging.getLogger("orderlane.jobs")


async def refresh_markets(one: OpenExchange, plan: JobPlan) -> None:
    """Load the rules from the exchange when those in use have reached the configured age.

    Raises:
        ExchangeFailure, redis.exceptions.RedisError: it could not be done; those in use stay, and a minute later
            it is tried again.
    """
    await one.ready()
    symbols = await one.refresh_markets(one.settings.scheduler.market_refresh_seconds)
    if symbols is not None:
        log.info("market rules loaded", extra={"symbols": symbols})
