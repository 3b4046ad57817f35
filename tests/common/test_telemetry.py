"""What stands in the logs, in both formats, and under which event loop."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvloop

from common.config import LogSection, Settings, load_settings
from common.secrets import Secret
from common.telemetry import Telemetry, identify_process, log_context, log_transition, start_telemetry
from common.telemetry.formats import JsonFormat, PrettyFormat
from common.telemetry.setup import log_format
from orderlane.events import Event, EventName, order_event
from orderlane.intents import CancelOrder, PlaceOrder, decode_intent
from orderlane.orders import Order, OrderStatus, Reason

ROOT = Path(__file__).parents[2]
log = logging.getLogger("tests.telemetry")


class Logged:
    """Telemetry that writes to a file, and what it has written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stream = path.open("w")
        self.telemetry: Telemetry | None = None

    def start(self, **environ: str) -> None:
        self.telemetry = start_telemetry(settings(**environ), process="test", stream=self.stream)

    @property
    def text(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return self.path.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def stop(self) -> None:
        if self.telemetry is not None:
            self.telemetry.stop()
        self.stream.close()


def settings(**environ: str) -> Settings:
    return load_settings(None, environ)


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Logged]:
    logged = Logged(tmp_path / "log")
    yield logged
    logged.stop()


def place(strategy: str = "grid") -> PlaceOrder:
    text = {"kind": "place", "id": "grid-1", "exchange": "binance", "account": "main", "symbol": "BTC/USDT"}
    text |= {"side": "buy", "type": "limit", "amount": "0.5", "price": "64000", "strategy": strategy}
    intent = decode_intent(json.dumps(text).encode())
    assert isinstance(intent, PlaceOrder)
    return intent


def transition(status: OrderStatus, before: OrderStatus, **more: Any) -> Event:
    order = Order(client_order_id="c" * 25, intent=place(), status=status, exchange_order_id="77", **more)
    return order_event(order, before, at=1, worker="host:1:ab")


def test_a_transition_is_one_json_line_with_all_that_names_the_order(logged: Logged) -> None:
    logged.start()
    log_transition(
        transition(OrderStatus.PARTIAL, OrderStatus.ACTIVE, filled=Decimal("0.10"), average=Decimal(64000))
    )
    (line,) = logged.lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "order.partial",
        "logger": "orderlane.orders",
        "process": "test",
        "intent": "grid-1",
        "exchange": "binance",
        "account": "main",
        "symbol": "BTC/USDT",
        "strategy": "grid",
        "client_order_id": "c" * 25,
        "order_id": "77",
        "from": "ACTIVE",
        "to": "PARTIAL",
        "filled": "0.10",
        "average": "64000",
        "worker": "host:1:ab",
    }


def test_an_unknown_outcome_is_a_warning_with_its_reason_and_nothing_empty_is_written(logged: Logged) -> None:
    logged.start(ORDERLANE_LOG_LEVEL="warning")
    log_transition(transition(OrderStatus.ACTIVE, OrderStatus.SUBMITTED))
    log_transition(
        transition(OrderStatus.UNKNOWN, OrderStatus.SUBMITTED, reason=Reason("timeout", "no answer in 10 s"))
    )
    log_transition(Event(name=EventName.SYSTEM_ERROR, at=1))
    unknown, system = logged.lines
    assert (unknown["level"], unknown["reason"], unknown["detail"]) == (
        "warning",
        "timeout",
        "no answer in 10 s",
    )
    assert set(system) == {"time", "level", "event", "logger", "process"}


def test_the_time_is_utc_to_the_millisecond() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None)
    record.created, record.msecs = 1_700_000_000.007, 7.0
    assert json.loads(JsonFormat().format(record))["time"] == "2023-11-14T22:13:20.007Z"
    assert PrettyFormat(colours=False).format(record) == "22:13:20.007 INFO     hello"


