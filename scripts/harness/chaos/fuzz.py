"""Bad input at volume: entries that are almost intents, and exchange replies with a field missing, null, of another
type, or huge."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from orderlane.identity import client_order_id
from orderlane.intents import IntentInvalid, decode_intent, encode_intent
from orderlane.keys import INTENT_FIELD, Keys
from scripts.harness.chaos.judging import EXCHANGES, POOL
from scripts.harness.chaos.replies import ReplyFuzzer
from scripts.harness.chaos.stage import Stage
from scripts.harness.evidence import stream
from scripts.harness.material import Appended
from scripts.harness.producer import Plan

BATCH: Final = 500
BACKLOG: Final = 4_000
WEIRD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1e308, "", " ", "x" * 70_000, "NaN", "-Infinity", "1e9999", "9" * 400, "0x10", "\uff11\uff12",
    "\x00", "\ud7ff", "\U0001f71c", [], {}, [[]], {"a": {"b": []}}, -0.0, 2**63, "0.00000000000000000001", "main|x",
    "../..", "a" * 65,
)  # fmt: skip
"""Put in place of a field's value."""
KINDS: Final = ("place", "cancel", "amend", "cancel_all", "merge", "", "PLACE")


class Mutator:
    """Entries drawn from a seed: intents of the usual plan, most of them damaged."""

    def __init__(self, seed: int, stage: Stage) -> None:
        self._chance = random.Random(f"{seed}/fuzz")
        self._plan = Plan(seed, stage.prices())
        self._damages: tuple[Callable[[dict[str, Any]], list[bytes]], ...] = (
            self._weird_value, self._missing_field, self._foreign_field, self._cut, self._flipped_bytes,
            self._other_kind, self._doubled_key, self._foreign_entry_field, self._deep, self._padded, self._intact,
        )  # fmt: skip

    def entries(self, number: int) -> Iterator[list[bytes]]:
        """`number` entries, each a list of field, value, field, value …"""
        for intent in self._plan.intents(number):
            if isinstance(intent, tuple):
                yield list(intent)
            else:
                yield self._chance.choice(self._damages)(json.loads(encode_intent(intent)))

    def _weird_value(self, fields: dict[str, Any]) -> list[bytes]:
        fields[self._chance.choice(sorted(fields))] = self._chance.choice(WEIRD)
        return _entry(fields)

    def _missing_field(self, fields: dict[str, Any]) -> list[bytes]:
        del fields[self._chance.choice(sorted(fields))]
        return _entry(fields)

    def _foreign_field(self, fields: dict[str, Any]) -> list[bytes]:
        fields[self._chance.choice(("leverage", "clientOrderId", "Amount", "__proto__"))] = (
            self._chance.choice(WEIRD)
        )
        return _entry(fields)

    def _cut(self, fields: dict[str, Any]) -> list[bytes]:
        text = _entry(fields)[1]
        return [INTENT_FIELD.encode(), text[: self._chance.randrange(len(text))]]

    def _flipped_bytes(self, fields: dict[str, Any]) -> list[bytes]:
        text = bytearray(_entry(fields)[1])
        for _ in range(self._chance.randint(1, 4)):
            text[self._chance.randrange(len(text))] = self._chance.randrange(256)
        return [INTENT_FIELD.encode(), bytes(text)]

    def _other_kind(self, fields: dict[str, Any]) -> list[bytes]:
        fields["kind"] = self._chance.choice(KINDS)
        return _entry(fields)

    def _doubled_key(self, fields: dict[str, Any]) -> list[bytes]:
        text = _entry(fields)[1]
        name = self._chance.choice(("account", "symbol", "id", "amount"))
        return [INTENT_FIELD.encode(), text[:-1] + f',"{name}":"twice"}}'.encode()]

    def _foreign_entry_field(self, fields: dict[str, Any]) -> list[bytes]:
        entry = _entry(fields)
        return self._chance.choice(
            ([b"order", entry[1]], [*entry, b"more", b"1"], [b"", b""], [*entry, *entry])
        )

    def _deep(self, fields: dict[str, Any]) -> list[bytes]:
        depth = self._chance.choice((50, 999, 20_000))
        return [INTENT_FIELD.encode(), b'{"kind":"place","tags":' + b"[" * depth + b"]" * depth + b"}"]

    def _padded(self, fields: dict[str, Any]) -> list[bytes]:
        return [
            INTENT_FIELD.encode(),
            b" " * self._chance.choice((10, 70_000, 1_000_000)) + _entry(fields)[1],
        ]

    def _intact(self, fields: dict[str, Any]) -> list[bytes]:
        return _entry(fields)


