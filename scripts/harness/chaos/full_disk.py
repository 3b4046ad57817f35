"""Redis' disk is full: no write to its append-only file goes through, and until one does it refuses ours.

No disk has to be filled: beyond a limit (setrlimit(2), RLIMIT_FSIZE) the kernel refuses to let a file grow as it
does on a full disk, with EFBIG in place of ENOSPC, and Redis treats all errors of that write alike. The signal that
goes with it (SIGXFSZ) is ignored by Python, and so by the Redis that Python becomes by exec.
"""

from __future__ import annotations

import resource
import time
from typing import Final

from common.redis_server import EmbeddedRedis
from scripts.harness.chaos.redis_faults import append_only_file, resend_what_is_gone
from scripts.harness.chaos.stage import Stage

FULL_SECONDS: Final = 4.0
SPARE_BYTES: Final = 1_500
"""What still fits: the write that meets the end is cut in the middle of a command."""
FAILED: Final = ("Error writing to the AOF file", "Short write while writing to the AOF file")
RECOVERED: Final = "AOF write error looks solved"


def play(stage: Stage) -> None:
    """Twice: once there is room again after a while, once Redis is killed while its disk is full."""
    server = stage.pool.redis
    stage.open_house()
    stage.submitter.begin(stage.plan())
    stage.after(0.25)
    fill_disk(stage, server)
    time.sleep(FULL_SECONDS)
    free_disk(server)
    stage.wait_for(lambda: RECOVERED in _log(server), 30, "Redis did not find the room it has again")
    stage.after(0.6)
    fill_disk(stage, server)
    time.sleep(FULL_SECONDS / 2)
    stage.fault("SIGKILL of Redis while its disk is full")
    server.kill()
    resend_what_is_gone(stage, "were never written to the full disk")


def fill_disk(stage: Stage, server: EmbeddedRedis) -> None:
    """From now on its file can't grow; return when it has noticed."""
    seen = _failures(server)
    size = append_only_file(server.data_dir).stat().st_size
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + SPARE_BYTES, hard))
    stage.fault(f"the disk is full: no room beyond {size + SPARE_BYTES} bytes of Redis' append-only file")
    stage.wait_for(
        lambda: stage.client.info("persistence")["aof_last_write_status"] == "err",
        30,
        "no write of Redis failed",
    )
    if seen == 0:  # it logs one such failure in 30 s at most
        stage.wait_for(lambda: _failures(server), 5, "Redis' log says nothing of a write that failed")


def free_disk(server: EmbeddedRedis) -> None:
    """There is room again."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))


def _failures(server: EmbeddedRedis) -> int:
    return sum(_log(server).count(text) for text in FAILED)


def _log(server: EmbeddedRedis) -> str:
    return (server.data_dir / "redis-server.log").read_text(errors="replace")
