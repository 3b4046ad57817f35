"""The scenarios by name: what each breaks, how it is played, and with what it runs when nothing else is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from scripts.harness.chaos import (
    clustered,
    crowds,
    death,
    failover,
    forgetful,
    full_disk,
    fuzz,
    network,
    recovery,
    redis_faults,
    storm,
    zombie,
)
from scripts.harness.chaos.matrix import Cell, cells
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import DEFAULT, QUICK, Timing


class Scenario(Struct, frozen=True, kw_only=True):
    """One way to break a pool. `cut_intents`: with how many it runs in the cut of continuous integration; 0: not."""

    summary: str
    play: Callable[[Stage], None]
    timing: Timing = QUICK
    intents: int = 200
    workers: int = 3
    rate: float = 25.0
    cut_intents: int = 0
    replicas: int | None = None
    """In a cluster only, each of whose masters has so many."""
    heeds: frozenset[str] = frozenset()
    """Of the options that not every scenario has a use for, those that this one has."""
    cells: Callable[[str], Sequence[Cell]] | None = None
    """What `--only` chooses from."""
    one_redis: str = ""
    """Why it is not played in a cluster; empty: it is."""


DOUBTFUL: Final = msgspec.structs.replace(QUICK, restart_doubt_seconds=60)

ONE: Final = "it breaks the one Redis server; `cluster-failover` breaks one of several"
PROXIED: Final = "nodes announce their own addresses, which lead round a proxy"

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "death": Scenario(
        summary="SIGKILL at each failpoint, for each behaviour of the exchange; --intents: how many cells",
        play=death.play,
        timing=death.TIMING,
        intents=100_000,
        workers=death.CREW,
        heeds=frozenset({"only"}),
        cells=cells,
        rate=0,
        cut_intents=60,
    ),
    "death-process": Scenario(
        summary="SIGKILL at the points of no single intent: take, reap, heartbeat, release, sync",
        play=crowds.play_process_points,
        timing=crowds.TIMING,
        intents=200,
        workers=4,
        cut_intents=100,
    ),
    "zombie": Scenario(
        summary="SIGSTOP at each failpoint for longer than lease and receive window; --intents: how many cells",
        play=zombie.play,
        timing=zombie.TIMING,
        intents=100_000,
        workers=6,
        heeds=frozenset({"only"}),
        cells=zombie.cells_of,
        rate=0,
        cut_intents=24,
    ),
    "zombie-process": Scenario(
        summary="SIGSTOP for longer than the lease at the points of no single intent",
        play=crowds.play_process_stops,
        timing=crowds.TIMING,
        intents=200,
        workers=4,
    ),
    "schedulers": Scenario(
        summary="three schedulers, one killed and replaced: no periodic job is doubled",
        play=crowds.play_schedulers,
        timing=crowds.ALONE,
        intents=100,
    ),
    "clock": Scenario(summary="workers whose wall clock is 30 s ahead and behind", play=zombie.play_clocks),
    "blocked": Scenario(
        summary="event loops blocked for longer than the lease, at points drawn from the seed",
        play=zombie.play_blocked,
        cut_intents=100,
    ),
    "redis-kill": Scenario(
        summary="Redis killed and started again on its append-only file, three times",
        play=redis_faults.play_kill,
        timing=DOUBTFUL,
        one_redis=ONE,
    ),
    "redis-tail-lost": Scenario(
        summary="Redis killed, the end of its append-only file gone; producers repeat what is gone",
        play=redis_faults.play_tail_lost,
        timing=DOUBTFUL,
        cut_intents=100,
        one_redis=ONE,
    ),
    "redis-forgets": Scenario(
        summary="Redis killed, the end of its file gone, and back at once: workers go on by leases that still live",
        play=forgetful.play_back_at_once,
        timing=forgetful.TIMING,
        intents=320,
        workers=2,
        rate=0,
        cut_intents=96,
        one_redis=ONE,
    ),
    "clock-back": Scenario(
        summary="the clock set back, stream ids ahead of it, and Redis killed with the end of its file gone",
        play=forgetful.play_clock_set_back,
        timing=forgetful.TIMING,
        intents=160,
        workers=2,
        rate=0,
        cut_intents=96,
        one_redis=ONE,
    ),
    "redis-failover": Scenario(
        summary="the master dies, Sentinel promotes a replica that misses the last second, the old master comes back",
        play=failover.play,
        timing=DOUBTFUL,
        cut_intents=100,
        one_redis=ONE,
    ),
    "redis-full-disk": Scenario(
        summary="Redis can't write its file, and refuses every write; once it is killed in that state",
        play=full_disk.play,
        timing=DOUBTFUL,
        one_redis=ONE,
    ),
    "cluster-failover": Scenario(
        summary="in a Redis Cluster: a master dies, its replica, which misses the last second, takes over",
        play=clustered.play_failover,
        timing=DOUBTFUL,
        cut_intents=100,
        replicas=1,
    ),
    "cluster-moves": Scenario(
        summary="in a Redis Cluster: the slot of an exchange moves from master to master under load",
        play=clustered.play_moves,
        timing=DOUBTFUL,
        replicas=0,
    ),
    "redis-stall": Scenario(
        summary="Redis stands still for 20 s", play=redis_faults.play_stall, one_redis=ONE
    ),
    "redis-oom": Scenario(
        summary="Redis refuses every write for want of memory", play=redis_faults.play_oom, one_redis=ONE
    ),
    "redis-dropped-replies": Scenario(
        summary="a proxy before Redis drops replies, cuts at any byte, or falls silent",
        play=redis_faults.play_dropped_replies,
        cut_intents=60,
        one_redis=PROXIED,
    ),
    "scripts-flushed": Scenario(
        summary="SCRIPT FLUSH and every connection cut, again and again",
        play=redis_faults.play_scripts_flushed,
        one_redis=ONE,
    ),
    "wrong-password": Scenario(
        summary="Redis wants a password that the pool does not have, for a while",
        play=redis_faults.play_wrong_password,
        one_redis=ONE,
    ),
    "wrong-type": Scenario(
        summary="keys of the pool hold a foreign string, until a person deletes it",
        play=redis_faults.play_wrong_type,
    ),
    "network": Scenario(
        summary="the exchange late, half-open, cut at any byte, deaf, refusing, severed",
        play=network.play_network,
        cut_intents=100,
    ),
    "late": Scenario(
        summary="the exchange executes requests after their sender gave up waiting, within the receive window",
        play=network.play_late,
        cut_intents=100,
    ),
    "names": Scenario(
        summary="replies lost, then no name resolves: accepted orders can't be asked for",
        play=network.play_names,
    ),
    "tls": Scenario(summary="the exchange shows a certificate that nobody trusts", play=network.play_tls),
    "storm": Scenario(
        summary="at random for --minutes at --rate: workers killed, stopped, paused, blocked, joining, with wrong "
        "clocks; Redis killed, stalled, full, without its tail, by another password, with a foreign value, scripts "
        "flushed, its link bad, its master lost to Sentinel's replica; the exchange and its network misbehaving, "
        "without names, without a certificate; schedulers killed. Not in it: a cluster",
        play=storm.play,
        timing=DOUBTFUL,
        workers=4,
        rate=15.0,
        heeds=frozenset({"minutes"}),
        one_redis=ONE,
    ),
    "fuzz": Scenario(
        summary="damaged entries by the --intents",
        play=fuzz.play,
        intents=100_000,
        workers=2,
        cut_intents=2_000,
    ),
    "fuzz-replies": Scenario(
        summary="every field of every reply of the exchange missing, null, of another type, or huge",
        play=fuzz.play_replies,
        intents=400,
        cut_intents=100,
    ),
    "recovery": Scenario(
        summary="how long until a killed or stopped worker's lanes go on, by the default settings; --intents: rounds",
        play=recovery.play,
        timing=DEFAULT,
        intents=5,
        workers=3,
        rate=0,
        cut_intents=2,
    ),
}
