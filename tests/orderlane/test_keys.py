"""Every key of a pool is built in one place, belongs to one exchange, and is known."""

from __future__ import annotations

from functools import cached_property

import pytest

from orderlane.identity import client_order_id
from orderlane.keys import KNOWN, Keys, exchanges_key


def every_key(keys: Keys) -> dict[str, str]:
    plain = {
        name: getattr(keys, name)
        for name, kind in vars(Keys).items()
        if isinstance(kind, cached_property) and name != "prefix_order"
    }
    return plain | {
        "order": keys.order(client_order_id(keys.pool, keys.exchange, "main", "grid-1")),
        "open": keys.open("main"),
        "bucket": keys.bucket("main", "orders_10s"),
        "penalty": keys.bucket("ip", "penalty"),
        "lock": keys.lock("sync:main"),
    }


@pytest.mark.parametrize("keys", [Keys("binance"), Keys("binance-spot", "staging.2")])
def test_all_keys_of_an_exchange_share_its_hash_tag_and_are_known(keys: Keys) -> None:
    made = every_key(keys)
    assert len(set(made.values())) == len(made)
    for key in made.values():
        assert key.startswith(f"{keys.pool}:{{{keys.exchange}}}:")
        assert KNOWN.match(key)


def test_pools_and_exchanges_do_not_meet() -> None:
    sets = [set(every_key(Keys(exchange, pool)).values()) for exchange in ("a", "b") for pool in ("p", "q")]
    assert len(set.union(*sets)) == sum(map(len, sets))


@pytest.mark.parametrize(
    "foreign",
    [
        "orderlane:{binance}:other", "orderlane:binance:intents", "orderlane:{binance}:order:short", "rq:queue",
        "orderlane:exchanges\n", "orderlane:exchanges:x",
        "orderlane:{binance}:intents\n", "orderlane:{binance}:open:", "orderlane:{binance}:order:" + "A" * 25,
    ],
)  # fmt: skip
def test_a_key_of_no_known_form_is_a_leak(foreign: str) -> None:
    assert not KNOWN.match(foreign)


def test_the_list_of_exchanges_is_the_pools_own() -> None:
    assert exchanges_key() == "orderlane:exchanges"
    assert exchanges_key("staging") == "staging:exchanges"
    assert KNOWN.match(exchanges_key("staging.2"))
