"""The chaos harness: what it promises on its command line, that it sees what is wrong, and that it cleans up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import psutil
import pytest

from common.failpoints import POINTS
from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from orderlane.identity import client_order_id
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus
from scripts.chaos import as_json
from scripts.harness.chaos.books import Booked, mismatches
from scripts.harness.chaos.catalogue import SCENARIOS
from scripts.harness.chaos.crowds import STRUCK_BY_TESTS
from scripts.harness.chaos.judging import POOL, rule
from scripts.harness.chaos.matrix import BEHAVIOURS, ROUTES, batches, cells, sample, seats
from scripts.harness.chaos.matrix import COINS as MATRIX_COINS
from scripts.harness.chaos.proxy import Proxy
from scripts.harness.chaos.redis_faults import cut_off, known_to
from scripts.harness.chaos.running import Outcome
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import Options, repeat_command
from scripts.harness.material import Appended
from scripts.harness.processes import ROOT

KEYS = [
    "intents",
    "accepted",
    "refused",
    "unknown",
    "lost",
    "duplicated",
    "out_of_order",
    "stuck",
    "mismatched",
    "leaked_keys",
    "faults",
    "recovery_ms_p50",
    "recovery_ms_max",
    "seconds",
]


def chaos(*options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", str(ROOT / "scripts" / "chaos.py"), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=240,
        check=False,
    )


def order(status: OrderStatus, filled: str = "0") -> Order:
    intent = PlaceOrder(
        id="a", exchange="binance", account="main", symbol="BTC/USDT:USDT", side=Side.BUY, type=OrderType.MARKET,
        amount=Decimal("0.003"),
    )  # fmt: skip
    return Order(
        client_order_id="x", intent=intent, status=status, exchange_order_id="1", amount=Decimal("0.003"),
        filled=Decimal(filled),
    )  # fmt: skip


def test_the_list_names_every_scenario() -> None:
    listed = chaos("--list").stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == list(SCENARIOS)


def test_an_unknown_scenario_is_refused_by_name() -> None:
    done = chaos("sunshine")
    assert done.returncode == 2
    assert b"sunshine" in done.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("death", "--only", "place:nosuch:accepts"), b"place:nosuch:accepts"),
        (("network", "--only", "place"), b"--only"),
        (("death", "--minutes", "2"), b"--minutes"),
        (("storm", "--minutes", "0"), b"--minutes"),
        (("network", "--rate", "-3"), b"--rate"),
        (("redis-kill", "--cluster"), b"redis-kill"),
        ((), b"--all"),
    ],
)
def test_what_would_test_nothing_is_refused(options: tuple[str, ...], named: bytes) -> None:
    done = chaos(*options)
    assert done.returncode == 2
    assert named in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_command_that_repeats_a_run_has_every_option() -> None:
    options = Options(
        seed=5, intents=7, workers=3, minutes=2, rate=0.5, cluster=True, uses=frozenset({"minutes"})
    )
    assert repeat_command("storm", options, "place:x:y@alt/ETH") == (
        "scripts/chaos storm --seed 5 --intents 7 --workers 3 --rate 0.5 --minutes 2 --cluster "
        "--only place:x:y@alt/ETH"
    )


def test_a_cell_repeated_alone_is_the_same_as_in_its_run() -> None:
    prices = dict.fromkeys(
        (f"{coin}/USDT{suffix}" for coin in MATRIX_COINS for suffix in ("", ":USDT")), Decimal(10)
    )
    for batch in batches(sample(cells(), 60, 3)):
        for seat in seats(batch, 0, prices, 3):
            [again] = seats(cells(seat.name), seat.number, prices, 3, seat.name)
            assert again == seat


@pytest.mark.parametrize("lost", range(0, 160, 7))
def test_an_append_only_file_is_never_cut_within_a_transaction(tmp_path: Path, lost: int) -> None:
    def command(*words: bytes) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

    parts = [
        command(b"SET", b"a", b"1"),
        command(b"MULTI") + command(b"SET", b"b", b"*1\r\n$4\r\nEXEC\r\n") + command(b"EXEC"),
        command(b"SET", b"c", b"3"),
    ]
    file = tmp_path / "appendonly.aof"
    file.write_bytes(b"".join(parts))
    gone = cut_off(file, lost)
    assert gone >= lost or not file.read_bytes()
    assert file.read_bytes() in [b"".join(parts[:count]) for count in range(len(parts) + 1)]


def test_the_matrix_has_every_point_that_an_intent_passes_times_every_behaviour() -> None:
    every = cells()
    passed = {name for name, point in POINTS.items() if set(point.drives) & {*ROUTES, "any"}}
    assert {cell.point for cell in every} == passed
    assert len(every) == len(set(every)) == len({(cell.kind, cell.point) for cell in every}) * len(BEHAVIOURS)


def test_every_point_is_struck_by_a_scenario_or_by_the_tests_that_are_named_for_it() -> None:
    matrix = {cell.point for cell in cells()}
    left = {name: point for name, point in POINTS.items() if name not in matrix}
    by_tests = {drive for point in left.values() for drive in point.drives if drive != "process"}
    assert by_tests == set(STRUCK_BY_TESTS)
    for drive, path in STRUCK_BY_TESTS.items():
        text = (ROOT / path).read_text()
        of_drive = [name for name, point in left.items() if drive in point.drives]
        missing = [name for name in of_drive if f'"{name}"' not in text]
        assert not missing or f'if "{drive}" in point.drives' in text, (path, missing)


def test_a_proxy_says_something_else_in_the_server_s_place() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Proxy(
            "relay", server.getsockname()[1], 1, says_instead={b"$5\r\n20001\r\n": b"$5\r\n40002\r\n"}
        ) as relay,
        socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"$4\r\nport\r\n$5\r\n20001\r\n$5\r\n20003\r\n")
            said = b""
            while len(said) < 32:
                said += client.recv(100)
    assert said == b"$4\r\nport\r\n$5\r\n40002\r\n$5\r\n20003\r\n"


def test_a_sample_is_the_same_for_a_seed_and_meets_every_row_once_it_can() -> None:
    every = cells()
    rows = {(cell.kind, cell.point) for cell in every}
    chosen = sample(every, len(rows), 3)
    assert chosen == sample(every, len(rows), 3)
    assert {(cell.kind, cell.point) for cell in chosen} == rows
    assert {cell.behaviour for cell in chosen} == set(BEHAVIOURS)


def test_cells_side_by_side_never_share_a_lane() -> None:
    prices = dict.fromkeys(
        (f"{coin}/USDT{suffix}" for coin in MATRIX_COINS for suffix in ("", ":USDT")), Decimal(10)
    )
    for batch in batches(cells()):
        seated = seats(batch, 0, prices, 1)
        assert len({(seat.subject.exchange, seat.lane) for seat in seated}) == len(seated)


@pytest.mark.parametrize(
    ("status", "filled", "booked", "wrong"),
    [
        (OrderStatus.FILLED, "0.003", ("FILLED", "0.003"), False),
        (OrderStatus.ACTIVE, "0", ("FILLED", "0.003"), True),
        (OrderStatus.FILLED, "0.002", ("FILLED", "0.003"), True),
        (OrderStatus.ACTIVE, "0", None, True),
        (OrderStatus.UNKNOWN, "0", ("FILLED", "0.003"), False),
    ],
)
def test_the_books_are_compared_order_by_order(
    status: OrderStatus, filled: str, booked: tuple[str, str] | None, wrong: bool
) -> None:
    books = [Booked("x", booked[0], Decimal("0.003"), Decimal(0), Decimal(booked[1]))] if booked else []
    assert bool(mismatches({"x": order(status, filled)}, books)) is wrong


def test_the_judge_sees_what_was_lost_left_over_and_leaked(tmp_path: Path) -> None:
    intent = order(OrderStatus.ACTIVE).intent
    name = client_order_id("orderlane", intent.exchange, intent.account, intent.id)
    with Stage("test", Options(), tmp_path / "stage") as stage:
        keys = stage.keys()
        entry = stage.client.xadd(keys.intents, {"intent": msgspec.json.encode(intent)})
        stage.client.hset(keys.owners, "main|BTC/USDT:USDT", f"gone:1:a#1@{entry.decode()}")  # type: ignore[union-attr]
        stage.client.set("orderlane:{binance}:surprise", "1")
        ruling = rule(stage.pool, stage.client, [Appended("binance", entry.decode(), name, intent)])  # type: ignore[union-attr]
        assert not ruling.holds
        assert (ruling.verdict.lost, ruling.stuck, ruling.leaked) == (1, 2, 1)


def test_an_entry_is_known_by_its_exchange_too(tmp_path: Path) -> None:
    def appended(exchange: str, entry: str) -> Appended:
        return Appended(exchange, entry, f"{exchange}/{entry}", order(OrderStatus.ACTIVE).intent)

    with EmbeddedRedis(tmp_path / "redis") as server, connect(server.url) as client:
        client.xadd(Keys("binance", POOL).intents, {"intent": "{}"}, id="1-1")
        known = known_to(server, [appended("binance", "1-1"), appended("binance-spot", "1-1")])
    assert known == {("binance", "1-1")}


def test_the_closing_line_sums_up_every_run() -> None:
    runs = [
        Outcome(intents=3, accepted=2, refused=1, faults=4, recoveries_ms=(10.0, 30.0), seconds=1.5),
        Outcome(intents=5, lost=1, duplicated=2, recoveries_ms=(20.0,), seconds=2.0, holds=False),
    ]
    closing = json.loads(as_json(runs))
    assert list(closing) == KEYS
    assert (closing["intents"], closing["lost"], closing["duplicated"], closing["faults"]) == (8, 1, 2, 4)
    assert (closing["recovery_ms_p50"], closing["recovery_ms_max"], closing["seconds"]) == (20.0, 30.0, 3.5)


def test_a_killed_harness_takes_every_process_with_it(tmp_path: Path) -> None:
    holder = (
        "import sys, time\nfrom pathlib import Path\nfrom scripts.harness.chaos.stage import Stage\n"
        "from scripts.harness.chaos.terms import Options\n"
        "with Stage('test', Options(), Path(sys.argv[1])) as stage:\n"
        "    stage.start_scheduler(), stage.open_house(), print('open', flush=True), time.sleep(600)\n"
    )
    harness = psutil.Popen(
        [sys.executable, "-P", "-c", holder, str(tmp_path / "stage")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert harness.stdout.readline() == b"open\n"
        started = harness.children(recursive=True)
    finally:
        harness.kill()
        harness.wait()
        harness.stdout.close()
    assert len(started) >= len(("redis", "paper", "nursery", "scheduler", "worker", "worker"))
    _, living = psutil.wait_procs(started, timeout=20)
    for process in living:
        process.kill()
    assert living == []
