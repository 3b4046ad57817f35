"""The scheduler: keeps the pool's periodic jobs going.

    python -m workers.scheduler [--config FILE]

It runs two processes and starts them again, with growing waits, when they fall: one puts jobs into rq's queue
(`workers.jobs.cron`), one runs them (`workers.jobs.worker`). Any number of schedulers may run: each job is done once
in its period. SIGTERM or SIGINT ends both within seconds, exit 0; a second signal at once (code 130). When this process
is killed, the kernel ends its children.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from common.die_with_parent import die_with_parent
from common.telemetry import start_telemetry
from orderlane.connection import redacted
from workers.jobs.configured import configured

log: Final = logging.getLogger("orderlane.scheduler")

ROOT: Final = Path(__file__).resolve().parents[1]
PARTS: Final = ("workers.jobs.cron", "workers.jobs.worker")
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 10.0
SETTLED_SECONDS: Final = 30.0
"""A process that ran for so long had started well: when it falls, the waits begin anew."""
STOP_SECONDS: Final = 4.0
"""How long a child has to end by itself."""


def next_wait(wait_seconds: float, lived_seconds: float) -> float:
    """How long to wait before a child that fell is started again; `wait_seconds` was the wait before, 0 if none."""
    if wait_seconds == 0 or lived_seconds >= SETTLED_SECONDS:
        return FIRST_WAIT_SECONDS
    return min(wait_seconds * 2, LONGEST_WAIT_SECONDS)


class Supervisor:
    """Keeps processes running until `stop`."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def run(self, commands: dict[str, Sequence[str]]) -> None:
        """Keep every command running, by its name, until told to stop; none of them is left then."""
        await asyncio.gather(*(self._keep(name, command) for name, command in commands.items()))

    def stop(self) -> None:
        """Stop; called again, end everything at once."""
        if self.stopping.is_set():
            for child in self._children.values():
                if child.returncode is None:
                    child.kill()
            os._exit(130)
        log.info("stopping")
        self.stopping.set()

    async def _keep(self, name: str, command: Sequence[str]) -> None:
        wait_seconds = 0.0
        while not self.stopping.is_set():
            started_at = time.monotonic()
            child = await self._start(command)
            self._children[name] = child
            await self._until_ended(child)
            if self.stopping.is_set():
                return
            wait_seconds = next_wait(wait_seconds, time.monotonic() - started_at)
            log.warning(
                "a part of the scheduler ended; starting it again",
                extra={"part": name, "exit_code": child.returncode, "wait_seconds": wait_seconds},
            )
            try:
                await asyncio.wait_for(self.stopping.wait(), wait_seconds)
            except TimeoutError:
                continue

    async def _start(self, command: Sequence[str]) -> asyncio.subprocess.Process:
        """Start a child in a session of its own: a terminal's Ctrl-C reaches it through us, and once."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return await asyncio.create_subprocess_exec(
            *die_with_parent(command),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    async def _until_ended(self, child: asyncio.subprocess.Process) -> None:
        """Return when the child has ended; it is made to when we are stopping."""
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            child.terminate()
            done, _ = await asyncio.wait({ended}, timeout=STOP_SECONDS)
            if not done:
                log.warning("a part of the scheduler did not stop in time", extra={"pid": child.pid})
                child.kill()
        await ended


async def _main(commands: dict[str, Sequence[str]]) -> None:
    supervisor = Supervisor()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run(commands)


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="orderlane.yaml; default: built-in paper pool.",
)
def main(config: Path | None) -> None:
    """Run the scheduler until a signal stops it."""
    settings = configured(config, os.environ)
    telemetry = start_telemetry(settings, process="scheduler")
    log.info(
        "scheduler starts",
        extra={"queue": redacted(settings.queue_redis_url.reveal()), "exchanges": list(settings.exchanges)},
    )
    options = ["--config", str(config)] if config else []
    asyncio.run(_main({part: [sys.executable, "-m", part, *options] for part in PARTS}))
    telemetry.stop()


if __name__ == "__main__":
    main()
