"""The archive: everything once, exact, and what is missing told. On SQLite, and on PostgreSQL where there is one."""

from __future__ import annotations

import threading
from decimal import Decimal

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from redis.exceptions import RedisError
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from orderlane.archive.opening import ArchiveUnusable, open_for_writing
from orderlane.archive.tables import metadata, positions
from orderlane.events import EventName
from orderlane.orders import OrderStatus
from tests.lossy_proxy import LossyProxy
from tests.orderlane.played_pool import EXCHANGE, an_intent
from tests.postgres_process import postgres_server, postgres_url
from tests.workers.archive_scene import Scene, archive_url, scene
from workers.archive import store
from workers.archive.schema import prepare

__all__ = ["archive_url", "postgres_server", "postgres_url", "scene"]


def test_every_event_is_archived_once_as_it_stood(scene: Scene) -> None:
    scene.add(250)
    assert scene.catch_up() == 250
    assert scene.archived() == scene.streamed()
    scene.add(3)
    assert scene.catch_up() == 3
    assert scene.archived() == scene.streamed()
    assert scene.kinds() == []
    assert scene.published() == scene.streamed()[-1][0]


def test_an_order_is_archived_as_its_record_stands_with_exact_decimals(scene: Scene) -> None:
    price = Decimal("123456789012345678.123456789012345678")
    scene.play(
        "a", OrderStatus.SUBMITTED, OrderStatus.ACTIVE, OrderStatus.FILLED, price=price, strategy="grid"
    )
    scene.catch_up()
    [row] = scene.rows("orders")
    assert (row["intent_id"], row["status"], row["strategy"], row["side"]) == ("a", "FILLED", "grid", "buy")
    assert (row["price"], row["filled"]) == (price, Decimal("0.25"))
    assert str(row["price"]) == str(price)
    assert msgspec.json.decode(row["record"])["intent"]["id"] == "a"


def test_an_order_whose_record_has_expired_is_told_by_its_events_and_that_is_said(scene: Scene) -> None:
    scene.play("a", OrderStatus.ACTIVE, OrderStatus.FILLED)
    scene.redis.delete(scene.pool.order_key(an_intent("a")))
    scene.catch_up()
    [row] = scene.rows("orders")
    assert (row["status"], row["filled"], row["record"], row["price"]) == (
        "FILLED",
        Decimal("0.25"),
        "",
        None,
    )
    assert scene.kinds() == ["records_missing"]


def test_what_the_archive_knows_of_an_order_stays_when_its_record_has_expired(scene: Scene) -> None:
    scene.play("a", OrderStatus.ACTIVE)
    scene.catch_up()
    scene.play("a", OrderStatus.FILLED)
    scene.redis.delete(scene.pool.order_key(an_intent("a")))
    scene.catch_up()
    [row] = scene.rows("orders")
    assert (row["status"], row["price"], row["side"]) == ("FILLED", Decimal(64000), "buy")


def test_a_fill_counts_once_however_often_it_is_reported(scene: Scene) -> None:
    numbers = {
        "trade_id": "7",
        "side": "buy",
        "amount": "0.1",
        "price": "60000.5",
        "traded_at": "1700000000001",
    }
    fees = {"fee": "0.0123", "fee_currency": "USDT", "liquidity": "maker"}
    for told in (numbers, numbers | fees, numbers):
        scene.publish(scene.event("a", name=EventName.TRADE, symbol="BTC/USDT:USDT", numbers=told))
    scene.publish(scene.event("a", name=EventName.TRADE, symbol="ETH/USDT:USDT", numbers=numbers))
    scene.publish(scene.event("a", name=EventName.TRADE, symbol="ETH/USDT:USDT"))
    assert scene.catch_up() == 5
    rows = sorted(scene.rows("trades"), key=lambda row: row["symbol"])
    assert [row["symbol"] for row in rows] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert (rows[0]["amount"], rows[0]["fee"], rows[0]["liquidity"]) == (
        Decimal("0.1"),
        Decimal("0.0123"),
        "maker",
    )
    assert (rows[0]["traded_at_ms"], rows[1]["fee"]) == (1700000000001, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"event": b'{"name":"order.from_the_future","at":1}'},
        {"event": b"\xff\x00 no JSON"},
        {"foreign": "field"},
        {"event": b'{"name":"order.filled","at":99999999999999999999999,"client_order_id":"x","to_status":"FILLED",'
                  b'"filled":"NaN","average":"1e999999","strategy":"a\\u0000b"}'},
    ],
)  # fmt: skip
def test_nothing_in_the_stream_holds_the_archive_up(scene: Scene, fields: dict[str, bytes]) -> None:
    scene.redis.xadd(scene.keys.events, fields)
    scene.redis.set(scene.keys.order("x"), "a key of another type")
    scene.add(1)
    assert scene.catch_up() >= 2
    assert len(scene.rows("events")) == scene.redis.xlen(scene.keys.events)


