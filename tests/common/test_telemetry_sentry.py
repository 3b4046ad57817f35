"""What Sentry gets: errors with their tags, and none of our secrets."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from common.config import load_settings
from common.secrets import Secret
from common.telemetry import log_context, start_telemetry, traced
from common.telemetry.sentry import FloodGate
from tests.common.sentry_capture import CapturingTransport

ROOT = Path(__file__).parents[2]
DSN = "https://publickeyofsentry@sentry.example/1"
log = logging.getLogger("tests.sentry")


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[CapturingTransport]:
    transport = CapturingTransport()
    settings = load_settings(None, {"SENTRY_DSN": DSN, "REDIS_URL": "redis://:redis-pass-4471@h/0"})
    with (tmp_path / "log").open("w") as stream:
        telemetry = start_telemetry(settings, process="test", stream=stream, transport=transport)
        yield transport
        telemetry.stop()


def events(transport: CapturingTransport) -> list[dict[str, Any]]:
    return [json.loads(envelope.splitlines()[2]) for envelope in transport.sent]


def test_an_error_arrives_with_its_exception_level_environment_and_tags(sent: CapturingTransport) -> None:
    with log_context(exchange="binance", account="main", intent="i-1"):
        try:
            raise ValueError("what went wrong")
        except ValueError:
            log.exception("order failed", extra={"symbol": "BTC/USDT", "strategy": "grid"})
    (event,) = events(sent)
    assert event["exception"]["values"][0]["value"] == "what went wrong"
    assert (event["level"], event["environment"], event["logger"]) == ("error", "paper", "tests.sentry")
    assert event["tags"] == {
        "exchange": "binance",
        "account": "main",
        "symbol": "BTC/USDT",
        "strategy": "grid",
    }


def test_lesser_lines_are_not_sent_but_warnings_go_along_as_breadcrumbs(sent: CapturingTransport) -> None:
    log.info("not of interest")
    log.warning("a hint")
    assert sent.sent == []
    log.error("the error")
    (event,) = events(sent)
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]][-1] == "a hint"
    assert "not of interest" not in sent.text


def test_planted_secrets_are_in_no_envelope(sent: CapturingTransport) -> None:
    planted = ["redis-pass-4471", "api-key-of-sentry-test", "api/secret+of=sentry test"]
    for word in planted[1:]:
        Secret(word)
    for number, word in enumerate(planted):
        local = {"key": word}
        log.warning("breadcrumb %s", word, extra={"headers": local})
        sentry_sdk.add_breadcrumb(message=word, data={"url": f"https://h/?apiKey={word}", word: 1})
        try:
            try:
                raise ConnectionError(f"https://user:{word}@h/order", {"Authorization": word})
            except ConnectionError as cause:
                raise RuntimeError(word) from cause
        except RuntimeError as error:
            log.exception(f"failed {number} %s", word, extra={"headers": [local], word: word.encode()})
            with log_context(strategy=word):
                sentry_sdk.capture_exception(KeyError(word, error))
        with sentry_sdk.new_scope() as scope:
            scope.set_context("request", {"body": word})
            scope.set_extra("deep", {"a": [{"b": (word,)}]})
            scope.set_tag("tag", word)
            scope.set_user({"id": word})
            sentry_sdk.capture_message(f"message {number} {word}")
    assert len(sent.sent) == 9
    assert "***" in sent.text
    for word in planted:
        assert word not in sent.text
        assert json.dumps(word)[1:-1] not in sent.text


def test_local_variables_command_line_and_requests_stay_here(sent: CapturingTransport) -> None:
    unannounced = "nobody-announced" + "-this-value"
    try:
        raise ValueError(len(unannounced))
    except ValueError:
        log.exception("failed")
    with sentry_sdk.new_scope() as scope:
        scope.add_event_processor(lambda event, hint: {**event, "request": {"data": unannounced}})
        sentry_sdk.capture_message("with a request")
    assert len(sent.sent) == 2
    assert unannounced not in sent.text
    assert all(
        '"vars"' not in envelope.decode() and "sys.argv" not in envelope.decode() for envelope in sent.sent
    )


def test_traces_are_sent_at_their_rate_tagged_and_scrubbed(tmp_path: Path) -> None:
    transport = CapturingTransport()
    (tmp_path / "orderlane.yaml").write_text(
        "sentry: {traces_sample_rate: 1}\nexchanges: {x: {venue: binance, accounts: {main: {}}}}\n"
    )
    settings = load_settings(tmp_path / "orderlane.yaml", {"SENTRY_DSN": DSN})
    Secret("secret-in-a-trace")
    with (tmp_path / "log").open("w") as stream:
        telemetry = start_telemetry(settings, process="test", stream=stream, transport=transport)
        with traced("pipeline", account="main", strategy="secret-in-a-trace"):
            log.error("inside")
        telemetry.stop()
    error, transaction = events(transport)
    assert (transaction["type"], transaction["transaction"]) == ("transaction", "pipeline")
    assert transaction["tags"] == {"account": "main", "strategy": "***"}
    assert error["contexts"]["trace"]["trace_id"] == transaction["contexts"]["trace"]["trace_id"]
    assert "secret-in-a-trace" not in transport.text


def test_without_traces_traced_only_runs_what_it_is_given(sent: CapturingTransport) -> None:
    with traced("pipeline", account="main"):
        log.error("inside")
    assert [event.get("type") for event in events(sent)] == [None]


def test_an_outage_sends_few_events_of_one_kind_a_minute() -> None:
    now = [0.0]
    gate = FloodGate(3, lambda: now[0])
    record = logging.LogRecord("a", logging.ERROR, "", 0, "failed %s", (1,), None)
    other = logging.LogRecord("a", logging.ERROR, "", 0, "failed otherwise", (), None)
    assert [gate.filter(record) for _ in range(5)] == [True, True, True, False, False]
    assert gate.filter(other)
    now[0] = 60.0
    assert gate.filter(record)


def test_the_flood_gate_is_in_place(sent: CapturingTransport) -> None:
    for _ in range(50):
        log.error("the same again")
    assert len(sent.sent) == 10


def test_without_a_dsn_the_library_of_sentry_is_not_loaded() -> None:
    code = (
        "import sys\nfrom common.config import load_settings\nfrom common.telemetry import start_telemetry, traced\n"
        "start_telemetry(load_settings(None, {}), process='x')\n"
        "with traced('a'): pass\n"
        "sys.exit('sentry_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
