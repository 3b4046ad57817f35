import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from common import redis_server
from common.redis_server import (
    MINIMUM_VERSION,
    PORTS,
    EmbeddedRedis,
    PortTaken,
    RedisServerError,
    RedisServerMissing,
    find_redis_server,
    redis_server_version,
)

ROOT = Path(__file__).resolve().parents[2]


def connected_to(server: EmbeddedRedis | str) -> redis.Redis:
    """A client that asks once and waits as long as it takes."""
    url = server if isinstance(server, str) else server.url
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=60)


def command_named_redis_server(folder: Path, version_line: str) -> Path:
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho '{version_line}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = command_named_redis_server(
        tmp_path / "bin", "Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc bits=64"
    )
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert find_redis_server() == program
    assert redis_server_version(program) == (7, 2)


def test_a_server_that_is_too_old_or_broken_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = command_named_redis_server(
        tmp_path / "old", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc bits=64"
    )
    broken = command_named_redis_server(tmp_path / "broken", "a shim for nothing")
    good = command_named_redis_server(
        tmp_path / "good", "Valkey server v=8.1.0 sha=00000000:0 malloc=jemalloc bits=64"
    )
    monkeypatch.setenv("PATH", os.pathsep.join(str(program.parent) for program in (old, broken, good)))
    assert find_redis_server() == good


def test_without_any_server_the_error_says_what_was_seen_and_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = command_named_redis_server(
        tmp_path / "old", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc bits=64"
    )
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RedisServerMissing, match="apt-get install redis-server") as caught:
        find_redis_server()
    assert f"{old} (6.0)" in str(caught.value)


def test_the_server_found_is_new_enough_and_answers() -> None:
    assert (redis_server_version(find_redis_server()) or (0, 0)) >= MINIMUM_VERSION
    with EmbeddedRedis() as server, connected_to(server) as client:
        assert client.ping()
        assert client.info("server")["process_id"] == server.pid
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        assert server.port in PORTS


def test_stopping_ends_the_process_and_removes_the_temporary_folder() -> None:
    server = EmbeddedRedis().start()
    folder, process_id = server.data_dir, server.pid
    server.stop()
    server.stop()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_what_was_answered_survives_a_kill_on_the_same_port(fresh_redis: EmbeddedRedis) -> None:
    port, process_id = fresh_redis.port, fresh_redis.pid
    with connected_to(fresh_redis) as client:
        client.set("kept", "yes")
        fresh_redis.kill()
        assert not fresh_redis.running
        fresh_redis.restart()
        assert client.get("kept") == b"yes"
    assert fresh_redis.port == port
    assert fresh_redis.pid != process_id


def test_a_given_data_folder_is_kept_and_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "with a space" / 'and "quotes"'
    for expected in (None, b"1"):
        with EmbeddedRedis(folder, append_only=True) as server, connected_to(server) as client:
            assert client.get("key") == expected
            client.set("key", "1")


def test_two_servers_never_share_a_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.redis_server.CLAIM_SECONDS", 0.1)
    with EmbeddedRedis(tmp_path), pytest.raises(RedisServerError, match="in use by another redis-server"):
        EmbeddedRedis(tmp_path).start()


def test_a_taken_port_is_an_error_that_names_it() -> None:
    with (
        EmbeddedRedis() as server,
        pytest.raises(PortTaken, match=f"127.0.0.1:{server.port}"),
    ):
        EmbeddedRedis(port=server.port).start()


def test_another_port_is_tried_when_the_first_was_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedRedis() as first:
        free_port, ports = redis_server.free_port, iter([first.port, first.port])
        monkeypatch.setattr("common.redis_server.free_port", lambda: next(ports, None) or free_port())
        with EmbeddedRedis() as second:
            assert second.port != first.port


def test_the_password_is_asked_for_and_shown_to_nobody(tmp_path: Path) -> None:
    secret = 'planted "secret" \\ 7f3a'
    socket = tmp_path / "redis.sock"
    with EmbeddedRedis(tmp_path / "data", password=secret, unix_socket=socket) as server:
        with connected_to(server) as client:
            assert client.ping()
        with redis.Redis(unix_socket_path=str(socket), password=secret) as client:
            assert client.ping()
        with (
            connected_to(f"redis://127.0.0.1:{server.port}") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        assert secret not in repr(server)
        seen = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True, check=True
        )
        assert "7f3a" not in seen.stdout
        assert "7f3a" not in (server.data_dir / "redis-server.log").read_text()


@pytest.mark.parametrize("main_thread", [True, False], ids=["main thread", "other thread"])
def test_the_server_dies_with_its_parent_even_by_sigkill(main_thread: bool, tmp_path: Path) -> None:
    program = f"""
import sys, threading, time
from common.redis_server import EmbeddedRedis
def start():
    server = EmbeddedRedis(__import__("pathlib").Path({str(tmp_path)!r})).start()
    print(server.port, server.pid, flush=True)
    time.sleep(60)
start() if {main_thread} else (thread := threading.Thread(target=start)).start()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        port, _ = map(int, parent.stdout.readline().split())
    with connected_to(f"redis://127.0.0.1:{port}") as client:
        assert client.ping()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        # The connection ends with the server; nothing else ever ends this wait.
        with pytest.raises(redis.ConnectionError):
            client.execute_command("BLPOP", "never", 30)
