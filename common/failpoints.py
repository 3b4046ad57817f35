"""Named points of the pipeline at which `scripts/chaos` may kill, stop, stall or fail this very process.

Off unless the environment variable `ORDERLANE_FAILPOINTS` is set when the process starts; no configuration file, no
key in Redis and no call can arm them later. Off, a point costs one test of a global.

    failpoints.reach("place.begun")

A new stage of the pipeline adds its points to `POINTS`; the death matrix is generated from there.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

VARIABLE: Final = "ORDERLANE_FAILPOINTS"


class Point(Struct, frozen=True):
    """What has happened, and what not yet, when a point is reached.

    `drives` names the kinds of work that pass it: `place`, `cancel`, `amend` (in place), `replace` (an amend that
    cancels and places anew), `cancel_all`; `any` for every entry, `process` for what no single entry belongs to,
    `archive` for the archiver; `think` for a lane whose waiting entries the rules change; `stream` for the holder of a
    user stream; `withdraw` for a cancel of a merged intent, whose order waits behind it; `give_way` for a place that
    waits and is overtaken; `batch` for orders sent in one request; `account` for a cancel-all of an account while
    intents of its other lanes wait; `standing` for whoever declares what stops new placements, and probes; `positions`
    for whoever compares positions and balances with the exchange; `reconcile` for whoever brings an account to
    agreement at a start, or meets orders without a record; `forgotten` for an entry of a Redis that came back without
    its last writes.
    """

    meaning: str
    drives: tuple[str, ...]


_COMMANDS: Final = ("cancel", "amend", "replace", "cancel_all")
_SENDERS: Final = ("place", *_COMMANDS)

POINTS: Final[Mapping[str, Point]] = {
    # Dispatch: no entry is in a lane task's hands.
    "take.before": Point("about to ask Redis for lanes", ("process",)),
    "take.answered": Point("lanes were given and no task runs them yet", ("process",)),
    "reap.done": Point("lanes of dead workers were taken over by this call of take", ("process",)),
    "heartbeat.before": Point("about to renew the lease", ("process",)),
    "heartbeat.answered": Point("the lease was renewed, the worker does not know it yet", ("process",)),
    "release.before": Point("shutting down, no lane was given back yet", ("process",)),
    "release.answered": Point("every lane was given back, the process still lives", ("process",)),
    # One entry, from the moment a task has it.
    "lane.taken": Point("an entry is in hand, not even decoded", ("any",)),
    "lane.decoded": Point("the entry was decoded and is about to be judged", ("any",)),
    "think.seen": Point("the lane was looked at, nothing was decided about it", ("think",)),
    "think.decided": Point(
        "a rule found something to do about entries that wait, nothing was written", ("think",)
    ),
    "think.done": Point("what a rule decided was carried out", ("think",)),
    "withdraw.decided": Point(
        "a cancel is about to take its target out of the order that it was merged into", ("withdraw",)
    ),
    "withdraw.done": Point("it was taken out, and the cancel has ended", ("withdraw",)),
    "give_way.before": Point("something is to go before the entry in hand", ("give_way",)),
    "give_way.done": Point("the entry in hand is back in its lane, whose head was given", ("give_way",)),
    "batch.paid": Point("orders that go together are begun and paid for, nothing was sent", ("batch",)),
    "batch.replied": Point("the answer to a batch was read, no lane has heard of it", ("batch",)),
    "sweep.found": Point("a cancel-all knows what waits in the account's other lanes", ("account",)),
    "sweep.ended": Point("what waited in one of them has ended, unsent; in others not yet", ("account",)),
    "sweep.awaited": Point("what was in work there has come to an end, off the book", ("account",)),
    "place.normalized": Point("the order fits the market, no token was taken", ("place", "replace")),
    "place.admitted": Point("about to take its tokens and to write begin, in one step", ("place", "replace")),
    "place.begun": Point("SUBMITTED is on record, nothing was sent", ("place", "replace", "think")),
    "place.replied": Point("the exchange's answer was read and understood", ("place", "replace")),
    "command.admitted": Point("about to take a command's tokens and to write begin, in one step", _COMMANDS),
    "command.begun": Point("a command is on record, nothing was sent", _COMMANDS),
    "command.replied": Point("the answer to a command was read and understood", _COMMANDS),
    "exchange.request_sent": Point(
        "the last byte of a request left, no byte of an answer was read", (*_SENDERS, "think")
    ),
    "exchange.reply_arrived": Point(
        "the answer's last byte was read, nothing of it was understood", _SENDERS
    ),
    "unknown.before": Point("the outcome is not known, and that is not on record", _SENDERS),
    "unknown.marked": Point("UNKNOWN is on record, the exchange was not asked yet", _SENDERS),
    "resolve.before": Point("about to ask the exchange what became of a request", ("place", "replace")),
    "resolve.asked": Point(
        "the exchange said what it knows, nothing of it is on record", ("place", "replace")
    ),
    "resolve.absent": Point("absence is proven, nothing was sent again", ("place", "replace", "think")),
    # An entry that Redis may have forgotten the work on.
    "recall.before": Point("about to ask for what Redis may have forgotten; its entry waits", ("forgotten",)),
    "recall.absent": Point("the exchange has no such order, nothing of that is on record", ("forgotten",)),
    "recall.listed": Point(
        "the exchange said which orders it has beside what Redis knows, nothing was compared", ("forgotten",)
    ),
    "recall.claimed": Point(
        "an order is on record as holding the amount of an intent, which still waits", ("forgotten",)
    ),
    "target.asked": Point("the exchange said how a command's target stands, not on record", _COMMANDS),
    "target.noted": Point("the target's record is up to date, the command's is not", _COMMANDS),
    "replace.cancelled": Point("the target is cancelled, its successor is not named", ("replace",)),
    "replace.named": Point("the successor is named, and not placed", ("replace",)),
    "record.before": Point("the outcome is known, and not on record", _SENDERS),
    "record.done": Point("the outcome is on record and the entry ended; its answer was not read", ("any",)),
    # The scheduler's sync.
    "sync.asked": Point("the exchange listed an account's open orders, nothing is on record", ("process",)),
    "sync.noted": Point("one order was brought up to date by the sync, others were not", ("process",)),
    "stuck.asking": Point("a stuck order's question is noted, and not sent", ("process",)),
    "stuck.asked": Point("the exchange said how a stuck order stands, nothing is on record", ("process",)),
    "stuck.ended": Point("a stuck order's end is on record, its watch is still kept", ("process",)),
    "stuck.told": Point("an order was told to be stuck, others were not", ("process",)),
    # The user streams.
    "stream.opened": Point("a user stream is open, nothing was asked or told yet", ("stream",)),
    "stream.gap": Point("about to ask for what a gap in the stream may have hidden", ("stream",)),
    "stream.orders_read": Point(
        "orders were brought up to date after a gap, fills were not asked for", ("stream",)
    ),
    "stream.trades_read": Point("a page of past fills was read, nothing of it is on record", ("stream",)),
    "stream.received": Point("messages were received, nothing of them is on record", ("stream",)),
    "stream.noted": Point("an order's new fills are noted and told, its state is not on record", ("stream",)),
    "stream.written": Point("an order's state is on record as the stream told it", ("stream",)),
    # What stops new placements, and lets them go again.
    "standing.before": Point("about to declare a standing, to change it or to lift it", ("standing",)),
    "standing.written": Point(
        "a standing was changed, with its event; its answer was not heeded", ("standing",)
    ),
    "standing.probing": Point("this worker is the one that probes, and has asked nothing yet", ("standing",)),
    "standing.probed": Point("a probe was answered or has failed, nothing of it stands yet", ("standing",)),
    # Orders without a record, and the agreement at a start.
    "external.seen": Point("an order of others was met, nothing of it is noted", ("reconcile",)),
    "external.noted": Point("an order of others is noted and told, and has its record", ("reconcile",)),
    "external.lost": Point("lost records are known, none was rebuilt", ("reconcile",)),
    "external.rebuilt": Point("a lost record is on record again, others are not", ("reconcile",)),
    "reconcile.opened": Point(
        "a pool that starts has closed its accounts, no worker has joined it", ("reconcile",)
    ),
    "reconcile.held": Point(
        "an account is this worker's to bring to agreement, nothing was asked", ("reconcile",)
    ),
    "reconcile.listed": Point("an account's open orders were listed, nothing is on record", ("reconcile",)),
    "reconcile.asked": Point(
        "an order that the list lacks was asked for, the answer is not on record", ("reconcile",)
    ),
    "reconcile.agreed": Point("an account is in agreement, and still closed", ("reconcile",)),
    # Positions and balances.
    "positions.read": Point(
        "the exchange told positions and balances, nothing of it is judged", ("positions",)
    ),
    "positions.judged": Point("a drift is confirmed, nothing of it is on record", ("positions",)),
    "positions.corrected": Point(
        "a figure is corrected and told, the comparison is not noted", ("positions",)
    ),
    # The archiver.
    "archive.migrated": Point("the schema is up to date and not committed", ("archive",)),
    "archive.read": Point("events were read from Redis, nothing of them is in the archive", ("archive",)),
    "archive.written": Point("a batch and its position are written and not committed", ("archive",)),
    "archive.committed": Point("a batch is committed, nobody was told", ("archive",)),
    "archive.told": Point("the event about a flaw in the history is published, not on record", ("archive",)),
    "archive.published": Point("Redis knows how far the archive has come", ("archive",)),
}
"""Every point, by name, in the order in which an intent passes them."""


class FailpointRaised(RuntimeError):
    """An armed point raised, as a bug of the pool's own would."""


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall happen at a point.

    `token` names a file in the folder of tokens: whoever creates it carries the action out, once for all processes
    that share the folder (`times` tokens: that often). `at`: only from the n-th time on that a process reaches
    the point. `about`: only while all of these are among what the point is about (the lane, the intent's id, the
    operation). `probability`: by chance, drawn from `seed`. `seconds`: how long to block.
    """

    point: str
    action: Literal["kill", "stop", "block", "raise"]
    token: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$")]
    times: Annotated[int, Meta(ge=1)] = 1
    at: Annotated[int, Meta(ge=1)] = 1
    about: tuple[str, ...] = ()
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: int = 0
    seconds: float = 0.0


class Arming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the variable, as JSON: the folder of tokens (absolute) and the arms."""

    folder: str
    arms: tuple[Arm, ...]


