"""Watch intents become orders, and see them reconciled against the exchange's own books.

Starts an embedded Redis (with --cluster: three that form a cluster), the paper exchange, exchange workers for `binance`
(USDⓈ-M) and `binance-spot`, and the scheduler; a separate producer process appends intents, some wrong on purpose.
Everything runs on this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import click
import redis
from rich.console import Console
from rich.live import Live
from rich.table import Table

from orderlane.client import Client
from orderlane.connection import connect
from orderlane.events import EventName, decode_event
from orderlane.keys import EVENT_FIELD, Keys
from scripts.harness.agreement import Agreement, wait_for_agreement
from scripts.harness.evidence import leaked_keys, read_appended, read_arrived, read_journal
from scripts.harness.flooded import FLOOD_INTENTS, run_flooded
from scripts.harness.processes import ROOT, LocalPool, PoolFailed
from scripts.harness.producer import COINS
from scripts.harness.verdict import Verdict, judge, percentile

POOL: Final = "orderlane"
PRODUCTS: Final = {"binance": "usdm", "binance-spot": "spot"}
EXCHANGES: Final = tuple(PRODUCTS)
EXIT_FAILED: Final = 3
EXIT_INTERRUPTED: Final = 130
MASTERS: Final = 3
INTENTS: Final = 300
STALL_SECONDS: Final = 60.0
"""Without any progress for this long the run counts as stuck."""


class Progress:
    """What is going on, for the terminal: the backlog, and how many events of each name were published."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._seen = dict.fromkeys(EXCHANGES, "0-0")
        self.events: dict[str, int] = {}
        self.backlog = 0
        self.changed_at = time.monotonic()

    def update(self) -> None:
        """Read what was published since the last time."""
        before = (self.backlog, sum(self.events.values()))
        self.backlog = sum(int(self._client.xlen(Keys(name, POOL).intents)) for name in EXCHANGES)
        for name in EXCHANGES:
            page: Any = self._client.xrange(Keys(name, POOL).events, f"({self._seen[name]}", "+", count=2000)
            for entry, fields in page:
                event = decode_event(entry.decode(), fields[EVENT_FIELD.encode()])
                self.events[event.name.value] = self.events.get(event.name.value, 0) + 1
                self._seen[name] = entry.decode()
        if (self.backlog, sum(self.events.values())) != before:
            self.changed_at = time.monotonic()

    def table(self, appended: int, wanted: int) -> Table:
        """The state of the run as a small table."""
        grid = Table.grid(padding=(0, 2))
        grid.add_row("appended", f"{appended}/{wanted}", "waiting or under way", str(self.backlog))
        shown = (
            EventName.SUBMITTED, EventName.ACKNOWLEDGED, EventName.FILLED, EventName.CANCELLED, EventName.REJECTED,
            EventName.UNKNOWN,
        )  # fmt: skip
        for left, right in zip(shown[::2], shown[1::2], strict=True):
            grid.add_row(
                left.value,
                str(self.events.get(left.value, 0)),
                right.value,
                str(self.events.get(right.value, 0)),
            )
        return grid


def show(verdict: Verdict, agreement: Agreement, seconds: float, console: Console) -> None:
    """Print the closing table."""
    table = Table(
        title="reconciled against the exchange's own books", title_justify="left", show_header=False
    )
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("intents", str(verdict.intents))
    table.add_row("acknowledged by the exchange", str(verdict.acknowledged))
    table.add_row("  of these filled", str(verdict.filled))
    table.add_row("rejected by the exchange", str(verdict.rejected))
    table.add_row("refused by the pool", str(verdict.failed))
    for reason, count in verdict.reasons.items():
        table.add_row(f"    {reason}", str(count))
    if verdict.unknown:
        table.add_row("outcome unknown", str(verdict.unknown))
    for name, count in (
        ("lost", verdict.lost),
        ("duplicated", verdict.duplicated),
        ("out of lane order", verdict.out_of_order),
    ):
        table.add_row(name, str(count), style="bold red" if count else "bold green")
    agreed = "bold green" if agreement.holds else "bold red"
    table.add_row("differences from the exchange's books", str(len(agreement.differences)), style=agreed)
    table.add_row("  orders compared", str(agreement.orders))
    table.add_row("  fills counted, of those made", f"{agreement.fills} of {agreement.fills_booked}")
    table.add_row("  positions and balances compared", str(agreement.figures))
    table.add_row("  agreed after the last outcome", f"{agreement.seconds:.1f} s")
    table.add_row("from XADD to the exchange, p50", f"{percentile(verdict.latencies_ms, 0.5):.1f} ms")
    table.add_row("from XADD to the exchange, p99", f"{percentile(verdict.latencies_ms, 0.99):.1f} ms")
    table.add_row("seconds", f"{seconds:.1f}")
    console.print(table)
    console.print(
        "The times include waiting for the exchange's rate limits, which all workers share.", style="dim"
    )
    for finding in (*verdict.findings, *agreement.differences)[:20]:
        console.print(finding, style="red", markup=False)


