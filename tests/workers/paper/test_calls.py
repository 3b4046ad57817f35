from workers.paper.calls import parse_parameters
from workers.paper.signing import sign, signed_text


def test_a_parameter_in_query_and_body_is_taken_from_the_query() -> None:
    assert parse_parameters("side=BUY", "side=SELL&price=1") == {"side": "BUY", "price": "1"}


def test_values_are_decoded_and_unescaped_ones_left_as_they_are() -> None:
    parsed = parse_parameters("", 'a=%5B1%5D&b=[{"x":"y"}]&c=&d')
    assert parsed == {"a": "[1]", "b": '[{"x":"y"}]', "c": "", "d": ""}


def test_what_is_signed_is_query_and_body_as_received_without_the_signature() -> None:
    assert signed_text("b=%20&a=1&signature=x", "signature=y&c=3") == "b=%20&a=1c=3"


def test_signatures_are_those_of_the_documented_example() -> None:
    """Binance's own example of an order signed by HMAC-SHA256, with its published made-up secret."""
    text = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        "&timestamp=1499827319559"
    )
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    assert sign(secret, text) == "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