def test_events_trimmed_before_they_were_archived_are_a_gap_that_is_told(scene: Scene) -> None:
    first = scene.add(3)
    scene.catch_up()
    lost = scene.add(5)
    scene.redis.xtrim(scene.keys.events, minid=lost[-1], approximate=False)
    scene.catch_up()
    [notice] = scene.rows("notices")
    assert (notice["kind"], notice["after_event_id"], notice["before_event_id"]) == (
        "gap",
        first[-1],
        lost[-1],
    )
    assert scene.told() == ["archive_gap"]
    assert {one for one, _ in scene.archived()} >= {*first, lost[-1]}
    scene.add(1)
    scene.catch_up()
    assert scene.kinds() == ["gap"]


def test_a_stream_trimmed_to_nothing_is_a_gap_only_if_something_was_not_archived(scene: Scene) -> None:
    scene.add(3)
    scene.catch_up()
    scene.redis.xtrim(scene.keys.events, maxlen=0, approximate=False)
    scene.catch_up()
    assert scene.kinds() == []
    scene.add(2)
    scene.redis.xtrim(scene.keys.events, maxlen=0, approximate=False)
    scene.catch_up()
    assert scene.kinds() == ["gap"]


def restored(scene: Scene, kept: int) -> None:
    """Bring the stream back to its first events, as a Redis restored from an older file would."""
    old = scene.redis.xrange(scene.keys.events)[:kept]
    scene.redis.delete(scene.keys.events)
    for entry, fields in old:
        scene.redis.xadd(scene.keys.events, fields, id=entry)


def test_a_redis_that_went_back_is_told_and_nothing_is_lost_or_doubled(scene: Scene) -> None:
    ids = scene.add(10)
    scene.catch_up()
    gone = scene.archived()[6:]
    restored(scene, 6)
    scene.catch_up()
    assert scene.kinds() == ["went_back"]
    assert scene.told() == ["archive_went_back"]
    assert {(row["event_id"], row["payload"]) for row in scene.rows("forgotten_events")} == set(gone)
    scene.add(4, "after")
    scene.catch_up()
    assert scene.archived() == scene.streamed()
    assert scene.archived()[5][0] == ids[5]


def test_other_events_under_known_ids_take_their_place_and_the_old_ones_are_set_apart(scene: Scene) -> None:
    ids = scene.add(6)
    scene.catch_up()
    before = scene.archived()
    restored(scene, 3)
    for number, entry in enumerate(ids[3:]):
        scene.redis.xadd(scene.keys.events, {"event": f'{{"name":"system.error","at":{number}}}'}, id=entry)
    scene.catch_up()
    assert scene.kinds() == ["went_back"]
    assert scene.archived() == scene.streamed()
    assert {(row["event_id"], row["payload"]) for row in scene.rows("forgotten_events")} == set(before[3:])


def test_a_clock_behind_the_old_one_brings_events_under_smaller_ids_which_are_archived_too(
    scene: Scene,
) -> None:
    ids = scene.add(6)
    scene.catch_up()
    restored(scene, 2)
    between = f"{ids[1].partition('-')[0]}-999"
    scene.redis.xadd(scene.keys.events, {"event": '{"name":"system.error","at":1}'}, id=between)
    scene.add(1, "later")
    scene.catch_up()
    assert scene.kinds() == ["went_back"]
    assert scene.archived() == scene.streamed()


