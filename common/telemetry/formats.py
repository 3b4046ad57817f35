"""A log record as a line: JSON for machines, colours for eyes. Both leave without secrets."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any, Final

import msgspec

from common.secrets import scrub
from common.telemetry.fields import fields_of

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final = {
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_encoder: Final = msgspec.json.Encoder(enc_hook=str, decimal_format="string")


class JsonFormat(logging.Formatter):
    """One JSON object: `time` (UTC), `level`, `event`, `logger`, the fields, and `error` where there is
    one."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; never raises for what a record carries."""
        line: dict[str, Any] = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "event": message_of(record),
            "logger": record.name,
        }
        for name, value in fields_of(record).items():
            line[f"{name}_" if name in line or name == "error" else name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _error(record.exc_info[1])
        return scrub(_encoded(line))

    def _time(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{int(record.msecs):03d}Z"


class PrettyFormat(logging.Formatter):
    """`12:00:00.123 INFO order.filled ACTIVE -> FILLED intent=grid-1 …`, with a traceback below; times are
    UTC."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self.colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines, without the last line's end; never raises for what a record carries."""
        fields = fields_of(record)
        change = f" {fields.pop('from')} -> {fields.pop('to')}" if "from" in fields and "to" in fields else ""
        stamp = time.strftime("%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}"
        level = self._in(_COLOURS.get(record.levelno, ""), f"{record.levelname:<8}")
        rest = "".join(
            f" {self._in(_DIM, f'{name}=')}{visible(shown(value))}" for name, value in fields.items()
        )
        text = f"{self._in(_DIM, stamp)} {level} {visible(message_of(record))}{visible(change)}{rest}"
        if record.exc_info and record.exc_info[1] is not None:
            lines = _error(record.exc_info[1])["traceback"].splitlines()
            text += "".join(f"\n  {visible(line)}" for line in lines)
        return scrub(text)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self.colours and colour else text


def message_of(record: logging.LogRecord) -> str:
    """The record's message; one whose arguments don't fit it is shown with them beside it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - whatever an argument's own `__str__` raises, the line is worth more
        return f"{shown(record.msg)} {shown(record.args)}"


def shown(value: object) -> str:
    """`str(value)`, for any value at all."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - see `message_of`
        return f"<a {type(value).__name__} that can't be shown>"


def visible(text: str) -> str:
    """A text of one line without control characters: those of an intent must not move somebody's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _error(error: BaseException) -> dict[str, str]:
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - see `message_of`
        trace = ""
    return {"type": type(error).__name__, "message": shown(error), "traceback": trace}


def _encoded(line: dict[str, Any]) -> str:
    try:
        return _encoder.encode(line).decode()
    except Exception:  # noqa: BLE001 - lone surrogates, huge numbers, odd keys, a `__str__` that fails
        plain = {name: ascii(shown(value))[1:-1] for name, value in line.items()}
        return _encoder.encode(plain).decode()
