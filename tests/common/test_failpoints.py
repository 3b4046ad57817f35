"""Failpoints: off unless the environment says so at the start, one process each, and the registry names them all."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from common import failpoints
from common.failpoints import POINTS, VARIABLE, Arm, Arming, FailpointRaised, Struck
from common.telemetry import log_context

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm_from({})


def arm(folder: Path, *arms: Arm) -> dict[str, str]:
    """The environment that arms these."""
    arming = Arming(folder=str(folder), arms=arms)
    return {VARIABLE: msgspec.json.encode(arming).decode()}


def reached_in_source() -> set[str]:
    """Every name that the code of the pool passes to `failpoints.reach`."""
    names = set()
    for layer in ("common", "workers"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                    names.add(ast.literal_eval(node.args[0]))
    return names


def test_the_registry_and_the_code_name_the_same_points() -> None:
    assert reached_in_source() == set(POINTS)


def test_nothing_is_armed_without_the_variable() -> None:
    failpoints.arm_from({"ORDERLANE_CONFIG": "x", "REDIS_URL": "redis://127.0.0.1"})
    failpoints.reach("place.begun")
    assert not failpoints.armed()


def test_neither_the_configuration_nor_redis_is_asked() -> None:
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse((ROOT / "common/failpoints.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not {name for name in imported if name and ("redis" in name or "config" in name or "yaml" in name)}


def test_the_first_process_to_create_the_token_strikes_and_no_other(tmp_path: Path) -> None:
    failpoints.arm_from(arm(tmp_path, Arm(point="place.begun", action="raise", token="once")))
    with pytest.raises(FailpointRaised):
        failpoints.reach("place.begun")
    failpoints.reach("place.begun")
    struck = msgspec.json.decode((tmp_path / "once").read_bytes(), type=Struck)
    assert (struck.point, struck.action, struck.pid) == ("place.begun", "raise", os.getpid())


def test_an_arm_waits_for_its_turn_and_for_what_it_is_about(tmp_path: Path) -> None:
    failpoints.arm_from(
        arm(
            tmp_path,
            Arm(point="record.before", action="raise", token="third", at=3),
            Arm(point="record.done", action="raise", token="lane", about=("main|BTC/USDT",)),
            Arm(point="place.begun", action="raise", token="intent", about=("mine",)),
        )
    )
    failpoints.reach("record.before")
    failpoints.reach("record.before")
    with pytest.raises(FailpointRaised):
        failpoints.reach("record.before")
    failpoints.reach("record.done", "main|ETH/USDT")
    with pytest.raises(FailpointRaised):
        failpoints.reach("record.done", "main|BTC/USDT")
    with log_context(intent="another"):
        failpoints.reach("place.begun")
    with log_context(intent="mine"), pytest.raises(FailpointRaised):
        failpoints.reach("place.begun")


def test_chance_is_drawn_from_the_seed(tmp_path: Path) -> None:
    def strikes(folder: Path) -> list[int]:
        folder.mkdir()
        wanted = Arm(point="place.begun", action="raise", token="chance", times=100, probability=0.3, seed=5)
        failpoints.arm_from(arm(folder, wanted))
        found = []
        for number in range(40):
            try:
                failpoints.reach("place.begun")
            except FailpointRaised:
                found.append(number)
        return found

    first = strikes(tmp_path / "one")
    assert first == strikes(tmp_path / "two")
    assert 0 < len(first) < 40


@pytest.mark.parametrize(
    "wrong",
    ['{"folder":"/tmp","arms":[{"point":"nowhere","action":"kill","token":"a"}]}', '{"arms":[]}', "kill"],
)
def test_a_wrong_variable_stops_the_process_at_its_start(wrong: str) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        failpoints.arm_from({VARIABLE: wrong})


def test_a_point_that_is_not_in_the_registry_is_refused_while_armed(tmp_path: Path) -> None:
    failpoints.arm_from(arm(tmp_path, Arm(point="place.begun", action="kill", token="t")))
    with pytest.raises(ValueError, match="POINTS"):
        failpoints.reach("place.nowhere")


def test_an_armed_process_refuses_an_exchange_that_is_not_paper(tmp_path: Path) -> None:
    failpoints.require_paper("live")
    failpoints.arm_from(arm(tmp_path))
    failpoints.require_paper("paper")
    with pytest.raises(ValueError, match="paper exchange alone"):
        failpoints.require_paper("live")


def test_kill_is_sigkill_of_this_very_process(tmp_path: Path) -> None:
    program = "from common import failpoints; failpoints.reach('place.begun'); print('survived')"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        **arm(tmp_path, Arm(point="place.begun", action="kill", token="one")),
    }

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, timeout=30, check=False
        )

    assert run().returncode == -signal.SIGKILL
    successor = run()
    assert (successor.returncode, successor.stdout) == (0, b"survived\n")
