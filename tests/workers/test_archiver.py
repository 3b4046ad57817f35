"""The archiver as it really runs: processes, killed at every point, side by side, with nothing to write to."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from common.failpoints import POINTS, VARIABLE, Arm, Arming
from orderlane.orders import OrderStatus
from scripts.harness.processes import ROOT, Process
from tests.postgres_process import postgres_server, postgres_url
from tests.workers.archive_scene import Scene, archive_url, scene

__all__ = ["archive_url", "postgres_server", "postgres_url", "scene"]

CONFIG = """\
archive: {poll_ms: 50, batch_size: 20}
exchanges:
  binance: {venue: binanceusdm, accounts: {main: {}}}
"""
ARCHIVE_POINTS = [name for name, point in POINTS.items() if "archive" in point.drives]

Start = Callable[..., Process]


@pytest.fixture
def start(scene: Scene, tmp_path: Path) -> Iterator[Start]:
    """Starts archivers of the scene's archive, each under a name of its own."""
    config = tmp_path / "orderlane.yaml"
    config.write_text(CONFIG)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORDERLANE_A", "REDIS_"))
    }
    environment = kept | {
        "PYTHONPATH": str(ROOT),
        "ORDERLANE_CONFIG": str(config),
        "ORDERLANE_LOG_FORMAT": "json",
        "REDIS_URL": scene.redis_url,
        "ORDERLANE_ARCHIVE_URL": scene.archive_url,
    }
    started: list[Process] = []

    def one(*words: str, **variables: str) -> Process:
        name = f"archiver.{len(started)}"
        command = [sys.executable, "-m", "workers.archiver", *words]
        started.append(Process(name, command, environment | variables, tmp_path / f"{name}.log"))
        return started[-1]

    yield one
    for process in started:
        process.stop()


def armed(folder: Path, *arms: Arm) -> dict[str, str]:
    return {VARIABLE: msgspec.json.encode(Arming(folder=str(folder), arms=arms)).decode()}


def history(scene: Scene) -> None:
    """Orders, fills and plain events."""
    for number in range(8):
        scene.play(f"o{number}", OrderStatus.SUBMITTED, OrderStatus.ACTIVE, OrderStatus.FILLED)
    scene.add(30)


def complete(scene: Scene) -> bool:
    """Whether all of the stream is archived, as Redis knows too."""
    streamed = scene.streamed()
    return bool(scene.redis.exists(scene.keys.archive)) and scene.published() == streamed[-1][0]


@pytest.mark.parametrize("point", ARCHIVE_POINTS)
def test_killed_at_any_point_it_loses_and_doubles_nothing(
    scene: Scene, start: Start, tmp_path: Path, point: str
) -> None:
    flawed = point == "archive.told"
    if flawed:
        scene.add(2)
        scene.catch_up()
        scene.redis.xtrim(scene.keys.events, maxlen=0, approximate=False)
    history(scene)
    arms = armed(tmp_path, Arm(point=point, action="kill", token="kill"))
    first = start(**arms)
    assert first.popen.wait(60) == -signal.SIGKILL
    second = start(**arms)
    scene.wait(lambda: complete(scene), "the end of the stream")
    streamed = scene.streamed()
    assert scene.archived()[-len(streamed) :] == streamed
    assert len(scene.rows("orders")) == 8
    assert {row["status"] for row in scene.rows("orders")} == {"FILLED"}
    assert scene.kinds() == (["gap"] if flawed else [])
    assert second.stop() == 0


def test_two_side_by_side_one_of_them_killed_again_and_again(
    scene: Scene, start: Start, tmp_path: Path
) -> None:
    arms = [
        Arm(point=point, action="kill", token=point, times=2, probability=0.5, seed=number)
        for number, point in enumerate(ARCHIVE_POINTS)
        if point not in ("archive.told", "archive.migrated")
    ]
    steady = start()
    for _ in range(4):
        unlucky = start(**armed(tmp_path, *arms))
        history(scene)
        scene.wait(lambda: complete(scene), "the end of the stream")
        unlucky.kill()
    assert scene.archived() == scene.streamed()
    assert scene.kinds() == []
    assert steady.stop() == 0


def test_one_that_stood_still_with_a_batch_in_hand_writes_nothing_that_another_wrote(
    scene: Scene, start: Start, tmp_path: Path
) -> None:
    history(scene)
    stopped = start(**armed(tmp_path, Arm(point="archive.read", action="stop", token="stop")))
    scene.wait((tmp_path / "stop").exists, "the stop")
    other = start()
    scene.wait(lambda: complete(scene), "the end of the stream")
    history(scene)
    stopped.signal(signal.SIGCONT)
    scene.wait(lambda: complete(scene), "the end of the stream")
    assert scene.archived() == scene.streamed()
    assert (stopped.stop(), other.stop()) == (0, 0)


def test_it_waits_for_a_redis_that_is_away(scene: Scene, start: Start) -> None:
    process = start(REDIS_URL="redis://127.0.0.1:1/0")
    scene.wait(lambda: "trying again" in process.log.read_text(), "a word about Redis")
    assert process.stop() == 0


def test_an_archive_of_another_pool_ends_it_with_a_code_that_is_final(scene: Scene, start: Start) -> None:
    assert scene.catch_up() == 0
    with scene.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE archive SET pool = 'another'")
    process = start()
    assert process.popen.wait(60) == 78
    assert "'another'" in process.log.read_text()


def test_switched_off_it_archives_nothing_and_waits_for_the_signal(
    scene: Scene, start: Start, tmp_path: Path
) -> None:
    off = tmp_path / "off.yaml"
    off.write_text(CONFIG.replace("{poll_ms: 50, batch_size: 20}", "{enabled: false}"))
    scene.add(1)
    process = start("--config", str(off))
    scene.wait(lambda: "archive.enabled is false" in process.log.read_text(), "its word")
    assert process.stop() == 0
    assert not scene.redis.exists(scene.keys.archive)


def test_passwords_of_the_database_reach_no_log(scene: Scene, start: Start) -> None:
    process = start(ORDERLANE_ARCHIVE_URL="postgresql://someone:hunter2-hunter2@127.0.0.1:1/archive")
    scene.wait(lambda: "trying again" in process.log.read_text(), "a word about the database")
    assert process.stop() == 0
    assert "hunter2" not in process.log.read_text()
