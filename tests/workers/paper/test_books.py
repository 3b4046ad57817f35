"""What the exchange keeps: its books over a kill -9, its audit, its seeded market."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.paper_process import PaperProcess
from tests.workers.paper.conftest import STILL
from tests.workers.paper.raw import PATHS, order, place, send, signed
from workers.paper.accounts import default_credentials, opened
from workers.paper.calls import Call, parse_parameters
from workers.paper.exchange import Behaviour, Exchange
from workers.paper.faults import Faults
from workers.paper.limits import Limits, ProductLimits, Window
from workers.paper.rules import PRODUCTS
from workers.paper.server import PaperServer, growing_clock
from workers.paper.store import Store

Start = Callable[..., PaperProcess]


def test_a_kill_loses_nothing_that_was_answered(own_paper: Start) -> None:
    paper = own_paper("--step-ms", "20", "--orders-10s", "100000", "--orders-1m", "100000")
    answered: list[tuple[str, int]] = []

    def hammer(worker: int) -> None:
        for number in range(2_000):
            client_id = f"w{worker}-{number}"
            try:
                answer = place(
                    paper, newClientOrderId=client_id, symbol="LTCUSDT", price="70", quantity="0.1"
                )
            except OSError:
                return
            if answer.status == 200:
                answered.append((client_id, answer.body["orderId"]))

    threads = [threading.Thread(target=hammer, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 150 and any(thread.is_alive() for thread in threads):
        threads[0].join(0.01)
    paper.kill()
    for thread in threads:
        thread.join()
    assert len(answered) >= 150
    paper.start()
    kept = {(order["client_order_id"], order["order_id"]) for order in paper.orders()}
    assert set(answered) <= kept
    audited = {(e["client_order_id"], e["order_id"]) for e in paper.audit() if e["executed"]}
    assert audited == kept


async def test_an_answer_leaves_only_once_it_is_on_file(tmp_path: Path) -> None:
    file, now_us = tmp_path / "x.sqlite", growing_clock()
    store = Store(file)
    exchange = Exchange(store, [default_credentials("main")], Behaviour(), now_us)
    generous = Window(60, 1_000, "1M", "1 MINUTE")
    limits = Limits(store, dict.fromkeys(PRODUCTS, ProductLimits(generous, (generous,))), 10, 60, now_us)
    server = PaperServer(exchange, lambda: limits, Faults(1), store)
    form = signed(order())
    params = parse_parameters("", form)
    call = Call("POST", PATHS["usdm"], "", form, "paper-main-key", "127.0.0.1", 0, params, "main")
    assert (await server.carry_out(call)).status == 200
    with closing(sqlite3.connect(file)) as another:
        for table in ("orders", "audit"):
            assert another.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (1,)
    store.close()


async def test_nothing_is_answered_any_more_once_the_file_cannot_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.sqlite")
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as another:
        another.execute("DROP TABLE accounts")
    store.put_account(opened(default_credentials("main"), []))
    for _ in range(2):
        with pytest.raises(sqlite3.Error):
            await store.committed()
    assert store.failed.is_set()
    store.close()


def test_money_positions_prices_and_conditional_orders_survive_a_kill(own_paper: Start) -> None:
    paper = own_paper(*STILL)
    place(paper, type="MARKET", price=None, timeInForce=None)
    place(paper, "spot")
    conditional = {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1",
        "triggerPrice": "60000", "clientAlgoId": "stop",
    }  # fmt: skip
    assert send(paper, "POST", "/fapi/v1/algoOrder", signed(conditional)).status == 200
    paper.set_price("usdm", "BTCUSDT", 63000)

    def everything() -> object:
        return paper.accounts(), paper.orders(), paper.algo_orders(), paper.books(), paper.audit()

    before = everything()
    paper.restart()
    assert everything() == before
    newest = place(paper).body["orderId"]
    assert newest > max(o["order_id"] for o in paper.orders(product="usdm") if o["order_id"] != newest)
    paper.set_price("usdm", "BTCUSDT", 59000)
    assert paper.algo_orders()[0]["status"] == "TRIGGERED"


def test_the_audit_lists_every_order_request_in_order_of_arrival_with_its_outcome(
    paper: PaperProcess,
) -> None:
    first = place(paper, newClientOrderId="a").body["orderId"]
    place(paper, newClientOrderId="a")
    amend = {"symbol": "BTCUSDT", "side": "BUY", "orderId": first, "quantity": "0.02", "price": "60001"}
    send(paper, "PUT", PATHS["usdm"], signed(amend))
    send(paper, "DELETE", PATHS["usdm"], signed({"symbol": "BTCUSDT", "origClientOrderId": "a"}))
    send(paper, "DELETE", PATHS["usdm"], signed({"symbol": "BTCUSDT", "orderId": first}))
    send(paper, "POST", PATHS["usdm"], signed(order(), "wrong secret"))
    send(paper, "GET", PATHS["usdm"], signed({"symbol": "BTCUSDT", "orderId": first}))
    entries = paper.audit()
    assert [(e["kind"], e["client_order_id"], e["order_id"], e["code"]) for e in entries] == [
        ("place", "a", first, 0),
        ("place", "a", 0, -4116),
        ("amend", "a", first, 0),
        ("cancel", "a", first, 0),
        ("cancel", "", first, -2011),
        ("place", "", 0, -1022),
    ]
    assert [e["executed"] for e in entries] == [True, False, True, True, False, False]
    assert [e["sequence"] for e in entries] == [1, 2, 3, 4, 5, 6]
    times = [e["at_us"] for e in entries]
    assert times == sorted(set(times))
    assert {(e["product"], e["account"], e["symbol"]) for e in entries} == {("usdm", "main", "BTCUSDT")}
    assert paper.audit(after=4) == entries[4:]
    assert len(paper.control("GET", "audit", after=1, limit=2)) == 2


def test_the_books_show_every_fill_and_fee_of_an_order(paper: PaperProcess) -> None:
    place(paper, newClientOrderId="x", type="MARKET", price=None, timeInForce=None, quantity="1")
    place(paper, "spot", newClientOrderId="y")
    [shown] = paper.orders(client_id="x")
    assert sum(float(fill["quantity"]) for fill in shown["fills"]) == 1
    assert float(shown["fees"]["USDT"]) > 0
    assert [o["client_order_id"] for o in paper.orders(product="spot")] == ["y"]
    assert paper.orders(account="alt") == []


def test_the_same_seed_walks_and_fills_the_same_way(own_paper: Start) -> None:
    def run(seed: str) -> tuple[object, list[list[str]]]:
        paper = own_paper(
            "--step-ms", "0", "--seed", seed, "--volatility", "0.01", "--partial-fill-probability", "0.7"
        )
        for number in range(8):
            price = str(63900 - 50 * number)
            assert place(paper, quantity="0.5", price=price, newClientOrderId=f"o{number}").status == 200
        paper.step(60)
        filled = [[fill["quantity"] for fill in order["fills"]] for order in paper.orders()]
        return paper.books(), filled

    first = run("3")
    assert run("3") == first
    assert run("4") != first
    assert any(len(fills) > 1 for fills in first[1])


def test_prices_move_by_themselves_and_a_held_one_does_not(own_paper: Start) -> None:
    paper = own_paper("--step-ms", "10", "--volatility", "0.01")
    paper.set_price("usdm", "BTCUSDT", 65000, hold=True)
    before = paper.books()
    while paper.books()["usdm", "ETHUSDT"]["step"] < before["usdm", "ETHUSDT"]["step"] + 10:
        pass
    after = paper.books()
    assert after["usdm", "BTCUSDT"]["mid"] == "65000"
    assert after["usdm", "ETHUSDT"]["mid"] != before["usdm", "ETHUSDT"]["mid"]


def test_a_reset_forgets_everything(paper: PaperProcess) -> None:
    fresh = paper.accounts()
    place(paper, type="MARKET", price=None, timeInForce=None)
    paper.fault("GET", "delay", count=1)
    paper.set_price("usdm", "BTCUSDT", 60000)
    paper.reset()
    assert (paper.orders(), paper.audit(), paper.faults()) == ([], [], [])
    assert paper.accounts() == fresh
    assert paper.books()["usdm", "BTCUSDT"]["mid"] == "64000"
    assert paper.control("GET", "windows", ms=1000) == []
