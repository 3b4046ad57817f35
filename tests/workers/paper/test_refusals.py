"""Every way in which the exchange says no: Binance's status, code and message, with nothing changed."""

import time
from typing import Any

import pytest

from tests.paper_process import PaperProcess
from tests.workers.paper.raw import PATHS, Answer, order, place, send, signed
from workers.paper.signing import sign

ORDER = "/fapi/v1/order"


def verdict(answer: Answer) -> tuple[int, int]:
    """The HTTP status and Binance's code."""
    return answer.status, answer.body["code"]


@pytest.mark.parametrize("product", ["spot", "usdm"])
def test_a_request_without_a_known_key_a_signature_or_a_true_one_is_refused(
    paper: PaperProcess, product: str
) -> None:
    path, good = PATHS[product], signed(order(product))
    assert verdict(send(paper, "POST", path, good, key="")) == (401, -2014)
    assert verdict(send(paper, "POST", path, good, key="nobody")) == (401, -2015)
    assert verdict(send(paper, "POST", path, good.split("&signature=")[0])) == (400, -1102)
    assert verdict(send(paper, "POST", path, good.replace("60000", "60001"))) == (400, -1022)
    assert verdict(send(paper, "POST", path, signed(order(product), "another secret"))) == (400, -1022)
    assert verdict(send(paper, "POST", path, good, key="paper-alt-key")) == (400, -1022)
    assert send(paper, "POST", path, good).status == 200


def test_a_signature_covers_query_and_body_together(paper: PaperProcess) -> None:
    query, body = "symbol=BTCUSDT&side=BUY&type=MARKET", f"quantity=0.1&timestamp={int(time.time() * 1000)}"
    signature = sign("paper-main-secret", query + body)
    answer = send(paper, "POST", f"{ORDER}?{query}", f"{body}&signature={signature}")
    assert answer.status == 200
    assert (
        verdict(send(paper, "POST", f"{ORDER}?{query}", f"quantity=9&{body}&signature={signature}"))[1]
        == -1022
    )


@pytest.mark.parametrize(
    ("age_ms", "window", "code"),
    [
        (0, None, None),
        (4_000, None, None),
        (6_000, None, -1021),
        (6_000, 10_000, None),
        (11_000, 10_000, -1021),
        (-500, None, None),
        (-5_000, None, -1021),
        (-5_000, 60_000, -1021),
        (0, 60_001, -1131),
    ],
)
def test_a_request_is_executed_only_within_its_receive_window(
    paper: PaperProcess, age_ms: int, window: int | None, code: int | None
) -> None:
    answer = place(paper, timestamp=int(time.time() * 1000) - age_ms, recvWindow=window)
    assert answer.body.get("code") == code
    assert len(paper.orders()) == (1 if code is None else 0)


