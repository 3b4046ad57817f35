"""Run a command that ends when the process that started it ends, even when that one is SIGKILLed.

A server started for the length of a demo or a test must not outlive it. `subprocess`'s own `preexec_fn`
could ask the kernel for that, but it runs Python between fork and exec, where a lock held by any other thread
hangs the child. So this file is a small program of its own, started in the ordinary way, which arranges the
end and then becomes the command by `exec`, keeping its process id:

    python -I -S die_with_parent.py kernel|watch PARENT_PID PROGRAM [ARGUMENT ...]

`kernel`: Linux sends SIGKILL when the parent ends (prctl(2), PR_SET_PDEATHSIG). It counts the *thread* that
forked as the parent, so this is only right for a command started from the main thread.
`watch`: everywhere else, a forked watcher looks twice a second whether the parent still lives.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
WATCH_INTERVAL_SECONDS = 0.5


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Give the command line that runs `command` so that it ends with the calling process.

    `command[0]` must be the absolute path of a program. Call it where the command is started: in the process,
    and in the thread, that will be its parent.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    how = "kernel" if sys.platform == "linux" and main_thread else "watch"
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), how, str(os.getpid()), *command]


def _ask_kernel() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _watch(parent: int) -> None:
    command = os.getpid()
    if os.fork() != 0:
        return
    os.closerange(0, 256)  # what the command inherited, its locks among them, is the command's alone
    while os.getppid() == command:
        if not _alive(parent):
            os.kill(command, signal.SIGKILL)
        time.sleep(WATCH_INTERVAL_SECONDS)
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    """Arrange the end of this process, then become the command: `HOW PARENT_PID PROGRAM [ARGUMENT ...]`."""
    how, parent, command = arguments[0], int(arguments[1]), arguments[2:]
    if how == "kernel":
        _ask_kernel()
    else:
        _watch(parent)
    if os.getppid() != parent:  # it ended before the arrangement was made
        sys.exit(1)
    os.execv(command[0], list(command))


if __name__ == "__main__":
    main(sys.argv[1:])