def as_json(verdict: Verdict, agreement: Agreement, seconds: float) -> str:
    """The closing line for machines."""
    return json.dumps(
        {
            "intents": verdict.intents,
            "acknowledged": verdict.acknowledged,
            "filled": verdict.filled,
            "rejected": verdict.rejected,
            "failed": verdict.failed,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out_of_order": verdict.out_of_order,
            "seconds": round(seconds, 2),
            "p50_ms": round(percentile(verdict.latencies_ms, 0.5), 2),
            "p99_ms": round(percentile(verdict.latencies_ms, 0.99), 2),
            "unknown": verdict.unknown,
            "reasons": verdict.reasons,
            "differences": len(agreement.differences),
            "agreed_seconds": round(agreement.seconds, 2),
            "fills": agreement.fills,
        }
    )


def prices(pool: LocalPool) -> dict[str, str]:
    """The exchange's current prices of the coins the producer trades, by unified symbol."""
    found: dict[str, str] = {}
    for path, suffix in (("/api/v3/ticker/price", ""), ("/fapi/v1/ticker/price", ":USDT")):
        by_id = {row["symbol"]: row["price"] for row in json.loads(pool.ask_paper(path))}
        found |= {f"{coin}/USDT{suffix}": by_id[f"{coin}USDT"] for coin in COINS}
    return found


def wait_until_ready(pool: LocalPool, client: redis.Redis, workers: int) -> None:
    """Wait until every worker has joined."""
    while True:
        pool.check()
        joined = sum(int(client.zcard(Keys(name, POOL).workers)) for name in EXCHANGES)
        if joined >= workers:
            return
        time.sleep(0.05)


def wait_until_told(pool: LocalPool) -> None:
    """Wait until each account's user stream tells all, and its positions and balances are the exchange's."""
    waiting = list(EXCHANGES)
    while waiting:
        pool.check()
        time.sleep(0.05)
        with Client(pool.redis_url, pool=POOL, exchange=waiting[0]) as reader:
            found = [one.comparison for one in reader.positions()]
        if found and all(state is not None and state.compared_at for state in found):
            del waiting[0]


def start_producer(pool: LocalPool, intents: int, seed: int, record: Path) -> subprocess.Popen[bytes]:
    """Start the application that appends intents."""
    command = [
        sys.executable, "-m", "scripts.harness.producer", "--redis-url", pool.redis_url, "--intents", str(intents),
        "--seed", str(seed), "--prices", json.dumps(prices(pool)), "--record", str(record),
    ]  # fmt: skip
    return subprocess.Popen(command, env=pool.environment)


