"""``python -m workers.paper``: run the paper exchange."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import msgspec

from workers.paper.accounts import Credentials, default_credentials, read_credentials
from workers.paper.exchange import Behaviour, Exchange
from workers.paper.faults import Faults
from workers.paper.limits import Limits, ProductLimits, Window
from workers.paper.rules import Product
from workers.paper.server import PaperServer, growing_clock, is_loopback, serve, walk
from workers.paper.store import Store

MINUTE = 60
DAY = 86_400
ACCOUNTS_FILE_VARIABLE = "ORDERLANE_PAPER_ACCOUNTS_FILE"


def decimal_option(context: click.Context, option: click.Parameter, value: str) -> Decimal:
    """A decimal number of an option, or click's own complaint."""
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise click.BadParameter(f"{value!r} is not a decimal number", context, option) from error
    if not number.is_finite() or number < 0:
        raise click.BadParameter(f"{value} is not a finite number of at least 0", context, option)
    return number


class Options(msgspec.Struct, frozen=True):
    """The command line."""

    host: str
    port: int
    port_file: Path | None
    database: Path
    accounts: str
    accounts_file: Path | None
    seed: int
    volatility: Decimal
    step_ms: int
    partial_fill_probability: Decimal
    weight_limit: int | None
    spot_weight_limit: int | None
    usdm_weight_limit: int | None
    orders_10s: int | None
    orders_1m: int | None
    orders_1d: int | None
    ban_after: int
    ban_seconds: int
    listen_key_seconds: int
    allow_remote: bool


def limits_of(options: Options) -> dict[Product, ProductLimits]:
    """Each product's limits: those of its ``exchangeInfo``, or the given ones."""

    def weight(usual: int, given: int | None) -> Window:
        limit = next((n for n in (given, options.weight_limit) if n is not None), usual)
        return Window(MINUTE, limit, "1M", "1 MINUTE")

    def orders(seconds: int, header: str, message: str, usual: int, given: int | None) -> Window:
        return Window(seconds, usual if given is None else given, header, message)

    return {
        "spot": ProductLimits(
            weight(6_000, options.spot_weight_limit),
            (
                orders(10, "10S", "10 SECOND", 100, options.orders_10s),
                orders(DAY, "1D", "1 DAY", 200_000, options.orders_1d),
            ),
        ),
        "usdm": ProductLimits(
            weight(2_400, options.usdm_weight_limit),
            (
                orders(10, "10S", "10 SECOND", 300, options.orders_10s),
                orders(MINUTE, "1M", "1 MINUTE", 1_200, options.orders_1m),
            ),
        ),
    }


def show_limits(exchange: Exchange, by_product: dict[Product, ProductLimits]) -> None:
    """Let ``exchangeInfo`` say the limits that are in force."""
    for product, limits in by_product.items():
        by_seconds = {window.seconds: window.limit for window in limits.orders}
        for entry in exchange.markets[product].exchange_info["rateLimits"]:
            seconds = {"SECOND": 1, "MINUTE": MINUTE, "DAY": DAY}[entry["interval"]] * entry["intervalNum"]
            if entry["rateLimitType"] == "REQUEST_WEIGHT":
                entry["limit"] = limits.weight.limit
            elif entry["rateLimitType"] == "ORDERS":
                entry["limit"] = by_seconds[seconds]


def credentials_of(options: Options) -> list[Credentials]:
    """The accounts of the file, or those named on the command line with their well-known keys."""
    if options.accounts_file is not None:
        return read_credentials(options.accounts_file)
    return [default_credentials(name.strip()) for name in options.accounts.split(",") if name.strip()]


