"""The producer of a run: submits a seeded plan of intents, repeats what got no answer, and remembers what it did."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

import redis
from redis.exceptions import RedisError

from orderlane.client import Client
from orderlane.connection import connect
from orderlane.errors import IdReused, OrderlaneError
from orderlane.identity import client_order_id
from orderlane.intents import Intent
from scripts.harness.chaos.judging import POOL
from scripts.harness.material import Appended
from scripts.harness.producer import append

PATIENCE_SECONDS = 2.0
"""How long one call of the client repeats by itself; afterwards this producer submits the same intent again."""


class Submitter:
    """Submits in a thread of its own, `rate` intents a second (0: as fast as it goes)."""

    def __init__(self, url: str, *, rate: float = 0.0) -> None:
        self.appended: list[Appended] = []
        self._url = url
        self._rate = rate
        self._known: set[str] = set()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._stop = threading.Event()

    def begin(self, intents: Iterable[Intent | tuple[bytes, bytes]]) -> None:
        """Start to submit; returns at once."""
        self._thread = threading.Thread(target=self._run, args=(intents,), daemon=True)
        self._thread.start()

    def submit_now(self, intents: Iterable[Intent | tuple[bytes, bytes]]) -> None:
        """Submit and return when all of it was answered."""
        self._run(intents)
        if self._error is not None:
            raise self._error

    def append_now(self, intents: Iterable[Intent]) -> None:
        """Append by XADD, as a producer in any language would: no record before a worker makes one."""
        with connect(self._url, socket_timeout_seconds=2.0) as plain:
            for intent in intents:
                self._known.add(intent.id)
                self.appended.append(append(plain, POOL, intent))

    @property
    def done(self) -> bool:
        """Whether everything was submitted. Raises what ended the thread, if something did."""
        if self._error is not None:
            raise self._error
        return self._thread is None or not self._thread.is_alive()

    def forget(self, one: Appended) -> None:
        """Count an entry as never appended: Redis forgot it. Its intent may be submitted again."""
        self.appended.remove(one)
        if one.intent is not None:
            self._known.discard(one.intent.id)

    def stop(self) -> None:
        """Submit nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self, intents: Iterable[Intent | tuple[bytes, bytes]]) -> None:
        plain = connect(self._url, socket_timeout_seconds=2.0)
        try:
            with Client(
                self._url, pool=POOL, backlog_limit=1_000_000, retry_seconds=PATIENCE_SECONDS
            ) as client:
                for intent in intents:
                    if self._stop.is_set():
                        return
                    self._submit(client, plain, intent)
                    if self._rate:
                        time.sleep(1 / self._rate)
        except Exception as error:  # noqa: BLE001 - shown by whoever asks `done`
            self._error = error
        finally:
            with suppress(RedisError):
                plain.close()

    def _submit(self, client: Client, plain: redis.Redis, intent: Intent | tuple[bytes, bytes]) -> None:
        if isinstance(intent, tuple):
            # What is no intent can't be repeated safely: one whose answer is lost is not counted.
            with suppress(RedisError):
                self.appended.append(append(plain, POOL, intent))
            return
        if intent.id in self._known:
            # A producer that repeats itself, and not through a client: a second entry of the same id.
            with suppress(RedisError):
                self.appended.append(append(plain, POOL, intent))
            return
        while not self._stop.is_set():
            try:
                submitted = client.submit(intent)
            except IdReused:
                return
            except OrderlaneError:
                time.sleep(0.1)
                continue
            except RedisError:  # Redis answers, and takes no writes
                time.sleep(0.1)
                continue
            self._known.add(intent.id)
            name = client_order_id(POOL, intent.exchange, intent.account, intent.id)
            self.appended.append(Appended(intent.exchange, submitted.order.entry, name, intent))
            return