def test_a_request_that_arrives_after_its_window_is_refused_though_it_was_sent_in_time(
    paper: PaperProcess,
) -> None:
    paper.fault("POST", "delay", delay_ms=300, count=1)
    assert verdict(place(paper, recvWindow=100)) == (400, -1021)
    assert paper.orders() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": None}, -1102),
        ({"symbol": "NOSUCH"}, -1121),
        ({"side": "LONG"}, -1117),
        ({"type": "TWAP"}, -1116),
        ({"timeInForce": "DAY"}, -1115),
        ({"timeInForce": None}, -1102),
        ({"price": None}, -1102),
        ({"price": "abc"}, -1100),
        ({"price": "1e5"}, -1100),
        ({"price": "-60000"}, -1100),
        ({"quantity": None}, -1102),
        ({"quantity": ""}, -1102),
        ({"newClientOrderId": "white space"}, -1100),
        ({"timestamp": "yesterday"}, -1100),
        ({"type": "MARKET"}, -1106),
    ],
)
@pytest.mark.parametrize("product", ["spot", "usdm"])
def test_bad_parameters_are_refused_by_both_products_alike(
    paper: PaperProcess, product: str, changes: dict[str, Any], code: int
) -> None:
    assert verdict(place(paper, product, **changes)) == (400, code)
    assert paper.orders() == []


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"price": "60000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "400000"}, -1013, "Filter failure: PERCENT_PRICE"),
        ({"price": "60000.123456789"}, -1111, "Parameter 'price' has too much precision."),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.00001"}, -1013, "Filter failure: MIN_NOTIONAL"),
        ({"quantity": "20"}, -2010, "Account has insufficient balance for requested action."),
        (
            {"type": "MARKET", "price": None, "timeInForce": None, "quantity": "200"},
            -1013,
            "Filter failure: MARKET_LOT_SIZE",
        ),
        (
            {"type": "LIMIT_MAKER", "price": "65000", "timeInForce": None},
            -2010,
            "Order would immediately match and take.",
        ),
        (
            {"type": "STOP_LOSS", "price": None, "timeInForce": None, "stopPrice": "63000"},
            -2010,
            "Stop price would trigger immediately.",
        ),
        ({"symbol": "BTCIDRT"}, -1013, "Market is closed."),
        (
            {"surprise": "1"},
            -1104,
            "Not all sent parameters were read; read '9' parameter(s) but was sent '10'.",
        ),
    ],
)
def test_spot_refuses_with_its_own_codes(
    paper: PaperProcess, changes: dict[str, Any], code: int, message: str
) -> None:
    answer = place(paper, "spot", **changes)
    assert (answer.status, answer.body) == (400, {"code": code, "msg": message})
    assert paper.orders() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"price": "60000.001"}, -1111),
        ({"symbol": "BNBUSDT", "price": "500.001"}, -4014),
        ({"symbol": "YFIUSDT", "price": "30000.5", "quantity": "0.01"}, -4014),
        ({"price": "2000000"}, -4002),
        ({"price": "100"}, -4013),
        ({"price": "80000"}, -4016),
        ({"side": "SELL", "price": "50000"}, -4024),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "0"}, -4003),
        ({"quantity": "1001"}, -4005),
        ({"symbol": "KILOUSDT", "price": "0.000025", "quantity": "1500000"}, None),
        ({"symbol": "KILOUSDT", "price": "0.000025", "quantity": "1500500"}, -4023),
        ({"symbol": "KILOUSDT", "price": "0.000025", "quantity": "500"}, -4004),
        ({"symbol": "XRPUSDT", "price": "0.5", "quantity": "1"}, -4164),
        ({"quantity": "900"}, -2019),
        ({"reduceOnly": "true"}, -2022),
        ({"timeInForce": "GTX", "price": "65000"}, -5022),
        ({"timeInForce": "FOK"}, -5021),
        ({"type": "STOP_MARKET", "stopPrice": "60000"}, -4120),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"symbol": "BTCSTUSDT", "price": "1", "quantity": "10"}, -4108),
        ({"surprise": "1"}, None),
    ],
)
def test_usdm_refuses_with_its_own_codes(
    paper: PaperProcess, changes: dict[str, Any], code: int | None
) -> None:
    answer = place(paper, **changes)
    assert answer.body.get("code") == code
    assert answer.status == (200 if code is None else 400)
    assert len(paper.orders()) == (1 if code is None else 0)


@pytest.mark.parametrize(("product", "code"), [("spot", -2010), ("usdm", -4116)])
def test_a_client_id_is_refused_while_its_order_is_open_and_free_again_afterwards(
    paper: PaperProcess, product: str, code: int
) -> None:
    first = place(paper, product, newClientOrderId="same").body["orderId"]
    assert verdict(place(paper, product, newClientOrderId="same")) == (400, code)
    cancel = signed({"symbol": "BTCUSDT", "orderId": first})
    assert send(paper, "DELETE", PATHS[product], cancel).status == 200
    second = place(paper, product, newClientOrderId="same").body["orderId"]
    assert second != first
    query = signed({"symbol": "BTCUSDT", "origClientOrderId": "same"})
    assert send(paper, "GET", PATHS[product], query).body["orderId"] == second


@pytest.mark.parametrize("product", ["spot", "usdm"])
def test_unknown_orders_and_those_of_others_are_not_shown_or_cancelled(
    paper: PaperProcess, product: str
) -> None:
    mine = place(paper, product).body["orderId"]
    for params in ({"orderId": 1}, {"origClientOrderId": "none"}):
        form = {"symbol": "BTCUSDT", **params}
        assert verdict(send(paper, "GET", PATHS[product], signed(form))) == (400, -2013)
        assert verdict(send(paper, "DELETE", PATHS[product], signed(form))) == (400, -2011)
    form = {"symbol": "BTCUSDT", "orderId": mine}
    alt = signed(form, "paper-alt-secret")
    assert verdict(send(paper, "GET", PATHS[product], alt, key="paper-alt-key")) == (400, -2013)
    assert verdict(send(paper, "DELETE", PATHS[product], alt, key="paper-alt-key")) == (400, -2011)
    assert (
        verdict(send(paper, "GET", PATHS[product], signed({"symbol": "ETHUSDT", "orderId": mine})))[1]
        == -2013
    )
    assert verdict(send(paper, "GET", PATHS[product], signed({"symbol": "BTCUSDT"}))) == (400, -1102)


def test_a_conditional_order_that_would_fire_at_once_is_refused(paper: PaperProcess) -> None:
    params = {
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1",
        "triggerPrice": "64000",
    }  # fmt: skip
    assert verdict(send(paper, "POST", "/fapi/v1/algoOrder", signed(params))) == (400, -2021)
    assert paper.algo_orders() == []


def test_an_unknown_path_is_not_found_as_on_each_host(paper: PaperProcess) -> None:
    answer = send(paper, "GET", "/fapi/v1/nothing")
    assert (answer.status, answer.body["code"]) == (404, -5000)
    assert send(paper, "GET", "/api/v3/nothing").status == 404
    assert send(paper, "PATCH", ORDER).status == 404