def test_fields_come_from_the_process_the_task_and_the_call_and_the_nearest_wins(logged: Logged) -> None:
    logged.start()
    identify_process(worker="w1", exchange="binance")
    with log_context(account="main", intent="a"):
        with log_context(intent="b", symbol="S"):
            log.info("inner", extra={"symbol": "T"})
        log.info("outer")
    log.info("after")
    inner, outer, after = logged.lines
    assert (inner["worker"], inner["account"], inner["intent"], inner["symbol"]) == ("w1", "main", "b", "T")
    assert (outer["intent"], "symbol" in outer) == ("a", False)
    assert ("intent" in after, after["exchange"]) == (False, "binance")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tasks_keep_their_fields_apart_and_lost_errors_are_written(
    logged: Logged, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    logged.start()

    async def lane(name: str, mine: asyncio.Event, other: asyncio.Event) -> None:
        with log_context(intent=name):
            other.set()
            await mine.wait()
            log.info("ran")

    async def fails() -> None:
        raise ValueError("nobody awaits this")

    async def main() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(lane("a", one, two), lane("b", two, one))
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        del task

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert {line["intent"] for line in logged.lines if line["event"] == "ran"} == {"a", "b"}
    (lost,) = [line for line in logged.lines if line["logger"] == "asyncio"]
    assert lost["error"]["message"] == "nobody awaits this"


def test_an_error_is_one_line_with_its_type_message_and_traceback(logged: Logged) -> None:
    logged.start()
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise RuntimeError("second\nline") from error
    except RuntimeError:
        log.exception("it failed", extra={"error": "mine"})
    (line,) = logged.lines
    assert (line["error"]["type"], line["error"]["message"], line["error_"]) == (
        "RuntimeError",
        "second\nline",
        "mine",
    )
    assert "KeyError: 'first'" in line["error"]["traceback"]
    assert "RuntimeError: second" in line["error"]["traceback"]


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    ["\ud800", float("nan"), 10**400, Unprintable(), {1: object()}, b"\xff", {"a": {"b": [Decimal("1.5")]}}],
)
@pytest.mark.parametrize("log_as", ["json", "pretty"])
def test_whatever_is_logged_a_line_comes_out(logged: Logged, value: object, log_as: str) -> None:
    logged.start(ORDERLANE_LOG_FORMAT=log_as)
    log.info("field", extra={"value": value})
    log.info("argument %s", value)
    mistaken = "wrong %d %d"
    log.info(mistaken, "argument")
    log.error("error", exc_info=RuntimeError(value))
    assert all(word in logged.text for word in ("field", "argument", "wrong", "error", "RuntimeError"))
    if log_as == "json":
        assert len(logged.lines) == 4


def test_an_intent_can_not_forge_a_line_or_a_field_or_move_a_cursor(logged: Logged) -> None:
    evil = 'x"\n{"event":"order.filled"}\r\x1b[2J'
    logged.start()
    log.info("seen", extra={"strategy": evil, "level": "critical", "event": "forged"})
    (line,) = logged.lines
    assert (line["event"], line["level"], line["strategy"]) == ("seen", "info", evil)
    assert (line["event_"], line["level_"]) == ("forged", "critical")
    record = log.makeRecord("x", logging.INFO, "", 0, evil, (), None, extra={"strategy": evil})
    for colours in (False, True):
        pretty = PrettyFormat(colours=colours).format(record)
        assert "\n" not in pretty
        assert "\r" not in pretty
        assert "\x1b[2J" not in pretty


def test_pretty_lines_read_well(logged: Logged) -> None:
    logged.start(ORDERLANE_LOG_FORMAT="pretty")
    log_transition(transition(OrderStatus.ACTIVE, OrderStatus.SUBMITTED))
    (line,) = logged.text.splitlines()
    assert (
        " INFO     order.acknowledged SUBMITTED -> ACTIVE process=test intent=grid-1 exchange=binance "
        in line
    )
    assert "\x1b" not in line


