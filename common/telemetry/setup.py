"""Switches telemetry on for a process, and off again."""

from __future__ import annotations

import logging
import os
import sys
import threading
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

from common.config.settings import LogSection, Settings
from common.telemetry.fields import forget_process, identify_process
from common.telemetry.formats import JsonFormat, PrettyFormat
from common.telemetry.sentry import start_sentry, stop_sentry
from common.telemetry.writer import LineHandler

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

_log: Final = logging.getLogger("orderlane.process")


@dataclass
class Telemetry:
    """What runs in a process; `stop` ends it."""

    handlers: list[logging.Handler]
    replaced: list[logging.Handler]
    level: int
    sentry: bool
    hooks: tuple[Any, Any, Any] = field(
        default_factory=lambda: (sys.excepthook, threading.excepthook, sys.unraisablehook)
    )

    def stop(self) -> None:
        """Send and write what waits (at most some seconds), and leave logging as it was before."""
        root = logging.getLogger()
        if self.sentry:
            stop_sentry()
        for handler in self.handlers:
            root.removeHandler(handler)
            handler.close()
        for handler in self.replaced:
            root.addHandler(handler)
        root.setLevel(self.level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self.hooks
        logging.captureWarnings(False)
        forget_process()


def start_telemetry(
    settings: Settings, *, process: str, stream: TextIO | None = None, transport: Transport | None = None
) -> Telemetry:
    """Write this process's logs, its warnings and whatever would end it, to `stream` (default: standard
    error), and its errors to Sentry if it has a DSN.

    `process` names the kind of process on each line; `identify_process` adds to it. Needs no event loop, and
    works under any. `stream` needs a file descriptor; `transport` takes the place of Sentry's HTTP."""
    stream = stream or sys.stderr
    lines = LineHandler(stream.fileno(), log_format(settings.log, stream))
    handlers: list[logging.Handler] = [lines]
    handlers += start_sentry(settings.sentry, release=_release(), transport=transport)
    root = logging.getLogger()
    telemetry = Telemetry(handlers, root.handlers[:], root.level, sentry=len(handlers) > 1)
    root.handlers[:] = handlers
    root.setLevel(settings.log.level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    identify_process(process=process)
    return telemetry


def log_format(section: LogSection, stream: TextIO) -> logging.Formatter:
    """The format for a stream: as the settings say, or, on `auto`, by whether somebody looks at it."""
    terminal = stream.isatty()
    if section.format == "json" or (section.format == "auto" and not terminal):
        return JsonFormat()
    return PrettyFormat(colours=terminal and not os.environ.get("NO_COLOR"))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        _log.warning("interrupted")
    else:
        _log.critical("process.crashed", exc_info=(kind, error, trace))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _log.error("thread.crashed", exc_info=arguments.exc_value)


def _unraisable(arguments: sys.UnraisableHookArgs) -> None:
    if arguments.exc_value is not None:
        _log.error("an error that nobody could catch", exc_info=arguments.exc_value)


def _release() -> str:
    try:
        return f"orderlane@{version('orderlane')}"
    except PackageNotFoundError:  # the pool runs from a checkout
        return "orderlane"