class Struck(Struct, frozen=True, kw_only=True):
    """What a token's file holds: what struck, where and when (ms since the epoch)."""

    point: str
    action: str
    pid: int
    at_ms: int
    about: tuple[str, ...]


class _Armed:
    def __init__(self, arming: Arming) -> None:
        self._folder = Path(arming.folder)
        self._arms: dict[str, list[Arm]] = defaultdict(list)
        self._reached: dict[str, int] = defaultdict(int)
        self._chances: dict[str, random.Random] = {}
        for arm in arming.arms:
            if arm.point not in POINTS:
                raise ValueError(f"{VARIABLE} arms {arm.point!r}, and there is no such point")
            self._arms[arm.point].append(arm)
            self._chances[arm.token] = random.Random(f"{arm.seed}/{arm.point}/{arm.token}")

    def reach(self, point: str, about: tuple[str, ...]) -> None:
        if point not in POINTS:
            raise ValueError(f"{point!r} is not among common.failpoints.POINTS: add it there")
        arms = self._arms.get(point)
        if not arms:
            return
        intent = _intent_of_task()
        about = (*about, intent) if intent else about
        for arm in arms:
            if all(one in about for one in arm.about) and self._is_due(arm):
                token = self._win_token(arm, about)
                if token:
                    _act(arm)

    def _is_due(self, arm: Arm) -> bool:
        self._reached[arm.token] += 1
        if self._reached[arm.token] < arm.at:
            return False
        return arm.probability >= 1 or self._chances[arm.token].random() < arm.probability

    def _win_token(self, arm: Arm, about: tuple[str, ...]) -> bool:
        struck = Struck(
            point=arm.point,
            action=arm.action,
            pid=os.getpid(),
            at_ms=time.time_ns() // 1_000_000,
            about=about,
        )
        for number in range(arm.times):
            path = self._folder / (f"{arm.token}.{number}" if arm.times > 1 else arm.token)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            os.write(descriptor, msgspec.json.encode(struck))
            os.close(descriptor)
            return True
        return False