def _entry(fields: dict[str, Any]) -> list[bytes]:
    return [INTENT_FIELD.encode(), json.dumps(fields).encode("utf-8", "surrogatepass")]


def play(stage: Stage) -> None:
    """Append damaged entries to both streams, as fast as the pool digests them."""
    stage.open_house()
    mutator = Mutator(stage.options.seed, stage)
    batch: list[tuple[str, list[bytes]]] = []
    for number, entry in enumerate(mutator.entries(stage.options.intents)):
        exchange = _exchange_of(entry, number)
        batch.append((exchange, entry))
        if len(batch) == BATCH:
            _append(stage, batch)
            batch = []
            stage.wait_for(lambda: _backlog(stage) < BACKLOG, 120, "the backlog did not shrink")
    _append(stage, batch)
    stage.drain()
    reasons: dict[str, int] = {}
    for name in EXCHANGES:
        for _, letter in stream(stage.client, stage.keys(name).dead):
            code = msgspec.json.decode(letter[b"reason"])["code"]
            reasons[code] = reasons.get(code, 0) + 1
    shown = sorted(reasons.items(), key=lambda pair: -pair[1])
    stage.notes.append("dead letters: " + ", ".join(f"{code} {count}" for code, count in shown))


def _exchange_of(entry: list[bytes], number: int) -> str:
    """Where a producer would send it: where it says, if that can be read."""
    for name in sorted(EXCHANGES, key=len, reverse=True):
        if len(entry) > 1 and f'"{name}"'.encode() in entry[1][-70_000:]:
            return name
    return EXCHANGES[number % len(EXCHANGES)]


def _append(stage: Stage, batch: list[tuple[str, list[bytes]]]) -> None:
    pipeline: Any = stage.client.pipeline(transaction=False)
    for exchange, entry in batch:
        pipeline.execute_command("XADD", Keys(exchange, POOL).intents, "*", *entry)
    for (exchange, entry), reply in zip(batch, pipeline.execute(), strict=True):
        stage.fault("damaged entry")
        stage.submitter.appended.append(_appended(exchange, reply.decode(), entry))


def _appended(exchange: str, name: str, entry: list[bytes]) -> Appended:
    """What the entry is to the judge: an intent if the contract reads it as one, else something to be buried."""
    try:
        if entry[::2] != [INTENT_FIELD.encode()]:
            return Appended(exchange, name)
        intent = decode_intent(entry[1])
    except IntentInvalid:
        return Appended(exchange, name)
    return Appended(exchange, name, client_order_id(POOL, exchange, intent.account, intent.id), intent)


def _backlog(stage: Stage) -> int:
    return sum(int(stage.client.xlen(stage.keys(name).intents)) for name in EXCHANGES)


def play_replies(stage: Stage) -> None:
    """Every field of every reply of the exchange missing, null, of another type or huge, in turn."""
    fuzzer = ReplyFuzzer(stage)
    with fuzzer:
        stage.worker_environment["ORDERLANE_PAPER_URL"] = fuzzer.url
        stage.open_house()
        fuzzer.active = True
        stage.submitter.begin(stage.plan())
        stage.after(1.0)
        stage.wait_for(lambda: stage.submitter.done, 120, "not all was submitted")
        fuzzer.active = False
        stage.drain()
    stage.notes.append(
        f"{len(fuzzer.struck)} different damages of {len(fuzzer.fields)} fields of {len(fuzzer.routes)} kinds of reply"
    )
