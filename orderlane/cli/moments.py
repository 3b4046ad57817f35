"""A moment as an option takes it: a date, a time, ms since the epoch, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

_AGO: Final = re.compile(r"(\d{1,6})(s|m|h|d|w)\Z", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MILLISECONDS: Final = re.compile(r"\d{12,15}\Z", re.ASCII)
FORM: Final = "2026-01-31, 2026-01-31T12:00 (UTC, or with +02:00), 90m, 2h, 7d (ago) or ms since 1970"


def moment_ms(text: str, now_ms: int) -> int:
    """The moment as ms since the epoch; `now_ms` is what lengths of time count back from.

    Raises:
        ValueError: it is none.
    """
    ago = _AGO.match(text)
    if ago:
        return now_ms - int(ago[1]) * _SECONDS[ago[2]] * 1000
    if _MILLISECONDS.match(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment: expected {FORM}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


# Generic since click 8.3 only, and 8.1 will do.
class Moment(click.ParamType):  # type: ignore[type-arg]
    """An option's value as ms since the epoch."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return moment_ms(value, round(datetime.now(UTC).timestamp() * 1000))
        except ValueError as error:
            self.fail(str(error), param, ctx)