def _intent_of_task() -> str:
    from common.telemetry.fields import current_fields

    return str(current_fields().get("intent", ""))


def _act(arm: Arm) -> None:
    if arm.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif arm.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.01)  # with several threads the signal may be another's to take: be no further by then
    elif arm.action == "block":
        time.sleep(arm.seconds)
    else:
        raise FailpointRaised(f"failpoint {arm.point}")


_armed: _Armed | None = None


def reach(point: str, *about: str) -> None:
    """Say that `point` is reached; `about` names what it concerns, besides the intent of the running task."""
    if _armed is not None:
        _armed.reach(point, about)


def armed() -> bool:
    """Whether this process was started with points armed."""
    return _armed is not None


def require_paper(endpoint: str) -> None:
    """Refuse to go on when points are armed in a process that could trade.

    Raises:
        ValueError: they are, and the endpoint is not the paper exchange.
    """
    if _armed is not None and endpoint != "paper":
        raise ValueError(
            f"{VARIABLE} is set, which is for the paper exchange alone, and the endpoint is {endpoint!r}"
        )


def arm_from(environ: Mapping[str, str]) -> None:
    """Arm what the environment says, or nothing: called once, when a process starts.

    Raises:
        msgspec.ValidationError, ValueError: the variable's content is wrong.
    """
    global _armed
    text = environ.get(VARIABLE, "")
    _armed = _Armed(msgspec.json.decode(text, type=Arming)) if text else None


arm_from(os.environ)
