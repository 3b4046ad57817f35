"""Each fault, as it is seen on the wire, and what the exchange did meanwhile."""

import http.client
import json
import socket
import threading
import time
from typing import Any

import ccxt
import pytest

from tests.paper_process import PaperProcess
from tests.workers.paper.raw import Answer, bare_order, everything, order, place, send, signed
from workers.paper.faults import FaultRule, Faults

ORDER = "POST /fapi/v1/order$"


@pytest.mark.parametrize(("fault", "executed"), [("drop_before", False), ("drop_after", True)])
def test_a_drop_closes_the_connection_without_a_byte(paper: PaperProcess, fault: str, executed: bool) -> None:
    paper.fault(ORDER, fault, count=1)
    assert everything(paper, bare_order(order())) == b""
    assert len(paper.orders()) == executed
    assert [(e["executed"], e["fault"], e["reply_dropped"]) for e in paper.audit()] == (
        [(True, fault, True)] if executed else []
    )


@pytest.mark.parametrize(
    ("fault", "executed"), [("reset_before_read", False), ("reset_before", False), ("reset_after", True)]
)
def test_a_reset_arrives_as_rst(paper: PaperProcess, fault: str, executed: bool) -> None:
    paper.fault(ORDER, fault, count=1)
    with pytest.raises(ConnectionResetError):
        everything(paper, bare_order(order()))
    assert len(paper.orders()) == executed


