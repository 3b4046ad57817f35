"""The archiver: moves events, and what became of orders, from Redis to SQL, where they stay.

    python -m workers.archiver [--config FILE]

Any number may run: each batch is written once, whoever comes first. SIGTERM or SIGINT ends it after the batch under
way, exit 0; killed at any instruction it loses and doubles nothing. It waits for a Redis or a database that is away.
Exit code 78 when the archive can't be used as it is set up. With `archive.enabled: false` it waits for the signal.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from common import failpoints
from common.config import Settings
from common.telemetry import identify_process, log_context, start_telemetry
from orderlane.archive.opening import ArchiveUnusable, open_for_writing
from orderlane.connection import connect
from orderlane.keys import Keys
from workers.archive.pump import Pump
from workers.archive.schema import prepare
from workers.archive.store import Store
from workers.archive.stream import EventStream
from workers.jobs.configured import configured

log: Final = logging.getLogger("orderlane.archive")

T = TypeVar("T")

WAITS_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""How long to wait after each failure in a row."""
EXIT_CONFIG: Final = 78
"""EX_CONFIG of sysexits.h."""


def wait_after(failures: int) -> float:
    """How long to wait after so many failures in a row, at least one."""
    return WAITS_SECONDS[min(failures, len(WAITS_SECONDS)) - 1]


class Archiver:
    """Archives every exchange of a pool until it is told to stop, each in a thread of its own."""

    def __init__(self, settings: Settings, engine: Engine, stopping: threading.Event) -> None:
        self._settings = settings
        self._engine = engine
        self._stopping = stopping

    def run(self) -> None:
        """Run until told to stop.

        Raises:
            ArchiveUnusable: the database holds something else, or a newer schema.
        """
        archive = self._insist(
            lambda: prepare(self._engine, self._settings.pool, time.time_ns() // 1_000_000)
        )
        if archive is None:
            return
        identify_process(archive=archive)
        log.info("archiving", extra={"exchanges": list(self._settings.exchanges)})
        threads = [
            threading.Thread(target=self._archive, args=(name, archive), name=f"archive-{name}")
            for name in self._settings.exchanges
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _archive(self, exchange: str, archive: str) -> None:
        section = self._settings.archive
        keys = Keys(exchange, self._settings.pool)
        with (
            log_context(exchange=exchange),
            connect(self._settings.redis_url.reveal(), home=keys.events) as client,
        ):
            pump = Pump(exchange, archive, EventStream(client, keys), Store(self._engine), section.batch_size)
            while not self._stopping.is_set():
                done = self._insist(pump.step)
                if done is not None and done < section.batch_size:
                    self._stopping.wait(section.poll_ms / 1000)

    def _insist(self, work: Callable[[], T]) -> T | None:
        """Do it, again and again until it is done; None when told to stop before."""
        failures = 0
        while not self._stopping.is_set():
            try:
                result = work()
            except (RedisError, SQLAlchemyError, OSError) as error:
                failures += 1
                log.warning(
                    "Redis or the archive's database gives no answer; trying again",
                    extra={"reason": _reason(error), "wait_seconds": wait_after(failures)},
                )
            except ArchiveUnusable:
                raise
            except Exception as error:
                failures += 1
                log.error("archiving failed by a fault of the pool's own; trying again", exc_info=error)
            else:
                if failures:
                    log.info("archiving goes on", extra={"failures": failures})
                return result
            self._stopping.wait(wait_after(failures))
        return None


def _reason(error: Exception) -> str:
    """What the driver says, without the statement and the values that SQLAlchemy adds."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="orderlane.yaml; default: built-in paper pool.",
)
def main(config: Path | None) -> None:
    """Run the archiver until a signal stops it."""
    settings = configured(config, os.environ)
    for section in settings.exchanges.values():
        failpoints.require_paper(section.endpoint)
    telemetry = start_telemetry(settings, process="archiver")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        sys.exit(_run(settings, stopping))
    finally:
        telemetry.stop()


def _run(settings: Settings, stopping: threading.Event) -> int:
    if not settings.archive.enabled:
        log.info("archive.enabled is false: nothing is archived")
        stopping.wait()
        return 0
    try:
        engine = open_for_writing(settings.archive_url.reveal())
        try:
            Archiver(settings, engine, stopping).run()
        finally:
            engine.dispose()
    except ArchiveUnusable as error:
        log.error("the archive can't be used as it is set up", extra={"reason": str(error)})
        return EXIT_CONFIG
    return 0


if __name__ == "__main__":
    main()
