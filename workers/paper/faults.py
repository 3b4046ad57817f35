"""Faults on demand: which requests get one, and which. Deciding is pure bookkeeping; ``wire`` carries them
out.
"""

from __future__ import annotations

import random
import re
from typing import Literal

import msgspec

from workers.paper.calls import Call

FaultKind = Literal[
    "delay",
    "delay_reply",
    "drop_before",
    "drop_after",
    "reset_before_read",
    "reset_before",
    "reset_after",
    "error_before",
    "error_after",
    "cut_body",
    "empty_body",
    "foreign_body",
    "verbatim",
    "429",
    "418",
    "hang",
    "cut_stream",
    "delay_message",
    "repeat_message",
    "reorder_message",
]
BEFORE = frozenset({"drop_before", "reset_before", "error_before", "429", "418"})
OF_STREAMS = frozenset({"cut_stream", "delay_message", "repeat_message", "reorder_message"})
LOSES_REPLY = frozenset(
    {"drop_after", "reset_after", "error_after", "cut_body", "empty_body", "foreign_body", "hang", "verbatim"}
)


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``POST /paper/faults`` takes.

    ``route`` is a regular expression searched in ``METHOD /path``. Exactly one of ``count`` (the next N
    matching requests) and ``probability`` (each matching request, seeded) limits it; with neither it lasts
    until cleared. ``product`` (spot | usdm), ``account`` and ``symbol`` narrow it. ``delay_ms`` is waited
    before anything else.

    ============== ================================================================================
    delay          executed and answered ``delay_ms`` late, as if it were long under way
    delay_reply    executed at once, answered ``delay_ms`` later
    drop_*         the connection is closed without an answer; ``_after`` has executed
    reset_*        the same by RST; ``reset_before_read`` doesn't even read the request's body
    error_*        ``status`` (503) and ``body``; ``_after`` has executed
    cut_body       executed; ``Content-Length`` promises more than comes, then the connection closes
    empty_body     executed; ``status`` (200) and no body
    foreign_body   executed; ``status`` (200) and HTML
    verbatim       ``status``, ``headers`` and ``body`` as given, on any path; ``executed`` says whether
    429, 418       Binance's own, not executed; ``headers`` may override ``Retry-After``
    hang           ``executed`` or not, and never answered
    ============== ================================================================================

    Messages of streams have faults of their own; their ``route`` is searched in ``STREAM <event>``, as in
    ``STREAM ORDER_TRADE_UPDATE``, and a request never meets them.

    =============== ===============================================================================
    cut_stream      the connection is closed by RST, the message is lost
    delay_message   sent ``delay_ms`` later, and all that follow it on the connection after it
    repeat_message  sent at once, and once more ``delay_ms`` later
    reorder_message held back until the next one was sent, at most ``delay_ms`` (1000 if that is 0)
    =============== ===============================================================================
    """

    route: str
    fault: FaultKind
    count: int | None = None
    probability: float | None = None
    delay_ms: int = 0
    status: int = 0
    body: str = ""
    headers: dict[str, str] = {}
    executed: bool = False
    product: str = ""
    account: str = ""
    symbol: str = ""

    @property
    def executes(self) -> bool:
        """Whether the exchange carries the request out."""
        if self.fault in ("verbatim", "hang"):
            return self.executed
        return self.fault not in BEFORE and self.fault != "reset_before_read"


class FaultCounter(msgspec.Struct):
    """A rule as ``GET /paper/faults`` shows it: how often it matched and struck, and what is left of its
    count.
    """

    number: int
    rule: FaultRule
    matched: int = 0
    struck: int = 0
    left: int | None = None


class Faults:
    """The rules in force, oldest first; the first that strikes decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._counters: list[FaultCounter] = []
        self._patterns: dict[int, re.Pattern[str]] = {}
        self._next = 1

    def add(self, rule: FaultRule) -> FaultCounter:
        """Put a rule in force. Raises ``ValueError`` for one that contradicts itself or a bad expression."""
        if rule.count is not None and rule.probability is not None:
            raise ValueError("a fault has either 'count' or 'probability', not both")
        if rule.count is not None and rule.count < 1:
            raise ValueError(f"'count' is {rule.count}, expected at least 1")
        if rule.probability is not None and not 0 < rule.probability <= 1:
            raise ValueError(f"'probability' is {rule.probability}, expected more than 0 and at most 1")
        try:
            pattern = re.compile(rule.route)
        except re.error as error:
            raise ValueError(f"'route' {rule.route!r} is not a regular expression: {error}") from error
        counter = FaultCounter(self._next, rule, left=rule.count)
        self._next += 1
        self._counters.append(counter)
        self._patterns[counter.number] = pattern
        return counter

    def counters(self) -> list[FaultCounter]:
        """Every rule with its counters, the used up ones too."""
        return list(self._counters)

    def clear(self) -> None:
        """Drop every rule."""
        self._counters.clear()
        self._patterns.clear()

    def __bool__(self) -> bool:
        return bool(self._counters)

    def choose(self, route: str, product: str, account: str, symbol: str) -> FaultRule | None:
        """The fault that strikes a request that was read, if any."""
        return self._choose(route, product, account, symbol, of_streams=False)

    def choose_message(self, event: str, product: str, account: str, symbol: str) -> FaultRule | None:
        """The fault that strikes a message of a stream, if any."""
        return self._choose(f"STREAM {event}", product, account, symbol, of_streams=True)

    def _choose(
        self, route: str, product: str, account: str, symbol: str, *, of_streams: bool
    ) -> FaultRule | None:
        for counter in self._counters:
            rule = counter.rule
            wanted = (
                rule.product in ("", product),
                rule.account in ("", account),
                rule.symbol in ("", symbol),
            )
            fits = rule.fault != "reset_before_read" and (rule.fault in OF_STREAMS) == of_streams
            if fits and all(wanted) and self._strikes(counter, route):
                return rule
        return None

    def resets_unread(self, first_line: str) -> bool:
        """Whether the request that begins with ``first_line`` (``METHOD /path…``) is reset before it is
        read.
        """
        route = " ".join(first_line.split("?")[0].split(" ")[:2])
        return any(
            counter.rule.fault == "reset_before_read" and self._strikes(counter, route)
            for counter in self._counters
        )

    def _strikes(self, counter: FaultCounter, route: str) -> bool:
        if counter.left == 0 or not self._patterns[counter.number].search(route):
            return False
        counter.matched += 1
        probability = counter.rule.probability
        if probability is not None and self._random.random() >= probability:
            return False
        if counter.left is not None:
            counter.left -= 1
        counter.struck += 1
        return True


def marked(call: Call, rule: FaultRule | None) -> None:
    """Note on ``call`` which fault strikes it, for the audit."""
    if rule is not None:
        call.fault = rule.fault
        call.reply_dropped = rule.fault in LOSES_REPLY