def test_auto_is_pretty_in_a_terminal_and_json_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = os.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    with os.fdopen(master), os.fdopen(slave, "w") as terminal, (tmp_path / "file").open("w") as file:
        in_terminal = log_format(LogSection(), terminal)
        assert isinstance(in_terminal, PrettyFormat)
        assert in_terminal.colours
        assert isinstance(log_format(LogSection(), file), JsonFormat)
        assert isinstance(log_format(LogSection(format="json"), terminal), JsonFormat)
        assert isinstance(log_format(LogSection(format="pretty"), file), PrettyFormat)
        monkeypatch.setenv("NO_COLOR", "1")
        without_colours = log_format(LogSection(), terminal)
        assert isinstance(without_colours, PrettyFormat)
        assert not without_colours.colours


def test_warnings_are_written_and_stop_leaves_logging_as_it_was(logged: Logged) -> None:
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook)
    before, level = root.handlers[:], root.level
    logged.start(ORDERLANE_LOG_LEVEL="debug")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    assert "old way" in logged.text
    assert logged.telemetry is not None
    logged.telemetry.stop()
    assert (root.handlers, root.level, (sys.excepthook, sys.unraisablehook)) == (before, level, hooks)


@pytest.mark.parametrize("log_as", ["json", "pretty"])
def test_planted_secrets_are_in_no_log_line_wherever_they_come_from(logged: Logged, log_as: str) -> None:
    planted = {name: f"planted-{log_as}-{name}-b7c9" for name in ("key", "secret", "redis", "dsn")}
    logged.start(
        ORDERLANE_LOG_FORMAT=log_as,
        ORDERLANE_LOG_LEVEL="debug",
        REDIS_URL=f"redis://:{planted['redis']}@127.0.0.1:1/0",
    )
    key, secret = Secret(planted["key"]), Secret(planted["secret"])
    Secret(planted["dsn"])
    for word in planted.values():
        log.info("message %s", word, extra={"headers": {"X-MBX-APIKEY": word}, word: "as a name"})
        log.debug("%(url)s", {"url": f"https://user:{word}@host/order?apiKey={word}&signature=0123abcd"})
        log.info("bytes", extra={"body": word.encode(), "list": [word, (word,), {word}]})
        with log_context(strategy=word):
            try:
                try:
                    raise ConnectionError(f"AUTH {word} failed")
                except ConnectionError as cause:
                    cause.add_note(f"note {word}")
                    raise ExceptionGroup(word, [ValueError(word, {"Authorization": word})]) from cause
            except ExceptionGroup:
                log.exception("failed with %r", word)
        log.info("wrong %d", word)
    log.info("objects %s %r", key, secret, extra={"key": key, "settings": [key, secret]})
    text = logged.text
    assert text.count("***") > 40
    for word in planted.values():
        assert word not in text
    assert "0123abcd" not in text


CRASH = """
import sys, threading, logging
from common.config import load_settings
from common.telemetry import start_telemetry
word = "redis-password-" + "of-a-crash"
start_telemetry(load_settings(None, {"REDIS_URL": f"redis://:{word}@h/0"}), process="crash")
logging.getLogger("x").info("the line before")
thread = threading.Thread(target=lambda: 1 / len(""[:0].join([]))if not word else [][int(word)])
thread.start()
thread.join()
class Falls:
    def __del__(self):
        raise RuntimeError(word)
del Falls
Falls = type("Falls", (), {"__del__": lambda self: [][word]})
Falls()
raise SystemError("connect failed: " + word)
"""


def test_what_ends_a_process_or_a_thread_is_a_line_without_secrets_and_all_lines_are_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "the line before",
        "thread.crashed",
        "an error that nobody could catch",
        "process.crashed",
    ]
    assert lines[-1]["error"]["message"] == "connect failed: ***"
    assert "of-a-crash" not in done.stderr + done.stdout


def test_cancel_intents_have_a_line_too(logged: Logged) -> None:
    logged.start()
    intent = CancelOrder(id="c-1", exchange="binance", account="main", symbol="BTC/USDT", target="grid-1")
    log_transition(
        order_event(Order(client_order_id="d" * 25, intent=intent, status=OrderStatus.DONE), None, at=1)
    )
    (line,) = logged.lines
    assert (line["intent"], line["to"], "from" in line) == ("c-1", "DONE", False)