def test_reset_before_read_strikes_before_the_body_has_come(paper: PaperProcess) -> None:
    paper.fault(ORDER, "reset_before_read", count=1)
    head, _, _ = bare_order(order()).partition(b"\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        everything(paper, head + b"\r\n\r\n")


def test_reset_before_read_strikes_a_kept_alive_connection_too(paper: PaperProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", paper.port, timeout=10)
    connection.request("GET", "/fapi/v1/time")
    connection.getresponse().read()
    paper.fault("GET /fapi/v1/time", "reset_before_read", count=1)
    connection.request("GET", "/fapi/v1/time?x=1")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize(("fault", "executed"), [("error_before", False), ("error_after", True)])
def test_a_server_error_may_or_may_not_have_executed(paper: PaperProcess, fault: str, executed: bool) -> None:
    paper.fault(ORDER, fault, count=2)
    paper.fault(ORDER, fault, count=1, status=502, body="<html>Bad Gateway</html>")
    assert (place(paper).status, place(paper).status) == (503, 503)
    assert place(paper)[::2] == (502, b"<html>Bad Gateway</html>")
    assert len(paper.orders()) == 3 * executed


def test_a_cut_body_is_shorter_than_its_content_length(paper: PaperProcess) -> None:
    paper.fault(ORDER, "cut_body", count=1)
    head, _, body = everything(paper, bare_order(order())).partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < promised
    assert body.startswith(b'{"orderId":')
    assert len(paper.orders()) == 1


@pytest.mark.parametrize(("fault", "body"), [("empty_body", b""), ("foreign_body", b"<!DOCTYPE html>")])
def test_a_reply_without_its_meaning_has_executed(paper: PaperProcess, fault: str, body: bytes) -> None:
    paper.fault(ORDER, fault, count=1)
    answer = place(paper)
    assert answer.status == 200
    assert answer.body[: len(body) or 1] == body
    assert len(paper.orders()) == 1
    assert paper.audit()[0]["reply_dropped"] is True


@pytest.mark.parametrize("executed", [False, True])
def test_a_verbatim_reply_is_given_as_it_is_and_executes_if_told_to(
    paper: PaperProcess, executed: bool
) -> None:
    given = {"status": 408, "body": '{"code":-1007,"msg":"Timeout"}', "headers": {"X-Mark": "yes"}}
    paper.fault(ORDER, "verbatim", count=1, executed=executed, **given)
    answer = place(paper)
    assert (answer.status, answer.body["code"], answer.headers["x-mark"]) == (408, -1007, "yes")
    assert len(paper.orders()) == executed


@pytest.mark.parametrize("executed", [False, True])
def test_a_verbatim_reply_serves_the_paths_of_other_venues(paper: PaperProcess, executed: bool) -> None:
    body = json.dumps({"retCode": 110072, "retMsg": "duplicate"})
    paper.fault("POST /v5/order/create", "verbatim", count=1, body=body, executed=executed)
    assert send(paper, "POST", "/v5/order/create", '{"symbol":"BTCUSDT"}').body["retCode"] == 110072
    assert send(paper, "POST", "/v5/order/create", "{}").status == 404


@pytest.mark.parametrize("status", [429, 418])
def test_throttling_on_demand_carries_retry_after_and_executes_nothing(
    paper: PaperProcess, status: int
) -> None:
    paper.fault(ORDER, str(status), count=1, headers={"Retry-After": "7"})
    paper.fault(ORDER, str(status), count=1)
    first, second = place(paper), place(paper)
    assert (first.status, first.headers["retry-after"], first.body["code"]) == (status, "7", -1003)
    assert (second.status, second.headers["retry-after"]) == (status, "1")
    assert paper.orders() == []


def test_a_delay_comes_before_the_exchange_and_a_delayed_reply_after_it(paper: PaperProcess) -> None:
    def later(fault: str) -> tuple[int, list[Answer]]:
        answers: list[Answer] = []
        paper.fault(ORDER, fault, count=1, delay_ms=600)
        thread = threading.Thread(target=lambda: answers.append(place(paper)))
        thread.start()
        deadline = time.monotonic() + 10
        while paper.faults()[-1]["struck"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        meanwhile = len(paper.orders())
        thread.join()
        return meanwhile, answers

    meanwhile, answers = later("delay")
    assert (meanwhile, answers[0].status) == (0, 200)
    meanwhile, answers = later("delay_reply")
    assert (meanwhile, answers[0].status) == (2, 200)


@pytest.mark.parametrize("executed", [False, True])
def test_a_hang_never_answers(paper: PaperProcess, executed: bool) -> None:
    paper.fault(ORDER, "hang", count=1, executed=executed)
    with socket.create_connection(("127.0.0.1", paper.port), timeout=0.4) as connection:
        connection.sendall(bare_order(order()))
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert len(paper.orders()) == executed


def test_a_count_is_used_up_and_shown(paper: PaperProcess) -> None:
    paper.fault(ORDER, "error_before", count=2)
    assert [place(paper).status for _ in range(3)] == [503, 503, 200]
    [counter] = paper.faults()
    assert (counter["struck"], counter["left"]) == (2, 0)
    paper.clear_faults()
    assert paper.faults() == []


def test_faults_narrow_to_a_product_an_account_and_a_symbol(paper: PaperProcess) -> None:
    paper.fault("POST", "error_before", product="usdm", account="main", symbol="BTCUSDT")
    assert place(paper).status == 503
    assert place(paper, "spot").status == 200
    assert place(paper, symbol="ETHUSDT", price="3000").status == 200
    alt = signed(order(), "paper-alt-secret")
    assert send(paper, "POST", "/fapi/v1/order", alt, key="paper-alt-key").status == 200


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"route": "(", "fault": "delay"}, "not a regular expression"),
        ({"route": "POST", "fault": "explode"}, "explode"),
        ({"route": "POST", "fault": "delay", "count": 0}, "at least 1"),
        ({"route": "POST", "fault": "delay", "probability": 2}, "at most 1"),
        ({"route": "POST", "fault": "delay", "count": 1, "probability": 0.5}, "not both"),
        ({"route": "POST", "fault": "delay", "delay": 5}, "delay"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_reason(
    paper: PaperProcess, rule: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        paper.control("POST", "faults", rule)


def test_a_probability_strikes_the_same_requests_for_the_same_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(FaultRule("POST", "drop_after", probability=0.3))
        return [faults.choose("POST /x", "", "", "") is not None for _ in range(200)]

    assert struck(5) == struck(5)
    assert 30 < sum(struck(5)) < 90
    assert struck(5) != struck(6)


async def test_ccxt_meets_lost_replies_as_the_errors_and_silences_it_gives_them(
    usdm: Any, paper: PaperProcess
) -> None:
    async def create() -> Any:
        return await usdm.create_order("BTC/USDT:USDT", "limit", "buy", 0.01, 60000)

    for fault, error in (
        ("drop_after", ccxt.ExchangeNotAvailable),
        ("reset_after", ccxt.ExchangeNotAvailable),
        ("error_after", ccxt.ExchangeNotAvailable),
        ("429", ccxt.DDoSProtection),
        ("cut_body", ccxt.ExchangeError),
    ):
        paper.fault(ORDER, fault, count=1)
        with pytest.raises(error):
            await create()
    for fault in ("empty_body", "foreign_body"):
        paper.fault(ORDER, fault, count=1)
        assert (await create())["id"] is None
    assert len(paper.orders()) == 6
