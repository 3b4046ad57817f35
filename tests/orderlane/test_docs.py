"""The pages on the client and the command say what is true: their examples are run, their tables compared."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import orderlane
from orderlane.async_client import AsyncClient
from orderlane.cli.app import group
from orderlane.cli.exits import MEANINGS
from orderlane.client import Client
from orderlane.errors import OrderlaneError
from orderlane.external import ExternalAction, ExternalOrder, encode_external
from orderlane.identity import external_intent_id
from orderlane.intents import decode_intent
from orderlane.orders import OrderStatus
from tests.orderlane.played_pool import PlayedPool, an_intent

DOCS = Path(__file__).resolve().parents[2] / "docs"
CLIENT = (DOCS / "client.md").read_text()
COMMAND = (DOCS / "cli.md").read_text()


OF_OTHERS = ExternalOrder(
    id=external_intent_id("BTC/USDT:USDT", "8389765"), account="main", symbol="BTC/USDT:USDT",
    exchange_order_id="8389765", client_order_id="web_3fJk2",
    action=ExternalAction.ADOPT, side="buy", type="limit", amount=Decimal("0.02"),
    price=Decimal(50_000), created_at=1_795_284_261_000,
)  # fmt: skip


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, as cells."""
    lines = text[text.index(heading) :].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    end = next((i for i, line in enumerate(lines) if rows[0] in line), 0)
    found = []
    for line in lines[end:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found[2:]


@pytest.fixture
def acknowledging(redis_url: str) -> Iterator[None]:
    """A pool that puts every placed order on the book as soon as it is in the stream."""
    done = threading.Event()

    def work() -> None:
        pool = PlayedPool(redis_url)
        pool.register()
        begun = set()
        while not done.is_set():
            for payload in pool.payloads():
                intent = decode_intent(payload)
                if intent.id not in begun:
                    begun.add(intent.id)
                    pool.advance(intent, OrderStatus.ACTIVE)
            time.sleep(0.01)
        pool.close()

    worker = threading.Thread(target=work)
    worker.start()
    yield
    done.set()
    worker.join()


@pytest.mark.usefixtures("acknowledging")
def test_the_examples_of_the_client_run_as_they_stand(
    redis_url: str, pool: PlayedPool, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.advance(an_intent(OF_OTHERS.id), OrderStatus.ACTIVE, external=True)
    names: dict[str, Any] = {}
    for block in blocks(CLIENT, "python"):
        exec(block.replace("redis://localhost:6379/0", redis_url), names)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["QUEUED False", "ACTIVE  None"]
    assert said[2:5] == ["ladder-0", "ladder-1", "ladder-2"]
    assert said[5] == "still ACTIVE"
    assert said[-1] == "cancel:grid-1:1"
    assert {b"63500", b"63000"} == {
        price for price in (b"63500", b"63000") if any(price in sent for sent in pool.payloads())
    }
    assert sum(OF_OTHERS.id.encode() in sent for sent in pool.payloads()) == 2


def test_every_call_and_every_error_of_the_client_is_on_its_page() -> None:
    calls = {name for name in vars(Client) if not name.startswith("_")}
    named = {match for row in table(CLIENT, "## Calls") for match in re.findall(r"^`(\w+)\(", row[0])}
    assert named == calls
    assert calls == {name for name in vars(AsyncClient) if not name.startswith("_")}
    listed = {name for row in table(CLIENT, "## Errors") for name in re.findall(r"`(\w+)`", row[0])}
    errors = {
        name
        for name in orderlane.__all__
        if isinstance(kind := getattr(orderlane, name), type) and issubclass(kind, Exception)
    }
    assert listed == errors - {OrderlaneError.__name__}


def test_the_examples_of_the_command_print_what_the_page_says(redis_url: str, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(an_intent("filled"), OrderStatus.FILLED)
    pool.raw.hset(pool.keys().external("main"), OF_OTHERS.id, encode_external(OF_OTHERS))
    letter = {"entry": "5-0", "reason": '{"code":"malformed_json","message":"m"}', "at": 5}
    dead = pool.raw.xadd(pool.keys().dead, letter | {"payload": pool.encoded("dead")}).decode()
    for block in blocks(COMMAND, "console"):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, expected = example.partition("\n")
            said = _run(line.replace("1700000000000-0", dead), redis_url)
            if expected:
                assert re.match(_pattern(expected), said), f"{line}\n{said}"


def _run(line: str, redis_url: str) -> str:
    given, _, command = line.rpartition(" | ")
    words = shlex.split(command)
    assert words[0] == "orderlane"
    stdin = "\n".join(shlex.split(given)[2:]) if given else ""
    environment = {"ORDERLANE_REDIS_URL": redis_url, "COLUMNS": "100"}
    result = CliRunner(env=environment).invoke(group, words[1:], input=stdin)
    assert given or result.exit_code == 0, f"{line}\n{result.output}"
    return re.sub(r" +$", "", result.stderr + result.stdout, flags=re.MULTILINE)


def _pattern(expected: str) -> str:
    """What a page shows, where the ids and times are examples and `…` is anything."""
    pattern = re.escape(expected.rstrip("\n")).replace("1700000000000\\-0", r"\d+-\d+")
    return re.sub("…", "(?s:.*)", pattern)


def test_the_exit_codes_on_the_page_are_those_of_the_command() -> None:
    rows = table(COMMAND, "## Exit codes")
    assert {int(code): text for code, text in rows} == {code.value: text for code, text in MEANINGS.items()}


def test_every_command_and_every_shared_option_is_on_the_page() -> None:
    context = click.Context(group)
    for name, command in group.commands.items():
        assert f"orderlane {name}" in COMMAND or f"`{name}`" in COMMAND, name
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                assert f"orderlane {name} {inner}" in COMMAND, inner
    shared = [
        one for one in group.params if isinstance(one, click.Option) and one.name not in ("version", "help")
    ]
    page = "\n".join(" ".join(row) for row in table(COMMAND, "# The `orderlane` command"))
    for option in shared:
        assert option.opts[0] in page
        for variable in option.envvar or ():
            assert variable in page


def test_every_option_the_page_speaks_of_exists() -> None:
    known = {
        flag
        for command in [group, *group.commands.values()]
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ()))
        for parameter in one.params
        for flag in parameter.opts
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", COMMAND)) - known == {"--help"}