def run(
    pool: LocalPool, intents: int, workers: int, seed: int, console: Console, *, live: bool
) -> tuple[Verdict, Agreement, float]:
    """Run the demo in a pool that has Redis and the exchange; the verdict, whether the pool knows what the exchange
    has, and how long the intents took."""
    client = connect(pool.redis_url)
    try:
        for number in range(1, workers + 1):
            pool.start_worker("binance", number)
        pool.start_worker("binance-spot", 1)
        wait_until_ready(pool, client, workers + 1)
        wait_until_told(pool)
        pool.start_scheduler()
        record, progress = pool.folder / "appended.jsonl", Progress(client)
        started_at = time.monotonic()
        producer = start_producer(pool, intents, seed, record)
        screen = Live(console=console, refresh_per_second=8, transient=True) if live else nullcontext()
        with screen as display:
            ended = False
            while not (ended and progress.backlog == 0):
                ended = producer.poll() is not None
                progress.update()
                if display is not None:
                    display.update(progress.table(len(read_appended(record)), intents))
                pool.check()
                if time.monotonic() - progress.changed_at > STALL_SECONDS:
                    break
                time.sleep(0.1)
        seconds = time.monotonic() - started_at
        if producer.wait() != 0:
            raise PoolFailed(f"the producer ended with code {producer.returncode}")
        agreement = wait_for_agreement(pool, client, POOL, PRODUCTS)
        verdict = judge(read_appended(record), read_arrived(pool), read_journal(client, POOL, EXCHANGES))
        leaked = leaked_keys(client)
        if leaked:
            raise PoolFailed(
                f"keys that orderlane.keys does not know were left in Redis: {', '.join(leaked[:10])}"
            )
        return verdict, agreement, seconds
    finally:
        client.close()


def say_where(pool: LocalPool, console: Console) -> None:
    """Say which master of the cluster has which exchange."""
    if pool.cluster is not None:
        places = [f"{name} on {pool.cluster.master_of(Keys(name, POOL).intents).port}" for name in EXCHANGES]
        console.print(f"a Redis Cluster of {MASTERS} masters; {', '.join(places)}")


def keep(pool: LocalPool, console: Console) -> None:
    """Leave the pool running until Ctrl-C."""
    command = ROOT / "scripts" / "orderlane"
    console.print(
        f"\nThe pool keeps running; Ctrl-C ends it. Redis: {pool.redis_url}   paper exchange: {pool.paper_url}\n"
        f"  {command} --redis-url {pool.redis_url} status\n"
        f"  {command} --redis-url {pool.redis_url} watch\n"
        f"logs, until it ends: {pool.folder}",
        soft_wrap=True,
    )
    try:
        while True:
            pool.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping")


@click.command(help=__doc__)
@click.option(
    "--intents",
    type=click.IntRange(1, 1_000_000),
    help=f"How many to append ({INTENTS}; with --flood, how many wait: {FLOOD_INTENTS}).",
)
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(1, 32),
    help="Exchange workers for `binance`.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed appends the same intents.")
@click.option(
    "--json",
    "machine",
    is_flag=True,
    help="The last line of stdout is one JSON object; the rest goes to stderr.",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="On a Redis Cluster of three masters: each exchange on one of its own.",
)
@click.option(
    "--flood",
    is_flag=True,
    help="What one account's flood does to the others: each phase without and with it, in one run.",
)
@click.option("--keep", "keep_running", is_flag=True, help="Leave the pool running afterwards, until Ctrl-C.")
def main(
    intents: int | None,
    workers: int,
    seed: int,
    machine: bool,
    cluster: bool,
    flood: bool,
    keep_running: bool,
) -> None:
    """Run it; exit code 1 if anything is lost, duplicated, out of lane order, unknown or other than in the exchange's
    books (with --flood also: if others wait too long), 3 if it could not run."""
    console = Console(stderr=machine)
    try:
        if flood:
            if cluster or keep_running:
                raise click.UsageError("--flood runs alone: leave out --cluster and --keep")
            sys.exit(run_flooded(intents or FLOOD_INTENTS, workers, seed, console, machine=machine))
        intents = intents or INTENTS
        console.print(
            f"{intents} intents; workers: {workers} for binance, 1 for binance-spot; everything on this machine"
        )
        masters = MASTERS if cluster else 0
        with LocalPool(paper_options=("--seed", str(seed)), masters=masters) as pool:
            if cluster:
                say_where(pool, console)
            verdict, agreement, seconds = run(pool, intents, workers, seed, console, live=console.is_terminal)
            show(verdict, agreement, seconds, console)
            if machine:
                print(as_json(verdict, agreement, seconds), flush=True)
            if keep_running:
                keep(pool, console)
    except PoolFailed as error:
        console.print(f"the demo could not run: {error}", style="red", markup=False)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        console.print("stopped before the end: nothing was judged")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0 if verdict.holds and not verdict.unknown and agreement.holds else 1)


if __name__ == "__main__":
    main(prog_name="scripts/demo")
