import os
import signal
import subprocess
import sys
import threading

import pytest

from common.die_with_parent import die_with_parent

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; print(1, flush=True); time.sleep(20); print(2)"]
PARENT = """
import subprocess, sys
from common.die_with_parent import die_with_parent
command = die_with_parent(sys.argv[2:])
command[4] = sys.argv[1]
child = subprocess.Popen(command)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(
            "kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has it")
        ),
        "watch",
    ],
)
def test_the_command_ends_when_its_parent_is_killed(how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how, *SLEEP], stdout=subprocess.PIPE, env=environment()
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        started = [output.readline(), output.readline()]
        assert all(started)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert output.read() == b""  # read ends when the last process that holds the pipe has ended


def test_the_command_keeps_the_process_id_and_its_exit_code() -> None:
    program = [sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(7)"]
    process = subprocess.Popen(die_with_parent(program), stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert int(output) == process.pid
    assert process.returncode == 7


def test_a_command_whose_parent_is_gone_already_is_not_run() -> None:
    command = die_with_parent([sys.executable, "-c", "print('ran')"])
    command[5] = "1" if os.getppid() != 1 and os.getpid() != 1 else "2"
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert done.stdout == b""


def test_a_thread_that_ends_does_not_take_its_command_along() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen(die_with_parent(SLEEP), stdout=subprocess.PIPE))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    [process] = started
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        assert process.poll() is None
        process.kill()


def environment() -> dict[str, str]:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return {**os.environ, "PYTHONPATH": root}
