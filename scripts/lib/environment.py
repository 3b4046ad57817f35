"""Keep a virtual environment equal to a lock file: made, filled and checked with nothing but Python itself.

    environment.py check   VENV LOCK...   exit 0 if VENV, whose Python runs this, holds the first LOCK
    environment.py install VENV LOCK...   make it so

The first lock is what is wanted. The others are parts of it: an environment that holds the first holds them
too. PYTHON, if set, names the interpreter the environment must have been made with.

- A stamp in the environment, a copy of the lock under its Python's tag, says what was installed; it is last.
- While an environment of our own is being filled there is a mark beside it: found later, the environment is
  made anew. One that someone else made is filled as it is and never removed.
- Of two runs at once the second waits for the first.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Settings of pip that would send the packages elsewhere, or change what the lock says.
FOREIGN_PIP_SETTINGS = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
)


def beside(venv: Path, ending: str) -> Path:
    """Name a file beside the environment: what it says survives the environment's removal."""
    return venv.with_name(venv.name + ending)


def stamp_of(venv: Path, lock: Path) -> Path:
    """Name the file in the environment that says which text of this lock was installed."""
    return venv / f"orderlane-{lock.name}.installed"


def interpreter(venv: Path) -> Path:
    """Name the environment's Python."""
    return venv / "bin" / "python"


def tag_of(venv: Path) -> str | None:
    """Ask the environment's Python for its tag, as `cpython-311`; None if it doesn't run or is too old."""
    program = "import sys; print(sys.implementation.cache_tag if sys.version_info >= (3, 11) else '')"
    command = [str(interpreter(venv)), "-I", "-S", "-c", program]
    try:
        answer = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.strip() or None


def holds(venv: Path, lock: Path, tag: str | None) -> bool:
    """Whether the environment has what the lock says, installed for the Python of this tag."""
    try:
        return stamp_of(venv, lock).read_text() == f"{tag}\n{lock.read_text()}"
    except OSError:
        return False


def say(message: str) -> None:
    """Tell the person what is going on; standard output belongs to the command that comes after."""
    print(f"orderlane: {message}", file=sys.stderr, flush=True)


@contextmanager
def one_at_a_time(venv: Path) -> Iterator[int]:
    """Hold the lock that any other run of this program on the same environment waits for.

    Yields its file descriptor, for the programs that work on the environment: should this one be killed, the
    lock is theirs until they end.
    """
    with beside(venv, ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is installing into {venv}: waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def own(venv: Path) -> bool:
    """Whether this program made what is there, or nothing is: it may be replaced."""
    unfinished = beside(venv, ".unfinished").exists()
    nothing = not venv.exists() or (venv.is_dir() and not any(venv.iterdir()))
    return unfinished or nothing or (venv / "orderlane-made-this").exists()


def usable(venv: Path, tag: str | None) -> bool:
    """Whether packages can go into what is there: it was finished, and its Python is the wanted one."""
    wanted = sys.implementation.cache_tag if os.environ.get("PYTHON") else tag
    return tag is not None and tag == wanted and not beside(venv, ".unfinished").exists()


def make(venv: Path, held: int) -> None:
    """Make the environment with the Python that runs this, in place of what was there."""
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-I", "-m", "venv", venv], pass_fds=(held,), check=True)
    (venv / "orderlane-made-this").touch()


def fill(venv: Path, lock: Path, held: int) -> None:
    """Install what the lock says, by hash and without a look at what the packages would like besides."""
    pip = [str(interpreter(venv)), "-I", "-m", "pip", "--no-input", "--disable-pip-version-check"]
    what = ["install", "--no-deps", "--require-hashes", "--requirement", str(lock)]
    settings = {name: value for name, value in os.environ.items() if name not in FOREIGN_PIP_SETTINGS}
    log = venv / "orderlane-install.log"
    with log.open("w") as output:
        done = subprocess.run(
            [*pip, *what], env=settings, stdout=output, stderr=output, pass_fds=(held,), check=False
        )
    if done.returncode != 0:
        errors = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
        say("\n  ".join(["installing failed; is the package index in reach?", *errors, f"in full: {log}"]))
        raise SystemExit(1)
    log.unlink()


def stamp(venv: Path, locks: list[Path]) -> None:
    """Say in the environment that it holds these locks, each all at once."""
    for lock in locks:
        complete = beside(stamp_of(venv, lock), ".new")
        complete.write_text(f"{tag_of(venv)}\n{lock.read_text()}")
        complete.replace(stamp_of(venv, lock))


def install(venv: Path, locks: list[Path]) -> None:
    """Bring the environment to what the first lock says, unless it is there already."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(venv) as held:
        tag = tag_of(venv)
        ready = usable(venv, tag)
        if ready and holds(venv, locks[0], tag):
            return
        replaceable = own(venv)
        if not ready and not replaceable:
            raise SystemExit(
                f"orderlane: {venv} was not made by this command, and is no environment of a Python that"
                " will do: move it away, or set ORDERLANE_VENV to another path"
            )
        say(f"installing the locked packages into {venv} (half a minute or so) ...")
        if replaceable:
            beside(venv, ".unfinished").touch()
        if not ready:
            make(venv, held)
        for lock in locks:
            stamp_of(venv, lock).unlink(missing_ok=True)
        fill(venv, locks[0], held)
        stamp(venv, locks)
        beside(venv, ".unfinished").unlink(missing_ok=True)


def main() -> int:
    """Run the command that the arguments name; give its exit code."""
    action, venv, locks = sys.argv[1], Path(sys.argv[2]).absolute(), [Path(name) for name in sys.argv[3:]]
    if action == "check":
        return 0 if holds(venv, locks[0], sys.implementation.cache_tag) else 1
    try:
        install(venv, locks)
    except KeyboardInterrupt:
        say("interrupted while installing: run this again to install from the start")
        return 130
    except OSError as error:
        say(f"cannot write {error.filename} ({error.strerror}): set ORDERLANE_VENV to a path where you can")
        return 1
    except subprocess.CalledProcessError:
        say(f"{venv} could not be made: what its maker said is above")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
