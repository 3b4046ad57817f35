"""Run the pool of the Procfile until Ctrl-C.

Without REDIS_URL a Redis of its own is started, with files in the data folder; the paper exchange is started when
an exchange of the configuration has `endpoint: paper`, which those of the built-in configuration do.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import honcho.manager
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from common.config import ConfigInvalid, Settings, load_settings
from common.config.exchanges import PAPER
from common.redis_server import EmbeddedRedis, RedisServerError, RedisServerMissing
from orderlane.connection import redacted

ROOT: Final = Path(__file__).resolve().parents[1]
DEFAULT_REDIS_PORT: Final = 6399
PAPER_STOPS_AFTER_SECONDS: Final = 1.5
REDIS_CHECK_SECONDS: Final = 0.3
STOP_SECONDS: Final = 20
"""How long processes may take to stop: more than the workers' grace time."""


class PipePrinter(Printer):  # type: ignore[misc]
    """Honcho's printer, for an output that may end before the pool: `scripts/up | head`."""

    def write(self, message: Message) -> None:
        """Print; when nobody reads any more, end the pool in order and keep quiet from then on."""
        try:
            super().write(message)
            self.output.flush()
        except BrokenPipeError:
            keep_quiet()
            os.kill(os.getpid(), signal.SIGTERM)


def keep_quiet() -> None:
    """Nobody reads our output any more: let the rest of it go nowhere, without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class PoolManager(honcho.manager.Manager):  # type: ignore[misc]
    """Honcho's manager, told to end before every process has said its id: it raises KeyError then, and leaves those
    it has started. This one ends them as soon as all have."""

    _wanted = False

    def terminate(self) -> None:
        """End all processes, now or once the last has started."""
        self._wanted = True
        self._all_started()

    def _all_started(self) -> bool:
        """Asked by honcho's loop, ten times a second at least."""
        started: bool = super()._all_started()
        if started and self._wanted:
            super().terminate()
        return started


def worker_counts(settings: Settings, given: tuple[str, ...]) -> dict[str, int]:
    """How many workers each exchange gets: 1, or what `--workers NAME=N` says."""
    counts = dict.fromkeys(settings.exchanges, 1)
    for text in given:
        name, _, number = text.partition("=")
        if name not in counts or not number.isdecimal():
            known = ", ".join(counts)
            raise click.UsageError(
                f"--workers is {text!r}: expected NAME=N with a NAME of {known}, such as binance=2"
            )
        counts[name] = int(number)
    return counts


def processes(settings: Settings, counts: dict[str, int]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, command and extra environment of each process: the Procfile's, the workers' once for each of them."""
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        if name == "paper":
            if any(section.endpoint == PAPER for section in settings.exchanges.values()):
                yield name, command, {"PAPER_PORT": str(urlsplit(settings.paper_url).port or 80)}
        elif name == "exchange":
            for exchange, count in counts.items():
                for number in range(1, count + 1):
                    yield f"{exchange}.{number}", command, {"EXCHANGE": exchange}
        elif name != "archiver" or settings.archive.enabled:
            yield name, command, {}


def kept_running(name: str, command: str) -> str:
    """The command, started again when it fails: one crash must not stop the pool. The exchange stops last."""
    keeper = f"exec {shlex.quote(sys.executable)} -m scripts.harness.keep_running"
    if name == "paper":
        keeper += f" --stop-delay {PAPER_STOPS_AFTER_SECONDS}"
    return f"{keeper} -- /bin/sh -c {shlex.quote(f'exec {command}')}"


def environment(redis_url: str, data_folder: Path, config: Path | None, paper_url: str) -> dict[str, str]:
    """What every process of the pool finds in its environment."""
    python_folder = str(Path(sys.executable).parent)
    kept = {
        **os.environ,
        "PATH": python_folder + os.pathsep + os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "REDIS_URL": redis_url,
        "ORDERLANE_DATA_FOLDER": str(data_folder),
        "ORDERLANE_PAPER_URL": paper_url,
    }
    if config is not None:
        kept["ORDERLANE_CONFIG"] = str(config.absolute())
    if sys.stdout.isatty():
        kept.setdefault("ORDERLANE_LOG_FORMAT", "pretty")
    return kept


@contextmanager
def redis_of(settings: Settings, data_folder: Path, port: int) -> Iterator[str]:
    """The URL of the pool's Redis: that of REDIS_URL or the file, else one of our own that ends with us."""
    if os.environ.get("REDIS_URL") or settings.redis_url != Settings(exchanges=settings.exchanges).redis_url:
        yield settings.redis_url.reveal()
        return
    with EmbeddedRedis(data_folder / "redis", append_only=True, port=port) as server, kept_alive(server):
        yield server.url


@contextmanager
def kept_alive(server: EmbeddedRedis) -> Iterator[None]:
    """Start the server again should it die: the pool waits for it and goes on by itself."""
    leaving = threading.Event()

    def watch() -> None:
        while not leaving.wait(REDIS_CHECK_SECONDS):
            if server.running:
                continue
            print("orderlane: the embedded Redis ended; starting it again on its files", flush=True)
            try:
                server.start()
            except (RedisServerError, RedisServerMissing) as error:
                print(f"orderlane: {error}", flush=True)

    watcher = threading.Thread(target=watch, name="redis-watch")
    watcher.start()
    try:
        yield
    finally:
        leaving.set()
        watcher.join()


@click.command(help=__doc__)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="orderlane.yaml; else ORDERLANE_CONFIG, else paper.",
)
@click.option(
    "--workers",
    multiple=True,
    metavar="NAME=N",
    help="How many workers an exchange gets; repeatable. Default: 1.",
)
@click.option(
    "--redis-port",
    default=DEFAULT_REDIS_PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Of the embedded Redis.",
)
def main(config: Path | None, workers: tuple[str, ...], redis_port: int) -> None:
    """Run the pool."""
    try:
        settings = load_settings(config, os.environ)
    except ConfigInvalid as error:
        raise click.ClickException(str(error)) from None
    counts = worker_counts(settings, workers)
    data_folder = Path(settings.data_folder).absolute()
    data_folder.mkdir(parents=True, exist_ok=True)
    try:
        with redis_of(settings, data_folder, redis_port) as redis_url:
            sys.exit(run(settings, counts, environment(redis_url, data_folder, config, settings.paper_url)))
    except (RedisServerError, RedisServerMissing) as error:
        raise click.ClickException(
            f"{error}\n(--redis-port chooses another port, ORDERLANE_DATA_FOLDER another folder, "
            "REDIS_URL a Redis of yours)"
        ) from None


def run(settings: Settings, counts: dict[str, int], variables: dict[str, str]) -> int:
    """Run all processes until Ctrl-C or SIGTERM; 0 when they were asked to stop."""
    honcho.manager.KILL_WAIT = STOP_SECONDS
    manager = PoolManager(PipePrinter(sys.stdout))
    for name, command, extra in processes(settings, counts):
        manager.add_process(name, kept_running(name, command), env={**variables, **extra}, cwd=str(ROOT))
    url = redacted(variables["REDIS_URL"])
    try:
        print(
            f"orderlane: Redis at {url}, files in {variables['ORDERLANE_DATA_FOLDER']}\n"
            f"orderlane: in another terminal: scripts/orderlane --redis-url {url} status     "
            "(Ctrl-C here ends the pool)",
            flush=True,
        )
    except BrokenPipeError:
        keep_quiet()
        return 0
    manager.loop()
    return 0 if manager.returncode in (0, 130, 143) else int(manager.returncode or 1)


if __name__ == "__main__":
    main(prog_name="scripts/up")
