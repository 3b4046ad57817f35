"""Redis Cluster without a cluster: its URL, the slots of commands, and how pipelines and scans are split."""

from __future__ import annotations

import pytest

from orderlane.cluster import (
    ServedSlots,
    all_nodes,
    is_cluster,
    keys_of,
    one_slot_of_each_master,
    read_cluster_url,
    served_slots,
    slot_of,
    slot_of_pattern,
    slots_of,
    split,
)
from orderlane.cluster_clients import next_cursor, parts_of_xread
from orderlane.connection import connect, connect_async, redacted
from orderlane.keys import Keys

BINANCE, SPOT = Keys("binance"), Keys("binance-spot")


def test_the_url_names_nodes_login_and_tls() -> None:
    found = read_cluster_url("rediss+cluster://me:p%40ss@one:7000,two,[::1]:7002/0?ssl_ca_certs=/ca.pem")
    assert found.nodes == (("one", 7000), ("two", 6379), ("::1", 7002))
    assert found.first_url == "rediss://me:p%40ss@one:7000/0?ssl_ca_certs=/ca.pem"
    assert found.tls
    assert not read_cluster_url("redis+cluster://one").tls


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://:hidden@",
        "redis+cluster://:hidden@one:7000,",
        "redis+cluster://:hidden@one:seven",
        "redis+cluster://:hidden@one:7000/1",
        "redis+cluster://:hid/den@one:7000",
        "redis+cluster://:hidden@one:7000#hidden",
        "redis://:hidden@one:7000",
    ],
)
def test_a_url_of_another_form_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="Cluster") as refused:
        read_cluster_url(url)
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("connecting", [connect, connect_async])
def test_a_wrong_url_is_refused_where_connections_are_built(connecting: object) -> None:
    with pytest.raises(ValueError, match="database 0 alone"):
        connecting("redis+cluster://one:7000/3")  # type: ignore[operator]


def test_the_password_of_a_cluster_is_not_shown() -> None:
    assert (
        redacted("redis+cluster://me:hidden@one:7000,two:7001") == "redis+cluster://me:***@one:7000,two:7001"
    )
    assert is_cluster("rediss+cluster://one")
    assert not is_cluster("redis://one")


def test_all_keys_of_an_exchange_share_a_slot() -> None:
    assert {
        slot_of(key) for key in (BINANCE.intents, BINANCE.order("a"), BINANCE.bucket("ip", "weight_1m"))
    } == {7937}
    assert slot_of(SPOT.intents) == 10695


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("HGETALL", "a"), ["a"]),
        (("EVALSHA", "sha", 2, "a", "b", "argument"), ["a", "b"]),
        (("EVAL", "return 1", 0), []),
        (("XREAD", b"COUNT", b"5", b"STREAMS", "a", "b", "0", "0"), ["a", "b"]),
        (("XINFO STREAM", "a"), ["a"]),
        (("TIME",), []),
        (("SCRIPT LOAD", "return 1"), []),
    ],
)
def test_the_keys_of_a_command_are_found(command: tuple[object, ...], keys: list[str]) -> None:
    assert list(keys_of(command)) == keys


def test_a_command_about_one_server_is_refused() -> None:
    with pytest.raises(ValueError, match="FLUSHALL is about one server"):
        slots_of(("FLUSHALL",))


def test_a_pipeline_is_split_by_slot_and_scripts_go_to_each() -> None:
    commands = [
        ("SCRIPT LOAD", "return 1"),
        ("TIME",),
        ("GET", SPOT.intents),
        ("EVALSHA", "sha", 1, BINANCE.intents),
        ("GET", SPOT.events),
    ]
    assert split(commands) == {10695: [0, 1, 2, 4], 7937: [0, 3]}
    assert split([("TIME",)]) == {None: [0]}


def test_a_command_over_several_slots_is_no_part_of_a_pipeline() -> None:
    with pytest.raises(ValueError, match="several slots"):
        split([("EVALSHA", "sha", 2, BINANCE.intents, SPOT.intents)])


def test_a_pattern_with_a_hash_tag_has_one_slot() -> None:
    assert slot_of_pattern("orderlane:{binance}:order:*") == 7937
    assert slot_of_pattern(b"orderlane:{*}:intents") is None
    assert slot_of_pattern("*") is None


def test_the_nodes_and_masters_are_read_from_cluster_slots() -> None:
    reply = [
        [8192, 16383, [b"", 7001, b"id-b"]],
        [0, 100, [b"10.0.0.1", 7000, b"id-a"], [b"10.0.0.2", 7002, b"id-c"]],
        [101, 8191, [b"10.0.0.1", 7000, b"id-a"]],
    ]
    served = served_slots(reply, ("asked", 7001))
    assert served[0] == ServedSlots(0, 100, ("10.0.0.1", 7000))
    assert one_slot_of_each_master(served) == [0, 8192]
    assert set(all_nodes(reply, ("asked", 7001))) == {("asked", 7001), ("10.0.0.1", 7000), ("10.0.0.2", 7002)}


def test_a_scan_goes_through_every_master_to_its_end() -> None:
    ends = {0: [5, 0], 1: [0], 2: [9, 7, 0]}
    seen, cursor, masters = [], 0, len(ends)
    while True:
        inner, index = divmod(cursor, masters)
        seen.append((index, inner))
        cursor = next_cursor(ends[index].pop(0), index, masters)
        if cursor == 0:
            break
    assert seen == [(0, 0), (0, 5), (1, 0), (2, 0), (2, 9), (2, 7)]


def test_a_read_of_several_streams_is_one_for_each_slot() -> None:
    command = (
        "XREAD",
        b"COUNT",
        b"500",
        b"BLOCK",
        b"2000",
        b"STREAMS",
        BINANCE.events,
        SPOT.events,
        "1-0",
        "2-0",
    )
    assert parts_of_xread(command) == {
        7937: ["XREAD", b"COUNT", b"500", "STREAMS", BINANCE.events, "1-0"],
        10695: ["XREAD", b"COUNT", b"500", "STREAMS", SPOT.events, "2-0"],
    }
