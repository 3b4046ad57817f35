"""Errors to Sentry, scrubbed and tagged; nothing of Sentry is imported before a DSN is set.

Only what the pool asks for is switched on; personal data is off unless asked for (`send_default_pii` unset).
Sentry's own integrations would send command lines, patch Redis and HTTP calls, and add headers to requests to
exchanges."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from common.config.settings import SentrySection
from common.secrets import scrub
from common.telemetry.fields import current_fields, fields_of

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

TAGS: Final = ("exchange", "account", "strategy", "symbol", "worker")
FLUSH_SECONDS: Final = 2.0
EVENTS_A_MINUTE: Final = 10
"""Events of one kind (logger and message) sent in a minute: building one takes time that orders need in an
outage."""

_FOREIGN: Final = frozenset({"request", "user"})
"""Parts of an event that describe a web request: the pool serves none, so what stands there is foreign."""


def start_sentry(
    section: SentrySection, *, release: str, transport: Transport | None = None
) -> list[logging.Handler]:
    """Connect to Sentry; returns the handlers, for the root logger, that send errors and keep warnings as
    breadcrumbs.

    Without a DSN: no handler. `transport` takes the place of HTTP."""
    if section.dsn is None:
        return []
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler

    sentry_sdk.init(
        dsn=section.dsn.reveal(),
        environment=section.environment,
        release=release,
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[DedupeIntegration(), AtexitIntegration(callback=lambda pending, timeout: None)],
        before_send=clean_event,
        before_send_transaction=clean_event,
        before_breadcrumb=clean_breadcrumb,
        include_local_variables=False,
        max_request_body_size="never",
        traces_sample_rate=section.traces_sample_rate or None,
        propagate_traces=False,
        trace_propagation_targets=[],
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
        enable_metrics=False,
        spotlight=False,
        shutdown_timeout=FLUSH_SECONDS,
    )
    errors = EventHandler(level=logging.ERROR)
    errors.addFilter(FloodGate(EVENTS_A_MINUTE, time.monotonic))
    return [errors, BreadcrumbHandler(level=logging.WARNING)]  # an error is no breadcrumb of itself


def stop_sentry() -> None:
    """Send what waits, for at most two seconds, and disconnect."""
    import sentry_sdk

    client = sentry_sdk.get_client()
    client.close(timeout=FLUSH_SECONDS)
    sentry_sdk.get_global_scope().set_client(None)


def traced(name: str, **fields: str) -> AbstractContextManager[None]:
    """Time what happens inside the `with` as one transaction in Sentry, if traces are on; else costs nothing
    much."""
    return _transaction(name, fields) if _tracing() else _NOTHING


_NOTHING: Final = nullcontext()


@contextmanager
def _transaction(name: str, fields: dict[str, str]) -> Iterator[None]:
    import sentry_sdk

    with sentry_sdk.start_transaction(op=name, name=name) as transaction:
        for field, value in fields.items():
            transaction.set_tag(field, value)
        yield


def clean_event(event: Any, hint: dict[str, Any]) -> Any:
    """The event as it may leave: tagged by what it is about, without local variables, and without any
    secret."""
    record = hint.get("log_record")
    fields = fields_of(record) if isinstance(record, logging.LogRecord) else current_fields()
    tags = event.setdefault("tags", {})
    if isinstance(tags, dict):
        tags.update({name: str(fields[name]) for name in TAGS if fields.get(name)})
    return _scrubbed({part: value for part, value in event.items() if part not in _FOREIGN})


def clean_breadcrumb(breadcrumb: Any, hint: dict[str, Any]) -> Any:
    """A breadcrumb without secrets."""
    return _scrubbed(breadcrumb)


class FloodGate(logging.Filter):
    """Lets `most` records of one kind (logger and message) through in a minute of `clock` (seconds)."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._minute = 0
        self._seen: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record may pass."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._seen.clear()
        kind = (record.name, str(record.msg))
        self._seen[kind] = self._seen.get(kind, 0) + 1
        return self._seen[kind] <= self._most


def _tracing() -> bool:
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and bool(sdk.get_client().options.get("traces_sample_rate"))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {_scrubbed(name): _scrubbed(item) for name, item in value.items() if name != "vars"}
    if isinstance(value, list | tuple):
        return [_scrubbed(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(str(value))