def write_port(path: Path, port: int) -> None:
    """Put ``port`` into ``path`` at once: a reader sees all of it or no file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(f"{port}\n")
    partial.replace(path)


class PortTaken(click.ClickException):
    """The port is in use: starting again would not help."""

    exit_code = os.EX_CONFIG


async def run(options: Options) -> None:
    """The exchange from its file, until SIGTERM or SIGINT, or until its file can't be written."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    store, now_us, faults = Store(options.database), growing_clock(), Faults(options.seed)
    behaviour = Behaviour(
        seed=options.seed,
        volatility=options.volatility,
        partial_fill_probability=options.partial_fill_probability,
    )
    exchange = Exchange(store, credentials_of(options), behaviour, now_us, options.listen_key_seconds * 1000)
    by_product = limits_of(options)
    show_limits(exchange, by_product)
    server = PaperServer(
        exchange,
        lambda: Limits(store, by_product, options.ban_after, options.ban_seconds, now_us),
        faults,
        store,
    )
    ending_keys = asyncio.create_task(server.streams.end_expired())
    walking = asyncio.create_task(walk(exchange, options.step_ms)) if options.step_ms else None

    def ready(port: int) -> None:
        click.echo(f"paper exchange on http://{options.host}:{port}", err=True)
        if options.port_file is not None:
            write_port(options.port_file, port)

    async def until() -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(store.failed.wait())]
        if walking is not None:
            waits.append(walking)  # type: ignore[arg-type]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    try:
        try:
            await serve(server, faults, options.host, options.port, ready, until)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTaken(
                f"port {options.port} of {options.host} is taken, perhaps by another pool's paper exchange: "
                "choose another port (for scripts/up: ORDERLANE_PAPER_URL=http://127.0.0.1:PORT)"
            ) from None
        ending_keys.cancel()
        if walking is not None:
            walking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await walking
    finally:
        store.close()
    if store.failed.is_set():
        raise click.ClickException(
            f"{options.database} can't be written; nothing was answered since it failed"
        )


@click.command(context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on; loopback unless --allow-remote.")
@click.option("--port", default=0, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--port-file", type=click.Path(path_type=Path), help="File to write the bound port to, once listening."
)
@click.option(
    "--database",
    type=click.Path(path_type=Path),
    required=True,
    help="SQLite file with the exchange's books.",
)
@click.option(
    "--accounts", default="main,alt", help="Accounts, with keys paper-NAME-key and paper-NAME-secret."
)
@click.option(
    "--accounts-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar=ACCOUNTS_FILE_VARIABLE,
    help="YAML or JSON list of {name, key, secret, spot, usdm}; instead of --accounts.",
)
@click.option("--seed", default=1, help="Seed of prices, partial fills and fault probabilities.")
@click.option(
    "--volatility",
    callback=decimal_option,
    default="0.0005",
    help="Greatest price move per step, a fraction.",
)
@click.option(
    "--step-ms", default=250, type=click.IntRange(min=0), help="Time between price steps; 0: they stand."
)
@click.option(
    "--partial-fill-probability",
    callback=decimal_option,
    default="0.3",
    help="How often a resting order fills only in part when the market reaches it.",
)
@click.option("--weight-limit", type=int, help="Request weight per minute and address, of both products.")
@click.option("--spot-weight-limit", type=int, help="The same for spot alone (6000).")
@click.option("--usdm-weight-limit", type=int, help="The same for USDⓈ-M alone (2400).")
@click.option("--orders-10s", type=int, help="Orders per 10 seconds and account (spot 100, USDⓈ-M 300).")
@click.option("--orders-1m", type=int, help="USDⓈ-M orders per minute and account (1200).")
@click.option("--orders-1d", type=int, help="Spot orders per day and account (200000).")
@click.option(
    "--ban-after", default=10, help="429 answers after which an address that goes on is banned (418)."
)
@click.option("--ban-seconds", default=120, help="How long a ban lasts.")
@click.option(
    "--listen-key-seconds",
    default=3600,
    type=click.IntRange(min=1),
    help="How long a USDⓈ-M listen key lives without being kept alive.",
)
@click.option("--allow-remote", is_flag=True, help="Listen on an address that isn't loopback.")
def main(**given: Any) -> None:
    """Run the paper exchange: Binance spot and USDⓈ-M in one process, with money that isn't real."""
    options = Options(**given)
    if not options.allow_remote and not is_loopback(options.host):
        raise click.UsageError(
            f"--host {options.host} is not a loopback address; anyone could trade with the well-known keys. "
            "Use 127.0.0.1, or --allow-remote if that is intended."
        )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(options))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(options))


if __name__ == "__main__":
    main()
