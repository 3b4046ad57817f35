"""Starts exchange workers quickly: a process that has imported everything and forks one for each request.

    python -m scripts.harness.chaos.nursery < requests > reports

A worker made here is a process of its own in every respect; it is only spared the second of imports. Requests and
reports are JSON lines (`Birth`; `Report`). The nursery ends when its input does, and its children with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import select
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import msgspec
from msgspec import Struct

from common import failpoints
from common.config import exchange_settings, load_settings
from common.exchange import open_exchange
from scripts.harness.chaos import worlds
from workers import exchange

PR_SET_PDEATHSIG: Final = 1
POLL_SECONDS: Final = 0.01


class Birth(Struct, frozen=True):
    """Start a worker: its name, its exchange, its whole environment, its log file, the world it lives in."""

    name: str
    exchange: str
    environment: dict[str, str]
    log: str
    world: str = ""


class Report(Struct, frozen=True):
    """A worker began (`code` is None) or ended, with its exit code, negative for a signal."""

    name: str
    pid: int
    code: int | None = None


def main() -> None:
    """Serve until the input ends."""
    warm_up()
    gc.freeze()
    names: dict[int, str] = {}
    decoder = msgspec.json.Decoder(Birth)
    unread = b""
    while True:
        readable, _, _ = select.select([0], [], [], POLL_SECONDS)
        if readable:
            chunk = os.read(0, 1 << 20)
            if not chunk:
                break
            *lines, unread = (unread + chunk).split(b"\n")
            for line in lines:
                birth = decoder.decode(line)
                pid = os.fork()
                if pid == 0:
                    live(birth)
                names[pid] = birth.name
                report(Report(birth.name, pid))
        bury(names)
    for pid in names:
        os.kill(pid, signal.SIGKILL)


def warm_up() -> None:
    """Import and build once what every worker imports and builds: ccxt's classes above all."""
    settings = load_settings(None, {})
    for name in settings.exchanges:
        open_exchange(exchange_settings(settings, name))


def bury(names: dict[int, str]) -> None:
    """Report every child that has ended."""
    while names:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        report(Report(names.pop(pid), pid, os.waitstatus_to_exitcode(status)))


def report(what: Report) -> None:
    """Write one line for the harness."""
    os.write(1, msgspec.json.encode(what) + b"\n")


def tell_where(number: int, frame: FrameType | None) -> None:
    """Write where every task stands: for a worker that does not end when it is told to."""
    faulthandler.dump_traceback(file=sys.stderr)
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def live(birth: Birth) -> NoReturn:
    """Be the worker, to its end."""
    code = 70
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        log = os.open(birth.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(birth.environment)
        signal.signal(signal.SIGUSR1, tell_where)
        failpoints.arm_from(os.environ)
        if birth.world:
            worlds.enter(birth.world)
        exchange.main.main(args=["--exchange", birth.exchange], standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