def test_a_redis_that_was_emptied_is_told_and_the_archive_keeps_what_it_has(scene: Scene) -> None:
    scene.add(5)
    scene.catch_up()
    before = scene.archived()
    scene.redis.delete(scene.keys.events)
    scene.pump.step()
    assert scene.kinds() == ["went_back"]
    scene.add(2, "new")
    scene.catch_up()
    assert scene.archived() == [*before, *scene.streamed()]


def test_an_archive_restored_from_an_older_backup_goes_on_from_there(scene: Scene) -> None:
    scene.add(20)
    scene.catch_up()
    with scene.engine.begin() as connection:
        connection.execute(update(positions).values(event_id=scene.streamed()[4][0]))
    scene.add(1)
    scene.catch_up()
    assert scene.archived() == scene.streamed()
    assert scene.kinds() == []


def test_two_archivers_at_once_write_each_event_once(scene: Scene) -> None:
    scene.add(400)
    pumps = [scene.another(batch_size=7) for _ in range(2)]
    failures: list[BaseException] = []

    def work(pump: object) -> None:
        quiet = 0
        while quiet < 3:
            try:
                quiet = 0 if pump.step() else quiet + 1  # type: ignore[attr-defined]
            except SQLAlchemyError as error:
                if "locked" not in str(error):
                    failures.append(error)
                    return

    threads = [threading.Thread(target=work, args=(pump,)) for pump in pumps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    scene.catch_up()
    assert scene.archived() == scene.streamed()


def test_a_batch_that_another_was_quicker_with_is_not_written(scene: Scene) -> None:
    scene.add(2)
    late = store.Store(scene.engine)
    scene.catch_up()
    ahead = scene.rows("events")
    batch = store.Batch(exchange=EXCHANGE, before="0-0", after="1-1", at_ms=1)
    assert late.write(batch) is False
    assert scene.rows("events") == ahead


def test_the_position_is_never_without_its_rows(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add(3)
    scene.publish(scene.event("a", name=EventName.TRADE, numbers={"trade_id": "1"}))
    with monkeypatch.context() as broken:
        broken.setattr(store, "_write_trade", _fail)
        with pytest.raises(RuntimeError):
            scene.pump.step()
    assert (scene.rows("events"), scene.rows("trades")) == ([], [])
    assert scene.catch_up() == 4
    assert scene.archived() == scene.streamed()


def _fail(*_: object) -> None:
    raise RuntimeError("broken here")


@pytest.mark.parametrize("command", [b"XRANGE", b"HGETALL", b"TIME", b"HSET", b"XADD", b"XINFO"])
def test_a_lost_reply_of_redis_costs_a_repetition_and_nothing_else(scene: Scene, command: bytes) -> None:
    scene.play("a", OrderStatus.ACTIVE, OrderStatus.FILLED)
    scene.catch_up()
    lost = scene.add(3)
    scene.redis.xtrim(scene.keys.events, minid=lost[1], approximate=False)  # so that there is a flaw to tell
    port = int(scene.redis_url.partition("127.0.0.1:")[2].partition("/")[0])
    with LossyProxy("127.0.0.1", port) as proxy:
        pump = scene.another(redis_url=proxy.url)
        proxy.lose_replies(to=command, times=1)
        quiet = failed = 0
        while quiet < 2:
            try:
                quiet = 0 if pump.step() else quiet + 1
            except (RedisError, OSError):
                failed += 1
        assert failed == proxy.lost
    scene.catch_up()
    streamed = dict(scene.streamed())
    assert {entry: payload for entry, payload in scene.archived() if entry in streamed} == streamed
    assert scene.kinds() == ["gap"]
    assert set(scene.told()) == {"archive_gap"}


def test_migrations_make_the_tables_that_the_code_knows(scene: Scene) -> None:
    prepare(scene.engine, "orderlane", 1)
    with scene.engine.begin() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def test_archivers_that_start_together_migrate_once(scene: Scene) -> None:
    engines = [open_for_writing(scene.archive_url) for _ in range(4)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(prepare(one, "orderlane", 1))) for one in engines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.dispose()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_an_archive_of_another_pool_or_a_newer_version_is_refused(scene: Scene) -> None:
    prepare(scene.engine, "orderlane", 1)
    with pytest.raises(ArchiveUnusable, match="another-pool"):
        prepare(scene.engine, "another-pool", 1)
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ArchiveUnusable, match="9999"):
        prepare(scene.engine, "orderlane", 1)
